//! The flow logs.

use serde_json::json;

use super::{super::Table, Snapshot};

/// The flow logs, and what this node has done for them.
pub fn flow_logs(snapshot: &Snapshot) -> Table {
    let columns = [
        "flow_log",
        "resource",
        "traffic",
        "interval_s",
        "enis",
        "records",
        "bytes",
        "lost_records",
        "lost_lines",
        "last_file",
        "problem",
    ];
    let mut table = Table::new(&columns);
    for status in &snapshot.flow_logs {
        table.row([
            json!(status.log.id),
            json!(status.log.resource),
            json!(status.log.traffic.name()),
            json!(status.log.interval.as_secs()),
            json!(status.enis),
            json!(status.records),
            json!(status.bytes),
            json!(status.lost_records),
            json!(status.lost_lines),
            json!(status.last_file),
            json!(status.problem),
        ]);
    }
    table
}
