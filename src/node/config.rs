//! The host file: who the node is, its cores, and its ports. `docs/configuration.md` explains every key.

mod edge;
mod flow_logs;
mod vhost;

use std::{
    fmt, fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use hashbrown::HashSet;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Deserialize;

pub use edge::{BgpConfig, GatewayConfig, Propagation};
pub use flow_logs::FlowLogsConfig;
pub use vhost::{Vhost, VhostMode};

use crate::{
    compile::{Site, SitePort, SiteRole, SiteUplink},
    packet::{Encapsulation, Mac, OuterChecksum},
    tables::{LinkLocal, PortIndex, ServicePort, VlanMode},
};

/// A host file, read and checked.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// The host's id in the state.
    pub host: Arc<str>,
    /// The state documents, each a file or a folder.
    pub state: PathBuf,
    /// How frames travel between hosts.
    pub encapsulation: Encapsulation,
    /// The poll-mode workers.
    pub workers: Workers,
    /// What the EAL is told.
    pub eal: Eal,
    /// The control socket.
    pub control: PathBuf,
    /// The ports, in the order of the file.
    pub ports: Vec<PortConfig>,
    /// Flows through NAT gateways and egress-only internet gateways that a worker remembers at once.
    pub bindings: u32,
    /// The gateways whose routes are learned by BGP here.
    pub bgp: Vec<BgpConfig>,
    /// How learned routes go from host to host.
    pub propagation: Propagation,
    /// Where flow logs go, if any are written.
    pub flow_logs: Option<FlowLogsConfig>,
}

/// The poll-mode workers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workers {
    /// The CPUs that run one each. Empty: [`super::cores::choose`] finds some.
    #[serde(default)]
    pub cores: Vec<usize>,
    /// The most packets taken from a queue at once.
    #[serde(default = "default_burst")]
    pub burst: usize,
    /// What a worker does when no queue has packets.
    #[serde(default)]
    pub idle: Idle,
    /// Connections that a worker remembers at once.
    #[serde(default = "default_connections")]
    pub connections: u32,
}

impl Default for Workers {
    fn default() -> Self {
        Self {
            cores: Vec::new(),
            burst: default_burst(),
            idle: Idle::default(),
            connections: default_connections(),
        }
    }
}

impl Workers {
    /// How many there are: where no CPUs are named and none were chosen, as in a replay, one.
    pub fn count(&self) -> usize {
        self.cores.len().max(1)
    }
}

/// What a worker does when no queue has packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Idle {
    /// Polls on: the least delay, a whole core.
    #[default]
    Spin,
    /// Sleeps a little, longer the longer nothing comes, up to 100 µs.
    Sleep,
}

/// What the EAL is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Eal {
    /// Arguments passed to the EAL as they are.
    pub args: Vec<String>,
    /// MiB that must be free in hugepages for them to be used, and that are taken in ordinary pages otherwise; `None`: what
    /// the buffer pools need.
    pub memory: Option<u32>,
}

impl Default for Eal {
    fn default() -> Self {
        Self { args: vec!["--in-memory".into()], memory: None }
    }
}

/// What is behind a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortRole {
    /// One instance's network interface.
    Instance,
    /// The underlay.
    Uplink,
    /// Link-local services of this host.
    Service,
    /// The outside: the internet, circuits.
    Gateway,
    /// A routing daemon that speaks as a gateway port.
    Control,
}

/// A port.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// Its name, which attachments use.
    pub name: Arc<str>,
    /// What DPDK is to open: a virtual device's arguments, or a PCI address.
    pub device: String,
    /// The vhost-user socket that `device` was made of, if the file names one.
    pub vhost: Option<Vhost>,
    /// Its link-layer address; the device's own where `None`.
    pub mac: Option<Mac>,
    /// The largest IP packet, in bytes.
    pub mtu: u16,
    /// Receive queues asked for; `None`: one for an instance, one a worker for an uplink.
    pub queues: Option<u16>,
    /// Receive and transmit descriptors of a queue.
    pub descriptors: u16,
    /// What happens to 802.1Q-tagged frames from it.
    pub vlan: VlanMode,
    /// What is behind it.
    pub role: RoleConfig,
}

