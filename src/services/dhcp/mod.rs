//! DHCPv4 and DHCPv6 of an ENI, served from the model (semantics ADDR-12 to ADDR-14, ADDR-16, ADDR-26).
//!
//! There is nothing to allocate and nothing to remember: an ENI's addresses are those that the state gives it, so the
//! answer to a message depends on the message and the [`Lease`] only. The management thread answers: messages are rare, and
//! their formats (crate `dhcproto`) want memory.
//!
//! What a client sends is read by views and by the small walk over options here and in `v6`, not by `dhcproto`'s typed
//! decoders: those subtract lengths of the message unchecked, and descend as deep as the message says.

mod v4;
mod v6;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::{
    packet::{ETHERNET, Fragment, Mac, Network, checksum::Sum, ethertype, macs, parse, protocol},
    pipeline::Reason,
};

/// What an ENI is told. The addresses are the API's, for as long as the ENI exists; a client renews only to hear of
/// changes (ADDR-16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The ENI's MAC.
    pub mac: Mac,
    /// The MAC of its subnet's router, as which the node answers.
    pub router_mac: Mac,
    /// The largest IP packet that the ENI may send, in bytes.
    pub mtu: u16,
    /// What is told over DHCPv4; `None` in an IPv6-only subnet (ADDR-26).
    pub v4: Option<LeaseV4>,
    /// What is told over DHCPv6; `None` in a subnet without IPv6 block.
    pub v6: Option<LeaseV6>,
    /// The options of its VPC.
    pub options: Options,
}

/// The IPv4 side of a [`Lease`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseV4 {
    /// The ENI's primary address: no other is ever leased.
    pub address: Ipv4Addr,
    /// The block of its subnet.
    pub subnet: Ipv4Net,
}

impl LeaseV4 {
    /// The router's address, which is the server's too: the block's base plus one.
    pub fn router(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.subnet.network().to_bits() | 1)
    }
}

/// The IPv6 side of a [`Lease`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseV6 {
    /// The ENI's addresses, without the link-local one.
    pub addresses: Box<[Ipv6Addr]>,
    /// Its delegated prefixes.
    pub prefixes: Box<[Ipv6Net]>,
}

/// What instances of a VPC are told besides their addresses: its option set, with AmazonProvidedDNS resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// One domain, or several separated by blanks.
    pub domain_name: Option<Box<str>>,
    /// DNS servers.
    pub dns: Servers,
    /// NTP servers.
    pub ntp: Servers,
    /// NetBIOS name servers.
    pub netbios: Vec<Ipv4Addr>,
    /// NetBIOS node type (RFC 2132 §8.7).
    pub netbios_node_type: Option<u8>,
    /// How long an IPv6 address is preferred, in seconds; `None` for EC2's default.
    pub preferred_lifetime6: Option<u32>,
}

/// Servers by the family over which clients are told of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Servers {
    /// IPv4.
    pub v4: Vec<Ipv4Addr>,
    /// IPv6.
    pub v6: Vec<Ipv6Addr>,
}

impl Extend<IpAddr> for Servers {
    fn extend<I: IntoIterator<Item = IpAddr>>(&mut self, addresses: I) {
        for address in addresses {
            match address {
                IpAddr::V4(address) => self.v4.push(address),
                IpAddr::V6(address) => self.v6.push(address),
            }
        }
    }
}

