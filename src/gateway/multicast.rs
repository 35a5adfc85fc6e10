//! Multicast on the transit gateway: head-end replication (MC-1 to MC-12).
//!
//! The sender's node makes one copy for each other host that has members, and one for each member of its own; a host that
//! gets one makes those of its members. Copies share the frame's bytes. The transit gateway adds nothing to a frame: it
//! reaches the members as it was sent.

use crate::{
    packet::{
        Buffer, Copies, Fragment, Headers, Network, Sender, Vni, flow_hash, igmp, ipv4_addresses, macs, parse,
    },
    pipeline::{Allowance, Context, Reason, Request, Sink, Step, mirror, pass_on, permits},
    tables::{Direction, Fanout, LocalEni, PortIndex, SubnetIndex},
};

/// Takes a frame of an ENI to a group to its members, and an IGMP message to the management thread.
#[inline(never)]
pub(crate) fn send<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    frame: B,
) {
    let tables = ctx.tables;
    let domain = tables.multicast.domain(eni.subnet);
    let headers = match parse(frame.data()) {
        Ok(headers) if headers.network == Network::Ipv4 => headers,
        Ok(_) => return ctx.drop(port, Reason::Multicast, frame),
        Err(reason) => return ctx.drop(port, reason, frame),
    };
    // MC-7.
    if let Err(reason) = permits(ctx, Direction::Egress, (port, eni), &headers, frame.data()) {
        return ctx.drop(port, reason, frame);
    }
    if igmp::is_igmp(&headers) && domain.is_some_and(|domain| domain.igmp) {
        return report(ctx, port, frame);
    }
    mirror(ctx, port, eni, Direction::Egress, &frame);
    let sender = Sender { vni: eni.vni, mac: eni.mac };
    replicate(ctx, (port, Some(port)), sender, eni.subnet, &headers, frame);
}

/// Gives an IGMP message to the management thread, which keeps the memberships (MC-4).
fn report<B: Buffer, S: Sink<B>>(ctx: &mut Context<'_, S>, port: PortIndex, frame: B) {
    ctx.sink.note(Step::Asks(Request::Igmp));
    if !ctx.allowances.take(port, Allowance::Answer, ctx.now) {
        return ctx.drop(port, Reason::AnswersLimited, frame);
    }
    match ctx.sink.punt(port, frame) {
        Ok(()) => ctx.counters.port(port).punted.add(1),
        Err(frame) => ctx.drop(port, Reason::PuntFull, frame),
    }
}

/// Takes a frame to a group, from the underlay and without its outer header, to this host's members.
#[inline(never)]
pub(crate) fn receive<B: Buffer, S: Sink<B>>(ctx: &mut Context<'_, S>, port: PortIndex, vni: Vni, frame: B) {
    let (_, source) = macs(frame.data());
    let headers = match parse(frame.data()) {
        Ok(headers) => headers,
        Err(reason) => return ctx.drop(port, reason, frame),
    };
    let Some(subnet) = ctx.tables.enis.get_mac(vni, source).map(|eni| eni.subnet) else {
        return ctx.drop(port, Reason::UnderlaySpoof, frame);
    };
    replicate(ctx, (port, None), Sender { vni, mac: source }, subnet, &headers, frame);
}

/// Sends the copies of a frame of `sender`. `from` is its port if it is here.
fn replicate<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    (port, from): (PortIndex, Option<PortIndex>),
    sender: Sender,
    subnet: SubnetIndex,
    headers: &Headers,
    frame: B,
) {
    let (_, group) = ipv4_addresses(frame.data());
    let fanout = match ctx.tables.multicast.fan_out(subnet, (sender.vni, sender.mac), from, group) {
        Ok(fanout) => fanout,
        Err(reason) => return ctx.drop(port, reason, frame),
    };
    // MC-8.
    if headers.fragment != Fragment::Whole {
        return ctx.drop(port, Reason::MulticastFrag, frame);
    }
    ctx.sink.note(Step::Replicated(&fanout));
    to_hosts(ctx, port, sender, &fanout, flow_hash(frame.data(), headers), &frame);
    // The last gets the frame itself.
    let mut members = fanout.local().peekable();
    let mut frame = Some(frame);
    while let Some(member) = members.next() {
        let copy =
            if members.peek().is_some() { frame.as_ref().and_then(B::clone_ref) } else { frame.take() };
        match copy {
            Some(copy) => pass_on(ctx, member.port, member.vni, copy),
            None => ctx.counters.port(port).drop(Reason::NoBuffer),
        }
    }
}

/// One copy to each other host.
fn to_hosts<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    sender: Sender,
    fanout: &Fanout<'_>,
    flow: u32,
    frame: &B,
) {
    let tables = ctx.tables;
    let mut copies = Copies::new(frame, fanout.hosts().len());
    for host in fanout.hosts().iter().filter_map(|&host| tables.hosts.get(host)) {
        // RFC 1122 §3.2.2: no ICMP error is about a packet to a group.
        if let Some(reason) = host.refuses(frame.data().len()) {
            ctx.dropped(port, reason, frame);
            continue;
        }
        match host.template.encapsulate_copy(&mut copies, sender.vni, sender, flow) {
            Ok(copy) => {
                ctx.sink.note(Step::Encapsulated(host, sender.vni));
                ctx.sink.transmit(host.uplink, copy);
            }
            Err(reason) => ctx.dropped(port, reason, frame),
        }
    }
}
