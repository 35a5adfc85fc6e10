//! ARP: the node answers for a whole subnet, and for itself on an uplink (semantics L2-10 to L2-16).

use std::net::IpAddr;

use super::{Answer, Learned, Station, Subnet};
use crate::{
    packet::{
        Buffer, Mac,
        arp::{Arp, Operation},
    },
    pipeline::Reason,
    tables::LinkLocal,
};

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
    if subnet.is_router(target) || LinkLocal::at(target).is_some() {
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

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{OWN, PEER, ROUTER, Small, ip},
        *,
    };
    use crate::packet::HeapBuffer;

    fn arp(operation: Operation, sender_mac: Mac, sender: &str, target: &str) -> Arp {
        let (sender_ip, target_ip) = (sender.parse().unwrap(), target.parse().unwrap());
        Arp { operation, sender_mac, sender_ip, target_mac: Mac::ZERO, target_ip }
    }

    /// The MAC that a request is answered with.
    fn asked(operation: Operation, sender_mac: Mac, sender: &str, target: &str) -> Result<Mac, Reason> {
        let request = arp(operation, sender_mac, sender, target);
        let mut buffer = HeapBuffer::new(&request.frame(Mac::BROADCAST));
        match answer(&mut buffer, &Small) {
            Answer::Reply => {
                let reply = Arp::parse(buffer.data()).unwrap();
                assert_eq!(reply, request.reply(reply.sender_mac));
                assert_eq!(buffer.data(), reply.frame(sender_mac));
                Ok(reply.sender_mac)
            }
            Answer::Drop(reason) => Err(reason),
        }
    }

    #[test]
    fn answers_for_the_subnet() {
        use Operation::Request;
        let cases = [
            ("10.0.1.10", "10.0.1.11", Ok(PEER)),                     // L2-10
            ("10.0.1.12", "10.0.1.11", Ok(PEER)),                     // L2-10, from a secondary address
            ("10.0.1.10", "10.0.1.1", Ok(ROUTER)),                    // L2-11
            ("10.0.1.10", "10.0.1.99", Err(Reason::ArpUnanswered)),   // L2-12
            ("10.0.1.10", "10.0.2.1", Err(Reason::ArpUnanswered)),    // L2-13
            ("10.0.1.10", "169.254.169.254", Ok(ROUTER)),             // L2-13
            ("10.0.1.10", "169.254.1.1", Err(Reason::ArpUnanswered)), // L2-13
            ("10.0.1.10", "10.0.1.10", Err(Reason::Garp)),            // L2-14
            ("10.0.1.11", "10.0.1.11", Err(Reason::Garp)),            // L2-14, for another's address
            ("0.0.0.0", "10.0.1.10", Err(Reason::ArpUnanswered)),     // L2-15
            ("0.0.0.0", "10.0.1.11", Ok(PEER)),                       // a conflict
            ("10.0.1.11", "10.0.1.1", Err(Reason::ArpUnanswered)),    // L2-16
        ];
        for (sender, target, expected) in cases {
            assert_eq!(asked(Request, OWN, sender, target), expected, "{sender} asks for {target}");
        }
        assert_eq!(asked(Request, PEER, "10.0.1.10", "10.0.1.1"), Err(Reason::ArpUnanswered), "L2-16");
        assert_eq!(asked(Operation::Reply, OWN, "10.0.1.10", "10.0.1.11"), Err(Reason::Garp), "L2-14");
    }

    #[test]
    fn speaks_for_itself_on_an_uplink() {
        let station = Station { mac: OWN, addresses: &[ip("192.0.2.1")] };
        let hear = |operation, mac, sender, target| {
            let mut buffer = HeapBuffer::new(&arp(operation, mac, sender, target).frame(OWN));
            let (answer, learned) = answer_uplink(&mut buffer, &station);
            let told = (answer == Answer::Reply).then(|| Arp::parse(buffer.data()).unwrap().sender_mac);
            (told.ok_or(answer), learned.map(|learned| (learned.address, learned.mac)))
        };
        let quiet = Err(Answer::Drop(Reason::UnderlayNeighbour));
        let peer = Some((ip("192.0.2.2"), PEER));
        use Operation::{Reply, Request};
        assert_eq!(hear(Request, PEER, "192.0.2.2", "192.0.2.1"), (Ok(OWN), peer));
        assert_eq!(hear(Request, PEER, "0.0.0.0", "192.0.2.1"), (Ok(OWN), None), "a probe");
        assert_eq!(hear(Request, PEER, "192.0.2.2", "192.0.2.3"), (quiet, None), "for another");
        assert_eq!(hear(Reply, PEER, "192.0.2.2", "192.0.2.1"), (quiet, peer));
        assert_eq!(hear(Reply, PEER, "192.0.2.1", "192.0.2.1"), (quiet, None), "claims our address");
        assert_eq!(hear(Reply, Mac::BROADCAST, "192.0.2.2", "192.0.2.1"), (quiet, None), "no station's MAC");
    }
}
