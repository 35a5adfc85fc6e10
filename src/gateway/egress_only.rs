//! Egress-only internet gateways: IPv6 out, and only the replies in (GW-21).

use super::{
    internet::out,
    subject::Subject,
    way::{Way, go},
};
use crate::{
    flow::nat::Refusal,
    model::BlockPublicAccess,
    packet::{Buffer, mapped, tcp},
    pipeline::{Context, Reason, Sink},
    tables::{Gateway, Internet, Target},
};

/// Takes a packet through, in either direction.
pub(super) fn pass<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: Way<'_>,
    (gateway, internet): (&Gateway, &Internet),
    subject: &Subject,
    frame: B,
) {
    let vpc = ctx.tables.exits.vpcs.get(&gateway.vni);
    // First of all: a false source outside makes no packet one from inside.
    let inbound = vpc.is_some_and(|vpc| vpc.blocks.contain(way.destination));
    let flags = tcp::flags(frame.data(), &way.headers);
    let admitted = match internet.blocked {
        // GW-25: nothing of this gateway begins outside.
        BlockPublicAccess::Bidirectional => Err(Reason::Bpa),
        BlockPublicAccess::Off | BlockPublicAccess::Ingress if way.destination.is_ipv4() => {
            Err(Reason::GatewayFamily)
        }
        _ if inbound => reply(ctx, &way, gateway, subject, flags),
        _ => request(ctx, &way, gateway, subject, flags),
    };
    match admitted {
        Err(reason) => ctx.drop(way.port, reason, frame),
        Ok(()) if inbound => go(ctx, way, Target::Local, frame),
        Ok(()) => out(ctx, &way, frame),
    }
}

/// Notes a packet that goes out.
fn request<S>(
    ctx: &mut Context<'_, S>,
    way: &Way<'_>,
    gateway: &Gateway,
    subject: &Subject,
    flags: u8,
) -> Result<(), Reason> {
    // GW-9: what an appliance, a peer or a circuit sends on with a source of elsewhere.
    if way.vni != gateway.vni || ctx.tables.owner(gateway.vni, way.source).is_none() {
        return Err(Reason::EdgeToEdge);
    }
    if subject.is_error {
        return Ok(());
    }
    let key = ctx.flows.nat.key(subject.flow(gateway));
    match ctx.flows.nat.outbound(ctx.now, &key, flags, None) {
        // A reset of what is not known ends it for the other side, too.
        Ok(_) | Err(Refusal::NoState) => Ok(()),
        Err(Refusal::Full | Refusal::Ports | Refusal::Reset) => Err(Reason::NatFull),
    }
}

/// Whether a packet from outside is a reply, or an error about what went out.
fn reply<S>(
    ctx: &mut Context<'_, S>,
    way: &Way<'_>,
    gateway: &Gateway,
    subject: &Subject,
    flags: u8,
) -> Result<(), Reason> {
    let flow = subject.flow(gateway);
    let nat = &mut ctx.flows.nat;
    let found = if subject.is_error {
        let about_receiver = subject.tuple.source == mapped(way.destination);
        about_receiver.then(|| nat.find_inside(ctx.now, &nat.key(flow))).flatten()
    } else {
        let key = nat.key(flow.reversed());
        nat.inbound(ctx.now, &key, flags)
    };
    found.map(|_| ()).ok_or(Reason::EigwUnsolicited)
}
