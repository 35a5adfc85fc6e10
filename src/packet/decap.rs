//! VXLAN (RFC 7348) and Geneve (RFC 8926): reading and removing an outer header.

use std::net::{IpAddr, Ipv6Addr};

use super::{
    Buffer, Checked, Encapsulation, Mac, Pattern, Sender, Vni,
    bytes::{get, put},
    checksum::{self, Sum},
    encap::{ETHERNET_BRIDGING, SENDER_LEN, SENDER_OPTION, UDP, VXLAN_VALID_VNI},
    headers::{ETHERNET, Fragment, Headers, Network, ethertype, ipv4_addresses, ipv6_addresses, protocol},
};
use crate::pipeline::Reason;

/// The outer header of a frame of the uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// The sending host's underlay address as an IPv6 address in host order; IPv4 is [`mapped`].
    pub source: u128,
    /// The addressed host's underlay address, likewise.
    pub destination: u128,
    /// The VPC in which the inner frame is to be delivered.
    pub vni: Vni,
    /// Who sent the frame, where the encapsulation says it.
    pub sender: Option<Sender>,
    /// Offset of the inner Ethernet header.
    pub inner: u16,
    /// Offset of the first octet behind the inner frame.
    pub end: u16,
    /// The outer header's ECN field (RFC 3168 §5), 0 to 3.
    pub ecn: u8,
}

/// An underlay address as a number, IPv4 as an IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2): one key type for both.
#[inline]
pub const fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => 0xffff_0000_0000 | address.to_bits() as u128,
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address that [`mapped`] made the number of.
pub const fn unmapped(address: u128) -> IpAddr {
    Ipv6Addr::from_bits(address).to_canonical()
}

impl Outer {
    /// Reads the outer header of a frame with the outer `headers`. `ip_checksum` is what the device found of the IPv4
    /// header checksum; software verifies it where the device didn't look. The UDP checksum is not read: a tunnel
    /// endpoint may accept any (RFC 7348 §5), and a device that found it wrong tells the caller.
    ///
    /// # Errors
    ///
    /// The reason to drop the frame: [`Reason::UnderlayProtocol`] where it is anything but the encapsulation,
    /// [`Reason::UnderlayFragment`], [`Reason::UnderlayChecksum`], [`Reason::UnknownVni`] for VNI 0, and
    /// [`Reason::Truncated`] or [`Reason::Malformed`].
    #[inline(always)]
    pub fn parse(
        frame: &[u8],
        headers: &Headers,
        encapsulation: Encapsulation,
        ip_checksum: Checked,
    ) -> Result<Self, Reason> {
        // A later fragment has no ports to look at.
        if headers.fragment != Fragment::Whole {
            return Err(Reason::UnderlayFragment);
        }
        if headers.protocol != protocol::UDP || headers.destination_port != encapsulation.port() {
            return Err(Reason::UnderlayProtocol);
        }
        let (source, destination, ecn) = outer_ip(frame, headers, ip_checksum)?;
        let l4 = usize::from(headers.l4);
        let udp: [u8; UDP + 8] = get(frame, l4).ok_or(Reason::Truncated)?;
        let end = l4 + usize::from(u16::from_be_bytes([udp[4], udp[5]]));
        // RFC 768: the length counts the UDP header too, and fits into the IP packet.
        if end > headers.end() {
            return Err(Reason::Malformed);
        }
        let shim = l4 + UDP;
        let (inner, sender) = match encapsulation {
            Encapsulation::Vxlan => {
                // RFC 7348 §5: I must be set; all other flags are ignored.
                if udp[8] & VXLAN_VALID_VNI == 0 {
                    return Err(Reason::UnderlayProtocol);
                }
                (shim + 8, None)
            }
            Encapsulation::Geneve => {
                let inner = shim + 8 + 4 * usize::from(udp[8] & 0x3f);
                // RFC 8926 §3.4: version 0; a control packet (O) is not for tenants; the payload is an Ethernet frame.
                if udp[8] >> 6 != 0
                    || udp[9] & 0x80 != 0
                    || u16::from_be_bytes([udp[10], udp[11]]) != ETHERNET_BRIDGING
                {
                    return Err(Reason::UnderlayProtocol);
                }
                (inner, sender_option(frame.get(shim + 8..inner).ok_or(Reason::Truncated)?)?)
            }
        };
        if end < inner + ETHERNET {
            return Err(Reason::Truncated);
        }
        let vni = u32::from_be_bytes([0, udp[12], udp[13], udp[14]]);
        Ok(Self {
            source,
            destination,
            vni: Vni::new(vni).ok_or(Reason::UnknownVni)?,
            sender,
            inner: inner as u16,
            end: u16::try_from(end).map_err(|_| Reason::Malformed)?,
            ecn,
        })
    }

