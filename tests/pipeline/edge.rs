//! A node that serves gateways, as an operator would set it up for VPC V: a NAT gateway in subnet S2, an internet gateway and
//! an egress-only one. Subnet S1 has its way out through the NAT gateway and the egress-only one, S2 through the internet
//! gateway. The port [`OUT`] leads to a router of the internet.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use smallvec::smallvec;
use warren::{
    flow::Connections,
    gateway::Flows,
    model::BlockPublicAccess,
    packet::{Mac, mapped},
    tables::{
        Blocks, Destination, Exits, Gateway, GatewayIndex, GatewayKind, GatewayPort, GroupSetIndex,
        HostIndex, Internet, LocalEni, Lpm, NatGateway, OutsideNeighbours, Place, PortIndex, Private, Role,
        RouteTable, SHARES, Seat, SubnetExits, Target, V4Key, VpcExits, Wire as Behind, ZoneIndex,
    },
};

use crate::{
    frames::{checksum, ip, packet, set_ttl},
    lab::*,
};

pub(crate) const OUT: PortIndex = EMPTY;
pub(crate) const OUT_MAC: Mac = Mac([2, 0, 0, 0, 9, 1]);
pub(crate) const ROUTER: Mac = Mac([2, 0, 0, 0, 9, 2]);
pub(crate) const NAT_MAC: Mac = Mac([2, 0, 0, 0, 9, 10]);

pub(crate) const NAT: GatewayIndex = GatewayIndex(0);
pub(crate) const IGW: GatewayIndex = GatewayIndex(1);
pub(crate) const EIGW: GatewayIndex = GatewayIndex(2);

/// The NAT gateway's addresses, inside and outside.
pub(crate) const OWN: &str = "10.0.2.5";
pub(crate) const PUBLIC: &str = "203.0.113.5";
/// A client, in both families.
pub(crate) const CLIENT: &str = "10.0.1.10";
pub(crate) const CLIENT6: &str = "2001:db8:0:101::a";
/// A server on the internet, and as NAT64 clients know it.
pub(crate) const SERVER: &str = "198.51.100.7";
pub(crate) const SERVER64: &str = "64:ff9b::198.51.100.7";
pub(crate) const SERVER6: &str = "2001:db8:5::7";

fn bits(address: &str) -> u32 {
    match ip(address) {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(_) => panic!("{address}"),
    }
}

fn routes<const N: usize>(routes: [(&str, Target); N]) -> Arc<RouteTable> {
    Arc::new(Lpm::new(routes.map(|(net, target)| (net.parse::<IpNet>().unwrap(), target))))
}

/// The number of a host in a lab's tables.
pub(crate) fn host(lab: &Lab, number: u8) -> HostIndex {
    lab.tables.hosts.at(mapped(underlay(lab.wire, number))).unwrap()
}

