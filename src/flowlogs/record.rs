//! What a worker tells of a flow, and what becomes of several such tellings.

use std::{net::IpAddr, time::Duration};

use crate::tables::Direction;

/// What security groups and network ACLs said (FL-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The packets were let pass.
    Accept,
    /// They were not.
    Reject,
}

/// What one ENI sent or received of one flow in a part of an aggregation interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// The number of the ENI's stay at its port ([`LocalEni::stay`](crate::tables::LocalEni::stay)).
    pub eni: u32,
    /// Which way the packets went.
    pub direction: Direction,
    /// Where they came from, as in the packet at the ENI.
    pub source: IpAddr,
    /// Where they went, as in the packet at the ENI.
    pub destination: IpAddr,
    /// The source port; 0 of a protocol without ports, and of ICMP (FL-11).
    pub source_port: u16,
    /// The destination port; likewise.
    pub destination_port: u16,
    /// The IP protocol.
    pub protocol: u8,
    /// The packets.
    pub packets: u64,
    /// Their bytes, from the IP header on.
    pub bytes: u64,
    /// When the first of them was seen, since the node's start.
    pub start: Duration,
    /// When the last of them was seen, since the node's start.
    pub end: Duration,
    /// TCP flags that any of them had: FIN 1, SYN 2, RST 4, SYN-ACK 18; an ACK alone counts for none (FL-7).
    pub tcp_flags: u8,
    /// What was decided.
    pub action: Action,
    /// The path of packets that left, as AWS numbers them (FL-10); 0 for none.
    pub path: u8,
}

impl FlowRecord {
    /// Which flow it is of.
    pub fn key(&self) -> FlowKey {
        FlowKey {
            source: self.source,
            destination: self.destination,
            source_port: self.source_port,
            destination_port: self.destination_port,
            protocol: self.protocol,
            direction: self.direction,
            action: self.action,
        }
    }

    /// Its numbers. `started` is when the node did, since 1970-01-01 UTC.
    pub fn sums(&self, started: Duration) -> Sums {
        Sums {
            packets: self.packets,
            bytes: self.bytes,
            start: (started + self.start).as_secs(),
            end: (started + self.end).as_secs(),
            tcp_flags: self.tcp_flags,
            path: self.path,
        }
    }
}

/// What tells the flows of one ENI apart (FL-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// As in [`FlowRecord`].
    pub source: IpAddr,
    /// As in [`FlowRecord`].
    pub destination: IpAddr,
    /// As in [`FlowRecord`].
    pub source_port: u16,
    /// As in [`FlowRecord`].
    pub destination_port: u16,
    /// As in [`FlowRecord`].
    pub protocol: u8,
    /// As in [`FlowRecord`].
    pub direction: Direction,
    /// As in [`FlowRecord`].
    pub action: Action,
}

/// What has been counted of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// The packets.
    pub packets: u64,
    /// Their bytes, from the IP header on.
    pub bytes: u64,
    /// The second of the first packet, since 1970-01-01 UTC.
    pub start: u64,
    /// The second of the last packet, since 1970-01-01 UTC.
    pub end: u64,
    /// As in [`FlowRecord`].
    pub tcp_flags: u8,
    /// As in [`FlowRecord`].
    pub path: u8,
}

impl Sums {
    /// Adds what was counted later.
    pub fn add(&mut self, later: Self) {
        self.packets += later.packets;
        self.bytes += later.bytes;
        self.start = self.start.min(later.start);
        self.end = self.end.max(later.end);
        self.tcp_flags |= later.tcp_flags;
        self.path = later.path;
    }
}
