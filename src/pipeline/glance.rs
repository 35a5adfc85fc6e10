//! What the stages of usual packets need of one, in one look: TCP or UDP right behind an IP header, in one piece.

use crate::{
    flow::{Connections, connections::Short},
    packet::{ETHERNET, Plain, PlainV6, ipv6_addresses, tcp},
    tables::{Direction, PortIndex},
};

/// It.
#[derive(Clone, Copy)]
pub(super) struct Glance {
    /// The key of its connection.
    pub key: Short,
    /// As [`Plain::ip_len`].
    pub ip_len: u16,
    /// The flags in its TCP header; 0 of UDP.
    pub tcp_flags: u8,
    /// As [`Plain::traffic_class`].
    pub traffic_class: u8,
}

impl Glance {
    /// That of a plain packet over IPv4 that goes to an ENI behind a port, or comes from it.
    #[inline(always)]
    pub(super) fn v4(
        connections: &Connections,
        port: PortIndex,
        direction: Direction,
        plain: &Plain,
        frame: &[u8],
    ) -> Self {
        let &Plain { addresses, ports, ip_len, protocol, traffic_class } = plain;
        // The ENI's own side first.
        let (addresses, ports) = match direction {
            Direction::Egress => (addresses, ports),
            Direction::Ingress => (addresses.rotate_left(32), ports.rotate_left(16)),
        };
        let key = connections.short(port, addresses, ports, protocol);
        let tcp_flags = tcp::plain_flags(protocol, frame, ETHERNET + 20);
        Self { key, ip_len, tcp_flags, traffic_class }
    }

    /// That of one over IPv6.
    #[inline(never)]
    pub(super) fn v6(
        connections: &Connections,
        port: PortIndex,
        direction: Direction,
        plain: &PlainV6,
        frame: &[u8],
    ) -> Option<Self> {
        let &PlainV6 { addresses, ports, ip_len, protocol, traffic_class } = plain;
        let ([local, remote], ports) = match direction {
            Direction::Egress => (addresses, ports),
            Direction::Ingress => ([addresses[1], addresses[0]], ports.rotate_left(16)),
        };
        let key = connections.wide(port, [local, remote], ports, protocol);
        let tcp_flags = tcp::plain_flags(protocol, frame, ETHERNET + 40);
        // What is longer has nobody's MTU.
        Some(Self { key, ip_len: ip_len.try_into().ok()?, tcp_flags, traffic_class })
    }

    /// The addresses of a packet's connection, its ENI's own side first, where its key does not hold them.
    #[inline(never)]
    pub(super) fn wide(direction: Direction, frame: &[u8]) -> [u128; 2] {
        let (source, destination) = ipv6_addresses(frame);
        match direction {
            Direction::Egress => [source, destination],
            Direction::Ingress => [destination, source],
        }
    }
}
