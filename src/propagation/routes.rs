//! Routes to many prefixes over few paths, in little memory.

use std::{
    hash::Hash,
    mem,
    net::{Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    paths::{PathId, Paths},
    sorted::{Entry, Sorted},
};

/// The routes of one source: a path for each prefix. 12 bytes for each of IPv4 and 24 of IPv6, and little more.
#[derive(Clone)]
pub struct Routes<P> {
    v4: Sorted<Route<u32>>,
    v6: Sorted<Route<[u64; 2]>>,
    paths: Paths<P>,
}

impl<P> Default for Routes<P> {
    fn default() -> Self {
        Self { v4: Sorted::default(), v6: Sorted::default(), paths: Paths::default() }
    }
}

impl<P: Clone + Eq + Hash> Routes<P> {
    /// Gives a prefix a path, or none. Says whether it had another.
    pub fn set(&mut self, prefix: IpNet, path: Option<P>) -> bool {
        let path = path.map(|path| self.paths.take(path));
        let len = prefix.prefix_len();
        let before = match prefix {
            IpNet::V4(net) => set(&mut self.v4, net.network().to_bits(), len, path, 0),
            IpNet::V6(net) => set(&mut self.v6, words(net), len, path, 0),
        };
        let before = before.map(|(path, _)| path);
        self.paths.give_back(before);
        before != path
    }

    /// The path of a prefix.
    pub fn get(&self, prefix: IpNet) -> Option<&P> {
        let path = match prefix {
            IpNet::V4(net) => self.v4.get(&(net.network().to_bits(), net.prefix_len()))?.path,
            IpNet::V6(net) => self.v6.get(&(words(net), net.prefix_len()))?.path,
        };
        self.paths.get(Some(path))
    }

    /// All routes, in order.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, &P)> + '_ {
        let v4 = self.v4.iter().map(|route| (route.prefix(), route.path));
        let v6 = self.v6.iter().map(|route| (route.prefix(), route.path));
        v4.chain(v6).filter_map(|(prefix, path)| Some((prefix, self.paths.get(Some(path))?)))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

/// A route, as small as it can be: there may be millions.
#[derive(Clone, Copy)]
pub(super) struct Route<A> {
    address: A,
    pub(super) path: PathId,
    /// Which session it was heard in, for who has to know ([`super::Rib`]).
    pub(super) generation: u16,
    len: u8,
}

const _: () = assert!(size_of::<Route<u32>>() == 12 && size_of::<Route<[u64; 2]>>() == 24);

impl<A: Copy + Ord> Entry for Route<A> {
    type Key = (A, u8);

    fn key(&self) -> (A, u8) {
        (self.address, self.len)
    }
}

/// Gives a prefix a path, or none; returns the path and generation that it had.
pub(super) fn set<A: Copy + Ord>(
    routes: &mut Sorted<Route<A>>,
    address: A,
    len: u8,
    path: Option<PathId>,
    generation: u16,
) -> Option<(PathId, u16)> {
    let known = match path {
        None => routes.remove(&(address, len)),
        Some(path) => match routes.get_mut(&(address, len)) {
            Some(route) => Some(mem::replace(route, Route { address, path, generation, len })),
            None => {
                routes.insert(Route { address, path, generation, len });
                None
            }
        },
    };
    known.map(|route| (route.path, route.generation))
}

/// The address of an IPv6 prefix, so that it needs no more alignment than half of it.
pub(super) fn words(net: Ipv6Net) -> [u64; 2] {
    let bits = net.network().to_bits();
    [(bits >> 64) as u64, bits as u64]
}

pub(super) trait Prefixed {
    fn prefix(&self) -> IpNet;
}

impl Prefixed for Route<u32> {
    fn prefix(&self) -> IpNet {
        Ipv4Net::new_assert(Ipv4Addr::from_bits(self.address), self.len).into()
    }
}

impl Prefixed for Route<[u64; 2]> {
    fn prefix(&self) -> IpNet {
        let [high, low] = self.address.map(u128::from);
        Ipv6Net::new_assert(Ipv6Addr::from_bits(high << 64 | low), self.len).into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_a_map(
            steps in proptest::collection::vec(
                ((0..3u8, 0..4u8, any::<bool>()), proptest::option::weighted(0.6, "[a-c]")), 0..200),
        ) {
            let (mut routes, mut model) = (Routes::default(), BTreeMap::new());
            for ((high, len, v6), path) in steps {
                let prefix = match v6 {
                    false => IpNet::new(Ipv4Addr::new(10, high, 0, 0).into(), 13 + len),
                    true => IpNet::new(Ipv6Addr::new(0x2001, 0xdb8 + u16::from(high), 0, 0, 0, 0, 0, 1).into(), 29 + len),
                };
                let prefix = prefix.unwrap().trunc();
                let changed = routes.set(prefix, path.clone());
                let before = match path.clone() {
                    Some(path) => model.insert(prefix, path),
                    None => model.remove(&prefix),
                };
                prop_assert_eq!(changed, before != path);
                prop_assert_eq!(routes.get(prefix), path.as_ref());
                prop_assert!(routes.iter().eq(model.iter().map(|(prefix, path)| (*prefix, path))));
                prop_assert_eq!(routes.is_empty(), model.is_empty());
            }
        }
    }
}
