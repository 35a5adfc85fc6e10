//! The routes of one family.
//!
//! Each range has a **block**, a prefix, and holds the routes inside it, except those inside the block of a range further
//! in: blocks nest like prefixes do, and the longest block that holds an address or a prefix says which range it belongs
//! to. The outermost block is that of length 0. A route can be wider than blocks that lie in it; so each range also knows its
//! **cover**, the target of the longest route around its block, for the addresses that none of its own routes holds.
//!
//! A range that grows beyond [`MOST`] is split along the prefix that holds about half of its routes (between a third and
//! two thirds: there always is one), so there are no ranges that are nearly empty; one that falls below [`LEAST`] is
//! merged into the one around it.

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::HashSet;
use iptrie::{
    IpPrefix, IpPrefixCovering,
    map::{LCTrieMap, RTrieMap},
};

use super::prefix::{Prefix, held};

/// The most routes of a range: more make a change dear, fewer make ranges many, and a change copies the list of them. In
/// the unit tests a few routes shall make many ranges.
pub(super) const MOST: usize = if cfg!(test) { 9 } else { 1024 };
/// The fewest routes of a range, but for the outermost. Far below a third of [`MOST`], so that a route which comes and
/// goes does not split and merge a range each time.
pub(super) const LEAST: usize = MOST / 8;

/// The trie of a range: its routes, and in the root, unless it is a route, nothing.
type Trie<P, T> = LCTrieMap<P, Option<T>>;

#[derive(Clone)]
pub(super) struct Family<P: Prefix, T> {
    /// Which range an address belongs to.
    index: Arc<Index<P>>,
    /// In the order of their blocks, so that each comes behind the one around it.
    pub(super) ranges: Arc<[Range<P, T>]>,
    len: usize,
}

#[derive(Clone)]
pub(super) struct Range<P, T> {
    pub(super) trie: Arc<Trie<P, T>>,
    pub(super) cover: Option<T>,
    pub(super) block: P,
    /// The position of the range around it; of the outermost, its own.
    around: usize,
}

impl<P: Prefix, T> Family<P, T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl<P: Prefix, T: Copy + PartialEq> Family<P, T> {
    /// The target of the longest route that holds the address.
    #[inline]
    pub(super) fn lookup<A: IpPrefix<Addr = P::Addr, Slot = P::Slot>>(&self, address: &A) -> Option<T>
    where
        P: IpPrefixCovering<A>,
    {
        let range = self.ranges.get(self.index.find(address.bitslot()))?;
        range.trie.lookup(address).1.or(range.cover)
    }

    /// The target of the route with exactly this destination.
    pub(super) fn get(&self, destination: &P) -> Option<T> {
        *self.ranges.get(self.position(destination))?.trie.get(destination)?
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (P, T)> + '_ {
        self.ranges.iter().flat_map(Range::routes)
    }

