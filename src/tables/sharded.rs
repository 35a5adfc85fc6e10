//! A hash map of small fixed-size slots, made of shards which snapshots share: a change copies the shards that it touches.
//!
//! Open addressing with linear probing inside shards of [`SHARD_SLOTS`] slots. A lookup has two halves, so that a burst
//! can prefetch: [`ShardedMap::prefetch`] starts loading the slot's cache line, [`ShardedMap::find`] reads it. The hash is
//! keyed: who chooses keys (tenants choose addresses) can't choose collisions.

use std::sync::Arc;

use crate::ffi::prefetch;

/// Slots of a shard; a power of two.
pub const SHARD_SLOTS: usize = 1024;

/// A map whose shards are filled beyond this share is spread over more of them.
const MAX_FILL: usize = SHARD_SLOTS * 8 / 10;

/// What a map holds: key and value in one.
pub trait Slot: Copy + 'static {
    /// What it is found by.
    type Key: Copy;

    /// The slot that holds nothing.
    const EMPTY: Self;

    /// The share of a new map's slots that are filled, in percent, at most 70: fewer cost memory, more cost cache misses,
    /// since a key that finds its cache line full lies in another, which nobody prefetched.
    const FILL: usize = 60;

    /// Whether it is [`Slot::EMPTY`].
    fn is_empty(&self) -> bool;

    /// The key of a slot that is not empty.
    fn key(&self) -> Self::Key;

    /// Whether the slot holds the key. False for the empty slot.
    fn holds(&self, key: &Self::Key) -> bool;

    /// A well-mixed hash of the key under a secret.
    fn hash(key: &Self::Key, secret: &Secret) -> u64;
}

/// The secret of a keyed hash.
#[derive(Clone, Copy, Debug)]
pub struct Secret([u64; 2]);

impl Secret {
    /// A secret that differs between processes.
    pub fn random() -> Self {
        use std::hash::{BuildHasher, RandomState};
        let state = RandomState::new();
        Self([state.hash_one(0), state.hash_one(1)])
    }

    /// Mixes two words: a 64×64→128-bit multiplication of the keyed words, folded twice so that either word being
    /// guessed to cancel its key leaves the other's bits in the result.
    #[inline]
    pub fn mix(&self, a: u64, b: u64) -> u64 {
        let [k0, k1] = self.0;
        fold(fold(a ^ k0, 0x9e37_79b9_7f4a_7c15) ^ b, k1 | 1)
    }
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

#[derive(Clone)]
#[repr(C, align(64))]
struct Shard<S> {
    slots: [S; SHARD_SLOTS],
    used: usize,
}

impl<S: Slot> Shard<S> {
    const EMPTY: Self = Self { slots: [S::EMPTY; SHARD_SLOTS], used: 0 };

    /// The slot at a probe position.
    #[inline]
    fn at(&self, position: usize) -> &S {
        // Never out of bounds, and the compiler sees it: the mask is the array's length less one.
        #[allow(clippy::indexing_slicing)]
        &self.slots[position & (SHARD_SLOTS - 1)]
    }

    fn at_mut(&mut self, position: usize) -> &mut S {
        #[allow(clippy::indexing_slicing)]
        &mut self.slots[position & (SHARD_SLOTS - 1)]
    }

    /// Where the probe for a hash starts: at the first of the two slots that share a cache line, so that the second costs no
    /// further miss.
    #[inline(always)]
    fn home(hash: u64) -> usize {
        hash as usize & (SHARD_SLOTS - 2)
    }

    #[inline(always)]
    fn find(&self, home: usize, key: &S::Key) -> Option<&S> {
        let mut position = home;
        // There is an empty slot, so the bound is never reached.
        while position < home + SHARD_SLOTS {
            let slot = self.at(position);
            if slot.holds(key) {
                return Some(slot);
            }
            if slot.is_empty() {
                return None;
            }
            position += 1;
        }
        None
    }

    /// The position of the key, or of the empty slot where it would go; `None` in a full shard.
    fn position(&self, home: usize, key: &S::Key) -> Option<usize> {
        (home..home + SHARD_SLOTS).find(|&position| {
            let slot = self.at(position);
            slot.is_empty() || slot.holds(key)
        })
    }

