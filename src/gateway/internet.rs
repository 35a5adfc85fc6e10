//! Internet gateways: 1:1 translation between private and public IPv4 addresses, IPv6 as it is (GW-1 to GW-9).

use std::net::IpAddr;

use super::{
    outside::{self, next_hop},
    way::{Way, go},
};
use crate::{
    model::BlockPublicAccess,
    packet::{Buffer, Headers, Sender, Tuple, ipv4_addresses, is_error, quoted, translate, translate_error},
    pipeline::{Context, Reason, Sink, Step},
    tables::{Gateway, GatewayIndex, GatewayKind, Internet, Place, Target},
};

/// Takes a packet from a VPC out.
pub(super) fn leave<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    mut way: Way<'_>,
    (gateway, internet): (&Gateway, &Internet),
    mut frame: B,
) {
    if let Err(reason) = outward(ctx, &mut way, gateway, internet, &mut frame) {
        return ctx.drop(way.port, reason, frame);
    }
    // GW-5: to a public address of the node's own network, without a way outside.
    match inward_gateway(ctx, way.destination) {
        Some(index) if ctx.tables.exits.serves(index) => arrive(ctx, way, frame),
        _ => out(ctx, &way, frame),
    }
}

/// What leaves through the port that leads to a destination.
pub(super) fn out<B: Buffer, S: Sink<B>>(ctx: &mut Context<'_, S>, way: &Way<'_>, frame: B) {
    let tables = ctx.tables;
    let found =
        tables.exits.internet.iter().find_map(|&port| Some((port, next_hop(tables, port, way.destination)?)));
    match found {
        Some((port, hop)) => outside::transmit(ctx, way, (port, 0, hop), None, frame),
        None => ctx.drop(way.port, Reason::UnderlayUnreachable, frame),
    }
}

/// Gives a packet from a VPC its public source address.
fn outward<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: &mut Way<'_>,
    gateway: &Gateway,
    internet: &Internet,
    frame: &mut B,
) -> Result<(), Reason> {
    let exits = &ctx.tables.exits;
    let vpc = exits.vpcs.get(&gateway.vni).ok_or(Reason::Blackhole)?;
    // GW-9: what an appliance, a peer or a circuit sends on with a source of elsewhere.
    if gateway.vni != way.vni || !vpc.blocks.contain(way.source) {
        return Err(Reason::EdgeToEdge);
    }
    let owner = ctx.tables.owner(way.vni, way.source);
    let nat = owner.is_some_and(|owner| matches!(owner.location.place(), Place::Gateway(_)));
    blocked(internet, nat)?;
    if way.source.is_ipv6() {
        return owner.map(|_| ()).ok_or(Reason::EdgeToEdge);
    }
    let (source, destination) = ipv4_addresses(frame.data());
    // GW-2, GW-17.
    let public = exits.public_of(way.vni, source).ok_or(Reason::IgwNoPublic)?;
    readdress(frame.data_mut(), &way.headers, (public, destination));
    way.readdressed(frame.data());
    ctx.sink.note(Step::Translated(way.source, way.destination));
    Ok(())
}

/// GW-25: in the mode that blocks what begins outside, only NAT gateways still pass.
fn blocked(internet: &Internet, nat: bool) -> Result<(), Reason> {
    match internet.blocked {
        BlockPublicAccess::Off => Ok(()),
        BlockPublicAccess::Ingress if nat => Ok(()),
        BlockPublicAccess::Ingress | BlockPublicAccess::Bidirectional => Err(Reason::Bpa),
    }
}

/// The gateway by which a packet from outside reaches a public address.
pub(super) fn inward_gateway<S>(ctx: &Context<'_, S>, destination: IpAddr) -> Option<GatewayIndex> {
    let exits = &ctx.tables.exits;
    match destination {
        IpAddr::V4(address) => exits.publics.get(&address.to_bits())?.gateway,
        IpAddr::V6(address) => {
            let vpc = exits.vpcs.get(&exits.public_v6.lookup_v6(address.to_bits())?)?;
            vpc.internet.or(vpc.egress_only)
        }
    }
}

