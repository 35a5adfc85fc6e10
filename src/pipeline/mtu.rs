//! Packets that are longer than their path: an answer to the sender, or fragments. And the segment size of TCP, so that
//! there are few of them.
//!
//! None of it is on the path of a usual packet: it begins where a packet does not fit, or where the ENI's MTU is known to
//! be more than an uplink carries.

use std::net::IpAddr;

use super::{Allowance, Check, Context, Notes, Reason, Request, Sink, Step, egress::encapsulate};
use crate::{
    packet::{
        Buffer, ETHERNET, Headers, Network,
        fragment::{dont_fragment, split},
        icmp, parse,
        tcp::{clamp_mss, may_be_syn},
    },
    services::nd,
    tables::{Host, LocalEni, PortIndex, Reachability},
};

/// The longest IP packet that fits the path to a host.
pub(crate) fn path_mtu(host: &Host) -> u16 {
    host.max_inner.saturating_sub(ETHERNET as u16)
}

/// Lowers the segment size that a SYN tells to what fits the path to a host.
#[inline(never)]
pub(super) fn clamp(notes: &mut impl Notes, host: &Host, frame: &mut [u8]) {
    if host.reachability == Reachability::Ready
        && may_be_syn(frame)
        && let Ok(headers) = parse(frame)
        && clamp_mss(frame, &headers, path_mtu(host))
    {
        notes.note(Step::Clamped(path_mtu(host)));
    }
}

/// Sees to a packet that can't go to a host as it is, for any reason. If it is too long, it goes in fragments, or its
/// sender hears the MTU.
#[cold]
#[inline(never)]
pub(super) fn refused<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    (host, flow): (&Host, u32),
    reason: Reason,
    frame: B,
) {
    let (Reason::MtuDf, Ok(headers)) = (reason, parse(frame.data())) else {
        return ctx.drop(port, reason, frame);
    };
    // All fragments of a packet take its flow's path.
    let send = |ctx: &mut Context<'_, S>, mut frame| match encapsulate(eni, host, flow, &mut frame) {
        Ok(()) => {
            ctx.sink.note(Step::Encapsulated(host, eni.vni));
            ctx.sink.transmit(host.uplink, frame);
        }
        Err(reason) => ctx.drop(port, reason, frame),
    };
    let mtu = path_mtu(host);
    fit(ctx, (port, mtu), &headers, frame, send, |ctx, frame| tell(ctx, port, eni, mtu, &headers, frame));
}

/// Sends a packet on that is longer than `mtu`, in fragments, if it may be fragmented. If not, `refuse` has it.
#[cold]
#[inline(never)]
pub(crate) fn fit<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    (port, mtu): (PortIndex, u16),
    headers: &Headers,
    mut frame: B,
    mut send: impl FnMut(&mut Context<'_, S>, B),
    refuse: impl FnOnce(&mut Context<'_, S>, B),
) {
    // Without padding, it may fit.
    frame.truncate(headers.end());
    while frame.data().len() > ETHERNET + usize::from(mtu) {
        if headers.network != Network::Ipv4 || dont_fragment(frame.data()) {
            return refuse(ctx, frame);
        }
        // A copy costs more than forwarding.
        if !ctx.allowances.take(port, Allowance::Fragment, ctx.now) {
            return ctx.drop(port, Reason::FragmentsLimited, frame);
        }
        match split(&mut frame, mtu) {
            Ok(Some(fragment)) => {
                ctx.sink.note(Step::Fragmented(mtu));
                send(ctx, fragment);
            }
            Ok(None) => break,
            Err(Reason::MtuDf) => return refuse(ctx, frame),
            Err(reason) => return ctx.drop(port, reason, frame),
        }
    }
    send(ctx, frame);
}

/// Drops a packet that is too long, and tells its sender (MTU-3, MTU-4), as often as its ENI's allowance lets (MTU-10).
pub(crate) fn tell<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    mtu: u16,
    headers: &Headers,
    mut frame: B,
) {
    ctx.dropped(port, Reason::MtuDf, &frame);
    let router: Option<IpAddr> = match headers.network {
        Network::Ipv4 => eni.router_v4().map(Into::into),
        Network::Ipv6 => Some(nd::ROUTER.into()),
        Network::Arp => None,
    };
    let Some(router) = router.filter(|_| icmp::may_answer(frame.data(), headers)) else { return };
    if may_tell(ctx, port) && icmp::too_big(&mut frame, headers, (eni.router_mac, router), eni.mac, mtu) {
        ctx.sink.transmit(port, frame);
    }
}

/// Uses one of a port's allowance of ICMP errors (MTU-10); `false` if there is none left.
pub(crate) fn may_tell<S: Notes>(ctx: &mut Context<'_, S>, port: PortIndex) -> bool {
    ctx.sink.note(Step::Asks(Request::PathMtu));
    let may = ctx.allowances.take(port, Allowance::IcmpError, ctx.now);
    if may {
        ctx.sink.note(Step::Passed(Check::Allowance));
    }
    may
}
