//! NAT gateways (GW-10 to GW-20).

use super::way::Way;
use crate::{
    packet::Buffer,
    pipeline::{Context, Reason, Sink},
    tables::{Gateway, GatewayIndex, NatGateway},
};

/// The NAT port that a packet to a NAT gateway's own address is for.
pub(super) fn port_of(way: &Way<'_>, _frame: &[u8]) -> Option<u16> {
    Some(way.headers.destination_port)
}

/// Takes a packet through, in either direction.
pub(super) fn pass<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: Way<'_>,
    (_, _, _): (GatewayIndex, &Gateway, &NatGateway),
    _share: u8,
    frame: B,
) {
    ctx.drop(way.port, Reason::NatNoState, frame);
}
