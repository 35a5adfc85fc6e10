//! IPv6 neighbour discovery: the node answers for a whole subnet, and for itself on an uplink (semantics L2-20 to L2-25).

use std::net::{IpAddr, Ipv6Addr};

use super::{Answer, Learned, Station, Subnet};
use crate::{
    packet::{
        Buffer, Headers, Mac,
        nd::{self, Advertisement, Message, RouterAdvertisement},
    },
    pipeline::Reason,
};

/// fe80:ec2::1, the router's link-local address, the same in every subnet, besides the one made of its MAC (L2-20).
pub const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0xec2, 0, 0, 0, 0, 0, 1);

/// Whether an instance's packet is the node's to consume by [`answer`]: neighbour and multicast listener discovery.
pub const fn is_for_node(headers: &Headers) -> bool {
    nd::is_message(headers) || nd::is_listener_message(headers)
}

/// Answers a packet of an instance for which [`is_for_node`] holds, in place.
pub fn answer<B: Buffer>(buffer: &mut B, headers: &Headers, subnet: &impl Subnet) -> Answer {
    // L2-24: consumed; IPv6 multicast is not forwarded.
    if nd::is_listener_message(headers) {
        return Answer::Drop(Reason::NdUnanswered);
    }
    match nd::parse(buffer.data(), headers) {
        Err(reason) => Answer::Drop(reason),
        Ok(Message::Solicitation { target, source, mac }) => match owner(target, source, mac, subnet) {
            Some((mac, router)) => {
                let asker = (!source.is_unspecified()).then_some(source);
                let asker_mac = subnet.asker();
                written(Advertisement { target, mac, router, asker, asker_mac }.write(buffer))
            }
            None => Answer::Drop(Reason::NdUnanswered),
        },
        // L2-20
        Ok(Message::RouterSolicitation { source, mac }) => match subnet.prefix6() {
            Some(prefix) if honest(source, mac, subnet) => {
                let receiver = (!source.is_unspecified()).then_some(source);
                let (receiver_mac, mtu) = (subnet.asker(), subnet.mtu());
                let advertisement = RouterAdvertisement {
                    mac: subnet.router(),
                    router: ROUTER,
                    receiver_mac,
                    receiver,
                    mtu,
                    prefix,
                };
                written(advertisement.write(buffer))
            }
            _ => Answer::Drop(Reason::NdUnanswered),
        },
        // L2-22: the node solicits nothing of an instance, so every advertisement is unsolicited.
        Ok(Message::Advertisement { .. } | Message::RouterAdvertisement | Message::Redirect) => {
            Answer::Drop(Reason::NdSpoof)
        }
    }
}

/// The outcome of writing an answer into the buffer.
fn written(fits: bool) -> Answer {
    if fits { Answer::Reply } else { Answer::Drop(Reason::NoHeadroom) }
}

/// Whether the asker has `address`: one of those of the state, or its link-local one.
fn asker_has(address: Ipv6Addr, subnet: &impl Subnet) -> bool {
    subnet.asker_has(address.into()) || address == subnet.asker().link_local()
}

/// Whether the asker says the truth about itself (as L2-16), as far as it says anything.
fn honest(source: Ipv6Addr, mac: Option<Mac>, subnet: &impl Subnet) -> bool {
    mac.is_none_or(|mac| mac == subnet.asker()) && (source.is_unspecified() || asker_has(source, subnet))
}

/// The MAC to answer a solicitation with and whether it is the router's; `None` for silence.
fn owner(target: Ipv6Addr, source: Ipv6Addr, mac: Option<Mac>, subnet: &impl Subnet) -> Option<(Mac, bool)> {
    // L2-23: an address that the asker tests and has is free for it.
    if !honest(source, mac, subnet) || (source.is_unspecified() && asker_has(target, subnet)) {
        return None;
    }
    // L2-21
    let router = subnet.router();
    if subnet.is_router(target.into()) || target == ROUTER || target == router.link_local() {
        return Some((router, true));
    }
    let mac = match link_local_mac(target) {
        Some(mac) => subnet.has_eni(mac).then_some(mac),
        None => subnet.eni(target.into()),
    };
    Some((mac?, false))
}

/// The MAC of which `address` is the link-local address, if it is one's: the inverse of [`Mac::link_local`].
fn link_local_mac(address: Ipv6Addr) -> Option<Mac> {
    let [.., a, b, c, _, _, d, e, f] = address.octets();
    let mac = Mac([a ^ 2, b, c, d, e, f]);
    (mac.link_local() == address).then_some(mac)
}