    /// [`strip_outer`] of this header.
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn strip<B: Buffer>(&self, buffer: &mut B) -> Result<(), Reason> {
        strip_outer(buffer, self.inner, self.end, self.ecn)
    }
}

/// The words of the usual outer header: VXLAN over IPv4 without options, its checksum right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainOuter {
    /// The sending host's underlay address, host order.
    pub source: u32,
    /// As [`Outer::vni`].
    pub vni: Vni,
    /// As [`Outer::end`].
    pub end: u16,
    /// As [`Outer::ecn`].
    pub ecn: u8,
}

impl PlainOuter {
    /// Its length: offset of the inner Ethernet header.
    pub const LEN: usize = ETHERNET + 20 + UDP + 8;

    /// The words of a frame with such a header to the host that the pattern is of; `None` of all others, right or wrong.
    #[inline(always)]
    pub fn of(here: &Pattern, frame: &[u8], ip_checksum: Checked) -> Option<Self> {
        let fixed = frame.first_chunk::<{ Self::LEN }>()?;
        let half = |at| u16::from_be_bytes(get(fixed, at).unwrap_or_default());
        let word = |at| u32::from_be_bytes(get(fixed, at).unwrap_or_default());
        let ip_end = ETHERNET + usize::from(half(16));
        let end = ETHERNET + 20 + usize::from(half(38));
        let plain = here.fits(&get(fixed, ETHERNET - 2)?) && end <= ip_end && ip_end <= frame.len();
        let right = || match ip_checksum {
            Checked::Good => true,
            Checked::Bad => false,
            Checked::Unknown => get(fixed, ETHERNET).is_some_and(|ip| is_right(&ip)),
        };
        if !plain || !right() {
            return None;
        }
        let vni = Vni::new(word(46) >> 8)?;
        Some(Self { source: word(26), vni, end: end as u16, ecn: fixed[15] & 3 })
    }

    /// What [`PlainOuter::of`] is told by: the address of this host, host order.
    pub fn to(address: u32) -> Pattern {
        // From the EtherType on.
        Pattern::ANY
            .with(0, ethertype::IPV4.to_be_bytes(), [0xff; 2])
            .with(2, [0x45], [0xff])
            .with(8, [0; 2], [0x3f, 0xff])
            .with(11, [protocol::UDP], [0xff])
            .with(18, address.to_be_bytes(), [0xff; 4])
            .with(24, Encapsulation::Vxlan.port().to_be_bytes(), [0xff; 2])
            .with(30, [VXLAN_VALID_VNI], [VXLAN_VALID_VNI])
    }
}

/// Source and destination address, [`mapped`], and ECN field of an outer IP header, whose checksum is verified.
#[inline(always)]
pub(super) fn outer_ip(
    frame: &[u8],
    headers: &Headers,
    ip_checksum: Checked,
) -> Result<(u128, u128, u8), Reason> {
    match headers.network {
        Network::Ipv4 => {
            check_ipv4(frame, headers, ip_checksum)?;
            let (source, destination) = ipv4_addresses(frame);
            let [tos] = get(frame, ETHERNET + 1).unwrap_or_default();
            Ok((mapped(IpAddr::V4(source.into())), mapped(IpAddr::V4(destination.into())), tos & 3))
        }
        Network::Ipv6 => {
            let (source, destination) = ipv6_addresses(frame);
            let [second] = get(frame, ETHERNET + 1).unwrap_or_default();
            Ok((source, destination, second >> 4 & 3))
        }
        Network::Arp => Err(Reason::UnderlayProtocol),
    }
}

