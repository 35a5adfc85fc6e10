//! The Linux stack as the instances, over net_tap.

use crate::lab::{
    captures,
    setup::{ONE_WORKER, PORTS, Setup, usual},
    state::Eni,
    tool, wait_for,
};

/// L2-10, L2-11, FWD-3, FWD-6, FWD-7, ADDR-5: a subnet as Linux sees it.
#[test]
fn l2_10_l2_11_arp_tells_the_true_macs() {
    let lab = Setup::usual();
    let [a, b, c] = &lab.enis[..] else { unreachable!() };
    lab.guests[0].ping("-c 3 -i 0.05", b.v4()).all();
    assert!(lab.neighbour(0, "10.0.1.11").contains(&b.mac().to_string()));
    assert!(lab.neighbour(1, "10.0.1.10").contains(&a.mac().to_string()));
    // L2-10: the request never reaches the owner; the peer has only had echo requests and answers of the node.
    lab.guests[0].ping("-c 3 -i 0.05", c.v4()).all();
    assert!(lab.neighbour(0, "10.0.1.1").contains(&a.router().to_string()), "L2-11");
    assert!(lab.neighbour(2, "10.0.2.1").contains(&c.router().to_string()), "L2-11");
    // FWD-6: across subnets no instance learns another's MAC.
    assert_eq!(lab.neighbour(2, "10.0.1.10"), "");
    // L2-12, L2-13: silence.
    lab.guests[0].ping("-c 1", std::net::Ipv4Addr::new(10, 0, 1, 99)).none();
    assert!(lab.daemon.drops("vm0", "arp_unanswered") >= 1, "L2-12");
    // FWD-4.
    lab.guests[0].ping("-c 1", std::net::Ipv4Addr::new(10, 0, 2, 99)).none();
    assert_eq!(lab.daemon.drops("vm0", "no_mapping"), 1, "FWD-4");
}

/// FWD-5, FWD-6: across subnets the TTL stays, even 1, and the frame comes from the router's MAC.
#[test]
fn fwd_5_fwd_6_the_router_leaves_the_ttl_alone() {
    let lab = Setup::usual();
    let [a, _, c] = &lab.enis[..] else { unreachable!() };
    let capture = lab.folder.path().join("seen.pcap");
    let mut tcpdump = lab.guests[2]
        .command(tool("tcpdump", "tcpdump"))
        .args(["-i", "vm2", "-U", "-c", "1", "-w", capture.to_str().unwrap(), "icmp[icmptype] == icmp-echo"])
        .spawn()
        .unwrap();
    wait_for("tcpdump", || capture.exists());
    lab.guests[0].ping("-c 2 -i 0.2 -t 1", c.v4()).all();
    assert!(tcpdump.wait().unwrap().success());
    let seen = captures::read(&capture);
    assert_eq!(seen[0][..12], [c.mac().0, c.router().0].concat()[..], "FWD-6");
    assert_eq!(seen[0][14 + 8], 1, "FWD-5");
    assert_eq!(seen[0][14 + 12..14 + 20], [a.v4().octets(), c.v4().octets()].concat()[..]);
}

/// L2-3, ADDR-5: a false MAC or address disconnects.
#[test]
fn l2_3_addr_5_instances_keep_to_their_mac_and_address() {
    let lab = Setup::usual();
    let (guest, to) = (&lab.guests[0], lab.enis[1].v4());
    guest.ip("addr add 10.0.1.77/24 dev vm0");
    guest.ip(&format!("neigh replace {to} lladdr {} dev vm0", lab.enis[1].mac()));
    guest.ping("-c 2 -i 0.05 -I 10.0.1.77", to).none();
    assert_eq!(lab.daemon.drops("vm0", "src_check"), 2, "ADDR-5");
    guest.ip("link set vm0 address 02:00:00:00:01:77");
    guest.ip(&format!("neigh replace {to} lladdr {} dev vm0", lab.enis[1].mac()));
    let before = lab.daemon.drops("vm0", "src_mac");
    guest.ping("-c 2 -i 0.05", to).none();
    assert!(lab.daemon.drops("vm0", "src_mac") >= before + 2, "L2-3");
    // Back to the truth.
    guest.ip(&format!("link set vm0 address {}", lab.enis[0].mac()));
    guest.ping("-c 2 -i 0.05", to).all();
}

