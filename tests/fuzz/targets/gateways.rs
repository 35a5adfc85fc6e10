//! What gateways do to packets.

use warren::packet::{
    Address, Buffer, Checked, ETHERNET, Fragment, Gre, GreTemplate, Gwlb, GwlbTemplate, Headers, HeapBuffer,
    Mac, Network, Tuple,
    nat64::{to_v4, to_v6},
    parse, protocol, quoted, tcp, translate, translate_error,
};

use super::packets::{check_headers, repaired, sum, transport_sum};

const V4: (u32, u32) = (0xcb00_7109, 0xc000_0201);
const V6: (u128, u128) = (0xfd00 << 112 | 0xa, 0x0064_ff9b << 96 | 0xc000_0201);

const fn tuple<A: Copy>(pair: (A, A)) -> Tuple<A> {
    Tuple { source: pair.0, destination: pair.1, source_port: 40_000, destination_port: 53 }
}

/// The sum over an IPv4 header, or 0xffff.
fn header_sum(frame: &[u8], headers: &Headers) -> u16 {
    match headers.network {
        Network::Ipv4 => sum(&frame[ETHERNET..ETHERNET + usize::from(frame[14] & 15) * 4]),
        _ => 0xffff,
    }
}

/// Whether two sums are as right, or as wrong.
fn assert_same(new: u16, old: u16) {
    assert_eq!(new % 0xffff, old % 0xffff);
}

/// Translations keep checksums as right, or wrong, as they were, and all that they are not about.
pub(crate) fn translation(frame: &[u8]) {
    for frame in [frame.to_vec(), repaired(frame)] {
        let Ok(headers) = parse(&frame) else { return };
        translate_as(&frame, &headers, V4);
        translate_as(&frame, &headers, V6);
        let mut buffer = HeapBuffer::new(&frame);
        if tcp::reset(&mut buffer, &headers) {
            let reset = parse(buffer.data()).expect("own frame");
            check_headers(buffer.data(), &reset);
            assert_eq!(reset.end(), buffer.data().len());
            assert_eq!(transport_sum(buffer.data(), &reset), 0xffff);
            assert!(!tcp::reset(&mut buffer, &reset), "a reset of a reset");
        }
    }
}

fn translate_as<A: Address>(frame: &[u8], headers: &Headers, pair: (A, A)) {
    let Some(old) = Tuple::<A>::of(frame, headers) else { return };
    let mut changed = frame.to_vec();
    if let Some(before) = quoted::<A>(frame, headers) {
        translate_error(&mut changed, headers, &before, pair, &tuple(pair).reversed());
        let found = quoted::<A>(&changed, headers).expect("the same quote");
        assert_eq!((found.source, found.destination), (pair.1, pair.0));
        assert_eq!(found.ports.is_some(), before.ports.is_some());
    } else {
        translate(&mut changed, headers, &tuple(pair));
    }
    let new = parse(&changed).expect("the same headers");
    assert_eq!(Tuple::<A>::of(&changed, &new).expect("the same family").addresses(), pair);
    assert_same(header_sum(&changed, &new), header_sum(frame, headers));
    let unsummed = headers.protocol == protocol::UDP
        && frame.get(usize::from(headers.l4) + 6..).is_some_and(|rest| rest.starts_with(&[0, 0]));
    let summed = matches!(headers.protocol, protocol::TCP | protocol::UDP) && !unsummed
        || headers.icmp_type().is_some();
    if summed && headers.fragment == Fragment::Whole {
        assert_same(transport_sum(&changed, &new), transport_sum(frame, headers));
    }
    if quoted::<A>(frame, headers).is_none() {
        translate(&mut changed, headers, &old);
        // A checksum of all ones may come back as zero: they mean the same.
        let differ = changed.iter().zip(frame).filter(|(new, old)| new != old);
        assert!(differ.clone().all(|(new, old)| new ^ old == 0xff) && differ.count() <= 4);
    }
}

