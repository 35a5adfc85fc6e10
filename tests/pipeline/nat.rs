//! NAT gateways (GW-10 to GW-20), on the frames that an instance and the internet send.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use warren::{
    packet::{HeapBuffer, flow_hash, parse},
    pipeline::Reason,
    tables::{Peer, PeerIndex, Seat, Target, share_of_flow, share_of_port},
};

use crate::{
    edge::*,
    frames::{ACK, RST, SYN, datagram, fix_ipv4, ip, packet, set_ttl, udp},
    lab::*,
};

/// What the server sends back to what left, and what the client gets of it.
#[track_caller]
fn answered(lab: &mut Lab, protocol: u8, left: &[u8], (port, to): (u16, u16), flags: u8) {
    let nat = source_port(left);
    let echo = protocol == 1;
    let back = response(protocol, if echo { (0, nat) } else { (to, nat) }, flags);
    let ports = if echo { (0, port) } else { (to, port) };
    let mut expected = sound(A, r1(), (SERVER, CLIENT), protocol, &segment(protocol, ports, flags));
    set_ttl(&mut expected, 63);
    lab.sends(OUT, &back, AT_A, &expected);
}

#[test]
fn flows_go_out_and_back_gw_10() {
    for wire in WIRES {
        let mut lab = edge(wire, 1);
        for protocol in [6, 17, 1] {
            let ports = (40_000, if protocol == 1 { 0 } else { 80 });
            let frame = request(protocol, ports, SYN);
            let left = leaves(&mut lab, &frame);
            let nat = source_port(&left);
            let new = if protocol == 1 { (nat, 0) } else { (nat, 80) };
            let mut expected =
                sound(ROUTER, OUT_MAC, (PUBLIC, SERVER), protocol, &segment(protocol, new, SYN));
            set_ttl(&mut expected, 63);
            assert_eq!(left, expected);
            let share = share_of_flow(flow_hash(&frame, &parse(&frame).unwrap()));
            assert_eq!(share_of_port(nat), Some(share), "the port tells the share");
            answered(&mut lab, protocol, &left, ports, SYN | ACK);
        }
    }
}

#[test]
fn a_forgotten_connection_is_reset_from_inside_gw_12() {
    let mut lab = edge(GENEVE, 1);
    let left = leaves(&mut lab, &request(6, (40_000, 80), SYN));
    answered(&mut lab, 6, &left, (40_000, 80), SYN | ACK);
    lab.now += Duration::from_secs(350);
    let nat = source_port(&left);
    lab.drops(OUT, &response(6, (80, nat), ACK), Reason::NatNoState);
    let outcomes = lab.burst(AT_A, [HeapBuffer::new(&request(6, (40_000, 80), ACK))]);
    let [Outcome::Sent(AT_A, reset), Outcome::Dropped(Reason::NatNoState)] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_sound(reset);
    assert_eq!(reset[47], RST, "never a FIN");
    assert_eq!(
        (&reset[26..34], &reset[34..38]),
        (&[198, 51, 100, 7, 10, 0, 1, 10][..], &[0, 80, 0x9c, 0x40][..])
    );
    lab.drops(AT_A, &request(6, (40_000, 80), RST), Reason::NatNoState);
    // UDP and echo begin anew, silently.
    assert!(leaves(&mut lab, &request(17, (40_000, 80), 0)).len() > 42);
}

/// The IPv4 packet of a frame in two fragments, the first with 16 octets behind the header, or with all of TCP's.
fn in_two(frame: &[u8]) -> [Vec<u8>; 2] {
    let part = |field: u16, payload: &[u8]| {
        let mut part = [&frame[..34], payload].concat();
        part[16..18].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
        part[20..22].copy_from_slice(&field.to_be_bytes());
        fix_ipv4(&mut part);
        part
    };
    let cut = if frame[23] == 6 { 24 } else { 16 };
    [part(0x2000, &frame[34..34 + cut]), part(cut as u16 / 8, &frame[34 + cut..])]
}

