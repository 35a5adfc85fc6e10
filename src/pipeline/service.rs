//! Link-local services in the host: packets of instances to them, and their replies.
//!
//! A packet to a service leaves through its service port with the service's own address and the asker's identity
//! ([`ServicePort`]); a reply comes back the same way. Route tables, security groups and network ACLs have no part in it
//! (ADDR-17, ADDR-19).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Allowance, Burst, Check, Context, Notes, Reason, Sink, Step, egress::parse_frame, ingress};
use crate::{
    packet::{
        Buffer, Headers, Network,
        arp::{Arp, Operation},
        ipv4_addresses, ipv6_addresses, nd, protocol, readdress_v4, readdress_v6, set_macs, set_ttl,
    },
    tables::{Asker, LinkLocal, LocalEni, PortIndex, ServicePort, Tables, VlanMode},
};

/// The service that a packet of an ENI is for, and whether it is asked by its address in the VPC.
pub(super) fn asked(eni: &LocalEni, frame: &[u8], headers: &Headers) -> Option<(LinkLocal, bool)> {
    let (address, in_vpc) = match headers.network {
        Network::Ipv4 => {
            let (_, to) = ipv4_addresses(frame);
            (Ipv4Addr::from_bits(to).into(), eni.resolver == Some(to))
        }
        Network::Ipv6 => (Ipv6Addr::from_bits(ipv6_addresses(frame).1).into(), false),
        Network::Arp => return None,
    };
    let service = if in_vpc { LinkLocal::Dns } else { LinkLocal::at(address)? };
    // ADDR-19, ADDR-22: the port is part of the service; a later fragment has none.
    let is_port = |port| headers.destination_port == port;
    let served = match (service, headers.protocol) {
        (LinkLocal::Metadata, _) => true,
        (LinkLocal::Dns, protocol::UDP | protocol::TCP) => is_port(53),
        (LinkLocal::Time, protocol::UDP) => is_port(123),
        _ => false,
    };
    served.then_some((service, in_vpc))
}

/// Sends a packet of the ENI behind a port to a service.
pub(super) fn ask<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    (service, in_vpc): (LinkLocal, bool),
    headers: &Headers,
    mut frame: B,
) {
    let Some((to, behind)) = ctx.tables.service(service) else {
        return ctx.drop(port, Reason::Service, frame);
    };
    if !ctx.allowances.take_part(port, Allowance::LinkLocal, ctx.now, eni.workers) {
        return ctx.drop(port, Reason::DnsPps, frame);
    }
    ctx.sink.note(Step::Passed(Check::Allowance));
    ctx.sink.note(Step::Service(service, to));
    let asker = |position| Asker { port, position, in_vpc };
    let data = frame.data_mut();
    let readdressed = match headers.network {
        Network::Ipv4 => {
            let identity = eni
                .v4
                .position(ipv4_addresses(data).0)
                .map(asker)
                .and_then(|asker| behind.identity_v4(asker));
            identity.map(|identity| readdress_v4(data, headers, identity, service.v4().to_bits()))
        }
        Network::Ipv6 => {
            let identity = eni
                .v6
                .position(ipv6_addresses(data).0)
                .map(asker)
                .and_then(|asker| behind.identity_v6(asker));
            identity.map(|identity| readdress_v6(data, headers, identity, service.v6().to_bits()))
        }
        Network::Arp => None,
    };
    if readdressed.is_none() {
        // An appliance passes on packets of others, whom nobody could answer.
        return ctx.drop(port, Reason::SrcCheck, frame);
    }
    set_macs(data, behind.peer, ServicePort::ROUTER);
    ctx.sink.transmit(to, frame);
}

/// Takes the packets of a service port to the ENIs that they are for.
#[inline(never)]
pub(super) fn process<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    vlan: VlanMode,
    service: &ServicePort,
    burst: &mut Burst<B>,
) {
    let tables = ctx.tables;
    for mut frame in burst.drain(..) {
        match take(tables, vlan, service, &mut frame, ctx.sink) {
            Ok(To::Eni(port, eni)) => ingress::pass_answer(ctx, port, eni.vni, frame),
            Ok(To::Host) => ctx.sink.transmit(port, frame),
            Err(reason) => ctx.drop(port, reason, frame),
        }
    }
}

