//! Which of a route table's routes are in force, and why the others are not.

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;
use serde::Serialize;

use super::{
    circuits::Ends,
    learned::{Learned, RoutesOf, routes_of},
};
use crate::model::{self, AttachmentKind, Destination, EndpointService, Id, Model, Target};

/// The most propagated routes of a table (BGP-6).
pub const MOST_PROPAGATED: usize = 100;
/// The most that are listed: the ones in force, and some of those that are too many.
const MOST_LISTED: usize = 1000;

/// A route of a table, as it is in force or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// What it is for.
    pub destination: IpNet,
    /// Where it leads.
    pub target: Target,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether it is in force.
    pub state: State,
}

/// Where a route comes from. In the order of preference among equal destinations (RT-4).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A block of the VPC (RT-2).
    Local,
    /// It is stated.
    Static,
    /// A prefix list is stated; the lowest id first (RT-15).
    PrefixList(Id),
    /// A virtual private gateway, or a transit gateway's attachment, propagates it.
    Propagated(Id),
}

/// Whether a route is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is.
    Active,
    /// It is, but its target can't take packets: they are dropped (RT-12).
    Blackhole(String),
    /// Another route is, or none.
    Unused(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Static => f.write_str("static"),
            Self::PrefixList(id) => write!(f, "prefix list {id}"),
            Self::Propagated(id) => write!(f, "propagated by {id}"),
        }
    }
}

/// The blocks of a VPC.
pub(super) fn blocks(vpc: &model::Vpc) -> impl Iterator<Item = IpNet> + '_ {
    let four = vpc.cidrs4.iter().copied().map(IpNet::V4);
    four.chain(vpc.cidrs6.iter().copied().map(IpNet::V6))
}

/// The routes of a VPC's route table, each in its state, by destination.
pub fn effective(model: &Model, learned: &Learned, table: &model::RouteTable) -> Vec<Effective> {
    let ends = Ends::new(model);
    effective_with(model, &|gateway| routes_of(model, &ends, learned, gateway), table)
}

/// As [`effective`], with the gateways' routes from elsewhere.
pub(super) fn effective_with(
    model: &Model,
    routes_of: &RoutesOf<'_>,
    table: &model::RouteTable,
) -> Vec<Effective> {
    let Some(vpc) = model.vpcs.get(&table.vpc) else { return Vec::new() };
    let mut routes = Vec::new();
    for route in &table.routes {
        match &route.destination {
            Destination::Block(block) => {
                let origin = if route.target == Target::Local { Origin::Local } else { Origin::Static };
                routes.push((*block, route.target.clone(), origin));
            }
            Destination::PrefixList(id) => {
                let entries =
                    model.prefix_lists.get(id).map(|list| list.entries.as_slice()).unwrap_or_default();
                let origin = Origin::PrefixList(Id::clone(id));
                routes.extend(entries.iter().map(|&entry| (entry, route.target.clone(), origin.clone())));
            }
        }
    }
    let propagated = propagated(model, routes_of, table);
    let refused: HashSet<(IpNet, &Id)> = propagated.iter().skip(MOST_PROPAGATED).copied().collect();
    routes.extend(propagated.iter().map(|&(prefix, gateway)| {
        let (target, origin) =
            (Target::VpnGateway(Id::clone(gateway)), Origin::Propagated(Id::clone(gateway)));
        (prefix, target, origin)
    }));
    let unused = |destination: &IpNet, origin: &Origin| match origin {
        Origin::Propagated(_) if blocks(vpc).any(|block| block.contains(destination)) => {
            Some("inside the VPC, where its own routes win (RT-5)".to_owned())
        }
        Origin::Propagated(_) if matches!(destination, IpNet::V6(_)) => {
            Some("virtual private gateways carry no IPv6 (BGP-7)".to_owned())
        }
        Origin::Propagated(gateway) if refused.contains(&(*destination, gateway)) => {
            Some(format!("more than {MOST_PROPAGATED} propagated routes (BGP-6)"))
        }
        _ => None,
    };
    in_order(routes, unused, |target| {
        let of_vpc = || unusable(model, &table.vpc, target);
        refuses(model, table, target).map(str::to_owned).or_else(of_vpc)
    })
}

/// The routes that virtual private gateways attached to the VPC propagate into a table: IPv4 first, in order, so that which
/// ones are too many doesn't depend on when they came. Of far too many, only some.
fn propagated<'m>(
    model: &'m Model,
    routes_of: &RoutesOf<'_>,
    table: &'m model::RouteTable,
) -> Vec<(IpNet, &'m Id)> {
    let attached =
        |id: &&Id| model.vpn_gateways.get(*id).is_some_and(|it| it.vpc.as_ref() == Some(&table.vpc));
    let mut propagated: Vec<_> = table
        .propagating
        .iter()
        .filter(attached)
        .flat_map(|id| {
            let routes = routes_of(id);
            routes.in_order().take(MOST_LISTED).map(|(prefix, _)| (prefix, id)).collect::<Vec<_>>()
        })
        .collect();
    propagated.sort_unstable();
    propagated.truncate(MOST_LISTED);
    propagated
}

