//! Types and codes of ICMP in ICMPv6 and back (RFC 7915 §4.2, §5.2).

use crate::packet::{Network, bytes::put};

/// Type and code of an echo request or reply; `None` of every other message that is no error, all for one link only.
pub(super) const fn query(from: Network, kind: [u8; 2]) -> Option<[u8; 2]> {
    match (from, kind) {
        (Network::Ipv4, [8, code]) => Some([128, code]),
        (Network::Ipv4, [0, code]) => Some([129, code]),
        (Network::Ipv6, [128, code]) => Some([8, code]),
        (Network::Ipv6, [129, code]) => Some([0, code]),
        _ => None,
    }
}

/// The first eight octets of an error, with a checksum of zero and without extensions, about a packet of `quoted_len` bytes;
/// `None` of an error that the other version has not.
pub(super) fn error(from: Network, start: [u8; 8], quoted_len: usize) -> Option<[u8; 8]> {
    let [kind, code, _, _, word @ ..] = start;
    let (kind, code, word) = match from {
        Network::Ipv4 => to_v6(kind, code, word, quoted_len)?,
        Network::Ipv6 => to_v4(kind, code, u32::from_be_bytes(word))?,
        Network::Arp => return None,
    };
    let mut new = [kind, code, 0, 0, 0, 0, 0, 0];
    put(&mut new, 4, word.to_be_bytes());
    Some(new)
}

/// RFC 7915 §4.2.
fn to_v6(kind: u8, code: u8, word: [u8; 4], quoted_len: usize) -> Option<(u8, u8, u32)> {
    let [pointer, _, mtu @ ..] = word;
    Some(match (kind, code) {
        // Protocol unreachable: the pointer shows the Next Header field.
        (3, 2) => (4, 1, 6),
        (3, 3) => (1, 4, 0),
        (3, 4) => (2, 0, mtu_to_v6(u16::from_be_bytes(mtu), quoted_len)),
        (3, 0 | 1 | 5..=8 | 11 | 12) => (1, 0, 0),
        (3, 9 | 10 | 13 | 15) => (1, 1, 0),
        (11, code) => (3, code, 0),
        (12, 0 | 2) => (4, 0, pointer_to_v6(pointer)?),
        _ => return None,
    })
}

/// RFC 7915 §5.2.
fn to_v4(kind: u8, code: u8, word: u32) -> Option<(u8, u8, u32)> {
    /// The least that a path may be said to carry (RFC 791: every link does).
    const LEAST: u32 = 68;

    Some(match (kind, code) {
        (1, 0 | 2 | 3) => (3, 1, 0),
        (1, 1) => (3, 10, 0),
        (1, 4) => (3, 3, 0),
        (2, _) => (3, 4, word.saturating_sub(20).clamp(LEAST, 0xffff)),
        (3, code) => (11, code, 0),
        (4, 0) => (12, 0, pointer_to_v4(word)? << 24),
        (4, 1) => (3, 2, 0),
        _ => return None,
    })
}

/// The longer header added; of a router that does not tell, the next lower plateau (RFC 1191 §7.1).
fn mtu_to_v6(mtu: u16, quoted_len: usize) -> u32 {
    const PLATEAUS: [u32; 11] = [65_535, 32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];

    let mtu = match mtu {
        0 => PLATEAUS.into_iter().find(|plateau| (*plateau as usize) < quoted_len).unwrap_or(68),
        mtu => mtu.into(),
    };
    (mtu + 20).max(1280)
}

/// RFC 7915, figure 3.
const fn pointer_to_v6(pointer: u8) -> Option<u32> {
    match pointer {
        0 | 1 => Some(pointer as u32),
        2 | 3 => Some(4),
        8 => Some(7),
        9 => Some(6),
        12..=15 => Some(8),
        16..=19 => Some(24),
        _ => None,
    }
}

/// RFC 7915, figure 6.
const fn pointer_to_v4(pointer: u32) -> Option<u32> {
    match pointer {
        0 | 1 => Some(pointer),
        4 | 5 => Some(2),
        6 => Some(9),
        7 => Some(8),
        8..=23 => Some(12),
        24..=39 => Some(16),
        _ => None,
    }
}
