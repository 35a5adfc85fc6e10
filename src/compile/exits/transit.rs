//! Transit gateways: attachments, their route tables, and which VPCs they join.

use std::sync::Arc;

use hashbrown::HashMap;
use ipnet::IpNet;

use super::{Builder, Compiled};
use crate::{
    compile::{
        effective::blocks,
        learned::{Learned, circuits_of, routes_of},
    },
    model::{self, AttachmentKind as Stated, Destination, Id, Model, TransitAttachment},
    packet::Vni,
    propagation::preference::{Gateway as Order, Source, best},
    tables::{
        Attachment, AttachmentIndex, AttachmentKind, CircuitKind, GatewayIndex, Lpm, SubnetIndex,
        TransitTarget, ZoneIndex,
    },
};

/// The attachments that lead outside.
pub(super) fn outside(model: &Model) -> impl Iterator<Item = &TransitAttachment> {
    model.transit_attachments.values().filter(|attachment| {
        matches!(attachment.kind, Stated::Vpn(_) | Stated::DirectConnect(_) | Stated::Connect { .. })
    })
}

/// Any VPC attached to a transit gateway, always the same.
pub(super) fn a_vpc<'m>(model: &'m Model, gateway: &str) -> Option<&'m Id> {
    let of_gateway = model.transit_attachments.values().filter(|attachment| *attachment.gateway == *gateway);
    of_gateway.filter_map(vpc_of).min()
}

fn vpc_of(attachment: &TransitAttachment) -> Option<&Id> {
    if let Stated::Vpc { vpc, .. } = &attachment.kind { Some(vpc) } else { None }
}

/// Numbers of attachments, and which transit gateways are joined by peerings.
pub(super) struct TransitIndex {
    pub(super) numbers: HashMap<Id, AttachmentIndex>,
    /// The VPCs of each set of joined transit gateways.
    components: Vec<Arc<[Id]>>,
    /// By transit gateway: its set.
    of_gateway: HashMap<Id, usize>,
}

impl TransitIndex {
    pub(super) fn new(model: &Model) -> Self {
        let mut ids: Vec<_> = model.transit_attachments.keys().cloned().collect();
        ids.sort_unstable();
        let numbers = ids.into_iter().zip(0..).map(|(id, index)| (id, AttachmentIndex(index))).collect();
        let mut root: HashMap<Id, Id> =
            model.transit_gateways.keys().map(|id| (id.clone(), id.clone())).collect();
        for attachment in model.transit_attachments.values() {
            let Stated::Peering { peer, .. } = &attachment.kind else { continue };
            let (Some(one), Some(other)) = (root.get(&attachment.gateway).cloned(), root.get(peer).cloned())
            else {
                continue;
            };
            root.values_mut().filter(|id| **id == other).for_each(|id| *id = one.clone());
        }
        let mut roots: Vec<Id> = root.values().cloned().collect();
        roots.sort_unstable();
        roots.dedup();
        let of_gateway: HashMap<Id, usize> = root
            .iter()
            .filter_map(|(id, root)| Some((id.clone(), roots.binary_search(root).ok()?)))
            .collect();
        let mut members = vec![Vec::new(); roots.len()];
        for attachment in model.transit_attachments.values() {
            let set = of_gateway.get(&attachment.gateway).and_then(|&set| members.get_mut(set));
            if let (Some(set), Some(vpc)) = (set, vpc_of(attachment)) {
                set.push(Id::clone(vpc));
            }
        }
        Self { numbers, components: members.into_iter().map(Arc::from).collect(), of_gateway }
    }

    /// The sets of VPCs that transit gateways join.
    pub(super) fn components(&self) -> &[Arc<[Id]>] {
        &self.components
    }

    /// The VPCs that a transit gateway joins, also through others.
    pub(super) fn members(&self, gateway: &Id) -> Vec<Id> {
        let set = self.of_gateway.get(gateway).and_then(|&set| self.components.get(set));
        set.map(|set| set.to_vec()).unwrap_or_default()
    }

    /// By VPC: the blocks of those that it is joined to, and those.
    pub(super) fn joined(&self, model: &Model) -> HashMap<Id, (Arc<Lpm<Vni>>, Arc<[Id]>)> {
        let mut joined = HashMap::new();
        for members in &self.components {
            let of = members.iter().filter_map(|id| model.vpcs.get(id));
            let lpm = Arc::new(Lpm::new(of.flat_map(|vpc| blocks(vpc).map(|block| (block, vpc.vni)))));
            joined.extend(members.iter().map(|id| (id.clone(), (Arc::clone(&lpm), Arc::clone(members)))));
        }
        joined
    }
}

