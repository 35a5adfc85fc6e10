//! What is said where something is wrong.

use std::{
    any::Any,
    ffi::c_char,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Done.
pub const WARREN_OK: i32 = 0;
/// An argument is NULL, of the wrong size or out of range.
pub const WARREN_ARGUMENT: i32 = -1;
/// The host file is wrong, or does not fit the state.
pub const WARREN_HOST: i32 = -2;
/// The state is wrong, or does not fit the host. Nothing has changed.
pub const WARREN_STATE: i32 = -3;
/// The program did not open a port's device.
pub const WARREN_DEVICE: i32 = -4;
/// There is no such port.
pub const WARREN_PORT: i32 = -5;
/// The port is another worker's.
pub const WARREN_OWNER: i32 = -6;
/// Workers are open, or this one has been opened before.
pub const WARREN_BUSY: i32 = -7;
/// The system refused a thread or a socket.
pub const WARREN_SYSTEM: i32 = -8;
/// A fault of Warren's: please report it. A worker that returned it does nothing any more.
pub const WARREN_PANIC: i32 = -9;

/// Bytes of a message, the final NUL included.
pub const WARREN_MESSAGE_BYTES: usize = 4092;

/// What is wrong: which thing, why, and what would be right. Functions that take one write it when they fail; NULL: not wanted.
#[repr(C)]
pub struct warren_error {
    /// What the function returns.
    pub code: i32,
    /// Text in UTF-8, in lines; cut where it is too long.
    pub message: [c_char; WARREN_MESSAGE_BYTES],
}

/// A failure on its way to the caller.
#[derive(Debug)]
pub(super) struct Failure {
    code: i32,
    message: String,
}

impl Failure {
    pub(super) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn argument(message: impl Into<String>) -> Self {
        Self::new(WARREN_ARGUMENT, message)
    }

    /// # Safety
    ///
    /// `error` is NULL or may be written.
    unsafe fn tell(&self, error: *mut warren_error) -> i32 {
        // SAFETY: as the caller promises.
        if let Some(error) = unsafe { error.as_mut() } {
            error.code = self.code;
            let end = self.message.floor_char_boundary(WARREN_MESSAGE_BYTES - 1);
            let text = self.message.bytes().take(end).map(|byte| if byte == 0 { b' ' } else { byte });
            error.message.fill(0);
            for (to, byte) in error.message.iter_mut().zip(text) {
                *to = byte as c_char;
            }
        }
        self.code
    }
}

pub(super) fn null(what: &str) -> Failure {
    Failure::argument(format!("{what} is NULL"))
}

/// Does something that may fail, or panic; tells of it.
///
/// # Safety
///
/// `error` is NULL or may be written.
pub(super) unsafe fn guarded(error: *mut warren_error, work: impl FnOnce() -> Result<(), Failure>) -> i32 {
    let failure = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => return WARREN_OK,
        Ok(Err(failure)) => failure,
        Err(panic) => {
            Failure::new(WARREN_PANIC, format!("a fault of Warren's, please report it: {}", text(&*panic)))
        }
    };
    // SAFETY: as the caller promises.
    unsafe { failure.tell(error) }
}

/// What a panic says.
fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
