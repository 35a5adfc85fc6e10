//! Traffic mirroring: MIR rules.

use std::net::Ipv4Addr;

use warren::{
    model::{Allowance, AttachmentOptions, Peer, SecurityGroup},
    packet::{Encapsulation, HeapBuffer, Mac},
    pipeline::Reason,
    tables::PortIndex,
};

use crate::{
    frames::{Outer, checksum, datagram, ethernet, ip, packet, readdressed, udp},
    lab::*,
};

/// A session of eni-a that copies everything to an ENI, with VNI 77.
fn mirrored(target: &str) -> String {
    session("tms-1", "eni-a", 1, &format!("{}{}", self::target(target), filter("tmf-1", ALL, "")))
}

const ALL: &str = "{RuleNumber: 1, RuleAction: accept, SourceCidrBlock: 0.0.0.0/0, DestinationCidrBlock: 0.0.0.0/0}, \
                   {RuleNumber: 2, RuleAction: accept, SourceCidrBlock: '::/0', DestinationCidrBlock: '::/0'}";

fn target(eni: &str) -> String {
    format!("TrafficMirrorTargets:\n- {{TrafficMirrorTargetId: tmt-1, NetworkInterfaceId: {eni}}}\n")
}

fn filter(id: &str, rules: &str, more: &str) -> String {
    format!(
        "TrafficMirrorFilters:\n- {{TrafficMirrorFilterId: {id}, IngressFilterRules: [{rules}], \
         EgressFilterRules: [{rules}]{more}}}\n"
    )
}

fn session(id: &str, eni: &str, number: u16, with: &str) -> String {
    format!("{with}TrafficMirrorSessions:\n{}", one_more(id, eni, number, "tmf-1", ""))
}

fn one_more(id: &str, eni: &str, number: u16, filter: &str, more: &str) -> String {
    let vni = 76 + u32::from(number);
    format!(
        "- {{TrafficMirrorSessionId: {id}, NetworkInterfaceId: {eni}, TrafficMirrorTargetId: tmt-1, \
         TrafficMirrorFilterId: {filter}, SessionNumber: {number}, VirtualNetworkId: {vni}{more}}}\n"
    )
}

fn lab(wire: Wire, state: &str) -> Lab {
    let mut lab = Lab::new(wire);
    lab.add(state);
    lab
}

/// A copy, as its target reads it.
#[derive(Debug, PartialEq, Eq)]
struct Copy {
    macs: (Mac, Mac),
    from: Ipv4Addr,
    to: Ipv4Addr,
    vni: u32,
    frame: Vec<u8>,
}

impl Copy {
    /// Reads VXLAN over IPv4 (RFC 7348) without options.
    #[track_caller]
    fn read(copy: &[u8]) -> Self {
        let word = |at: usize| u16::from_be_bytes([copy[at], copy[at + 1]]);
        let address = |at: usize| Ipv4Addr::new(copy[at], copy[at + 1], copy[at + 2], copy[at + 3]);
        let mac = |at: usize| Mac(copy[at..at + 6].try_into().unwrap());
        assert_eq!((word(12), copy[14], copy[23], checksum(&copy[14..34])), (0x0800, 0x45, 17, 0));
        assert_eq!((usize::from(word(16)), usize::from(word(38))), (copy.len() - 14, copy.len() - 34));
        assert_eq!((word(36), copy[42]), (4789, 8));
        assert!(word(34) >= 49_152 && word(40) == 0);
        Self {
            macs: (mac(0), mac(6)),
            from: address(26),
            to: address(30),
            vni: u32::from_be_bytes([0, copy[46], copy[47], copy[48]]),
            frame: copy[50..].to_vec(),
        }
    }

    /// Of A's frame at C2, which is on the same host in another subnet.
    fn at_c2(frame: &[u8]) -> Self {
        let [from, to] = ["10.0.1.10", "10.0.2.20"].map(|address| address.parse().unwrap());
        Self { macs: (C2, r2()), from, to, vni: 77, frame: frame.to_vec() }
    }
}

/// What happens to a frame, apart from copies to the ENI at a port, and these.
#[track_caller]
fn sent(lab: &mut Lab, from: PortIndex, frame: &[u8], target: PortIndex) -> (Vec<Outcome>, Vec<Copy>) {
    let outcomes = lab.burst(from, [HeapBuffer::new(frame)]);
    let is_copy = |outcome: &Outcome| matches!(outcome, Outcome::Sent(port, _) if *port == target);
    let (copies, others) = outcomes.into_iter().partition::<Vec<_>, _>(is_copy);
    let read = |outcome: &Outcome| match outcome {
        Outcome::Sent(_, copy) => Copy::read(copy),
        _ => unreachable!(),
    };
    (others, copies.iter().map(read).collect())
}

