//! Linux's own VXLAN device as the other host, so that both sides of the encapsulation are checked by somebody else's.

use tempfile::TempDir;

use crate::lab::{
    captures,
    daemon::Daemon,
    host_file,
    netns::{Netns, configure, instance},
    state::{Eni, here, state, there, write},
    tool, wait_for,
};

/// A node with two instances; a kernel as host-b, with the instance of an ENI behind its VXLAN device.
struct Setup {
    daemon: Daemon,
    near: Netns,
    other: Netns,
    far: Netns,
    _peer: Netns,
    _node: Netns,
    folder: TempDir,
}

struct Underlay {
    addresses: [&'static str; 2],
    prefix: u8,
    /// Of the uplink.
    settings: &'static str,
    /// Of the kernel's device.
    device: &'static str,
    /// Of the instances.
    mtu: u16,
}

fn near() -> Eni {
    here('a', 10, "vm0")
}

/// In another subnet.
fn other() -> Eni {
    here('b', 10, "vm1")
}

fn far() -> Eni {
    there('a', 11)
}

impl Setup {
    fn new(underlay: &Underlay) -> Self {
        let [own, theirs] = underlay.addresses;
        let (node, peer, far_guest) = (Netns::new("node"), Netns::new("peer"), Netns::new("far"));
        node.ip(&format!("link add up0 type veth peer name pe0 netns {}", peer.name));
        for (namespace, interface) in [(&node, "up0"), (&peer, "pe0")] {
            // The kernel beside the daemon keeps quiet on the uplink.
            namespace.ip(&format!("link set {interface} addrgenmode none"));
            namespace.ip(&format!("link set {interface} mtu 9200 up"));
            namespace.no_offloads(interface);
        }
        peer.ip(&format!("addr add {theirs}/{} dev pe0{}", underlay.prefix, nodad(theirs)));
        peer.ip(&format!(
            "link add vx0 type vxlan id 4100 local {theirs} remote {own} dstport 4789 dev pe0 {}",
            underlay.device
        ));
        peer.no_offloads("vx0");
        peer.ip(&format!("link set vx0 mtu {}", underlay.mtu));
        peer.ip(&format!("link set vx0 netns {}", far_guest.name));
        configure(&far_guest, "vx0", &far());
        // Warren floods nothing, so the kernel is told what a node would know.
        for address in [near().v4().to_string(), near().v6().to_string()] {
            far_guest.ip(&format!("neigh add {address} lladdr {} dev vx0", near().mac()));
        }
        far_guest.ip(&format!("neigh add 10.0.1.1 lladdr {} dev vx0", other().mac()));

        let folder = TempDir::new().unwrap();
        let ports = format!(
            r#"
            [[port]]
            name = "vm0"
            role = "instance"
            device = "net_tap0,iface=vm0"
            mtu = {mtu}
            [[port]]
            name = "vm1"
            role = "instance"
            device = "net_tap1,iface=vm1"
            mtu = {mtu}
            [[port]]
            name = "uplink"
            role = "uplink"
            device = "net_af_packet0,iface=up0"
            address = "{own}/{prefix}"
            {settings}
            "#,
            mtu = underlay.mtu,
            prefix = underlay.prefix,
            settings = underlay.settings,
        );
        host_file(folder.path(), "workers = { cores = [1], idle = \"sleep\" }", &ports);
        write(folder.path(), &state(&[near(), other(), far()], underlay.addresses));
        let daemon = Daemon::start(Some(&node), folder.path());
        let (near, other) = (instance(&node, "vm0", &near()), instance(&node, "vm1", &other()));
        for (guest, port) in [(&near, "vm0"), (&other, "vm1")] {
            guest.ip(&format!("link set {port} mtu {}", underlay.mtu));
        }
        // The underlay neighbour is resolved by ARP or neighbour discovery.
        wait_for("host-b to be resolved", || {
            daemon.show("hosts").iter().any(|host| host["host"] == "host-b" && host["state"] == "reachable")
        });
        Self { daemon, near, other, far: far_guest, _peer: peer, _node: node, folder }
    }

    /// Both ways, both families, small and the largest.
    fn pings(&self, underlay: &Underlay) {
        let (v4, v6) = (underlay.mtu - 28, underlay.mtu - 48);
        for size in ["56".into(), v4.to_string()] {
            self.near.ping(&format!("-c 3 -i 0.05 -M do -s {size}"), far().v4()).all();
            self.far.ping(&format!("-c 3 -i 0.05 -M do -s {size}"), near().v4()).all();
        }
        for size in ["56".into(), v6.to_string()] {
            self.near.ping(&format!("-c 3 -i 0.05 -M do -s {size}"), far().v6()).all();
            self.far.ping(&format!("-c 3 -i 0.05 -M do -s {size}"), near().v6()).all();
        }
        let lost: Vec<_> =
            self.daemon.show("drops").into_iter().filter(|row| row["port"] == "uplink").collect();
        assert!(
            lost.iter().all(|row| row["reason"] == "underlay_neighbour" || row["reason"] == "multicast"),
            "{lost:?}"
        );
    }
}

fn nodad(address: &str) -> &'static str {
    if address.contains(':') { " nodad" } else { "" }
}

const V4: [&str; 2] = ["192.0.2.1", "192.0.2.2"];
const V6: [&str; 2] = ["2001:db8:ffff::1", "2001:db8:ffff::2"];

