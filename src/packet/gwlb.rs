//! Geneve (RFC 8926) as a Gateway Load Balancer and its appliances speak it (GW-23): IP packets without Ethernet, over UDP and IPv4,
//! behind three options that an appliance sends back as they came.
//!
//! AWS Networking & Content Delivery Blog, "Integrate your custom logic or appliance with AWS Gateway Load Balancer": class 0x0108;
//! type 1, the endpoint (64 bits); type 2, what that is attached to (64 bits); type 3, the flow cookie (32 bits).

use std::net::Ipv4Addr;

use super::{
    Buffer, Checked, Mac,
    bytes::{get, put},
    checksum::Sum,
    decap::{geneve_options, outer_ip, strip_to_ip},
    encap::{Encapsulation, UDP, traffic_class, write_ipv4},
    headers::{ETHERNET, Fragment, Headers, Network, ethertype, ethertype_of, protocol},
    set_macs,
};
use crate::pipeline::Reason;

/// Class and type of AWS's options.
const ENDPOINT: [u8; 3] = [0x01, 0x08, 1];
const ATTACHMENT: [u8; 3] = [0x01, 0x08, 2];
const COOKIE: [u8; 3] = [0x01, 0x08, 3];

/// Offsets of the headers, of the first two options' data and of the third's, and the length of all.
const AT_UDP: usize = ETHERNET + 20;
const AT_GENEVE: usize = AT_UDP + UDP;
const AT_OPTIONS: usize = AT_GENEVE + 8;
const AT_COOKIE: usize = AT_OPTIONS + 2 * (4 + 8) + 4;
const LEN: usize = AT_COOKIE + 4;
const _: () = assert!(LEN <= super::HEADROOM);

/// A ready outer header towards one appliance, for one endpoint: Ethernet, IPv4, UDP and Geneve, complete but for what depends on
/// the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GwlbTemplate {
    /// Folded sum of the IPv4 header without its total length and DSCP/ECN.
    ip_sum: u16,
    bytes: [u8; LEN],
}

impl GwlbTemplate {
    /// By how many octets an IP packet grows.
    pub const OVERHEAD: u16 = (LEN - ETHERNET) as u16;

    /// The header of packets from the load balancer's address to the appliance's, and from its router's MAC to the appliance's,
    /// of an endpoint that is attached to something.
    pub fn new(
        (source, destination): (Ipv4Addr, Ipv4Addr),
        (source_mac, destination_mac): (Mac, Mac),
        (endpoint, attachment): (u64, u64),
    ) -> Self {
        let mut bytes = [0; LEN];
        set_macs(&mut bytes, destination_mac, source_mac);
        put(&mut bytes, 12, ethertype::IPV4.to_be_bytes());
        let ip_sum = write_ipv4(&mut bytes, source, destination, protocol::UDP).fold();
        put(&mut bytes, AT_UDP + 2, Encapsulation::Geneve.port().to_be_bytes());
        // RFC 8926 §3.4: version 0, options' length in words; neither control nor critical; VNI 0, as AWS has it.
        put(&mut bytes, AT_GENEVE, [((LEN - AT_OPTIONS) / 4) as u8]);
        // RFC 8926 §3.5: class, type, the data's length in words, data.
        for (at, kind, data) in [(0, ENDPOINT, endpoint), (12, ATTACHMENT, attachment)] {
            put(&mut bytes, AT_OPTIONS + at, kind);
            put(&mut bytes, AT_OPTIONS + at + 3, [2]);
            put(&mut bytes, AT_OPTIONS + at + 4, data.to_be_bytes());
        }
        put(&mut bytes, AT_COOKIE - 4, COOKIE);
        put(&mut bytes, AT_COOKIE - 1, [1]);
        Self { ip_sum, bytes }
    }

