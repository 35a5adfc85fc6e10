//! The receive and transmit queues of a port: the packet path.

use std::{cell::Cell, marker::PhantomData, sync::Arc};

use arrayvec::ArrayVec;

use super::{Mbuf, port::PortInner, sys};
use crate::packet::Buffer;

/// The longest burst that is asked of a device at once.
const LONGEST: usize = u16::MAX as usize;

/// A receive queue of a started [`Port`](super::Port). It has one owner, which may be another thread than took it, and
/// keeps the port running.
#[derive(Debug)]
pub struct RxQueue(Queue);

/// A transmit queue of a started [`Port`](super::Port). It has one owner, which may be another thread than took it, and
/// keeps the port running.
#[derive(Debug)]
pub struct TxQueue {
    queue: Queue,
    /// Whether the device sends frames in several pieces.
    segments: bool,
}

#[derive(Debug)]
struct Queue {
    port_id: u16,
    queue_id: u16,
    port: Arc<PortInner>,
    /// DPDK's queues are not safe for two threads at once.
    _not_sync: PhantomData<Cell<()>>,
}

impl Queue {
    const fn new(port: Arc<PortInner>, port_id: u16, queue_id: u16) -> Self {
        Self { port_id, queue_id, port, _not_sync: PhantomData }
    }
}

impl RxQueue {
    /// The one owner of a queue.
    pub(super) const fn new(port: Arc<PortInner>, port_id: u16, queue_id: u16) -> Self {
        Self(Queue::new(port, port_id, queue_id))
    }

    /// Appends what has been received to `out`, as much as there is room for; returns how many frames that is.
    #[inline]
    pub fn burst<const N: usize>(&mut self, out: &mut ArrayVec<Mbuf, N>) -> usize {
        self.burst_at_most(out, N)
    }

    /// Like [`RxQueue::burst`], with at most `most` frames.
    #[inline]
    pub fn burst_at_most<const N: usize>(&mut self, out: &mut ArrayVec<Mbuf, N>, most: usize) -> usize {
        let len = out.len();
        let n = out.remaining_capacity().min(most).min(LONGEST);
        // SAFETY: the port is started and `self` the queue's only user; `n` pointers fit behind the first `len`, an
        // `Mbuf` is the pointer it wraps, and the device gives each mbuf away with its only reference.
        unsafe {
            let received = sys::warren_rx_burst(
                self.0.port_id,
                self.0.queue_id,
                out.as_mut_ptr().add(len).cast(),
                n as u16,
            );
            out.set_len(len + received as usize);
            received as usize
        }
    }

    /// The port's number.
    pub const fn port_id(&self) -> u16 {
        self.0.port_id
    }

    /// The queue's number within its port.
    pub const fn queue_id(&self) -> u16 {
        self.0.queue_id
    }

    /// The device string of the queue's port.
    pub fn device(&self) -> &str {
        self.0.port.device()
    }
}

impl TxQueue {
    /// The one owner of a queue.
    pub(super) const fn new(port: Arc<PortInner>, port_id: u16, queue_id: u16, segments: bool) -> Self {
        Self { queue: Queue::new(port, port_id, queue_id), segments }
    }

    /// Sends the frames of `packets`, first to last, as far as the queue has room, and removes those from it; returns
    /// how many. The rest stays, in order: whether to try again, keep or drop it is the caller's choice. Chained frames
    /// are made one piece where the device does not send several; one for which its first buffer has no room is never
    /// sent.
    #[inline]
    pub fn burst<const N: usize>(&mut self, packets: &mut ArrayVec<Mbuf, N>) -> usize {
        let len = packets.len();
        let ready = if self.segments { len } else { linearize(packets) };
        // SAFETY: the port is started and `self` the queue's only user; `packets` holds `len` pointers to mbufs that it
        // owns. The device takes over the first `sent`: the others move to the front, and the length leaves those out.
        unsafe {
            let first = packets.as_mut_ptr();
            packets.set_len(0);
            let asked = ready.min(LONGEST) as u16;
            let sent = usize::from(sys::warren_tx_burst(
                self.queue.port_id,
                self.queue.queue_id,
                first.cast(),
                asked,
            ));
            if sent < len {
                first.copy_from(first.add(sent), len - sent);
            }
            packets.set_len(len - sent);
            sent
        }
    }

    /// The port's number.
    pub const fn port_id(&self) -> u16 {
        self.queue.port_id
    }

    /// The queue's number within its port.
    pub const fn queue_id(&self) -> u16 {
        self.queue.queue_id
    }

    /// The device string of the queue's port.
    pub fn device(&self) -> &str {
        self.queue.port.device()
    }
}

/// Makes frames one piece each, first to last; returns how many frames are, before the first that can't be.
#[inline]
fn linearize(packets: &mut [Mbuf]) -> usize {
    packets.iter_mut().position(|packet| !packet.linearize()).unwrap_or(packets.len())
}
