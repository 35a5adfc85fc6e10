//! The Internet checksum: RFC 1071 over bytes, RFC 1624 for a change.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A ones' complement sum of big-endian 16-bit words, not folded yet.
///
/// It holds 2^48 words, far more than any packet has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// The sum of no words.
    pub const ZERO: Self = Self(0);

    /// The sum of `bytes`; an odd last byte counts as the upper half of a word (RFC 1071 §4.1).
    #[inline]
    pub fn of(bytes: &[u8]) -> Self {
        // The sum doesn't depend on byte order (RFC 1071 §2 (B)): add native 32-bit words, swap the folded result.
        let (words, rest) = bytes.as_chunks::<4>();
        let sum = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum::<u64>();
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        Self(u64::from(u16::from_be(Self(sum + u64::from(u32::from_ne_bytes(last))).fold())))
    }

    /// The IPv4 pseudo-header of a transport header and its payload of `len` bytes (RFC 9293 §3.1, RFC 768).
    #[inline]
    pub fn pseudo_v4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, len: u16) -> Self {
        Self::ZERO.dword(source.to_bits()).dword(destination.to_bits()).word(protocol.into()).word(len)
    }

    /// The IPv6 pseudo-header of an upper-layer packet of `len` bytes (RFC 8200 §8.1).
    #[inline]
    pub fn pseudo_v6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, len: u32) -> Self {
        Self::of(&source.octets()).plus(Self::of(&destination.octets())).word(protocol.into()).dword(len)
    }

    /// Both sums together. The bytes of each must begin on a word boundary of the whole.
    #[inline]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// This sum without the other, which is part of it (RFC 1624 §3): taking a word away is adding its complement, and
    /// complements of words add up to the complement of their sum.
    #[inline]
    pub const fn minus(self, other: Self) -> Self {
        self.word(!other.fold())
    }

    /// One more word, in host order.
    #[inline]
    pub const fn word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// Two more words, in host order.
    #[inline]
    pub const fn dword(self, words: u32) -> Self {
        Self(self.0 + (words >> 16) as u64 + (words & 0xffff) as u64)
    }

    /// The sum in 16 bits, carries added back (RFC 1071 §2 (A)), in host order. 0xffff over bytes that hold their own,
    /// right checksum.
    #[inline]
    pub const fn fold(self) -> u16 {
        let sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        ((sum >> 16) + (sum & 0xffff)) as u16
    }

    /// The checksum field's value, in host order: the complement of the folded sum.
    #[inline]
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }

    /// The UDP checksum field's value, in host order: a computed zero is sent as 0xffff (RFC 768).
    #[inline]
    pub const fn udp_checksum(self) -> u16 {
        match self.checksum() {
            0 => 0xffff,
            checksum => checksum,
        }
    }
}

/// The checksum after one 16-bit word that it covers changed, all in host order (RFC 1624 equation 3).
#[inline]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    Sum::ZERO.word(!checksum).word(!old).word(new).checksum()
}

/// The checksum after two adjacent words that it covers changed, such as an IPv4 address, all in host order.
#[inline]
pub const fn update32(checksum: u16, old: u32, new: u32) -> u16 {
    Sum::ZERO.word(!checksum).dword(!old).dword(new).checksum()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071 as it is told, word by word.
    pub(in super::super) fn naive(bytes: &[u8]) -> u16 {
        let mut sum: u32 = 0;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    #[test]
    fn rfc_1071_example() {
        // RFC 1071 §3: 0001 f203 f4f5 f6f7 sums to ddf2.
        assert_eq!(Sum::of(&[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7]).fold(), 0xddf2);
        assert_eq!(Sum::ZERO.checksum(), 0xffff);
        assert_eq!(Sum::of(&[0xff, 0xff]).udp_checksum(), 0xffff);
    }

    #[test]
    fn rfc_1624_example() {
        // RFC 1624 §4: the checksum 0xdd2f, a word from 0x5555 to 0x3285, gives 0x0000.
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0);
    }

    proptest! {
        #[test]
        fn equals_the_naive_sum(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..150) {
            prop_assert_eq!(Sum::of(&bytes).fold(), naive(&bytes));
            let (head, tail) = bytes.split_at((2 * cut).min(bytes.len() & !1));
            prop_assert_eq!(Sum::of(head).plus(Sum::of(tail)).fold(), naive(&bytes));
        }

        #[test]
        fn pseudo_headers_are_their_bytes(source: u128, destination: u128, protocol: u8, len: u16) {
            let (v6s, v6d) = (Ipv6Addr::from_bits(source), Ipv6Addr::from_bits(destination));
            let mut bytes = [v6s.octets(), v6d.octets()].concat();
            bytes.extend(u32::from(len).to_be_bytes());
            bytes.extend([0, 0, 0, protocol]);
            prop_assert_eq!(Sum::pseudo_v6(v6s, v6d, protocol, len.into()).fold(), naive(&bytes));
            let (v4s, v4d) = (Ipv4Addr::from_bits(source as u32), Ipv4Addr::from_bits(destination as u32));
            let mut bytes = [v4s.octets(), v4d.octets()].concat();
            bytes.extend([0, protocol]);
            bytes.extend(len.to_be_bytes());
            prop_assert_eq!(Sum::pseudo_v4(v4s, v4d, protocol, len).fold(), naive(&bytes));
        }

        #[test]
        fn update_equals_a_new_sum(mut words in proptest::collection::vec(any::<u16>(), 2..40), at: prop::sample::Index, new: u32) {
            let bytes = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
            // All-zero data has two representations of its sum; headers are never all zero.
            words.push(1);
            let at = at.index(words.len() - 2);
            let before = Sum::of(&bytes(&words)).checksum();
            let old = u32::from(words[at]) << 16 | u32::from(words[at + 1]);
            words[at] = (new >> 16) as u16;
            let one = Sum::of(&bytes(&words)).checksum();
            prop_assert_eq!(update(before, (old >> 16) as u16, (new >> 16) as u16), one);
            words[at + 1] = new as u16;
            prop_assert_eq!(update32(before, old, new), Sum::of(&bytes(&words)).checksum());
        }
    }
}