/// Why a gateway route table may not have a target, if it may not (ING-3, ING-4): packets to it are dropped.
pub(super) fn refuses(model: &Model, table: &model::RouteTable, target: &Target) -> Option<&'static str> {
    let gateway = table.gateway.as_ref()?;
    let of_internet = model.internet_gateways.contains_key(gateway);
    match target {
        Target::Local => None,
        Target::Eni(id) => {
            let eni = model.enis.get(id)?;
            let mut privates = eni.primary4.iter().chain(&eni.secondary4);
            let is_public = |private: &std::net::Ipv4Addr| {
                model.public_addresses.values().any(|it| it.vpc == eni.vpc && it.private == *private)
            };
            let usable = eni.attachment.is_some() && privates.any(is_public);
            (of_internet && !usable)
                .then_some("it is attached to no host, or has no public IPv4 address (ING-4)")
        }
        Target::Endpoint(_) if of_internet => None,
        _ => Some("a gateway route table leads to ENIs only, and an internet gateway's to endpoints (ING-3)"),
    }
}

/// Sorts candidates by destination and preference, and tells their states.
fn in_order(
    mut routes: Vec<(IpNet, Target, Origin)>,
    unused: impl Fn(&IpNet, &Origin) -> Option<String>,
    unusable: impl Fn(&Target) -> Option<String>,
) -> Vec<Effective> {
    // Stable: of equal ones the first that was stated.
    routes.sort_by(|(a, _, x), (b, _, y)| (a, x).cmp(&(b, y)));
    let mut chosen: HashMap<IpNet, Origin> = HashMap::new();
    routes
        .into_iter()
        .map(|(destination, target, origin)| {
            let state = if let Some(why) = unused(&destination, &origin) {
                State::Unused(why)
            } else if let Some(winner) = chosen.get(&destination) {
                State::Unused(format!("{winner} wins (RT-4)"))
            } else {
                chosen.insert(destination, origin.clone());
                unusable(&target).map_or(State::Active, State::Blackhole)
            };
            Effective { destination, target, origin, state }
        })
        .collect()
}

/// Why packets to a target of a VPC's route table go nowhere, if they do (RT-12).
pub fn unusable(model: &Model, vpc: &str, target: &Target) -> Option<String> {
    let attached = |of: Option<&Option<Id>>, id: &Id| match of {
        Some(Some(of)) if **of == *vpc => unserved(model, id),
        Some(_) => Some(format!("{id} is not attached to {vpc}")),
        None => Some(format!("{id} is gone")),
    };
    match target {
        Target::Local => None,
        Target::Eni(id) => match model.enis.get(id) {
            None => Some(format!("{id} is gone")),
            Some(eni) if eni.attachment.is_none() => Some(format!("{id} is attached to no host")),
            Some(_) => None,
        },
        Target::InternetGateway(id) => attached(model.internet_gateways.get(id).map(|it| &it.vpc), id),
        Target::EgressOnly(id) => attached(model.egress_only_gateways.get(id).map(|it| &it.vpc), id),
        Target::VpnGateway(id) => attached(model.vpn_gateways.get(id).map(|it| &it.vpc), id),
        Target::Nat(id) => match model.nat_gateways.get(id) {
            None => Some(format!("{id} is gone")),
            Some(_) => unserved(model, id),
        },
        Target::Peering(id) => match model.peerings.get(id) {
            None => Some(format!("{id} is gone")),
            Some(peering) if !peering.active => Some(format!("{id} is not active")),
            Some(peering) => match peering.peer_of(vpc) {
                None => Some(format!("{id} is none of {vpc}")),
                Some(peer) if !model.vpcs.contains_key(peer) => Some(format!("{peer} is not in the state")),
                Some(_) => None,
            },
        },
        Target::Transit(id) => match attachment_of(model, id, vpc) {
            None => Some(format!("{vpc} is not attached to {id}")),
            Some(attachment) if !attachment.available => Some(format!("{} is not available", attachment.id)),
            Some(_) => None,
        },
        Target::Endpoint(id) => match model.endpoints.get(id).map(|endpoint| &endpoint.service) {
            None => Some(format!("{id} is gone")),
            Some(EndpointService::Gateway) => unserved(model, id),
            Some(EndpointService::LoadBalancer { .. }) => unbalanced(model, id),
        },
        Target::Gone(id) => Some(format!("{id} is gone")),
    }
}

/// Why a Gateway Load Balancer endpoint has no appliance for a packet, if it has none.
fn unbalanced(model: &Model, id: &Id) -> Option<String> {
    let live = model.endpoints.get(id).map(|endpoint| endpoint.live_appliances(model)).unwrap_or_default();
    live.is_empty()
        .then(|| format!("{id} has no appliance with a private IPv4 address that is attached to a host"))
}

/// Why nobody serves a gateway, if nobody does.
fn unserved(model: &Model, id: &Id) -> Option<String> {
    let served =
        model.edges.get(id).is_some_and(|edge| edge.hosts.iter().any(|host| model.hosts.contains_key(host)));
    (!served).then(|| format!("no host of Warren.Gateways serves {id}"))
}

/// A VPC's attachment to a transit gateway.
pub fn attachment_of<'m>(model: &'m Model, gateway: &str, vpc: &str) -> Option<&'m model::TransitAttachment> {
    model.transit_attachments.values().find(|attachment| {
        *attachment.gateway == *gateway
            && matches!(&attachment.kind, AttachmentKind::Vpc { vpc: of, .. } if **of == *vpc)
    })
}
