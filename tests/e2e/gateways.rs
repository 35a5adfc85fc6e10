//! An instance and the internet: by 1:1 translation, by the NAT gateway, over IPv6 with and without replies only.

use std::net::{IpAddr, Ipv4Addr};

use crate::lab::{
    cloud::{Cloud, Nic, nic},
    fleet::{Fleet, Site},
    inside::{Flow, Server},
    netns::Netns,
    outside::{Internet, WEB4, WEB6},
};

const ELASTIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 110);
const OTHER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 111);
const NAT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 105);

/// A host with instances, and an edge node with one too; the internet behind it.
struct Setup {
    // The instances go first: an interface goes back to no daemon.
    public: Netns,
    private: Netns,
    other: Netns,
    internet: Internet,
    fleet: Fleet,
}

/// In the public subnet with an Elastic IP address; in the private one; and at the edge node, public too.
fn nics() -> [Nic; 3] {
    [nic([1, 1, 10], "host-a", "vm0"), nic([1, 2, 10], "host-a", "vm1"), nic([1, 1, 11], "edge-1", "vm2")]
}

fn cloud() -> Cloud {
    let [public, _, other] = &nics();
    let edges = &["edge-1"];
    Cloud::new(&["host-a", "edge-1"], &nics())
        .internet_gateway(1, edges)
        .egress_only_gateway(1, edges)
        .nat_gateway([1, 1], &NAT.to_string(), edges)
        .elastic(&ELASTIC.to_string(), public)
        .elastic(&OTHER.to_string(), other)
        .routes("rtb-main", 1, &["main"], &[])
        .routes("rtb-public", 1, &["subnet-1-1"], &[("0.0.0.0/0", "igw-1"), ("::/0", "igw-1")])
        .routes("rtb-private", 1, &["subnet-1-2"], &[("0.0.0.0/0", "nat-1"), ("::/0", "eigw-1")])
}

impl Setup {
    fn new() -> Self {
        Self::with(Site::new("host-a").instances(&["vm0", "vm1"]))
    }

    fn with(host: Site) -> Self {
        let fleet = Fleet::start(&cloud(), vec![host, Site::new("edge-1").instances(&["vm2"]).edge(1)]);
        let internet = Internet::new(&fleet);
        let [public, private, other] = nics().map(|nic| fleet.instance(&nic));
        Self { public, private, other, internet, fleet }
    }

    fn edge_drops(&self, port: &str, reason: &str) -> u64 {
        self.fleet.node("edge-1").daemon.drops(port, reason)
    }
}

/// The address that a web server at the other end sees.
#[track_caller]
fn seen(client: &Netns, server: impl Into<IpAddr>) -> IpAddr {
    let url = match server.into() {
        IpAddr::V4(address) => format!("http://{address}/"),
        IpAddr::V6(address) => format!("http://[{address}]/"),
    };
    let page = client.run("curl", "curl", &format!("-sSg --max-time 10 {url}")).ok();
    page.parse().unwrap_or_else(|_| panic!("{page}"))
}

/// GW-1, GW-3, GW-5, GW-7: out and in by one public address, also between instances.
#[test]
fn gw_1_gw_3_gw_5_an_elastic_ip_address_leads_out_in_and_back() {
    let setup = Setup::new();
    assert_eq!(seen(&setup.public, WEB4), ELASTIC);
    assert_eq!(seen(&setup.other, WEB4), OTHER);
    setup.public.ping("-c 3 -i 0.05", WEB4).all();
    // From outside, to a server in the instance.
    let _server = Server::start(&setup.public);
    let outside: IpAddr = Ipv4Addr::new(198, 51, 100, 254).into();
    assert_eq!(seen(&setup.internet.namespace, ELASTIC), outside);
    setup.internet.namespace.ping("-c 3 -i 0.05", ELASTIC).all();
    // GW-5: hairpin, each sees the other's public address.
    assert_eq!(seen(&setup.other, ELASTIC), OTHER);
    println!(
        "1:1: the web server saw {ELASTIC}; a client outside and another instance reach the instance by it"
    );
}

/// GW-10, GW-14, GW-20: many behind one address, and nobody in by it.
#[test]
fn gw_10_gw_14_a_private_subnet_reaches_the_internet_through_the_nat_gateway() {
    let setup = Setup::new();
    assert_eq!(seen(&setup.private, WEB4), NAT);
    setup.private.ping("-c 3 -i 0.05", WEB4).all();
    let mut flow = Flow::open(&setup.private, WEB4).unwrap();
    assert_eq!(flow.seen.ip(), NAT);
    assert!(flow.seen.port() >= 1024, "{}", flow.seen);
    // What nobody asked for.
    let before = setup.edge_drops("wan", "nat_no_state");
    setup.internet.namespace.ping("-c 2 -i 0.05", NAT).none();
    assert!(setup.edge_drops("wan", "nat_no_state") >= before + 2);
    assert!(flow.lives());
    println!("NAT gateway: the web server saw {}", flow.seen);
}

/// GW-6, GW-21: IPv6 has no translation; through the egress-only gateway come replies only.
#[test]
fn gw_6_gw_21_ipv6_passes_untranslated_and_egress_only_lets_replies_in() {
    let setup = Setup::new();
    let [public, private, _] = nics();
    assert_eq!(seen(&setup.public, WEB6), public.v6());
    let _server = Server::start(&setup.public);
    assert_eq!(seen(&setup.internet.namespace, public.v6()), "2001:db8:ffff::fe".parse::<IpAddr>().unwrap());

    assert_eq!(seen(&setup.private, WEB6), private.v6());
    setup.private.ping("-c 3 -i 0.05", WEB6).all();
    let before = setup.edge_drops("wan", "eigw_unsolicited");
    setup.internet.namespace.ping("-c 2 -i 0.05", private.v6()).none();
    let refused = setup.edge_drops("wan", "eigw_unsolicited") - before;
    assert!(refused >= 2, "{refused}");
    println!(
        "IPv6: the web server saw {} and {}; {refused} unsolicited were refused",
        public.v6(),
        private.v6()
    );
}

/// MTU-3, MTU-4: more than 1500 bytes do not leave; the subnet's router says so.
#[test]
fn mtu_3_mtu_4_a_long_packet_to_the_internet_is_told_1500() {
    let setup = Setup::with(Site::new("host-a").jumbo("vm0").instances(&["vm1"]));
    setup.public.ip("link set eth0 mtu 9001");
    let ping = setup.public.run("ping", "iputils-ping", &format!("-n -c 2 -i 0.2 -W 1 -M do -s 3000 {WEB4}"));
    assert!(
        ping.out.contains("From 10.1.1.1 ") && ping.out.contains("(mtu = 1500)"),
        "{}{}",
        ping.out,
        ping.err
    );
    let path = setup.public.run("tracepath", "iputils-tracepath", &format!("-n {WEB4}")).ok();
    assert!(path.contains("pmtu 1500") && path.contains("reached"), "{path}");
    // Without DF it leaves in fragments.
    setup.public.ping("-c 2 -i 0.1 -M dont -s 3000", WEB4).all();
    setup.public.ip("route flush cache");
    assert_eq!(seen(&setup.public, WEB4), ELASTIC);
    let path6 = setup.public.run("tracepath", "iputils-tracepath", &format!("-n {WEB6}")).ok();
    assert!(path6.contains("pmtu 1500"), "{path6}");
    println!("{path}{path6}");
}