    /// All routes in order. A range is opened when the order comes to its block.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (P, T)> + '_ {
        let mut unopened = 0..self.ranges.len();
        // What is left of ranges that lie in each other.
        let mut open = Vec::<std::vec::IntoIter<(P, T)>>::new();
        std::iter::from_fn(move || {
            loop {
                open.retain(|routes| routes.len() > 0);
                let first =
                    |routes: &std::vec::IntoIter<(P, T)>| routes.as_slice().first().map(|route| route.0);
                let next = open.iter_mut().min_by_key(|routes| first(routes));
                let block = self.ranges.get(unopened.start).map(|range| range.block);
                match next {
                    Some(next) if block.is_none_or(|block| first(next) < Some(block)) => return next.next(),
                    _ => open.push(self.routes(unopened.next()?).into_iter()),
                }
            }
        })
    }

    /// The prefixes that have not the same target in both.
    pub(super) fn differing(&self, other: &Self) -> Vec<P> {
        if Arc::ptr_eq(&self.ranges, &other.ranges) {
            return Vec::new();
        }
        let (these, those) = (self.routes_beside(other), other.routes_beside(self));
        let target = |routes: &[(P, T)], prefix: &P| {
            let position = routes.binary_search_by(|route| route.0.cmp(prefix)).ok()?;
            routes.get(position).map(|route| route.1)
        };
        let changed = these.iter().filter(|(prefix, of)| target(&those, prefix) != Some(*of));
        let added = those.iter().filter(|(prefix, _)| target(&these, prefix).is_none());
        changed.chain(added).map(|(prefix, _)| *prefix).collect()
    }

    /// The routes of the ranges that are not shared with another table, in order.
    fn routes_beside(&self, other: &Self) -> Vec<(P, T)> {
        let shared: HashSet<_> = other.ranges.iter().map(|range| Arc::as_ptr(&range.trie)).collect();
        let own = self.ranges.iter().filter(|range| !shared.contains(&Arc::as_ptr(&range.trie)));
        let mut routes: Vec<_> = own.flat_map(Range::routes).collect();
        routes.sort_unstable_by_key(|route| route.0);
        routes
    }

    /// The position of the range that a prefix belongs to.
    fn position(&self, prefix: &P) -> usize {
        // That of its first address can be further in.
        let mut position = self.index.find(prefix.bitslot());
        while let Some(range) = self.ranges.get(position).filter(|range| !range.block.covers(prefix)) {
            position = range.around;
        }
        position
    }

    /// The table after these changes.
    pub(super) fn apply(&self, mut changes: Vec<(P, Option<T>)>) -> Self {
        if changes.is_empty() {
            return self.clone();
        }
        changes.sort_by_key(|change| change.0);
        let mut by_range = BTreeMap::<usize, Vec<_>>::new();
        for change in changes {
            by_range.entry(self.position(&change.0)).or_default().push(change);
        }
        let mut len = self.len;
        let mut touched = BTreeMap::new();
        for (position, changes) in by_range {
            let before = self.routes(position);
            len -= before.len();
            let after = merged(before, changes);
            len += after.len();
            touched.insert(position, after);
        }
        let rebuilt = self.rebuild(touched);
        let same = |(position, pieces): (&usize, &Vec<Piece<P, T>>)| matches!(pieces.as_slice(), [piece] if self.ranges.get(*position).is_some_and(|range| range.block == piece.block));
        if rebuilt.iter().all(same) { self.replace(rebuilt, len) } else { self.rearrange(rebuilt, len) }
    }

    /// The routes of a range, in order.
    fn routes(&self, position: usize) -> Vec<(P, T)> {
        let mut routes: Vec<_> = self.ranges.get(position).into_iter().flat_map(Range::routes).collect();
        routes.sort_unstable_by_key(|route| route.0);
        routes
    }

    /// New tries for the ranges touched: several for one that is split, none for one that went into the one around it.
    fn rebuild(&self, mut touched: BTreeMap<usize, Vec<(P, T)>>) -> BTreeMap<usize, Vec<Piece<P, T>>> {
        let mut rebuilt = BTreeMap::new();
        // The innermost first, since it may change the one around it.
        while let Some((position, mut routes)) = touched.pop_last() {
            let Some(range) = self.ranges.get(position) else { continue };
            let mut pieces = Vec::new();
            if position > 0 && routes.len() < LEAST {
                touched.entry(range.around).or_insert_with(|| self.routes(range.around)).append(&mut routes);
            } else {
                routes.sort_by_key(|route| route.0);
                split(range.block, routes, &mut pieces);
            }
            rebuilt.insert(position, pieces);
        }
        rebuilt
    }

    /// The same blocks with some new tries.
    fn replace(&self, rebuilt: BTreeMap<usize, Vec<Piece<P, T>>>, len: usize) -> Self {
        let mut ranges = self.ranges.to_vec();
        let mut changed = vec![false; ranges.len()];
        for (position, pieces) in rebuilt {
            for piece in pieces {
                if let (Some(range), Some(changed)) = (ranges.get_mut(position), changed.get_mut(position)) {
                    range.trie = piece.trie;
                    *changed = true;
                }
            }
        }
        find_covers(&mut ranges, changed);
        Self { index: Arc::clone(&self.index), ranges: ranges.into(), len }
    }

    /// Other blocks than before.
    fn rearrange(&self, mut rebuilt: BTreeMap<usize, Vec<Piece<P, T>>>, len: usize) -> Self {
        let mut pieces = Vec::with_capacity(self.ranges.len() + rebuilt.len());
        for (position, range) in self.ranges.iter().enumerate() {
            match rebuilt.remove(&position) {
                Some(new) => pieces.extend(new),
                None => pieces.push(Piece { block: range.block, trie: Arc::clone(&range.trie) }),
            }
        }
        Self::assemble(pieces, len)
    }

    fn assemble(mut pieces: Vec<Piece<P, T>>, len: usize) -> Self {
        pieces.sort_unstable_by_key(|piece| piece.block);
        let mut index = Index { starts: Vec::new(), positions: Vec::new() };
        let mut ranges = Vec::<Range<P, T>>::with_capacity(pieces.len());
        // The blocks around the next one, the outermost first, with their positions.
        let mut around = Vec::<(P, usize)>::new();
        let position = |around: &[(P, usize)]| around.last().map_or(0, |(_, position)| *position);
        for (at, Piece { block, trie }) in pieces.into_iter().enumerate() {
            while let Some((past, _)) = around.pop_if(|(outer, _)| !outer.covers(&block)) {
                index.push(past.behind(), position(&around));
            }
            ranges.push(Range { trie, cover: None, block, around: position(&around) });
            around.push((block, at));
            index.push(Some(block.bitslot()), at);
        }
        while let Some((past, _)) = around.pop() {
            index.push(past.behind(), position(&around));
        }
        let changed = vec![true; ranges.len()];
        find_covers(&mut ranges, changed);
        Self { index: index.into(), ranges: ranges.into(), len }
    }
}

