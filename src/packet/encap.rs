//! VXLAN (RFC 7348) and Geneve (RFC 8926) over IPv4 or IPv6: putting a ready outer header in front of a frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::{
    Buffer, Copies, Mac, Vni,
    bytes::{get, put},
    checksum::Sum,
    headers::{ETHERNET, ethertype, protocol},
};
use crate::pipeline::Reason;

/// How frames travel between hosts. One for the whole underlay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encapsulation {
    /// VXLAN (RFC 7348).
    #[default]
    Vxlan,
    /// Geneve (RFC 8926) with Warren's option, which names the sender.
    Geneve,
}

impl Encapsulation {
    /// The UDP destination port: 4789 (RFC 7348 §5) or 6081 (RFC 8926 §3.3).
    #[inline]
    pub const fn port(self) -> u16 {
        match self {
            Self::Vxlan => 4789,
            Self::Geneve => 6081,
        }
    }

    /// Octets in front of the inner frame, from the first of the outer Ethernet header.
    pub const fn overhead(self, ipv6: bool) -> usize {
        ETHERNET + if ipv6 { 40 } else { 20 } + UDP + self.shim()
    }

    const fn shim(self) -> usize {
        match self {
            Self::Vxlan => 8,
            Self::Geneve => 8 + 4 + SENDER_LEN,
        }
    }
}

/// Octets of a UDP header.
pub(super) const UDP: usize = 8;
/// VXLAN's flags with the I bit, which says that the VNI is valid (RFC 7348 §5).
pub(super) const VXLAN_VALID_VNI: u8 = 0x08;
/// Geneve's protocol type of an Ethernet frame (RFC 8926 §3.4): transparent Ethernet bridging.
pub(super) const ETHERNET_BRIDGING: u16 = 0x6558;
/// Class (of the experimental range, RFC 8926 §7) and type (not critical) of the option that names the sender.
pub(super) const SENDER_OPTION: [u8; 3] = [0xff, 0x77, 0x01];
/// Octets of that option's data: VNI (32 bits), MAC, two zeros.
pub(super) const SENDER_LEN: usize = 12;

/// Who sent a frame: the part of a packet's origin that its VNI, which is the receiver's VPC, doesn't tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The VPC of the sending ENI.
    pub vni: Vni,
    /// The MAC of the sending ENI, also where the inner frame carries the router's.
    pub mac: Mac,
}

/// What the outer UDP checksum is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OuterChecksum {
    /// Zero: none, as RFC 7348 §5 recommends over IPv4, and RFC 6935 and RFC 6936 allow for tunnels over IPv6.
    #[default]
    Zero,
    /// Computed over the whole packet, in software.
    Software,
    /// Over IPv6 filled in by the device, or in software where the buffer's device can't; zero over IPv4.
    Offload,
}

/// The longest outer header: Geneve over IPv6.
const LONGEST: usize = Encapsulation::Geneve.overhead(true);
const VXLAN_V4: usize = Encapsulation::Vxlan.overhead(false);
const VXLAN_V6: usize = Encapsulation::Vxlan.overhead(true);
const GENEVE_V4: usize = Encapsulation::Geneve.overhead(false);
const GENEVE_V6: usize = Encapsulation::Geneve.overhead(true);
const _: () = assert!(LONGEST <= super::HEADROOM);

/// A ready outer header towards one host: Ethernet, IP, UDP and VXLAN or Geneve, complete but for what depends on the
/// packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct OuterTemplate {
    /// Folded sum of the IPv4 header without its total length and DSCP/ECN.
    ip_sum: u16,
    /// Folded sum of the UDP pseudo-header without its length.
    pseudo_sum: u16,
    /// Octets of `bytes` in use; tells the four kinds apart.
    len: u8,
    checksum: OuterChecksum,
    bytes: [u8; LONGEST],
}

