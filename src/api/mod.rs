//! The control socket: requests, replies, and the tables that `warren show` prints.
//!
//! One connection carries one request and its reply, each a line of JSON; behind the reply to a capture comes what it
//! captures. The socket is a file that only root may open.

pub mod capture;
pub mod client;
#[cfg(feature = "dpdk")]
pub mod server;
pub mod show;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    model::{Document, StateError},
    trace::{Probe, Trace},
};

/// What a client asks.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Put these documents in force as the whole state.
    Apply(Vec<Document>),
    /// Show something.
    Show {
        /// What.
        what: What,
        /// The ENI that it is about, where it is about one.
        eni: Option<String>,
        /// Which flows, where it is about them.
        #[serde(default)]
        flows: show::FlowFilter,
    },
    /// Capture packets.
    Capture(capture::Wanted),
    /// Say what would become of a packet.
    Trace(Probe),
}

/// What can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The hosts of the underlay, and whether they can be reached.
    Hosts,
    /// The VPCs.
    Vpcs,
    /// The subnets.
    Subnets,
    /// The network interfaces, and where they are attached.
    Enis,
    /// The routes, by subnet, gateway and transit gateway: whether they are in force, and why not.
    Routes,
    /// What may reach an ENI of this node and what may leave it: the rules of its security groups, with the flows that each
    /// let through, and the entries of its subnet's network ACL.
    Security,
    /// This node's ports.
    Ports,
    /// The identities that the host's link-local services see.
    Services,
    /// The gateways, and what of them this node serves.
    Gateways,
    /// The multicast domains of transit gateways: who is a member of which group, and who may send to it.
    Multicast,
    /// Where gateways' routes by BGP come from.
    Bgp,
    /// The connections of this node's ENIs, and how many more they may have.
    Connections,
    /// The flows of this node's ENIs, or of one: the connections, and what is not tracked; the heaviest first.
    Flows,
    /// The packets of this node's ENIs that were beyond an allowance.
    Allowances,
    /// The workers' tables of NAT bindings.
    Nat,
    /// The flow logs, and what this node has done for them.
    FlowLogs,
    /// The poll-mode workers.
    Workers,
    /// The packets dropped, by port and reason.
    Drops,
    /// The packets and bytes of each port.
    Stats,
}

/// What the daemon replies.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// The state is in force.
    Applied(Applied),
    /// A table.
    Shown(Table),
    /// A capture has started; what it captures follows.
    Capturing(capture::Capturing),
    /// What would become of the packet.
    Traced(Trace),
    /// The documents are wrong, so nothing has changed.
    Invalid(Vec<StateError>),
    /// The request could not be carried out, so nothing has changed.
    Failed(String),
}

/// A state that was put in force.
#[derive(Debug, Serialize, Deserialize)]
pub struct Applied {
    /// The generation of the tables.
    pub generation: u64,
    /// Until every worker used them, in microseconds; `None` where one has not after a second.
    pub adopted_after_us: Option<u64>,
    /// The workers which have not.
    pub laggards: Vec<usize>,
    /// What changed, for programs.
    pub difference: Value,
    /// What changed, for people.
    pub text: String,
}

/// Rows of named values, with the order in which people read them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Table {
    /// Keys of the rows.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<serde_json::Map<String, Value>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|&column| column.into()).collect(), rows: Vec::new() }
    }

    /// Adds a row: values in the order of the columns.
    pub fn row(&mut self, values: impl IntoIterator<Item = Value>) {
        self.rows.push(self.columns.iter().cloned().zip(values).collect());
    }

    /// For people: aligned columns under upper-case titles.
    pub fn render(&self) -> String {
        let titles = self.columns.iter().map(|column| column.to_uppercase().replace('_', " ")).collect();
        let cells = |row: &serde_json::Map<String, Value>| -> Vec<String> {
            self.columns.iter().map(|column| row.get(column).map_or_else(String::new, plain)).collect()
        };
        let lines: Vec<Vec<String>> = std::iter::once(titles).chain(self.rows.iter().map(cells)).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        for line in &lines {
            let padded = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    /// For programs: the rows.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(&self.rows).unwrap_or_default()
    }
}

/// A value as people write it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "-".into(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(" "),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        other => other.to_string(),
    }
}
