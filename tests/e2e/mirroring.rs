//! Traffic mirroring, as a kernel's VXLAN device at the target sees it.

use serde_json::json;

use crate::lab::{
    cloud::{Cloud, Nic, anywhere, nic, rule},
    fleet::{Fleet, Site},
    inside::{Flow, Server},
    listen::Listener,
    wait_for,
};

const VNI: u32 = 77;

/// A client on one host; a server and who watches on another.
fn nics() -> [Nic; 3] {
    [nic([1, 1, 10], "host-a", "vm0"), nic([1, 2, 10], "host-b", "vm0"), nic([1, 2, 11], "host-b", "vm1")]
}

fn cloud() -> Cloud {
    let [client, _, watcher] = &nics();
    Cloud::new(&["host-a", "host-b"], &nics())
        .group("sg-watcher", 1, &[rule("udp", 4789..=4789, &format!("{}/32", client.v4()))], &[anywhere()])
        .member(watcher, "sg-watcher")
        .routes("rtb-main", 1, &["main"], &[])
}

/// With a session of the client that copies its ICMP.
fn mirrored() -> Cloud {
    let [client, _, watcher] = &nics();
    let echoes = [(1, 1, "0.0.0.0/0"), (2, 58, "::/0")].map(|(number, protocol, all)| {
        json!({
            "RuleNumber": number, "RuleAction": "accept", "Protocol": protocol,
            "SourceCidrBlock": all, "DestinationCidrBlock": all,
        })
    });
    cloud()
        .with(
            "TrafficMirrorTargets",
            json!({"TrafficMirrorTargetId": "tmt-1", "NetworkInterfaceId": watcher.id()}),
        )
        .with(
            "TrafficMirrorFilters",
            json!({
                "TrafficMirrorFilterId": "tmf-1", "IngressFilterRules": echoes, "EgressFilterRules": echoes,
            }),
        )
        .with(
            "TrafficMirrorSessions",
            json!({
                "TrafficMirrorSessionId": "tms-1", "NetworkInterfaceId": client.id(), "SessionNumber": 1,
                "TrafficMirrorTargetId": "tmt-1", "TrafficMirrorFilterId": "tmf-1", "VirtualNetworkId": VNI,
            }),
        )
}

/// MIR-1, MIR-5: requests and answers arrive at a VXLAN device of the target, and nothing else; who is watched notices
/// nothing.
#[test]
fn mir_1_mir_5_a_vxlan_device_at_the_target_sees_what_the_filter_takes() {
    let sites = vec![Site::new("host-a").instances(&["vm0"]), Site::new("host-b").instances(&["vm0", "vm1"])];
    let fleet = Fleet::start(&mirrored(), sites);
    let [client, server, watcher] = nics();
    let [at_client, at_server, at_watcher] = [&client, &server, &watcher].map(|nic| fleet.instance(nic));
    let device = format!("link add mon0 type vxlan id {VNI} dstport 4789 local {} dev eth0", watcher.v4());
    at_watcher.ip(&device);
    at_watcher.ip("link set mon0 addrgenmode none up");
    let seen = Listener::start(&at_watcher, "mon0", "ip or ip6 or arp");

    at_client.ping("-c 5 -i 0.05", server.v4()).all();
    at_client.ping("-c 5 -i 0.05", server.v6()).all();
    let _server = Server::start(&at_server);
    assert!(Flow::open(&at_client, server.v4()).unwrap().lives());
    let echoes = |kind: &str| seen.lines().iter().filter(|line| line.contains(kind)).count();
    wait_for("copies", || echoes("echo reply") == 10);
    let lines = seen.lines();
    assert_eq!((echoes("echo request"), lines.len()), (10, 20), "{lines:#?}");
    let of = |from: &str, to: &str| lines.iter().any(|line| line.contains(&format!(" {from} > {to}: ICMP")));
    let (from, to) = (client.v4().to_string(), server.v4().to_string());
    assert!(of(&from, &to) && of(&to, &from), "{lines:#?}");

    // Without the session there are no more.
    fleet.apply(&cloud());
    at_client.ping("-c 3 -i 0.05", server.v4()).all();
    assert_eq!(seen.count(), 20);
}
