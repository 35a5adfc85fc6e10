//! The management thread's part of gateway ports: who is where on their links.

mod takeover;

use std::{net::IpAddr, sync::Arc, time::Duration};

use hashbrown::HashMap;
use ipnet::IpNet;
use smallvec::SmallVec;

use super::{
    config::{HostConfig, RoleConfig},
    manager::OwnFrame,
};
use crate::{
    compile::{Site, SiteRole},
    model::Model,
    packet::{Buffer, HeapBuffer, Mac, push_vlan},
    services::{
        Learned,
        neighbours::{Link, Neighbour, Neighbours, Request, build_request},
    },
    tables::{GatewayPort, OutsideNeighbours, PortIndex},
};

pub(super) use takeover::announcements;

/// The neighbours on the links of a node's gateway ports.
///
/// Next hops of the ports and the other ends of circuits are resolved from the start; what else is on a link of the
/// internet, when a packet is sent to it.
#[derive(Default)]
pub(super) struct Outside {
    neighbours: Neighbours,
    /// The links, with the port's MAC and the node's own addresses there.
    links: HashMap<Link, Own>,
    changed: bool,
}

/// What the node itself is on a link.
struct Own {
    mac: Mac,
    addresses: SmallVec<[IpNet; 2]>,
}

impl Own {
    /// The address to ask from for another: the one on whose prefix that is, else one of its family.
    fn address_for(&self, target: IpAddr) -> Option<IpAddr> {
        let of_family = || self.addresses.iter().find(|own| own.addr().is_ipv4() == target.is_ipv4());
        self.addresses.iter().find(|own| own.contains(&target)).or_else(of_family).map(IpNet::addr)
    }
}

impl Outside {
    pub(super) fn new(config: &HostConfig, site: &Site, model: &Model) -> Self {
        let mut outside = Self::default();
        let gateways = config.ports.iter().zip(0..).filter_map(|(port, index)| match &port.role {
            RoleConfig::Gateway(gateway) => Some((PortIndex(index), gateway)),
            _ => None,
        });
        outside.neighbours.set_static(gateways.flat_map(|(port, gateway)| {
            gateway
                .neighbors
                .iter()
                .map(move |neighbor| ((Link { port, vlan: neighbor.vlan }, neighbor.address), neighbor.mac))
        }));
        outside.set_state(site, model);
        outside.changed = true;
        outside
    }

    /// Takes in the circuits of a new state.
    pub(super) fn set_state(&mut self, site: &Site, model: &Model) {
        self.links.clear();
        let mut wanted = Vec::new();
        for (port, gateway) in gateway_ports(site) {
            let link = Link::untagged(port);
            self.links.insert(link, Own { mac: gateway.mac, addresses: gateway.addresses.clone() });
            wanted.extend(gateway.next_hops.iter().map(|&hop| (link, hop)));
        }
        for circuit in model.circuits.values().filter(|circuit| circuit.host == site.host) {
            let port = site.port(&circuit.port).and_then(|port| Some((port, gateway_port(site, port)?)));
            let Some((port, gateway)) = port else { continue };
            let link = Link { port, vlan: circuit.vlan.unwrap_or(0) };
            let own = self
                .links
                .entry(link)
                .or_insert_with(|| Own { mac: gateway.mac, addresses: SmallVec::new() });
            own.addresses.push(circuit.address);
            wanted.push((link, circuit.peer));
        }
        self.neighbours.set_wanted(wanted);
        let links = &self.links;
        self.neighbours.retain_asked_for(|(link, _)| links.contains_key(link));
        self.changed = true;
    }

    /// Takes in what a neighbour said of itself. Returns whether that was news.
    pub(super) fn learned(&mut self, now: Duration, link: Link, heard: Learned) -> bool {
        let news = self.neighbours.learned(now, link, heard.address, heard.mac);
        self.changed |= news;
        news
    }

    /// A packet waits for a neighbour. Only of links of the node, and of its addresses' families there.
    pub(super) fn wanted(&mut self, link: Link, address: IpAddr) {
        if self.links.get(&link).is_some_and(|own| own.address_for(address).is_some()) {
            self.neighbours.want((link, address));
        }
    }

