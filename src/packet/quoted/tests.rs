use std::net::IpAddr;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::packet::{
    checksum::tests::naive,
    parse,
    sample::{self, KINDS, Kind},
};

const INSIDE: [&str; 2] = ["10.0.1.10", "fd00::a"];
const GATEWAY: [&str; 2] = ["203.0.113.9", "2001:db8::9"];
const SERVER: [&str; 2] = ["192.0.2.1", "2001:db8:1::1"];
const ROUTER: [&str; 2] = ["198.51.100.7", "2001:db8:2::7"];

fn address(of: [&str; 2], v6: bool) -> IpAddr {
    of[usize::from(v6)].parse().unwrap()
}

/// The packet of a frame.
fn ip(frame: &[u8]) -> &[u8] {
    &frame[14..]
}

/// An error that quotes the first `cut` octets of a packet, from a router.
fn error(ends: (IpAddr, IpAddr), kind: u8, length: u8, quote: &[u8]) -> Vec<u8> {
    let (protocol, fifth, sixth) = if ends.0.is_ipv4() { (1, 0, length) } else { (58, length, 0) };
    let message = [&[kind, 0, 0, 0, fifth, sixth, 0, 0], quote].concat();
    sample::packet(ends, protocol, &sample::summed(ends, protocol, 2, &message))
}

/// Calls a generic function by family.
macro_rules! by_family {
    ($v6:expr, $function:ident($($argument:expr),*)) => {
        if $v6 { $function::<u128>($($argument),*) } else { $function::<u32>($($argument),*) }
    };
}

fn number<A: Address>(address: IpAddr) -> A {
    let packet = sample::packet((address, address), 0, &[]);
    A::pair(ip(&packet)).unwrap().0
}

/// What a NAT gateway does with an error about a packet that it has translated: equal to the error that a router inside
/// would have sent about the packet before.
fn check<A: Address>(kind: Kind, cut: usize, data: &[u8], extensions: &[u8]) {
    let v6 = A::NETWORK == Network::Ipv6;
    let [inside, gateway, server, router] = [INSIDE, GATEWAY, SERVER, ROUTER].map(|of| address(of, v6));
    let (before, after) = ((1000, 53), (40_000, 53));
    let quote_of = |source, ports| {
        let frame = kind.frame((source, server), ports, data);
        let packet = ip(&frame);
        let mut quote = packet[..packet.len().min(if v6 { 40 } else { 20 } + cut)].to_vec();
        if !extensions.is_empty() {
            quote.resize(128, 0);
            quote.extend(extensions);
        }
        quote
    };
    let length = match (extensions.is_empty(), v6) {
        (true, _) => 0,
        (_, true) => 16,
        _ => 32,
    };
    let kind_of_error = if v6 { 3 } else { 11 };
    let received = error((router, gateway), kind_of_error, length, &quote_of(gateway, after));
    let expected = error((router, inside), kind_of_error, length, &quote_of(inside, before));

    let mut frame = received.clone();
    let headers = parse(&frame).unwrap();
    let found = quoted::<A>(&frame, &headers).unwrap();
    assert_eq!((found.source, found.destination), (number(gateway), number(server)));
    let has_ports = cut >= if matches!(kind, Kind::EchoRequest | Kind::EchoReply) { 6 } else { 4 };
    assert_eq!(found.ports, has_ports.then(|| kind.ports(after)));
    let inner = Tuple { source: number(inside), source_port: 1000, ..found.addresses() };
    translate_error(&mut frame, &headers, &found, (number(router), number(inside)), &inner);
    if kind != Kind::EchoReply {
        assert_eq!(frame, expected);
    }
    // And the error from inside about a packet that came in.
    let found = quoted::<A>(&frame, &headers).unwrap();
    let inner = Tuple { source: number(gateway), source_port: 40_000, ..found.addresses() };
    translate_error(&mut frame, &headers, &found, (number(router), number(gateway)), &inner);
    assert_eq!(frame, received);
}