/// L2-8, L2-9, L2-14: nobody hears broadcast, multicast or gratuitous ARP.
#[test]
fn l2_8_l2_9_l2_14_a_vpc_delivers_no_groups() {
    let lab = Setup::usual();
    let guest = &lab.guests[0];
    let capture = lab.folder.path().join("heard.pcap");
    let from_a = format!("ether src {}", lab.enis[0].mac());
    let mut tcpdump = lab.guests[1]
        .command(tool("tcpdump", "tcpdump"))
        .args(["-i", "vm1", "-U", "-w", capture.to_str().unwrap(), &from_a])
        .spawn()
        .unwrap();
    wait_for("tcpdump", || capture.exists());
    guest.ping("-b -c 2 -i 0.05", std::net::Ipv4Addr::new(10, 0, 1, 255)).none();
    assert_eq!(lab.daemon.drops("vm0", "broadcast"), 2, "L2-8");
    let before = lab.daemon.drops("vm0", "multicast");
    guest.ping("-c 2 -i 0.05 -I vm0", std::net::Ipv4Addr::new(224, 0, 0, 5)).none();
    assert!(lab.daemon.drops("vm0", "multicast") >= before + 2, "L2-9");
    guest.run("arping", "iputils-arping", "-U -c 1 -w 1 -I vm0 10.0.1.10");
    assert!(lab.daemon.drops("vm0", "garp") >= 1, "L2-14");
    // What may be heard ends the capture's wait.
    guest.ping("-c 1", lab.enis[1].v4()).all();
    wait_for("the echo request", || !captures::read(&capture).is_empty());
    tcpdump.kill().unwrap();
    tcpdump.wait().unwrap();
    let heard = captures::read(&capture);
    assert!(heard.iter().all(|frame| frame[..6] == lab.enis[1].mac().0), "vm1 heard something: {heard:?}");
}

/// L2-10 to L2-13, L2-15: `arping`, and its duplicate address detection.
#[test]
fn l2_10_l2_15_arping() {
    let lab = Setup::usual();
    let arping =
        |arguments: &str| lab.guests[0].run("arping", "iputils-arping", &format!("-w 2 -I vm0 {arguments}"));
    for (address, mac) in [("10.0.1.11", lab.enis[1].mac()), ("10.0.1.1", lab.enis[0].router())] {
        let report = arping(&format!("-c 2 {address}")).ok();
        let mac = mac.to_string().to_uppercase();
        assert_eq!(report.matches(&format!("reply from {address} [{mac}]")).count(), 2, "{report}");
    }
    for address in ["10.0.1.99", "10.0.2.10"] {
        let report = arping(&format!("-c 1 {address}"));
        assert_eq!(report.code, Some(1), "{address}: {}", report.out);
    }
    // Its own address is free (L2-15), another's is not.
    arping("-c 1 -D 10.0.1.10").ok();
    assert_eq!(arping("-c 1 -D 10.0.1.11").code, Some(1));
}

/// FWD-8, ADDR-7: in a subnet the MAC decides, so an instance without check can route for another.
#[test]
fn fwd_8_an_instance_without_check_is_a_router() {
    let [a, b, c] = usual();
    let b = Eni { check: false, ..b };
    let lab = Setup::new(&[a, b.clone(), c], ONE_WORKER);
    let outside = std::net::Ipv4Addr::new(198, 51, 100, 5);
    lab.guests[1].ip("addr add 198.51.100.5/32 dev lo");
    lab.guests[0].ip(&format!("route add 198.51.100.0/24 via {}", b.v4()));
    // L2-16: its own requests name its own address.
    lab.guests[1].run("sysctl", "procps", "-w net.ipv4.conf.all.arp_announce=2").ok();
    // There, A1 takes what is not for it; back, it sends what is not from it (ADDR-7).
    lab.guests[0].ping("-c 3 -i 0.05", outside).all();
    assert_eq!(lab.daemon.drops("vm0", "dst_check") + lab.daemon.drops("vm1", "src_check"), 0);
}

