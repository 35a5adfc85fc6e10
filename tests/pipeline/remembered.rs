//! What a worker remembers of a connection is what it would decide anew: a host that has to decide about each packet does with
//! it what one does that remembers.

use std::net::IpAddr;

use proptest::{collection::vec, prelude::*, sample::select};
use warren::{
    model::{
        AclEntry, Attachment, Destination, Model, NetworkAcl, Peer, Permission, Route, Target, Traffic,
        router_mac,
    },
    packet::Mac,
    pipeline::Reason,
    tables::PortIndex,
};

use crate::{
    frames::{ACK, FIN, Outer, RST, SYN, icmp_echo, ip, packet, udp},
    lab::*,
};

/// Who takes part: the address, the MAC, the router's MAC in the subnet, and the port on host-a; or none on host-b.
pub(crate) type End = (&'static str, Mac, Mac, Option<PortIndex>);

pub(crate) fn ends() -> Vec<End> {
    vec![
        ("10.0.1.10", A, r1(), Some(AT_A)),
        ("10.0.1.21", B2, r1(), Some(AT_B2)),
        ("10.0.2.20", C2, r2(), Some(AT_C2)),
        ("10.0.1.30", FW, r1(), Some(AT_FW)),
        ("10.0.1.20", B, r1(), None),
        ("10.0.2.10", C, r2(), None),
    ]
}

/// VNIs of the VPCs in `beyond.yaml`.
const X: u32 = 900;
const Z: u32 = 800;

/// These, and who lies beyond their VPC: VPC X over a peering, one of its ENIs on host-a; Z over a transit gateway; the internet.
fn all_ends() -> Vec<End> {
    let beyond = vec![
        ("10.9.1.10", Mac([2, 0, 0, 0, 9, 1]), router_mac("subnet-x1"), None),
        ("10.9.1.20", Mac([2, 0, 0, 0, 9, 2]), router_mac("subnet-x1"), Some(EMPTY)),
        ("10.8.1.10", Mac([2, 0, 0, 0, 8, 1]), router_mac("subnet-z1"), None),
        ("198.51.100.7", Mac::ZERO, Mac::ZERO, None),
    ];
    [ends(), beyond].concat()
}

/// The VNI of the VPC that an end is in.
fn vni(end: End) -> u32 {
    match end.0 {
        "10.9.1.10" | "10.9.1.20" => X,
        "10.8.1.10" => Z,
        _ => V,
    }
}

/// host-a, which has everything in `beyond.yaml` too.
fn lab() -> Lab {
    let mut lab = Lab::new(VXLAN);
    lab.add(include_str!("beyond.yaml"));
    lab
}

/// The IPv6 address of an end.
fn v6(end: End) -> &'static str {
    match end.0 {
        "10.9.1.10" => "2001:db8:0:901::a",
        "10.9.1.20" => "2001:db8:0:901::b",
        "10.8.1.10" => "2001:db8:0:801::a",
        "10.0.1.10" => "2001:db8:0:101::a",
        "10.0.1.21" => "2001:db8:0:101::b2",
        "10.0.2.20" => "2001:db8:0:102::c2",
        "10.0.1.30" => "2001:db8:0:101::f",
        "10.0.1.20" => "2001:db8:0:101::b",
        _ => "2001:db8:0:102::c",
    }
}

