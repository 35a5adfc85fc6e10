//! A Connect attachment of a transit gateway: an appliance's routes come by BGP inside a GRE tunnel, and so do the packets.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::lab::{
    cloud::{Cloud, Nic, nic},
    fleet::{Fleet, Site},
    frr::{Program, Routers},
    gre,
    listen::Listener,
    netns::Netns,
    vlans,
};

/// An address in 192.168.0.0/16, which the appliance announces.
const OFFICE: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
/// The outer addresses of the tunnel: Warren's and the appliance's.
const OUTER: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 77), Ipv4Addr::new(198, 51, 100, 9)];
/// The VLAN that carries it.
const VLAN: (&str, u16) = ("transport", 30);

/// VPC 0, so that it has the block that `configs/frr/connect.conf` announces.
fn inside() -> Nic {
    nic([0, 1, 10], "host-a", "vm0")
}

fn cloud() -> Cloud {
    let attachments =
        |ids: &[&str]| -> Value { ids.iter().map(|id| json!({"TransitGatewayAttachmentId": id})).collect() };
    let both = attachments(&["tgw-attach-0", "tgw-attach-gre"]);
    Cloud::new(&["host-a", "edge-1"], &[inside()])
        .with("TransitGateways", json!({"TransitGatewayId": "tgw-1", "State": "available"}))
        .attached([0, 1])
        .with("TransitGatewayConnects", json!({
            "TransitGatewayAttachmentId": "tgw-attach-gre", "TransitGatewayId": "tgw-1", "State": "available",
            "TransportTransitGatewayAttachmentId": "tgw-attach-0", "Options": {"Protocol": "gre"},
        }))
        .with("TransitGatewayConnectPeers", json!({
            "TransitGatewayConnectPeerId": "tgw-connect-peer-1", "TransitGatewayAttachmentId": "tgw-attach-gre",
            "State": "available",
            "ConnectPeerConfiguration": {
                "TransitGatewayAddress": OUTER[0], "PeerAddress": OUTER[1], "InsideCidrBlocks": ["169.254.6.0/29"],
                "BgpConfigurations": [{"TransitGatewayAddress": "169.254.6.2", "PeerAddress": "169.254.6.1"}],
            },
        }))
        .with("TransitGatewayRouteTables", json!({
            "TransitGatewayRouteTableId": "tgw-rtb-1", "TransitGatewayId": "tgw-1", "State": "available",
            "Associations": both, "TransitGatewayRouteTablePropagations": both,
        }))
        .routes("rtb-main", 0, &["main"], &[("192.168.0.0/16", "tgw-1")])
        .served("tgw-1", &["edge-1"])
        .with_warren("Circuits", json!({
            "ResourceId": "tgw-attach-gre", "HostId": "edge-1", "Port": "dx", "Vlan": VLAN.1,
            "Address": "169.254.30.1/30", "PeerAddress": "169.254.30.2",
        }))
}

/// One end of the link and of the tunnel over it: the routing daemon's or the appliance's.
fn end(namespace: &Netns, trunk: &str, number: usize, mac: Option<&str>) -> [Program; 2] {
    let (link, _) = VLAN;
    namespace.ip(&format!("link set {trunk} addrgenmode none up"));
    let vlan = vlans::start(namespace, trunk, &[VLAN]);
    if let Some(mac) = mac {
        namespace.ip(&format!("link set {link} address {mac}"));
    }
    let [here, there] = if number == 1 { OUTER } else { [OUTER[1], OUTER[0]] };
    namespace.ip(&format!("addr add 169.254.30.{number}/30 dev {link}"));
    namespace.ip(&format!("link set {link} up"));
    namespace.ip(&format!("addr add {here}/32 dev lo"));
    namespace.ip(&format!("route add {there} via 169.254.30.{}", 3 - number));
    let tunnel = gre::start(namespace, "gre1", [here, there]);
    // In the tunnel, the appliance has the first address (PT-20).
    namespace.ip(&format!("addr add 169.254.6.{}/29 dev gre1", 3 - number));
    namespace.ip("link set gre1 mtu 1476 up");
    [vlan, tunnel]
}

/// PT-20: instances reach what an appliance announces inside the tunnel, and are reached from there; nothing of it goes beside the
/// tunnel; what is too long for it, its sender hears; what is withdrawn is gone.
#[test]
fn pt_20_a_connect_attachment_carries_routes_and_packets_in_gre() {
    // FRR's namespace is there before Warren, which listens in it.
    let (frr, appliance) = (Netns::new("frr"), Netns::new("appliance"));
    let fleet = Fleet::start(
        &cloud(),
        vec![
            Site::new("host-a").instances(&["vm0"]).follows(),
            Site::new("edge-1").circuits("dx", "dxctl").bgp("tgw-attach-gre", &frr, 2620),
        ],
    );
    let edge = &fleet.node("edge-1").namespace;
    let mac = edge.mac("dx");
    for (namespace, trunk) in [(&frr, "dxctl"), (&appliance, "dx")] {
        edge.ip(&format!("link set {trunk} netns {}", namespace.name));
    }
    // FRR speaks as the gateway port.
    let _ends = [end(&frr, "dxctl", 1, Some(&mac)), end(&appliance, "dx", 2, None)];
    for setting in ["ip_forward=1", "conf.all.rp_filter=0", "conf.default.rp_filter=0"] {
        appliance.sysctl(&format!("net.ipv4.{setting}"));
    }
    appliance.ip(&format!("addr add {OFFICE}/32 dev lo"));
    let instance = fleet.instance(&inside());
    let beside = Listener::start(&appliance, VLAN.0, "icmp");
    let within = Listener::start(&appliance, VLAN.0, &format!("proto 47 and src host {}", OUTER[0]));
    let routers = Routers::start(&frr, &appliance, "connect.conf");

    routers.wait("the office answers", || instance.ping("-c 1", OFFICE).received == 1);
    appliance.ping(&format!("-c 3 -i 0.05 -I {OFFICE}"), inside().v4()).all();
    assert!(within.count() >= 4);
    let routes = fleet.node("host-a").daemon.show("routes");
    let learned = routes.iter().filter(|row| row["origin"] == "propagated by tgw-attach-gre");
    let destinations: Vec<_> = learned.map(|row| row["destination"].as_str().unwrap()).collect();
    assert_eq!(destinations, ["172.16.0.0/12", "192.168.0.0/16"]);

    // The tunnel takes 24 bytes: 20 of the outer header, 4 of its own.
    instance.ping("-c 3 -i 0.05 -M do -s 1448", OFFICE).all();
    let told = instance.run("ping", "iputils-ping", &format!("-c 2 -i 0.2 -W 1 -M do -s 1449 {OFFICE}"));
    assert!(told.out.contains("mtu = 1476") || told.err.contains("mtu=1476"), "{}{}", told.out, told.err);
    assert_eq!(beside.count(), 0);

    routers.birdc("disable office");
    let node = &fleet.node("host-a").daemon;
    routers.wait("no route to the office", || {
        instance.ping("-c 1 -W 0.2", OFFICE);
        node.drops("vm0", "no_route") > 0
    });
    routers.birdc("enable office");
    routers.wait("the office answers again", || instance.ping("-c 1 -W 0.2", OFFICE).received == 1);
}
