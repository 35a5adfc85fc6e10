//! Traffic: a null device's buffers, with the bytes that make each packet another one written in.

use std::sync::Arc;

use crate::{
    dpdk::{Mbuf, RxQueue},
    node::{traffic::Stamp, worker::Receive},
    packet::Buffer,
    pipeline::Burst,
};

/// What a generator's packets are.
#[derive(Clone)]
pub(super) struct Traffic {
    stamp: Arc<Stamp>,
    /// The TCP flags of a burst's packets: those of the first go to as many connections, the next burst's to the same ones, and so
    /// on; then it is the turn of the next connections. Empty: one packet of each, with the flags of the stamp.
    rounds: &'static [u8],
}

impl Traffic {
    /// Stamped packets.
    pub(super) fn of(stamp: Stamp) -> Self {
        Self { stamp: Arc::new(stamp), rounds: &[] }
    }

    /// Of connections, a packet with each of the flags.
    pub(super) fn in_rounds(stamp: Stamp, rounds: &'static [u8]) -> Self {
        Self { rounds, ..Self::of(stamp) }
    }

    /// What it is stamped with.
    pub(super) fn stamp(&self) -> &Stamp {
        &self.stamp
    }
}

/// A receive queue of such packets.
pub(super) struct Generator {
    queue: RxQueue,
    traffic: Traffic,
    next: usize,
    round: usize,
}

impl Generator {
    /// Stamps what a null device's queue hands out.
    pub(super) fn new(queue: RxQueue, traffic: Traffic) -> Self {
        Self { queue, traffic, next: 0, round: 0 }
    }
}

impl Receive<Mbuf> for Generator {
    #[inline]
    fn receive(&mut self, burst: &mut Burst<Mbuf>, most: usize) {
        let first = burst.len();
        self.queue.burst_at_most(burst, most);
        let Traffic { stamp, rounds } = &self.traffic;
        let begun = self.next;
        let flags = rounds.get(self.round);
        for mbuf in burst.iter_mut().skip(first) {
            self.next = stamp.write(mbuf.data_mut(), self.next);
            if let Some(&flags) = flags {
                stamp.write_flags(mbuf.data_mut(), flags);
            }
        }
        if flags.is_some() {
            self.round = (self.round + 1) % rounds.len();
            self.next = if self.round == 0 { self.next } else { begun };
        }
    }
}
