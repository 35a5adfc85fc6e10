//! MTU, fragments, and what the router says by ICMP (groups MTU and FWD, ADDR-23).

use std::time::Duration;

use proptest::prelude::*;
use warren::{
    packet::{HeapBuffer, Mac},
    pipeline::Reason,
    services::nd,
    tables::PortIndex,
};

use crate::{
    frames::{checksum, datagram, ip, packet, readdressed, udp},
    ingress::Marked,
    lab::{
        A, AT_A, AT_B2, AT_C2, AT_FW, B, B2, C, C2, FW, Lab, Neighbours, Outcome, UPLINK, VXLAN, WIRES, Wire,
        r1, r2, site, uplink,
    },
};

const A6: &str = "2001:db8:0:101::a";
const C6: &str = "2001:db8:0:102::c";

/// host-a with jumbo frames on its instance ports and an uplink of so many bytes.
fn lab(wire: Wire, uplink_mtu: u16) -> Lab {
    let mut site = site(wire, 1);
    site.ports.iter_mut().for_each(|port| port.mtu = 9001);
    uplink(&mut site).mtu = uplink_mtu;
    Lab::of(wire, site, Neighbours(true))
}

/// A frame of A with a UDP datagram in an IP packet of `len` bytes, with DSCP and ECN.
fn sized(to: Mac, source: &str, destination: &str, len: usize) -> Vec<u8> {
    let ends = (ip(source), ip(destination));
    let header = if ends.0.is_ipv4() { 20 } else { 40 };
    let data: Vec<u8> = (0..len - header - 8).map(|at| at as u8).collect();
    let mut frame = packet(to, A, ends, 17, &udp(40_000, 9, &data));
    if ends.0.is_ipv4() {
        frame[15] = 0xb9;
        fix(&mut frame);
    } else {
        frame[14..16].copy_from_slice(&[0x6b, 0x90]);
    }
    frame
}