/// Makes the buffer's frame the inner one, from offset `inner` up to `end`, and gives that the congestion mark of the outer.
///
/// # Errors
///
/// [`Reason::EcnCe`], as [`apply_ecn`]; [`Reason::Truncated`] where the buffer is not the one that was parsed.
#[inline(always)]
pub fn strip_outer<B: Buffer>(buffer: &mut B, inner: u16, end: u16, ecn: u8) -> Result<(), Reason> {
    buffer.truncate(end.into());
    if !buffer.trim_front(inner.into()) {
        return Err(Reason::Truncated);
    }
    apply_ecn(buffer, ecn)
}

/// Whether the checksum of an IPv4 header without options is right: whether the one's complement sum of its words is minus zero.
/// That sum is the one modulo 2¹⁶ − 1, of longer words too (RFC 1071 §2, B and C), in any byte order, and a header is not all zeros.
#[inline(always)]
fn is_right(header: &[u8; 20]) -> bool {
    let word = |at| u64::from(u32::from_ne_bytes(get(header, at).unwrap_or_default()));
    (word(0) + word(4) + word(8) + word(12) + word(16)).is_multiple_of(0xffff)
}

/// RFC 1122 §3.2.1.2: verify the IPv4 header checksum, drop silently if it is wrong.
#[inline(always)]
fn check_ipv4(frame: &[u8], headers: &Headers, ip_checksum: Checked) -> Result<(), Reason> {
    let right = match ip_checksum {
        Checked::Good => true,
        Checked::Bad => false,
        Checked::Unknown => match frame.get(ETHERNET..usize::from(headers.l4)) {
            Some(header) => match header.first_chunk::<20>() {
                // The usual length, as a constant.
                Some(plain) if header.len() == 20 => is_right(plain),
                _ => Sum::of(header).fold() == 0xffff,
            },
            None => false,
        },
    };
    if right { Ok(()) } else { Err(Reason::UnderlayChecksum) }
}

/// Makes the buffer's frame the IP packet of that EtherType in it, from offset `inner` up to `end`, behind the MACs of the outer,
/// and gives it the congestion mark of the outer.
///
/// # Errors
///
/// As [`strip_outer`].
pub(super) fn strip_to_ip<B: Buffer>(
    buffer: &mut B,
    (inner, end): (u16, u16),
    ethertype: u16,
    ecn: u8,
) -> Result<(), Reason> {
    let macs: [u8; 12] = get(buffer.data(), 0).ok_or(Reason::Truncated)?;
    buffer.truncate(end.into());
    if !buffer.trim_front(usize::from(inner).saturating_sub(ETHERNET)) {
        return Err(Reason::Truncated);
    }
    put(buffer.data_mut(), 0, macs);
    put(buffer.data_mut(), 12, ethertype.to_be_bytes());
    apply_ecn(buffer, ecn)
}

/// The options of a Geneve header (RFC 8926 §3.5): class and type, and data. Ends behind the first one that is cut off, which is
/// [`Reason::Malformed`]. At most 63 words: the header's length field has six bits.
#[inline]
pub(super) fn geneve_options(mut options: &[u8]) -> impl Iterator<Item = Result<([u8; 3], &[u8]), Reason>> {
    std::iter::from_fn(move || {
        let ([class_high, class_low, kind, len], rest) = options.split_first_chunk()?;
        // The length in words, its upper three bits reserved.
        let Some((data, rest)) = rest.split_at_checked(4 * usize::from(len & 0x1f)) else {
            options = &[];
            return Some(Err(Reason::Malformed));
        };
        options = rest;
        Some(Ok(([*class_high, *class_low, *kind], data)))
    })
}

