//! What a worker's table of NAT bindings has done, where the management thread reads it.

use crate::{flow::nat::NatStats, pipeline::Counter};

/// [`NatStats`], written by the worker, read by the management thread.
#[derive(Default)]
pub struct NatCounters {
    capacity: Counter,
    bindings: Counter,
    created: Counter,
    expired: Counter,
    refused_ports: Counter,
    refused_full: Counter,
    refused_no_state: Counter,
    unsolicited: Counter,
}

impl NatCounters {
    /// Publishes. For the worker only.
    #[inline]
    pub fn publish(&self, stats: &NatStats) {
        self.capacity.set(stats.capacity);
        self.bindings.set(stats.bindings);
        self.created.set(stats.created);
        self.expired.set(stats.expired);
        self.refused_ports.set(stats.refused_ports);
        self.refused_full.set(stats.refused_full);
        self.refused_no_state.set(stats.refused_no_state);
        self.unsolicited.set(stats.unsolicited);
    }

    /// What was published last; each number by itself.
    pub fn read(&self) -> NatStats {
        NatStats {
            capacity: self.capacity.get(),
            bindings: self.bindings.get(),
            created: self.created.get(),
            expired: self.expired.get(),
            refused_ports: self.refused_ports.get(),
            refused_full: self.refused_full.get(),
            refused_no_state: self.refused_no_state.get(),
            unsolicited: self.unsolicited.get(),
        }
    }
}