#[test]
fn mir_1_what_an_eni_sends_and_gets_is_copied_as_it_is_there() {
    let mut lab = lab(VXLAN, &mirrored("eni-c2"));
    let out = datagram(r1(), A, "10.0.1.10", "10.0.1.21");
    let (outcomes, copies) = sent(&mut lab, AT_A, &out, AT_C2);
    // Routed within the subnet; the copy has the MACs that A has sent.
    assert_eq!(outcomes, [Outcome::Sent(AT_B2, readdressed(&out, B2, r1()))]);
    assert_eq!(copies, [Copy::at_c2(&out)]);

    let back = datagram(A, r1(), "10.0.2.10", "10.0.1.10");
    let (outcomes, copies) = sent(&mut lab, UPLINK, &Outer::new(VXLAN, 2, V, None).around(&back), AT_C2);
    assert_eq!(outcomes, [Outcome::Sent(AT_A, back.clone())]);
    assert_eq!(copies, [Copy::at_c2(&back)]);

    let v6 = datagram(B2, A, "2001:db8:0:101::a", "2001:db8:0:101::b2");
    assert_eq!(sent(&mut lab, AT_A, &v6, AT_C2).1, [Copy::at_c2(&v6)]);
    // Nobody watches B2.
    let others = datagram(FW, B2, "10.0.1.21", "10.0.1.30");
    assert_eq!(sent(&mut lab, AT_B2, &others, AT_C2), (vec![Outcome::Sent(AT_FW, others)], vec![]));
}

#[test]
fn mir_1_a_target_at_another_host_gets_copies_over_the_underlay() {
    for wire in WIRES {
        let mut lab = lab(wire, &mirrored("eni-c"));
        let out = datagram(B2, A, "10.0.1.10", "10.0.1.21");
        let (outcomes, copies): (Vec<_>, Vec<_>) = lab
            .burst(AT_A, [HeapBuffer::new(&out)])
            .into_iter()
            .partition(|outcome| matches!(outcome, Outcome::Sent(AT_B2, _)));
        assert_eq!(outcomes, [Outcome::Sent(AT_B2, out.clone())]);
        let [Outcome::Sent(UPLINK, outer)] = &copies[..] else { panic!("{wire:?}: {copies:?}") };
        let overhead = wire.encapsulation.overhead(wire.ipv6);
        let copy = Copy::read(&outer[overhead..]);
        assert_eq!((copy.macs, copy.vni, copy.frame), ((C, r2()), 77, out));
        let vni = overhead - if wire.encapsulation == Encapsulation::Vxlan { 4 } else { 20 };
        assert_eq!(outer[vni..vni + 3], [0, 0, V as u8], "it travels in the VPC");
    }
}

#[test]
fn mir_2_mir_3_the_first_session_that_takes_a_packet_copies_so_much_of_it() {
    let to_53 = "{RuleNumber: 5, RuleAction: accept, Protocol: 17, DestinationPortRange: {FromPort: 53, ToPort: 53}, \
                 SourceCidrBlock: 0.0.0.0/0, DestinationCidrBlock: 10.0.1.0/24}";
    let state = format!(
        "{}{}- {{TrafficMirrorFilterId: tmf-2, IngressFilterRules: [], EgressFilterRules: [{ALL}]}}\n\
         TrafficMirrorSessions:\n{}{}",
        target("eni-c2"),
        filter("tmf-1", to_53, ""),
        // Not in the order of their numbers.
        one_more("tms-2", "eni-a", 2, "tmf-2", ", PacketLength: 40"),
        one_more("tms-1", "eni-a", 1, "tmf-1", ""),
    );
    let mut lab = lab(VXLAN, &state);
    let to = |port| packet(B2, A, (ip("10.0.1.10"), ip("10.0.1.21")), 17, &udp(4000, port, b"0123456789"));
    assert_eq!(sent(&mut lab, AT_A, &to(53), AT_C2).1, [Copy::at_c2(&to(53))]);
    let (outcomes, copies) = sent(&mut lab, AT_A, &to(54), AT_C2);
    assert_eq!(outcomes, [Outcome::Sent(AT_B2, to(54))], "the packet itself is whole");
    assert_eq!(copies, [Copy { vni: 78, ..Copy::at_c2(&to(54)[..40]) }]);
}

#[test]
fn mir_4_a_copy_is_no_longer_than_the_mtu() {
    let mut lab = lab(VXLAN, &mirrored("eni-c2"));
    // 54 bytes come on top of an IP packet.
    for (size, copied) in [(1446, 1446), (1447, 1446), (1500, 1446)] {
        let payload = udp(4000, 9, &vec![7; size - 28]);
        let frame = packet(B2, A, (ip("10.0.1.10"), ip("10.0.1.21")), 17, &payload);
        let (outcomes, copies) = sent(&mut lab, AT_A, &frame, AT_C2);
        assert_eq!(outcomes, [Outcome::Sent(AT_B2, frame.clone())]);
        assert_eq!(copies, [Copy::at_c2(&frame[..14 + copied])]);
    }
}