    /// Puts a slot in; `Err` gives it back when the shard may take no further key.
    fn insert(&mut self, home: usize, slot: S) -> Result<Option<S>, S> {
        let Some(position) = self.position(home, &slot.key()) else { return Err(slot) };
        let old = *self.at(position);
        if old.is_empty() {
            // One slot stays empty, so that every probe ends.
            if self.used + 1 >= SHARD_SLOTS {
                return Err(slot);
            }
            self.used += 1;
        }
        *self.at_mut(position) = slot;
        Ok((!old.is_empty()).then_some(old))
    }

    /// Takes a key out and closes the gap (Knuth vol. 3, 6.4, algorithm R), so that there are no tombstones.
    fn remove(&mut self, home: usize, key: &S::Key, secret: &Secret) -> Option<S> {
        let mut gap = self.position(home, key)?;
        let removed = *self.at(gap);
        if removed.is_empty() {
            return None;
        }
        for next in gap + 1..gap + SHARD_SLOTS {
            let slot = *self.at(next);
            if slot.is_empty() {
                break;
            }
            let its_home = Self::home(S::hash(&slot.key(), secret));
            let displacement = next.wrapping_sub(its_home) & (SHARD_SLOTS - 1);
            if displacement >= next - gap {
                *self.at_mut(gap) = slot;
                gap = next;
            }
        }
        *self.at_mut(gap) = S::EMPTY;
        self.used -= 1;
        Some(removed)
    }
}

/// The map. Cloning shares every shard.
pub struct ShardedMap<S: Slot> {
    shards: Vec<Arc<Shard<S>>>,
    len: usize,
    secret: Secret,
}

impl<S: Slot> Clone for ShardedMap<S> {
    fn clone(&self) -> Self {
        Self { shards: self.shards.clone(), len: self.len, secret: self.secret }
    }
}

impl<S: Slot> ShardedMap<S> {
    /// Keys of a shard of a new map, on average.
    const TARGET_FILL: usize = SHARD_SLOTS * S::FILL / 100;

    /// An empty map that takes about `capacity` keys before it is spread over more shards.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::with_secret(capacity, Secret::random())
    }

    fn with_secret(capacity: usize, secret: Secret) -> Self {
        let shards = capacity.div_ceil(Self::TARGET_FILL).max(1);
        let empty = Arc::new(Shard::EMPTY);
        Self { shards: vec![empty; shards], len: 0, secret }
    }

    /// How many keys it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory of the shards and their directory, in bytes.
    pub fn bytes(&self) -> usize {
        self.shards.len() * (size_of::<Shard<S>>() + size_of::<Arc<Shard<S>>>())
    }

    /// Bytes of the shards that this map does not share with `other`: what a change from one to the other copied.
    pub fn bytes_not_shared_with(&self, other: &Self) -> usize {
        let shared =
            self.shards.iter().zip(&other.shards).filter(|(mine, theirs)| Arc::ptr_eq(mine, theirs)).count();
        (self.shards.len() - shared) * size_of::<Shard<S>>()
    }

    /// The hash of a key, for [`ShardedMap::prefetch`] and [`ShardedMap::find`].
    #[inline]
    pub fn hash(&self, key: &S::Key) -> u64 {
        S::hash(key, &self.secret)
    }

    /// The high half of the hash, spread over the shards without a division.
    #[inline]
    fn shard_of(&self, hash: u64) -> usize {
        (((hash >> 32) * self.shards.len() as u64) >> 32) as usize
    }

