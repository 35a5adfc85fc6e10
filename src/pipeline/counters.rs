//! What a worker counted. One writer each, read by the management thread at any time.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Reason;
use crate::tables::PortIndex;

/// A counter with one writer: an increment is a plain load, add and store.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it. For its one writer only.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Makes it `n`: for what is no count, but how many there are. For its one writer only.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// What it has counted.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a worker counted at one port.
pub struct PortCounters {
    /// Packets received.
    pub rx_packets: Counter,
    /// Their bytes, link-layer header included.
    pub rx_bytes: Counter,
    /// Packets sent.
    pub tx_packets: Counter,
    /// Their bytes, link-layer header included.
    pub tx_bytes: Counter,
    /// Packets given to the management thread, which answers them.
    pub punted: Counter,
    /// Packets dropped, by reason: at the port they came from, or, if the receiving ENI did not take them, at its port.
    drops: [Counter; Reason::COUNT],
}

impl PortCounters {
    fn new() -> Self {
        Self {
            rx_packets: Counter::default(),
            rx_bytes: Counter::default(),
            tx_packets: Counter::default(),
            tx_bytes: Counter::default(),
            punted: Counter::default(),
            drops: std::array::from_fn(|_| Counter::default()),
        }
    }

    /// Counts a drop.
    #[inline]
    pub fn drop(&self, reason: Reason) {
        self.drop_many(reason, 1);
    }

    /// Counts some.
    #[inline]
    pub fn drop_many(&self, reason: Reason, packets: u64) {
        if let Some(counter) = self.drops.get(reason as usize) {
            counter.add(packets);
        }
    }

    /// How many packets were dropped for a reason.
    pub fn drops(&self, reason: Reason) -> u64 {
        self.drops.get(reason as usize).map_or(0, Counter::get)
    }
}

/// What a worker counted, by port.
pub struct Counters {
    ports: Box<[PortCounters]>,
    /// For a port index that is not of this node, which no code makes.
    elsewhere: PortCounters,
}

impl Counters {
    /// Zeros for that many ports.
    pub fn new(ports: usize) -> Self {
        Self { ports: (0..ports).map(|_| PortCounters::new()).collect(), elsewhere: PortCounters::new() }
    }

    /// Those of a port.
    #[inline]
    pub fn port(&self, port: PortIndex) -> &PortCounters {
        self.ports.get(usize::from(port.0)).unwrap_or(&self.elsewhere)
    }
}