/// A node with the gateways, of which it serves all shares; host-a, or another whose subnets' numbers are the same.
pub(crate) fn edge(wire: Wire, number: u8) -> Lab {
    let mut site = site(wire, number);
    uplink(&mut site).mtu = 9000;
    let mut lab = Lab::of(wire, site, Neighbours(true));
    lab.flows = Flows::new(4096);
    lab.connections = Connections::new(8192);
    // By the addresses of ENIs, as another host has other ports.
    let v = vni_of(V);
    let subnet = |address: &str| lab.tables.owner(v, ip(address)).unwrap().subnet;
    let (s1, s2) = (subnet(CLIENT), subnet("10.0.2.20"));
    let inside = routes([
        ("10.0.0.0/16", Target::Local),
        ("2001:db8:0:100::/56", Target::Local),
        ("0.0.0.0/0", Target::Gateway(NAT)),
        ("64:ff9b::/96", Target::Gateway(NAT)),
        ("::/0", Target::Gateway(EIGW)),
    ]);
    let outside = routes([
        ("10.0.0.0/16", Target::Local),
        ("2001:db8:0:100::/56", Target::Local),
        ("0.0.0.0/0", Target::Gateway(IGW)),
    ]);
    let count = [s1, s2].map(|subnet| subnet.0 as usize + 1).into_iter().max().unwrap();
    let mut subnets: Vec<_> = (0..count)
        .map(|_| SubnetExits {
            vni: v,
            zone: ZoneIndex(0),
            routes: routes([]),
            acl: Arc::default(),
            router_mac: Mac::ZERO,
            router_v4: None,
        })
        .collect();
    subnets[s1.0 as usize].routes = Arc::clone(&inside);
    subnets[s2.0 as usize].routes = Arc::clone(&outside);

    let internet = || Internet { blocked: BlockPublicAccess::Off, ingress: None };
    let nat = NatGateway { subnet: s2, addresses: smallvec![bits(OWN)], public: true };
    let gateway = |id: &str, number: u32, mac: Mac, mtu: u16, kind| Gateway {
        id: id.into(),
        number,
        mac,
        vni: v,
        mtu,
        served_here: true,
        seats: Arc::new([Seat::Here; SHARES]),
        kind,
    };
    let igw_mac = Mac([2, 0, 0, 0, 9, 11]);
    let eigw_mac = Mac([2, 0, 0, 0, 9, 12]);
    let mut exits = Exits::none();
    exits.subnets = subnets.into();
    exits.gateways = [
        gateway("nat-1", 71, NAT_MAC, 9001, GatewayKind::Nat(nat)),
        gateway("igw-1", 72, igw_mac, 1500, GatewayKind::Internet(internet())),
        gateway("eigw-1", 73, eigw_mac, 1500, GatewayKind::EgressOnly(internet())),
    ]
    .into();
    exits.by_mac = Arc::new([(NAT_MAC, NAT), (igw_mac, IGW), (eigw_mac, EIGW)].into_iter().collect());
    let blocks = Blocks {
        v4: smallvec!["10.0.0.0/16".parse().unwrap()],
        v6: smallvec!["2001:db8:0:100::/56".parse().unwrap()],
    };
    let vpc = VpcExits {
        id: "vpc-v".into(),
        blocks,
        joined: smallvec![],
        neighbours: smallvec![],
        egress_only: Some(EIGW),
        internet: Some(IGW),
    };
    Arc::make_mut(&mut exits.vpcs).insert(v, vpc);
    exits.public_v6 = Arc::new(Lpm::new([("2001:db8:0:100::/56".parse().unwrap(), v)]));
    let private = Private { vni: v, address: bits(OWN), gateway: Some(IGW) };
    Arc::make_mut(&mut exits.publics).insert(bits(PUBLIC), private);
    Arc::make_mut(&mut exits.privates).insert((v, bits(OWN)), bits(PUBLIC));
    exits.internet = smallvec![OUT];
    Arc::make_mut(&mut exits.wires).insert((OUT, 0), Behind::Internet);
    let mut neighbours = OutsideNeighbours::default();
    for hop in ["198.18.0.254", "2001:db8:99::fe"] {
        neighbours.insert((OUT, 0, ip(hop)), ROUTER);
    }
    for other in (1..=3).filter(|&other| other != number) {
        let other = host(&lab, other);
        Arc::make_mut(&mut exits.edges).extend([NAT, IGW, EIGW].map(|gateway| (gateway, other)));
        Arc::make_mut(&mut exits.edges_of).insert((v, other));
    }
    let port = GatewayPort {
        mac: OUT_MAC,
        addresses: smallvec!["198.18.0.1/24".parse().unwrap(), "2001:db8:99::1/64".parse().unwrap()],
        next_hops: smallvec![ip("198.18.0.254"), ip("2001:db8:99::fe")],
        mtu: 1500,
        control: None,
    };
    lab.tables.outside = Arc::new(neighbours);
    lab.tables.exits = Arc::new(exits);
    lab.tables.ports[usize::from(OUT.0)].role = Role::Gateway(Arc::new(port));
    lab.tables.enis.v4.insert(V4Key::exact(v, bits(OWN)).slot(Destination {
        mac: NAT_MAC,
        router_mac: r2(),
        location: Place::Gateway(NAT).into(),
        subnet: s2,
        source_dest_check: false,
        groups: GroupSetIndex::EMPTY,
    }));
    for port in &mut lab.tables.ports {
        if let Role::Instance(Some(eni)) = &mut port.role {
            let routes = if eni.subnet == s1 { &inside } else { &outside };
            *eni = Arc::new(LocalEni { routes: Arc::clone(routes), mtu: 9001, ..LocalEni::clone(eni) });
        }
    }
    lab
}

/// Changes what leads out of the VPC.
pub(crate) fn change(lab: &mut Lab, change: impl FnOnce(&mut Exits)) {
    change(Arc::get_mut(&mut lab.tables.exits).expect("nobody else has it"));
    lab.decide_anew();
}

