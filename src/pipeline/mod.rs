//! What happens to a burst, stage by stage, and the name of every drop.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod reason;

pub use reason::Reason;
