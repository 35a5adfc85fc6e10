use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::packet::{
    HeapBuffer,
    checksum::tests::naive,
    parse, quoted, readdress,
    sample::{self, KINDS, Kind},
};

/// A client of IPv6 behind a NAT gateway, and a server of IPv4.
const CLIENT: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xa);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const INSIDE: (u16, u16) = (1000, 53);
const OUTSIDE: (u16, u16) = (40_000, 53);

fn server6() -> Ipv6Addr {
    Ipv6Addr::from_bits(embed(SERVER.to_bits()))
}

fn ends6() -> (IpAddr, IpAddr) {
    (CLIENT.into(), server6().into())
}

fn ends4() -> (IpAddr, IpAddr) {
    (GATEWAY.into(), SERVER.into())
}

fn tuple<A>(source: A, destination: A, ports: (u16, u16)) -> Tuple<A> {
    Tuple { source, destination, source_port: ports.0, destination_port: ports.1 }
}

fn outbound() -> Tuple<u32> {
    tuple(GATEWAY.to_bits(), SERVER.to_bits(), OUTSIDE)
}

/// The client's packet, as it would be told without a translation.
fn inbound() -> Tuple<u128> {
    tuple(CLIENT.to_bits(), server6().to_bits(), INSIDE)
}

fn v4(frame: &[u8], new: &Tuple<u32>, quoted: Option<&Tuple<u32>>) -> Result<Vec<u8>, Reason> {
    translated(frame, |buffer, headers| to_v4(buffer, headers, new, quoted, 0xabcd))
}

fn v6(frame: &[u8], new: &Tuple<u128>, quoted: Option<&Tuple<u128>>) -> Result<Vec<u8>, Reason> {
    translated(frame, |buffer, headers| to_v6(buffer, headers, new, quoted))
}

fn translated(
    frame: &[u8],
    to: impl Fn(&mut HeapBuffer, &Headers) -> Result<(), Reason>,
) -> Result<Vec<u8>, Reason> {
    let mut buffer = HeapBuffer::new(&[frame, &[0xaa; 5]].concat());
    let result = to(&mut buffer, &parse(frame).unwrap());
    if result.is_err() {
        assert_eq!(buffer.data(), [frame, &[0xaa; 5]].concat(), "changed");
    } else {
        assert_eq!(parse(buffer.data()).unwrap().end(), buffer.data().len());
    }
    result.map(|()| buffer.data().to_vec())
}

/// A frame of the sample's, with the hop limit and fields that a translated one has.
fn like(mut frame: Vec<u8>, hops: u8, identification: u16, field: u16) -> Vec<u8> {
    let headers = parse(&frame).unwrap();
    if headers.network == Network::Ipv4 {
        frame[18..20].copy_from_slice(&identification.to_be_bytes());
        frame[20..22].copy_from_slice(&field.to_be_bytes());
        frame[24..26].fill(0);
        let checksum = !naive(&frame[14..34]);
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    }
    readdress::set_ttl(&mut frame, &headers, hops);
    frame
}

#[test]
fn the_well_known_prefix() {
    assert_eq!(server6(), "64:ff9b::192.0.2.1".parse::<Ipv6Addr>().unwrap());
    assert_eq!(embedded(server6().to_bits()), Some(SERVER.to_bits()));
    for other in ["64:ff9b:1::192.0.2.1", "64:ff9b::1:c000:201", "::ffff:192.0.2.1"] {
        assert_eq!(embedded(other.parse::<Ipv6Addr>().unwrap().to_bits()), None);
    }
}

/// What the other version's host would have sent, for each kind of message there and back.
fn check(kind: Kind, data: &[u8]) {
    let outside = kind.frame(ends4(), OUTSIDE, data);
    let sent = kind.frame(ends6(), INSIDE, data);
    let small = outside.len() - 14 <= 1260;
    let (identification, field) = if small { (0xabcd, 0) } else { (0, 0x4000) };
    let found = v4(&sent, &outbound(), None).unwrap();
    assert_eq!(found, like(outside, 255, identification, field));

    let with_checksum = if kind == Kind::UdpWithoutChecksum { Kind::Udp } else { kind };
    let reply = kind.frame(ends4(), OUTSIDE, data);
    let found = v6(&reply, &inbound(), None).unwrap();
    assert_eq!(found, like(with_checksum.frame(ends6(), INSIDE, data), 64, 0, 0));
}

