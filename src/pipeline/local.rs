//! What an instance asks of the node itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    Allowance, Check, Context, News, Reason, Request, Sink, Step,
    egress::{Class, is_dhcp, is_router},
    service,
    subnet::SubnetOf,
};
use crate::{
    gateway::multicast,
    packet::{Buffer, arp::Arp, ethertype, ethertype_of, icmp, ipv4_addresses, ipv6_addresses, macs, parse},
    services::{Answer, arp, nd},
    tables::{LocalEni, PortIndex},
};

/// Serves what is for the node itself, drops the rest.
#[inline(never)]
pub(super) fn serve<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    class: Class,
    reason: Reason,
    frame: B,
) {
    let subnet = SubnetOf { tables: ctx.tables, eni };
    match class {
        Class::Arp => answer(ctx, port, Request::Arp, frame, |frame| match arp::answer(frame, &subnet) {
            Answer::Reply => Ok(Arp::parse(frame.data()).ok().map(|reply| reply.sender_ip.into())),
            Answer::Drop(reason) => Err(reason),
        }),
        Class::NeighbourDiscovery => answer(ctx, port, Request::NeighbourDiscovery, frame, |frame| {
            let headers = parse(frame.data())?;
            match nd::answer(frame, &headers, &subnet) {
                Answer::Reply => Ok(Some(Ipv6Addr::from_bits(ipv6_addresses(frame.data()).0).into())),
                Answer::Drop(reason) => Err(reason),
            }
        }),
        Class::Refused(Reason::Multicast) => multicast::send(ctx, port, eni, frame),
        _ if reason == Reason::Service => serve_packet(ctx, port, eni, frame),
        Class::Mac | Class::V4 | Class::V6 | Class::Refused(_) => ctx.drop(port, reason, frame),
    }
}

/// Serves an IP packet to an address of the node.
fn serve_packet<B: Buffer, S: Sink<B>>(ctx: &mut Context<'_, S>, port: PortIndex, eni: &LocalEni, frame: B) {
    // The router is only asked for answers, so that none need be looked at beyond the allowance.
    let for_router = is_to_router(eni, frame.data());
    if for_router && !ctx.allowances.take(port, Allowance::Answer, ctx.now) {
        return ctx.drop(port, Reason::AnswersLimited, frame);
    }
    match parse(frame.data()) {
        Ok(headers) if is_dhcp(&headers) => {
            ctx.sink.note(Step::Asks(Request::Dhcp));
            if !for_router && !ctx.allowances.take(port, Allowance::Answer, ctx.now) {
                ctx.drop(port, Reason::AnswersLimited, frame);
            } else if let Err(frame) = ctx.sink.punt(port, frame) {
                ctx.drop(port, Reason::PuntFull, frame);
            } else {
                ctx.counters.port(port).punted.add(1);
            }
        }
        // ADDR-23; that of another subnet has no mapping.
        Ok(headers) if for_router && icmp::is_echo_request(&headers) => {
            ctx.sink.note(Step::Asks(Request::Echo));
            reply(ctx, port, frame, |frame| icmp::reply(frame, &headers).map(|()| None));
        }
        Ok(headers) => match service::asked(eni, frame.data(), &headers) {
            Some(asked) => service::ask(ctx, port, eni, asked, &headers, frame),
            None => ctx.drop(port, Reason::Service, frame),
        },
        Err(reason) => ctx.drop(port, reason, frame),
    }
}

/// Whether an IP packet is for the router of the ENI's subnet.
fn is_to_router(eni: &LocalEni, frame: &[u8]) -> bool {
    let to = match ethertype_of(frame) {
        ethertype::IPV4 => Ipv4Addr::from_bits(ipv4_addresses(frame).1).into(),
        _ => Ipv6Addr::from_bits(ipv6_addresses(frame).1).into(),
    };
    is_router(eni, to)
}

/// Answers a request in place, if the ENI has an answer left.
fn answer<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    request: Request,
    frame: B,
    service: impl FnOnce(&mut B) -> Result<Option<IpAddr>, Reason>,
) {
    ctx.sink.note(Step::Asks(request));
    if !ctx.allowances.take(port, Allowance::Answer, ctx.now) {
        return ctx.drop(port, Reason::AnswersLimited, frame);
    }
    reply(ctx, port, frame, service);
}

/// Answers a request in place, for which the allowance was taken. The service says which address's MAC, the answer's
/// source, it told, if it did.
fn reply<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    mut frame: B,
    service: impl FnOnce(&mut B) -> Result<Option<IpAddr>, Reason>,
) {
    ctx.sink.note(Step::Passed(Check::Allowance));
    match service(&mut frame) {
        Ok(told) => {
            if let Some(address) = told {
                ctx.sink.tell(News::Told(port, address, macs(frame.data()).1));
            }
            ctx.sink.transmit(port, frame);
        }
        Err(reason) => ctx.drop(port, reason, frame),
    }
}
