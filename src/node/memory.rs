//! How much memory a node's packet buffers take.

use super::{
    config::{HostConfig, PortConfig},
    handover, held,
    worker::POSTED,
};
use crate::{
    packet::HEADROOM,
    pipeline::{EARLY, MAX_BURST},
};

/// Buffers that a thread keeps for itself.
pub const POOL_CACHE: u32 = 256;

/// The buffers of a node: each NUMA node that has devices gets a pool of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// How many.
    pub count: u32,
    /// Bytes of each, headroom included.
    pub room: u16,
}

impl Buffers {
    /// Those of a host file, in a node with so many workers.
    pub fn of(config: &HostConfig, workers: usize) -> Self {
        Self { count: count(config, workers), room: room(&config.ports) }
    }

    /// MiB that a node with one pool needs in hugepages, or gets in ordinary pages.
    pub fn mib(self) -> u32 {
        // A buffer's own structure, the pool's bookkeeping and the drivers' rings come on top.
        let pool = u64::from(self.count) * (u64::from(self.room) + 320);
        (pool * 5 / 4 / (1 << 20)) as u32 + 128
    }
}

/// Bytes of a buffer: the headroom, and the longest frame of any port with a tag, in one piece. net_af_packet wants room
/// for a whole frame of its ring, and some drivers refuse less than 2 KiB.
fn room(ports: &[PortConfig]) -> u16 {
    let mtu = ports.iter().map(|port| port.mtu).max().unwrap_or(0);
    (HEADROOM + ring_frame(mtu)) as u16
}

/// Bytes of the longest frame that a virtual machine sends.
const RUN: usize = 0xffff + 18;

/// Buffers that can be in use at once: descriptors of all queues, bursts at work, rings between threads, caches, runs of segments.
fn count(config: &HostConfig, workers: usize) -> u32 {
    let descriptors: usize =
        config.ports.iter().map(|port| 2 * port.queues_for(workers) * usize::from(port.descriptors)).sum();
    let handed = handover::waiting(workers) + POSTED;
    let at_work = workers * ((config.ports.len() + 2) * MAX_BURST + handed + held::DATAGRAMS * EARLY);
    // One less than a power of two is the size that the pool's ring wastes least on.
    // Of a vhost port: bursts of runs of TCP segments, each as long as an IP packet can be.
    let pieces = RUN.div_ceil(usize::from(room(&config.ports)) - HEADROOM) + 1;
    let machines = config.ports.iter().filter(|port| port.vhost.is_some());
    let runs: usize = machines.map(|port| port.queues_for(workers) * config.workers.burst * pieces).sum();
    ((descriptors + at_work + runs + (workers + 1) * 2 * POOL_CACHE as usize).next_power_of_two() - 1) as u32
}

/// Bytes that a frame of a port of this MTU takes in a ring of net_af_packet: the kernel's header of 66 bytes, the frame
/// with a tag; in whole KiB, so that four of them fill pages without a gap, which the driver takes for granted.
pub fn ring_frame(mtu: u16) -> usize {
    const KERNEL_HEADER: usize = 66;
    const ETHERNET_AND_TAG: usize = 18;
    (KERNEL_HEADER + ETHERNET_AND_TAG + usize::from(mtu)).next_multiple_of(1024).max(2048)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_frame_holds_the_mtu_and_fits_a_buffer() {
        for mtu in [68, 1500, 1964, 1965, 9001, 9100, 9600] {
            let frame = ring_frame(mtu);
            assert!(frame >= usize::from(mtu) + 84);
            // The kernel wants whole pages in a block and 16-byte alignment in a frame.
            assert!((frame * 4).is_multiple_of(4096) && frame.is_multiple_of(16));
        }
    }
}
