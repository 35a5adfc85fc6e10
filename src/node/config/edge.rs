//! The keys of an edge: gateway ports, the flows remembered there, routes learned by BGP.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;
use serde::Deserialize;

use super::{HostConfig, PortConfig, RawPort, RoleConfig, StaticNeighbor, check_mac};
use crate::{
    packet::Mac,
    propagation::listener::GRACEFUL,
    tables::{GatewayPort, PortIndex},
};

/// A gateway port: where the node meets the outside.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The node's addresses on the untagged link, where that leads to the internet, with the link's prefix; at most one of
    /// a family.
    pub addresses: Vec<IpNet>,
    /// The next hops to the internet; at most one of a family, on the link.
    pub next_hops: Vec<IpAddr>,
    /// Static neighbours.
    pub neighbors: Vec<StaticNeighbor>,
    /// The name of the port with the routing daemon behind it that speaks as this one.
    pub control: Option<Arc<str>>,
}

/// A gateway whose routes are learned by BGP on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BgpConfig {
    /// A virtual private gateway, or an attachment of a transit gateway.
    pub gateway: Arc<str>,
    /// Where the gateway's zebra connects.
    pub fpm: SocketAddr,
    /// The network namespace of that address; this process's where there is none.
    pub namespace: Option<PathBuf>,
    /// How long routes outlive zebra.
    pub restart_time: Duration,
}

/// How learned routes go from host to host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Propagation {
    /// Where this host tells what it has learned.
    pub listen: Option<SocketAddr>,
    /// The hosts whose learned routes this one takes over.
    pub follow: Vec<SocketAddr>,
    /// How long routes outlive the connection to the host that told them, in seconds.
    pub restart_time: u32,
}

impl Default for Propagation {
    fn default() -> Self {
        Self { listen: None, follow: Vec::new(), restart_time: GRACEFUL.as_secs() as u32 }
    }
}

/// `[gateway]`, as written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGateway {
    bindings: Option<u32>,
}

/// A `[[bgp]]`, as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBgp {
    gateway: String,
    fpm: SocketAddr,
    namespace: Option<PathBuf>,
    restart_time: Option<u32>,
}

impl From<RawBgp> for BgpConfig {
    fn from(raw: RawBgp) -> Self {
        Self {
            gateway: raw.gateway.into(),
            fpm: raw.fpm,
            namespace: raw.namespace,
            restart_time: raw.restart_time.map_or(GRACEFUL, |seconds| Duration::from_secs(seconds.into())),
        }
    }
}

/// The flows that a worker of a node with gateway ports remembers, if the file states nothing.
const BINDINGS: u32 = 1 << 18;
/// The most of them: 4 GiB a worker.
const MOST_BINDINGS: u32 = 1 << 25;

/// The identifiers of VLANs (IEEE 802.1Q), and 0 for none.
const VLANS: std::ops::RangeInclusive<u16> = 0..=4094;

/// The keys that only a gateway port has.
pub(super) fn check_gateway(raw: &RawPort, problem: &mut impl FnMut(&str, &str)) -> GatewayConfig {
    let is_v4 = IpAddr::is_ipv4;
    if let Some(second) = second_of_family(raw.addresses.iter().map(IpNet::addr)) {
        problem("addresses", &format!("{second} is the second of its family; one is the node's"));
    }
    for address in raw.addresses.iter().filter(|address| !usable(address.addr())) {
        problem("addresses", &format!("{address} is no host's address"));
    }
    if let Some(second) = second_of_family(raw.next_hops.iter().copied()) {
        problem("next_hops", &format!("{second} is the second of its family; one leads to the internet"));
    }
    for hop in &raw.next_hops {
        let own = raw.addresses.iter().find(|own| is_v4(&own.addr()) == is_v4(hop));
        match own {
            None => problem(
                "next_hops",
                &format!(
                    "{hop} needs an address of its family in `addresses`, with the link's prefix length"
                ),
            ),
            Some(own) if own.addr() == *hop => {
                problem("next_hops", &format!("{hop} is the node's own address"));
            }
            Some(own) if !own.contains(hop) => {
                problem("next_hops", &format!("{hop} is not on the link {}", own.trunc()));
            }
            Some(_) => {}
        }
    }
    for neighbor in &raw.neighbors {
        let on_link = || raw.addresses.iter().any(|own| own.contains(&neighbor.address));
        if !VLANS.contains(&neighbor.vlan) {
            problem("neighbors", &format!("{}: vlan: 1 to 4094, not {}", neighbor.address, neighbor.vlan));
        } else if neighbor.vlan == 0 && !raw.addresses.is_empty() && !on_link() {
            problem(
                "neighbors",
                &format!(
                    "{} is on the link of none of `addresses`; one behind a tag needs `vlan`",
                    neighbor.address
                ),
            );
        }
        check_mac(neighbor, problem);
    }
    GatewayConfig {
        addresses: raw.addresses.clone(),
        next_hops: raw.next_hops.clone(),
        neighbors: raw.neighbors.clone(),
        control: raw.control.as_deref().map(Arc::from),
    }
}

