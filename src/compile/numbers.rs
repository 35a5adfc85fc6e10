//! Numbers for ids.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::model::{self, Id};

/// Numbers for ids: stable while an id is in use, used again after.
#[derive(Default)]
pub(super) struct Numbers {
    by_id: HashMap<Id, u32>,
    free: Vec<u32>,
}

impl Numbers {
    /// Numbers new ids, forgets the ones that are gone.
    pub(super) fn retain<T>(&mut self, resources: &model::ById<T>) {
        let free = &mut self.free;
        self.by_id.retain(|id, number| {
            let kept = resources.contains_key(id);
            if !kept {
                free.push(*number);
            }
            kept
        });
        for id in resources.keys() {
            if !self.by_id.contains_key(id) {
                let number = self.free.pop().unwrap_or(self.by_id.len() as u32);
                self.by_id.insert(Arc::clone(id), number);
            }
        }
    }

    /// One more than the largest number in use.
    pub(super) fn len(&self) -> usize {
        self.by_id.len() + self.free.len()
    }

    /// The number of an id.
    pub(super) fn get(&self, id: &str) -> Option<u32> {
        self.by_id.get(id).copied()
    }
}
