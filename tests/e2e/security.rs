//! Security groups, network ACLs and connection tracking between the kernels of two hosts' instances, by the tools that
//! people try them with.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::lab::{
    cloud::{Cloud, Nic, anywhere, nic, rule},
    fleet::{Fleet, Site},
    frr::Program,
    inside::{Flow, Server, within},
    iperf::{self, Transfer},
    netns::Netns,
    run, tool, wait_for,
};

/// A client and a stranger in one subnet and on one host; a server in another, on another.
fn nics() -> [Nic; 3] {
    [nic([1, 1, 10], "host-a", "vm0"), nic([1, 1, 11], "host-a", "vm1"), nic([1, 2, 10], "host-b", "vm0")]
}

/// The server is in a group of its own with these rules for what comes in, and the stranger in one. The client is in the
/// VPC's, which allows everything.
fn cloud(ingress: &[Value]) -> Cloud {
    let [_, stranger, server] = &nics();
    Cloud::new(&["host-a", "host-b"], &nics())
        .group("sg-server", 1, ingress, &[anywhere()])
        .group("sg-stranger", 1, &[anywhere()], &[anywhere()])
        .member(server, "sg-server")
        .member(stranger, "sg-stranger")
        .routes("rtb-main", 1, &["main"], &[])
}

struct Setup {
    // The instances go first: an interface goes back to no daemon.
    client: Netns,
    stranger: Netns,
    server: Netns,
    fleet: Fleet,
}

impl Setup {
    fn new(cloud: &Cloud) -> Self {
        let sites =
            vec![Site::new("host-a").instances(&["vm0", "vm1"]), Site::new("host-b").instances(&["vm0"])];
        let fleet = Fleet::start(cloud, sites);
        let [client, stranger, server] = nics().map(|nic| fleet.instance(&nic));
        Self { client, stranger, server, fleet }
    }

    /// How many packets the server's host has dropped for a reason.
    fn drops(&self, reason: &str) -> u64 {
        self.fleet.node("host-b").daemon.count("drops", &[("reason", reason)], "packets")
    }
}

/// A port, as nmap names it: `22/open/tcp`.
type Ports = BTreeSet<String>;

/// What nmap finds out about the ports of an address; those of which it hears nothing are left out.
#[track_caller]
fn scan(from: &Netns, to: impl Into<IpAddr>) -> Ports {
    let to = to.into();
    let family = if to.is_ipv6() { "-6" } else { "" };
    let arguments = format!("{family} -sS -sU -p T:20-90,U:50-60 -Pn -n -T4 --max-retries 2 -oG - {to}");
    let report = from.run("nmap", "nmap", &arguments).ok();
    let list = report.split("Ports: ").nth(1).and_then(|rest| rest.split('\t').next()).unwrap_or_default();
    let heard = list.split(", ").map(|port| port.split('/').take(3).collect::<Vec<_>>());
    heard.filter(|port| matches!(port[..], [_, "open" | "closed", _])).map(|port| port.join("/")).collect()
}

/// SEC-1, SEC-2, SEC-12, SEC-14: what is allowed and has a listener is open, what is allowed and has none says so, and of
/// all else nothing is heard; whoever is not in the group that the rules name hears nothing at all.
#[test]
fn sec_1_sec_12_sec_14_nmap_sees_exactly_the_open_ports() {
    let rules = [("tcp", 22..=24), ("tcp", 80..=80), ("udp", 53..=54)];
    let setup = Setup::new(&cloud(&rules.map(|(protocol, ports)| rule(protocol, ports, "sg-1"))));
    let _tcp =
        within(&setup.server, || [22, 25, 80, 81].map(|port| TcpListener::bind(("::", port)).unwrap()));
    let _udp = ["53", "55"].map(|port| {
        let mut echo = setup.server.command(tool("socat", "socat"));
        echo.args([&format!("UDP6-RECVFROM:{port},fork,ipv6only=0"), "PIPE"]);
        Program::start(&mut echo, Path::new("/dev/null"))
    });
    let listening = || setup.server.run("ss", "iproute2", "-Hlun").ok().lines().count() == 2;
    wait_for("the listeners", listening);
    let [_, _, server] = nics();
    let expected =
        ["22/open/tcp", "23/closed/tcp", "24/closed/tcp", "80/open/tcp", "53/open/udp", "54/closed/udp"];
    for to in [IpAddr::from(server.v4()), server.v6().into()] {
        let seen = scan(&setup.client, to);
        println!("nmap of {to}: {seen:?}");
        assert_eq!(seen, expected.map(str::to_owned).into(), "{to}");
        assert_eq!(scan(&setup.stranger, to), Ports::new(), "{to}");
    }
    assert!(setup.drops("sg_in") > 0);
}

/// Whether a new connection to iperf3's port is made.
fn connects(from: &Netns, to: impl Into<IpAddr>) -> bool {
    let to = SocketAddr::new(to.into(), iperf::PORT);
    within(from, move || TcpStream::connect_timeout(&to, Duration::from_secs(2)).is_ok())
}

/// What is on its way when a state has been applied has arrived.
fn settle() {
    thread::sleep(Duration::from_millis(100));
}

