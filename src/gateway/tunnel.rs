//! GRE tunnels of Connect attachments (PT-20): IP packets to and from an appliance, over a circuit's link.

use super::way::Way;
use crate::{
    packet::{Buffer, ETHERNET, Gre, Headers, Network, endpoints, ethertype, mapped, parse},
    pipeline::Reason,
    tables::Tunnel,
};

/// What came in by a tunnel.
pub(super) enum Inside {
    /// A packet for Warren's end of a BGP session, still with its outer header: the routing daemon has the tunnel too.
    Control,
    /// Any other, of which the buffer has only the inner packet now.
    Packet(Headers),
}

/// Opens a GRE packet that [`parse`] found in a frame.
///
/// # Errors
///
/// As [`Gre::parse`]; [`Reason::Gre`] of another tunnel's.
pub(super) fn open<B: Buffer>(tunnel: &Tunnel, headers: &Headers, frame: &mut B) -> Result<Inside, Reason> {
    let gre = Gre::parse(frame.data(), headers, frame.ip_checksum())?;
    let ends = (mapped(tunnel.peer), mapped(tunnel.address));
    if (gre.source, gre.destination) != ends || gre.key.is_some() {
        return Err(Reason::Gre);
    }
    if is_control(tunnel, &gre, frame.data()) {
        return Ok(Inside::Control);
    }
    gre.strip(frame)?;
    parse(frame.data()).map(Inside::Packet)
}

/// Whether the inner packet is for Warren itself.
fn is_control(tunnel: &Tunnel, gre: &Gre, frame: &[u8]) -> bool {
    let network = if gre.ethertype == ethertype::IPV6 { Network::Ipv6 } else { Network::Ipv4 };
    // As long as an Ethernet header is what stands before the inner packet; its addresses are read only.
    let inner = usize::from(gre.inner).checked_sub(ETHERNET).and_then(|start| frame.get(start..));
    let destination = inner.and_then(|inner| Some(endpoints(inner, network)?.1));
    destination.is_some_and(|destination| tunnel.inside.contains(&destination))
}

/// Puts a packet into a tunnel.
///
/// # Errors
///
/// As [`crate::packet::GreTemplate::encapsulate`], and [`parse`].
pub(super) fn enter<B: Buffer>(tunnel: &Tunnel, way: &Way<'_>, frame: &mut B) -> Result<(), Reason> {
    // Of what was cut, each fragment has headers of its own.
    let headers = parse(frame.data())?;
    tunnel.template.encapsulate(frame, &headers, way.flow)
}

/// Octets that a packet grows by.
pub(super) fn overhead(tunnel: &Tunnel) -> u16 {
    tunnel.template.header_len().saturating_sub(ETHERNET) as u16
}
