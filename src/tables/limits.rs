//! What may pass an ENI in a second.

use crate::model::{Allowance, AttachmentOptions};

/// The allowances of an ENI, of which each may be missing: then anything passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bits to it and from it, by [`Direction`](super::Direction).
    pub bandwidth: [Option<Allowance>; 2],
    /// Packets to it and from it together.
    pub packets: Option<Allowance>,
    /// Tracked connections that begin, to it and from it together.
    pub connections: Option<Allowance>,
}

impl Limits {
    /// Those that an attachment states, if it states any.
    pub fn of(options: &AttachmentOptions) -> Option<Self> {
        let bandwidth = [options.bandwidth_in, options.bandwidth_out];
        let limits = Self { bandwidth, packets: options.packets, connections: options.connections };
        let stated = bandwidth.iter().chain([&limits.packets, &limits.connections]).any(Option::is_some);
        stated.then_some(limits)
    }
}