/// The first address before which there is one of its family.
fn second_of_family(addresses: impl IntoIterator<Item = IpAddr>) -> Option<IpAddr> {
    let mut seen = HashSet::new();
    addresses.into_iter().find(|address| !seen.insert(address.is_ipv4()))
}

fn usable(address: IpAddr) -> bool {
    !(address.is_unspecified() || address.is_multicast() || address.is_loopback())
}

/// What is wrong between gateway ports and control ports: they are pairs.
pub(super) fn check_controls(ports: &[PortConfig]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut speakers: HashMap<&str, &str> = HashMap::new();
    let named = ports.iter().filter_map(|port| Some((port, port.gateway()?.control.as_deref()?)));
    for (port, control) in named {
        match ports.iter().find(|other| *other.name == *control).map(|other| &other.role) {
            None => problems.push(format!(
                "port `{}`: control: there is no port `{control}`; add a [[port]] with role = \"control\"",
                port.name
            )),
            Some(RoleConfig::Control) => {
                if let Some(first) = speakers.insert(control, &port.name) {
                    problems.push(format!(
                        "port `{}`: control: port `{first}` has `{control}` too; a control port speaks as one gateway port",
                        port.name
                    ));
                }
            }
            Some(_) => problems.push(format!(
                "port `{}`: control: port `{control}` has another role; give it role = \"control\"",
                port.name
            )),
        }
    }
    let controls = ports.iter().filter(|port| matches!(port.role, RoleConfig::Control));
    for port in controls.filter(|port| !speakers.contains_key(&*port.name)) {
        problems.push(format!(
            "port `{}`: role: no gateway port names it; add control = \"{}\" to one with role = \"gateway\"",
            port.name, port.name
        ));
    }
    problems
}

/// The flows that a worker remembers.
pub(super) fn check_bindings(raw: &RawGateway, ports: &[PortConfig], problems: &mut Vec<String>) -> u32 {
    let has_gateways = ports.iter().any(|port| port.gateway().is_some());
    match raw.bindings {
        None if has_gateways => BINDINGS,
        None => 0,
        Some(_) if !has_gateways => {
            problems
                .push("gateway.bindings: no port has role = \"gateway\", so nothing would use them".into());
            0
        }
        Some(bindings) if !(1..=MOST_BINDINGS).contains(&bindings) => {
            problems.push(format!("gateway.bindings: 1 to {MOST_BINDINGS}, not {bindings}"));
            0
        }
        Some(bindings) => bindings,
    }
}

/// What is wrong with the sections `bgp` and `propagation`.
pub(super) fn check_propagation(bgp: &[RawBgp], propagation: &Propagation) -> Vec<String> {
    let mut problems = Vec::new();
    let (mut gateways, mut sockets) = (HashSet::new(), HashSet::new());
    for (section, index) in bgp.iter().zip(0..) {
        if !gateways.insert(&section.gateway) {
            problems.push(format!("bgp[{index}].gateway: `{}` has a [[bgp]] already", section.gateway));
        }
        if !sockets.insert((section.fpm, &section.namespace)) {
            problems.push(format!(
                "bgp[{index}].fpm: {} is another gateway's too; each gateway has a zebra of its own",
                section.fpm
            ));
        }
    }
    let mut followed = HashSet::new();
    for host in &propagation.follow {
        if !followed.insert(host) {
            problems.push(format!("propagation.follow: {host} is named twice"));
        }
        if Some(*host) == propagation.listen {
            problems.push(format!("propagation.follow: {host} is this host itself (`listen`)"));
        }
    }
    problems
}

impl HostConfig {
    /// A gateway port as workers see it.
    pub(super) fn gateway_port(&self, gateway: &GatewayConfig, mac: Mac, mtu: u16) -> GatewayPort {
        GatewayPort {
            mac,
            addresses: gateway.addresses.iter().copied().collect(),
            next_hops: gateway.next_hops.iter().copied().collect(),
            mtu,
            control: gateway.control.as_deref().and_then(|control| self.port(control)),
        }
    }

    /// The gateway port as which a control port speaks: the file was checked for there being one.
    pub(super) fn spoken_for(&self, control: &str) -> PortIndex {
        let names = |port: &PortConfig| {
            port.gateway().is_some_and(|gateway| gateway.control.as_deref() == Some(control))
        };
        PortIndex(self.ports.iter().position(names).map_or(u16::MAX, |index| index as u16))
    }
}