/// Warren's option among a Geneve header's options, if it is there.
#[inline(never)]
fn sender_option(options: &[u8]) -> Result<Option<Sender>, Reason> {
    let mut sender = None;
    for option in geneve_options(options) {
        let (kind, data) = option?;
        if kind == SENDER_OPTION {
            let data: &[u8; SENDER_LEN] = data.try_into().map_err(|_| Reason::Malformed)?;
            let [v0, v1, v2, v3, a, b, c, d, e, f, ..] = *data;
            let vni = Vni::new(u32::from_be_bytes([v0, v1, v2, v3])).ok_or(Reason::Malformed)?;
            sender = Some(Sender { vni, mac: Mac([a, b, c, d, e, f]) });
        } else if kind[2] & 0x80 != 0 {
            // RFC 8926 §3.5: an unknown critical option drops the packet.
            return Err(Reason::UnderlayProtocol);
        }
    }
    Ok(sender)
}

/// Gives the inner packet of a frame that was in an outer packet the congestion mark that the outer packet has got on its
/// way (RFC 6040 §4.2). Costs a test of `outer_ecn` unless that is CE or ECT(1).
///
/// # Errors
///
/// [`Reason::EcnCe`]: congestion was met, and the inner transport can't be told but by a loss.
#[inline]
pub fn apply_ecn<B: Buffer>(buffer: &mut B, outer_ecn: u8) -> Result<(), Reason> {
    // Not-ECT (0) and ECT(0) (2) never change the inner field.
    if outer_ecn & 1 == 0 { Ok(()) } else { mark(buffer.data_mut(), outer_ecn & 3) }
}

const NOT_ECT: u8 = 0b00;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

