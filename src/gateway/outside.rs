//! Circuits: virtual private gateways, what ends at a transit gateway from outside, gateway endpoints; and the frames that
//! leave on gateway ports.

use std::{net::IpAddr, sync::Arc};

use super::{
    route::through,
    tunnel,
    way::{Way, fit_to, go, to_host},
};
use crate::{
    packet::{Buffer, Sender, push_vlan, set_macs},
    pipeline::{Context, News, Reason, Sink, Step},
    tables::{
        Circuit, CircuitIndex, CircuitKind, CircuitSet, Exits, Gateway, GatewayIndex, GatewayKind, Lpm,
        Outside, OutsideKind, PortIndex, Role, Seat, Tables, Target, Tunnel,
    },
};

/// The address to send to, on the untagged link of a gateway port, for a destination.
pub(super) fn next_hop(tables: &Tables, port: PortIndex, destination: IpAddr) -> Option<IpAddr> {
    match &tables.port(port)?.role {
        Role::Gateway(outside) => outside.next_hop(destination),
        _ => None,
    }
}

/// Sends a packet on a VLAN of a gateway port to a next hop, in a tunnel or as it is.
pub(super) fn transmit<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: &Way<'_>,
    (port, vlan, hop): (PortIndex, u16, IpAddr),
    tunnel: Option<&Tunnel>,
    frame: B,
) {
    let tables = ctx.tables;
    let Some(Role::Gateway(outside)) = tables.port(port).map(|port| &port.role) else {
        return ctx.drop(way.port, Reason::UnderlayUnreachable, frame);
    };
    let Some(&neighbour) = tables.outside.get(&(port, vlan, hop)) else {
        ctx.sink.tell(News::Wanted(port, vlan, hop));
        return ctx.drop(way.port, Reason::UnderlayUnresolved, frame);
    };
    let from = way.port;
    let mtu = outside.mtu.saturating_sub(tunnel.map_or(0, tunnel::overhead));
    fit_to(ctx, way, mtu, frame, |ctx, mut frame| {
        if let Some(Err(reason)) = tunnel.map(|tunnel| tunnel::enter(tunnel, way, &mut frame)) {
            return ctx.drop(from, reason, frame);
        }
        set_macs(frame.data_mut(), neighbour, outside.mac);
        ctx.sink.note(Step::Outside(port, vlan));
        send_tagged(ctx, from, (port, vlan), frame);
    });
}

/// Sends a frame on a VLAN of a port, 0 for none. What can't be is counted at the port `from`.
pub(super) fn send_tagged<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    from: PortIndex,
    (port, vlan): (PortIndex, u16),
    mut frame: B,
) {
    let tagged = if vlan == 0 { Ok(()) } else { push_vlan(&mut frame, vlan) };
    match tagged {
        Ok(()) => ctx.sink.transmit(port, frame),
        Err(reason) => ctx.drop(from, reason, frame),
    }
}

/// Takes a packet out by the circuits that lead to its destination.
pub(super) fn leave<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: Way<'_>,
    (gateway, outside): (&Gateway, &Outside),
    frame: B,
) {
    let exits = &ctx.tables.exits;
    let of_vpc = || {
        way.vni == gateway.vni && exits.vpcs.get(&way.vni).is_some_and(|vpc| vpc.blocks.contain(way.source))
    };
    let refused = match outside.kind {
        // BGP-7.
        OutsideKind::Private if way.destination.is_ipv6() => Some(Reason::GatewayFamily),
        // GW-9, BGP-4. Of what another node passes on, it has been seen to.
        OutsideKind::Private if !(way.passed_on || of_vpc()) => Some(Reason::EdgeToEdge),
        OutsideKind::Endpoint if !(way.passed_on || of_vpc()) => Some(Reason::EndpointSource),
        OutsideKind::Private | OutsideKind::Endpoint | OutsideKind::Transit => None,
    };
    match refused {
        Some(reason) => ctx.drop(way.port, reason, frame),
        None => by_circuit(ctx, way, (gateway, outside), |_| true, frame),
    }
}

