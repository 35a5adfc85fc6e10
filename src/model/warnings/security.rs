//! Rules of security groups and network ACLs that match nothing, or keep out what they mean to let in; and more of them than
//! EC2 has.

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;

use super::{Found, view::View};
use crate::model::{AclEntry, Eni, Id, LogScope, NetworkAcl, Permission, SecurityGroup, Traffic};

/// How many rules of a family and direction EC2 lets the groups of an ENI have, at most (QT-3).
const RULES: usize = 1000;

/// How many entries of a family and direction EC2 lets a network ACL have, at most, with the last, `*` (QT-4).
const ENTRIES: usize = 40;

/// The ports that Linux sends from, and so gets replies at.
const EPHEMERAL: (u16, u16) = (32768, 60999);

const TCP: u8 = 6;

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    let sets = sets(view);
    rules(view, &sets, found);
    enis(view, &sets, found);
    for acl in view.model.network_acls.values() {
        for egress in [false, true] {
            quota(acl, egress, found);
            shadowed(acl, egress, found);
            replies(acl, egress, found);
        }
    }
    logs(view, found);
}

/// The sets of groups that ENIs have, each with the first ENI that has it, and how many do.
type Sets<'m> = HashMap<&'m [Id], (&'m Eni, usize)>;

fn sets<'m>(view: &View<'m>) -> Sets<'m> {
    let mut sets = Sets::new();
    for eni in view.model.enis.values() {
        let (first, count) = sets.entry(&eni.groups).or_insert((eni, 0));
        *count += 1;
        if eni.id < first.id {
            *first = eni;
        }
    }
    sets
}

/// Rules with groups that nobody is in, or that are stale.
fn rules(view: &View<'_>, sets: &Sets<'_>, found: &mut Found) {
    let used: HashSet<&Id> = sets.keys().copied().flatten().collect();
    for group in view.model.security_groups.values() {
        for rule in group.ingress.iter().chain(&group.egress) {
            for stale in &rule.stale {
                let problem =
                    format!("its rule for {} is stale: {} is out of reach", rule.traffic, stale.peer);
                found.add(&group.id, problem, "leave it out, or peer the VPCs again");
            }
            for unused in rule.groups.iter().filter(|named| !used.contains(&named.peer)) {
                let problem =
                    format!("its rule for {} is for {}, which no ENI is in", rule.traffic, unused.peer);
                found.add(&group.id, problem, "put ENIs in that group, or leave the rule out");
            }
        }
    }
}

/// ENIs whose groups let nothing in, or have more rules than EC2 allows.
fn enis(view: &View<'_>, sets: &Sets<'_>, found: &mut Found) {
    for (set, (eni, count)) in sets {
        let others = if *count > 1 { format!(" (and {} others)", count - 1) } else { String::new() };
        let groups = || set.iter().filter_map(|id| view.model.security_groups.get(id));
        if groups().flat_map(|group| &group.ingress).all(is_empty) {
            let problem = format!("its security groups let nothing in{others}");
            found.add(&eni.id, problem, "add IpPermissions to one of them, unless it only sends");
        }
        let directions: [(_, fn(&SecurityGroup) -> &[Permission]); 2] =
            [("in", |group| &group.ingress), ("out", |group| &group.egress)];
        for (direction, of) in directions {
            for (ipv6, family) in [(false, "IPv4"), (true, "IPv6")] {
                let rules: usize = groups().flat_map(of).map(|rule| size(view, rule, ipv6)).sum();
                if rules > RULES {
                    let problem = format!(
                        "its security groups have {rules} rules for {family} {direction}{others}, EC2 allows {RULES} (QT-3)"
                    );
                    found.add(&eni.id, problem, "put blocks together, or leave the state out of EC2");
                }
            }
        }
    }
}

/// Whether a rule is for nobody.
fn is_empty(rule: &Permission) -> bool {
    rule.ranges4.is_empty()
        && rule.ranges6.is_empty()
        && rule.prefix_lists.is_empty()
        && rule.groups.is_empty()
}

/// As how many rules of a family EC2 counts one: a prefix list as its greatest length (QT-7).
fn size(view: &View<'_>, rule: &Permission, ipv6: bool) -> usize {
    let ranges = if ipv6 { rule.ranges6.len() } else { rule.ranges4.len() };
    let lists = rule.prefix_lists.iter().filter_map(|list| view.model.prefix_lists.get(&list.peer));
    let lists = lists.filter(|list| list.entries.iter().all(|block| matches!(block, IpNet::V6(_)) == ipv6));
    ranges + rule.groups.len() + lists.map(|list| usize::from(list.max_entries)).sum::<usize>()
}

