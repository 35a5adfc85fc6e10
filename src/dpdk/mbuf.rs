//! Packet buffers.

use std::{ffi::c_void, fmt, mem::ManuallyDrop, ptr::NonNull, slice, sync::atomic::Ordering};

use arrayvec::ArrayVec;

use super::{Mempool, eal::give_back, mempool::alloc_bulk, sys};
use crate::{
    ffi::prefetch_to_write,
    packet::{Buffer, Checked, HEADROOM, Run, Undone},
};

const _: () = assert!(sys::WARREN_HEADROOM as usize == HEADROOM, "DPDK was built with another headroom");
const _: () = assert!(size_of::<Option<Mbuf>>() == size_of::<*mut c_void>());

/// References to an mbuf beyond which there are no more: 16 bits count them, and several threads may make one at once.
const MOST_REFERENCES: u16 = 1 << 15;

/// A reference to an `rte_mbuf`: a frame, which may go on in further chained segments. Usually the only one; while there are
/// others ([`Buffer::clone_ref`]), nobody can change the frame. It goes back to its [`Mempool`] when the last is dropped.
#[repr(transparent)]
pub struct Mbuf(NonNull<sys::warren_mbuf>);

// SAFETY: an mbuf belongs to no thread: any may read and write it, and free it to its pool, whose ring is safe for
// several producers and whose caches are per lcore. With several references it is only read, and their count is atomic.
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// Takes over the mbuf at `raw`.
    ///
    /// # Safety
    ///
    /// `raw` is a valid mbuf, and what it counts for this reference belongs to nobody else.
    pub(super) const unsafe fn from_raw(raw: NonNull<sys::warren_mbuf>) -> Self {
        Self(raw)
    }

    /// A buffer of `pool` that holds a copy of `frame`; `None` if the pool is empty or the frame longer than its buffers.
    pub fn from_frame(pool: &Mempool, frame: &[u8]) -> Option<Self> {
        let mut mbuf = pool.alloc()?;
        if !mbuf.extend_to(frame.len()) {
            return None;
        }
        mbuf.data_mut().copy_from_slice(frame);
        Some(mbuf)
    }

    /// Takes over the mbufs that `count` pointers of a C program from `first` on point to, as far as `burst` has room; returns
    /// how many.
    ///
    /// # Safety
    ///
    /// Each pointer is to a valid `rte_mbuf`, and what it counts for this reference belongs to nobody else.
    #[inline]
    pub unsafe fn take_over<const N: usize>(
        burst: &mut ArrayVec<Self, N>,
        first: *const *mut c_void,
        count: usize,
    ) -> usize {
        let len = burst.len();
        let count = count.min(burst.remaining_capacity());
        // SAFETY: as the caller promises; an `Mbuf` is the pointer it wraps, and so many fit behind the first `len`.
        unsafe {
            burst.as_mut_ptr().add(len).cast::<*mut c_void>().copy_from_nonoverlapping(first, count);
            burst.set_len(len + count);
        }
        count
    }

    /// Gives the mbufs away, to a C program: returns where the pointers to them are, until `frames` is used again, and how many.
    #[inline]
    pub fn give_away(frames: &mut Vec<Self>) -> (*mut *mut c_void, usize) {
        let given = (frames.as_mut_ptr().cast(), frames.len());
        // SAFETY: nothing is longer than it was; the mbufs are the caller's from here.
        unsafe { frames.set_len(0) };
        given
    }

    /// The port on which the frame was received; without meaning for a frame made here.
    #[inline]
    pub fn port(&self) -> u16 {
        self.head().port
    }

    /// The number of segments, 1 for a frame in contiguous memory.
    #[inline]
    pub fn segments(&self) -> u16 {
        self.head().nb_segs
    }

    /// Gives all of `burst` back to their pools, which is cheaper than to drop them one by one.
    pub fn free_all<const N: usize>(burst: &mut ArrayVec<Self, N>) {
        let count = burst.len();
        // SAFETY: an `Mbuf` is the pointer it wraps, so that `burst` starts with `count` mbuf pointers. The length is
        // set to nothing first, so that no `Mbuf` owns them any more when they are freed.
        unsafe {
            burst.set_len(0);
            give_back(|| sys::warren_free_bulk(burst.as_mut_ptr().cast(), count as u32));
        }
    }

    #[inline]
    const fn head(&self) -> &sys::warren_mbuf {
        // SAFETY: `self` owns a valid mbuf, whose start has the layout of `warren_mbuf` (asserted in shim.c).
        unsafe { self.0.as_ref() }
    }

    /// Only where [`Mbuf::is_shared`] is `false`.
    #[inline]
    fn head_mut(&mut self) -> &mut sys::warren_mbuf {
        debug_assert!(!self.is_shared());
        // SAFETY: as for `head`; it is the only reference to the mbuf, and others come only from `&self`.
        unsafe { self.0.as_mut() }
    }

    #[inline]
    const fn start(&self) -> *mut u8 {
        let head = self.head();
        // SAFETY: the data starts within the buffer: `data_off` <= `buf_len`.
        unsafe { head.buf_addr.cast::<u8>().add(head.data_off as usize) }
    }

    /// The free bytes behind the data of the first segment.
    #[inline]
    const fn tailroom(&self) -> usize {
        let head = self.head();
        (head.buf_len as usize).saturating_sub(head.data_off as usize + head.data_len as usize)
    }
}

