//! Transit gateways: attachments, their route tables, and which VPCs they join.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;

use super::{Builder, equals::Equals};
use crate::{
    compile::{
        effective::{State, blocks},
        effective_transit::effective_transit_to,
    },
    model::{self, AttachmentKind as Stated, Destination, Id, Model, TransitAttachment, TransitRoute},
    packet::Vni,
    tables::{
        Attachment, AttachmentIndex, AttachmentKind, GatewayIndex, Lpm, SubnetIndex, TransitTable,
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

/// The blocks of VPCs that transit gateways join, and those VPCs.
pub(super) type Joined = (Arc<Lpm<Vni>>, Arc<[Id]>);

/// Which transit gateways are joined by peerings.
pub(super) struct TransitIndex {
    /// The VPCs of each set of joined transit gateways.
    components: Vec<Arc<[Id]>>,
    /// By transit gateway: its set.
    of_gateway: HashMap<Id, usize>,
}

impl TransitIndex {
    pub(super) fn new(model: &Model) -> Self {
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
        Self { components: members.into_iter().map(Arc::from).collect(), of_gateway }
    }

    /// The sets of VPCs that transit gateways join.
    pub(super) fn components(&self) -> &[Arc<[Id]>] {
        &self.components
    }

    /// The VPCs that a transit gateway joins, also through others.
    pub(super) fn members(&self, gateway: &Id) -> &[Id] {
        let set = self.of_gateway.get(gateway).and_then(|&set| self.components.get(set));
        set.map(|set| &**set).unwrap_or_default()
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
    /// Compiles the transit gateways' route tables: where no more than static routes has changed, at their destinations.
    pub(super) fn update_transit_tables(&mut self) {
        let model = self.model;
        let changes = self.old.and_then(|old| restated(old, model));
        match changes.filter(|_| !self.memory.equals.are_many()) {
            None => self.transit_tables(),
            Some(changes) => {
                changes
                    .iter()
                    .for_each(|(table, destinations)| self.change_transit_table(table, destinations));
            }
        }
    }

    /// Decides a transit gateway's route table anew, at some destinations.
    pub(super) fn change_transit_table(
        &mut self,
        table: &model::TransitRouteTable,
        destinations: &HashSet<IpNet>,
    ) {
        let routes: HashMap<_, _> = self.transit_routes(table, Some(destinations)).into_iter().collect();
        let compiled = self.memory.transit_tables.entry_ref(&table.id).or_default();
        *compiled = compiled.apply(destinations.iter().map(|to| (*to, routes.get(to).copied())));
    }

    /// Compiles every transit gateway's route table; each shares what is the same with its last.
    pub(super) fn transit_tables(&mut self) {
        let model = self.model;
        self.memory.equals = Equals::default();
        self.memory.transit_tables.retain(|id, _| model.transit_tables.contains_key(id));
        for table in model.transit_tables.values() {
            let routes = self.transit_routes(table, None);
            let compiled = self.memory.transit_tables.entry_ref(&table.id).or_default();
            *compiled = compiled.replaced(routes);
        }
    }

    /// The routes of a transit gateway's route table that are in force: to some destinations, or to all.
    pub(super) fn transit_routes(
        &mut self,
        table: &model::TransitRouteTable,
        destinations: Option<&HashSet<IpNet>>,
    ) -> Vec<(IpNet, TransitTarget)> {
        let memory = &mut *self.memory;
        let effective =
            effective_transit_to(self.model, &|gateway| memory.routes_of(gateway), table, destinations);
        let mut routes = Vec::new();
        for same in effective.chunk_by(|a, b| a.destination == b.destination) {
            let active = same.iter().filter(|route| route.state == State::Active);
            let active: Vec<_> = active
                .filter_map(|route| memory.attachments.get(route.attachment.as_ref()?).copied())
                .collect();
            let target = match active.as_slice() {
                [] => TransitTarget::Blackhole,
                [one] => TransitTarget::Attachment(*one),
                several => TransitTarget::Ecmp(memory.equals.number(several)),
            };
            routes.extend(same.first().map(|route| (route.destination, target)));
        }
        routes
    }

    /// The compiled route table of an attachment.
    pub(super) fn table_of(&self, attachment: &TransitAttachment) -> Option<TransitTable> {
        self.memory.transit_tables.get(attachment.table.as_ref()?).cloned()
    }

    /// All attachments, by number.
    pub(super) fn attachments(&self, zones: &HashMap<Arc<str>, ZoneIndex>) -> Arc<[Attachment]> {
        let model = self.model;
        let mut attachments: Vec<_> = model.transit_attachments.values().collect();
        attachments.sort_unstable_by_key(|attachment| &attachment.id);
        let attachment = |it: &TransitAttachment| Attachment {
            id: Arc::clone(&it.id),
            gateway: Arc::clone(&it.gateway),
            routes: self.table_of(it),
            kind: match &it.kind {
                Stated::Vpc { vpc, subnets, appliance_mode, ipv6, group_references: _ } => {
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
                    self.memory
                        .attachments
                        .get(peer_attachment)
                        .copied()
                        .unwrap_or(AttachmentIndex(u32::MAX)),
                ),
                Stated::Vpn(_) | Stated::DirectConnect(_) | Stated::Connect { .. } => {
                    AttachmentKind::Outside(self.gateway(&it.id).unwrap_or(GatewayIndex(u32::MAX)))
                }
            },
        };
        attachments.into_iter().map(attachment).collect()
    }
}

/// The destinations of the static routes that differ, by table; `None` if anything else that the tables are made of differs.
fn restated<'m>(old: &Model, new: &'m Model) -> Option<Vec<(&'m model::TransitRouteTable, HashSet<IpNet>)>> {
    let same = old.transit_gateways == new.transit_gateways
        && old.transit_attachments == new.transit_attachments
        && old.vpcs == new.vpcs
        && old.prefix_lists == new.prefix_lists
        && old.circuits == new.circuits
        && old.vpn_connections == new.vpn_connections
        && old.virtual_interfaces == new.virtual_interfaces
        && old.direct_connect_gateways == new.direct_connect_gateways
        && old.transit_tables.len() == new.transit_tables.len();
    let table = |now: &'m model::TransitRouteTable| {
        let before = old.transit_tables.get(&now.id)?;
        let alike = before.gateway == now.gateway && before.propagations == now.propagations;
        alike.then(|| (now, differing(new, &before.routes, &now.routes)))
    };
    if same { new.transit_tables.values().map(table).collect() } else { None }
}

/// The destinations of the routes that are among the ones or the others only.
fn differing(model: &Model, before: &[TransitRoute], now: &[TransitRoute]) -> HashSet<IpNet> {
    let (old, new): (HashSet<_>, HashSet<_>) = (before.iter().collect(), now.iter().collect());
    let routes = old.symmetric_difference(&new);
    let destinations = routes.flat_map(|route| match &route.destination {
        Destination::Block(block) => std::slice::from_ref(block),
        Destination::PrefixList(id) => {
            model.prefix_lists.get(id).map(|list| list.entries.as_slice()).unwrap_or_default()
        }
    });
    destinations.copied().collect()
}
