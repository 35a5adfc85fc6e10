//! From an instance: who sends, to whom, and the way there.
//!
//! The usual packet is one of a connection for which a decision is at hand ([`usual`]): it is found by one lookup, gets the MACs and
//! the outer header that were decided for the first, and goes. Where it goes is known of one that leaves its VPC as well
//! ([`beyond`]). All others are looked at by themselves ([`decide`]).

mod beyond;
mod decide;
mod usual;

use arrayvec::ArrayVec;

use self::usual::{Decision, Usual};
use super::{
    AtEni, Burst, Context, MAX_BURST, Reason, Sink, Step, ingress, mtu,
    spread::{self, By, Whose},
    watch,
};
use crate::{
    packet::{Buffer, Sender, Vni},
    tables::{Direction, Host, LocalEni, Place, PortIndex, VlanMode},
};

pub(super) use decide::{Class, decide as again, is_dhcp, is_router, parse_frame};

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
    let mut packets = ArrayVec::new();
    let shared = (eni.workers > 1 || !ctx.sink.owns(port, 0)).then_some(by);
    if let Some(by) = shared.filter(|_| eni.watched || spread::seem_mixed(ctx, at(port, eni), eni, burst)) {
        spread::leave(ctx, at(port, eni), vlan, eni, by, burst);
    }
    if eni.watched {
        watch::leave(ctx, port, eni, burst);
        if eni.mirrors.is_some() {
            // Each is looked at by itself, and copied when it has passed.
            return burst.drain(..).for_each(|frame| decide::decide(ctx, port, vlan, eni, frame));
        }
    }
    usual::classify(ctx.connections, port, eni, burst, &mut packets);
    if let Some(by) = shared.filter(|_| !packets.iter().all(Usual::is_known)) {
        // A connection that this worker has is its own.
        keep_own(ctx, (port, vlan), eni, by, burst, &mut packets);
    }
    let (mut packets, mut decisions) = (packets.as_slice(), ArrayVec::new());
    // Usual ones together, up to the next that is not, and so on: what one changes holds for those behind it.
    while !packets.is_empty() {
        usual::follow(ctx, eni, packets, burst, &mut decisions);
        let (usual, others) = packets.split_at_checked(decisions.len()).unwrap_or_default();
        send_all(ctx, port, eni, usual, &decisions, burst);
        if others.is_empty() {
            return;
        }
        let done = take_others(ctx, (port, vlan), eni, shared, others, burst);
        packets = others.get(done..).unwrap_or_default();
    }
}

/// Where packets of an ENI are.
fn at(port: PortIndex, eni: &LocalEni) -> AtEni {
    AtEni { port, direction: Direction::Egress, vni: eni.vni }
}

/// Keeps what is this worker's of the packets that an ENI has sent whose flows several workers share, and hands over the rest.
#[inline(never)]
fn keep_own<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    (port, vlan): (PortIndex, VlanMode),
    eni: &LocalEni,
    by: By,
    burst: &mut Burst<B>,
    packets: &mut ArrayVec<Usual, MAX_BURST>,
) {
    let at = at(port, eni);
    let mut all: ArrayVec<Whose, MAX_BURST> = ArrayVec::new();
    for (packet, frame) in packets.iter().zip(burst.iter_mut()) {
        let whose =
            if packet.is_known() { Whose::Ours } else { spread::whose(ctx, at, vlan, eni, by, frame) };
        all.push(whose);
    }
    let mut of_packets = all.iter();
    packets.retain(|_| of_packets.next() == Some(&Whose::Ours));
    for (whose, frame) in all.iter().zip(std::mem::take(burst)) {
        burst.extend(spread::give(ctx, at, *whose, frame));
    }
}

