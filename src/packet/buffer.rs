//! What the pipeline asks of a packet buffer, and the buffer of tests and replays.

use arrayvec::ArrayVec;

use super::{Run, Undone};

/// Bytes that a buffer keeps free in front of a received frame: DPDK's `RTE_PKTMBUF_HEADROOM`. The longest outer header
/// (Geneve with Warren's option over IPv6, 86 bytes) fits.
pub const HEADROOM: usize = 128;

/// One frame in contiguous memory, with free space in front. An `rte_mbuf` and a [`HeapBuffer`] both are one; the
/// pipeline is monomorphised over it.
pub trait Buffer: Sized {
    /// The frame, from the first octet of its link-layer header.
    fn data(&self) -> &[u8];

    /// The frame, writable; nothing of it while it is [shared](Buffer::clone_ref).
    fn data_mut(&mut self) -> &mut [u8];

    /// Grows the frame by `n` bytes at its front and returns those bytes (of any content) together with the old frame
    /// behind them; `None`, changing nothing, where the headroom is too small, or the frame is
    /// [shared](Buffer::clone_ref).
    fn prepend(&mut self, n: usize) -> Option<&mut [u8]>;

    /// Removes `n` bytes from the front; `false`, changing nothing, if the frame is shorter or [shared](Buffer::clone_ref).
    fn trim_front(&mut self, n: usize) -> bool;

    /// Cuts the frame to its first `n` bytes; nothing if it is no longer than that or [shared](Buffer::clone_ref).
    fn truncate(&mut self, n: usize);

    /// Grows the frame at its end to `n` bytes (the new ones of any content); `false`, changing nothing, where the
    /// buffer has no room, or the frame is [shared](Buffer::clone_ref). Used by what the node answers itself, never for forwarding.
    fn extend_to(&mut self, n: usize) -> bool;

    /// An empty buffer from where this one came from, with its whole headroom; `None` where none is left.
    fn another(&self) -> Option<Self>;

    /// Another frame with the same bytes, for another receiver; `None` where no buffer is left, or of a chained frame. The
    /// bytes are shared, not copied, if this kind of buffer can: neither frame can be changed then, until the other is gone.
    fn clone_ref(&self) -> Option<Self> {
        let mut copy = self.another()?;
        copy.append_copy(self.data()).then_some(copy)
    }

    /// As many of [`Buffer::another`] as there are, at most `n`, appended to `out` as far as it has room.
    fn others<const N: usize>(&self, out: &mut ArrayVec<Self, N>, n: usize) {
        let n = n.min(out.remaining_capacity());
        out.extend((0..n).map_while(|_| self.another()));
    }

    /// As many of [`Buffer::clone_ref`] as there can be, at most `n`, appended to `out` as far as it has room.
    fn clone_refs<const N: usize>(&self, out: &mut ArrayVec<Self, N>, n: usize) {
        let n = n.min(out.remaining_capacity());
        out.extend((0..n).map_while(|_| self.clone_ref()));
    }

    /// Puts `rest` behind this frame, which is contiguous and not shared. In a kind of buffer that can be chained,
    /// [`Buffer::data`] stays this frame's own bytes. `false`, with `rest` dropped, if it does not fit.
    fn append(&mut self, rest: Self) -> bool {
        self.append_copy(rest.data())
    }

    /// Grows a contiguous frame by a copy of `bytes` at its end; `false`, changing nothing, where the buffer has no room.
    fn append_copy(&mut self, bytes: &[u8]) -> bool {
        let len = self.data().len();
        if !self.extend_to(len.saturating_add(bytes.len())) {
            return false;
        }
        if let Some(end) = self.data_mut().get_mut(len..) {
            end.copy_from_slice(bytes);
        }
        true
    }

    /// Octets of the whole frame, with all its pieces.
    #[inline]
    fn frame_len(&self) -> usize {
        self.data().len()
    }

    /// Whether [`Buffer::data`] is the whole frame. A chained mbuf is not, and is dropped by name.
    #[inline]
    fn is_contiguous(&self) -> bool {
        true
    }

    /// Makes a chained frame one piece; `false`, changing nothing, where its first buffer has no room for all of it, or the frame is
    /// [shared](Buffer::clone_ref).
    #[inline]
    fn linearize(&mut self) -> bool {
        self.is_contiguous()
    }

    /// What the device found of the IPv4 header checksum of the frame as received.
    #[inline]
    fn ip_checksum(&self) -> Checked {
        Checked::Unknown
    }

    /// What the device found of the UDP or TCP checksum of the frame as received.
    #[inline]
    fn l4_checksum(&self) -> Checked {
        Checked::Unknown
    }

