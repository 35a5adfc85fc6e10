//! Which traffic security groups let through, and which network ACLs.
//!
//! A [`Policy`] is the union of the rules of one set of groups (SEC-1), compiled: a lookup finds the address among sorted
//! disjoint ranges, then the traffic among those of each prefix around the address, so that it costs the logarithm of the
//! number of rules. All ENIs with the same set of groups share it.

mod acl;
mod groups;
mod prefixes;
mod rules;
mod spans;

use std::{net::IpAddr, sync::Arc};

use hashbrown::HashMap;
use ipnet::IpNet;

pub use acl::{Acl, AclVerdict};
pub use groups::{GroupIndex, GroupSetIndex, GroupSets};
pub use rules::{GroupRules, Rule, RuleName, RulePeer};

use super::Direction;
use prefixes::{Found, Prefixes};
use spans::{ListIndex, Lists, ListsBuilder, TrafficRange, key};

/// IP protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A packet, as rules see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The address of the other end.
    pub remote: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// TCP and UDP: the destination port. ICMP and ICMPv6: type << 8 | code. Others: 0.
    pub port: u16,
}

/// A rule of a [`Policy`], by its position in a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleIndex(pub u32);

/// What lets a packet through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The rule: one for all addresses if there is one, else one for the longest prefix around the address, else one for a
    /// group; of several, the first.
    pub rule: RuleIndex,
    /// Whether it is a rule for all addresses (SEC-4).
    pub everywhere: bool,
}

/// What the peers of rules stand for.
pub trait RulePeers {
    /// The blocks of a prefix list; none of one that nobody knows.
    fn blocks(&self, list: &str) -> &[IpNet];

    /// The number of a group; `None` of one that does not exist (any more), whose rules match nothing.
    fn group(&self, id: &str) -> Option<GroupIndex>;
}

/// The rules of one set of security groups. The default is that of no groups: nothing passes.
#[derive(Default)]
pub struct Policy {
    groups: Box<[Arc<GroupRules>]>,
    ingress: Side,
    egress: Side,
}

/// The rules of one direction, compiled.
#[derive(Default)]
struct Side {
    v4: Prefixes<u32>,
    v6: Prefixes<u128>,
    /// Sorted.
    groups: Box<[(GroupIndex, ListIndex)]>,
    lists: Lists,
    open_v4: Open,
    open_v6: Open,
}

/// Which protocols a rule for all addresses and all ports allows.
#[derive(Clone, Copy, Default)]
struct Open {
    tcp: bool,
    udp: bool,
}

impl Policy {
    /// The policy of a set of groups. Their order decides which of several rules is named.
    pub fn new(groups: impl IntoIterator<Item = Arc<GroupRules>>, peers: &dyn RulePeers) -> Self {
        let groups: Box<[_]> = groups.into_iter().collect();
        let side = |direction| {
            let rules = groups.iter().flat_map(|group| group.rules(direction));
            Side::new(rules.map(|rule| &rule.name), peers)
        };
        Self { ingress: side(Direction::Ingress), egress: side(Direction::Egress), groups }
    }

    /// The rule that lets a packet through in a direction. `remote_groups` are those of the ENI that has the remote address
    /// as a private one (SEC-12), and matter only if [`Policy::needs_groups`].
    #[inline]
    pub fn find(&self, direction: Direction, shown: &Shown, remote_groups: &[GroupIndex]) -> Option<Grant> {
        let side = self.side(direction);
        let traffic = key(shown.protocol, shown.port);
        let found = match shown.remote {
            IpAddr::V4(remote) => side.v4.find(remote.to_bits(), traffic, &side.lists),
            IpAddr::V6(remote) => side.v6.find(remote.to_bits(), traffic, &side.lists),
        };
        match found {
            Some(Found { rule, everywhere }) => Some(Grant { rule, everywhere }),
            None => Some(Grant { rule: side.find_by_groups(remote_groups, traffic)?, everywhere: false }),
        }
    }