/// Sends a packet by one of the circuits that lead to its destination and are of the right kind.
fn by_circuit<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    mut way: Way<'_>,
    (gateway, outside): (&Gateway, &Outside),
    right: impl Fn(&Circuit) -> bool,
    mut frame: B,
) {
    let exits = &ctx.tables.exits;
    let Some(set) = outside.routes.lookup(way.destination) else {
        return ctx.drop(way.port, Reason::NoRoute, frame);
    };
    let here = |circuit: &Circuit| circuit.seat == Seat::Here;
    let usable = |circuit: &Circuit| circuit.up && right(circuit);
    let mut chosen = choose(exits, outside, set, way.flow, usable);
    // Who passed it on chose as this node does, but while one of them has older tables. It goes no further.
    if way.passed_on && !chosen.is_some_and(here) {
        chosen = choose(exits, outside, set, way.flow, |circuit| usable(circuit) && here(circuit));
    }
    let Some(circuit) = chosen else {
        return ctx.drop(way.port, Reason::Blackhole, frame);
    };
    way.sender = Sender { vni: way.vni, mac: gateway.mac };
    match circuit.seat {
        Seat::Here => {
            way.mtu = way.mtu.min(circuit.mtu);
            let link = (circuit.port, circuit.vlan, circuit.peer);
            transmit(ctx, &way, link, circuit.tunnel.as_deref(), frame);
        }
        Seat::Host(host) => {
            set_macs(frame.data_mut(), gateway.mac, gateway.mac);
            to_host(ctx, &way, host, frame);
        }
        Seat::Nobody => ctx.drop(way.port, Reason::Blackhole, frame),
    }
}

/// One of the circuits of a set: the first, or by flow where equal ones share (PT-15, RT-20).
fn choose<'t>(
    exits: &'t Exits,
    outside: &Outside,
    set: CircuitSet,
    flow: u32,
    usable: impl Fn(&Circuit) -> bool,
) -> Option<&'t Circuit> {
    let candidates = || {
        let members = outside.circuits.iter().zip(0..).filter(|(_, bit)| set.0 & 1 << bit != 0);
        members.filter_map(|(&index, _)| exits.circuit(index)).filter(|circuit| usable(circuit))
    };
    // Other bits than those that chose the attachment and the node: all of its circuits have some of these flows.
    let chosen = if outside.ecmp { (flow >> 8) as usize % candidates().count().max(1) } else { 0 };
    candidates().nth(chosen)
}

/// Takes a packet that came over a circuit in. The VPC and the sender of `way` are anything.
pub(super) fn arrive<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: Way<'_>,
    (circuit, leads_to): (CircuitIndex, &Arc<Lpm<GatewayIndex>>),
    frame: B,
) {
    let exits = &ctx.tables.exits;
    let found = leads_to.lookup(way.destination).and_then(|index| exits.gateway(index));
    let Some(gateway) = found else {
        // BGP-10: what is behind the other circuits of a Direct Connect gateway is none of its ways.
        return ctx.drop(way.port, Reason::EdgeToEdge, frame);
    };
    let (GatewayKind::Outside(outside), Some(circuit)) = (&gateway.kind, exits.circuit(circuit)) else {
        return ctx.drop(way.port, Reason::GatewayPort, frame);
    };
    ctx.sink.note(Step::Gateway(gateway));
    let sender = Sender { vni: gateway.vni, mac: gateway.mac };
    let mut way = Way { vni: gateway.vni, sender, ..way };
    let in_vpc = exits.vpcs.get(&gateway.vni).is_some_and(|vpc| vpc.blocks.contain(way.destination));
    match outside.kind {
        OutsideKind::Private if way.destination.is_ipv6() => ctx.drop(way.port, Reason::GatewayFamily, frame),
        OutsideKind::Private | OutsideKind::Endpoint if in_vpc => {
            // ING-1.
            let table = outside.ingress.as_ref();
            let target = table.and_then(|table| table.lookup(way.destination)).unwrap_or(Target::Local);
            go(ctx, way, target, frame);
        }
        // BGP-4: from one VPN to another, and nowhere else.
        OutsideKind::Private if circuit.kind == CircuitKind::Vpn => {
            let vpn = |circuit: &Circuit| circuit.kind == CircuitKind::Vpn;
            by_circuit(ctx, way, (gateway, outside), vpn, frame);
        }
        OutsideKind::Private | OutsideKind::Endpoint => ctx.drop(way.port, Reason::EdgeToEdge, frame),
        OutsideKind::Transit => {
            let attachment = outside.attachment.ok_or(Reason::Blackhole);
            match attachment.and_then(|attachment| through(ctx.tables, &mut way, attachment, ctx.sink)) {
                Ok(target) => go(ctx, way, target, frame),
                Err(reason) => ctx.drop(way.port, reason, frame),
            }
        }
    }
}
