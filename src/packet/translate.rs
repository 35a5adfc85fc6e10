//! Network address translation of a packet: other addresses and ports, with all the checksums that cover them brought along
//! (RFC 1624, RFC 3022 §4; GW-1, GW-4, GW-8, GW-10).

use std::fmt::Debug;

use super::{
    bytes::{get, put},
    checksum::Sum,
    headers::{ETHERNET, Fragment, Headers, Network, end_v4, end_v6, hash_ends, protocol},
    patch::{Transport, apply, replace},
};

/// An address in host order: `u32` of IPv4, `u128` of IPv6.
pub trait Address: Copy + Debug + Eq {
    /// Its family.
    const NETWORK: Network;

    /// Source and destination of a packet, given from the first octet of its IP header; `None` where that is cut.
    fn pair(packet: &[u8]) -> Option<(Self, Self)>;

    /// Gives a packet other addresses, and IPv4's header its checksum. `None`, changing nothing, where the header is cut.
    fn replace(packet: &mut [u8], pair: (Self, Self)) -> Option<Readdressed>;

    /// The sum of both addresses.
    fn sum(pair: (Self, Self)) -> Sum;

    /// The address as both families write it ([`super::mapped`]).
    fn mapped(self) -> u128;

    /// One end of a flow, to be hashed.
    fn end(self, port: u16) -> u64;
}

/// What other addresses add to sums.
#[derive(Clone, Copy, Debug)]
pub struct Readdressed {
    /// Over a pseudo-header.
    pub(super) pseudo: Sum,
    /// Over the IP header.
    pub(super) header: Sum,
}

impl Address for u32 {
    const NETWORK: Network = Network::Ipv4;

    #[inline]
    fn pair(packet: &[u8]) -> Option<(Self, Self)> {
        let pair = u64::from_be_bytes(get(packet, 12)?);
        Some(((pair >> 32) as Self, pair as Self))
    }

    #[inline]
    fn replace(packet: &mut [u8], (source, destination): (Self, Self)) -> Option<Readdressed> {
        let new = (u64::from(source) << 32 | u64::from(destination)).to_be_bytes();
        let pseudo = replace(packet, 12, new)?;
        Some(Readdressed { pseudo, header: pseudo.plus(apply(packet, 10, pseudo)) })
    }

    #[inline]
    fn sum((source, destination): (Self, Self)) -> Sum {
        Sum::ZERO.dword(source).dword(destination)
    }

    #[inline]
    fn mapped(self) -> u128 {
        0xffff_0000_0000 | u128::from(self)
    }

    #[inline]
    fn end(self, port: u16) -> u64 {
        end_v4(self, port)
    }
}

impl Address for u128 {
    const NETWORK: Network = Network::Ipv6;

    #[inline]
    fn pair(packet: &[u8]) -> Option<(Self, Self)> {
        Some((Self::from_be_bytes(get(packet, 8)?), Self::from_be_bytes(get(packet, 24)?)))
    }

    #[inline]
    fn replace(packet: &mut [u8], (source, destination): (Self, Self)) -> Option<Readdressed> {
        let mut new = [0; 32];
        put(&mut new, 0, source.to_be_bytes());
        put(&mut new, 16, destination.to_be_bytes());
        let pseudo = replace(packet, 8, new)?;
        Some(Readdressed { pseudo, header: pseudo })
    }

    #[inline]
    fn sum((source, destination): (Self, Self)) -> Sum {
        Sum::of(&source.to_be_bytes()).plus(Sum::of(&destination.to_be_bytes()))
    }

    #[inline]
    fn mapped(self) -> u128 {
        self
    }

    #[inline]
    fn end(self, port: u16) -> u64 {
        end_v6(self, port)
    }
}

/// What tells a packet's flow, together with the protocol.
///
/// The identifier of an ICMP or ICMPv6 echo (and of an ICMP timestamp) is the port of whoever asks, so the source port of a
/// request and the destination port of a reply; the other is 0 (RFC 5508 §3.1). All other packets without ports, and later
/// fragments, have 0 for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

impl<A: Address> Tuple<A> {
    /// Of the packet that [`super::parse`] found in a frame; `None` if it is of another family.
    #[inline]
    pub fn of(frame: &[u8], headers: &Headers) -> Option<Self> {
        if headers.network != A::NETWORK {
            return None;
        }
        let (source, destination) = A::pair(frame.get(ETHERNET..)?)?;
        let (source_port, destination_port) = match (headers.fragment, Transport::of_headers(headers)) {
            (Fragment::Later, _) | (_, None) => (0, 0),
            (_, Some(Transport::Tcp | Transport::Udp)) => (headers.source_port, headers.destination_port),
            (_, Some(icmp)) => icmp.ports(frame.get(headers.l4.into()..headers.end())?).unwrap_or_default(),
        };
        Some(Self { source, destination, source_port, destination_port })
    }

    /// What [`super::flow_hash`] is of the flow's unfragmented packets, by a protocol.
    #[inline]
    pub fn flow_hash(&self, protocol: u8) -> u32 {
        let (from, to) = match protocol {
            protocol::TCP | protocol::UDP => self.ports(),
            _ => (0, 0),
        };
        hash_ends(self.source.end(from), self.destination.end(to), protocol)
    }

    /// With addresses as both families write them.
    #[inline]
    pub fn mapped(&self) -> Tuple<u128> {
        let &Self { source, destination, source_port, destination_port } = self;
        let (source, destination) = (source.mapped(), destination.mapped());
        Tuple { source, destination, source_port, destination_port }
    }

    /// Of the packets in the other direction.
    #[must_use]
    #[inline]
    pub const fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
        }
    }

    /// Source and destination address.
    #[inline]
    pub const fn addresses(&self) -> (A, A) {
        (self.source, self.destination)
    }

    /// Source and destination port.
    #[inline]
    pub const fn ports(&self) -> (u16, u16) {
        (self.source_port, self.destination_port)
    }
}

/// Gives the packet that [`super::parse`] found in a frame other addresses and ports: those of [`Tuple::of`] that stay are
/// given again. Later fragments get addresses only (GW-8), and so does what has no ports; the ports in `headers` are the
/// old ones still. Nothing changes in a packet of another family.
#[inline]
pub fn translate<A: Address>(frame: &mut [u8], headers: &Headers, new: &Tuple<A>) {
    if headers.network != A::NETWORK {
        return;
    }
    let packet = frame.get_mut(ETHERNET..).unwrap_or_default();
    let Some(change) = A::replace(packet, new.addresses()) else { return };
    if headers.fragment == Fragment::Later {
        return;
    }
    let Some(transport) = Transport::of_headers(headers) else { return };
    let Some(bytes) = frame.get_mut(headers.l4.into()..headers.end()) else { return };
    let pseudo = if transport.has_pseudo_header() { change.pseudo } else { Sum::ZERO };
    transport.renew(bytes, new.ports(), pseudo);
}

#[cfg(test)]
mod tests;