    /// Puts the outer header in the place of the Ethernet header of the IP packet that [`super::parse`] found in the buffer.
    /// Padding goes. The UDP source port comes from `flow_hash` (RFC 8926 §3.3); there is no UDP checksum (the same, over IPv4).
    /// DSCP and ECN are taken over (RFC 2983 §3.1, RFC 6040 §4.1).
    ///
    /// # Errors
    ///
    /// [`Reason::Ethertype`] for ARP and [`Reason::NoHeadroom`], with the frame unchanged; [`Reason::OversizeFrame`] where the
    /// outer packet is longer than an IP packet can be, with the frame in any state.
    pub fn encapsulate<B: Buffer>(
        &self,
        buffer: &mut B,
        headers: &Headers,
        (flow_hash, cookie): (u32, u32),
    ) -> Result<(), Reason> {
        if headers.network == Network::Arp {
            return Err(Reason::Ethertype);
        }
        let frame = buffer.data();
        let (kind, traffic_class) = (ethertype_of(frame), traffic_class(frame));
        buffer.prepend(LEN - ETHERNET).ok_or(Reason::NoHeadroom)?;
        buffer.truncate(headers.end() + LEN - ETHERNET);
        let frame = buffer.data_mut();
        let len = u16::try_from(frame.len().saturating_sub(ETHERNET)).map_err(|_| Reason::OversizeFrame)?;
        let head = frame.first_chunk_mut::<LEN>().ok_or(Reason::Truncated)?;
        *head = self.bytes;
        let checksum = Sum::ZERO.word(self.ip_sum).word(len).word(traffic_class.into()).checksum();
        put(head, ETHERNET + 1, [traffic_class]);
        put(head, ETHERNET + 2, len.to_be_bytes());
        put(head, ETHERNET + 10, checksum.to_be_bytes());
        put(head, AT_UDP, (0xc000 | flow_hash as u16).to_be_bytes());
        put(head, AT_UDP + 4, len.saturating_sub(20).to_be_bytes());
        put(head, AT_GENEVE + 2, kind.to_be_bytes());
        put(head, AT_COOKIE, cookie.to_be_bytes());
        Ok(())
    }
}

/// The outer header of an IP packet that an appliance sends back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gwlb {
    /// The endpoint.
    pub endpoint: u64,
    /// The flow cookie.
    pub cookie: u32,
    /// The EtherType of what is inside: IPv4 or IPv6.
    pub ethertype: u16,
    /// Offset of the inner IP header.
    pub inner: u16,
    /// Offset of the first octet behind the inner packet.
    pub end: u16,
    /// The outer header's ECN field (RFC 3168 §5), 0 to 3.
    pub ecn: u8,
}

