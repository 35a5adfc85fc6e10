//! Link-local services on a service port (ADDR-17 to ADDR-22): who asks, and who gets the answer.

use std::{sync::Arc, time::Duration};

use warren::{
    compile::{Site, SiteRole},
    packet::{
        Mac,
        arp::{Arp, Operation},
        nd,
    },
    pipeline::Reason,
    tables::{LinkLocal, PortIndex, ServicePort},
};

use crate::{
    frames::{datagram, ip, packet, readdressed, udp},
    lab::*,
};

const SERVICE: PortIndex = EMPTY;
/// The host's interface behind the service port.
const HOST: Mac = Mac([2, 0x55, 0, 0, 0, 1]);

/// host-a with services behind the port that is otherwise empty.
fn with_services(services: &[LinkLocal]) -> Site {
    let mut site = site(VXLAN, 1);
    site.ports[usize::from(SERVICE.0)].role = SiteRole::Service(Arc::new(ServicePort {
        services: services.into(),
        peer: HOST,
        pool_v4: "100.64.0.0/10".parse().unwrap(),
        pool_v6: "fd77:6172:72::/48".parse().unwrap(),
    }));
    site
}

fn lab() -> Lab {
    Lab::of(VXLAN, with_services(&LinkLocal::ALL), Neighbours(true))
}

/// A UDP datagram, and its answer, between two ends.
fn asks(to: Mac, from: Mac, source: &str, destination: &str, port: u16) -> Vec<u8> {
    packet(to, from, (ip(source), ip(destination)), 17, &udp(40_000, port, b"?"))
}

fn answers(to: Mac, from: Mac, source: &str, destination: &str, port: u16) -> Vec<u8> {
    packet(to, from, (ip(source), ip(destination)), 17, &udp(port, 40_000, b"!"))
}

/// Addresses of an ENI, those of the service that it asks, what the service sees, and the port asked for.
type Case = (PortIndex, Mac, Mac, &'static str, &'static str, &'static str, &'static str, u16);

fn cases() -> Vec<Case> {
    let (r1, rw) = (r1(), rw());
    vec![
        (AT_A, A, r1, "10.0.1.10", "169.254.169.254", "100.64.0.0", "169.254.169.254", 80),
        (AT_A, A, r1, "10.0.1.11", "169.254.169.254", "100.64.0.1", "169.254.169.254", 80),
        // ADDR-10: of a delegated prefix.
        (AT_A, A, r1, "10.0.1.35", "169.254.169.254", "100.64.4.3", "169.254.169.254", 80),
        (AT_B2, B2, r1, "10.0.1.21", "169.254.169.253", "100.64.16.0", "169.254.169.253", 53),
        // ADDR-19: the VPC's base plus two is the same resolver.
        (AT_B2, B2, r1, "10.0.1.21", "10.0.0.2", "100.64.24.0", "169.254.169.253", 53),
        (AT_C2, C2, r2(), "10.0.2.20", "10.0.0.2", "100.64.72.0", "169.254.169.253", 53),
        // Another VPC with the same block.
        (AT_W, W, rw, "10.0.1.20", "10.0.0.2", "100.64.56.0", "169.254.169.253", 53),
        (AT_A, A, r1, "10.0.1.10", "169.254.169.123", "100.64.0.0", "169.254.169.123", 123),
        (AT_A, A, r1, "2001:db8:0:101::a", "fd00:ec2::254", "fd77:6172:72::", "fd00:ec2::254", 80),
        (AT_A, A, r1, "2001:db8:0:101:a::77", "fd00:ec2::254", "fd77:6172:72:0:1::77", "fd00:ec2::254", 80),
        (AT_A, A, r1, "2001:db8:0:101::a", "fd00:ec2::253", "fd77:6172:72::", "fd00:ec2::253", 53),
        (AT_A, A, r1, "2001:db8:0:101::a", "fd00:ec2::123", "fd77:6172:72::", "fd00:ec2::123", 123),
    ]
}

/// ADDR-17, ADDR-19, ADDR-22.
#[test]
fn an_instance_asks_and_is_answered_by_its_identity() {
    let mut lab = lab();
    for (at, mac, router, own, asked, identity, seen, port) in cases() {
        let sent = asks(router, mac, own, asked, port);
        let seen_by_service = asks(HOST, ServicePort::ROUTER, identity, seen, port);
        lab.sends(at, &sent, SERVICE, &seen_by_service);
        let reply = answers(ServicePort::ROUTER, HOST, seen, identity, port);
        let taken = answers(mac, router, asked, own, port);
        if port != 80 {
            lab.sends(SERVICE, &reply, at, &taken);
            continue;
        }
        // ADDR-18: the metadata service's answer lives one hop; the sample has TTL 1 anyway.
        let mut reply = reply;
        crate::frames::set_ttl(&mut reply, 64);
        lab.sends(SERVICE, &reply, at, &taken);
    }
}

/// ADDR-18: as far as the attachment's metadata options let it.
#[test]
fn metadata_answers_live_as_many_hops_as_the_state_says() {
    let mut lab = lab();
    let mut reply = answers(ServicePort::ROUTER, HOST, "169.254.169.254", "100.64.0.0", 80);
    let mut taken = answers(A, r1(), "169.254.169.254", "10.0.1.10", 80);
    for (limit, sent) in [(1, 64), (3, 64), (64, 1)] {
        lab.change(|model| {
            let eni = model.enis.get_mut("eni-a").unwrap();
            eni.attachment.as_mut().unwrap().metadata_hop_limit = limit;
        });
        crate::frames::set_ttl(&mut reply, sent);
        crate::frames::set_ttl(&mut taken, limit);
        lab.sends(SERVICE, &reply, AT_A, &taken);
    }
}

