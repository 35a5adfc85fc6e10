//! The rules for addresses of one family.

use std::{cmp::Reverse, iter};

use super::{
    RuleIndex,
    spans::{ListIndex, Lists, ListsBuilder},
};

/// An address in host byte order.
pub(super) trait Address: Copy + Ord {
    const FIRST: Self;
    const LAST: Self;

    /// The one behind it; `None` of the last.
    fn next(self) -> Option<Self>;
}

macro_rules! address {
    ($word:ty) => {
        impl Address for $word {
            const FIRST: Self = 0;
            const LAST: Self = Self::MAX;

            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }
        }
    };
}

address!(u32);
address!(u128);

/// The rule that matches a packet.
pub(super) struct Found {
    pub(super) rule: RuleIndex,
    pub(super) everywhere: bool,
}

/// Prefixes with the rules for each.
#[derive(Default)]
pub(super) struct Prefixes<A> {
    /// The rules for all addresses.
    everywhere: ListIndex,
    /// The first address of each range: nested prefixes part the addresses into ranges.
    starts: Box<[A]>,
    /// The innermost prefix around each range, as a position in `prefixes`. Apart from `starts`, so that more of them share a
    /// cache line.
    innermost: Box<[u32]>,
    prefixes: Box<[Prefix]>,
}

struct Prefix {
    /// Its rules.
    list: ListIndex,
    /// The position of the prefix around it.
    around: u32,
}

/// The position of no prefix.
const NONE: u32 = u32::MAX;

impl<A: Address> Prefixes<A> {
    /// From the first and last address of each prefix that a rule is for.
    pub(super) fn new(mut entries: Vec<(A, A, RuleIndex)>, lists: &mut ListsBuilder<'_>) -> Self {
        // A prefix comes before those that it holds; the rules of one in order.
        entries.sort_unstable_by_key(|&(first, last, rule)| (first, Reverse(last), rule));
        let mut everywhere = ListIndex::EMPTY;
        let mut ranges = Ranges { starts: Vec::new(), innermost: Vec::new() };
        let mut prefixes = Vec::new();
        // The prefixes around the next one, the outermost first: the last address and the position of each.
        let mut around = Vec::<(A, u32)>::new();
        let position = |around: &[(A, u32)]| around.last().map_or(NONE, |(_, position)| *position);
        let mut rules = Vec::new();
        for same in entries.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let Some(&(first, last, _)) = same.first() else { continue };
            rules.clear();
            rules.extend(same.iter().map(|(_, _, rule)| *rule));
            let list = lists.list(&rules);
            if (first, last) == (A::FIRST, A::LAST) {
                everywhere = list;
                continue;
            }
            while let Some((past, _)) = around.pop_if(|(last, _)| *last < first) {
                ranges.begin(past.next(), position(&around));
            }
            let at = prefixes.len() as u32;
            prefixes.push(Prefix { list, around: position(&around) });
            around.push((last, at));
            ranges.begin(Some(first), at);
        }
        while let Some((past, _)) = around.pop() {
            ranges.begin(past.next(), position(&around));
        }
        Self {
            everywhere,
            starts: ranges.starts.into(),
            innermost: ranges.innermost.into(),
            prefixes: prefixes.into(),
        }
    }

    /// The rule for an address and traffic.
    #[inline]
    pub(super) fn find(&self, address: A, traffic: u32, lists: &Lists) -> Option<Found> {
        if let Some(rule) = lists.find(self.everywhere, traffic) {
            return Some(Found { rule, everywhere: true });
        }
        let rule = self.around(address).find_map(|list| lists.find(list, traffic))?;
        Some(Found { rule, everywhere: false })
    }

    /// The rules of each prefix around an address, the longest first.
    #[inline]
    fn around(&self, address: A) -> impl Iterator<Item = ListIndex> {
        let behind = self.starts.partition_point(|start| *start <= address);
        let mut next = self.innermost.get(behind.wrapping_sub(1)).copied().unwrap_or(NONE);
        iter::from_fn(move || {
            let prefix = self.prefixes.get(next as usize)?;
            next = prefix.around;
            Some(prefix.list)
        })
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.innermost) + size_of_val(&*self.prefixes)
    }
}

/// The ranges found so far.
struct Ranges<A> {
    starts: Vec<A>,
    innermost: Vec<u32>,
}

impl<A: Address> Ranges<A> {
    /// The addresses from `start` on have another innermost prefix. A later one for the same start wins.
    fn begin(&mut self, start: Option<A>, innermost: u32) {
        let Some(start) = start else { return };
        if self.starts.last() == Some(&start) {
            self.innermost.pop();
        } else {
            self.starts.push(start);
        }
        self.innermost.push(innermost);
    }
}
