//! Appliances behind a Gateway Load Balancer endpoint, between instances and the internet: programs that speak Geneve.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use serde_json::json;
use tempfile::TempDir;

use crate::lab::{
    cloud::{Cloud, Nic, nic},
    fleet::{Fleet, Site},
    frr::Program,
    netns::Netns,
    outside::{Internet, WEB4, WEB6},
    tool, wait_for,
};

const ELASTIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 110);
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/lab/bouncer.py");

/// The instance; and two appliances in another VPC, at a host of their own and at the edge node.
fn nics() -> [Nic; 3] {
    [nic([1, 1, 10], "host-a", "vm0"), nic([2, 1, 10], "host-b", "vm1"), nic([2, 1, 11], "edge-1", "vm2")]
}

/// Both ways between the instance's subnet and the internet lead to the endpoint in a subnet of its own.
fn cloud(appliances: &[&Nic]) -> Cloud {
    let ids: Vec<String> = appliances.iter().map(|nic| nic.id()).collect();
    Cloud::new(&["host-a", "edge-1", "host-b"], &nics())
        .subnet(1, 2)
        .internet_gateway(1, &["edge-1"])
        .elastic(&ELASTIC.to_string(), &nics()[0])
        .with(
            "VpcEndpoints",
            json!({
                "VpcEndpointId": "vpce-0123456789abcdef0", "VpcEndpointType": "GatewayLoadBalancer", "VpcId": "vpc-1",
                "SubnetIds": ["subnet-1-2"],
            }),
        )
        .with_warren(
            "Appliances",
            json!({"VpcEndpointId": "vpce-0123456789abcdef0", "NetworkInterfaceIds": ids}),
        )
        .routes("rtb-main", 1, &["main"], &[])
        .routes("rtb-ingress", 1, &["igw-1"], &both("10.1.1.0/24", "2001:db8:b1:1::/64"))
        .routes("rtb-guest", 1, &["subnet-1-1"], &both("0.0.0.0/0", "::/0"))
        .routes("rtb-endpoint", 1, &["subnet-1-2"], &[("0.0.0.0/0", "igw-1"), ("::/0", "igw-1")])
        .routes("rtb-appliances", 2, &["main"], &[])
}

fn both<'a>(v4: &'a str, v6: &'a str) -> [(&'a str, &'a str); 2] {
    [v4, v6].map(|block| (block, "vpce-0123456789abcdef0"))
}

/// An appliance, and what it has seen.
struct Appliance {
    log: PathBuf,
    _program: Program,
    _namespace: Netns,
}

impl Appliance {
    fn start(fleet: &Fleet, nic: &Nic, folder: &Path) -> Self {
        let (namespace, log) = (fleet.instance(nic), folder.join(nic.id()));
        let mut command = namespace.command(tool("python3", "python3-minimal"));
        command.arg(SCRIPT).arg(&log);
        let program = Program::start(&mut command, &folder.join("errors"));
        let listens = || namespace.run("ss", "iproute2", "-lun").out.contains(":6081 ");
        wait_for("the appliance", listens);
        Self { log, _program: program, _namespace: namespace }
    }

    /// How many packets it saw from one address to another, all of them of the endpoint.
    fn saw(&self, from: impl Into<IpAddr>, to: impl Into<IpAddr>) -> usize {
        let start = format!("{} {} ", from.into(), to.into());
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        assert!(text.lines().all(|line| line.ends_with(" 123456789abcdef0")), "{text}");
        text.lines().filter(|line| line.starts_with(&start)).count()
    }

    fn all(&self) -> usize {
        fs::read_to_string(&self.log).unwrap_or_default().lines().count()
    }
}

/// The address that the web server sees.
#[track_caller]
fn seen(client: &Netns, url: &str) -> IpAddr {
    let page = client.run("curl", "curl", &format!("-sSg --max-time 10 {url}")).ok();
    page.parse().unwrap_or_else(|_| panic!("{page}"))
}

/// GW-23, ING-1, ING-3: an instance and the internet reach each other through appliances, which see both directions.
#[test]
fn gw_23_ing_3_appliances_inspect_what_an_instance_and_the_internet_say() {
    let [guest, first, second] = nics();
    let sites = vec![
        Site::new("host-a").instances(&["vm0"]),
        Site::new("edge-1").instances(&["vm2"]).edge(1),
        Site::new("host-b").instances(&["vm1"]),
    ];
    let fleet = Fleet::start(&cloud(&[&first, &second]), sites);
    let internet = Internet::new(&fleet);
    let client = fleet.instance(&guest);
    let folder = TempDir::new().unwrap();
    let [one, two] = [&first, &second].map(|nic| Appliance::start(&fleet, nic, folder.path()));

    // Twenty flows out, some of which are of each.
    for _ in 0..20 {
        assert_eq!(seen(&client, &format!("http://{WEB4}/")), ELASTIC);
    }
    for appliance in [&one, &two] {
        let (out, back) = (appliance.saw(guest.v4(), WEB4), appliance.saw(WEB4, guest.v4()));
        println!("of 20 pages an appliance saw {out} packets out and {back} back");
        // A connection has at least five and four.
        assert!(out >= 5 && back >= 4, "{out} {back}");
    }
    assert_eq!(seen(&client, &format!("http://[{WEB6}]/")), guest.v6());
    assert!(one.saw(WEB6, guest.v6()) + two.saw(WEB6, guest.v6()) >= 4);
    // In from outside, by the gateway route table.
    internet.namespace.ping("-c 5 -i 0.05", ELASTIC).all();
    let outside = Ipv4Addr::new(198, 51, 100, 254);
    let pings = [&one, &two].map(|it| (it.saw(outside, guest.v4()), it.saw(guest.v4(), outside)));
    assert!(pings == [(5, 5), (0, 0)] || pings == [(0, 0), (5, 5)], "{pings:?}");
    // Appliances carry 1500 bytes like the others, so that a segment of usual length would not fit: it is told to be shorter.
    client.ping("-c 1 -s 1400 -M do", WEB4).all();

    // One is taken out, and all flows are the other's.
    fleet.apply(&cloud(&[&second]));
    let before = (one.all(), two.all());
    for _ in 0..5 {
        assert_eq!(seen(&client, &format!("http://{WEB4}/")), ELASTIC);
    }
    assert_eq!(one.all(), before.0);
    assert!(two.all() > before.1);
    println!("an instance got its page through appliances at two hosts, then at one");
}