#[test]
fn fragments_of_udp_pass_gw_13() {
    let mut lab = edge(GENEVE, 1);
    let frame = request(17, (40_000, 53), 0);
    let left = leaves(&mut lab, &frame);
    let [first, later] = in_two(&frame);
    lab.drops(AT_A, &later, Reason::FragOrphan);
    let sent = [leaves(&mut lab, &first), leaves(&mut lab, &later)];
    assert_eq!(sent, in_two(&left), "as the whole datagram");
    let back = response(17, (53, source_port(&left)), 0);
    let mut expected = sound(A, r1(), (SERVER, CLIENT), 17, &segment(17, (53, 40_000), 0));
    set_ttl(&mut expected, 63);
    for (fragment, expected) in in_two(&back).iter().zip(in_two(&expected)) {
        lab.sends(OUT, fragment, AT_A, &expected);
    }
    lab.now += Duration::from_secs(30);
    lab.drops(OUT, &in_two(&back)[1], Reason::FragOrphan);
    for protocol in [6, 1] {
        let frame = request(protocol, (40_000, 0), SYN);
        for fragment in in_two(&[&frame[..], &[0; 16]].concat()) {
            lab.drops(AT_A, &fragment, Reason::NatFrag);
        }
    }
}

#[test]
fn nobody_outside_begins_gw_14() {
    let mut lab = edge(GENEVE, 1);
    let left = leaves(&mut lab, &request(17, (40_000, 53), 0));
    let nat = source_port(&left);
    for frame in [
        response(6, (80, nat), SYN),
        response(17, (54, nat), 0),
        response(17, (53, nat ^ 1), 0),
        response(17, (53, 22), 0),
        // A ping, and an answer to none.
        response(1, (7, 0), 0),
        response(1, (0, 7), 0),
    ] {
        lab.drops(OUT, &frame, Reason::NatNoState);
    }
    // Nor anybody in the VPC.
    for (protocol, ports) in [(1, (7, 0)), (17, (40_000, nat)), (6, (1, 2))] {
        let frame = sound(r1(), A, (CLIENT, OWN), protocol, &segment(protocol, ports, SYN));
        lab.drops(AT_A, &frame, Reason::NatNoState);
    }
    lab.drops(AT_A, &request(1, (0, 7), 0), Reason::NatNoState);
    let anonymous = [0, 0, 0, 0, 0, 0, 0, 1];
    lab.drops(AT_A, &sound(r1(), A, (CLIENT, SERVER), 1, &anonymous), Reason::NatNoState);
}

#[test]
fn other_protocols_and_messages_are_dropped_gw_10() {
    let mut lab = edge(GENEVE, 1);
    for protocol in [47, 50, 132, 0] {
        lab.drops(AT_A, &sound(r1(), A, (CLIENT, SERVER), protocol, &[0; 24]), Reason::NatProto);
    }
    lab.drops(AT_A, &sound(r1(), A, (CLIENT, SERVER), 1, &[13, 0, 0, 0, 0, 7, 0, 0]), Reason::NatProto);
}

#[test]
fn icmp_errors_find_the_client_and_the_server_gw_4() {
    let mut lab = edge(GENEVE, 1);
    for protocol in [6, 17, 1] {
        let frame = request(protocol, (40_000, if protocol == 1 { 0 } else { 80 }), SYN);
        let left = leaves(&mut lab, &frame);
        // Fragmentation needed, from a router on the way, about what left.
        let error = [&[3, 4, 0, 0, 0, 0, 5, 0x14][..], &left[14..]].concat();
        let frame_in = sound(OUT_MAC, ROUTER, ("192.0.2.77", PUBLIC), 1, &error);
        let Outcome::Sent(AT_A, told) = lab.send(OUT, &frame_in) else { panic!() };
        let mut quoted = frame.clone();
        set_ttl(&mut quoted, 63);
        let error = [&error[..8], &quoted[14..]].concat();
        let mut expected = sound(A, r1(), ("192.0.2.77", CLIENT), 1, &error);
        set_ttl(&mut expected, 63);
        assert_eq!(told, expected);
    }
    // The client refuses what the server sent.
    let left = leaves(&mut lab, &request(17, (40_000, 80), 0));
    let back = response(17, (80, source_port(&left)), 0);
    let Outcome::Sent(AT_A, got) = lab.send(OUT, &back) else { panic!() };
    let frame = sound(r1(), A, (CLIENT, SERVER), 1, &[&[3, 3, 0, 0, 0, 0, 0, 0][..], &got[14..]].concat());
    let mut quoted = back.clone();
    set_ttl(&mut quoted, 63);
    let error = [&[3, 3, 0, 0, 0, 0, 0, 0][..], &quoted[14..]].concat();
    let mut expected = sound(ROUTER, OUT_MAC, (PUBLIC, SERVER), 1, &error);
    set_ttl(&mut expected, 63);
    lab.sends(AT_A, &frame, OUT, &expected);
    // About no flow of the gateway.
    let stray = sound(OUT_MAC, ROUTER, (SERVER, PUBLIC), 17, &segment(17, (9, 9), 0));
    let error = [&[3, 3, 0, 0, 0, 0, 0, 0][..], &stray[14..]].concat();
    lab.drops(OUT, &sound(OUT_MAC, ROUTER, (SERVER, PUBLIC), 1, &error), Reason::NatNoState);
    lab.drops(AT_A, &sound(r1(), A, (CLIENT, SERVER), 1, &error), Reason::NatNoState);
}

