//! What leaves its VPC, or goes where a longer route leads, of a connection for which the end of the walk through route tables,
//! peerings and transit gateways is at hand: an ENI, or a gateway at another host.

use arrayvec::ArrayVec;

use super::{send_to, usual::Usual};
use crate::{
    ffi::prefetch,
    flow::connections::{self, Logged, Passage},
    packet::{Buffer, Sender, Vni},
    pipeline::{Burst, Context, MAX_BURST, Reason, Sink, glance::Glance, ingress},
    tables::{Direction, LocalEni, Location, Place, PortIndex},
};

/// What is decided about such a packet: where it goes, the VPC that it is delivered in, and its connection's
/// [`Hot::flow`](connections::Hot::flow).
type Decision = (Location, Vni, u32);

/// Sends the first packets of a burst, as long as they are such; returns how many.
#[inline(never)]
pub(super) fn send_all<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    packets: &[Usual],
    burst: &mut Burst<B>,
) -> usize {
    let mut decisions: ArrayVec<Decision, MAX_BURST> = ArrayVec::new();
    for (packet, frame) in packets.iter().zip(burst.iter_mut()) {
        let Some(decision) = decided(ctx, eni, packet, frame) else { break };
        if let Some(host) = decision.0.host().and_then(|host| ctx.tables.hosts.get(host)) {
            prefetch(host);
        }
        decisions.push(decision);
    }
    if decisions.is_empty() {
        return 0;
    }
    let sender = Sender { vni: eni.vni, mac: eni.mac };
    let count = decisions.len().min(burst.len());
    for (decision, frame) in decisions.into_iter().zip(burst.drain(..count)) {
        send(ctx, port, sender, decision, frame);
    }
    count
}

/// The decision about a packet, if there is one at hand: takes it into its connection, and rewrites its MACs.
#[inline(always)]
fn decided<B: Buffer, S>(
    ctx: &mut Context<'_, S>,
    eni: &LocalEni,
    packet: &Usual,
    frame: &mut B,
) -> Option<Decision> {
    let &Usual { ref key, found, ip_len, tcp_flags, routed, .. } = packet;
    let (direction, now, generation) =
        (Direction::Egress, connections::clock(ctx.now), ctx.tables.generation);
    let hot = ctx.connections.confirm(found, key, || Glance::wide(direction, frame.data()))?;
    let number = hot.passage(generation, now, tcp_flags).filter(|_| routed)?;
    let ((to, macs), flow, settled) = (hot.beyond(), hot.flow, hot.stays_settled(tcp_flags));
    let Passage { vni, path, .. } =
        ctx.connections.passage(number).filter(|passage| ip_len <= passage.mtu)?;
    macs.put(frame.data_mut());
    let bytes = ip_len.into();
    if !settled {
        let logged = Logged { direction, bytes, tcp_flags, path };
        ctx.connections.follow(found, ctx.now, &eni.timeouts, &logged);
    } else if ctx.connections.hot(found)?.settled(direction, now, &eni.timeouts, bytes) {
        ctx.connections.sum_up(found);
    }
    Some((to, vni, flow))
}

/// Sends a packet about which there is a decision.
#[inline(always)]
fn send<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    sender: Sender,
    (to, vni, flow): Decision,
    frame: B,
) {
    let host = match to.place() {
        Place::Remote(host) => ctx.tables.hosts.get(host),
        Place::Local(receiver) => return ingress::pass_on(ctx, receiver, vni, frame),
        Place::Nowhere | Place::Gateway(_) => None,
    };
    let Some(host) = host else { return ctx.drop(port, Reason::UnderlayUnreachable, frame) };
    if let Err((reason, frame)) = send_to(ctx.sink, host, vni, sender, flow, frame) {
        ctx.drop(port, reason, frame);
    }
}
