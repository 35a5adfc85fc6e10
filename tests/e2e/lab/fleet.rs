//! Several nodes on an underlay, and what is outside of them.

use std::path::PathBuf;

use tempfile::TempDir;

use super::{
    Done,
    cloud::{Cloud, Nic},
    daemon::Daemon,
    netns::Netns,
    wait_for,
};

/// What a node is to have.
pub struct Site {
    host: &'static str,
    ports: String,
    devices: usize,
    /// More sections of the host file.
    sections: String,
    /// The workers' CPUs.
    cores: &'static str,
    /// More settings of the workers.
    workers: String,
    /// Ports over veths.
    veths: Vec<String>,
    is_edge: bool,
}

impl Site {
    pub fn new(host: &'static str) -> Self {
        Self {
            host,
            ports: String::new(),
            devices: 0,
            sections: String::new(),
            cores: "1",
            workers: String::new(),
            veths: Vec::new(),
            is_edge: false,
        }
    }

    /// With a port over net_tap; more of its keys are in `keys`.
    fn port(mut self, name: &str, role: &str, keys: &str) -> Self {
        self.ports += &format!(
            "[[port]]\nname = \"{name}\"\nrole = \"{role}\"\ndevice = \"net_tap{},iface={name}\"\n{keys}\n",
            self.devices
        );
        self.devices += 1;
        self
    }

    /// With ports for instances.
    pub fn instances(self, names: &[&str]) -> Self {
        names.iter().fold(self, |site, name| site.port(name, "instance", ""))
    }

    /// With a port for an instance that sends and gets packets of 9001 bytes, which net_tap can't.
    pub fn jumbo(mut self, name: &str) -> Self {
        self.ports += &format!(
            "[[port]]\nname = \"{name}\"\nrole = \"instance\"\ndevice = \"net_af_packet{},iface={name}-up\"\n\
             mtu = 9001\n",
            self.veths.len() + 1
        );
        self.veths.push(name.into());
        self
    }

    /// With a port for a virtual machine with two queues, whose socket is the port's name with `.sock`; more of its keys are in `keys`.
    pub fn machine(mut self, name: &str, keys: &str) -> Self {
        let comma = if keys.is_empty() { "" } else { ", " };
        self.ports += &format!(
            "[[port]]\nname = \"{name}\"\nrole = \"instance\"\nqueues = 2\n\
             vhost = {{ socket = \"{name}.sock\"{comma}{keys} }}\n"
        );
        self
    }

    /// With two workers.
    pub fn two_workers(self) -> Self {
        Self { cores: "0, 1", ..self }
    }

    /// With room for so many connections.
    pub fn connections(mut self, number: u32) -> Self {
        self.workers += &format!(", connections = {number}");
        self
    }

    /// Which writes flow logs, into `flow-logs` in its folder.
    pub fn flow_logs(mut self) -> Self {
        self.sections += "[flow_logs]\nfolder = \"flow-logs\"\n";
        self
    }

    /// An edge node, with the port `wan` to the internet.
    pub fn edge(mut self, number: u8) -> Self {
        self.is_edge = true;
        let keys = format!(
            "addresses = [\"198.51.100.{number}/24\", \"2001:db8:ffff::{number}/64\"]\n\
             next_hops = [\"198.51.100.254\", \"2001:db8:ffff::fe\"]"
        );
        self.port("wan", "gateway", &keys)
    }

    /// With a gateway port for circuits, and the port of the routing daemon that speaks as it.
    pub fn circuits(self, port: &str, control: &str) -> Self {
        self.port(port, "gateway", &format!("control = \"{control}\"")).port(control, "control", "")
    }

    /// Which hears a gateway's routes from a zebra at a port of a namespace, and tells the others.
    pub fn bgp(mut self, gateway: &str, namespace: &Netns, port: u16) -> Self {
        self.sections += &format!(
            "[[bgp]]\ngateway = \"{gateway}\"\nfpm = \"127.0.0.1:{port}\"\nnamespace = \"/run/netns/{}\"\n\
             [propagation]\nlisten = \"{}:2700\"\n",
            namespace.name,
            management(2),
        );
        self
    }

    /// Which hears of routes from the second node.
    pub fn follows(mut self) -> Self {
        self.sections += &format!("[propagation]\nfollow = [\"{}:2700\"]\n", management(2));
        self
    }
}

/// The address of a node's kernel on a network of its own, where nodes talk to each other.
fn management(number: usize) -> String {
    format!("198.18.0.{number}")
}

/// A running node.
pub struct Node {
    pub daemon: Daemon,
    pub host: &'static str,
    pub is_edge: bool,
    pub namespace: Netns,
    pub folder: TempDir,
}

