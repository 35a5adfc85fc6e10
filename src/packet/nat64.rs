//! The stateless half of NAT64 (GW-18): packets of IPv6 and ICMPv6 become such of IPv4 and ICMP, and back, by RFC 7915. The
//! caller knows the flows, so it gives the addresses and ports.

mod header;
mod icmp;

use self::header::{Head, Version};
use super::{
    Buffer,
    bytes::get,
    checksum::Sum,
    headers::{ETHERNET, Fragment, Headers, Network, protocol},
    ip::Ip,
    patch::{Transport, replace},
    quoted::{MESSAGE, is_error, quote_of},
    translate::{Address, Tuple},
};
use crate::pipeline::Reason;

/// The Well-Known Prefix 64:ff9b::/96 (RFC 6052 §2.1), in host order.
pub const PREFIX: u128 = 0x0064_ff9b << 96;

/// The IPv6 address that stands for an IPv4 address (RFC 6052 §2.2), both in host order.
#[inline]
pub const fn embed(address: u32) -> u128 {
    PREFIX | address as u128
}

/// The IPv4 address that an IPv6 address of [`PREFIX`] stands for, in host order; `None` of any other. That it is global,
/// which RFC 6052 §3.1 asks for, is the caller's to see.
#[inline]
pub const fn embedded(address: u128) -> Option<u32> {
    if address >> 32 == PREFIX >> 32 { Some(address as u32) } else { None }
}

/// The most bytes that an IPv4 packet without DF may have, for its IPv6 packet to fit where nothing is known of the path:
/// a longer one is split ([`super::fragment::split`]) before [`to_v6`] (RFC 7915 §4.1: 1280 bytes, with a Fragment header).
pub const LONGEST_FRAGMENT: u16 = 1280 - 40 - 8 + 20;

/// The most bytes of an ICMPv6 error (RFC 4443 §2.4(c)).
const LONGEST_ERROR: usize = 1280;

/// Makes the IPv6 packet that [`super::parse`] found in the buffer one of IPv4 (RFC 7915 §5), with `new` as its flow and, in an
/// ICMPv6 error, `quoted` as that of the packet that the error is about: its ports are written where they are there.
///
/// Traffic class and hop limit are copied (to decrement is the caller's), extension headers left out, a Fragment header becomes
/// the fragment's fields. A packet that was none gets DF, or, up to 1260 bytes, `identification`. An error quotes without its
/// extensions (RFC 4884), which describe the other path. A checksum that was wrong stays wrong. The MACs stay, padding goes.
///
/// # Errors
///
/// With the frame unchanged: [`Reason::NatProto`] for what IPv4 has not, or is neither TCP, UDP nor an ICMP echo or error;
/// [`Reason::NatFrag`] for a fragment of ICMP; [`Reason::Malformed`] for a header, or quote, that makes no sense, also an
/// error without `quoted`; [`Reason::NoHeadroom`].
pub fn to_v4<B: Buffer>(
    buffer: &mut B,
    headers: &Headers,
    new: &Tuple<u32>,
    quoted: Option<&Tuple<u32>>,
    identification: u16,
) -> Result<(), Reason> {
    convert::<u128, u32, B>(buffer, headers, new, quoted, identification)
}

/// Makes the IPv4 packet that [`super::parse`] found in the buffer one of IPv6 (RFC 7915 §4): [`to_v4`] the other way. The
/// frame grows by 20 bytes, by 28 with a fragment, by 40 or 48 with an error. A UDP datagram without checksum gets one.
///
/// # Errors
///
/// As [`to_v4`]; also [`Reason::NatFrag`] for the first fragment of a UDP datagram without checksum (RFC 7915 §4.5), and
/// [`Reason::Malformed`] for a wrong checksum of the IPv4 header, which the IPv6 header would hide.
pub fn to_v6<B: Buffer>(
    buffer: &mut B,
    headers: &Headers,
    new: &Tuple<u128>,
    quoted: Option<&Tuple<u128>>,
) -> Result<(), Reason> {
    let header = buffer.data().get(ETHERNET..headers.l4.into()).ok_or(Reason::Truncated)?;
    if headers.network == Network::Ipv4 && Sum::of(header).fold() != 0xffff {
        return Err(Reason::Malformed);
    }
    convert::<u32, u128, B>(buffer, headers, new, quoted, 0)
}

