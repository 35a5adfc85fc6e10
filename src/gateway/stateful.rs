//! Gateways that remember flows: whose share a packet is in, and the state of a worker's shares.
//!
//! A flow's share is the same wherever it is computed, at the sender's node as at any that serves the gateway, so that all its
//! packets meet at one worker of one node ([`crate::tables::SHARES`]).

use std::time::Duration;

use super::{
    egress_only, nat,
    subject::Subject,
    way::{Way, to_host},
};
use crate::{
    flow::{
        Datagram, Fragments,
        nat::{Nat, NatStats},
    },
    packet::{Buffer, Sender, set_macs},
    pipeline::{AtGateway, Context, Reason, Sink},
    tables::{Gateway, GatewayIndex, GatewayKind, Seat, worker_of_share},
};

/// Datagrams in fragments that a worker follows at once.
const DATAGRAMS: usize = 4096;

/// What a worker remembers of the flows through gateways.
pub struct Flows {
    pub(super) nat: Nat,
    pub(super) fragments: Fragments,
    /// Of the next IPv4 packet that is made of one of IPv6 without such (RFC 7915 §5.1).
    identification: u16,
}

impl Flows {
    /// Room for that many flows at once; a worker of a node that serves no such gateway needs none.
    pub fn new(bindings: u32) -> Self {
        Self { nat: Nat::new(bindings), fragments: Fragments::new(DATAGRAMS), identification: 0 }
    }

    /// Whether it may hold any flows: a worker of a node that serves no such gateway has none to see to.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.nat.stats().capacity > 0
    }

    /// Removes some of the flows that have been idle for too long: to be called once a round.
    #[inline]
    pub fn advance(&mut self, now: Duration) {
        // More than begin in a round.
        const BUDGET: u32 = 64;
        self.nat.advance(now, BUDGET);
    }

    /// The first fragments that were seen lately.
    #[inline]
    pub(crate) fn fragments(&mut self) -> &mut Fragments {
        &mut self.fragments
    }

    /// Whether the first fragment of a datagram was seen lately.
    #[inline]
    pub(crate) fn knows_first(&self, now: Duration, datagram: &Datagram) -> bool {
        self.fragments.find(now, datagram).is_some()
    }

    /// What the table of bindings has done.
    #[inline]
    pub fn stats(&self) -> NatStats {
        self.nat.stats()
    }

    pub(super) fn next_identification(&mut self) -> u16 {
        self.identification = self.identification.wrapping_add(1);
        self.identification
    }
}

/// Takes a packet into a NAT gateway or an egress-only internet gateway that this node serves.
pub(super) fn enter<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: Way<'_>,
    (index, gateway): (GatewayIndex, &Gateway),
    frame: B,
) {
    let Some((subject, frame)) = subject_of(ctx, &way, gateway, frame) else { return };
    let share = subject.share(gateway, &way);
    // Only who has the share may use its ports.
    let Some(frame) = at_seat(ctx, &way, gateway, gateway.seat(share), frame) else { return };
    let (worker, workers) = ctx.sink.workers();
    if worker_of_share(share, workers) != worker {
        return ctx.sink.hand_share(share, way.at(index), frame);
    }
    let way = Way { sender: Sender { vni: gateway.vni, mac: gateway.mac }, eni: None, ..way };
    match &gateway.kind {
        GatewayKind::Nat(nat) => nat::pass(ctx, way, (gateway, nat), (subject, share), frame),
        GatewayKind::EgressOnly(internet) => {
            egress_only::pass(ctx, way, (gateway, internet), &subject, frame);
        }
        GatewayKind::Internet(_) | GatewayKind::Outside(_) | GatewayKind::LoadBalancer(_) => {
            ctx.drop(way.port, Reason::NotServed, frame);
        }
    }
}

/// What a packet is of that comes into a gateway which sends it on in its own VPC. Nobody else's host may send it there (P-4).
pub(super) fn subject_of<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: &Way<'_>,
    gateway: &Gateway,
    frame: B,
) -> Option<(Subject, B)> {
    let subject = match way.vni == gateway.vni {
        true => Subject::of(ctx.flows, ctx.now, gateway, way, frame.data()),
        false => Err(Reason::EdgeToEdge),
    };
    match subject {
        Ok(subject) => Some((subject, frame)),
        Err(reason) => {
            ctx.drop(way.port, reason, frame);
            None
        }
    }
}

/// Keeps a packet in a gateway if what has it is at this node. If not, its sender's tables are older or newer: passes it on, once.
pub(super) fn at_seat<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: &Way<'_>,
    gateway: &Gateway,
    seat: Seat,
    mut frame: B,
) -> Option<B> {
    match seat {
        Seat::Here => return Some(frame),
        Seat::Host(host) if !way.passed_on => {
            set_macs(frame.data_mut(), gateway.mac, gateway.mac);
            to_host(ctx, way, host, frame);
        }
        Seat::Host(_) | Seat::Nobody => ctx.drop(way.port, Reason::NotServed, frame),
    }
    None
}

/// Takes a packet into a gateway that another worker gave to this one, whose share it is in.
pub fn resume<B: Buffer, S: Sink<B>>(ctx: &mut Context<'_, S>, at: AtGateway, frame: B) {
    let tables = ctx.tables;
    let Some(gateway) = tables.exits.gateway(at.gateway).filter(|gateway| gateway.served_here) else {
        return ctx.drop(at.port, Reason::NotServed, frame);
    };
    match Way::read(at.port, Sender { vni: at.vni, mac: gateway.mac }, at.vni, frame.data()) {
        Ok(way) => enter(ctx, way, (at.gateway, gateway), frame),
        Err(reason) => ctx.drop(at.port, reason, frame),
    }
}
