//! What the first fragment of a datagram tells of the later ones, which have no transport header (GW-13).
//!
//! A small table of fixed size: two places for each datagram, of which the older is given up for a new one. A datagram that is
//! forgotten too early costs its later fragments; nobody can make the table cost more than that.

use std::time::Duration;

use super::millis;
use crate::tables::Secret;

/// How long a first fragment is remembered: a receiver waits for the rest between 15 s (RFC 791 §3.2) and 60 s (RFC 8200
/// §4.5); Linux, 30 s.
pub const LIFETIME: Duration = Duration::from_secs(30);

/// A datagram that came in fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// What keeps datagrams apart that have nothing to do with each other: the number of the gateway that they meet.
    pub scope: u32,
    /// Source address, in host order, IPv4 as [`crate::packet::mapped`] makes it.
    pub source: u128,
    /// Destination address, likewise.
    pub destination: u128,
    /// The identification ([`crate::packet::fragment::identification`]).
    pub identification: u32,
    /// The protocol in the fragments' IPv4 headers (RFC 791 §2.3); 0 with IPv6, whose later fragments may have another in front
    /// (RFC 8200 §4.5).
    pub protocol: u8,
}

/// What a first fragment tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The protocol of the transport header.
    pub protocol: u8,
    /// Source and destination port, as [`crate::packet::Tuple`] has them.
    pub ports: (u16, u16),
}

#[derive(Clone, Copy)]
struct Entry {
    datagram: Datagram,
    told: Told,
    /// When the first fragment came, in milliseconds, without the bits that 24 days do not need.
    seen: u32,
}

/// First fragments that have been seen lately.
pub struct Fragments {
    secret: Secret,
    /// A power of two of pairs.
    pairs: Box<[[Option<Entry>; 2]]>,
}

impl Fragments {
    /// Room for so many datagrams, rounded up to a power of two: 80 bytes each.
    pub fn new(datagrams: usize) -> Self {
        let pairs = datagrams.div_ceil(2).max(1).next_power_of_two();
        Self { secret: Secret::random(), pairs: vec![[None; 2]; pairs].into() }
    }

    /// Remembers a first fragment; a later one with the same key replaces it.
    pub fn remember(&mut self, now: Duration, datagram: Datagram, told: Told) {
        let seen = millis(now) as u32;
        let at = self.position(&datagram);
        let Some(pair) = self.pairs.get_mut(at) else { return };
        let age = |entry: &Option<Entry>| match entry {
            Some(entry) if entry.datagram == datagram => u64::MAX,
            Some(entry) => u64::from(seen.wrapping_sub(entry.seen)),
            None => u64::from(u32::MAX),
        };
        if let Some(oldest) = pair.iter_mut().max_by_key(|entry| age(entry)) {
            *oldest = Some(Entry { datagram, told, seen });
        }
    }

    /// What the first fragment of a datagram told; `None` if it has not been seen lately.
    pub fn find(&self, now: Duration, datagram: &Datagram) -> Option<Told> {
        let pair = self.pairs.get(self.position(datagram))?;
        let found = pair.iter().flatten().find(|entry| entry.datagram == *datagram)?;
        let age = (millis(now) as u32).wrapping_sub(found.seen);
        (u128::from(age) < LIFETIME.as_millis()).then_some(found.told)
    }

    fn position(&self, datagram: &Datagram) -> usize {
        let mix = |address: u128| self.secret.mix((address >> 64) as u64, address as u64);
        let addresses = self.secret.mix(mix(datagram.source), mix(datagram.destination));
        let rest = u64::from(datagram.scope) << 32 | u64::from(datagram.identification);
        let hash = self.secret.mix(addresses ^ u64::from(datagram.protocol), rest);
        hash as usize & (self.pairs.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn datagram(n: u32) -> Datagram {
        Datagram { scope: n & 1, source: 1, destination: 2, identification: n >> 1, protocol: 17 }
    }

    fn told(port: u16) -> Told {
        Told { protocol: 17, ports: (port, 53) }
    }

    #[test]
    fn two_fit_into_one_pair_and_the_older_goes() {
        let mut fragments = Fragments::new(1);
        for second in 0..3 {
            fragments.remember(Duration::from_secs(second), datagram(second as u32), told(second as u16));
        }
        let found = |n| fragments.find(Duration::from_secs(3), &datagram(n));
        assert_eq!([0, 1, 2].map(found), [None, Some(told(1)), Some(told(2))]);
    }

    #[test]
    fn it_is_forgotten_after_thirty_seconds() {
        let mut fragments = Fragments::new(8);
        let start = Duration::from_secs(5_000_000);
        fragments.remember(start, datagram(1), told(1));
        assert_eq!(fragments.find(start + Duration::from_millis(29_999), &datagram(1)), Some(told(1)));
        assert_eq!(fragments.find(start + LIFETIME, &datagram(1)), None);
    }

    proptest! {
        #[test]
        fn what_is_found_was_told_last(steps in vec((0u32..40, any::<u16>(), 0u64..4000), 0..200)) {
            let mut fragments = Fragments::new(64);
            let mut model = HashMap::new();
            let mut now = Duration::ZERO;
            for (n, port, later) in steps {
                now += Duration::from_millis(later);
                fragments.remember(now, datagram(n), told(port));
                model.insert(n, (now, port));
                prop_assert_eq!(fragments.find(now, &datagram(n)), Some(told(port)));
                for (&n, &(at, port)) in &model {
                    let found = fragments.find(now, &datagram(n));
                    prop_assert!(found.is_none_or(|found| found == told(port) && now - at < LIFETIME));
                }
            }
        }
    }
}
