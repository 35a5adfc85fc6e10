use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::packet::{HEADROOM, HeapBuffer, checksum::tests::naive, headers::parse, ipv6_endpoints, sample};

const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 1]);
const V4: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(10, 0, 1, 10), Ipv4Addr::new(10, 0, 1, 1));
const V6: (Ipv6Addr, Ipv6Addr) =
    (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xa), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1));

/// The sum of a message and, for ICMPv6, its pseudo-header.
fn sum(ends: (IpAddr, IpAddr), message: &[u8]) -> u16 {
    match ends {
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let len = (message.len() as u32).to_be_bytes();
            naive(&[&a.octets()[..], &b.octets(), &len, &[0, 0, 0, 58], message].concat())
        }
        _ => naive(message),
    }
}

/// A frame with an ICMP message, whose checksum is filled in.
fn message(ends: (IpAddr, IpAddr), options: &[u8], message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let checksum = !sum(ends, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    match ends {
        (IpAddr::V4(a), IpAddr::V4(b)) => sample::ipv4((a, b), 1, 0, options, &message),
        // Destination options, of padding.
        (IpAddr::V6(a), IpAddr::V6(b)) if !options.is_empty() => {
            sample::ipv6((a, b), 60, &[&[58, 0, 1, 4, 0, 0, 0, 0], &message[..]].concat())
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => sample::ipv6((a, b), 58, &message),
        _ => panic!("two families"),
    }
}

fn echo(ends: (IpAddr, IpAddr), kind: u8, options: &[u8], data: &[u8]) -> Vec<u8> {
    message(ends, options, &[&[kind, 0, 0, 0, 0x12, 0x34, 0, 1], data].concat())
}

fn request(ends: (IpAddr, IpAddr), data: &[u8]) -> Vec<u8> {
    echo(ends, if ends.0.is_ipv4() { 8 } else { 128 }, &[], data)
}

fn replied(frame: &[u8]) -> Result<Vec<u8>, Reason> {
    let mut buffer = HeapBuffer::new(frame);
    let result = reply(&mut buffer, &parse(frame).unwrap());
    if result.is_err() {
        assert_eq!(buffer.data(), frame, "changed");
    }
    result.map(|()| buffer.data().to_vec())
}

fn both() -> [(IpAddr, IpAddr); 2] {
    [(V4.0.into(), V4.1.into()), (V6.0.into(), V6.1.into())]
}

/// The reply that a frame from A to B is to get, octet by octet but for traffic class and hop limit.
fn expected(ends: (IpAddr, IpAddr), data: &[u8]) -> Vec<u8> {
    let mut frame = echo((ends.1, ends.0), if ends.0.is_ipv4() { 0 } else { 129 }, &[], data);
    frame[..6].copy_from_slice(&sample::A.0);
    frame[6..12].copy_from_slice(&sample::B.0);
    match ends.0 {
        IpAddr::V4(_) => {
            // No identification, DF.
            frame[18..22].copy_from_slice(&[0, 0, 0x40, 0]);
            frame[24..26].fill(0);
            let checksum = !naive(&frame[14..34]);
            frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        }
        IpAddr::V6(_) => frame[21] = 64,
    }
    frame
}

#[test]
fn an_echo_is_answered_without_options_and_padding() {
    for ends in both() {
        assert_eq!(replied(&request(ends, b"data")).unwrap(), expected(ends, b"data"));
        let kind = if ends.0.is_ipv4() { 8 } else { 128 };
        let optional = echo(ends, kind, &[7, 7, 4, 0, 0, 0, 0, 0], b"odd");
        assert!(optional.len() > request(ends, b"odd").len());
        let padded = [&optional[..], &[0xaa; 9]].concat();
        assert_eq!(replied(&padded).unwrap(), expected(ends, b"odd"));
    }
    // DSCP goes back, ECN does not.
    let mut marked = request(both()[1], b"data");
    marked[14..16].copy_from_slice(&[0x6b, 0xb0]);
    assert_eq!(replied(&marked).unwrap()[14..16], [0x6b, 0x80]);
}

#[test]
fn what_is_no_sound_echo_request_gets_no_reply() {
    let refused = Err(Reason::Malformed);
    for ends in both() {
        let good = request(ends, b"data");
        let l4 = usize::from(parse(&good).unwrap().l4);
        for at in [l4, l4 + 1, l4 + 2, good.len() - 1] {
            let mut wrong = good.clone();
            wrong[at] ^= 1;
            assert_eq!(replied(&wrong), refused, "octet {at}");
        }
        let short = message(ends, &[], &[if ends.0.is_ipv4() { 8 } else { 128 }, 0, 0, 0, 0, 0, 0, 0][..]);
        assert!(replied(&short).is_ok());
        let mut to_all = good.clone();
        to_all[0] = 0x33;
        assert_eq!(replied(&to_all), refused, "to a group MAC");
    }
    let v6 = [128, 0, 0, 0];
    assert_eq!(replied(&message(both()[1], &[], &v6)), refused, "cut");
    for (source, destination) in
        [("0.0.0.0", "10.0.1.1"), ("224.0.0.1", "10.0.1.1"), ("::", "fd00::1"), ("fd00::a", "ff02::1")]
    {
        let ends = (source.parse().unwrap(), destination.parse().unwrap());
        assert_eq!(replied(&request(ends, b"data")), refused, "{source} to {destination}");
    }
    let fragment = sample::ipv4(V4, 1, 0x2000, &[], &request(both()[0], b"data data data d")[34..]);
    assert_eq!(replied(&fragment), refused, "a fragment");
    let mut header = request(both()[0], b"data");
    header[22] ^= 1;
    assert_eq!(replied(&header), refused, "a wrong header checksum");
}

fn too_big_of(frame: &[u8], router: &str, mtu: u16) -> Option<Vec<u8>> {
    let mut buffer = HeapBuffer::new(frame);
    let router = (ROUTER, router.parse().unwrap());
    let made = too_big(&mut buffer, &parse(frame).unwrap(), router, sample::A, mtu);
    if !made {
        assert_eq!(buffer.data(), frame, "changed");
    }
    made.then(|| buffer.data().to_vec())
}

#[test]
fn fragmentation_needed_octet_by_octet() {
    let about = sample::ipv4(V4, 17, 0x4000, &[], &sample::udp(1, 2, &[7; 600]));
    let error = too_big_of(&about, "10.0.1.1", 1450).unwrap();
    assert_eq!(error.len(), 14 + 576);
    assert_eq!(error[..14], [&sample::A.0[..], &ROUTER.0, &[8, 0]].concat());
    assert_eq!(error[14..24], [0x45, 0xc0, 2, 64, 0, 0, 0x40, 0, 64, 1]);
    assert_eq!(naive(&error[14..34]), 0xffff);
    assert_eq!(error[26..34], [10, 0, 1, 1, 10, 0, 1, 10]);
    assert_eq!((&error[34..36], &error[38..42]), (&[3, 4][..], &[0, 0, 5, 0xaa][..]));
    assert_eq!(naive(&error[34..]), 0xffff);
    assert_eq!(error[42..], about[14..14 + 548]);
}

#[test]
fn packet_too_big_octet_by_octet() {
    let about = sample::ipv6(V6, 17, &sample::udp(1, 2, &[7; 1400]));
    let error = too_big_of(&about, "fe80:ec2::1", 1430).unwrap();
    assert_eq!(error.len(), 14 + 1280);
    assert_eq!(error[..14], [&sample::A.0[..], &ROUTER.0, &[0x86, 0xdd]].concat());
    assert_eq!(error[14..22], [0x6c, 0, 0, 0, 4, 216, 58, 64]);
    let router = "fe80:ec2::1".parse().unwrap();
    assert_eq!(ipv6_endpoints(&error), (router, V6.0));
    assert_eq!((&error[54..56], &error[58..62]), (&[2, 0][..], &[0, 0, 5, 0x96][..]));
    assert_eq!(sum((router.into(), V6.0.into()), &error[54..]), 0xffff);
    assert_eq!(error[62..], about[14..14 + 1232]);
}

/// MTU-12.
#[test]
fn time_exceeded_octet_by_octet() {
    let four = sample::ipv4(V4, 17, 0, &[], &sample::udp(1, 2, &[7; 20]));
    let six = sample::ipv6(V6, 17, &sample::udp(1, 2, &[7; 20]));
    for (about, router, l4, kind) in [(four, "10.0.9.9", 34, 11), (six, "fe80:ec2::1", 54, 3)] {
        let headers = parse(&about).unwrap();
        let router: IpAddr = router.parse().unwrap();
        let mut buffer = HeapBuffer::new(&[&about[..], &[0xaa; 6]].concat());
        assert!(time_exceeded(&mut buffer, &headers, (ROUTER, router), sample::A));
        let error = buffer.data();
        let made = parse(error).unwrap();
        assert_eq!((usize::from(made.l4), made.end()), (l4, error.len()));
        let ends = crate::packet::endpoints(&about, headers.network).unwrap();
        assert_eq!(crate::packet::endpoints(error, made.network), Some((router, ends.0)));
        assert_eq!((&error[l4..l4 + 2], &error[l4 + 4..l4 + 8]), (&[kind, 0][..], &[0; 4][..]));
        assert_eq!(sum((router, ends.0), &error[l4..]), 0xffff);
        assert_eq!(error[l4 + 8..], about[14..]);
        let mut again = HeapBuffer::new(error);
        assert!(!time_exceeded(&mut again, &made, (ROUTER, router), sample::A), "about an error");
    }
}

#[test]
fn no_error_about_errors_fragments_and_groups() {
    let four = |ends, protocol, field, payload: &[u8]| {
        let mut big = payload.to_vec();
        big.resize(608, 0);
        too_big_of(&sample::ipv4(ends, protocol, field, &[], &big), "10.0.1.1", 500).is_some()
    };
    let six = |ends, kind: u8| {
        too_big_of(&message(ends, &[], &[&[kind], &[0; 1400][..]].concat()), "fe80:ec2::1", 1300).is_some()
    };
    let all: Vec<u8> = (0..=255).filter(|&kind| !four(V4, 1, 0x4000, &[kind])).collect();
    assert_eq!(all, [3, 4, 5, 11, 12], "RFC 1122 §3.2.2");
    let all: Vec<u8> = (0..=255).filter(|&kind| !six((V6.0.into(), V6.1.into()), kind)).collect();
    assert_eq!(all, (0..=127).chain([137]).collect::<Vec<_>>(), "RFC 4443 §2.4(e)");
    assert!(four(V4, 17, 0x6000, &[]), "a first fragment");
    assert!(!four(V4, 1, 0x6000, &[11]), "a first fragment of an error");
    assert!(!four(V4, 17, 0x6004, &[]), "a later fragment");
    for source in ["0.0.0.0", "0.0.0.9", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"] {
        assert!(!four((source.parse().unwrap(), V4.1), 17, 0x4000, &[]), "{source}");
    }
    for destination in ["224.0.0.1", "255.255.255.255"] {
        assert!(!four((V4.0, destination.parse().unwrap()), 17, 0x4000, &[]), "{destination}");
    }
    for (source, destination) in [("::", "fd00::1"), ("ff02::1", "fd00::1"), ("fd00::a", "ff02::1")] {
        assert!(!six((source.parse().unwrap(), destination.parse().unwrap()), 128), "{source}");
    }
    let mut to_all = sample::ipv4(V4, 17, 0x4000, &[], &[0; 600]);
    assert!(too_big_of(&to_all, "fe80:ec2::1", 500).is_none(), "a router of the other family");
    to_all[..6].fill(0xff);
    assert!(too_big_of(&to_all, "10.0.1.1", 500).is_none(), "to a group MAC");
    let mut full = HeapBuffer::new(&sample::ipv4(V4, 17, 0x4000, &[], &[0; 600])[HEADROOM - 20..]);
    full.prepend(HEADROOM - 20).unwrap().copy_from_slice(&sample::ipv4(V4, 17, 0x4000, &[], &[0; 600]));
    let headers = parse(full.data()).unwrap();
    assert!(!too_big(&mut full, &headers, (ROUTER, V4.1.into()), sample::A, 500), "no headroom");
}

proptest! {
    #[test]
    fn replies_are_sound(ends in sample::ends(), data in vec(any::<u8>(), 0..100)) {
        prop_assume!(Ends::of(&request(ends, &[]), parse(&request(ends, &[])).unwrap().network)
            .is_some_and(|ends| ends.has_one_source() && !ends.to_group()));
        let frame = replied(&request(ends, &data)).unwrap();
        prop_assert_eq!(&frame, &expected(ends, &data));
        prop_assert!(matches!(replied(&frame), Err(Reason::Malformed)), "a reply is not answered");
    }

    #[test]
    fn errors_are_sound(frame in sample::any_frame(), mtu: u16, mutation: (prop::sample::Index, u8)) {
        let mut frame = frame;
        let at = mutation.0.index(frame.len());
        frame[at] = mutation.1;
        let Ok(headers) = parse(&frame) else { return Ok(()) };
        let router = if headers.network == Network::Ipv4 { "10.0.1.1" } else { "fe80:ec2::1" };
        let Some(error) = too_big_of(&frame, router, mtu) else { return Ok(()) };
        let made = parse(&error).unwrap();
        prop_assert_eq!(made.end(), error.len());
        prop_assert_eq!(made.icmp_type(), Some(if headers.network == Network::Ipv4 { 3 } else { 2 }));
        prop_assert!(frame[14..headers.end()].starts_with(&error[usize::from(made.l4) + 8..]));
        let ends = Ends::of(&error, made.network).unwrap();
        prop_assert_eq!(ends.sum(made.protocol, &error[made.l4.into()..]).fold(), 0xffff);
        prop_assert!(!may_answer(&error, &made), "an error is not answered");
    }

    #[test]
    fn nothing_panics(bytes in vec(any::<u8>(), 0..200), frame in sample::any_frame()) {
        // Headers that are not the frame's.
        let headers = parse(&frame).unwrap();
        let mut buffer = HeapBuffer::new(&bytes);
        let _ = reply(&mut buffer, &headers);
        let mut buffer = HeapBuffer::new(&bytes);
        let _ = too_big(&mut buffer, &headers, (ROUTER, V4.1.into()), sample::A, 500);
    }
}
