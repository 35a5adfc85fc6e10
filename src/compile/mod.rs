//! Model → tables, incrementally: a change copies what it touches.
//!
//! [`Compiler::build`] makes the first tables; [`Compiler::update`] makes the next from the last and a [`Diff`]. Maps of
//! ENIs are changed shard by shard; what is small (the node's own ports, the hosts' templates) is made anew when
//! something that it depends on changed.

mod circuits;
mod effective;
mod effective_transit;
mod enis;
mod exits;
mod hosts;
mod learned;
mod lease;
mod mirrors;
mod multicast;
mod numbers;
mod policy;
mod ports;
mod site;
mod stays;

use std::{net::IpAddr, sync::Arc};

use hashbrown::HashSet;

pub use circuits::Ends;
pub use effective::{Effective, MOST_PROPAGATED, Origin, State, attachment_of, effective, unusable};
pub use effective_transit::{EffectiveTransit, effective_transit};
pub use learned::{Learned, LearnedTable, preferred};
pub use site::{Link, Site, SitePort, SiteRole, SiteUplink};

use exits::ExitsMemory;
use numbers::Numbers;
use policy::{GroupSetNumbers, Policies};

use crate::{
    model::{self, Diff, Id, Model},
    packet::{Mac, Vni},
    tables::{Enis, Exits, Multicast, PortIndex, Tables},
};

/// The link-layer addresses of underlay next hops, as far as they are known.
pub trait Resolve {
    /// That of a next hop on an uplink.
    fn resolve(&self, uplink: PortIndex, next_hop: IpAddr) -> Option<Mac>;
}

/// Turns models into tables for one node. It remembers the numbers that hosts and subnets have in them, and the ENIs that
/// it would otherwise have to search a whole model for.
pub struct Compiler {
    site: Site,
    hosts: Numbers,
    subnets: Numbers,
    domains: Numbers,
    groups: Numbers,
    group_sets: GroupSetNumbers,
    policies: Policies,
    /// The ENIs that are attached to this node.
    local: HashSet<Id>,
    /// The ENIs whose source/destination check is off.
    forwarding: HashSet<Id>,
    /// What gateways have learned.
    learned: Learned,
    exits: ExitsMemory,
    /// That of the last tables.
    generation: u32,
    stays: stays::Stays,
}

impl Compiler {
    /// A compiler for the node that `site` describes.
    pub fn new(site: Site) -> Self {
        Self {
            site,
            hosts: Numbers::default(),
            subnets: Numbers::default(),
            domains: Numbers::default(),
            groups: Numbers::default(),
            group_sets: GroupSetNumbers::default(),
            policies: Policies::default(),
            local: HashSet::new(),
            forwarding: HashSet::new(),
            learned: Learned::default(),
            exits: ExitsMemory::default(),
            generation: 0,
            stays: stays::Stays::default(),
        }
    }

    /// The number of the next tables.
    fn next_generation(&mut self) -> u32 {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.generation
    }

    /// The node it compiles for.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The tables of a model, from nothing.
    pub fn build(&mut self, model: &Model, resolve: &dyn Resolve) -> Tables {
        self.hosts.retain(&model.hosts);
        self.subnets.retain(&model.subnets);
        self.groups.retain(&model.security_groups);
        (self.group_sets, self.policies) = Default::default();
        let count = |addresses: fn(&model::Eni) -> usize| model.enis.values().map(addresses).sum();
        let mut enis = Enis::with_capacity(
            model.enis.len(),
            count(|eni| usize::from(eni.primary4.is_some()) + eni.secondary4.len() + eni.prefixes4.len()),
            count(|eni| eni.addresses6.len() + eni.prefixes6.len()),
        );
        for eni in model.enis.values() {
            self.insert(&mut enis, model, eni);
            self.note(eni);
        }
        let exits = self.exits(None, model);
        self.insert_gateways(&mut enis, model);
        self.policies.update(model, &self.groups, &Diff::default(), local_enis(model, &self.local));
        Tables {
            generation: self.next_generation(),
            encapsulation: self.site.encapsulation,
            ports: self.ports(model, &exits),
            enis,
            group_sets: Arc::new(self.group_sets.to_table(&self.groups)),
            hosts: Arc::new(self.hosts(model, resolve)),
            local: self.local_macs(model),
            services: self.site.services(),
            vnis: Arc::new(vnis(model)),
            exits: Arc::new(exits),
            outside: Arc::default(),
            multicast: Arc::new(Multicast::new([])),
        }
    }