/// From addresses to the positions of their ranges. Nested blocks part the addresses into intervals; a range can have several.
struct Index<P: Prefix> {
    /// The first address of each interval, in order. Apart from the positions, so that more of them share a cache line.
    starts: Vec<P::Slot>,
    positions: Vec<u32>,
}

impl<P: Prefix> Index<P> {
    #[inline]
    fn find(&self, address: P::Slot) -> usize {
        let behind = self.starts.partition_point(|start| *start <= address);
        self.positions.get(behind.wrapping_sub(1)).map_or(0, |position| *position as usize)
    }

    /// The addresses from `start` on are those of another range. A later one for the same start wins.
    fn push(&mut self, start: Option<P::Slot>, position: usize) {
        let Some(start) = start else { return };
        if self.starts.last() == Some(&start) {
            self.positions.pop();
        } else {
            self.starts.push(start);
        }
        self.positions.push(position as u32);
    }
}

impl<P: Prefix, T: Copy + PartialEq> Default for Family<P, T> {
    fn default() -> Self {
        Self::assemble(vec![Piece::new(P::root(), &[])], 0)
    }
}

impl<P: Prefix, T: Copy> Range<P, T> {
    pub(super) fn routes(&self) -> impl Iterator<Item = (P, T)> + '_ {
        self.trie.iter().filter_map(|(prefix, target)| Some((*prefix, (*target)?)))
    }
}

/// A range to be.
struct Piece<P, T> {
    block: P,
    trie: Arc<Trie<P, T>>,
}

impl<P: Prefix, T: Copy> Piece<P, T> {
    fn new(block: P, routes: &[(P, T)]) -> Self {
        let mut trie = RTrieMap::with_root_and_capacity(None, routes.len());
        for (prefix, target) in routes {
            trie.insert(*prefix, Some(*target));
        }
        Self { block, trie: trie.compress().into() }
    }
}

/// Sorted routes after sorted changes, of which the later of two wins.
fn merged<P: Prefix, T: Copy>(before: Vec<(P, T)>, changes: Vec<(P, Option<T>)>) -> Vec<(P, T)> {
    let before = before.into_iter().map(|(prefix, target)| (prefix, Some(target)));
    let mut all: Vec<_> = before.chain(changes).collect();
    // Stable, and linear where there are two sorted runs.
    all.sort_by_key(|route| route.0);
    all.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            earlier.1 = later.1;
        }
        same
    });
    all.into_iter().filter_map(|(prefix, target)| Some((prefix, target?))).collect()
}

/// Makes ranges of a block's sorted routes.
fn split<P: Prefix, T: Copy>(block: P, mut routes: Vec<(P, T)>, pieces: &mut Vec<Piece<P, T>>) {
    while routes.len() > MOST {
        let (inner, held) = half_of(block, &routes);
        split(inner, routes.drain(held).collect(), pieces);
    }
    pieces.push(Piece::new(block, &routes));
}

/// A prefix that holds between a third and two thirds of a block's sorted routes, and which they are.
fn half_of<P: Prefix, T>(block: P, routes: &[(P, T)]) -> (P, std::ops::Range<usize>) {
    let (mut inner, mut inside) = (block, 0..routes.len());
    while inside.len() > routes.len() * 2 / 3 {
        // Both halves of it, and at most one route that is neither's: the bigger has at least a third of all.
        let Some(halves) = inner.halves() else { break };
        let [low, high] = halves.map(|half| (half, held(routes, &half)));
        (inner, inside) = if low.1.len() > high.1.len() { low } else { high };
    }
    (inner, inside)
}

/// Finds anew the covers of the ranges inside those that changed.
fn find_covers<P: Prefix, T: Copy + PartialEq>(ranges: &mut [Range<P, T>], mut changed: Vec<bool>) {
    for position in 1..ranges.len() {
        let (before, behind) = ranges.split_at_mut(position);
        let Some(range) = behind.first_mut() else { return };
        let Some(around) = before.get(range.around) else { continue };
        if changed.get(range.around) != Some(&true) {
            continue;
        }
        let cover = around.trie.lookup(&range.block).1.or(around.cover);
        if cover != range.cover {
            range.cover = cover;
            if let Some(changed) = changed.get_mut(position) {
                *changed = true;
            }
        }
    }
}
