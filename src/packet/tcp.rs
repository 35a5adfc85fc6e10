//! TCP's maximum segment size, the one thing that the node changes in an instance's packet (RFC 6691, RFC 9293 §3.7.1).

use super::{
    bytes::{get, put},
    checksum::update,
    headers::{ETHERNET, Fragment, Headers, Network, ethertype, ethertype_of, protocol},
};

/// Flags octet of the header, and the one that opens a connection.
const FLAGS: usize = 13;
const SYN: u8 = 0x02;

/// Whether a packet opens a TCP connection, so that it may tell a maximum segment size.
#[inline]
pub fn is_syn(frame: &[u8], headers: &Headers) -> bool {
    headers.protocol == protocol::TCP
        && headers.fragment == Fragment::Whole
        && get(frame, usize::from(headers.l4) + FLAGS).is_some_and(|[flags]| flags & SYN != 0)
}

/// Whether a frame has TCP right behind the fixed header of its IP packet, told by one octet. Behind IPv6 extension
/// headers, which have to be walked to tell, nobody opens a connection.
#[inline]
pub fn may_be_syn(frame: &[u8]) -> bool {
    let at = if ethertype_of(frame) == ethertype::IPV6 { ETHERNET + 6 } else { ETHERNET + 9 };
    get(frame, at) == Some([protocol::TCP])
}

/// Lowers the maximum segment size that a SYN tells to what fits a path for IP packets of `mtu` bytes (RFC 6691 §2: less
/// the fixed headers of IP and TCP), and says whether it did. A SYN without that option stays: it means 536 bytes, or 1220
/// over IPv6 (RFC 9293 §3.7.1). A checksum that was wrong stays wrong.
pub fn clamp_mss(frame: &mut [u8], headers: &Headers, mtu: u16) -> bool {
    let fixed = match headers.network {
        Network::Ipv4 => 20 + 20,
        Network::Ipv6 => 40 + 20,
        Network::Arp => return false,
    };
    let most = mtu.saturating_sub(fixed);
    if !is_syn(frame, headers) {
        return false;
    }
    let Some(segment) = frame.get_mut(usize::from(headers.l4)..headers.end()) else { return false };
    let Some((at, told)) = find_mss(segment).filter(|(_, told)| *told > most) else { return false };
    // RFC 1071 §2 (B): of a word that straddles two, the bytes count the other way round.
    let (old, new) = if at.is_multiple_of(2) { (told, most) } else { (told.swap_bytes(), most.swap_bytes()) };
    let checksum = u16::from_be_bytes(get(segment, CHECKSUM).unwrap_or_default());
    put(segment, at, most.to_be_bytes());
    put(segment, CHECKSUM, update(checksum, old, new).to_be_bytes());
    true
}

const CHECKSUM: usize = 16;