impl Builder<'_> {
    /// All attachments, by number, and the sets of equal ones.
    pub(super) fn attachments(
        &mut self,
        index: &TransitIndex,
        zones: &HashMap<Arc<str>, ZoneIndex>,
    ) -> (Box<[Attachment]>, Box<[Box<[AttachmentIndex]>]>) {
        let model = self.model;
        let mut equals = Vec::new();
        let mut tables = HashMap::new();
        let mut stated: Vec<_> = model.transit_tables.values().collect();
        stated.sort_unstable_by_key(|table| &table.id);
        for table in stated {
            let routes = compile(model, self.learned, index, table, &mut equals);
            let trie = Compiled::trie(&mut self.memory.transit_tables, &table.id, routes);
            tables.insert(&table.id, trie);
        }
        let mut attachments: Vec<_> = model.transit_attachments.values().collect();
        attachments.sort_unstable_by_key(|attachment| &attachment.id);
        let attachment = |it: &TransitAttachment| Attachment {
            id: Arc::clone(&it.id),
            gateway: Arc::clone(&it.gateway),
            routes: it.table.as_ref().and_then(|id| tables.get(id)).cloned(),
            kind: match &it.kind {
                Stated::Vpc { vpc, subnets, appliance_mode, ipv6 } => {
                    let zone = |id: &Id| {
                        let subnet = model.subnets.get(id)?;
                        Some((*zones.get(&subnet.zone)?, SubnetIndex(self.subnets.get(id)?)))
                    };
                    AttachmentKind::Vpc {
                        vni: self.vni(vpc).unwrap_or(Vni::FIRST),
                        zones: subnets.iter().filter_map(zone).collect(),
                        appliance_mode: *appliance_mode,
                        ipv6: *ipv6,
                    }
                }
                Stated::Peering { peer_attachment, .. } => AttachmentKind::Peering(
                    index.numbers.get(peer_attachment).copied().unwrap_or(AttachmentIndex(u32::MAX)),
                ),
                Stated::Vpn(_) | Stated::DirectConnect(_) | Stated::Connect { .. } => {
                    AttachmentKind::Outside(self.gateway(&it.id).unwrap_or(GatewayIndex(u32::MAX)))
                }
            },
        };
        (
            attachments.into_iter().map(attachment).collect(),
            equals.into_iter().map(Vec::into_boxed_slice).collect(),
        )
    }
}

/// What a transit gateway's route table has for one destination.
#[derive(Default)]
struct Candidates {
    blackhole: bool,
    /// By source (PT-12).
    attachments: Vec<(Source, AttachmentIndex)>,
}

/// The routes of a transit gateway's route table, in force (PT-12, PT-13, PT-15, PT-18).
fn compile(
    model: &Model,
    learned: &Learned,
    index: &TransitIndex,
    table: &model::TransitRouteTable,
    equals: &mut Vec<Vec<AttachmentIndex>>,
) -> Vec<(IpNet, TransitTarget)> {
    let mut routes: HashMap<IpNet, Candidates> = HashMap::new();
    let usable = |id: &Id| {
        let attachment = model.transit_attachments.get(id).filter(|attachment| attachment.available)?;
        Some((attachment, *index.numbers.get(id)?))
    };
    for route in &table.routes {
        let (destinations, source) = match &route.destination {
            Destination::Block(block) => (vec![*block], Source::Static),
            Destination::PrefixList(id) => (
                model.prefix_lists.get(id).map(|list| list.entries.clone()).unwrap_or_default(),
                Source::PrefixList,
            ),
        };
        for destination in destinations {
            let candidates = routes.entry(destination).or_default();
            match route.attachment.as_ref().and_then(usable) {
                Some((_, number)) => candidates.attachments.push((source, number)),
                // Stated so, or its attachment is not there: EC2 shows both as a blackhole.
                None => candidates.blackhole = true,
            }
        }
    }
    for (attachment, number) in table.propagations.iter().filter_map(usable) {
        for (destination, source) in propagated(model, learned, attachment) {
            routes.entry(destination).or_default().attachments.push((source, number));
        }
    }
    let order = Order::Transit {
        vpn_ecmp: model.transit_gateways.get(&table.gateway).is_none_or(|gateway| gateway.vpn_ecmp),
    };
    let mut routes: Vec<_> = routes.into_iter().collect();
    routes.sort_unstable_by_key(|(destination, _)| *destination);
    let target = |candidates: Candidates| {
        let numbers = best(order, candidates.attachments.into_iter().map(|(source, it)| (source, it.0)));
        match numbers.as_slice() {
            _ if candidates.blackhole => TransitTarget::Blackhole,
            [] => TransitTarget::Blackhole,
            [one] => TransitTarget::Attachment(AttachmentIndex(*one)),
            several => {
                equals.push(several.iter().copied().map(AttachmentIndex).collect());
                TransitTarget::Ecmp(equals.len() as u32 - 1)
            }
        }
    };
    let mut target = target;
    routes.into_iter().map(|(destination, candidates)| (destination, target(candidates))).collect()
}

/// What an attachment propagates.
fn propagated(model: &Model, learned: &Learned, attachment: &TransitAttachment) -> Vec<(IpNet, Source)> {
    match &attachment.kind {
        Stated::Vpc { vpc, .. } => {
            let vpc = model.vpcs.get(vpc);
            vpc.into_iter().flat_map(blocks).map(|block| (block, Source::Vpc)).collect()
        }
        // PT-18.
        Stated::Peering { .. } => Vec::new(),
        Stated::Vpn(_) | Stated::DirectConnect(_) | Stated::Connect { .. } => {
            let kind = circuits_of(model, &attachment.id).first().map(|circuit| circuit.kind);
            let source = match kind {
                Some(CircuitKind::DirectConnect) => Source::DirectConnect,
                Some(CircuitKind::Connect) => Source::Connect,
                _ => Source::Vpn,
            };
            let routes = routes_of(model, learned, &attachment.id);
            routes.iter().map(|(destination, _)| (destination, source)).collect()
        }
    }
}
