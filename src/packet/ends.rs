//! The two ends of a packet that the node answers, and the headers of its answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    Mac,
    bytes::put,
    checksum::Sum,
    headers::{ETHERNET, Network, ethertype, ipv4_addresses, ipv6_endpoints, protocol},
};

/// Of a new packet (RFC 1700, "IP time to live parameter"; RFC 8200 leaves it open).
const HOP_LIMIT: u8 = 64;

/// Source and destination of a packet, which tell its family too.
#[derive(Clone, Copy)]
pub(super) enum Ends {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl Ends {
    pub(super) fn of(frame: &[u8], network: Network) -> Option<Self> {
        match network {
            Network::Ipv4 => {
                let (source, destination) = ipv4_addresses(frame);
                Some(Self::V4(source.into(), destination.into()))
            }
            Network::Ipv6 => {
                let (source, destination) = ipv6_endpoints(frame);
                Some(Self::V6(source, destination))
            }
            Network::Arp => None,
        }
    }

    pub(super) const fn reversed(self) -> Self {
        match self {
            Self::V4(source, destination) => Self::V4(destination, source),
            Self::V6(source, destination) => Self::V6(destination, source),
        }
    }

    /// From somebody else than the destination; `None` of another family.
    pub(super) const fn answered_from(self, router: IpAddr) -> Option<Self> {
        match (self, router) {
            (Self::V4(source, _), IpAddr::V4(router)) => Some(Self::V4(router, source)),
            (Self::V6(source, _), IpAddr::V6(router)) => Some(Self::V6(router, source)),
            _ => None,
        }
    }

    /// Picks what is the family's.
    pub(super) const fn pick<T: Copy>(self, of: [T; 2]) -> T {
        let [v4, v6] = of;
        match self {
            Self::V4(..) => v4,
            Self::V6(..) => v6,
        }
    }

    /// Octets in front of the message in a packet without options.
    pub(super) const fn headers_len(self) -> usize {
        self.pick([ETHERNET + 20, ETHERNET + 40])
    }

    /// Whether the source is one host that an answer can go to (RFC 1122 §3.2.2, RFC 4443 §2.4(e.6)).
    pub(super) const fn has_one_source(self) -> bool {
        match self {
            Self::V4(source, _) => {
                let [first, ..] = source.octets();
                !(first == 0 || source.is_loopback() || first >= 224)
            }
            Self::V6(source, _) => !(source.is_unspecified() || source.is_multicast()),
        }
    }

    pub(super) const fn to_group(self) -> bool {
        match self {
            Self::V4(_, destination) => destination.is_multicast() || destination.is_broadcast(),
            Self::V6(_, destination) => destination.is_multicast(),
        }
    }

    /// The family's ICMP.
    pub(super) const fn icmp(self) -> u8 {
        self.pick([protocol::ICMP, protocol::ICMPV6])
    }

    /// The sum of a message of `protocol`, with the pseudo-header that all have but ICMP (RFC 4443 §2.3).
    pub(super) fn sum(self, protocol: u8, message: &[u8]) -> Sum {
        let pseudo = match self {
            Self::V4(..) if protocol == protocol::ICMP => Sum::ZERO,
            Self::V4(source, destination) => {
                Sum::pseudo_v4(source, destination, protocol, message.len() as u16)
            }
            Self::V6(source, destination) => {
                Sum::pseudo_v6(source, destination, protocol, message.len() as u32)
            }
        };
        pseudo.plus(Sum::of(message))
    }

    /// Writes the headers in front of the message of a packet that the node makes, which fills the frame.
    pub(super) fn write(self, frame: &mut [u8], macs: (Mac, Mac), traffic_class: u8, protocol: u8) {
        let (destination, source) = macs;
        put(frame, 0, destination.0);
        put(frame, 6, source.0);
        put(frame, 12, self.pick([ethertype::IPV4, ethertype::IPV6]).to_be_bytes());
        match self {
            Self::V4(source, destination) => {
                let len = frame.len().saturating_sub(ETHERNET) as u16;
                let mut header = [0; 20];
                // RFC 791 §3.1: no options; DF, so that the identification is free (RFC 6864 §4.1).
                put(&mut header, 0, [0x45, traffic_class]);
                put(&mut header, 2, len.to_be_bytes());
                put(&mut header, 6, [0x40, 0, HOP_LIMIT, protocol]);
                put(&mut header, 12, source.octets());
                put(&mut header, 16, destination.octets());
                let checksum = Sum::of(&header).checksum();
                put(&mut header, 10, checksum.to_be_bytes());
                put(frame, ETHERNET, header);
            }
            Self::V6(source, destination) => {
                let len = frame.len().saturating_sub(self.headers_len()) as u16;
                // RFC 8200 §3: version, traffic class, no flow label.
                put(frame, ETHERNET, [0x60 | traffic_class >> 4, traffic_class << 4, 0, 0]);
                put(frame, ETHERNET + 4, len.to_be_bytes());
                put(frame, ETHERNET + 6, [protocol, HOP_LIMIT]);
                put(frame, ETHERNET + 8, source.octets());
                put(frame, ETHERNET + 24, destination.octets());
            }
        }
    }
}
