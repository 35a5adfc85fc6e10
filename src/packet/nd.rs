//! IPv6 neighbour discovery (RFC 4861).

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use super::{
    Buffer, Mac,
    bytes::{get, put},
    checksum::Sum,
    headers::{ETHERNET, Fragment, Headers, ethertype, ipv6_endpoints, protocol},
};
use crate::pipeline::Reason;

/// Octets of a frame with a neighbour solicitation or advertisement that carries one link-layer address.
pub const FRAME: usize = ETHERNET + 40 + 24 + 8;

/// ff02::1.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// ICMPv6 types (RFC 4861 §4).
mod kind {
    pub(super) const ROUTER_SOLICITATION: u8 = 133;
    pub(super) const ROUTER_ADVERTISEMENT: u8 = 134;
    pub(super) const NEIGHBOUR_SOLICITATION: u8 = 135;
    pub(super) const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    pub(super) const REDIRECT: u8 = 137;
}

/// Options' types (RFC 4861 §4.6): link-layer address of the source and of the target, prefix information, MTU.
const SOURCE_ADDRESS: u8 = 1;
const TARGET_ADDRESS: u8 = 2;
const PREFIX: u8 = 3;
const MTU: u8 = 5;

/// A valid neighbour-discovery message, as far as the node reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Asks who has an address (§4.3).
    Solicitation {
        /// The address asked for.
        target: Ipv6Addr,
        /// The asker's address; `::` while it tests whether the target is free (RFC 4862 §5.4).
        source: Ipv6Addr,
        /// The asker's MAC, if the message tells it.
        mac: Option<Mac>,
    },
    /// Tells who has an address (§4.4).
    Advertisement {
        /// The address.
        target: Ipv6Addr,
        /// The MAC, if the message tells it.
        mac: Option<Mac>,
        /// Whether it answers a solicitation.
        solicited: bool,
    },
    /// A host looks for routers (§4.1).
    RouterSolicitation {
        /// The host's address; `::` as long as it has none.
        source: Ipv6Addr,
        /// The host's MAC, if the message tells it.
        mac: Option<Mac>,
    },
    /// A router tells of itself (§4.2).
    RouterAdvertisement,
    /// A router tells of a better next hop (§4.5).
    Redirect,
}

/// The multicast address at which the owner of `target` listens for solicitations (RFC 4291 §2.7.1).
pub const fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(0xff02_0000_0000_0000_0000_0001_ff00_0000 | target.to_bits() & 0xff_ffff)
}

/// The MAC of an IPv6 multicast address (RFC 2464 §7).
pub const fn multicast_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// Whether a packet claims to be a message of neighbour discovery.
pub const fn is_message(headers: &Headers) -> bool {
    headers.protocol == protocol::ICMPV6
        && matches!(headers.icmp_type(), Some(kind::ROUTER_SOLICITATION..=kind::REDIRECT))
}

/// Whether a packet is a message of multicast listener discovery (RFC 2710 §3, RFC 3810 §5).
pub const fn is_listener_message(headers: &Headers) -> bool {
    headers.protocol == protocol::ICMPV6 && matches!(headers.icmp_type(), Some(130..=132 | 143))
}

/// Reads a neighbour-discovery message, with all the checks that RFC 4861 asks of a receiver (§6.1, §7.1, §8.1).
///
/// # Errors
///
/// [`Reason::Malformed`]: the message is not one, or has to be discarded silently.
pub fn parse(frame: &[u8], headers: &Headers) -> Result<Message, Reason> {
    let (source, destination) = ipv6_endpoints(frame);
    let body = frame.get(headers.l4.into()..headers.end()).unwrap_or_default();
    let [hop_limit] = get(frame, ETHERNET + 7).unwrap_or_default();
    let pseudo = Sum::pseudo_v6(source, destination, protocol::ICMPV6, body.len() as u32);
    let valid = is_message(headers)
        && headers.fragment == Fragment::Whole // RFC 6980 §5
        && !source.is_multicast() // RFC 4291 §2.7
        && hop_limit == 255
        && headers.destination_port & 0xff == 0 // the code
        && pseudo.plus(Sum::of(body)).fold() == 0xffff;
    read(body, source, destination).filter(|_| valid).ok_or(Reason::Malformed)
}

