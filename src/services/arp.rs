//! ARP: the node answers for a whole subnet, and for itself on an uplink (semantics L2-10 to L2-16).

use std::net::{IpAddr, Ipv4Addr};

use super::{Answer, Learned, Station, Subnet};
use crate::{
    packet::{
        Buffer, Mac,
        arp::{Arp, Operation},
    },
    pipeline::Reason,
};

/// The link-local services that the router's MAC answers for (L2-13): instance metadata (ADDR-17), the resolver
/// (ADDR-19) and the time service (ADDR-22).
const SERVICES: [Ipv4Addr; 3] =
    [Ipv4Addr::new(169, 254, 169, 254), Ipv4Addr::new(169, 254, 169, 253), Ipv4Addr::new(169, 254, 169, 123)];

/// Answers an ARP frame of an instance, in place.
pub fn answer<B: Buffer>(buffer: &mut B, subnet: &impl Subnet) -> Answer {
    let request = match Arp::parse(buffer.data()) {
        Ok(request) => request,
        Err(reason) => return Answer::Drop(reason),
    };
    // L2-14: gratuitous in either form (RFC 5227 §3), and replies, which nobody asked for.
    if request.operation == Operation::Reply || request.sender_ip == request.target_ip {
        return Answer::Drop(Reason::Garp);
    }
    match owner(&request, subnet) {
        Some(mac) => {
            request.reply_in_place(buffer, mac);
            Answer::Reply
        }
        None => Answer::Drop(Reason::ArpUnanswered),
    }
}

/// The MAC to answer a request with; `None` for silence.
fn owner(request: &Arp, subnet: &impl Subnet) -> Option<Mac> {
    let target = IpAddr::V4(request.target_ip);
    let probe = request.sender_ip.is_unspecified();
    // L2-16: the sender says the truth about itself. A probe (RFC 5227 §1.1) says no address.
    if request.sender_mac != subnet.asker() || !(probe || subnet.asker_has(request.sender_ip.into())) {
        return None;
    }
    // L2-15: nobody else has the prober's address.
    if probe && subnet.asker_has(target) {
        return None;
    }
    // L2-11, L2-13; then L2-10, or L2-12 where no ENI has it.
    if subnet.is_router(target) || SERVICES.contains(&request.target_ip) {
        return Some(subnet.router());
    }
    subnet.eni(target)
}

/// Answers an ARP frame of an uplink, in place, and says what it tells of its sender: replies and requests for the own
/// address do.
pub fn answer_uplink<B: Buffer>(buffer: &mut B, station: &Station<'_>) -> (Answer, Option<Learned>) {
    let packet = match Arp::parse(buffer.data()) {
        Ok(packet) => packet,
        Err(reason) => return (Answer::Drop(reason), None),
    };
    let learned = station.learn(packet.sender_ip.into(), packet.sender_mac);
    match packet.operation {
        Operation::Reply => (Answer::Drop(Reason::UnderlayNeighbour), learned),
        Operation::Request if station.addresses.contains(&packet.target_ip.into()) => {
            packet.reply_in_place(buffer, station.mac);
            (Answer::Reply, learned)
        }
        Operation::Request => (Answer::Drop(Reason::UnderlayNeighbour), None),
    }
}
