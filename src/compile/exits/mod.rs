//! What leads out of VPCs, compiled whole: route tables, peerings, gateways, transit gateways, circuits.
//!
//! A route table whose routes lead where they did keeps its trie, and a transit gateway's shares what did not change, so that
//! a change costs what it touches. Routes by BGP come and go all the time: `relearn` makes the next exits without looking
//! at anything else.

mod equals;
mod gateways;
mod relearn;
mod route_tables;
mod transit;

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;

use self::{equals::Equals, transit::TransitIndex};
use super::{
    Site, SiteRole,
    circuits::Ends,
    effective,
    learned::{Learned, routes_of},
    numbers::Numbers,
};
use crate::{
    model::{self, Id, Model, router_mac},
    packet::Vni,
    tables::{
        Acl, AttachmentIndex, Blocks, CircuitIndex, CircuitSet, Exits, Fib, GatewayIndex, HostIndex, Lpm,
        Peer, PeerIndex, PortIndex, Private, RouteTable, Seat, SubnetExits, Target, TransitTable, VpcExits,
        Wire, ZoneIndex, router_of,
    },
};

/// What is remembered from one compilation of the exits to the next.
#[derive(Default)]
pub(super) struct ExitsMemory {
    gateways: Numbers,
    /// Numbers that no gateway gets again.
    lifetimes: HashMap<Id, u32>,
    next_lifetime: u32,
    ends: Ends,
    /// The routes of gateways over their circuits.
    routes: HashMap<Id, Fib<CircuitSet>>,
    peers: HashMap<(Id, Id), PeerIndex>,
    attachments: HashMap<Id, AttachmentIndex>,
    tables: HashMap<Id, Compiled>,
    transit_tables: HashMap<Id, TransitTable>,
    equals: Equals,
    /// The ENIs that routes lead to.
    pub(super) targets: HashSet<Id>,
    /// The route tables with routes inside their VPC that lead elsewhere than to the destination (RT-7).
    pub(super) steering: HashSet<Id>,
    acls: HashMap<Id, Arc<Acl>>,
    /// What is in force in subnets without a network ACL.
    open_acl: Arc<Acl>,
}

impl ExitsMemory {
    /// The number of a gateway.
    pub(super) fn index(&self, id: &str) -> Option<GatewayIndex> {
        self.gateways.get(id).map(GatewayIndex)
    }

    fn routes_of(&self, gateway: &str) -> Fib<CircuitSet> {
        self.routes.get(gateway).cloned().unwrap_or_default()
    }
}

/// Routes and the trie made of them.
struct Compiled {
    routes: Vec<(IpNet, Target)>,
    trie: Arc<RouteTable>,
}

impl Compiled {
    /// The trie of routes: the one that `memory` has of the same.
    fn trie(memory: &mut HashMap<Id, Self>, id: &Id, routes: Vec<(IpNet, Target)>) -> Arc<RouteTable> {
        if let Some(known) = memory.get(id).filter(|known| known.routes == routes) {
            return Arc::clone(&known.trie);
        }
        let trie = Arc::new(RouteTable::new(routes.iter().copied()));
        memory.insert(Arc::clone(id), Self { routes, trie: Arc::clone(&trie) });
        trie
    }
}

/// What compiles the exits of a model.
pub(super) struct Builder<'a> {
    /// The model that was compiled before, if there is one.
    pub(super) old: Option<&'a Model>,
    pub(super) model: &'a Model,
    pub(super) learned: &'a Learned,
    pub(super) site: &'a Site,
    pub(super) hosts: &'a Numbers,
    pub(super) subnets: &'a Numbers,
    /// The ENIs whose source/destination check is off.
    pub(super) forwarding: &'a HashSet<Id>,
    pub(super) memory: &'a mut ExitsMemory,
}

