//! A packet buffer for counting instructions: as with an mbuf, the reference to it is one word, and its head is in front of its bytes.

use warren::packet::{Buffer, HEADROOM};

/// Bytes of a frame at most.
const ROOM: usize = 2048;

struct Head {
    start: u16,
    len: u16,
    bytes: [u8; HEADROOM + ROOM],
}

/// A frame of a few bytes.
pub(crate) struct Frame(Box<Head>);

impl Frame {
    /// A copy of `frame`.
    pub(crate) fn new(frame: &[u8]) -> Self {
        let mut new = Self(Box::new(Head { start: HEADROOM as u16, len: 0, bytes: [0; HEADROOM + ROOM] }));
        assert!(new.append_copy(frame), "a frame of {} bytes", frame.len());
        new
    }

    #[inline]
    fn end(&self) -> usize {
        usize::from(self.0.start) + usize::from(self.0.len)
    }
}

impl Buffer for Frame {
    #[inline]
    fn data(&self) -> &[u8] {
        self.0.bytes.get(self.0.start.into()..self.end()).unwrap_or_default()
    }

    #[inline]
    fn data_mut(&mut self) -> &mut [u8] {
        let end = self.end();
        self.0.bytes.get_mut(self.0.start.into()..end).unwrap_or_default()
    }

    #[inline]
    fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        let n = u16::try_from(n).ok()?;
        self.0.start = self.0.start.checked_sub(n)?;
        self.0.len += n;
        Some(self.data_mut())
    }

    #[inline]
    fn trim_front(&mut self, n: usize) -> bool {
        let fits = n <= usize::from(self.0.len);
        if fits {
            self.0.start += n as u16;
            self.0.len -= n as u16;
        }
        fits
    }

    #[inline]
    fn truncate(&mut self, n: usize) {
        self.0.len = self.0.len.min(u16::try_from(n).unwrap_or(u16::MAX));
    }

    fn extend_to(&mut self, n: usize) -> bool {
        let fits = usize::from(self.0.start) + n <= self.0.bytes.len();
        if fits {
            self.0.len = self.0.len.max(n as u16);
        }
        fits
    }

    fn another(&self) -> Option<Self> {
        Some(Self::new(&[]))
    }
}