#[test]
fn a_hop_is_counted_and_told_mtu_12() {
    let mut lab = edge(GENEVE, 1);
    let mut frame = request(17, (40_000, 80), 0);
    set_ttl(&mut frame, 1);
    let outcomes = lab.burst(AT_A, [HeapBuffer::new(&frame)]);
    let [Outcome::Sent(AT_A, told), Outcome::Dropped(Reason::TtlExpired)] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_sound(told);
    assert_eq!((&told[26..34], told[34], &told[42..]), (&[10, 0, 2, 5, 10, 0, 1, 10][..], 11, &frame[14..]));
    set_ttl(&mut frame, 2);
    assert_eq!(leaves(&mut lab, &frame)[22], 1);
}

#[test]
fn who_sends_too_long_a_packet_hears_the_mtu_of_the_gateway_behind_mtu_3() {
    let mut lab = edge(GENEVE, 1);
    let mut frame = sound(r1(), A, (CLIENT, SERVER), 17, &udp(40_000, 80, &[7; 1473]));
    let outcomes = lab.burst(AT_A, [HeapBuffer::new(&frame)]);
    let [Outcome::Sent(AT_A, told), Outcome::Dropped(Reason::MtuDf)] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_sound(told);
    assert_eq!(
        (&told[26..30], &told[34..36], &told[40..42]),
        (&[10, 0, 2, 5][..], &[3, 4][..], &[5, 0xdc][..])
    );
    // Without DF it is cut.
    frame[20] = 0;
    fix_ipv4(&mut frame);
    let outcomes = lab.burst(AT_A, [HeapBuffer::new(&frame)]);
    assert!(matches!(&outcomes[..], [Outcome::Sent(OUT, _), Outcome::Sent(OUT, _)]), "{outcomes:?}");
}

#[test]
fn a_private_gateway_has_no_way_to_the_internet_gw_17() {
    let mut lab = edge(GENEVE, 1);
    change(&mut lab, |exits| exits.privates = Arc::default());
    lab.drops(AT_A, &request(17, (40_000, 80), 0), Reason::IgwNoPublic);
}

#[test]
fn peers_have_no_use_of_it_gw_16() {
    let mut lab = edge(GENEVE, 1);
    change(&mut lab, |exits| {
        let vpcs = Arc::make_mut(&mut exits.vpcs);
        vpcs.insert(vni_of(OTHER), vpcs[&vni_of(V)].clone());
        exits.peers = [Peer { id: "pcx-1".into(), vni: vni_of(V), mtu: 9001 }].into();
    });
    let port = &mut lab.tables.ports[usize::from(AT_W.0)];
    let warren::tables::Role::Instance(Some(eni)) = &mut port.role else { panic!() };
    let all = [("0.0.0.0/0".parse().unwrap(), Target::Peer(PeerIndex(0)))];
    let routes = Arc::new(warren::tables::Lpm::new(all));
    *eni = Arc::new(warren::tables::LocalEni { routes, ..(**eni).clone() });
    for to in [OWN, SERVER] {
        lab.drops(AT_W, &datagram(rw(), W, "10.0.1.20", to), Reason::EdgeToEdge);
    }
}

#[test]
fn a_circle_of_routes_ends() {
    let mut lab = edge(GENEVE, 1);
    reroute(&mut lab, [("0.0.0.0/0", Target::Gateway(NAT))]);
    lab.drops(AT_A, &request(17, (40_000, 80), 0), Reason::TooManyHops);
    reroute(&mut lab, []);
    lab.drops(AT_A, &request(17, (40_000, 80), 0), Reason::NoRoute);
}

