//! IPv6 clients of IPv4 servers, through a NAT gateway (GW-18).

use std::sync::Arc;

use warren::{packet::HeapBuffer, pipeline::Reason, tables::GatewayKind};

use crate::{
    edge::*,
    frames::{ACK, RST, SYN, fix_ipv4, set_ttl, udp},
    lab::*,
};

/// From the client to the server, as it knows it.
fn request64(protocol: u8, ports: (u16, u16), flags: u8) -> Vec<u8> {
    sound(r1(), A, (CLIENT6, SERVER64), protocol, &segment(protocol, ports, flags))
}

const PROTOCOLS: [(u8, u8); 3] = [(6, 6), (17, 17), (58, 1)];

#[test]
fn flows_go_out_and_back_gw_18() {
    let mut lab = edge(GENEVE, 1);
    for (six, four) in PROTOCOLS {
        let to = if six == 58 { 0 } else { 80 };
        let left = leaves(&mut lab, &request64(six, (40_000, to), SYN));
        let nat = source_port(&left);
        let mut expected = sound(ROUTER, OUT_MAC, (PUBLIC, SERVER), four, &segment(four, (nat, to), SYN));
        set_ttl(&mut expected, 63);
        // A packet so short may be cut on the way (RFC 7915 §5.1).
        expected[18..22].copy_from_slice(&[left[18], left[19], 0, 0]);
        fix_ipv4(&mut expected);
        assert_eq!(left, expected);
        let back = if six == 58 { (0, nat) } else { (80, nat) };
        let got = if six == 58 { (0, 40_000) } else { (80, 40_000) };
        let mut expected = sound(A, r1(), (SERVER64, CLIENT6), six, &segment(six, got, SYN | ACK));
        set_ttl(&mut expected, 63);
        lab.sends(OUT, &response(four, back, SYN | ACK), AT_A, &expected);
    }
}

#[test]
fn packets_have_identifications_of_their_own() {
    let mut lab = edge(GENEVE, 1);
    let ids: std::collections::BTreeSet<_> =
        (0..20).map(|_| leaves(&mut lab, &request64(17, (40_000, 80), 0))[18..20].to_vec()).collect();
    assert_eq!(ids.len(), 20);
}

#[test]
fn addresses_that_mean_something_inside_only_are_refused_gw_18() {
    let mut lab = edge(GENEVE, 1);
    let to = |address: &str| {
        let to = format!("64:ff9b::{address}");
        sound(r1(), A, (CLIENT6, &to), 17, &segment(17, (40_000, 80), 0))
    };
    let private = ["10.0.1.21", "172.16.0.1", "192.168.1.1", "100.64.0.1"];
    let never = ["0.0.0.1", "127.0.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255"];
    for address in private.iter().chain(&never) {
        lab.drops(AT_A, &to(address), Reason::InvalidDestination);
    }
    change(&mut lab, |exits| {
        let GatewayKind::Nat(nat) = &mut Arc::make_mut(&mut exits.gateways)[0].kind else { panic!() };
        nat.public = false;
    });
    for address in never {
        lab.drops(AT_A, &to(address), Reason::InvalidDestination);
    }
    // A private gateway's servers have private addresses, such as this ENI in the VPC.
    let Outcome::Sent(AT_B2, got) = lab.send(AT_A, &to(private[0])) else { panic!() };
    assert_sound(&got);
    assert_eq!(got[26..34], [10, 0, 2, 5, 10, 0, 1, 21]);
}

#[test]
fn a_connection_that_is_unknown_is_reset_gw_12() {
    let mut lab = edge(GENEVE, 1);
    let outcomes = lab.burst(AT_A, [HeapBuffer::new(&request64(6, (40_000, 80), ACK))]);
    let [Outcome::Sent(AT_A, reset), Outcome::Dropped(Reason::NatNoState)] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_sound(reset);
    assert_eq!((reset[67], &reset[54..58]), (RST, &[0, 80, 0x9c, 0x40][..]));
    let mut frame = request64(17, (40_000, 80), 0);
    set_ttl(&mut frame, 1);
    let outcomes = lab.burst(AT_A, [HeapBuffer::new(&frame)]);
    let [Outcome::Sent(AT_A, told), Outcome::Dropped(Reason::TtlExpired)] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_sound(told);
    assert_eq!((told[54], &told[62..]), (3, &frame[14..]));
}

