//! The usual packet, told in few compares: TCP or UDP right behind an IP header without options or extensions, unfragmented.

use super::{
    Mac, Pattern,
    bytes::get,
    headers::{
        ETHERNET, Fragment, Headers, Network, SHORTEST_TCP, SHORTEST_UDP, ethertype, hash_ends,
        ipv6_addresses, protocol,
    },
};

/// The words of the usual packet: unfragmented TCP or UDP over IPv4 without options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Source address in the upper half, destination address in the lower, host order.
    pub addresses: u64,
    /// Source port in the upper half, destination port in the lower.
    pub ports: u32,
    /// As [`Headers::ip_len`].
    pub ip_len: u16,
    /// TCP or UDP.
    pub protocol: u8,
    /// DSCP and ECN field (RFC 2474, RFC 3168).
    pub traffic_class: u8,
}

impl Plain {
    /// Octets of the headers up to the ports.
    const FIXED: usize = 42;

    /// The words of a frame with such a packet; `None` of all others, right or wrong.
    #[inline(always)]
    pub fn of(frame: &[u8]) -> Option<Self> {
        let fixed = frame.first_chunk::<{ Self::FIXED }>()?;
        let start = u32::from_be_bytes([fixed[12], fixed[13], fixed[14], fixed[15]]);
        let plain = start >> 8 == u32::from(ethertype::IPV4) << 8 | 0x45
            && u16::from_be_bytes([fixed[20], fixed[21]]) & 0x3fff == 0;
        if plain { Self::measured(fixed, frame.len()) } else { None }
    }

    /// What [`Plain::of_sender`] is told by: the sender's MAC and address, host order.
    pub fn sender(mac: Mac, address: u32) -> Pattern {
        // Six octets from the start, where the destination MAC ends.
        Pattern::ANY
            .with(0, mac.0, [0xff; 6])
            .with(6, ethertype::IPV4.to_be_bytes(), [0xff; 2])
            .with(8, [0x45], [0xff])
            .with(14, [0; 2], [0x3f, 0xff])
            .with(20, address.to_be_bytes(), [0xff; 4])
    }

    /// [`Plain::of`] a frame of the sender with that pattern; of all others `None`.
    #[inline(always)]
    pub fn of_sender(sender: &Pattern, frame: &[u8]) -> Option<Self> {
        let fixed = frame.first_chunk::<{ Self::FIXED }>()?;
        if sender.fits(&get(fixed, 6)?) { Self::measured(fixed, frame.len()) } else { None }
    }

    /// The words of a frame of so many octets that is an IPv4 packet without options or fragmentation.
    #[inline(always)]
    fn measured(fixed: &[u8; Self::FIXED], len: usize) -> Option<Self> {
        let ip_len = u16::from_be_bytes([fixed[16], fixed[17]]);
        let plain =
            plain_transport(fixed[23], usize::from(ip_len), 20) && ETHERNET + usize::from(ip_len) <= len;
        plain.then_some(Self {
            addresses: u64::from_be_bytes(get(fixed, 26).unwrap_or_default()),
            ports: u32::from_be_bytes(get(fixed, 34).unwrap_or_default()),
            ip_len,
            protocol: fixed[23],
            traffic_class: fixed[15],
        })
    }

    /// Source address, host order.
    #[inline(always)]
    pub fn source(&self) -> u32 {
        (self.addresses >> 32) as u32
    }

    /// Destination address, host order.
    #[inline(always)]
    pub fn destination(&self) -> u32 {
        self.addresses as u32
    }

    /// [`super::flow_hash`] of the frame.
    #[inline(always)]
    pub fn flow_hash(&self) -> u32 {
        hash_ends(
            u64::from(self.source()) | u64::from(self.ports >> 16) << 32,
            u64::from(self.destination()) | u64::from(self.ports & 0xffff) << 32,
            self.protocol,
        )
    }

    #[inline(always)]
    pub(super) fn headers(self) -> Headers {
        whole((Network::Ipv4, 34), self.ip_len.into(), self.ports, self.protocol)
    }
}

/// The same of unfragmented TCP or UDP over IPv6 without extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainV6 {
    /// Source and destination address, host order.
    pub addresses: [u128; 2],
    /// As [`Plain::ports`].
    pub ports: u32,
    /// As [`Headers::ip_len`].
    pub ip_len: u32,
    /// TCP or UDP.
    pub protocol: u8,
    /// The traffic class (RFC 8200 §7).
    pub traffic_class: u8,
}

impl PlainV6 {
    /// The words of a frame with such a packet; `None` of all others, right or wrong.
    #[inline(always)]
    pub fn of(frame: &[u8]) -> Option<Self> {
        let fixed = frame.first_chunk::<62>()?;
        let payload_len = u16::from_be_bytes([fixed[18], fixed[19]]);
        let start = u32::from_be_bytes([fixed[12], fixed[13], fixed[14], fixed[15]]);
        let plain = start >> 12 == u32::from(ethertype::IPV6) << 4 | 6
            && plain_transport(fixed[20], usize::from(payload_len), 0)
            && 54 + usize::from(payload_len) <= frame.len();
        let (source, destination) = ipv6_addresses(fixed);
        plain.then_some(Self {
            addresses: [source, destination],
            ports: u32::from_be_bytes(get(fixed, 54).unwrap_or_default()),
            ip_len: 40 + u32::from(payload_len),
            protocol: fixed[20],
            traffic_class: (start >> 4) as u8,
        })
    }

    #[inline(always)]
    pub(super) fn headers(self) -> Headers {
        whole((Network::Ipv6, 54), self.ip_len, self.ports, self.protocol)
    }
}

/// What [`super::parse`] finds in a plain packet, whose transport header is at `l4`.
#[inline(always)]
fn whole((network, l4): (Network, u16), ip_len: u32, ports: u32, protocol: u8) -> Headers {
    let (source_port, destination_port) = ((ports >> 16) as u16, ports as u16);
    Headers { ip_len, l4, source_port, destination_port, network, protocol, fragment: Fragment::Whole }
}

/// Whether it is TCP or UDP, and `len` octets hold its header behind the first `skip`.
#[inline(always)]
fn plain_transport(protocol: u8, len: usize, skip: usize) -> bool {
    protocol == protocol::UDP && len >= skip + SHORTEST_UDP
        || protocol == protocol::TCP && len >= skip + SHORTEST_TCP
}
