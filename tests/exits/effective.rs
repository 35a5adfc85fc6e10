//! The effective routes of VPCs' route tables.

use std::net::IpAddr;

use warren::{
    compile::{Effective, Ends, Learned, LearnedTable, MOST_PROPAGATED, Origin, State, effective},
    model::{Destination, Model, Route, Target},
    tables::{CircuitSet, Fib},
};

use crate::world::{model, net};

/// What vgw-v has learned over its first circuit.
fn learned(model: &Model, gateway: &str, prefixes: impl IntoIterator<Item = ipnet::IpNet>) -> Learned {
    let table = LearnedTable {
        routes: Fib::new(prefixes.into_iter().map(|prefix| (prefix, CircuitSet(1)))),
        ..LearnedTable::new(&Ends::new(model), gateway)
    };
    Learned { gateways: [(gateway.into(), table)].into_iter().collect() }
}

fn routes(model: &Model, learned: &Learned, table: &str) -> Vec<Effective> {
    effective(model, learned, &model.route_tables[table])
}

/// The routes for a destination, each as `target origin state`.
fn for_destination(routes: &[Effective], destination: &str) -> Vec<String> {
    let of = routes.iter().filter(|route| route.destination == net(destination));
    of.map(|route| {
        let state = match &route.state {
            State::Active => "active".to_owned(),
            State::Blackhole(why) => format!("blackhole: {why}"),
            State::Unused(why) => format!("unused: {why}"),
        };
        format!("{} {} {state}", route.target, route.origin)
    })
    .collect()
}

#[track_caller]
fn check(model: &Model, table: &str, destination: &str, expected: &[&str]) {
    let found = for_destination(&routes(model, &Learned::default(), table), destination);
    assert_eq!(found, expected, "{destination} in {table}");
}

fn add(model: &mut Model, table: &str, destination: Destination, target: Target) {
    model.route_tables.get_mut(table).unwrap().routes.push(Route { destination, target });
}

#[test]
fn rt_2_the_blocks_of_the_vpc_are_local() {
    check(&model(), "rtb-v", "10.0.0.0/16", &["local local active"]);
    check(&model(), "rtb-v", "2001:db8:0:100::/56", &["local local active"]);
}

#[test]
fn rt_4_static_then_prefix_list_then_propagated() {
    let mut model = model();
    add(&mut model, "rtb-v", Destination::Block(net("172.16.0.0/16")), Target::Nat("nat-v".into()));
    let learned = learned(&model, "vgw-v", ["172.16.0.0/16", "172.18.0.0/16", "172.19.0.0/16"].map(net));
    let routes = routes(&model, &learned, "rtb-v");
    assert_eq!(
        for_destination(&routes, "172.16.0.0/16"),
        [
            "nat-v static active",
            "vpce-1 prefix list pl-1 unused: static wins (RT-4)",
            "vgw-v propagated by vgw-v unused: static wins (RT-4)",
        ]
    );
    assert_eq!(
        for_destination(&routes, "172.18.0.0/16"),
        ["tgw-1 prefix list pl-2 active", "vgw-v propagated by vgw-v unused: prefix list pl-2 wins (RT-4)",]
    );
    assert_eq!(for_destination(&routes, "172.19.0.0/16"), ["vgw-v propagated by vgw-v active"]);
}

#[test]
fn rt_15_of_overlapping_prefix_lists_the_least_id() {
    check(
        &model(),
        "rtb-v",
        "172.17.0.0/16",
        &["vpce-1 prefix list pl-1 active", "tgw-1 prefix list pl-2 unused: prefix list pl-1 wins (RT-4)"],
    );
}

#[test]
fn rt_5_and_6_propagated_routes_inside_the_vpc_are_never_used_and_wider_ones_are() {
    let model = model();
    let learned = learned(&model, "vgw-v", ["10.0.2.0/24", "10.0.0.0/16", "10.0.0.0/8"].map(net));
    let routes = routes(&model, &learned, "rtb-v");
    let inside = "vgw-v propagated by vgw-v unused: inside the VPC, where its own routes win (RT-5)";
    assert_eq!(for_destination(&routes, "10.0.2.0/24"), [inside]);
    assert_eq!(for_destination(&routes, "10.0.0.0/16"), ["local local active", inside]);
    assert_eq!(for_destination(&routes, "10.0.0.0/8"), ["vgw-v propagated by vgw-v active"]);
}

