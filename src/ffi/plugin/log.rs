//! The log, handed to the program line by line.

use std::{
    ffi::{CString, c_char, c_void},
    io,
};

use tracing::{Dispatch, Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Something does not work.
pub const WARREN_LOG_ERROR: u32 = 1;
/// Something is surely not as intended.
pub const WARREN_LOG_WARNING: u32 = 2;
/// Something has changed.
pub const WARREN_LOG_INFO: u32 = 3;

/// The program's function.
type Log = unsafe extern "C" fn(user: *mut c_void, level: u32, text: *const c_char);

/// Where lines go.
#[derive(Clone, Copy)]
struct To {
    log: Log,
    user: *mut c_void,
}

// SAFETY: the header says which threads call it.
unsafe impl Send for To {}
// SAFETY: as above.
unsafe impl Sync for To {}

/// A line on its way.
struct Line {
    to: To,
    level: u32,
}

impl io::Write for Line {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if let Ok(line) = CString::new(text.trim_ascii_end()) {
            // SAFETY: the program's function, called as the header says.
            unsafe { (self.to.log)(self.to.user, self.level, line.as_ptr()) };
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for To {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line { to: *self, level: WARREN_LOG_INFO }
    }

    fn make_writer_for(&self, of: &Metadata<'_>) -> Line {
        let level = match *of.level() {
            Level::ERROR => WARREN_LOG_ERROR,
            Level::WARN => WARREN_LOG_WARNING,
            _ => WARREN_LOG_INFO,
        };
        Line { to: *self, level }
    }
}

/// A log of events down to `WARREN_LOG_INFO`.
pub(super) fn to_program(log: Log, user: *mut c_void) -> Dispatch {
    let lines = tracing_subscriber::fmt().with_writer(To { log, user }).with_max_level(Level::INFO);
    lines.without_time().with_level(false).with_target(false).with_ansi(false).into()
}
