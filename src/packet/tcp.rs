//! What the node does to TCP: it lowers a maximum segment size (RFC 6691, RFC 9293 §3.7.1), and resets a connection that a
//! gateway has forgotten.

use super::{
    Buffer,
    bytes::{get, put},
    checksum::update,
    encap::traffic_class,
    ends::Ends,
    headers::{ETHERNET, Fragment, Headers, Network, ethertype, ethertype_of, protocol},
    macs,
};

/// Flags octet of the header.
const FLAGS: usize = 13;
/// The sender has sent its last octet. Flags are as in RFC 9293 §3.1.
pub const FIN: u8 = 0x01;
/// The sender's first sequence number.
pub const SYN: u8 = 0x02;
/// The connection is no more.
pub const RST: u8 = 0x04;
/// The acknowledgment number counts.
pub const ACK: u8 = 0x10;

/// Octets of a header without options.
const HEADER: usize = 20;

/// The flags of a TCP segment, which [`super::parse`] found in a frame: the octet of its header (RFC 9293 §3.1). 0 of all
/// other packets and of later fragments.
#[inline]
pub fn flags(frame: &[u8], headers: &Headers) -> u8 {
    if headers.protocol != protocol::TCP || headers.fragment == Fragment::Later {
        return 0;
    }
    let [flags] = get(frame, usize::from(headers.l4) + FLAGS).unwrap_or_default();
    flags
}

/// [`flags`] of a frame that is [`super::Plain`] or [`super::PlainV6`], by its protocol and where its transport header is. Of one cut short, which such a frame is not, those of no usual one.
#[inline(always)]
pub fn plain_flags(protocol: u8, frame: &[u8], l4: usize) -> u8 {
    match protocol {
        protocol::TCP => frame.get(l4 + FLAGS).copied().unwrap_or(SYN),
        _ => 0,
    }
}

/// Whether a packet opens a TCP connection, so that it may tell a maximum segment size.
#[inline]
pub fn is_syn(frame: &[u8], headers: &Headers) -> bool {
    headers.fragment == Fragment::Whole && flags(frame, headers) & SYN != 0
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

/// What a segment says of its place in the connection (RFC 9293 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The octet of flags.
    pub flags: u8,
    /// The sequence number of its first octet, or of its SYN.
    pub sequence: u32,
    /// The sequence number that it expects.
    pub acknowledgment: u32,
    /// Sequence numbers that it takes: octets of data, SYN and FIN.
    pub len: u32,
    /// The window, as it stands in the header.
    pub window: u16,
    /// By how much its sender's windows are shifted, if it says so: only SYNs may (RFC 7323 §2.2).
    pub shift: Option<u8>,
}

impl Segment {
    /// Of a packet which [`super::parse`] found in a frame; `None` if it is no whole TCP segment.
    pub fn of(frame: &[u8], headers: &Headers) -> Option<Self> {
        if headers.protocol != protocol::TCP || headers.fragment != Fragment::Whole {
            return None;
        }
        let segment = frame.get(usize::from(headers.l4)..headers.end())?;
        let word = |at| get(segment, at).map(u32::from_be_bytes);
        let [offset, flags] = get(segment, FLAGS - 1)?;
        let data = segment.len().checked_sub(usize::from(offset >> 4) * 4)? as u32;
        let taken = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let shift = if flags & SYN != 0 { find_option(segment, WINDOW_SCALE, 3) } else { None };
        Some(Self {
            flags,
            sequence: word(4)?,
            acknowledgment: word(8)?,
            len: data + taken,
            window: u16::from_be_bytes(get(segment, 14)?),
            shift: shift.and_then(|at| segment.get(at).copied()),
        })
    }

    /// The sequence number behind it.
    pub fn end(&self) -> u32 {
        self.sequence.wrapping_add(self.len)
    }
}

const CHECKSUM: usize = 16;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;