/// P-2: IPv4 underlay, no outer checksum.
#[test]
fn ipv4_underlay() {
    let underlay =
        Underlay { addresses: V4, prefix: 24, settings: "mtu = 1550", device: "noudpcsum", mtu: 1500 };
    let lab = Setup::new(&underlay);
    lab.pings(&underlay);

    // FWD-6: on the L3 path the frame comes from the router's MAC of the receiver's subnet.
    let capture = lab.folder.path().join("seen.pcap");
    let mut tcpdump = lab
        .far
        .command(tool("tcpdump", "tcpdump"))
        .args(["-i", "vx0", "-U", "-c", "1", "-w", capture.to_str().unwrap(), "icmp and src 10.0.2.10"])
        .spawn()
        .unwrap();
    wait_for("tcpdump", || capture.exists());
    lab.other.ping("-c 2 -i 0.2", far().v4()).none();
    assert!(tcpdump.wait().unwrap().success());
    assert_eq!(captures::read(&capture)[0][..12], [far().mac().0, far().router().0].concat()[..]);
    // P-4: the kernel answers with its instance's own MAC, on the L2 path, across subnets: no node does that.
    assert_eq!(lab.daemon.drops("uplink", "underlay_spoof"), 2);
}

/// IPv4 underlay with checksums both ways, and the uplink's usual MTU.
#[test]
fn ipv4_underlay_with_checksums() {
    let underlay = Underlay {
        addresses: V4,
        prefix: 24,
        settings: "udp_checksum = \"software\"",
        device: "udpcsum",
        mtu: 1500,
    };
    Setup::new(&underlay).pings(&underlay);
}

/// RFC 6935: IPv6 underlay without checksum, which Linux takes where told so.
#[test]
fn ipv6_underlay_without_checksums() {
    let underlay = Underlay {
        addresses: V6,
        prefix: 64,
        settings: "mtu = 1570",
        device: "udp6zerocsumtx udp6zerocsumrx",
        mtu: 1500,
    };
    Setup::new(&underlay).pings(&underlay);
}

/// IPv6 underlay with checksums, which Linux demands unless told otherwise.
#[test]
fn ipv6_underlay_with_checksums() {
    let underlay = Underlay {
        addresses: V6,
        prefix: 64,
        settings: "mtu = 1570\nudp_checksum = \"software\"",
        device: "",
        mtu: 1500,
    };
    Setup::new(&underlay).pings(&underlay);
}

/// MTU-3, MTU-4, ADDR-23: an uplink narrower than the instances' MTU, as Linux discovers it.
#[test]
fn mtu_4_linux_discovers_the_path_of_a_narrow_uplink() {
    let underlay =
        Underlay { addresses: V4, prefix: 24, settings: "mtu = 1500", device: "noudpcsum", mtu: 1500 };
    let lab = Setup::new(&underlay);
    let (v4, v6) = (far().v4(), far().v6());
    lab.far.ip("link set vx0 mtu 1450");
    lab.near.ping("-c 2 -i 0.05 -s 56", v4).all();
    lab.near.ping("-c 2 -i 0.05 -s 56", v6).all();

    // ADDR-23: the router.
    for router in ["10.0.1.1", "2001:db8:b1:1::1", "fe80:ec2::1%vm0"] {
        lab.near.run("ping", "iputils-ping", &format!("-c 2 -i 0.05 -W 1 {router}")).ok();
    }
    lab.near.ping("-c 1", std::net::Ipv4Addr::new(10, 0, 2, 1)).none();

    // MTU-3: without DF, in fragments, which the kernel takes for one.
    lab.near.ping("-c 3 -i 0.05 -M dont -s 1472", v4).all();
    assert_eq!(lab.daemon.drops("vm0", "mtu_df"), 0);

    // MTU-4: with DF, the sender hears of it, from whom it should.
    let told = lab.near.run("ping", "iputils-ping", &format!("-c 1 -W 1 -M do -s 1472 {v4}"));
    assert!(told.out.contains("From 10.0.1.1 ") && told.out.contains("mtu = 1450"), "{}", told.out);
    let told = lab.near.run("ping", "iputils-ping", &format!("-c 1 -W 1 -M do -s 1452 {v6}"));
    assert!(told.out.contains("From fe80:ec2::1") && told.out.contains("mtu=1450"), "{}", told.out);
    for address in [v4.to_string(), v6.to_string()] {
        let route = lab.near.ip(&format!("route get {address}"));
        assert!(route.contains("mtu 1450"), "{route}");
    }
    assert_eq!(lab.daemon.drops("vm0", "mtu_df"), 2);
    lab.near.ping("-c 3 -i 0.05 -M do -s 1422", v4).all();
    lab.near.ping("-c 3 -i 0.05 -s 4000", v6).all();

    // A SYN tells what fits, with a checksum that the kernel takes: it answers, that nobody listens.
    let capture = lab.folder.path().join("syn.pcap");
    let mut tcpdump = lab
        .far
        .command(tool("tcpdump", "tcpdump"))
        .args(["-i", "vx0", "-U", "-c", "1", "-w", capture.to_str().unwrap(), "tcp[tcpflags] == tcp-syn"])
        .spawn()
        .unwrap();
    wait_for("tcpdump", || capture.exists());
    lab.near.ip("route flush cache");
    let refused =
        lab.near.command(tool("bash", "bash")).args(["-c", &format!("</dev/tcp/{v4}/9")]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("refused"), "{refused:?}");
    assert!(tcpdump.wait().unwrap().success());
    let syn = &captures::read(&capture)[0];
    assert_eq!(syn[54..58], [2, 4, 5, 0x82], "1450 less 40");
}
