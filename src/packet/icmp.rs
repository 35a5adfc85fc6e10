//! What a router says by ICMP (RFC 792) and ICMPv6 (RFC 4443) inside a subnet: the echo reply, and the error about a
//! packet that is too big for its path. Both are made of the frame that they answer, in place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    Buffer, Mac,
    bytes::{get, put},
    checksum::{Sum, update},
    encap::traffic_class,
    headers::{ETHERNET, Fragment, Headers, Network, ethertype, ipv4_addresses, ipv6_endpoints, protocol},
    macs,
};
use crate::pipeline::Reason;

/// Octets in front of what an error quotes, and of an echo's data: type, code, checksum, and a word of the type's own.
const HEADER: usize = 8;

/// Of a new packet (RFC 1700, "IP time to live parameter"; RFC 8200 leaves it open).
const HOP_LIMIT: u8 = 64;

/// The DSCP of errors: internetwork control, which RFC 1812 §4.3.2.5 asks for.
const INTERNETWORK_CONTROL: u8 = 0xc0;

/// Type and code in one word, as the family has them.
mod kind {
    /// RFC 792, RFC 4443 §4.
    pub(super) const ECHO: [u16; 2] = [8 << 8, 128 << 8];
    pub(super) const ECHO_REPLY: [u16; 2] = [0, 129 << 8];
    /// Fragmentation needed and DF set (RFC 792), packet too big (RFC 4443 §3.2).
    pub(super) const TOO_BIG: [u16; 2] = [3 << 8 | 4, 2 << 8];
}

/// Source and destination of a packet, which tell its family too.
#[derive(Clone, Copy)]
enum Ends {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl Ends {
    fn of(frame: &[u8], network: Network) -> Option<Self> {
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

    const fn reversed(self) -> Self {
        match self {
            Self::V4(source, destination) => Self::V4(destination, source),
            Self::V6(source, destination) => Self::V6(destination, source),
        }
    }

    /// From somebody else than the destination; `None` of another family.
    const fn answered_from(self, router: IpAddr) -> Option<Self> {
        match (self, router) {
            (Self::V4(source, _), IpAddr::V4(router)) => Some(Self::V4(router, source)),
            (Self::V6(source, _), IpAddr::V6(router)) => Some(Self::V6(router, source)),
            _ => None,
        }
    }

    /// Picks what is the family's.
    const fn pick<T: Copy>(self, of: [T; 2]) -> T {
        let [v4, v6] = of;
        match self {
            Self::V4(..) => v4,
            Self::V6(..) => v6,
        }
    }

    /// Octets in front of the message in a packet without options.
    const fn headers_len(self) -> usize {
        self.pick([ETHERNET + 20, ETHERNET + 40])
    }

    /// Whether the source is one host that an answer can go to (RFC 1122 §3.2.2, RFC 4443 §2.4(e.6)).
    const fn has_one_source(self) -> bool {
        match self {
            Self::V4(source, _) => {
                let [first, ..] = source.octets();
                !(first == 0 || source.is_loopback() || first >= 224)
            }
            Self::V6(source, _) => !(source.is_unspecified() || source.is_multicast()),
        }
    }

    const fn to_group(self) -> bool {
        match self {
            Self::V4(_, destination) => destination.is_multicast() || destination.is_broadcast(),
            Self::V6(_, destination) => destination.is_multicast(),
        }
    }

    /// The sum of a message, with the pseudo-header that ICMPv6 has (RFC 4443 §2.3) and ICMP has not.
    fn sum(self, message: &[u8]) -> Sum {
        let pseudo = match self {
            Self::V4(..) => Sum::ZERO,
            Self::V6(source, destination) => {
                Sum::pseudo_v6(source, destination, protocol::ICMPV6, message.len() as u32)
            }
        };
        pseudo.plus(Sum::of(message))
    }

    /// Writes the headers in front of the message of a packet that the node makes, which fills the frame.
    fn write(self, frame: &mut [u8], destination: Mac, source: Mac, traffic_class: u8) {
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
                put(&mut header, 6, [0x40, 0, HOP_LIMIT, protocol::ICMP]);
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
                put(frame, ETHERNET + 6, [protocol::ICMPV6, HOP_LIMIT]);
                put(frame, ETHERNET + 8, source.octets());
                put(frame, ETHERNET + 24, destination.octets());
            }
        }
    }
}

/// Whether a packet claims to be an echo request, whole.
pub const fn is_echo_request(headers: &Headers) -> bool {
    let [v4, v6] = kind::ECHO;
    matches!(headers.fragment, Fragment::Whole)
        && match headers.network {
            Network::Ipv4 => headers.protocol == protocol::ICMP && headers.destination_port == v4,
            Network::Ipv6 => headers.protocol == protocol::ICMPV6 && headers.destination_port == v6,
            Network::Arp => false,
        }
}

