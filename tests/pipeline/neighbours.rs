//! ARP and neighbour discovery, as an instance meets them (L2-10 to L2-24) and as an uplink does.

use std::net::Ipv6Addr;

use warren::{
    packet::{
        Mac,
        arp::{Arp, Operation},
        nd::{self, Advertisement},
    },
    pipeline::Reason,
    services::Learned,
};

use crate::{
    frames::{ethernet, ip, packet},
    lab::*,
};

fn arp(operation: Operation, sender_mac: Mac, sender: &str, target: &str) -> Arp {
    let (sender_ip, target_ip) = (sender.parse().unwrap(), target.parse().unwrap());
    Arp { operation, sender_mac, sender_ip, target_mac: Mac::ZERO, target_ip }
}

/// A's request from `sender` for `target`, and the frame that `mac` would answer with.
fn asked(sender: &str, target: &str, mac: Mac) -> ([u8; 42], [u8; 42]) {
    let request = arp(Operation::Request, A, sender, target);
    (request.frame(Mac::BROADCAST), request.reply(mac).frame(A))
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

#[test]
fn l2_10_the_node_answers_with_the_real_mac() {
    let mut lab = Lab::new(VXLAN);
    // On another host, on this one, unattached; ADDR-10: of a prefix.
    for (target, mac) in [("10.0.1.20", B), ("10.0.1.21", B2), ("10.0.1.50", N), ("10.0.1.70", D)] {
        for sender in ["10.0.1.10", "10.0.1.11", "10.0.1.40"] {
            let (request, reply) = asked(sender, target, mac);
            lab.sends(AT_A, &request, AT_A, &reply);
        }
    }
    // By hand, once.
    let request = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 1, 10, 10, 0, 1, 10, 0, 0, 0, 0, 0, 0, 10, 0, 1, 20];
    let reply = [0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 1, 11, 10, 0, 1, 20, 2, 0, 0, 0, 1, 10, 10, 0, 1, 10];
    let request = ethernet(Mac::BROADCAST, A, 0x0806, &request);
    lab.sends(AT_A, &request, AT_A, &ethernet(A, B, 0x0806, &reply));
}

/// L2-17: who was told of which address is what a later move has to correct.
#[test]
fn the_management_thread_hears_what_an_eni_was_told() {
    let mut lab = Lab::new(VXLAN);
    let (request, _) = asked("10.0.1.10", "10.0.1.20", B);
    lab.send(AT_A, &request);
    lab.send(AT_A, &nd::solicitation(A, A.link_local(), v6("2001:db8:0:101::b"), None));
    let (unanswered, _) = asked("10.0.1.10", "10.0.1.99", B);
    lab.send(AT_A, &unanswered);
    let expected = [(AT_A, ip("10.0.1.20"), B), (AT_A, ip("2001:db8:0:101::b"), B)];
    assert_eq!(lab.sink.told, expected);
}

#[test]
fn answers_are_limited_for_each_eni() {
    let mut lab = Lab::new(VXLAN);
    let (request, reply) = asked("10.0.1.10", "10.0.1.20", B);
    for _ in 0..1024 {
        lab.sends(AT_A, &request, AT_A, &reply);
    }
    lab.drops(AT_A, &request, Reason::AnswersLimited);
    let solicitation = nd::solicitation(A, A.link_local(), v6("2001:db8:0:101::b"), None);
    lab.drops(AT_A, &solicitation, Reason::AnswersLimited);
    // Another ENI has its own, and a millisecond later there is one again.
    let others = arp(Operation::Request, B2, "10.0.1.21", "10.0.1.20");
    lab.sends(AT_B2, &others.frame(Mac::BROADCAST), AT_B2, &others.reply(B).frame(B2));
    lab.now += std::time::Duration::from_millis(1);
    lab.sends(AT_A, &request, AT_A, &reply);
    lab.drops(AT_A, &request, Reason::AnswersLimited);
}

#[test]
fn l2_11_and_13_the_router_answers_for_itself_and_the_services() {
    let mut lab = Lab::new(VXLAN);
    for target in ["10.0.1.1", "169.254.169.254", "169.254.169.253", "169.254.169.123"] {
        let (request, reply) = asked("10.0.1.10", target, r1());
        lab.sends(AT_A, &request, AT_A, &reply);
    }
}