fn convert<F: Address, T: Version, B: Buffer>(
    buffer: &mut B,
    headers: &Headers,
    new: &Tuple<T>,
    quoted: Option<&Tuple<T>>,
    identification: u16,
) -> Result<(), Reason> {
    if headers.network != F::NETWORK {
        return Err(Reason::Malformed);
    }
    let packet = buffer.data().get(ETHERNET..headers.end()).ok_or(Reason::Truncated)?;
    if is_error(headers) {
        let quoted = quoted.ok_or(Reason::Malformed)?;
        return convert_error::<F, T, B>(buffer, headers, new, quoted, identification);
    }
    let change = Change::plan::<F, T>(packet, new.addresses())?;
    let bytes = packet.get(change.ip.header_len..).ok_or(Reason::Truncated)?;
    // RFC 792, RFC 4443 §4: with identifier and sequence number.
    if change.query.is_some() && bytes.len() < MESSAGE {
        return Err(Reason::Malformed);
    }
    let unsummed = change.lacks_checksum(bytes);
    if unsummed && change.ip.fragment() != Fragment::Whole {
        return Err(Reason::NatFrag);
    }
    let udp_len = u16::from_be_bytes(get(bytes, 4).unwrap_or_default());
    if unsummed && !(8..=bytes.len()).contains(&udp_len.into()) {
        return Err(Reason::Malformed);
    }
    let mut head = Head::ethernet(buffer.data(), T::NETWORK);
    T::header(&mut head, &change.ip, change.protocol, new.addresses(), identification)?;
    let l4 = head.replace(buffer, ETHERNET + change.ip.header_len, headers.end())?;
    let bytes = buffer.data_mut().get_mut(l4..).unwrap_or_default();
    change.apply(bytes, new.ports());
    if unsummed {
        let datagram = bytes.get(..udp_len.into()).unwrap_or_default();
        let pseudo = T::sum(new.addresses()).word(udp_len).word(protocol::UDP.into());
        replace(bytes, 6, pseudo.plus(Sum::of(datagram)).udp_checksum().to_be_bytes());
    }
    Ok(())
}

/// An ICMP error: its type and code, and the packet that it quotes, which is translated like any other, but quotes nothing in
/// its turn (RFC 7915 §4.3, §5.3).
#[inline(never)]
fn convert_error<F: Address, T: Version, B: Buffer>(
    buffer: &mut B,
    headers: &Headers,
    new: &Tuple<T>,
    quoted: &Tuple<T>,
    identification: u16,
) -> Result<(), Reason> {
    let packet = buffer.data().get(ETHERNET..headers.end()).ok_or(Reason::Truncated)?;
    let outer = Counterpart::plan::<F, T>(packet)?;
    let message = packet.get(outer.ip.header_len..).ok_or(Reason::Truncated)?;
    let quote = quote_of(F::NETWORK, message).ok_or(Reason::Malformed)?;
    let inner = Change::plan::<F, T>(quote, quoted.addresses())?;
    let behind = quote.get(inner.ip.header_len..).ok_or(Reason::Malformed)?;
    let start = get(message, 0).ok_or(Reason::Malformed)?;
    let total_len = inner.ip.header_len + inner.ip.payload_len;
    let start = icmp::error(F::NETWORK, start, total_len).ok_or(Reason::NatProto)?;
    // As right, or wrong, as the sum over the message was is that over the new one.
    let before = pseudo::<F>(outer.from, F::pair(packet).ok_or(Reason::Malformed)?, message.len());
    let before = before.plus(Sum::of(message)).fold();

    let mut quote = Head::EMPTY;
    T::header(&mut quote, &inner.ip, inner.protocol, quoted.addresses(), 0)?;
    // What follows the quoted packet is padding.
    let behind_len = behind.len().min(inner.ip.payload_len);
    let most = LONGEST_ERROR.saturating_sub(T::HEADER + MESSAGE + quote.len());
    let behind_len = behind_len.min(most);
    let mut head = Head::ethernet(buffer.data(), T::NETWORK);
    let message_len = MESSAGE + quote.len() + behind_len;
    let ip = Ip { payload_len: message_len, ..outer.ip };
    T::header(&mut head, &ip, outer.protocol, new.addresses(), identification)?;
    let l4 = head.len();
    head.push(&start);
    head.push(quote.bytes());
    let behind_at = ETHERNET + outer.ip.header_len + MESSAGE + inner.ip.header_len;
    let behind_at = head.replace(buffer, behind_at, behind_at + behind_len)?;
    inner.apply(buffer.data_mut().get_mut(behind_at..).unwrap_or_default(), quoted.ports());
    let message = buffer.data_mut().get_mut(l4..).unwrap_or_default();
    let sum = pseudo::<T>(outer.to, new.addresses(), message_len).plus(Sum::of(message));
    replace(message, 2, sum.word(!before).checksum().to_be_bytes());
    Ok(())
}