    /// Asks the device to fill in the UDP checksum of the frame's outermost IPv6 header, which is `l2` bytes from the
    /// front and whose pseudo-header sum the UDP checksum field holds; `false` if this kind of buffer can't.
    fn offload_udp6_checksum(&mut self, l2: usize, l3: usize) -> bool {
        let _ = (l2, l3);
        false
    }

    /// What the sender of the frame as received has left to its device.
    #[inline]
    fn undone(&self) -> Undone {
        Undone::Nothing
    }

    /// Says that nothing is left to do any more.
    fn set_done(&mut self) {}

    /// Asks the device to take the frame as a run of TCP segments, with the sum of the pseudo-header in the place of their checksum.
    fn set_run(&mut self, run: Run) {
        let _ = run;
    }

    /// What [`Buffer::set_run`] has said.
    fn run(&self) -> Option<Run> {
        None
    }

    /// Packets that the frame is on a wire, and octets of all their frames.
    fn as_sent(&self) -> (u64, u64) {
        let len = self.frame_len() as u64;
        let Some(Run { l2, l3, l4, size, .. }) = self.run() else { return (1, len) };
        let headers = (l2 + l3 + l4) as u64;
        let packets = len.saturating_sub(headers).div_ceil(u64::from(size.max(1))).max(1);
        (packets, len + (packets - 1) * headers)
    }

    /// Whether other buffers [share](Buffer::clone_ref) the frame's bytes, so that it can't be changed.
    fn is_shared(&self) -> bool {
        false
    }

    /// Copies bytes from `at` on of the whole frame, with all its pieces; `false` where it ends before them.
    fn copy_out(&self, at: usize, out: &mut [u8]) -> bool {
        let bytes = self.data().get(at..at.saturating_add(out.len()));
        bytes.map(|bytes| out.copy_from_slice(bytes)).is_some()
    }

    /// Starts loading the frame's first cache line.
    #[inline]
    fn prefetch(&self) {}

    /// Starts loading what the buffer says of itself, to be changed; of one that another processor has used.
    #[inline]
    fn prefetch_head(&self) {}

    /// Starts loading the frame's first cache line, and the one in front of it, to be changed.
    #[inline]
    fn prefetch_to_write(&self) {}
}

/// A device's verdict on a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// The device did not look: software has to.
    Unknown,
    /// The device found it right.
    Good,
    /// The device found it wrong.
    Bad,
}

/// A frame on the heap, with [`HEADROOM`] in front: for tests, replays and criterion benchmarks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeapBuffer {
    bytes: Vec<u8>,
    start: usize,
    undone: Undone,
    run: Option<Run>,
}

impl HeapBuffer {
    /// A buffer that holds a copy of `frame`.
    pub fn new(frame: &[u8]) -> Self {
        let mut bytes = vec![0; HEADROOM];
        bytes.extend_from_slice(frame);
        Self { bytes, start: HEADROOM, undone: Undone::Nothing, run: None }
    }

    /// As from a sender who has left that to its device.
    #[must_use]
    pub fn leaving(self, undone: Undone) -> Self {
        Self { undone, ..self }
    }
}

impl Buffer for HeapBuffer {
    fn data(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    fn data_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..).unwrap_or_default()
    }

    fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        self.start = self.start.checked_sub(n)?;
        Some(self.data_mut())
    }

    fn trim_front(&mut self, n: usize) -> bool {
        let fits = n <= self.data().len();
        if fits {
            self.start = self.start.saturating_add(n);
        }
        fits
    }

    fn truncate(&mut self, n: usize) {
        self.bytes.truncate(self.start.saturating_add(n));
    }

    fn extend_to(&mut self, n: usize) -> bool {
        let end = self.start.saturating_add(n);
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        true
    }

    fn another(&self) -> Option<Self> {
        Some(Self::new(&[]))
    }

    fn undone(&self) -> Undone {
        self.undone
    }

    fn set_done(&mut self) {
        self.undone = Undone::Nothing;
    }

    fn set_run(&mut self, run: Run) {
        self.run = Some(run);
    }

    fn run(&self) -> Option<Run> {
        self.run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_moves_within_the_headroom() {
        let mut buffer = HeapBuffer::new(b"frame");
        assert!(buffer.prepend(HEADROOM + 1).is_none());
        buffer.prepend(2).unwrap()[..2].copy_from_slice(b"a ");
        assert_eq!(buffer.data(), b"a frame");
        assert!(!buffer.trim_front(8));
        assert!(buffer.trim_front(2));
        buffer.truncate(2);
        assert_eq!(buffer.data(), b"fr");
        let mut copy = buffer.clone_ref().unwrap();
        assert!(copy.append(HeapBuffer::new(b"ee")));
        assert_eq!((copy.data(), copy.frame_len(), buffer.data()), (&b"free"[..], 4, &b"fr"[..]));
    }
}
