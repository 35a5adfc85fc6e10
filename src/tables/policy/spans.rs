//! Which rule matches which traffic: lists of disjoint ranges, one for all peers with the same rules.

use std::{cmp::Reverse, collections::BinaryHeap};

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::RuleIndex;
use crate::model::Traffic;

/// Traffic as a number: the protocol, then the port.
#[inline]
pub(super) fn key(protocol: u8, port: u16) -> u32 {
    u32::from(protocol) << 16 | u32::from(port)
}

/// Traffic of consecutive [`key`]s, both ends included.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrafficRange {
    first: u32,
    last: u32,
}

impl TrafficRange {
    /// That of a rule.
    pub(super) fn of(traffic: Traffic) -> Self {
        let ports = |protocol, from, to| Self { first: key(protocol, from), last: key(protocol, to) };
        match traffic {
            Traffic::All => Self { first: 0, last: key(u8::MAX, u16::MAX) },
            Traffic::Ports { protocol, from, to } => ports(protocol, from, to),
            Traffic::Icmp { protocol, kind: Some(kind), code: Some(code) } => {
                let port = u16::from_be_bytes([kind, code]);
                ports(protocol, port, port)
            }
            Traffic::Icmp { protocol, kind: Some(kind), code: None } => {
                ports(protocol, u16::from_be_bytes([kind, 0]), u16::from_be_bytes([kind, u8::MAX]))
            }
            Traffic::Icmp { protocol, kind: None, .. } | Traffic::Protocol(protocol) => {
                ports(protocol, 0, u16::MAX)
            }
        }
    }

    /// Whether traffic is in it.
    #[inline]
    pub(super) fn holds(self, traffic: u32) -> bool {
        (self.first..=self.last).contains(&traffic)
    }

    /// Whether it has everything of a protocol.
    pub(super) fn holds_all_of(self, protocol: u8) -> bool {
        self.first <= key(protocol, 0) && key(protocol, u16::MAX) <= self.last
    }
}

/// A list of [`Lists`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ListIndex(u32);

impl ListIndex {
    /// The list that is empty.
    pub(super) const EMPTY: Self = Self(0);
}

/// The traffic that a rule matches and no rule before it does.
#[derive(Clone, Copy)]
struct Span {
    first: u32,
    last: u32,
    rule: RuleIndex,
}

/// Lists of disjoint spans in order.
#[derive(Default)]
pub(super) struct Lists {
    spans: Box<[Span]>,
    /// Where in `spans` each list ends and the next begins.
    ends: Box<[u32]>,
}

impl Lists {
    /// The rule of a list that matches the traffic.
    #[inline]
    pub(super) fn find(&self, ListIndex(list): ListIndex, traffic: u32) -> Option<RuleIndex> {
        let start = *self.ends.get((list as usize).checked_sub(1)?)?;
        let end = *self.ends.get(list as usize)?;
        let spans = self.spans.get(start as usize..end as usize)?;
        let behind = spans.partition_point(|span| span.first <= traffic);
        let span = spans.get(behind.checked_sub(1)?)?;
        (traffic <= span.last).then_some(span.rule)
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.spans) + size_of_val(&*self.ends)
    }
}

/// Makes [`Lists`].
pub(super) struct ListsBuilder<'a> {
    /// The traffic of each rule.
    ranges: &'a [TrafficRange],
    known: HashMap<Box<[RuleIndex]>, ListIndex, FxBuildHasher>,
    spans: Vec<Span>,
    ends: Vec<u32>,
}

impl<'a> ListsBuilder<'a> {
    pub(super) fn new(ranges: &'a [TrafficRange]) -> Self {
        Self { ranges, known: HashMap::default(), spans: Vec::new(), ends: vec![0] }
    }

    /// The list of some rules, in order.
    pub(super) fn list(&mut self, rules: &[RuleIndex]) -> ListIndex {
        if rules.is_empty() {
            return ListIndex::EMPTY;
        }
        if let Some(known) = self.known.get(rules) {
            return *known;
        }
        let list = ListIndex(self.ends.len() as u32);
        let range_of = |rule: &RuleIndex| Some((*self.ranges.get(rule.0 as usize)?, *rule));
        flatten(rules.iter().filter_map(range_of).collect(), &mut self.spans);
        self.ends.push(self.spans.len() as u32);
        self.known.insert(rules.into(), list);
        list
    }

    pub(super) fn finish(self) -> Lists {
        Lists { spans: self.spans.into(), ends: self.ends.into() }
    }
}

/// Makes disjoint spans of ranges that overlap: of several rules, the first has the traffic.
fn flatten(mut ranges: Vec<(TrafficRange, RuleIndex)>, spans: &mut Vec<Span>) {
    let mut bounds: Vec<u32> = ranges.iter().flat_map(|(range, _)| [range.first, range.last + 1]).collect();
    bounds.sort_unstable();
    bounds.dedup();
    ranges.sort_unstable_by_key(|(range, _)| range.first);
    let mut ahead = ranges.into_iter().peekable();
    // The rules whose ranges have begun, the first rule on top.
    let mut begun = BinaryHeap::new();
    let mut open: Option<Span> = None;
    for (&first, &behind) in bounds.iter().zip(bounds.iter().skip(1)) {
        while let Some((range, rule)) = ahead.next_if(|(range, _)| range.first == first) {
            begun.push(Reverse((rule, range.last)));
        }
        while begun.peek().is_some_and(|Reverse((_, last))| *last < first) {
            begun.pop();
        }
        let rule = begun.peek().map(|Reverse((rule, _))| *rule);
        match (&mut open, rule) {
            (Some(span), Some(rule)) if span.rule == rule && span.last + 1 == first => span.last = behind - 1,
            (_, rule) => {
                spans.extend(open.take());
                open = rule.map(|rule| Span { first, last: behind - 1, rule });
            }
        }
    }
    spans.extend(open);
}
