//! Packets as bytes: addresses, buffers, header views, checksums, encapsulations. Knows no I/O and no clock.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod addr;
mod buffer;

pub use addr::{Mac, ParseMacError, Vni};
pub use buffer::{Buffer, Checked, HEADROOM, HeapBuffer};
