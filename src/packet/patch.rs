//! Writes into a packet that say what they add to the checksums over it (RFC 1624), and what of a packet's headers
//! depends on its addresses and ports.

use super::{
    bytes::{get, put},
    checksum::Sum,
    headers::{Headers, Network, protocol},
};

/// Writes whole 16-bit words and returns what that adds to a sum over them; `None` where the bytes end before them.
#[inline]
pub(super) fn replace<const N: usize>(bytes: &mut [u8], at: usize, new: [u8; N]) -> Option<Sum> {
    let old: [u8; N] = get(bytes, at)?;
    put(bytes, at, new);
    Some(Sum::of(&new).minus(Sum::of(&old)))
}

/// Brings a checksum field up to date, and returns what that adds in its turn.
#[inline]
pub(super) fn apply(bytes: &mut [u8], at: usize, change: Sum) -> Sum {
    let Some(checksum) = get(bytes, at) else { return Sum::ZERO };
    let old = u16::from_be_bytes(checksum);
    let new = change.word(!old).checksum();
    put(bytes, at, new.to_be_bytes());
    Sum::ZERO.word(new).word(!old)
}

/// The transports whose checksums cover addresses, or whose headers hold what tells flows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
    Icmp,
    Icmpv6,
}

/// Who sent an ICMP query: whoever asks puts an identifier in, which the reply brings back.
enum Query {
    Request,
    Reply,
}

/// Offset of an ICMP query's identifier.
const IDENTIFIER: usize = 4;

impl Transport {
    #[inline]
    pub(super) const fn of(network: Network, protocol: u8) -> Option<Self> {
        match (network, protocol) {
            (Network::Ipv4 | Network::Ipv6, protocol::TCP) => Some(Self::Tcp),
            (Network::Ipv4 | Network::Ipv6, protocol::UDP) => Some(Self::Udp),
            (Network::Ipv4, protocol::ICMP) => Some(Self::Icmp),
            (Network::Ipv6, protocol::ICMPV6) => Some(Self::Icmpv6),
            _ => None,
        }
    }

    #[inline]
    pub(super) const fn of_headers(headers: &Headers) -> Option<Self> {
        Self::of(headers.network, headers.protocol)
    }

    /// Whether the checksum covers a pseudo-header with the addresses: all but ICMP's (RFC 792).
    #[inline]
    pub(super) const fn has_pseudo_header(self) -> bool {
        !matches!(self, Self::Icmp)
    }

    /// Offset of the checksum.
    #[inline]
    pub(super) const fn checksum_at(self) -> usize {
        match self {
            Self::Tcp => 16,
            Self::Udp => 6,
            Self::Icmp | Self::Icmpv6 => 2,
        }
    }

    /// The query that a message is: echo, and with ICMP the timestamp (RFC 5508 §3); `None` of all other messages.
    fn query(self, message: &[u8]) -> Option<Query> {
        let [kind] = get(message, 0)?;
        match (self, kind) {
            (Self::Icmp, 8 | 13) | (Self::Icmpv6, 128) => Some(Query::Request),
            (Self::Icmp, 0 | 14) | (Self::Icmpv6, 129) => Some(Query::Reply),
            _ => None,
        }
    }

    /// Source and destination port that a transport header has, as far as it is there. A query's identifier is the port of
    /// whoever asks, and the other is 0 (RFC 5508 §3.1). `None` where there are none.
    #[inline]
    pub(super) fn ports(self, transport: &[u8]) -> Option<(u16, u16)> {
        if matches!(self, Self::Tcp | Self::Udp) {
            let ports = u32::from_be_bytes(get(transport, 0)?);
            return Some(((ports >> 16) as u16, ports as u16));
        }
        let query = self.query(transport)?;
        let identifier = u16::from_be_bytes(get(transport, IDENTIFIER)?);
        Some(match query {
            Query::Request => (identifier, 0),
            Query::Reply => (0, identifier),
        })
    }

    /// Gives a transport header, as far as it is there, other ports as [`Transport::ports`] tells them, brings its
    /// checksum up to date with them and with what `change` adds besides, and returns what all that adds to a sum over
    /// the header. A UDP datagram without checksum stays without (RFC 768).
    #[inline]
    pub(super) fn renew(self, transport: &mut [u8], (source, destination): (u16, u16), change: Sum) -> Sum {
        let ports = if matches!(self, Self::Tcp | Self::Udp) {
            let ports = u32::from(source) << 16 | u32::from(destination);
            replace(transport, 0, ports.to_be_bytes())
        } else {
            match self.query(transport) {
                Some(Query::Request) => replace(transport, IDENTIFIER, source.to_be_bytes()),
                Some(Query::Reply) => replace(transport, IDENTIFIER, destination.to_be_bytes()),
                None => None,
            }
        };
        let ports = ports.unwrap_or(Sum::ZERO);
        let at = self.checksum_at();
        ports.plus(match self {
            Self::Udp => match get(transport, at) {
                None | Some([0, 0]) => Sum::ZERO,
                Some(checksum) => {
                    let old = u16::from_be_bytes(checksum);
                    let new = change.plus(ports).word(!old).udp_checksum();
                    put(transport, at, new.to_be_bytes());
                    Sum::ZERO.word(new).word(!old)
                }
            },
            _ => apply(transport, at, change.plus(ports)),
        })
    }
}
