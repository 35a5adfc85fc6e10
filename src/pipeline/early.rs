//! Later fragments that come before their first one, which alone tells their ports: they wait for it a little, in the worker (SEC-15).

use std::time::Duration;

use arrayvec::ArrayVec;

use super::{
    AtEni, Context, Reason, Sink, egress, ingress, security,
    spread::{self, By},
};
use crate::{flow::Datagram, packet::Buffer, tables::Direction};

/// Fragments of a datagram that wait at most.
pub const EARLY: usize = 8;

/// Where fragments wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Early {
    /// The datagram that they are of.
    pub datagram: Datagram,
    /// The ENI that would not let them pass by themselves.
    pub at: AtEni,
}

/// Fragments of a datagram that need not wait any more.
pub struct Due<B> {
    /// Where they have waited.
    pub early: Early,
    /// As they came.
    pub frames: ArrayVec<B, EARLY>,
    /// Whether the first fragment has not come.
    pub in_vain: bool,
}

/// Drops a packet that may not pass at an ENI, but for a fragment that is early: it waits.
#[cold]
#[inline(never)]
pub(super) fn turn_away<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    at: AtEni,
    reason: Reason,
    frame: B,
) {
    let datagram = match reason {
        Reason::FragOrphan => security::datagram_of(at.direction, at.port, frame.data()),
        _ => None,
    };
    let Some(datagram) = datagram else { return ctx.drop(at.port, reason, frame) };
    let now = ctx.now;
    if let Err(frame) = ctx.sink.hold(Early { datagram, at }, now, frame) {
        ctx.drop(at.port, reason, frame);
    }
}

/// Takes on the fragments that need not wait any more: to be called once a round.
#[inline]
pub fn resume_early<B: Buffer, S: Sink<B>>(ctx: &mut Context<'_, S>) {
    while let Some(due) = next(ctx) {
        resume(ctx, due);
    }
}

#[inline]
fn next<B, S: Sink<B>>(ctx: &mut Context<'_, S>) -> Option<Due<B>> {
    let (flows, now): (_, Duration) = (&*ctx.flows, ctx.now);
    ctx.sink.due(now, |early| flows.knows_first(now, &early.datagram))
}

#[cold]
#[inline(never)]
fn resume<B: Buffer, S: Sink<B>>(ctx: &mut Context<'_, S>, due: Due<B>) {
    let tables = ctx.tables;
    let at = due.early.at;
    let AtEni { port, direction, vni } = at;
    for frame in due.frames {
        match (direction, tables.port(port), tables.local_eni(port)) {
            _ if due.in_vain => ctx.drop(port, Reason::FragOrphan, frame),
            (Direction::Egress, Some(from), Some(eni)) => {
                match spread::elsewhere(ctx, at, Some(eni), By::Itself, frame.data()) {
                    Some(part) => ctx.sink.hand_over(part, at, frame),
                    None => egress::again(ctx, port, from.vlan, eni, frame),
                }
            }
            (Direction::Egress, ..) => ctx.drop(port, Reason::NoEni, frame),
            (Direction::Ingress, ..) => ingress::pass_on(ctx, port, vni, frame),
        }
    }
}