/// The word `tx_offload`: lengths of headers, and the data of a segment in the 16 bits behind them.
mod offload {
    use super::{Run, sys};

    const L3: u32 = sys::WARREN_L2_LEN_BITS;
    const L4: u32 = L3 + sys::WARREN_L3_LEN_BITS;
    const SIZE: u32 = L4 + sys::WARREN_L4_LEN_BITS;

    pub(super) const fn of(run: &Run) -> u64 {
        run.l2 as u64 | (run.l3 as u64) << L3 | (run.l4 as u64) << L4 | (run.size as u64) << SIZE
    }

    pub(super) const fn size(word: u64) -> u16 {
        (word >> SIZE) as u16
    }

    pub(super) const fn run(word: u64, v6: bool) -> Run {
        const fn bits(word: u64, from: u32, to: u32) -> usize {
            (word >> from & ((1 << (to - from)) - 1)) as usize
        }
        let (l2, l3, l4) = (bits(word, 0, L3), bits(word, L3, L4), bits(word, L4, SIZE));
        Run { v6, l2, l3, l4, size: size(word) }
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this is the mbuf's only reference, and the last use of it.
        give_back(|| unsafe { sys::warren_free(self.0.as_ptr()) });
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf")
            .field("port", &self.port())
            .field("frame_len", &self.frame_len())
            .field("segments", &self.segments())
            .finish_non_exhaustive()
    }
}

impl Buffer for Mbuf {
    #[inline]
    fn data(&self) -> &[u8] {
        // SAFETY: `data_len` bytes from `data_off` lie within the first segment's buffer, which lives as long as the mbuf.
        unsafe { slice::from_raw_parts(self.start(), self.head().data_len as usize) }
    }

    #[inline]
    fn data_mut(&mut self) -> &mut [u8] {
        if self.is_shared() {
            return &mut [];
        }
        // SAFETY: as for `data`; nothing else refers to the buffer.
        unsafe { slice::from_raw_parts_mut(self.start(), self.head().data_len as usize) }
    }

