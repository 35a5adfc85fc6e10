//! A node as a program, with a pair of veth interfaces at each port: net_af_packet at one end, the suite at the other. The
//! program is `warren run`, or one that libwarren.so makes a node, which serves the control socket too.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Map, Value};
use tempfile::TempDir;
use warren::api::{Reply, Request, What, client, show::FlowFilter};

use super::{
    journey::{Fabric, GATEWAY_PORT, Node, Outcome, SERVICES, UPLINK},
    plugin::Plugin,
    raw::{RawSocket, new_namespace, with_slack},
    state::{Stated, place},
    suite::Suite,
    underlay::Wire,
};

/// How long a daemon may take for anything.
const LIMIT: Duration = Duration::from_secs(10);
/// The time within which a node has started, beside the other tests and nodes of two busy cores.
const START: Duration = Duration::from_secs(60);

/// How often, at least, a node looks at its ports: rarely, as ten nodes that poll would take the processors for nothing else.
const POLL: Duration = Duration::from_millis(1);

/// After how long a node has sent what a new state makes it send: its management thread does what is due every 5 ms.
const QUIET: Duration = Duration::from_millis(30);

/// A running node.
pub struct DaemonNode {
    child: Child,
    folder: TempDir,
    socket: PathBuf,
    /// By port: the other end of its interface.
    ports: BTreeMap<String, RawSocket>,
    counted: Counted,
    /// When a state was applied, so that it may send something on its own.
    applied: Option<Instant>,
}

/// What a node has counted.
#[derive(Clone, Default, PartialEq)]
struct Counted {
    /// By port: received and sent.
    packets: BTreeMap<String, (u64, u64)>,
    /// By port and reason.
    drops: BTreeMap<(String, String), u64>,
}

impl Counted {
    fn events(&self) -> u64 {
        self.packets.values().map(|(_, sent)| sent).sum::<u64>() + self.drops.values().sum::<u64>()
    }
}

impl DaemonNode {
    /// In a namespace of its own, to which the calling thread moves: AF_PACKET's fan-out groups of several programs in one
    /// may collide.
    fn start(suite: &Suite, wire: Wire, host: &str, state: &Value, plugin: Option<&Plugin>) -> Self {
        new_namespace().unwrap_or_else(|error| {
            panic!("this test makes a network namespace, which takes root ({error}): sudo -E cargo test")
        });
        // Nothing but the suite speaks on these interfaces.
        fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        let folder = TempDir::new().unwrap();
        let number = suite.hosts.hosts[host].number;
        let socket = folder.path().join("warren.sock");
        // Frames as large as the largest packet; a ring of them is small, as they come one by one.
        let device = |index: usize, port: &str| {
            format!("net_af_packet{index},iface=w{number}{port},blocksz=36864,framesz=9216,framecnt=32")
        };
        let file = wire.host_file(suite, host, device).replace("SOCKET", socket.to_str().unwrap());
        fs::write(folder.path().join("host.toml"), file).unwrap();
        fs::write(folder.path().join("state.json"), state.to_string()).unwrap();
        let mut names = suite.ports(host);
        names.extend([UPLINK.to_owned(), SERVICES.to_owned()]);
        names.extend(suite.is_edge(host).then(|| GATEWAY_PORT.to_owned()));
        let mut links = String::new();
        for name in &names {
            let (ours, theirs) = (format!("t{number}{name}"), format!("w{number}{name}"));
            let _ = writeln!(links, "link add {theirs} type veth peer name {ours}");
            for end in [ours, theirs] {
                let _ = writeln!(links, "link set {end} mtu 9200 arp off up");
            }
        }
        ip(&links);
        let ports = names.into_iter().map(|name| {
            let interface = format!("t{number}{name}");
            let socket = RawSocket::open(&interface).unwrap_or_else(|error| panic!("{interface}: {error}"));
            (name, socket)
        });
        let ports = ports.collect();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = match plugin {
            None => Command::new(env!("CARGO_BIN_EXE_warren")),
            Some(plugin) => plugin.command(folder.path(), number),
        };
        if plugin.is_none() {
            command.args(["run", "--config"]).arg(folder.path().join("host.toml"));
        }
        command
            // Several nodes run here at once; EAL keeps its files there.
            .env("RUNTIME_DIRECTORY", folder.path())
            .env("RUST_LOG", "warn")
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = with_slack(POLL, || command.spawn()).unwrap().unwrap();
        Self { child, folder, socket, ports, counted: Counted::default(), applied: None }
    }