/// The IP header and transport of a packet that can be translated.
struct Counterpart {
    ip: Ip,
    from: Transport,
    to: Transport,
    /// Of `to`.
    protocol: u8,
}

impl Counterpart {
    /// # Errors
    ///
    /// Why it can't.
    fn plan<F: Address, T: Address>(packet: &[u8]) -> Result<Self, Reason> {
        let ip = Ip::read(F::NETWORK, packet).ok_or(Reason::Malformed)?;
        if let Some(reason) = ip.obstacle {
            return Err(reason);
        }
        let from = Transport::of(F::NETWORK, ip.protocol).ok_or(Reason::NatProto)?;
        let protocol = match from {
            Transport::Tcp | Transport::Udp => ip.protocol,
            // RFC 7915 §1.2: ICMPv6's checksum covers a length, which only the whole message has.
            _ if ip.fragment() != Fragment::Whole => return Err(Reason::NatFrag),
            Transport::Icmp => protocol::ICMPV6,
            Transport::Icmpv6 => protocol::ICMP,
        };
        let to = Transport::of(T::NETWORK, protocol).ok_or(Reason::NatProto)?;
        Ok(Self { ip, from, to, protocol })
    }
}

/// What becomes of a packet that is no ICMP error.
struct Change {
    ip: Ip,
    to: Transport,
    protocol: u8,
    /// Of an ICMP query: its new type and code.
    query: Option<[u8; 2]>,
    /// What the other pseudo-header adds.
    pseudo: Sum,
}

impl Change {
    /// Of a packet, also one cut behind its IP header, that gets other addresses.
    ///
    /// # Errors
    ///
    /// Why it can't be translated.
    fn plan<F: Address, T: Address>(packet: &[u8], new: (T, T)) -> Result<Self, Reason> {
        let Counterpart { ip, from, to, protocol } = Counterpart::plan::<F, T>(packet)?;
        let message = packet.get(ip.header_len..).ok_or(Reason::Truncated)?;
        let query = match (from, get(message, 0)) {
            (Transport::Icmp | Transport::Icmpv6, Some(kind)) => {
                Some(icmp::query(F::NETWORK, kind).ok_or(Reason::NatProto)?)
            }
            _ => None,
        };
        let old = F::pair(packet).ok_or(Reason::Truncated)?;
        let pseudo = pseudo(to, new, ip.payload_len).minus(pseudo(from, old, ip.payload_len));
        Ok(Self { ip, to, protocol, query, pseudo })
    }

    /// Whether it is a UDP datagram without checksum, which IPv6 does not have (RFC 8200 §8.1), with its header.
    fn lacks_checksum(&self, bytes: &[u8]) -> bool {
        self.protocol == protocol::UDP
            && self.ip.version == Network::Ipv4
            && self.ip.fragment() != Fragment::Later
            && get(bytes, 6) == Some([0, 0])
    }

    /// Changes the transport header, as far as it is there.
    fn apply(&self, bytes: &mut [u8], ports: (u16, u16)) {
        if self.ip.fragment() == Fragment::Later {
            return;
        }
        let kind = self.query.and_then(|query| replace(bytes, 0, query)).unwrap_or(Sum::ZERO);
        self.to.renew(bytes, ports, self.pseudo.plus(kind));
    }
}

/// What of a pseudo-header the versions do not share, in a sum: for TCP and UDP the addresses, for ICMPv6 all of it.
fn pseudo<A: Address>(transport: Transport, pair: (A, A), len: usize) -> Sum {
    match transport {
        Transport::Tcp | Transport::Udp => A::sum(pair),
        Transport::Icmp => Sum::ZERO,
        Transport::Icmpv6 => A::sum(pair).dword(len as u32).word(protocol::ICMPV6.into()),
    }
}

#[cfg(test)]
mod tests;