/// Takes a packet from outside to a public address in (GW-3, GW-6). The VPC and the sender of `way` are anything.
pub(super) fn arrive<B: Buffer, S: Sink<B>>(ctx: &mut Context<'_, S>, mut way: Way<'_>, mut frame: B) {
    match inward(ctx, &mut way, &mut frame) {
        Ok(Inward::Route(target)) => go(ctx, way, target, frame),
        Ok(Inward::EgressOnly(index)) => super::way::to_gateway(ctx, way, index, frame),
        Err(reason) => ctx.drop(way.port, reason, frame),
    }
}

/// Where a packet from outside goes on.
enum Inward {
    /// Where the gateway route table says, or to the ENI itself.
    Route(Target),
    /// To the egress-only internet gateway, which admits replies.
    EgressOnly(GatewayIndex),
}

fn inward<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: &mut Way<'_>,
    frame: &mut B,
) -> Result<Inward, Reason> {
    let exits = &ctx.tables.exits;
    // GW-9: nothing of the VPC's own comes from outside.
    let is_false = |vni, source| exits.vpcs.get(&vni).is_some_and(|vpc| vpc.blocks.contain(source));
    let index = match way.destination {
        IpAddr::V4(address) => {
            let private = exits.publics.get(&address.to_bits()).ok_or(Reason::IgwNoPublic)?;
            if is_false(private.vni, way.source) {
                return Err(Reason::EdgeToEdge);
            }
            let (source, _) = ipv4_addresses(frame.data());
            readdress(frame.data_mut(), &way.headers, (source, private.address));
            way.readdressed(frame.data());
            way.vni = private.vni;
            private.gateway.ok_or(Reason::IgwNoPublic)?
        }
        IpAddr::V6(address) => {
            let vni = exits.public_v6.lookup_v6(address.to_bits()).ok_or(Reason::IgwNoPublic)?;
            let vpc = exits.vpcs.get(&vni).ok_or(Reason::IgwNoPublic)?;
            if is_false(vni, way.source) {
                return Err(Reason::EdgeToEdge);
            }
            way.vni = vni;
            // GW-21: a subnet that answers through the egress-only gateway is reached by replies only.
            let answers = ctx.tables.owner(vni, way.destination).and_then(|owner| exits.subnet(owner.subnet));
            let back = answers.and_then(|subnet| subnet.routes.lookup(way.source));
            match (back, vpc.egress_only, vpc.internet) {
                (Some(Target::Gateway(back)), Some(egress_only), _) if back == egress_only => {
                    return Ok(Inward::EgressOnly(egress_only));
                }
                (_, Some(egress_only), None) => return Ok(Inward::EgressOnly(egress_only)),
                (_, _, internet) => internet.ok_or(Reason::IgwNoPublic)?,
            }
        }
    };
    let gateway = exits.gateway(index).filter(|gateway| gateway.served_here).ok_or(Reason::NotServed)?;
    ctx.sink.note(Step::Gateway(gateway));
    let GatewayKind::Internet(internet) = &gateway.kind else { return Err(Reason::NotServed) };
    let owner = ctx.tables.owner(way.vni, way.destination);
    blocked(internet, owner.is_some_and(|owner| matches!(owner.location.place(), Place::Gateway(_))))?;
    if way.destination.is_ipv4() {
        ctx.sink.note(Step::Translated(way.source, way.destination));
    }
    way.sender = Sender { vni: way.vni, mac: gateway.mac };
    // ING-1: read for what comes in through the gateway, after the translation.
    let target = internet.ingress.as_ref().map_or(Some(Target::Local), |table| table.lookup(way.destination));
    Ok(Inward::Route(target.unwrap_or(Target::Local)))
}

/// Gives an IPv4 packet other addresses, and what an ICMP error quotes the same in the other direction (GW-4, GW-8).
fn readdress(frame: &mut [u8], headers: &Headers, (source, destination): (u32, u32)) {
    let Some(old) = Tuple::<u32>::of(frame, headers) else { return };
    if let Some(quote) = is_error(headers).then(|| quoted::<u32>(frame, headers)).flatten() {
        let mut inner = quote.addresses();
        if inner.destination == old.source {
            inner.destination = source;
        }
        if inner.source == old.destination {
            inner.source = destination;
        }
        translate_error(frame, headers, &quote, (source, destination), &inner);
    } else {
        translate(frame, headers, &Tuple { source, destination, ..old });
    }
}
