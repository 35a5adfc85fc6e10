//! A state as a value: placed on hosts, patched, and what its names stand for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value, json};
use warren::{
    model::{Document, Model, gateway_mac, load, router_mac},
    packet::{Mac, nd},
    services::nd::ROUTER,
    tables::ServicePort,
};

use super::{
    journey::GATEWAY_PORT,
    suite::{Family, Hosts, Placement, Suite},
};

/// The MAC of a host's interface at its service port.
pub const SERVICES: Mac = Mac([0x02, 0xfb, 0, 0, 0, 1]);

/// The MAC of whoever is outside, and of the gateway port that it talks to, as scenarios see both.
pub const OUTSIDE: Mac = Mac([0x02, 0xfd, 0, 0, 0, 0]);
pub const GATEWAY: Mac = Mac([0x02, 0xfc, 0, 0, 0, 0]);

/// The name of the internet as a place.
pub const INTERNET_PLACE: &str = "internet";

/// The networks in which `internet(N)` and `site(N)` are.
const INTERNET: ([u8; 3], [u16; 3]) = ([198, 51, 100], [0x2001, 0xdb8, 0x5000]);
const SITE: ([u8; 3], [u16; 3]) = ([192, 168, 0], [0x2001, 0xdb8, 0x6000]);

/// The kinds of resources and the key of their ids.
const KINDS: [(&str, &str); 37] = [
    ("DhcpOptions", "DhcpOptionsId"),
    ("Vpcs", "VpcId"),
    ("Subnets", "SubnetId"),
    ("SecurityGroups", "GroupId"),
    ("NetworkAcls", "NetworkAclId"),
    ("NetworkInterfaces", "NetworkInterfaceId"),
    ("RouteTables", "RouteTableId"),
    ("PrefixLists", "PrefixListId"),
    ("InternetGateways", "InternetGatewayId"),
    ("EgressOnlyInternetGateways", "EgressOnlyInternetGatewayId"),
    ("NatGateways", "NatGatewayId"),
    ("Addresses", "PublicIp"),
    ("VpcPeeringConnections", "VpcPeeringConnectionId"),
    ("VpnGateways", "VpnGatewayId"),
    ("VpnConnections", "VpnConnectionId"),
    ("virtualInterfaces", "virtualInterfaceId"),
    ("directConnectGateways", "directConnectGatewayId"),
    ("directConnectGatewayAssociations", "associationId"),
    ("VpcEndpoints", "VpcEndpointId"),
    ("TransitGateways", "TransitGatewayId"),
    ("TransitGatewayVpcAttachments", "TransitGatewayAttachmentId"),
    ("TransitGatewayPeeringAttachments", "TransitGatewayAttachmentId"),
    ("TransitGatewayConnects", "TransitGatewayAttachmentId"),
    ("TransitGatewayConnectPeers", "TransitGatewayConnectPeerId"),
    ("TransitGatewayAttachments", "TransitGatewayAttachmentId"),
    ("TransitGatewayRouteTables", "TransitGatewayRouteTableId"),
    ("TransitGatewayMulticastDomains", "TransitGatewayMulticastDomainId"),
    ("FlowLogs", "FlowLogId"),
    ("TrafficMirrorTargets", "TrafficMirrorTargetId"),
    ("TrafficMirrorFilters", "TrafficMirrorFilterId"),
    ("TrafficMirrorSessions", "TrafficMirrorSessionId"),
    ("Hosts", "HostId"),
    ("Attachments", "NetworkInterfaceId"),
    ("Networks", "VpcId"),
    ("Gateways", "GatewayId"),
    ("Circuits", "CircuitId"),
    ("Appliances", "VpcEndpointId"),
];

/// What there is one of.
const SINGLE: [&str; 1] = ["VpcBlockPublicAccessOptions"];

/// The state with hosts and attachments. An ENI is at the port of its own name, on whichever host.
pub fn place(state: &Value, hosts: &Hosts, placement: &str, underlay: impl Fn(u8) -> IpAddr) -> Value {
    let mut state = state.clone();
    let listed = hosts.hosts.iter();
    let listed: Vec<Value> =
        listed.map(|(id, host)| json!({"HostId": id, "UnderlayAddress": underlay(host.number)})).collect();
    let attached = hosts.placements[placement].enis.iter();
    let attached: Vec<Value> =
        attached.flat_map(|(host, enis)| enis.iter().map(move |eni| attachment(eni, host))).collect();
    state["Warren"]["Hosts"] = listed.into();
    state["Warren"]["Attachments"] = attached.into();
    state
}

