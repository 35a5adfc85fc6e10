use netlink_packet_core::{Emitable, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteProtocol, RouteType, RouteVia},
};
use proptest::prelude::*;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|digit| Some(digit.to_digit(16)? as u8)).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn prefix(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn via(hops: &[(u32, &str)]) -> Option<Path> {
    let hops = hops
        .iter()
        .map(|(interface, address)| NextHop { interface: *interface, address: address.parse().ok() });
    Some(Path::Via(hops.collect()))
}

fn one(prefix_: &str, path: Option<Path>) -> Result<Vec<Update>, RouteError> {
    Ok(vec![Update { prefix: prefix(prefix_), path }])
}

// Frames that FRR 8.4.4 sent, without their FPM header of four octets.

const V4: &str = "3c000000 1800 0105 00000000 8b7202d9  020c0000 feba0001 00000000 08000100 ac100000 \
                  08000600 14000000 08000500 a9fe0a02 08000400 02000000";
const ECMP: &str = "50000000 1800 0105 00000000 8b7202d9  02100000 feba0001 00000000 08000100 c0a80000 \
                    08000600 14000000 24000980 10000000 02000000 08000500 a9fe0a02 10000000 03000000 \
                    08000500 a9fe0a06";
const V6: &str = "54000000 1800 0104 00000000 8b7202d9  0a300000 feba0001 00000000 \
                  14000100 fd00000c000000000000000000000000 08000600 14000000 \
                  14000500 fe800000000000008845acfffef6c2ca 08000400 02000000";
const DELETE: &str = "2c000000 1900 0104 00000000 8b7202d9  02100000 fe020000 00000000 08000100 c0a80000 \
                      08000600 14000000";
/// 192.168.0.0/16 with a next-hop group.
const GROUP: &str = "34000000 1800 0105 00000000 8b7202d9  02100000 feba0001 00000000 08000100 c0a80000 \
                     08000600 14000000 08001e00 23000000";

#[test]
fn rt_19_a_route_is_its_prefix_and_next_hop() {
    assert_eq!(updates(&bytes(V4)), one("172.16.0.0/12", via(&[(2, "169.254.10.2")])));
}

#[test]
fn an_ipv6_route_has_a_link_local_next_hop_and_an_interface() {
    let path = via(&[(2, "fe80::8845:acff:fef6:c2ca")]);
    assert_eq!(updates(&bytes(V6)), one("fd00:c::/48", path));
}

#[test]
fn pt_15_an_equal_cost_route_has_all_its_next_hops() {
    let path = via(&[(2, "169.254.10.2"), (3, "169.254.10.6")]);
    assert_eq!(updates(&bytes(ECMP)), one("192.168.0.0/16", path));
}

#[test]
fn bgp_9_a_withdrawal_counts_though_it_names_the_protocol_kernel() {
    assert_eq!(updates(&bytes(DELETE)), one("192.168.0.0/16", None));
}

#[test]
fn all_messages_of_a_frame_are_read() {
    let hops = [(2, "169.254.10.2"), (3, "169.254.10.6")];
    let both = [bytes(DELETE), bytes(ECMP)].concat();
    let expected = [None, via(&hops)].map(|path| Update { prefix: prefix("192.168.0.0/16"), path });
    assert_eq!(updates(&both), Ok(expected.into()));
}

#[test]
fn a_next_hop_group_is_an_error_with_the_fix_and_spoils_its_frame() {
    let error = RouteError::NextHopGroup(prefix("192.168.0.0/16"));
    assert_eq!(updates(&bytes(GROUP)), Err(error));
    assert_eq!(updates(&[bytes(DELETE), bytes(GROUP)].concat()), Err(error));
    assert!(error.to_string().contains("`no fpm use-next-hop-groups`"));
}

#[test]
fn next_hop_objects_are_skipped() {
    // RTM_NEWNEXTHOP and RTM_DELNEXTHOP.
    let object = |kind| [&24_u32.to_ne_bytes()[..], &u16::to_ne_bytes(kind), &[0; 18]].concat();
    assert_eq!(updates(&[object(104), bytes(DELETE), object(105)].concat()).unwrap().len(), 1);
}

#[test]
fn rt_19_a_route_of_another_protocol_says_that_bgp_has_none() {
    let mut connected = bytes(V4);
    connected[MESSAGE_HEADER + 5] = 2;
    assert_eq!(updates(&connected), one("172.16.0.0/12", None));
}

#[test]
fn routes_of_other_tables_are_skipped() {
    let mut other = bytes(V4);
    other[MESSAGE_HEADER + 4] = 100;
    assert_eq!(updates(&other), Ok(vec![]));
}

#[test]
fn blackhole_unreachable_and_prohibit_lead_nowhere() {
    for kind in [RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT] {
        let mut route = bytes(DELETE);
        route[4..6].copy_from_slice(&RTM_NEWROUTE.to_ne_bytes());
        route[MESSAGE_HEADER + 5] = BGP;
        route[MESSAGE_HEADER + 7] = kind;
        assert_eq!(updates(&route), one("192.168.0.0/16", Some(Path::Blackhole)));
    }
}

#[test]
fn faults_are_named() {
    let change = |at: usize, value: &[u8]| {
        let mut route = bytes(V4);
        route[at..at + value.len()].copy_from_slice(value);
        updates(&route).unwrap_err()
    };
    assert_eq!(change(0, &[61]), RouteError::Length("a message"));
    assert_eq!(change(0, &[15]), RouteError::Length("a message"));
    assert_eq!(change(0, &[20]), RouteError::Length("a route"));
    assert_eq!(change(MESSAGE_HEADER + 1, &[33]), RouteError::Value("prefix length"));
    assert_eq!(change(MESSAGE_HEADER + 7, &[5]), RouteError::Value("type of a BGP route"));
    assert_eq!(change(28, &[3]), RouteError::Length("an attribute"));
    assert_eq!(change(28, &[0xff, 0xff]), RouteError::Length("an attribute"));
}

/// One hostile frame must not end the process: next hops in next hops, as deep as 64 KiB allow.
#[test]
fn nested_next_hops_are_not_followed() {
    let mut inner = Vec::new();
    while inner.len() < 65_000 {
        let len = inner.len() as u16 + 8;
        let attribute = [(len + 4).to_ne_bytes(), RTA_MULTIPATH.to_ne_bytes()].concat();
        inner = [&attribute[..], &len.to_ne_bytes(), &[0, 0], &1_u32.to_ne_bytes(), &inner].concat();
    }
    let route = [AF_INET, 16, 0, 0, 254, BGP, 0, RTN_UNICAST, 0, 0, 0, 0];
    let len = (MESSAGE_HEADER + route.len() + inner.len()) as u32;
    let message = [&len.to_ne_bytes()[..], &RTM_NEWROUTE.to_ne_bytes(), &[0; 10], &route, &inner].concat();
    assert_eq!(updates(&message), one("0.0.0.0/16", via(&[(1, "")])));
}

fn address(v6: bool) -> impl Strategy<Value = IpAddr> {
    any::<u128>().prop_map(move |bits| {
        if v6 { Ipv6Addr::from_bits(bits).into() } else { Ipv4Addr::from_bits(bits as u32).into() }
    })
}

/// A route message and what it means.
fn route() -> impl Strategy<Value = (RouteMessage, Update)> {
    any::<bool>().prop_flat_map(|v6| {
        let most: u8 = if v6 { 128 } else { 32 };
        let hop = (any::<bool>(), 1..9u32, any::<bool>()).prop_flat_map(move |(other, interface, known)| {
            (address(v6 ^ other), Just((other, interface, known)))
        });
        (address(v6), 0..=most, proptest::collection::vec(hop, 1..5), any::<bool>()).prop_map(
            move |(destination, len, hops, multipath)| message(v6, destination, len, &hops, multipath),
        )
    })
}

type TestHop = (IpAddr, (bool, u32, bool));

fn message(
    v6: bool,
    destination: IpAddr,
    len: u8,
    hops: &[TestHop],
    multipath: bool,
) -> (RouteMessage, Update) {
    let prefix = IpNet::new(destination, len).unwrap().trunc();
    let header = RouteHeader {
        address_family: if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet },
        destination_prefix_length: len,
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Bgp,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    let mut message = RouteMessage::default();
    message.header = header;
    message.attributes = vec![RouteAttribute::Destination(destination.into()), RouteAttribute::Priority(20)];
    let neighbour = |address: IpAddr, other: bool| {
        if other {
            RouteAttribute::Via(RouteVia::from(address))
        } else {
            RouteAttribute::Gateway(address.into())
        }
    };
    let used = if multipath { hops } else { &hops[..1] };
    if multipath {
        let hops = hops.iter().map(|(address, (other, interface, known))| {
            let mut hop = RouteNextHop::default();
            hop.interface_index = *interface;
            hop.attributes = if *known { vec![neighbour(*address, *other)] } else { vec![] };
            hop
        });
        message.attributes.push(RouteAttribute::MultiPath(hops.collect()));
    } else if let [(address, (other, interface, known)), ..] = *hops {
        message.attributes.push(RouteAttribute::Oif(interface));
        message.attributes.extend(known.then(|| neighbour(address, other)));
    }
    let hops = used.iter().map(|(address, (_, interface, known))| NextHop {
        interface: *interface,
        address: known.then_some(*address),
    });
    let hops: std::collections::BTreeSet<NextHop> = hops.collect();
    (message, Update { prefix, path: Some(Path::Via(hops.into_iter().collect())) })
}

fn emitted(message: RouteMessage) -> Vec<u8> {
    let mut message = NetlinkMessage::from(RouteNetlinkMessage::NewRoute(message));
    message.header.flags = NLM_F_REQUEST | NLM_F_CREATE;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes[..]);
    bytes
}

proptest! {
    /// What another implementation writes is read.
    #[test]
    fn reads_what_netlink_packet_route_writes(routes in proptest::collection::vec(route(), 0..5)) {
        let (messages, expected): (Vec<_>, Vec<_>) = routes.into_iter().unzip();
        let frame: Vec<u8> = messages.into_iter().flat_map(emitted).collect();
        prop_assert_eq!(updates(&frame), Ok(expected));
    }

    #[test]
    fn no_bytes_make_it_panic(
        routes in proptest::collection::vec(route(), 1..3),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut frame: Vec<u8> = routes.into_iter().flat_map(|(message, _)| emitted(message)).collect();
        for (at, value) in changes {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        let _ = updates(&frame);
        let _ = updates(&frame[..cut.index(frame.len())]);
    }
}
