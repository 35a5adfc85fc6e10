//! `warren show security`: what may reach an ENI of this node and what may leave it.

use serde_json::json;

use super::{super::Table, Snapshot};
use crate::{
    model::{AclEntry, Traffic},
    tables::{Acl, AclVerdict, Direction, Policy},
};

const DIRECTIONS: [(Direction, &str); 2] = [(Direction::Ingress, "ingress"), (Direction::Egress, "egress")];

/// What is in force at an ENI of this node, as [`rules`] shows it.
///
/// # Errors
///
/// No ENI of this node was named.
pub fn security(snapshot: &Snapshot, eni: Option<&str>) -> Result<Table, String> {
    let id = eni.ok_or("name an ENI of this node, as in `warren show security eni-a1`")?;
    let eni = snapshot.enis.iter().find(|eni| *eni.id == *id).ok_or_else(|| elsewhere(snapshot, id))?;
    Ok(rules(&eni.policy, &eni.acl))
}

/// The rules of security groups, with the flows that each let through on this node, and the entries of a network ACL.
pub fn rules(policy: &Policy, acl: &Acl) -> Table {
    let columns = ["of", "direction", "number", "action", "protocol", "ports", "peer", "hits", "description"];
    let mut table = Table::new(&columns);
    of_groups(&mut table, policy);
    of_acl(&mut table, acl);
    table
}

pub(super) fn elsewhere(snapshot: &Snapshot, id: &str) -> String {
    match snapshot.model.enis.get(id).map(|eni| &eni.attachment) {
        Some(Some(at)) => format!("{id} is attached to host {}; ask the node there", at.host),
        Some(None) => format!("{id} is attached to no host; attach it first"),
        None => format!("the state has no ENI {id}; `warren show enis` lists them"),
    }
}

fn of_groups(table: &mut Table, policy: &Policy) {
    for (direction, name) in DIRECTIONS {
        for (rule, hits) in policy.rules(direction) {
            table.row([
                json!(rule.group),
                json!(name),
                json!(null),
                json!("allow"),
                json!(protocol(rule.traffic)),
                json!(ports(rule.traffic)),
                json!(rule.peer.to_string()),
                json!(hits),
                json!(rule.description),
            ]);
        }
    }
}

fn of_acl(table: &mut Table, acl: &Acl) {
    let of = acl.id.as_deref().unwrap_or("default");
    for (direction, name) in DIRECTIONS {
        let mut row = |number: u16, allow: bool, traffic: Traffic, peer: Option<String>| {
            let action = if allow { "allow" } else { "deny" };
            table.row([
                json!(of),
                json!(name),
                json!(number),
                json!(action),
                json!(protocol(traffic)),
                json!(ports(traffic)),
                json!(peer),
                json!(null),
                json!(null),
            ]);
        };
        for &AclEntry { number, allow, traffic, block, .. } in acl.entries(direction) {
            row(number, allow, traffic, Some(block.to_string()));
        }
        row(AclVerdict::LAST, false, Traffic::All, None);
    }
}

/// The protocol, as state documents have it but for `all`.
fn protocol(traffic: Traffic) -> String {
    match traffic {
        Traffic::All => "all".into(),
        Traffic::Ports { protocol, .. } | Traffic::Icmp { protocol, .. } | Traffic::Protocol(protocol) => {
            match protocol {
                1 => "icmp".into(),
                6 => "tcp".into(),
                17 => "udp".into(),
                58 => "icmpv6".into(),
                other => other.to_string(),
            }
        }
    }
}

/// The ports, or ICMP's type and code; `None` for all.
fn ports(traffic: Traffic) -> Option<String> {
    match traffic {
        Traffic::Ports { from: 0, to: u16::MAX, .. } => None,
        Traffic::Ports { from, to, .. } if from == to => Some(from.to_string()),
        Traffic::Ports { from, to, .. } => Some(format!("{from}-{to}")),
        Traffic::Icmp { kind: Some(kind), code: Some(code), .. } => Some(format!("type {kind} code {code}")),
        Traffic::Icmp { kind: Some(kind), .. } => Some(format!("type {kind}")),
        Traffic::All | Traffic::Icmp { .. } | Traffic::Protocol(_) => None,
    }
}
