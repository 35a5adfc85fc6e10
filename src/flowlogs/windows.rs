//! The aggregation intervals of a log (FL-3).

use std::{collections::VecDeque, time::Duration};

use hashbrown::HashMap;

use super::{FlowKey, FlowRecord, Sums};

/// How long after its end an interval still takes the records of packets in it.
pub const GRACE: Duration = Duration::from_secs(5);

/// The flows of an ENI in an interval.
pub(super) type Flows = HashMap<FlowKey, Sums>;

/// What there is of an ENI in an interval.
#[derive(Default)]
pub(super) struct Part {
    pub(super) flows: Flows,
    /// Whether there has been a flow, perhaps taken out since.
    pub(super) seen: bool,
    /// Whether records may have been lost.
    pub(super) lost: bool,
}

/// An interval at its end, by ENI.
pub(super) struct Closed {
    pub(super) start: Duration,
    pub(super) end: Duration,
    pub(super) parts: HashMap<u32, Part>,
}

/// The intervals that still take records: the current one, and for a while the one before. They start at multiples of
/// their length since the node's start.
///
/// A record belongs to the interval of its first packet; one that comes too late for it, to the oldest that is left.
pub(super) struct Windows {
    interval: Duration,
    /// The number of the oldest.
    oldest: u64,
    /// From the oldest; at least one.
    open: VecDeque<HashMap<u32, Part>>,
}

impl Windows {
    pub(super) fn new(interval: Duration, now: Duration) -> Self {
        Self { interval, oldest: number(now, interval), open: VecDeque::from([HashMap::new()]) }
    }

    /// Counts a record. Returns whether it is the first of its flow in the interval.
    pub(super) fn add(&mut self, record: &FlowRecord, sums: Sums) -> bool {
        let behind = number(record.start, self.interval).saturating_sub(self.oldest) as usize;
        let newest = self.open.len() - 1;
        let part = self.open[behind.min(newest)].entry(record.eni).or_default();
        part.seen = true;
        let mut first = false;
        part.flows.entry(record.key()).and_modify(|known| known.add(sums)).or_insert_with(|| {
            first = true;
            sums
        });
        first
    }

    /// Records of an ENI have been lost, of any of the intervals.
    pub(super) fn lose(&mut self, eni: u32) {
        for window in &mut self.open {
            window.entry(eni).or_default().lost = true;
        }
    }

    /// Starts the intervals that have begun by `now`; returns one that takes no more records, if there is one.
    pub(super) fn advance(&mut self, now: Duration) -> Option<Closed> {
        while self.oldest + (self.open.len() as u64) <= number(now, self.interval) {
            self.open.push_back(HashMap::new());
        }
        if now < self.start(self.oldest + 1) + GRACE { None } else { self.close() }
    }

    /// Ends all, whether they are over or not.
    pub(super) fn end(mut self) -> Vec<Closed> {
        std::iter::from_fn(|| self.close()).collect()
    }

    fn close(&mut self) -> Option<Closed> {
        let parts = self.open.pop_front()?;
        let start = self.start(self.oldest);
        self.oldest += 1;
        Some(Closed { start, end: start + self.interval, parts })
    }

    /// Takes out the flows counted so far, by ENI, and leaves the intervals open.
    pub(super) fn take_flows(&mut self) -> Vec<(u32, Flows)> {
        let parts = self.open.iter_mut().flatten();
        let flows = parts.map(|(&eni, part)| (eni, std::mem::take(&mut part.flows)));
        flows.filter(|(_, flows)| !flows.is_empty()).collect()
    }

    /// When the oldest started.
    pub(super) fn oldest(&self) -> Duration {
        self.start(self.oldest)
    }

    fn start(&self, number: u64) -> Duration {
        Duration::from_secs(self.interval.as_secs() * number)
    }
}

fn number(time: Duration, interval: Duration) -> u64 {
    time.as_secs() / interval.as_secs().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flowlogs::testing::record;

    fn add(windows: &mut Windows, seconds: u64) -> bool {
        let at = Duration::from_secs(seconds);
        let record = FlowRecord { start: at, end: at, ..record(1) };
        windows.add(&record, record.sums(Duration::ZERO))
    }

    fn packets(closed: &Closed) -> u64 {
        closed.parts.values().flat_map(|part| part.flows.values()).map(|sums| sums.packets).sum()
    }

    #[test]
    fn a_flow_is_counted_by_interval_and_late_records_in_the_next() {
        // FL-3.
        let seconds = Duration::from_secs;
        let mut windows = Windows::new(seconds(60), seconds(70));
        let firsts = [70, 119, 3].map(|at| add(&mut windows, at));
        assert_eq!(firsts, [true, false, false]);
        assert!(windows.advance(seconds(121)).is_none(), "records of its packets may be on their way");
        let firsts = [121, 110, 500].map(|at| add(&mut windows, at));
        assert_eq!(firsts, [true, false, false]);
        let closed = windows.advance(seconds(125)).unwrap();
        assert_eq!((closed.start, closed.end, packets(&closed)), (seconds(60), seconds(120), 4));
        assert!(!add(&mut windows, 110), "too late for its interval");
        assert!(windows.advance(seconds(125)).is_none());
        let closed = windows.advance(seconds(400)).unwrap();
        assert_eq!((closed.start, packets(&closed)), (seconds(120), 3));
        let starts: Vec<_> = std::iter::from_fn(|| windows.advance(seconds(400))).collect();
        assert_eq!(starts.iter().map(|closed| closed.start.as_secs()).collect::<Vec<_>>(), [180, 240, 300]);
        assert_eq!(windows.oldest(), seconds(360));
    }

    #[test]
    fn what_is_taken_out_early_still_counts_as_seen() {
        let mut windows = Windows::new(Duration::from_secs(60), Duration::ZERO);
        add(&mut windows, 1);
        windows.lose(2);
        let taken = windows.take_flows();
        assert_eq!((taken.len(), taken[0].0), (1, 1));
        assert!(add(&mut windows, 2), "counted anew");
        assert_eq!(windows.take_flows().len(), 1);
        let closed = windows.end();
        let part = |eni| (closed[0].parts[&eni].seen, closed[0].parts[&eni].lost);
        assert_eq!((closed.len(), part(1), part(2)), (1, (true, false), (false, true)));
    }
}
