//! From worker to worker: a ring for each pair, with one that writes and one that reads.
//!
//! Neither ever waits for the other, and none of their accesses locks the bus. A ring that is full costs the frames, by name.

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::{
    packet::Buffer,
    pipeline::{AtEni, AtGateway},
    tables::PortIndex,
};

/// Frames that wait for a worker at most, from all others together, where there are not so many that each has its least.
const WAITING: usize = 4096;
/// Frames that wait from one worker for another, at most and at least. More would only leave the caches before they are taken.
const MOST: usize = 1024;
const LEAST: usize = 64;
/// Frames that are taken together: as many as can be on their way between two caches while others are worked on.
const TOGETHER: usize = 32;

/// A frame for another worker.
pub(super) enum Handed<B> {
    /// To be taken on at an ENI.
    Eni(AtEni, B),
    /// To be sent out of a port.
    Transmit(PortIndex, B),
    /// To be taken on in a gateway.
    Gateway(AtGateway, B),
}

impl<B> Handed<B> {
    fn frame(&self) -> &B {
        let (Self::Eni(_, frame) | Self::Transmit(_, frame) | Self::Gateway(_, frame)) = self;
        frame
    }

    /// Where a drop is counted, and the frame.
    pub(super) fn at(&self) -> (PortIndex, &B) {
        let (Self::Eni(AtEni { port, .. }, _)
        | Self::Transmit(port, _)
        | Self::Gateway(AtGateway { port, .. }, _)) = self;
        (*port, self.frame())
    }
}

/// A worker's ends of the rings.
pub(super) struct Mailbox<B> {
    /// To the others, by worker.
    pub(super) to: Outbox<B>,
    /// From the others.
    pub(super) from: Inbox<B>,
}

impl<B> Default for Mailbox<B> {
    fn default() -> Self {
        Self { to: Outbox(Vec::new()), from: Inbox(Vec::new()) }
    }
}

/// Those of all of so many workers.
pub(super) fn mailboxes<B>(workers: usize) -> Vec<Mailbox<B>> {
    let mut all: Vec<Mailbox<B>> = (0..workers).map(|_| Mailbox::default()).collect();
    for giver in 0..workers {
        for taker in 0..workers {
            let (to, from) = (giver != taker).then(|| RingBuffer::new(ring(workers))).unzip();
            all[giver].to.0.push(to);
            all[taker].from.0.extend(from.map(|ring| Given { ring, left: 0 }));
        }
    }
    all
}

/// Frames that fit a ring between two of so many workers.
fn ring(workers: usize) -> usize {
    (WAITING / workers.max(1)).clamp(LEAST, MOST)
}

/// Frames that can wait for one of so many workers.
pub(super) fn waiting(workers: usize) -> usize {
    workers.saturating_sub(1) * ring(workers)
}

/// Where a worker gives.
pub(super) struct Outbox<B>(Vec<Option<Producer<Handed<B>>>>);

impl<B> Outbox<B> {
    /// Gives a frame to a worker, which finds it in its next round; returns it where that one's ring is full, or there is no such.
    #[inline]
    pub(super) fn give(&mut self, worker: usize, item: Handed<B>) -> Result<(), Handed<B>> {
        let Some(Some(ring)) = self.0.get_mut(worker) else { return Err(item) };
        ring.push(item).map_err(|PushError::Full(item)| item)
    }
}

/// Where a worker takes.
pub(super) struct Inbox<B>(Vec<Given<B>>);

impl<B: Buffer> Inbox<B> {
    /// Looks what is there, and asks for what the first buffers say of themselves, which another processor has.
    #[inline]
    pub(super) fn look(&mut self) {
        for given in &mut self.0 {
            given.look();
        }
    }

    /// Asks for what is in the first frames, some time after [`Inbox::look`].
    #[inline]
    pub(super) fn look_inside(&mut self) {
        for given in &mut self.0 {
            given.ask_for_frames();
        }
    }

    /// By worker, what it has given.
    pub(super) fn by_giver(&mut self) -> impl Iterator<Item = &mut Given<B>> {
        self.0.iter_mut()
    }
}

/// What a worker has given.
pub(super) struct Given<B> {
    ring: Consumer<Handed<B>>,
    /// Frames of those that were there at the last look. Others come while these are worked on.
    left: usize,
}

impl<B: Buffer> Given<B> {
    #[inline]
    fn look(&mut self) {
        self.left = self.ring.slots();
        if self.left > 0 {
            self.ask_for_heads(0);
        }
    }

    /// Takes the next frames of those that were there at the last look.
    #[inline]
    pub(super) fn take(&mut self) -> Option<impl Iterator<Item = Handed<B>>> {
        let count = self.left.min(TOGETHER);
        if count == 0 {
            return None;
        }
        self.ask_for_frames();
        self.ask_for_heads(count);
        self.left -= count;
        Some(self.ring.read_chunk(count).ok()?.into_iter())
    }

    /// Asks for what is in the next frames, whose heads have been asked for.
    #[inline]
    fn ask_for_frames(&mut self) {
        let Ok(some) = self.ring.read_chunk(self.left.min(TOGETHER)) else { return };
        let (first, rest) = some.as_slices();
        first.iter().chain(rest).for_each(|item| item.frame().prefetch_to_write());
    }

    /// Asks for the heads of the frames behind the next `skip`.
    #[inline]
    fn ask_for_heads(&mut self, skip: usize) {
        let Ok(some) = self.ring.read_chunk(self.left.min(skip + TOGETHER)) else { return };
        let (first, rest) = some.as_slices();
        first.iter().chain(rest).skip(skip).for_each(|item| item.frame().prefetch_head());
    }
}

#[cfg(test)]
mod tests;
