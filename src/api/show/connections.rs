//! `warren show connections`.

use serde_json::json;

use super::{super::Table, Snapshot};
use crate::tables::PortIndex;

/// The connections of the ENIs of this node, in the tables of the workers that own them.
pub fn connections(snapshot: &Snapshot) -> Table {
    let columns = [
        "port",
        "eni",
        "vpc",
        "established",
        "unanswered",
        "spare",
        "created",
        "expired",
        "evicted",
        "closed",
        "conntrack_allowance_available",
        "conntrack_allowance_exceeded",
    ];
    let mut table = Table::new(&columns);
    let ports = (0..).map(PortIndex).zip(&snapshot.port_names);
    for (((index, name), occupant), device) in ports.zip(&snapshot.occupants).zip(&snapshot.devices) {
        let (Some((eni, vpc)), Some(counters)) = (occupant, snapshot.counters.get(device.worker)) else {
            continue;
        };
        let stats = counters.connections.read(index);
        table.row([
            json!(name),
            json!(eni),
            json!(vpc),
            json!(stats.established),
            json!(stats.unanswered),
            json!(stats.spare),
            json!(stats.created),
            json!(stats.expired),
            json!(stats.evicted),
            json!(stats.closed),
            json!(stats.available),
            json!(stats.refused),
        ]);
    }
    table
}
