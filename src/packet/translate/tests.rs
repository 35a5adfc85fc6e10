use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::packet::{
    checksum::tests::naive,
    flow_hash, parse,
    sample::{self, KINDS, Kind},
};

fn v4(tuple: &Tuple<u32>) -> (IpAddr, IpAddr) {
    (Ipv4Addr::from_bits(tuple.source).into(), Ipv4Addr::from_bits(tuple.destination).into())
}

fn v6(tuple: &Tuple<u128>) -> (IpAddr, IpAddr) {
    (Ipv6Addr::from_bits(tuple.source).into(), Ipv6Addr::from_bits(tuple.destination).into())
}

fn tuple<A: Arbitrary>() -> impl Strategy<Value = Tuple<A>> {
    any::<((A, A), (u16, u16))>().prop_map(|((source, destination), (source_port, destination_port))| Tuple {
        source,
        destination,
        source_port,
        destination_port,
    })
}

/// Equal to the frame that would have been made so in the first place, there and back.
fn check<A: Address>(
    kind: Kind,
    ends: impl Fn(&Tuple<A>) -> (IpAddr, IpAddr),
    old: Tuple<A>,
    new: Tuple<A>,
    data: &[u8],
) {
    let made = |tuple: &Tuple<A>| kind.frame(ends(tuple), tuple.ports(), data);
    let mut frame = [&made(&old)[..], &[0xaa; 7]].concat();
    let headers = parse(&frame).unwrap();
    let found = Tuple::<A>::of(&frame, &headers).unwrap();
    assert_eq!((found.addresses(), found.ports()), (old.addresses(), kind.ports(old.ports())));
    assert_eq!(found.reversed().reversed(), found);
    let hash = flow_hash(&frame, &headers);
    assert_eq!(
        (found.flow_hash(headers.protocol), found.reversed().flow_hash(headers.protocol)),
        (hash, hash)
    );
    let mapped = [found.source, found.destination].map(Address::mapped);
    let expected = [ends(&found).0, ends(&found).1].map(crate::packet::mapped);
    assert_eq!((mapped, found.mapped().addresses()), (expected, (expected[0], expected[1])));
    translate(&mut frame, &headers, &new);
    assert_eq!(frame, [&made(&new)[..], &[0xaa; 7]].concat());
    translate(&mut frame, &headers, &old);
    assert_eq!(frame, [&made(&old)[..], &[0xaa; 7]].concat());
}

proptest! {
    /// GW-1, GW-4, GW-10.
    #[test]
    fn there_and_back(
        kind in select(&KINDS[..]),
        four in (tuple::<u32>(), tuple::<u32>()),
        six in (tuple::<u128>(), tuple::<u128>()),
        data in vec(any::<u8>(), 0..60),
    ) {
        check(kind, v4, four.0, four.1, &data);
        check(kind, v6, six.0, six.1, &data);
    }

    #[test]
    fn no_frame_panics_and_one_that_is_translated_back_is_the_same(
        frame in sample::any_frame(),
        mutations in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        four in tuple::<u32>(),
        six in tuple::<u128>(),
        bytes in vec(any::<u8>(), 0..80),
    ) {
        let mut frame = frame;
        for (at, value) in mutations {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        let Ok(headers) = parse(&frame) else { return Ok(()) };
        // Headers that are not the frame's.
        translate(&mut bytes.clone(), &headers, &four);
        translate(&mut bytes.clone(), &headers, &six);
        let mut changed = frame.clone();
        if let Some(old) = Tuple::<u32>::of(&frame, &headers) {
            translate(&mut changed, &headers, &four);
            prop_assert_eq!(Tuple::<u32>::of(&changed, &headers).unwrap().addresses(), four.addresses());
            translate(&mut changed, &headers, &old);
        }
        if let Some(old) = Tuple::<u128>::of(&frame, &headers) {
            translate(&mut changed, &headers, &six);
            translate(&mut changed, &headers, &old);
        }
        // A checksum field of all ones, or zero, may come back as the other: they mean the same.
        let differ: Vec<_> = (0..frame.len()).filter(|&at| changed[at] != frame[at]).collect();
        prop_assert!(differ.iter().all(|&at| changed[at] ^ frame[at] == 0xff), "{differ:?}");
    }
}

/// GW-8.
#[test]
fn first_fragments_have_ports_and_later_ones_addresses_only() {
    let ends = ([10, 0, 1, 10].into(), [192, 0, 2, 1].into());
    let (_, message) = Kind::Udp.message((IpAddr::V4(ends.0), IpAddr::V4(ends.1)), (1000, 53), &[7; 24]);
    let new =
        Tuple { source: 0x0a00_0909, destination: ends.1.to_bits(), source_port: 2000, destination_port: 53 };
    let mut first = sample::ipv4(ends, 17, 0x2000, &[], &message[..16]);
    let mut later = sample::ipv4(ends, 17, 0x0002, &[], &message[16..]);
    for frame in [&mut first, &mut later] {
        let headers = parse(frame).unwrap();
        translate(frame, &headers, &new);
        assert_eq!(naive(&frame[14..34]), 0xffff);
        assert_eq!(frame[26..30], [10, 0, 9, 9]);
    }
    let datagram = [&first[34..], &later[34..]].concat();
    let addresses = v4(&new);
    assert_eq!(sample::transport_sum(addresses, 17, &datagram), 0xffff);
    assert_eq!(first[34..38], [2000_u16.to_be_bytes(), 53_u16.to_be_bytes()].concat());
    assert_eq!(later[34..], message[16..]);
}

/// RFC 5508 §3.
#[test]
fn an_identifier_is_the_port_of_who_asks() {
    let ends = (IpAddr::from([10, 0, 1, 10]), IpAddr::from([192, 0, 2, 1]));
    for (kind, ports) in [(8, (77, 0)), (0, (0, 77)), (13, (77, 0)), (14, (0, 77)), (3, (0, 0)), (17, (0, 0))]
    {
        let message = sample::summed(ends, 1, 2, &[kind, 0, 0, 0, 0, 77, 0, 1, 9, 9]);
        let mut frame = sample::packet(ends, 1, &message);
        let headers = parse(&frame).unwrap();
        let found = Tuple::<u32>::of(&frame, &headers).unwrap();
        assert_eq!(found.ports(), ports, "type {kind}");
        assert_eq!(Tuple::<u128>::of(&frame, &headers), None);
        translate(&mut frame, &headers, &Tuple { source_port: 5, destination_port: 5, ..found });
        let expected = if ports == (0, 0) { 77 } else { 5 };
        assert_eq!(frame[39], expected);
        assert_eq!(naive(&frame[34..]), 0xffff);
    }
}