/// Takes the first packets of a burst on that are not usual, and of those that are to be looked at by themselves all up to the next about
/// which there may be a decision. Returns how many. Where several workers share the ENI's flows, `shared` says how they came.
#[inline(never)]
fn take_others<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    (port, vlan): (PortIndex, VlanMode),
    eni: &LocalEni,
    shared: Option<By>,
    packets: &[Usual],
    burst: &mut Burst<B>,
) -> usize {
    let mut done = beyond::send_all(ctx, port, eni, packets, burst);
    if done == 0 {
        let undecided = packets.iter().skip(1).take_while(|packet| !packet.may_be_decided(ctx));
        done = packets.len().min(1 + undecided.count());
        let count = done.min(burst.len());
        for (packet, frame) in packets.iter().zip(burst.drain(..count)) {
            // What was not known is this worker's by now; what seemed to be may be another's.
            let kept = match shared {
                Some(by) if packet.is_known() => spread::keep(ctx, at(port, eni), vlan, eni, by, frame),
                _ => Some(frame),
            };
            if let Some(frame) = kept {
                decide::decide(ctx, port, vlan, eni, frame);
            }
        }
    }
    done
}

/// Last stage: sends the first packets of a burst, about which there are decisions.
fn send_all<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    mut packets: &[Usual],
    mut decisions: &[Decision],
    burst: &mut Burst<B>,
) {
    let mut uplinks = ArrayVec::new();
    loop {
        usual::encapsulate(ctx, eni, packets.iter().zip(decisions), burst, &mut uplinks);
        transmit_all(ctx.sink, &uplinks, burst);
        decisions = decisions.get(uplinks.len()..).unwrap_or_default();
        // What is next goes otherwise, and with it what leaves through no uplink.
        let here = decisions.iter().skip(1).take_while(|(to, _)| to.host().is_none()).count();
        let count = decisions.len().min(1 + here);
        for (&decision, frame) in decisions.iter().zip(burst.drain(..count.min(burst.len()))) {
            send(ctx, port, eni, decision, frame);
        }
        packets = packets.get(uplinks.len() + count..).unwrap_or_default();
        decisions = decisions.get(count..).unwrap_or_default();
        if decisions.is_empty() {
            return;
        }
    }
}

/// Sends the first packets of a burst out of a port each.
#[inline]
pub(super) fn transmit_all<B, S: Sink<B>>(sink: &mut S, ports: &[PortIndex], burst: &mut Burst<B>) {
    let Some((&port, others)) = ports.split_first() else { return };
    if others.iter().all(|&other| other == port) {
        return sink.transmit_all(port, burst, ports.len());
    }
    let count = ports.len().min(burst.len());
    for (&port, frame) in ports.iter().zip(burst.drain(..count)) {
        sink.transmit(port, frame);
    }
}

/// Sends a packet of a flow, that stays in its VPC.
#[inline(never)]
fn send<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    (to, flow): Decision,
    frame: B,
) {
    let tables = ctx.tables;
    match to.place() {
        Place::Remote(host) => match tables.hosts.get(host) {
            Some(host) => {
                let sender = Sender { vni: eni.vni, mac: eni.mac };
                if let Err((reason, frame)) = send_to(ctx.sink, host, eni.vni, sender, flow, frame) {
                    mtu::refused(ctx, port, eni, (host, flow), reason, frame);
                }
            }
            None => ctx.drop(port, Reason::UnderlayUnreachable, frame),
        },
        Place::Local(receiver) => ingress::pass_on(ctx, receiver, eni.vni, frame),
        Place::Nowhere | Place::Gateway(_) => ctx.drop(port, Reason::Unattached, frame),
    }
}

/// Sends a frame from `sender` to a host, in the VPC `vni`.
///
/// # Errors
///
/// The frame, which can't be sent there, and why.
#[inline(always)]
pub(crate) fn send_to<B: Buffer, S: Sink<B>>(
    sink: &mut S,
    host: &Host,
    vni: Vni,
    sender: Sender,
    flow: u32,
    mut frame: B,
) -> Result<(), (Reason, B)> {
    match encapsulate_as(host, vni, sender, flow, &mut frame) {
        Ok(()) => {
            sink.note(Step::Encapsulated(host, vni));
            sink.transmit(host.uplink, frame);
            Ok(())
        }
        Err(reason) => Err((reason, frame)),
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
fn encapsulate_as<B: Buffer>(
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