/// What is behind a port, with what only such a port has.
#[derive(Clone, Debug)]
pub enum RoleConfig {
    /// An instance.
    Instance,
    /// The underlay.
    Uplink(UplinkConfig),
    /// Link-local services of this host.
    Service(ServiceConfig),
    /// The outside.
    Gateway(GatewayConfig),
    /// A routing daemon that speaks as the gateway port which names it.
    Control,
}

impl PortConfig {
    /// The underlay behind it, if it is an uplink.
    pub fn uplink(&self) -> Option<&UplinkConfig> {
        match &self.role {
            RoleConfig::Uplink(uplink) => Some(uplink),
            _ => None,
        }
    }

    /// The gateway port's keys, if it is one.
    pub fn gateway(&self) -> Option<&GatewayConfig> {
        match &self.role {
            RoleConfig::Gateway(gateway) => Some(gateway),
            _ => None,
        }
    }

    /// Receive queues, and as many transmit queues, that its device is to have in a node with so many workers.
    pub fn queues_for(&self, workers: usize) -> usize {
        let shared = self.uplink().is_some() || self.gateway().is_some();
        let usual = if shared { workers } else { 1 };
        self.queues.map_or(usual, usize::from)
    }

    /// `instance`, `uplink` and so on, as the host file says.
    pub fn role_name(&self) -> &'static str {
        match &self.role {
            RoleConfig::Instance => "instance",
            RoleConfig::Uplink(_) => "uplink",
            RoleConfig::Service(_) => "service",
            RoleConfig::Gateway(_) => "gateway",
            RoleConfig::Control => "control",
        }
    }
}

/// The host's side of a service port.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// The services behind it.
    pub services: Vec<LinkLocal>,
    /// The MAC of the host's interface; the device's own where `None`.
    pub peer: Option<Mac>,
    /// The pool of IPv4 identities.
    pub pool_v4: Ipv4Net,
    /// The pool of IPv6 identities.
    pub pool_v6: Ipv6Net,
}

/// The underlay side of an uplink port.
#[derive(Clone, Debug)]
pub struct UplinkConfig {
    /// The node's underlay address, with the length of the link's prefix.
    pub address: IpNet,
    /// The next hop for hosts that are not on the link.
    pub gateway: Option<IpAddr>,
    /// Static neighbours.
    pub neighbors: Vec<StaticNeighbor>,
    /// What is put into the outer UDP checksum.
    pub checksum: OuterChecksum,
}

