//! Error numbers as DPDK's functions return them.

use std::{ffi::c_int, fmt, io};

use super::sys;

/// An `errno` value of DPDK or the system; displays as its text and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// That of the calling thread's last failed DPDK function (`rte_errno`).
    pub(super) fn last() -> Self {
        // SAFETY: reads a thread-local variable of the EAL, which exists in every thread.
        Self(unsafe { sys::warren_errno() })
    }

    /// The result of a function that returns 0 or a negative error number.
    pub(super) const fn check(result: c_int) -> Result<(), Self> {
        if result < 0 { Err(Self(-result)) } else { Ok(()) }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}
