//! `warren show multicast`: the groups of transit gateways' multicast domains.

use std::net::Ipv4Addr;

use hashbrown::HashMap;
use serde_json::json;

use super::{super::Table, sorted};
use crate::{
    model::{Eni, Id, Model, MulticastDomain},
    node::multicast::Joined,
    tables::EniKey,
};

/// Members and sources of every group: those that are registered, and the memberships by IGMP that this node knows of.
pub fn multicast(model: &Model, joined: &[Joined]) -> Table {
    let columns =
        ["domain", "transit_gateway", "kind", "group", "role", "eni", "host", "origin", "expires_s"];
    let mut table = Table::new(&columns);
    // Looking at all ENIs is for those who have memberships only.
    let by_key = if joined.is_empty() { HashMap::new() } else { by_key(model) };
    for domain in sorted(&model.multicast_domains) {
        let mut entries = registered(domain);
        let of_domain = joined.iter().filter(|member| member.domain == domain.id);
        entries.extend(of_domain.filter_map(|member| {
            let (eni, expires) = (by_key.get(&member.eni)?, Some(member.left.as_secs()));
            Some(Entry { group: member.group, role: "member", eni, expires })
        }));
        entries.sort_unstable();
        let kind = match (domain.igmp, domain.static_sources) {
            (true, _) => "igmp",
            (false, true) => "static sources",
            (false, false) => "static",
        };
        let mut row = |entry: Option<&Entry<'_>>| {
            let host = entry.and_then(|entry| model.enis.get(entry.eni)?.attachment.as_ref());
            table.row([
                json!(domain.id),
                json!(domain.gateway),
                json!(kind),
                json!(entry.map(|entry| entry.group)),
                json!(entry.map(|entry| entry.role)),
                json!(entry.map(|entry| entry.eni)),
                json!(host.map(|at| &at.host)),
                json!(entry.map(|entry| if entry.expires.is_some() { "igmp" } else { "static" })),
                json!(entry.and_then(|entry| entry.expires)),
            ]);
        };
        entries.iter().for_each(|entry| row(Some(entry)));
        if entries.is_empty() {
            row(None);
        }
    }
    table
}

/// What an ENI is in a group; in the order of the rows.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry<'m> {
    group: Ipv4Addr,
    role: &'static str,
    eni: &'m Id,
    /// Seconds; `None` of what is registered.
    expires: Option<u64>,
}

fn registered(domain: &MulticastDomain) -> Vec<Entry<'_>> {
    let members = domain.members.iter().map(|it| ("member", it));
    let sources = domain.sources.iter().map(|it| ("source", it));
    members
        .chain(sources)
        .map(|(role, it)| Entry { group: it.group, role, eni: &it.eni, expires: None })
        .collect()
}

fn by_key(model: &Model) -> HashMap<EniKey, &Id> {
    let key = |eni: &Eni| Some((model.vpcs.get(&eni.vpc)?.vni, eni.mac));
    model.enis.values().filter_map(|eni| Some((key(eni)?, &eni.id))).collect()
}
