//! Egress-only internet gateways: IPv6 out, and only the replies in (GW-21).

use super::{
    internet::out,
    way::{Way, go},
};
use crate::{
    model::BlockPublicAccess,
    packet::{Buffer, Tuple},
    pipeline::{Context, Reason, Sink},
    tables::{Gateway, GatewayIndex, Internet, Target},
};

/// Takes a packet through, in either direction.
pub(super) fn pass<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: Way<'_>,
    (_, gateway, internet): (GatewayIndex, &Gateway, &Internet),
    frame: B,
) {
    let blocks = ctx.tables.exits.vpcs.get(&gateway.vni).map(|vpc| &vpc.blocks);
    let (from_inside, to_inside) =
        blocks.map_or((false, false), |blocks| (blocks.contain(way.source), blocks.contain(way.destination)));
    let passed = match Tuple::<u128>::of(frame.data(), &way.headers) {
        _ if internet.blocked == BlockPublicAccess::Bidirectional => Err(Reason::Bpa),
        None => Err(Reason::GatewayFamily),
        // GW-9.
        _ if !from_inside && !to_inside => Err(Reason::EdgeToEdge),
        Some(_) => Err(Reason::EigwUnsolicited),
    };
    match passed {
        Err(reason) => ctx.drop(way.port, reason, frame),
        Ok(()) if from_inside => out(ctx, &way, frame),
        Ok(()) => go(ctx, way, Target::Local, frame),
    }
}
