//! Copies of an ENI's packets for whoever watches them: traffic mirroring (MIR-1 to MIR-7).
//!
//! What security groups and network ACLs drop is not copied. A copy is never copied again, since the target of a session has no
//! session of its own. It has bytes of its own: a frame that shares its bytes with another can't be rewritten (see
//! [`Buffer::clone_ref`]), and the packet goes on as if nobody watched. A copy goes the way that its ENI's subnet has for the
//! target; no rule of the ENI is asked and nothing is remembered of it. It costs what a packet of the ENI costs, and only as long
//! as half of the ENI's allowance is left, so that copies make way for packets.

use std::net::{IpAddr, Ipv4Addr};

use super::{Context, Reason, Sink, Step, egress, ingress, limits};
use crate::{
    gateway,
    packet::{Buffer, Headers, Network, OuterTemplate, endpoints, flow_hash, nd, parse, protocol, set_macs},
    tables::{
        Destination, Direction, LinkLocal, LocalEni, MirrorSession, Mirrored, Mirrors, Place, PortIndex,
        Tables, Target,
    },
};

/// Makes a copy of a packet of an ENI, if one is wanted, and sends it.
#[inline(always)]
pub(crate) fn copy<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    direction: Direction,
    frame: &B,
) {
    if let Some(mirrors) = &eni.mirrors {
        copy_by(ctx, port, eni, mirrors, direction, frame);
    }
}

#[inline(never)]
fn copy_by<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    mirrors: &Mirrors,
    direction: Direction,
    frame: &B,
) {
    let Some((session, flow)) = wanted(eni, mirrors, direction, frame.data()) else { return };
    let bytes = frame.data().get(..session.longest.into()).unwrap_or(frame.data());
    let length = OuterTemplate::VXLAN_V4 + bytes.len();
    if limits::spare(ctx, port, eni, length).is_err() {
        return ctx.counters.port(port).drop(Reason::MirrorLimited);
    }
    match made(session, flow, frame, bytes) {
        Some(copy) => {
            ctx.sink.note(Step::Copied(session));
            send(ctx, port, eni, session, flow, copy);
        }
        None => ctx.counters.port(port).drop(Reason::NoBuffer),
    }
}

/// The session that copies a packet, and the packet's flow.
fn wanted<'a>(
    eni: &LocalEni,
    mirrors: &'a Mirrors,
    direction: Direction,
    frame: &[u8],
) -> Option<(&'a MirrorSession, u32)> {
    let headers = parse(frame).ok()?;
    let (source, destination) = endpoints(frame, headers.network)?;
    let remote = if direction == Direction::Egress { destination } else { source };
    if is_never(&headers, remote) {
        return None;
    }
    let packet = Mirrored {
        direction,
        protocol: headers.protocol,
        source,
        destination,
        ports: (headers.source_port, headers.destination_port),
        fragment: headers.fragment,
        dns: is_resolver(eni, remote),
    };
    Some((mirrors.session(&packet)?, flow_hash(frame, &headers)))
}

/// What is never copied: MIR-5, and as ARP, neighbour discovery and listener reports.
fn is_never(headers: &Headers, remote: IpAddr) -> bool {
    let is_dhcp = headers.protocol == protocol::UDP
        && matches!(headers.destination_port, 67 | 68 | 546 | 547)
        && matches!(headers.source_port, 67 | 68 | 546 | 547);
    let is_link_local = match remote {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => matches!(address.segments(), [0xfd00, 0x0ec2, ..]),
    };
    let is_dns = LinkLocal::at(remote) == Some(LinkLocal::Dns);
    headers.network == Network::Arp
        || is_dhcp
        || nd::is_message(headers)
        || nd::is_listener_message(headers)
        || is_link_local && !is_dns
}

/// Whether an address is the resolver's, as the ENI knows it (ADDR-19).
fn is_resolver(eni: &LocalEni, address: IpAddr) -> bool {
    let of_vpc = eni.resolver.is_some_and(|resolver| address == IpAddr::V4(Ipv4Addr::from_bits(resolver)));
    of_vpc || LinkLocal::at(address) == Some(LinkLocal::Dns)
}

/// A copy, from the ENI to the target; `None` where no buffer is left.
fn made<B: Buffer>(session: &MirrorSession, flow: u32, frame: &B, bytes: &[u8]) -> Option<B> {
    let header = session.template.vxlan_v4(bytes, session.vni, flow)?;
    let mut copy = frame.another()?;
    // All of the headroom stays for the outer header towards the target's host.
    (copy.append_copy(&header) && copy.append_copy(bytes)).then_some(copy)
}

/// Where a copy goes.
enum Way<'a> {
    Eni(&'a Destination),
    Routed(Target),
}

/// The way of an ENI's subnet to a target. It is as that of a packet of the ENI, but for the checks.
fn way<'a>(tables: &'a Tables, eni: &LocalEni, target: u32) -> Result<Way<'a>, Reason> {
    let route = || match eni.routes.lookup_v4(target) {
        None => Err(Reason::NoRoute),
        Some(Target::Local) => Err(Reason::NoMapping),
        Some(target) => Ok(Way::Routed(target)),
    };
    match tables.enis.get_v4(eni.vni, target) {
        None => route(),
        Some(to) if eni.steered && to.subnet != eni.subnet => route().or(Ok(Way::Eni(to))),
        Some(to) => Ok(Way::Eni(to)),
    }
}

/// Sends a copy.
fn send<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    session: &MirrorSession,
    flow: u32,
    mut copy: B,
) {
    let tables = ctx.tables;
    let to = match way(tables, eni, session.target) {
        Ok(Way::Eni(to)) => to,
        Ok(Way::Routed(target)) => return gateway::send(ctx, port, eni, flow, target, copy),
        Err(reason) => return ctx.drop(port, reason, copy),
    };
    set_macs(copy.data_mut(), to.mac, to.router_mac);
    match to.location.place() {
        Place::Local(receiver) => ingress::pass_on(ctx, receiver, eni.vni, copy),
        Place::Remote(host) => {
            let host = tables.hosts.get(host).ok_or(Reason::UnderlayUnreachable);
            match host.and_then(|host| egress::encapsulate(eni, host, flow, &mut copy).map(|()| host.uplink))
            {
                Ok(uplink) => ctx.sink.transmit(uplink, copy),
                Err(reason) => ctx.drop(port, reason, copy),
            }
        }
        Place::Nowhere | Place::Gateway(_) => ctx.drop(port, Reason::Unattached, copy),
    }
}