/// More entries than EC2 allows.
fn quota(acl: &NetworkAcl, egress: bool, found: &mut Found) {
    for (ipv6, family) in [(false, "IPv4"), (true, "IPv6")] {
        let entries = acl.rules(egress).iter().filter(|entry| is_of(entry, ipv6)).count() + 1;
        if entries > ENTRIES {
            let direction = if egress { "out" } else { "in" };
            let problem = format!(
                "it has {entries} entries for {family} {direction}, EC2 allows {ENTRIES} with * (QT-4)"
            );
            found.add(&acl.id, problem, "put blocks together, or leave the state out of EC2");
        }
    }
}

fn is_of(entry: &AclEntry, ipv6: bool) -> bool {
    matches!(entry.block, IpNet::V6(_)) == ipv6
}

/// Entries that never match, as one before them that does the opposite matches all that they would (NACL-1).
fn shadowed(acl: &NetworkAcl, egress: bool, found: &mut Found) {
    let entries = acl.rules(egress);
    for (index, entry) in entries.iter().enumerate() {
        let mut before = entries.iter().take(index);
        let Some(first) = before.find(|first| first.block.contains(&entry.block) && covers(first, entry))
        else {
            continue;
        };
        if first.allow != entry.allow {
            let does = if first.allow { "allows" } else { "denies" };
            let direction = if egress { "out" } else { "in" };
            let problem = format!(
                "its entry {} {direction} never matches: entry {} {does} all of it before",
                entry.number, first.number
            );
            found.add(&acl.id, problem, "give it a lower number, or leave it out");
        }
    }
}

/// Whether all traffic of one entry is another's too.
fn covers(around: &AclEntry, inner: &AclEntry) -> bool {
    match (around.traffic, inner.traffic) {
        (Traffic::All, _) => true,
        (Traffic::Ports { protocol, from, to }, Traffic::Ports { protocol: other, from: low, to: high }) => {
            protocol == other && from <= low && high <= to
        }
        (
            Traffic::Icmp { protocol, kind, code },
            Traffic::Icmp { protocol: other, kind: inner_kind, code: inner_code },
        ) => {
            protocol == other
                && (kind.is_none() || kind == inner_kind)
                && (code.is_none() || code == inner_code)
        }
        (around, inner) => around == inner,
    }
}

/// Services that an ACL lets through in one direction, and whose replies it drops in the other (NACL-2).
fn replies(acl: &NetworkAcl, egress: bool, found: &mut Found) {
    for (ipv6, family) in [(false, "IPv4"), (true, "IPv6")] {
        let service = acl.rules(egress).iter().find(|entry| {
            let is_service = matches!(entry.traffic, Traffic::Ports { protocol: TCP, from: ..1024, .. });
            entry.allow && is_service && is_of(entry, ipv6)
        });
        let Some(service) = service else { continue };
        let back = acl.rules(!egress).iter().filter(|entry| entry.allow && is_of(entry, ipv6));
        if !are_open(back) {
            let (way, reverse) = if egress { ("out", "in") } else { ("in", "out") };
            let (from, to) = EPHEMERAL;
            let problem = format!(
                "its entry {} allows {} {way}, but nothing allows the replies {reverse}, over {family} to ports {from} to {to}",
                service.number, service.traffic
            );
            found.add(&acl.id, problem, format!("allow tcp 1024 to 65535 {reverse}"));
        }
    }
}

/// Whether entries that allow leave none of the ports out at which replies arrive.
fn are_open<'m>(entries: impl Iterator<Item = &'m AclEntry>) -> bool {
    let mut ranges: Vec<(u16, u16)> = entries
        .filter_map(|entry| match entry.traffic {
            Traffic::All => Some((0, u16::MAX)),
            Traffic::Ports { protocol: TCP, from, to } => Some((from, to)),
            _ => None,
        })
        .collect();
    ranges.sort_unstable();
    let mut next = u32::from(EPHEMERAL.0);
    for (from, to) in ranges {
        if u32::from(from) <= next {
            next = next.max(u32::from(to) + 1);
        }
    }
    next > u32::from(EPHEMERAL.1)
}

/// Flow logs of what Warren has no logs of.
fn logs(view: &View<'_>, found: &mut Found) {
    for log in view.model.flow_logs.values() {
        if let LogScope::Other(resource) = &log.scope {
            let problem = format!("{resource} has no flow logs here: it stays empty");
            found.add(&log.id, problem, "log a VPC, subnet or ENI");
        }
    }
}