/// Answers a neighbour-discovery packet of an uplink, in place, and says what it tells of a neighbour: advertisements and
/// solicitations for the own address do.
pub fn answer_uplink<B: Buffer>(
    buffer: &mut B,
    headers: &Headers,
    station: &Station<'_>,
) -> (Answer, Option<Learned>) {
    let (mut answer, mut learned) = (Answer::Drop(Reason::UnderlayNeighbour), None);
    // Of other stations' groups, the node needs to know nothing.
    if nd::is_listener_message(headers) {
        return (answer, learned);
    }
    let frame_source =
        Mac(*buffer.data().first_chunk::<12>().and_then(|macs| macs.last_chunk()).unwrap_or(&[0; 6]));
    match nd::parse(buffer.data(), headers) {
        Err(reason) => answer = Answer::Drop(reason),
        Ok(Message::Solicitation { target, source, mac }) if station.addresses.contains(&target.into()) => {
            learned = mac.and_then(|mac| station.learn(source.into(), mac));
            let asker = (!source.is_unspecified()).then_some(source);
            // RFC 4861 §7.2.4 allows to answer to where the request came from, without resolving the asker first.
            let asker_mac = mac.unwrap_or(frame_source);
            answer = written(
                Advertisement { target, mac: station.mac, router: false, asker, asker_mac }.write(buffer),
            );
        }
        Ok(Message::Advertisement { target, mac, solicited }) => {
            // The answer to a unicast probe may leave its MAC out (RFC 4861 §4.4): it is the frame's then.
            let mac = mac.or(solicited.then_some(frame_source));
            learned = mac.and_then(|mac| station.learn(IpAddr::V6(target), mac));
        }
        Ok(_) => {}
    }
    (answer, learned)
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{OWN, PEER, ROUTER as ROUTER_MAC, Small, ip},
        *,
    };
    use crate::packet::{HeapBuffer, checksum::Sum, parse, sample};

    fn v6(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    /// A duplicate-address probe: a solicitation from `::`, without option.
    fn probe(target: Ipv6Addr) -> Vec<u8> {
        let mut frame = nd::solicitation(OWN, Ipv6Addr::UNSPECIFIED, target, None).to_vec();
        frame.truncate(78);
        // The checksum covers the length, and the option that is gone.
        let option = [0x0101u16, 0x0200, 0x0000, 0x010a];
        let mut checksum = u16::from_be_bytes([frame[56], frame[57]]);
        for word in option {
            checksum = crate::packet::checksum::update(checksum, word, 0);
        }
        checksum = crate::packet::checksum::update(checksum, 32, 24);
        frame[56..58].copy_from_slice(&checksum.to_be_bytes());
        frame[19] = 24;
        frame
    }

    fn asked(frame: &[u8]) -> Result<(Mac, Ipv6Addr, u8), Reason> {
        let mut buffer = HeapBuffer::new(frame);
        match answer(&mut buffer, &parse(frame).unwrap(), &Small) {
            Answer::Drop(reason) => Err(reason),
            Answer::Reply => {
                let headers = parse(buffer.data()).unwrap();
                let (source, destination) = crate::packet::ipv6_endpoints(buffer.data());
                match nd::parse(buffer.data(), &headers).unwrap() {
                    Message::Advertisement { target, mac, .. } => {
                        assert_eq!(source, target);
                        Ok((mac.unwrap(), destination, buffer.data()[58]))
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn answers_for_the_subnet() {
        let own = v6("fd00:1::a");
        let ask = |source, target| asked(&nd::solicitation(OWN, source, target, None));
        let (solicited, router) = (0x60, 0xe0);
        // L2-21
        assert_eq!(ask(own, v6("fd00:1::b")), Ok((PEER, own, solicited)));
        assert_eq!(ask(OWN.link_local(), v6("fd00:1::b")), Ok((PEER, OWN.link_local(), solicited)));
        assert_eq!(ask(own, PEER.link_local()), Ok((PEER, own, solicited)));
        for target in [v6("fd00:1::1"), v6("fe80:ec2::1"), ROUTER_MAC.link_local()] {
            assert_eq!(ask(own, target), Ok((ROUTER_MAC, own, router)), "{target}");
        }
        let unanswered = Err(Reason::NdUnanswered);
        assert_eq!(ask(own, v6("fd00:1::99")), unanswered);
        assert_eq!(ask(own, v6("fe80::99")), unanswered);
        assert_eq!(ask(own, Mac([2, 9, 9, 9, 9, 9]).link_local()), unanswered);
        // Somebody else's addresses as the asker's (as L2-16).
        assert_eq!(ask(v6("fd00:1::b"), v6("fd00:1::1")), unanswered);
        assert_eq!(ask(PEER.link_local(), v6("fd00:1::1")), unanswered);
        assert_eq!(asked(&nd::solicitation(PEER, own, v6("fd00:1::1"), None)), unanswered);
    }

    #[test]
    fn duplicate_address_detection() {
        // L2-23
        assert_eq!(asked(&probe(v6("fd00:1::a"))), Err(Reason::NdUnanswered));
        assert_eq!(asked(&probe(OWN.link_local())), Err(Reason::NdUnanswered));
        assert_eq!(asked(&probe(v6("fd00:1::77"))), Err(Reason::NdUnanswered));
        assert_eq!(asked(&probe(v6("fd00:1::b"))), Ok((PEER, nd::ALL_NODES, 0x20)));
        assert_eq!(asked(&probe(v6("fd00:1::1"))), Ok((ROUTER_MAC, nd::ALL_NODES, 0xa0)));
    }

    #[test]
    fn routers_are_told_of_who_looks_for_them() {
        // L2-20: the smallest solicitation, from an address and with a link-layer address or without.
        let ask = |source: Ipv6Addr, mac: Option<Mac>| {
            let mut frame = sample::ipv6((source, v6("ff02::2")), 58, &[133, 0, 0, 0, 0, 0, 0, 0]);
            if let Some(mac) = mac {
                frame.extend([1, 1]);
                frame.extend(mac.0);
                frame[19] = 16;
            }
            let body = frame.get(54..).unwrap();
            let pseudo = Sum::pseudo_v6(source, v6("ff02::2"), 58, body.len() as u32);
            let checksum = pseudo.plus(Sum::of(body)).checksum();
            frame[56..58].copy_from_slice(&checksum.to_be_bytes());
            let mut buffer = HeapBuffer::new(&frame);
            let answer = answer(&mut buffer, &parse(&frame).unwrap(), &Small);
            (answer, buffer.data().to_vec())
        };
        let told = |receiver| {
            let prefix = "fd00:1::/64".parse().unwrap();
            let (mac, receiver_mac) = (ROUTER_MAC, OWN);
            RouterAdvertisement { mac, router: ROUTER, receiver_mac, receiver, mtu: 1500, prefix }
                .frame()
                .to_vec()
        };
        let own = OWN.link_local();
        assert_eq!(ask(own, Some(OWN)), (Answer::Reply, told(Some(own))));
        assert_eq!(ask(v6("fd00:1::a"), None), (Answer::Reply, told(Some(v6("fd00:1::a")))));
        assert_eq!(ask(Ipv6Addr::UNSPECIFIED, None), (Answer::Reply, told(None)));
        for (source, mac) in [(own, Some(PEER)), (PEER.link_local(), None), (v6("fd00:1::b"), Some(OWN))] {
            assert_eq!(ask(source, mac).0, Answer::Drop(Reason::NdUnanswered), "{source} {mac:?}");
        }
        // RFC 4861 §6.1.1.
        assert_eq!(ask(Ipv6Addr::UNSPECIFIED, Some(OWN)).0, Answer::Drop(Reason::Malformed));
    }

    #[test]
    fn consumes_the_rest() {
        // L2-22
        let claim =
            Advertisement { target: v6("fd00:1::a"), mac: OWN, router: false, asker: None, asker_mac: PEER };
        assert_eq!(asked(&claim.frame()), Err(Reason::NdSpoof));
        // L2-24: an MLDv2 report.
        let report = sample::ipv6((OWN.link_local(), v6("ff02::16")), 58, &[143, 0, 0, 0, 0, 0, 0, 0]);
        assert!(is_for_node(&parse(&report).unwrap()));
        assert_eq!(asked(&report), Err(Reason::NdUnanswered));
        let echo = sample::ipv6((OWN.link_local(), v6("ff02::1")), 58, &[128, 0, 0, 0, 0, 0, 0, 0]);
        assert!(!is_for_node(&parse(&echo).unwrap()));
    }

    #[test]
    fn speaks_for_itself_on_an_uplink() {
        let own = v6("2001:db8::1");
        let peer = v6("2001:db8::2");
        let station = Station { mac: OWN, addresses: &[own.into()] };
        let hear = |frame: &[u8]| {
            let mut buffer = HeapBuffer::new(frame);
            let (answer, learned) = answer_uplink(&mut buffer, &parse(frame).unwrap(), &station);
            (answer, learned.map(|learned| (learned.address, learned.mac)), buffer.data().to_vec())
        };
        let known = Some((ip("2001:db8::2"), PEER));
        let quiet = Answer::Drop(Reason::UnderlayNeighbour);
        let (answer, learned, reply) = hear(&nd::solicitation(PEER, peer, own, None));
        assert_eq!((answer, learned), (Answer::Reply, known));
        let told = Advertisement { target: own, mac: OWN, router: false, asker: Some(peer), asker_mac: PEER };
        assert_eq!(reply, told.frame());
        let (answer, learned, _) = hear(&nd::solicitation(PEER, peer, v6("2001:db8::3"), None));
        assert_eq!((answer, learned), (quiet, None));
        let told = Advertisement { target: peer, mac: PEER, router: true, asker: Some(own), asker_mac: OWN };
        let (answer, learned, _) = hear(&told.frame());
        assert_eq!((answer, learned), (quiet, known));
        let claim = Advertisement { target: own, ..told };
        assert_eq!(hear(&claim.frame()).1, None, "claims our address");
        let (answer, learned, _) = hear(&probe(own));
        assert_eq!((answer, learned), (Answer::Reply, None));
        // An MLDv2 report, which every kernel on the link sends.
        let report = sample::ipv6((PEER.link_local(), v6("ff02::16")), 58, &[143, 0, 0, 0, 0, 0, 0, 0]);
        let (answer, learned, _) = hear(&report);
        assert_eq!((answer, learned), (quiet, None));
    }
}