/// Fills in the IPv4 header checksum.
fn fix(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let header = 14 + usize::from(frame[14] & 15) * 4;
    let sum = checksum(&frame[14..header]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// The frame with other flags and offset.
fn flagged(mut frame: Vec<u8>, field: u16) -> Vec<u8> {
    frame[20..22].copy_from_slice(&field.to_be_bytes());
    fix(&mut frame);
    frame
}

/// The inner frame of one that was sent to a host, and what the underlay sees of its flow.
fn inner(wire: Wire, outcome: &Outcome) -> (Vec<u8>, Vec<u8>) {
    let Outcome::Sent(UPLINK, outer) = outcome else { panic!("not sent to the uplink: {outcome:?}") };
    let udp = if wire.ipv6 { 54 } else { 34 };
    // Addresses and ports; IPv6: the flow label too.
    let mut flow = outer[26..udp + 4].to_vec();
    if wire.ipv6 {
        flow.extend([outer[15] & 15, outer[16], outer[17]]);
        assert_eq!(outer[14] << 4 | outer[15] >> 4, 0xb9, "the inner packet's DSCP and ECN");
    } else {
        assert_eq!(outer[15], 0xb9, "the inner packet's DSCP and ECN");
    }
    (outer[wire.encapsulation.overhead(wire.ipv6)..].to_vec(), flow)
}

/// The data of fragments in order, with offsets and flags checked; `start` is the first's offset in octets.
fn reassembled(fragments: &[Vec<u8>], start: usize, more: bool) -> Vec<u8> {
    let mut data = Vec::new();
    for (position, fragment) in fragments.iter().enumerate() {
        let field = u16::from_be_bytes([fragment[20], fragment[21]]);
        assert_eq!(usize::from(field & 0x1fff) * 8, start + data.len());
        assert_eq!(field & 0x2000 != 0, more || position + 1 < fragments.len());
        assert_eq!(checksum(&fragment[14..34]), 0);
        assert_eq!(usize::from(u16::from_be_bytes([fragment[16], fragment[17]])), fragment.len() - 14);
        data.extend(&fragment[34..]);
    }
    data
}

#[test]
fn mtu_1_and_2_and_fwd_5_9001_pass_unchanged_and_9002_do_not() {
    for wire in WIRES {
        let mut lab = lab(wire, 9100);
        for (source, near, far) in [("10.0.1.10", "10.0.2.20", "10.0.2.10"), (A6, "2001:db8:0:102::c2", C6)] {
            let frame = sized(r1(), source, near, 9001);
            lab.sends(AT_A, &frame, AT_C2, &readdressed(&frame, C2, r2()));
            let frame = sized(r1(), source, far, 9001);
            let outcome = lab.send(AT_A, &frame);
            assert_eq!(inner(wire, &outcome).0, readdressed(&frame, C, r2()));
            for to in [near, far] {
                lab.drops(AT_A, &sized(r1(), source, to, 9002), Reason::OversizeFrame);
            }
        }
    }
}

#[test]
fn mtu_7_a_packet_to_the_same_host_knows_no_path() {
    let mut lab = lab(VXLAN, 1500);
    let frame = sized(B2, "10.0.1.10", "10.0.1.21", 9001);
    lab.sends(AT_A, &frame, AT_B2, &frame);
    let frame = sized(r1(), A6, "2001:db8:0:102::c2", 9001);
    lab.sends(AT_A, &frame, AT_C2, &readdressed(&frame, C2, r2()));
}

/// The error about a frame of A, made the plain way.
fn error(about: &[u8], mtu: u16) -> Vec<u8> {
    let v4 = about[14] >> 4 == 4;
    let kind = if v4 { [3, 4, 0, 0] } else { [2, 0, 0, 0] };
    let most = if v4 { 576 - 28 } else { 1280 - 48 };
    let quoted = &about[14..about.len().min(14 + most)];
    let mut message = [&kind[..], &u32::from(mtu).to_be_bytes(), quoted].concat();
    if v4 {
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let source = std::net::Ipv4Addr::new(about[26], about[27], about[28], about[29]);
        let mut frame = packet(A, r1(), (ip("10.0.1.1"), source.into()), 1, &message);
        frame[15] = 0xc0;
        frame[18..20].fill(0);
        frame[22] = 64;
        fix(&mut frame);
        frame
    } else {
        let router = nd::ROUTER.octets();
        let len = (message.len() as u32).to_be_bytes();
        let sum = checksum(&[&router[..], &about[22..38], &len, &[0, 0, 0, 58], &message].concat());
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let source: [u8; 16] = about[22..38].try_into().unwrap();
        let ends = (nd::ROUTER.into(), std::net::Ipv6Addr::from(source).into());
        let mut frame = packet(A, r1(), ends, 58, &message);
        frame[14] = 0x6c;
        frame[21] = 64;
        frame
    }
}

#[test]
fn mtu_3_and_4_too_big_and_not_to_be_fragmented_is_told_the_sender() {
    for wire in WIRES {
        let path = 1500 - wire.encapsulation.overhead(wire.ipv6);
        let mut lab = lab(wire, 1500);
        // Routed, and in the subnet.
        for (to, source, destination, at) in [
            (r1(), "10.0.1.10", "10.0.2.10", (C, r2())),
            (B, "10.0.1.10", "10.0.1.20", (B, A)),
            (B, "10.0.1.11", "10.0.1.20", (B, A)),
            (r1(), A6, C6, (C, r2())),
        ] {
            let fits = sized(to, source, destination, path);
            let outcome = lab.send(AT_A, &fits);
            assert_eq!(inner(wire, &outcome).0, readdressed(&fits, at.0, at.1));
            let big = sized(to, source, destination, path + 1);
            let expected = [Outcome::Sent(AT_A, error(&big, path as u16)), Outcome::Dropped(Reason::MtuDf)];
            assert_eq!(lab.burst(AT_A, [HeapBuffer::new(&big)]), expected);
        }
        // Padding is no part of the packet.
        let fits = sized(B, "10.0.1.10", "10.0.1.20", path);
        let padded = [&fits[..], &[0; 40]].concat();
        let outcome = lab.send(AT_A, &padded);
        assert_eq!(inner(wire, &outcome).0, fits);
        let fits = sized(r1(), A6, C6, path);
        let outcome = lab.send(AT_A, &[&fits[..], &[0; 40]].concat());
        assert_eq!(inner(wire, &outcome).0, readdressed(&fits, C, r2()));
    }
}

#[test]
fn an_appliance_hears_of_what_it_passed_on() {
    let mut lab = lab(VXLAN, 1500);
    // From A, passed on by FW: the error is for A, by way of FW.
    let big = readdressed(&sized(r1(), "10.0.1.10", "10.0.2.10", 1451), r1(), FW);
    let expected =
        [Outcome::Sent(AT_FW, readdressed(&error(&big, 1450), FW, r1())), Outcome::Dropped(Reason::MtuDf)];
    assert_eq!(lab.burst(AT_FW, [HeapBuffer::new(&big)]), expected);
    // From nobody: silence.
    for source in ["0.0.0.0", "224.0.0.1", "127.0.0.1"] {
        lab.drops(AT_FW, &readdressed(&sized(r1(), source, "10.0.2.10", 1451), r1(), FW), Reason::MtuDf);
    }
}

#[test]
fn mtu_10_errors_are_limited_for_each_eni() {
    let mut lab = lab(VXLAN, 1500);
    let big = sized(r1(), "10.0.1.10", "10.0.2.10", 1451);
    let answers = |lab: &mut Lab, port: PortIndex, frame: &[u8], count: usize| {
        let mut answers = 0;
        for _ in 0..count {
            let outcomes = lab.burst(port, [HeapBuffer::new(frame)]);
            assert_eq!(outcomes.last(), Some(&Outcome::Dropped(Reason::MtuDf)));
            answers += outcomes.len() - 1;
        }
        answers
    };
    assert_eq!(answers(&mut lab, AT_A, &big, 300), 100);
    let others = readdressed(&sized(r1(), "10.0.1.21", "10.0.2.10", 1451), r1(), B2);
    assert_eq!(answers(&mut lab, AT_B2, &others, 300), 100, "another ENI's");
    lab.now += Duration::from_millis(9);
    assert_eq!(answers(&mut lab, AT_A, &big, 10), 0);
    lab.now += Duration::from_millis(1);
    assert_eq!(answers(&mut lab, AT_A, &big, 10), 1);
    lab.now += Duration::from_secs(60);
    assert_eq!(answers(&mut lab, AT_A, &sized(r1(), A6, C6, 1451), 300), 100);
    // What is not answered uses nothing up.
    lab.now += Duration::from_secs(1);
    let silent =
        packet(r1(), A, (ip("10.0.1.10"), ip("10.0.2.10")), 1, &[[11, 0], [0; 2]].concat().repeat(400));
    assert_eq!(answers(&mut lab, AT_A, &silent, 100), 0);
    assert_eq!(answers(&mut lab, AT_A, &big, 200), 100);
}

#[test]
fn no_error_about_an_error_nor_a_later_fragment() {
    let mut lab = lab(VXLAN, 1500);
    for kind in [3_u8, 4, 5, 11, 12] {
        let message = [&[kind, 0, 0, 0][..], &[0; 1500]].concat();
        let big = packet(r1(), A, (ip("10.0.1.10"), ip("10.0.2.10")), 1, &message);
        lab.drops(AT_A, &big, Reason::MtuDf);
    }
    for kind in [1_u8, 2, 3, 4, 100] {
        let message = [&[kind, 0, 0, 0][..], &[0; 1500]].concat();
        lab.drops(AT_A, &packet(r1(), A, (ip(A6), ip(C6)), 58, &message), Reason::MtuDf);
    }
    // DF and an offset; IPv6: a fragment header with one.
    let later = flagged(sized(r1(), "10.0.1.10", "10.0.2.10", 1451), 0x4010);
    lab.drops(AT_A, &later, Reason::MtuDf);
    let fragment = [&[17, 0, 0, 0x80, 0, 0, 0, 1][..], &[0; 1500]].concat();
    lab.drops(AT_A, &packet(r1(), A, (ip(A6), ip(C6)), 44, &fragment), Reason::MtuDf);
    // An echo request is no error.
    let echo = [&[8, 0, 0, 0][..], &[0; 1500]].concat();
    let echo = packet(r1(), A, (ip("10.0.1.10"), ip("10.0.2.10")), 1, &echo);
    assert_eq!(lab.burst(AT_A, [HeapBuffer::new(&echo)]).len(), 2);
}

#[test]
fn mtu_3_without_df_fragments_arrive_on_one_path() {
    for wire in WIRES {
        let overhead = wire.encapsulation.overhead(wire.ipv6);
        let path = 1500 - overhead;
        let mut lab = lab(wire, 1500);
        for (to, destination, at) in [(r1(), "10.0.2.10", (C, r2())), (B, "10.0.1.20", (B, A))] {
            let small = flagged(sized(to, "10.0.1.10", destination, 100), 0);
            let outcome = lab.send(AT_A, &small);
            let (_, flow) = inner(wire, &outcome);
            for len in [path + 1, 4000, 9001] {
                let frame = flagged(sized(to, "10.0.1.10", destination, len), 0);
                let outcomes = lab.burst(AT_A, [HeapBuffer::new(&frame)]);
                assert_eq!(outcomes.len(), (len - 20).div_ceil((path - 20) / 8 * 8));
                let sent: Vec<_> = outcomes.iter().map(|outcome| inner(wire, outcome)).collect();
                assert!(sent.iter().all(|(_, of)| *of == flow), "the flow's path");
                let fragments: Vec<_> = sent.into_iter().map(|(fragment, _)| fragment).collect();
                for fragment in &fragments {
                    assert!(fragment.len() - 14 <= path);
                    assert_eq!(fragment[..14], readdressed(&frame, at.0, at.1)[..14]);
                    // Version, DSCP, ECN; identification; TTL 1, protocol; addresses.
                    assert_eq!((&fragment[14..16], &fragment[18..20]), (&frame[14..16], &frame[18..20]));
                    assert_eq!((&fragment[22..24], &fragment[26..34]), (&frame[22..24], &frame[26..34]));
                }
                assert_eq!(reassembled(&fragments, 0, false), frame[34..]);
            }
        }
        lab.drops(AT_A, &flagged(sized(r1(), "10.0.1.10", "10.0.2.10", 9002), 0), Reason::OversizeFrame);
    }
}

#[test]
fn fragments_are_limited_for_each_eni() {
    let mut lab = lab(VXLAN, 1500);
    let frame = flagged(sized(r1(), "10.0.1.10", "10.0.2.10", 1500), 0);
    for _ in 0..50_000 {
        assert_eq!(lab.burst(AT_A, [HeapBuffer::new(&frame)]).len(), 2);
    }
    lab.drops(AT_A, &frame, Reason::FragmentsLimited);
    // What fits and what is answered, are not affected, and neither is another ENI.
    assert!(matches!(lab.send(AT_A, &sized(r1(), "10.0.1.10", "10.0.2.10", 1000)), Outcome::Sent(UPLINK, _)));
    let passed_on = readdressed(&frame, r1(), FW);
    assert_eq!(lab.burst(AT_FW, [HeapBuffer::new(&passed_on)]).len(), 2);
    lab.now += Duration::from_millis(1);
    assert_eq!(lab.burst(AT_A, [HeapBuffer::new(&frame)]).len(), 2);
}

#[test]
fn mtu_8_fragments_of_a_datagram_follow_one_decision_on_one_path() {
    for wire in WIRES {
        let mut lab = lab(wire, 1500);
        let payload = &sized(r1(), "10.0.1.10", "10.0.2.10", 4000)[34..];
        let fragment = |part: &[u8], field| {
            let mut frame = packet(r1(), A, (ip("10.0.1.10"), ip("10.0.2.10")), 17, part);
            frame[15] = 0xb9;
            flagged(frame, field)
        };
        let first = fragment(&payload[..1360], 0x2000);
        let later = fragment(&payload[1360..2360], 0x2000 | 170);
        let large = fragment(&payload[2360..], 295);
        let mut flows = Vec::new();
        for frame in [&first, &later] {
            let outcome = lab.send(AT_A, frame);
            let (arrived, flow) = inner(wire, &outcome);
            assert_eq!(arrived, readdressed(frame, C, r2()));
            flows.push(flow);
        }
        // One that does not fit is cut again.
        let outcomes = lab.burst(AT_A, [HeapBuffer::new(&large)]);
        assert_eq!(outcomes.len(), 2);
        let sent: Vec<_> = outcomes.iter().map(|outcome| inner(wire, outcome)).collect();
        flows.extend(sent.iter().map(|(_, flow)| flow.clone()));
        assert!(flows.iter().all(|flow| *flow == flows[0]), "{flows:?}");
        let parts: Vec<_> = sent.into_iter().map(|(part, _)| part).collect();
        assert_eq!(reassembled(&parts, 2360, false), payload[2360..]);
        // And the same refusal.
        let mut stranger = [first, later, large];
        for frame in &mut stranger {
            frame[29] = 99;
            fix(frame);
            lab.drops(AT_A, frame, Reason::SrcCheck);
        }
    }
}

#[test]
fn what_cannot_be_fragmented_is_dropped_by_name() {
    let mut lab = lab(VXLAN, 1500);
    let frame = flagged(sized(r1(), "10.0.1.10", "10.0.2.10", 4000), 0);
    let outcomes = lab.burst(AT_A, [Marked::new(&frame)]);
    assert_eq!(outcomes, [Outcome::Dropped(Reason::NoBuffer)]);
    let mut wrong = frame.clone();
    wrong[24] ^= 1;
    lab.drops(AT_A, &wrong, Reason::Malformed);
    // An uplink that carries next to nothing.
    let outcomes = self::lab(VXLAN, 70).burst(AT_A, [HeapBuffer::new(&frame)]);
    assert_eq!(outcomes.last(), Some(&Outcome::Dropped(Reason::MtuDf)));
}

/// A SYN of A that tells a segment size, with a right checksum.
fn syn(to: Mac, source: &str, destination: &str, mss: u16) -> Vec<u8> {
    let ends = (ip(source), ip(destination));
    let mut segment =
        [&[0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4][..]].concat();
    segment.extend(mss.to_be_bytes());
    let frame = packet(to, A, ends, 6, &segment);
    let addresses = if ends.0.is_ipv4() { &frame[26..34] } else { &frame[22..54] };
    let sum = checksum(&[addresses, &[0, 6, 0, 24], &segment].concat());
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    packet(to, A, ends, 6, &segment)
}

#[test]
fn a_syn_on_a_narrow_path_tells_a_segment_that_fits() {
    for wire in WIRES {
        let overhead = wire.encapsulation.overhead(wire.ipv6);
        let path = 1500 - overhead as u16;
        let arrived = |lab: &mut Lab, frame: &[u8]| {
            let Outcome::Sent(UPLINK, outer) = lab.send(AT_A, frame) else { panic!("not sent") };
            outer[overhead..].to_vec()
        };
        for (source, far, near, headers) in
            [("10.0.1.10", "10.0.2.10", "10.0.2.20", 40), (A6, C6, "2001:db8:0:102::c2", 60)]
        {
            let told = |destination, mss| syn(r1(), source, destination, mss);
            let mut narrow = lab(wire, 1500);
            let expected = readdressed(&told(far, path - headers), C, r2());
            assert_eq!(arrived(&mut narrow, &told(far, 8961)), expected);
            assert_eq!(arrived(&mut narrow, &told(far, 536)), readdressed(&told(far, 536), C, r2()));
            // To the same host, or where everything fits, it stays.
            let near = told(near, 8961);
            narrow.sends(AT_A, &near, AT_C2, &readdressed(&near, C2, r2()));
            let mut wide = lab(wire, 9100);
            assert_eq!(arrived(&mut wide, &told(far, 8961)), readdressed(&told(far, 8961), C, r2()));
        }
    }
}

/// An echo request or reply, with right checksums.
fn echo(to: Mac, from: Mac, source: &str, destination: &str, reply: bool) -> Vec<u8> {
    let ends = (ip(source), ip(destination));
    let v4 = ends.0.is_ipv4();
    let kind = match (v4, reply) {
        (true, false) => 8,
        (true, true) => 0,
        (false, false) => 128,
        (false, true) => 129,
    };
    let mut message = [&[kind, 0, 0, 0, 0x12, 0x34, 0, 1][..], b"some data"].concat();
    let protocol = if v4 { 1 } else { 58 };
    let frame = packet(to, from, ends, protocol, &message);
    let pseudo = if v4 { Vec::new() } else { [&frame[22..54], &[0, 17, 0, 58]].concat() };
    let sum = checksum(&[&pseudo[..], &message].concat());
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = packet(to, from, ends, protocol, &message);
    if reply {
        if v4 {
            frame[18..20].fill(0);
            frame[22] = 64;
            fix(&mut frame);
        } else {
            frame[21] = 64;
        }
    }
    frame
}

#[test]
fn addr_23_the_own_router_answers_echo_and_no_other() {
    let mut lab = Lab::new(VXLAN);
    let own = r1().link_local().to_string();
    let routers = ["2001:db8:0:101::1", "fe80:ec2::1", &own];
    let link_local = A.link_local().to_string();
    for (source, router) in [("10.0.1.10", "10.0.1.1"), ("10.0.1.11", "10.0.1.1")]
        .into_iter()
        .chain(routers.map(|router| (A6, router)))
        .chain(routers.map(|router| (&*link_local, router)))
    {
        let reply = echo(A, r1(), router, source, true);
        lab.sends(AT_A, &echo(r1(), A, source, router, false), AT_A, &reply);
        lab.drops(AT_A, &echo(r1(), A, source, router, true), Reason::Service);
    }
    lab.drops(AT_A, &echo(r1(), A, "10.0.1.10", "10.0.2.1", false), Reason::NoMapping);
    lab.drops(AT_A, &echo(r1(), A, A6, "2001:db8:0:102::1", false), Reason::NoMapping);
    lab.drops(AT_A, &echo(r1(), A, "10.0.1.10", "10.0.1.2", false), Reason::NoMapping);
    // ADDR-24
    lab.drops(AT_A, &datagram(r1(), A, "10.0.1.10", "10.0.1.1"), Reason::Service);
    let mut wrong = echo(r1(), A, "10.0.1.10", "10.0.1.1", false);
    wrong[40] ^= 1;
    lab.drops(AT_A, &wrong, Reason::Malformed);
    lab.drops(AT_A, &flagged(echo(r1(), A, "10.0.1.10", "10.0.1.1", false), 0x0010), Reason::Service);
    // An appliance asks for others too.
    let passed_on = echo(r1(), FW, "203.0.113.9", "10.0.1.1", false);
    lab.sends(AT_FW, &passed_on, AT_FW, &echo(FW, r1(), "10.0.1.1", "203.0.113.9", true));
}

#[test]
fn echo_shares_the_allowance_of_answers() {
    let mut lab = Lab::new(VXLAN);
    let (request, reply) =
        (echo(r1(), A, "10.0.1.10", "10.0.1.1", false), echo(A, r1(), "10.0.1.1", "10.0.1.10", true));
    for _ in 0..1024 {
        lab.sends(AT_A, &request, AT_A, &reply);
    }
    lab.drops(AT_A, &request, Reason::AnswersLimited);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// Whatever the path carries: nothing longer leaves, and a packet arrives whole, in fragments, or not at all.
    #[test]
    fn nothing_longer_than_the_path_leaves(
        wire in 0..WIRES.len(),
        len in 68usize..=9001,
        uplink_mtu in 200u16..2000,
        v6: bool,
        df: bool,
        padding in 0usize..100,
    ) {
        let wire = WIRES[wire];
        let path = usize::from(uplink_mtu) - wire.encapsulation.overhead(wire.ipv6);
        let frame = if v6 { sized(r1(), A6, C6, len) } else { sized(r1(), "10.0.1.10", "10.0.2.10", len) };
        let frame = if v6 || df { frame } else { flagged(frame, 0) };
        let padded = [&frame[..], &vec![0; padding]].concat();
        let outcomes = lab(wire, uplink_mtu).burst(AT_A, [HeapBuffer::new(&padded)]);
        if len > path && (v6 || df) {
            let told = error(&frame, path as u16);
            prop_assert_eq!(outcomes, [Outcome::Sent(AT_A, told), Outcome::Dropped(Reason::MtuDf)]);
            return Ok(());
        }
        let arrived: Vec<_> = outcomes.iter().map(|outcome| inner(wire, outcome).0).collect();
        if len <= path {
            prop_assert!(arrived.len() == 1 && arrived[0].starts_with(&readdressed(&frame, C, r2())));
        } else {
            prop_assert!(arrived.iter().all(|fragment| fragment.len() - 14 <= path));
            prop_assert_eq!(reassembled(&arrived, 0, false), &frame[34..]);
        }
        for outcome in &outcomes {
            let Outcome::Sent(_, outer) = outcome else { unreachable!() };
            prop_assert!(outer.len() - 14 <= uplink_mtu.into());
        }
    }
}
