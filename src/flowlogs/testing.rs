//! Records and flows for tests.

use std::{net::SocketAddr, path::Path, time::Duration};

use super::{Action, Flow, FlowRecord, Format, Log, Settings, Traffic};
use crate::tables::Direction;

/// A packet of UDP to an ENI.
pub(super) fn record(eni: u32) -> FlowRecord {
    FlowRecord {
        eni,
        direction: Direction::Ingress,
        source: [10, 0, 0, 1].into(),
        destination: [10, 0, 0, 2].into(),
        source_port: 1000,
        destination_port: 2000,
        protocol: 17,
        packets: 1,
        bytes: 100,
        start: Duration::ZERO,
        end: Duration::ZERO,
        tcp_flags: 0,
        action: Action::Accept,
        path: 0,
    }
}

/// An accepted flow to an ENI, with its packets and bytes, and the seconds of its first and last packet.
pub(super) fn flow(
    source: &str,
    destination: &str,
    protocol: u8,
    (packets, bytes): (u64, u64),
    (start, end): (u64, u64),
) -> Flow {
    let (source, destination): (SocketAddr, SocketAddr) =
        (source.parse().unwrap(), destination.parse().unwrap());
    let record = FlowRecord {
        source: source.ip(),
        destination: destination.ip(),
        source_port: source.port(),
        destination_port: destination.port(),
        protocol,
        packets,
        bytes,
        start: Duration::from_secs(start),
        end: Duration::from_secs(end),
        ..record(0)
    };
    Flow { key: record.key(), sums: record.sums(Duration::ZERO) }
}

/// The flow, with flags of TCP.
pub(super) fn tcp(mut flow: Flow, flags: u8) -> Flow {
    flow.sums.tcp_flags = flags;
    flow
}

/// A log of a resource, with an interval of a minute.
pub(super) fn log(id: &str, resource: &str) -> Log {
    Log {
        id: id.into(),
        resource: resource.into(),
        folder: id.into(),
        account: None,
        region: None,
        traffic: Traffic::All,
        interval: Duration::from_secs(60),
        format: Format::default(),
    }
}

/// A folder's, with the usual limits.
pub(super) fn settings(folder: &Path) -> Settings {
    Settings {
        host: "host-1".into(),
        folder: folder.to_owned(),
        rotate: Duration::from_secs(300),
        file_bytes: 75 << 20,
        keep_bytes: 1 << 30,
        flows: 1 << 20,
    }
}