/// Turns an echo request to a station into its reply, in place: a new packet with the same identifier, sequence number,
/// data and DSCP. IPv4 options and IPv6 extension headers are left out, and so is what they ask for: a record of the
/// route, or the way back (RFC 1122 §3.2.2.6), means nothing where no router is between the two.
///
/// # Errors
///
/// [`Reason::Malformed`], with the frame unchanged: it is no echo request, a checksum is wrong, or it comes from no
/// single host or went to a group.
pub fn reply<B: Buffer>(buffer: &mut B, headers: &Headers) -> Result<(), Reason> {
    let frame = buffer.data();
    let (destination, source) = macs(frame);
    let ends = Ends::of(frame, headers.network).ok_or(Reason::Malformed)?;
    let start = usize::from(headers.l4);
    let (Some(header), Some(message)) = (frame.get(ETHERNET..start), frame.get(start..headers.end())) else {
        return Err(Reason::Malformed);
    };
    let sound = is_echo_request(headers)
        && message.len() >= HEADER
        && ends.has_one_source()
        && !(ends.to_group() || destination.is_group())
        && (headers.network == Network::Ipv6 || Sum::of(header).fold() == 0xffff)
        && ends.sum(message).fold() == 0xffff;
    let surplus = start.checked_sub(ends.headers_len());
    let (true, Some(surplus)) = (sound, surplus) else { return Err(Reason::Malformed) };
    let dscp = traffic_class(frame) & 0xfc;
    buffer.truncate(headers.end());
    buffer.trim_front(surplus);
    let frame = buffer.data_mut();
    ends.reversed().write(frame, source, destination, dscp);
    let (request, reply) = (ends.pick(kind::ECHO), ends.pick(kind::ECHO_REPLY));
    let at = ends.headers_len();
    let checksum = u16::from_be_bytes(get(frame, at + 2).unwrap_or_default());
    put(frame, at, reply.to_be_bytes());
    put(frame, at + 2, update(checksum, request, reply).to_be_bytes());
    Ok(())
}

/// Whether an ICMP error may be sent about a packet (RFC 1122 §3.2.2, RFC 4443 §2.4(e)): never about an ICMP error or a
/// redirect, nor about a later fragment, which does not tell whether it is part of one, nor to or about more than one host.
pub fn may_answer(frame: &[u8], headers: &Headers) -> bool {
    let error = match (headers.network, headers.icmp_type()) {
        // RFC 1122 §3.2.2: destination unreachable, source quench, redirect, time exceeded, parameter problem.
        (Network::Ipv4, Some(3..=5 | 11 | 12)) => true,
        // RFC 4443 §2.1: errors have the high bit clear; 137 is a redirect.
        (Network::Ipv6, Some(0..=127 | 137)) => true,
        _ => false,
    };
    let hosts =
        Ends::of(frame, headers.network).is_some_and(|ends| ends.has_one_source() && !ends.to_group());
    let (destination, _) = macs(frame);
    hosts && !error && !destination.is_group() && headers.fragment != Fragment::Later
}

