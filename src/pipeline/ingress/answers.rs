//! Answers: the first frames that come in of connections which are tracked, so that no rule is asked about them. What is left to find
//! out is whether they come from where they may.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
};

use super::{
    Arrived, comes_from_its_origin, has_destination,
    usual::{self, Usual},
};
use crate::{
    flow::{
        Tcp,
        connections::{self, Logged, Origin},
    },
    packet::{Buffer, Network, PlainOuter, ethertype, ethertype_of, macs, mapped, strip_outer},
    pipeline::{Context, Sink, glance::Glance},
    tables::{Direction, LocalEni},
};

/// Takes answers to their ENIs, up to the first frame that is none, and the outer headers off. Returns how many.
#[inline(never)]
pub(super) fn follow<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    packets: &[Usual],
    frames: &mut [B],
) -> usize {
    usual::run(packets, frames, |packet, frame| answers(ctx, packet, frame))
}

fn answers<B: Buffer, S: Sink<B>>(ctx: &mut Context<'_, S>, packet: &Usual, frame: &mut B) -> Option<()> {
    let &Usual { ref key, found, host, port, end, ip_len, tcp_flags, ecn } = packet;
    let (tables, direction) = (ctx.tables, Direction::Ingress);
    let eni = tables.local_eni(port).filter(|eni| is_plain(eni) && ctx.sink.owns(port, 0))?;
    let inner = frame.data().get(PlainOuter::LEN..end.into())?;
    let hot = ctx.connections.confirm(found, key, || Glance::wide(direction, inner))?;
    if !hot.awaits(connections::clock(ctx.now)) || Tcp::opens(tcp_flags) {
        return None;
    }
    if ctx.connections.cold(found)?.eni != eni.stay {
        return None;
    }
    let (_, mac) = macs(inner);
    // ADDR-6, ADDR-7.
    if eni.source_dest_check && !has_destination(eni, inner) {
        return None;
    }
    let network = if ethertype_of(inner) == ethertype::IPV4 { Network::Ipv4 } else { Network::Ipv6 };
    let from = NonZeroU32::new(host)?;
    let host = tables.hosts.at(mapped(IpAddr::V4(Ipv4Addr::from_bits(host))))?;
    let inner_at = PlainOuter::LEN as u16;
    let arrived =
        Arrived { host, from: Some(from), vni: eni.vni, sender: None, inner: inner_at, end, ecn, network };
    if !comes_from_its_origin(tables, &arrived, inner, mac, eni) {
        return None;
    }
    strip_outer(frame, inner_at, end, ecn).ok()?;
    let origin = Origin { host: from, mac, routed: mac == eni.router_mac };
    ctx.connections.decide_ingress(found, tables.generation, Some(&origin));
    let logged = Logged { direction, bytes: ip_len.into(), tcp_flags, path: 0 };
    ctx.connections.follow(found, ctx.now, &eni.timeouts, &logged);
    Some(())
}

/// Whether nothing else is asked about what comes in to an ENI of a tracked connection.
fn is_plain(eni: &LocalEni) -> bool {
    !eni.watched && !eni.tcp_window_check && eni.workers <= 1 && eni.acl.allows_all()
}