/// Where in a segment its maximum segment size is, and what it is.
fn find_mss(segment: &[u8]) -> Option<(usize, u16)> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const MSS: u8 = 2;

    let [offset] = get(segment, 12)?;
    let header = segment.get(..usize::from(offset >> 4) * 4)?;
    let mut at = 20;
    loop {
        at += match (*header.get(at)?, header.get(at + 1)) {
            (END, _) => return None,
            (NO_OPERATION, _) => 1,
            (MSS, Some(4)) => return Some((at + 2, u16::from_be_bytes(get(header, at + 2)?))),
            (_, Some(&len)) if len >= 2 => usize::from(len),
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::packet::{checksum::tests::naive, headers::parse, sample};

    /// The sum of a segment and its pseudo-header.
    fn sum(ends: (IpAddr, IpAddr), segment: &[u8]) -> u16 {
        let len = (segment.len() as u32).to_be_bytes();
        let addresses = match ends {
            (IpAddr::V4(a), IpAddr::V4(b)) => [a.octets(), b.octets()].concat(),
            (IpAddr::V6(a), IpAddr::V6(b)) => [a.octets(), b.octets()].concat(),
            _ => panic!("two families"),
        };
        naive(&[&addresses[..], &len, &[0, 0, 0, 6], segment].concat())
    }

    fn frame(ends: (IpAddr, IpAddr), flags: u8, options: &[u8], data: &[u8]) -> Vec<u8> {
        let words = options.len().div_ceil(4);
        let mut segment = vec![0x9c, 0x40, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, (5 + words as u8) << 4, flags];
        segment.extend([0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(options);
        segment.resize(20 + words * 4, 0);
        segment.extend(data);
        let checksum = !sum(ends, &segment);
        segment[16..18].copy_from_slice(&checksum.to_be_bytes());
        match ends {
            (IpAddr::V4(a), IpAddr::V4(b)) => sample::ipv4((a, b), 6, 0x4000, &[], &segment),
            (IpAddr::V6(a), IpAddr::V6(b)) => sample::ipv6((a, b), 6, &segment),
            _ => panic!("two families"),
        }
    }

    fn clamped(frame: &[u8], mtu: u16) -> Option<Vec<u8>> {
        let mut changed = frame.to_vec();
        let done = clamp_mss(&mut changed, &parse(frame).unwrap(), mtu);
        assert_eq!(done, changed != frame);
        done.then_some(changed)
    }

    #[test]
    fn only_tcp_right_behind_the_fixed_header_may_be_a_syn() {
        let v4 = (Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST);
        let v6 = (Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        let options = [&[protocol::TCP, 0, 1, 4, 0, 0, 0, 0][..], &[0; 20]].concat();
        assert!(may_be_syn(&sample::ipv4(v4, protocol::TCP, 0, &[1; 8], &[0; 20])));
        assert!(may_be_syn(&sample::ipv6(v6, protocol::TCP, &[0; 20])));
        assert!(!may_be_syn(&sample::ipv4(v4, protocol::UDP, 0, &[], &[0; 20])));
        assert!(!may_be_syn(&sample::ipv6(v6, 60, &options)));
        assert!(!may_be_syn(&[]));
    }

    #[test]
    fn only_the_option_of_a_syn_and_only_down() {
        let v4 = ("10.0.1.10".parse().unwrap(), "10.0.1.20".parse().unwrap());
        let v6 = ("fd00::a".parse().unwrap(), "fd00::b".parse().unwrap());
        let told = [2, 4, 0x23, 0x01, 4, 2];
        for (ends, l4, most) in [(v4, 34, 1450 - 40), (v6, 54, 1450 - 60)] {
            for flags in [0x02, 0x12, 0xc2] {
                let expected = [&[2, 4], &u16::to_be_bytes(most)[..], &[4, 2]].concat();
                let syn = clamped(&frame(ends, flags, &told, &[]), 1450).unwrap();
                assert_eq!(syn, frame(ends, flags, &expected, &[]));
                assert_eq!(syn[l4 + 20..l4 + 26], expected);
            }
            assert_eq!(clamped(&frame(ends, 0x10, &told, &[]), 1450), None, "no SYN");
            assert_eq!(clamped(&frame(ends, 2, &[2, 4, 5, 0], &[]), 1450), None, "small");
            assert_eq!(clamped(&frame(ends, 2, &[], &[2, 4, 0xff, 0xff]), 1450), None, "data");
            assert_eq!(
                clamped(&frame(ends, 2, &[0, 2, 4, 0xff, 0xff, 0], &[]), 1450),
                None,
                "behind the end"
            );
            for broken in [[1, 2, 4, 0xff], [2, 3, 0xff, 0xff], [3, 0, 0xff, 0xff], [3, 1, 0xff, 0xff]] {
                assert_eq!(clamped(&frame(ends, 2, &broken, &[]), 1450), None, "{broken:?}");
            }
        }
        let first = sample::ipv4(
            ("10.0.1.10".parse().unwrap(), "10.0.1.20".parse().unwrap()),
            6,
            0x2000,
            &[],
            &frame(v4, 2, &[2, 4, 0xff, 0xff], &[])[34..],
        );
        assert_eq!(clamped(&first, 1450), None, "a fragment");
        let mut wrong = frame(v4, 2, &told, &[]);
        wrong[50] ^= 0x10;
        let still = clamped(&wrong, 1450).unwrap();
        assert_ne!(sum(v4, &still[34..]), 0xffff, "a wrong checksum stays wrong");
    }

    proptest! {
        #[test]
        fn checksums_stay_right(
            ends in sample::ends(),
            // Anywhere, at even and odd offsets.
            front in 0usize..20,
            told: u16,
            mtu in 68u16..=9001,
            data in vec(any::<u8>(), 0..40),
        ) {
            let options = [&vec![1; front][..], &[2, 4], &told.to_be_bytes()].concat();
            let before = frame(ends, 2, &options, &data);
            let headers = parse(&before).unwrap();
            let most = mtu.saturating_sub(if ends.0.is_ipv4() { 40 } else { 60 });
            let mut after = before.clone();
            prop_assert_eq!(clamp_mss(&mut after, &headers, mtu), told > most);
            let expected = [&vec![1; front][..], &[2, 4], &told.min(most).to_be_bytes()].concat();
            prop_assert_eq!(sum(ends, &after[headers.l4.into()..]), 0xffff);
            prop_assert_eq!(after, frame(ends, 2, &expected, &data));
        }

        #[test]
        fn nothing_panics(bytes in vec(any::<u8>(), 0..200), frame in sample::any_frame(), mtu: u16) {
            // Headers that are not the frame's, and options of any kind.
            let headers = parse(&frame).unwrap();
            clamp_mss(&mut bytes.clone(), &headers, mtu);
            if bytes.len() >= 20 {
                let mut syn = sample::ipv4(([10, 0, 1, 1].into(), [10, 0, 1, 2].into()), 6, 0, &[], &bytes);
                syn[34 + FLAGS] |= SYN;
                let headers = parse(&syn).unwrap();
                let before = syn.len();
                clamp_mss(&mut syn, &headers, mtu);
                prop_assert_eq!(syn.len(), before);
            }
        }
    }
}
