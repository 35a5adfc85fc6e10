//! Fragmentation of IPv4 packets (RFC 791 §3.2). IPv6 has none on the way (RFC 8200 §5). And what tells fragments apart.

use super::{
    Buffer,
    bytes::{get, put},
    checksum::Sum,
    headers::{ETHERNET, Headers},
    ip::Ip,
};
use crate::pipeline::Reason;

/// Flags in the word of flags and offset.
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// The longest header.
const LONGEST: usize = 60;

/// Whether an IPv4 packet must not be cut.
pub fn dont_fragment(frame: &[u8]) -> bool {
    get(frame, ETHERNET + 6).is_none_or(|field| u16::from_be_bytes(field) & DONT_FRAGMENT != 0)
}

/// What the fragments of a datagram have in common, and those of no other from the same source to the same destination by
/// the same protocol have at the time (RFC 6864, RFC 8200 §4.5): 16 bits of IPv4, 32 of IPv6. `None` of what is no fragment.
pub fn identification(frame: &[u8], headers: &Headers) -> Option<u32> {
    let packet = frame.get(ETHERNET..headers.end())?;
    Ip::read(headers.network, packet)?.part.map(|part| part.identification)
}

/// Cuts the first fragment off a frame with an IPv4 packet that is longer than `mtu` bytes: returns that fragment, in
/// another buffer, and leaves the rest, as a fragment in its turn. `None` of a packet that fits. Padding is removed.
///
/// So a packet is sent fragment by fragment, the last in its own buffer, and whatever is a fragment already is cut by the
/// same rule.
///
/// # Errors
///
/// With the packet unchanged: [`Reason::MtuDf`] if it must not be cut, or can't be into so small ones;
/// [`Reason::Malformed`] if its header's checksum is wrong, which new headers would hide; [`Reason::NoBuffer`].
pub fn split<B: Buffer>(rest: &mut B, mtu: u16) -> Result<Option<B>, Reason> {
    let packet = rest.data().get(ETHERNET..).unwrap_or_default();
    let total = u16::from_be_bytes(get(packet, 2).ok_or(Reason::Truncated)?);
    let field = u16::from_be_bytes(get(packet, 6).ok_or(Reason::Truncated)?);
    let [first_octet] = get(packet, 0).ok_or(Reason::Truncated)?;
    let header_len = usize::from(first_octet & 15) * 4;
    let header = packet.get(..header_len).ok_or(Reason::Truncated)?;
    if total <= mtu {
        rest.truncate(ETHERNET + usize::from(total));
        return Ok(None);
    }
    // RFC 791 §3.2: NFB, the number of fragment blocks of eight octets.
    let blocks = usize::from(mtu).saturating_sub(header_len) / 8;
    if field & DONT_FRAGMENT != 0 || blocks == 0 {
        return Err(Reason::MtuDf);
    }
    if header_len < 20 || Sum::of(header).fold() != 0xffff {
        return Err(Reason::Malformed);
    }
    let cut = header_len + blocks * 8;
    let (later, later_len) = later_header(header);
    let mut first = rest.another().ok_or(Reason::NoBuffer)?;
    let beginning = rest.data().get(..ETHERNET + cut).ok_or(Reason::Truncated)?;
    if !first.extend_to(beginning.len()) {
        return Err(Reason::NoBuffer);
    }
    match first.data_mut().get_mut(..beginning.len()) {
        Some(copy) => copy.copy_from_slice(beginning),
        None => return Err(Reason::NoBuffer),
    }
    finish(first.data_mut(), header_len, cut, field | MORE_FRAGMENTS);

    let ethernet: [u8; ETHERNET] = get(rest.data(), 0).unwrap_or_default();
    let total = later_len + usize::from(total).saturating_sub(cut);
    rest.trim_front(cut.saturating_sub(later_len));
    rest.truncate(ETHERNET + total);
    let frame = rest.data_mut();
    put(frame, 0, ethernet);
    if let (Some(to), Some(from)) = (frame.get_mut(ETHERNET..ETHERNET + later_len), later.get(..later_len)) {
        to.copy_from_slice(from);
    }
    // Flags stay; an offset of more than 65 535 octets no packet has.
    let offset = (field & OFFSET).wrapping_add(blocks as u16) & OFFSET;
    finish(frame, later_len, total, field & !OFFSET | offset);
    Ok(Some(first))
}