proptest! {
    /// GW-4.
    #[test]
    fn all_checksums_follow(
        kind in select(&KINDS[..]), v6: bool, cut in 8usize..100, data in vec(any::<u8>(), 0..90), extended: bool,
    ) {
        let extensions: &[u8] = if extended { &[0x20, 0, 0x12, 0x34, 0, 8, 1, 1, 9, 9, 9, 9] } else { &[] };
        // What is padded is not cut (RFC 4884 §3).
        let cut = if extended { 128 } else { cut };
        // Half a checksum stays what it is.
        prop_assume!(cut != 17);
        by_family!(v6, check(kind, cut, &data, extensions));
    }

    #[test]
    fn nothing_panics(
        kind in select(&KINDS[..]), v6: bool, cut in 0usize..60, frame in sample::any_frame(),
        mutations in vec((any::<prop::sample::Index>(), any::<u8>()), 0..5), bytes in vec(any::<u8>(), 0..90),
    ) {
        let ends = (address(ROUTER, v6), address(GATEWAY, v6));
        let quote = kind.frame((ends.1, ends.0), (1, 2), &[7; 20]);
        let mut frame = error(ends, if v6 { 1 } else { 3 }, frame[13] & 3, &[&ip(&quote)[..cut.min(quote.len() - 14)], &frame[14..]].concat());
        for (at, value) in mutations {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        let Ok(headers) = parse(&frame) else { return Ok(()) };
        fn any<A: Address>(frame: &mut [u8], bytes: &mut [u8], headers: &Headers, zero: A) {
            let Some(quoted) = quoted::<A>(frame, headers) else { return };
            assert!(quoted.at < quoted.l4 && quoted.l4 <= quoted.end && usize::from(quoted.end) <= headers.end());
            let new = Tuple { source: zero, destination: zero, source_port: 7, destination_port: 8 };
            let before = sample::summed_up(frame, headers);
            translate_error(frame, headers, &quoted, (zero, zero), &new);
            assert_eq!(sample::summed_up(frame, headers) % 0xffff, before % 0xffff, "as right, or as wrong, as before");
            assert_eq!(parse(frame), Ok(*headers));
            // Of another frame.
            translate_error(bytes, headers, &quoted, (zero, zero), &new);
        }
        let mut bytes = bytes;
        any(&mut frame.clone(), &mut bytes, &headers, 0_u32);
        any(&mut frame, &mut bytes, &headers, 0_u128);
    }
}

#[test]
fn an_old_routers_eight_octets_are_enough() {
    for kind in KINDS {
        check::<u32>(kind, 8, b"more than eight octets", &[]);
        check::<u128>(kind, 8, b"more than eight octets", &[]);
    }
}

#[test]
fn what_quotes_nothing() {
    let ends = (address(ROUTER, false), address(GATEWAY, false));
    let about = Kind::Tcp.frame((ends.1, ends.0), (1, 2), &[]);
    let found = |frame: &[u8]| quoted::<u32>(frame, &parse(frame).unwrap());
    for kind in 0..=20 {
        let is = found(&error(ends, kind, 0, ip(&about))).is_some();
        assert_eq!(is, [3, 4, 11, 12].contains(&kind), "type {kind}");
    }
    assert!(found(&error(ends, 3, 0, &ip(&about)[..19])).is_none(), "a cut header");
    assert!(found(&error(ends, 3, 0, &[0x55; 40])).is_none(), "no IPv4");
    assert!(found(&error(ends, 3, 20, ip(&about))).is_none(), "less than the error says");
    assert_eq!(found(&error(ends, 3, 0, &ip(&about)[..22])).unwrap().ports, None, "cut ports");
    let quote = found(&error(ends, 3, 0, &ip(&about)[..28])).unwrap();
    assert_eq!(quote.tuple().unwrap().ports(), (1, 2));
    assert_eq!(naive(&error(ends, 3, 0, ip(&about))[34..]), 0xffff);
    // A later fragment.
    let mut later = sample::ipv4(([10, 0, 0, 1].into(), [10, 0, 0, 2].into()), 17, 3, &[], &[7; 16]);
    assert_eq!(found(&error(ends, 11, 0, ip(&later))).unwrap().tuple(), None);
    // Behind IPv6 extension headers.
    let six = (address(ROUTER, true), address(GATEWAY, true));
    let IpAddr::V6(a) = six.0 else { panic!() };
    later = sample::ipv6((a, a), 60, &[&[17, 0, 1, 4, 0, 0, 0, 0], &sample::udp(7, 8, &[])[..]].concat());
    let frame = error(six, 1, 0, ip(&later));
    let quote = quoted::<u128>(&frame, &parse(&frame).unwrap()).unwrap();
    assert_eq!((quote.ports, quote.protocol), (Some((7, 8)), 17));
}
