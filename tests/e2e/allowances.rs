//! The allowances of an ENI, as kernels at both ends count.

use serde_json::{Value, json};

use crate::lab::{
    cloud::{Cloud, nic},
    fleet::{Fleet, Site},
    iperf::Server,
    netns::Netns,
};

/// What iperf3 says of UDP from one to another, at 20 Mbit/s for three seconds: bytes and datagrams sent, and datagrams lost.
#[track_caller]
fn send(client: &Netns, server: &Netns, to: std::net::Ipv4Addr) -> (u64, u64, u64) {
    let _server = Server::start(server);
    let arguments = format!("--json --udp --length 1000 --bitrate 20M --time 3 --client {to}");
    let report: Value = serde_json::from_str(&client.run("iperf3", "iperf3", &arguments).ok()).unwrap();
    let sum = &report["end"]["sum"];
    let number = |key: &str| sum[key].as_u64().unwrap_or_else(|| panic!("{report}"));
    (number("bytes"), number("packets"), number("lost_packets"))
}

/// What is lost is what `warren show allowances` says, and what arrives is the allowance.
#[test]
fn bandwidth_is_what_arrives_and_the_rest_is_counted() {
    const MBPS: u64 = 4;
    let nics = [nic([1, 1, 10], "host-a", "vm0"), nic([1, 1, 11], "host-a", "vm1")];
    let mut cloud = Cloud::new(&["host-a"], &nics).routes("rtb-main", 1, &["main"], &[]);
    cloud.edit()["Warren"]["Attachments"][0]["Allowances"] =
        json!({"BandwidthOutMbps": MBPS, "BandwidthOutBurstMbit": 1});
    let fleet = Fleet::start(&cloud, vec![Site::new("host-a").instances(&["vm0", "vm1"])]);
    let [client, server] = nics.each_ref().map(|nic| fleet.instance(nic));
    let daemon = &fleet.node("host-a").daemon;
    let exceeded = |column| {
        daemon.count("allowances", &[("eni", &nics[0].id())], &format!("{column}_allowance_exceeded"))
    };

    let (bytes, packets, lost) = send(&client, &server, nics[1].v4());
    let (per_packet, arrived) = (bytes / packets, packets - lost);
    println!("{packets} datagrams of {per_packet} bytes, {lost} lost, {} exceeded", exceeded("bw_out"));
    // iperf3's own connection may lose segments too, and what is lost at the end is not known to be.
    assert!(lost > 0 && lost.abs_diff(exceeded("bw_out")) <= lost / 20);
    assert_eq!((exceeded("bw_in"), exceeded("pps")), (0, 0));
    // Frames have 42 bytes more; three seconds, up to a tenth more on a busy machine, and the burst.
    let megabits = arrived as f64 * (per_packet + 42) as f64 * 8.0 / 1e6;
    assert!(megabits < MBPS as f64 * 3.3 + 1.0, "{megabits} Mbit");
    assert!(megabits > MBPS as f64 * 2.0, "{megabits} Mbit");

    // In the other direction nothing is limited.
    let (_, _, lost) = send(&server, &client, nics[0].v4());
    assert_eq!((exceeded("bw_in"), exceeded("pps")), (0, 0), "{lost} lost");
}
