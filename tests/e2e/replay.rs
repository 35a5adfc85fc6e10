//! `warren replay`: known frames in, exact frames out. No DPDK, no root.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use warren::packet::{Mac, arp::Arp};

use crate::lab::{
    Done, captures, host_file,
    packets::{
        BROADCAST, DF, End, Frame, arp_request, datagram4, datagram6, ethernet, ipv4, readdressed, tagged,
        udp, vxlan,
    },
    state::{Eni, UNDERLAY, here, state, there, write},
    warren,
};

/// Two instances and an uplink of `host-a`. The devices aren't opened.
pub const PORTS: &str = r#"
    [[port]]
    name = "vm0"
    role = "instance"
    device = "net_null0"
    [[port]]
    name = "vm1"
    role = "instance"
    device = "net_null1"
    vlan = "strip"
    [[port]]
    name = "uplink"
    role = "uplink"
    device = "net_null2"
    mac = "02:fa:00:00:00:01"
    address = "192.0.2.1/24"
    neighbors = [{ address = "192.0.2.2", mac = "02:fa:00:00:00:02" }]
"#;

/// This node on the underlay, and the other.
pub const OWN: End = End { mac: Mac([2, 0xfa, 0, 0, 0, 1]), address: Ipv4Addr::new(192, 0, 2, 1) };
pub const PEER: End = End { mac: Mac([2, 0xfa, 0, 0, 0, 2]), address: Ipv4Addr::new(192, 0, 2, 2) };
pub const VNI: u32 = 4100;

/// The ENIs behind vm0 and vm1, in two subnets, and one on the other host in the first's.
pub fn enis() -> [Eni; 3] {
    [here('a', 10, "vm0"), here('b', 10, "vm1"), there('a', 11)]
}

/// A folder with host file and state.
pub struct Node {
    pub folder: TempDir,
}