#[test]
fn mir_5_what_the_node_answers_is_not_copied_and_the_resolver_if_asked_for() {
    let mut arp = ethernet(Mac::BROADCAST, A, 0x0806, &[0, 1, 8, 0, 6, 4, 0, 1]);
    arp.extend(A.0);
    arp.extend([10, 0, 1, 10, 0, 0, 0, 0, 0, 0, 10, 0, 1, 21]);
    let to = |address: &str, port| {
        packet(
            r1(),
            A,
            (ip("10.0.1.10"), ip(address)),
            17,
            &udp(if port == 67 { 68 } else { 4000 }, port, b""),
        )
    };
    let asked = [to("10.0.0.2", 53), to("169.254.169.253", 53)];
    let never = [
        arp,
        to("169.254.169.254", 80),
        to("169.254.169.123", 123),
        to("169.254.169.250", 1688),
        to("255.255.255.255", 67),
    ];
    let with_dns = format!("{}{}", target("eni-c2"), filter("tmf-1", ALL, ", NetworkServices: [amazon-dns]"));
    for (state, resolver) in [(mirrored("eni-c2"), 0), (session("tms-1", "eni-a", 1, &with_dns), 1)] {
        let mut lab = lab(VXLAN, &state);
        let mut copies = |frame: &[u8]| sent(&mut lab, AT_A, frame, AT_C2).1.len();
        assert!(never.iter().all(|frame| copies(frame) == 0));
        assert!(asked.iter().all(|frame| copies(frame) == resolver));
    }
}

#[test]
fn mir_6_what_groups_and_network_acls_drop_is_not_copied_and_copies_need_no_rule() {
    let mut lab = lab(VXLAN, &mirrored("eni-c2"));
    let (out, back) = (datagram(B2, A, "10.0.1.10", "10.0.1.21"), datagram(A, B2, "10.0.1.21", "10.0.1.10"));
    let group = |lab: &mut Lab, change: fn(&mut SecurityGroup)| {
        lab.change(|model| {
            let mut group = model.security_groups["sg-v"].clone();
            group.id = "sg-a".into();
            change(&mut group);
            model.enis.get_mut("eni-a").unwrap().groups = ["sg-a".into()].into();
            model.security_groups.insert("sg-a".into(), group);
        });
    };
    group(&mut lab, |group| group.ingress.clear());
    assert_eq!(sent(&mut lab, AT_B2, &back, AT_C2), (vec![Outcome::Dropped(Reason::SgIn)], vec![]));
    // Only to B2's address: the copy is to another.
    let to_b2 = |group: &mut SecurityGroup| {
        for permission in &mut group.egress {
            permission.ranges4 = vec![Peer { peer: "10.0.1.21/32".parse().unwrap(), description: None }];
        }
    };
    group(&mut lab, to_b2);
    assert_eq!(sent(&mut lab, AT_A, &out, AT_C2).1, [Copy::at_c2(&out)]);
    let refused = datagram(FW, A, "10.0.1.10", "10.0.1.30");
    assert_eq!(sent(&mut lab, AT_A, &refused, AT_C2), (vec![Outcome::Dropped(Reason::SgOut)], vec![]));
    // The target's own rules count: it takes copies like other packets (RFC 7348: UDP to port 4789).
    lab.change(|model| model.security_groups.get_mut("sg-v").unwrap().ingress.clear());
    assert_eq!(sent(&mut lab, AT_A, &out, AT_C2).1, []);
}

#[test]
fn copies_have_half_of_the_allowance_and_packets_all() {
    let mut lab = lab(VXLAN, &mirrored("eni-c2"));
    lab.change(|model| {
        let at = model.enis.get_mut("eni-a").unwrap().attachment.as_mut().unwrap();
        let packets = Some(Allowance { rate: 20, burst: 20 });
        at.options = Some(Box::new(AttachmentOptions { packets, ..AttachmentOptions::NOTHING_STATED }));
    });
    let out = datagram(B2, A, "10.0.1.10", "10.0.1.21");
    let (mut packets, mut copies) = (0, 0);
    for _ in 0..20 {
        let (outcomes, copied) = sent(&mut lab, AT_A, &out, AT_C2);
        packets += outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Sent(AT_B2, _))).count();
        copies += copied.len();
    }
    assert_eq!((packets, copies), (15, 5));
    assert_eq!(lab.counters.port(AT_A).drops(Reason::MirrorLimited), 10);
}

#[test]
fn a_target_that_is_nowhere_costs_copies_by_name_and_packets_nothing() {
    let mut lab = lab(VXLAN, &mirrored("eni-n"));
    let out = datagram(B2, A, "10.0.1.10", "10.0.1.21");
    let outcomes = lab.burst(AT_A, [HeapBuffer::new(&out)]);
    assert_eq!(outcomes, [Outcome::Sent(AT_B2, out), Outcome::Dropped(Reason::Unattached)]);
}
