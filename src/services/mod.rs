//! What the node answers itself: ARP, neighbour discovery and DHCP.
//!
//! For its instances it is the whole subnet ([`Subnet`]): a request never reaches the ENI that it asks for. On an uplink
//! it is an ordinary [`Station`], and what it learns there goes to [`neighbours`].
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

use std::net::IpAddr;

use ipnet::Ipv6Net;

use crate::{packet::Mac, pipeline::Reason};

pub mod advertiser;
pub mod arp;
pub mod dhcp;
pub mod igmp;
pub mod nd;
pub mod neighbours;
pub mod told;

/// The subnet of an asking ENI, as the answers need it.
pub trait Subnet {
    /// The asking ENI's MAC.
    fn asker(&self) -> Mac;

    /// Whether `address` is one of the asking ENI's: primary, secondary, IPv6 or of a prefix. Link-local ones are no
    /// business of the implementation.
    fn asker_has(&self, address: IpAddr) -> bool;

    /// The router's MAC.
    fn router(&self) -> Mac;

    /// Whether `address` is the router's, the subnet block's base plus one, or of something that is reached through it.
    fn is_router(&self, address: IpAddr) -> bool;

    /// The MAC of the ENI of this subnet that has `address`, wherever it is attached.
    fn eni(&self, address: IpAddr) -> Option<Mac>;

    /// Whether an ENI of this subnet has `mac`.
    fn has_eni(&self, mac: Mac) -> bool;

    /// Its IPv6 block, if it has one.
    fn prefix6(&self) -> Option<Ipv6Net>;

    /// The largest IP packet that the asking ENI may send, in bytes.
    fn mtu(&self) -> u16;
}

/// The node itself on an uplink.
#[derive(Clone, Copy, Debug)]
pub struct Station<'a> {
    /// The uplink's MAC.
    pub mac: Mac,
    /// The uplink's own underlay addresses.
    pub addresses: &'a [IpAddr],
}

impl Station<'_> {
    /// What a message tells of its sender; `None` where nobody else can have that address or that MAC.
    pub(crate) fn learn(&self, address: IpAddr, mac: Mac) -> Option<Learned> {
        let possible = mac.is_unicast()
            && !address.is_unspecified()
            && !address.is_multicast()
            && !self.addresses.contains(&address);
        possible.then_some(Learned { address, mac })
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The buffer holds the answer: send it out of the port that it came from.
    Reply,
    /// No answer, for this reason.
    Drop(Reason),
}

/// What a message on an uplink says about a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// The neighbour's address.
    pub address: IpAddr,
    /// The neighbour's MAC.
    pub mac: Mac,
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 1]);
    pub(super) const OWN: Mac = Mac([2, 0, 0, 0, 1, 0x0a]);
    pub(super) const PEER: Mac = Mac([2, 0, 0, 0, 1, 0x0b]);

    pub(super) fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// 10.0.1.0/24 and fd00:1::/64. The asker has .10, .12 and ::a, the peer .11 and ::b.
    pub(super) struct Small;

    impl Subnet for Small {
        fn asker(&self) -> Mac {
            OWN
        }

        fn asker_has(&self, address: IpAddr) -> bool {
            self.eni(address) == Some(OWN)
        }

        fn router(&self) -> Mac {
            ROUTER
        }

        fn is_router(&self, address: IpAddr) -> bool {
            address == ip("10.0.1.1") || address == ip("fd00:1::1")
        }

        fn eni(&self, address: IpAddr) -> Option<Mac> {
            let of = |texts: [&str; 3]| texts.map(ip).contains(&address);
            if of(["10.0.1.10", "10.0.1.12", "fd00:1::a"]) {
                Some(OWN)
            } else {
                of(["10.0.1.11", "10.0.1.11", "fd00:1::b"]).then_some(PEER)
            }
        }

        fn has_eni(&self, mac: Mac) -> bool {
            mac == OWN || mac == PEER
        }

        fn prefix6(&self) -> Option<Ipv6Net> {
            "fd00:1::/64".parse().ok()
        }

        fn mtu(&self) -> u16 {
            1500
        }
    }
}