#[test]
fn a_share_has_its_part_of_the_flows_to_a_destination_gw_11() {
    let mut lab = edge(GENEVE, 1);
    seat(&mut lab, NAT, |share| if share == 9 { Seat::Here } else { Seat::Nobody });
    let (mut ports, mut refused) = (BTreeSet::new(), 0);
    let share = |frame: &[u8]| share_of_flow(flow_hash(frame, &parse(frame).unwrap()));
    for frame in (1..=u16::MAX).map(|port| request(17, (port, 80), 0)).filter(|frame| share(frame) == 9) {
        match lab.send(AT_A, &frame) {
            Outcome::Sent(OUT, left) => assert!(ports.insert(source_port(&left))),
            outcome => {
                assert_eq!(outcome, Outcome::Dropped(Reason::NatPorts));
                refused += 1;
            }
        }
    }
    // 55 000 / 64.
    assert_eq!(ports.len(), 860);
    assert!(ports.iter().all(|&port| share_of_port(port) == Some(9)));
    assert!(refused > 50, "{refused}");
    // Another destination has all of them again; the other shares are nobody's.
    let others = (1..=u16::MAX).map(|port| request(17, (port, 81), 0));
    let (here, away): (Vec<_>, Vec<_>) = others.take(2000).partition(|frame| share(frame) == 9);
    assert!(share_of_port(source_port(&leaves(&mut lab, &here[0]))) == Some(9));
    lab.drops(AT_A, &away[0], Reason::Blackhole);
}

/// Sends a frame of the client's, which is at the first of two hosts, to wherever it goes: what leaves there, and where.
fn out_of(edges: &mut [Lab; 2], frame: &[u8]) -> (usize, Vec<Outcome>) {
    let outcomes = edges[0].burst(AT_A, [HeapBuffer::new(frame)]);
    match &outcomes[..] {
        [Outcome::Sent(UPLINK, outer)] => (1, edges[1].burst(UPLINK, [HeapBuffer::new(outer)])),
        _ => (0, outcomes),
    }
}

/// Two hosts that share the NAT gateway, each with its own way to the internet.
fn two(wire: Wire) -> [Lab; 2] {
    let mut edges = [edge(wire, 1), edge(wire, 2)];
    let other = [host(&edges[0], 2), host(&edges[1], 1)];
    for (n, lab) in edges.iter_mut().enumerate() {
        let who = |share: u8| if usize::from(share & 1) == n { Seat::Here } else { Seat::Host(other[n]) };
        seat(lab, NAT, who);
    }
    edges
}