/// What happens to a host.
#[derive(Clone, Debug)]
enum Step {
    /// A packet from one end to another, over IPv6 or not, over a protocol, between two ports. That of an end elsewhere arrives
    /// from a host, which may be a wrong one.
    Packet { from: End, to: End, wide: bool, protocol: u8, flags: u8, ports: [u16; 2], long: bool, host: u8 },
    /// The groups' rules become these: what comes in, what goes out.
    Rules(Vec<Permission>, Vec<Permission>),
    /// The network ACL of subnet S2 becomes this.
    Acl(Vec<AclEntry>),
    /// The route to S2's C gets another target, or goes.
    Route(Option<&'static str>),
    /// An ENI is somewhere else.
    Move(&'static str, &'static str, &'static str),
    /// An ENI's check is turned round.
    Check(&'static str),
    /// Nothing, for so many seconds.
    Wait(u64),
}

fn traffic() -> impl Strategy<Value = Traffic> {
    prop_oneof![
        Just(Traffic::All),
        (select(vec![6u8, 17]), 79u16..82, 0u16..3).prop_map(|(protocol, from, more)| Traffic::Ports {
            protocol,
            from,
            to: from + more,
        }),
        Just(Traffic::Icmp { protocol: 1, kind: Some(8), code: None }),
    ]
}

fn block() -> impl Strategy<Value = &'static str> {
    let v4 = ["0.0.0.0/0", "10.0.0.0/16", "10.0.1.0/24", "10.0.2.0/24", "10.0.1.20/32"];
    let v6 = ["::/0", "2001:db8:0:101::/64", "2001:db8:0:102::/64", "2001:db8:0:101::b/128"];
    select([&v4[..], &v6].concat())
}

fn rules() -> impl Strategy<Value = Vec<Permission>> {
    vec((traffic(), block()), 0..3).prop_map(|rules| {
        let of = |(traffic, block): (_, &str)| match block.parse() {
            Ok(peer) => {
                Permission { ranges4: vec![Peer { peer, description: None }], ..Permission::new(traffic) }
            }
            Err(_) => {
                let peer = block.parse().unwrap();
                Permission { ranges6: vec![Peer { peer, description: None }], ..Permission::new(traffic) }
            }
        };
        rules.into_iter().map(of).collect()
    })
}

fn entries() -> impl Strategy<Value = Vec<AclEntry>> {
    vec((any::<bool>(), any::<bool>(), traffic(), block()), 0..4).prop_map(|entries| {
        let of = |(number, (egress, allow, traffic, block)): (_, (_, _, _, &str))| AclEntry {
            number,
            egress,
            allow,
            traffic,
            block: block.parse().unwrap(),
        };
        let mut entries: Vec<AclEntry> = (1..).zip(entries).map(of).collect();
        entries.sort_by_key(|entry| (entry.egress, entry.number));
        entries
    })
}

/// The packets that open a connection between two ends, and more of it, in both directions.
fn connection((from, to, wide, protocol, host): (End, End, bool, u8, u8)) -> Vec<Step> {
    let packet = |(flags, back): (u8, bool)| {
        let (from, to, ports) = if back { (to, from, [80, 1025]) } else { (from, to, [1025, 80]) };
        Step::Packet { from, to, wide, protocol, flags, ports, long: false, host }
    };
    [(SYN, false), (SYN | ACK, true), (ACK, false), (ACK, false), (ACK, true)].map(packet).into()
}

fn step() -> impl Strategy<Value = Vec<Step>> {
    let flags = select(vec![SYN, SYN | ACK, ACK, ACK, ACK, FIN | ACK, RST]);
    let ports = select(vec![[1025, 80], [80, 1025], [1026, 81], [81, 1026]]);
    let protocol = select(vec![1u8, 6, 6, 17, 17]);
    let host = select(vec![2u8, 2, 2, 3]);
    let end = || prop_oneof![2 => select(ends()), 1 => select(all_ends())];
    let packet = (end(), end(), any::<bool>(), protocol, flags, ports, any::<bool>(), host);
    let eni =
        select(vec!["eni-a", "eni-b2", "eni-c2", "eni-fw", "eni-b", "eni-c", "eni-x", "eni-x2", "eni-z"]);
    let at = select(vec![("host-a", "vm5"), ("host-b", "vm4"), ("host-b", "vm5"), ("host-c", "vm5")]);
    let connected = (end(), end(), any::<bool>(), select(vec![6u8, 17]), select(vec![2u8, 3]));
    let single = prop_oneof![
        20 => packet.prop_map(|(from, to, wide, protocol, flags, ports, long, host)| {
            let protocol = if wide && protocol == 1 { 17 } else { protocol };
            Step::Packet { from, to, wide, protocol, flags, ports, long, host }
        }),
        1 => (rules(), rules()).prop_map(|(ingress, egress)| Step::Rules(ingress, egress)),
        1 => entries().prop_map(Step::Acl),
        1 => prop::option::of(select(vec!["eni-fw", "eni-fw2"])).prop_map(Step::Route),
        1 => (eni.clone(), at).prop_map(|(eni, (host, port))| Step::Move(eni, host, port)),
        1 => eni.prop_map(Step::Check),
        2 => (0u64..400).prop_map(Step::Wait),
    ];
    prop_oneof![1 => connected.prop_map(connection), 3 => single.prop_map(|step| vec![step])]
}

/// What an IP packet carries.
pub(crate) fn payload(protocol: u8, flags: u8, ports: [u16; 2], long: bool) -> Vec<u8> {
    let data = vec![0; if long { 1000 } else { 10 }];
    match protocol {
        6 => {
            let mut tcp = ports.map(u16::to_be_bytes).concat();
            tcp.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 4, 0, 0, 0, 0, 0]);
            [tcp, data].concat()
        }
        17 => udp(ports[0], ports[1], &data),
        _ => icmp_echo(if ports[0] > 1000 { 8 } else { 0 }, 7),
    }
}