/// A neighbour that is not to be resolved.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticNeighbor {
    /// Its address.
    pub address: IpAddr,
    /// Its MAC.
    pub mac: Mac,
    /// The VLAN of a gateway port that it is on; 0 for frames without a tag.
    #[serde(default)]
    pub vlan: u16,
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHost {
    host: String,
    state: PathBuf,
    #[serde(default)]
    encapsulation: Encapsulation,
    #[serde(default)]
    workers: Workers,
    #[serde(default)]
    eal: Eal,
    #[serde(default)]
    control: Control,
    #[serde(default)]
    port: Vec<RawPort>,
    #[serde(default)]
    gateway: edge::RawGateway,
    #[serde(default)]
    bgp: Vec<edge::RawBgp>,
    #[serde(default)]
    propagation: Propagation,
    flow_logs: Option<FlowLogsConfig>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Control {
    socket: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPort {
    name: String,
    role: PortRole,
    device: Option<String>,
    vhost: Option<Vhost>,
    mac: Option<Mac>,
    mtu: Option<u16>,
    queues: Option<u16>,
    descriptors: Option<u16>,
    #[serde(default)]
    vlan: VlanMode,
    address: Option<IpNet>,
    gateway: Option<IpAddr>,
    #[serde(default)]
    neighbors: Vec<StaticNeighbor>,
    udp_checksum: Option<OuterChecksum>,
    services: Option<Vec<LinkLocal>>,
    peer: Option<Mac>,
    identities_v4: Option<Ipv4Net>,
    identities_v6: Option<Ipv6Net>,
    #[serde(default)]
    addresses: Vec<IpNet>,
    #[serde(default)]
    next_hops: Vec<IpAddr>,
    control: Option<String>,
}

/// The IPv4 identities of a service port that states none: of the shared address space (RFC 6598).
const IDENTITIES_V4: Ipv4Net = Ipv4Net::new_assert(std::net::Ipv4Addr::new(100, 64, 0, 0), 10);
/// The IPv6 identities of a service port that states none: unique local ones (RFC 4193).
const IDENTITIES_V6: Ipv6Net =
    Ipv6Net::new_assert(std::net::Ipv6Addr::new(0xfd77, 0x6172, 0x72, 0, 0, 0, 0, 0), 48);

/// The MTU of an instance port that states none: what every guest assumes.
const INSTANCE_MTU: u16 = 1500;
/// The MTU of an uplink that states none: room for a 9001-byte packet of an ENI (MTU-1) and any outer header.
const UPLINK_MTU: u16 = 9100;
/// Descriptors of a queue that states none.
const DESCRIPTORS: u16 = 1024;
/// The smallest MTU that IPv4 allows (RFC 791 §3.2), and the largest that a buffer is made for.
const MTU_RANGE: std::ops::RangeInclusive<u16> = 68..=9600;
/// The largest MTU of an ENI (MTU-1).
const MAX_INSTANCE_MTU: u16 = 9001;

const ONLY_SERVICE: &str = "only a port with role = \"service\" has one";
const ONLY_GATEWAY: &str = "only a port with role = \"gateway\" has one";

fn default_burst() -> usize {
    32
}

/// Connections that a worker can remember at most.
const MOST_CONNECTIONS: u32 = 1 << 26;

fn default_connections() -> u32 {
    1 << 18
}

/// Why a host file can't be used: each line names a key and what would be right.
#[derive(Debug)]
pub struct ConfigError {
    file: PathBuf,
    problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{}: {}", self.file.display(), problem.trim_end())?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl HostConfig {
    /// Reads and checks a host file. `state` is relative to its folder.
    ///
    /// # Errors
    ///
    /// Every problem of the file at once, except that a file which is not TOML or has a key of the wrong type stops there.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let fail = |problem: String| ConfigError { file: path.to_owned(), problems: vec![problem] };
        let text = fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, folder).map_err(|problems| ConfigError { file: path.to_owned(), problems })
    }

    /// Checks a host file's text. `state` is relative to `folder`.
    ///
    /// # Errors
    ///
    /// As [`HostConfig::read`], a line for each problem.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Vec<String>> {
        let raw: RawHost = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
        let mut problems = check_node(&raw);
        let mut names = HashSet::new();
        let mut ports = Vec::new();
        for (index, port) in raw.port.into_iter().enumerate() {
            if !names.insert(port.name.clone()) {
                problems.push(format!("port[{index}].name: `{}` is another port's name too", port.name));
            }
            match check_port(port, index, folder) {
                Ok(port) => ports.push(port),
                Err(found) => problems.extend(found),
            }
        }
        for service in LinkLocal::ALL {
            let serves = |port: &&PortConfig| matches!(&port.role, RoleConfig::Service(behind) if behind.services.contains(&service));
            if let [first, second, ..] = *ports.iter().filter(serves).collect::<Vec<_>>() {
                problems.push(format!(
                    "port `{}`: services: port `{}` leads to {service:?} too; one port leads to a service",
                    second.name, first.name
                ));
            }
        }
        if !(1..=MOST_CONNECTIONS).contains(&raw.workers.connections) {
            let connections = raw.workers.connections;
            problems.push(format!("workers.connections: 1 to {MOST_CONNECTIONS}, not {connections}"));
        }
        problems.extend(check_pages(&ports));
        problems.extend(edge::check_controls(&ports));
        let bindings = edge::check_bindings(&raw.gateway, &ports, &mut problems);
        problems.extend(edge::check_propagation(&raw.bgp, &raw.propagation));
        problems.extend(raw.flow_logs.iter().flat_map(FlowLogsConfig::problems));
        let host: Arc<str> = raw.host.into();
        let control = raw.control.socket.unwrap_or_else(|| default_socket(&host));
        let config = Self {
            state: folder.join(raw.state),
            encapsulation: raw.encapsulation,
            workers: raw.workers,
            eal: raw.eal,
            control,
            ports,
            bindings,
            bgp: raw.bgp.into_iter().map(BgpConfig::from).collect(),
            propagation: raw.propagation,
            flow_logs: raw.flow_logs.map(|logs| logs.relative_to(folder)),
            host,
        };
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// The node as the compiler sees it. `macs` are the link-layer addresses of the devices, by port.
    pub fn site(&self, mac: impl Fn(PortIndex) -> Mac) -> Site {
        let port = |(port, index): (&PortConfig, u16)| SitePort {
            name: Arc::clone(&port.name),
            mtu: port.mtu,
            vlan: port.vlan,
            role: match &port.role {
                RoleConfig::Instance => SiteRole::Instance,
                RoleConfig::Uplink(uplink) => SiteRole::Uplink(SiteUplink {
                    mac: port.mac.unwrap_or_else(|| mac(PortIndex(index))),
                    address: uplink.address.addr(),
                    on_link: uplink.address.trunc(),
                    gateway: uplink.gateway,
                    mtu: port.mtu,
                    checksum: uplink.checksum,
                }),
                RoleConfig::Service(service) => SiteRole::Service(Arc::new(ServicePort {
                    services: service.services.clone().into(),
                    peer: service.peer.unwrap_or_else(|| mac(PortIndex(index))),
                    pool_v4: service.pool_v4,
                    pool_v6: service.pool_v6,
                })),
                RoleConfig::Gateway(gateway) => {
                    let mac = port.mac.unwrap_or_else(|| mac(PortIndex(index)));
                    SiteRole::Gateway(Arc::new(self.gateway_port(gateway, mac, port.mtu)))
                }
                RoleConfig::Control => SiteRole::Control(self.spoken_for(&port.name)),
            },
        };
        Site {
            host: Arc::clone(&self.host),
            encapsulation: self.encapsulation,
            workers: self.workers.count().min(u8::MAX.into()) as u8,
            ports: self.ports.iter().zip(0..).map(port).collect(),
        }
    }

    /// The port with a name.
    pub fn port(&self, name: &str) -> Option<PortIndex> {
        self.ports.iter().position(|port| &*port.name == name).map(|index| PortIndex(index as u16))
    }

    /// What is legal but surely wrong: uplinks too small for the instances' packets.
    pub fn warnings(&self) -> Vec<String> {
        let instances = self.ports.iter().filter(|port| matches!(port.role, RoleConfig::Instance));
        let largest = instances.map(|port| port.mtu).max().unwrap_or(0);
        let uplinks = self.ports.iter().filter_map(|port| Some((port, port.uplink()?)));
        let warning = |(port, uplink): (&PortConfig, &UplinkConfig)| {
            // The inner frame is carried whole, with its own link-layer header; the outer one is outside of the MTU.
            let needed = usize::from(largest) + self.encapsulation.overhead(uplink.address.addr().is_ipv6());
            (needed > usize::from(port.mtu)).then(|| {
                format!(
                    "port `{}`: mtu {} is too small for the {largest}-byte packets of instance ports; {needed} would carry them",
                    port.name, port.mtu,
                )
            })
        };
        uplinks.filter_map(warning).collect()
    }
}