#[test]
fn two_nodes_share_a_gateway_and_no_port() {
    for wire in [VXLAN, GENEVE] {
        let mut edges = two(wire);
        let mut flows = BTreeMap::new();
        let mut used = BTreeSet::new();
        for port in 1000..1200 {
            let (at, outcomes) = out_of(&mut edges, &request(6, (port, 80), SYN));
            let [Outcome::Sent(OUT, left)] = &outcomes[..] else { panic!("{outcomes:?}") };
            let nat = source_port(left);
            assert_eq!(usize::from(share_of_port(nat).unwrap()) & 1, at);
            assert!(used.insert(nat));
            flows.insert(port, (at, nat));
        }
        assert!((0..2).all(|n| flows.values().filter(|(at, _)| *at == n).count() > 60));
        for (&port, &(at, nat)) in &flows {
            // Whichever node the internet's routers send the answer to.
            let back = response(6, (80, nat), SYN | ACK);
            for arrives in [at, 1 - at] {
                let mut outcome = edges[arrives].send(OUT, &back);
                let mut here = arrives;
                // To the node that has the share, and from it to the client's.
                for _ in 0..2 {
                    if let Outcome::Sent(UPLINK, outer) = &outcome {
                        here = 1 - here;
                        outcome = edges[here].send(UPLINK, outer);
                    }
                }
                let Outcome::Sent(AT_A, got) = outcome else { panic!("{outcome:?} of {port}") };
                assert_eq!(u16::from_be_bytes([got[36], got[37]]), port);
            }
        }
        // The second node fails: its shares are the first's, which knows nothing of their flows.
        seat(&mut edges[0], NAT, |_| Seat::Here);
        for (&port, &(at, nat)) in &flows {
            let (now, outcomes) = out_of(&mut edges, &request(6, (port, 80), ACK));
            match &outcomes[..] {
                [Outcome::Sent(OUT, left)] => assert_eq!((now, at, source_port(left)), (0, 0, nat)),
                [Outcome::Sent(AT_A, reset), Outcome::Dropped(Reason::NatNoState)] => {
                    assert_eq!((now, at, reset[47]), (0, 1, RST));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn fragments_meet_at_the_node_of_their_flow_gw_13() {
    let mut edges = two(GENEVE);
    for port in 1000..1040 {
        let frame = request(17, (port, 53), 0);
        let (at, whole) = out_of(&mut edges, &frame);
        let [Outcome::Sent(OUT, left)] = &whole[..] else { panic!("{whole:?}") };
        for (fragment, expected) in in_two(&frame).iter().zip(in_two(left)) {
            assert_eq!(out_of(&mut edges, fragment), (at, vec![Outcome::Sent(OUT, expected)]));
        }
    }
}

#[test]
fn two_workers_share_a_node_and_no_port() {
    let mut workers = [edge(GENEVE, 1), edge(GENEVE, 1)];
    let mut used = BTreeSet::new();
    for (n, lab) in workers.iter_mut().enumerate() {
        lab.sink.worker = (n, 2);
    }
    let handed = |workers: &mut [Lab; 2], from, frame: &[u8]| match workers[0].send(from, frame) {
        Outcome::HandedShare(share, at, frame) => {
            assert_eq!(share & 1, 1);
            workers[1].resume(at, &frame)
        }
        outcome => outcome,
    };
    for port in 1000..1100 {
        let Outcome::Sent(OUT, left) = handed(&mut workers, AT_A, &request(17, (port, 80), 0)) else {
            panic!()
        };
        let nat = source_port(&left);
        assert!(used.insert(nat));
        let Outcome::Sent(AT_A, got) = handed(&mut workers, OUT, &response(17, (80, nat), 0)) else {
            panic!()
        };
        assert_eq!(u16::from_be_bytes([got[36], got[37]]), port);
    }
    // Each knows its own.
    let bindings = workers.map(|lab| lab.flows.stats().bindings);
    assert!(bindings.iter().sum::<u64>() == 100 && bindings.iter().all(|&count| count > 30), "{bindings:?}");
}

#[test]
fn a_packet_of_older_tables_goes_to_the_node_that_has_its_share() {
    let mut edges = two(GENEVE);
    let other = host(&edges[0], 2);
    // The sender thinks that all is the other's.
    seat(&mut edges[0], NAT, |_| Seat::Host(other));
    let mut came_back = 0;
    for port in 1000..1050 {
        let Outcome::Sent(UPLINK, outer) = edges[0].send(AT_A, &request(17, (port, 80), 0)) else { panic!() };
        match edges[1].send(UPLINK, &outer) {
            Outcome::Sent(OUT, _) => {}
            // And who was told wrongly twice, gives up.
            Outcome::Sent(UPLINK, outer) => {
                came_back += 1;
                edges[0].drops(UPLINK, &outer, Reason::NotServed);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(came_back > 10);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn there_and_back_is_the_identity(
        flows in prop::collection::vec((0u8..3, any::<u16>(), 1u16.., any::<u32>()), 1..40),
    ) {
        let mut lab = edge(GENEVE, 1);
        for (kind, from, to, server) in flows {
            let protocol = [6, 17, 1][usize::from(kind)];
            let server = format!("198.51.{}.{}", server >> 8 & 255, server & 255);
            let (from, to) = if protocol == 1 { (from | 1, 0) } else { (from, to) };
            let frame = sound(r1(), A, (CLIENT, &server), protocol, &segment(protocol, (from, to), SYN));
            let left = leaves(&mut lab, &frame);
            assert_sound(&left);
            let nat = source_port(&left);
            let share = share_of_flow(flow_hash(&frame, &parse(&frame).unwrap()));
            prop_assert_eq!(share_of_port(nat), Some(share));
            let back = sound(OUT_MAC, ROUTER, (&server, PUBLIC), protocol, &segment(protocol, (to, nat), ACK | SYN));
            let Outcome::Sent(AT_A, got) = lab.send(OUT, &back) else { panic!() };
            let mut expected =
                sound(A, r1(), (&server, CLIENT), protocol, &segment(protocol, (to, from), ACK | SYN));
            set_ttl(&mut expected, 63);
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn no_bytes_harm_it(mut payload in prop::collection::vec(any::<u8>(), 0..120), protocol: u8, flip in 0usize..34) {
        let mut lab = edge(GENEVE, 1);
        for protocol in [protocol, 1, 6, 17] {
            let mut frame = packet(r1(), A, (ip(CLIENT), ip(SERVER)), protocol, &payload);
            set_ttl(&mut frame, 9);
            lab.burst(AT_A, [HeapBuffer::new(&frame)]);
            frame[14 + flip % 20] ^= 1 << (flip % 8);
            lab.burst(AT_A, [HeapBuffer::new(&frame)]);
            let mut frame = packet(OUT_MAC, ROUTER, (ip(SERVER), ip(PUBLIC)), protocol, &payload);
            set_ttl(&mut frame, 9);
            lab.burst(OUT, [HeapBuffer::new(&frame)]);
            let frame = packet(r1(), A, (ip(CLIENT6), ip(SERVER64)), if protocol == 1 { 58 } else { protocol }, &payload);
            lab.burst(AT_A, [HeapBuffer::new(&frame)]);
            payload.reverse();
        }
    }
}
