//! A virtual private gateway with Direct Connect and a VPN: the routes of a router on the customer's premises (BIRD) come by
//! FRR, the packets over VLANs of a gateway port.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};

use crate::lab::{
    cloud::{Cloud, Nic, nic},
    fleet::{Fleet, Site},
    frr::{Program, Routers, relay},
    listen::Listener,
    netns::Netns,
    stream::Stream,
    vlans,
};

/// An address in 192.168.0.0/16, which all circuits lead to.
const OFFICE: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
/// An address in 172.16.0.0/12, which only the VPN leads to.
const BRANCH: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);

/// The circuits, with their VLANs, and the third octets of their addresses in 169.254.0.0/16.
const CIRCUITS: [(&str, u16); 3] = [("dx0", 10), ("dx1", 11), ("vpn0", 20)];

/// VPC 0, so that it has the block that `configs/frr/vgw.conf` announces.
fn inside() -> Nic {
    nic([0, 1, 10], "host-a", "vm0")
}

fn cloud() -> Cloud {
    let interface = |number: u16| {
        json!({
            "virtualInterfaceId": format!("dxvif-{number}"), "virtualInterfaceType": "private",
            "virtualInterfaceState": "available", "virtualGatewayId": "vgw-0", "vlan": 10 + number,
            "amazonAddress": format!("169.254.{}.1/30", 10 + number),
            "customerAddress": format!("169.254.{}.2/30", 10 + number),
        })
    };
    let circuit = |resource: &str| json!({"ResourceId": resource, "HostId": "edge-1", "Port": "dx"});
    let tunnel = json!({
        "ResourceId": "vpn-1", "Tunnel": 0, "HostId": "edge-1", "Port": "dx", "Vlan": 20,
        "Address": "169.254.20.1/30", "PeerAddress": "169.254.20.2",
    });
    let attached: Value = json!([{"VpcId": "vpc-0", "State": "attached"}]);
    let mut cloud = Cloud::new(&["host-a", "edge-1"], &[inside()])
        .with(
            "VpnGateways",
            json!({"VpnGatewayId": "vgw-0", "State": "available", "VpcAttachments": attached}),
        )
        .with("virtualInterfaces", interface(0))
        .with("virtualInterfaces", interface(1))
        .with(
            "VpnConnections",
            json!({
                "VpnConnectionId": "vpn-1", "VpnGatewayId": "vgw-0", "State": "available",
                "Options": {"StaticRoutesOnly": false},
            }),
        )
        .served("vgw-0", &["edge-1"])
        .with_warren("Circuits", circuit("dxvif-0"))
        .with_warren("Circuits", circuit("dxvif-1"))
        .with_warren("Circuits", tunnel)
        .routes("rtb-main", 0, &["main"], &[]);
    cloud.edit()["RouteTables"][0]["PropagatingVgws"] = json!([{"GatewayId": "vgw-0"}]);
    cloud
}

/// The cloud, FRR beside its edge node, and the customer's router.
struct Lab {
    // Programs go before what they are in.
    routers: Routers,
    _vlans: [Program; 2],
    instance: Netns,
    frr: Netns,
    customer: Netns,
    fleet: Fleet,
}

impl Lab {
    fn new() -> Self {
        // FRR's namespace is there before Warren, which listens in it.
        let (frr, customer) = (Netns::new("frr"), Netns::new("customer"));
        let fleet = Fleet::start(
            &cloud(),
            vec![
                Site::new("host-a").instances(&["vm0"]).follows(),
                Site::new("edge-1").circuits("dx", "dxctl").bgp("vgw-0", &frr, 2621),
            ],
        );
        let edge = &fleet.node("edge-1").namespace;
        let mac = edge.mac("dx");
        let vlans = [(&frr, "dxctl", 1), (&customer, "dx", 2)].map(|(namespace, trunk, end)| {
            edge.ip(&format!("link set {trunk} netns {}", namespace.name));
            namespace.ip(&format!("link set {trunk} addrgenmode none up"));
            let program = vlans::start(namespace, trunk, &CIRCUITS);
            for (link, number) in CIRCUITS {
                // FRR speaks as the gateway port.
                if end == 1 {
                    namespace.ip(&format!("link set {link} address {mac}"));
                }
                namespace.ip(&format!("addr add 169.254.{number}.{end}/30 dev {link}"));
                namespace.ip(&format!("link set {link} up"));
            }
            program
        });
        for setting in ["ip_forward=1", "conf.all.rp_filter=0", "conf.default.rp_filter=0"] {
            customer.sysctl(&format!("net.ipv4.{setting}"));
        }
        for address in [OFFICE, BRANCH] {
            customer.ip(&format!("addr add {address}/32 dev lo"));
        }
        let instance = fleet.instance(&inside());
        let routers = Routers::start(&frr, &customer, "vgw.conf");
        Self { routers, _vlans: vlans, instance, frr, customer, fleet }
    }

