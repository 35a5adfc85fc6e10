//! Which routes of a transit gateway's route table are in force (PT-12, PT-13, PT-15, PT-18).

use hashbrown::HashSet;
use ipnet::IpNet;

use super::{
    circuits::Ends,
    effective::{Origin, State, blocks},
    learned::{Learned, RoutesOf, routes_of},
};
use crate::{
    model::{self, AttachmentKind, Destination, Id, Model, TransitAttachment},
    propagation::preference::{Gateway as Order, Source},
};

/// A route of a transit gateway's route table, as it is in force or not. Several active ones of a destination share traffic
/// (PT-15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveTransit {
    /// What it is for.
    pub destination: IpNet,
    /// Where it leads; `None` for a stated blackhole.
    pub attachment: Option<Id>,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether it is in force.
    pub state: State,
}

/// A route that could be in force.
struct Candidate {
    destination: IpNet,
    source: Source,
    /// Whether it is learned by BGP.
    dynamic: bool,
    origin: Origin,
    attachment: Option<Id>,
}

/// The routes of a transit gateway's route table, each in its state, by destination and preference.
pub fn effective_transit(
    model: &Model,
    learned: &Learned,
    table: &model::TransitRouteTable,
) -> Vec<EffectiveTransit> {
    let ends = Ends::new(model);
    effective_transit_to(model, &|gateway| routes_of(model, &ends, learned, gateway), table, None)
}

/// As [`effective_transit`], with the gateways' routes from elsewhere; those to some destinations only, if they are given.
pub(super) fn effective_transit_to(
    model: &Model,
    routes_of: &RoutesOf<'_>,
    table: &model::TransitRouteTable,
    destinations: Option<&HashSet<IpNet>>,
) -> Vec<EffectiveTransit> {
    let vpn_ecmp = model.transit_gateways.get(&table.gateway).is_none_or(|gateway| gateway.vpn_ecmp);
    let order = Order::Transit { vpn_ecmp };
    let mut candidates = Candidates { destinations, found: Vec::new() };
    stated(model, table, &mut candidates);
    let propagating = table.propagations.iter().filter_map(|id| model.transit_attachments.get(id));
    for attachment in propagating.filter(|attachment| attachment.available) {
        propagate(model, routes_of, attachment, &mut candidates);
    }
    let mut candidates = candidates.found;
    // A prefix list before another by its id (RT-15), an attachment by its.
    candidates.sort_by(|a, b| {
        let key = |it: &Candidate| (it.destination, order.rank(it.source), !it.dynamic);
        key(a).cmp(&key(b)).then_with(|| a.origin.cmp(&b.origin))
    });
    let mut effective = Vec::with_capacity(candidates.len());
    let mut group = candidates.into_iter().peekable();
    while let Some(first) = group.next() {
        let (destination, source, winner) = (first.destination, first.source, first.origin.clone());
        let shares = order.shares(source) && first.dynamic;
        let state = unusable(model, first.attachment.as_ref()).map_or(State::Active, State::Blackhole);
        effective.push(first.into_effective(state));
        while let Some(next) = group.next_if(|next| next.destination == destination) {
            let state = if shares && next.dynamic && next.source == source {
                State::Active
            } else {
                State::Unused(format!("{winner} wins (PT-12)"))
            };
            effective.push(next.into_effective(state));
        }
    }
    effective
}

/// The candidates to some destinations, or to all.
struct Candidates<'a> {
    destinations: Option<&'a HashSet<IpNet>>,
    found: Vec<Candidate>,
}

impl Candidates<'_> {
    fn add(&mut self, candidate: Candidate) {
        if self.destinations.is_none_or(|wanted| wanted.contains(&candidate.destination)) {
            self.found.push(candidate);
        }
    }
}

impl Candidate {
    fn into_effective(self, state: State) -> EffectiveTransit {
        let Self { destination, origin, attachment, .. } = self;
        EffectiveTransit { destination, attachment, origin, state }
    }
}

/// The static routes.
fn stated(model: &Model, table: &model::TransitRouteTable, candidates: &mut Candidates<'_>) {
    for route in &table.routes {
        let mut add = |destination, source, origin| {
            let attachment = route.attachment.clone();
            candidates.add(Candidate { destination, source, dynamic: false, origin, attachment });
        };
        match &route.destination {
            Destination::Block(block) => add(*block, Source::Static, Origin::Static),
            Destination::PrefixList(id) => {
                let list = model.prefix_lists.get(id);
                for &entry in list.map(|list| list.entries.as_slice()).unwrap_or_default() {
                    add(entry, Source::PrefixList, Origin::PrefixList(Id::clone(id)));
                }
            }
        }
    }
}

/// Why packets to an attachment go nowhere, if they do. EC2 shows the static routes to it as blackholes then.
fn unusable(model: &Model, attachment: Option<&Id>) -> Option<String> {
    let Some(id) = attachment else { return Some("stated so (PT-13)".to_owned()) };
    match model.transit_attachments.get(id) {
        None => Some(format!("{id} is gone")),
        Some(attachment) if !attachment.available => Some(format!("{id} is not available")),
        Some(_) => None,
    }
}

/// Adds what an attachment propagates; over a peering that is nothing (PT-18).
fn propagate(
    model: &Model,
    routes_of: &RoutesOf<'_>,
    attachment: &TransitAttachment,
    candidates: &mut Candidates<'_>,
) {
    let destinations = candidates.destinations;
    let mut add = |destination, source, dynamic| {
        let origin = Origin::Propagated(Id::clone(&attachment.id));
        let attachment = Some(Id::clone(&attachment.id));
        candidates.add(Candidate { destination, source, dynamic, origin, attachment });
    };
    match &attachment.kind {
        AttachmentKind::Vpc { vpc, .. } => {
            let vpc = model.vpcs.get(vpc);
            vpc.into_iter().flat_map(blocks).for_each(|block| add(block, Source::Vpc, false));
        }
        AttachmentKind::Peering { .. } => {}
        AttachmentKind::Vpn(_) | AttachmentKind::DirectConnect(_) | AttachmentKind::Connect { .. } => {
            let source = match &attachment.kind {
                AttachmentKind::DirectConnect(_) => Source::DirectConnect,
                AttachmentKind::Connect { .. } => Source::Connect,
                _ => Source::Vpn,
            };
            // PT-15 is of dynamic routes only, and a VPN connection has either kind.
            let dynamic = match &attachment.kind {
                AttachmentKind::Vpn(id) => {
                    model.vpn_connections.get(id).is_none_or(|connection| connection.routes.is_empty())
                }
                _ => true,
            };
            let routes = routes_of(&attachment.id);
            let mut add = |destination| add(destination, source, dynamic);
            match destinations {
                None => routes.iter().for_each(|(destination, _)| add(destination)),
                Some(wanted) => {
                    wanted.iter().copied().filter(|wanted| routes.get(*wanted).is_some()).for_each(add);
                }
            }
        }
    }
}
