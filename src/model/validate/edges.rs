//! Which hosts serve which gateway, and their links to the outside.

use hashbrown::HashMap;

use super::{Item, Source, Validation, direct_connect::NO_LINK, each, value, value::Wrong};
use crate::model::{
    AttachmentKind, ById, Circuit, Edge, EndpointService, Errors, Id, Model,
    raw::{self, Check as _},
};

pub(super) fn edges(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    for (item, raw) in each(sources, "Warren.Gateways", |raw| &raw.warren.gateways, |raw| &raw.id) {
        let gateway =
            item.required(&raw.id, "GatewayId", "igw-blue", |id| gateway(model, id), errors).cloned();
        if raw.hosts.is_missing() {
            let wrong = Wrong::new("is missing", "list the hosts that serve the gateway, such as [host-a]");
            errors.0.push(item.error("Hosts", wrong));
        }
        let mut hosts = Vec::new();
        for (index, host) in raw.hosts.items().iter().enumerate() {
            let key = format!("Hosts[{index}]");
            let found = item.reference(host, &key, "host-a", "Warren.Hosts", &model.hosts, errors);
            let Some((id, _)) = found else { continue };
            if hosts.contains(id) {
                item.wrong(key, format!("{id} is there already"), "list a host once", errors);
            } else {
                hosts.push(id.clone());
            }
        }
        let Some(gateway) = gateway else { continue };
        if model.edges.insert(gateway.clone(), Edge { gateway, hosts }).is_some() {
            let problem = format!("{} has hosts already", item.id);
            item.wrong("GatewayId", problem, "list a gateway's hosts once", errors);
        }
    }
}

/// The gateway with the id, if hosts can serve it.
fn gateway<'m>(model: &'m Model, id: &str) -> Result<&'m Id, Wrong> {
    fn key<'m, T>(known: &'m ById<T>, id: &str) -> Option<&'m Id> {
        known.get_key_value(id).map(|(id, _)| id)
    }
    if let Some((id, endpoint)) = model.endpoints.get_key_value(id) {
        return match endpoint.service {
            EndpointService::Gateway => Ok(id),
            EndpointService::LoadBalancer { .. } => Err(Wrong::new(
                format!("{id} is a Gateway Load Balancer endpoint, which every host serves"),
                "leave it out",
            )),
        };
    }
    key(&model.internet_gateways, id)
        .or_else(|| key(&model.egress_only_gateways, id))
        .or_else(|| key(&model.nat_gateways, id))
        .or_else(|| key(&model.vpn_gateways, id))
        .or_else(|| key(&model.transit_gateways, id))
        .ok_or_else(|| value::unresolved(id, "gateways"))
}

/// What a circuit takes from its resource.
struct Resource {
    id: Id,
    /// How many tunnels it has, if it has any.
    tunnels: usize,
    /// A virtual interface's own VLAN and addresses.
    link: Option<(u16, ipnet::IpNet, std::net::IpAddr)>,
}

fn resource(model: &Model, id: &str) -> Result<Resource, Wrong> {
    let plain = |id: &Id, tunnels| Resource { id: id.clone(), tunnels, link: None };
    if let Some((id, interface)) = model.virtual_interfaces.get_key_value(id) {
        let link = Some((interface.vlan, interface.address, interface.peer));
        return Ok(Resource { id: id.clone(), tunnels: 0, link });
    }
    if let Some((id, _)) = model.vpn_connections.get_key_value(id) {
        return Ok(plain(id, 2));
    }
    if let Some((id, attachment)) = model.transit_attachments.get_key_value(id)
        && let AttachmentKind::Connect { peers, .. } = &attachment.kind
    {
        let fix = "add its GRE tunnels to TransitGatewayConnectPeers";
        return match peers.len() {
            0 => Err(Wrong::new(format!("{id} has no Connect peers"), fix)),
            tunnels => Ok(plain(id, tunnels)),
        };
    }
    if let Some((id, endpoint)) = model.endpoints.get_key_value(id)
        && endpoint.service == EndpointService::Gateway
    {
        return Ok(plain(id, 0));
    }
    let fix = "name a virtual interface, VPN connection, Connect attachment or gateway endpoint of the state";
    Err(Wrong::new(format!("{id} has no circuits"), fix))
}

