//! Which of its workers a packet of an ENI belongs to, where several share its flows (`Workers`).
//!
//! The flow decides, by a hash that is the same in both directions, and for an ICMP error the flow that it is about: so one worker
//! has all there is to know of a connection. Later fragments do not tell their flow. All those of a datagram go to the worker that
//! their addresses name; it learns the ports from the first one, and hands all to the worker that has the flow.

use super::{AtEni, Burst, Context, Reason, Sink, egress::parse_frame, security::Seen};
use crate::{
    packet::{Buffer, Fragment, Plain, flow_hash, parse},
    tables::{LocalEni, VlanMode},
};

/// How a packet came to this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// From a port, or from this worker's own work.
    Itself,
    /// From another worker, which found it to be this one's.
    Worker,
}

/// Whose a packet of an ENI is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// This worker's.
    Ours,
    /// That of the worker with a part of the ENI's flows.
    Part(u8),
    /// Nobody's: it has a second tag, which nobody must take for the first.
    Tagged,
}

/// Keeps what is this worker's of the packets that an ENI has sent, and hands over the rest.
#[inline(never)]
pub(super) fn leave<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    at: AtEni,
    vlan: VlanMode,
    eni: &LocalEni,
    by: By,
    burst: &mut Burst<B>,
) {
    for frame in std::mem::take(burst) {
        burst.extend(keep(ctx, at, vlan, eni, by, frame));
    }
}

/// Whether others' packets are among those that an ENI has sent, by a look at the first ones: no queue of a network card sorts them then,
/// and it is cheaper to tell them apart before they are looked at further.
#[inline]
pub(super) fn seem_mixed<B: Buffer, S: Sink<B>>(
    ctx: &Context<'_, S>,
    at: AtEni,
    eni: &LocalEni,
    burst: &[B],
) -> bool {
    const FIRST: usize = 2;
    let mut first = burst.iter().take(FIRST).filter_map(|frame| Plain::of(frame.data()));
    first.any(|plain| !ctx.sink.owns(at.port, part(eni, plain.flow_hash())))
}

/// Keeps a packet if it is this worker's, or hands it over.
#[inline]
pub(super) fn keep<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    at: AtEni,
    vlan: VlanMode,
    eni: &LocalEni,
    by: By,
    mut frame: B,
) -> Option<B> {
    let whose = whose(ctx, at, vlan, eni, by, &mut frame);
    give(ctx, at, whose, frame)
}

/// Whose a packet is. One with a tag that is to be stripped has none any more.
#[inline]
pub(super) fn whose<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    at: AtEni,
    vlan: VlanMode,
    eni: &LocalEni,
    by: By,
    frame: &mut B,
) -> Whose {
    if vlan == VlanMode::Strip
        && Plain::of(frame.data()).is_none()
        && let Err(Reason::Vlan) = parse_frame(vlan, frame)
    {
        return Whose::Tagged;
    }
    elsewhere(ctx, at, Some(eni), by, frame.data()).map_or(Whose::Ours, Whose::Part)
}

/// Gives a packet to whom it belongs, if that is another.
#[inline]
pub(super) fn give<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    at: AtEni,
    whose: Whose,
    frame: B,
) -> Option<B> {
    match whose {
        Whose::Ours => return Some(frame),
        Whose::Part(part) => ctx.sink.hand_over(part, at, frame),
        Whose::Tagged => ctx.drop(at.port, Reason::Vlan, frame),
    }
    None
}

/// The part of an ENI's flows that a packet is in, if another worker has it.
#[inline]
pub(super) fn elsewhere<B, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    at: AtEni,
    eni: Option<&LocalEni>,
    by: By,
    frame: &[u8],
) -> Option<u8> {
    let Some(eni) = eni.filter(|eni| eni.workers > 1) else {
        return (!ctx.sink.owns(at.port, 0)).then_some(0);
    };
    let part = match Plain::of(frame) {
        Some(plain) => part(eni, plain.flow_hash()),
        None => part_of_other(ctx, at, eni, by, frame)?,
    };
    (!ctx.sink.owns(at.port, part)).then_some(part)
}

/// Of so many equal parts, that of a hash.
#[inline]
fn part(eni: &LocalEni, hash: u32) -> u8 {
    ((u64::from(hash) * u64::from(eni.workers)) >> 32) as u8
}

/// The part that a packet is in which is not [`Plain`]; `None`: it is this worker's.
#[inline(never)]
fn part_of_other<B, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    at: AtEni,
    eni: &LocalEni,
    by: By,
    frame: &[u8],
) -> Option<u8> {
    let headers = parse(frame).ok()?;
    let by_addresses = part(eni, flow_hash(frame, &headers));
    if headers.fragment != Fragment::Whole && !ctx.sink.owns(at.port, by_addresses) {
        // Whoever knows the ports has given it, or is to have it.
        return (by == By::Itself).then_some(by_addresses);
    }
    let seen = Seen::of(ctx, at.direction, (at.port, eni), &headers, frame);
    let flow = seen.ok().and_then(|seen| seen.flow_hash());
    Some(flow.map_or(by_addresses, |hash| part(eni, hash)))
}