/// Where in a segment its maximum segment size is, and what it is.
fn find_mss(segment: &[u8]) -> Option<(usize, u16)> {
    let at = find_option(segment, MSS, 4)?;
    Some((at, u16::from_be_bytes(get(segment, at)?)))
}

/// Where in a segment the value of an option of a kind and length is.
fn find_option(segment: &[u8], kind: u8, length: u8) -> Option<usize> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;

    let [offset] = get(segment, 12)?;
    let header = segment.get(..usize::from(offset >> 4) * 4)?;
    let mut at = 20;
    loop {
        at += match (*header.get(at)?, header.get(at + 1)) {
            (END, _) => return None,
            (NO_OPERATION, _) => 1,
            (found, Some(&len)) if (found, len) == (kind, length) => return Some(at + 2),
            (_, Some(&len)) if len >= 2 => usize::from(len),
            _ => return None,
        };
    }
}

/// Turns a frame with a TCP segment into the reset that answers it, as a closed port does (RFC 9293 §3.10.7.1): between the same
/// MACs, addresses and ports in the other direction, with the DSCP of the segment (GW-12). `false`, changing nothing, for a
/// reset, a fragment, a wrong checksum or header length, and where the segment comes from no single host or went to a group.
#[must_use]
#[inline(never)]
pub fn reset<B: Buffer>(buffer: &mut B, headers: &Headers) -> bool {
    let frame = buffer.data();
    let (destination, source) = macs(frame);
    let start = usize::from(headers.l4);
    let (Some(ends), Some(segment)) = (Ends::of(frame, headers.network), frame.get(start..headers.end()))
    else {
        return false;
    };
    let (Some(answer), Some(surplus)) = (answer_to(segment), start.checked_sub(ends.headers_len())) else {
        return false;
    };
    let sound = headers.protocol == protocol::TCP
        && headers.fragment == Fragment::Whole
        && ends.has_one_source()
        && !(ends.to_group() || destination.is_group())
        && ends.sum(protocol::TCP, segment).fold() == 0xffff;
    if !sound {
        return false;
    }
    let dscp = traffic_class(frame) & 0xfc;
    buffer.truncate(start + HEADER);
    buffer.trim_front(surplus);
    let frame = buffer.data_mut();
    let ends = ends.reversed();
    ends.write(frame, (source, destination), dscp, protocol::TCP);
    put(frame, ends.headers_len(), answer);
    let checksum = ends.sum(protocol::TCP, &answer).checksum();
    put(frame, ends.headers_len() + CHECKSUM, checksum.to_be_bytes());
    true
}

