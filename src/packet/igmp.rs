//! IGMP version 2 (RFC 2236): what members of IPv4 multicast groups and the querier say to each other.
//!
//! Messages of other versions are recognised, so that they can be refused by name (MC-6).

use std::net::Ipv4Addr;

use super::{
    ETHERNET, Headers, Mac, Network,
    bytes::{get, put},
    checksum::Sum,
    headers::{Fragment, ethertype, protocol},
    set_macs,
};
use crate::pipeline::Reason;

/// The group of all hosts of a link, which general queries are sent to (RFC 2236 §9).
pub const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// The group of all routers of a link, which leaves are sent to (RFC 2236 §9).
pub const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
/// Octets of an Ethernet frame with a message, without padding: the IPv4 header has the Router Alert option.
pub const FRAME: usize = ETHERNET + IP + MESSAGE;

/// Octets of an IPv4 header with the Router Alert option.
const IP: usize = 24;
/// Octets of a message of version 1 or 2.
const MESSAGE: usize = 8;
/// "Router shall examine packet" (RFC 2113 §2.1).
const ROUTER_ALERT: [u8; 4] = [0x94, 4, 0, 0];

// RFC 2236 §2.1, RFC 3376 §4.
const QUERY: u8 = 0x11;
const V1_REPORT: u8 = 0x12;
const V2_REPORT: u8 = 0x16;
const LEAVE: u8 = 0x17;
const V3_REPORT: u8 = 0x22;

/// A message. What groups are, nobody has checked: see [`is_forwarded`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who is a member? Of any version.
    Query {
        /// Of this group; `None` asks for all.
        group: Option<Ipv4Addr>,
        /// The time in which to answer, in tenths of a second; 0 is version 1's.
        max_response: u8,
    },
    /// The sender is a member of the group (version 2).
    Report(Ipv4Addr),
    /// The sender is no longer a member of the group.
    Leave(Ipv4Addr),
    /// A report of version 1 or 3, which is not processed (MC-6).
    OtherReport,
}

impl Message {
    /// The query for all groups, to be answered within 10 seconds (RFC 2236 §8.3).
    pub const GENERAL_QUERY: Self = Self::Query { group: None, max_response: 100 };