/// The frame of a packet, and the port that it comes in through.
pub(crate) fn frame(from: End, to: End, protocol: u8, payload: &[u8], host: u8) -> (PortIndex, Vec<u8>) {
    frame_between(from, to, (ip(from.0), ip(to.0)), protocol, payload, host)
}

fn frame_between(
    from: End,
    to: End,
    addresses: (IpAddr, IpAddr),
    protocol: u8,
    payload: &[u8],
    host: u8,
) -> (PortIndex, Vec<u8>) {
    let routed = from.2 != to.2;
    match from.3 {
        Some(port) => {
            (port, packet(if routed { from.2 } else { to.1 }, from.1, addresses, protocol, payload))
        }
        None => {
            let inner = packet(to.1, if routed { to.2 } else { from.1 }, addresses, protocol, payload);
            (UPLINK, Outer::new(VXLAN, host, vni(to), None).around(&inner))
        }
    }
}

/// Makes a change, as far as the model stays one that `load` would accept.
fn change(model: &mut Model, step: &Step) {
    match step {
        Step::Rules(ingress, egress) => {
            let group = model.security_groups.get_mut("sg-v").unwrap();
            (group.ingress, group.egress) = (ingress.clone(), egress.clone());
        }
        Step::Acl(entries) => {
            let acl = NetworkAcl {
                id: "acl-s2".into(),
                vpc: "vpc-v".into(),
                is_default: false,
                entries: entries.clone(),
                subnets: vec!["subnet-s2".into()],
                descriptive: None,
            };
            model.network_acls.insert("acl-s2".into(), acl);
            model.subnets.get_mut("subnet-s2").unwrap().network_acl = Some("acl-s2".into());
        }
        Step::Route(target) => {
            let main = model.route_tables.values_mut().find(|table| &*table.vpc == "vpc-v" && table.main);
            let routes = &mut main.unwrap().routes;
            let destination = Destination::Block("10.0.2.10/32".parse().unwrap());
            routes.retain(|route| route.destination != destination);
            let target = target.map(|eni| Target::Eni(eni.into()));
            routes.extend(target.map(|target| Route { destination, target }));
        }
        Step::Move(eni, host, port) => {
            let at = Attachment::new((*host).into(), (*port).into());
            if model.enis.values().all(|other| other.attachment.as_ref() != Some(&at)) {
                model.enis.get_mut(*eni).unwrap().attachment = Some(at);
            }
        }
        Step::Check(eni) => {
            let eni = model.enis.get_mut(*eni).unwrap();
            eni.source_dest_check = !eni.source_dest_check;
        }
        Step::Packet { .. } | Step::Wait(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    /// SEC-11, design §2: any packets, rules and changes of the tables in between.
    #[test]
    fn what_is_remembered_is_what_would_be_decided(steps in vec(step(), 1..80)) {
        let (mut remembers, mut forgets) = (lab(), lab());
        for step in steps.iter().flatten() {
            for lab in [&mut remembers, &mut forgets] {
                match step {
                    Step::Packet { .. } => {}
                    Step::Wait(seconds) => lab.pass(*seconds),
                    other => lab.change(|model| change(model, other)),
                }
            }
            if let &Step::Packet { from, to, wide, protocol, flags, ports, long, host } = step {
                let addresses = if wide { (ip(v6(from)), ip(v6(to))) } else { (ip(from.0), ip(to.0)) };
                let payload = payload(protocol, flags, ports, long);
                let (port, frame) = frame_between(from, to, addresses, protocol, &payload, host);
                forgets.decide_anew();
                prop_assert_eq!(remembers.send(port, &frame), forgets.send(port, &frame), "{:?}", step);
            }
        }
    }
}

/// The end with an address.
fn end(address: &str) -> End {
    *all_ends().iter().find(|end| end.0 == address).unwrap()
}

/// SEC-11, design §2: of a connection, the packets that open it are decided about, and no others; wherever it leads.
#[test]
fn the_packets_of_a_connection_are_not_decided_about_again() {
    for (a, c) in [
        ("10.0.1.10", "10.0.2.10"),
        ("10.0.1.10", "10.9.1.10"),
        ("10.0.1.10", "10.8.1.10"),
        ("10.0.1.10", "198.51.100.7"),
        ("10.0.2.20", "198.51.100.7"),
        ("10.9.1.20", "10.0.2.10"),
    ] {
        let (a, c) = (end(a), end(c));
        packets_are_not_decided_about_again(a, c, (ip(a.0), ip(c.0)));
        if a.0 != "10.0.2.20" && c.0 != "198.51.100.7" {
            packets_are_not_decided_about_again(a, c, (ip(v6(a)), ip(v6(c))));
        }
    }
}

#[track_caller]
fn packets_are_not_decided_about_again(a: End, c: End, addresses: (IpAddr, IpAddr)) {
    let mut lab = lab();
    let send = |lab: &mut Lab, from_a: bool, flags| {
        let (from, to, (source, destination), ports) = match from_a {
            true => (a, c, addresses, [1025, 80]),
            false => (c, a, (addresses.1, addresses.0), [80, 1025]),
        };
        let payload = payload(6, flags, ports, false);
        let host = if ["10.8.1.10", "198.51.100.7"].contains(&c.0) { 3 } else { 2 };
        let (port, frame) = frame_between(from, to, (source, destination), 6, &payload, host);
        let outcome = lab.send(port, &frame);
        assert!(matches!(outcome, Outcome::Sent(..)), "{a:?} {c:?} {from_a} {flags} {outcome:?}");
        std::mem::take(&mut lab.sink.decided)
    };
    assert_eq!(send(&mut lab, true, SYN), 1);
    // An answer in a tracked connection is only asked where it comes from.
    assert!(send(&mut lab, false, SYN | ACK) <= 1);
    for flags in [ACK, ACK, FIN | ACK, ACK] {
        assert_eq!(
            [send(&mut lab, true, flags), send(&mut lab, false, flags)],
            [0, 0],
            "{a:?} {c:?} {flags}"
        );
    }
}

/// P-4: so are those that come from an ENI of the subnet and that nobody has answered, as long as they come from there.
#[test]
fn packets_that_nobody_answers_are_not_looked_at_again() {
    let (mut lab, b, a) = (lab(), end("10.0.1.20"), end("10.0.1.10"));
    let payload = payload(17, 0, [1025, 80], false);
    let (port, right) = frame(b, a, 17, &payload, 2);
    let (_, of_another_host) = frame(b, a, 17, &payload, 3);
    let (_, of_another) = frame(("10.0.1.20", D, r1(), None), a, 17, &payload, 2);
    let sends = |lab: &mut Lab, frame| {
        let outcome = lab.send(port, frame);
        (matches!(outcome, Outcome::Sent(AT_A, _)), std::mem::take(&mut lab.sink.decided))
    };
    assert_eq!([(); 3].map(|()| sends(&mut lab, &right)), [(true, 1), (true, 0), (true, 0)]);
    for wrong in [&of_another_host, &of_another] {
        assert_eq!(lab.send(port, wrong), Outcome::Dropped(Reason::UnderlaySpoof));
        lab.sink.decided = 0;
    }
    assert_eq!(sends(&mut lab, &right), (true, 0));
    let answer = frame(a, b, 17, &self::payload(17, 0, [80, 1025], false), 1).1;
    assert!(matches!(lab.send(AT_A, &answer), Outcome::Sent(UPLINK, _)));
    lab.sink.decided = 0;
    assert_eq!(sends(&mut lab, &right), (true, 0));
}
