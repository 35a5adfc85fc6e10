//! Where an ENI is plugged in, and what it may take of that host.

use std::sync::Arc;

use serde::Serialize;

use super::Id;

/// The port an ENI is plugged into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attachment {
    /// The host.
    pub host: Id,
    /// The port's name in that host's configuration.
    pub port: Arc<str>,
    /// The TTL or hop limit of what the metadata service answers (`HttpPutResponseHopLimit`), 1 to 64 (ADDR-18).
    pub metadata_hop_limit: u8,
    /// What is said of its connections, its workers and its allowances; `None` if nothing is. See [`Attachment::options`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Box<AttachmentOptions>>,
}

impl Attachment {
    /// The hop limit of metadata's answers where none is stated (ADDR-18).
    pub const METADATA_HOP_LIMIT: u8 = 1;

    /// A port of a host, with everything else as where nothing is stated.
    pub const fn new(host: Id, port: Arc<str>) -> Self {
        Self { host, port, metadata_hop_limit: Self::METADATA_HOP_LIMIT, options: None }
    }

    /// What holds for its connections, its workers and its allowances.
    pub fn options(&self) -> &AttachmentOptions {
        self.options.as_deref().unwrap_or(&AttachmentOptions::NOTHING_STATED)
    }
}

/// How the packets of an ENI are checked, by how many workers, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AttachmentOptions {
    /// Whether ICMP errors need a rule, though they are about a tracked connection (`StrictIcmp`, SEC-14).
    pub strict_icmp: bool,
    /// Whether TCP segments outside of their connection's window are dropped (`TcpWindowCheck`).
    pub tcp_window_check: bool,
    /// The most connections it may have (`ConnectionsMax`); `None`: as many as its host has room for.
    pub connections_max: Option<u32>,
    /// How many connections it has room for, whatever the others have (`ConnectionsReserved`).
    pub connections_reserved: u32,
    /// How many workers share its flows (`Workers`), at least 1.
    pub workers: u8,
    /// What may come to it: bits per second (`BandwidthInMbps`). `None`, here and below: anything.
    pub bandwidth_in: Option<Allowance>,
    /// What may come from it: bits per second (`BandwidthOutMbps`).
    pub bandwidth_out: Option<Allowance>,
    /// Packets per second, to it and from it together (`PacketsPerSecond`).
    pub packets: Option<Allowance>,
    /// New connections per second, to it and from it together (`ConnectionsPerSecond`).
    pub connections: Option<Allowance>,
}

impl AttachmentOptions {
    /// What holds where nothing is stated.
    pub const NOTHING_STATED: Self = Self {
        strict_icmp: false,
        tcp_window_check: false,
        connections_max: None,
        connections_reserved: 0,
        workers: 1,
        bandwidth_in: None,
        bandwidth_out: None,
        packets: None,
        connections: None,
    };
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Allowance {
    /// How much comes in a second, at least 1.
    pub rate: u64,
    /// How much there is after a pause, in the same unit, at least 1.
    pub burst: u64,
}

impl Allowance {
    /// A rate with the burst that it has if none is stated: what comes in 100 ms.
    pub fn of(rate: u64) -> Self {
        Self { rate, burst: (rate / 10).max(1) }
    }
}
