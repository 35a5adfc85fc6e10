//! Packets that are too long for their way beyond the sender's own node: the edge tells whoever sent them, outside or at another
//! node (MTU-3, MTU-4). Nobody is told of a flow through a NAT gateway, whose sender knows other addresses and ports than are
//! left of them here.

use std::net::IpAddr;

use super::{
    outside::transmit,
    way::{Entry, Way, to_eni},
};
use crate::{
    packet::{Buffer, Mac, Tuple, icmp, translate},
    pipeline::{Context, Reason, Sink, may_tell},
    services::nd,
    tables::{Place, Role, Tables, Tunnel, Wire},
};

/// Drops a packet that is longer than `mtu`, and tells its sender.
#[cold]
#[inline(never)]
pub(super) fn refuse<B: Buffer, S: Sink<B>>(ctx: &mut Context<'_, S>, way: &Way<'_>, mtu: u16, frame: B) {
    ctx.dropped(way.port, Reason::MtuDf, &frame);
    if way.gateways > 0 || !icmp::may_answer(frame.data(), &way.headers) || !may_tell(ctx, way.port) {
        return;
    }
    match way.entry {
        Some(entry) => outward(ctx, way, entry, mtu, frame),
        None => inward(ctx, way, mtu, frame),
    }
}

/// Tells a sender outside, by the link that the packet came in by.
fn outward<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: &Way<'_>,
    entry: Entry,
    mtu: u16,
    mut frame: B,
) {
    let Some(link) = link(ctx.tables, way, entry.vlan) else { return };
    // It is about the packet as it was sent: with the public address.
    if let (IpAddr::V4(address), Some(tuple)) =
        (entry.destination, Tuple::<u32>::of(frame.data(), &way.headers))
    {
        translate(frame.data_mut(), &way.headers, &Tuple { destination: address.to_bits(), ..tuple });
    }
    if !icmp::too_big(&mut frame, &way.headers, (Mac::ZERO, link.own), Mac::ZERO, mtu) {
        return;
    }
    if let Ok(way) = Way::read(way.port, way.sender, way.vni, frame.data()) {
        transmit(ctx, &way, (way.port, entry.vlan, link.hop), link.tunnel, frame);
    }
}

/// A link to a sender outside.
struct Link<'t> {
    /// The node's address there, of the packet's family.
    own: IpAddr,
    /// The next hop.
    hop: IpAddr,
    tunnel: Option<&'t Tunnel>,
}

fn link<'t>(tables: &'t Tables, way: &Way<'_>, vlan: u16) -> Option<Link<'t>> {
    let of_family = |address: &IpAddr| address.is_ipv4() == way.source.is_ipv4();
    match tables.exits.wires.get(&(way.port, vlan))? {
        Wire::Internet => {
            let Role::Gateway(port) = &tables.port(way.port)?.role else { return None };
            let own = port.addresses.iter().map(ipnet::IpNet::addr).find(of_family)?;
            Some(Link { own, hop: port.next_hop(way.source)?, tunnel: None })
        }
        Wire::Circuit(index, _) => {
            let circuit = tables.exits.circuit(*index)?;
            let tunnel = circuit.tunnel.as_deref();
            let own = match tunnel {
                Some(tunnel) => tunnel.inside.iter().copied().find(of_family)?,
                None => Some(circuit.address).filter(of_family)?,
            };
            Some(Link { own, hop: circuit.peer, tunnel })
        }
    }
}

/// Tells an ENI of another node, as its subnet's router.
fn inward<B: Buffer, S: Sink<B>>(ctx: &mut Context<'_, S>, way: &Way<'_>, mtu: u16, mut frame: B) {
    let tables = ctx.tables;
    let Some(to) = tables.owner(way.vni, way.source) else { return };
    if !matches!(to.location.place(), Place::Local(_) | Place::Remote(_)) {
        return;
    }
    let router: Option<IpAddr> = match way.source {
        IpAddr::V4(_) => tables.exits.subnet(to.subnet).and_then(|subnet| subnet.router_v4).map(Into::into),
        IpAddr::V6(_) => Some(nd::ROUTER.into()),
    };
    let told = router
        .is_some_and(|router| icmp::too_big(&mut frame, &way.headers, (to.router_mac, router), to.mac, mtu));
    if let (true, Ok(way)) = (told, Way::read(way.port, way.sender, way.vni, frame.data())) {
        to_eni(ctx, &way, to, frame);
    }
}
