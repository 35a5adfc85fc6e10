//! The rules of a security group by name, and how often each was used.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hashbrown::HashMap;
use ipnet::IpNet;

use super::Direction;
use crate::model::{self, Id, Permission, SecurityGroup, Traffic};

/// A rule as an operator knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleName {
    /// Its group.
    pub group: Id,
    /// The traffic.
    pub traffic: Traffic,
    /// With whom.
    pub peer: RulePeer,
    /// `Description`.
    pub description: Option<Box<str>>,
}

/// Whom a rule allows traffic with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RulePeer {
    /// The addresses of a block.
    Block(IpNet),
    /// Those of a prefix list.
    PrefixList(Id),
    /// The members of a group.
    Group(Id),
    /// Nobody: the group, or the peering with its VPC, is gone or not active. EC2 calls the rule stale.
    Stale(Id),
}

impl fmt::Display for RulePeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(block) => block.fmt(f),
            Self::PrefixList(id) | Self::Group(id) => f.write_str(id),
            Self::Stale(id) => write!(f, "{id} (stale)"),
        }
    }
}

/// A rule.
pub struct Rule {
    /// Its name.
    pub name: RuleName,
    /// Flows that it let through; outlives changes of the group's other rules.
    hits: Arc<AtomicU64>,
}

impl Rule {
    #[inline]
    pub(super) fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    /// Flows that it let through on this node.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }
}

/// The rules of a group, which all policies with the group share.
pub struct GroupRules {
    /// The group.
    pub id: Id,
    ingress: Box<[Rule]>,
    egress: Box<[Rule]>,
}

impl GroupRules {
    /// Those of a group. A rule that was among `before` goes on counting.
    pub fn new(group: &SecurityGroup, before: Option<&Self>) -> Self {
        let rules = |permissions, direction| {
            let before = before.map_or(&[][..], |before| before.rules(direction));
            rules(&group.id, permissions, before)
        };
        Self {
            id: Id::clone(&group.id),
            ingress: rules(&group.ingress, Direction::Ingress),
            egress: rules(&group.egress, Direction::Egress),
        }
    }

    /// Those of a direction.
    #[inline]
    pub fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// Whom its rules allow traffic with.
    pub fn peers(&self) -> impl Iterator<Item = &RulePeer> {
        self.ingress.iter().chain(&self.egress).map(|rule| &rule.name.peer)
    }
}

fn rules(group: &Id, permissions: &[Permission], before: &[Rule]) -> Box<[Rule]> {
    let identity = |name: &RuleName| (name.traffic, name.peer.clone());
    let mut hits: HashMap<_, _> =
        before.iter().map(|rule| (identity(&rule.name), Arc::clone(&rule.hits))).collect();
    let names = permissions.iter().flat_map(|permission| {
        peers(permission).map(|(peer, description)| RuleName {
            group: Id::clone(group),
            traffic: permission.traffic,
            peer,
            description: description.clone(),
        })
    });
    // Of a rule that is stated twice, only one goes on counting.
    names.map(|name| Rule { hits: hits.remove(&identity(&name)).unwrap_or_default(), name }).collect()
}

fn peers(permission: &Permission) -> impl Iterator<Item = (RulePeer, &Option<Box<str>>)> {
    fn each<T: Clone, P>(
        peers: &[model::Peer<T>],
        peer: impl Fn(T) -> P,
    ) -> impl Iterator<Item = (P, &Option<Box<str>>)> {
        peers.iter().map(move |stated| (peer(stated.peer.clone()), &stated.description))
    }
    each(&permission.ranges4, |block| RulePeer::Block(block.into()))
        .chain(each(&permission.ranges6, |block| RulePeer::Block(block.into())))
        .chain(each(&permission.prefix_lists, RulePeer::PrefixList))
        .chain(each(&permission.groups, RulePeer::Group))
        .chain(each(&permission.stale, RulePeer::Stale))
}