/// Where the daemon of a host listens if its file does not say.
pub fn default_socket(host: &str) -> PathBuf {
    PathBuf::from(format!("/run/warren/{host}.sock"))
}

fn check_node(raw: &RawHost) -> Vec<String> {
    let mut problems = Vec::new();
    let distinct: HashSet<_> = raw.workers.cores.iter().collect();
    if distinct.len() < raw.workers.cores.len() {
        problems.push("workers.cores: a CPU runs one worker; name each once".into());
    }
    if !(1..=crate::pipeline::MAX_BURST).contains(&raw.workers.burst) {
        problems.push(format!(
            "workers.burst: 1 to {}, not {}",
            crate::pipeline::MAX_BURST,
            raw.workers.burst
        ));
    }
    if raw.port.is_empty() {
        problems.push("port: no port; add a [[port]] with name, role and device".into());
    }
    problems
}

fn check_port(mut raw: RawPort, number: usize, folder: &Path) -> Result<PortConfig, Vec<String>> {
    let vhost = raw.vhost.take().map(|vhost| vhost.relative_to(folder));
    let mut problems = Vec::new();
    let mut problem = |key: &str, text: &str| problems.push(format!("port `{}`: {key}: {text}", raw.name));
    if raw.mac.is_some_and(|mac| !mac.is_unicast()) {
        problem("mac", "must be unicast: its first octet even, and not all zeros");
    }
    if raw.queues == Some(0) {
        problem("queues", "at least 1");
    }
    let mtu = raw.mtu.unwrap_or(match raw.role {
        PortRole::Instance | PortRole::Service | PortRole::Gateway | PortRole::Control => INSTANCE_MTU,
        PortRole::Uplink => UPLINK_MTU,
    });
    if !MTU_RANGE.contains(&mtu) {
        problem("mtu", &format!("{} to {}, not {mtu}", MTU_RANGE.start(), MTU_RANGE.end()));
    } else if raw.role == PortRole::Instance && mtu > MAX_INSTANCE_MTU {
        problem("mtu", &format!("an ENI's is at most {MAX_INSTANCE_MTU}, not {mtu}"));
    }
    let device = check_device(&raw, vhost.as_ref(), number, &mut problem);
    let (role, uplink, service, gateway) =
        (raw.role, [PortRole::Uplink], [PortRole::Service], [PortRole::Gateway]);
    let linked = [PortRole::Uplink, PortRole::Gateway];
    let not_here: [(&str, bool, &[PortRole], &str); 13] = [
        (
            "address",
            raw.address.is_some(),
            &uplink,
            "only an uplink has one; an instance's addresses are its ENI's, in the state, a gateway port's its `addresses`",
        ),
        ("gateway", raw.gateway.is_some(), &uplink, "only an uplink has one; a gateway port has `next_hops`"),
        ("udp_checksum", raw.udp_checksum.is_some(), &uplink, "only an uplink has one"),
        ("neighbors", !raw.neighbors.is_empty(), &linked, "only an uplink and a gateway port have some"),
        (
            "mac",
            raw.mac.is_some(),
            &linked,
            "only an uplink and a gateway port have one; an instance's is its ENI's, in the state",
        ),
        ("services", raw.services.is_some(), &service, ONLY_SERVICE),
        ("peer", raw.peer.is_some(), &service, ONLY_SERVICE),
        ("identities_v4", raw.identities_v4.is_some(), &service, ONLY_SERVICE),
        ("identities_v6", raw.identities_v6.is_some(), &service, ONLY_SERVICE),
        ("addresses", !raw.addresses.is_empty(), &gateway, ONLY_GATEWAY),
        ("next_hops", !raw.next_hops.is_empty(), &gateway, ONLY_GATEWAY),
        ("control", raw.control.is_some(), &gateway, ONLY_GATEWAY),
        (
            "vlan",
            raw.vlan != VlanMode::Refuse,
            &[PortRole::Instance, PortRole::Uplink, PortRole::Service],
            "tags on a gateway port tell circuits apart and stay; leave it out",
        ),
    ];
    for (key, _, _, text) in not_here.iter().filter(|(_, stated, roles, _)| *stated && !roles.contains(&role))
    {
        problem(key, text);
    }
    let role = match raw.role {
        PortRole::Instance => Some(RoleConfig::Instance),
        PortRole::Uplink => check_uplink(&raw, &mut problem).map(RoleConfig::Uplink),
        PortRole::Service => Some(RoleConfig::Service(check_service(&raw, &mut problem))),
        PortRole::Gateway => Some(RoleConfig::Gateway(edge::check_gateway(&raw, &mut problem))),
        PortRole::Control => Some(RoleConfig::Control),
    };
    match role {
        Some(role) if problems.is_empty() => Ok(PortConfig {
            name: raw.name.into(),
            device,
            vhost,
            mac: raw.mac,
            mtu,
            queues: raw.queues,
            descriptors: raw.descriptors.unwrap_or(DESCRIPTORS),
            vlan: raw.vlan,
            role,
        }),
        _ => Err(problems),
    }
}