impl Builder<'_> {
    /// The exits.
    pub(super) fn build(mut self) -> Exits {
        self.number_gateways();
        let zones = self.zones();
        let circuits = self.circuit_numbers();
        let transit = TransitIndex::new(self.model);
        self.memory.peers = self.peer_numbers();
        self.memory.attachments = self.attachment_numbers();
        self.memory.ends = Ends::new(self.model);
        self.memory.routes = self.routes();
        self.memory.targets.clear();
        self.memory.steering.clear();
        let tables = self.route_tables();
        self.update_transit_tables();
        self.acls();
        let gateways = self.gateways(&tables, &circuits);
        let by_mac = gateways.iter().zip(0..).map(|(gateway, index)| (gateway.mac, GatewayIndex(index)));
        let mut exits = Exits {
            subnets: self.subnets(&zones, &tables),
            vpcs: self.vpcs(&transit).into(),
            peers: self.peers(),
            internet: self.internet_ports(),
            public_v6: self.public_v6().into(),
            circuits: self.circuits(),
            by_mac: Arc::new(by_mac.collect()),
            attachments: self.attachments(&zones),
            equals: self.memory.equals.sets(),
            gateways,
            ..Exits::none()
        };
        self.publics(&mut exits);
        exits.wires = self.wires(&exits, &circuits).into();
        self.edges(&mut exits, &transit);
        self.memory.tables.retain(|id, _| self.model.route_tables.contains_key(id));
        self.memory.transit_tables.retain(|id, _| self.model.transit_tables.contains_key(id));
        exits
    }

    fn vni(&self, vpc: &str) -> Option<Vni> {
        Some(self.model.vpcs.get(vpc)?.vni)
    }

    pub(super) fn gateway(&self, id: &str) -> Option<GatewayIndex> {
        self.memory.index(id)
    }

    fn number_gateways(&mut self) {
        let model = self.model;
        let mut ids: model::ById<()> = model::ById::default();
        let all = model
            .internet_gateways
            .keys()
            .chain(model.egress_only_gateways.keys())
            .chain(model.nat_gateways.keys())
            .chain(model.vpn_gateways.keys())
            .chain(model.endpoints.keys())
            .chain(transit::outside(model).map(|attachment| &attachment.id));
        ids.extend(all.map(|id| (Arc::clone(id), ())));
        self.memory.gateways.retain(&ids);
        self.memory.lifetimes.retain(|id, _| ids.contains_key(id));
        for id in ids.keys() {
            if !self.memory.lifetimes.contains_key(id) {
                self.memory.lifetimes.insert(Arc::clone(id), self.memory.next_lifetime);
                self.memory.next_lifetime = self.memory.next_lifetime.wrapping_add(1);
            }
        }
    }

    /// The routes of all gateways over their circuits.
    fn routes(&self) -> HashMap<Id, Fib<CircuitSet>> {
        let model = self.model;
        let outside = transit::outside(model).map(|attachment| &attachment.id);
        let routes = |id: &Id| (Id::clone(id), routes_of(model, &self.memory.ends, self.learned, id));
        model.vpn_gateways.keys().chain(outside).map(routes).collect()
    }

    fn zones(&self) -> HashMap<Arc<str>, ZoneIndex> {
        let mut names: Vec<_> = self.model.subnets.values().map(|subnet| Arc::clone(&subnet.zone)).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().zip(0..).map(|(name, index)| (name, ZoneIndex(index))).collect()
    }

    fn circuit_numbers(&self) -> HashMap<Id, CircuitIndex> {
        numbered(&self.model.circuits).map(|(id, index)| (id, CircuitIndex(index))).collect()
    }

    fn attachment_numbers(&self) -> HashMap<Id, AttachmentIndex> {
        numbered(&self.model.transit_attachments).map(|(id, index)| (id, AttachmentIndex(index))).collect()
    }

    /// The peerings' directions, by peering and the VPC that packets come from.
    fn peer_numbers(&self) -> HashMap<(Id, Id), PeerIndex> {
        let numbered = self.directions().into_iter().zip(0..);
        numbered
            .map(|((peering, from, _), index)| ((peering.id.clone(), from.clone()), PeerIndex(index)))
            .collect()
    }

    /// Active peerings between VPCs of the state, from one VPC to the other and back, in order.
    fn directions(&self) -> Vec<(&model::Peering, &Id, &Id)> {
        let known = |peering: &&model::Peering| {
            peering.active && self.vni(&peering.requester).is_some() && self.vni(&peering.accepter).is_some()
        };
        let mut active: Vec<_> = self.model.peerings.values().filter(known).collect();
        active.sort_unstable_by_key(|peering| &peering.id);
        active
            .into_iter()
            .flat_map(|peering| {
                [
                    (peering, &peering.requester, &peering.accepter),
                    (peering, &peering.accepter, &peering.requester),
                ]
            })
            .collect()
    }

    fn peers(&self) -> Arc<[Peer]> {
        let peer = |(peering, _, to): (&model::Peering, &Id, &Id)| Peer {
            id: Arc::clone(&peering.id),
            vni: self.vni(to).unwrap_or(Vni::FIRST),
            // PT-8.
            mtu: if peering.inter_region { 8500 } else { u16::MAX },
        };
        self.directions().into_iter().map(peer).collect()
    }

    /// Compiles the network ACLs that are new or have changed.
    fn acls(&mut self) {
        let (stated, known) = (&self.model.network_acls, &mut self.memory.acls);
        known.retain(|id, acl| stated.get(id).is_some_and(|stated| acl.is(stated)));
        for (id, stated) in stated {
            known.entry_ref(id).or_insert_with(|| Arc::new(Acl::new(stated)));
        }
    }

    fn subnets(
        &self,
        zones: &HashMap<Arc<str>, ZoneIndex>,
        tables: &HashMap<Id, Arc<RouteTable>>,
    ) -> Arc<[SubnetExits]> {
        let empty = Arc::new(RouteTable::new([]));
        let acl = Arc::clone(&self.memory.open_acl);
        let none = SubnetExits {
            vni: Vni::FIRST,
            zone: ZoneIndex(0),
            routes: empty,
            acl,
            router_mac: router_mac(""),
            router_v4: None,
        };
        let mut subnets = vec![none; self.subnets.len()];
        for subnet in self.model.subnets.values() {
            let slot = self.subnets.get(&subnet.id).and_then(|index| subnets.get_mut(index as usize));
            let (Some(slot), Some(vni)) = (slot, self.vni(&subnet.vpc)) else { continue };
            let routes = tables.get(&subnet.route_table).unwrap_or(&slot.routes);
            let zone = zones.get(&subnet.zone).copied().unwrap_or(ZoneIndex(0));
            let acl = subnet.network_acl.as_ref().and_then(|id| self.memory.acls.get(id));
            let acl = Arc::clone(acl.unwrap_or(&self.memory.open_acl));
            let (router_mac, router_v4) = (router_mac(&subnet.id), subnet.cidr4.map(router_of));
            let routes = Arc::clone(routes);
            *slot = SubnetExits { vni, zone, routes, acl, router_mac, router_v4 };
        }
        subnets.into()
    }

    fn vpcs(&self, transit: &TransitIndex) -> HashMap<Vni, VpcExits, rustc_hash::FxBuildHasher> {
        let mut peered: HashMap<&Id, Vec<&Id>> = HashMap::new();
        for (_, from, to) in self.directions() {
            peered.entry(from).or_default().push(to);
        }
        let joined = transit.joined(self.model);
        let forwarders: HashSet<&Id> =
            self.forwarding.iter().filter_map(|id| Some(&self.model.enis.get(id)?.vpc)).collect();
        let internet = by_vpc(self.model.internet_gateways.values().map(|it| (&it.id, it.vpc.as_ref())));
        let egress_only =
            by_vpc(self.model.egress_only_gateways.values().map(|it| (&it.id, it.vpc.as_ref())));
        let index = |gateway: Option<&&Id>| gateway.and_then(|id| self.gateway(id));
        let vpc = |vpc: &model::Vpc| {
            let peers = peered.get(&vpc.id).map(Vec::as_slice).unwrap_or_default();
            let of_peer = |id: &&Id| self.model.vpcs.get(*id);
            let over_peerings = Lpm::new(
                peers
                    .iter()
                    .filter_map(of_peer)
                    .flat_map(|peer| effective::blocks(peer).map(|block| (block, peer.vni))),
            );
            let over_transit = joined.get(&vpc.id).map(Vec::as_slice).unwrap_or_default();
            let neighbours =
                peers.iter().copied().chain(over_transit.iter().flat_map(|(_, members)| members.iter()));
            let neighbours: HashSet<Vni> = neighbours
                .filter(|id| **id != vpc.id && forwarders.contains(*id))
                .filter_map(|id| self.vni(id))
                .collect();
            let exits = VpcExits {
                id: Arc::clone(&vpc.id),
                blocks: Blocks {
                    v4: vpc.cidrs4.iter().copied().collect(),
                    v6: vpc.cidrs6.iter().copied().collect(),
                },
                joined: std::iter::once(Arc::new(over_peerings))
                    .chain(over_transit.iter().map(|(blocks, _)| Arc::clone(blocks)))
                    .collect(),
                neighbours: neighbours.into_iter().collect(),
                egress_only: index(egress_only.get(&vpc.id)),
                internet: index(internet.get(&vpc.id)),
            };
            (vpc.vni, exits)
        };
        self.model.vpcs.values().map(vpc).collect()
    }

    /// The IPv6 blocks that the internet reaches.
    fn public_v6(&self) -> Lpm<Vni> {
        let internet = self.model.internet_gateways.values().filter_map(|it| it.vpc.as_ref());
        let egress_only = self.model.egress_only_gateways.values().filter_map(|it| it.vpc.as_ref());
        let open = internet.chain(egress_only).filter_map(|vpc| self.model.vpcs.get(vpc));
        Lpm::new(open.flat_map(|vpc| vpc.cidrs6.iter().map(|block| (IpNet::V6(*block), vpc.vni))))
    }

    fn publics(&self, exits: &mut Exits) {
        let known = self.model.public_addresses.values().filter_map(|it| Some((it, self.vni(&it.vpc)?)));
        let known = known.map(|(it, vni)| (vni, it.public.to_bits(), it.private.to_bits()));
        let gateway = |vni| exits.vpcs.get(&vni).and_then(|vpc| vpc.internet);
        let publics = known
            .clone()
            .map(|(vni, public, private)| (public, Private { vni, address: private, gateway: gateway(vni) }));
        exits.publics = Arc::new(publics.collect());
        exits.privates = Arc::new(known.map(|(vni, public, private)| ((vni, private), public)).collect());
    }

    /// The ports of this node that lead to the internet.
    fn internet_ports(&self) -> smallvec::SmallVec<[PortIndex; 2]> {
        let ports = self.site.ports.iter().zip(0..);
        let internet = ports.filter(|(port, _)| match &port.role {
            SiteRole::Gateway(outside) => !outside.addresses.is_empty(),
            _ => false,
        });
        internet.map(|(_, index)| PortIndex(index)).collect()
    }

    fn wires(&self, exits: &Exits, circuits: &HashMap<Id, CircuitIndex>) -> Wires {
        let internet = exits.internet.iter().map(|&port| ((port, 0), Wire::Internet));
        let circuit = |it: &model::Circuit| {
            let index = *circuits.get(&it.id)?;
            let compiled = exits.circuit(index).filter(|compiled| compiled.seat == Seat::Here)?;
            let wire = Wire::Circuit(index, Arc::new(self.leads_to(it)));
            Some(((compiled.port, compiled.vlan), wire))
        };
        internet.chain(self.model.circuits.values().filter_map(circuit)).collect()
    }

    /// The gateways that a circuit leads to, by destination: the one it ends at, or those of its Direct Connect gateway by
    /// the blocks of their VPCs (BGP-10), a transit gateway's for all else.
    fn leads_to(&self, circuit: &model::Circuit) -> Lpm<GatewayIndex> {
        let everything = |gateway| {
            let v4 = IpNet::V4(ipnet::Ipv4Net::default());
            let v6 = IpNet::V6(ipnet::Ipv6Net::default());
            [(v4, gateway), (v6, gateway)]
        };
        // FWD-2: one that is attached to no VPC leads to none.
        let attached =
            |gateway: &model::VpnGateway| gateway.vpc.as_ref().is_some_and(|vpc| self.vni(vpc).is_some());
        let ends: Vec<_> = self
            .memory
            .ends
            .gateways(&circuit.id)
            .iter()
            .filter(|id| self.model.vpn_gateways.get(*id).is_none_or(attached))
            .filter_map(|id| Some((id, self.gateway(id)?)))
            .collect();
        if let [(_, gateway)] = ends.as_slice() {
            return Lpm::new(everything(*gateway));
        }
        let (vpn, transit): (Vec<_>, Vec<_>) =
            ends.into_iter().partition(|(id, _)| self.model.vpn_gateways.contains_key(*id));
        let of_vpcs = vpn.into_iter().flat_map(|(id, gateway)| {
            let vpc = self.model.vpn_gateways.get(id).and_then(|vgw| self.model.vpcs.get(vgw.vpc.as_ref()?));
            vpc.into_iter().flat_map(effective::blocks).map(move |block| (block, gateway)).collect::<Vec<_>>()
        });
        Lpm::new(transit.into_iter().flat_map(|(_, gateway)| everything(gateway)).chain(of_vpcs))
    }

    /// Which hosts serve what, for the origin check (P-4).
    fn edges(&self, exits: &mut Exits, transit: &TransitIndex) {
        let other = |id: &Id| (*id != self.site.host).then(|| self.hosts.get(id).map(HostIndex)).flatten();
        let mut of_vpc: HashMap<Id, HashSet<HostIndex>> = HashMap::new();
        let mut of_transit: HashMap<&Id, Vec<GatewayIndex>> = HashMap::new();
        for attachment in transit::outside(self.model) {
            of_transit.entry(&attachment.gateway).or_default().extend(self.gateway(&attachment.id));
        }
        let mut edges = HashSet::default();
        for edge in self.model.edges.values() {
            let hosts: HashSet<HostIndex> = edge.hosts.iter().filter_map(other).collect();
            // Of a transit gateway, those of its attachments to the outside.
            let indexes = of_transit.get(&edge.gateway).into_iter().flatten().copied();
            for index in self.gateway(&edge.gateway).into_iter().chain(indexes) {
                edges.extend(hosts.iter().map(|&host| (index, host)));
            }
            for vpc in self.vpcs_of(&edge.gateway, transit) {
                of_vpc.entry_ref(vpc).or_default().extend(&hosts);
            }
        }
        // Through a transit gateway, packets of one VPC's gateways come into the others (GW-16).
        for members in transit.components() {
            let hosts: HashSet<HostIndex> =
                members.iter().filter_map(|vpc| of_vpc.get(vpc)).flatten().copied().collect();
            for vpc in members.iter() {
                of_vpc.entry(Arc::clone(vpc)).or_default().extend(&hosts);
            }
        }
        let of_vni = of_vpc.into_iter().filter_map(|(vpc, hosts)| Some((self.vni(&vpc)?, hosts)));
        let edges_of = of_vni.flat_map(|(vni, hosts)| hosts.into_iter().map(move |host| (vni, host)));
        exits.edges_of = Arc::new(edges_of.collect());
        exits.edges = Arc::new(edges);
    }

    /// The VPCs that packets come into from a gateway.
    fn vpcs_of<'t>(&'t self, gateway: &Id, transit: &'t TransitIndex) -> impl Iterator<Item = &'t Id> {
        let model = self.model;
        let vpc = model
            .internet_gateways
            .get(gateway)
            .and_then(|it| it.vpc.as_ref())
            .or_else(|| model.egress_only_gateways.get(gateway)?.vpc.as_ref())
            .or_else(|| model.vpn_gateways.get(gateway)?.vpc.as_ref())
            .or_else(|| Some(&model.nat_gateways.get(gateway)?.vpc))
            .or_else(|| Some(&model.endpoints.get(gateway)?.vpc));
        vpc.into_iter().chain(transit.members(gateway))
    }

    /// Where a host is, seen from this node.
    fn seat(&self, host: &str) -> Seat {
        if *host == *self.site.host {
            return Seat::Here;
        }
        self.hosts.get(host).map_or(Seat::Nobody, |index| Seat::Host(HostIndex(index)))
    }
}

type Wires = HashMap<(PortIndex, u16), Wire, rustc_hash::FxBuildHasher>;

/// Numbers for resources in the order of their ids.
fn numbered<T>(resources: &model::ById<T>) -> impl Iterator<Item = (Id, u32)> {
    let mut ids: Vec<_> = resources.keys().cloned().collect();
    ids.sort_unstable();
    ids.into_iter().zip(0..)
}

/// Gateways by the VPC that they are attached to; of several the one with the first id.
fn by_vpc<'m>(gateways: impl Iterator<Item = (&'m Id, Option<&'m Id>)>) -> HashMap<&'m Id, &'m Id> {
    let mut gateways: Vec<_> = gateways.filter_map(|(id, vpc)| Some((vpc?, id))).collect();
    // The last one stays.
    gateways.sort_unstable_by(|a, b| b.cmp(a));
    gateways.into_iter().collect()
}
