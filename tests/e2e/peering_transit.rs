//! VPCs that reach each other, and some that don't: peerings, and a transit gateway between spokes and an egress VPC.

use std::net::{IpAddr, Ipv4Addr};

use crate::lab::{
    cloud::{Cloud, Nic, nic},
    fleet::{Fleet, Site},
    inside::Flow,
    netns::Netns,
    outside::{Internet, WEB4},
};

/// One interface in each of three VPCs, on two hosts.
fn nics() -> [Nic; 3] {
    [nic([1, 1, 10], "host-a", "vm0"), nic([2, 1, 10], "host-b", "vm2"), nic([3, 1, 10], "host-a", "vm1")]
}

/// Host-b is an edge node where there is a way to the internet.
fn fleet(cloud: &Cloud, edge: bool) -> (Fleet, [Netns; 3]) {
    let host_b = Site::new("host-b").instances(&["vm2"]);
    let host_b = if edge { host_b.edge(1) } else { host_b };
    let fleet = Fleet::start(cloud, vec![Site::new("host-a").instances(&["vm0", "vm1"]), host_b]);
    let guests = nics().map(|nic| fleet.instance(&nic));
    (fleet, guests)
}

/// PT-1, PT-2: 1-2 and 2-3 are peered, 1 and 3 are not, whatever the routes say.
#[test]
fn pt_1_pt_2_peering_delivers_directly_and_not_transitively() {
    let cloud = Cloud::new(&["host-a", "host-b"], &nics())
        .peering(1, 2)
        .peering(2, 3)
        .routes(
            "rtb-1",
            1,
            &["main"],
            &[("10.2.0.0/16", "pcx-1-2"), ("10.3.0.0/16", "pcx-1-2"), ("2001:db8:b2::/56", "pcx-1-2")],
        )
        .routes(
            "rtb-2",
            2,
            &["main"],
            &[("10.1.0.0/16", "pcx-1-2"), ("10.3.0.0/16", "pcx-2-3"), ("2001:db8:b1::/56", "pcx-1-2")],
        )
        .routes("rtb-3", 3, &["main"], &[("10.2.0.0/16", "pcx-2-3"), ("10.1.0.0/16", "pcx-2-3")]);
    let (fleet, [one, two, three]) = fleet(&cloud, false);
    let [_, to_two, to_three] = nics();
    // TTL 1: no router lowers it.
    one.ping("-c 3 -i 0.05 -t 1", to_two.v4()).all();
    one.ping("-c 3 -i 0.05", to_two.v6()).all();
    three.ping("-c 3 -i 0.05", to_two.v4()).all();
    two.ping("-c 3 -i 0.05", to_three.v4()).all();
    one.ping("-c 3 -i 0.05", to_three.v4()).none();
    let transit = fleet.node("host-a").daemon.drops("vm0", "peer_transit");
    assert_eq!(transit, 3);
    println!("1-2 and 2-3 answer; 1-3 by way of 2: {transit} dropped (peer_transit)");
}

/// PT-6: without a way back nothing comes back.
#[test]
fn pt_6_a_one_sided_peering_route_is_one_way() {
    let cloud = Cloud::new(&["host-a", "host-b"], &nics()).peering(1, 2).routes(
        "rtb-1",
        1,
        &["main"],
        &[("10.2.0.0/16", "pcx-1-2")],
    );
    let (fleet, [one, _two, _three]) = fleet(&cloud, false);
    one.ping("-c 3 -i 0.05", nics()[1].v4()).none();
    assert_eq!(fleet.node("host-b").daemon.drops("vm2", "no_route"), 3);
}

/// PT-10, PT-11, PT-13, PT-16, GW-16: spokes 1 and 2 reach what is shared, in VPC 3, not each other; and the internet by its NAT
/// gateway.
#[test]
fn pt_11_pt_16_spokes_reach_the_hub_and_the_internet_through_it_but_not_each_other() {
    let nat = Ipv4Addr::new(198, 51, 100, 105);
    let cloud = Cloud::new(&["host-a", "host-b"], &nics())
        .with("TransitGateways", serde_json::json!({"TransitGatewayId": "tgw-1", "State": "available"}))
        // The attachment's and the NAT gateway's subnets.
        .subnet(3, 2)
        .subnet(3, 3)
        .attached([1, 1])
        .attached([2, 1])
        .attached([3, 2])
        .transit_table(
            "tgw-rtb-spokes",
            &[1, 2],
            &[3],
            &[("0.0.0.0/0", Some(3)), ("10.1.0.0/16", None), ("10.2.0.0/16", None)],
        )
        .transit_table("tgw-rtb-hub", &[3], &[1, 2], &[])
        .internet_gateway(3, &["host-b"])
        .nat_gateway([3, 3], &nat.to_string(), &["host-b"])
        .routes("rtb-1", 1, &["main"], &[("0.0.0.0/0", "tgw-1")])
        .routes("rtb-2", 2, &["main"], &[("0.0.0.0/0", "tgw-1")])
        .routes("rtb-3", 3, &["main"], &[("10.1.0.0/16", "tgw-1"), ("10.2.0.0/16", "tgw-1")])
        .routes("rtb-attachment", 3, &["subnet-3-2"], &[("0.0.0.0/0", "nat-3")])
        .routes(
            "rtb-nat",
            3,
            &["subnet-3-3"],
            &[("0.0.0.0/0", "igw-3"), ("10.1.0.0/16", "tgw-1"), ("10.2.0.0/16", "tgw-1")],
        );
    let (fleet, [one, two, three]) = fleet(&cloud, true);
    let internet = Internet::new(&fleet);
    let [to_one, to_two, to_three] = nics();
    one.ping("-c 3 -i 0.05", to_three.v4()).all();
    two.ping("-c 3 -i 0.05", to_three.v4()).all();
    three.ping("-c 3 -i 0.05", to_one.v4()).all();
    one.ping("-c 3 -i 0.05", to_two.v4()).none();
    let blackhole = fleet.node("host-a").daemon.drops("vm0", "tgw_blackhole");
    assert_eq!(blackhole, 3);
    // Out by the hub, from both hosts.
    for spoke in [&one, &two] {
        let mut flow = Flow::open(spoke, WEB4).unwrap();
        assert_eq!(flow.seen.ip(), IpAddr::from(nat));
        assert!(flow.lives());
    }
    one.ping("-c 3 -i 0.05", WEB4).all();
    println!(
        "spokes reach the hub; each other: {blackhole} dropped (tgw_blackhole); the web server saw {nat}"
    );
    drop(internet);
}