    #[inline]
    fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        if self.is_shared() {
            return None;
        }
        let head = self.head_mut();
        let n = u16::try_from(n).ok()?;
        let data_len = head.data_len.checked_add(n)?;
        head.data_off = head.data_off.checked_sub(n)?;
        head.data_len = data_len;
        head.pkt_len += u32::from(n);
        Some(self.data_mut())
    }

    #[inline]
    fn trim_front(&mut self, n: usize) -> bool {
        if n > self.head().data_len as usize || self.is_shared() {
            return false;
        }
        let head = self.head_mut();
        head.data_off += n as u16;
        head.data_len -= n as u16;
        head.pkt_len -= n as u32;
        true
    }

    /// Of a chained frame, cuts within the first segment only.
    #[inline]
    fn truncate(&mut self, n: usize) {
        if n >= self.head().data_len as usize || self.is_shared() {
            return;
        }
        let head = self.head_mut();
        head.data_len = n as u16;
        head.pkt_len = n as u32;
        head.nb_segs = 1;
        let rest = std::mem::replace(&mut head.next, std::ptr::null_mut());
        // SAFETY: the chain belonged to this mbuf, which has just let go of it.
        drop(NonNull::new(rest).map(|rest| unsafe { Self::from_raw(rest) }));
    }

    #[inline]
    fn extend_to(&mut self, n: usize) -> bool {
        let more = n.saturating_sub(self.head().data_len as usize);
        if !self.is_contiguous() || more > self.tailroom() || self.is_shared() {
            return false;
        }
        let head = self.head_mut();
        // `more` is at most the tailroom, which fits 16 bits together with what is before it.
        head.data_len += more as u16;
        head.pkt_len += more as u32;
        true
    }

    fn another(&self) -> Option<Self> {
        // SAFETY: the mbuf's pool is valid as long as the mbuf.
        let raw = NonNull::new(unsafe { sys::warren_alloc(self.head().pool.cast()) })?;
        // SAFETY: a buffer fresh from the pool has no other reference.
        Some(unsafe { Self::from_raw(raw) })
    }

    #[inline]
    fn others<const N: usize>(&self, out: &mut ArrayVec<Self, N>, n: usize) {
        // SAFETY: the mbuf's pool is valid as long as the mbuf.
        let some = unsafe { alloc_bulk(self.head().pool.cast(), out, n) };
        // All or none is what a pool gives at once.
        if some == 0 {
            let n = n.min(out.remaining_capacity());
            out.extend((0..n).map_while(|_| self.another()));
        }
    }

    #[inline]
    fn clone_refs<const N: usize>(&self, out: &mut ArrayVec<Self, N>, n: usize) {
        const { assert!(N <= MOST_REFERENCES as usize / 2) };
        let references = &self.head().refcnt;
        let n = n.min(out.remaining_capacity());
        if !self.is_contiguous() || references.load(Ordering::Relaxed) > MOST_REFERENCES {
            return;
        }
        // As in `clone_ref`, all at once.
        references.fetch_add(n as u16, Ordering::Relaxed);
        // SAFETY: as in `clone_ref`; `n` references were counted.
        out.extend((0..n).map(|_| unsafe { Self::from_raw(self.0) }));
    }

    #[inline]
    fn clone_ref(&self) -> Option<Self> {
        let references = &self.head().refcnt;
        if !self.is_contiguous() || references.load(Ordering::Relaxed) > MOST_REFERENCES {
            return None;
        }
        // Relaxed, as for an `Arc`: a new reference comes from one that is there.
        references.fetch_add(1, Ordering::Relaxed);
        // SAFETY: `self` is a valid mbuf, of one segment, and the reference just counted belongs to nobody.
        Some(unsafe { Self::from_raw(self.0) })
    }

    #[inline]
    fn append(&mut self, rest: Self) -> bool {
        if self.is_shared() || !self.is_contiguous() {
            return false;
        }
        let (pieces, bytes) = (rest.head().nb_segs, rest.head().pkt_len);
        let head = self.head_mut();
        let (Some(pieces), Some(bytes)) = (head.nb_segs.checked_add(pieces), head.pkt_len.checked_add(bytes))
        else {
            return false;
        };
        (head.nb_segs, head.pkt_len) = (pieces, bytes);
        // The chain belongs to its head.
        head.next = ManuallyDrop::new(rest).0.as_ptr();
        true
    }

    #[inline]
    fn frame_len(&self) -> usize {
        self.head().pkt_len as usize
    }

    #[inline]
    fn is_contiguous(&self) -> bool {
        self.head().nb_segs == 1
    }

    #[inline]
    fn linearize(&mut self) -> bool {
        if self.is_contiguous() {
            return true;
        }
        // SAFETY: `self` owns the whole chain, and nobody else has the bytes of the first segment, behind which it copies.
        !self.is_shared() && unsafe { sys::warren_linearize(self.0.as_ptr()) } == 0
    }

    #[inline]
    fn ip_checksum(&self) -> Checked {
        match self.head().ol_flags & sys::WARREN_RX_IP_MASK {
            sys::WARREN_RX_IP_GOOD => Checked::Good,
            sys::WARREN_RX_IP_BAD => Checked::Bad,
            _ => Checked::Unknown,
        }
    }

    #[inline]
    fn l4_checksum(&self) -> Checked {
        match self.head().ol_flags & sys::WARREN_RX_L4_MASK {
            sys::WARREN_RX_L4_GOOD => Checked::Good,
            sys::WARREN_RX_L4_BAD => Checked::Bad,
            _ => Checked::Unknown,
        }
    }

    #[inline]
    fn offload_udp6_checksum(&mut self, l2: usize, l3: usize) -> bool {
        let fits = l2 < 1 << sys::WARREN_L2_LEN_BITS && l3 < 1 << sys::WARREN_L3_LEN_BITS;
        if !fits || self.is_shared() {
            return false;
        }
        let head = self.head_mut();
        head.ol_flags |= sys::WARREN_TX_UDP6;
        head.tx_offload = l2 as u64 | (l3 as u64) << sys::WARREN_L2_LEN_BITS;
        true
    }

    /// What others do meanwhile can only make it `false`.
    #[inline]
    fn is_shared(&self) -> bool {
        // Acquire: what others did with the mbuf is over.
        self.head().refcnt.load(Ordering::Acquire) != 1
    }

    #[inline]
    fn undone(&self) -> Undone {
        let head = self.head();
        if head.ol_flags & sys::WARREN_RX_LRO != 0 {
            Undone::Segments(offload::size(head.tx_offload))
        } else if head.ol_flags & sys::WARREN_RX_L4_MASK == sys::WARREN_RX_L4_NONE {
            Undone::Checksum
        } else {
            Undone::Nothing
        }
    }

    fn set_done(&mut self) {
        if !self.is_shared() {
            let head = self.head_mut();
            head.ol_flags &= !(sys::WARREN_RX_LRO | sys::WARREN_RX_L4_MASK);
            head.tx_offload = 0;
        }
    }

    fn copy_out(&self, mut at: usize, mut out: &mut [u8]) -> bool {
        let mut piece = Some(self.head());
        while let Some(head) = piece.filter(|_| !out.is_empty()) {
            // SAFETY: as for `data`, of each piece of the chain, which all live as long as the first.
            let bytes = unsafe {
                let start = head.buf_addr.cast::<u8>().add(head.data_off.into());
                slice::from_raw_parts(start, head.data_len.into())
            };
            let bytes = bytes.get(at..).unwrap_or_default();
            at = at.saturating_sub(head.data_len.into());
            let (now, later) = out.split_at_mut(bytes.len().min(out.len()));
            now.copy_from_slice(&bytes[..now.len()]);
            out = later;
            // SAFETY: the next piece is null or valid.
            piece = unsafe { head.next.as_ref() };
        }
        out.is_empty()
    }

    /// Leaves the end of the headers to a second piece: DPDK's vhost writes a sum of the pseudo-header without its length, as cards
    /// want it, over the one that is there, unless all headers are in one piece, and a machine which forwards the run would send wrong
    /// checksums then (virtio 1.1 §5.1.6.2 has the length in it).
    fn set_run(&mut self, run: Run) {
        /// Octets of the headers that are in the second piece.
        const BEHIND: usize = 4;

        let before = run.l2 + run.l3 + run.l4 - BEHIND;
        if let Some(mut first) = self.another()
            && first.extend_to(before)
            && self.copy_out(0, first.data_mut())
            && self.trim_front(before)
        {
            let rest = std::mem::replace(self, first);
            self.append(rest);
        }
        let head = self.head_mut();
        let network = if run.v6 { sys::WARREN_TX_IPV6 } else { sys::WARREN_TX_IPV4 };
        head.ol_flags |= sys::WARREN_TX_RUN | network;
        head.tx_offload = offload::of(&run);
    }

    fn run(&self) -> Option<Run> {
        let head = self.head();
        let v6 = head.ol_flags & sys::WARREN_TX_IPV6 != 0;
        (head.ol_flags & sys::WARREN_TX_RUN != 0).then(|| offload::run(head.tx_offload, v6))
    }

    #[inline]
    fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint, valid for any address; SSE is part of x86-64.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(self.start().cast());
        }
    }

    #[inline]
    fn prefetch_head(&self) {
        // Of two cache lines the second has what it takes to free it.
        let head = self.0.as_ptr().cast::<u8>();
        prefetch_to_write(head);
        prefetch_to_write(head.wrapping_add(64));
    }

    #[inline]
    fn prefetch_to_write(&self) {
        // An outer header is going to be in front of the frame.
        prefetch_to_write(self.start());
        prefetch_to_write(self.start().wrapping_sub(64));
    }
}
