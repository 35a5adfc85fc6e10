//! What holds for any packet: two hosts understand each other, and nothing panics or gets lost.

use proptest::{collection::vec, prelude::*};
use warren::{
    packet::{HeapBuffer, Mac},
    pipeline::Reason,
    tables::PortIndex,
};

use crate::{
    frames::{Outer, datagram, ip, packet, readdressed, udp},
    lab::*,
};

/// A way from an ENI of host-a to one of host-b: port and MAC of the sender, MAC and port of the receiver, the receiver's
/// router, whether they share a subnet, and the last parts of their addresses.
#[derive(Clone, Copy, Debug)]
struct Way {
    from: (PortIndex, Mac, Mac),
    to: (PortIndex, Mac, Mac),
    same_subnet: bool,
    v4: (&'static str, &'static str),
    v6: (&'static str, &'static str),
}

fn ways() -> [Way; 4] {
    let a = (AT_A, A, r1());
    let fw = (AT_FW, FW, r1());
    let c2 = (AT_C2, C2, r2());
    let b = (PortIndex(0), B, r1());
    let c = (PortIndex(1), C, r2());
    let (v4_b, v6_b) = ("10.0.1.20", "2001:db8:0:101::b");
    let (v4_c, v6_c) = ("10.0.2.10", "2001:db8:0:102::c");
    [
        Way { from: a, to: b, same_subnet: true, v4: ("10.0.1.11", v4_b), v6: ("2001:db8:0:101::a", v6_b) },
        Way {
            from: a,
            to: c,
            same_subnet: false,
            v4: ("10.0.1.40", v4_c),
            v6: ("2001:db8:0:101:a::9", v6_c),
        },
        // FW sends what others sent to it (ADDR-8).
        Way { from: fw, to: b, same_subnet: true, v4: ("198.51.100.7", v4_b), v6: ("2001:db8:9::1", v6_b) },
        Way { from: c2, to: c, same_subnet: true, v4: ("10.0.2.20", v4_c), v6: ("2001:db8:0:102::c2", v6_c) },
    ]
}

thread_local! {
    /// host-a and host-b on each wire.
    static PAIRS: std::cell::RefCell<Vec<(Lab, Lab)>> = std::cell::RefCell::new(
        WIRES.into_iter().map(|wire| (Lab::new(wire), Lab::of(wire, site(wire, 2), Neighbours(true)))).collect(),
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) })]

    /// P-2, FWD-5, FWD-6: what host-a sends, host-b delivers, with the MACs of the path and not an octet else changed.
    #[test]
    fn what_one_host_encapsulates_the_other_delivers(
        wire in 0..WIRES.len(),
        way in prop::sample::select(ways().to_vec()),
        routed: bool,
        v6: bool,
        traffic_class: u8,
        protocol in prop::sample::select(vec![17u8, 50, 47]),
        data in vec(any::<u8>(), 0..1400),
        padding in 0usize..8,
    ) {
        let routed = routed || !way.same_subnet;
        let (source, destination) = if v6 { way.v6 } else { way.v4 };
        let payload = if protocol == 17 { udp(1024, 53, &data) } else { data };
        let to = if routed { way.from.2 } else { way.to.1 };
        let mut frame = packet(to, way.from.1, (ip(source), ip(destination)), protocol, &payload);
        if v6 {
            frame[14] |= traffic_class >> 4;
            frame[15] |= traffic_class << 4;
        } else {
            frame[15] = traffic_class;
        }
        frame.resize(frame.len() + padding, 0);
        let expected = if routed { readdressed(&frame, way.to.1, way.to.2) } else { frame.clone() };
        PAIRS.with_borrow_mut(|pairs| {
            let (here, there) = &mut pairs[wire];
            let Outcome::Sent(UPLINK, outer) = here.send(way.from.0, &frame) else { panic!("not sent") };
            prop_assert_eq!(there.send(UPLINK, &outer), Outcome::Sent(way.to.0, expected));
            Ok(())
        })?;
    }

    /// Whatever arrives, on any port: no panic, and each packet is sent, handed over, punted or counted as dropped.
    #[test]
    fn every_packet_is_accounted_for(
        wire in 0..WIRES.len(),
        port in 0u16..7,
        foreign: bool,
        frames in vec(prop_oneof![vec(any::<u8>(), 0..200), damaged()], 1..64),
    ) {
        PAIRS.with_borrow_mut(|pairs| {
            let lab = &mut pairs[wire].0;
            lab.sink.foreign = if foreign { vec![AT_A, AT_C2] } else { Vec::new() };
            let count = frames.len();
            let all_drops = |lab: &Lab| -> u64 {
                (0..7).flat_map(|port| Reason::ALL.iter().map(move |&reason| (PortIndex(port), reason)))
                    .map(|(port, reason)| lab.counters.port(port).drops(reason)).sum()
            };
            let before = all_drops(lab);
            let outcomes = lab.burst(PortIndex(port), frames.iter().map(|frame| HeapBuffer::new(frame)));
            lab.sink.foreign.clear();
            lab.sink.learned.clear();
            lab.sink.told.clear();
            let dropped = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Dropped(_))).count();
            prop_assert_eq!(outcomes.len(), count);
            prop_assert_eq!(all_drops(lab) - before, dropped as u64);
            Ok(())
        })?;
    }
}

/// Good frames of instances and of all wires, with a few octets changed and the end cut off, or not.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let inner = datagram(A, r1(), "10.0.2.10", "10.0.1.10");
    let mut good = vec![
        datagram(r1(), A, "10.0.1.10", "10.0.2.10"),
        datagram(B2, A, "10.0.1.10", "10.0.1.21"),
        datagram(r2(), C2, "2001:db8:0:102::c2", "2001:db8:0:101::a"),
        warren::packet::nd::solicitation(A, A.link_local(), B.link_local(), None).to_vec(),
        warren::packet::arp::Arp {
            operation: warren::packet::arp::Operation::Request,
            sender_mac: A,
            sender_ip: [10, 0, 1, 10].into(),
            target_mac: Mac::ZERO,
            target_ip: [10, 0, 1, 20].into(),
        }
        .frame(Mac::BROADCAST)
        .to_vec(),
    ];
    good.extend(WIRES.map(|wire| Outer::new(wire, 2, V, Some((V, C))).around(&inner)));
    let change = (any::<prop::sample::Index>(), any::<u8>());
    (prop::sample::select(good), vec(change, 0..4), prop::option::of(any::<prop::sample::Index>())).prop_map(
        |(mut frame, changes, cut)| {
            for (at, octet) in changes {
                let at = at.index(frame.len());
                frame[at] = octet;
            }
            if let Some(cut) = cut {
                frame.truncate(cut.index(frame.len()));
            }
            frame
        },
    )
}
