//! How an ENI's connections are tracked, and what it may take of its host.

use warren::model::{Allowance, AttachmentOptions, ConnectionTracking, Eni, diff};

use crate::{EXAMPLE, changed, loaded, one_error};

const ENI: &str = "SourceDestCheck: true";
const PORT: &str = "HostId: host-a, Port: vm0";

/// The example with more keys of an ENI, and of an attachment.
fn tracking(keys: &str) -> String {
    changed(ENI, &format!("{ENI}\n  ConnectionTrackingConfiguration: {{{keys}}}"))
}

fn attached(keys: &str) -> String {
    changed(PORT, &format!("{PORT}, {keys}"))
}

fn eni(text: &str) -> Eni {
    loaded(text).unwrap_or_else(|errors| panic!("{errors}")).enis["eni-a1"].clone()
}

fn told(text: &str) -> String {
    diff(&loaded(EXAMPLE).unwrap(), &loaded(text).unwrap()).to_string()
}

#[test]
fn idle_times_are_of_the_eni() {
    // SEC-8
    assert_eq!(eni(EXAMPLE).tracking, ConnectionTracking { tcp_established: 350, udp: 30, udp_stream: 180 });
    let all = tracking("TcpEstablishedTimeout: 432000, UdpTimeout: 60, UdpStreamTimeout: 60");
    assert_eq!(eni(&all).tracking, ConnectionTracking { tcp_established: 432_000, udp: 60, udp_stream: 60 });
    let text = told(&tracking("UdpTimeout: 45"));
    assert!(
        text.contains("tracking TCP 350 s, UDP 30 s, UDP streams 180 s → TCP 350 s, UDP 45 s,"),
        "{text}"
    );
    for (keys, words) in [
        (
            "TcpEstablishedTimeout: 59",
            ["ConnectionTrackingConfiguration.TcpEstablishedTimeout", "60 to 432000"],
        ),
        ("UdpTimeout: 61", ["ConnectionTrackingConfiguration.UdpTimeout", "30 to 60"]),
        ("UdpStreamTimeout: 59", ["ConnectionTrackingConfiguration.UdpStreamTimeout", "60 to 180"]),
        ("UdpStreamTimeouts: 60", ["unknown", "UdpStreamTimeout"]),
    ] {
        one_error(ENI, &format!("{ENI}\n  ConnectionTrackingConfiguration: {{{keys}}}"), &words);
    }
}

#[test]
fn options_and_allowances_are_of_the_attachment() {
    let options = |text: &str| *eni(text).attachment.unwrap().options();
    assert_eq!(options(EXAMPLE), AttachmentOptions::NOTHING_STATED);
    let keys = "ConnectionTrackingOptions: {StrictIcmp: true, TcpWindowCheck: true, ConnectionsMax: 1000, ConnectionsReserved: 100}, \
                Workers: 4, Allowances: {BandwidthInMbps: 1000, BandwidthInBurstMbit: 5, BandwidthOutMbps: 1, PacketsPerSecond: 5, \
                ConnectionsPerSecond: 1000, ConnectionsBurst: 3000}";
    let text = attached(keys);
    let wanted = AttachmentOptions {
        strict_icmp: true,
        tcp_window_check: true,
        connections_max: Some(1000),
        connections_reserved: 100,
        workers: 4,
        bandwidth_in: Some(Allowance { rate: 1_000_000_000, burst: 5_000_000 }),
        // Where no burst is stated: what comes in 100 ms, and at least one.
        bandwidth_out: Some(Allowance { rate: 1_000_000, burst: 100_000 }),
        packets: Some(Allowance { rate: 5, burst: 1 }),
        connections: Some(Allowance { rate: 1000, burst: 3000 }),
    };
    assert_eq!(options(&text), wanted);
    let change = told(&text);
    assert!(
        change.contains(
            "host-a/vm0 → host-a/vm0 (strict ICMP, TCP windows checked, at most 1000 connections, 100 connections \
             reserved, 4 workers, 1000000000 bit/s in in bursts of 5000000,"
        ),
        "{change}"
    );
    // To state what holds anyway changes nothing.
    let same = attached("Workers: 1, ConnectionTrackingOptions: {StrictIcmp: false}");
    assert!(diff(&loaded(EXAMPLE).unwrap(), &loaded(&same).unwrap()).is_empty());
}

#[test]
fn mistakes_in_options_are_named() {
    for (keys, words) in [
        ("Workers: 0", ["Warren.Attachments[0].Workers", "1 to 64"]),
        (
            "ConnectionTrackingOptions: {StrictIcmp: 1}",
            ["ConnectionTrackingOptions.StrictIcmp", "true or false"],
        ),
        (
            "ConnectionTrackingOptions: {ConnectionsMax: 0}",
            ["ConnectionTrackingOptions.ConnectionsMax", "from 1"],
        ),
        (
            "ConnectionTrackingOptions: {ConnectionsMax: 5, ConnectionsReserved: 6}",
            ["ConnectionTrackingOptions.ConnectionsReserved", "6 is more than ConnectionsMax, 5"],
        ),
        ("Allowances: {BandwidthInMbps: 0}", ["Allowances.BandwidthInMbps", "1 to 1000000"]),
        ("Allowances: {PacketsBurst: 9}", ["Allowances.PacketsBurst", "is there without PacketsPerSecond"]),
    ] {
        one_error(PORT, &format!("{PORT}, {keys}"), &words);
    }
}
