//! GRE (RFC 2784, with the key of RFC 2890) over IPv4 or IPv6 (RFC 7676), for the Connect attachments of a transit gateway
//! (PT-20): IP packets without Ethernet between it and an appliance.

use std::net::IpAddr;

use super::{
    Buffer, Checked, Mac,
    bytes::{get, put},
    checksum::Sum,
    decap::{outer_ip, strip_to_ip},
    encap::{traffic_class, write_ipv4, write_ipv6},
    headers::{ETHERNET, Fragment, Headers, Network, ethertype, ethertype_of, protocol},
    set_macs,
};
use crate::pipeline::Reason;

/// Flags of the first word: a checksum, a key; and those that RFC 2784 §2.3 has a receiver refuse, routing and sequence numbers
/// among them; the version.
const CHECKSUM: u16 = 0x8000;
const KEY: u16 = 0x2000;
const REFUSED: u16 = 0x5c00;
const VERSION: u16 = 0x0007;

/// Octets of the header without options, and of an option.
const HEADER: usize = 4;
const OPTION: usize = 4;

/// The longest outer header: over IPv6, with a key.
const LONGEST: usize = ETHERNET + 40 + HEADER + OPTION;
const _: () = assert!(LONGEST <= super::HEADROOM);

/// A ready outer header towards one appliance: Ethernet, IP and GRE, complete but for what depends on the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GreTemplate {
    /// Folded sum of the IPv4 header without its total length and DSCP/ECN.
    ip_sum: u16,
    /// Octets of `bytes` in use.
    len: u8,
    /// Offset of the GRE header.
    gre: u8,
    bytes: [u8; LONGEST],
}

impl GreTemplate {
    /// The header of packets from `source` to `destination` with the tunnel's `key`, if it has one. The MACs are zero until
    /// [`GreTemplate::with_macs`]. `None` where the two are of different families.
    pub fn new(source: IpAddr, destination: IpAddr, key: Option<u32>) -> Option<Self> {
        let mut bytes = [0; LONGEST];
        let (gre, ip_sum) = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                put(&mut bytes, 12, ethertype::IPV4.to_be_bytes());
                (ETHERNET + 20, write_ipv4(&mut bytes, source, destination, protocol::GRE))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                put(&mut bytes, 12, ethertype::IPV6.to_be_bytes());
                write_ipv6(&mut bytes, source, destination, protocol::GRE);
                (ETHERNET + 40, Sum::ZERO)
            }
            _ => return None,
        };
        let mut len = gre + HEADER;
        if let Some(key) = key {
            put(&mut bytes, gre, KEY.to_be_bytes());
            put(&mut bytes, len, key.to_be_bytes());
            len += OPTION;
        }
        Some(Self { ip_sum: ip_sum.fold(), len: len as u8, gre: gre as u8, bytes })
    }

    /// The same with MACs.
    #[must_use]
    pub fn with_macs(mut self, destination: Mac, source: Mac) -> Self {
        set_macs(&mut self.bytes, destination, source);
        self
    }

    /// Octets of the outer header, Ethernet's included, which takes the place of the packet's own: a frame grows by 14 less.
    pub const fn header_len(&self) -> usize {
        self.len as usize
    }

    /// Puts the outer header in the place of the Ethernet header of the IP packet that [`super::parse`] found in the buffer.
    /// Padding goes. The IPv6 flow label comes from `flow_hash`, [`super::flow_hash`] of the packet (RFC 6438 §3); DSCP and
    /// ECN are taken over (RFC 2983 §3.1, RFC 6040 §4.1).
    ///
    /// # Errors
    ///
    /// [`Reason::Ethertype`] for ARP and [`Reason::NoHeadroom`], with the frame unchanged; [`Reason::OversizeFrame`] where the
    /// outer packet is longer than an IP packet can be, with the frame in any state.
    pub fn encapsulate<B: Buffer>(
        &self,
        buffer: &mut B,
        headers: &Headers,
        flow_hash: u32,
    ) -> Result<(), Reason> {
        if headers.network == Network::Arp {
            return Err(Reason::Ethertype);
        }
        let frame = buffer.data();
        let (kind, traffic_class) = (ethertype_of(frame), traffic_class(frame));
        let template = self.bytes.get(..self.header_len()).unwrap_or_default();
        let added = template.len().saturating_sub(ETHERNET);
        buffer.prepend(added).ok_or(Reason::NoHeadroom)?;
        buffer.truncate(headers.end() + added);
        let frame = buffer.data_mut();
        let len = u16::try_from(frame.len().saturating_sub(ETHERNET)).map_err(|_| Reason::OversizeFrame)?;
        let Some(head) = frame.get_mut(..template.len()) else { return Err(Reason::Truncated) };
        head.copy_from_slice(template);
        let gre = usize::from(self.gre);
        if gre == ETHERNET + 40 {
            let first = 6 << 28 | u32::from(traffic_class) << 20 | flow_hash & 0xf_ffff;
            put(head, ETHERNET, first.to_be_bytes());
            put(head, ETHERNET + 4, len.saturating_sub(40).to_be_bytes());
        } else {
            let checksum = Sum::ZERO.word(self.ip_sum).word(len).word(traffic_class.into()).checksum();
            put(head, ETHERNET + 1, [traffic_class]);
            put(head, ETHERNET + 2, len.to_be_bytes());
            put(head, ETHERNET + 10, checksum.to_be_bytes());
        }
        put(head, gre + 2, kind.to_be_bytes());
        Ok(())
    }
}