/// The message proper; `None` where a rule of its kind is broken.
fn read(body: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> Option<Message> {
    let [kind] = get(body, 0)?;
    let fixed = match kind {
        kind::ROUTER_SOLICITATION => 8,
        kind::ROUTER_ADVERTISEMENT => 16,
        kind::REDIRECT => 40,
        _ => 24,
    };
    let options = Options::parse(body.get(fixed..)?)?;
    let target = Ipv6Addr::from(get(body, 8).unwrap_or([0; 16]));
    match kind {
        // §6.1.1
        kind::ROUTER_SOLICITATION => (!source.is_unspecified() || options.source.is_none())
            .then_some(Message::RouterSolicitation { source, mac: options.source }),
        // §6.1.2
        kind::ROUTER_ADVERTISEMENT => source.is_unicast_link_local().then_some(Message::RouterAdvertisement),
        // §8.1
        kind::REDIRECT => source.is_unicast_link_local().then_some(Message::Redirect),
        // §7.1.1
        kind::NEIGHBOUR_SOLICITATION => {
            let probe_is_right = destination == solicited_node(target) && options.source.is_none();
            (!target.is_multicast() && (!source.is_unspecified() || probe_is_right))
                .then_some(Message::Solicitation { target, source, mac: options.source })
        }
        // §7.1.2
        kind::NEIGHBOUR_ADVERTISEMENT => {
            let [flags] = get(body, 4)?;
            let solicited = flags & SOLICITED != 0;
            (!(target.is_multicast() || destination.is_multicast() && solicited))
                .then_some(Message::Advertisement { target, mac: options.target, solicited })
        }
        _ => None,
    }
}

/// The options that the node reads.
#[derive(Default)]
struct Options {
    source: Option<Mac>,
    target: Option<Mac>,
}

impl Options {
    /// `None` where an option's length is zero or reaches behind the message (§4.6, §7.1).
    fn parse(mut rest: &[u8]) -> Option<Self> {
        let mut options = Self::default();
        while !rest.is_empty() {
            let [kind, len] = get(rest, 0)?;
            let (option, behind) = rest.split_at_checked(8 * usize::from(len))?;
            // Of length zero, this is empty.
            let mac = Mac(get(option, 2)?);
            match (kind, len) {
                (SOURCE_ADDRESS, 1) => options.source = Some(mac),
                (TARGET_ADDRESS, 1) => options.target = Some(mac),
                _ => {}
            }
            rest = behind;
        }
        Some(options)
    }
}

const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// A neighbour advertisement to send, with the override flag and the target's MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// The address asked for.
    pub target: Ipv6Addr,
    /// Its MAC; the frame's source too.
    pub mac: Mac,
    /// Whether the target is a router.
    pub router: bool,
    /// The asker's address; `None` where it asked from `::`: then all nodes are told (RFC 4861 §7.2.4).
    pub asker: Option<Ipv6Addr>,
    /// The asker's MAC.
    pub asker_mac: Mac,
}

impl Advertisement {
    /// The frame with this advertisement.
    pub fn frame(&self) -> [u8; FRAME] {
        let (destination, destination_mac, solicited) = match self.asker {
            Some(asker) => (asker, self.asker_mac, SOLICITED),
            None => (ALL_NODES, multicast_mac(ALL_NODES), 0),
        };
        let flags = OVERRIDE | solicited | if self.router { ROUTER } else { 0 };
        frame(
            (self.mac, self.target),
            (destination_mac, destination),
            [kind::NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0],
            self.target,
            TARGET_ADDRESS,
        )
    }

    /// Makes the frame the buffer's; `false`, changing nothing, if it has no room.
    #[must_use]
    pub fn write<B: Buffer>(&self, buffer: &mut B) -> bool {
        write(buffer, self.frame())
    }
}

/// Makes a frame the buffer's; `false`, changing nothing, if it has no room.
fn write<B: Buffer, const N: usize>(buffer: &mut B, frame: [u8; N]) -> bool {
    let fits = buffer.data().len() >= N || buffer.extend_to(N);
    if fits {
        buffer.truncate(N);
        put(buffer.data_mut(), 0, frame);
    }
    fits
}

/// Octets of a frame with a router advertisement that carries its three options.
pub const ROUTER_FRAME: usize = ETHERNET + 40 + 16 + 8 + 8 + 32;