/// The reset of a segment, without checksum; `None` where none may be sent.
fn answer_to(segment: &[u8]) -> Option<[u8; HEADER]> {
    let [a, b, c, d, s0, s1, s2, s3, a0, a1, a2, a3, offset, flags] = get(segment, 0)?;
    let header_len = usize::from(offset >> 4) * 4;
    let data = segment.get(header_len..)?;
    if header_len < HEADER || flags & RST != 0 {
        return None;
    }
    // With an acknowledgement the reset has the sequence number that is expected; without, it acknowledges the segment.
    let (sequence, acknowledged, reply) = if flags & ACK != 0 {
        ([a0, a1, a2, a3], 0, RST)
    } else {
        // RFC 9293 §3.4: SYN and FIN count like an octet each.
        let len = data.len() as u32 + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        ([0; 4], u32::from_be_bytes([s0, s1, s2, s3]).wrapping_add(len), RST | ACK)
    };
    let mut answer = [0; HEADER];
    put(&mut answer, 0, [c, d, a, b]);
    put(&mut answer, 4, sequence);
    put(&mut answer, 8, acknowledged.to_be_bytes());
    put(&mut answer, 12, [(HEADER as u8 / 4) << 4, reply]);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::packet::{HeapBuffer, checksum::tests::naive, headers::parse, sample, set_macs};

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

    fn reset_of(frame: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = HeapBuffer::new(&[frame, &[0xaa; 3]].concat());
        let done = reset(&mut buffer, &parse(frame).unwrap());
        if !done {
            assert_eq!(buffer.data(), [frame, &[0xaa; 3]].concat(), "changed");
        }
        done.then(|| buffer.data().to_vec())
    }

    /// RFC 9293 §3.10.7.1; GW-12.
    #[test]
    fn a_reset_is_the_answer_of_a_closed_port() {
        let v4 = ("10.0.1.10".parse().unwrap(), "10.0.1.20".parse().unwrap());
        let v6 = ("fd00::a".parse().unwrap(), "fd00::b".parse().unwrap());
        for ends in [v4, v6] {
            let (a, b): (IpAddr, IpAddr) = ends;
            for (flags, data, sequence, acknowledged, reply) in [
                // Sequence number 0x01020304, acknowledgement number 0.
                (0x02, 0, 0, 0x0102_0305, 0x14),
                (0x03, 9, 0, 0x0102_030f, 0x14),
                (0x00, 9, 0, 0x0102_030d, 0x14),
                (0x18, 9, 0, 0, 0x04),
            ] {
                let found = reset_of(&frame(ends, flags, &[1; 8], &vec![7; data])).unwrap();
                let mut segment = vec![0, 80, 0x9c, 0x40];
                segment.extend(u32::to_be_bytes(sequence));
                segment.extend(u32::to_be_bytes(acknowledged));
                segment.extend([0x50, reply, 0, 0, 0, 0, 0, 0]);
                let mut expected = sample::packet((b, a), 6, &sample::summed((b, a), 6, 16, &segment));
                set_macs(&mut expected, sample::A, sample::B);
                let l4 = if a.is_ipv4() { 34 } else { 54 };
                assert_eq!(found[..14], expected[..14]);
                assert_eq!(found[l4..], expected[l4..], "flags {flags:#x}");
                let headers = parse(&found).unwrap();
                assert_eq!(headers.end(), found.len());
                assert_eq!(crate::packet::endpoints(&found, headers.network), Some((b, a)));
                assert_eq!(reset_of(&found), None, "a reset is not answered");
            }
            let mut acknowledging = frame(ends, 0x10, &[], &[]);
            let l4 = usize::from(parse(&acknowledging).unwrap().l4);
            assert!(reset_of(&acknowledging).is_some());
            acknowledging[l4 + 8] = 9;
            assert_eq!(reset_of(&acknowledging), None, "a wrong checksum");
            let mut to_all = frame(ends, 2, &[], &[]);
            to_all[0] = 0x33;
            assert_eq!(reset_of(&to_all), None, "to a group MAC");
        }
        let long = sample::summed(v4, 6, 16, &[&[0; 12][..], &[0x60, 2, 0, 0, 0, 0, 0, 0]].concat());
        assert_eq!(reset_of(&sample::packet(v4, 6, &long)), None, "a header longer than the segment");
        assert_eq!(reset_of(&sample::datagram(v4, 1, 2, &[0; 30])), None, "UDP");
        let segment = frame(v4, 2, &[1; 4], &[]);
        let fragment =
            sample::ipv4(([10, 0, 1, 10].into(), [10, 0, 1, 20].into()), 6, 0x2000, &[], &segment[34..58]);
        assert_eq!(reset_of(&fragment), None, "a fragment");
        let group = ("10.0.1.10".parse().unwrap(), "224.0.0.1".parse().unwrap());
        assert_eq!(reset_of(&frame(group, 2, &[], &[])), None, "to a group");
        // IPv6 extension headers and IPv4 options are left out.
        let optional =
            sample::ipv4(([10, 0, 1, 10].into(), [10, 0, 1, 20].into()), 6, 0, &[1; 12], &segment[34..]);
        assert_eq!(reset_of(&optional), reset_of(&segment));
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
            let _ = reset(&mut HeapBuffer::new(&bytes), &headers);
            let _ = reset(&mut HeapBuffer::new(&frame), &headers);
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
