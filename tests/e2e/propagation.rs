//! Routes from another BGP implementation (BIRD), through FRR and zebra's FPM channel: with the examples of `configs/frr/`.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use crossbeam::channel::{Receiver, bounded};
use ipnet::IpNet;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use warren::propagation::{self, Event, Intake, Settings, What, listener::GRACEFUL};

use crate::lab::{netns::Netns, run, tool};

/// BGP sessions come up in some seconds, more on a busy machine; a zebra dials every three.
const PATIENCE: Duration = Duration::from_secs(90);

const CONFIGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/frr");

/// A program that is ended when dropped.
struct Daemon(Child);

impl Daemon {
    fn start(namespace: &Netns, program: &Path, arguments: &[&str], log: &Path) -> Self {
        let log = File::create(log).unwrap();
        let mut command = namespace.command(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        }
        let _ = self.0.wait();
    }
}

/// Links of a gateway and a customer's router, with FRR on one side and BIRD on the other.
struct Lab {
    // The daemons go before what they are in.
    frr: Option<Daemon>,
    bird: Option<Daemon>,
    gateway: Netns,
    customer: Netns,
    folder: tempfile::TempDir,
}

impl Lab {
    fn new(config: &str) -> Self {
        let (gateway, customer) = (Netns::new("gw"), Netns::new("cust"));
        for (link, net) in [("dx0", 10), ("dx1", 11), ("vpn0", 20), ("vpn1", 21)] {
            gateway.ip(&format!("link add {link} type veth peer name {link} netns {}", customer.name));
            for (side, host) in [(&gateway, 1), (&customer, 2)] {
                side.ip(&format!("addr add 169.254.{net}.{host}/30 dev {link}"));
                side.ip(&format!("addr add fd00:{net}::{host}/64 dev {link} nodad"));
                side.ip(&format!("link set {link} up"));
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let configs = Path::new(CONFIGS);
        for (config, daemon) in [("zebra.conf", "zebra"), (config, "bgpd")] {
            fs::copy(configs.join(config), folder.path().join(format!("{daemon}.conf"))).unwrap();
        }
        // FRR's daemons give up root, and read and write here.
        run(Command::new("chown").args(["-R", "frr:frr"]).arg(folder.path())).ok();
        let mut lab = Self { frr: None, bird: None, gateway, customer, folder };
        let bird = configs.join("customer-bird.conf");
        let control = lab.path("bird.ctl");
        lab.bird = Some(Daemon::start(
            &lab.customer,
            &tool("bird", "bird2"),
            &["-f", "-c", bird.to_str().unwrap(), "-s", &control],
            &lab.folder.path().join("bird.log"),
        ));
        lab.start_frr();
        lab
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn start_frr(&mut self) {
        let zebra = Path::new("/usr/lib/frr/zebra");
        assert!(zebra.is_file(), "this test needs {}: apt-get install frr", zebra.display());
        let log = File::options().append(true).create(true).open(self.path("frr.log")).unwrap();
        let mut command = Command::new(Path::new(CONFIGS).join("frr-gateway"));
        command.args([&self.gateway.name, &self.path(""), &self.path("run")]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.frr = Some(Daemon(command.spawn().unwrap()));
    }

    /// As when it crashes. The script ends the other, and itself.
    fn kill_zebra(&mut self) {
        let pid = fs::read_to_string(self.path("run/zebra.pid")).unwrap();
        run(Command::new("kill").args(["-KILL", pid.trim()])).ok();
        let mut script = self.frr.take().expect("FRR is running");
        assert_eq!(script.0.wait().unwrap().code(), Some(1), "{}", self.logs());
    }

    fn birdc(&self, arguments: &str) -> String {
        run(Command::new(tool("birdc", "bird2"))
            .args(["-s", &self.path("bird.ctl")])
            .args(arguments.split_whitespace()))
        .ok()
    }

    fn settings(&self, port: u16) -> Settings {
        Settings {
            address: ([127, 0, 0, 1], port).into(),
            namespace: Some(self.namespace()),
            graceful: GRACEFUL,
        }
    }

    fn namespace(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.gateway.name)
    }

    fn interface(&self, index: u32) -> String {
        let links = self.gateway.ip("-o link");
        let line = links.lines().find(|line| line.starts_with(&format!("{index}:"))).expect("an interface");
        line[line.find(' ').unwrap() + 1..].split(['@', ':']).next().unwrap().to_owned()
    }

    /// What the daemons said, for whoever looks for what went wrong.
    fn logs(&self) -> String {
        let read = |name| fs::read_to_string(self.path(name)).unwrap_or_default();
        ["frr.log", "bird.log"].map(read).concat()
    }
}

/// What has been told of a gateway: the path of each prefix, in words.
struct Told {
    events: Receiver<Event>,
    routes: BTreeMap<IpNet, propagation::Path>,
    /// Prefixes that had no path for a while.
    gaps: Vec<IpNet>,
}

impl Told {
    fn new(events: Receiver<Event>) -> Self {
        Self { events, routes: BTreeMap::new(), gaps: Vec::new() }
    }

    /// Hears what there is; returns when the last change came.
    fn hear(&mut self, wait: Duration) -> Option<Instant> {
        let Event { what, .. } = self.events.recv_timeout(wait).ok()?;
        let What::Changes(changes) = what else { return None };
        for change in changes {
            assert_eq!(self.routes.get(&change.prefix), change.old.as_ref());
            match change.new {
                Some(path) => drop(self.routes.insert(change.prefix, path)),
                None => {
                    self.routes.remove(&change.prefix);
                    self.gaps.push(change.prefix);
                }
            }
        }
        Some(Instant::now())
    }

    fn route(&self, lab: &Lab, prefix: &str) -> String {
        match self.routes.get(&prefix.parse::<IpNet>().unwrap()) {
            Some(propagation::Path::Via(hops)) => {
                let hop = |hop: &propagation::NextHop| {
                    format!("{} {}", lab.interface(hop.interface), hop.address.expect("a neighbour"))
                };
                hops.iter().map(hop).collect::<Vec<_>>().join(", ")
            }
            Some(propagation::Path::Blackhole) => "blackhole".into(),
            None => "none".into(),
        }
    }

    /// Waits until a prefix has this path; returns when it came.
    #[track_caller]
    fn expect(&mut self, lab: &Lab, prefix: &str, path: &str) -> Instant {
        let deadline = Instant::now() + PATIENCE;
        let mut changed = Instant::now();
        while self.route(lab, prefix) != path {
            changed = self.hear(Duration::from_millis(100)).unwrap_or(changed);
            let now = self.route(lab, prefix);
            assert!(Instant::now() < deadline, "{prefix}: {now}, not {path}\n{}", lab.logs());
        }
        changed
    }
}

#[track_caller]
fn wait(lab: &Lab, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}\n{}", lab.logs());
        thread::sleep(Duration::from_millis(50));
    }
}

/// Stands between zebra and the intake, and knows when zebra said something last.
fn relay(namespace: PathBuf, from: u16, to: u16) -> Arc<Mutex<Instant>> {
    let last = Arc::new(Mutex::new(Instant::now()));
    let said = Arc::clone(&last);
    thread::spawn(move || {
        let file = File::open(namespace).unwrap();
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", from)).unwrap();
        for zebra in listener.incoming() {
            let (Ok(mut zebra), Ok(mut intake)) = (zebra, TcpStream::connect(("127.0.0.1", to))) else {
                continue;
            };
            let (mut back, toward) = (intake.try_clone().unwrap(), zebra.try_clone().unwrap());
            // The intake says nothing, but it ends connections.
            thread::spawn(move || {
                let _ = back.read(&mut [0]);
                let _ = toward.shutdown(Shutdown::Both);
            });
            let mut bytes = vec![0; 1 << 16];
            loop {
                match zebra.read(&mut bytes) {
                    Ok(0) => break,
                    Ok(len) => {
                        *said.lock().unwrap() = Instant::now();
                        if intake.write_all(&bytes[..len]).is_err() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            let _ = intake.shutdown(Shutdown::Both);
        }
    });
    last
}

/// BGP-2, BGP-3, BGP-9, RT-19: two virtual interfaces share, VPN takes over when they are gone; what is withdrawn is told within
/// 100 ms of zebra's message; nothing is lost when the listener, or FRR as a whole, restarts.
#[test]
fn bgp_9_routes_of_a_virtual_private_gateway_come_change_go_and_outlive_a_restart() {
    let mut lab = Lab::new("vgw.conf");
    let start = || {
        let (sender, events) = bounded(16);
        (Intake::start("vgw-1".into(), &lab.settings(2621), sender).unwrap(), Told::new(events))
    };
    let (intake, mut told) = start();
    let said = relay(lab.namespace(), 2620, 2621);
    let both = "dx0 169.254.10.2, dx1 169.254.11.2";

    told.expect(&lab, "192.168.0.0/16", both);
    told.expect(&lab, "172.16.0.0/12", "vpn0 169.254.20.2");
    wait(&lab, "BIRD has the VPC", || {
        lab.birdc("show route protocol dx0").contains("10.0.0.0/16")
            && lab.birdc("show route protocol vpn0").contains("10.0.0.0/16")
    });
    told.gaps.clear();

    // Another path, by way of none.
    lab.birdc("disable dx1");
    told.expect(&lab, "192.168.0.0/16", "dx0 169.254.10.2");
    lab.birdc("disable dx0");
    told.expect(&lab, "192.168.0.0/16", "vpn0 169.254.20.2");
    assert_eq!(told.gaps, []);

    // A withdrawal.
    let begin = Instant::now();
    lab.birdc("disable branch");
    let gone = told.expect(&lab, "172.16.0.0/12", "none");
    let (message, whole) = (gone.saturating_duration_since(*said.lock().unwrap()), gone - begin);
    println!("withdrawn: told {message:?} after zebra's message, {whole:?} after BIRD's command");
    assert!(message < Duration::from_millis(100), "{message:?}");
    lab.birdc("enable branch");
    lab.birdc("enable dx0");
    lab.birdc("enable dx1");
    told.expect(&lab, "172.16.0.0/12", "vpn0 169.254.20.2");
    told.expect(&lab, "192.168.0.0/16", both);

    // Another listener hears all of it.
    drop(intake);
    let (intake, mut told) = start();
    told.expect(&lab, "172.16.0.0/12", "vpn0 169.254.20.2");
    told.expect(&lab, "192.168.0.0/16", both);

    // Without FRR nothing changes, and when it is back all of it is fresh again.
    let known = told.routes.clone();
    lab.kill_zebra();
    wait(&lab, "zebra is gone", || intake.status().peer.is_none());
    assert_eq!(intake.status().stale, known.len());
    let down = Instant::now();
    lab.start_frr();
    let announced = || lab.birdc("show route 10.0.0.0/16");
    wait(&lab, "all is heard again", || {
        // BIRD keeps the VPC's route too.
        assert!(announced().contains("10.0.0.0/16"), "{}", lab.logs());
        intake.status().stale == 0 && intake.status().peer.is_some()
    });
    println!("FRR had forgotten nothing {:?} after it went", down.elapsed());
    while told.hear(Duration::from_millis(500)).is_some() {}
    told.expect(&lab, "192.168.0.0/16", both);
    assert_eq!((told.gaps, told.routes), (vec![], known));
}

/// PT-15: the tunnels of a transit gateway share; IPv6 next hops have their global addresses.
#[test]
fn pt_15_tunnels_of_a_transit_gateway_share_and_carry_ipv6() {
    let lab = Lab::new("tgw.conf");
    let (sender, events) = bounded(16);
    let _intake = Intake::start("tgw-1".into(), &lab.settings(2620), sender).unwrap();
    let mut told = Told::new(events);
    told.expect(&lab, "192.168.0.0/16", "vpn0 169.254.20.2, vpn1 169.254.21.2");
    told.expect(&lab, "fd00:c::/48", "vpn0 fd00:20::2");
    wait(&lab, "BIRD has the IPv6 block", || lab.birdc("show route protocol vpn0_6").contains("fd00:a::/32"));
}