/// The outer header of a GRE packet with an IP packet inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gre {
    /// The sender's address as an IPv6 address in host order; IPv4 is [`super::mapped`].
    pub source: u128,
    /// The addressed end's, likewise.
    pub destination: u128,
    /// The tunnel's key, if there is one: the caller sees whether it is the attachment's.
    pub key: Option<u32>,
    /// The EtherType of what is inside: IPv4 or IPv6.
    pub ethertype: u16,
    /// Offset of the inner IP header.
    pub inner: u16,
    /// Offset of the first octet behind the inner packet.
    pub end: u16,
    /// The outer header's ECN field (RFC 3168 §5), 0 to 3.
    pub ecn: u8,
}

impl Gre {
    /// Reads the GRE packet that [`super::parse`] found in a frame. `ip_checksum` is what the device found of the IPv4 header
    /// checksum; software verifies it where the device didn't look, and GRE's own where there is one.
    ///
    /// # Errors
    ///
    /// The reason to drop the frame: [`Reason::UnderlayProtocol`] for what is no GRE, [`Reason::UnderlayFragment`],
    /// [`Reason::UnderlayChecksum`], [`Reason::Gre`] for GRE that is not as here, and [`Reason::Truncated`].
    pub fn parse(frame: &[u8], headers: &Headers, ip_checksum: Checked) -> Result<Self, Reason> {
        if headers.protocol != protocol::GRE {
            return Err(Reason::UnderlayProtocol);
        }
        if headers.fragment != Fragment::Whole {
            return Err(Reason::UnderlayFragment);
        }
        let (source, destination, ecn) = outer_ip(frame, headers, ip_checksum)?;
        let packet = frame.get(headers.l4.into()..headers.end()).ok_or(Reason::Truncated)?;
        let [f0, f1, k0, k1] = get(packet, 0).ok_or(Reason::Truncated)?;
        let (flags, ethertype) = (u16::from_be_bytes([f0, f1]), u16::from_be_bytes([k0, k1]));
        let understood = flags & (REFUSED | VERSION) == 0;
        if !understood || !matches!(ethertype, ethertype::IPV4 | ethertype::IPV6) {
            return Err(Reason::Gre);
        }
        let mut len = HEADER;
        if flags & CHECKSUM != 0 {
            // RFC 2784 §2.4: over header and payload.
            if Sum::of(packet).fold() != 0xffff {
                return Err(Reason::Gre);
            }
            len += OPTION;
        }
        let mut key = None;
        if flags & KEY != 0 {
            key = Some(u32::from_be_bytes(get(packet, len).ok_or(Reason::Truncated)?));
            len += OPTION;
        }
        if packet.len() <= len {
            return Err(Reason::Truncated);
        }
        Ok(Self {
            source,
            destination,
            key,
            ethertype,
            inner: u16::try_from(usize::from(headers.l4) + len).map_err(|_| Reason::Malformed)?,
            end: u16::try_from(headers.end()).map_err(|_| Reason::Malformed)?,
            ecn,
        })
    }