/// Turns a frame into the error that its packet is larger than `mtu`, the most bytes that an IP packet may have on its
/// way: fragmentation needed (RFC 792, RFC 1191 §4) or packet too big (RFC 4443 §3.2). It goes from `router`, by MAC and
/// address, to the frame's source address at the MAC `sender`, and quotes as much as an IPv4 packet of 576 bytes
/// (RFC 1812 §4.3.2.3) or an IPv6 one of 1280 has room for. `false`, changing nothing, where [`may_answer`] forbids it,
/// the router's address is of another family or the buffer has no headroom.
#[must_use]
pub fn too_big<B: Buffer>(
    buffer: &mut B,
    headers: &Headers,
    router: (Mac, IpAddr),
    sender: Mac,
    mtu: u16,
) -> bool {
    let frame = buffer.data();
    let ends = Ends::of(frame, headers.network).and_then(|ends| ends.answered_from(router.1));
    let Some(ends) = ends.filter(|_| may_answer(frame, headers)) else { return false };
    let start = ends.headers_len();
    let most = ends.pick([576, 1280]) + ETHERNET;
    let added = start + HEADER - ETHERNET;
    if buffer.prepend(added).is_none() {
        return false;
    }
    // Padding is not quoted.
    buffer.truncate(most.min(headers.end() + added));
    let frame = buffer.data_mut();
    ends.write(frame, sender, router.0, INTERNETWORK_CONTROL);
    put(frame, start, ends.pick(kind::TOO_BIG).to_be_bytes());
    put(frame, start + 2, [0; 2]);
    // RFC 1191 §4: the lower half of the word, the upper one unused; RFC 4443 §3.2: the word.
    put(frame, start + 4, u32::from(mtu).to_be_bytes());
    let checksum = ends.sum(frame.get(start..).unwrap_or_default()).checksum();
    put(frame, start + 2, checksum.to_be_bytes());
    true
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::packet::{HEADROOM, HeapBuffer, checksum::tests::naive, headers::parse, sample};

    const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const V4: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(10, 0, 1, 10), Ipv4Addr::new(10, 0, 1, 1));
    const V6: (Ipv6Addr, Ipv6Addr) =
        (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xa), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1));

    /// The sum of a message and, for ICMPv6, its pseudo-header.
    fn sum(ends: (IpAddr, IpAddr), message: &[u8]) -> u16 {
        match ends {
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let len = (message.len() as u32).to_be_bytes();
                naive(&[&a.octets()[..], &b.octets(), &len, &[0, 0, 0, 58], message].concat())
            }
            _ => naive(message),
        }
    }

    /// A frame with an ICMP message, whose checksum is filled in.
    fn message(ends: (IpAddr, IpAddr), options: &[u8], message: &[u8]) -> Vec<u8> {
        let mut message = message.to_vec();
        let checksum = !sum(ends, &message);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        match ends {
            (IpAddr::V4(a), IpAddr::V4(b)) => sample::ipv4((a, b), 1, 0, options, &message),
            // Destination options, of padding.
            (IpAddr::V6(a), IpAddr::V6(b)) if !options.is_empty() => {
                sample::ipv6((a, b), 60, &[&[58, 0, 1, 4, 0, 0, 0, 0], &message[..]].concat())
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => sample::ipv6((a, b), 58, &message),
            _ => panic!("two families"),
        }
    }

    fn echo(ends: (IpAddr, IpAddr), kind: u8, options: &[u8], data: &[u8]) -> Vec<u8> {
        message(ends, options, &[&[kind, 0, 0, 0, 0x12, 0x34, 0, 1], data].concat())
    }

    fn request(ends: (IpAddr, IpAddr), data: &[u8]) -> Vec<u8> {
        echo(ends, if ends.0.is_ipv4() { 8 } else { 128 }, &[], data)
    }

    fn replied(frame: &[u8]) -> Result<Vec<u8>, Reason> {
        let mut buffer = HeapBuffer::new(frame);
        let result = reply(&mut buffer, &parse(frame).unwrap());
        if result.is_err() {
            assert_eq!(buffer.data(), frame, "changed");
        }
        result.map(|()| buffer.data().to_vec())
    }

    fn both() -> [(IpAddr, IpAddr); 2] {
        [(V4.0.into(), V4.1.into()), (V6.0.into(), V6.1.into())]
    }

    /// The reply that a frame from A to B is to get, octet by octet but for traffic class and hop limit.
    fn expected(ends: (IpAddr, IpAddr), data: &[u8]) -> Vec<u8> {
        let mut frame = echo((ends.1, ends.0), if ends.0.is_ipv4() { 0 } else { 129 }, &[], data);
        frame[..6].copy_from_slice(&sample::A.0);
        frame[6..12].copy_from_slice(&sample::B.0);
        match ends.0 {
            IpAddr::V4(_) => {
                // No identification, DF.
                frame[18..22].copy_from_slice(&[0, 0, 0x40, 0]);
                frame[24..26].fill(0);
                let checksum = !naive(&frame[14..34]);
                frame[24..26].copy_from_slice(&checksum.to_be_bytes());
            }
            IpAddr::V6(_) => frame[21] = 64,
        }
        frame
    }

    #[test]
    fn an_echo_is_answered_without_options_and_padding() {
        for ends in both() {
            assert_eq!(replied(&request(ends, b"data")).unwrap(), expected(ends, b"data"));
            let kind = if ends.0.is_ipv4() { 8 } else { 128 };
            let optional = echo(ends, kind, &[7, 7, 4, 0, 0, 0, 0, 0], b"odd");
            assert!(optional.len() > request(ends, b"odd").len());
            let padded = [&optional[..], &[0xaa; 9]].concat();
            assert_eq!(replied(&padded).unwrap(), expected(ends, b"odd"));
        }
        // DSCP goes back, ECN does not.
        let mut marked = request(both()[1], b"data");
        marked[14..16].copy_from_slice(&[0x6b, 0xb0]);
        assert_eq!(replied(&marked).unwrap()[14..16], [0x6b, 0x80]);
    }

    #[test]
    fn what_is_no_sound_echo_request_gets_no_reply() {
        let refused = Err(Reason::Malformed);
        for ends in both() {
            let good = request(ends, b"data");
            let l4 = usize::from(parse(&good).unwrap().l4);
            for at in [l4, l4 + 1, l4 + 2, good.len() - 1] {
                let mut wrong = good.clone();
                wrong[at] ^= 1;
                assert_eq!(replied(&wrong), refused, "octet {at}");
            }
            let short =
                message(ends, &[], &[if ends.0.is_ipv4() { 8 } else { 128 }, 0, 0, 0, 0, 0, 0, 0][..]);
            assert!(replied(&short).is_ok());
            let mut to_all = good.clone();
            to_all[0] = 0x33;
            assert_eq!(replied(&to_all), refused, "to a group MAC");
        }
        let v6 = [128, 0, 0, 0];
        assert_eq!(replied(&message(both()[1], &[], &v6)), refused, "cut");
        for (source, destination) in
            [("0.0.0.0", "10.0.1.1"), ("224.0.0.1", "10.0.1.1"), ("::", "fd00::1"), ("fd00::a", "ff02::1")]
        {
            let ends = (source.parse().unwrap(), destination.parse().unwrap());
            assert_eq!(replied(&request(ends, b"data")), refused, "{source} to {destination}");
        }
        let fragment = sample::ipv4(V4, 1, 0x2000, &[], &request(both()[0], b"data data data d")[34..]);
        assert_eq!(replied(&fragment), refused, "a fragment");
        let mut header = request(both()[0], b"data");
        header[22] ^= 1;
        assert_eq!(replied(&header), refused, "a wrong header checksum");
    }

    fn too_big_of(frame: &[u8], router: &str, mtu: u16) -> Option<Vec<u8>> {
        let mut buffer = HeapBuffer::new(frame);
        let router = (ROUTER, router.parse().unwrap());
        let made = too_big(&mut buffer, &parse(frame).unwrap(), router, sample::A, mtu);
        if !made {
            assert_eq!(buffer.data(), frame, "changed");
        }
        made.then(|| buffer.data().to_vec())
    }

    #[test]
    fn fragmentation_needed_octet_by_octet() {
        let about = sample::ipv4(V4, 17, 0x4000, &[], &sample::udp(1, 2, &[7; 600]));
        let error = too_big_of(&about, "10.0.1.1", 1450).unwrap();
        assert_eq!(error.len(), 14 + 576);
        assert_eq!(error[..14], [&sample::A.0[..], &ROUTER.0, &[8, 0]].concat());
        assert_eq!(error[14..24], [0x45, 0xc0, 2, 64, 0, 0, 0x40, 0, 64, 1]);
        assert_eq!(naive(&error[14..34]), 0xffff);
        assert_eq!(error[26..34], [10, 0, 1, 1, 10, 0, 1, 10]);
        assert_eq!((&error[34..36], &error[38..42]), (&[3, 4][..], &[0, 0, 5, 0xaa][..]));
        assert_eq!(naive(&error[34..]), 0xffff);
        assert_eq!(error[42..], about[14..14 + 548]);
    }

    #[test]
    fn packet_too_big_octet_by_octet() {
        let about = sample::ipv6(V6, 17, &sample::udp(1, 2, &[7; 1400]));
        let error = too_big_of(&about, "fe80:ec2::1", 1430).unwrap();
        assert_eq!(error.len(), 14 + 1280);
        assert_eq!(error[..14], [&sample::A.0[..], &ROUTER.0, &[0x86, 0xdd]].concat());
        assert_eq!(error[14..22], [0x6c, 0, 0, 0, 4, 216, 58, 64]);
        let router = "fe80:ec2::1".parse().unwrap();
        assert_eq!(ipv6_endpoints(&error), (router, V6.0));
        assert_eq!((&error[54..56], &error[58..62]), (&[2, 0][..], &[0, 0, 5, 0x96][..]));
        assert_eq!(sum((router.into(), V6.0.into()), &error[54..]), 0xffff);
        assert_eq!(error[62..], about[14..14 + 1232]);
    }

    #[test]
    fn no_error_about_errors_fragments_and_groups() {
        let four = |ends, protocol, field, payload: &[u8]| {
            let mut big = payload.to_vec();
            big.resize(608, 0);
            too_big_of(&sample::ipv4(ends, protocol, field, &[], &big), "10.0.1.1", 500).is_some()
        };
        let six = |ends, kind: u8| {
            too_big_of(&message(ends, &[], &[&[kind], &[0; 1400][..]].concat()), "fe80:ec2::1", 1300)
                .is_some()
        };
        let all: Vec<u8> = (0..=255).filter(|&kind| !four(V4, 1, 0x4000, &[kind])).collect();
        assert_eq!(all, [3, 4, 5, 11, 12], "RFC 1122 §3.2.2");
        let all: Vec<u8> = (0..=255).filter(|&kind| !six((V6.0.into(), V6.1.into()), kind)).collect();
        assert_eq!(all, (0..=127).chain([137]).collect::<Vec<_>>(), "RFC 4443 §2.4(e)");
        assert!(four(V4, 17, 0x6000, &[]), "a first fragment");
        assert!(!four(V4, 1, 0x6000, &[11]), "a first fragment of an error");
        assert!(!four(V4, 17, 0x6004, &[]), "a later fragment");
        for source in ["0.0.0.0", "0.0.0.9", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"] {
            assert!(!four((source.parse().unwrap(), V4.1), 17, 0x4000, &[]), "{source}");
        }
        for destination in ["224.0.0.1", "255.255.255.255"] {
            assert!(!four((V4.0, destination.parse().unwrap()), 17, 0x4000, &[]), "{destination}");
        }
        for (source, destination) in [("::", "fd00::1"), ("ff02::1", "fd00::1"), ("fd00::a", "ff02::1")] {
            assert!(!six((source.parse().unwrap(), destination.parse().unwrap()), 128), "{source}");
        }
        let mut to_all = sample::ipv4(V4, 17, 0x4000, &[], &[0; 600]);
        assert!(too_big_of(&to_all, "fe80:ec2::1", 500).is_none(), "a router of the other family");
        to_all[..6].fill(0xff);
        assert!(too_big_of(&to_all, "10.0.1.1", 500).is_none(), "to a group MAC");
        let mut full = HeapBuffer::new(&sample::ipv4(V4, 17, 0x4000, &[], &[0; 600])[HEADROOM - 20..]);
        full.prepend(HEADROOM - 20).unwrap().copy_from_slice(&sample::ipv4(V4, 17, 0x4000, &[], &[0; 600]));
        let headers = parse(full.data()).unwrap();
        assert!(!too_big(&mut full, &headers, (ROUTER, V4.1.into()), sample::A, 500), "no headroom");
    }

    proptest! {
        #[test]
        fn replies_are_sound(ends in sample::ends(), data in vec(any::<u8>(), 0..100)) {
            prop_assume!(Ends::of(&request(ends, &[]), parse(&request(ends, &[])).unwrap().network)
                .is_some_and(|ends| ends.has_one_source() && !ends.to_group()));
            let frame = replied(&request(ends, &data)).unwrap();
            prop_assert_eq!(&frame, &expected(ends, &data));
            prop_assert!(matches!(replied(&frame), Err(Reason::Malformed)), "a reply is not answered");
        }

        #[test]
        fn errors_are_sound(frame in sample::any_frame(), mtu: u16, mutation: (prop::sample::Index, u8)) {
            let mut frame = frame;
            let at = mutation.0.index(frame.len());
            frame[at] = mutation.1;
            let Ok(headers) = parse(&frame) else { return Ok(()) };
            let router = if headers.network == Network::Ipv4 { "10.0.1.1" } else { "fe80:ec2::1" };
            let Some(error) = too_big_of(&frame, router, mtu) else { return Ok(()) };
            let made = parse(&error).unwrap();
            prop_assert_eq!(made.end(), error.len());
            prop_assert_eq!(made.icmp_type(), Some(if headers.network == Network::Ipv4 { 3 } else { 2 }));
            prop_assert!(frame[14..headers.end()].starts_with(&error[usize::from(made.l4) + 8..]));
            let ends = Ends::of(&error, made.network).unwrap();
            prop_assert_eq!(ends.sum(&error[made.l4.into()..]).fold(), 0xffff);
            prop_assert!(!may_answer(&error, &made), "an error is not answered");
        }

        #[test]
        fn nothing_panics(bytes in vec(any::<u8>(), 0..200), frame in sample::any_frame()) {
            // Headers that are not the frame's.
            let headers = parse(&frame).unwrap();
            let mut buffer = HeapBuffer::new(&bytes);
            let _ = reply(&mut buffer, &headers);
            let mut buffer = HeapBuffer::new(&bytes);
            let _ = too_big(&mut buffer, &headers, (ROUTER, V4.1.into()), sample::A, 500);
        }
    }
}
