//! `warren show flows`.

use std::{cmp::Reverse, collections::BinaryHeap, net::IpAddr, sync::Arc};

use hashbrown::HashMap;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{super::Table, Snapshot};
use crate::{
    flow::connections::{FlowState, Shown},
    model::Id,
    packet::protocol,
};

/// Which flows are asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, clap::Args)]
pub struct FlowFilter {
    /// Of `flows`: only those with an end in this address or block.
    #[arg(long, value_name = "ADDRESS", value_parser = block)]
    pub address: Option<IpNet>,
    /// Of `flows`: only those of tcp, udp, icmp, icmpv6 or a protocol's number.
    #[arg(long, value_name = "PROTOCOL", value_parser = number)]
    pub protocol: Option<u8>,
    /// Of `flows`: only those in this state.
    #[arg(long, value_enum)]
    pub state: Option<FlowState>,
    /// Of `flows`: by what the first ones have most [default: bytes].
    #[arg(long, value_enum)]
    pub top: Option<Top>,
    /// Of `flows`: at most so many [default: 100].
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// What flows are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Top {
    /// Bytes in both directions.
    #[default]
    Bytes,
    /// Packets in both directions.
    Packets,
}

/// Flows that are shown if no number is stated.
const LIMIT: usize = 100;

/// An address, or a block.
fn block(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_| text.parse()).map_err(|_| "expected an address or block, such as 10.0.1.0/24".into())
}

/// The protocols with names.
const PROTOCOLS: [(&str, u8); 4] =
    [("tcp", protocol::TCP), ("udp", protocol::UDP), ("icmp", protocol::ICMP), ("icmpv6", protocol::ICMPV6)];

fn number(text: &str) -> Result<u8, String> {
    let named = PROTOCOLS.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    let known = || "expected tcp, udp, icmp, icmpv6 or a number up to 255".to_owned();
    named.or_else(|| text.parse().ok()).ok_or_else(known)
}

fn name(number: u8) -> String {
    let named = PROTOCOLS.iter().find(|(_, of)| *of == number);
    named.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

impl FlowFilter {
    /// Whether anything is asked for.
    pub fn is_stated(&self) -> bool {
        let Self { address, protocol, state, top, limit } = self;
        address.is_some() || protocol.is_some() || state.is_some() || top.is_some() || limit.is_some()
    }

    fn takes(&self, flow: &Shown) -> bool {
        let ends = [flow.ends.local, flow.ends.remote];
        self.address.is_none_or(|block| ends.iter().any(|end| block.contains(end)))
            && self.protocol.is_none_or(|protocol| flow.ends.protocol == protocol)
            && self.state.is_none_or(|state| flow.state == state)
    }

    /// What flows are sorted by.
    fn weight(&self, flow: &Shown) -> u64 {
        let (ingress, egress) = (flow.ingress, flow.egress);
        match self.top.unwrap_or_default() {
            Top::Bytes => ingress.1 + egress.1,
            Top::Packets => ingress.0 + egress.0,
        }
    }
}

/// A flow and the ENI that it is of, sorted by weight.
struct Weighed(u64, Shown, Id);

impl Ord for Weighed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Weighed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Weighed {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Weighed {}

/// The flows of this node's ENIs, or of one, that a filter takes: the heaviest first. `each` calls for all of all workers.
///
/// # Errors
///
/// The ENI is not of this node, or what `each` says.
pub fn flows(
    snapshot: &Snapshot,
    eni: Option<&str>,
    filter: &FlowFilter,
    each: impl FnOnce(&mut dyn FnMut(Shown)) -> Result<(), String>,
) -> Result<Table, String> {
    let here = snapshot.enis.iter().filter(|of| eni.is_none_or(|eni| *of.id == *eni));
    let stays: HashMap<u32, Id> = here.map(|of| (of.stay, Arc::clone(&of.id))).collect();
    if let (Some(eni), true) = (eni, stays.is_empty()) {
        return Err(super::security::elsewhere(snapshot, eni));
    }
    let limit = filter.limit.unwrap_or(LIMIT);
    let mut heaviest = BinaryHeap::with_capacity(limit.min(LIMIT));
    each(&mut |flow| {
        if let Some(eni) = stays.get(&flow.stay).filter(|_| filter.takes(&flow)) {
            heaviest.push(Reverse(Weighed(filter.weight(&flow), flow, Arc::clone(eni))));
            if heaviest.len() > limit {
                heaviest.pop();
            }
        }
    })?;
    let mut table = Table::new(&[
        "eni",
        "protocol",
        "local",
        "local_port",
        "remote",
        "remote_port",
        "begun_by",
        "state",
        "packets_in",
        "bytes_in",
        "packets_out",
        "bytes_out",
        "age_s",
        "expires_in_s",
    ]);
    for Reverse(Weighed(_, flow, eni)) in heaviest.into_sorted_vec() {
        let Shown { ends, ingress, egress, .. } = flow;
        table.row([
            json!(eni),
            json!(name(ends.protocol)),
            json!(ends.local),
            json!(ends.local_port),
            json!(ends.remote),
            json!(ends.remote_port),
            json!(if flow.from_eni { "local" } else { "remote" }),
            json!(flow.state),
            json!(ingress.0),
            json!(ingress.1),
            json!(egress.0),
            json!(egress.1),
            json!(flow.age.as_secs()),
            json!(flow.left.as_secs()),
        ]);
    }
    Ok(table)
}