#[test]
fn l2_12_13_15_and_16_silence() {
    let mut lab = Lab::new(VXLAN);
    // L2-12: nobody's. L2-13: of another subnet, router or ENI; no service. L2-16: another's address.
    for (sender, target) in [
        ("10.0.1.10", "10.0.1.99"),
        ("10.0.1.10", "10.0.2.1"),
        ("10.0.1.10", "10.0.2.10"),
        ("10.0.1.10", "169.254.1.1"),
        ("10.0.1.20", "10.0.1.21"),
    ] {
        lab.drops(AT_A, &asked(sender, target, B).0, Reason::ArpUnanswered);
    }
    // L2-15: a probe for an own address; one for another's meets a conflict.
    lab.drops(AT_A, &asked("0.0.0.0", "10.0.1.10", A).0, Reason::ArpUnanswered);
    let (request, reply) = asked("0.0.0.0", "10.0.1.20", B);
    lab.sends(AT_A, &request, AT_A, &reply);
    // L2-16: another's MAC within the message; L2-3: around it.
    let lie = arp(Operation::Request, B, "10.0.1.10", "10.0.1.21").frame(Mac::BROADCAST);
    let mut within = lie;
    within[6..12].copy_from_slice(&A.0);
    lab.drops(AT_A, &within, Reason::ArpUnanswered);
    lab.drops(AT_A, &lie, Reason::SrcMac);
}

#[test]
fn l2_14_gratuitous_arp_changes_nothing() {
    let mut lab = Lab::new(VXLAN);
    // Scenario 3: B2 claims B's address.
    for operation in [Operation::Request, Operation::Reply] {
        lab.drops(AT_B2, &arp(operation, B2, "10.0.1.20", "10.0.1.20").frame(Mac::BROADCAST), Reason::Garp);
    }
    lab.drops(AT_B2, &arp(Operation::Reply, B2, "10.0.1.20", "10.0.1.10").frame(A), Reason::Garp);
    let (request, reply) = asked("10.0.1.10", "10.0.1.20", B);
    lab.sends(AT_A, &request, AT_A, &reply);
}

#[test]
fn l2_21_the_node_advertises_for_the_subnet() {
    let mut lab = Lab::new(VXLAN);
    let own = v6("2001:db8:0:101::a");
    let cases = [
        (v6("2001:db8:0:101::b"), B, false),
        (v6("2001:db8:0:101::b2"), B2, false),
        (v6("2001:db8:0:101:d::5"), D, false), // ADDR-10
        (B.link_local(), B, false),
        (v6("2001:db8:0:101::1"), r1(), true),
        (v6("fe80:ec2::1"), r1(), true),
        (r1().link_local(), r1(), true),
    ];
    for source in [own, A.link_local()] {
        for (target, mac, router) in cases {
            let reply = Advertisement { target, mac, router, asker: Some(source), asker_mac: A }.frame();
            lab.sends(AT_A, &nd::solicitation(A, source, target, None), AT_A, &reply);
        }
    }
    // Nobody's, another subnet's, another subnet's link-local; another's source.
    for target in [v6("2001:db8:0:101::99"), v6("2001:db8:0:102::c"), C.link_local()] {
        lab.drops(AT_A, &nd::solicitation(A, own, target, None), Reason::NdUnanswered);
    }
    let lie = nd::solicitation(A, v6("2001:db8:0:101::b"), v6("2001:db8:0:101::1"), None);
    lab.drops(AT_A, &lie, Reason::NdUnanswered);
}

/// An ICMPv6 message with hop limit 255 and a right checksum.
fn icmp6(to: Mac, source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let pseudo = [&source.octets()[..], &destination.octets(), &[0, 0, 0, message.len() as u8, 0, 0, 0, 58]];
    let sum = crate::frames::checksum(&[&pseudo.concat()[..], &message].concat());
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = packet(to, A, (source.into(), destination.into()), 58, &message);
    frame[21] = 255;
    frame
}