/// The state with hosts in place of what it calls `edge-1`, `edge-2`…
pub fn settle(state: &Value, placement: &Placement) -> Value {
    match state {
        Value::String(name) => placement.host(name).into(),
        Value::Array(items) => {
            let mut settled: Vec<Value> = Vec::new();
            for (before, item) in items.iter().map(|item| (item, settle(item, placement))) {
                // Two edges may be one host.
                if *before == item || !settled.contains(&item) {
                    settled.push(item);
                }
            }
            settled.into()
        }
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.clone(), settle(value, placement))).collect()
        }
        other => other.clone(),
    }
}

fn attachment(eni: &str, host: &str) -> Value {
    json!({"NetworkInterfaceId": eni, "HostId": host, "Port": eni})
}

/// Attaches an ENI to another host, or to none.
pub fn attach(state: &mut Value, eni: &str, host: Option<&str>) {
    let attachments = state["Warren"]["Attachments"].as_array_mut().unwrap();
    attachments.retain(|it| it["NetworkInterfaceId"] != eni);
    attachments.extend(host.map(|host| attachment(eni, host)));
}

/// Applies a patch: by kind and id, the keys to replace. A null removes.
pub fn patch(state: &mut Value, changes: &Value) {
    for (kind, changes) in changes.as_object().expect("a patch is a map") {
        if kind == "Warren" {
            patch(&mut state["Warren"], changes);
            continue;
        }
        if SINGLE.contains(&&**kind) {
            merge(&mut state[kind], changes);
            continue;
        }
        let (_, key) = KINDS.iter().find(|(known, _)| known == kind).unwrap_or_else(|| panic!("no {kind}"));
        if state[kind].is_null() {
            state[kind] = Value::Array(Vec::new());
        }
        let list = state[kind].as_array_mut().unwrap_or_else(|| panic!("no {kind}"));
        for (id, change) in changes.as_object().expect("a map of ids") {
            let found = list.iter().position(|it| it[*key] == **id);
            match (found, change) {
                (Some(index), Value::Null) => drop(list.remove(index)),
                (Some(index), change) => merge(&mut list[index], change),
                (None, change) => {
                    let mut new = Value::Object(Map::from_iter([((*key).to_owned(), json!(id))]));
                    merge(&mut new, change);
                    list.push(new);
                }
            }
        }
    }
}

/// RFC 7396.
pub fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    for (key, change) in changes {
        match change {
            Value::Null => drop(value.as_object_mut().unwrap().remove(key)),
            change => merge(&mut value[key], change),
        }
    }
}

/// As [`merge`], with the result.
pub fn merged(value: &Value, patch: &Value) -> Value {
    let mut value = value.clone();
    merge(&mut value, patch);
    value
}

/// A state as a document, for a daemon, and what is read from it.
pub struct Stated {
    #[cfg(feature = "dpdk")]
    pub document: Document,
    /// Or every mistake in it.
    pub model: Result<Model, String>,
}

impl Stated {
    /// Writes and reads a state.
    pub fn of(state: &Value) -> Self {
        let document = Document { name: "state".to_owned(), text: state.to_string() };
        Self {
            model: load(std::slice::from_ref(&document)).map_err(|errors| errors.to_string()),
            #[cfg(feature = "dpdk")]
            document,
        }
    }
}

/// What the names in a scenario stand for.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    pub model: &'a Model,
    pub suite: &'a Suite,
    pub family: Family,
}