impl Node {
    pub fn new(settings: &str) -> Self {
        let folder = TempDir::new().unwrap();
        host_file(folder.path(), &format!("workers = {{ cores = [1] }}\n{settings}"), PORTS);
        write(folder.path(), &state(&enis(), UNDERLAY));
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replays captures, `PORT=FILE` each.
    pub fn replay(&self, inputs: &[String]) -> Done {
        let [config, out] = ["host.toml", "out"].map(|name| self.path(name).display().to_string());
        let mut arguments = vec!["replay", "--json", "--config", &config, "--out", &out];
        for input in inputs {
            arguments.extend(["--in", input]);
        }
        warren(&arguments)
    }

    /// Replays frames into a port; returns what was printed.
    pub fn feed(&self, port: &str, frames: &[Frame]) -> Value {
        let capture = self.path("in.pcap");
        captures::write(&capture, frames);
        serde_json::from_str(&self.replay(&[input(port, &capture)]).ok()).unwrap()
    }

    /// What a port sent, but for router advertisements.
    #[track_caller]
    pub fn sent(&self, port: &str) -> Vec<Frame> {
        self.sent_timed(port).into_iter().map(|(_, frame)| frame).collect()
    }

    /// The same with the times.
    #[track_caller]
    fn sent_timed(&self, port: &str) -> Vec<(Duration, Frame)> {
        captures::read_timed_answers(&self.path(&format!("out/{port}.pcap")))
    }
}

pub fn input(port: &str, capture: &Path) -> String {
    format!("{port}={}", capture.display())
}

/// By reason: how many were dropped.
fn drops(printed: &Value) -> Vec<(&str, u64)> {
    let rows = printed["drops"].as_array().unwrap();
    rows.iter().map(|row| (row["reason"].as_str().unwrap(), row["packets"].as_u64().unwrap())).collect()
}

/// L2-10, FWD-3, FWD-5, FWD-6, P-2: what an instance sends.
#[test]
fn from_an_instance() {
    let (node, [a, b, c]) = (Node::new(""), enis());
    let frames = [
        arp_request(&a, c.v4()),
        datagram4(&a, a.router(), b.v4()),
        datagram6(&a, a.router(), b.v6()),
        datagram4(&a, c.mac(), c.v4()),
        datagram4(&a, a.router(), c.v4()),
    ];
    let printed = node.feed("vm0", &frames);
    assert_eq!((printed["packets"].as_u64(), drops(&printed)), (Some(5), vec![]));

    let [reply] = &node.sent("vm0")[..] else { panic!("not one ARP reply") };
    let asked = Arp::parse(&frames[0]).unwrap();
    assert_eq!(*reply, asked.reply(c.mac()).frame(a.mac()), "L2-10");

    // FWD-5, FWD-6: other MACs, and nothing else.
    let routed = |frame: &Frame| readdressed(frame, b.mac(), b.router());
    assert_eq!(node.sent("vm1"), [routed(&frames[1]), routed(&frames[2])]);

    // P-2: the frame whole, and on the L3 path from the router's MAC. The source port is the flow's.
    let inner = [frames[3].clone(), readdressed(&frames[4], c.mac(), c.router())];
    let sent = node.sent("uplink");
    assert_eq!(sent.len(), 2);
    for (outer, inner) in sent.iter().zip(&inner) {
        let expected = vxlan(OWN, PEER, VNI, inner);
        assert_eq!(outer[50..], expected[50..], "the inner frame");
        assert_eq!(outer[..14], expected[..14], "the outer MACs");
        assert_eq!(outer[26..34], expected[26..34], "the outer addresses");
        assert_eq!(outer[36..50], expected[36..50], "UDP and VXLAN");
        assert!(outer[34] >= 0xc0, "the source port of RFC 7348 §5");
    }
    assert_eq!(sent[0][34..36], sent[1][34..36], "one flow, one source port");
}

/// P-4, ADDR-6: what the underlay sends.
#[test]
fn from_the_underlay() {
    let (node, [a, b, c]) = (Node::new(""), enis());
    let direct = datagram4(&c, a.mac(), a.v4());
    let routed = readdressed(&datagram4(&c, b.router(), b.v4()), b.mac(), b.router());
    let stranger = End { address: Ipv4Addr::new(192, 0, 2, 9), ..PEER };
    let frames = [
        vxlan(PEER, OWN, VNI, &direct),
        vxlan(PEER, OWN, VNI, &routed),
        vxlan(stranger, OWN, VNI, &direct),
        vxlan(PEER, OWN, VNI, &datagram4(&b, a.mac(), a.v4())),
        vxlan(PEER, OWN, VNI + 1, &direct),
        vxlan(PEER, OWN, VNI, &readdressed(&direct, Mac([2, 0, 0, 0, 9, 9]), c.mac())),
        vxlan(PEER, OWN, VNI, &datagram4(&c, a.mac(), b.v4())),
        vxlan(PEER, OWN, VNI, &direct)[..60].to_vec(),
        direct.clone(),
    ];
    let printed = node.feed("uplink", &frames);
    assert_eq!(node.sent("vm0"), [direct]);
    assert_eq!(node.sent("vm1"), [routed]);
    assert_eq!(node.sent("uplink"), [] as [Frame; 0]);
    let mut found = drops(&printed);
    found.sort_unstable();
    let expected = [
        ("dst_check", 1),
        ("truncated", 1),
        ("underlay_destination", 1),
        ("underlay_spoof", 2),
        ("unknown_mac", 1),
        ("unknown_vni", 1),
    ];
    assert_eq!(found, expected);
}

/// Drops have names, and a port that sends nothing has an empty capture.
#[test]
fn drops_have_names_and_silent_ports_captures() {
    let (node, [a, b, _]) = (Node::new(""), enis());
    let to = |address: [u8; 4]| datagram4(&a, a.router(), address.into());
    let stolen = ethernet(a.router(), a.mac(), 0x0800, &ipv4(b.v4(), b.v4(), 17, DF, &udp(b"x")));
    let cases: Vec<(&str, Frame)> = vec![
        ("broadcast", datagram4(&a, BROADCAST, Ipv4Addr::BROADCAST)),
        ("ethertype", ethernet(a.router(), a.mac(), 0x88cc, &[0; 46])),
        ("garp", arp_request(&a, a.v4())),
        ("invalid_destination", to([127, 0, 0, 1])),
        ("multicast", datagram4(&a, Mac([1, 0, 0x5e, 0, 0, 5]), Ipv4Addr::new(224, 0, 0, 5))),
        ("no_mapping", to([10, 0, 2, 200])),
        ("no_route", to([8, 8, 8, 8])),
        ("service", to([10, 0, 1, 1])),
        ("src_check", stolen),
        ("src_mac", datagram4(&b, a.router(), b.v4())),
        ("to_self", to(a.v4().octets())),
        ("truncated", datagram4(&a, a.router(), b.v4())[..30].to_vec()),
        ("unknown_mac", datagram4(&a, b.mac(), b.v4())),
        ("vlan", tagged(&datagram4(&a, a.router(), b.v4()))),
    ];
    let (names, frames): (Vec<&str>, Vec<Frame>) = cases.into_iter().unzip();
    let printed = node.feed("vm0", &frames);
    let mut found = drops(&printed);
    found.sort_unstable();
    assert_eq!(found, names.into_iter().map(|name| (name, 1)).collect::<Vec<_>>());
    for port in ["vm0", "vm1", "uplink"] {
        assert_eq!(node.sent(port), [] as [Frame; 0], "{port}");
    }
}

/// L2-20: an instance hears of its router at once, and again 16 s later.
#[test]
fn routers_are_advertised_by_the_clock() {
    let (node, [a, b, _]) = (Node::new(""), enis());
    let frame = datagram4(&a, a.router(), b.v4());
    let at = Duration::from_secs;
    let capture = node.path("in.pcap");
    captures::write_timed(&capture, &[100, 115, 116, 131].map(|second| (at(second), frame.clone())));
    node.replay(&[input("vm0", &capture)]).ok();
    for (port, eni) in [("vm0", &a), ("vm1", &b)] {
        let mut heard = captures::read_timed(&node.path(&format!("out/{port}.pcap")));
        heard.retain(|(_, frame)| captures::is_router_advertisement(frame));
        let times: Vec<Duration> = heard.iter().map(|(time, _)| *time).collect();
        assert_eq!(times, [at(100), at(116)], "{port}");
        for (_, frame) in heard {
            assert_eq!(frame[..12], [eni.mac().0, eni.router().0].concat(), "{port}");
        }
    }
}

/// ADDR-12: `warren replay` answers DHCP as the daemon does.
#[test]
fn dhcp_is_answered() {
    let (node, [a, ..]) = (Node::new(""), enis());
    let mut discover = vec![1, 1, 6, 0, 0, 0, 0, 7];
    discover.resize(28, 0);
    discover.extend(a.mac().0);
    discover.resize(236, 0);
    discover.extend([99, 130, 83, 99, 53, 1, 1, 255]);
    let udp = [&[0, 68, 0, 67, 0, 252, 0, 0][..], &discover].concat();
    let packet = ipv4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, 17, DF, &udp);
    let printed = node.feed("vm0", &[ethernet(BROADCAST, a.mac(), 0x0800, &packet)]);
    assert_eq!(drops(&printed), []);
    let [offer] = &node.sent("vm0")[..] else { panic!("not one offer") };
    assert_eq!(offer[..12], [a.mac().0, a.router().0].concat());
    assert_eq!(offer[42 + 16..42 + 20], a.v4().octets(), "the ENI's address");
    assert_eq!(offer[42 + 240..42 + 243], [53, 1, 2], "an offer");
}