pub(super) fn circuits(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let mut taken: HashMap<(Id, Id, Option<u16>), Id> = HashMap::new();
    for (item, raw) in each(sources, "Warren.Circuits", |raw| &raw.warren.circuits, |raw| &raw.resource) {
        let Some(circuit) = circuit(&item, raw, model, errors) else { continue };
        if model.circuits.contains_key(&circuit.id) {
            let problem = format!("another circuit has the id {}", circuit.id);
            item.wrong("CircuitId", problem, "give each its own CircuitId", errors);
            continue;
        }
        let place = (circuit.host.clone(), circuit.port.clone(), circuit.vlan);
        if let Some(other) = taken.insert(place, circuit.id.clone()) {
            let vlan = circuit.vlan.map_or_else(|| "without a tag".to_owned(), |vlan| format!("VLAN {vlan}"));
            let problem = format!("{}/{} {vlan} is {other}'s already", circuit.host, circuit.port);
            item.wrong("Vlan", problem, "give each circuit a VLAN of its own", errors);
        }
        model.circuits.insert(circuit.id.clone(), circuit);
    }
}

/// The circuit; `None`, and noted, if what it is or where is not known.
fn circuit(item: &Item<'_>, raw: &raw::Circuit<'_>, model: &Model, errors: &mut Errors) -> Option<Circuit> {
    let find = |id| resource(model, id);
    let resource = item.required(&raw.resource, "ResourceId", "dxvif-office", find, errors);
    let id = item.optional(&raw.id, "CircuitId", value::id, errors);
    let host = item.reference(&raw.host, "HostId", "host-a", "Warren.Hosts", &model.hosts, errors);
    let port = item.required(&raw.port, "Port", "wan0", value::id, errors);
    let vlan = item.optional(&raw.vlan, "Vlan", value::vlan, errors);
    let number = |text| value::number(text, 0..=3, "a tunnel");
    let tunnel = item.optional(&raw.tunnel, "Tunnel", number, errors).unwrap_or(0);
    let address = item.optional(&raw.address, "Address", value::link, errors);
    let peer = item.optional(&raw.peer, "PeerAddress", value::neighbour, errors);
    let resource = resource?;
    if tunnel != 0 && usize::from(tunnel) >= resource.tunnels {
        let problem = match resource.tunnels {
            0 => format!("{} has no tunnels", resource.id),
            tunnels => format!("{} has {tunnels}, numbered from 0", resource.id),
        };
        let fix = "VPN connections have two, Connect attachments one for each Connect peer, others none";
        item.wrong("Tunnel", problem, fix, errors);
    }
    if resource.link.is_none() {
        let keys = [("Address", &raw.address, "169.254.10.1/30"), ("PeerAddress", &raw.peer, "169.254.10.2")];
        for (key, _, example) in keys.into_iter().filter(|(_, text, _)| text.is_missing()) {
            item.wrong(key, "is missing", format!("add it, such as {example}"), errors);
        }
    }
    let (own_vlan, own_address, own_peer) = match resource.link {
        Some((vlan, address, peer)) => (Some(vlan), address, peer),
        None => (None, NO_LINK.0, NO_LINK.1),
    };
    let stated = address.is_some() || peer.is_some();
    let known = resource.link.is_some() || (address.is_some() && peer.is_some());
    let (address, peer) = (address.unwrap_or(own_address), peer.unwrap_or(own_peer));
    if stated
        && known
        && let Err(wrong) = value::on_link(address, peer)
    {
        errors.0.push(item.error("PeerAddress", wrong));
    }
    Some(Circuit {
        id: id.map_or_else(|| resource.id.clone(), Id::from),
        resource: resource.id,
        tunnel,
        host: host?.0.clone(),
        port: Id::from(port?),
        vlan: vlan.or(own_vlan),
        address,
        peer,
    })
}