/// RT-12, in each way that a target can fail.
#[test]
fn rt_12_a_target_that_is_gone_makes_a_blackhole() {
    type Failure = (&'static str, &'static str, fn(&mut Model), &'static str);
    let cases: [Failure; 14] = [
        (
            "rtb-v",
            "198.51.100.0/24",
            |m| m.enis.get_mut("eni-fw").unwrap().attachment = None,
            "eni-fw static blackhole: eni-fw is attached to no host",
        ),
        (
            "rtb-v",
            "198.51.100.0/24",
            |m| drop(m.enis.remove("eni-fw")),
            "eni-fw static blackhole: eni-fw is gone",
        ),
        (
            "rtb-f",
            "0.0.0.0/0",
            |m| m.internet_gateways.get_mut("igw-v").unwrap().vpc = None,
            "igw-v static blackhole: igw-v is not attached to vpc-v",
        ),
        (
            "rtb-f",
            "0.0.0.0/0",
            |m| drop(m.internet_gateways.remove("igw-v")),
            "igw-v static blackhole: igw-v is gone",
        ),
        (
            "rtb-f",
            "0.0.0.0/0",
            |m| drop(m.edges.remove("igw-v")),
            "igw-v static blackhole: no host of Warren.Gateways serves igw-v",
        ),
        (
            "rtb-v",
            "0.0.0.0/0",
            |m| drop(m.nat_gateways.remove("nat-v")),
            "nat-v static blackhole: nat-v is gone",
        ),
        (
            "rtb-v",
            "0.0.0.0/0",
            |m| m.edges.get_mut("nat-v").unwrap().hosts.clear(),
            "nat-v static blackhole: no host of Warren.Gateways serves nat-v",
        ),
        (
            "rtb-v",
            "::/0",
            |m| drop(m.egress_only_gateways.remove("eigw-v")),
            "eigw-v static blackhole: eigw-v is gone",
        ),
        (
            "rtb-v",
            "10.1.0.0/16",
            |m| m.peerings.get_mut("pcx-vw").unwrap().active = false,
            "pcx-vw static blackhole: pcx-vw is not active",
        ),
        (
            "rtb-v",
            "10.1.0.0/16",
            |m| drop(m.peerings.remove("pcx-vw")),
            "pcx-vw static blackhole: pcx-vw is gone",
        ),
        (
            "rtb-v",
            "10.1.0.0/16",
            |m| m.peerings.get_mut("pcx-vw").unwrap().accepter = "vpc-far".into(),
            "pcx-vw static blackhole: vpc-far is not in the state",
        ),
        (
            "rtb-v",
            "10.2.0.0/16",
            |m| m.transit_attachments.get_mut("att-v").unwrap().available = false,
            "tgw-1 static blackhole: att-v is not available",
        ),
        (
            "rtb-v",
            "10.2.0.0/16",
            |m| drop(m.transit_attachments.remove("att-v")),
            "tgw-1 static blackhole: vpc-v is not attached to tgw-1",
        ),
        (
            "rtb-v",
            "172.16.0.0/16",
            |m| drop(m.endpoints.remove("vpce-1")),
            "vpce-1 prefix list pl-1 blackhole: vpce-1 is gone",
        ),
    ];
    for (table, destination, fail, expected) in cases {
        let mut model = model();
        fail(&mut model);
        check(&model, table, destination, &[expected]);
    }
}

/// RT-12: a static blackhole hides the propagated route for the same destination.
#[test]
fn rt_12_a_blackhole_does_not_fall_through() {
    let mut model = model();
    model.nat_gateways.remove("nat-v");
    let learned = learned(&model, "vgw-v", [net("0.0.0.0/0")]);
    assert_eq!(
        for_destination(&routes(&model, &learned, "rtb-v"), "0.0.0.0/0"),
        ["nat-v static blackhole: nat-v is gone", "vgw-v propagated by vgw-v unused: static wins (RT-4)",]
    );
}

/// BGP-6: a hundred, and always the same, whatever the order they came in.
#[test]
fn bgp_6_at_most_a_hundred_propagated_routes() {
    let model = model();
    let prefixes: Vec<_> = (0..=255u8).map(|low| net(&format!("172.30.{low}.0/24"))).collect();
    let in_order = routes(&model, &learned(&model, "vgw-v", prefixes.iter().copied()), "rtb-v");
    let propagated: Vec<_> =
        in_order.iter().filter(|route| matches!(route.origin, Origin::Propagated(_))).collect();
    let active = propagated.iter().filter(|route| route.state == State::Active).count();
    // 192.168.0.0/16 of vpn-v's static routes is behind the others.
    assert_eq!((propagated.len(), active), (257, MOST_PROPAGATED));
    let backwards = routes(&model, &learned(&model, "vgw-v", prefixes.iter().rev().copied()), "rtb-v");
    assert_eq!(in_order, backwards);
    assert_eq!(
        for_destination(&in_order, "172.30.100.0/24"),
        ["vgw-v propagated by vgw-v unused: more than 100 propagated routes (BGP-6)"]
    );
}

#[test]
fn bgp_7_a_virtual_private_gateway_propagates_no_ipv6() {
    let model = model();
    let learned = learned(&model, "vgw-v", [net("2001:db8:9::/48")]);
    assert_eq!(
        for_destination(&routes(&model, &learned, "rtb-v"), "2001:db8:9::/48"),
        ["vgw-v propagated by vgw-v unused: virtual private gateways carry no IPv6 (BGP-7)"]
    );
}

/// BGP-1, BGP-9: routes are propagated where the table asks for it, by a gateway that is attached, over tunnels that are up.
#[test]
fn bgp_1_and_9_propagated_while_the_tables_ask_and_a_tunnel_is_up() {
    let up = "vgw-v propagated by vgw-v active";
    check(&model(), "rtb-v", "192.168.0.0/16", &[up]);
    check(&model(), "rtb-f", "192.168.0.0/16", &[]);
    let mut model = model();
    let tunnels = |model: &mut Model, up| model.vpn_connections.get_mut("vpn-v").unwrap().tunnels_up = up;
    tunnels(&mut model, [false, true]);
    check(&model, "rtb-v", "192.168.0.0/16", &[up]);
    tunnels(&mut model, [false; 2]);
    check(&model, "rtb-v", "192.168.0.0/16", &[]);
    tunnels(&mut model, [true; 2]);
    model.vpn_gateways.get_mut("vgw-v").unwrap().vpc = None;
    check(&model, "rtb-v", "192.168.0.0/16", &[]);
}

/// ING-3, ING-4.
#[test]
fn ing_3_and_4_what_a_gateway_route_table_may_not_lead_to() {
    check(&model(), "rtb-in", "10.0.1.0/24", &["eni-fw static active"]);
    let private = "eni-fw static blackhole: it is attached to no host, or has no public IPv4 address (ING-4)";
    let mut model = model();
    model.public_addresses.remove("203.0.113.10");
    check(&model, "rtb-in", "10.0.1.0/24", &[private]);
    // Of a virtual private gateway it may be without.
    model.route_tables.get_mut("rtb-in").unwrap().gateway = Some("vgw-v".into());
    check(&model, "rtb-in", "10.0.1.0/24", &["eni-fw static active"]);
    add(&mut model, "rtb-in", Destination::Block(net("10.0.2.0/24")), Target::Endpoint("vpce-1".into()));
    let found = for_destination(&routes(&model, &Learned::default(), "rtb-in"), "10.0.2.0/24");
    assert!(found[0].contains("(ING-3)"), "{found:?}");
}

/// The route of the longest prefix that is in force (RT-3, RT-16), found the slow way.
pub(crate) fn naive(routes: &[Effective], address: IpAddr) -> Option<&Effective> {
    let matches =
        |route: &&Effective| route.destination.contains(&address) && !matches!(route.state, State::Unused(_));
    routes.iter().filter(matches).max_by_key(|route| route.destination.prefix_len())
}
