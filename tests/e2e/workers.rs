//! Nodes with two workers, which share the flows of their instances.

use serde_json::{Value, json};

use crate::lab::{
    cloud::{Cloud, anywhere, nic, rule},
    fleet::{Fleet, Site},
    iperf::Server,
    netns::Netns,
};

/// What iperf3 says of a transfer.
#[track_caller]
fn transfer(client: &Netns, server: &Netns, to: std::net::Ipv4Addr, arguments: &str) -> Value {
    let _server = Server::start(server);
    let arguments = format!("--json {arguments} --client {to}");
    serde_json::from_str(&client.run("iperf3", "iperf3", &arguments).ok()).unwrap()
}

/// SEC-2, SEC-15: whoever of a node's workers gets a packet, its connection is known, and so are the ports of its fragments. The
/// client lets in only answers, the server only what is for iperf3.
#[test]
fn two_workers_share_the_flows_of_an_instance() {
    let nics = [nic([1, 1, 10], "host-a", "vm0"), nic([1, 2, 10], "host-b", "vm0")];
    let mut cloud = Cloud::new(&["host-a", "host-b"], &nics)
        .group("sg-client", 1, &[], &[anywhere()])
        .group("sg-server", 1, &["tcp", "udp"].map(|of| rule(of, 5201..=5201, "10.0.0.0/8")), &[])
        .member(&nics[0], "sg-client")
        .member(&nics[1], "sg-server")
        .routes("rtb-main", 1, &["main"], &[]);
    for attachment in cloud.edit()["Warren"]["Attachments"].as_array_mut().unwrap() {
        attachment["Workers"] = json!(2);
    }
    let sites = ["host-a", "host-b"].map(|host| Site::new(host).instances(&["vm0"]).two_workers());
    let fleet = Fleet::start(&cloud, sites.into());
    let [client, server] = nics.each_ref().map(|nic| fleet.instance(nic));

    let report = transfer(&client, &server, nics[1].v4(), "--parallel 8 --time 3");
    assert_eq!(report["error"], Value::Null, "{report}");
    let streams = report["end"]["streams"].as_array().unwrap();
    let received = |stream: &Value| stream["receiver"]["bytes"].as_u64().unwrap();
    assert!(streams.len() == 8 && streams.iter().all(|stream| received(stream) > 0), "{report}");

    // Datagrams in three fragments, of several flows.
    let report =
        transfer(&client, &server, nics[1].v4(), "--udp --length 4000 --parallel 4 --bitrate 2M --time 3");
    let sum = &report["end"]["sum"];
    let number = |key: &str| sum[key].as_u64().unwrap_or_else(|| panic!("{report}"));
    let (packets, lost) = (number("packets"), number("lost_packets"));
    assert!(packets > 500 && lost <= packets / 50, "{lost} of {packets} lost");

    for host in ["host-a", "host-b"] {
        let daemon = &fleet.node(host).daemon;
        let drops = |reason| daemon.count("drops", &[("reason", reason)], "packets");
        let mut given = 0;
        for worker in daemon.show("workers") {
            let by = worker["handed_over"].as_u64().unwrap();
            assert!(by > 100, "{host}: {worker:?}");
            given += by;
        }
        assert_eq!(drops("sg_in"), 0, "{host}");
        // While the kernel runs other programs on a worker's core, nobody takes what is for it.
        let full = drops("handoff_full");
        assert!(full <= given / 100, "{host}: {full} of {given} handed over met a full ring");
        // Each may have been the first of three.
        assert!(drops("frag_orphan") <= 2 * full, "{host}");
    }
}
