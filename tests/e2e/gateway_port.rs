//! A gateway port: an instance and the internet, by ARP and neighbour discovery on the port's link.

use serde_json::json;
use tempfile::TempDir;

use crate::lab::{
    daemon::Daemon,
    host_file,
    netns::{Netns, instance},
    setup::ONE_WORKER,
    state::{UNDERLAY, here, state, write},
    wait_for,
};

/// GW-1, GW-2, GW-8: behind the port is a Linux router that knows of the node only its public prefix and its link.
#[test]
fn gw_1_an_instance_and_the_internet_reach_each_other_over_a_gateway_port() {
    let (node, internet, folder) = (Netns::new("node"), Netns::new("internet"), TempDir::new().unwrap());
    node.ip("link add out type veth peer name eth0");
    node.ip("link set out up");
    node.no_offloads("out");
    node.ip(&format!("link set eth0 netns {}", internet.name));
    internet.no_offloads("eth0");
    internet.ip("addr add 198.51.100.254/24 dev eth0");
    internet.ip("addr add 2001:db8:f::fe/64 dev eth0 nodad");
    internet.ip("link set eth0 up");
    internet.ip("addr add 203.0.113.7/32 dev lo");
    internet.ip("addr add 2001:db8:ffff::7/128 dev lo nodad");
    internet.ip("route add 192.0.2.128/25 via 198.51.100.1");
    internet.ip("-6 route add 2001:db8:b1::/56 via 2001:db8:f::1");
    let eni = here('a', 10, "vm0");
    let ports = "[[port]]\nname = \"vm0\"\nrole = \"instance\"\ndevice = \"net_tap0,iface=vm0\"\n\
         [[port]]\nname = \"out\"\nrole = \"gateway\"\ndevice = \"net_af_packet1,iface=out\"\nmac = \"02:00:00:00:ff:01\"\n\
         addresses = [\"198.51.100.1/24\", \"2001:db8:f::1/64\"]\n\
         next_hops = [\"198.51.100.254\", \"2001:db8:f::fe\"]\n";
    host_file(folder.path(), ONE_WORKER, ports);
    let mut state = state(std::slice::from_ref(&eni), UNDERLAY);
    state["InternetGateways"] = json!([{
        "InternetGatewayId": "igw-1", "Attachments": [{"VpcId": "vpc-blue", "State": "available"}],
    }]);
    // One address on the port's own link, which the node answers for; later one that is routed to it.
    state["Addresses"] = json!([{
        "PublicIp": "198.51.100.10", "AllocationId": "eipalloc-1",
        "NetworkInterfaceId": eni.id(), "PrivateIpAddress": eni.v4(),
    }]);
    let routes = state["RouteTables"][0]["Routes"].as_array_mut().unwrap();
    routes.push(json!({"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-1"}));
    routes.push(json!({"DestinationIpv6CidrBlock": "::/0", "GatewayId": "igw-1"}));
    state["Warren"]["Gateways"] = json!([{"GatewayId": "igw-1", "Hosts": ["host-a"]}]);
    write(folder.path(), &state);
    let daemon = Daemon::start(Some(&node), folder.path());
    let guest = instance(&node, "vm0", &eni);
    let gateways = daemon.show("gateways");
    assert_eq!(gateways[0]["gateway"], "igw-1");
    assert_eq!(gateways[0]["shares"], "64/64");
    assert!(daemon.show("ports").iter().any(|port| port["role"] == "gateway"));
    let reaches = |from: &Netns, to: &str| {
        let to: std::net::IpAddr = to.parse().unwrap();
        wait_for(&format!("{to} answers"), || from.ping("-c 1", to).received == 1);
        from.ping("-c 5 -i 0.2", to).all();
    };
    // To the next hop and beyond, and to the neighbour itself.
    for outside in ["203.0.113.7", "198.51.100.254", "2001:db8:ffff::7", "2001:db8:f::fe"] {
        reaches(&guest, outside);
    }
    // In: the router asks the link for the public address.
    internet.ip("neigh flush all");
    for inside in ["198.51.100.10".into(), eni.v6().to_string()] {
        reaches(&internet, &inside);
    }
    let asked = internet.ip("neigh show 198.51.100.10");
    assert!(asked.contains("02:00:00:00:ff:01"), "{asked}");
    state["Addresses"][0]["PublicIp"] = json!("192.0.2.130");
    daemon.apply(&write(folder.path(), &state)).ok();
    reaches(&internet, "192.0.2.130");
    reaches(&guest, "203.0.113.7");
}
