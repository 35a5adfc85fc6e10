//! Longest-prefix match over a subnet's route table.
//!
//! The tries are iptrie's level-compressed ones, built once and never changed; nothing else of the crate knows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use iptrie::{
    Ipv4Prefix, Ipv6Prefix,
    map::{LCTrieMap, RTrieMap},
};

use super::{AttachmentIndex, GatewayIndex, PeerIndex};
use crate::packet::Mac;

/// Where a route leads: a thing, never an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The VPC itself: deliver to the ENI that has the destination address.
    Local,
    /// Nowhere, as its target is gone or not usable: drop (RT-12).
    Blackhole,
    /// Nowhere, as its target may not be one of a gateway route table (ING-3, ING-4).
    Invalid,
    /// An ENI of the VPC, by its MAC, whatever the destination address (RT-10).
    Eni(Mac),
    /// A VPC peering.
    Peer(PeerIndex),
    /// A gateway.
    Gateway(GatewayIndex),
    /// A transit gateway, by the VPC's attachment.
    Transit(AttachmentIndex),
}

const _: () = assert!(size_of::<Target>() == 8);

/// A longest-prefix match. IPv4 and IPv6 are independent (RT-3).
pub struct Lpm<T> {
    v4: LCTrieMap<Ipv4Prefix, Option<T>>,
    v6: LCTrieMap<Ipv6Prefix, Option<T>>,
}

/// A route table in force, compiled.
pub type RouteTable = Lpm<Target>;

impl<T: Copy> Lpm<T> {
    /// Compiles routes; of two with the same destination the later wins.
    pub fn new(routes: impl IntoIterator<Item = (IpNet, T)>) -> Self {
        let mut v4 = RTrieMap::with_root_and_capacity(None, 8);
        let mut v6 = RTrieMap::with_root_and_capacity(None, 8);
        for (destination, target) in routes {
            match destination {
                IpNet::V4(prefix) => v4.insert(prefix.trunc().into(), Some(target)),
                IpNet::V6(prefix) => v6.insert(prefix.trunc().into(), Some(target)),
            };
        }
        Self { v4: v4.compress(), v6: v6.compress() }
    }

    /// The target of the longest prefix that holds the IPv4 address (host byte order).
    #[inline]
    pub fn lookup_v4(&self, address: u32) -> Option<T> {
        *self.v4.lookup(&Ipv4Addr::from_bits(address)).1
    }

    /// The target of the longest prefix that holds the IPv6 address.
    #[inline]
    pub fn lookup_v6(&self, address: u128) -> Option<T> {
        *self.v6.lookup(&Ipv6Addr::from_bits(address)).1
    }

    /// The target of the longest prefix that holds the address.
    #[inline]
    pub fn lookup(&self, address: IpAddr) -> Option<T> {
        match address {
            IpAddr::V4(address) => self.lookup_v4(address.to_bits()),
            IpAddr::V6(address) => self.lookup_v6(address.to_bits()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    /// Few distinct leading bits, so that prefixes nest and addresses fall into them.
    fn v4() -> impl Strategy<Value = Ipv4Addr> {
        (0..8u32, any::<u32>()).prop_map(|(high, low)| Ipv4Addr::from_bits(high << 29 | low & 0x0003_0303))
    }

    fn v6() -> impl Strategy<Value = Ipv6Addr> {
        (0..8u128, any::<u128>()).prop_map(|(high, low)| {
            Ipv6Addr::from_bits(high << 125 | low & 0x0003_0303_0000_0000_0003_0000_0000_0303)
        })
    }

    fn naive(routes: &[(IpNet, u32)], address: IpAddr) -> Option<u32> {
        let longest =
            routes.iter().filter(|(net, _)| net.contains(&address)).map(|(net, _)| net.prefix_len()).max()?;
        routes
            .iter()
            .rev()
            .find(|(net, _)| net.contains(&address) && net.prefix_len() == longest)
            .map(|(_, target)| *target)
    }

    proptest! {
        #[test]
        fn equals_a_linear_scan(
            prefixes4 in proptest::collection::vec((v4(), 0..=32u8), 0..200),
            prefixes6 in proptest::collection::vec((v6(), 0..=128u8), 0..200),
            probes4 in proptest::collection::vec(v4(), 100),
            probes6 in proptest::collection::vec(v6(), 100),
        ) {
            let nets = prefixes4.into_iter().map(|(a, len)| (IpAddr::V4(a), len));
            let nets = nets.chain(prefixes6.into_iter().map(|(a, len)| (IpAddr::V6(a), len)));
            let routes: Vec<_> = nets.zip(0..).map(|((a, len), n)| (IpNet::new(a, len).unwrap().trunc(), n)).collect();
            let table = Lpm::new(routes.iter().copied());
            for probe in probes4 {
                prop_assert_eq!(table.lookup_v4(probe.to_bits()), naive(&routes, probe.into()));
            }
            for probe in probes6 {
                prop_assert_eq!(table.lookup_v6(probe.to_bits()), naive(&routes, probe.into()));
            }
        }
    }
}
