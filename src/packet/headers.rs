//! The parser that every packet passes: one walk from the EtherType to the ports.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Buffer, bytes::get};
use crate::pipeline::Reason;

/// Octets of an untagged Ethernet header, so the offset of the network header in any frame that [`parse`] accepts.
pub const ETHERNET: usize = 14;

/// EtherTypes (IEEE 802 numbers, IANA registry).
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// A customer VLAN tag (IEEE 802.1Q).
    pub const VLAN: u16 = 0x8100;
    /// A service VLAN tag (IEEE 802.1ad).
    pub const SERVICE_VLAN: u16 = 0x88a8;
}

/// IP protocol numbers (IANA registry) that the node reads.
pub mod protocol {
    /// ICMP (RFC 792).
    pub const ICMP: u8 = 1;
    /// TCP (RFC 9293).
    pub const TCP: u8 = 6;
    /// UDP (RFC 768).
    pub const UDP: u8 = 17;
    /// ICMPv6 (RFC 4443).
    pub const ICMPV6: u8 = 58;
}

/// What the EtherType says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Network {
    /// IPv4 (RFC 791).
    Ipv4,
    /// IPv6 (RFC 8200).
    Ipv6,
    /// ARP (RFC 826).
    Arp,
}

/// Which part of its datagram an IP packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fragment {
    /// All of it: no fragment, or an IPv6 atomic fragment (RFC 6946).
    Whole,
    /// The first part, with the transport header; more follow.
    First,
    /// A later part, without a transport header.
    Later,
}

/// What [`parse`] found in a frame: offsets from its first octet, and the fields that every stage asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Octets from the first of the network header to the last of the IP packet, without padding; 0 for ARP.
    pub ip_len: u32,
    /// Offset of the transport header, behind options and extension headers; in a later fragment, of its data.
    pub l4: u16,
    /// TCP's or UDP's source port; 0 for other protocols and in a later fragment.
    pub source_port: u16,
    /// TCP's or UDP's destination port; ICMP's or ICMPv6's type (upper octet) and code (lower); else 0, as in a later
    /// fragment.
    pub destination_port: u16,
    /// The network protocol.
    pub network: Network,
    /// The protocol of the transport header (IPv6: the last Next Header value of the walk); 0 for ARP.
    pub protocol: u8,
    /// Whether the packet is a fragment.
    pub fragment: Fragment,
}

// A burst's worth of them stays in a few cache lines.
const _: () = assert!(size_of::<Headers>() <= 16);

impl Headers {
    /// The type of an ICMP or ICMPv6 message; `None` for other protocols and in later fragments.
    #[inline]
    pub const fn icmp_type(&self) -> Option<u8> {
        match (self.network, self.protocol, self.fragment) {
            (_, _, Fragment::Later) => None,
            (Network::Ipv4, protocol::ICMP, _) | (Network::Ipv6, protocol::ICMPV6, _) => {
                Some((self.destination_port >> 8) as u8)
            }
            _ => None,
        }
    }

    /// Offset of the first octet behind the IP packet; padding follows, if anything. Behind the Ethernet header for ARP.
    #[inline]
    pub const fn end(&self) -> usize {
        ETHERNET + self.ip_len as usize
    }
}

/// Parses an Ethernet frame without VLAN tag. Padding behind an IP packet is allowed.
///
/// # Errors
///
/// The reason to drop the frame: [`Reason::Truncated`], [`Reason::Malformed`], [`Reason::Ethertype`], [`Reason::Vlan`]
/// or [`Reason::FragInvalid`]. ARP's own fields are [`super::arp::Arp::parse`]'s to check, IP header checksums nobody's:
/// the receiving guest verifies them (for the outer header, [`super::Outer::parse`] does).
#[inline]
pub fn parse(frame: &[u8]) -> Result<Headers, Reason> {
    let kind = u16::from_be_bytes(get(frame, 12).ok_or(Reason::Truncated)?);
    match kind {
        ethertype::IPV4 => ipv4(frame),
        ethertype::IPV6 => ipv6(frame),
        ethertype::ARP => Ok(Headers {
            ip_len: 0,
            l4: ETHERNET as u16,
            source_port: 0,
            destination_port: 0,
            network: Network::Arp,
            protocol: 0,
            fragment: Fragment::Whole,
        }),
        ethertype::VLAN | ethertype::SERVICE_VLAN => Err(Reason::Vlan),
        _ => Err(Reason::Ethertype),
    }
}