    /// Starts loading the slot where a key with this hash would be.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        if let Some(shard) = self.shards.get(self.shard_of(hash)) {
            prefetch(shard.at(Shard::<S>::home(hash)));
        }
    }

    /// The slot with the key whose hash this is.
    #[inline(always)]
    pub fn find(&self, hash: u64, key: &S::Key) -> Option<&S> {
        self.shards.get(self.shard_of(hash))?.find(Shard::<S>::home(hash), key)
    }

    /// The slot with the key.
    #[inline]
    pub fn get(&self, key: &S::Key) -> Option<&S> {
        self.find(self.hash(key), key)
    }

    /// Puts a slot in, in place of the one with the same key, which is returned.
    pub fn insert(&mut self, slot: S) -> Option<S> {
        if self.len >= self.shards.len() * MAX_FILL {
            self.spread();
        }
        let mut slot = slot;
        loop {
            let hash = self.hash(&slot.key());
            let index = self.shard_of(hash);
            let shard = self.shards.get_mut(index)?;
            match Arc::make_mut(shard).insert(Shard::<S>::home(hash), slot) {
                Ok(old) => {
                    self.len += usize::from(old.is_none());
                    return old;
                }
                Err(back) => slot = back,
            }
            self.spread();
        }
    }

    /// Takes the slot with the key out.
    pub fn remove(&mut self, key: &S::Key) -> Option<S> {
        let hash = self.hash(key);
        let home = Shard::<S>::home(hash);
        let index = self.shard_of(hash);
        let shard = self.shards.get_mut(index)?;
        shard.find(home, key)?;
        let removed = Arc::make_mut(shard).remove(home, key, &self.secret);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// Every slot, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &S> + '_ {
        self.shards.iter().flat_map(|shard| shard.slots.iter()).filter(|slot| !slot.is_empty())
    }

    /// Rebuilds with half as many shards again. Its cost, that of the whole map, is paid once per growth by half.
    #[cold]
    fn spread(&mut self) {
        let mut wider = Self::with_secret(self.shards.len() * Self::TARGET_FILL * 3 / 2, self.secret);
        for slot in self.iter() {
            wider.insert(*slot);
        }
        *self = wider;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Pair(u32, u32);

    impl Slot for Pair {
        type Key = u32;
        const EMPTY: Self = Self(0, 0);
        fn is_empty(&self) -> bool {
            self.0 == 0
        }
        fn key(&self) -> u32 {
            self.0
        }
        fn holds(&self, key: &u32) -> bool {
            self.0 == *key
        }
        fn hash(key: &u32, secret: &Secret) -> u64 {
            secret.mix(u64::from(*key), 0)
        }
    }

    proptest! {
        #[test]
        fn equals_a_naive_model_under_random_updates(
            updates in proptest::collection::vec((1..4000u32, any::<u32>(), any::<bool>()), 0..6000),
        ) {
            let mut map = ShardedMap::with_capacity(0);
            let mut model = HashMap::new();
            let mut snapshots = Vec::new();
            for (step, &(key, value, insert)) in updates.iter().enumerate() {
                if insert {
                    prop_assert_eq!(map.insert(Pair(key, value)).map(|old| old.1), model.insert(key, value));
                } else {
                    prop_assert_eq!(map.remove(&key).map(|old| old.1), model.remove(&key));
                }
                prop_assert_eq!(map.len(), model.len());
                if step % 1000 == 0 {
                    snapshots.push((map.clone(), model.clone()));
                }
            }
            snapshots.push((map, model));
            for (map, model) in snapshots {
                for key in 1..4000 {
                    prop_assert_eq!(map.get(&key).map(|slot| slot.1), model.get(&key).copied());
                }
                prop_assert_eq!(map.iter().count(), model.len());
            }
        }
    }

    #[test]
    fn a_change_of_a_large_map_copies_one_shard() {
        let mut map = ShardedMap::with_capacity(200_000);
        for key in 1..=200_000 {
            map.insert(Pair(key, key));
        }
        let before = map.clone();
        map.insert(Pair(77, 1));
        assert_eq!(map.bytes_not_shared_with(&before), size_of::<Shard<Pair>>());
        assert_eq!((before.get(&77).unwrap().1, map.get(&77).unwrap().1), (77, 1));
    }

    #[test]
    fn colliding_keys_spread_or_fill_the_shard_but_are_never_lost() {
        #[derive(Clone, Copy)]
        struct Clash(u32);
        impl Slot for Clash {
            type Key = u32;
            const EMPTY: Self = Self(0);
            fn is_empty(&self) -> bool {
                self.0 == 0
            }
            fn key(&self) -> u32 {
                self.0
            }
            fn holds(&self, key: &u32) -> bool {
                self.0 == *key
            }
            fn hash(key: &u32, _: &Secret) -> u64 {
                u64::from(key % 4) << 62 | 7
            }
        }
        let mut map = ShardedMap::with_capacity(0);
        for key in 1..1500 {
            map.insert(Clash(key));
        }
        assert!((1..1500).all(|key| map.get(&key).is_some()));
        for key in (1..1500).step_by(3) {
            assert!(map.remove(&key).is_some());
        }
        assert!((1..1500).all(|key| map.get(&key).is_some() == (key % 3 != 1)));
    }
}