/// SEC-6, NACL-4: a tracked flow outlives its rule, and ends where a network ACL denies it.
#[test]
fn sec_6_nacl_4_iperf3_outlives_its_rule_and_stops_at_a_network_acl() {
    let [client, _, server] = nics();
    let setup = Setup::new(&cloud(&[rule("tcp", iperf::PORT..=iperf::PORT, &format!("{}/32", client.v4()))]));
    let transfer = Transfer::start(&setup.client, &setup.server, server.v4());
    let (with, without) = (transfer.pace(), cloud(&[]));
    setup.fleet.apply(&without);
    let after = transfer.pace();
    assert!(after > 100, "{after} segments");
    let before = setup.drops("sg_in");
    assert!(!connects(&setup.client, server.v4()), "a new connection");
    assert!(setup.drops("sg_in") > before);

    setup.fleet.apply(&without.clone().acl_against([1, 2], iperf::PORT));
    settle();
    assert_eq!(transfer.pace(), 0, "NACL-4");
    assert!(setup.drops("nacl_in") > 0);
    println!("segments per second: {with}, without the rule {after}, with the ACL 0");
    // The connection is still known.
    setup.fleet.apply(&without);
    transfer.resumes();
}

/// SEC-4, SEC-6: a flow that is not tracked ends with its rule.
#[test]
fn sec_4_sec_6_untracked_iperf3_stops_with_its_rule() {
    let [_, _, server] = nics();
    let setup = Setup::new(&cloud(&[anywhere()]));
    let transfer = Transfer::start(&setup.client, &setup.server, server.v4());
    let before = setup.drops("sg_in");
    setup.fleet.apply(&cloud(&[]));
    settle();
    assert_eq!(transfer.pace(), 0);
    assert!(setup.drops("sg_in") > before);
    // By rules alone it also begins again.
    setup.fleet.apply(&cloud(&[anywhere()]));
    transfer.resumes();
}

const FRAGMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/lab/fragments.py");

/// SEC-15: a datagram arrives whose later fragment is on the way first, though a rule has to know its ports.
#[test]
fn sec_15_a_datagram_arrives_whose_fragments_come_the_other_way_round() {
    let setup = Setup::new(&cloud(&[rule("udp", 53..=53, "10.1.0.0/16")]));
    let [client, _, server] = nics();
    let socket = within(&setup.server, || UdpSocket::bind(("0.0.0.0", 53)).unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let send = |port: &str, order: &str| {
        let mut fragments = setup.client.command(tool("python3", "python3-minimal"));
        let (from, to) = (client.v4().to_string(), server.v4().to_string());
        run(fragments.args([FRAGMENTS, &from, &to, port, order])).ok();
    };
    send("53", "10");
    let mut data = [0; 100];
    assert_eq!(socket.recv(&mut data).unwrap(), 64);
    assert_eq!(setup.drops("frag_orphan"), 0);
    // One that is alone waits a second, one that may not pass goes with its first.
    send("53", "1");
    wait_for("the end of its wait", || setup.drops("frag_orphan") == 1);
    send("54", "10");
    wait_for("two drops", || setup.drops("sg_in") >= 2);
}

const FLOOD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/lab/flood.py");

/// Connections that a host of the flood has room for, and those that are tried meanwhile.
const ROOM: u32 = 4096;
const TRIED: usize = 50;

/// A flooder and a client on one host; the flood's target and the client's server on another. All connections are tracked.
fn flooded() -> ([Nic; 4], Cloud) {
    let nics = [
        nic([1, 1, 10], "host-a", "vm0"),
        nic([1, 1, 11], "host-a", "vm1"),
        nic([1, 2, 10], "host-b", "vm0"),
        nic([1, 2, 11], "host-b", "vm1"),
    ];
    let tcp = [rule("tcp", 0..=65535, "sg-tracked")];
    let cloud = Cloud::new(&["host-a", "host-b"], &nics)
        .group("sg-tracked", 1, &tcp, &tcp)
        .prefix(&nics[2], "10.1.2.16/28")
        .routes("rtb-main", 1, &["main"], &[]);
    let cloud = nics.iter().fold(cloud, |cloud, nic| cloud.member(nic, "sg-tracked"));
    (nics, cloud)
}

/// SEC-10: who floods fills its own share of the table; others on its host, and on the host of its victim, connect.
#[test]
fn sec_10_a_syn_flood_leaves_others_their_new_connections() {
    let (nics, cloud) = flooded();
    let site = |host| Site::new(host).instances(&["vm0", "vm1"]).connections(ROOM);
    let fleet = Fleet::start(&cloud, vec![site("host-a"), site("host-b")]);
    let [flooder, client, _target, server] = nics.each_ref().map(|nic| fleet.instance(nic));
    let daemon = |host: &str| &fleet.node(host).daemon;
    let sent = || daemon("host-a").count("stats", &[("port", "vm0")], "rx_packets");
    let arrived = || daemon("host-b").count("stats", &[("port", "vm0")], "tx_packets");
    let _server = Server::start(&server);
    let mut earlier = Flow::open(&client, nics[3].v4()).unwrap();

    // No kernel has these addresses: nobody answers, and each connection stays half open.
    let targets = (16..32).map(|number| format!("10.1.2.{number}"));
    let mut flood = flooder.command(tool("python3", "python3-minimal"));
    flood.args([FLOOD, &nics[0].v4().to_string()]).args(targets);
    let _flood = Program::start(&mut flood, Path::new("/dev/null"));
    wait_for("both tables to fill", || sent().min(arrived()) > 2 * u64::from(ROOM));
    let before = (sent(), arrived());
    for number in 0..TRIED {
        if let Err(error) = Flow::open(&client, nics[3].v4()) {
            panic!("connection {number}: {error}");
        }
    }
    let (began, arrived) = (sent() - before.0, arrived() - before.1);
    println!(
        "{TRIED} connections, while others were begun: {began}, of which {arrived} reached the other host"
    );
    assert!(began.min(arrived) > 0 && earlier.lives());
    for (host, port) in [("host-a", "vm1"), ("host-b", "vm1")] {
        assert_eq!(daemon(host).drops(port, "conntrack_full"), 0, "{host}");
    }
}
