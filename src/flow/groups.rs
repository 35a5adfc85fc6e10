//! Entries of a table in groups: how many each has, exactly. NAT counts the flows to one destination with it.
//!
//! A group has no record of its own. It is known by one of its entries, which the index finds by the group's key and
//! which keeps the count, and the entries of a group form a ring, so that another takes over when that one goes.

use super::{index::Index, rings::Rings};
use crate::ffi::HugeSlice;

/// What a group's first entry keeps of it.
#[derive(Clone, Copy)]
#[repr(C, packed(4))]
struct Tally {
    count: u32,
    /// A set of up to 64 parts of the group, by bit: those without room.
    full: u64,
}

/// Groups of entries 0 to `capacity - 1`.
pub struct Groups {
    index: Index,
    rings: Rings,
    tallies: HugeSlice<Tally>,
}

impl Groups {
    /// No groups.
    pub fn new(capacity: u32) -> Self {
        Self {
            index: Index::new(capacity),
            rings: Rings::new(capacity),
            tallies: HugeSlice::new(capacity as usize, Tally { count: 0, full: 0 }),
        }
    }

    /// Memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.index.bytes() + self.rings.bytes() + self.tallies.bytes()
    }

    /// The group with a key: the entry that it is known by until it changes. `is` tells whether an entry belongs to it.
    #[inline]
    pub fn find(&self, hash: u32, is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.index.find(hash, is)
    }

    /// How many entries a group has.
    #[inline]
    pub fn count(&self, group: u32) -> u32 {
        self.tallies.get(group as usize).map_or(0, |tally| tally.count)
    }

    /// Whether a part of a group, 0 to 63, was found full and no entry of that part has left since.
    #[inline]
    pub fn is_full(&self, group: u32, part: u8) -> bool {
        self.tallies.get(group as usize).is_some_and(|tally| tally.full >> (part & 63) & 1 != 0)
    }

    /// Notes that a part of a group, 0 to 63, is full.
    pub fn set_full(&mut self, group: u32, part: u8) {
        if let Some(tally) = self.tallies.get_mut(group as usize) {
            tally.full |= 1 << (part & 63);
        }
    }

    /// Adds an entry to a group that was found, or to a new one.
    pub fn add(&mut self, hash: u32, group: Option<u32>, entry: u32) {
        let first = group.unwrap_or(entry);
        if first == entry {
            self.index.insert(hash, entry);
            self.set(entry, Tally { count: 1, full: 0 });
        } else {
            self.rings.enter(entry, first);
            if let Some(tally) = self.tallies.get_mut(first as usize) {
                tally.count += 1;
            }
        }
    }

    /// Takes an entry out of its group, where it was in a part.
    pub fn remove(&mut self, hash: u32, group: u32, entry: u32, part: u8) {
        let Some(mut tally) = self.tallies.get(group as usize).copied() else { return };
        let next = self.rings.leave(entry);
        let first = if group == entry { next } else { group };
        if first == entry {
            self.index.remove(hash, entry);
            return;
        }
        if first != group {
            self.index.replace(hash, group, first);
        }
        tally.count -= 1;
        tally.full &= !(1 << (part & 63));
        self.set(first, tally);
    }

    fn set(&mut self, entry: u32, tally: Tally) {
        if let Some(place) = self.tallies.get_mut(entry as usize) {
            *place = tally;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn equals_a_naive_model(steps in vec((0u32..50, any::<bool>()), 0..300)) {
            // Eight groups, by the entry's number, of which four share a hash each.
            let group_of = |entry: u32| entry % 8;
            let hash = |group: u32| group % 2 * 1000;
            let mut groups = Groups::new(50);
            let mut model: BTreeMap<u32, (BTreeSet<u32>, bool)> = BTreeMap::new();
            for (entry, full) in steps {
                let key = group_of(entry);
                let found = groups.find(hash(key), |other| group_of(other) == key);
                let (members, is_full) = model.entry(key).or_default();
                prop_assert_eq!(found.is_some(), !members.is_empty());
                if members.remove(&entry) {
                    groups.remove(hash(key), found.unwrap(), entry, 63);
                    *is_full = false;
                } else {
                    groups.add(hash(key), found, entry);
                    members.insert(entry);
                    if full {
                        groups.set_full(found.unwrap_or(entry), 63);
                        *is_full = true;
                    }
                }
                for (key, (members, is_full)) in &model {
                    match groups.find(hash(*key), |other| group_of(other) == *key) {
                        None => prop_assert!(members.is_empty()),
                        Some(group) => {
                            prop_assert!(members.contains(&group));
                            prop_assert_eq!(groups.count(group) as usize, members.len());
                            prop_assert_eq!(groups.is_full(group, 63), *is_full);
                            prop_assert!(!groups.is_full(group, 0));
                        }
                    }
                }
            }
        }
    }
}
