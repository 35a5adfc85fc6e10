//! Gateway Load Balancer endpoints (GW-23): packets to an appliance, and back.
//!
//! A packet travels to the node of its flow's appliance as to any gateway's node, in the endpoint's VPC, so that its origin is
//! checked there as such a packet's is (P-4). There it gets the outer header, and the appliance gets it from the load balancer's
//! address in its own subnet. What the appliance sends back to that address goes on by the route table of the endpoint's subnet.
//!
//! Nothing is remembered: appliance and cookie are functions of the flow ([`LoadBalancer::appliance`], [`LoadBalancer::cookie`]).

use super::{
    stateful::{at_seat, subject_of},
    subject::Subject,
    way::{Way, fit_to, go_from},
};
use crate::{
    flowlogs::path,
    packet::{Buffer, Fragment, Gwlb, Sender, parse, tcp},
    pipeline::{Context, Packet, Reason, Sink, Step, cross, mirror, pass_on},
    tables::{
        Direction, Gateway, GatewayKind, LoadBalancer, LocalAppliance, LocalEni, PortIndex, Shown,
        SubnetExits, Target,
    },
};

/// Takes a packet to the appliance of its flow.
pub(super) fn enter<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: Way<'_>,
    (gateway, balancer): (&Gateway, &LoadBalancer),
    frame: B,
) {
    let Some((subject, frame)) = subject_of(ctx, &way, gateway, frame) else { return };
    let tables = ctx.tables;
    let (Some(appliance), Some(subnet)) =
        (balancer.appliance(subject.hash), tables.exits.subnet(balancer.subnet))
    else {
        return ctx.drop(way.port, Reason::Blackhole, frame);
    };
    let Some(frame) = at_seat(ctx, &way, gateway, appliance.seat, frame) else { return };
    let neighbour = tables.owner(way.vni, way.source).is_some_and(|owner| owner.subnet == balancer.subnet);
    if !neighbour && let Err(reason) = crosses(subnet, Direction::Ingress, &way, &subject) {
        return ctx.drop(way.port, reason, frame);
    }
    match &appliance.here {
        Some(here) => send(ctx, &way, here, (subject.hash, balancer.cookie(subject.hash)), frame),
        None => ctx.drop(way.port, Reason::Unattached, frame),
    }
}

/// What the network ACL of the endpoint's subnet says of a packet that crosses the subnet's edge.
///
/// # Errors
///
/// `nacl_out` or `nacl_in`.
fn crosses(
    subnet: &SubnetExits,
    direction: Direction,
    way: &Way<'_>,
    subject: &Subject,
) -> Result<(), Reason> {
    let remote = if direction == Direction::Ingress { way.source } else { way.destination };
    let (protocol, port) = match way.headers.fragment {
        // As the first one told.
        Fragment::Later => (subject.protocol, subject.tuple.destination_port),
        _ => (way.headers.protocol, way.headers.destination_port),
    };
    cross(&subnet.acl, direction, &Shown { remote, protocol, port })
}

/// Gives a packet to an appliance of this node.
fn send<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: &Way<'_>,
    to: &LocalAppliance,
    (flow, cookie): (u32, u32),
    mut frame: B,
) {
    // MTU-5: neither end may hear of a packet that is too long for the appliance, so that there should be few.
    if tcp::may_be_syn(frame.data()) && tcp::clamp_mss(frame.data_mut(), &way.headers, to.mtu) {
        ctx.sink.note(Step::Clamped(to.mtu));
    }
    fit_to(ctx, way, to.mtu, frame, |ctx, mut frame| {
        // Of what was cut, each fragment has its own headers.
        let encapsulated = parse(frame.data())
            .and_then(|headers| to.template.encapsulate(&mut frame, &headers, (flow, cookie)));
        match encapsulated {
            Ok(()) => pass_on(ctx, to.port, to.vni, frame),
            Err(reason) => ctx.drop(way.port, reason, frame),
        }
    });
}

/// Takes what an appliance sends back to its load balancer on from the endpoint.
#[inline(never)]
pub(crate) fn come_back<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    packet: &Packet,
    mut frame: B,
) {
    packet.passed(ctx, eni, path::SAME_VPC);
    mirror(ctx, port, eni, Direction::Egress, &frame);
    let Returned { way, subject, subnet, balancer, target } = match open(ctx, port, &mut frame) {
        Ok(returned) => returned,
        Err(reason) => return ctx.drop(port, reason, frame),
    };
    let may = |_: &mut Context<'_, S>, stays: bool, _, _: &B| {
        if stays { Ok(()) } else { crosses(subnet, Direction::Egress, &way, &subject) }
    };
    go_from(ctx, way, (balancer.subnet, target), may, frame);
}

/// A packet that came back.
struct Returned<'t> {
    way: Way<'t>,
    subject: Subject,
    balancer: &'t LoadBalancer,
    /// The endpoint's subnet.
    subnet: &'t SubnetExits,
    /// Where its route table leads.
    target: Target,
}

/// Takes the outer header off what came from the appliance at a port.
///
/// # Errors
///
/// Why it is none of its endpoints', or goes nowhere.
fn open<'t, B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'t, S>,
    port: PortIndex,
    frame: &mut B,
) -> Result<Returned<'t>, Reason> {
    let exits = &ctx.tables.exits;
    let outer = Gwlb::parse(frame.data(), &parse(frame.data())?, frame.ip_checksum())?;
    let &index = exits.load_balancers.get(&outer.endpoint).ok_or(Reason::GwlbOption)?;
    let gateway = exits.gateway(index).ok_or(Reason::GwlbOption)?;
    let GatewayKind::LoadBalancer(balancer) = &gateway.kind else { return Err(Reason::GwlbOption) };
    if !balancer.is_behind(port) {
        return Err(Reason::GwlbOption);
    }
    outer.strip(frame)?;
    let sender = Sender { vni: gateway.vni, mac: gateway.mac };
    let way = Way::read(port, sender, gateway.vni, frame.data())?;
    let subject = Subject::of(ctx.flows, ctx.now, gateway, &way, frame.data())?;
    if outer.cookie != balancer.cookie(subject.hash) {
        return Err(Reason::GwlbOption);
    }
    ctx.sink.note(Step::CameBack(gateway));
    let subnet = exits.subnet(balancer.subnet).ok_or(Reason::Blackhole)?;
    let route = subnet.routes.lookup(way.destination);
    ctx.sink.note(Step::Route(route));
    match route.ok_or(Reason::NoRoute)? {
        // It would go to the appliance again, and again.
        Target::Gateway(to) if to == index => Err(Reason::TooManyHops),
        target => {
            Ok(Returned { way: Way { zone: Some(subnet.zone), ..way }, subject, balancer, subnet, target })
        }
    }
}