#[test]
fn l2_22_claims_are_spoofs() {
    let mut lab = Lab::new(VXLAN);
    let claim = Advertisement {
        target: v6("2001:db8:0:101::b"),
        mac: A,
        router: false,
        asker: None,
        asker_mac: Mac([0x33, 0x33, 0, 0, 0, 1]),
    };
    lab.drops(AT_A, &claim.frame(), Reason::NdSpoof);
    let group = Mac([0x33, 0x33, 0, 0, 0, 1]);
    let advertisement = [&[134, 0, 0, 0, 64, 0, 7, 8][..], &[0; 8]].concat();
    lab.drops(AT_A, &icmp6(group, A.link_local(), nd::ALL_NODES, &advertisement), Reason::NdSpoof);
    let redirect = [&[137, 0, 0, 0, 0, 0, 0, 0][..], &[0x20; 32]].concat();
    lab.drops(AT_A, &icmp6(B2, A.link_local(), B2.link_local(), &redirect), Reason::NdSpoof);
}

#[test]
fn l2_23_duplicate_address_detection() {
    let mut lab = Lab::new(VXLAN);
    let probe = |target: Ipv6Addr| {
        let group = nd::solicited_node(target);
        let message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat();
        icmp6(nd::multicast_mac(group), Ipv6Addr::UNSPECIFIED, group, &message)
    };
    lab.drops(AT_A, &probe(v6("2001:db8:0:101::a")), Reason::NdUnanswered);
    lab.drops(AT_A, &probe(A.link_local()), Reason::NdUnanswered);
    lab.drops(AT_A, &probe(v6("2001:db8:0:101::77")), Reason::NdUnanswered);
    let target = v6("2001:db8:0:101::b");
    let reply = Advertisement { target, mac: B, router: false, asker: None, asker_mac: A }.frame();
    lab.sends(AT_A, &probe(target), AT_A, &reply);
}

#[test]
fn l2_24_listener_reports_are_consumed() {
    let mut lab = Lab::new(VXLAN);
    let group = Mac([0x33, 0x33, 0, 0, 0, 0x16]);
    let report = icmp6(group, A.link_local(), v6("ff02::16"), &[143, 0, 0, 0, 0, 0, 0, 0]);
    lab.drops(AT_A, &report, Reason::NdUnanswered);
}

#[test]
fn on_an_uplink_the_node_answers_for_itself_and_learns() {
    let mut lab = Lab::new(VXLAN);
    let peer = Learned { address: ip("192.0.2.2"), mac: uplink_mac(2) };
    let request = arp(Operation::Request, uplink_mac(2), "192.0.2.2", "192.0.2.1");
    let reply = request.reply(uplink_mac(1)).frame(uplink_mac(2));
    lab.sends(UPLINK, &request.frame(Mac::BROADCAST), UPLINK, &reply);
    assert_eq!(std::mem::take(&mut lab.sink.learned), [(UPLINK, peer)]);
    let answer = arp(Operation::Reply, uplink_mac(2), "192.0.2.2", "192.0.2.1").frame(uplink_mac(1));
    lab.drops(UPLINK, &answer, Reason::UnderlayNeighbour);
    assert_eq!(std::mem::take(&mut lab.sink.learned), [(UPLINK, peer)]);
    // For an ENI or another host: not answered here.
    for target in ["10.0.1.10", "192.0.2.3"] {
        let request = arp(Operation::Request, uplink_mac(2), "192.0.2.2", target).frame(Mac::BROADCAST);
        lab.drops(UPLINK, &request, Reason::UnderlayNeighbour);
    }
    assert_eq!(lab.sink.learned, []);

    let mut lab = Lab::new(WIRES[2]);
    let (own, peer) = (v6("2001:db8:ffff::1"), v6("2001:db8:ffff::2"));
    let told = Advertisement {
        target: own,
        mac: uplink_mac(1),
        router: false,
        asker: Some(peer),
        asker_mac: uplink_mac(2),
    };
    lab.sends(UPLINK, &nd::solicitation(uplink_mac(2), peer, own, None), UPLINK, &told.frame());
    assert_eq!(lab.sink.learned, [(UPLINK, Learned { address: peer.into(), mac: uplink_mac(2) })]);
}
