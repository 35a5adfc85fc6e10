//! The parser that every packet passes: one walk from the EtherType to the ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Plain, PlainV6, bytes::get};
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
    /// IGMP (RFC 2236).
    pub const IGMP: u8 = 2;
    /// TCP (RFC 9293).
    pub const TCP: u8 = 6;
    /// UDP (RFC 768).
    pub const UDP: u8 = 17;
    /// GRE (RFC 2784).
    pub const GRE: u8 = 47;
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

/// The EtherType of a frame without VLAN tag; 0 of a shorter one.
#[inline(always)]
pub fn ethertype_of(frame: &[u8]) -> u16 {
    u16::from_be_bytes(get(frame, 12).unwrap_or_default())
}

/// Parses an Ethernet frame without VLAN tag. Padding behind an IP packet is allowed.
///
/// # Errors
///
/// The reason to drop the frame: [`Reason::Truncated`], [`Reason::Malformed`], [`Reason::Ethertype`], [`Reason::Vlan`]
/// or [`Reason::FragInvalid`]. ARP's own fields are [`super::arp::Arp::parse`]'s to check, IP header checksums nobody's:
/// the receiving guest verifies them (for the outer header, [`super::Outer::parse`] does).
#[inline(always)]
pub fn parse(frame: &[u8]) -> Result<Headers, Reason> {
    match Plain::of(frame).map(Plain::headers).or_else(|| PlainV6::of(frame).map(PlainV6::headers)) {
        Some(headers) => Ok(headers),
        // Field by field: a copy of the whole right behind the writes of its fields would stall on store forwarding for
        // longer than all the parsing takes, also on the usual packets' path, which shares the copy.
        None => {
            let Headers { ip_len, l4, source_port, destination_port, network, protocol, fragment } =
                walk(frame)?;
            Ok(Headers { ip_len, l4, source_port, destination_port, network, protocol, fragment })
        }
    }
}

