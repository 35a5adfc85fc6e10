//! Model → tables, incrementally: a change copies what it touches.
//!
//! [`Compiler::build`] makes the first tables; [`Compiler::update`] makes the next from the last and a [`Diff`]. Maps of
//! ENIs are changed shard by shard; what is small (the node's own ports, the hosts' templates) is made anew when
//! something that it depends on changed.

mod effective;
mod effective_transit;
mod exits;
mod learned;
mod lease;
mod multicast;
mod policy;
mod site;
mod stays;

use std::{net::IpAddr, sync::Arc};

use hashbrown::{HashMap, HashSet};
use rustc_hash::FxBuildHasher;

pub use effective::{Effective, MOST_PROPAGATED, Origin, State, attachment_of, effective, unusable};
pub use effective_transit::{EffectiveTransit, effective_transit};
pub use learned::{Learned, LearnedTable, preferred};
pub use site::{Link, Site, SitePort, SiteRole, SiteUplink};

use exits::ExitsMemory;
use policy::{GroupSetNumbers, Policies};

use crate::{
    flow::Timeouts,
    model::{self, Diff, Id, Model, router_mac},
    packet::{ETHERNET, Mac, OuterTemplate, Vni},
    tables::{
        Addresses, Destination, Enis, Exits, GroupSetIndex, Host, HostIndex, Hosts, LocalEni, MacKey,
        Multicast, Place, Port, PortIndex, Reachability, Role, SubnetIndex, Tables, V4Key, V6Key,
    },
};

/// The link-layer addresses of underlay next hops, as far as they are known.
pub trait Resolve {
    /// That of a next hop on an uplink.
    fn resolve(&self, uplink: PortIndex, next_hop: IpAddr) -> Option<Mac>;
}

/// Numbers for ids: stable while an id is in use, used again after.
#[derive(Default)]
struct Numbers {
    by_id: HashMap<Id, u32>,
    free: Vec<u32>,
}

impl Numbers {
    /// Numbers new ids, forgets the ones that are gone.
    fn retain<T>(&mut self, resources: &model::ById<T>) {
        let free = &mut self.free;
        self.by_id.retain(|id, number| {
            let kept = resources.contains_key(id);
            if !kept {
                free.push(*number);
            }
            kept
        });
        for id in resources.keys() {
            if !self.by_id.contains_key(id) {
                let number = self.free.pop().unwrap_or(self.by_id.len() as u32);
                self.by_id.insert(Arc::clone(id), number);
            }
        }
    }

    /// One more than the largest number in use.
    fn len(&self) -> usize {
        self.by_id.len() + self.free.len()
    }

