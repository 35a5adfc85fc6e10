//! A node with an instance behind each port.

use tempfile::TempDir;

use super::{
    daemon::Daemon,
    host_file,
    netns::{Netns, attach, configure},
    state::{Eni, UNDERLAY, here, state, write},
};

/// A node in a namespace with an instance behind each port.
pub struct Setup {
    pub daemon: Daemon,
    pub guests: Vec<Netns>,
    pub enis: Vec<Eni>,
    _node: Netns,
    pub folder: TempDir,
}

/// The ports, and the instances' interfaces.
pub const PORTS: [&str; 3] = ["vm0", "vm1", "vm2"];

/// Settings for a host file.
pub const ONE_WORKER: &str = "workers = { cores = [1], idle = \"sleep\" }";

/// A0 and A1 in subnet a, B in subnet b.
pub fn usual() -> [Eni; 3] {
    [here('a', 10, "vm0"), here('a', 11, "vm1"), here('b', 10, "vm2")]
}

impl Setup {
    /// [`usual`] over net_tap with one worker.
    pub fn usual() -> Self {
        Self::new(&usual(), ONE_WORKER)
    }

    /// Over net_tap; `settings` go into the host file.
    pub fn new(enis: &[Eni], settings: &str) -> Self {
        Self::over("net_tap", enis, settings, "")
    }

    /// [`usual`] with packets of 9001 bytes, which net_tap can't send.
    pub fn jumbo() -> Self {
        let setup = Self::over("net_af_packet", &usual(), ONE_WORKER, "mtu = 9001");
        for (guest, port) in setup.guests.iter().zip(PORTS) {
            guest.ip(&format!("link set {port} mtu 9001"));
        }
        setup
    }

    /// Over a driver; `port` goes into each of the host file's ports.
    pub fn over(driver: &str, enis: &[Eni], settings: &str, port: &str) -> Self {
        let setup = Self::bare(driver, enis, settings, port);
        for ((guest, eni), interface) in setup.guests.iter().zip(enis).zip(PORTS) {
            configure(guest, interface, eni);
        }
        setup
    }

    /// Over a driver, with instances that have a link and its MAC and know nothing else.
    pub fn bare(driver: &str, enis: &[Eni], settings: &str, port: &str) -> Self {
        let (node, folder) = (Netns::new("node"), TempDir::new().unwrap());
        let veth = driver != "net_tap";
        let mut ports = String::new();
        for (number, name) in PORTS[..enis.len()].iter().enumerate() {
            let device = if veth {
                format!("{driver}{number},iface={name}-up")
            } else {
                format!("{driver}{number},iface={name}")
            };
            ports +=
                &format!("[[port]]\nname = \"{name}\"\nrole = \"instance\"\ndevice = \"{device}\"\n{port}\n");
            if veth {
                node.ip(&format!("link add {name} type veth peer name {name}-up"));
                for end in [(*name).to_owned(), format!("{name}-up")] {
                    // XDP wants frames that fit a page.
                    let mtu = if driver == "net_af_xdp" { 1500 } else { 9100 };
                    node.ip(&format!("link set {end} mtu {mtu} up"));
                    node.no_offloads(&end);
                }
            }
        }
        host_file(folder.path(), settings, &ports);
        write(folder.path(), &state(enis, UNDERLAY));
        let daemon = Daemon::start(Some(&node), folder.path());
        let guests = enis.iter().zip(PORTS).map(|(eni, port)| attach(&node, port, eni)).collect();
        Self { daemon, guests, enis: enis.to_vec(), _node: node, folder }
    }

    /// The MAC that an instance's kernel has for a neighbour, in the neighbour's words; empty if none.
    pub fn neighbour(&self, guest: usize, address: &str) -> String {
        self.guests[guest].ip(&format!("neigh show {address}"))
    }
}