/// [`parse`] without its short cuts.
#[inline(never)]
fn walk(frame: &[u8]) -> Result<Headers, Reason> {
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

fn ipv6(frame: &[u8]) -> Result<Headers, Reason> {
    let fixed = frame.first_chunk::<54>().ok_or(Reason::Truncated)?;
    // RFC 8200 §3.
    if fixed[14] >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    let ip_len = 40 + u32::from(u16::from_be_bytes([fixed[18], fixed[19]]));
    let end = ETHERNET + ip_len as usize;
    let payload = frame.get(54..end).ok_or(Reason::Truncated)?;
    let chain = extensions(payload, fixed[20])?;
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

/// IPv6 extension headers (RFC 8200 §4, RFC 4302).
pub(super) mod extension {
    pub(in super::super) const HOP_BY_HOP: u8 = 0;
    pub(in super::super) const ROUTING: u8 = 43;
    pub(in super::super) const FRAGMENT: u8 = 44;
    pub(in super::super) const AUTHENTICATION: u8 = 51;
    pub(in super::super) const DESTINATION_OPTIONS: u8 = 60;

    /// Whether a Next Header value is one's.
    pub(in super::super) const fn is(kind: u8) -> bool {
        matches!(kind, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS)
    }

    /// Octets of one that begins with these two.
    pub(in super::super) fn len(kind: u8, [_, len]: [u8; 2]) -> usize {
        match kind {
            FRAGMENT => 8,
            // RFC 4302 §2.2: the length in units of four octets, less two.
            AUTHENTICATION => 8 + 4 * usize::from(len),
            // RFC 8200 §4.3, §4.4, §4.6: the length in units of eight octets, without the first eight.
            _ => 8 + 8 * usize::from(len),
        }
    }
}

/// Walks the extension headers of an IPv6 payload whose first Next Header value is `protocol`.
fn extensions(payload: &[u8], mut protocol: u8) -> Result<Chain<'_>, Reason> {
    let mut rest = payload;
    let mut fragment = None;
    for position in 0..=MAX_EXTENSIONS {
        if !extension::is(protocol) {
            let fragment = fragment.unwrap_or(Fragment::Whole);
            return Ok(Chain { transport: rest, protocol, fragment });
        }
        // RFC 8200 §4.1: hop-by-hop options only directly behind the IPv6 header.
        if protocol == extension::HOP_BY_HOP && position != 0 {
            return Err(Reason::Malformed);
        }
        let header_len = match get(rest, 0) {
            Some(octets) => extension::len(protocol, octets),
            None => return Err(cut(fragment.unwrap_or(Fragment::Whole))),
        };
        let (header, behind) =
            rest.split_at_checked(header_len).ok_or_else(|| cut(fragment.unwrap_or(Fragment::Whole)))?;
        let next = header.first().copied().unwrap_or_default();
        if protocol == extension::FRAGMENT {
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

/// The shortest TCP header (RFC 9293 §3.1).
pub(super) const SHORTEST_TCP: usize = 20;
/// A UDP header (RFC 768).
pub(super) const SHORTEST_UDP: usize = 8;

/// Source and destination port; for ICMP 0 and (type, code).
fn ports(transport: &[u8], network: Network, protocol: u8, fragment: Fragment) -> Result<(u16, u16), Reason> {
    if fragment == Fragment::Later {
        return Ok((0, 0));
    }
    let (shortest, has_ports) = match (protocol, network) {
        (protocol::TCP, _) => (SHORTEST_TCP, true),
        (protocol::UDP, _) => (SHORTEST_UDP, true),
        // RFC 792; RFC 4443 §2.1.
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

/// [`ipv6_addresses`], typed.
pub fn ipv6_endpoints(frame: &[u8]) -> (Ipv6Addr, Ipv6Addr) {
    let (source, destination) = ipv6_addresses(frame);
    (source.into(), destination.into())
}

/// Source and destination address of the packet in a frame that [`parse`] found to be of `network`; `None` for ARP.
pub fn endpoints(frame: &[u8], network: Network) -> Option<(IpAddr, IpAddr)> {
    match network {
        Network::Ipv4 => {
            let (source, destination) = ipv4_addresses(frame);
            Some((Ipv4Addr::from_bits(source).into(), Ipv4Addr::from_bits(destination).into()))
        }
        Network::Ipv6 => {
            let (source, destination) = ipv6_endpoints(frame);
            Some((source.into(), destination.into()))
        }
        Network::Arp => None,
    }
}

/// A hash of addresses, protocol and (TCP and UDP, unfragmented) ports that is the same for both directions of a flow
/// and for all fragments of a datagram. 0 for ARP. All 32 bits are well distributed; it is not keyed.
#[inline]
pub fn flow_hash(frame: &[u8], headers: &Headers) -> u32 {
    let has_ports =
        headers.fragment == Fragment::Whole && matches!(headers.protocol, protocol::TCP | protocol::UDP);
    let ports = if has_ports { (headers.source_port, headers.destination_port) } else { (0, 0) };
    let (a, b) = match headers.network {
        Network::Ipv4 => {
            let (source, destination) = ipv4_addresses(frame);
            (end_v4(source, ports.0), end_v4(destination, ports.1))
        }
        Network::Ipv6 => {
            let (source, destination) = ipv6_addresses(frame);
            (end_v6(source, ports.0), end_v6(destination, ports.1))
        }
        Network::Arp => return 0,
    };
    hash_ends(a, b, headers.protocol)
}

/// One end of a flow, to be hashed.
#[inline(always)]
pub(super) const fn end_v4(address: u32, port: u16) -> u64 {
    address as u64 | (port as u64) << 32
}

/// One end of a flow, to be hashed.
#[inline(always)]
pub(super) const fn end_v6(address: u128, port: u16) -> u64 {
    mix(address as u64 ^ HIGH, (address >> 64) as u64 ^ LOW ^ port as u64)
}

// Digits of pi: any constants with irregular bits do.
const LOW: u64 = 0x2437_f6a8_885a_308d;
const HIGH: u64 = 0x1319_8a2e_0370_7345;

/// The hash of a flow between two ends. Ordering them makes it symmetric without losing which port belongs to which
/// address.
#[inline(always)]
pub(super) const fn hash_ends(a: u64, b: u64, protocol: u8) -> u32 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    let hash = mix(low ^ LOW ^ (protocol as u64) << 48, high ^ HIGH);
    (hash ^ hash >> 32) as u32
}

/// Both halves of a 128-bit product, folded: every bit of the factors reaches most of the result's.
#[inline(always)]
const fn mix(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::packet::sample;

    const V4: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(10, 0, 1, 10), Ipv4Addr::new(10, 0, 2, 20));
    const V6: (Ipv6Addr, Ipv6Addr) = (Ipv6Addr::LOCALHOST, Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));

    /// A TCP header's first octets: from port 1000 to port 443.
    const TCP: [u8; 20] = [3, 0xe8, 1, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0];

    #[test]
    fn ipv4_with_options_and_padding() {
        let mut frame = sample::ipv4(V4, protocol::TCP, 0x4000, &[1; 8], &TCP);
        frame.extend([0; 12]);
        let headers = parse(&frame).unwrap();
        let expected = Headers {
            ip_len: 48,
            l4: 42,
            source_port: 1000,
            destination_port: 443,
            network: Network::Ipv4,
            protocol: protocol::TCP,
            fragment: Fragment::Whole,
        };
        assert_eq!(headers, expected);
        assert_eq!(headers.end(), frame.len() - 12);
        assert_eq!(ipv4_addresses(&frame), (V4.0.to_bits(), V4.1.to_bits()));
    }

    #[test]
    fn contradicting_ipv4_headers_are_malformed() {
        let frame = sample::ipv4(V4, protocol::TCP, 0, &[], &TCP);
        for (at, value, reason) in [
            (14, 0x55, Reason::Malformed), // version 5
            (14, 0x44, Reason::Malformed), // four words
            (17, 19, Reason::Malformed),   // shorter than the header
            (17, 41, Reason::Truncated),   // longer than the frame
            (17, 39, Reason::Truncated),   // cuts the TCP header
            (14, 0x46, Reason::Truncated), // options in the TCP header's place
        ] {
            let mut frame = frame.clone();
            frame[at] = value;
            assert_eq!(parse(&frame), Err(reason), "octet {at} = {value:#x}");
        }
    }

    #[test]
    fn only_ip_and_arp_without_tag() {
        assert_eq!(parse(&sample::ethernet(0x0806, &[])).unwrap().network, Network::Arp);
        assert_eq!(parse(&sample::ethernet(0x88cc, &[0; 46])), Err(Reason::Ethertype)); // LLDP
        assert_eq!(parse(&sample::ethernet(0x0026, &[0; 46])), Err(Reason::Ethertype)); // IEEE 802.3 LLC
        assert_eq!(parse(&sample::ethernet(0x8100, &[0; 46])), Err(Reason::Vlan));
        assert_eq!(parse(&sample::ethernet(0x88a8, &[0; 46])), Err(Reason::Vlan));
        assert_eq!(parse(&[0; 13]), Err(Reason::Truncated));
    }

    #[test]
    fn ipv4_fragments() {
        let fragment = |field, protocol, len| {
            let data = [&TCP[..], &[0; 44]].concat();
            parse(&sample::ipv4(V4, protocol, field, &[], &data[..len]))
                .map(|headers| (headers.fragment, headers.destination_port))
        };
        assert_eq!(fragment(0x2000, protocol::TCP, 24), Ok((Fragment::First, 443)));
        assert_eq!(fragment(0x2003, protocol::TCP, 24), Ok((Fragment::Later, 0)));
        assert_eq!(fragment(0x0003, protocol::TCP, 3), Ok((Fragment::Later, 0)));
        assert_eq!(fragment(0x2000, protocol::TCP, 16), Err(Reason::FragInvalid)); // tiny
        assert_eq!(fragment(0x0001, protocol::TCP, 24), Err(Reason::FragInvalid)); // overlaps the flags
        assert_eq!(fragment(0x0001, protocol::UDP, 24), Ok((Fragment::Later, 0)));
        assert_eq!(fragment(0x2003, protocol::TCP, 20), Err(Reason::FragInvalid)); // no multiple of eight
        assert_eq!(fragment(0x1fff, protocol::TCP, 8), Err(Reason::FragInvalid)); // longer than 65 535
    }

    #[test]
    fn ipv6_extension_headers() {
        let parse = |next, chain: &[u8]| parse(&sample::ipv6(V6, next, &[chain, &TCP].concat()));
        // Hop-by-hop options, routing, destination options, then AH of 24 octets.
        let chain = [
            &[43, 0, 1, 4, 0, 0, 0, 0][..],
            &[60, 0, 0, 0, 0, 0, 0, 0],
            &[51, 0, 1, 4, 0, 0, 0, 0],
            &[6, 4, 0, 0],
            &[0; 20],
        ]
        .concat();
        let headers = parse(0, &chain).unwrap();
        assert_eq!((headers.l4, headers.protocol, headers.destination_port), (54 + 48, protocol::TCP, 443));
        assert_eq!(headers.ip_len, 40 + 48 + 20);
        // Hop-by-hop options anywhere else.
        assert_eq!(parse(60, &[0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]), Err(Reason::Malformed));
        // Eight headers pass, nine don't.
        let options = |count: usize| {
            [[60, 0, 0, 0, 0, 0, 0, 0].repeat(count - 1), vec![6, 0, 0, 0, 0, 0, 0, 0]].concat()
        };
        assert_eq!(parse(60, &options(8)).unwrap().l4, 54 + 64);
        assert_eq!(parse(60, &options(9)), Err(Reason::Malformed));
        // A header that announces more than there is.
        assert_eq!(parse(60, &[6, 200, 0, 0, 0, 0, 0, 0]), Err(Reason::Truncated));
    }

    #[test]
    fn ipv6_fragments() {
        let fragment = |field: u16, next, data: &[u8]| {
            let [high, low] = field.to_be_bytes();
            let header = [next, 0, high, low, 0, 0, 0, 1];
            parse(&sample::ipv6(V6, 44, &[&header, data].concat()))
                .map(|headers| (headers.fragment, headers.protocol, headers.destination_port))
        };
        let data = [&TCP[..], &[0; 4]].concat();
        assert_eq!(fragment(0, 6, &data), Ok((Fragment::Whole, 6, 443))); // atomic
        assert_eq!(fragment(1, 6, &data), Ok((Fragment::First, 6, 443)));
        assert_eq!(fragment(24, 6, &data), Ok((Fragment::Later, 6, 0)));
        assert_eq!(fragment(25, 6, &data), Ok((Fragment::Later, 6, 0)));
        assert_eq!(fragment(1, 6, &data[..16]), Err(Reason::FragInvalid)); // cuts the TCP header
        assert_eq!(fragment(1, 60, &[6, 9, 0, 0, 0, 0, 0, 0]), Err(Reason::FragInvalid)); // cuts the options
        assert_eq!(fragment(1, 44, &[6, 0, 0, 1, 0, 0, 0, 1]), Err(Reason::FragInvalid)); // twice
        assert_eq!(fragment(0xfff8, 6, &data), Err(Reason::FragInvalid)); // longer than 65 535
    }

    #[test]
    fn icmp_type_and_code_stand_for_the_destination_port() {
        let headers = parse(&sample::ipv4(V4, protocol::ICMP, 0, &[], &[3, 4, 0, 0, 0, 0, 0, 0])).unwrap();
        assert_eq!((headers.source_port, headers.destination_port, headers.icmp_type()), (0, 0x304, Some(3)));
        // ICMPv6 in IPv4 is no ICMPv6.
        let headers = parse(&sample::ipv4(V4, protocol::ICMPV6, 0, &[], &[135, 0, 0, 0])).unwrap();
        assert_eq!(headers.icmp_type(), None);
    }

    #[test]
    fn flow_hash_spreads_neighbouring_flows() {
        // Differences in one field only, as in real subnets: every bucket within 25 % of its share.
        let spread = |frame: &dyn Fn(u32) -> Vec<u8>| {
            for shift in [0, 14, 26] {
                let mut buckets = [0u32; 64];
                for i in 0..64 * 1024 {
                    let frame = frame(i);
                    let hash = flow_hash(&frame, &parse(&frame).unwrap());
                    buckets[(hash >> shift) as usize % 64] += 1;
                }
                assert!(buckets.iter().all(|count| (768..1280).contains(count)), "{buckets:?}");
            }
        };
        spread(&|i| sample::datagram((V4.0.into(), V4.1.into()), i as u16, 53, &[]));
        spread(&|i| sample::datagram((V4.0.into(), Ipv4Addr::from(0x0a00_0000 + i).into()), 1000, 53, &[]));
        spread(&|i| sample::datagram((V6.0.into(), V6.1.into()), i as u16, 53, &[]));
        spread(&|i| {
            sample::datagram(
                (V6.0.into(), Ipv6Addr::from(V6.1.to_bits() + u128::from(i)).into()),
                1000,
                53,
                &[],
            )
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn never_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0usize..4) {
            let mut bytes = bytes;
            if let (Some(field), Some(kind)) = (bytes.get_mut(12..14), [0x0800u16, 0x86dd, 0x0806].get(kind)) {
                field.copy_from_slice(&kind.to_be_bytes());
            }
            if let Ok(headers) = parse(&bytes) {
                prop_assert!(headers.end() <= bytes.len() && usize::from(headers.l4) <= headers.end());
                flow_hash(&bytes, &headers);
            }
        }

        #[test]
        fn accepts_valid_frames_and_survives_their_mutations(
            frame in sample::any_frame(),
            mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let headers = parse(&frame).unwrap();
            prop_assert_eq!(Ok(headers), walk(&frame), "the short cuts lead elsewhere");
            prop_assert!(usize::from(headers.l4) < headers.end() && headers.end() <= frame.len());
            // Whatever is cut off the packet is missed.
            prop_assert!(parse(&frame[..cut.index(headers.end())]).is_err());
            let mut mutated = frame;
            for (at, value) in mutations {
                let at = at.index(mutated.len());
                mutated[at] = value;
            }
            prop_assert_eq!(parse(&mutated), walk(&mutated), "the short cuts lead elsewhere");
            if let Ok(headers) = parse(&mutated) {
                prop_assert!(headers.end() <= mutated.len() && usize::from(headers.l4) <= headers.end());
            }
        }

        #[test]
        fn flow_hash_is_symmetric_and_reads_every_field(
            (a, b) in sample::ends(), ports: (u16, u16), other: u16,
        ) {
            let hash = |ends, source, destination| {
                let frame = sample::datagram(ends, source, destination, &[]);
                flow_hash(&frame, &parse(&frame).unwrap())
            };
            let one = hash((a, b), ports.0, ports.1);
            prop_assert_eq!(one, hash((b, a), ports.1, ports.0));
            if other != ports.0 && a != b {
                prop_assert_ne!(one, hash((a, b), other, ports.1));
            }
            if ports.0 != ports.1 && a != b {
                prop_assert_ne!(one, hash((a, b), ports.1, ports.0));
            }
        }

        #[test]
        fn fragments_of_a_datagram_hash_alike(ends: (Ipv4Addr, Ipv4Addr), data: [u8; 24]) {
            let hash = |field| {
                let frame = sample::ipv4(ends, protocol::UDP, field, &[], &data);
                flow_hash(&frame, &parse(&frame).unwrap())
            };
            prop_assert_eq!(hash(0x2000), hash(0x0003));
        }
    }
}
