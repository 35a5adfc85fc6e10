//! ENIs whose flows several workers share (`Workers`): together they do what one would.

use proptest::{collection::vec, prelude::*, sample::select};
use warren::{
    compile::Site,
    flow::connections::Tenant,
    model::{Allowance, AttachmentOptions, Model},
    pipeline::{AtEni, Reason},
    tables::{Direction, PortIndex},
};

use crate::{
    frames::{ACK, FIN, RST, SYN, fix_ipv4, ip, packet, tagged, udp},
    lab::*,
    remembered::{End, ends, frame, payload},
};

/// Workers of the node.
const WORKERS: u8 = 4;

/// So many workers for each ENI that is here. One ENI has one.
fn share(model: &mut Model) {
    for (eni, workers) in [("eni-a", 4), ("eni-b2", 2), ("eni-c2", 3)] {
        let at = model.enis.get_mut(eni).unwrap().attachment.as_mut().unwrap();
        at.options = Some(Box::new(AttachmentOptions { workers, ..AttachmentOptions::NOTHING_STATED }));
    }
}

/// host-a, of which each worker has the part of its number of each ENI's flows.
struct Team(Vec<Lab>);

impl Team {
    fn new() -> Self {
        let worker = |part| {
            let mut lab = Lab::tracking(AttachmentOptions::NOTHING_STATED);
            lab.change(share);
            lab.sink.part = Some(part);
            lab
        };
        Self((0..WORKERS).map(worker).collect())
    }

    /// What becomes of a frame that comes to one of the workers, and how often it was handed over.
    fn send(&mut self, worker: u8, from: PortIndex, frame: &[u8]) -> (Outcome, u32) {
        let mut outcome = self.0[usize::from(worker)].send(from, frame);
        let mut times = 0;
        while let Outcome::HandedOver(part, at, frame) = outcome {
            outcome = self.0[usize::from(part)].take_over(at, &frame);
            times += 1;
        }
        (outcome, times)
    }

    /// Connections that nobody has answered, by worker.
    fn connections(&self, port: PortIndex) -> Vec<u64> {
        self.0.iter().map(|worker| worker.connections.port_stats(port).unanswered).collect()
    }
}

#[test]
fn flows_are_spread_and_each_is_one_workers() {
    let mut team = Team::new();
    for port in 0..400u16 {
        let segment = payload(6, SYN, [1024 + port, 80], false);
        let frame = packet(B, A, (ip("10.0.1.10"), ip("10.0.1.20")), 6, &segment);
        let (outcome, times) = team.send((port % 4) as u8, AT_A, &frame);
        assert!(matches!(outcome, Outcome::Sent(UPLINK, _)) && times <= 1, "{outcome:?}");
    }
    let connections = team.connections(AT_A);
    assert_eq!(connections.iter().sum::<u64>(), 400);
    assert!(connections.iter().all(|&of| (60..140).contains(&of)), "{connections:?}");
    // The answer comes in at any worker, and is let in by the one that let the question out (SEC-2).
    for port in 0..400u16 {
        let end = |at: &str| ends().into_iter().find(|end| end.0 == at).unwrap();
        let answer = payload(6, SYN | ACK, [80, 1024 + port], false);
        let (from, frame) = frame(end("10.0.1.20"), end("10.0.1.10"), 6, &answer, 2);
        let (outcome, _) = team.send((port % 3) as u8, from, &frame);
        assert!(matches!(outcome, Outcome::Sent(AT_A, _)), "{outcome:?}");
    }
    assert_eq!(team.connections(AT_A), [0; 4]);
}

#[test]
fn each_worker_has_an_equal_part_of_what_an_eni_may_have() {
    let a_second = |rate| Some(Allowance { rate, burst: rate });
    let lab = Lab::tracking(AttachmentOptions {
        workers: 4,
        connections_max: Some(10),
        connections_reserved: 4,
        packets: a_second(4),
        connections: a_second(400),
        ..AttachmentOptions::NOTHING_STATED
    });
    let eni = lab.tables.local_eni(AT_A).unwrap();
    let Tenant { most, reserved, .. } = eni.tenant();
    assert_eq!((most, reserved), (Some(3), 1));
    let limits = eni.limits.as_ref().unwrap();
    assert_eq!((limits.packets, limits.connections), (a_second(1), a_second(100)));
    // A node that has fewer workers.
    let mut lab = Lab::of(VXLAN, Site { workers: 2, ..site(VXLAN, 1) }, Neighbours(true));
    lab.change(share);
    assert_eq!(lab.tables.local_eni(AT_A).unwrap().workers, 2);
}