#[test]
fn icmp_errors_change_with_it_gw_18() {
    let mut lab = edge(GENEVE, 1);
    let frame = request64(17, (40_000, 80), 0);
    let left = leaves(&mut lab, &frame);
    let error = [&[3, 4, 0, 0, 0, 0, 5, 0x14][..], &left[14..]].concat();
    let Outcome::Sent(AT_A, told) = lab.send(OUT, &sound(OUT_MAC, ROUTER, (SERVER, PUBLIC), 1, &error))
    else {
        panic!()
    };
    assert_sound(&told);
    // Packet too big; 20 bytes more fit (RFC 7915 §4.2).
    assert_eq!((&told[54..56], &told[58..62]), (&[2, 0][..], &1320_u32.to_be_bytes()[..]));
    let mut quoted = frame.clone();
    set_ttl(&mut quoted, 63);
    assert_eq!(&told[62..], &quoted[14..]);
    // And the other way: the client refuses what came.
    let back = response(17, (80, source_port(&left)), 0);
    let Outcome::Sent(AT_A, got) = lab.send(OUT, &back) else { panic!() };
    let error = [&[1, 4, 0, 0, 0, 0, 0, 0][..], &got[14..]].concat();
    let left = leaves(&mut lab, &sound(r1(), A, (CLIENT6, SERVER64), 58, &error));
    assert_sound(&left);
    assert_eq!((&left[26..34], &left[34..36]), (&[203, 0, 113, 5, 198, 51, 100, 7][..], &[3, 3][..]));
    assert_eq!(left[54..70], [&back[26..34], &back[34..42]].concat(), "what the server sent");
}

#[test]
fn long_replies_that_may_be_cut_are_mtu_gw_18() {
    let mut lab = edge(GENEVE, 1);
    let left = leaves(&mut lab, &request64(17, (40_000, 80), 0));
    let mut back = sound(OUT_MAC, ROUTER, (SERVER, PUBLIC), 17, &udp(80, source_port(&left), &[7; 1400]));
    let Outcome::Sent(AT_A, whole) = lab.send(OUT, &back) else { panic!("with DF it stays whole") };
    assert_eq!(whole.len(), back.len() + 20);
    assert_sound(&whole);
    back[20] = 0;
    fix_ipv4(&mut back);
    let outcomes = lab.burst(OUT, [HeapBuffer::new(&back)]);
    let [Outcome::Sent(AT_A, first), Outcome::Sent(AT_A, later)] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert!(first.len() <= 14 + 1280 && first[20] == 44 && later[20] == 44, "two fragments");
    let data = [&first[62..], &later[62..]].concat();
    assert_eq!(data, whole[54..], "of the same datagram");
    assert_eq!(first[58..62], later[58..62], "by its identification");
}

#[test]
fn fragments_of_clients_pass_gw_13_gw_18() {
    let mut lab = edge(GENEVE, 1);
    let frame = request64(17, (40_000, 80), 0);
    let left = leaves(&mut lab, &frame);
    // Fragment headers: 16 octets, then the rest.
    let part = |offset: u16, payload: &[u8]| {
        let mut part = frame[..54].to_vec();
        part[20] = 44;
        part[18..20].copy_from_slice(&(8 + payload.len() as u16).to_be_bytes());
        [&part[..], &[17, 0], &offset.to_be_bytes(), &[1, 2, 3, 4], payload].concat()
    };
    let [first, later] = [part(1, &frame[54..70]), part(16, &frame[70..])];
    lab.drops(AT_A, &later, Reason::FragOrphan);
    let [first, later] = [first, later].map(|frame| leaves(&mut lab, &frame));
    assert_eq!([&first[34..], &later[34..]].concat(), &left[34..]);
    assert_eq!((&first[18..22], &later[18..22]), (&[3, 4, 0x20, 0][..], &[3, 4, 0, 2][..]));
}

#[test]
fn nothing_else_of_ipv6_goes_to_a_nat_gateway() {
    let mut lab = edge(GENEVE, 1);
    change(&mut lab, |exits| Arc::make_mut(&mut exits.gateways).swap(0, 2));
    // What was the egress-only gateway is the NAT gateway now.
    lab.drops(AT_A, &sound(r1(), A, (CLIENT6, SERVER6), 17, &segment(17, (1, 2), 0)), Reason::GatewayFamily);
}