/// L2-2 and its exception: a port with `vlan = "strip"`.
#[test]
fn tags_are_refused_or_stripped() {
    let (node, [a, b, _]) = (Node::new(""), enis());
    let frame = datagram4(&b, b.router(), a.v4());
    node.feed("vm1", &[tagged(&frame)]);
    assert_eq!(node.sent("vm0"), [readdressed(&frame, a.mac(), a.router())]);
}

/// Two captures meet in the order of time, and what is sent has the time of what caused it.
#[test]
fn inputs_are_merged_by_time() {
    let (node, [a, b, c]) = (Node::new(""), enis());
    let at = Duration::from_micros;
    let local = datagram4(&b, b.router(), a.v4());
    let remote = datagram4(&c, a.mac(), a.v4());
    captures::write_timed(&node.path("1.pcap"), &[(at(10), local.clone()), (at(30), local.clone())]);
    let outer = vxlan(PEER, OWN, VNI, &remote);
    captures::write_timed(&node.path("2.pcap"), &[(at(20), outer.clone()), (at(30), outer)]);
    node.replay(&[input("vm1", &node.path("1.pcap")), input("uplink", &node.path("2.pcap"))]).ok();
    let routed = readdressed(&local, a.mac(), a.router());
    let expected = [(at(10), routed.clone()), (at(20), remote.clone()), (at(30), routed), (at(30), remote)];
    assert_eq!(node.sent_timed("vm0"), expected);
}

