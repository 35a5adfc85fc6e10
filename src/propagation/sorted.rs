//! A sorted set that takes little more memory than its entries, however it grew.
//!
//! Chunks of at most [`MOST`] entries, each a vector that is enlarged by little at a time. A `BTreeMap` filled in order, as a
//! replay is, leaves its nodes half empty, and a hash map doubles: with a million routes that is what counts.

/// The most entries of a chunk: inserting moves half of them on average.
const MOST: usize = 512;
/// How many entries a full vector is enlarged by.
const STEP: usize = 32;

/// What a set holds: a key and what belongs to it.
pub(super) trait Entry: Copy {
    type Key: Copy + Ord;

    fn key(&self) -> Self::Key;
}

/// A set of entries with different keys, in their order.
#[derive(Clone)]
pub(super) struct Sorted<E: Entry> {
    /// None is empty.
    chunks: Vec<Vec<E>>,
    /// The first key of each chunk, side by side: a search among thousands of chunks reads few cache lines.
    firsts: Vec<E::Key>,
}

impl<E: Entry> Default for Sorted<E> {
    fn default() -> Self {
        Self { chunks: Vec::new(), firsts: Vec::new() }
    }
}

impl<E: Entry> Sorted<E> {
    pub(super) fn get_mut(&mut self, key: &E::Key) -> Option<&mut E> {
        let chunk = self.chunk(key);
        let chunk = self.chunks.get_mut(chunk)?;
        let found = chunk.binary_search_by(|entry| entry.key().cmp(key)).ok()?;
        chunk.get_mut(found)
    }

    pub(super) fn get(&self, key: &E::Key) -> Option<&E> {
        let chunk = self.chunks.get(self.chunk(key))?;
        chunk.get(chunk.binary_search_by(|entry| entry.key().cmp(key)).ok()?)
    }

    /// Adds an entry, whose key must be new.
    pub(super) fn insert(&mut self, entry: E) {
        let key = entry.key();
        if self.chunks.is_empty() {
            self.chunks.push(Vec::new());
            self.firsts.push(key);
        }
        let mut at = self.chunk(&key);
        if self.chunks[at].len() == MOST {
            // In a replay, which is in order, the next entries go behind this chunk: it stays full.
            let in_order =
                at + 1 == self.chunks.len() && self.chunks[at].last().is_some_and(|last| last.key() < key);
            let behind = self.chunks[at].split_off(if in_order { MOST } else { MOST / 2 });
            self.chunks[at].shrink_to_fit();
            let first = behind.first().map_or(key, Entry::key);
            self.chunks.insert(at + 1, behind);
            self.firsts.insert(at + 1, first);
            if first <= key {
                at += 1;
            }
        }
        let chunk = &mut self.chunks[at];
        if chunk.len() == chunk.capacity() {
            chunk.reserve_exact(STEP);
        }
        let place = chunk.partition_point(|other| other.key() < key);
        chunk.insert(place, entry);
        if place == 0 {
            self.firsts[at] = key;
        }
    }

    pub(super) fn remove(&mut self, key: &E::Key) -> Option<E> {
        let at = self.chunk(key);
        let chunk = self.chunks.get_mut(at)?;
        let entry = chunk.remove(chunk.binary_search_by(|entry| entry.key().cmp(key)).ok()?);
        self.tidy(at);
        Some(entry)
    }

    /// Removes the entries for which `keep` is false.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&E) -> bool) {
        self.chunks.iter_mut().for_each(|chunk| chunk.retain(&mut keep));
        for at in (0..self.chunks.len()).rev() {
            self.tidy(at);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &E> + '_ {
        self.chunks.iter().flatten()
    }

    /// The chunk that has the key or should.
    fn chunk(&self, key: &E::Key) -> usize {
        self.firsts.partition_point(|first| first <= key).saturating_sub(1)
    }

    /// After entries of a chunk went: joins it with the next where both fit into half of one, and gives memory back.
    fn tidy(&mut self, at: usize) {
        let next = self.chunks.get(at + 1).map_or(0, Vec::len);
        if let Some(first) = self.chunks[at].first() {
            self.firsts[at] = first.key();
        }
        if self.chunks[at].is_empty() {
            self.chunks.remove(at);
            self.firsts.remove(at);
        } else if next > 0 && self.chunks[at].len() + next <= MOST / 2 {
            let next = self.chunks.remove(at + 1);
            self.firsts.remove(at + 1);
            self.chunks[at].extend(next);
        } else if self.chunks[at].capacity() > self.chunks[at].len() + 2 * STEP {
            self.chunks[at].shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl Entry for (u16, u8) {
        type Key = u16;

        fn key(&self) -> u16 {
            self.0
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(u16, u8),
        Remove(u16),
        /// In order, as a replay does.
        Fill(u16),
        KeepBelow(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            400 => (0..2000u16, any::<u8>()).prop_map(|(key, value)| Step::Set(key, value)),
            200 => (0..2000u16).prop_map(Step::Remove),
            1 => any::<u16>().prop_map(Step::Fill),
            1 => any::<u8>().prop_map(Step::KeepBelow),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn equals_a_map(steps in proptest::collection::vec(step(), 0..4000)) {
            let (mut sorted, mut model) = (Sorted::default(), BTreeMap::new());
            let set = |sorted: &mut Sorted<(u16, u8)>, key, value| match sorted.get_mut(&key) {
                Some(entry) => entry.1 = value,
                None => sorted.insert((key, value)),
            };
            for step in steps {
                match step {
                    Step::Set(key, value) => {
                        set(&mut sorted, key, value);
                        model.insert(key, value);
                    }
                    Step::Remove(key) => {
                        prop_assert_eq!(sorted.remove(&key).map(|entry| entry.1), model.remove(&key));
                    }
                    Step::Fill(start) => {
                        for key in start..start.saturating_add(1500) {
                            set(&mut sorted, key, 7);
                            model.insert(key, 7);
                        }
                    }
                    Step::KeepBelow(limit) => {
                        sorted.retain(|entry| entry.1 < limit);
                        model.retain(|_, value| *value < limit);
                    }
                }
                prop_assert!(sorted.chunks.iter().all(|chunk| (1..=MOST).contains(&chunk.len())));
                let firsts = sorted.chunks.iter().map(|chunk| chunk[0].key());
                prop_assert!(firsts.eq(sorted.firsts.iter().copied()));
            }
            prop_assert!(sorted.iter().copied().eq(model.iter().map(|(key, value)| (*key, *value))));
            prop_assert!(model.iter().all(|(key, value)| sorted.get(key) == Some(&(*key, *value))));
            prop_assert_eq!(sorted.get(&60_001).is_some(), model.contains_key(&60_001));
        }
    }
}
