//! Gateways and circuits.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{Builder, load_balancers::Lots, transit};
use crate::{
    model::{ConnectPeer, EndpointService, Id, fnv1a, gateway_mac},
    packet::{GreTemplate, Vni},
    tables::{
        AttachmentIndex, Circuit, CircuitIndex, CircuitKind, Fib, Gateway, GatewayKind, Internet, NatGateway,
        Outside, OutsideKind, PortIndex, RouteTable, SHARES, Seat, SubnetIndex, Tunnel,
    },
};

/// The largest IP packet to an internet gateway or over a VPN (MTU-3, BGP-5).
const INTERNET_MTU: u16 = 1500;
/// The largest IP packet to a NAT gateway: what it sends on is limited there. And to an endpoint.
const NAT_MTU: u16 = 8500;

impl Builder<'_> {
    /// All gateways, each at its number.
    pub(super) fn gateways(
        &self,
        tables: &HashMap<Id, Arc<RouteTable>>,
        circuits: &HashMap<Id, CircuitIndex>,
    ) -> Arc<[Gateway]> {
        let mut gateways: Vec<Gateway> = (0..self.memory.gateways.len()).map(|_| self.nothing()).collect();
        let mut put = |id: &Id, gateway: Gateway| {
            if let Some(slot) = self.gateway(id).and_then(|index| gateways.get_mut(index.0 as usize)) {
                *slot = gateway;
            }
        };
        let model = self.model;
        let of_gateways =
            model.route_tables.values().filter_map(|table| Some((table.gateway.as_ref()?, table)));
        let of_gateways: HashMap<_, _> =
            of_gateways.filter_map(|(gateway, table)| Some((gateway, tables.get(&table.id)?))).collect();
        let ingress = |id: &Id| of_gateways.get(id).copied().cloned();
        let blocked = model.block_public_access;
        for it in model.internet_gateways.values() {
            let kind = GatewayKind::Internet(Internet { blocked, ingress: ingress(&it.id) });
            put(&it.id, self.one(&it.id, &it.id, it.vpc.as_ref(), INTERNET_MTU, kind));
        }
        for it in model.egress_only_gateways.values() {
            let kind = GatewayKind::EgressOnly(Internet { blocked, ingress: None });
            put(&it.id, self.one(&it.id, &it.id, it.vpc.as_ref(), INTERNET_MTU, kind));
        }
        for it in model.nat_gateways.values() {
            let subnet = self.subnets.get(&it.subnet).map_or(SubnetIndex(u32::MAX), SubnetIndex);
            let addresses = it.addresses.iter().map(|address| address.to_bits()).collect();
            let kind = GatewayKind::Nat(NatGateway { subnet, addresses, public: it.public });
            put(&it.id, self.one(&it.id, &it.id, Some(&it.vpc), NAT_MTU, kind));
        }
        for it in model.vpn_gateways.values() {
            let outside = self.outside(&it.id, OutsideKind::Private, ingress(&it.id), None, circuits);
            put(
                &it.id,
                self.one(&it.id, &it.id, it.vpc.as_ref(), self.mtu_of(&it.id), GatewayKind::Outside(outside)),
            );
        }
        let mut lots = Lots::new();
        for it in model.endpoints.values() {
            let kind = match &it.service {
                EndpointService::Gateway => {
                    let outside = self.outside(&it.id, OutsideKind::Endpoint, None, None, circuits);
                    GatewayKind::Outside(outside)
                }
                EndpointService::LoadBalancer { subnet, .. } => {
                    GatewayKind::LoadBalancer(self.load_balancer(it, subnet, &mut lots))
                }
            };
            let mut gateway = self.one(&it.id, &it.id, Some(&it.vpc), NAT_MTU, kind);
            if let GatewayKind::LoadBalancer(balancer) = &gateway.kind {
                gateway.served_here = balancer.appliances.iter().any(|it| it.seat == Seat::Here);
            }
            put(&it.id, gateway);
        }
        for it in transit::outside(model) {
            let attachment = self.memory.attachments.get(&it.id).copied();
            let outside = self.outside(&it.id, OutsideKind::Transit, None, attachment, circuits);
            let vpc = transit::a_vpc(model, &it.gateway);
            put(
                &it.id,
                self.one(&it.id, &it.gateway, vpc, self.mtu_of(&it.id), GatewayKind::Outside(outside)),
            );
        }
        gateways.into()
    }

    /// What stands at a number that no gateway has.
    fn nothing(&self) -> Gateway {
        let kind = GatewayKind::Internet(Internet { blocked: Default::default(), ingress: None });
        self.one(&Arc::from(""), &Arc::from(""), None, 0, kind)
    }

    /// A gateway that the hosts of `edge` serve.
    fn one(&self, id: &Id, edge: &Id, vpc: Option<&Id>, mtu: u16, kind: GatewayKind) -> Gateway {
        let known = |host: &&Id| self.model.hosts.contains_key(*host);
        let hosts = self.model.edges.get(edge).map(|edge| edge.hosts.as_slice()).unwrap_or_default();
        let hosts: Vec<&Id> = hosts.iter().filter(known).collect();
        let mut seats = [Seat::Nobody; SHARES];
        for (seat, share) in seats.iter_mut().zip(0..) {
            let owner = hosts.iter().max_by_key(|host| (weight(share, fnv1a(host)), **host));
            *seat = owner.map_or(Seat::Nobody, |host| self.seat(host));
        }
        Gateway {
            id: Arc::clone(id),
            number: self.memory.lifetimes.get(id).copied().unwrap_or(u32::MAX),
            mac: gateway_mac(id),
            vni: vpc.and_then(|vpc| self.vni(vpc)).unwrap_or(Vni::FIRST),
            mtu,
            served_here: hosts.iter().any(|host| ***host == *self.site.host),
            seats: Arc::new(seats),
            kind,
        }
    }

    fn outside(
        &self,
        id: &Id,
        kind: OutsideKind,
        ingress: Option<Arc<RouteTable>>,
        attachment: Option<AttachmentIndex>,
        numbers: &HashMap<Id, CircuitIndex>,
    ) -> Outside {
        let circuits = self.memory.ends.circuits(id);
        let all = crate::tables::CircuitSet(((1_u64 << circuits.len()) - 1) as u32);
        let routes = match kind {
            OutsideKind::Endpoint => {
                let v4 = ipnet::IpNet::V4(ipnet::Ipv4Net::default());
                let v6 = ipnet::IpNet::V6(ipnet::Ipv6Net::default());
                Fib::new([(v4, all), (v6, all)])
            }
            OutsideKind::Private | OutsideKind::Transit => self.memory.routes_of(id),
        };
        // The sets hold the ones that share, or one.
        let circuits = circuits.iter().filter_map(|circuit| numbers.get(&circuit.id).copied()).collect();
        Outside { kind, ingress, routes, circuits, ecmp: kind != OutsideKind::Endpoint, attachment }
    }

    /// The least of a gateway's circuits (MTU-6), 1500 with none.
    fn mtu_of(&self, gateway: &str) -> u16 {
        let circuits = self.memory.ends.circuits(gateway);
        circuits
            .iter()
            .map(|circuit| self.circuit_mtu(&circuit.id, circuit.kind))
            .min()
            .unwrap_or(INTERNET_MTU)
    }

    fn circuit_mtu(&self, id: &str, kind: CircuitKind) -> u16 {
        let interface =
            self.model.circuits.get(id).and_then(|it| self.model.virtual_interfaces.get(&it.resource));
        match (kind, interface) {
            (CircuitKind::DirectConnect, Some(interface)) => interface.mtu,
            (CircuitKind::Connect | CircuitKind::Endpoint, _) => NAT_MTU,
            _ => INTERNET_MTU,
        }
    }

    /// All circuits, by id.
    pub(super) fn circuits(&self) -> Arc<[Circuit]> {
        let mut circuits: Vec<_> = self.model.circuits.values().collect();
        circuits.sort_unstable_by_key(|circuit| &circuit.id);
        let model = self.model;
        let circuit = |it: &crate::model::Circuit| {
            let connection = model.vpn_connections.get(&it.resource);
            let kind = match () {
                () if connection.is_some() => CircuitKind::Vpn,
                () if model.virtual_interfaces.contains_key(&it.resource) => CircuitKind::DirectConnect,
                () if model.endpoints.contains_key(&it.resource) => CircuitKind::Endpoint,
                () => CircuitKind::Connect,
            };
            let seat = self.seat(&it.host);
            let port = (seat == Seat::Here).then(|| self.site.port(&it.port)).flatten();
            Circuit {
                id: Arc::clone(&it.id),
                seat,
                port: port.unwrap_or(PortIndex(u16::MAX)),
                vlan: it.vlan.unwrap_or(0),
                kind,
                mtu: self.circuit_mtu(&it.id, kind),
                address: it.address.addr(),
                peer: it.peer,
                tunnel: model.connect_peer(it).and_then(tunnel).map(Arc::new),
                up: connection
                    .is_none_or(|it_of| it_of.tunnels_up.get(usize::from(it.tunnel)) != Some(&false)),
            }
        };
        circuits.into_iter().map(circuit).collect()
    }
}

/// A Connect peer's tunnel.
fn tunnel(peer: &ConnectPeer) -> Option<Tunnel> {
    let (address, to) = (peer.address.into(), peer.peer.into());
    let template = GreTemplate::new(address, to, None)?;
    let inside = peer.sessions.iter().map(|session| session.address).collect();
    Some(Tunnel { template, address, peer: to, inside })
}

/// What a host weighs for a share, or an appliance for a lot, given [`fnv1a`] of its id: the heaviest has it.
///
/// Every node has to come to the same, also one of another build, so it is spelled out: the hash and the share, through the
/// finaliser of SplitMix64, without which two hosts' weights would differ by the same for all shares.
pub(super) fn weight(share: u16, name: u64) -> u64 {
    let mut mixed = name.wrapping_add(u64::from(share).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
