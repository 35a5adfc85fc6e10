//! IPv6 as an instance finds it: the router's advertisements, taken by the kernel.

use std::net::Ipv6Addr;

use crate::lab::{
    captures,
    netns::{Netns, configure},
    setup::{ONE_WORKER, Setup, usual},
    tool, wait_for,
};

/// The MTU of the ports here: not the one that a kernel would take anyway.
const MTU: u32 = 1400;

fn router(guest: &Netns) -> String {
    guest.ip("-6 route show default")
}

/// L2-20, ADDR-14: default route, prefix and MTU come from the router; an address doesn't.
#[test]
fn l2_20_the_kernel_takes_its_router_from_advertisements() {
    let lab = Setup::bare("net_tap", &usual(), ONE_WORKER, &format!("mtu = {MTU}"));
    let [guest, other, across] = &lab.guests[..] else { unreachable!() };
    wait_for("the router", || router(guest).contains("via fe80:ec2::1 dev vm0 proto ra"));
    let shown = |what: &str| guest.ip(what);
    wait_for("the prefix", || shown("-6 route show 2001:db8:b1:1::/64").contains("dev vm0 proto kernel"));
    assert_eq!(shown("-6 address show dev vm0 scope global"), "", "addresses are DHCP's to give");
    let mtu = guest.run("sysctl", "procps", "-n net.ipv6.conf.vm0.mtu").ok();
    assert_eq!(mtu.trim(), MTU.to_string());

    configure(other, "vm1", &lab.enis[1]);
    configure(across, "vm2", &lab.enis[2]);
    shown(&format!("address add {}/128 dev vm0 nodad", lab.enis[0].v6()));
    for eni in &lab.enis[1..] {
        guest.ping("-c 2 -i 0.1", eni.v6()).all();
    }
    assert!(
        lab.neighbour(0, &lab.enis[1].v6().to_string()).contains(&lab.enis[1].mac().to_string()),
        "on the link"
    );
    assert!(lab.neighbour(0, "fe80:ec2::1").contains("router"), "{}", lab.neighbour(0, "fe80:ec2::1"));
}

/// L2-20: what the advertisement says, in tshark's words.
#[test]
fn l2_20_what_a_solicitation_is_answered_with() {
    let lab = Setup::usual();
    let guest = &lab.guests[0];
    let capture = lab.folder.path().join("advertisement.pcap");
    let mut tcpdump = guest
        .command(tool("tcpdump", "tcpdump"))
        .args([
            "-i",
            "vm0",
            "-Q",
            "in",
            "-U",
            "-c",
            "1",
            "-w",
            capture.to_str().unwrap(),
            "icmp6 and ip6[40] == 134",
        ])
        .spawn()
        .unwrap();
    wait_for("tcpdump", || capture.exists());
    // A link that comes up asks for routers.
    guest.ip("link set vm0 down");
    guest.ip("link set vm0 up");
    assert!(tcpdump.wait().unwrap().success());
    let fields = [
        "eth.src",
        "ipv6.src",
        "ipv6.hlim",
        "icmpv6.nd.ra.flag.m",
        "icmpv6.nd.ra.flag.o",
        "icmpv6.nd.ra.router_lifetime",
        "icmpv6.opt.prefix",
        "icmpv6.opt.prefix.length",
        "icmpv6.opt.prefix.flag.l",
        "icmpv6.opt.prefix.flag.a",
        "icmpv6.opt.mtu",
        "icmpv6.checksum.status",
    ];
    let router = lab.enis[0].router().to_string();
    let expected =
        [&router, "fe80:ec2::1", "255", "1", "1", "1800", "2001:db8:b1:1::", "64", "1", "0", "1500", "1"];
    assert_eq!(captures::dissect(&capture, &fields), [expected]);
}

/// L2-23: an address is tentative until its detection is over (RFC 4862 §5.4), and then is the instance's; its
/// link-local address, too.
#[test]
fn l2_23_addresses_become_permanent() {
    let lab = Setup::usual();
    let guest = &lab.guests[0];
    let own = lab.enis[0].v6();
    let state = |address: Ipv6Addr| guest.ip(&format!("-6 address show dev vm0 to {address}"));
    guest.run("sysctl", "procps", "-w net.ipv6.conf.vm0.dad_transmits=3").ok();
    guest.ip(&format!("addr del {own}/64 dev vm0"));
    guest.ip(&format!("addr add {own}/64 dev vm0"));
    assert!(state(own).contains("tentative"), "{}", state(own));
    for address in [own, "fe80::ff:fe00:10a".parse().unwrap()] {
        wait_for("the end of its detection", || !state(address).contains("tentative"));
        assert!(
            state(address).contains("inet6") && !state(address).contains("dadfailed"),
            "{}",
            state(address)
        );
    }
}
