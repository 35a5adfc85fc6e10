//! Longest-prefix match for tables that are big and change all the time: what a gateway learns by BGP.
//!
//! A [`Fib`] is immutable, and [`Fib::apply`] makes the next one, which shares all that did not change. For that, the
//! routes of a family are kept in *ranges* of some hundred, each a level-compressed trie of its own: a change rebuilds the
//! range that it lies in, whatever the size of the table. `family` says how ranges are found, split and merged.

mod family;
mod prefix;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hashbrown::HashMap;
use ipnet::IpNet;
use iptrie::{Ipv4Prefix, Ipv6Prefix};

use family::Family;

/// A longest-prefix match over up to millions of routes; a snapshot. IPv4 and IPv6 are independent (RT-3).
#[derive(Clone)]
pub struct Fib<T> {
    v4: Family<Ipv4Prefix, T>,
    v6: Family<Ipv6Prefix, T>,
}

impl<T: Copy + PartialEq> Fib<T> {
    /// A table of these routes; of two with the same destination the later wins.
    pub fn new(routes: impl IntoIterator<Item = (IpNet, T)>) -> Self {
        Self::default().apply(routes.into_iter().map(|(destination, target)| (destination, Some(target))))
    }

    /// The table after these changes: a new target, or `None` for no route any more. Of two for the same destination the
    /// later wins. Only the ranges that the changes lie in are built anew, so many changes at once cost far less than
    /// each for itself.
    #[must_use]
    pub fn apply(&self, changes: impl IntoIterator<Item = (IpNet, Option<T>)>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (destination, target) in changes {
            match destination {
                IpNet::V4(net) => v4.push((Ipv4Prefix::from(net), target)),
                IpNet::V6(net) => v6.push((Ipv6Prefix::from(net), target)),
            }
        }
        Self { v4: self.v4.apply(v4), v6: self.v6.apply(v6) }
    }

    /// A table of exactly these routes, as [`Fib::new`], which shares the ranges that are alike with this one.
    #[must_use]
    pub fn replaced(&self, routes: impl IntoIterator<Item = (IpNet, T)>) -> Self {
        let routes: HashMap<IpNet, T> = routes.into_iter().collect();
        let gone = self.iter().filter(|(destination, _)| !routes.contains_key(destination));
        let other = routes.iter().filter(|&(destination, target)| self.get(*destination) != Some(*target));
        let gone = gone.map(|(destination, _)| (destination, None));
        self.apply(gone.chain(other.map(|(destination, target)| (*destination, Some(*target)))))
    }

    /// The destinations that have not the same route in both, in no order that means anything. Ranges that both share cost
    /// nothing, so that of two tables of which one was made of the other this costs what their difference does.
    pub fn differing(&self, other: &Self) -> Vec<IpNet> {
        let v4 = self.v4.differing(&other.v4).into_iter().map(IpNet::from);
        v4.chain(self.v6.differing(&other.v6).into_iter().map(IpNet::from)).collect()
    }

    /// The target of the longest prefix that holds the IPv4 address (host byte order).
    #[inline]
    pub fn lookup_v4(&self, address: u32) -> Option<T> {
        self.v4.lookup(&Ipv4Addr::from_bits(address))
    }

    /// The target of the longest prefix that holds the IPv6 address.
    #[inline]
    pub fn lookup_v6(&self, address: u128) -> Option<T> {
        self.v6.lookup(&Ipv6Addr::from_bits(address))
    }

    /// The target of the longest prefix that holds the address.
    #[inline]
    pub fn lookup(&self, address: IpAddr) -> Option<T> {
        match address {
            IpAddr::V4(address) => self.lookup_v4(address.to_bits()),
            IpAddr::V6(address) => self.lookup_v6(address.to_bits()),
        }
    }

    /// The target of the route with exactly this destination.
    pub fn get(&self, destination: IpNet) -> Option<T> {
        match destination {
            IpNet::V4(net) => self.v4.get(&net.into()),
            IpNet::V6(net) => self.v6.get(&net.into()),
        }
    }

    /// All routes, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, T)> + '_ {
        let v4 = self.v4.iter().map(|(prefix, target)| (IpNet::from(prefix), target));
        v4.chain(self.v6.iter().map(|(prefix, target)| (IpNet::from(prefix), target)))
    }

    /// All routes in their order, IPv4 first. The first ones cost what they are, however many come behind them.
    pub fn in_order(&self) -> impl Iterator<Item = (IpNet, T)> + '_ {
        let v4 = self.v4.in_order().map(|(prefix, target)| (IpNet::from(prefix), target));
        v4.chain(self.v6.in_order().map(|(prefix, target)| (IpNet::from(prefix), target)))
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Copy + PartialEq> Default for Fib<T> {
    fn default() -> Self {
        Self { v4: Family::default(), v6: Family::default() }
    }
}

#[cfg(test)]
mod tests;
