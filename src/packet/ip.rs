//! What IPv4 and IPv6 headers say alike, read also of a packet that an ICMP error quotes, so cut anywhere.

use super::{
    bytes::get,
    headers::{Fragment, Network, extension},
};
use crate::pipeline::Reason;

/// An IP header with its options or extension headers, which [`Ip::read`] found whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ip {
    /// Whose header it is.
    pub(super) version: Network,
    /// Octets of all headers.
    pub(super) header_len: usize,
    /// Octets behind them, as the length field tells.
    pub(super) payload_len: usize,
    /// The type of service, or traffic class.
    pub(super) class: u8,
    /// The time to live, or hop limit.
    pub(super) hops: u8,
    /// The protocol behind the headers.
    pub(super) protocol: u8,
    /// What a fragment, also an atomic one (RFC 6946), says of itself.
    pub(super) part: Option<Part>,
    /// Why the packet can't be translated to the other version (RFC 7915 §4.1, §5.1).
    pub(super) obstacle: Option<Reason>,
}

/// Which part of its datagram a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) identification: u32,
    /// In octets; a multiple of eight.
    pub(super) offset: u16,
    pub(super) more: bool,
}

impl Ip {
    /// Reads the headers at the front of `packet`; `None` where they are cut or contradict themselves.
    pub(super) fn read(network: Network, packet: &[u8]) -> Option<Self> {
        match network {
            Network::Ipv4 => Self::read_v4(packet),
            Network::Ipv6 => Self::read_v6(packet),
            Network::Arp => None,
        }
    }

    fn read_v4(packet: &[u8]) -> Option<Self> {
        let fixed = packet.first_chunk::<20>()?;
        let header_len = usize::from(fixed[0] & 15) * 4;
        let payload_len = usize::from(u16::from_be_bytes([fixed[2], fixed[3]])).checked_sub(header_len)?;
        let options = packet.get(20..header_len)?;
        if fixed[0] >> 4 != 4 {
            return None;
        }
        let field = u16::from_be_bytes([fixed[6], fixed[7]]);
        let part = (field & 0x3fff != 0).then(|| Part {
            identification: u16::from_be_bytes([fixed[4], fixed[5]]).into(),
            offset: field << 3,
            more: field & 0x2000 != 0,
        });
        Some(Self {
            version: Network::Ipv4,
            header_len,
            payload_len,
            class: fixed[1],
            hops: fixed[8],
            protocol: fixed[9],
            part,
            obstacle: has_source_route(options).then_some(Reason::NatProto),
        })
    }

    fn read_v6(packet: &[u8]) -> Option<Self> {
        let fixed = packet.first_chunk::<40>()?;
        if fixed[0] >> 4 != 6 {
            return None;
        }
        let mut protocol = fixed[6];
        let (mut header_len, mut part, mut obstacle) = (40, None, None);
        while extension::is(protocol) {
            let start: [u8; 4] = get(packet, header_len)?;
            header_len += extension::len(protocol, [start[0], start[1]]);
            let field = u16::from_be_bytes([start[2], start[3]]);
            // RFC 7915 §5.1.1: what is behind a Fragment header has to be the transport header.
            if part.is_some() {
                obstacle = Some(Reason::NatFrag);
            }
            match protocol {
                extension::FRAGMENT => {
                    let identification = u32::from_be_bytes(get(packet, header_len - 4)?);
                    part = Some(Part { identification, offset: field & 0xfff8, more: field & 1 != 0 });
                }
                extension::AUTHENTICATION => obstacle = Some(Reason::NatProto),
                // RFC 7915 §5.1: segments left.
                extension::ROUTING if start[3] != 0 => obstacle = Some(Reason::NatProto),
                _ => {}
            }
            protocol = start[0];
            if part.is_some_and(|part| part.offset != 0) {
                break;
            }
        }
        if packet.len() < header_len {
            return None;
        }
        let payload_len = 40 + usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
        Some(Self {
            version: Network::Ipv6,
            header_len,
            payload_len: payload_len.checked_sub(header_len)?,
            class: fixed[0] << 4 | fixed[1] >> 4,
            hops: fixed[7],
            protocol,
            part,
            obstacle,
        })
    }

    /// Which part of its datagram the packet is.
    pub(super) const fn fragment(&self) -> Fragment {
        match self.part {
            None | Some(Part { offset: 0, more: false, .. }) => Fragment::Whole,
            Some(Part { offset: 0, .. }) => Fragment::First,
            Some(_) => Fragment::Later,
        }
    }
}

/// Whether IPv4 options have a source route that has not come to its end (RFC 791 §3.1: the pointer is not behind it).
fn has_source_route(mut options: &[u8]) -> bool {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE: u8 = 131;
    const STRICT: u8 = 137;

    while let Some(&kind) = options.first() {
        let len = match (kind, options.get(1)) {
            (END, _) => return false,
            (NO_OPERATION, _) => 1,
            (_, Some(&len)) if len >= 2 => usize::from(len),
            _ => return false,
        };
        if matches!(kind, LOOSE | STRICT) {
            return options.get(2).is_none_or(|pointer| usize::from(*pointer) <= len);
        }
        options = options.get(len..).unwrap_or_default();
    }
    false
}