    /// The frame with this message, from a station with a MAC and an address (a querier here is 0.0.0.0, MC-5); `None` for
    /// [`Message::OtherReport`]. RFC 2236 §2: TTL 1 and the Router Alert option.
    pub fn frame(self, source_mac: Mac, source: Ipv4Addr) -> Option<[u8; FRAME]> {
        let (kind, max_response, group, destination) = match self {
            Self::Query { group: None, max_response } => {
                (QUERY, max_response, Ipv4Addr::UNSPECIFIED, ALL_SYSTEMS)
            }
            Self::Query { group: Some(group), max_response } => (QUERY, max_response, group, group),
            Self::Report(group) => (V2_REPORT, 0, group, group),
            Self::Leave(group) => (LEAVE, 0, group, ALL_ROUTERS),
            Self::OtherReport => return None,
        };
        let mut message = [kind, max_response, 0, 0, 0, 0, 0, 0];
        put(&mut message, 4, group.octets());
        let checksum = Sum::of(&message).checksum();
        put(&mut message, 2, checksum.to_be_bytes());

        // Six words; DF, as the packet is never fragmented; DSCP CS6, as routing protocols have (RFC 4594 §3.2).
        let total = (IP + MESSAGE) as u8;
        let mut ip = [
            0x46,
            0xc0,
            0,
            total,
            0,
            0,
            0x40,
            0,
            1,
            protocol::IGMP,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        put(&mut ip, 12, source.octets());
        put(&mut ip, 16, destination.octets());
        put(&mut ip, 20, ROUTER_ALERT);
        let checksum = Sum::of(&ip).checksum();
        put(&mut ip, 10, checksum.to_be_bytes());

        let mut frame = [0; FRAME];
        set_macs(&mut frame, group_mac(destination), source_mac);
        put(&mut frame, 12, ethertype::IPV4.to_be_bytes());
        put(&mut frame, ETHERNET, ip);
        put(&mut frame, ETHERNET + IP, message);
        Some(frame)
    }
}

/// The Ethernet address of an IPv4 group (RFC 1112 §6.4).
pub const fn group_mac(group: Ipv4Addr) -> Mac {
    let [_, b, c, d] = group.octets();
    Mac([0x01, 0x00, 0x5e, b & 0x7f, c, d])
}

/// Whether packets to an address go to the members of a group, wherever they are: a multicast address that is not one of the
/// link's, 224.0.0.0/24 (MC-11).
pub const fn is_forwarded(address: Ipv4Addr) -> bool {
    address.is_multicast() && !matches!(address.octets(), [224, 0, 0, _])
}

/// Whether a packet carries an IGMP message.
#[inline]
pub fn is_igmp(headers: &Headers) -> bool {
    headers.network == Network::Ipv4 && headers.protocol == protocol::IGMP
}

/// Reads the IGMP message of a frame of which [`super::parse`] found `headers`, with any IP options, from any sender.
///
/// # Errors
///
/// [`Reason::IgmpIgnored`] for another protocol, a fragment, a message that is too short, has a wrong checksum or is
/// none of membership, and a report that is not sent to the group that it is about (RFC 2236 §3).
pub fn parse(frame: &[u8], headers: &Headers) -> Result<Message, Reason> {
    let message = frame.get(headers.l4.into()..headers.end()).filter(|message| message.len() >= MESSAGE);
    let message = message.ok_or(Reason::IgmpIgnored)?;
    let whole = is_igmp(headers) && headers.fragment == Fragment::Whole;
    // RFC 2236 §2.3: over all of the IP payload.
    if !whole || Sum::of(message).fold() != 0xffff {
        return Err(Reason::IgmpIgnored);
    }
    let group = Ipv4Addr::from(get(message, 4).unwrap_or([0; 4]));
    let destination = Ipv4Addr::from(get(frame, ETHERNET + 16).unwrap_or([0; 4]));
    match get(message, 0) {
        Some([QUERY, max_response]) => {
            Ok(Message::Query { group: (!group.is_unspecified()).then_some(group), max_response })
        }
        Some([V2_REPORT, _]) if destination == group => Ok(Message::Report(group)),
        // RFC 2236 §3: to all routers; some implementations send it to the group.
        Some([LEAVE, _]) if destination == ALL_ROUTERS || destination == group => Ok(Message::Leave(group)),
        Some([V1_REPORT | V3_REPORT, _]) => Ok(Message::OtherReport),
        _ => Err(Reason::IgmpIgnored),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::packet::{checksum::tests::naive, parse as headers, sample};

    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 129, 2, 3);

    fn read(frame: &[u8]) -> Result<Message, Reason> {
        parse(frame, &headers(frame).unwrap())
    }

    /// A frame with the octets of a message, its checksum filled in.
    fn framed(destination: Ipv4Addr, fragmentation: u16, options: &[u8], message: &[u8]) -> Vec<u8> {
        let mut message = message.to_vec();
        let checksum = !naive(&message);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        sample::ipv4((Ipv4Addr::new(10, 0, 1, 10), destination), 2, fragmentation, options, &message)
    }

    fn messages() -> impl Strategy<Value = Message> {
        let group = any::<Ipv4Addr>().prop_filter("a group", |group| !group.is_unspecified());
        prop_oneof![
            (prop::option::of(group.clone()), any::<u8>())
                .prop_map(|(group, max_response)| Message::Query { group, max_response }),
            group.clone().prop_map(Message::Report),
            group.prop_map(Message::Leave),
        ]
    }

    #[test]
    #[rustfmt::skip]
    fn a_general_query_byte_by_byte() {
        // MC-5: from 0.0.0.0.
        let frame = Message::GENERAL_QUERY.frame(sample::A, Ipv4Addr::UNSPECIFIED).unwrap();
        assert_eq!(frame, [
            0x01, 0x00, 0x5e, 0, 0, 1, 2, 0, 0, 0, 1, 0x0a, 8, 0,            // Ethernet
            0x46, 0xc0, 0, 32, 0, 0, 0x40, 0, 1, 2, 0x04, 0x17,              // IPv4: six words, TTL 1, IGMP
            0, 0, 0, 0, 224, 0, 0, 1, 0x94, 4, 0, 0,                         // 0.0.0.0 to 224.0.0.1, Router Alert
            0x11, 100, 0xee, 0x9b, 0, 0, 0, 0,                               // query, 10 s
        ]);
    }

    #[test]
    fn who_gets_what() {
        let destination = |message: Message| {
            let frame = message.frame(sample::A, GROUP).unwrap();
            (
                Mac(frame[..6].try_into().unwrap()),
                Ipv4Addr::from(<[u8; 4]>::try_from(&frame[30..34]).unwrap()),
            )
        };
        let mac = Mac([1, 0, 0x5e, 1, 2, 3]);
        assert_eq!(destination(Message::Report(GROUP)), (mac, GROUP));
        assert_eq!(destination(Message::Query { group: Some(GROUP), max_response: 10 }), (mac, GROUP));
        assert_eq!(destination(Message::Leave(GROUP)), (Mac([1, 0, 0x5e, 0, 0, 2]), ALL_ROUTERS));
        assert_eq!(Message::OtherReport.frame(sample::A, GROUP), None);
    }

    #[test]
    fn reports_of_other_versions_are_recognised() {
        // MC-6.
        let [a, b, c, d] = GROUP.octets();
        assert_eq!(read(&framed(GROUP, 0, &[], &[0x12, 0, 0, 0, a, b, c, d])), Ok(Message::OtherReport));
        let v3 = [0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, a, b, c, d];
        assert_eq!(read(&framed([224, 0, 0, 22].into(), 0, &ROUTER_ALERT, &v3)), Ok(Message::OtherReport));
        let query = Message::Query { group: Some(GROUP), max_response: 100 };
        let v3 = [0x11, 100, 0, 0, a, b, c, d, 2, 125, 0, 0];
        assert_eq!(read(&framed(GROUP, 0, &ROUTER_ALERT, &v3)), Ok(query));
    }

    #[test]
    fn what_is_not_a_message_is_ignored() {
        let [a, b, c, d] = GROUP.octets();
        let report = [0x16, 0, 0, 0, a, b, c, d];
        assert_eq!(read(&framed(GROUP, 0, &[], &report)), Ok(Message::Report(GROUP)));
        let leave = [0x17, 0, 0, 0, a, b, c, d];
        for destination in [ALL_ROUTERS, GROUP] {
            assert_eq!(read(&framed(destination, 0, &ROUTER_ALERT, &leave)), Ok(Message::Leave(GROUP)));
        }
        let ignored = [
            framed(ALL_SYSTEMS, 0, &[], &report),
            framed(ALL_SYSTEMS, 0, &[], &leave),
            framed(GROUP, 0x2000, &[], &report),
            framed(GROUP, 0, &[], &report[..7]),
            // DVMRP's (RFC 1075), and of the discovery of multicast routers (RFC 4286).
            framed(GROUP, 0, &[], &[0x13, 0, 0, 0, a, b, c, d]),
            framed(GROUP, 0, &[], &[0x30, 0, 0, 0, a, b, c, d]),
            sample::ipv4((Ipv4Addr::new(10, 0, 1, 10), GROUP), 17, 0, &[], &sample::udp(1, 2, b"hello")),
        ];
        for frame in ignored {
            assert_eq!(read(&frame), Err(Reason::IgmpIgnored), "{frame:02x?}");
        }
    }

    #[test]
    fn the_links_own_groups_are_not_forwarded() {
        // MC-11.
        for (address, forwarded) in [
            ([224, 0, 0, 5], false),
            ([224, 0, 0, 255], false),
            ([224, 0, 1, 0], true),
            ([239, 255, 255, 255], true),
            ([223, 255, 255, 255], false),
            ([240, 0, 0, 1], false),
        ] {
            assert_eq!(is_forwarded(address.into()), forwarded, "{address:?}");
        }
    }

    proptest! {
        #[test]
        fn messages_survive_their_frames(message in messages(), source: Ipv4Addr, padding in 0usize..20) {
            let mut frame = message.frame(sample::A, source).unwrap().to_vec();
            prop_assert_eq!(naive(&frame[14..38]), 0xffff);
            prop_assert_eq!(naive(&frame[38..]), 0xffff);
            frame.resize(FRAME + padding, 0);
            prop_assert_eq!(read(&frame), Ok(message));
        }

        #[test]
        fn a_wrong_octet_is_found(message in messages(), at in 38usize..FRAME, bit in 0u8..8) {
            let mut frame = message.frame(sample::A, GROUP).unwrap();
            frame[at] ^= 1 << bit;
            prop_assert_eq!(read(&frame), Err(Reason::IgmpIgnored));
        }

        #[test]
        fn nothing_panics(bytes in vec(any::<u8>(), 0..80), frame in sample::any_frame()) {
            // Headers that are not the frame's.
            let _ = parse(&bytes, &headers(&frame).unwrap());
            let _ = read(&frame);
        }
    }
}
