//! The VPCs' route tables.

use std::sync::Arc;

use hashbrown::HashMap;
use ipnet::IpNet;

use super::{Builder, Compiled};
use crate::{
    compile::effective::{State, attachment_of, blocks, effective_with, refuses},
    model::{self, Id, Target as Stated},
    tables::{RouteTable, Target},
};

impl Builder<'_> {
    /// Every route table of the model, compiled.
    pub(super) fn route_tables(&mut self) -> HashMap<Id, Arc<RouteTable>> {
        let tables = self.model.route_tables.values();
        tables.map(|table| (Arc::clone(&table.id), self.route_table(table))).collect()
    }

    /// A route table, compiled: the last one, if it leads where that did. Remembers whether it steers inside its VPC (RT-7).
    pub(super) fn route_table(&mut self, table: &model::RouteTable) -> Arc<RouteTable> {
        let mut routes = Vec::new();
        for route in effective_with(self.model, &|gateway| self.memory.routes_of(gateway), table) {
            let target = match route.state {
                State::Unused(_) => continue,
                _ if refuses(self.model, table, &route.target).is_some() => {
                    self.remember(&route.target);
                    Target::Invalid
                }
                // An ENI that is attached nowhere is found so by who asks for it.
                State::Blackhole(_) if !matches!(route.target, Stated::Eni(_)) => Target::Blackhole,
                State::Active | State::Blackhole(_) => {
                    self.target(table, &route.target).unwrap_or(Target::Blackhole)
                }
            };
            routes.push((route.destination, target));
        }
        let vpc = self.model.vpcs.get(&table.vpc);
        let inside = |block: &IpNet| vpc.is_some_and(|vpc| blocks(vpc).any(|of| of.contains(block)));
        if routes.iter().any(|(block, target)| *target != Target::Local && inside(block)) {
            self.memory.steering.insert(Arc::clone(&table.id));
        }
        Compiled::trie(&mut self.memory.tables, &table.id, routes)
    }

    /// Remembers an ENI that a route leads to: what becomes of it, changes the table.
    fn remember(&mut self, target: &Stated) {
        if let Stated::Eni(id) = target {
            self.memory.targets.insert(Arc::clone(id));
        }
    }

    fn target(&mut self, table: &model::RouteTable, target: &Stated) -> Option<Target> {
        Some(match target {
            Stated::Local => Target::Local,
            Stated::Eni(id) => {
                self.remember(target);
                Target::Eni(self.model.enis.get(id)?.mac)
            }
            Stated::InternetGateway(id)
            | Stated::EgressOnly(id)
            | Stated::Nat(id)
            | Stated::VpnGateway(id)
            | Stated::Endpoint(id) => Target::Gateway(self.gateway(id)?),
            Stated::Peering(id) => {
                Target::Peer(*self.memory.peers.get(&(Arc::clone(id), Arc::clone(&table.vpc)))?)
            }
            Stated::Transit(id) => {
                Target::Transit(*self.memory.attachments.get(&attachment_of(self.model, id, &table.vpc)?.id)?)
            }
            Stated::Gone(_) => Target::Blackhole,
        })
    }
}