/// The largest MTU of a node with an AF_XDP port: the kernel takes no buffers that are longer than a page, with what DPDK keeps in
/// them, and ports share their buffers.
const XDP_MTU: u16 = 2988;

/// Ports whose packets are longer than an AF_XDP port's buffers.
fn check_pages(ports: &[PortConfig]) -> Vec<String> {
    let Some(xdp) = ports.iter().find(|port| port.device.starts_with("net_af_xdp")) else {
        return Vec::new();
    };
    let problem = |port: &PortConfig| {
        format!(
            "port `{}`: mtu: at most {XDP_MTU} beside a port over AF_XDP (`{}`), not {}",
            port.name, xdp.name, port.mtu
        )
    };
    ports.iter().filter(|port| port.mtu > XDP_MTU).map(problem).collect()
}

/// What DPDK is to open for a port: its `device`, or that of its `vhost`.
fn check_device(
    raw: &RawPort,
    vhost: Option<&Vhost>,
    number: usize,
    problem: &mut impl FnMut(&str, &str),
) -> String {
    let (device, vhost) = match (&raw.device, vhost) {
        (Some(device), None) => return device.clone(),
        (None, Some(vhost)) => (None, Some(vhost)),
        (Some(_), Some(_)) => (Some("a port has a device or a vhost socket, not both"), None),
        (None, None) => {
            (Some("what DPDK is to open; or `vhost`, with the socket of a virtual machine"), None)
        }
    };
    if let Some(text) = device {
        problem("device", text);
    }
    let Some(vhost) = vhost else { return String::new() };
    if raw.role != PortRole::Instance {
        problem("vhost", "only an instance has one");
    }
    if let Some(text) = vhost.problem() {
        problem("vhost.socket", &text);
    }
    let queues = raw.queues.unwrap_or(1);
    if queues > vhost::MOST_QUEUES {
        problem("queues", &format!("vhost has at most {}, not {queues}", vhost::MOST_QUEUES));
    }
    vhost.device(number, queues)
}

