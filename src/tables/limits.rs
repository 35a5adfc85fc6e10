//! What may pass an ENI in a second.

use crate::model::{Allowance, AttachmentOptions};

/// One worker's part of the allowances of an ENI, of which each may be missing: then anything passes.
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
    /// The part that each of so many workers has of those that an attachment states, if it states any.
    pub fn of(options: &AttachmentOptions, workers: u8) -> Option<Self> {
        let part = |of: Allowance| {
            let part = |whole: u64| (whole / u64::from(workers.max(1))).max(1);
            Allowance { rate: part(of.rate), burst: part(of.burst) }
        };
        let bandwidth = [options.bandwidth_in, options.bandwidth_out].map(|of| of.map(part));
        let (packets, connections) = (options.packets.map(part), options.connections.map(part));
        let limits = Self { bandwidth, packets, connections };
        let stated = bandwidth.iter().chain([&limits.packets, &limits.connections]).any(Option::is_some);
        stated.then_some(limits)
    }
}