#[inline(never)]
fn mark(frame: &mut [u8], outer: u8) -> Result<(), Reason> {
    let Some([high, low, first, second]) = get(frame, 12) else {
        return Ok(());
    };
    let kind = u16::from_be_bytes([high, low]);
    let inner = match kind {
        ethertype::IPV4 => second & 3,
        ethertype::IPV6 => second >> 4 & 3,
        _ => return Ok(()),
    };
    // RFC 6040 §4.2, figure 4.
    let ecn = match (inner, outer) {
        (NOT_ECT, CE) => return Err(Reason::EcnCe),
        (NOT_ECT | CE, _) => return Ok(()),
        (_, CE) => CE,
        // The outer is ECT(1), to which a node may have re-marked ECT(0).
        (ECT_0, _) => outer,
        _ => return Ok(()),
    };
    if kind == ethertype::IPV6 {
        put(frame, ETHERNET + 1, [second & 0xcf | ecn << 4]);
        return Ok(());
    }
    let marked = second & 0xfc | ecn;
    put(frame, ETHERNET + 1, [marked]);
    if let Some(field) = get(frame, ETHERNET + 10) {
        let words = [second, marked].map(|tos| u16::from_be_bytes([first, tos]));
        let updated = checksum::update(u16::from_be_bytes(field), words[0], words[1]);
        put(frame, ETHERNET + 10, updated.to_be_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::{
        HeapBuffer, OuterChecksum, OuterTemplate, checksum::tests::naive, flow_hash, parse, sample,
    };

    const VNI: u32 = 0x01_2345;

    fn encapsulated(
        encapsulation: Encapsulation,
        ends: (IpAddr, IpAddr),
        checksum: OuterChecksum,
        inner: &[u8],
    ) -> HeapBuffer {
        let template =
            OuterTemplate::new(encapsulation, sample::A, sample::B, ends.0, ends.1, checksum).unwrap();
        let mut buffer = HeapBuffer::new(inner);
        let hash = parse(inner).map_or(0, |headers| flow_hash(inner, &headers));
        template.encapsulate(&mut buffer, Vni::new(VNI).unwrap(), sender(), hash).unwrap();
        buffer
    }

    fn sender() -> Sender {
        Sender { vni: Vni::new(7).unwrap(), mac: sample::A }
    }

    fn outer(frame: &[u8], encapsulation: Encapsulation) -> Result<Outer, Reason> {
        Outer::parse(frame, &parse(frame)?, encapsulation, Checked::Unknown)
    }

    fn v4() -> (IpAddr, IpAddr) {
        ([192, 0, 2, 1].into(), [192, 0, 2, 2].into())
    }

    fn v6() -> (IpAddr, IpAddr) {
        ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap())
    }

    /// A frame with an inner IPv4 packet whose ECN field is `ecn`, its header checksum right.
    fn inner(network: Network, ecn: u8) -> Vec<u8> {
        let ends = if network == Network::Ipv4 { v4() } else { v6() };
        let mut frame = sample::datagram(ends, 1, 2, b"datum.");
        if network == Network::Ipv6 {
            frame[15] |= ecn << 4;
        } else {
            frame[15] |= 0xb8 | ecn;
            frame[24..26].fill(0);
            let checksum = !naive(&frame[14..34]);
            frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        }
        frame
    }

    proptest! {
        #[test]
        fn encapsulating_then_stripping_is_the_identity(
            ends in sample::ends(),
            geneve: bool,
            checksum in prop::sample::select(vec![OuterChecksum::Zero, OuterChecksum::Software, OuterChecksum::Offload]),
            frame in sample::any_frame(),
            padding in 0usize..20,
        ) {
            let encapsulation = if geneve { Encapsulation::Geneve } else { Encapsulation::Vxlan };
            let mut buffer = encapsulated(encapsulation, ends, checksum, &frame);
            let bytes = buffer.data();
            prop_assert_eq!(bytes.len(), frame.len() + encapsulation.overhead(ends.0.is_ipv6()));

            // Checksums, by the naive model.
            let ip = if ends.0.is_ipv6() { 40 } else { 20 };
            let (header, udp) = bytes[14..].split_at(ip);
            let addresses = if ends.0.is_ipv6() { &header[8..40] } else { &header[12..20] };
            if ends.0.is_ipv4() {
                prop_assert_eq!(naive(header), 0xffff);
            }
            let none = match checksum {
                OuterChecksum::Zero => true,
                OuterChecksum::Software => false,
                OuterChecksum::Offload => ends.0.is_ipv4(),
            };
            if none {
                prop_assert_eq!(&udp[6..8], &[0, 0]);
            } else {
                let pseudo = [addresses, &[0, 17], &(udp.len() as u16).to_be_bytes()].concat();
                prop_assert_eq!(naive(&[&pseudo, udp].concat()), 0xffff);
            }

            // A link may pad the frame.
            buffer.extend_to(bytes.len() + padding);
            let found = outer(buffer.data(), encapsulation).unwrap();
            prop_assert_eq!((unmapped(found.source), unmapped(found.destination)), match ends {
                (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_canonical(), b.to_canonical()),
                v4 => v4,
            });
            prop_assert_eq!(found.vni.get(), VNI);
            prop_assert_eq!(found.sender, geneve.then(sender));
            prop_assert!(buffer.data()[usize::from(found.inner) - encapsulation.overhead(false) + 14..].len() > 8);
            found.strip(&mut buffer).unwrap();
            prop_assert_eq!(buffer.data(), &frame[..]);
        }

        #[test]
        fn never_panics_on_mutations(
            v6_underlay: bool, geneve: bool,
            mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let encapsulation = if geneve { Encapsulation::Geneve } else { Encapsulation::Vxlan };
            let ends = if v6_underlay { v6() } else { v4() };
            let buffer = encapsulated(encapsulation, ends, OuterChecksum::Zero, &inner(Network::Ipv4, 0));
            let mut bytes = buffer.data().to_vec();
            for (at, value) in mutations {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(1 + cut.index(bytes.len()));
            if let Ok(headers) = parse(&bytes)
                && let Ok(outer) = Outer::parse(&bytes, &headers, encapsulation, Checked::Good)
            {
                prop_assert!(outer.inner + 14 <= outer.end && usize::from(outer.end) <= bytes.len());
                let mut buffer = HeapBuffer::new(&bytes);
                if outer.strip(&mut buffer).is_ok() {
                    prop_assert_eq!(buffer.data().len(), usize::from(outer.end - outer.inner));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_plain_header_is_what_parsing_finds(
            v6_underlay: bool, geneve: bool,
            mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            cut in prop::option::of(any::<prop::sample::Index>()),
            checked in prop::sample::select(vec![Checked::Good, Checked::Bad, Checked::Unknown]),
        ) {
            let encapsulation = if geneve { Encapsulation::Geneve } else { Encapsulation::Vxlan };
            let ends = if v6_underlay { v6() } else { v4() };
            let buffer = encapsulated(encapsulation, ends, OuterChecksum::Zero, &inner(Network::Ipv4, 2));
            let mut bytes = buffer.data().to_vec();
            for &(at, value) in &mutations {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(1 + cut.index(bytes.len()));
            }
            let parsed = parse(&bytes)
                .and_then(|headers| Outer::parse(&bytes, &headers, Encapsulation::Vxlan, checked));
            let IpAddr::V4(here) = v4().1 else { unreachable!() };
            let plain = PlainOuter::of(&PlainOuter::to(here.to_bits()), &bytes, checked);
            let untouched = mutations.is_empty() && cut.is_none();
            prop_assert!(!untouched || plain.is_some() == (!geneve && !v6_underlay && checked != Checked::Bad));
            // What has no room for an inner header, is no business of this.
            if let Some(PlainOuter { source, vni, end, ecn }) = plain
                && usize::from(end) >= PlainOuter::LEN + 14
            {
                let [source, destination] = [source.into(), here].map(|ip| mapped(IpAddr::V4(ip)));
                let inner = PlainOuter::LEN as u16;
                prop_assert_eq!(parsed, Ok(Outer { source, destination, vni, sender: None, inner, end, ecn }));
            }
        }
    }

    #[test]
    fn refuses_what_is_not_the_encapsulation() {
        let vxlan = |at: usize, value: u8| {
            let mut buffer =
                encapsulated(Encapsulation::Vxlan, v4(), OuterChecksum::Zero, &inner(Network::Ipv4, 0));
            buffer.data_mut()[at] = value;
            Outer::parse(buffer.data(), &parse(buffer.data())?, Encapsulation::Vxlan, Checked::Good)
        };
        assert!(vxlan(43, 0xff).is_ok(), "reserved bits are ignored");
        assert_eq!(vxlan(37, 0xb6), Err(Reason::UnderlayProtocol), "another port");
        assert_eq!(vxlan(42, 0xf7), Err(Reason::UnderlayProtocol), "no I bit");
        assert_eq!(vxlan(20, 0x20), Err(Reason::UnderlayFragment));
        assert_eq!(vxlan(21, 0x09), Err(Reason::UnderlayFragment), "a later fragment");
        assert_eq!(vxlan(39, 29), Err(Reason::Truncated), "no inner Ethernet header");
        assert_eq!(vxlan(38, 1), Err(Reason::Malformed), "longer than the IP packet");

        let geneve = |changes: &[(usize, u8)]| {
            let mut buffer =
                encapsulated(Encapsulation::Geneve, v4(), OuterChecksum::Zero, &inner(Network::Ipv4, 0));
            for (at, value) in changes {
                buffer.data_mut()[*at] = *value;
            }
            outer(buffer.data(), Encapsulation::Geneve).map(|outer| outer.sender)
        };
        assert_eq!(geneve(&[]), Ok(Some(sender())));
        assert_eq!(geneve(&[(42, 0x44)]), Err(Reason::UnderlayProtocol), "version 1");
        assert_eq!(geneve(&[(43, 0x80)]), Err(Reason::UnderlayProtocol), "control");
        assert_eq!(geneve(&[(45, 0x59)]), Err(Reason::UnderlayProtocol), "no Ethernet inside");
        assert_eq!(geneve(&[(46, 0), (47, 0), (48, 0)]), Err(Reason::UnknownVni));
        assert_eq!(geneve(&[(50, 0)]), Ok(None), "an unknown option");
        assert_eq!(
            geneve(&[(50, 0), (52, 0x81)]),
            Err(Reason::UnderlayProtocol),
            "an unknown critical option"
        );
        assert_eq!(geneve(&[(53, 2)]), Err(Reason::Malformed), "our option, of another length");
        assert_eq!(geneve(&[(53, 4)]), Err(Reason::Malformed), "an option longer than all of them");
        assert_eq!(geneve(&[(57, 0)]), Err(Reason::Malformed), "no sender's VNI");
        assert_eq!(geneve(&[(42, 0x3f)]), Err(Reason::Truncated), "more options than packet");
    }

    #[test]
    fn ipv4_header_checksum_is_the_devices_or_verified() {
        let mut buffer =
            encapsulated(Encapsulation::Vxlan, v4(), OuterChecksum::Zero, &inner(Network::Ipv4, 0));
        buffer.data_mut()[22] -= 1; // TTL, without a new checksum
        let headers = parse(buffer.data()).unwrap();
        let with = |checked| {
            Outer::parse(buffer.data(), &headers, Encapsulation::Vxlan, checked).map(|outer| outer.vni.get())
        };
        assert_eq!(with(Checked::Good), Ok(VNI));
        assert_eq!(with(Checked::Unknown), Err(Reason::UnderlayChecksum));
        assert_eq!(with(Checked::Bad), Err(Reason::UnderlayChecksum));
    }

    #[test]
    fn congestion_marks_follow_rfc_6040() {
        // §4.2, figure 4: rows are inner Not-ECT, ECT(0), ECT(1), CE; columns the outer likewise.
        const FIELDS: [u8; 4] = [0b00, 0b10, 0b01, 0b11];
        const RESULT: [[Option<u8>; 4]; 4] = [
            [Some(0b00), Some(0b00), Some(0b00), None],
            [Some(0b10), Some(0b10), Some(0b01), Some(0b11)],
            [Some(0b01), Some(0b01), Some(0b01), Some(0b11)],
            [Some(0b11), Some(0b11), Some(0b11), Some(0b11)],
        ];
        for network in [Network::Ipv4, Network::Ipv6] {
            for (row, field) in FIELDS.iter().enumerate() {
                for (column, outer) in FIELDS.iter().enumerate() {
                    let mut buffer = HeapBuffer::new(&inner(network, *field));
                    let expected = RESULT[row][column].map(|ecn| inner(network, ecn)).ok_or(Reason::EcnCe);
                    let result = apply_ecn(&mut buffer, *outer).map(|()| buffer.data().to_vec());
                    assert_eq!(result, expected, "{network:?}, inner {field:02b}, outer {outer:02b}");
                }
            }
        }
    }

    #[test]
    fn outer_congestion_mark_reaches_the_inner_packet() {
        for (ends, at, bits) in [(v4(), 15, 0b11), (v6(), 15, 0b11 << 4)] {
            let mut buffer =
                encapsulated(Encapsulation::Vxlan, ends, OuterChecksum::Zero, &inner(Network::Ipv4, 0b10));
            buffer.data_mut()[at] |= bits;
            let headers = parse(buffer.data()).unwrap();
            let outer = Outer::parse(buffer.data(), &headers, Encapsulation::Vxlan, Checked::Good).unwrap();
            outer.strip(&mut buffer).unwrap();
            assert_eq!(buffer.data(), inner(Network::Ipv4, 0b11));
        }
    }
}