    /// Makes the buffer's frame, which is the one that was parsed, the inner packet's, behind the MACs of the outer, and gives
    /// it the congestion mark that the outer packet has got on its way.
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
    use crate::packet::{HeapBuffer, checksum::tests::naive, decap::unmapped, flow_hash, parse, sample};

    const HERE: Mac = Mac([2, 0xfa, 0, 0, 0, 1]);
    const APPLIANCE: Mac = Mac([2, 0xfa, 0, 0, 0, 2]);

    fn v4() -> (IpAddr, IpAddr) {
        ([192, 0, 2, 1].into(), [192, 0, 2, 2].into())
    }

    fn template(ends: (IpAddr, IpAddr), key: Option<u32>) -> GreTemplate {
        GreTemplate::new(ends.0, ends.1, key).unwrap().with_macs(APPLIANCE, HERE)
    }

    fn encapsulated(ends: (IpAddr, IpAddr), key: Option<u32>, frame: &[u8]) -> HeapBuffer {
        let mut buffer = HeapBuffer::new(frame);
        let headers = parse(frame).unwrap();
        template(ends, key).encapsulate(&mut buffer, &headers, flow_hash(frame, &headers)).unwrap();
        buffer
    }

    fn parsed(frame: &[u8]) -> Result<Gre, Reason> {
        Gre::parse(frame, &parse(frame)?, Checked::Unknown)
    }

    fn inner() -> Vec<u8> {
        sample::datagram(([10, 0, 0, 1].into(), [10, 0, 0, 2].into()), 1, 2, b"data")
    }

    #[test]
    fn octet_by_octet() {
        let frame = encapsulated(v4(), Some(0x0102_0304), &inner());
        let expected = [
            &APPLIANCE.0[..],
            &HERE.0,
            &[8, 0, 0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 47, 0xb6, 0x8f, 192, 0, 2, 1, 192, 0, 2, 2],
            &[0x20, 0, 8, 0, 1, 2, 3, 4],
            &inner()[14..],
        ]
        .concat();
        assert_eq!(frame.data(), expected);
        let ends = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let frame = encapsulated(ends, None, &inner());
        assert_eq!(frame.data().len(), template(ends, None).header_len() + inner().len() - 14);
        assert_eq!(frame.data()[18..22], [0, 36, 47, 64]);
        assert_eq!(frame.data()[54..58], [0, 0, 8, 0]);
        assert!(GreTemplate::new(v4().0, ends.1, None).is_none());
    }

