//! Tables in words, without the numbers that things happen to have in them.

use std::{collections::BTreeMap, net::IpAddr};

use warren::{
    model::{Model, router_mac},
    packet::{Mac, Vni},
    tables::{
        Appliance, AttachmentIndex, AttachmentKind, CircuitIndex, GatewayIndex, GatewayKind, HostIndex,
        Outside, Place, RouteTable, Seat, Tables, Target, TransitTable, TransitTarget, Wire, ZoneIndex,
    },
};

/// Destinations that routes of the tests distinguish.
pub(crate) const PROBES: [&str; 18] = [
    "8.8.8.8",
    "10.0.1.10",
    "10.0.2.10",
    "10.0.3.10",
    "10.0.9.5",
    "10.1.1.10",
    "10.2.1.10",
    "10.2.7.7",
    "10.9.1.10",
    "10.77.0.1",
    "172.16.0.1",
    "172.17.0.1",
    "172.18.0.1",
    "192.168.7.7",
    "192.168.99.7",
    "198.51.100.7",
    "2001:db8:0:100::7",
    "2001:4860::8888",
];

pub(crate) fn probes() -> impl Iterator<Item = IpAddr> {
    PROBES.iter().map(|text| text.parse().expect("an address"))
}

/// Names for what a snapshot numbers.
pub(crate) struct Names<'a> {
    pub(crate) tables: &'a Tables,
    /// Every resource that there may be.
    pub(crate) all: &'a Model,
}

