//! VXLAN (RFC 7348) and Geneve (RFC 8926): reading and removing an outer header.

use std::net::{IpAddr, Ipv6Addr};

use super::{
    Buffer, Checked, Encapsulation, Mac, Sender, Vni,
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
    #[inline]
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
        let (source, destination, ecn) = match headers.network {
            Network::Ipv4 => {
                check_ipv4(frame, headers, ip_checksum)?;
                let (source, destination) = ipv4_addresses(frame);
                let [tos] = get(frame, ETHERNET + 1).unwrap_or_default();
                (mapped(IpAddr::V4(source.into())), mapped(IpAddr::V4(destination.into())), tos & 3)
            }
            Network::Ipv6 => {
                let (source, destination) = ipv6_addresses(frame);
                let [second] = get(frame, ETHERNET + 1).unwrap_or_default();
                (source, destination, second >> 4 & 3)
            }
            Network::Arp => return Err(Reason::UnderlayProtocol),
        };
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
                (inner, geneve_options(frame.get(shim + 8..inner).ok_or(Reason::Truncated)?)?)
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

    /// Makes the buffer's frame the inner one, and gives that the congestion mark of the outer.
    ///
    /// # Errors
    ///
    /// [`Reason::EcnCe`], as [`apply_ecn`]; [`Reason::Truncated`] where the buffer is not the one that was parsed.
    #[inline]
    pub fn strip<B: Buffer>(&self, buffer: &mut B) -> Result<(), Reason> {
        buffer.truncate(self.end.into());
        if !buffer.trim_front(self.inner.into()) {
            return Err(Reason::Truncated);
        }
        apply_ecn(buffer, self.ecn)
    }
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
                Some(plain) if header.len() == 20 => Sum::of(plain).fold() == 0xffff,
                _ => Sum::of(header).fold() == 0xffff,
            },
            None => false,
        },
    };
    if right { Ok(()) } else { Err(Reason::UnderlayChecksum) }
}

/// Warren's option among a Geneve header's options, if it is there.
#[inline]
fn geneve_options(mut options: &[u8]) -> Result<Option<Sender>, Reason> {
    let mut sender = None;
    // At most 63 words: the length field has six bits.
    while let Some(([class_high, class_low, kind, len], rest)) = options.split_first_chunk() {
        // RFC 8926 §3.5: the length in words, its upper three bits reserved.
        let len = 4 * usize::from(len & 0x1f);
        let (data, rest) = rest.split_at_checked(len).ok_or(Reason::Malformed)?;
        if [*class_high, *class_low, *kind] == SENDER_OPTION {
            let data: &[u8; SENDER_LEN] = data.try_into().map_err(|_| Reason::Malformed)?;
            let [v0, v1, v2, v3, a, b, c, d, e, f, ..] = *data;
            let vni = Vni::new(u32::from_be_bytes([v0, v1, v2, v3])).ok_or(Reason::Malformed)?;
            sender = Some(Sender { vni, mac: Mac([a, b, c, d, e, f]) });
        } else if kind & 0x80 != 0 {
            // RFC 8926 §3.5: an unknown critical option drops the packet.
            return Err(Reason::UnderlayProtocol);
        }
        options = rest;
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
