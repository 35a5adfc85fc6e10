//! Ways out of an ENI's VPC, by number: what [`super::Hot`] has no room for, and many connections have in common.

use std::num::NonZeroU16;

use crate::packet::Vni;

/// What a packet that leaves its ENI's VPC, or goes where a longer route leads, meets beside what [`super::Way`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The VPC that it is delivered in.
    pub vni: Vni,
    /// The largest IP packet that the way carries, in bytes.
    pub mtu: u16,
    /// As in [`FlowRecord`](crate::flowlogs::FlowRecord).
    pub path: u8,
}

/// Passages that are remembered at once: what is decided about the packets of more is not.
const PASSAGES: usize = 1024;
/// Places that a passage may have.
const PROBES: usize = 4;

/// Those of a worker. A number means the same as long as decisions are followed that have it: they are forgotten together, with the
/// tables that both were made under.
pub(super) struct Passages(Box<[Option<Passage>]>);

impl Passages {
    pub(super) fn new() -> Self {
        Self(vec![None; PASSAGES].into())
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.fill(None);
    }

    /// The number of a passage; `None` if there is no room for another one.
    pub(super) fn number(&mut self, passage: &Passage) -> Option<NonZeroU16> {
        let Passage { vni, mtu, path } = *passage;
        let hash = (u64::from(vni.get()) << 24 | u64::from(mtu) << 8 | u64::from(path))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let first = (hash >> 32) as usize;
        (first..first + PROBES).map(|place| place % PASSAGES).find_map(|place| {
            let at = self.0.get_mut(place)?;
            let same = *at.get_or_insert(*passage) == *passage;
            same.then_some(NonZeroU16::MIN.saturating_add(place as u16))
        })
    }

    /// The passage with a number.
    #[inline]
    pub(super) fn get(&self, number: NonZeroU16) -> Option<&Passage> {
        self.0.get(usize::from(number.get()) - 1)?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(vni: u32, mtu: u16) -> Passage {
        Passage { vni: Vni::new(vni).unwrap(), mtu, path: 1 }
    }

    #[test]
    fn a_passage_has_one_number_and_a_number_one_passage() {
        let mut passages = Passages::new();
        let all: Vec<_> = (1..200).flat_map(|vni| [8500, 1450].map(|mtu| passage(vni, mtu))).collect();
        let numbers: Vec<_> = all.iter().map(|passage| passages.number(passage)).collect();
        for (passage, number) in all.iter().zip(&numbers) {
            assert_eq!(passages.number(passage), *number);
            assert_eq!(number.and_then(|number| passages.get(number)), number.map(|_| passage));
        }
        // Not many of so few have no room.
        assert!(numbers.iter().filter(|number| number.is_none()).count() < 20, "{numbers:?}");
    }

    #[test]
    fn there_is_an_end_of_them_and_a_new_beginning() {
        let mut passages = Passages::new();
        let numbered = (1..5000).filter(|&vni| passages.number(&passage(vni, 1500)).is_some()).count();
        assert!((PASSAGES / 2..=PASSAGES).contains(&numbered), "{numbered}");
        passages.clear();
        assert!(passages.number(&passage(7000, 1500)).is_some());
    }
}