/// How long a host uses the router, and knows the prefix to be on the link, without a further advertisement: three times the
/// longest interval between two (§6.2.1). The prefix goes with the router, so that an instance that has got an ENI of another
/// subnet doesn't look for the old one's neighbours much longer.
pub const ROUTER_LIFETIME: u16 = 1800;

/// A router advertisement to send (§4.2, L2-20): addresses and all else are from DHCPv6, whatever the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterAdvertisement {
    /// The router's MAC; the frame's source too.
    pub mac: Mac,
    /// The router's link-local address.
    pub router: Ipv6Addr,
    /// The receiver's MAC: the only one that is to hear it, also by a group address (RFC 6085).
    pub receiver_mac: Mac,
    /// The receiver's address; `None` for all nodes.
    pub receiver: Option<Ipv6Addr>,
    /// The largest IP packet that the receiver may send, in bytes.
    pub mtu: u16,
    /// The prefix on the link: resolved by neighbour discovery, no source of addresses.
    pub prefix: Ipv6Net,
}

impl RouterAdvertisement {
    /// The frame with this advertisement.
    pub fn frame(&self) -> [u8; ROUTER_FRAME] {
        const BODY: usize = ETHERNET + 40;
        /// Hop limit of the receiver's packets: IANA's default (§6.2.1).
        const HOP_LIMIT: u8 = 64;
        /// Managed and other configuration: ask DHCPv6 for addresses and options.
        const FLAGS: u8 = 0x80 | 0x40;
        /// Of the prefix: on-link, and not for autoconfiguration (ADDR-14).
        const ON_LINK: u8 = 0x80;
        let [a, b] = ROUTER_LIFETIME.to_be_bytes();
        let mut frame = [0; ROUTER_FRAME];
        let fixed = [kind::ROUTER_ADVERTISEMENT, 0, 0, 0, HOP_LIMIT, FLAGS, a, b];
        // Reachable time and retransmission timer are zero: unspecified.
        put(&mut frame, BODY, fixed);
        put(&mut frame, BODY + 16, [SOURCE_ADDRESS, 1]);
        put(&mut frame, BODY + 18, self.mac.0);
        put(&mut frame, BODY + 24, [MTU, 1, 0, 0, 0, 0]);
        put(&mut frame, BODY + 30, self.mtu.to_be_bytes());
        put(&mut frame, BODY + 32, [PREFIX, 4, self.prefix.prefix_len(), ON_LINK]);
        // Valid and preferred lifetime.
        put(&mut frame, BODY + 36, [0, 0, a, b, 0, 0, a, b]);
        put(&mut frame, BODY + 48, self.prefix.network().octets());
        let receiver = (self.receiver_mac, self.receiver.unwrap_or(ALL_NODES));
        enclose(&mut frame, (self.mac, self.router), receiver);
        frame
    }

    /// Makes the frame the buffer's; `false`, changing nothing, if it has no room.
    #[must_use]
    pub fn write<B: Buffer>(&self, buffer: &mut B) -> bool {
        write(buffer, self.frame())
    }
}

/// The frame in which a station asks for the MAC of `target`: of its solicited-node group, or, as a probe, of the
/// station that had it last.
pub fn solicitation(source_mac: Mac, source: Ipv6Addr, target: Ipv6Addr, last: Option<Mac>) -> [u8; FRAME] {
    let group = solicited_node(target);
    let destination = match last {
        Some(mac) => (mac, target),
        None => (multicast_mac(group), group),
    };
    frame(
        (source_mac, source),
        destination,
        [kind::NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0],
        target,
        SOURCE_ADDRESS,
    )
}

/// A solicitation or advertisement; the link-layer address option `option` holds the source's MAC.
fn frame(
    source: (Mac, Ipv6Addr),
    destination: (Mac, Ipv6Addr),
    fixed: [u8; 8],
    target: Ipv6Addr,
    option: u8,
) -> [u8; FRAME] {
    const BODY: usize = ETHERNET + 40;
    let mut frame = [0; FRAME];
    put(&mut frame, BODY, fixed);
    put(&mut frame, BODY + 8, target.octets());
    put(&mut frame, BODY + 24, [option, 1]);
    put(&mut frame, BODY + 26, source.0.0);
    enclose(&mut frame, source, destination);
    frame
}