/// The keys that only an uplink has; `None` without an address.
fn check_uplink(raw: &RawPort, problem: &mut impl FnMut(&str, &str)) -> Option<UplinkConfig> {
    let Some(address) = raw.address else {
        problem("address", "an uplink needs its underlay address and prefix length, such as 192.0.2.1/24");
        return None;
    };
    let link = address.trunc();
    if let Some(gateway) = raw.gateway.filter(|gateway| !address.contains(gateway)) {
        problem("gateway", &format!("{gateway} is not on the link {link}"));
    }
    for neighbor in &raw.neighbors {
        if !address.contains(&neighbor.address) {
            problem("neighbors", &format!("{} is not on the link {link}", neighbor.address));
        }
        if neighbor.vlan != 0 {
            problem("neighbors", &format!("{}: vlan: an uplink has none", neighbor.address));
        }
        check_mac(neighbor, problem);
    }
    Some(UplinkConfig {
        address,
        gateway: raw.gateway,
        neighbors: raw.neighbors.clone(),
        checksum: raw.udp_checksum.unwrap_or_default(),
    })
}

fn check_mac(neighbor: &StaticNeighbor, problem: &mut impl FnMut(&str, &str)) {
    if !neighbor.mac.is_unicast() {
        problem("neighbors", &format!("{}: the MAC {} is not unicast", neighbor.address, neighbor.mac));
    }
}

/// The keys that only a service port has.
fn check_service(raw: &RawPort, problem: &mut impl FnMut(&str, &str)) -> ServiceConfig {
    let services = raw.services.clone().unwrap_or_else(|| LinkLocal::ALL.into());
    if services.is_empty() {
        problem("services", "at least one of metadata, dns, time");
    }
    if raw.peer.is_some_and(|mac| !mac.is_unicast()) {
        problem("peer", "must be unicast: its first octet even, and not all zeros");
    }
    let pool_v4 = raw.identities_v4.unwrap_or(IDENTITIES_V4).trunc();
    let lengths = ServicePort::POOL_V4;
    if !lengths.contains(&pool_v4.prefix_len()) {
        problem("identities_v4", &format!("a /{} to /{}, not {pool_v4}", lengths.start(), lengths.end()));
    }
    let pool_v6 = raw.identities_v6.unwrap_or(IDENTITIES_V6).trunc();
    if pool_v6.prefix_len() > ServicePort::POOL_V6 {
        problem("identities_v6", &format!("at most a /{}, not {pool_v6}", ServicePort::POOL_V6));
    }
    ServiceConfig { services, peer: raw.peer, pool_v4, pool_v6 }
}

#[cfg(test)]
mod tests;