/// ADDR-20.
#[test]
fn all_services_share_an_allowance() {
    let mut lab = lab();
    let metadata = asks(r1(), A, "10.0.1.10", "169.254.169.254", 80);
    let resolver = asks(r1(), A, "10.0.1.10", "10.0.0.2", 53);
    for _ in 0..512 {
        assert!(matches!(lab.send(AT_A, &metadata), Outcome::Sent(SERVICE, _)));
        assert!(matches!(lab.send(AT_A, &resolver), Outcome::Sent(SERVICE, _)));
    }
    lab.drops(AT_A, &metadata, Reason::DnsPps);
    lab.drops(AT_A, &resolver, Reason::DnsPps);
    let others = asks(r1(), B2, "10.0.1.21", "10.0.0.2", 53);
    assert!(matches!(lab.send(AT_B2, &others), Outcome::Sent(SERVICE, _)));
    lab.now += Duration::from_secs(1);
    assert!(matches!(lab.send(AT_A, &metadata), Outcome::Sent(SERVICE, _)));
}

#[test]
fn what_no_port_leads_to_is_dropped_by_name() {
    let mut lab = Lab::of(VXLAN, with_services(&[LinkLocal::Dns]), Neighbours(true));
    lab.drops(AT_A, &asks(r1(), A, "10.0.1.10", "169.254.169.254", 80), Reason::Service);
    lab.drops(AT_A, &asks(r1(), A, "2001:db8:0:101::a", "fd00:ec2::123", 123), Reason::Service);
    assert!(matches!(lab.send(AT_A, &asks(r1(), A, "10.0.1.10", "10.0.0.2", 53)), Outcome::Sent(SERVICE, _)));
    // ADDR-19, ADDR-22: the port is part of the service. ADDR-25: other link-local addresses.
    for (to, port) in [("10.0.0.2", 54), ("169.254.169.253", 80), ("169.254.169.1", 80)] {
        lab.drops(AT_A, &asks(r1(), A, "10.0.1.10", to, port), Reason::Service);
    }
    // ADDR-21: base plus two of a subnet that is not the VPC's first.
    lab.drops(AT_A, &asks(r1(), A, "10.0.1.10", "10.0.1.2", 53), Reason::NoMapping);
    // A source that is none of the ENI's, from one whose check is off.
    lab.drops(AT_FW, &asks(r1(), FW, "198.51.100.1", "10.0.0.2", 53), Reason::SrcCheck);
    // L2-5: in the subnet the MAC decides.
    let by_mac = asks(B2, A, "10.0.1.10", "169.254.169.254", 80);
    assert_eq!(lab.send(AT_A, &by_mac), Outcome::Dropped(Reason::DstCheck));
}

#[test]
fn a_service_reaches_identities_only() {
    let mut lab = lab();
    let from_service =
        |source: &str, destination: &str| datagram(ServicePort::ROUTER, HOST, source, destination);
    for (source, destination) in [
        // Not from a service's address; to an empty port, a port that is none, an address that the ENI has not.
        ("169.254.169.1", "100.64.0.0"),
        ("10.0.0.2", "100.64.0.0"),
        ("169.254.169.254", "10.0.1.10"),
        ("169.254.169.254", "100.64.80.0"),
        ("169.254.169.254", "100.127.255.255"),
        ("169.254.169.254", "100.64.0.9"),
        ("fd00:ec2::254", "fd77:6172:72:5::"),
        ("fd00:ec2::254", "2001:db8:0:101::a"),
    ] {
        lab.drops(SERVICE, &from_service(source, destination), Reason::ServiceReply);
    }
    let mut lab = Lab::of(VXLAN, with_services(&[LinkLocal::Dns]), Neighbours(true));
    lab.drops(SERVICE, &from_service("169.254.169.254", "100.64.0.0"), Reason::ServiceReply);
}

#[test]
fn the_host_finds_every_identity_at_one_mac() {
    let mut lab = lab();
    let request = |target: &str| Arp {
        operation: Operation::Request,
        sender_mac: HOST,
        sender_ip: [169, 254, 169, 254].into(),
        target_mac: Mac::ZERO,
        target_ip: target.parse().unwrap(),
    };
    let asked = request("100.64.16.0");
    let reply = asked.reply(ServicePort::ROUTER).frame(HOST);
    lab.sends(SERVICE, &asked.frame(Mac::BROADCAST), SERVICE, &reply);
    lab.drops(SERVICE, &request("192.0.2.1").frame(Mac::BROADCAST), Reason::ServiceReply);

    let solicitation = |target: &str| nd::solicitation(HOST, ip6("fd00:ec2::254"), ip6(target), None);
    let Outcome::Sent(SERVICE, advertisement) = lab.send(SERVICE, &solicitation("fd77:6172:72:1::")) else {
        panic!("no advertisement");
    };
    assert_eq!(readdressed(&advertisement, HOST, ServicePort::ROUTER), advertisement);
    lab.drops(SERVICE, &solicitation("2001:db8::1"), Reason::ServiceReply);
}

fn ip6(text: &str) -> std::net::Ipv6Addr {
    text.parse().unwrap()
}
