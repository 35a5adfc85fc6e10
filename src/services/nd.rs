//! IPv6 neighbour discovery: the node answers for a whole subnet, and for itself on an uplink (semantics L2-21 to L2-25).

use std::net::{IpAddr, Ipv6Addr};

use super::{Answer, Learned, Station, Subnet};
use crate::{
    packet::{
        Buffer, Headers, Mac,
        nd::{self, Advertisement, Message},
    },
    pipeline::Reason,
};

/// The router's link-local address, the same in every subnet, besides the one made of its MAC (L2-20).
pub const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xec2, 1);

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
                reply(buffer, Advertisement { target, mac, router, asker, asker_mac: subnet.asker() })
            }
            None => Answer::Drop(Reason::NdUnanswered),
        },
        // L2-20's answer is a router advertisement, which this node doesn't send.
        Ok(Message::RouterSolicitation) => Answer::Drop(Reason::NdUnanswered),
        // L2-22: the node solicits nothing of an instance, so every advertisement is unsolicited.
        Ok(Message::Advertisement { .. } | Message::RouterAdvertisement | Message::Redirect) => {
            Answer::Drop(Reason::NdSpoof)
        }
    }
}

fn reply<B: Buffer>(buffer: &mut B, advertisement: Advertisement) -> Answer {
    if advertisement.write(buffer) { Answer::Reply } else { Answer::Drop(Reason::NoHeadroom) }
}

/// The MAC to answer a solicitation with and whether it is the router's; `None` for silence.
fn owner(target: Ipv6Addr, source: Ipv6Addr, mac: Option<Mac>, subnet: &impl Subnet) -> Option<(Mac, bool)> {
    let asker_has =
        |address: Ipv6Addr| subnet.asker_has(address.into()) || address == subnet.asker().link_local();
    // As L2-16: the asker says the truth about itself.
    let honest =
        mac.is_none_or(|mac| mac == subnet.asker()) && (source.is_unspecified() || asker_has(source));
    // L2-23: an address that the asker tests and has is free for it.
    if !honest || (source.is_unspecified() && asker_has(target)) {
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
    let frame_source =
        Mac(*buffer.data().first_chunk::<12>().and_then(|macs| macs.last_chunk()).unwrap_or(&[0; 6]));
    match nd::parse(buffer.data(), headers) {
        Err(reason) => answer = Answer::Drop(reason),
        Ok(Message::Solicitation { target, source, mac }) if station.addresses.contains(&target.into()) => {
            learned = mac.and_then(|mac| station.learn(source.into(), mac));
            let asker = (!source.is_unspecified()).then_some(source);
            // RFC 4861 §7.2.4 allows to answer to where the request came from, without resolving the asker first.
            let asker_mac = mac.unwrap_or(frame_source);
            answer =
                reply(buffer, Advertisement { target, mac: station.mac, router: false, asker, asker_mac });
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
