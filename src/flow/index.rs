//! A hash index: which entry of a table has a key. It holds neither keys nor entries, only their numbers and hashes, so
//! that one table can be found by several keys.
//!
//! Open addressing with linear probing, from the first of the eight slots of a cache line, whose hashes are compared at once: nearly
//! every lookup reads one line of it, and branches once. A gap is closed when a key goes (Knuth vol. 3, 6.4, algorithm R): there are
//! no tombstones.

use crate::ffi::{HugeSlice, equal_lanes, prefetch};

/// Slots of a cache line.
const LINE: usize = 8;

/// The share of the slots that are filled at the most, in percent.
const FILL: usize = 80;

/// The entry of an empty slot.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    entry: u32,
}

/// Eight slots.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line {
    hashes: [u32; LINE],
    entries: [u32; LINE],
}

impl Line {
    const EMPTY: Self = Self { hashes: [0; LINE], entries: [NONE; LINE] };

    /// Whether a probe ends here: keys lie before the first empty slot.
    #[inline]
    fn has_room(&self) -> bool {
        equal_lanes(&self.entries, NONE) != 0
    }
}

/// An index of up to a number of entries, by hashes that have to be well mixed and keyed.
pub struct Index {
    lines: HugeSlice<Line>,
    used: usize,
    capacity: usize,
}

impl Index {
    /// What an entry takes, in bytes.
    pub const BYTES: usize = size_of::<Slot>() * 100 / FILL;

    /// An empty index of up to `capacity` entries.
    pub fn new(capacity: u32) -> Self {
        let capacity = capacity as usize;
        // More slots than keys, so that every probe ends.
        let lines = (capacity * 100 / FILL + 1).div_ceil(LINE);
        Self { lines: HugeSlice::new(lines, Line::EMPTY), used: 0, capacity }
    }