// With VXLAN over IPv4, what is used of it and six octets of its owner's fit a cache line.
const _: () = assert!(std::mem::offset_of!(OuterTemplate, bytes) + VXLAN_V4 + 6 <= 64);

impl OuterTemplate {
    /// Octets of a VXLAN header over IPv4.
    pub const VXLAN_V4: usize = VXLAN_V4;

    /// A template that stands where there is none.
    pub const NONE: Self = Self {
        ip_sum: 0,
        pseudo_sum: 0,
        len: VXLAN_V4 as u8,
        checksum: OuterChecksum::Zero,
        bytes: [0; LONGEST],
    };

    /// The header of packets from `source_mac` and `source` on an uplink to `destination`, whose next hop is
    /// `destination_mac`. `None` where source and destination are of different families.
    pub fn new(
        encapsulation: Encapsulation,
        source_mac: Mac,
        destination_mac: Mac,
        source: IpAddr,
        destination: IpAddr,
        checksum: OuterChecksum,
    ) -> Option<Self> {
        let mut bytes = [0; LONGEST];
        put(&mut bytes, 0, destination_mac.0);
        put(&mut bytes, 6, source_mac.0);
        let (udp, ip_sum, pseudo_sum) = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                put(&mut bytes, 12, ethertype::IPV4.to_be_bytes());
                let ip_sum = write_ipv4(&mut bytes, source, destination, protocol::UDP);
                (ETHERNET + 20, ip_sum, Sum::pseudo_v4(source, destination, protocol::UDP, 0))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                put(&mut bytes, 12, ethertype::IPV6.to_be_bytes());
                write_ipv6(&mut bytes, source, destination, protocol::UDP);
                (ETHERNET + 40, Sum::ZERO, Sum::pseudo_v6(source, destination, protocol::UDP, 0))
            }
            _ => return None,
        };
        put(&mut bytes, udp + 2, encapsulation.port().to_be_bytes());
        let shim = udp + UDP;
        match encapsulation {
            Encapsulation::Vxlan => put(&mut bytes, shim, [VXLAN_VALID_VNI]),
            Encapsulation::Geneve => {
                // RFC 8926 §3.4: version 0, options' length in words of four octets, neither control nor critical.
                put(&mut bytes, shim, [((4 + SENDER_LEN) / 4) as u8, 0]);
                put(&mut bytes, shim + 2, ETHERNET_BRIDGING.to_be_bytes());
                put(&mut bytes, shim + 8, SENDER_OPTION);
                put(&mut bytes, shim + 11, [(SENDER_LEN / 4) as u8]);
            }
        }
        Some(Self {
            bytes,
            len: encapsulation.overhead(source.is_ipv6()) as u8,
            checksum: match (checksum, source) {
                (OuterChecksum::Offload, IpAddr::V4(_)) => OuterChecksum::Zero,
                _ => checksum,
            },
            ip_sum: ip_sum.fold(),
            pseudo_sum: pseudo_sum.fold(),
        })
    }

    /// Octets that [`OuterTemplate::encapsulate`] puts in front of a frame, the outer Ethernet header included.
    #[inline]
    pub const fn header_len(&self) -> usize {
        self.len as usize
    }

    /// Puts the outer header in front of a frame for the VPC `vni`. Geneve carries the `sender`, VXLAN can't. The UDP source port (and the IPv6 flow label) comes from `flow_hash`, [`super::flow_hash`] of the inner packet, so that
    /// the underlay spreads flows and keeps each in order.
    ///
    /// # Errors
    ///
    /// [`Reason::NoHeadroom`], with the frame unchanged; [`Reason::OversizeFrame`], with the frame in any state, where
    /// the outer packet is longer than an IP packet can be.
    #[inline(always)]
    pub fn encapsulate<B: Buffer>(
        &self,
        buffer: &mut B,
        vni: Vni,
        sender: Sender,
        flow_hash: u32,
    ) -> Result<(), Reason> {
        let traffic_class = traffic_class(buffer.data());
        self.encapsulate_classed(buffer, vni, &sender, traffic_class, flow_hash)
    }

    /// [`OuterTemplate::encapsulate`] of a frame whose [`traffic_class`] is known.
    ///
    /// # Errors
    ///
    /// As there.
    #[inline(always)]
    pub fn encapsulate_classed<B: Buffer>(
        &self,
        buffer: &mut B,
        vni: Vni,
        sender: &Sender,
        traffic_class: u8,
        flow_hash: u32,
    ) -> Result<(), Reason> {
        // What is used most has its code in line, and no other.
        if self.header_len() == VXLAN_V4 {
            return self.put_in_front::<VXLAN_V4, B>(buffer, vni, sender, traffic_class, flow_hash);
        }
        self.encapsulate_otherwise(buffer, vni, sender, traffic_class, flow_hash)
    }

    #[inline(never)]
    fn encapsulate_otherwise<B: Buffer>(
        &self,
        buffer: &mut B,
        vni: Vni,
        sender: &Sender,
        traffic_class: u8,
        flow_hash: u32,
    ) -> Result<(), Reason> {
        match self.header_len() {
            VXLAN_V6 => self.put_in_front::<VXLAN_V6, B>(buffer, vni, sender, traffic_class, flow_hash),
            GENEVE_V4 => self.put_in_front::<GENEVE_V4, B>(buffer, vni, sender, traffic_class, flow_hash),
            _ => self.put_in_front::<GENEVE_V6, B>(buffer, vni, sender, traffic_class, flow_hash),
        }
    }

    /// A copy of a frame for one of several hosts, with the outer header towards it in front, as
    /// [`OuterTemplate::encapsulate`] makes it. The header is in a buffer of its own, the frame's bytes are shared
    /// ([`Buffer::clone_ref`]).
    ///
    /// # Errors
    ///
    /// [`Reason::NoBuffer`]; [`Reason::OversizeFrame`] where the outer packet is longer than an IP packet can be.
    #[inline]
    pub fn encapsulate_copy<B: Buffer>(
        &self,
        copies: &mut Copies<'_, B>,
        vni: Vni,
        sender: Sender,
        flow_hash: u32,
    ) -> Result<B, Reason> {
        let (mut copy, payload) = copies.take().ok_or(Reason::NoBuffer)?;
        let frame = copies.frame().data();
        match self.header_len() {
            VXLAN_V4 => self.put_into::<VXLAN_V4, B>(&mut copy, frame, vni, sender, flow_hash)?,
            VXLAN_V6 => self.put_into::<VXLAN_V6, B>(&mut copy, frame, vni, sender, flow_hash)?,
            GENEVE_V4 => self.put_into::<GENEVE_V4, B>(&mut copy, frame, vni, sender, flow_hash)?,
            _ => self.put_into::<GENEVE_V6, B>(&mut copy, frame, vni, sender, flow_hash)?,
        }
        if copy.append(payload) { Ok(copy) } else { Err(Reason::NoBuffer) }
    }

    /// The header in front of `payload`, of a template for VXLAN over IPv4 without checksum.
    pub fn vxlan_v4(&self, payload: &[u8], vni: Vni, flow_hash: u32) -> Option<[u8; VXLAN_V4]> {
        let ip_len = u16::try_from(VXLAN_V4 - ETHERNET + payload.len()).ok()?;
        let mut header = [0; VXLAN_V4];
        let sender = Sender { vni, mac: Mac::ZERO };
        self.write(&mut header, ip_len, traffic_class(payload), vni, &sender, flow_hash)?;
        Some(header)
    }

    /// Fills an empty buffer with the header in front of `payload`, which is elsewhere.
    #[inline]
    fn put_into<const LEN: usize, B: Buffer>(
        &self,
        buffer: &mut B,
        payload: &[u8],
        vni: Vni,
        sender: Sender,
        flow_hash: u32,
    ) -> Result<(), Reason> {
        let ip_len = u16::try_from(LEN - ETHERNET + payload.len()).map_err(|_| Reason::OversizeFrame)?;
        let head = buffer.prepend(LEN).and_then(|head| head.first_chunk_mut::<LEN>());
        let head = head.ok_or(Reason::NoHeadroom)?;
        let (udp, udp_len) = self
            .write(head, ip_len, traffic_class(payload), vni, &sender, flow_hash)
            .ok_or(Reason::NoHeadroom)?;
        if self.checksum != OuterChecksum::Zero {
            self.fill_udp_checksum(buffer, payload, udp, udp_len);
        }
        Ok(())
    }

    /// Monomorphised by length, so that the copy has a constant size and all offsets are constants.
    #[inline(always)]
    fn put_in_front<const LEN: usize, B: Buffer>(
        &self,
        buffer: &mut B,
        vni: Vni,
        sender: &Sender,
        traffic_class: u8,
        flow_hash: u32,
    ) -> Result<(), Reason> {
        let frame = buffer.prepend(LEN).ok_or(Reason::NoHeadroom)?;
        if frame.len() > ETHERNET + usize::from(u16::MAX) {
            return Err(Reason::OversizeFrame);
        }
        let ip_len = (frame.len() - ETHERNET) as u16;
        let head = frame.first_chunk_mut::<LEN>().ok_or(Reason::NoHeadroom)?;
        let (udp, udp_len) =
            self.write(head, ip_len, traffic_class, vni, sender, flow_hash).ok_or(Reason::NoHeadroom)?;
        if self.checksum != OuterChecksum::Zero {
            self.fill_udp_checksum(buffer, &[], udp, udp_len);
        }
        Ok(())
    }

    /// Writes the header of an IP packet of `ip_len` octets, but for the UDP checksum. Returns the offset of the UDP header
    /// and the length in it.
    #[inline(always)]
    fn write<const LEN: usize>(
        &self,
        head: &mut [u8; LEN],
        ip_len: u16,
        traffic_class: u8,
        vni: Vni,
        sender: &Sender,
        flow_hash: u32,
    ) -> Option<(usize, u16)> {
        let ipv6 = LEN == VXLAN_V6 || LEN == GENEVE_V6;
        let udp = ETHERNET + if ipv6 { 40 } else { 20 };
        let udp_len = ip_len - (udp - ETHERNET) as u16;
        *head = *self.bytes.first_chunk()?;
        if ipv6 {
            // RFC 8200 §3: version, traffic class, flow label; RFC 6438 §3: the label tells the tunnelled flows apart.
            let first = 6 << 28 | u32::from(traffic_class) << 20 | flow_hash & 0xf_ffff;
            put(head, ETHERNET, first.to_be_bytes());
            put(head, ETHERNET + 4, udp_len.to_be_bytes());
        } else {
            // RFC 1071 §2 (A): three words carry two at most, which two additions of the upper half take back.
            let sum = u32::from(self.ip_sum) + u32::from(ip_len) + u32::from(traffic_class);
            let sum = (sum >> 16) + (sum & 0xffff);
            let checksum = !((sum >> 16) + sum) as u16;
            put(head, ETHERNET + 1, [traffic_class]);
            put(head, ETHERNET + 2, ip_len.to_be_bytes());
            put(head, ETHERNET + 10, checksum.to_be_bytes());
        }
        // RFC 7348 §5 and RFC 8926 §3.3: a hash of the inner headers, in the range 49152 to 65535.
        put(head, udp, (0xc000 | flow_hash as u16).to_be_bytes());
        put(head, udp + 4, udp_len.to_be_bytes());
        // The VNI's 24 bits and a reserved octet, at the same place in both.
        put(head, udp + UDP + 4, (vni.get() << 8).to_be_bytes());
        if LEN == GENEVE_V4 || LEN == GENEVE_V6 {
            put(head, udp + UDP + 12, sender.vni.get().to_be_bytes());
            put(head, udp + UDP + 16, sender.mac.0);
        }
        Some((udp, udp_len))
    }

    /// Of the packet in `buffer` and of what follows it elsewhere, `rest`.
    #[inline(never)]
    fn fill_udp_checksum<B: Buffer>(&self, buffer: &mut B, rest: &[u8], udp: usize, udp_len: u16) {
        let pseudo = Sum::ZERO.word(self.pseudo_sum).word(udp_len);
        put(buffer.data_mut(), udp + 6, pseudo.fold().to_be_bytes());
        let offloaded =
            self.checksum == OuterChecksum::Offload && buffer.offload_udp6_checksum(ETHERNET, udp - ETHERNET);
        if !offloaded {
            // The field holds the pseudo-header's sum already.
            let sum = Sum::of(buffer.data().get(udp..).unwrap_or_default()).plus(Sum::of(rest));
            put(buffer.data_mut(), udp + 6, sum.udp_checksum().to_be_bytes());
        }
    }
}

