//! From an instance: who sends, to whom, and the way there.
//!
//! The usual packet is one of a connection for which a decision is at hand: it is found by one lookup, gets the MACs and the outer
//! header that were decided for the first, and goes. All others are looked at by themselves ([`decide`]).

mod decide;

use arrayvec::ArrayVec;

use super::{
    AtEni, Burst, Context, MAX_BURST, Reason, Sink, Step, ingress, mtu, security,
    spread::{self, By},
    watch,
};
use crate::{
    flow::connections::{self, Logged, Short},
    flowlogs::path,
    packet::{Buffer, Plain, Sender, Vni, macs, set_macs, tcp},
    tables::{Direction, Host, LocalEni, Place, PortIndex, VlanMode},
};

pub(super) use decide::{Class, decide as again, is_dhcp, is_router, parse_frame};

/// How far ahead of the packet in work the next packets' first bytes are asked for.
const AHEAD: usize = 4;

/// What the first stage leaves of a packet for the others. Scalars, each read as it was written: a copy of the whole right behind
/// the writes of its parts would wait for them longer than a stage takes.
struct Usual {
    key: Short,
    /// The entry that the connection probably has; [`connections::NONE`] of a packet that is to be looked at by itself.
    entry: u32,
    ip_len: u16,
    protocol: u8,
    /// Whether it goes to the router.
    routed: bool,
}

/// Takes the packets of an ENI through the egress stages.
#[inline(never)]
pub(super) fn process<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    vlan: VlanMode,
    eni: &LocalEni,
    by: By,
    burst: &mut Burst<B>,
) {
    if eni.workers > 1 || !ctx.sink.owns(port, 0) {
        spread::leave(ctx, AtEni { port, direction: Direction::Egress, vni: eni.vni }, vlan, eni, by, burst);
    }
    if eni.watched {
        watch::leave(ctx, port, eni, burst);
        if eni.mirrors.is_some() {
            // Each is looked at by itself, and copied when it has passed.
            return burst.drain(..).for_each(|frame| decide::decide(ctx, port, vlan, eni, frame));
        }
    }
    burst.iter().take(AHEAD).for_each(Buffer::prefetch);
    let mut usual: ArrayVec<Option<Usual>, MAX_BURST> = ArrayVec::new();
    for index in 0..burst.len() {
        if let Some(coming) = burst.get(index + AHEAD) {
            coming.prefetch();
        }
        if let Some(frame) = burst.get(index) {
            usual.push(classify(ctx, port, eni, frame));
        }
    }
    for packet in usual.iter_mut().flatten() {
        packet.entry = ctx.connections.candidate(&packet.key);
    }
    let now = connections::clock(ctx.now);
    let mut frames = burst.drain(..);
    for packet in &usual {
        let Some(mut frame) = frames.next() else { break };
        match packet.as_ref().and_then(|packet| decided(ctx, eni, packet, now, &mut frame)) {
            Some((place, flow)) => send(ctx, port, eni, place, flow, frame),
            None => decide::decide(ctx, port, vlan, eni, frame),
        }
    }
}

/// First stage: the key of the usual packet's connection, in few compares: plain IPv4 from an address of the ENI to a unicast MAC.
/// Asks for the memory of the lookup. `None` of all others, right or wrong.
#[inline(always)]
fn classify<B: Buffer, S>(ctx: &Context<'_, S>, port: PortIndex, eni: &LocalEni, frame: &B) -> Option<Usual> {
    let data = frame.data();
    let packet = Plain::of(data)?;
    let (destination, source) = macs(data);
    let usual = source == eni.mac
        && !destination.is_group()
        && eni.v4.contain(packet.source)
        && packet.ip_len <= eni.mtu
        && frame.is_contiguous();
    if !usual {
        return None;
    }
    let Plain { source, destination: to, ports, ip_len, protocol } = packet;
    let key = ctx.connections.short(port, source, to, ports, protocol);
    ctx.connections.prefetch(&key);
    Some(Usual { key, entry: connections::NONE, ip_len, protocol, routed: destination == eni.router_mac })
}

/// Where a packet goes for whose connection a decision is at hand. Rewrites its MACs.
#[inline(always)]
fn decided<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    eni: &LocalEni,
    packet: &Usual,
    now: u32,
    frame: &mut B,
) -> Option<(Place, u32)> {
    let generation = ctx.tables.generation;
    let hot = ctx.connections.confirm(packet.entry, &packet.key)?;
    let data = frame.data_mut();
    let tcp_flags = tcp::plain_flags(packet.protocol, data);
    let follows = hot.follows(Direction::Egress, generation, now, tcp_flags)?;
    let way = hot.way();
    match (way.rewrites, packet.routed) {
        (true, true) => set_macs(data, way.mac, way.router),
        (false, false) if macs(data).0 == way.mac => {}
        _ => return None,
    }
    let decision = (way.to.place(), hot.flow);
    let bytes = packet.ip_len.into();
    let logged = Logged { direction: Direction::Egress, bytes, tcp_flags, path: path::SAME_VPC };
    security::follow(ctx, eni, packet.entry, now, follows, &logged);
    Some(decision)
}

/// Sends a packet that stays in its VPC.
#[inline(always)]
fn send<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    place: Place,
    flow: u32,
    mut frame: B,
) {
    let tables = ctx.tables;
    match place {
        Place::Remote(host) => match tables.hosts.get(host) {
            Some(host) => match encapsulate(eni, host, flow, &mut frame) {
                Ok(()) => {
                    ctx.sink.note(Step::Encapsulated(host, eni.vni));
                    ctx.sink.transmit(host.uplink, frame);
                }
                Err(reason) => mtu::refused(ctx, port, eni, (host, flow), reason, frame),
            },
            None => ctx.drop(port, Reason::UnderlayUnreachable, frame),
        },
        Place::Local(receiver) => ingress::pass_on(ctx, receiver, eni.vni, frame),
        Place::Nowhere | Place::Gateway(_) => ctx.drop(port, Reason::Unattached, frame),
    }
}

/// Puts the header towards a host in front of a frame that stays in the VPC of its ENI.
#[inline(always)]
pub(super) fn encapsulate<B: Buffer>(
    eni: &LocalEni,
    host: &Host,
    flow: u32,
    frame: &mut B,
) -> Result<(), Reason> {
    encapsulate_as(host, eni.vni, Sender { vni: eni.vni, mac: eni.mac }, flow, frame)
}

/// Puts the header towards a host in front of a frame from `sender` in the VPC `vni`.
#[inline(always)]
pub(crate) fn encapsulate_as<B: Buffer>(
    host: &Host,
    vni: Vni,
    sender: Sender,
    flow: u32,
    frame: &mut B,
) -> Result<(), Reason> {
    if let Some(reason) = host.refuses(frame.data().len()) {
        return Err(reason);
    }
    host.template.encapsulate(frame, vni, sender, flow)
}