    /// Memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.lines.bytes()
    }

    /// How many entries it holds.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Starts loading where a key with this hash would be.
    #[inline(always)]
    pub fn prefetch(&self, hash: u32) {
        if let Some(line) = self.lines.get(self.home(hash)) {
            prefetch(line);
        }
    }

    /// The entry with a hash that `is` the one sought. Several keys may have a hash.
    #[inline(always)]
    pub fn find(&self, hash: u32, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut number = self.home(hash);
        loop {
            let line = self.lines.get(number)?;
            let mut same = equal_lanes(&line.hashes, hash);
            while let Some(&entry) = line.entries.get(same.trailing_zeros() as usize) {
                if entry != NONE && is(entry) {
                    return Some(entry);
                }
                same &= same.wrapping_sub(1);
            }
            if line.has_room() {
                return None;
            }
            number = if number + 1 < self.lines.len() { number + 1 } else { 0 };
        }
    }

    /// The first entry with a hash.
    #[inline(always)]
    pub fn first(&self, hash: u32) -> Option<u32> {
        let line = self.lines.get(self.home(hash))?;
        let same = equal_lanes(&line.hashes, hash);
        match line.entries.get(same.trailing_zeros() as usize) {
            Some(&entry) if entry != NONE => Some(entry),
            _ => self.first_further(hash),
        }
    }

    /// The same where nearly none is: neither first nor in its home line.
    #[cold]
    #[inline(never)]
    fn first_further(&self, hash: u32) -> Option<u32> {
        self.find(hash, |_| true)
    }

    /// Puts an entry in under a hash. An entry must not be under the same hash already. `false` if the index is full.
    pub fn insert(&mut self, hash: u32, entry: u32) -> bool {
        if self.used >= self.capacity || entry == NONE {
            return false;
        }
        let mut at = self.home(hash) * LINE;
        while self.slot(at).is_some_and(|slot| slot.entry != NONE) {
            at = self.next(at);
        }
        self.set(at, Slot { hash, entry });
        self.used += 1;
        true
    }

    /// Puts another entry in an entry's place; `false` if it is not there.
    pub fn replace(&mut self, hash: u32, entry: u32, by: u32) -> bool {
        let found = self.position(hash, entry);
        if let Some(at) = found {
            self.set(at, Slot { hash, entry: by });
        }
        found.is_some()
    }

    /// Takes an entry out from under a hash; `false` if it is not there.
    pub fn remove(&mut self, hash: u32, entry: u32) -> bool {
        let Some(mut gap) = self.position(hash, entry) else { return false };
        let mut at = self.next(gap);
        while let Some(slot) = self.slot(at).filter(|slot| slot.entry != NONE) {
            let home = self.home(slot.hash) * LINE;
            if self.distance(home, at) >= self.distance(gap, at) {
                self.set(gap, slot);
                gap = at;
            }
            at = self.next(at);
        }
        self.set(gap, Slot { hash: 0, entry: NONE });
        self.used -= 1;
        true
    }

    /// The slot that an entry is in under a hash.
    fn position(&self, hash: u32, entry: u32) -> Option<usize> {
        let mut at = self.home(hash) * LINE;
        loop {
            let slot = self.slot(at).filter(|slot| slot.entry != NONE)?;
            if slot.entry == entry && slot.hash == hash {
                return Some(at);
            }
            at = self.next(at);
        }
    }

    /// The number of a hash's line: spread over the lines without a division.
    #[inline(always)]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.lines.len() as u64) >> 32) as usize
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        if at + 1 < self.lines.len() * LINE { at + 1 } else { 0 }
    }

    /// Steps from one position to a later one, around the end.
    #[inline]
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.lines.len() * LINE - from }
    }

    #[inline]
    fn slot(&self, at: usize) -> Option<Slot> {
        let line = self.lines.get(at / LINE)?;
        Some(Slot { hash: *line.hashes.get(at % LINE)?, entry: *line.entries.get(at % LINE)? })
    }

    #[inline]
    fn set(&mut self, at: usize, slot: Slot) {
        let Some(line) = self.lines.get_mut(at / LINE) else { return };
        if let (Some(hash), Some(entry)) = (line.hashes.get_mut(at % LINE), line.entries.get_mut(at % LINE)) {
            (*hash, *entry) = (slot.hash, slot.entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Hashes of few values, and at the end of the index, so that keys collide and probes go round.
    fn hash(key: u32) -> u32 {
        u32::MAX - key % 7 * 0x0800_0000
    }

    proptest! {
        #[test]
        fn equals_a_naive_model(steps in vec((0u8..3, 0u32..60, 60u32..100), 0..200)) {
            let mut index = Index::new(40);
            // Entries by key.
            let mut model: HashMap<u32, u32> = HashMap::new();
            for (step, key, other) in steps {
                let entry = model.get(&key).copied();
                match step {
                    0 if entry.is_none() => {
                        let fits = model.len() < 40;
                        prop_assert_eq!(index.insert(hash(key), key), fits);
                        if fits {
                            model.insert(key, key);
                        }
                    }
                    1 => prop_assert_eq!(
                        index.remove(hash(key), entry.unwrap_or(key)),
                        model.remove(&key).is_some()
                    ),
                    _ => {
                        let other = other + 100 * key;
                        prop_assert_eq!(index.replace(hash(key), entry.unwrap_or(key), other), entry.is_some());
                        model.entry(key).and_modify(|entry| *entry = other);
                    }
                }
                prop_assert_eq!((index.len(), index.is_empty()), (model.len(), model.is_empty()));
                for key in 0..60 {
                    let entry = model.get(&key).copied();
                    prop_assert_eq!(index.find(hash(key), |found| Some(found) == entry), entry);
                }
            }
        }
    }

    #[test]
    fn nearly_every_key_of_a_full_index_lies_in_its_home_line() {
        let secret = crate::tables::Secret::random();
        let mut index = Index::new(100_000);
        let hashes: Vec<u32> = (0..100_000).map(|key| secret.mix(key, 0) as u32).collect();
        for (entry, &hash) in (0..).zip(&hashes) {
            assert!(index.insert(hash, entry));
        }
        assert!(!index.insert(1, 100_000));
        let home = (0..)
            .zip(&hashes)
            .filter(|&(entry, &hash)| index.position(hash, entry).unwrap() / LINE == index.home(hash))
            .count();
        assert!(home > 85_000, "{home}");
    }

    /// The most slots that a key is away from its home.
    fn longest_probe(index: &Index, hashes: &[u32]) -> usize {
        let distance = |(entry, &hash): (u32, &u32)| {
            index.distance(index.home(hash) * LINE, index.position(hash, entry).unwrap())
        };
        (0..).zip(hashes).map(distance).max().unwrap()
    }

    #[test]
    fn keys_that_collide_under_one_secret_spread_under_another() {
        // Who knows the hash, and not the secret, finds keys that share a line. Hash flooding.
        const KEYS: usize = 300;
        let [known, secret] = [0, 1].map(|_| crate::tables::Secret::random());
        let empty = || Index::new(16_384);
        let aim = empty();
        let words = (0u64..).map(|n| (n & 0xffff, n >> 16));
        let colliding: Vec<(u64, u64)> =
            words.filter(|&(a, b)| aim.home(known.mix(a, b) as u32) == 0).take(KEYS).collect();
        let probe = |secret: &crate::tables::Secret| {
            let hashes: Vec<u32> = colliding.iter().map(|&(a, b)| secret.mix(a, b) as u32).collect();
            let mut index = empty();
            assert!((0..).zip(&hashes).all(|(entry, &hash)| index.insert(hash, entry)));
            longest_probe(&index, &hashes)
        };
        assert_eq!(probe(&known), KEYS - 1);
        assert!(probe(&secret) < LINE, "{}", probe(&secret));
    }
}