/// The answer to a DHCP client's message, each a whole Ethernet frame without VLAN tag: what the ENI's instance sent, and what to
/// send to it.
///
/// The message's UDP checksum is not verified: it came through memory, and where the device offers to fill checksums in, the
/// instance leaves that to it.
///
/// # Errors
///
/// Why there is no answer: [`Reason::DhcpIgnored`] of a message that asks for none or not this server,
/// [`Reason::SrcMac`] of a frame of another MAC than the ENI's, or what is wrong with the packet's headers.
pub fn answer(frame: &[u8], lease: &Lease) -> Result<Vec<u8>, Reason> {
    let headers = parse(frame)?;
    let (destination, source) = macs(frame);
    if source != lease.mac {
        return Err(Reason::SrcMac);
    }
    let whole = headers.protocol == protocol::UDP && headers.fragment == Fragment::Whole;
    // UDP's length bounds the message; what is behind it, is not of the datagram (RFC 768).
    let datagram = frame.get(headers.l4.into()..headers.end()).unwrap_or_default();
    let length =
        datagram.get(4..6).and_then(|length| length.first_chunk()).map(|&length| u16::from_be_bytes(length));
    let message = length.and_then(|length| datagram.get(8..length.into())).unwrap_or_default();
    let reply = match (headers.network, headers.destination_port) {
        _ if !whole || !(destination.is_group() || destination == lease.router_mac) => None,
        (Network::Ipv4, v4::SERVER) => lease.v4.and_then(|v4| v4::answer(frame, message, lease, &v4)),
        (Network::Ipv6, v6::SERVER) => lease.v6.as_ref().and_then(|v6| v6::answer(frame, message, lease, v6)),
        _ => None,
    };
    reply.map(|reply| reply.frame(lease.router_mac)).ok_or(Reason::DhcpIgnored)
}

/// A datagram of the server.
struct Datagram {
    /// The receiver's MAC.
    to: Mac,
    /// Source and destination, of one family.
    ends: Ends,
    /// Source and destination port.
    ports: (u16, u16),
    /// The message.
    data: Vec<u8>,
}

/// Source and destination address.
enum Ends {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl Datagram {
    /// The datagram in an Ethernet frame from `from`.
    fn frame(self, from: Mac) -> Vec<u8> {
        // A reply has a few hundred octets.
        let length = (8 + self.data.len()) as u16;
        let (kind, header, pseudo) = match self.ends {
            Ends::V4(source, destination) => (
                ethertype::IPV4,
                ipv4_header(source, destination, length),
                Sum::pseudo_v4(source, destination, protocol::UDP, length),
            ),
            Ends::V6(source, destination) => (
                ethertype::IPV6,
                ipv6_header(source, destination, length),
                Sum::pseudo_v6(source, destination, protocol::UDP, length.into()),
            ),
        };
        let udp = [self.ports.0, self.ports.1, length];
        let sum = udp.iter().fold(pseudo, |sum, &word| sum.word(word)).plus(Sum::of(&self.data));
        let mut frame = Vec::with_capacity(ETHERNET + header.len() + usize::from(length));
        frame.extend(self.to.0);
        frame.extend(from.0);
        frame.extend(kind.to_be_bytes());
        frame.extend(header);
        frame.extend(udp.into_iter().flat_map(u16::to_be_bytes));
        frame.extend(sum.udp_checksum().to_be_bytes());
        frame.extend(self.data);
        frame
    }
}

/// An IPv4 header (RFC 791 §3.1) with TTL 64 in front of `length` octets of UDP. It is whole, so it needs no identification
/// (RFC 6864 §4.1).
fn ipv4_header(source: Ipv4Addr, destination: Ipv4Addr, length: u16) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend((20 + length).to_be_bytes());
    header.extend([0, 0, 0x40, 0, 64, protocol::UDP]);
    let addresses = [source.octets(), destination.octets()].concat();
    let checksum = Sum::of(&header).plus(Sum::of(&addresses)).checksum();
    header.extend(checksum.to_be_bytes());
    header.extend(addresses);
    header
}

/// An IPv6 header (RFC 8200 §3) with hop limit 255 in front of `length` octets of UDP.
fn ipv6_header(source: Ipv6Addr, destination: Ipv6Addr, length: u16) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(length.to_be_bytes());
    header.extend([protocol::UDP, 255]);
    header.extend(source.octets());
    header.extend(destination.octets());
    header
}

#[cfg(test)]
mod tests;