/// Completes a header in place: total length, flags and offset, checksum.
fn finish(frame: &mut [u8], header_len: usize, total: usize, field: u16) {
    put(frame, ETHERNET, [0x40 | (header_len / 4) as u8]);
    put(frame, ETHERNET + 2, (total as u16).to_be_bytes());
    put(frame, ETHERNET + 6, field.to_be_bytes());
    put(frame, ETHERNET + 10, [0; 2]);
    let header = frame.get(ETHERNET..ETHERNET + header_len).unwrap_or_default();
    let checksum = Sum::of(header).checksum();
    put(frame, ETHERNET + 10, checksum.to_be_bytes());
}

/// The header of later fragments, and its length: with those options only that are to be copied (RFC 791 §3.1), as far as
/// the options make sense.
fn later_header(header: &[u8]) -> ([u8; LONGEST], usize) {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const COPIED: u8 = 0x80;

    let mut later = [END; LONGEST];
    let (fixed, mut options) = header.split_at_checked(20).unwrap_or_default();
    let mut len = 0;
    let mut append = |bytes: &[u8]| {
        if let Some(to) = later.get_mut(len..len + bytes.len()) {
            to.copy_from_slice(bytes);
            len += bytes.len();
        }
    };
    append(fixed);
    while let Some(&kind) = options.first() {
        let option_len = match (kind, options.get(1)) {
            (END, _) => break,
            (NO_OPERATION, _) => 1,
            (_, Some(&len)) if len >= 2 => usize::from(len),
            _ => break,
        };
        let Some((option, behind)) = options.split_at_checked(option_len) else { break };
        if kind & COPIED != 0 {
            append(option);
        }
        options = behind;
    }
    // What is behind the options is zero, which ends the list and fills the word.
    (later, len.next_multiple_of(4))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::packet::{HeapBuffer, sample};

    const ENDS: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(10, 0, 1, 10), Ipv4Addr::new(10, 0, 1, 20));

    fn fragments(frame: &[u8], mtu: u16) -> Result<Vec<Vec<u8>>, Reason> {
        let mut rest = HeapBuffer::new(frame);
        let mut all = Vec::new();
        while let Some(first) = split(&mut rest, mtu)? {
            all.push(first.data().to_vec());
        }
        all.push(rest.data().to_vec());
        Ok(all)
    }

    fn word(frame: &[u8], at: usize) -> u16 {
        u16::from_be_bytes([frame[14 + at], frame[14 + at + 1]])
    }

    /// RFC 791 §3.2, the plain way: the data by offset, and whether more follow the last.
    fn reassembled(fragments: &[Vec<u8>]) -> (Vec<u8>, usize, bool) {
        let start = usize::from(word(&fragments[0], 6) & OFFSET) * 8;
        let (mut data, mut more) = (Vec::new(), true);
        for fragment in fragments {
            assert!(more, "behind the last");
            assert_eq!(usize::from(word(fragment, 6) & OFFSET) * 8, start + data.len());
            more = word(fragment, 6) & MORE_FRAGMENTS != 0;
            data.extend(&fragment[14 + usize::from(fragment[14] & 15) * 4..]);
        }
        (data, start, more)
    }

    #[test]
    fn options_go_on_by_their_copy_bit() {
        // Record route (not copied), no operation, router alert (copied), stream id (copied), end.
        let options = [7, 7, 4, 0, 0, 0, 0, 1, 0x94, 4, 0, 0, 0x88, 4, 9, 9, 0, 0, 0, 0];
        let frame = sample::ipv4(ENDS, 17, 0, &options, &[5; 100]);
        let all = fragments(&frame, 72).unwrap();
        assert_eq!(all[0][14], 0x4a);
        assert_eq!(all[0][34..54], options);
        for later in &all[1..] {
            assert_eq!(later[14], 0x47);
            assert_eq!(later[34..42], [0x94, 4, 0, 0, 0x88, 4, 9, 9]);
        }
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [14 + 40 + 32, 14 + 28 + 40, 14 + 28 + 28]);
        // Of three octets, one is filled in.
        let (header, len) = later_header(&sample::ipv4(ENDS, 17, 0, &[0x83, 3, 4, 0], &[])[14..38]);
        assert_eq!((len, &header[20..24]), (24, &[0x83, 3, 4, 0][..]));
        // What makes no sense ends the options.
        for options in [[0x94, 0, 0, 0], [0x94, 5, 0, 0], [0x94, 1, 0, 0], [1, 1, 1, 0x94]] {
            assert_eq!(later_header(&sample::ipv4(ENDS, 17, 0, &options, &[])[14..38]).1, 20, "{options:?}");
        }
    }

    #[test]
    fn fragments_have_an_identification_and_whole_packets_none() {
        let of = |frame: &[u8]| identification(frame, &crate::packet::parse(frame).unwrap());
        for (field, is_fragment) in [(0, false), (0x4000, false), (0x2000, true), (3, true), (0x2003, true)] {
            let frame = sample::ipv4(ENDS, 17, field, &[], &[5; 24]);
            assert_eq!(of(&frame), is_fragment.then(|| word(&frame, 4).into()), "{field:#x}");
        }
        let mut frame = [&[0; 12][..], &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 44, 9], &[7; 32]].concat();
        frame.extend([17, 0, 0, 1, 1, 2, 3, 4]);
        frame.extend([9; 16]);
        assert_eq!(of(&frame), Some(0x0102_0304));
    }

    #[test]
    fn what_is_not_cut() {
        let refused = |field, mtu| fragments(&sample::ipv4(ENDS, 17, field, &[], &[5; 200]), mtu).err();
        assert_eq!(refused(0, 219), None);
        assert_eq!(refused(0x4000, 220), None, "it fits");
        assert_eq!(refused(0x4000, 219), Some(Reason::MtuDf));
        assert_eq!(refused(0, 27), Some(Reason::MtuDf), "no room for eight octets");
        let mut wrong = sample::ipv4(ENDS, 17, 0, &[], &[5; 200]);
        wrong[22] ^= 1;
        assert_eq!(fragments(&wrong, 100), Err(Reason::Malformed));
    }

    proptest! {
        #[test]
        fn fragments_are_the_packet(
            data in vec(any::<u8>(), 1..2000),
            words in 0usize..=10,
            options in vec(any::<u8>(), 40),
            mtu in 68u16..1000,
            // A whole packet, a first, a later and a last fragment.
            field in prop_oneof![Just(0u16), Just(0x2000), 0x2001..0x2100u16, 1..0x100u16],
            padding in 0usize..10,
        ) {
            let data = if field & MORE_FRAGMENTS == 0 { &data[..] } else { &data[..data.len() & !7] };
            let frame = sample::ipv4(ENDS, 17, field, &options[..words * 4], data);
            let all = fragments(&[&frame[..], &vec![0; padding]].concat(), mtu).unwrap();
            if usize::from(mtu) >= frame.len() - 14 {
                prop_assert_eq!(all, [frame]);
                return Ok(());
            }
            let (again, start, more) = reassembled(&all);
            prop_assert_eq!(&again, data);
            prop_assert_eq!((start, more), (usize::from(field & OFFSET) * 8, field & MORE_FRAGMENTS != 0));
            for (position, fragment) in all.iter().enumerate() {
                let len = usize::from(word(fragment, 2));
                prop_assert_eq!(len, fragment.len() - 14);
                prop_assert!(len <= mtu.into());
                let header_len = usize::from(fragment[14] & 15) * 4;
                prop_assert_eq!(Sum::of(&fragment[14..14 + header_len]).fold(), 0xffff);
                // Everything else is the packet's: MACs, DSCP, ECN, identification, TTL, protocol, addresses.
                prop_assert_eq!(&fragment[..14], &frame[..14]);
                prop_assert_eq!((fragment[15], &fragment[18..20]), (frame[15], &frame[18..20]));
                prop_assert_eq!((&fragment[22..24], &fragment[26..34]), (&frame[22..24], &frame[26..34]));
                // No smaller than need be.
                let last = position + 1 == all.len();
                prop_assert!(last || header_len + (usize::from(mtu) - header_len) / 8 * 8 == len);
            }
            prop_assert_eq!(&all[0][34..34 + words * 4], &frame[34..34 + words * 4]);
            // Fragments of fragments.
            let twice: Vec<_> = all.iter().flat_map(|fragment| fragments(fragment, 68).unwrap()).collect();
            let (again, start, more) = reassembled(&twice);
            prop_assert_eq!(&again, data);
            prop_assert_eq!((start, more), (usize::from(field & OFFSET) * 8, field & MORE_FRAGMENTS != 0));
        }

        #[test]
        fn no_bytes_panic_nor_go_on_for_ever(bytes in vec(any::<u8>(), 0..300), mtu in 0u16..200, sound: bool) {
            let mut bytes = bytes;
            if sound && bytes.len() >= 14 + LONGEST {
                let header_len = 20 + usize::from(bytes[0] % 11) * 4;
                let total = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
                let offset = u16::from(bytes[1]);
                finish(&mut bytes, header_len, total, offset);
            }
            let mut rest = HeapBuffer::new(&bytes);
            let mut count = 0;
            while let Ok(Some(_)) = split(&mut rest, mtu) {
                count += 1;
                prop_assert!(count < 100);
            }
        }
    }
}