    /// Whether a direction has one rule for all addresses of a family and all ports of a protocol, so that what such a rule
    /// lets through in the other direction needs no tracking (SEC-4). Never of another protocol than TCP and UDP.
    #[inline]
    pub fn is_open(&self, direction: Direction, protocol: u8, v6: bool) -> bool {
        let side = self.side(direction);
        let open = if v6 { side.open_v6 } else { side.open_v4 };
        match protocol {
            TCP => open.tcp,
            UDP => open.udp,
            _ => false,
        }
    }

    /// Whether a rule of a direction names a group.
    #[inline]
    pub fn needs_groups(&self, direction: Direction) -> bool {
        !self.side(direction).groups.is_empty()
    }

    /// Counts a flow that a rule let through.
    #[inline]
    pub fn hit(&self, direction: Direction, rule: RuleIndex) {
        if let Some(rule) = self.rule(direction, rule) {
            rule.hit();
        }
    }

    /// A rule.
    pub fn rule(&self, direction: Direction, rule: RuleIndex) -> Option<&Rule> {
        let mut index = rule.0 as usize;
        for group in &self.groups {
            let rules = group.rules(direction);
            match rules.get(index) {
                Some(rule) => return Some(rule),
                None => index -= rules.len(),
            }
        }
        None
    }

    /// The rules of a direction, and how many flows each has let through on this node.
    pub fn rules(&self, direction: Direction) -> impl Iterator<Item = (&RuleName, u64)> {
        self.groups.iter().flat_map(move |group| group.rules(direction)).map(|rule| (&rule.name, rule.hits()))
    }

    /// The groups.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<GroupRules>> {
        self.groups.iter()
    }

    /// Memory of the compiled rules, in bytes, without their names.
    pub fn bytes(&self) -> usize {
        self.ingress.bytes() + self.egress.bytes()
    }

    #[inline]
    fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

impl Side {
    fn new<'a>(rules: impl Iterator<Item = &'a RuleName>, peers: &dyn RulePeers) -> Self {
        let mut ranges = Vec::new();
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let mut of_groups = HashMap::<GroupIndex, Vec<RuleIndex>>::new();
        let (mut open_v4, mut open_v6) = (Open::default(), Open::default());
        for (name, rule) in rules.zip(0..) {
            let range = TrafficRange::of(name.traffic);
            ranges.push(range);
            let rule = RuleIndex(rule);
            let mut block = |block: &IpNet| {
                match block {
                    IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits(), rule)),
                    IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits(), rule)),
                }
                if block.prefix_len() == 0 {
                    let open = if matches!(block, IpNet::V4(_)) { &mut open_v4 } else { &mut open_v6 };
                    open.tcp |= range.holds_all_of(TCP);
                    open.udp |= range.holds_all_of(UDP);
                }
            };
            match &name.peer {
                RulePeer::Block(peer) => block(peer),
                RulePeer::PrefixList(list) => peers.blocks(list).iter().for_each(block),
                RulePeer::Stale(_) => {}
                RulePeer::Group(id) => {
                    if let Some(group) = peers.group(id) {
                        of_groups.entry(group).or_default().push(rule);
                    }
                }
            }
        }
        let mut lists = ListsBuilder::new(&ranges);
        let mut groups: Box<[_]> =
            of_groups.iter().map(|(group, rules)| (*group, lists.list(rules))).collect();
        groups.sort_unstable();
        Self {
            v4: Prefixes::new(v4, &mut lists),
            v6: Prefixes::new(v6, &mut lists),
            groups,
            lists: lists.finish(),
            open_v4,
            open_v6,
        }
    }

    /// The first of the rules for any of the groups.
    fn find_by_groups(&self, groups: &[GroupIndex], traffic: u32) -> Option<RuleIndex> {
        let rule_for = |group: &GroupIndex| {
            let at = self.groups.binary_search_by_key(group, |(group, _)| *group).ok()?;
            self.lists.find(self.groups.get(at)?.1, traffic)
        };
        groups.iter().filter_map(rule_for).min()
    }

    fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes() + size_of_val(&*self.groups) + self.lists.bytes()
    }
}