    /// Waits until it answers.
    fn wait(&mut self) {
        let deadline = Instant::now() + START;
        while client::ask(
            &self.socket,
            &Request::Show { what: What::Ports, eni: None, flows: FlowFilter::default() },
        )
        .is_err()
        {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "no node: {ended:?}\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
        // What it sends at its start, nobody waits for.
        thread::sleep(QUIET);
        self.counted = self.settle(LIMIT, |_| true).unwrap_or_else(|fault| panic!("{fault}"));
        for socket in self.ports.values() {
            while socket.receive().unwrap().is_some() {}
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn show(&self, what: What) -> Vec<Map<String, Value>> {
        match client::ask(&self.socket, &Request::Show { what, eni: None, flows: FlowFilter::default() }) {
            Ok(Reply::Shown(table)) => table.rows,
            other => panic!("{other:?}\n{}", self.log()),
        }
    }

    /// What `warren show stats` and `warren show drops` print.
    fn count(&self) -> Counted {
        let text = |row: &Map<String, Value>, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let number = |row: &Map<String, Value>, key: &str| row[key].as_u64().unwrap_or_default();
        let stats = self.show(What::Stats);
        let packets = stats
            .iter()
            .map(|row| (text(row, "port"), (number(row, "rx_packets"), number(row, "tx_packets"))))
            .collect();
        let drops = self.show(What::Drops);
        let drops = drops
            .iter()
            .map(|row| ((text(row, "port"), text(row, "reason")), number(row, "packets")))
            .collect();
        Counted { packets, drops }
    }

    /// Counts until nothing changes and `done` holds.
    fn settle(&self, limit: Duration, done: impl Fn(&Counted) -> bool) -> Result<Counted, String> {
        let deadline = Instant::now() + limit;
        let mut before = self.count();
        loop {
            let now = self.count();
            if now == before && done(&now) {
                return Ok(now);
            }
            if Instant::now() > deadline {
                return Err(format!("not accounted for after {limit:?}"));
            }
            before = now;
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// What it did since it was asked last.
    fn outcomes(&mut self, now: Counted) -> Vec<Outcome> {
        let before = std::mem::replace(&mut self.counted, now);
        let mut outcomes = Vec::new();
        for (port, (_, sent)) in &self.counted.packets {
            let new = sent - before.packets.get(port).map_or(0, |(_, sent)| *sent);
            for _ in 0..new {
                let frame = receive(&self.ports[port], port);
                outcomes.push(Outcome::Sent { port: port.clone(), frame });
            }
        }
        for (place, count) in &self.counted.drops {
            let (port, reason) = place;
            for _ in before.drops.get(place).copied().unwrap_or(0)..*count {
                outcomes.push(Outcome::Dropped { port: port.clone(), reason: reason.clone() });
            }
        }
        outcomes
    }
}

fn receive(socket: &RawSocket, port: &str) -> Vec<u8> {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(frame) = socket.receive().unwrap() {
            return frame;
        }
        assert!(Instant::now() < deadline, "counted as sent at {port}, and not seen");
        thread::sleep(Duration::from_micros(100));
    }
}

/// Whether a router advertisement was sent.
fn is_advertisement(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Sent { frame, .. } if frame.get(54) == Some(&134) && frame[12..14] == [0x86, 0xdd])
}

impl Node for DaemonNode {
    fn inject(&mut self, port: &str, frame: &[u8], _now: Duration) -> Result<Vec<Outcome>, String> {
        let socket = self.ports.get(port).unwrap_or_else(|| panic!("no port {port}"));
        socket.send(frame).map_err(|error| format!("not sent: {error}"))?;
        let received = self.counted.packets[port].0;
        let mut outcomes = Vec::new();
        let mut limit = LIMIT;
        // An advertisement that nobody asked for may come in between.
        while !outcomes.iter().any(|outcome| !is_advertisement(outcome)) {
            let events = self.counted.events();
            match self.settle(limit, |now| now.packets[port].0 > received && now.events() > events) {
                Ok(now) => outcomes.extend(self.outcomes(now)),
                Err(_) if !outcomes.is_empty() => break,
                Err(fault) => return Err(fault),
            }
            limit = Duration::from_millis(200);
        }
        Ok(outcomes)
    }

    fn tick(&mut self, _now: Duration) -> Vec<Outcome> {
        let Some(applied) = self.applied.take() else { return Vec::new() };
        // The nodes are waited for one after the other, but wait at the same time.
        thread::sleep(QUIET.saturating_sub(applied.elapsed()));
        let now = self.settle(LIMIT, |_| true).unwrap_or_else(|fault| panic!("{fault}"));
        self.outcomes(now)
    }

    fn apply(&mut self, state: &Stated) -> Result<(), String> {
        match client::ask(&self.socket, &Request::Apply(vec![state.document.clone()])) {
            Ok(Reply::Applied(applied)) => {
                assert!(applied.laggards.is_empty(), "{:?}", applied.laggards);
                self.applied = Some(Instant::now());
                Ok(())
            }
            Ok(Reply::Invalid(mistakes)) => {
                Err(mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
            }
            Ok(Reply::Failed(problem)) | Err(problem) => Err(problem),
            Ok(other) => unreachable!("{other:?} to a state"),
        }
    }

    /// By all at once: most of it is reading and compiling, which each node does for itself.
    fn apply_to_all<'a>(nodes: impl Iterator<Item = &'a mut Self>, state: &Stated) -> Result<(), String> {
        thread::scope(|scope| {
            let applying: Vec<_> = nodes.map(|node| scope.spawn(move || node.apply(state))).collect();
            let results: Vec<_> = applying.into_iter().map(|it| it.join().expect("no panic")).collect();
            results.into_iter().collect()
        })
    }

    fn pass(time: Duration) {
        thread::sleep(time);
    }
}

impl Drop for DaemonNode {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All hosts' nodes: daemons, or programs with the plugin.
pub fn fabric<'s>(suite: &'s Suite, wire: Wire, plugin: Option<&Plugin>) -> Fabric<'s, DaemonNode> {
    let placement = suite.hosts.placements.keys().next().expect("a placement");
    let state = place(&suite.state, &suite.hosts, placement, |number| wire.address(number));
    let hosts = suite.hosts.hosts.keys();
    let mut nodes: BTreeMap<_, _> =
        hosts.map(|host| (host.clone(), DaemonNode::start(suite, wire, host, &state, plugin))).collect();
    nodes.values_mut().for_each(DaemonNode::wait);
    Fabric::new(suite, wire, nodes, state)
}

/// `ip` with a line for each command.
fn ip(commands: &str) {
    let program =
        ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"].into_iter().find(|path| Path::new(path).exists());
    let program = program.expect("this test needs `ip`: apt-get install iproute2");
    let mut child = Command::new(program).args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{commands}");
}
