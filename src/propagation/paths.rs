//! Many routes have few different paths: each is kept once.

use std::{collections::HashMap, hash::Hash};

/// A path, by its position in [`Paths`]. Equal paths have equal positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PathId(u32);

/// The different paths, with how often each is in use: a million routes have a handful of them.
#[derive(Clone)]
pub(super) struct Paths<P> {
    known: Vec<(Option<P>, u32)>,
    ids: HashMap<P, PathId>,
    free: Vec<PathId>,
}

impl<P> Default for Paths<P> {
    fn default() -> Self {
        Self { known: Vec::new(), ids: HashMap::new(), free: Vec::new() }
    }
}

impl<P: Clone + Eq + Hash> Paths<P> {
    /// A use more of a path.
    pub(super) fn take(&mut self, path: P) -> PathId {
        let Self { known, ids, free } = self;
        let id = *ids.entry(path).or_insert_with_key(|path| {
            let id = free.pop().unwrap_or_else(|| {
                known.push((None, 0));
                PathId(known.len() as u32 - 1)
            });
            known[id.0 as usize].0 = Some(path.clone());
            id
        });
        known[id.0 as usize].1 += 1;
        id
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The path at a position.
    pub(super) fn get(&self, id: Option<PathId>) -> Option<&P> {
        self.known.get(id?.0 as usize)?.0.as_ref()
    }

    /// A use less.
    pub(super) fn give_back(&mut self, id: Option<PathId>) {
        let Some((id, (path, uses))) = id.and_then(|id| Some((id, self.known.get_mut(id.0 as usize)?)))
        else {
            return;
        };
        *uses -= 1;
        if *uses == 0
            && let Some(path) = path.take()
        {
            self.ids.remove(&path);
            self.free.push(id);
        }
    }
}
