//! Network namespaces, removed when dropped.

use std::{
    net::IpAddr,
    os::unix::fs::MetadataExt,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use super::{Done, run, state::Eni, tool};

/// A network namespace.
pub struct Netns {
    /// Its name, unique on this machine.
    pub name: String,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Netns {
    /// A namespace with its loopback up, and without addresses that IPv6 takes by itself.
    #[track_caller]
    pub fn new(label: &str) -> Self {
        let uid = std::fs::metadata("/proc/self").map_or(u32::MAX, |own| own.uid());
        assert_eq!(uid, 0, "this test makes network namespaces, which takes root: sudo -E cargo test");
        let name = format!("warren-{}-{}-{label}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        run(ip().args(["netns", "add", &name])).ok();
        let namespace = Self { name };
        namespace.ip("link set lo up");
        namespace
    }

    /// `ip` here; it must succeed. Words are parted by spaces.
    #[track_caller]
    pub fn ip(&self, arguments: &str) -> String {
        run(ip().args(["-n", &self.name]).args(arguments.split_whitespace())).ok()
    }

    /// A program here.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = ip();
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs a program here. Words are parted by spaces.
    #[track_caller]
    pub fn run(&self, program: &str, package: &str, arguments: &str) -> Done {
        run(self.command(tool(program, package)).args(arguments.split_whitespace()))
    }

    /// Sends echo requests; returns how many were sent and how many answered.
    #[track_caller]
    pub fn ping(&self, arguments: &str, to: impl Into<IpAddr>) -> Pinged {
        let to = to.into();
        let done = self.run("ping", "iputils-ping", &format!("-q -W 1 {arguments} {to}"));
        Pinged::parse(&done)
    }

    /// Starts echo requests in the background.
    pub fn start_ping(&self, arguments: &str, to: impl Into<IpAddr>) -> Child {
        let arguments = format!("-q {arguments} {}", to.into());
        self.command(tool("ping", "iputils-ping"))
            .args(arguments.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Sets a kernel parameter of here: `net.ipv4.ip_forward=1`.
    #[track_caller]
    pub fn sysctl(&self, setting: &str) {
        self.run("sysctl", "procps", &format!("-qw {setting}")).ok();
    }

    /// The MAC of an interface.
    #[track_caller]
    pub fn mac(&self, interface: &str) -> String {
        let link = self.ip(&format!("-o link show {interface}"));
        link.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a MAC").to_owned()
    }

    /// Turns off what leaves checksums to a device, which none of these do.
    pub fn no_offloads(&self, interface: &str) {
        self.run("ethtool", "ethtool", &format!("-K {interface} tx off tso off gso off")).ok();
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = ip().args(["netns", "del", &self.name]).status();
    }
}

fn ip() -> Command {
    Command::new(tool("ip", "iproute2"))
}

/// What `ping` counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinged {
    pub sent: u32,
    pub received: u32,
}

impl Pinged {
    /// The summary that `ping -q` prints.
    #[track_caller]
    pub fn parse(done: &Done) -> Self {
        let summary = done.out.lines().find(|line| line.contains("packets transmitted"));
        let summary = summary.unwrap_or_else(|| panic!("no summary: {}{}", done.out, done.err));
        let numbers: Vec<u32> = summary.split(' ').filter_map(|word| word.parse().ok()).collect();
        Self { sent: numbers[0], received: numbers[1] }
    }

    /// All were answered.
    #[track_caller]
    pub fn all(self) {
        assert_eq!(self.sent, self.received, "{self:?}");
    }

    /// None was answered.
    #[track_caller]
    pub fn none(self) {
        assert_eq!(self.received, 0, "{self:?}");
    }
}

/// A namespace that is the instance of an ENI: `interface` moves there from `node`, and gets what DHCP would tell.
#[track_caller]
pub fn instance(node: &Netns, interface: &str, eni: &Eni) -> Netns {
    let guest = attach(node, interface, eni);
    configure(&guest, interface, eni);
    guest
}

/// A namespace that is the instance of an ENI: `interface` moves there from `node`, is up and has the ENI's MAC.
#[track_caller]
pub fn attach(node: &Netns, interface: &str, eni: &Eni) -> Netns {
    let guest = Netns::new(&format!("{}{}", eni.subnet, eni.number));
    node.ip(&format!("link set {interface} netns {}", guest.name));
    set_mac(&guest, interface, eni);
    guest
}

fn set_mac(guest: &Netns, interface: &str, eni: &Eni) {
    guest.ip(&format!("link set {interface} address {} up", eni.mac()));
}

/// Gives an interface the MAC and addresses of an ENI, and the subnet router as the default gateway.
#[track_caller]
pub fn configure(guest: &Netns, interface: &str, eni: &Eni) {
    set_mac(guest, interface, eni);
    guest.ip(&format!("addr add {}/24 dev {interface}", eni.v4()));
    guest.ip(&format!("addr add {}/64 dev {interface} nodad", eni.v6()));
    let [a, b, c, _] = eni.v4().octets();
    guest.ip(&format!("route add default via {a}.{b}.{c}.1"));
    // The kernel may have taken the same from an advertisement.
    guest.ip(&format!("-6 route replace default via fe80:ec2::1 dev {interface}"));
}