/// An IPv4 header without total length, DSCP/ECN and checksum; returns the sum of the rest.
pub(super) fn write_ipv4(bytes: &mut [u8], source: Ipv4Addr, destination: Ipv4Addr, protocol: u8) -> Sum {
    // RFC 791 §3.1: version 4, five words; identification 0 (RFC 6864 §4.1: free in atomic datagrams); DF, so that the
    // underlay never fragments; TTL 64.
    let mut header = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    put(&mut header, 12, source.octets());
    put(&mut header, 16, destination.octets());
    put(bytes, ETHERNET, header);
    Sum::of(&header)
}

/// An IPv6 header without traffic class, flow label and payload length. RFC 8200 §3: hop limit 64.
pub(super) fn write_ipv6(bytes: &mut [u8], source: Ipv6Addr, destination: Ipv6Addr, protocol: u8) {
    put(bytes, ETHERNET, [0x60, 0, 0, 0, 0, 0, protocol, 64]);
    put(bytes, ETHERNET + 8, source.octets());
    put(bytes, ETHERNET + 24, destination.octets());
}

/// The inner packet's DSCP and ECN, which the outer header takes over (RFC 2983 §3.1 uniform model; RFC 6040 §4.1 normal
/// mode). 0 for what is not IP.
#[inline(always)]
pub fn traffic_class(frame: &[u8]) -> u8 {
    let [high, low, first, second] = get(frame, 12).unwrap_or_default();
    match u16::from_be_bytes([high, low]) {
        ethertype::IPV4 => second,
        ethertype::IPV6 => first << 4 | second >> 4,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::HeapBuffer;

    const SOURCE: Mac = Mac([2, 0xfa, 0, 0, 0, 1]);
    const NEXT_HOP: Mac = Mac([2, 0xfa, 0, 0, 0, 2]);

    fn sender() -> Sender {
        Sender { vni: Vni::new(0x00_0abc).unwrap(), mac: Mac([2, 0, 0, 0, 1, 0x0a]) }
    }

    /// 10.0.1.10 to 10.0.1.11, DSCP EF, ECN 0: a UDP datagram of two octets.
    const INNER: &str =
        "02000000010b 02000000010a 0800 45b8001e12340000401151cf 0a00010a 0a00010b 03e80035000a0000 6869";

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(octet).collect()
    }

    fn encapsulate(encapsulation: Encapsulation, source: &str, destination: &str) -> Vec<u8> {
        let ends = (source.parse().unwrap(), destination.parse().unwrap());
        let template =
            OuterTemplate::new(encapsulation, SOURCE, NEXT_HOP, ends.0, ends.1, OuterChecksum::Zero);
        let mut buffer = HeapBuffer::new(&hex(INNER));
        template
            .unwrap()
            .encapsulate(&mut buffer, Vni::new(0x01_2345).unwrap(), sender(), 0xdead_beef)
            .unwrap();
        buffer.data().to_vec()
    }

    #[test]
    fn vxlan_over_ipv4_byte_by_byte() {
        let expected = [
            "02fa00000002 02fa00000001 0800",  // Ethernet: next hop, own MAC, IPv4
            "45 b8 0050 0000 4000 40 11 b5e1", // IPv4: the inner DSCP, 80 octets, DF, TTL 64, UDP, checksum
            "c0000201 c0000202",               // 192.0.2.1 to 192.0.2.2
            "feef 12b5 003c 0000",             // UDP: 0xc000 | hash, 4789, 60 octets, no checksum
            "08 000000 012345 00",             // VXLAN: I, VNI
            INNER,
        ];
        assert_eq!(encapsulate(Encapsulation::Vxlan, "192.0.2.1", "192.0.2.2"), hex(&expected.concat()));
    }

    #[test]
    fn geneve_over_ipv6_byte_by_byte() {
        let expected = [
            "02fa00000002 02fa00000001 86dd",   // Ethernet: next hop, own MAC, IPv6
            "6 b8 dbeef 004c 11 40", // IPv6: the inner DSCP, flow label, 76 octets, UDP, hop limit 64
            "20010db8000000000000000000000001", // 2001:db8::1
            "20010db8000000000000000000000002", // 2001:db8::2
            "feef 17c1 004c 0000",   // UDP: 0xc000 | hash, 6081, 76 octets, no checksum
            "04 00 6558 012345 00",  // Geneve: four words of options, Ethernet, VNI
            "ff77 01 03",            // option: experimental class, not critical, three words
            "00000abc 02000000010a 0000", // the sender's VNI and MAC
            INNER,
        ];
        assert_eq!(encapsulate(Encapsulation::Geneve, "2001:db8::1", "2001:db8::2"), hex(&expected.concat()));
    }

    #[test]
    fn a_copy_is_encapsulated_like_the_frame_and_leaves_it_alone() {
        for (source, destination) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
            for encapsulation in [Encapsulation::Vxlan, Encapsulation::Geneve] {
                for checksum in [OuterChecksum::Zero, OuterChecksum::Software, OuterChecksum::Offload] {
                    let ends = (source.parse().unwrap(), destination.parse().unwrap());
                    let template =
                        OuterTemplate::new(encapsulation, SOURCE, NEXT_HOP, ends.0, ends.1, checksum)
                            .unwrap();
                    // An odd length: the checksum's last word is half a one.
                    let frame = [hex(INNER), vec![7]].concat();
                    let mut buffer = HeapBuffer::new(&frame);
                    let vni = Vni::new(0x01_2345).unwrap();
                    let mut copies = Copies::new(&buffer, 1);
                    let copy = template.encapsulate_copy(&mut copies, vni, sender(), 0xdead_beef).unwrap();
                    assert_eq!(buffer.data(), frame);
                    template.encapsulate(&mut buffer, vni, sender(), 0xdead_beef).unwrap();
                    assert_eq!(copy, buffer);
                }
            }
        }
    }

    #[test]
    fn families_have_to_agree() {
        let (v4, v6) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        for encapsulation in [Encapsulation::Vxlan, Encapsulation::Geneve] {
            assert!(
                OuterTemplate::new(encapsulation, SOURCE, NEXT_HOP, v4, v6, OuterChecksum::Zero).is_none()
            );
        }
    }

    #[test]
    fn without_headroom_nothing_changes() {
        let (a, b) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let template =
            OuterTemplate::new(Encapsulation::Vxlan, SOURCE, NEXT_HOP, a, b, OuterChecksum::Zero).unwrap();
        let mut buffer = HeapBuffer::new(&hex(INNER));
        buffer.prepend(crate::packet::HEADROOM - 49).unwrap();
        let before = buffer.clone();
        let result = template.encapsulate(&mut buffer, Vni::new(1).unwrap(), sender(), 0);
        assert_eq!((result, buffer), (Err(Reason::NoHeadroom), before));
    }
}
