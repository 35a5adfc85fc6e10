//! The stays of ENIs at this node's ports, numbered.

use hashbrown::{HashMap, HashSet};

use crate::model::{Eni, Id};

/// The ENIs that are plugged in here, with the port and the number of their stay there. A number is never used again, so that
/// what is remembered of a stay is never taken for another's (SEC-11).
#[derive(Default)]
pub(super) struct Stays {
    by_eni: HashMap<Id, (Box<str>, u32)>,
    last: u32,
}

impl Stays {
    /// Notes an ENI, whose stay begins if it was not at this port.
    pub(super) fn note(&mut self, eni: &Eni, host: &str) {
        let Some(at) = eni.attachment.as_ref().filter(|at| *at.host == *host) else { return };
        if self.by_eni.get(&eni.id).is_none_or(|(port, _)| **port != *at.port) {
            self.last += 1;
            self.by_eni.insert(eni.id.clone(), (Box::from(&*at.port), self.last));
        }
    }

    /// Forgets the ENIs that have left.
    pub(super) fn retain(&mut self, here: &HashSet<Id>) {
        self.by_eni.retain(|id, _| here.contains(id));
    }

    /// The number of an ENI's stay.
    pub(super) fn number(&self, eni: &str) -> Option<u32> {
        self.by_eni.get(eni).map(|(_, number)| *number)
    }
}
