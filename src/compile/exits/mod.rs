//! What leads out of VPCs, compiled whole: route tables, peerings, gateways, transit gateways, circuits.
//!
//! A route table whose routes lead where they did keeps its trie, so that a change costs what it touches.

mod gateways;
mod route_tables;
mod transit;

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;

use self::transit::TransitIndex;
use super::{
    Numbers, Site, SiteRole, effective,
    learned::{Learned, circuits_of},
};
use crate::{
    model::{self, Id, Model, router_mac},
    packet::Vni,
    tables::{
        Acl, Blocks, CircuitIndex, Exits, GatewayIndex, HostIndex, Lpm, Peer, PeerIndex, PortIndex, Private,
        RouteTable, Seat, SubnetExits, Target, VpcExits, Wire, ZoneIndex,
    },
};

/// What is remembered from one compilation of the exits to the next.
#[derive(Default)]
pub(super) struct ExitsMemory {
    gateways: Numbers,
    /// Numbers that no gateway gets again.
    lifetimes: HashMap<Id, u32>,
    next_lifetime: u32,
    tables: HashMap<Id, Compiled<Target>>,
    transit_tables: HashMap<Id, Compiled<crate::tables::TransitTarget>>,
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
}

/// Routes and the trie made of them.
struct Compiled<T> {
    routes: Vec<(IpNet, T)>,
    trie: Arc<Lpm<T>>,
}

impl<T: Copy + PartialEq> Compiled<T> {
    /// The trie of routes: the one that `memory` has of the same.
    fn trie(memory: &mut HashMap<Id, Self>, id: &Id, routes: Vec<(IpNet, T)>) -> Arc<Lpm<T>> {
        if let Some(known) = memory.get(id).filter(|known| known.routes == routes) {
            return Arc::clone(&known.trie);
        }
        let trie = Arc::new(Lpm::new(routes.iter().copied()));
        memory.insert(Arc::clone(id), Self { routes, trie: Arc::clone(&trie) });
        trie
    }
}