/// Puts the headers around an ICMPv6 message, whose checksum is zero so far, and the checksum into it.
fn enclose<const N: usize>(frame: &mut [u8; N], source: (Mac, Ipv6Addr), destination: (Mac, Ipv6Addr)) {
    const BODY: usize = ETHERNET + 40;
    let len = N.saturating_sub(BODY) as u8;
    put(frame, 0, destination.0.0);
    put(frame, 6, source.0.0);
    put(frame, 12, ethertype::IPV6.to_be_bytes());
    put(frame, ETHERNET, [0x60, 0, 0, 0, 0, len, protocol::ICMPV6, 255]);
    put(frame, ETHERNET + 8, source.1.octets());
    put(frame, ETHERNET + 24, destination.1.octets());
    let pseudo = Sum::pseudo_v6(source.1, destination.1, protocol::ICMPV6, len.into());
    let body = frame.get(BODY..).unwrap_or_default();
    let checksum = pseudo.plus(Sum::of(body)).checksum();
    put(frame, BODY + 2, checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::{HeapBuffer, checksum::tests::naive, headers, sample};

    const ASKER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xa);
    const TARGET: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0x12, 0x3456);

    fn read(frame: &[u8]) -> Result<Message, Reason> {
        parse(frame, &headers::parse(frame).unwrap())
    }

    /// A frame with an ICMPv6 message whose checksum is right.
    fn message(source: Ipv6Addr, destination: Ipv6Addr, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        let pseudo = [&source.octets()[..], &destination.octets(), &[0, body.len() as u8, 0, 58]].concat();
        body[2..4].fill(0);
        let checksum = !naive(&[&pseudo, &body[..]].concat());
        body[2..4].copy_from_slice(&checksum.to_be_bytes());
        sample::ipv6((source, destination), protocol::ICMPV6, &body)
    }

    fn solicitation_body(target: Ipv6Addr, options: &[u8]) -> Vec<u8> {
        [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets(), options].concat()
    }

    #[test]
    fn solicitations_round_trip() {
        let frame = solicitation(sample::A, ASKER, TARGET, None);
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        assert_eq!(ipv6_endpoints(&frame), (ASKER, "ff02::1:ff12:3456".parse().unwrap()));
        let expected = Message::Solicitation { target: TARGET, source: ASKER, mac: Some(sample::A) };
        assert_eq!(read(&frame), Ok(expected));
        let probe = solicitation(sample::A, ASKER, TARGET, Some(sample::B));
        assert_eq!(probe[..6], sample::B.0);
        assert_eq!(ipv6_endpoints(&probe), (ASKER, TARGET));
        assert_eq!(read(&probe), Ok(expected));
    }

    #[test]
    fn advertisements_round_trip_through_shorter_and_longer_buffers() {
        let asked = Advertisement {
            target: TARGET,
            mac: sample::B,
            router: true,
            asker: Some(ASKER),
            asker_mac: sample::A,
        };
        for len in [78, 86, 200] {
            let mut buffer = HeapBuffer::new(&vec![0xaa; len]);
            assert!(asked.write(&mut buffer));
            assert_eq!(buffer.data(), asked.frame());
        }
        let frame = asked.frame();
        assert_eq!(frame[..6], sample::A.0);
        assert_eq!(frame[58], 0xe0, "router, solicited, override");
        let expected = Message::Advertisement { target: TARGET, mac: Some(sample::B), solicited: true };
        assert_eq!(read(&frame), Ok(expected));

        let to_all = Advertisement { asker: None, router: false, ..asked }.frame();
        assert_eq!(to_all[..6], [0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(to_all[58], 0x20, "override");
        let expected = Message::Advertisement { target: TARGET, mac: Some(sample::B), solicited: false };
        assert_eq!(read(&to_all), Ok(expected));
    }

    #[test]
    fn router_advertisements_are_told_byte_by_byte() {
        // L2-20
        let advertisement = RouterAdvertisement {
            mac: sample::B,
            router: "fe80:ec2::1".parse().unwrap(),
            receiver_mac: sample::A,
            receiver: Some(ASKER),
            mtu: 9001,
            prefix: "2001:db8:b1:1::/64".parse().unwrap(),
        };
        let mut body = vec![134, 0, 0, 0, 64, 0xc0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
        body.extend([1, 1, 2, 0, 0, 0, 1, 0x0b]);
        body.extend([5, 1, 0, 0, 0, 0, 0x23, 0x29]);
        body.extend([3, 4, 64, 0x80, 0, 0, 7, 8, 0, 0, 7, 8, 0, 0, 0, 0]);
        body.extend([0x20, 1, 0xd, 0xb8, 0, 0xb1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut expected = message(advertisement.router, ASKER, &body);
        expected[..12].copy_from_slice(&[sample::A.0, sample::B.0].concat());
        assert_eq!(advertisement.frame()[..], expected);
        assert_eq!(read(&expected), Ok(Message::RouterAdvertisement));
        for len in [62, 200] {
            let mut buffer = HeapBuffer::new(&vec![0xaa; len]);
            assert!(advertisement.write(&mut buffer));
            assert_eq!(buffer.data(), expected);
        }
        let to_all = RouterAdvertisement { receiver: None, ..advertisement }.frame();
        assert_eq!((&to_all[..6], ipv6_endpoints(&to_all).1), (&sample::A.0[..], ALL_NODES));
    }

    #[test]
    fn receivers_rules() {
        let link_local = sample::A.link_local();
        let group = solicited_node(TARGET);
        let own = [1, 1, 2, 0, 0, 0, 1, 0x0a];
        let ok = |source, destination, body: &[u8]| read(&message(source, destination, body)).is_ok();
        let none = Ipv6Addr::UNSPECIFIED;

        assert!(ok(none, group, &solicitation_body(TARGET, &[])));
        assert!(!ok(none, ALL_NODES, &solicitation_body(TARGET, &[])), "a probe to another group");
        assert!(!ok(none, group, &solicitation_body(TARGET, &own)), "a probe with a link-layer address");
        assert!(!ok(ASKER, group, &solicitation_body(ALL_NODES, &[])), "a multicast target");
        assert!(
            !ok(ASKER, group, &solicitation_body(TARGET, &[1, 0, 2, 0, 0, 0, 1, 0x0a])),
            "an option of length 0"
        );
        assert!(!ok(ASKER, group, &solicitation_body(TARGET, &[1, 2, 2, 0, 0, 0, 1, 0x0a])), "a cut option");
        assert!(!ok(ASKER, group, &solicitation_body(TARGET, &[1])), "half an option");
        assert!(
            ok(ASKER, group, &solicitation_body(TARGET, &[14, 1, 9, 9, 9, 9, 9, 9])),
            "an unknown option"
        );
        assert!(!ok(ASKER, group, &solicitation_body(TARGET, &[])[..20]), "cut");
        assert!(!ok(group, group, &solicitation_body(TARGET, &[])), "from a group");

        let mut coded = solicitation_body(TARGET, &own);
        coded[1] = 1;
        assert!(!ok(ASKER, group, &coded), "a code");
        let mut far = message(ASKER, group, &solicitation_body(TARGET, &own));
        far[21] = 254;
        assert_eq!(read(&far), Err(Reason::Malformed), "forwarded");
        let mut wrong = message(ASKER, group, &solicitation_body(TARGET, &own));
        wrong[60] ^= 1;
        assert_eq!(read(&wrong), Err(Reason::Malformed), "a wrong checksum");

        let router = [&[134, 0, 0, 0][..], &[0; 12]].concat();
        assert_eq!(read(&message(link_local, ALL_NODES, &router)), Ok(Message::RouterAdvertisement));
        assert!(!ok(ASKER, ALL_NODES, &router), "not from a link-local address");
        let redirect = [&[137, 0, 0, 0][..], &[0; 36]].concat();
        assert_eq!(read(&message(link_local, ASKER, &redirect)), Ok(Message::Redirect));
        let wants_router = [133, 0, 0, 0, 0, 0, 0, 0];
        let solicited = Message::RouterSolicitation { source: none, mac: None };
        assert_eq!(read(&message(none, ALL_NODES, &wants_router)), Ok(solicited));
        let solicited_to_all = [&[136, 0, 0, 0, 0x60, 0, 0, 0][..], &TARGET.octets()].concat();
        assert!(!ok(ASKER, ALL_NODES, &solicited_to_all), "solicited by a group");
    }

    proptest! {
        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 4..80), kind in 130u8..=143, source: u128) {
            let mut body = body;
            (body[0], body[1]) = (kind, 0);
            let frame = message(source.into(), ALL_NODES, &body);
            let headers = headers::parse(&frame).unwrap();
            let _ = parse(&frame, &headers);
        }
    }
}
