//! What many headers have in common, compared at once.

use crate::ffi::equal_under;

/// Octets of a pattern.
const PATTERN: usize = 32;

/// Some bits of 32 octets, and what they have to be.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    value: [u8; PATTERN],
    mask: [u8; PATTERN],
}

impl Pattern {
    /// That nothing has to be anything.
    pub const ANY: Self = Self { value: [0; PATTERN], mask: [0; PATTERN] };

    /// The same, and that the bits of `mask` at an offset are those of `value`.
    #[must_use]
    pub fn with<const N: usize>(mut self, at: usize, value: [u8; N], mask: [u8; N]) -> Self {
        let bytes = self.value.iter_mut().zip(&mut self.mask).skip(at).zip(value.into_iter().zip(mask));
        for ((value_at, mask_at), (value, mask)) in bytes {
            *value_at = *value_at & !mask | value & mask;
            *mask_at |= mask;
        }
        self
    }

    /// Whether the octets have the bits.
    #[inline(always)]
    pub fn fits(&self, octets: &[u8; PATTERN]) -> bool {
        equal_under(&self.mask, &self.value, octets)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{array::uniform, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn a_pattern_fits_what_has_its_bits(octets: [u8; 32], at in 0usize..28, value: [u8; 4], mask in uniform::<_, 4>(0u8..4)) {
            let have = |octets: &[u8; 32]| (0..4).all(|i| (octets[at + i] ^ value[i]) & mask[i] == 0);
            let pattern = Pattern::ANY.with(at, [0x55; 4], mask).with(at, value, mask);
            prop_assert_eq!(pattern.fits(&octets), have(&octets));
            let mut like = octets;
            for i in 0..4 {
                like[at + i] = octets[at + i] & !mask[i] | value[i] & mask[i];
            }
            prop_assert!(pattern.fits(&like) && Pattern::ANY.fits(&octets));
        }
    }
}