impl Gwlb {
    /// Reads the packet that [`super::parse`] found in a frame. Its UDP ports are those that it came to the appliance with, in this
    /// order or the other: AWS's appliances turn addresses around and leave ports, a socket turns both around. The UDP checksum is
    /// not read (RFC 8926 §3.3).
    ///
    /// # Errors
    ///
    /// The reason to drop the frame: [`Reason::GwlbHeader`] for what is no such packet; as [`super::Outer::parse`] for a wrong IPv4
    /// checksum; [`Reason::Truncated`].
    pub fn parse(frame: &[u8], headers: &Headers, ip_checksum: Checked) -> Result<Self, Reason> {
        let port = Encapsulation::Geneve.port();
        let is_geneve = headers.network == Network::Ipv4
            && headers.protocol == protocol::UDP
            && headers.fragment == Fragment::Whole
            && (headers.destination_port == port || headers.source_port == port);
        if !is_geneve {
            return Err(Reason::GwlbHeader);
        }
        let (_, _, ecn) = outer_ip(frame, headers, ip_checksum)?;
        let l4 = usize::from(headers.l4);
        let [_, _, _, _, l0, l1, _, _, first, flags, e0, e1, ..] =
            get::<{ UDP + 8 }>(frame, l4).ok_or(Reason::Truncated)?;
        let end = l4 + usize::from(u16::from_be_bytes([l0, l1]));
        let inner = l4 + UDP + 8 + 4 * usize::from(first & 0x3f);
        let ethertype = u16::from_be_bytes([e0, e1]);
        // RFC 768: the length fits into the IP packet. RFC 8926 §3.4: version 0; not a control packet.
        if end > headers.end() || end <= inner || first >> 6 != 0 || flags & 0x80 != 0 {
            return Err(Reason::GwlbHeader);
        }
        if !matches!(ethertype, ethertype::IPV4 | ethertype::IPV6) {
            return Err(Reason::GwlbHeader);
        }
        let (mut endpoint, mut cookie) = (None, None);
        for option in geneve_options(frame.get(l4 + UDP + 8..inner).ok_or(Reason::Truncated)?) {
            let (kind, data) = option.map_err(|_| Reason::GwlbHeader)?;
            match kind {
                ENDPOINT => endpoint = data.try_into().ok().map(u64::from_be_bytes),
                COOKIE => cookie = data.try_into().ok().map(u32::from_be_bytes),
                // RFC 8926 §3.5: an unknown critical option drops the packet.
                [_, _, kind] if kind & 0x80 != 0 => return Err(Reason::GwlbHeader),
                _ => {}
            }
        }
        Ok(Self {
            endpoint: endpoint.ok_or(Reason::GwlbHeader)?,
            cookie: cookie.ok_or(Reason::GwlbHeader)?,
            ethertype,
            inner: u16::try_from(inner).map_err(|_| Reason::GwlbHeader)?,
            end: u16::try_from(end).map_err(|_| Reason::GwlbHeader)?,
            ecn,
        })
    }