#[inline]
fn ipv4(frame: &[u8]) -> Result<Headers, Reason> {
    let fixed = frame.first_chunk::<34>().ok_or(Reason::Truncated)?;
    // RFC 1122 §3.2.1.1: version 4. RFC 791 §3.1: at least five 32-bit words of header, all within the total length.
    let header_len = usize::from(fixed[14] & 15) * 4;
    let ip_len = u16::from_be_bytes([fixed[16], fixed[17]]);
    if fixed[14] >> 4 != 4 || header_len < 20 || usize::from(ip_len) < header_len {
        return Err(Reason::Malformed);
    }
    let l4 = ETHERNET + header_len;
    let transport = frame.get(l4..ETHERNET + usize::from(ip_len)).ok_or(Reason::Truncated)?;
    let protocol = fixed[23];
    // RFC 791 §3.1: flags (reserved, DF, MF), then the offset in units of eight octets.
    let fragmentation = u16::from_be_bytes([fixed[20], fixed[21]]);
    let fragment = if fragmentation & 0x3fff == 0 {
        Fragment::Whole
    } else {
        check_fragment(fragmentation << 3, fragmentation & 0x2000 != 0, transport.len())?;
        // RFC 1858 §3.2.2: an offset of one would put TCP's flags into the second fragment.
        if fragmentation & 0x1fff == 1 && protocol == protocol::TCP {
            return Err(Reason::FragInvalid);
        }
        if fragmentation & 0x1fff == 0 { Fragment::First } else { Fragment::Later }
    };
    let (source_port, destination_port) = ports(transport, Network::Ipv4, protocol, fragment)?;
    Ok(Headers {
        ip_len: ip_len.into(),
        l4: l4 as u16,
        source_port,
        destination_port,
        network: Network::Ipv4,
        protocol,
        fragment,
    })
}

/// The most extension headers that a packet may have: each kind once and destination options twice (RFC 8200 §4.1), with
/// room to spare.
const MAX_EXTENSIONS: usize = 8;

#[inline]
fn ipv6(frame: &[u8]) -> Result<Headers, Reason> {
    let fixed = frame.first_chunk::<54>().ok_or(Reason::Truncated)?;
    // RFC 8200 §3.
    if fixed[14] >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    let ip_len = 40 + u32::from(u16::from_be_bytes([fixed[18], fixed[19]]));
    let end = ETHERNET + ip_len as usize;
    let payload = frame.get(54..end).ok_or(Reason::Truncated)?;
    let chain = match fixed[20] {
        protocol @ (protocol::TCP | protocol::UDP | protocol::ICMPV6) => {
            Chain { transport: payload, protocol, fragment: Fragment::Whole }
        }
        first => extensions(payload, first)?,
    };
    let (source_port, destination_port) =
        ports(chain.transport, Network::Ipv6, chain.protocol, chain.fragment)?;
    Ok(Headers {
        ip_len,
        l4: u16::try_from(end - chain.transport.len()).map_err(|_| Reason::Malformed)?,
        source_port,
        destination_port,
        network: Network::Ipv6,
        protocol: chain.protocol,
        fragment: chain.fragment,
    })
}

/// Where a chain of extension headers ends.
struct Chain<'a> {
    transport: &'a [u8],
    protocol: u8,
    fragment: Fragment,
}