impl Names<'_> {
    fn gateway(&self, index: GatewayIndex) -> String {
        self.tables.exits.gateway(index).map_or("?".into(), |gateway| gateway.id.to_string())
    }

    fn attachment(&self, index: AttachmentIndex) -> String {
        self.tables.exits.attachment(index).map_or("?".into(), |attachment| attachment.id.to_string())
    }

    fn circuit(&self, index: CircuitIndex) -> String {
        self.tables.exits.circuit(index).map_or("?".into(), |circuit| circuit.id.to_string())
    }

    /// A host by its outer header.
    fn host(&self, index: HostIndex) -> String {
        self.tables.hosts.get(index).map_or("?".into(), |host| format!("{:?}", host.template))
    }

    fn seat(&self, seat: Seat) -> String {
        if let Seat::Host(index) = seat { self.host(index) } else { format!("{seat:?}") }
    }

    /// A zone by the subnets in it.
    fn zone(&self, zone: ZoneIndex) -> String {
        let subnets = self.tables.exits.subnets.iter().filter(|subnet| subnet.zone == zone);
        let mut macs: Vec<_> = subnets.map(|subnet| subnet.router_mac.to_string()).collect();
        macs.retain(|mac| *mac != router_mac("").to_string());
        macs.sort();
        macs.join(",")
    }

    /// An ENI by its MAC, which differs in all of them.
    fn eni(&self, mac: Mac) -> String {
        let eni = self.all.enis.values().find(|eni| eni.mac == mac);
        eni.map_or_else(|| mac.to_string(), |eni| eni.id.to_string())
    }

    pub(crate) fn target(&self, target: Target) -> String {
        let exits = &self.tables.exits;
        match target {
            Target::Local => "local".into(),
            Target::Blackhole => "blackhole".into(),
            Target::Invalid => "invalid".into(),
            Target::Eni(mac) => self.eni(mac),
            Target::Peer(index) => {
                exits.peers.get(index.0 as usize).map_or("?".into(), |peer| peer.id.to_string())
            }
            Target::Gateway(index) => self.gateway(index),
            Target::Transit(index) => {
                exits.attachment(index).map_or("?".into(), |attachment| attachment.gateway.to_string())
            }
        }
    }

    /// What a table says of each probe.
    fn table(&self, table: &RouteTable) -> String {
        let of = |address: IpAddr| table.lookup(address).map_or("none".into(), |target| self.target(target));
        probes().map(of).collect::<Vec<_>>().join(" ")
    }

    fn transit(&self, table: &TransitTable) -> String {
        let of = |address| match table.lookup(address) {
            None => "none".into(),
            Some(TransitTarget::Blackhole) => "blackhole".into(),
            Some(TransitTarget::Attachment(index)) => self.attachment(index),
            Some(TransitTarget::Ecmp(equals)) => {
                let equals = self.tables.exits.equals.get(equals as usize).expect("a set");
                equals.iter().map(|&index| self.attachment(index)).collect::<Vec<_>>().join("+")
            }
        };
        probes().map(of).collect::<Vec<_>>().join(" ")
    }

    fn outside(&self, outside: &Outside) -> String {
        let of = |address| {
            let set = outside.routes.lookup(address).unwrap_or_default();
            let circuits = outside.circuits.iter().zip(0..).filter(|(_, bit)| set.0 >> bit & 1 == 1);
            circuits.map(|(&index, _)| self.circuit(index)).collect::<Vec<_>>().join("+")
        };
        let ingress = outside.ingress.as_ref().map(|table| self.table(table));
        let attachment = outside.attachment.map(|index| self.attachment(index));
        let routes: Vec<_> = probes().map(of).collect();
        format!("{:?} {} {attachment:?} {ingress:?} {routes:?}", outside.kind, outside.ecmp)
    }

    fn kind(&self, kind: &GatewayKind) -> String {
        match kind {
            GatewayKind::Internet(internet) | GatewayKind::EgressOnly(internet) => {
                let ingress = internet.ingress.as_ref().map(|table| self.table(table));
                format!("{:?} {ingress:?}", internet.blocked)
            }
            GatewayKind::Nat(nat) => {
                let subnet = self.tables.exits.subnet(nat.subnet).map(|subnet| subnet.router_mac);
                format!("{subnet:?} {:?} {}", nat.addresses, nat.public)
            }
            GatewayKind::Outside(outside) => self.outside(outside),
            GatewayKind::LoadBalancer(balancer) => {
                let subnet = self.tables.exits.subnet(balancer.subnet).map(|subnet| subnet.router_mac);
                let appliance = |it: &Appliance| {
                    let here = it.here.as_ref().map(|here| (here.port, here.vni, here.mtu));
                    format!("{} {} {here:?}", it.eni, self.seat(it.seat))
                };
                let appliances: Vec<_> = balancer.appliances.iter().map(appliance).collect();
                format!("{subnet:?} {:x} {appliances:?} {:?}", balancer.number, balancer.lots)
            }
        }
    }

    fn vpc(&self, vni: Vni) -> String {
        let exits = &self.tables.exits;
        let Some(vpc) = exits.vpcs.get(&vni) else { return "none".into() };
        let origins = |address| {
            let mut origins: Vec<_> = exits.origins(vni, address).map(Vni::get).collect();
            origins.sort_unstable();
            format!("{origins:?}")
        };
        let origins: Vec<_> = probes().map(origins).collect();
        let mut neighbours: Vec<_> = exits.joined_to(vni).map(Vni::get).collect();
        neighbours.sort_unstable();
        let [internet, egress_only] =
            [vpc.internet, vpc.egress_only].map(|index| index.map(|index| self.gateway(index)));
        format!("{} {:?} {neighbours:?} {internet:?} {egress_only:?} {origins:?}", vpc.id, vpc.blocks)
    }

    /// All of what leads out.
    pub(crate) fn view(&self) -> BTreeMap<String, String> {
        let exits = &self.tables.exits;
        let mut view = BTreeMap::new();
        for subnet in exits.subnets.iter().filter(|subnet| subnet.router_mac != router_mac("")) {
            let text = format!("{} {} {}", subnet.vni, self.zone(subnet.zone), self.table(&subnet.routes));
            view.insert(format!("subnet {}", subnet.router_mac), text);
        }
        for (gateway, index) in exits.gateways.iter().zip(0..).filter(|(gateway, _)| !gateway.id.is_empty()) {
            let seats: Vec<_> = gateway.seats.iter().map(|&seat| self.seat(seat)).collect();
            let by_mac = exits.by_mac.get(&gateway.mac) == Some(&GatewayIndex(index));
            let text = format!(
                "{} {} {} {} {by_mac} {} {seats:?}",
                gateway.mac,
                gateway.vni,
                gateway.mtu,
                gateway.served_here,
                self.kind(&gateway.kind)
            );
            view.insert(format!("gateway {}", gateway.id), text);
        }
        for attachment in exits.attachments.iter() {
            let routes = attachment.routes.as_ref().map(|table| self.transit(table));
            let kind = match &attachment.kind {
                AttachmentKind::Vpc { vni, zones, appliance_mode, ipv6 } => {
                    let zone = |&(zone, subnet)| {
                        (self.zone(zone), exits.subnet(subnet).map(|subnet| subnet.router_mac))
                    };
                    let zones: Vec<_> = zones.iter().map(zone).collect();
                    format!("{vni} {zones:?} {appliance_mode} {ipv6}")
                }
                AttachmentKind::Peering(other) => self.attachment(*other),
                AttachmentKind::Outside(gateway) => self.gateway(*gateway),
            };
            view.insert(format!("attachment {}", attachment.id), format!("{kind} {routes:?}"));
        }
        for circuit in exits.circuits.iter() {
            let text =
                format!("{circuit:?}").replace(&format!("{:?}", circuit.seat), &self.seat(circuit.seat));
            view.insert(format!("circuit {}", circuit.id), text);
        }
        for vpc in self.all.vpcs.values() {
            view.insert(format!("vpc {}", vpc.id), self.vpc(vpc.vni));
        }
        for peer in exits.peers.iter() {
            view.insert(format!("peer {} {}", peer.id, peer.vni), peer.mtu.to_string());
        }
        for (number, &gateway) in exits.load_balancers.iter() {
            view.insert(format!("load balancer {number:x}"), self.gateway(gateway));
        }
        for (public, private) in exits.publics.iter() {
            let gateway = private.gateway.map(|index| self.gateway(index));
            let text = format!("{} {} {gateway:?}", private.vni, private.address);
            view.insert(format!("public {public}"), text);
        }
        for ((vni, private), public) in exits.privates.iter() {
            view.insert(format!("private {vni} {private}"), public.to_string());
        }
        for ((port, vlan), wire) in exits.wires.iter() {
            let text = match wire {
                Wire::Internet => "internet".into(),
                Wire::Circuit(index, leads_to) => {
                    let of = |address| leads_to.lookup(address).map(|index| self.gateway(index));
                    format!("{} {:?}", self.circuit(*index), probes().map(of).collect::<Vec<_>>())
                }
            };
            view.insert(format!("wire {} {vlan}", port.0), text);
        }
        for &(gateway, host) in exits.edges.iter() {
            view.insert(format!("edge {} {}", self.gateway(gateway), self.host(host)), String::new());
        }
        for &(vni, host) in exits.edges_of.iter() {
            view.insert(format!("edge of {vni} {}", self.host(host)), String::new());
        }
        for address in probes() {
            view.insert(format!("public {address}"), format!("{:?}", exits.public_v6.lookup(address)));
            for vpc in self.all.vpcs.values() {
                let owner = self.tables.owner(vpc.vni, address).map(|owner| {
                    let place = match owner.location.place() {
                        Place::Gateway(index) => self.gateway(index),
                        Place::Remote(index) => self.host(index),
                        place => format!("{place:?}"),
                    };
                    format!("{} {} {place}", owner.mac, owner.router_mac)
                });
                view.insert(format!("owner {} {address}", vpc.id), format!("{owner:?}"));
            }
        }
        for (index, _) in self.tables.ports.iter().enumerate() {
            let eni = self.tables.local_eni(warren::tables::PortIndex(index as u16));
            let text = eni.map(|eni| format!("{} {} {}", eni.id, eni.steered, self.table(&eni.routes)));
            view.insert(format!("port {index}"), format!("{text:?}"));
        }
        view
    }
}
