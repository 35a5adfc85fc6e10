//! Transit gateways: attachments, their route tables, and which VPCs they join.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;

use super::{Builder, Compiled};
use crate::{
    compile::{
        effective::{State, blocks},
        effective_transit::effective_transit,
        learned::Learned,
    },
    model::{self, AttachmentKind as Stated, Id, Model, TransitAttachment},
    packet::Vni,
    tables::{
        Attachment, AttachmentIndex, AttachmentKind, GatewayIndex, Lpm, SubnetIndex, TransitTarget, ZoneIndex,
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

/// Sets of attachments that equal routes lead to.
type Equals = Box<[Box<[AttachmentIndex]>]>;

/// The blocks of VPCs that transit gateways join, and those VPCs.
pub(super) type Joined = (Arc<Lpm<Vni>>, Arc<[Id]>);

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

    /// By VPC and set of transit gateways: the blocks of those that it is joined to, and those.
    pub(super) fn joined(&self, model: &Model) -> HashMap<Id, Vec<Joined>> {
        let mut joined: HashMap<Id, Vec<Joined>> = HashMap::new();
        for members in &self.components {
            let of = members.iter().filter_map(|id| model.vpcs.get(id));
            let lpm = Arc::new(Lpm::new(of.flat_map(|vpc| blocks(vpc).map(|block| (block, vpc.vni)))));
            // Each once: a VPC may be attached to several of the set.
            for id in members.iter().collect::<HashSet<_>>() {
                joined.entry(Id::clone(id)).or_default().push((Arc::clone(&lpm), Arc::clone(members)));
            }
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
    ) -> (Box<[Attachment]>, Equals) {
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

/// The routes of a transit gateway's route table that are in force.
fn compile(
    model: &Model,
    learned: &Learned,
    index: &TransitIndex,
    table: &model::TransitRouteTable,
    equals: &mut Vec<Vec<AttachmentIndex>>,
) -> Vec<(IpNet, TransitTarget)> {
    let mut routes = Vec::new();
    let effective = effective_transit(model, learned, table);
    for same in effective.chunk_by(|a, b| a.destination == b.destination) {
        let active = same.iter().filter(|route| route.state == State::Active);
        let active: Vec<_> =
            active.filter_map(|route| index.numbers.get(route.attachment.as_ref()?).copied()).collect();
        let target = match active.as_slice() {
            [] => TransitTarget::Blackhole,
            [one] => TransitTarget::Attachment(*one),
            _ => {
                equals.push(active);
                TransitTarget::Ecmp(equals.len() as u32 - 1)
            }
        };
        routes.extend(same.first().map(|route| (route.destination, target)));
    }
    routes
}