pub(crate) fn nat64(frame: &[u8]) {
    for frame in [frame.to_vec(), repaired(frame)] {
        let Ok(headers) = parse(&frame) else { return };
        let mut buffer = HeapBuffer::new(&frame);
        let done = match headers.network {
            Network::Ipv6 => to_v4(&mut buffer, &headers, &tuple(V4), Some(&tuple(V4)), 7),
            _ => to_v6(&mut buffer, &headers, &tuple(V6), Some(&tuple(V6))),
        };
        if done.is_err() {
            assert_eq!(buffer.data(), frame);
            continue;
        }
        let new = parse(buffer.data()).expect("own frame");
        check_headers(buffer.data(), &new);
        assert_ne!(new.network, headers.network);
        assert_eq!((new.end(), new.fragment), (buffer.data().len(), headers.fragment));
        assert_eq!(header_sum(buffer.data(), &new), 0xffff);
        let summed = new.protocol == protocol::TCP || new.icmp_type().is_some();
        if summed && new.fragment == Fragment::Whole {
            assert_same(transport_sum(buffer.data(), &new), transport_sum(&frame, &headers));
        }
        let quotes = |frame: &[u8], headers: &Headers| {
            quoted::<u32>(frame, headers).is_some() || quoted::<u128>(frame, headers).is_some()
        };
        assert_eq!(quotes(buffer.data(), &new), quotes(&frame, &headers));
        if !quotes(&frame, &headers) {
            // Behind ports, identifier and checksum.
            let skipped = if new.fragment == Fragment::Later {
                0
            } else if new.protocol == protocol::TCP {
                18
            } else {
                8
            };
            let rest = |frame: &[u8], headers: &Headers| {
                frame.get(usize::from(headers.l4) + skipped..headers.end()).map(<[u8]>::to_vec)
            };
            assert_eq!(rest(buffer.data(), &new), rest(&frame, &headers));
        }
    }
}

pub(crate) fn gre(frame: &[u8]) {
    for frame in [frame.to_vec(), repaired(frame)] {
        let Ok(headers) = parse(&frame) else { return };
        for key in [None, Some(7)] {
            let ends = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
            let template = GreTemplate::new(ends.0, ends.1, key).expect("one family");
            let mut buffer = HeapBuffer::new(&frame);
            if template.encapsulate(&mut buffer, &headers, 7).is_ok() {
                let outer = parse(buffer.data()).expect("own frame");
                let gre = Gre::parse(buffer.data(), &outer, Checked::Unknown).expect("own frame");
                assert_eq!(gre.key, key);
                gre.strip(&mut buffer).expect("no congestion mark of its own");
                assert_eq!(buffer.data()[ETHERNET..], frame[ETHERNET..headers.end()]);
            }
        }
        let Ok(gre) = Gre::parse(&frame, &headers, Checked::Unknown) else { continue };
        let mut buffer = HeapBuffer::new(&frame);
        if gre.strip(&mut buffer).is_ok() {
            assert_eq!(buffer.data().len(), usize::from(gre.end - gre.inner) + ETHERNET);
            if let Ok(inner) = parse(buffer.data()) {
                check_headers(buffer.data(), &inner);
            }
        }
    }
}

pub(crate) fn gwlb(frame: &[u8]) {
    for frame in [frame.to_vec(), repaired(frame)] {
        let Ok(headers) = parse(&frame) else { return };
        let ends = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let template = GwlbTemplate::new(ends, (Mac::ZERO, Mac::ZERO), (7, 8));
        let mut buffer = HeapBuffer::new(&frame);
        if template.encapsulate(&mut buffer, &headers, (9, 10)).is_ok() {
            let outer = parse(buffer.data()).expect("own frame");
            let back = Gwlb::parse(buffer.data(), &outer, Checked::Unknown).expect("own frame");
            assert_eq!((back.endpoint, back.cookie), (7, 10));
            back.strip(&mut buffer).expect("no congestion mark of its own");
            assert_eq!(buffer.data()[ETHERNET..], frame[ETHERNET..headers.end()]);
        }
        let Ok(back) = Gwlb::parse(&frame, &headers, Checked::Unknown) else { continue };
        let mut buffer = HeapBuffer::new(&frame);
        if back.strip(&mut buffer).is_ok() {
            assert_eq!(buffer.data().len(), usize::from(back.end - back.inner) + ETHERNET);
            if let Ok(inner) = parse(buffer.data()) {
                check_headers(buffer.data(), &inner);
            }
        }
    }
}