    proptest! {
        /// PT-20.
        #[test]
        fn encapsulating_then_stripping_is_the_identity(
            ends in sample::ends(), key: Option<u32>, frame in sample::any_frame(), padding in 0usize..20,
        ) {
            let mut buffer = encapsulated(ends, key, &frame);
            let len = buffer.data().len();
            if ends.0.is_ipv4() {
                prop_assert_eq!(naive(&buffer.data()[14..34]), 0xffff);
            }
            prop_assert_eq!(parse(buffer.data()).unwrap().end(), len);
            buffer.extend_to(len + padding);
            let gre = parsed(buffer.data()).unwrap();
            prop_assert_eq!(gre.key, key);
            prop_assert_eq!((unmapped(gre.source), unmapped(gre.destination)), match ends {
                (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_canonical(), b.to_canonical()),
                v4 => v4,
            });
            gre.strip(&mut buffer).unwrap();
            let mut expected = frame[..parse(&frame).unwrap().end()].to_vec();
            set_macs(&mut expected, APPLIANCE, HERE);
            prop_assert_eq!(buffer.data(), expected);
        }

        #[test]
        fn never_panics_on_mutations(
            ends in sample::ends(), key: Option<u32>,
            mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(), other in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut bytes = encapsulated(ends, key, &inner()).data().to_vec();
            for (at, value) in mutations {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(1 + cut.index(bytes.len()));
            let Ok(headers) = parse(&bytes) else { return Ok(()) };
            let _ = template(ends, key).encapsulate(&mut HeapBuffer::new(&other), &headers, 7);
            if let Ok(gre) = Gre::parse(&bytes, &headers, Checked::Good) {
                let _ = gre.strip(&mut HeapBuffer::new(&other));
                let mut buffer = HeapBuffer::new(&bytes);
                if gre.strip(&mut buffer).is_ok() {
                    prop_assert_eq!(buffer.data().len(), usize::from(gre.end - gre.inner) + 14);
                }
            }
        }
    }

    #[test]
    fn refuses_what_is_not_plain() {
        let with = |changes: &[(usize, u8)]| {
            let mut frame = encapsulated(v4(), Some(7), &inner());
            for (at, value) in changes {
                frame.data_mut()[*at] = *value;
            }
            Gre::parse(frame.data(), &parse(frame.data())?, Checked::Good).map(|gre| gre.key)
        };
        assert_eq!(with(&[]), Ok(Some(7)));
        assert_eq!(with(&[(34, 0x23), (35, 0xf8)]), Ok(Some(7)), "reserved bits are ignored");
        for (at, value, what) in [
            (34, 0x60, "routing"),
            (34, 0x30, "sequence numbers"),
            (34, 0x28, "a strict source route"),
            (34, 0x24, "recursion"),
            (35, 1, "PPTP"),
            (36, 0x65, "Ethernet"),
            (34, 0xa0, "a wrong checksum"),
        ] {
            assert_eq!(with(&[(at, value)]), Err(Reason::Gre), "{what}");
        }
        assert_eq!(with(&[(20, 0x20)]), Err(Reason::UnderlayFragment));
        assert_eq!(with(&[(23, 17)]), Err(Reason::UnderlayProtocol));
        assert_eq!(with(&[(17, 24)]), Err(Reason::Truncated), "a key that is not there");
        let mut damaged = encapsulated(v4(), None, &inner());
        damaged.data_mut()[22] = 63;
        assert_eq!(parsed(damaged.data()), Err(Reason::UnderlayChecksum));
        let arp = sample::ethernet(0x0806, &[0; 46]);
        let refused = template(v4(), None).encapsulate(&mut HeapBuffer::new(&arp), &parse(&arp).unwrap(), 0);
        assert_eq!(refused, Err(Reason::Ethertype));
    }

    #[test]
    fn a_checksum_is_verified() {
        let packet = [&[0xa0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 9][..], &inner()[14..]].concat();
        let mut packet = packet;
        let checksum = !naive(&packet);
        packet[4..6].copy_from_slice(&checksum.to_be_bytes());
        let mut buffer = HeapBuffer::new(&sample::packet(v4(), 47, &packet));
        let gre = parsed(buffer.data()).unwrap();
        assert_eq!(gre.key, Some(9));
        gre.strip(&mut buffer).unwrap();
        assert_eq!(buffer.data(), inner());
    }

    #[test]
    fn congestion_marks_go_in_and_out() {
        let mut marked = inner();
        marked[15] = 0xba;
        let mut buffer = encapsulated(v4(), None, &marked);
        assert_eq!(buffer.data()[15], 0xba);
        buffer.data_mut()[15] = 0xbb;
        let gre = Gre::parse(buffer.data(), &parse(buffer.data()).unwrap(), Checked::Good).unwrap();
        gre.strip(&mut buffer).unwrap();
        assert_eq!(buffer.data()[15], 0xbb);
    }
}
