//! Encapsulated frames as Wireshark's dissectors see them.

use crate::{
    lab::{
        captures,
        packets::{datagram4, datagram6, ipv4},
    },
    replay::{Node, enis},
};

const OUTER: [&str; 7] =
    ["eth.src", "eth.dst", "ip.src", "ip.dst", "ipv6.dst", "udp.dstport", "_ws.malformed"];

/// RFC 8926: the VPC as the VNI, the sender in an option, the frame whole.
#[test]
fn geneve() {
    let (node, [a, _, c]) = (Node::new("encapsulation = \"geneve\""), enis());
    node.feed("vm0", &[datagram4(&a, c.mac(), c.v4()), datagram6(&a, a.router(), c.v6())]);
    let fields = [&OUTER[..], &["geneve.vni", "geneve.proto_type", "geneve.option.class"]].concat();
    let frames = captures::dissect(&node.path("out/uplink.pcap"), &fields);
    assert_eq!(
        frames[0],
        [
            "02:fa:00:00:00:01,02:00:00:00:01:0a",
            "02:fa:00:00:00:02,02:00:00:00:01:0b",
            "192.0.2.1,10.0.1.10",
            "192.0.2.2,10.0.1.11",
            "",
            "6081,5000",
            "",
            "0x001004",
            "0x6558",
            "0xff77",
        ]
    );
    let router = c.router().to_string();
    assert_eq!(frames[1][0], format!("02:fa:00:00:00:01,{router}"), "FWD-6");
    assert_eq!(frames[1][4], c.v6().to_string());
    assert_eq!(frames[1][7..], ["0x001004", "0x6558", "0xff77"]);
    assert_eq!(frames.len(), 2);
}

/// RFC 7348: the VPC as the VNI, the frame whole, a UDP checksum where the host file says so.
#[test]
fn vxlan() {
    let (node, [a, _, c]) = (Node::new(""), enis());
    let fragment = crate::lab::packets::ethernet(
        c.mac(),
        a.mac(),
        0x0800,
        &ipv4(a.v4(), c.v4(), 17, crate::lab::packets::LATER, b"later"),
    );
    node.feed("vm0", &[datagram4(&a, c.mac(), c.v4()), fragment]);
    let fields = [&OUTER[..], &["vxlan.vni", "vxlan.flags", "ip.checksum.status", "ip.flags.df"]].concat();
    let frames = captures::dissect(&node.path("out/uplink.pcap"), &fields);
    assert_eq!(frames.len(), 2);
    for frame in &frames {
        assert_eq!(
            frame[..4],
            [
                "02:fa:00:00:00:01,02:00:00:00:01:0a",
                "02:fa:00:00:00:02,02:00:00:00:01:0b",
                "192.0.2.1,10.0.1.10",
                "192.0.2.2,10.0.1.11",
            ]
        );
        assert_eq!(frame[7..10], ["4100", "0x0800", "1,1"], "{frame:?}");
    }
    assert_eq!(frames[0][5], "4789,5000");
}
