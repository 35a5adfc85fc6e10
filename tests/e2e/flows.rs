//! `warren show flows` of a node between kernels.

use std::{net::UdpSocket, process::Command};

use serde_json::{Map, Value};

use crate::lab::{
    cloud::{Cloud, Nic, nic, rule},
    daemon::Daemon,
    fleet::{Fleet, Site},
    inside::{Flow, PORT, Server, within},
    run, tool, wait_for, warren,
};

fn nics() -> [Nic; 2] {
    [nic([1, 1, 10], "host-a", "vm0"), nic([1, 2, 10], "host-b", "vm0")]
}

/// Everything between the two is tracked.
fn cloud() -> Cloud {
    let rules = ["tcp", "udp"].map(|protocol| rule(protocol, 0..=65535, "10.1.0.0/16"));
    let cloud = Cloud::new(&["host-a", "host-b"], &nics()).group("sg-tracked", 1, &rules, &rules);
    nics().iter().fold(cloud, |cloud, nic| cloud.member(nic, "sg-tracked")).routes(
        "rtb-main",
        1,
        &["main"],
        &[],
    )
}

/// The rows of `warren show flows` with options.
#[track_caller]
fn flows(daemon: &Daemon, options: &[&str]) -> Vec<Map<String, Value>> {
    let socket = daemon.socket.to_str().unwrap();
    let arguments = [&["show", "flows", "--json", "--socket", socket], options].concat();
    serde_json::from_str(&warren(&arguments).ok()).unwrap()
}

#[test]
fn show_flows_has_what_the_kernels_have_begun() {
    let sites = vec![Site::new("host-a").instances(&["vm0"]), Site::new("host-b").instances(&["vm0"])];
    let fleet = Fleet::start(&cloud(), sites);
    let [client, server] = nics();
    let [at_client, at_server] = [&client, &server].map(|nic| fleet.instance(nic));
    let daemon = |host: &str| &fleet.node(host).daemon;
    let _server = Server::start(&at_server);
    let mut connections: Vec<_> = (0..3).map(|_| Flow::open(&at_client, server.v4()).unwrap()).collect();
    (0..20).for_each(|_| assert!(connections[1].lives()));
    let (from, to) = (client.v4(), server.v4());
    within(&at_client, move || {
        UdpSocket::bind((from, 4000)).unwrap().send_to(b"?", (to, 4001)).unwrap();
    });
    wait_for("four flows", || flows(daemon("host-b"), &[]).len() == 4);

    let established = flows(daemon("host-a"), &["--protocol", "tcp", "--state", "established"]);
    assert_eq!(established.len(), 3);
    // The busiest first.
    let busiest = &established[0];
    assert_eq!(busiest["local_port"], connections[1].seen.port());
    assert_eq!((&busiest["eni"], &busiest["begun_by"]), (&client.id().into(), &"local".into()));
    assert_eq!((&busiest["local"], &busiest["remote"]), (&from.to_string().into(), &to.to_string().into()));
    assert_eq!(busiest["remote_port"], PORT);
    assert!(busiest["packets_out"].as_u64().unwrap() > 20 && busiest["bytes_in"].as_u64().unwrap() > 20 * 60);

    let at_server = flows(daemon("host-b"), &[&server.id(), "--top", "packets", "--limit", "1"]);
    assert_eq!(at_server.len(), 1);
    assert_eq!(at_server[0]["remote_port"], connections[1].seen.port());
    assert_eq!(at_server[0]["begun_by"], "remote");

    let asked = flows(daemon("host-b"), &["--state", "unanswered", "--address", "10.1.1.0/24"]);
    assert_eq!(asked.len(), 1);
    assert_eq!((&asked[0]["protocol"], &asked[0]["local_port"]), (&"udp".into(), &4001.into()));
    assert_eq!(flows(daemon("host-b"), &["--address", "10.1.3.1"]).len(), 0);

    let socket = daemon("host-a").socket.to_str().unwrap();
    let elsewhere = warren(&["show", "flows", &server.id(), "--socket", socket]).fails(1);
    assert!(elsewhere.contains("attached to host host-b"), "{elsewhere}");
    let not_flows = warren(&["show", "ports", "--limit", "1", "--socket", socket]).fails(1);
    assert!(not_flows.contains("are for `warren show flows`"), "{not_flows}");
    let program = env!("CARGO_BIN_EXE_warren");
    let watch = [program, "show", "flows", "--watch", "1", "--socket", socket];
    let watched = run(Command::new(tool("timeout", "coreutils")).arg("4").args(watch)).out;
    assert!((2..=4).contains(&watched.matches("PROTOCOL").count()), "{watched}");
}
