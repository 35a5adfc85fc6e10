//! What instances were told of their neighbours, to correct it when an address moves (L2-17).
//!
//! A secondary address moved to another ENI has another MAC from then on, but the instances that asked for it go on to use
//! the old one. So the management thread keeps, for each ENI of the node, the addresses it asked for last, with the
//! MAC it was told, and sends it an unsolicited answer when that is no longer right.

use std::net::{IpAddr, Ipv4Addr};

use hashbrown::HashMap;

use crate::{
    packet::{
        Mac,
        arp::{Arp, Operation},
        nd::Advertisement,
        set_macs,
    },
    tables::PortIndex,
};

/// Addresses kept for an ENI: the ones it asked for last.
const KEPT: usize = 256;

/// An ENI as an answer names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Its MAC.
    pub mac: Mac,
    /// Its primary IPv4 address, if it has one.
    pub primary: Option<Ipv4Addr>,
}

/// What the ENI behind a port was told.
#[derive(Default)]
struct Entry {
    /// The ENI's MAC: another ENI behind the port was told nothing.
    asker: Mac,
    /// The latest last.
    told: Vec<(IpAddr, Mac)>,
}

/// What the ENIs behind a node's ports were told.
#[derive(Default)]
pub struct Told {
    ports: HashMap<PortIndex, Entry>,
}

impl Told {
    /// Notes that the ENI `asker` behind a port was told that `address` is at `mac`.
    pub fn note(&mut self, port: PortIndex, asker: Mac, address: IpAddr, mac: Mac) {
        let entry = self.ports.entry(port).or_default();
        if entry.asker != asker {
            *entry = Entry { asker, told: Vec::new() };
        }
        entry.told.retain(|(known, _)| *known != address);
        if entry.told.len() == KEPT {
            entry.told.remove(0);
        }
        entry.told.push((address, mac));
    }

    /// The frames that correct what is no longer right. `owner` finds the ENI behind a port, and the MAC that an address in
    /// its subnet has now.
    pub fn corrections(
        &mut self,
        asker: impl Fn(PortIndex) -> Option<Asker>,
        owner: impl Fn(PortIndex, IpAddr) -> Option<Mac>,
    ) -> Vec<(PortIndex, Vec<u8>)> {
        let mut frames = Vec::new();
        for (&port, entry) in &mut self.ports {
            let Some(asker) = asker(port).filter(|asker| asker.mac == entry.asker) else {
                entry.told.clear();
                continue;
            };
            for (address, told) in &mut entry.told {
                if let Some(mac) = owner(port, *address)
                    && mac != *told
                {
                    *told = mac;
                    frames.extend(correction(asker, *address, mac).map(|frame| (port, frame)));
                }
            }
        }
        frames
    }
}

/// An unsolicited answer that `address` is at `mac`, for one ENI alone: an ARP reply, or a neighbour advertisement to all
/// nodes at that ENI's own MAC (RFC 6085).
fn correction(asker: Asker, address: IpAddr, mac: Mac) -> Option<Vec<u8>> {
    match address {
        IpAddr::V4(address) => {
            let (sender_mac, target_mac, target_ip) = (mac, asker.mac, asker.primary?);
            let arp =
                Arp { operation: Operation::Reply, sender_mac, sender_ip: address, target_mac, target_ip };
            Some(arp.frame(asker.mac).to_vec())
        }
        IpAddr::V6(target) => {
            let advertisement =
                Advertisement { target, mac, router: false, asker: None, asker_mac: asker.mac };
            let mut frame = advertisement.frame().to_vec();
            set_macs(&mut frame, asker.mac, mac);
            Some(frame)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{OWN, PEER, ip},
        *,
    };
    use crate::packet::{macs, nd, parse};

    const PORT: PortIndex = PortIndex(3);
    const NEW: Mac = Mac([2, 0, 0, 0, 1, 0x77]);

    fn eni(mac: Mac) -> impl Fn(PortIndex) -> Option<Asker> {
        move |_| Some(Asker { mac, primary: Some(Ipv4Addr::new(10, 0, 1, 10)) })
    }

    #[test]
    fn a_moved_address_is_corrected_once() {
        let mut told = Told::default();
        told.note(PORT, OWN, ip("10.0.1.30"), PEER);
        told.note(PORT, OWN, ip("fd00:1::30"), PEER);
        told.note(PORT, OWN, ip("10.0.1.31"), PEER);
        assert_eq!(told.corrections(eni(OWN), |_, _| Some(PEER)), []);
        assert_eq!(told.corrections(eni(OWN), |_, _| None), [], "nobody has it: nothing to say");
        let moved = |_, address| Some(if address == ip("10.0.1.31") { PEER } else { NEW });
        let frames = told.corrections(eni(OWN), moved);
        assert_eq!(told.corrections(eni(OWN), moved), []);
        let [(PORT, arp), (PORT, advertisement)] = &frames[..] else { panic!("{frames:?}") };
        for frame in [arp, advertisement] {
            assert_eq!(macs(frame), (OWN, NEW));
        }
        let reply = Arp::parse(arp).unwrap();
        assert_eq!(
            (reply.operation, reply.sender_mac, reply.sender_ip, reply.target_mac),
            (Operation::Reply, NEW, [10, 0, 1, 30].into(), OWN)
        );
        let message = nd::parse(advertisement, &parse(advertisement).unwrap()).unwrap();
        let target = "fd00:1::30".parse().unwrap();
        assert_eq!(message, nd::Message::Advertisement { target, mac: Some(NEW), solicited: false });
    }

    #[test]
    fn another_eni_behind_the_port_was_told_nothing() {
        let mut told = Told::default();
        told.note(PORT, OWN, ip("10.0.1.30"), PEER);
        assert_eq!(told.corrections(eni(PEER), |_, _| Some(NEW)), []);
        assert_eq!(told.corrections(eni(OWN), |_, _| Some(NEW)), []);
    }

    #[test]
    fn the_addresses_asked_for_last_are_kept() {
        let mut told = Told::default();
        let address = |n: u16| IpAddr::from([10, 0, (n >> 8) as u8, n as u8]);
        for n in 0..=KEPT as u16 {
            told.note(PORT, OWN, address(n), PEER);
            told.note(PORT, OWN, address(0), PEER);
        }
        let frames = told.corrections(eni(OWN), |_, _| Some(NEW));
        assert_eq!(frames.len(), KEPT);
        assert!(!frames.iter().any(|(_, frame)| Arp::parse(frame).unwrap().sender_ip == address(1)));
    }
}