/// pcapng, with times in microseconds and in nanoseconds.
#[test]
fn pcapng_is_read() {
    let (node, [a, b, _]) = (Node::new(""), enis());
    let frame = datagram4(&a, a.router(), b.v4());
    for (resolution, ticks) in [(None, 1_500_000_u64), (Some(9), 1_500_000_000)] {
        fs::write(node.path("in.pcapng"), pcapng(1, resolution, ticks, &frame)).unwrap();
        node.replay(&[input("vm0", &node.path("in.pcapng"))]).ok();
        let expected = [(Duration::from_millis(1500), readdressed(&frame, b.mac(), b.router()))];
        assert_eq!(node.sent_timed("vm1"), expected, "{resolution:?}");
    }
}

/// A pcapng file of one packet (draft-ietf-opsawg-pcapng §4).
fn pcapng(link_type: u16, resolution: Option<u8>, ticks: u64, frame: &[u8]) -> Vec<u8> {
    let block = |kind: u32, mut body: Vec<u8>| {
        body.resize(body.len().next_multiple_of(4), 0);
        let len = (body.len() as u32 + 12).to_le_bytes();
        [&kind.to_le_bytes()[..], &len, &body, &len].concat()
    };
    let section = [&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
    let mut interface = [&link_type.to_le_bytes()[..], &[0; 2], &[0, 0, 4, 0]].concat();
    if let Some(resolution) = resolution {
        interface.extend([9, 0, 1, 0, resolution, 0, 0, 0, 0, 0, 0, 0]);
    }
    let len = (frame.len() as u32).to_le_bytes();
    let (high, low) = (((ticks >> 32) as u32).to_le_bytes(), (ticks as u32).to_le_bytes());
    let packet = [&[0; 4][..], &high, &low, &len, &len, frame].concat();
    [block(0x0a0d_0d0a, section), block(1, interface), block(6, packet)].concat()
}

/// Errors name the thing and end with exit code 1.
#[test]
fn mistakes_are_named() {
    let (node, [a, ..]) = (Node::new(""), enis());
    let frame = datagram4(&a, a.router(), a.v4());
    captures::write(&node.path("good.pcap"), std::slice::from_ref(&frame));
    let mut raw_ip = fs::read(node.path("good.pcap")).unwrap();
    // The header's link type; 101 is LINKTYPE_RAW.
    raw_ip[20] = 101;
    fs::write(node.path("raw.pcap"), raw_ip).unwrap();
    fs::write(node.path("raw.pcapng"), pcapng(101, None, 0, &frame)).unwrap();
    fs::write(node.path("text.pcap"), "this is no capture, but it is long enough for a header").unwrap();
    fs::write(node.path("empty.pcap"), "").unwrap();
    for (port, file, expected) in [
        ("vm7", "good.pcap", "the host file has no such port; it has vm0, vm1, uplink"),
        ("vm0", "missing.pcap", "missing.pcap: No such file"),
        ("vm0", "text.pcap", "text.pcap: neither pcap nor pcapng"),
        ("vm0", "empty.pcap", "empty.pcap: neither pcap nor pcapng"),
        ("vm0", "raw.pcap", "raw.pcap: a capture of RAW, not of Ethernet frames"),
        ("vm0", "raw.pcapng", "raw.pcapng: an interface of RAW, not of Ethernet frames"),
    ] {
        let error = node.replay(&[input(port, &node.path(file))]).fails(1);
        assert!(error.contains(expected), "{file}: {error}");
    }
    warren(&["replay", "--in", "vm0", "--config", "x", "--out", "y"]).fails(2);
}
