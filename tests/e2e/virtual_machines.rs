//! Virtual machines over vhost-user: QEMU with Debian's kernel, whose checksums and segments are left to the node.

use std::{
    fs::File,
    time::{Duration, Instant},
};

use crate::lab::{
    cloud::{Cloud, Nic, nic},
    daemon::Daemon,
    fleet::{Fleet, Site},
    machine::{BLOCK, Machine, Socket, block},
    netns::Netns,
    stream::Stream,
    tool, wait_for,
};

/// MiB that go out of and into a machine, which hashes what comes in: a GiB in long tests.
fn volumes() -> (usize, usize) {
    if std::env::var_os("WARREN_LONG").is_some() { (1024, 1024) } else { (64, 16) }
}

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(1800);

/// The digest of the block so many times.
fn digest(times: usize) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("block");
    std::fs::write(&file, block()).unwrap();
    let script =
        format!("i=0; while [ $i -lt {times} ]; do cat {}; i=$((i+1)); done | sha256sum", file.display());
    let done = crate::lab::run(std::process::Command::new("sh").args(["-c", &script])).ok();
    done.split(' ').next().unwrap().to_owned()
}

fn listens(at: &Netns, port: u16) {
    wait_for("a listener", || {
        at.run("ss", "iproute2", "-Htln").out.lines().any(|line| line.contains(&format!(":{port} ")))
    });
}

/// A line of shell that writes the block so many times.
fn blocks(times: usize) -> String {
    format!("for i in $(seq {times}); do cat /block; done")
}

/// Blocks in the file of a machine's web server.
const FILE: usize = 16;

/// Starts it, which hands the kernel the file.
#[track_caller]
fn serve(machine: &mut Machine) {
    machine.sh("pidof httpd >/dev/null || httpd -p 80 -h /tmp");
    machine.sh(&format!("[ -e /tmp/file ] || ({}) >/tmp/file", blocks(FILE)));
}

/// Moves the file so many times from one machine to another.
#[track_caller]
fn fetch(to: &mut Machine, address: &str, times: usize) {
    let requests = format!("for i in $(seq {times}); do wget -qO- http://{address}/file; done | sha256sum");
    let start = Instant::now();
    let found = to.sh_for(&requests, LIMIT);
    println!("{} MiB from {address} in {:?}", times * FILE, start.elapsed());
    assert_eq!(found.split(' ').next().unwrap(), digest(times * FILE));
}

/// Moves so many blocks from a machine to an instance.
#[track_caller]
fn upload(machine: &mut Machine, to: &Netns, address: &str, times: usize) -> Duration {
    let times = times.next_multiple_of(FILE);
    serve(machine);
    let curl = tool("curl", "curl");
    let requests = format!(
        "for i in $(seq {}); do {} -sSg http://{address}/file; done | sha256sum",
        times / FILE,
        curl.display()
    );
    let start = Instant::now();
    let found = to.command("sh").args(["-c", &requests]).output().unwrap();
    let took = start.elapsed();
    let (found, err) = (String::from_utf8_lossy(&found.stdout), String::from_utf8_lossy(&found.stderr));
    assert_eq!(found.split(' ').next().unwrap(), digest(times), "{err}");
    took
}

/// The other way.
#[track_caller]
fn download(machine: &mut Machine, from: &Netns, address: &str, times: usize) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("block");
    std::fs::write(&file, block()).unwrap();
    let script = format!(
        "{} | {} -u - TCP6-LISTEN:5001,reuseaddr",
        blocks(times).replace("/block", file.to_str().unwrap()),
        tool("socat", "socat").display()
    );
    let mut sender = from.command("sh").args(["-c", &script]).spawn().unwrap();
    listens(from, 5001);
    let start = Instant::now();
    let found = machine.sh_for(&format!("nc {address} 5001 </dev/null | sha256sum"), LIMIT);
    let took = start.elapsed();
    assert_eq!(found.split(' ').next().unwrap(), digest(times));
    sender.wait().unwrap();
    took
}

/// A machine at `host-a`, another instance there, and one at `host-b`.
struct Setup {
    fleet: Fleet,
    nics: [Nic; 3],
}

impl Setup {
    #[track_caller]
    fn new(keys: &str) -> Self {
        let nics = [
            nic([1, 1, 10], "host-a", "vm0"),
            nic([1, 1, 11], "host-a", "tap0"),
            nic([1, 2, 20], "host-b", "tap0"),
        ];
        let cloud = Cloud::new(&["host-a", "host-b"], &nics);
        let sites = vec![
            Site::new("host-a").machine("vm0", keys).instances(&["tap0"]),
            Site::new("host-b").instances(&["tap0"]),
        ];
        Self { fleet: Fleet::start(&cloud, sites), nics }
    }

