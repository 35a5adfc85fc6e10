//! Which groups ENIs are members of.

use std::sync::Arc;

/// A security group: a number that differs between the groups of a snapshot, of whichever VPCs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupIndex(pub u32);

/// A set of groups, by its position in [`GroupSets`], in three bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSetIndex([u8; 3]);

impl GroupSetIndex {
    /// No groups.
    pub const EMPTY: Self = Self([0; 3]);

    /// The set at a position; `None` from 2²⁴ on.
    pub const fn new(position: u32) -> Option<Self> {
        match position.to_le_bytes() {
            [a, b, c, 0] => Some(Self([a, b, c])),
            _ => None,
        }
    }

    const fn position(self) -> usize {
        let [a, b, c] = self.0;
        u32::from_le_bytes([a, b, c, 0]) as usize
    }
}

/// The sets of groups that ENIs are members of, each once; the first is empty.
#[derive(Default)]
pub struct GroupSets(Box<[Arc<[GroupIndex]>]>);

impl GroupSets {
    /// Sets by their positions.
    pub fn new(sets: impl IntoIterator<Item = Arc<[GroupIndex]>>) -> Self {
        Self(sets.into_iter().collect())
    }

    /// The groups of a set; none of one that is not there.
    #[inline]
    pub fn get(&self, set: GroupSetIndex) -> &[GroupIndex] {
        self.0.get(set.position()).map_or(&[], |groups| groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_found_by_its_number_and_no_other_number_finds_one() {
        let group = GroupIndex(7);
        let sets = GroupSets::new([Arc::from([]), Arc::from([group])]);
        assert_eq!(sets.get(GroupSetIndex::EMPTY), []);
        assert_eq!(sets.get(GroupSetIndex::new(1).unwrap()), [group]);
        assert_eq!(sets.get(GroupSetIndex::new(0xff_ffff).unwrap()), []);
        assert_eq!(GroupSetIndex::new(1 << 24), None);
    }
}