/// Nodes on an underlay.
pub struct Fleet {
    pub nodes: Vec<Node>,
    _fabric: Netns,
}

impl Fleet {
    /// Starts them, in the order in which the state has the hosts, and waits until each reaches the others.
    #[track_caller]
    pub fn start(cloud: &Cloud, sites: Vec<Site>) -> Self {
        let fabric = Netns::new("fabric");
        for bridge in ["br0", "br1"] {
            fabric.ip(&format!("link add {bridge} type bridge"));
            fabric.ip(&format!("link set {bridge} mtu 9200 up"));
        }
        let number = sites.len();
        let nodes = sites.into_iter().zip(1..).map(|(site, n)| node(&fabric, cloud, &site, n)).collect();
        let fleet = Self { nodes, _fabric: fabric };
        let reached = |node: &Node| {
            node.daemon.show("hosts").iter().filter(|host| host["state"] == "reachable").count() == number - 1
        };
        wait_for("the nodes to reach each other", || fleet.nodes.iter().all(reached));
        fleet
    }

    /// The node of a host.
    #[track_caller]
    pub fn node(&self, host: &str) -> &Node {
        self.nodes.iter().find(|node| node.host == host).expect("a node of that host")
    }

    /// The instance of an interface, set up as DHCP would tell.
    #[track_caller]
    pub fn instance(&self, nic: &Nic) -> Netns {
        let guest = Netns::new(&format!("i{}-{}-{}", nic.vpc, nic.subnet, nic.number));
        let port = nic.port;
        self.node(nic.host).namespace.ip(&format!("link set {port} netns {} name eth0", guest.name));
        guest.ip(&format!("link set eth0 address {} up", nic.mac()));
        guest.ip(&format!("addr add {}/24 dev eth0", nic.v4()));
        guest.ip(&format!("addr add {}/64 dev eth0 nodad", nic.v6()));
        guest.ip(&format!("route add default via 10.{}.{}.1", nic.vpc, nic.subnet));
        // The kernel may have taken the same from an advertisement.
        guest.ip("-6 route replace default via fe80:ec2::1 dev eth0");
        guest
    }

    /// `warren apply` at all nodes.
    #[track_caller]
    pub fn apply(&self, cloud: &Cloud) {
        for node in &self.nodes {
            self.apply_at(node, cloud).ok();
        }
    }

    /// The same at one.
    pub fn apply_at(&self, node: &Node, cloud: &Cloud) -> Done {
        let state: PathBuf = cloud.write(node.folder.path());
        node.daemon.apply(&state)
    }
}

#[track_caller]
fn node(fabric: &Netns, cloud: &Cloud, site: &Site, number: usize) -> Node {
    let (namespace, folder) = (Netns::new(site.host), TempDir::new().unwrap());
    namespace.ip(&format!("link add up0 type veth peer name up{number} netns {}", fabric.name));
    fabric.ip(&format!("link set up{number} master br0"));
    for (side, interface) in [(&namespace, "up0"), (fabric, &format!("up{number}"))] {
        // The kernels keep quiet on the underlay.
        side.ip(&format!("link set {interface} addrgenmode none"));
        side.ip(&format!("link set {interface} mtu 9200 up"));
        side.no_offloads(interface);
    }
    namespace.ip(&format!("link add mgmt type veth peer name mgmt{number} netns {}", fabric.name));
    fabric.ip(&format!("link set mgmt{number} master br1 up"));
    namespace.ip(&format!("addr add {}/24 dev mgmt", management(number)));
    namespace.ip("link set mgmt up");
    for name in &site.veths {
        namespace.ip(&format!("link add {name} type veth peer name {name}-up"));
        for end in [name.clone(), format!("{name}-up")] {
            namespace.ip(&format!("link set {end} mtu 9001 up"));
            namespace.no_offloads(&end);
        }
    }
    let text = format!(
        r#"host = "{host}"
state = "state.json"
workers = {{ cores = [{cores}], idle = "sleep"{workers} }}
control = {{ socket = {socket:?} }}
eal = {{ args = ["--no-pci", "--in-memory"] }}
{ports}
[[port]]
name = "uplink"
role = "uplink"
device = "net_af_packet0,iface=up0"
address = "192.0.2.{number}/24"
mtu = 9100
{sections}
"#,
        sections = site.sections,
        cores = site.cores,
        workers = site.workers,
        host = site.host,
        socket = folder.path().join("warren.sock"),
        ports = site.ports,
    );
    std::fs::write(folder.path().join("host.toml"), text).unwrap();
    cloud.write(folder.path());
    let daemon = Daemon::start(Some(&namespace), folder.path());
    Node { daemon, host: site.host, is_edge: site.is_edge, namespace, folder }
}