/// Walks the extension headers of an IPv6 payload whose first Next Header value is `protocol`.
#[inline(never)]
fn extensions(payload: &[u8], mut protocol: u8) -> Result<Chain<'_>, Reason> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION_OPTIONS: u8 = 60;

    let mut rest = payload;
    let mut fragment = None;
    for position in 0..=MAX_EXTENSIONS {
        let header_len = match (protocol, get(rest, 0)) {
            // RFC 8200 §4.1: hop-by-hop options only directly behind the IPv6 header.
            (HOP_BY_HOP, _) if position != 0 => return Err(Reason::Malformed),
            // RFC 8200 §4.3, §4.4, §4.6: the length in units of eight octets, without the first eight.
            (HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS, Some([_, len])) => 8 + 8 * usize::from(len),
            // RFC 4302 §2.2: the length in units of four octets, less two.
            (AUTHENTICATION, Some([_, len])) => 8 + 4 * usize::from(len),
            (FRAGMENT, Some(_)) => 8,
            (HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | AUTHENTICATION | FRAGMENT, None) => {
                return Err(cut(fragment.unwrap_or(Fragment::Whole)));
            }
            _ => {
                let fragment = fragment.unwrap_or(Fragment::Whole);
                return Ok(Chain { transport: rest, protocol, fragment });
            }
        };
        let (header, behind) =
            rest.split_at_checked(header_len).ok_or_else(|| cut(fragment.unwrap_or(Fragment::Whole)))?;
        let next = header.first().copied().unwrap_or_default();
        if protocol == FRAGMENT {
            // RFC 8200 §4.5: offset in the upper 13 bits, M in the lowest.
            let field = u16::from_be_bytes(get(header, 2).unwrap_or_default());
            let (offset, more) = (field & 0xfff8, field & 1 != 0);
            check_fragment(offset, more, behind.len())?;
            let kind = match (offset, more) {
                (0, false) => Fragment::Whole,
                (0, true) => Fragment::First,
                _ => Fragment::Later,
            };
            // A packet is fragmented once (RFC 8200 §4.5: the fragmentable part holds no Fragment header).
            if fragment.replace(kind).is_some() {
                return Err(Reason::FragInvalid);
            }
            if kind == Fragment::Later {
                return Ok(Chain { transport: behind, protocol: next, fragment: kind });
            }
        }
        (rest, protocol) = (behind, next);
    }
    Err(Reason::Malformed)
}

/// RFC 791 §3.2 and RFC 8200 §4.5: data in units of eight octets unless it is the last, and no more than 65 535 in all.
#[inline(never)]
fn check_fragment(offset: u16, more: bool, len: usize) -> Result<(), Reason> {
    let partial_unit = more && !len.is_multiple_of(8);
    if partial_unit || len == 0 || usize::from(offset) + len > 0xffff {
        return Err(Reason::FragInvalid);
    }
    Ok(())
}

/// Why headers that don't fit into a whole packet or a first fragment are refused.
const fn cut(fragment: Fragment) -> Reason {
    match fragment {
        Fragment::Whole => Reason::Truncated,
        // RFC 1858 §3.2.1, RFC 7112 §5: the first fragment holds all headers.
        Fragment::First | Fragment::Later => Reason::FragInvalid,
    }
}

/// Source and destination port; for ICMP 0 and (type, code).
#[inline(always)]
fn ports(transport: &[u8], network: Network, protocol: u8, fragment: Fragment) -> Result<(u16, u16), Reason> {
    if fragment == Fragment::Later {
        return Ok((0, 0));
    }
    // The shortest header of each: RFC 9293 §3.1, RFC 768, RFC 792, RFC 4443 §2.1.
    let (shortest, has_ports) = match (protocol, network) {
        (protocol::TCP, _) => (20, true),
        (protocol::UDP, _) => (8, true),
        (protocol::ICMP, Network::Ipv4) => (8, false),
        (protocol::ICMPV6, Network::Ipv6) => (4, false),
        _ => return Ok((0, 0)),
    };
    let [a, b, c, d] = match get(transport, 0) {
        Some(words) if transport.len() >= shortest => words,
        _ => return Err(cut(fragment)),
    };
    let first = u16::from_be_bytes([a, b]);
    Ok(if has_ports { (first, u16::from_be_bytes([c, d])) } else { (0, first) })
}

