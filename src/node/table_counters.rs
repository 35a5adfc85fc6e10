//! What a worker's table of connections has done for each port, where the management thread reads it.

use crate::{flow::connections::PortStats, pipeline::Counter, tables::PortIndex};

/// [`PortStats`] by port, written by the worker, read by the management thread.
pub struct ConnectionCounters(Box<[OfPort]>);

#[derive(Default)]
struct OfPort {
    unanswered: Counter,
    established: Counter,
    spare: Counter,
    available: Counter,
    created: Counter,
    expired: Counter,
    evicted: Counter,
    closed: Counter,
    refused: Counter,
}

impl ConnectionCounters {
    /// Zeros for that many ports.
    pub fn new(ports: usize) -> Self {
        Self((0..ports).map(|_| OfPort::default()).collect())
    }

    /// Publishes what there is of a port. For the worker only.
    #[inline]
    pub fn publish(&self, port: PortIndex, stats: &PortStats) {
        let Some(of) = self.0.get(usize::from(port.0)) else { return };
        of.unanswered.set(stats.unanswered);
        of.established.set(stats.established);
        of.spare.set(stats.spare);
        of.available.set(stats.available);
        of.created.set(stats.created);
        of.expired.set(stats.expired);
        of.evicted.set(stats.evicted);
        of.closed.set(stats.closed);
        of.refused.set(stats.refused);
    }

    /// What was published last; each number by itself.
    pub fn read(&self, port: PortIndex) -> PortStats {
        let Some(of) = self.0.get(usize::from(port.0)) else { return PortStats::default() };
        PortStats {
            unanswered: of.unanswered.get(),
            established: of.established.get(),
            spare: of.spare.get(),
            available: of.available.get(),
            created: of.created.get(),
            expired: of.expired.get(),
            evicted: of.evicted.get(),
            closed: of.closed.get(),
            refused: of.refused.get(),
        }
    }
}