    /// The requests that are due.
    pub(super) fn tick(&mut self, now: Duration) -> Vec<(PortIndex, OwnFrame)> {
        let due = self.neighbours.tick(now);
        self.changed |= due.changed;
        due.requests.iter().filter_map(|request| self.frame(request)).collect()
    }

    fn frame(&self, request: &Request) -> Option<(PortIndex, OwnFrame)> {
        let own = self.links.get(&request.link)?;
        let untagged = build_request(own.mac, own.address_for(request.target)?, request)?;
        let mut frame = HeapBuffer::new(&untagged);
        if request.link.vlan != 0 {
            push_vlan(&mut frame, request.link.vlan).ok()?;
        }
        Some((request.link.port, frame.data().to_vec()))
    }

    /// The workers' table, if it has changed.
    pub(super) fn changed(&mut self) -> Option<Arc<OutsideNeighbours>> {
        std::mem::take(&mut self.changed).then(|| {
            let known = self.neighbours.snapshot().into_iter();
            let mapping =
                |known: Neighbour| Some(((known.link.port, known.link.vlan, known.address), known.mac?));
            Arc::new(known.filter_map(mapping).collect())
        })
    }

    /// The neighbours, for operators.
    pub(super) fn neighbours(&self) -> Vec<Neighbour> {
        self.neighbours.snapshot()
    }
}

fn gateway_ports(site: &Site) -> impl Iterator<Item = (PortIndex, &GatewayPort)> {
    let ports = (0..site.ports.len() as u16).map(PortIndex);
    ports.filter_map(|port| Some((port, gateway_port(site, port)?)))
}

/// The port at an index, if it is a gateway port.
pub(super) fn gateway_port(site: &Site, port: PortIndex) -> Option<&GatewayPort> {
    match &site.ports.get(usize::from(port.0))?.role {
        SiteRole::Gateway(outside) => Some(outside),
        _ => None,
    }
}

/// What is wrong between a host file's gateway ports and the circuits of a state that are this host's.
pub(super) fn check_circuits(site: &Site, model: &Model) -> Vec<String> {
    let mut problems = Vec::new();
    let mut taken = HashMap::new();
    let mut circuits: Vec<_> = model.circuits.values().filter(|circuit| circuit.host == site.host).collect();
    circuits.sort_unstable_by_key(|circuit| &circuit.id);
    for circuit in circuits {
        let (id, name, host) = (&circuit.id, &circuit.port, &site.host);
        let Some(port) = site.port(name) else {
            problems.push(format!(
                "{id}: on port `{name}` of `{host}`, whose host file has no such port; add a [[port]] with role = \"gateway\" or change Warren.Circuits"
            ));
            continue;
        };
        let Some(gateway) = gateway_port(site, port) else {
            problems.push(format!(
                "{id}: on port `{name}` of `{host}`, which is none to the outside; put it on a port with role = \"gateway\""
            ));
            continue;
        };
        let vlan = circuit.vlan.unwrap_or(0);
        if vlan == 0 && !gateway.addresses.is_empty() {
            problems.push(format!(
                "{id}: without a VLAN on port `{name}` of `{host}`, whose untagged link leads to the internet; give it a VLAN, or take `addresses` out of the host file"
            ));
        }
        if let Some(other) = taken.insert((port, vlan), id) {
            let link = if vlan == 0 { "no VLAN".into() } else { format!("VLAN {vlan}") };
            problems.push(format!(
                "{id}: {link} on port `{name}` of `{host}` is {other}'s too; give each circuit a VLAN of its own"
            ));
        }
    }
    problems
}

/// What is legal but surely wrong: this host is to serve gateways, and has no port to the outside.
pub(super) fn warnings(site: &Site, model: &Model) -> Vec<String> {
    if gateway_ports(site).next().is_some() {
        return Vec::new();
    }
    let mut served: Vec<_> = model
        .edges
        .values()
        .filter(|edge| edge.hosts.contains(&site.host))
        .map(|edge| &edge.gateway)
        .collect();
    served.sort_unstable();
    let warning = |gateway| {
        format!(
            "{gateway}: host `{}` is to serve it, and its host file has no port with role = \"gateway\": what it gets of that gateway's packets is dropped",
            site.host
        )
    };
    served.into_iter().map(warning).collect()
}

#[cfg(test)]
mod tests;
