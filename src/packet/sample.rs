//! Frames for tests, made the plain way: byte after byte, with the naive checksum.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::{collection::vec, prelude::*};

use super::{Mac, checksum::tests::naive, protocol};

pub(crate) const A: Mac = Mac([2, 0, 0, 0, 1, 0x0a]);
pub(crate) const B: Mac = Mac([2, 0, 0, 0, 1, 0x0b]);

/// An Ethernet frame from [`A`] to [`B`].
pub(crate) fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&B.0[..], &A.0, &kind.to_be_bytes(), payload].concat()
}

/// An IPv4 packet's frame. `fragmentation` is the field of flags and offset; `options` fill words.
pub(crate) fn ipv4(
    (source, destination): (Ipv4Addr, Ipv4Addr),
    protocol: u8,
    fragmentation: u16,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let len = (20 + options.len() + payload.len()) as u16;
    let mut header = vec![0x45 + (options.len() / 4) as u8, 0];
    header.extend(len.to_be_bytes());
    header.extend([0x12, 0x34]);
    header.extend(fragmentation.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    header.extend(source.octets());
    header.extend(destination.octets());
    header.extend(options);
    let checksum = !naive(&header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    ethernet(0x0800, &[&header, payload].concat())
}

/// An IPv6 packet's frame, with hop limit 255.
pub(crate) fn ipv6((source, destination): (Ipv6Addr, Ipv6Addr), next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend((payload.len() as u16).to_be_bytes());
    header.extend([next_header, 255]);
    header.extend(source.octets());
    header.extend(destination.octets());
    ethernet(0x86dd, &[&header, payload].concat())
}

/// A UDP datagram without checksum.
pub(crate) fn udp(source: u16, destination: u16, data: &[u8]) -> Vec<u8> {
    let len = 8 + data.len() as u16;
    [&[source, destination, len, 0].map(u16::to_be_bytes).concat()[..], data].concat()
}

/// A frame with a whole UDP datagram between two addresses of one family.
pub(crate) fn datagram(ends: (IpAddr, IpAddr), source: u16, destination: u16, data: &[u8]) -> Vec<u8> {
    let payload = udp(source, destination, data);
    match ends {
        (IpAddr::V4(a), IpAddr::V4(b)) => ipv4((a, b), protocol::UDP, 0x4000, &[], &payload),
        (IpAddr::V6(a), IpAddr::V6(b)) => ipv6((a, b), protocol::UDP, &payload),
        _ => panic!("two families"),
    }
}

/// Two addresses of one family.
pub(crate) fn ends() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        any::<(Ipv4Addr, Ipv4Addr)>().prop_map(|(a, b)| (a.into(), b.into())),
        any::<(Ipv6Addr, Ipv6Addr)>().prop_map(|(a, b)| (a.into(), b.into())),
    ]
}

/// Valid frames of all kinds: options, extension headers, fragments, padding.
pub(crate) fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let protocols = prop::sample::select(vec![1u8, 6, 17, 50, 58, 112]);
    let v4 = (
        any::<(Ipv4Addr, Ipv4Addr)>(),
        protocols.clone(),
        0usize..=10,
        vec(any::<u8>(), 24..90),
        fragmentation(),
    )
        .prop_map(|(ends, protocol, words, data, field)| {
            let data = if field & 0x2000 == 0 { &data[..] } else { &data[..data.len() & !7] };
            ipv4(ends, protocol, field, &vec![1; words * 4], data)
        });
    let extension = prop_oneof![
        prop::sample::select(vec![43u8, 60]).prop_flat_map(|kind| (Just(kind), 0u8..3, any::<[u8; 6]>())),
        (Just(51), prop::sample::select(vec![2u8, 4, 6]), any::<[u8; 6]>()),
    ];
    let v6 = (any::<(Ipv6Addr, Ipv6Addr)>(), vec(extension, 0..5), protocols, vec(any::<u8>(), 24..90))
        .prop_map(|(ends, extensions, protocol, data)| {
            let (next_header, mut payload) = chain(&extensions, protocol);
            payload.extend(data);
            ipv6(ends, next_header, &payload)
        });
    (prop_oneof![v4, v6], vec(any::<u8>(), 0..20)).prop_map(|(frame, padding)| [frame, padding].concat())
}

/// Flags and offset of: no fragment, a first, a later, a last one.
fn fragmentation() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0u16), Just(0x4000), Just(0x2000), 0x2002..0x2100u16, 2..0x100u16]
}