    fn machine(&self, by: Socket, queues: u16) -> Machine {
        let socket = self.fleet.nodes[0].folder.path().join("vm0.sock");
        Machine::start(&socket, by, self.nics[0].mac(), queues)
    }

    fn link(&self) -> String {
        let ports = self.fleet.nodes[0].daemon.show("ports");
        ports.iter().find(|port| port["port"] == "vm0").unwrap()["link"].as_str().unwrap().to_owned()
    }

    /// Of the machine, as the node knows them.
    fn connections(&self) -> usize {
        let flows = self.fleet.nodes[0].daemon.show("flows");
        flows.iter().filter(|flow| flow["eni"] == self.nics[0].id().as_str()).count()
    }

    fn received(&self) -> u64 {
        self.fleet.nodes[0].daemon.count("stats", &[("port", "vm0")], "rx_packets")
    }

    fn sent(&self) -> u64 {
        self.fleet.nodes[0].daemon.count("stats", &[("port", "vm0")], "tx_packets")
    }
}

#[test]
fn a_machine_finds_its_address_and_its_segments_arrive_whole() {
    let setup = Setup::new("");
    let mut machine = setup.machine(Socket::Machine, 1);
    let [own, _, other] = &setup.nics;
    // ADDR-12.
    assert_eq!(machine.dhcp(), format!("{}/24", own.v4()));
    let peer = setup.fleet.instance(other);
    machine.sh(&format!("ping -c 2 -A {}", other.v4()));
    peer.ping("-c 2", own.v4()).all();

    let (times, back) = volumes();
    let (segments, packets) = (machine.counter("tx_packets"), setup.received());
    let took = upload(&mut machine, &peer, &own.v4().to_string(), times);
    let (segments, packets) = (machine.counter("tx_packets") - segments, setup.received() - packets);
    println!("{times} MiB out in {took:?}: {segments} of the machine are {packets} packets");
    assert!(packets as usize > times * BLOCK / 1460 && segments < packets / 4, "{segments}, {packets}");

    let (segments, packets) = (machine.counter("rx_packets"), setup.sent());
    let took = download(&mut machine, &peer, &other.v4().to_string(), back);
    let (segments, packets) = (machine.counter("rx_packets") - segments, setup.sent() - packets);
    println!("{back} MiB in in {took:?}: {packets} packets are {segments} of the machine");
    assert!(packets as usize > back * BLOCK / 1460 && segments < packets / 2, "{segments}, {packets}");

    // Its default route comes from an advertisement.
    machine.sh("echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad");
    machine.sh(&format!("ip -6 addr add {}/64 dev eth0", own.v6()));
    upload(&mut machine, &peer, &format!("[{}]", own.v6()), 4);
    download(&mut machine, &peer, &other.v6().to_string(), 4);
    assert_eq!(setup.fleet.nodes[0].daemon.drops("vm0", "unfinished"), 0);
}

#[test]
fn machine_and_node_come_back_to_each_other() {
    let mut setup = Setup::new("");
    let [own, near, other] = setup.nics.clone();
    let (neighbour, peer) = (setup.fleet.instance(&near), setup.fleet.instance(&other));
    assert_eq!(setup.link(), "down");
    let mut machine = setup.machine(Socket::Machine, 1);
    machine.dhcp();
    wait_for("the link", || setup.link() == "up");

    // A connection that stays open.
    let folder = tempfile::tempdir().unwrap();
    let heard = folder.path().join("heard");
    let mut listener = peer.command(tool("socat", "socat"));
    listener.args(["-u", "TCP-LISTEN:5002", "-"]).stdout(File::create(&heard).unwrap());
    let mut listener = listener.spawn().unwrap();
    listens(&peer, 5002);
    machine
        .sh(&format!("mkfifo /tmp/open; nc {} 5002 </tmp/open & exec 3>/tmp/open; echo one >&3", other.v4()));
    let hears = |text: &str| std::fs::read_to_string(&heard).unwrap() == text;
    wait_for("the first line", || hears("one\n"));

    // The machine goes and comes: nobody else hears of it.
    let stream = Stream::start(&neighbour, 20, other.v4());
    let connections = setup.connections();
    assert!(connections > 0);
    drop(machine);
    wait_for("the link to go", || setup.link() == "down");
    peer.ping("-c 1", own.v4()).none();
    assert!(setup.connections() >= connections);
    let mut second = setup.machine(Socket::Machine, 1);
    second.dhcp();
    peer.ping("-c 2", own.v4()).all();
    let report = stream.stop();
    // The last answers may have been on their way.
    assert!(report.received + 5 >= report.sent && report.longest < Duration::from_secs(1), "{report:?}");
    let _ = listener.kill();
    let _ = listener.wait();

    // The node goes and comes: the machine's connections stay.
    let mut listener = peer.command(tool("socat", "socat"));
    listener.args(["-u", "TCP-LISTEN:5003", "-"]).stdout(File::create(&heard).unwrap());
    let mut listener = listener.spawn().unwrap();
    listens(&peer, 5003);
    second
        .sh(&format!("mkfifo /tmp/open; nc {} 5003 </tmp/open & exec 3>/tmp/open; echo one >&3", other.v4()));
    wait_for("the first line", || hears("one\n"));
    let node = &mut setup.fleet.nodes[0];
    node.daemon.signal("KILL");
    node.daemon.wait();
    second.sh("echo two >&3");
    node.daemon = Daemon::start(Some(&node.namespace), node.folder.path());
    wait_for("the second line", || hears("one\ntwo\n"));
    peer.ping("-c 2 -i 0.2", own.v4()).all();
    let _ = listener.kill();
    let _ = listener.wait();
}

