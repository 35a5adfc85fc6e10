//! The packets that ICMP and ICMPv6 errors quote: whom an error is about, and its translation (RFC 5508 §4, GW-4).

use super::{
    bytes::get,
    checksum::Sum,
    headers::{ETHERNET, Fragment, Headers, Network},
    ip::Ip,
    patch::{Transport, apply},
    translate::{Address, Tuple},
};

/// Octets in front of what an error quotes, and of an echo's data.
pub(super) const MESSAGE: usize = 8;

/// A packet that an ICMP error quotes: as much of it as is there, which is its IP header and, where the error comes of an old
/// router, eight octets more (RFC 792).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted<A> {
    /// Source address of the quoted packet.
    pub source: A,
    /// Destination address of the quoted packet.
    pub destination: A,
    /// Source and destination port, as [`Tuple`] has them; `None` where the quote has none: of other protocols and messages,
    /// of a later fragment, or cut in front of them.
    pub ports: Option<(u16, u16)>,
    /// Its protocol.
    pub protocol: u8,
    /// Whether it is a fragment.
    pub fragment: Fragment,
    /// Offsets in the frame: of its IP header, of what is behind that, and of the first octet that is not of the quote.
    pub(super) at: u16,
    pub(super) l4: u16,
    pub(super) end: u16,
}

impl<A: Address> Quoted<A> {
    /// Its flow; `None` where the quote has no ports.
    #[inline]
    pub fn tuple(&self) -> Option<Tuple<A>> {
        let (source_port, destination_port) = self.ports?;
        Some(self.with_ports(source_port, destination_port))
    }

    /// Its addresses, with 0 for ports that it has not.
    #[inline]
    pub fn addresses(&self) -> Tuple<A> {
        let (source_port, destination_port) = self.ports.unwrap_or_default();
        self.with_ports(source_port, destination_port)
    }

    const fn with_ports(&self, source_port: u16, destination_port: u16) -> Tuple<A> {
        Tuple { source: self.source, destination: self.destination, source_port, destination_port }
    }

    /// The transport that the quote shows a header of.
    fn transport(&self) -> Option<Transport> {
        match self.fragment {
            Fragment::Later => None,
            _ => Transport::of(A::NETWORK, self.protocol),
        }
    }
}

/// Whether a packet is an ICMP error that quotes another: destination unreachable, source quench, time exceeded and parameter
/// problem (RFC 792), or any error of ICMPv6 that RFC 4443 defines (packet too big among them).
#[inline]
pub const fn is_error(headers: &Headers) -> bool {
    match (headers.network, headers.icmp_type()) {
        (Network::Ipv4, Some(kind)) => matches!(kind, 3 | 4 | 11 | 12),
        (Network::Ipv6, Some(kind)) => matches!(kind, 1..=4),
        _ => false,
    }
}

/// Reads what an ICMP error (by [`is_error`]), whole or a first fragment, quotes. `None` of any other packet, of another
/// family's, and where the quoted IP header is cut or contradicts itself.
#[inline(never)]
pub fn quoted<A: Address>(frame: &[u8], headers: &Headers) -> Option<Quoted<A>> {
    if headers.network != A::NETWORK || !is_error(headers) {
        return None;
    }
    let at = usize::from(headers.l4) + MESSAGE;
    let message = frame.get(headers.l4.into()..headers.end())?;
    let quote = quote_of(A::NETWORK, message)?;
    let ip = Ip::read(A::NETWORK, quote)?;
    let (source, destination) = A::pair(quote)?;
    // What follows the quoted packet is padding (RFC 4884 §3).
    let transport = quote.get(ip.header_len..quote.len().min(ip.header_len + ip.payload_len))?;
    let (l4, end) = (at + ip.header_len, at + ip.header_len + transport.len());
    let mut quoted = Quoted {
        source,
        destination,
        ports: None,
        protocol: ip.protocol,
        fragment: ip.fragment(),
        at: u16::try_from(at).ok()?,
        l4: u16::try_from(l4).ok()?,
        end: u16::try_from(end).ok()?,
    };
    quoted.ports = quoted.transport().and_then(|kind| kind.ports(transport));
    Some(quoted)
}

/// The part of an ICMP error that quotes: all behind its header, or as much as it says if extensions follow (RFC 4884 §4).
pub(super) fn quote_of(network: Network, message: &[u8]) -> Option<&[u8]> {
    let quote = message.get(MESSAGE..)?;
    let [kind, _, _, _, fifth, sixth] = get(message, 0)?;
    // In words of four octets with ICMP, of eight with ICMPv6; 0 where there are no extensions.
    let len = match (network, kind) {
        (Network::Ipv4, 3 | 11 | 12) => usize::from(sixth) * 4,
        (Network::Ipv6, 1 | 3) => usize::from(fifth) * 8,
        _ => 0,
    };
    if len == 0 { Some(quote) } else { quote.get(..len) }
}

/// Translates an ICMP error (RFC 5508 §4, RFC 3022 §4.3): gives it other addresses, and the packet that it quotes other
/// addresses and ports.
///
/// The quoted packet went the other way. So an error to a translated source gets the destination that the quoted packet gets
/// as its source, and one from behind the translation the source that the quoted packet gets as its destination, unless a
/// router on the way sent it. Checksums are brought up to date where they are within the quote: of its IPv4 header, of its
/// transport, and that of the error itself over all of that. Ports are written where the quote has them.
pub fn translate_error<A: Address>(
    frame: &mut [u8],
    headers: &Headers,
    quoted: &Quoted<A>,
    outer: (A, A),
    inner: &Tuple<A>,
) {
    if headers.network != A::NETWORK {
        return;
    }
    let Some(mut change) = translate_quote(frame, quoted, inner) else { return };
    let packet = frame.get_mut(ETHERNET..).unwrap_or_default();
    let Some(readdressed) = A::replace(packet, outer) else { return };
    let Some(transport) = Transport::of_headers(headers) else { return };
    if transport.has_pseudo_header() {
        change = change.plus(readdressed.pseudo);
    }
    apply(frame, usize::from(headers.l4) + transport.checksum_at(), change);
}

/// Translates the quoted packet alone and returns what that adds to a sum over it; `None`, changing nothing, where the frame
/// ends before its IP header.
fn translate_quote<A: Address>(frame: &mut [u8], quoted: &Quoted<A>, new: &Tuple<A>) -> Option<Sum> {
    let packet = frame.get_mut(quoted.at.into()..quoted.end.into())?;
    let readdressed = A::replace(packet, new.addresses())?;
    let transport = packet.get_mut(usize::from(quoted.l4.checked_sub(quoted.at)?)..)?;
    let change = match quoted.transport() {
        Some(kind) if kind.has_pseudo_header() => kind.renew(transport, new.ports(), readdressed.pseudo),
        Some(kind) => kind.renew(transport, new.ports(), Sum::ZERO),
        None => Sum::ZERO,
    };
    Some(readdressed.header.plus(change))
}

#[cfg(test)]
mod tests;
