//! `warren show allowances`.

use serde_json::json;

use super::{super::Table, Snapshot};
use crate::{pipeline::Reason, tables::PortIndex};

/// The packets of the ENIs of this node that were beyond an allowance, by the names that EC2 has for them.
pub fn allowances(snapshot: &Snapshot) -> Table {
    let columns = [
        "port",
        "eni",
        "vpc",
        "bw_in_allowance_exceeded",
        "bw_out_allowance_exceeded",
        "pps_allowance_exceeded",
        "conntrack_allowance_exceeded",
        "linklocal_allowance_exceeded",
    ];
    let mut table = Table::new(&columns);
    let ports = (0..).map(PortIndex).zip(&snapshot.port_names);
    for ((index, name), occupant) in ports.zip(&snapshot.occupants) {
        let Some((eni, vpc)) = occupant else { continue };
        let dropped = |reasons: &[Reason]| {
            let all = snapshot.counters.iter().flat_map(|of| reasons.iter().map(move |&reason| (of, reason)));
            json!(all.map(|(of, reason)| of.ports.port(index).drops(reason)).sum::<u64>())
        };
        table.row([
            json!(name),
            json!(eni),
            json!(vpc),
            dropped(&[Reason::BwIn]),
            dropped(&[Reason::BwOut]),
            dropped(&[Reason::Pps]),
            dropped(&[Reason::ConntrackFull, Reason::ConnectionsLimited]),
            dropped(&[Reason::DnsPps]),
        ]);
    }
    table
}