/// ADDR-6: the same with the check on is dropped at the receiver.
#[test]
fn addr_6_an_instance_with_check_is_no_router() {
    let lab = Setup::usual();
    lab.guests[1].ip("addr add 198.51.100.5/32 dev lo");
    lab.guests[0].ip(&format!("route add 198.51.100.0/24 via {}", lab.enis[1].v4()));
    lab.guests[0].ping("-c 3 -i 0.05", std::net::Ipv4Addr::new(198, 51, 100, 5)).none();
    assert_eq!(lab.daemon.drops("vm1", "dst_check"), 3);
}

/// L2-21, L2-23: the kernel's own neighbour discovery, duplicate address detection included.
#[test]
fn l2_21_l2_23_ipv6_neighbour_discovery() {
    let lab = Setup::usual();
    let [_, b, c] = &lab.enis[..] else { unreachable!() };
    let guest = &lab.guests[0];
    guest.ping("-c 3 -i 0.05", b.v6()).all();
    assert!(lab.neighbour(0, &b.v6().to_string()).contains(&b.mac().to_string()), "L2-21");
    guest.ping("-c 3 -i 0.05", c.v6()).all();
    assert!(lab.neighbour(0, "fe80:ec2::1").contains(&lab.enis[0].router().to_string()), "L2-21");
    assert!(lab.neighbour(0, "fe80:ec2::1").contains("router"), "{}", lab.neighbour(0, "fe80:ec2::1"));
    // L2-23: its own address is free, another's is not.
    guest.ip(&format!("addr del {}/64 dev vm0", lab.enis[0].v6()));
    guest.ip(&format!("addr add {}/64 dev vm0", lab.enis[0].v6()));
    guest.ip(&format!("addr add {}/64 dev vm0", b.v6()));
    let state = |of: &Eni| guest.ip(&format!("-6 addr show dev vm0 to {}", of.v6()));
    wait_for("duplicate address detection", || !state(&lab.enis[0]).contains("tentative"));
    assert!(!state(&lab.enis[0]).contains("dadfailed"), "{}", state(&lab.enis[0]));
    wait_for("the duplicate to be noticed", || state(b).contains("dadfailed"));
}

/// MTU-1, MTU-2: 9001 bytes pass, 9002 don't.
#[test]
fn mtu_1_mtu_2_9001_bytes_and_no_more() {
    let lab = Setup::over("net_af_packet", &usual(), ONE_WORKER, "mtu = 9001");
    let (guest, to) = (&lab.guests[0], lab.enis[2].v4());
    for (guest, port) in lab.guests.iter().zip(PORTS) {
        guest.ip(&format!("link set {port} mtu 9002"));
    }
    guest.ping("-c 2 -i 0.05 -M do -s 8973", to).all();
    guest.ping("-c 2 -i 0.05 -M do -s 8974", to).none();
    assert_eq!(lab.daemon.drops("vm0", "oversize"), 2);
}

/// Two ports of different workers: each ENI's owner delivers to it.
#[test]
fn workers_hand_over_to_the_owner_of_the_receiver() {
    let lab = Setup::new(&usual(), "workers = { cores = [0, 1], idle = \"sleep\" }");
    lab.guests[0].ping("-c 20 -i 0.01", lab.enis[1].v4()).all();
    lab.guests[1].ping("-c 20 -i 0.01", lab.enis[2].v6()).all();
    for worker in lab.daemon.show("workers") {
        assert!(worker["handed_over"].as_u64().unwrap() >= 40, "{worker:?}");
    }
    assert_eq!(lab.daemon.drops("vm0", "handoff_full"), 0);
}
