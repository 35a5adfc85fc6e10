//! Flow logs: what ENIs sent and received, flow by flow, in AWS's record format (rules FL-1 to FL-12).
//!
//! A worker counts a flow where it remembers it, and now and then pushes what has come together as a [`FlowRecord`] into
//! its [`FlowRing`]. All else happens on a thread of its own. Intervals start at multiples of their length since the node's
//! start, so that a worker can cut its records there; it has [`GRACE`] to push them.
//!
//! Source of formats and meanings: AWS, "Flow log records" and "Flow log record examples" in the VPC user guide.

mod files;
mod format;
mod log;
pub mod path;
mod record;
mod ring;
#[cfg(test)]
mod testing;
mod windows;
mod writer;

pub use format::{Content, Field, Flow, Format, FormatError, Interface};
pub use log::Log;
pub use record::{Action, FlowKey, FlowRecord, Sums};
pub use ring::FlowRing;
pub use windows::GRACE;
pub use writer::{LogStatus, Settings, Writer};
