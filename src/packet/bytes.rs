//! Fixed-size reads and writes at an offset. The offsets are constants nearly everywhere, so that the bounds checks
//! vanish where the slice's length is known.

/// The `N` bytes at `at`; `None` where the slice ends before them.
#[inline(always)]
pub(super) fn get<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.wrapping_add(N))?.first_chunk().copied()
}

/// Overwrites the bytes at `at`; changes nothing where the slice ends before them.
#[inline(always)]
pub(super) fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(slot) = bytes.get_mut(at..at.wrapping_add(N)).and_then(|range| range.first_chunk_mut()) {
        *slot = value;
    }
}