/// What compiles the exits of a model.
pub(super) struct Builder<'a> {
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
        let peers = self.peer_numbers();
        let transit = TransitIndex::new(self.model);
        let attachments = transit.numbers.clone();
        self.memory.targets.clear();
        self.memory.steering.clear();
        let tables = self.route_tables(&peers, &attachments);
        self.acls();
        let mut exits = Exits {
            subnets: self.subnets(&zones, &tables),
            vpcs: self.vpcs(&transit),
            peers: self.peers(),
            internet: self.internet_ports(),
            public_v6: self.public_v6(),
            ..Exits::none()
        };
        exits.circuits = self.circuits();
        exits.gateways = self.gateways(&tables, &circuits, &attachments);
        for (gateway, index) in exits.gateways.iter().zip(0..) {
            exits.by_mac.insert(gateway.mac, GatewayIndex(index));
        }
        (exits.attachments, exits.equals) = self.attachments(&transit, &zones);
        self.publics(&mut exits);
        self.wires(&mut exits, &circuits);
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

    fn zones(&self) -> HashMap<Arc<str>, ZoneIndex> {
        let mut names: Vec<_> = self.model.subnets.values().map(|subnet| Arc::clone(&subnet.zone)).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().zip(0..).map(|(name, index)| (name, ZoneIndex(index))).collect()
    }

    fn circuit_numbers(&self) -> HashMap<Id, CircuitIndex> {
        let mut ids: Vec<_> = self.model.circuits.keys().cloned().collect();
        ids.sort_unstable();
        ids.into_iter().zip(0..).map(|(id, index)| (id, CircuitIndex(index))).collect()
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

    fn peers(&self) -> Box<[Peer]> {
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
    ) -> Box<[SubnetExits]> {
        let empty = Arc::new(RouteTable::new([]));
        let acl = Arc::clone(&self.memory.open_acl);
        let none = SubnetExits {
            vni: Vni::FIRST,
            zone: ZoneIndex(0),
            routes: empty,
            acl,
            router_mac: router_mac(""),
        };
        let mut subnets = vec![none; self.subnets.len()];
        for subnet in self.model.subnets.values() {
            let slot = self.subnets.get(&subnet.id).and_then(|index| subnets.get_mut(index as usize));
            let (Some(slot), Some(vni)) = (slot, self.vni(&subnet.vpc)) else { continue };
            let routes = tables.get(&subnet.route_table).unwrap_or(&slot.routes);
            let zone = zones.get(&subnet.zone).copied().unwrap_or(ZoneIndex(0));
            let acl = subnet.network_acl.as_ref().and_then(|id| self.memory.acls.get(id));
            let acl = Arc::clone(acl.unwrap_or(&self.memory.open_acl));
            let router_mac = router_mac(&subnet.id);
            *slot = SubnetExits { vni, zone, routes: Arc::clone(routes), acl, router_mac };
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
        let gateway_of = |vpc: &Id, mut found: Vec<(&Id, &Option<Id>)>| {
            found.sort_unstable_by_key(|(id, _)| *id);
            let found = found.into_iter().find(|(_, of)| of.as_ref() == Some(vpc));
            found.and_then(|(id, _)| self.gateway(id))
        };
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
                egress_only: gateway_of(
                    &vpc.id,
                    self.model.egress_only_gateways.values().map(|it| (&it.id, &it.vpc)).collect(),
                ),
                internet: gateway_of(
                    &vpc.id,
                    self.model.internet_gateways.values().map(|it| (&it.id, &it.vpc)).collect(),
                ),
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
        for address in self.model.public_addresses.values() {
            let Some(vni) = self.vni(&address.vpc) else { continue };
            let gateway = exits.vpcs.get(&vni).and_then(|vpc| vpc.internet);
            let (public, private) = (address.public.to_bits(), address.private.to_bits());
            exits.publics.insert(public, Private { vni, address: private, gateway });
            exits.privates.insert((vni, private), public);
        }
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

    fn wires(&self, exits: &mut Exits, circuits: &HashMap<Id, CircuitIndex>) {
        for &port in &exits.internet {
            exits.wires.insert((port, 0), Wire::Internet);
        }
        for (circuit, index) in
            self.model.circuits.values().filter_map(|it| Some((it, *circuits.get(&it.id)?)))
        {
            let Some(compiled) = exits.circuits.get(index.0 as usize) else { continue };
            if compiled.seat == Seat::Here {
                let leads_to = Arc::new(self.leads_to(circuit));
                exits.wires.insert((compiled.port, compiled.vlan), Wire::Circuit(index, leads_to));
            }
        }
    }

    /// The gateways that a circuit leads to, by destination: the one it ends at, or those of its Direct Connect gateway by
    /// the blocks of their VPCs (BGP-10), a transit gateway's for all else.
    fn leads_to(&self, circuit: &model::Circuit) -> Lpm<GatewayIndex> {
        let everything = |gateway| {
            let v4 = IpNet::V4(ipnet::Ipv4Net::default());
            let v6 = IpNet::V6(ipnet::Ipv6Net::default());
            [(v4, gateway), (v6, gateway)]
        };
        let mut ends: Vec<(&Id, GatewayIndex)> = Vec::new();
        // FWD-2: one that is attached to no VPC leads to none.
        let attached =
            |gateway: &&model::VpnGateway| gateway.vpc.as_ref().is_some_and(|vpc| self.vni(vpc).is_some());
        let vpn_gateways = self.model.vpn_gateways.values().filter(attached).map(|gateway| &gateway.id);
        let gateways = vpn_gateways.chain(self.model.endpoints.keys());
        for id in gateways.chain(transit::outside(self.model).map(|attachment| &attachment.id)) {
            if circuits_of(self.model, id).iter().any(|of| *of.id == circuit.id) {
                ends.extend(self.gateway(id).map(|index| (id, index)));
            }
        }
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
        for edge in self.model.edges.values() {
            let hosts: HashSet<HostIndex> = edge.hosts.iter().filter_map(other).collect();
            for index in self.indexes_of(&edge.gateway) {
                exits.edges.extend(hosts.iter().map(|&host| (index, host)));
            }
            for vpc in self.vpcs_of(&edge.gateway, transit) {
                of_vpc.entry(vpc).or_default().extend(&hosts);
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
        for (vpc, hosts) in of_vpc {
            if let Some(vni) = self.vni(&vpc) {
                exits.edges_of.extend(hosts.into_iter().map(|host| (vni, host)));
            }
        }
    }

    /// The indexes of a gateway of `Warren.Gateways`: of a transit gateway, those of its attachments to the outside.
    fn indexes_of(&self, gateway: &Id) -> Vec<GatewayIndex> {
        let attachments = transit::outside(self.model).filter(|attachment| attachment.gateway == *gateway);
        let ids = std::iter::once(gateway).chain(attachments.map(|attachment| &attachment.id));
        ids.filter_map(|id| self.gateway(id)).collect()
    }

    /// The VPCs that packets come into from a gateway.
    fn vpcs_of(&self, gateway: &Id, transit: &TransitIndex) -> Vec<Id> {
        let model = self.model;
        let of = |vpc: Option<&Option<Id>>| vpc.cloned().flatten();
        let vpc = of(model.internet_gateways.get(gateway).map(|it| &it.vpc))
            .or_else(|| of(model.egress_only_gateways.get(gateway).map(|it| &it.vpc)))
            .or_else(|| of(model.vpn_gateways.get(gateway).map(|it| &it.vpc)))
            .or_else(|| model.nat_gateways.get(gateway).map(|it| Arc::clone(&it.vpc)))
            .or_else(|| model.endpoints.get(gateway).map(|it| Arc::clone(&it.vpc)));
        vpc.into_iter().chain(transit.members(gateway)).collect()
    }

    /// Where a host is, seen from this node.
    fn seat(&self, host: &str) -> Seat {
        if *host == *self.site.host {
            return Seat::Here;
        }
        self.hosts.get(host).map_or(Seat::Nobody, |index| Seat::Host(HostIndex(index)))
    }
}
