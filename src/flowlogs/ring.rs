//! From a worker to the thread that writes flow logs.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

use crossbeam::queue::ArrayQueue;

use super::FlowRecord;
use crate::pipeline::Counter;

/// Counters of lost records: an ENI's is at its number modulo this.
const SLOTS: usize = 256;

/// The records that a worker has for the writer. Neither ever waits for the other: what does not fit is lost, and counted.
pub struct FlowRing {
    records: ArrayQueue<FlowRecord>,
    /// Written by the worker only.
    lost: Box<[Counter]>,
}

impl FlowRing {
    /// A ring for that many records, of some 100 bytes each.
    pub fn new(capacity: usize) -> Self {
        Self { records: ArrayQueue::new(capacity), lost: (0..SLOTS).map(|_| Counter::default()).collect() }
    }

    /// Hands a record over. For the worker only. Returns whether there was room.
    #[inline]
    pub fn push(&self, record: FlowRecord) -> bool {
        let taken = self.records.push(record).is_ok();
        if !taken && let Some(lost) = self.lost.get(slot(record.eni)) {
            lost.add(1);
        }
        taken
    }

    /// Whether there is no room.
    pub fn is_full(&self) -> bool {
        self.records.is_full()
    }

    /// The oldest record.
    pub fn pop(&self) -> Option<FlowRecord> {
        self.records.pop()
    }

    /// The records lost so far, by slot: an ENI's were all counted at its slot, and others' may have been, too.
    pub fn lost(&self) -> impl Iterator<Item = u64> {
        self.lost.iter().map(Counter::get)
    }
}

/// Where an ENI's lost records are counted.
pub(super) fn slot(eni: u32) -> usize {
    eni as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flowlogs::testing::record;

    #[test]
    fn what_does_not_fit_is_counted_by_eni() {
        let ring = FlowRing::new(2);
        let pushed = [7, 8, 8, 9, 8 + SLOTS as u32].map(|eni| ring.push(record(eni)));
        assert_eq!(pushed, [true, true, false, false, false]);
        assert_eq!(std::iter::from_fn(|| ring.pop()).map(|record| record.eni).collect::<Vec<_>>(), [7, 8]);
        let lost: Vec<_> = ring.lost().enumerate().filter(|(_, lost)| *lost > 0).collect();
        assert_eq!(lost, [(8, 2), (9, 1)]);
    }
}