#[test]
fn a_machine_with_two_queues_comes_to_the_node_s_socket() {
    let mut setup = Setup::new("mode = \"server\"");
    let [own, _, other] = setup.nics.clone();
    let mut machine = setup.machine(Socket::Node, 2);
    machine.dhcp();
    let peer = setup.fleet.instance(&other);
    upload(&mut machine, &peer, &own.v4().to_string(), 4);
    download(&mut machine, &peer, &other.v4().to_string(), 4);
    let node = &mut setup.fleet.nodes[0];
    // It leaves its socket behind.
    node.daemon.signal("KILL");
    node.daemon.wait();
    node.daemon = Daemon::start(Some(&node.namespace), node.folder.path());
    wait_for("the machine", || peer.ping("-c 1", own.v4()).received == 1);
    upload(&mut machine, &peer, &own.v4().to_string(), 4);
}

/// Both leave checksums and segments to the node. The one takes them so, too; the other takes nothing unfinished, and its kernel looks at
/// every checksum.
#[test]
fn two_machines_of_a_node_get_each_other_s_segments_whole() {
    let nics = [nic([1, 1, 10], "host-a", "vm0"), nic([1, 1, 11], "host-a", "vm1")];
    let site = Site::new("host-a").machine("vm0", "").machine("vm1", "");
    let fleet = Fleet::start(&Cloud::new(&["host-a"], &nics), vec![site]);
    let node = &fleet.nodes[0];
    let finished = ",guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off";
    let [mut one, mut other] = [(&nics[0], ""), (&nics[1], finished)].map(|(nic, device)| {
        let socket = node.folder.path().join(format!("{}.sock", nic.port));
        Machine::boot(&socket, Socket::Machine, nic.mac(), 1, device)
    });
    for (machine, nic) in [(&mut one, &nics[0]), (&mut other, &nics[1])] {
        machine.booted();
        // ADDR-12.
        assert_eq!(machine.dhcp(), format!("{}/24", nic.v4()));
        machine.sh("echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad");
        machine.sh(&format!("ip -6 addr add {}/64 dev eth0", nic.v6()));
        serve(machine);
    }
    other.sh(&format!("ping -c 2 -A {}", nics[0].v4()));
    let times = volumes().1 / FILE;
    let packets = |column| node.daemon.count("stats", &[("port", "vm0")], column);

    let (runs, cut) = (one.counter("tx_packets"), packets("rx_packets"));
    fetch(&mut other, &nics[0].v4().to_string(), times);
    let (runs, cut) = (one.counter("tx_packets") - runs, packets("rx_packets") - cut);
    println!("{runs} of the machine are {cut} packets");
    assert!(cut as usize > times * FILE * BLOCK / 1460 && runs < cut / 4, "{runs}, {cut}");

    let (runs, joined) = (one.counter("rx_packets"), packets("tx_packets"));
    fetch(&mut one, &nics[1].v4().to_string(), 1);
    let (runs, joined) = (one.counter("rx_packets") - runs, packets("tx_packets") - joined);
    println!("{joined} packets are {runs} of the machine");
    assert!(joined as usize > FILE * BLOCK / 1460 && runs < joined / 2, "{runs}, {joined}");

    fetch(&mut other, &format!("[{}]", nics[0].v6()), 1);
    fetch(&mut one, &format!("[{}]", nics[1].v6()), 1);
    for (machine, port) in [(&mut one, "vm0"), (&mut other, "vm1")] {
        let wrong = "awk '/^Tcp:/ {wrong = $NF} END {print wrong}' /proc/net/snmp";
        assert_eq!(machine.sh(wrong), "0", "segments with a wrong checksum: InCsumErrors");
        assert_eq!(node.daemon.drops(port, "unfinished"), 0);
    }
}