/// Changes the NAT gateway's subnet's routes.
pub(crate) fn reroute<const N: usize>(lab: &mut Lab, new: [(&str, Target); N]) {
    change(lab, |exits| {
        let GatewayKind::Nat(nat) = &exits.gateways[0].kind else { panic!() };
        Arc::make_mut(&mut exits.subnets)[nat.subnet.0 as usize].routes = routes(new);
    });
}

/// Says who has the shares of a gateway.
pub(crate) fn seat(lab: &mut Lab, gateway: GatewayIndex, who: impl Fn(u8) -> Seat) {
    change(lab, |exits| {
        let seats = &mut Arc::make_mut(&mut exits.gateways)[gateway.0 as usize].seats;
        Arc::make_mut(seats).iter_mut().zip(0..).for_each(|(seat, share)| *seat = who(share));
    });
}

/// The sum over a packet's transport and its pseudo-header: 0xffff of a right one.
fn transport_sum(frame: &[u8]) -> u16 {
    let v6 = frame[14] >> 4 == 6;
    let (addresses, protocol, payload) = if v6 {
        (&frame[22..54], frame[20], &frame[54..])
    } else {
        (&frame[26..34], frame[23], &frame[34..])
    };
    let len = (payload.len() as u32).to_be_bytes();
    let pseudo = if protocol == 1 { vec![] } else { [addresses, &len, &[0, 0, 0, protocol]].concat() };
    !checksum(&[&pseudo[..], payload].concat())
}

/// An IP packet's frame with TTL 64 and right checksums.
pub(crate) fn sound(to: Mac, from: Mac, ends: (&str, &str), protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = packet(to, from, (ip(ends.0), ip(ends.1)), protocol, payload);
    set_ttl(&mut frame, 64);
    let l4 = if frame[14] >> 4 == 6 { 54 } else { 34 };
    if let Some(at) = [(6, 16), (17, 6), (1, 2), (58, 2)].iter().find(|(of, _)| *of == protocol) {
        frame[l4 + at.1..l4 + at.1 + 2].fill(0);
        // Zero says of UDP that there is none (RFC 768).
        let sum = match !transport_sum(&frame) {
            0 if protocol == 17 => 0xffff,
            sum => sum,
        };
        frame[l4 + at.1..l4 + at.1 + 2].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

/// Whether the checksums of a packet, no fragment, without options, are right.
#[track_caller]
pub(crate) fn assert_sound(frame: &[u8]) {
    if frame[14] >> 4 == 4 {
        assert_eq!(checksum(&frame[14..34]), 0, "the IP header of {frame:02x?}");
    }
    assert_eq!(transport_sum(frame), 0xffff, "the transport of {frame:02x?}");
}

/// A transport header and some data.
pub(crate) fn segment(protocol: u8, (from, to): (u16, u16), flags: u8) -> Vec<u8> {
    match protocol {
        6 => {
            let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
            [&ports[..], &[0, 0, 0, 9, 0, 0, 0, 7, 0x50, flags, 1, 0, 0, 0, 0, 0], b"data"].concat()
        }
        17 => crate::frames::udp(from, to, b"some payload"),
        // Echo: the identifier is the port of whoever asks.
        1 | 58 => {
            let kind = match (protocol, to) {
                (1, 0) => 8,
                (1, _) => 0,
                (_, 0) => 128,
                (_, _) => 129,
            };
            [&[kind, 0, 0, 0][..], &(from | to).to_be_bytes(), &[0, 1], b"echo"].concat()
        }
        _ => panic!("{protocol}"),
    }
}

/// From the client to a server.
pub(crate) fn request(protocol: u8, ports: (u16, u16), flags: u8) -> Vec<u8> {
    sound(r1(), A, (CLIENT, SERVER), protocol, &segment(protocol, ports, flags))
}

/// From a server, at the gateway port.
pub(crate) fn response(protocol: u8, ports: (u16, u16), flags: u8) -> Vec<u8> {
    sound(OUT_MAC, ROUTER, (SERVER, PUBLIC), protocol, &segment(protocol, ports, flags))
}

/// What leaves for the internet of a frame of the client's.
#[track_caller]
pub(crate) fn leaves(lab: &mut Lab, frame: &[u8]) -> Vec<u8> {
    match lab.send(AT_A, frame) {
        Outcome::Sent(OUT, frame) => frame,
        other => panic!("{other:?}"),
    }
}

/// The source port, or the identifier, of a packet that left.
pub(crate) fn source_port(frame: &[u8]) -> u16 {
    let at = if frame[23] == 1 { 38 } else { 34 };
    u16::from_be_bytes([frame[at], frame[at + 1]])
}
