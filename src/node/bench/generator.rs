//! Traffic: a null device's buffers, with the bytes that make each packet another one written in.

use std::sync::Arc;

use crate::{
    dpdk::{Mbuf, RxQueue},
    node::{traffic::Stamp, worker::Receive},
    packet::Buffer,
    pipeline::Burst,
};

/// A receive queue of stamped packets.
pub(super) struct Generator {
    queue: RxQueue,
    stamp: Arc<Stamp>,
    next: usize,
}

impl Generator {
    /// Stamps what a null device's queue hands out.
    pub(super) fn new(queue: RxQueue, stamp: Arc<Stamp>) -> Self {
        Self { queue, stamp, next: 0 }
    }
}

impl Receive<Mbuf> for Generator {
    #[inline]
    fn receive(&mut self, burst: &mut Burst<Mbuf>, most: usize) {
        let first = burst.len();
        self.queue.burst_at_most(burst, most);
        for mbuf in burst.iter_mut().skip(first) {
            self.next = self.stamp.write(mbuf.data_mut(), self.next);
        }
    }
}
