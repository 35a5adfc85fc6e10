//! What a worker remembers of flows: the bindings of NAT gateways and egress-only internet gateways ([`nat`]), the pieces
//! that they stand on, and the ports of datagrams in fragments.
//!
//! Each flow has one owner worker, so that there is one writer and neither locks nor atomics. All memory is allocated
//! at construction, and a full table refuses new flows without touching those that it has. Nothing here has a clock:
//! time is a parameter, the time since any start, and never goes back.
//!
//! | piece | what for |
//! | --- | --- |
//! | [`Index`] | finds an entry by a key, given its keyed hash; several indices for one table |
//! | [`Wheel`] | which entries are free, and when the others come due |
//! | [`Groups`] | counts the entries that have something in common |
//! | [`Tcp`] | how far a connection is |
//! | [`Windows`] | whether a TCP segment is expected |
//! | [`Fragments`] | the ports of later fragments |
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

pub mod connections;
mod fragments;
mod groups;
mod index;
pub mod nat;
mod rings;
mod tcp;
mod wheel;
mod windows;

use std::time::Duration;

pub use connections::{Connections, Timeouts};
pub use fragments::{Datagram, Fragments, LIFETIME, Told};
pub use groups::Groups;
pub use index::Index;
pub use tcp::{Phase, Side, Tcp};
pub use wheel::{SLOT_MILLIS, Wheel};
pub use windows::Windows;

use crate::{packet::protocol, tables::Secret};

/// The protocols of flows: those that a NAT gateway knows (GW-10), and the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Echo of ICMP, or of ICMPv6 where the destination is an IPv6 address: the addresses say which, so that NAT64
    /// (GW-18) changes no protocol.
    Icmp,
    /// Any other, which an egress-only gateway carries: both ports of a flow are its number.
    Other,
}

impl Protocol {
    /// The protocol with a number of IANA's; `None` for one without flows.
    pub const fn of(number: u8) -> Option<Self> {
        match number {
            protocol::TCP => Some(Self::Tcp),
            protocol::UDP => Some(Self::Udp),
            protocol::ICMP | protocol::ICMPV6 => Some(Self::Icmp),
            _ => None,
        }
    }
}

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address, in host order, IPv4 as [`crate::packet::mapped`] makes it.
    pub address: u128,
    /// The port; of ICMP echo, the identifier at the end that asks, and 0 at the one that answers (RFC 5508 §3.1).
    pub port: u16,
}

/// A flow through a gateway, in one of its directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// The gateway, by a number that no other has had for the longest idle time.
    pub gateway: u32,
    /// The protocol.
    pub protocol: Protocol,
    /// Where the packets come from.
    pub source: Endpoint,
    /// Where they go to.
    pub destination: Endpoint,
}

impl Flow {
    /// The other direction.
    #[inline]
    pub const fn reversed(self) -> Self {
        Self { source: self.destination, destination: self.source, ..self }
    }

    /// A well-mixed hash under a secret.
    #[inline]
    pub fn hash(&self, secret: &Secret) -> u64 {
        self.hash_ports(secret, self.hash_addresses(secret))
    }

    /// The part of the hash that is the same for all ports.
    #[inline]
    fn hash_addresses(&self, secret: &Secret) -> u64 {
        let mix = |address: u128| secret.mix((address >> 64) as u64, address as u64);
        secret.mix(mix(self.source.address), mix(self.destination.address) ^ self.protocol as u64)
    }

    /// The hash, given that of the addresses.
    #[inline]
    fn hash_ports(&self, secret: &Secret, addresses: u64) -> u64 {
        let ports = u64::from(self.source.port) << 16 | u64::from(self.destination.port);
        secret.mix(addresses, u64::from(self.gateway) << 32 | ports)
    }
}

/// A time as tables keep it.
#[inline]
fn millis(time: Duration) -> u64 {
    time.as_secs() * 1000 + u64::from(time.subsec_millis())
}