/// Extension headers (kind, length field, first data octets) in front of `protocol`: the first kind, and the bytes.
fn chain(extensions: &[(u8, u8, [u8; 6])], protocol: u8) -> (u8, Vec<u8>) {
    let kinds: Vec<u8> = extensions.iter().map(|(kind, ..)| *kind).chain([protocol]).collect();
    let mut bytes = Vec::new();
    for (position, (kind, len, data)) in extensions.iter().enumerate() {
        let total = if *kind == 51 { 8 + 4 * usize::from(*len) } else { 8 + 8 * usize::from(*len) };
        bytes.extend([kinds[position + 1], *len]);
        bytes.extend(data);
        bytes.resize(bytes.len() + total - 8, 0);
    }
    (kinds[0], bytes)
}

/// The sum of a message of `protocol` and its pseudo-header, word by word; ICMP has none.
pub(crate) fn transport_sum(ends: (IpAddr, IpAddr), protocol: u8, message: &[u8]) -> u16 {
    let len = (message.len() as u32).to_be_bytes();
    let addresses = match ends {
        (IpAddr::V4(_), _) if protocol == protocol::ICMP => return naive(message),
        (IpAddr::V4(a), IpAddr::V4(b)) => [a.octets(), b.octets()].concat(),
        (IpAddr::V6(a), IpAddr::V6(b)) => [a.octets(), b.octets()].concat(),
        _ => panic!("two families"),
    };
    naive(&[&addresses[..], &len, &[0, 0, 0, protocol], message].concat())
}

/// A message with its checksum, at `at`, filled in.
pub(crate) fn summed(ends: (IpAddr, IpAddr), protocol: u8, at: usize, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    message[at..at + 2].fill(0);
    let checksum = match !transport_sum(ends, protocol, &message) {
        0 if protocol == protocol::UDP => 0xffff,
        checksum => checksum,
    };
    message[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// A frame with a whole packet between two addresses of one family.
pub(crate) fn packet(ends: (IpAddr, IpAddr), protocol: u8, payload: &[u8]) -> Vec<u8> {
    match ends {
        (IpAddr::V4(a), IpAddr::V4(b)) => ipv4((a, b), protocol, 0x4000, &[], payload),
        (IpAddr::V6(a), IpAddr::V6(b)) => ipv6((a, b), protocol, payload),
        _ => panic!("two families"),
    }
}

/// What a flow's packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Udp,
    UdpWithoutChecksum,
    EchoRequest,
    EchoReply,
}

pub(crate) const KINDS: [Kind; 5] =
    [Kind::Tcp, Kind::Udp, Kind::UdpWithoutChecksum, Kind::EchoRequest, Kind::EchoReply];

impl Kind {
    /// The protocol, and the whole message with `data`. An echo has the source port as its identifier if it is a request,
    /// the destination port if a reply.
    pub(crate) fn message(self, ends: (IpAddr, IpAddr), ports: (u16, u16), data: &[u8]) -> (u8, Vec<u8>) {
        let v4 = ends.0.is_ipv4();
        let words = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
        let icmp = if v4 { protocol::ICMP } else { protocol::ICMPV6 };
        let (protocol, at, head) = match self {
            Self::Tcp => (protocol::TCP, 16, words(&[ports.0, ports.1, 1, 2, 3, 4, 0x5018, 0xffff, 0, 0])),
            Self::Udp | Self::UdpWithoutChecksum => {
                (protocol::UDP, 6, words(&[ports.0, ports.1, 8 + data.len() as u16, 0]))
            }
            Self::EchoRequest => (icmp, 2, words(&[if v4 { 8 << 8 } else { 128 << 8 }, 0, ports.0, 1])),
            Self::EchoReply => (icmp, 2, words(&[if v4 { 0 } else { 129 << 8 }, 0, ports.1, 1])),
        };
        let message = [&head[..], data].concat();
        if self == Self::UdpWithoutChecksum {
            return (protocol, message);
        }
        (protocol, summed(ends, protocol, at, &message))
    }

    /// The frame with it.
    pub(crate) fn frame(self, ends: (IpAddr, IpAddr), ports: (u16, u16), data: &[u8]) -> Vec<u8> {
        let (protocol, message) = self.message(ends, ports, data);
        packet(ends, protocol, &message)
    }

    /// The ports as a tuple has them.
    pub(crate) fn ports(self, ports: (u16, u16)) -> (u16, u16) {
        match self {
            Self::EchoRequest => (ports.0, 0),
            Self::EchoReply => (0, ports.1),
            _ => ports,
        }
    }
}

/// The sum over the transport message of a frame, with its pseudo-header: 0xffff if its checksum is right.
pub(crate) fn summed_up(frame: &[u8], headers: &super::Headers) -> u16 {
    let ends = super::endpoints(frame, headers.network).expect("an IP packet");
    transport_sum(ends, headers.protocol, &frame[headers.l4.into()..headers.end()])
}
