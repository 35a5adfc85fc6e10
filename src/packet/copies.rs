//! Buffers for the copies of one frame.

use arrayvec::ArrayVec;

use super::Buffer;

/// Copies whose buffers are taken from the pool, and whose references to the frame are counted, at once.
const BATCH: usize = 32;

/// What copies of a frame for several hosts are made of: for each an empty buffer, for the header, and a reference to the frame.
pub struct Copies<'a, B> {
    frame: &'a B,
    left: usize,
    heads: ArrayVec<B, BATCH>,
    payloads: ArrayVec<B, BATCH>,
}

impl<'a, B: Buffer> Copies<'a, B> {
    /// For so many copies; a few more can be made.
    pub const fn new(frame: &'a B, count: usize) -> Self {
        Self { frame, left: count, heads: ArrayVec::new_const(), payloads: ArrayVec::new_const() }
    }

    /// The frame.
    pub(super) const fn frame(&self) -> &'a B {
        self.frame
    }

    /// What the next copy is made of; `None` where no buffer is left.
    #[inline]
    pub(super) fn take(&mut self) -> Option<(B, B)> {
        if self.heads.is_empty() || self.payloads.is_empty() {
            let count = self.left.clamp(1, BATCH);
            self.left = self.left.saturating_sub(count);
            self.frame.others(&mut self.heads, count);
            self.frame.clone_refs(&mut self.payloads, count);
        }
        Some((self.heads.pop()?, self.payloads.pop()?))
    }
}