proptest! {
    /// GW-18.
    #[test]
    fn there_and_back(kind in select(&KINDS[..]), data in vec(any::<u8>(), 0..1400)) {
        check(kind, &data);
    }

    /// An error about a translated packet is the error that a router inside would have sent.
    #[test]
    fn errors_there_and_back(kind in select(&KINDS[..]), cut in 8usize..1400, data in vec(any::<u8>(), 0..1400)) {
        // Half a checksum, or half an identifier, stays what it is.
        prop_assume!(cut != 17);
        let quote = |frame: Vec<u8>, fixed: usize| frame[14..frame.len().min(14 + fixed + cut)].to_vec();
        let router6 = Ipv6Addr::from_bits(embed(ROUTER.to_bits()));
        let error4 = |quote: &[u8]| {
            let message = [&[11, 1, 0, 0, 0, 0, 0, 0], quote].concat();
            sample::ipv4((ROUTER, GATEWAY), 1, 0x4000, &[], &sample::summed((ROUTER.into(), GATEWAY.into()), 1, 2, &message))
        };
        let error6 = |quote: &[u8]| {
            let mut message = [&[3, 1, 0, 0, 0, 0, 0, 0], quote].concat();
            message.truncate(1240);
            let ends = (router6.into(), CLIENT.into());
            sample::ipv6((router6, CLIENT), 58, &sample::summed(ends, 58, 2, &message))
        };
        let quoted4 = quote(like(kind.frame(ends4(), OUTSIDE, &data), 7, 0x1234, 0x4000), 20);
        let quoted6 = quote(like(kind.frame(ends6(), INSIDE, &data), 7, 0, 0), 40);
        let new = tuple(router6.to_bits(), CLIENT.to_bits(), (0, 0));
        let received = error4(&quoted4);
        let about = quoted::<u32>(&received, &parse(&received).unwrap()).unwrap();
        let replied = kind == Kind::EchoReply;
        prop_assert_eq!(about.ports, Some(kind.ports(OUTSIDE)));
        let found = v6(&received, &new, Some(&inbound())).unwrap();
        prop_assert_eq!(parse(&found).unwrap().ip_len <= 1280, true);
        prop_assert_eq!(&found, &like(error6(&quoted6), 64, 0, 0), "{}", replied);

        // And the other way: the client's router about a packet from outside.
        let back = v4(&error6(&quoted6), &tuple(ROUTER.to_bits(), GATEWAY.to_bits(), (0, 0)), Some(&outbound())).unwrap();
        let size = (20 + kind.message(ends4(), OUTSIDE, &data).1.len()) as u16;
        let (identification, field) = if size <= 1260 { (0, 0) } else { (0, 0x4000) };
        let mut quoted4 = quote(like(kind.frame(ends4(), OUTSIDE, &data), 7, identification, field), 20);
        quoted4.truncate(1240 - 28);
        let mut expected = error4(&quoted4);
        let small = expected.len() - 14 <= 1260;
        expected = like(expected, 255, if small { 0xabcd } else { 0 }, if small { 0 } else { 0x4000 });
        prop_assert_eq!(back, expected);
    }

    #[test]
    fn no_frame_panics_and_what_is_translated_is_sound(
        frame in sample::any_frame(), error: bool, kind in 0u8..6,
        mutations in vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
        bytes in vec(any::<u8>(), 0..90),
    ) {
        let mut frame = frame;
        if error {
            let kind = [3, 11, 12, 1, 2, 4][usize::from(kind)];
            let message = [&[kind, 0, 0, 0, 0, 0, 0, 0], &frame[14..]].concat();
            frame = match frame[14] >> 4 {
                4 => sample::packet(ends4(), 1, &sample::summed(ends4(), 1, 2, &message)),
                _ => sample::packet(ends6(), 58, &sample::summed(ends6(), 58, 2, &message)),
            };
        }
        for (at, value) in mutations {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        let Ok(headers) = parse(&frame) else { return Ok(()) };
        let mut other = HeapBuffer::new(&bytes);
        let _ = to_v4(&mut other, &headers, &outbound(), Some(&outbound()), 1);
        let mut other = HeapBuffer::new(&bytes);
        let _ = to_v6(&mut other, &headers, &inbound(), Some(&inbound()));
        let result = v4(&frame, &outbound(), Some(&outbound())).or_else(|_| v6(&frame, &inbound(), Some(&inbound())));
        let Ok(new) = result else { return Ok(()) };
        let made = parse(&new).unwrap();
        if made.network == Network::Ipv4 {
            prop_assert_eq!(naive(&new[14..34]), 0xffff);
        }
        if made.icmp_type().is_some() || (made.fragment == Fragment::Whole && made.protocol == protocol::TCP) {
            let sums = (sample::summed_up(&new, &made), sample::summed_up(&frame, &headers));
            // What an error quoted behind 1280 bytes is gone.
            prop_assert_eq!(sums.0 % 0xffff, sums.1 % 0xffff, "as right, or as wrong, as before");
        }
    }
}

#[test]
fn fields_are_copied() {
    // RFC 7915 §4.1, §5.1: traffic class and hop limit, and options are left out.
    let (protocol, message) = Kind::Udp.message(ends4(), OUTSIDE, b"data");
    let mut four = sample::ipv4((GATEWAY, SERVER), protocol, 0, &[7, 7, 4, 0, 0, 0, 0, 0], &message);
    four[15] = 0xb9;
    assert_eq!(v6(&four, &inbound(), None), Err(Reason::Malformed), "a wrong header checksum");
    four[24..26].fill(0);
    let checksum = !naive(&four[14..42]);
    four[24..26].copy_from_slice(&checksum.to_be_bytes());
    let six = v6(&four, &inbound(), None).unwrap();
    assert_eq!(six[14..22], [0x6b, 0x90, 0, 0, 0, 12, 17, 64]);
    let (protocol, message) = Kind::Udp.message(ends6(), INSIDE, b"data");
    let options = [&[43, 0, 1, 4, 0, 0, 0, 0][..], &[protocol, 0, 9, 0, 0, 0, 0, 0], &message].concat();
    let mut six = sample::ipv6((CLIENT, server6()), 0, &options);
    six[14..16].copy_from_slice(&[0x6b, 0x9f]);
    let four = v4(&six, &outbound(), None).unwrap();
    assert_eq!(four[14..24], [0x45, 0xb9, 0, 32, 0xab, 0xcd, 0, 0, 255, 17]);
    assert_eq!(four[34..], Kind::Udp.message(ends4(), OUTSIDE, b"data").1);
}

/// RFC 7915 §4.1, §5.1.1; GW-13.
#[test]
fn fragments() {
    let data = [7; 40];
    for kind in [Kind::Udp, Kind::Tcp] {
        let (protocol, inside) = kind.message(ends6(), INSIDE, &data);
        let (_, outside) = kind.message(ends4(), OUTSIDE, &data);
        let header = |field: u16| [&[protocol, 0][..], &field.to_be_bytes(), &[9, 8, 0x12, 0x34]].concat();
        let cases = [(1, 0x2000, 0..24), (24 | 1, 0x2003, 24..32), (32, 0x0004, 32..inside.len())];
        for (field6, field4, range) in cases {
            let six = sample::ipv6(
                (CLIENT, server6()),
                44,
                &[&header(field6)[..], &inside[range.clone()]].concat(),
            );
            let four = sample::ipv4((GATEWAY, SERVER), protocol, field4, &[], &outside[range.clone()]);
            assert_eq!(v4(&six, &outbound(), None).unwrap(), like(four.clone(), 255, 0x1234, field4));
            let mut back = sample::ipv6(
                (CLIENT, server6()),
                44,
                &[&header(field6)[..4], &[0, 0, 0x12, 0x34], &inside[range]].concat(),
            );
            back[21] = 64;
            assert_eq!(v6(&four, &inbound(), None).unwrap(), back);
        }
    }
    // An atomic fragment (RFC 6946) becomes a packet that may be cut, by its own identification.
    let (protocol, message) = Kind::EchoRequest.message(ends6(), INSIDE, &data);
    let atomic = [&[protocol, 0, 0, 0, 9, 8, 0x12, 0x34], &message[..]].concat();
    let four = v4(&sample::ipv6((CLIENT, server6()), 44, &atomic), &outbound(), None).unwrap();
    assert_eq!(four, like(Kind::EchoRequest.frame(ends4(), OUTSIDE, &data), 255, 0x1234, 0));
    // ICMP's are not translated, nor a first one without checksum to be made.
    let frag = Err(Reason::NatFrag);
    let (_, echo) = Kind::EchoRequest.message(ends4(), OUTSIDE, &data);
    assert_eq!(v6(&sample::ipv4((GATEWAY, SERVER), 1, 0x2000, &[], &echo), &inbound(), None), frag);
    let none = sample::udp(OUTSIDE.0, OUTSIDE.1, &data);
    assert_eq!(v6(&sample::ipv4((GATEWAY, SERVER), 17, 0x2000, &[], &none), &inbound(), None), frag);
    let options = [&[60, 0, 0, 0, 0, 0, 0, 1], &[17, 0, 1, 4, 0, 0, 0, 0], &none[..]].concat();
    assert_eq!(v4(&sample::ipv6((CLIENT, server6()), 44, &options), &outbound(), None), frag);
}

#[test]
fn what_the_other_version_has_not() {
    let proto = Err(Reason::NatProto);
    let four = |protocol, payload: &[u8]| {
        v6(&sample::ipv4((GATEWAY, SERVER), protocol, 0, &[], payload), &inbound(), None)
    };
    let six = |protocol, payload: &[u8]| {
        v4(&sample::ipv6((CLIENT, server6()), protocol, payload), &outbound(), None)
    };
    for protocol in [47, 50, 58, 132] {
        assert_eq!(four(protocol, &[0; 24]), proto);
    }
    for protocol in [1, 47, 50, 132] {
        assert_eq!(six(protocol, &[0; 24]), proto);
    }
    for kind in [5, 9, 10, 13, 14, 15, 17, 40] {
        assert_eq!(four(1, &[kind, 0, 0, 0, 0, 0, 0, 0]), proto, "ICMP {kind}");
    }
    for kind in [130, 131, 133, 135, 136, 137, 143, 200] {
        assert_eq!(six(58, &[kind, 0, 0, 0, 0, 0, 0, 0]), proto, "ICMPv6 {kind}");
    }
    assert_eq!(six(58, &[128, 0, 0, 0]), Err(Reason::Malformed), "no identifier");
    // A source route under way, and one at its end (RFC 791).
    let route = |pointer| {
        let options = [131, 7, pointer, 10, 0, 0, 1, 0];
        let udp = sample::udp(1, 2, b"data");
        v6(&sample::ipv4((GATEWAY, SERVER), 17, 0, &options, &udp), &inbound(), None)
    };
    assert_eq!(route(4), proto);
    assert!(route(8).is_ok());
    // Routing headers likewise, and an authentication header.
    let udp = Kind::Udp.message(ends6(), INSIDE, b"data").1;
    assert_eq!(six(43, &[&[17, 0, 0, 1, 0, 0, 0, 0], &udp[..]].concat()), proto);
    assert!(six(43, &[&[17, 0, 0, 0, 0, 0, 0, 0], &udp[..]].concat()).is_ok());
    assert_eq!(six(51, &[&[17, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1], &udp[..]].concat()), proto);
    // An error about an error.
    let error =
        [&[3, 1, 0, 0, 0, 0, 0, 0], &sample::ipv4((SERVER, GATEWAY), 1, 0, &[], &[3; 8])[14..]].concat();
    let frame = sample::ipv4((ROUTER, GATEWAY), 1, 0, &[], &error);
    assert_eq!(v6(&frame, &inbound(), Some(&inbound())), proto);
    assert_eq!(v6(&frame, &inbound(), None), Err(Reason::Malformed));
}

/// The first octets of an error that becomes of one, `None` if nothing does.
fn table(from: Network, kind: u8, code: u8, word: u32) -> Option<(u8, u8, u32)> {
    let mut start = [kind, code, 7, 7, 0, 0, 0, 0];
    start[4..].copy_from_slice(&word.to_be_bytes());
    let [kind, code, 0, 0, word @ ..] = icmp::error(from, start, 1500)? else { panic!("a checksum") };
    Some((kind, code, u32::from_be_bytes(word)))
}

/// RFC 7915 §4.2.
#[test]
fn errors_of_icmp() {
    let unreachable: Vec<_> = (0..=16).map(|code| table(Network::Ipv4, 3, code, 1400)).collect();
    let (route, prohibited) = (Some((1, 0, 0)), Some((1, 1, 0)));
    let too_big = Some((2, 0, 1420));
    let expected = [
        [route, route, Some((4, 1, 6)), Some((1, 4, 0)), too_big, route, route, route, route].to_vec(),
        [prohibited, prohibited, route, route, prohibited, None, prohibited, None].to_vec(),
    ];
    assert_eq!(unreachable, expected.concat());
    assert_eq!(table(Network::Ipv4, 4, 0, 0), None);
    assert_eq!(table(Network::Ipv4, 11, 1, 0x0020_0000), Some((3, 1, 0)));
    for (mtu, expected) in [(0, 1512), (576, 1280), (1260, 1280), (1500, 1520), (9001, 9021)] {
        assert_eq!(table(Network::Ipv4, 3, 4, mtu), Some((2, 0, expected)));
    }
    let pointers: Vec<_> = (0..21).map(|pointer| table(Network::Ipv4, 12, 0, pointer << 24)).collect();
    let to = [0, 1, 4, 4, 99, 99, 99, 99, 7, 6, 99, 99, 8, 8, 8, 8, 24, 24, 24, 24, 99];
    assert_eq!(pointers, to.map(|to| (to != 99).then_some((4, 0, to))));
    assert_eq!(table(Network::Ipv4, 12, 1, 0), None);
    assert_eq!(table(Network::Ipv4, 12, 2, 0), Some((4, 0, 0)));
}

/// RFC 7915 §5.2.
#[test]
fn errors_of_icmpv6() {
    let unreachable: Vec<_> = (0..=6).map(|code| table(Network::Ipv6, 1, code, 0)).collect();
    let host = Some((3, 1, 0));
    assert_eq!(unreachable, [host, Some((3, 10, 0)), host, host, Some((3, 3, 0)), None, None]);
    for (mtu, expected) in [(1280, 1260), (9001, 8981), (100_000, 65_535), (0, 68)] {
        assert_eq!(table(Network::Ipv6, 2, 0, mtu), Some((3, 4, expected)));
    }
    assert_eq!(table(Network::Ipv6, 3, 1, 0), Some((11, 1, 0)));
    for (pointer, to) in
        [(0, 0), (1, 1), (4, 2), (5, 2), (6, 9), (7, 8), (8, 12), (23, 12), (24, 16), (39, 16)]
    {
        assert_eq!(table(Network::Ipv6, 4, 0, pointer), Some((12, 0, to << 24)));
    }
    for pointer in [2, 3, 40, 0x100] {
        assert_eq!(table(Network::Ipv6, 4, 0, pointer), None);
    }
    assert_eq!(table(Network::Ipv6, 4, 1, 40), Some((3, 2, 0)));
    assert_eq!(table(Network::Ipv6, 4, 2, 40), None);
}