/// Where a packet of a service port goes, rewritten.
enum To<'a> {
    /// To the ENI behind a port.
    Eni(PortIndex, &'a LocalEni),
    /// Back, as an answer.
    Host,
}

fn take<'a, B: Buffer>(
    tables: &'a Tables,
    vlan: VlanMode,
    service: &ServicePort,
    frame: &mut B,
    notes: &mut impl Notes,
) -> Result<To<'a>, Reason> {
    let headers = parse_frame(vlan, frame)?;
    if headers.network == Network::Arp {
        return resolve_v4(service, frame);
    }
    if nd::is_message(&headers) {
        return resolve_v6(service, frame, &headers);
    }
    reply(tables, service, frame, &headers, notes).ok_or(Reason::ServiceReply)
}

/// Answers the host's ARP request for an identity.
fn resolve_v4<'a, B: Buffer>(service: &ServicePort, frame: &mut B) -> Result<To<'a>, Reason> {
    let request = Arp::parse(frame.data())?;
    let answered = request.operation == Operation::Request
        && request.sender_ip != request.target_ip
        && service.pool_v4.contains(&request.target_ip);
    if !answered {
        return Err(Reason::ServiceReply);
    }
    request.reply_in_place(frame, ServicePort::ROUTER);
    Ok(To::Host)
}

/// Answers the host's neighbour solicitation for an identity.
fn resolve_v6<'a, B: Buffer>(
    service: &ServicePort,
    frame: &mut B,
    headers: &Headers,
) -> Result<To<'a>, Reason> {
    let nd::Message::Solicitation { target, source, .. } = nd::parse(frame.data(), headers)? else {
        return Err(Reason::ServiceReply);
    };
    if source.is_unspecified() || !service.pool_v6.contains(&target) {
        return Err(Reason::ServiceReply);
    }
    let mac = ServicePort::ROUTER;
    let advertisement =
        nd::Advertisement { target, mac, router: true, asker: Some(source), asker_mac: service.peer };
    if advertisement.write(frame) { Ok(To::Host) } else { Err(Reason::NoHeadroom) }
}

/// Turns a service's packet to an identity into one to the ENI that it stands for; `None` if it is none such.
fn reply<'a, B: Buffer>(
    tables: &'a Tables,
    service: &ServicePort,
    frame: &mut B,
    headers: &Headers,
    notes: &mut impl Notes,
) -> Option<To<'a>> {
    let data = frame.data_mut();
    let is_behind = |address: IpAddr| LinkLocal::at(address).filter(|of| service.services.contains(of));
    let (from, port, eni) = match headers.network {
        Network::Ipv4 => {
            let (from, to) = ipv4_addresses(data);
            let of = is_behind(Ipv4Addr::from_bits(from).into())?;
            let asker = service.asker_v4(to)?;
            let eni = tables.local_eni(asker.port)?;
            let from = if asker.in_vpc && of == LinkLocal::Dns { eni.resolver? } else { from };
            readdress_v4(data, headers, from, eni.v4.at(asker.position)?);
            (of, asker.port, eni)
        }
        Network::Ipv6 => {
            let (from, to) = ipv6_addresses(data);
            let of = is_behind(Ipv6Addr::from_bits(from).into())?;
            let asker = service.asker_v6(to)?;
            let eni = tables.local_eni(asker.port)?;
            readdress_v6(data, headers, from, eni.v6.at(asker.position)?);
            (of, asker.port, eni)
        }
        Network::Arp => return None,
    };
    if from == LinkLocal::Metadata {
        // ADDR-18: an instance that routes for others, such as containers, does not pass it on unless allowed to.
        set_ttl(data, headers, eni.metadata_hop_limit);
    }
    notes.note(Step::Reply(from));
    set_macs(data, eni.mac, eni.router_mac);
    Some(To::Eni(port, eni))
}