    /// Makes the buffer's frame, which is the one that was parsed, the inner packet's, behind the MACs of the outer, and gives it
    /// the congestion mark that the outer packet has got on its way.
    ///
    /// # Errors
    ///
    /// [`Reason::EcnCe`], as [`super::apply_ecn`]; [`Reason::Truncated`] where it is another frame.
    pub fn strip<B: Buffer>(&self, buffer: &mut B) -> Result<(), Reason> {
        strip_to_ip(buffer, (self.inner, self.end), self.ethertype, self.ecn)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::{HeapBuffer, parse, sample};

    const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const APPLIANCE: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const ENDPOINT_ID: u64 = 0x0102_0304_0506_0708;

    fn template() -> GwlbTemplate {
        let ends = (Ipv4Addr::new(10, 0, 9, 3), Ipv4Addr::new(10, 0, 9, 10));
        GwlbTemplate::new(ends, (ROUTER, APPLIANCE), (ENDPOINT_ID, 0x0a0b))
    }

    fn inner() -> Vec<u8> {
        sample::datagram(([10, 0, 0, 1].into(), [10, 0, 0, 2].into()), 1, 2, b"data")
    }

    fn encapsulated(frame: &[u8]) -> Vec<u8> {
        let mut buffer = HeapBuffer::new(frame);
        template().encapsulate(&mut buffer, &parse(frame).unwrap(), (0x8000_0001, 0x1122_3344)).unwrap();
        buffer.data().to_vec()
    }

    fn parsed(frame: &[u8]) -> Result<Gwlb, Reason> {
        Gwlb::parse(frame, &parse(frame)?, Checked::Unknown)
    }

    #[test]
    fn gw_23_octet_by_octet() {
        let expected = [
            &APPLIANCE.0[..],
            &ROUTER.0,
            &[8, 0, 0x45, 0, 0, 100, 0, 0, 0x40, 0, 64, 17, 0x14, 0x7d, 10, 0, 9, 3, 10, 0, 9, 10],
            // UDP.
            &[0xc0, 1, 0x17, 0xc1, 0, 80, 0, 0],
            // Geneve: eight words of options, IPv4, VNI 0.
            &[8, 0, 8, 0, 0, 0, 0, 0],
            &[1, 8, 1, 2, 1, 2, 3, 4, 5, 6, 7, 8],
            &[1, 8, 2, 2, 0, 0, 0, 0, 0, 0, 0x0a, 0x0b],
            &[1, 8, 3, 1, 0x11, 0x22, 0x33, 0x44],
            &inner()[14..],
        ]
        .concat();
        assert_eq!(encapsulated(&inner()), expected);
        // As AWS counts it: 68 octets.
        assert_eq!(expected.len() - inner().len(), 68);
        assert_eq!(GwlbTemplate::OVERHEAD, 68);
    }

    #[test]
    fn ports_may_come_back_either_way_and_options_in_any_order() {
        let mut frame = encapsulated(&inner());
        frame[AT_UDP..AT_UDP + 4].rotate_left(2);
        let back = parsed(&frame).unwrap();
        assert_eq!((back.endpoint, back.cookie), (ENDPOINT_ID, 0x1122_3344));
        frame[AT_OPTIONS..LEN].rotate_left(12);
        assert_eq!(parsed(&frame).unwrap(), back);
        // None of the ports is Geneve's.
        frame[AT_UDP] ^= 1;
        frame[AT_UDP + 2] ^= 1;
        assert_eq!(parsed(&frame), Err(Reason::GwlbHeader));
    }

    #[test]
    fn what_is_no_answer_of_an_appliance_is_refused() {
        let wrong = |at: usize, value: u8| {
            let mut frame = encapsulated(&inner());
            frame[at] = value;
            parsed(&frame)
        };
        // The version, a control packet, the payload's type, no option 1 or 3, one that is cut off, an unknown critical one.
        let (first, options) = (AT_GENEVE, AT_OPTIONS);
        let cases = [
            (first, 0x48),
            (first + 1, 0x80),
            (first + 2, 0x65),
            (options + 2, 9),
            (options + 26, 9),
            (options + 27, 9),
            (options + 14, 0x82),
            (AT_UDP + 5, 40),
        ];
        for (at, value) in cases {
            assert_eq!(wrong(at, value), Err(Reason::GwlbHeader), "{at}");
        }
        assert_eq!(parsed(&inner()), Err(Reason::GwlbHeader));
        assert_eq!(wrong(ETHERNET + 10, 0), Err(Reason::UnderlayChecksum));
    }

    proptest! {
        /// GW-23: what comes back unchanged is the packet that went out, whatever it is.
        #[test]
        fn there_and_back_is_the_identity(frame in sample::any_frame(), flow: u32, cookie: u32) {
            let Ok(headers) = parse(&frame) else { return Ok(()) };
            let mut buffer = HeapBuffer::new(&frame);
            match template().encapsulate(&mut buffer, &headers, (flow, cookie)) {
                Ok(()) => {}
                Err(reason) => {
                    prop_assert_eq!(reason, Reason::Ethertype);
                    return Ok(());
                }
            }
            let back = parsed(buffer.data()).unwrap();
            prop_assert_eq!((back.endpoint, back.cookie), (ENDPOINT_ID, cookie));
            back.strip(&mut buffer).unwrap();
            prop_assert_eq!(&buffer.data()[12..], &frame[12..headers.end()]);
        }

        #[test]
        fn any_options_are_read_or_refused(options in proptest::collection::vec(any::<u8>(), 0..252)) {
            let options = &options[..options.len() / 4 * 4];
            let frame = encapsulated(&inner());
            let mut frame = [&frame[..AT_OPTIONS], options, &frame[LEN..]].concat();
            let len = (frame.len() - AT_UDP) as u16;
            put(&mut frame, AT_UDP + 4, len.to_be_bytes());
            put(&mut frame, AT_GENEVE, [(options.len() / 4) as u8]);
            put(&mut frame, ETHERNET + 2, (len + 20).to_be_bytes());
            let headers = parse(&frame).unwrap();
            if let Ok(back) = Gwlb::parse(&frame, &headers, Checked::Good) {
                prop_assert_eq!(usize::from(back.inner), AT_OPTIONS + options.len());
                prop_assert!(back.inner < back.end);
            }
        }
    }
}