impl Names<'_> {
    /// A MAC: `mac(ENI)`, `router(SUBNET)`, `broadcast`, or as it is written.
    pub fn mac(&self, text: &str) -> Mac {
        match call(text) {
            Some(("mac", eni)) => self.eni(eni).mac,
            Some(("router", subnet)) => router_mac(subnet),
            Some(("gateway-mac", gateway)) => gateway_mac(gateway),
            Some(("group", address)) => group_mac(self.ip(address)),
            None if text == "services" => SERVICES,
            None if text == "outside" => OUTSIDE,
            None if text == "gateway" => GATEWAY,
            None if text == "services-router" => ServicePort::ROUTER,
            None if text == "broadcast" => Mac::BROADCAST,
            _ => text.parse().unwrap_or_else(|_| panic!("no MAC: {text}")),
        }
    }

    /// An address: `ip(ENI)`, `ip4(ENI)`, `ip6(ENI)`, `ip2(ENI)` (the second), `ll(ENI)`, `router-ip(SUBNET)`,
    /// `router-ll(SUBNET)`, `last(SUBNET)`, `dns(VPC)`, `solicited-node(ADDRESS)`, or as it is written.
    pub fn ip(&self, text: &str) -> IpAddr {
        let v4 = self.family == Family::Ipv4;
        match call(text) {
            Some(("ip", eni)) => self.address(eni, v4, 0),
            Some(("ip2", eni)) => self.address(eni, v4, 1),
            Some(("internet", number)) => self.host_of(INTERNET, v4, number),
            Some(("internet4", number)) => self.host_of(INTERNET, true, number),
            Some(("internet6", number)) => self.host_of(INTERNET, false, number),
            Some(("site", number)) => self.host_of(SITE, v4, number),
            Some(("public", owner)) => self.public(owner, 0),
            Some(("public2", owner)) => self.public(owner, 1),
            Some(("nat", gateway)) => self.nat(gateway).into(),
            Some(("nat64", address)) => self.nat64(address),
            Some(("ip4", eni)) => self.address(eni, true, 0),
            Some(("ip6", eni)) => self.address(eni, false, 0),
            Some(("ll", eni)) => self.eni(eni).mac.link_local().into(),
            Some(("identity", eni)) => self.identity(eni, v4, 0),
            Some(("identity-vpc", eni)) => self.identity(eni, v4, 2048),
            Some(("router-ll", subnet)) => router_mac(subnet).link_local().into(),
            Some(("router-ip", subnet)) => self.in_subnet(subnet, v4, 1),
            // Anything of a subnet by its distance from the base, such as `at(S1, 200)`; negative: from the end.
            Some(("at", arguments)) => {
                let (subnet, distance) = arguments.split_once(',').expect(text);
                self.in_subnet(subnet, v4, distance.trim().parse().expect(text))
            }
            Some(("solicited-node", address)) => match self.ip(address) {
                IpAddr::V6(address) => nd::solicited_node(address).into(),
                IpAddr::V4(_) => panic!("{text}: of IPv6 only"),
            },
            Some(_) => panic!("no address: {text}"),
            None if text == "router" => ROUTER.into(),
            None => text.parse().unwrap_or_else(|_| panic!("no address: {text}")),
        }
    }

    /// The host with a number of two networks, one of each family.
    fn host_of(&self, (net4, net6): ([u8; 3], [u16; 3]), v4: bool, number: &str) -> IpAddr {
        let number: u8 = number.parse().unwrap_or_else(|_| panic!("no number: {number}"));
        match (net4, net6) {
            ([a, b, c], _) if v4 => Ipv4Addr::new(a, b, c, number).into(),
            (_, [a, b, c]) => Ipv6Addr::new(a, b, c, 0, 0, 0, 0, number.into()).into(),
        }
    }

    /// The public IPv4 address of an ENI's or NAT gateway's address.
    fn public(&self, owner: &str, index: usize) -> IpAddr {
        let private = match self.model.nat_gateways.get(owner) {
            Some(gateway) => gateway.addresses.get(index).copied().map(IpAddr::V4),
            None => Some(self.address(owner, true, index)),
        };
        let mut known = self.model.public_addresses.values().filter(|it| *it.owner == *owner);
        let found = known.find(|it| Some(IpAddr::V4(it.private)) == private);
        found.unwrap_or_else(|| panic!("{owner} has no public address")).public.into()
    }

    /// The primary address of a NAT gateway in its subnet.
    fn nat(&self, gateway: &str) -> Ipv4Addr {
        let found = self.model.nat_gateways.get(gateway).and_then(|gateway| gateway.addresses.first());
        *found.unwrap_or_else(|| panic!("no NAT gateway {gateway}"))
    }

    /// An IPv4 address in 64:ff9b::/96 (RFC 6052).
    fn nat64(&self, text: &str) -> IpAddr {
        match self.ip(text) {
            IpAddr::V4(address) => {
                Ipv6Addr::from_bits(0x64_ff9b << 96 | u128::from(address.to_bits())).into()
            }
            IpAddr::V6(_) => panic!("{text}: of IPv4 only"),
        }
    }

    /// Whether a name is one of a place outside: the internet, or the other end of a circuit.
    pub fn is_outside(&self, name: &str) -> bool {
        name == INTERNET_PLACE || self.model.circuits.contains_key(name)
    }

    /// The outer addresses of the tunnel that packets of a circuit are in: Warren's, and the appliance's.
    pub fn tunnel(&self, circuit: &str) -> Option<(Ipv4Addr, Ipv4Addr)> {
        let peer = self.model.connect_peer(self.model.circuits.get(circuit)?)?;
        Some((peer.address, peer.peer))
    }

    /// The place outside behind a VLAN of a host's gateway port.
    pub fn outside(&self, host: &str, vlan: Option<u16>) -> Option<&str> {
        let mut circuits = self.model.circuits.values();
        let circuit = circuits.find(|it| *it.host == *host && *it.port == *GATEWAY_PORT && it.vlan == vlan);
        circuit.map(|circuit| &*circuit.id).or(vlan.is_none().then_some(INTERNET_PLACE))
    }

    /// An address of the family at a distance from a subnet's base, or, if negative, from its end.
    fn in_subnet(&self, subnet: &str, v4: bool, distance: i64) -> IpAddr {
        let subnet = self.model.subnets.get(subnet).unwrap_or_else(|| panic!("no subnet {subnet}"));
        if v4 {
            let net = subnet.cidr4.expect("a subnet with an IPv4 block");
            let base = if distance < 0 { net.broadcast() } else { net.network() };
            let distance = if distance < 0 { distance + 1 } else { distance };
            Ipv4Addr::from_bits(base.to_bits().wrapping_add_signed(distance as i32)).into()
        } else {
            let net = subnet.cidr6.expect("a subnet with an IPv6 block");
            let base = if distance < 0 { net.broadcast() } else { net.network() };
            let distance = if distance < 0 { distance + 1 } else { distance };
            Ipv6Addr::from_bits(base.to_bits().wrapping_add_signed(distance.into())).into()
        }
    }

    /// What the services of its host see as an ENI's primary address: Warren's own choice, see `docs/configuration.md`.
    fn identity(&self, eni: &str, v4: bool, offset: u32) -> IpAddr {
        let at = self.eni(eni).attachment.as_ref().expect("an attached ENI");
        let port = self.suite.ports(&at.host).iter().position(|port| **port == *at.port);
        let port = port.expect("a port of the host") as u32;
        if v4 {
            Ipv4Addr::from_bits((100 << 24 | 64 << 16) + 4096 * port + offset).into()
        } else {
            Ipv6Addr::new(0xfd77, 0x6172, 0x72, port as u16, 0, 0, 0, 0).into()
        }
    }

    fn address(&self, eni: &str, v4: bool, index: usize) -> IpAddr {
        let eni = self.eni(eni);
        let found: Option<IpAddr> = if v4 {
            eni.primary4.iter().chain(&eni.secondary4).nth(index).map(|&address| address.into())
        } else {
            eni.addresses6.get(index).map(|&address| address.into())
        };
        found.unwrap_or_else(|| panic!("{} has no such address", eni.id))
    }

    /// The ENI with an id.
    pub fn eni(&self, id: &str) -> &warren::model::Eni {
        self.model.enis.get(id).unwrap_or_else(|| panic!("no ENI {id}"))
    }

    /// The MAC to which a guest with usual routes sends a packet.
    pub fn next_hop(&self, from: &str, to: IpAddr) -> Mac {
        if to.is_multicast() || to == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return group_mac(to);
        }
        let subnet = &self.eni(from).subnet;
        let known = self.model.enis.values().filter(|eni| eni.subnet == *subnet);
        let mut owners = known.filter(|eni| match to {
            IpAddr::V4(to) => {
                eni.primary4 == Some(to)
                    || eni.secondary4.contains(&to)
                    || eni.prefixes4.iter().any(|net| net.contains(&to))
            }
            IpAddr::V6(to) => {
                eni.addresses6.contains(&to)
                    || eni.mac.link_local() == to
                    || eni.prefixes6.iter().any(|net| net.contains(&to))
            }
        });
        owners.next().map_or_else(|| router_mac(subnet), |eni| eni.mac)
    }

    /// The ENI attached to a port of a host.
    pub fn at(&self, host: &str, port: &str) -> Option<&str> {
        let mut enis = self.model.enis.values();
        let eni = enis
            .find(|eni| eni.attachment.as_ref().is_some_and(|at| *at.host == *host && *at.port == *port))?;
        Some(&eni.id)
    }
}

/// The MAC of a group (RFC 1112 §6.4, RFC 2464 §7).
fn group_mac(address: IpAddr) -> Mac {
    match address {
        IpAddr::V4(Ipv4Addr::BROADCAST) => Mac::BROADCAST,
        IpAddr::V4(address) => {
            let [_, b, c, d] = address.octets();
            Mac([1, 0, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(address) => nd::multicast_mac(address),
    }
}

/// `name(argument)`.
fn call(text: &str) -> Option<(&str, &str)> {
    text.strip_suffix(')')?.split_once('(')
}