    /// The tables of `new` from those of `old`.
    pub fn update(
        &mut self,
        tables: &Tables,
        old: &Model,
        new: &Model,
        diff: &Diff,
        resolve: &dyn Resolve,
    ) -> Tables {
        let mut next = Tables { generation: self.next_generation(), ..tables.clone() };
        // A VPC whose network identifier changed takes all its ENIs along: their keys hold it.
        let renumbered: HashSet<&Id> = diff
            .vpcs
            .iter()
            .filter(
                |id| matches!((old.vpcs.get(*id), new.vpcs.get(*id)), (Some(a), Some(b)) if a.vni != b.vni),
            )
            .collect();
        let of_renumbered = |model: &Model| -> Vec<Id> {
            if renumbered.is_empty() {
                return Vec::new();
            }
            model
                .enis
                .values()
                .filter(|eni| renumbered.contains(&eni.vpc))
                .map(|eni| Arc::clone(&eni.id))
                .collect()
        };
        let outdated: HashSet<Id> =
            diff.enis.iter().cloned().chain(of_renumbered(old)).chain(of_renumbered(new)).collect();
        let mut forwarding_changed = false;
        for eni in outdated.iter().filter_map(|id| old.enis.get(id)) {
            self.remove(&mut next.enis, old, eni);
            self.local.remove(&eni.id);
            forwarding_changed |= self.forwarding.remove(&eni.id);
        }
        // An ENI may take the address of a NAT gateway that goes.
        let renat =
            old.nat_gateways != new.nat_gateways || !(diff.vpcs.is_empty() && diff.subnets.is_empty());
        if renat {
            self.remove_gateways(&mut next.enis, old);
        }
        // An ENI at a host that comes or goes changes with its attachment, so it is in the difference itself.
        if !diff.hosts.is_empty() {
            self.hosts.retain(&new.hosts);
        }
        if !diff.subnets.is_empty() {
            self.subnets.retain(&new.subnets);
        }
        if !diff.security_groups.is_empty() {
            self.groups.retain(&new.security_groups);
        }
        for eni in outdated.iter().filter_map(|id| new.enis.get(id)) {
            self.insert(&mut next.enis, new, eni);
            forwarding_changed |= self.note(eni);
        }
        if forwarding_changed || !diff.hosts.is_empty() {
            next.hosts = Arc::new(self.hosts(new, resolve));
        }
        if !diff.vpcs.is_empty() {
            next.vnis = Arc::new(vnis(new));
        }
        let routed = outdated.iter().any(|id| self.exits.targets.contains(id));
        let acls = !diff.network_acls.is_empty();
        if diff.routing || acls || !diff.hosts.is_empty() || routed || forwarding_changed {
            next.exits = Arc::new(self.exits(Some(old), new));
        }
        if renat {
            self.insert_gateways(&mut next.enis, new);
        }
        self.stays.retain(&self.local);
        if self.group_sets.take_changed() || !diff.security_groups.is_empty() {
            next.group_sets = Arc::new(self.group_sets.to_table(&self.groups));
        }
        self.policies.update(new, &self.groups, diff, local_enis(new, &self.local));
        next.ports = self.ports(new, &next.exits);
        next.local = self.local_macs(new);
        next
    }

    /// Remembers an ENI that is plugged in here or forwards for others; says whether it forwards.
    fn note(&mut self, eni: &model::Eni) -> bool {
        if eni.attachment.as_ref().is_some_and(|at| at.host == self.site.host) {
            self.local.insert(Arc::clone(&eni.id));
        }
        self.stays.note(eni, &self.site.host);
        if !eni.source_dest_check {
            self.forwarding.insert(Arc::clone(&eni.id));
        }
        !eni.source_dest_check
    }

    /// The tables after the link-layer address of a next hop changed.
    pub fn update_hosts(&self, tables: &Tables, model: &Model, resolve: &dyn Resolve) -> Tables {
        Tables { hosts: Arc::new(self.hosts(model, resolve)), ..tables.clone() }
    }

    /// The tables after a gateway, or a transit gateway's attachment, has learned routes by BGP: all that it has, `None` for none.
    /// `model` is the one that the tables are of. Only what these routes change is made anew: the gateway's own table, and
    /// what propagates from it, at the prefixes whose routes changed.
    pub fn update_learned(
        &mut self,
        tables: &Tables,
        model: &Model,
        gateways: impl IntoIterator<Item = (Id, Option<LearnedTable>)>,
    ) -> Tables {
        let mut learners = Vec::new();
        for (gateway, table) in gateways {
            match table {
                Some(table) => self.learned.gateways.insert(Id::clone(&gateway), table),
                None => self.learned.gateways.remove(&gateway),
            };
            learners.push(gateway);
        }
        let exits = self.exits_of(None, model).relearn(&tables.exits, &learners);
        let (generation, ports) = (self.next_generation(), ports::rerouted(&tables.ports, &exits));
        Tables { generation, ports, exits: Arc::new(exits), ..tables.clone() }
    }

    /// What gateways have learned.
    pub fn learned(&self) -> &Learned {
        &self.learned
    }

    fn exits(&mut self, old: Option<&Model>, model: &Model) -> Exits {
        self.exits_of(old, model).build()
    }

    fn exits_of<'a>(&'a mut self, old: Option<&'a Model>, model: &'a Model) -> exits::Builder<'a> {
        exits::Builder {
            old,
            model,
            learned: &self.learned,
            site: &self.site,
            hosts: &self.hosts,
            subnets: &self.subnets,
            forwarding: &self.forwarding,
            memory: &mut self.exits,
        }
    }
}

fn local_enis<'a>(model: &'a Model, local: &'a HashSet<Id>) -> impl Iterator<Item = &'a model::Eni> {
    local.iter().filter_map(|id| model.enis.get(id))
}

fn vnis(model: &Model) -> HashSet<Vni> {
    model.vpcs.values().map(|vpc| vpc.vni).collect()
}
