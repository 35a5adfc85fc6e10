//! What a router says by ICMP (RFC 792) and ICMPv6 (RFC 4443): the echo reply, and the errors about a packet that is too
//! big for its path or has been forwarded too often. All are made of the frame that they answer, in place.

use std::net::IpAddr;

use super::{
    Buffer, Mac,
    bytes::{get, put},
    checksum::{Sum, update},
    encap::traffic_class,
    ends::Ends,
    headers::{ETHERNET, Fragment, Headers, Network, protocol},
    macs,
};
use crate::pipeline::Reason;

/// Octets in front of what an error quotes, and of an echo's data: type, code, checksum, and a word of the type's own.
const HEADER: usize = 8;

/// The DSCP of errors: internetwork control, which RFC 1812 §4.3.2.5 asks for.
const INTERNETWORK_CONTROL: u8 = 0xc0;

/// Type and code in one word, as the family has them.
mod kind {
    /// RFC 792, RFC 4443 §4.
    pub(super) const ECHO: [u16; 2] = [8 << 8, 128 << 8];
    pub(super) const ECHO_REPLY: [u16; 2] = [0, 129 << 8];
    /// Fragmentation needed and DF set (RFC 792), packet too big (RFC 4443 §3.2).
    pub(super) const TOO_BIG: [u16; 2] = [3 << 8 | 4, 2 << 8];
    /// Time to live exceeded in transit (RFC 792), hop limit exceeded in transit (RFC 4443 §3.3).
    pub(super) const TIME_EXCEEDED: [u16; 2] = [11 << 8, 3 << 8];
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

/// Whether a packet, whole or a first fragment, claims to be an echo request or reply.
pub const fn is_echo(headers: &Headers) -> bool {
    match (headers.network, headers.icmp_type()) {
        (Network::Ipv4, Some(kind)) => kind == 8 || is_echo_reply(headers),
        (Network::Ipv6, Some(kind)) => kind == 128 || is_echo_reply(headers),
        _ => false,
    }
}

/// Whether a packet, whole or a first fragment, claims to be an echo reply.
pub const fn is_echo_reply(headers: &Headers) -> bool {
    match (headers.network, headers.icmp_type()) {
        (Network::Ipv4, Some(kind)) => kind == 0,
        (Network::Ipv6, Some(kind)) => kind == 129,
        _ => false,
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
        && ends.sum(ends.icmp(), message).fold() == 0xffff;
    let surplus = start.checked_sub(ends.headers_len());
    let (true, Some(surplus)) = (sound, surplus) else { return Err(Reason::Malformed) };
    let dscp = traffic_class(frame) & 0xfc;
    buffer.truncate(headers.end());
    buffer.trim_front(surplus);
    let frame = buffer.data_mut();
    ends.reversed().write(frame, (source, destination), dscp, ends.icmp());
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
    // RFC 1191 §4: the lower half of the word, the upper one unused; RFC 4443 §3.2: the word.
    error(buffer, headers, router, sender, (kind::TOO_BIG, mtu.into()))
}

/// Turns a frame into the error that its packet's time to live, or hop limit, ended at `router` (RFC 792, RFC 4443 §3.3;
/// MTU-12: of the gateways, a NAT gateway is one that a packet is seen to pass). Else as [`too_big`].
#[must_use]
pub fn time_exceeded<B: Buffer>(
    buffer: &mut B,
    headers: &Headers,
    router: (Mac, IpAddr),
    sender: Mac,
) -> bool {
    error(buffer, headers, router, sender, (kind::TIME_EXCEEDED, 0))
}

/// Turns a frame into an error about its packet, of a kind and with the word that the kind has behind the checksum.
#[inline(never)]
fn error<B: Buffer>(
    buffer: &mut B,
    headers: &Headers,
    router: (Mac, IpAddr),
    sender: Mac,
    (kind, word): ([u16; 2], u32),
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
    ends.write(frame, (sender, router.0), INTERNETWORK_CONTROL, ends.icmp());
    put(frame, start, ends.pick(kind).to_be_bytes());
    put(frame, start + 2, [0; 2]);
    put(frame, start + 4, word.to_be_bytes());
    let checksum = ends.sum(ends.icmp(), frame.get(start..).unwrap_or_default()).checksum();
    put(frame, start + 2, checksum.to_be_bytes());
    true
}

#[cfg(test)]
mod tests;
