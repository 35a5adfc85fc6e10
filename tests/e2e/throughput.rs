//! TCP and UDP between kernels, with iperf3: both families, packets of ordinary and of jumbo size.

use std::net::IpAddr;

use serde_json::Value;

use crate::lab::{
    daemon::Daemon,
    iperf::Server,
    netns::Netns,
    setup::{PORTS, Setup},
};

/// Runs a client in one instance against another; returns what it reports.
#[track_caller]
fn iperf(client: &Netns, server: &Netns, to: IpAddr, arguments: &str) -> Value {
    let _server = Server::start(server);
    let report = client.run("iperf3", "iperf3", &format!("--json --client {to} {arguments}")).ok();
    serde_json::from_str(&report).unwrap()
}

/// The bytes that arrive over TCP, with segments as large as the MTU allows: 40 or 60 bytes are the IP and TCP headers',
/// 12 the timestamps' (RFC 7323).
#[track_caller]
fn tcp(client: &Netns, server: &Netns, to: IpAddr, mtu: u64) {
    let headers = if to.is_ipv4() { 52 } else { 72 };
    let report = iperf(client, server, to, "--bytes 4M");
    assert_eq!(report["start"]["tcp_mss_default"], mtu - headers, "{to}");
    // The client ends when the last byte is in its kernel; what is under way then, the server does not count.
    let received = report["end"]["sum_received"]["bytes"].as_u64().unwrap();
    assert!(received >= 1 << 20, "{to}: {received} bytes");
}

/// The datagrams that arrive, each as large as the MTU allows: 28 or 48 bytes are the IP and UDP headers'.
#[track_caller]
fn udp(client: &Netns, server: &Netns, to: IpAddr, mtu: u64) {
    let payload = mtu - if to.is_ipv4() { 28 } else { 48 };
    let arguments = format!("--udp --length {payload} --bitrate 20M --bytes {}", 200 * payload);
    let end = &iperf(client, server, to, &arguments)["end"]["sum"];
    // The rate is low, but the machine may have better to do for a while.
    let (sent, lost) = (end["packets"].as_u64().unwrap(), end["lost_packets"].as_u64().unwrap());
    assert!(sent >= 200 && lost * 10 <= sent, "{to}: {lost} of {sent} lost");
}

/// In the subnet and across, over both protocols and families.
#[track_caller]
fn all(lab: &Setup, mtu: u64) {
    let [a, b, c] = &lab.guests[..] else { unreachable!() };
    let [_, eni_b, eni_c] = &lab.enis[..] else { unreachable!() };
    for (server, eni) in [(b, eni_b), (c, eni_c)] {
        for to in [IpAddr::V4(eni.v4()), IpAddr::V6(eni.v6())] {
            tcp(a, server, to, mtu);
            udp(a, server, to, mtu);
        }
    }
    // All were whole and right, and none too large.
    for guest in [a, b, c] {
        assert_eq!(faults(guest), 0, "{}", guest.name);
    }
    assert_eq!(lost_to_size(&lab.daemon), 0);
}

/// How many fragments a kernel has made or got, and wrong checksums got.
#[track_caller]
fn faults(guest: &Netns) -> u64 {
    let counters = "IpReasmReqds IpFragCreates Ip6ReasmReqds Ip6FragCreates TcpInCsumErrors UdpInCsumErrors";
    let shown = guest.run("nstat", "iproute2", &format!("-asz {counters}")).ok();
    // A comment, then a line a counter: name, value, rate.
    let values = shown.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    values.sum()
}

fn lost_to_size(daemon: &Daemon) -> u64 {
    PORTS.iter().map(|port| daemon.drops(port, "oversize")).sum()
}

/// MTU-1, FWD-18: packets of 1500 bytes.
#[test]
fn mtu_1_tcp_and_udp_with_1500_bytes() {
    all(&Setup::usual(), 1500);
}

/// MTU-1: packets of 9001 bytes.
#[test]
fn mtu_1_tcp_and_udp_with_9001_bytes() {
    all(&Setup::jumbo(), 9001);
}