/// Source and destination address, in host order, of a frame that [`parse`] found to be IPv4; zeros of a shorter frame.
#[inline(always)]
pub fn ipv4_addresses(frame: &[u8]) -> (u32, u32) {
    let pair = u64::from_be_bytes(get(frame, ETHERNET + 12).unwrap_or_default());
    ((pair >> 32) as u32, pair as u32)
}

/// Source and destination address, in host order, of a frame that [`parse`] found to be IPv6; zeros of a shorter frame.
#[inline(always)]
pub fn ipv6_addresses(frame: &[u8]) -> (u128, u128) {
    let pair: [u8; 32] = get(frame, ETHERNET + 8).unwrap_or([0; 32]);
    let (source, destination) = (get(&pair, 0).unwrap_or_default(), get(&pair, 16).unwrap_or_default());
    (u128::from_be_bytes(source), u128::from_be_bytes(destination))
}

/// [`ipv4_addresses`], typed.
pub fn ipv4_endpoints(frame: &[u8]) -> (Ipv4Addr, Ipv4Addr) {
    let (source, destination) = ipv4_addresses(frame);
    (source.into(), destination.into())
}

/// [`ipv6_addresses`], typed.
pub fn ipv6_endpoints(frame: &[u8]) -> (Ipv6Addr, Ipv6Addr) {
    let (source, destination) = ipv6_addresses(frame);
    (source.into(), destination.into())
}

/// A hash of addresses, protocol and (TCP and UDP, unfragmented) ports that is the same for both directions of a flow
/// and for all fragments of a datagram. 0 for ARP. All 32 bits are well distributed; it is not keyed.
#[inline]
pub fn flow_hash(frame: &[u8], headers: &Headers) -> u32 {
    // Digits of pi: any constants with irregular bits do.
    const LOW: u64 = 0x2437_f6a8_885a_308d;
    const HIGH: u64 = 0x1319_8a2e_0370_7345;

    let has_ports =
        headers.fragment == Fragment::Whole && matches!(headers.protocol, protocol::TCP | protocol::UDP);
    let ports = if has_ports {
        (u64::from(headers.source_port), u64::from(headers.destination_port))
    } else {
        (0, 0)
    };
    let (a, b) = match headers.network {
        Network::Ipv4 => {
            let (source, destination) = ipv4_addresses(frame);
            (u64::from(source) | ports.0 << 32, u64::from(destination) | ports.1 << 32)
        }
        Network::Ipv6 => {
            let (source, destination) = ipv6_addresses(frame);
            let end =
                |address: u128, port: u64| mix(address as u64 ^ HIGH, (address >> 64) as u64 ^ LOW ^ port);
            (end(source, ports.0), end(destination, ports.1))
        }
        Network::Arp => return 0,
    };
    // Ordering the two ends makes the hash symmetric without losing which port belongs to which address.
    let (low, high) = (a.min(b), a.max(b));
    let hash = mix(low ^ LOW ^ u64::from(headers.protocol) << 48, high ^ HIGH);
    (hash ^ hash >> 32) as u32
}

/// Both halves of a 128-bit product, folded: every bit of the factors reaches most of the result's.
#[inline(always)]
const fn mix(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

/// Removes one 802.1Q or 802.1ad tag, if the frame has one, and says whether it did. A second tag stays, for [`parse`]
/// to refuse.
#[inline]
pub fn strip_vlan<B: Buffer>(buffer: &mut B) -> bool {
    let Some(head) = buffer.data_mut().first_chunk_mut::<18>() else {
        return false;
    };
    if !matches!(u16::from_be_bytes([head[12], head[13]]), ethertype::VLAN | ethertype::SERVICE_VLAN) {
        return false;
    }
    head.copy_within(0..12, 4);
    buffer.trim_front(4)
}
