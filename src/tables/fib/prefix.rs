//! What the families differ in.

use std::net::{Ipv4Addr, Ipv6Addr};

use iptrie::{IpPrefix, IpPrefixCovering, IpRootPrefix, Ipv4Prefix, Ipv6Prefix};

/// A prefix of either family. In their order a prefix comes before all that it holds, and these before all others.
pub(super) trait Prefix: IpRootPrefix<Slot: Ord> + IpPrefixCovering<Self> + Ord {
    /// The two prefixes, longer by a bit, that make it up; `None` for that of a single address.
    fn halves(&self) -> Option<[Self; 2]>;

    /// The address behind all that it holds; `None` if there is none.
    fn behind(&self) -> Option<Self::Slot>;
}

impl Prefix for Ipv4Prefix {
    fn halves(&self) -> Option<[Self; 2]> {
        let bit = (1_u32 << 31).checked_shr(self.len().into())?;
        let half = |bits| Self::new(Ipv4Addr::from_bits(bits), self.len() + 1).ok();
        Some([half(self.bitslot())?, half(self.bitslot() | bit)?])
    }

    fn behind(&self) -> Option<Self::Slot> {
        (self.bitslot() | !self.bitmask()).checked_add(1)
    }
}

impl Prefix for Ipv6Prefix {
    fn halves(&self) -> Option<[Self; 2]> {
        let bit = (1_u128 << 127).checked_shr(self.len().into())?;
        let half = |bits| Self::new(Ipv6Addr::from_bits(bits), self.len() + 1).ok();
        Some([half(self.bitslot())?, half(self.bitslot() | bit)?])
    }

    fn behind(&self) -> Option<Self::Slot> {
        (self.bitslot() | !self.bitmask()).checked_add(1)
    }
}

/// Which of the sorted prefixes a prefix holds, itself included.
pub(super) fn held<P: Prefix, V>(sorted: &[(P, V)], prefix: &P) -> std::ops::Range<usize> {
    let start = sorted.partition_point(|(other, _)| other < prefix);
    let behind = sorted.get(start..).unwrap_or_default();
    start..start + behind.partition_point(|(other, _)| prefix.covers(other))
}
