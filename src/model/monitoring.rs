//! What is told of packets: flow logs, and copies of the packets themselves.

use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::{Descriptive, Id};
use crate::packet::Vni;

/// A flow log: who talked to whom, in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowLog {
    /// `FlowLogId`.
    pub id: Id,
    /// Whose packets it is about.
    pub scope: LogScope,
    /// Which of them.
    pub traffic: LogTraffic,
    /// `LogFormat`: the fields of a record, in order, such as `${srcaddr} ${dstaddr}`, separated by single blanks.
    pub format: Box<str>,
    /// `MaxAggregationInterval`: for how many seconds a record adds up, 60 or 600.
    pub interval: u16,
    /// The folder of its files below that of all logs of a host: relative, with `/` between its parts, none of them `..`.
    pub folder: Box<str>,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

impl FlowLog {
    /// The fields of version 2, which a log has if none are stated (FL-1).
    pub const FORMAT: &str = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} \
                              ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}";
}

/// Whose packets a [`FlowLog`] is about (`ResourceId`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogScope {
    /// Those of all ENIs of a VPC.
    Vpc(Id),
    /// Those of all ENIs of a subnet.
    Subnet(Id),
    /// Those of an ENI.
    Eni(Id),
    /// Those of something of which Warren has no logs, such as a transit gateway: the log stays empty.
    Other(Id),
}

/// Which packets a [`FlowLog`] is about (`TrafficType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTraffic {
    /// Those that security groups and network ACLs let pass.
    Accept,
    /// Those that they dropped.
    Reject,
    /// Both.
    All,
}

/// Where copies of packets go.
#[derive(Clone, Debug, PartialEq)]
pub struct MirrorTarget {
    /// `TrafficMirrorTargetId`.
    pub id: Id,
    /// The ENI that receives them.
    pub eni: Id,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

/// Of which packets copies are made. A packet that no rule matches is not copied.
#[derive(Clone, Debug, PartialEq)]
pub struct MirrorFilter {
    /// `TrafficMirrorFilterId`.
    pub id: Id,
    /// For what comes to the ENI, by number, which no two have in common.
    pub ingress: Vec<MirrorRule>,
    /// For what the ENI sends, likewise.
    pub egress: Vec<MirrorRule>,
    /// Whether the resolver's packets are copied too (`NetworkServices: [amazon-dns]`).
    pub dns: bool,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

/// A rule of a [`MirrorFilter`]: the first that matches decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorRule {
    /// `RuleNumber`, 1 to 32766.
    pub number: u16,
    /// Whether what it matches is copied (`RuleAction`).
    pub accept: bool,
    /// IP protocol number; `None` is every protocol.
    pub protocol: Option<u8>,
    /// Where from; of one family with `destination`.
    pub source: IpNet,
    /// Where to.
    pub destination: IpNet,
    /// From which ports, of TCP and UDP.
    pub source_ports: RangeInclusive<u16>,
    /// To which ports, of TCP and UDP.
    pub destination_ports: RangeInclusive<u16>,
}

/// Copies of an ENI's packets.
#[derive(Clone, Debug, PartialEq)]
pub struct MirrorSession {
    /// `TrafficMirrorSessionId`.
    pub id: Id,
    /// Whose packets are copied.
    pub eni: Id,
    /// Where the copies go.
    pub target: Id,
    /// Of which packets.
    pub filter: Id,
    /// `SessionNumber`, 1 to 32766, no other's of the ENI: a packet is copied by the first session that matches (MIR-2).
    pub number: u16,
    /// `PacketLength`: how many bytes of each packet are copied; `None` is all (MIR-3).
    pub length: Option<u16>,
    /// `VirtualNetworkId`: the VNI that the copies have, made of the session's id if none is stated (MIR-1).
    pub vni: Vni,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}