    /// Waits until a ping of an address is answered.
    #[track_caller]
    fn reaches(&self, address: Ipv4Addr) {
        self.routers
            .wait(&format!("{address} answers"), || self.instance.ping("-c 1", address).received == 1);
    }
}

/// When the first packet of a listener came.
fn first(listener: &Listener) -> Option<SystemTime> {
    let line = listener.lines().into_iter().next()?;
    let seconds: f64 = line.split(' ').next()?.parse().ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds))
}

/// BGP-1, BGP-2, BGP-9, RT-19: instances reach what the customer announces, the customer the VPC; what is withdrawn is gone
/// within 100 ms of zebra's message, and the next best has the traffic.
#[test]
fn bgp_1_bgp_9_routes_from_outside_lead_there_and_the_next_best_takes_over() {
    let lab = Lab::new();
    let said = relay(&lab.frr, 2620, 2621);
    lab.reaches(OFFICE);
    lab.reaches(BRANCH);
    let instance = inside().v4();
    lab.customer.ping(&format!("-c 3 -i 0.05 -I {OFFICE}"), instance).all();
    let routes = lab.fleet.node("edge-1").daemon.show("routes");
    println!("{}", serde_json::to_string(&routes).unwrap());

    // Both virtual interfaces lead to the office before the VPN does: the one in use, then the other, are withdrawn.
    let by_vpn = Listener::start(&lab.customer, "vpn0", &format!("icmp and dst host {OFFICE}"));
    let stream = Stream::start(&lab.instance, 2, OFFICE);
    lab.routers.birdc("disable dx1");
    stream.answered();
    assert_eq!(by_vpn.count(), 0);
    let begin = SystemTime::now();
    lab.routers.birdc("disable dx0");
    lab.routers.wait("packets by the VPN", || by_vpn.count() > 0);
    let moved = first(&by_vpn).unwrap();
    let told = said.lock().unwrap().iter().copied().rfind(|&told| told < moved).expect("a message");
    assert!(told > begin);
    stream.answered();
    let report = stream.stop();
    let after = moved.duration_since(told).unwrap_or_default();
    println!(
        "withdrawn: traffic moved {after:?} after zebra's message, {:?} after BIRD's command; \
         {} of {} pings of 2 ms lost",
        moved.duration_since(begin).unwrap_or_default(),
        report.sent - report.received,
        report.sent
    );
    assert!(after < Duration::from_millis(100), "{after:?}");

    // What has no next best is gone.
    let unrouted = || lab.fleet.node("host-a").daemon.drops("vm0", "no_route");
    // There was none at the start either.
    let before = unrouted();
    lab.routers.birdc("disable branch");
    lab.routers.wait("no route to the branch", || {
        // Until then, pings are answered.
        lab.instance.ping("-c 1 -W 0.2", BRANCH);
        unrouted() > before
    });
    lab.instance.ping("-c 2 -i 0.05", BRANCH).none();
}

/// BGP-9 [C]: while FRR restarts, its routes stay for the graceful-restart time.
#[test]
fn bgp_9_frr_is_killed_and_restarted_without_losing_a_packet() {
    let mut lab = Lab::new();
    let _said = relay(&lab.frr, 2620, 2621);
    lab.reaches(OFFICE);
    let stream = Stream::start(&lab.instance, 10, OFFICE);
    stream.answered();
    let down = Instant::now();
    lab.routers.kill_zebra();
    lab.routers.start_frr();
    let established = || lab.routers.birdc("show protocols").matches("Established").count();
    lab.routers.wait("the sessions", || established() >= 3);
    let up = down.elapsed();
    stream.answered();
    let report = stream.stop();
    println!(
        "FRR was killed and its sessions up again after {up:?}: {} of {} pings of 10 ms lost, longest gap {:?}",
        report.sent - report.received,
        report.sent,
        report.longest
    );
    assert_eq!(report.received, report.sent);
}
