//! What gateways learn by BGP changes the tables that propagate from them, at the destinations that it is about.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;

use super::Builder;
use crate::{
    compile::learned::routes_of,
    model::Id,
    tables::{Exits, GatewayKind, RouteTable},
};

/// By gateway, the destinations whose routes changed.
type Changed = HashMap<Id, Vec<IpNet>>;

impl Builder<'_> {
    /// The exits after these gateways learned other routes. The model is the one that the exits were made of.
    pub(in crate::compile) fn relearn(mut self, exits: &Exits, gateways: &[Id]) -> Exits {
        let mut next = exits.clone();
        let changed = self.change_gateways(&mut next, gateways);
        if !changed.is_empty() {
            self.change_transit_tables(&mut next, &changed);
            self.change_route_tables(&mut next, &changed);
        }
        next
    }

    /// The gateways' own routes.
    fn change_gateways(&mut self, exits: &mut Exits, gateways: &[Id]) -> Changed {
        let mut changed = Changed::new();
        for id in gateways {
            let now = routes_of(self.model, &self.memory.ends, self.learned, id);
            // One that the model has not keeps what it learned for when it has.
            let Some(routes) = self.memory.routes.get_mut(id) else { continue };
            let differing = routes.differing(&now);
            if differing.is_empty() {
                continue;
            }
            routes.clone_from(&now);
            changed.insert(Arc::clone(id), differing);
            let Some(index) = self.gateway(id) else { continue };
            let gateway = Arc::make_mut(&mut exits.gateways).get_mut(index.0 as usize);
            if let Some(GatewayKind::Outside(outside)) = gateway.map(|gateway| &mut gateway.kind) {
                outside.routes = now;
            }
        }
        changed
    }

    fn change_transit_tables(&mut self, exits: &mut Exits, changed: &Changed) {
        let model = self.model;
        let mut any = false;
        for table in model.transit_tables.values() {
            let of_these = table.propagations.iter().filter_map(|id| changed.get(id));
            let destinations: HashSet<IpNet> = of_these.flatten().copied().collect();
            if destinations.is_empty() {
                continue;
            }
            any = true;
            self.change_transit_table(table, &destinations);
        }
        if !any {
            return;
        }
        if self.memory.equals.are_many() {
            self.transit_tables();
        }
        for attachment in Arc::make_mut(&mut exits.attachments) {
            attachment.routes =
                model.transit_attachments.get(&attachment.id).and_then(|stated| self.table_of(stated));
        }
        exits.equals = self.memory.equals.sets();
    }

    /// The route tables of subnets; a gateway's propagates nothing.
    fn change_route_tables(&mut self, exits: &mut Exits, changed: &Changed) {
        let mut tables: HashMap<&Id, Arc<RouteTable>> = HashMap::new();
        let model = self.model;
        let propagating = model.route_tables.values();
        for table in propagating.filter(|it| it.propagating.iter().any(|id| changed.contains_key(id))) {
            let before = self.memory.tables.get(&table.id).map(|compiled| Arc::clone(&compiled.trie));
            let now = self.route_table(table);
            if before.is_none_or(|before| !Arc::ptr_eq(&before, &now)) {
                tables.insert(&table.id, now);
            }
        }
        if tables.is_empty() {
            return;
        }
        let subnets = Arc::make_mut(&mut exits.subnets);
        for subnet in model.subnets.values() {
            let slot = self.subnets.get(&subnet.id).and_then(|index| subnets.get_mut(index as usize));
            if let (Some(slot), Some(routes)) = (slot, tables.get(&subnet.route_table)) {
                slot.routes = Arc::clone(routes);
            }
        }
    }
}
