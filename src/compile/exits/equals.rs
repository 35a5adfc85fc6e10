//! Attachments that equal routes of transit gateways lead to (PT-15).

use std::sync::Arc;

use hashbrown::HashMap;

use crate::tables::AttachmentIndex;

type Set = Arc<[AttachmentIndex]>;

/// Numbers for sets of attachments. They are given out as routes need them, and taken back all at once.
#[derive(Default)]
pub(super) struct Equals {
    sets: Vec<Set>,
    numbers: HashMap<Set, u32>,
}

impl Equals {
    /// The number of a set.
    pub(super) fn number(&mut self, set: &[AttachmentIndex]) -> u32 {
        if let Some(number) = self.numbers.get(set) {
            return *number;
        }
        let (set, number) = (Set::from(set), self.sets.len() as u32);
        self.sets.push(Arc::clone(&set));
        self.numbers.insert(set, number);
        number
    }

    /// The sets, by number.
    pub(super) fn sets(&self) -> Arc<[Set]> {
        self.sets.as_slice().into()
    }

    /// Whether so many have come up that most of them are likely forgotten: time to number those that are left anew.
    pub(super) fn are_many(&self) -> bool {
        self.sets.len() > 1024
    }
}
