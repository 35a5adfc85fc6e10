//! Gateways that remember flows: whose share a packet is in, and the state of a worker's shares.

use super::{
    egress_only, nat,
    way::{Way, share},
};
use crate::{
    flow::nat::Nat,
    packet::{Buffer, Sender, parse},
    pipeline::{AtGateway, Context, Reason, Sink},
    tables::{Gateway, GatewayIndex, GatewayKind},
};

/// What a worker remembers of the flows through gateways.
pub struct Flows {
    pub(super) nat: Nat,
}

impl Flows {
    /// Room for that many flows at once; a worker of a node that serves no such gateway needs none.
    pub fn new(bindings: u32) -> Self {
        Self { nat: Nat::new(bindings) }
    }
}

/// Takes a packet into a NAT gateway or an egress-only internet gateway that this node serves.
pub(super) fn enter<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: Way<'_>,
    (index, gateway): (GatewayIndex, &Gateway),
    frame: B,
) {
    let share = share(gateway, &way, frame.data());
    if !ctx.sink.owns_share(share) {
        return ctx.sink.hand_share(share, way.at(index), frame);
    }
    let way = Way { sender: Sender { vni: way.vni, mac: gateway.mac }, eni: None, ..way };
    match &gateway.kind {
        GatewayKind::Nat(nat) => nat::pass(ctx, way, (index, gateway, nat), share, frame),
        GatewayKind::EgressOnly(internet) => egress_only::pass(ctx, way, (index, gateway, internet), frame),
        GatewayKind::Internet(_) | GatewayKind::Outside(_) => ctx.drop(way.port, Reason::NotServed, frame),
    }
}

/// Takes a packet into a gateway that another worker gave to this one, whose share it is in.
pub fn resume<B: Buffer, S: Sink<B>>(ctx: &mut Context<'_, S>, at: AtGateway, frame: B) {
    let tables = ctx.tables;
    let gateway = tables.exits.gateway(at.gateway).filter(|gateway| gateway.served_here);
    let way = gateway.zip(parse(frame.data()).ok()).and_then(|(gateway, headers)| {
        let sender = Sender { vni: at.vni, mac: gateway.mac };
        Some((gateway, Way::new(at.port, sender, at.vni, headers, frame.data())?))
    });
    match way {
        Some((gateway, way)) => enter(ctx, way, (at.gateway, gateway), frame),
        None => ctx.drop(at.port, Reason::NotServed, frame),
    }
}