    fn get(&self, id: &str) -> Option<u32> {
        self.by_id.get(id).copied()
    }
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
        let exits = self.exits(model);
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
        if diff.routing || !diff.hosts.is_empty() || routed || forwarding_changed {
            next.exits = Arc::new(self.exits(new));
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
    pub fn update_learned(
        &mut self,
        tables: &Tables,
        model: &Model,
        gateways: impl IntoIterator<Item = (Id, Option<LearnedTable>)>,
    ) -> Tables {
        for (gateway, table) in gateways {
            match table {
                Some(table) => self.learned.gateways.insert(gateway, table),
                None => self.learned.gateways.remove(&gateway),
            };
        }
        let exits = self.exits(model);
        let generation = self.next_generation();
        Tables { generation, ports: self.ports(model, &exits), exits: Arc::new(exits), ..tables.clone() }
    }

    /// What gateways have learned.
    pub fn learned(&self) -> &Learned {
        &self.learned
    }

    fn exits(&mut self, model: &Model) -> Exits {
        let builder = exits::Builder {
            model,
            learned: &self.learned,
            site: &self.site,
            hosts: &self.hosts,
            subnets: &self.subnets,
            forwarding: &self.forwarding,
            memory: &mut self.exits,
        };
        builder.build()
    }

    /// Puts the NAT gateways' addresses where those of ENIs are.
    fn insert_gateways(&self, enis: &mut Enis, model: &Model) {
        for gateway in model.nat_gateways.values() {
            let (Some(destination), Some(vpc)) =
                (self.nat_destination(gateway), model.vpcs.get(&gateway.vpc))
            else {
                continue;
            };
            for address in &gateway.addresses {
                enis.v4.insert(V4Key::exact(vpc.vni, address.to_bits()).slot(destination));
            }
            enis.mac.insert(MacKey::slot(vpc.vni, destination));
        }
    }

    fn remove_gateways(&self, enis: &mut Enis, model: &Model) {
        for gateway in model.nat_gateways.values() {
            let Some(vpc) = model.vpcs.get(&gateway.vpc) else { continue };
            for address in &gateway.addresses {
                enis.v4.remove(&V4Key::exact(vpc.vni, address.to_bits()));
            }
            enis.mac.remove(&MacKey::new(vpc.vni, model::gateway_mac(&gateway.id)));
        }
    }

    fn nat_destination(&self, gateway: &model::NatGateway) -> Option<Destination> {
        Some(Destination {
            mac: model::gateway_mac(&gateway.id),
            router_mac: router_mac(&gateway.subnet),
            location: Place::Gateway(self.exits.index(&gateway.id)?).into(),
            subnet: SubnetIndex(self.subnets.get(&gateway.subnet)?),
            source_dest_check: true,
            groups: GroupSetIndex::EMPTY,
        })
    }

    /// The next hops on the uplinks through which the model's hosts are reached.
    pub fn next_hops(&self, model: &Model) -> HashSet<(PortIndex, IpAddr)> {
        self.remote_hosts(model)
            .filter_map(|host| self.site.link_to(host.underlay))
            .map(|link| (link.uplink, link.next_hop))
            .collect()
    }

    fn remote_hosts<'a>(&'a self, model: &'a Model) -> impl Iterator<Item = &'a model::Host> {
        model.hosts.values().filter(|host| host.id != self.site.host)
    }

    fn destination(&self, eni: &model::Eni) -> Option<Destination> {
        let place = match &eni.attachment {
            None => Place::Nowhere,
            Some(at) if at.host == self.site.host => {
                self.site.port(&at.port).map_or(Place::Nowhere, Place::Local)
            }
            Some(at) => {
                self.hosts.get(&at.host).map_or(Place::Nowhere, |host| Place::Remote(HostIndex(host)))
            }
        };
        Some(Destination {
            mac: eni.mac,
            router_mac: router_mac(&eni.subnet),
            location: place.into(),
            subnet: SubnetIndex(self.subnets.get(&eni.subnet)?),
            source_dest_check: eni.source_dest_check,
            groups: self.group_sets.get(&eni.groups),
        })
    }

    /// The addresses that lead to an ENI, as keys of the maps.
    fn keys(model: &Model, eni: &model::Eni) -> Option<(Vec<V4Key>, Vec<V6Key>, MacKey)> {
        let vni = model.vpcs.get(&eni.vpc)?.vni;
        let single =
            eni.primary4.iter().chain(&eni.secondary4).map(|address| V4Key::exact(vni, address.to_bits()));
        let delegated = eni.prefixes4.iter().map(|prefix| V4Key::delegated(vni, prefix.network().to_bits()));
        let v4 = single.chain(delegated).collect();
        let single = eni.addresses6.iter().map(|address| V6Key::exact(vni, address.to_bits()));
        let delegated = eni.prefixes6.iter().map(|prefix| V6Key::delegated(vni, prefix.network().to_bits()));
        let v6 = single.chain(delegated).collect();
        Some((v4, v6, MacKey::new(vni, eni.mac)))
    }

    fn insert(&mut self, enis: &mut Enis, model: &Model, eni: &model::Eni) {
        self.group_sets.take(&eni.groups);
        let (Some(destination), Some((v4, v6, _)), Some(vpc)) =
            (self.destination(eni), Self::keys(model, eni), model.vpcs.get(&eni.vpc))
        else {
            return;
        };
        for key in v4 {
            enis.v4.insert(key.slot(destination));
        }
        for key in v6 {
            enis.v6.insert(key.slot(destination));
        }
        enis.mac.insert(MacKey::slot(vpc.vni, destination));
        enis.delegated[0] += eni.prefixes4.len();
        enis.delegated[1] += eni.prefixes6.len();
    }

    fn remove(&mut self, enis: &mut Enis, model: &Model, eni: &model::Eni) {
        self.group_sets.release(&eni.groups);
        let Some((v4, v6, mac)) = Self::keys(model, eni) else { return };
        for key in v4 {
            enis.v4.remove(&key);
        }
        for key in v6 {
            enis.v6.remove(&key);
        }
        enis.mac.remove(&mac);
        enis.delegated[0] -= eni.prefixes4.len();
        enis.delegated[1] -= eni.prefixes6.len();
    }

    fn hosts(&self, model: &Model, resolve: &dyn Resolve) -> Hosts {
        let mut hosts = vec![None; self.hosts.len()];
        for host in self.remote_hosts(model) {
            let Some(slot) = self.hosts.get(&host.id).and_then(|index| hosts.get_mut(index as usize)) else {
                continue;
            };
            *slot = Some((host.underlay, self.host(host.underlay, resolve).unwrap_or(Host::UNREACHABLE)));
        }
        let forwarders = self
            .forwarding
            .iter()
            .filter_map(|id| {
                let eni = model.enis.get(id)?;
                let host = self.hosts.get(&eni.attachment.as_ref()?.host)?;
                Some((model.vpcs.get(&eni.vpc)?.vni, HostIndex(host)))
            })
            .collect();
        Hosts::new(hosts, forwarders)
    }

    /// What the workers need to send to an underlay address; `None` where no uplink leads to it.
    fn host(&self, underlay: IpAddr, resolve: &dyn Resolve) -> Option<Host> {
        let link = self.site.link_to(underlay)?;
        let uplink = self.site.uplink(link.uplink)?;
        let next_hop = resolve.resolve(link.uplink, link.next_hop);
        let template = OuterTemplate::new(
            self.site.encapsulation,
            uplink.mac,
            next_hop.unwrap_or(Mac::ZERO),
            uplink.address,
            underlay,
            uplink.checksum,
        )?;
        let fits = self.site.path_mtu(uplink) + ETHERNET as u16;
        let (reachability, max_inner) = match next_hop {
            None => (Reachability::Unresolved, 0),
            Some(_) => (Reachability::Ready, fits),
        };
        Some(Host { template, uplink: link.uplink, reachability, max_inner })
    }

    fn ports(&self, model: &Model, exits: &Exits) -> Box<[Port]> {
        let mut plugged: HashMap<&str, Arc<LocalEni>> = HashMap::new();
        for eni in local_enis(model, &self.local) {
            if let Some(at) = &eni.attachment
                && let Some(local) = self.local_eni(model, exits, eni, &at.port)
            {
                plugged.insert(&at.port, Arc::new(local));
            }
        }
        let port = |port: &SitePort| Port {
            name: Arc::clone(&port.name),
            role: match &port.role {
                SiteRole::Instance => Role::Instance(plugged.get(&*port.name).cloned()),
                SiteRole::Uplink(uplink) => Role::Uplink(uplink.to_table()),
                SiteRole::Service(services) => Role::Service(Arc::clone(services)),
                SiteRole::Gateway(outside) => Role::Gateway(Arc::clone(outside)),
                SiteRole::Control(of) => Role::Control(*of),
            },
            vlan: port.vlan,
        };
        self.site.ports.iter().map(port).collect()
    }

    fn local_macs(&self, model: &Model) -> HashMap<(Vni, Mac), PortIndex, FxBuildHasher> {
        let macs = self.local.iter().filter_map(|id| {
            let eni = model.enis.get(id)?;
            let port = self.site.port(&eni.attachment.as_ref()?.port)?;
            Some(((model.vpcs.get(&eni.vpc)?.vni, eni.mac), port))
        });
        macs.collect()
    }

    fn local_eni(&self, model: &Model, exits: &Exits, eni: &model::Eni, port: &str) -> Option<LocalEni> {
        let index = self.site.port(port)?;
        let mtu = self.site.ports.get(usize::from(index.0))?.mtu;
        let subnet = model.subnets.get(&eni.subnet)?;
        let vpc = model.vpcs.get(&eni.vpc)?;
        let index_of_subnet = SubnetIndex(self.subnets.get(&eni.subnet)?);
        let v4 = eni.primary4.iter().chain(&eni.secondary4).map(|address| address.to_bits());
        let v6 =
            eni.addresses6.iter().map(|address| address.to_bits()).chain([eni.mac.link_local().to_bits()]);
        Some(LocalEni {
            id: Arc::clone(&eni.id),
            vpc: Arc::clone(&eni.vpc),
            stay: self.stays.number(&eni.id)?,
            vni: vpc.vni,
            mac: eni.mac,
            router_mac: router_mac(&eni.subnet),
            location: Place::Local(index).into(),
            subnet: index_of_subnet,
            subnet_v4: subnet.cidr4,
            subnet_v6: subnet.cidr6,
            v4: Addresses::<u32>::new(v4, eni.prefixes4.iter().map(|prefix| prefix.network().to_bits())),
            v6: Addresses::<u128>::new(v6, eni.prefixes6.iter().map(|prefix| prefix.network().to_bits())),
            resolver: vpc.cidrs4.first().map(|block| block.network().to_bits() + 2),
            metadata_hop_limit: eni.attachment.as_ref()?.metadata_hop_limit,
            timeouts: Timeouts::DEFAULT,
            source_dest_check: eni.source_dest_check,
            mtu,
            narrow: self.site.uplinks().any(|(_, uplink)| self.site.path_mtu(uplink) < mtu),
            lease: Arc::new(lease::lease(model, vpc, subnet, eni, mtu)),
            routes: Arc::clone(&exits.subnet(index_of_subnet)?.routes),
            steered: self.exits.steering.contains(&subnet.route_table),
            policy: self.policies.get(&eni.groups)?,
        })
    }
}

fn local_enis<'a>(model: &'a Model, local: &'a HashSet<Id>) -> impl Iterator<Item = &'a model::Eni> {
    local.iter().filter_map(|id| model.enis.get(id))
}

fn vnis(model: &Model) -> HashSet<Vni> {
    model.vpcs.values().map(|vpc| vpc.vni).collect()
}