#[test]
fn a_second_tag_is_never_taken_for_the_first() {
    use warren::tables::VlanMode;

    let mut site = site(VXLAN, 1);
    site.ports[usize::from(AT_A.0)].vlan = VlanMode::Strip;
    for part in 0..WORKERS {
        let mut lab = Lab::of(VXLAN, site.clone(), Neighbours(true));
        lab.change(share);
        lab.sink.part = Some(part);
        let frame = packet(B, A, (ip("10.0.1.10"), ip("10.0.1.20")), 17, &udp(1, 2, &[]));
        let once = tagged(&frame, 0x8100);
        assert!(!matches!(lab.send(AT_A, &once), Outcome::Dropped(_)));
        lab.drops(AT_A, &tagged(&once, 0x8100), Reason::Vlan);
    }
}

#[test]
fn what_waits_for_an_eni_that_has_left_is_dropped_by_name() {
    let mut lab = Lab::new(VXLAN);
    let frame = packet(B, A, (ip("10.0.1.10"), ip("10.0.1.20")), 17, &udp(1, 2, &[]));
    let at = |port, vni| AtEni { port, direction: Direction::Egress, vni: vni_of(vni) };
    assert!(matches!(lab.take_over(at(AT_A, V), &frame), Outcome::Sent(UPLINK, _)));
    for elsewhere in [at(AT_A, OTHER), at(EMPTY, V), at(UPLINK, V)] {
        assert_eq!(lab.take_over(elsewhere, &frame), Outcome::Dropped(Reason::NoEni));
    }
}

/// A packet between two ends.
#[derive(Clone, Copy, Debug)]
enum Message {
    /// Whole, of a protocol, with flags of TCP.
    Whole(u8, u8),
    /// Of a UDP datagram with an identification: its first fragment, or a later one.
    Fragment(u8, bool),
    /// An ICMP error about a datagram, or a segment, that went the other way.
    Error(u8),
}

fn message() -> impl Strategy<Value = Message> {
    let flags = select(vec![SYN, SYN | ACK, ACK, ACK, FIN | ACK, RST]);
    prop_oneof![
        4 => (select(vec![1u8, 6, 6, 17]), flags).prop_map(|(protocol, flags)| Message::Whole(protocol, flags)),
        3 => (0u8..3, any::<bool>()).prop_map(|(id, first)| Message::Fragment(id, first)),
        1 => select(vec![6u8, 17]).prop_map(Message::Error),
    ]
}

/// The frame of a message, and the port that it comes in through.
fn frame_of(from: End, to: End, message: Message, ports: [u16; 2]) -> (PortIndex, Vec<u8>) {
    match message {
        Message::Whole(protocol, flags) => {
            frame(from, to, protocol, &payload(protocol, flags, ports, false), 2)
        }
        Message::Fragment(id, first) => {
            let data = if first { udp(ports[0], ports[1], &[0; 16]) } else { vec![0; 24] };
            let (port, mut frame) = frame(from, to, 17, &data, 2);
            let start = if port == UPLINK { 50 } else { 0 };
            let field: u16 = if first { 0x2000 } else { 3 };
            frame[start + 18..start + 20].copy_from_slice(&[0, id]);
            frame[start + 20..start + 22].copy_from_slice(&field.to_be_bytes());
            fix_ipv4(&mut frame[start..]);
            (port, frame)
        }
        Message::Error(protocol) => {
            let [source, destination] = ports;
            let about = payload(protocol, ACK, [destination, source], false);
            let about = packet(A, A, (ip(to.0), ip(from.0)), protocol, &about);
            let mut error = [&[3, 1, 0, 0, 0, 0, 0, 0][..], &about[14..42]].concat();
            let sum = crate::frames::checksum(&error);
            error[2..4].copy_from_slice(&sum.to_be_bytes());
            frame(from, to, 1, &error, 2)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// Any packets, fragments in any order and errors among them, at any workers.
    #[test]
    fn several_workers_do_what_one_does(
        steps in vec(
            (0..WORKERS, select(ends()), select(ends()), message(), select(vec![[1025, 80], [80, 1025], [1026, 81], [81, 1026]])),
            1..150,
        ),
    ) {
        let (mut one, mut team) = (Lab::tracking(AttachmentOptions::NOTHING_STATED), Team::new());
        for (worker, from, to, message, ports) in steps {
            let (port, frame) = frame_of(from, to, message, ports);
            let (outcome, times) = team.send(worker, port, &frame);
            prop_assert_eq!(outcome, one.send(port, &frame), "{:?} {:?} to {:?}", message, from, to);
            // To whom it belongs at the sender, and at the receiver; fragments once more each.
            prop_assert!(times <= 4);
        }
    }
}
