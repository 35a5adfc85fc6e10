//! NAT64 at a NAT gateway (GW-18): IPv6 clients reach IPv4 servers under 64:ff9b::/96, by RFC 6146 with the conversion of RFC
//! 7915.

use std::net::Ipv4Addr;

use super::{
    nat::{At, New, on},
    stateful::Flows,
    way::Way,
};
use crate::{
    packet::{
        Buffer, Headers,
        fragment::dont_fragment,
        nat64::{self, LONGEST_FRAGMENT},
        parse,
    },
    pipeline::{Context, Reason, Sink, fit},
};

/// Whether packets may go to an IPv4 address under the well-known prefix: a public NAT gateway's to none that only means
/// something inside (RFC 6052 §3.1), anybody's to none that is never routed (FWD-20).
///
/// Addresses for documentation and benchmarks are let through: the routes decide, as for IPv4.
pub(super) fn may_embed(address: Ipv4Addr, public: bool) -> bool {
    let [first, second, ..] = address.octets();
    let never = matches!((first, second), (0 | 127 | 224.., _) | (169, 254));
    // RFC 6598.
    let shared = first == 100 && second & 0xc0 == 64;
    !never && !(public && (address.is_private() || shared))
}

/// Makes a packet to a server one of IPv4.
pub(super) fn to_v4<B: Buffer>(
    flows: &mut Flows,
    frame: &mut B,
    headers: &Headers,
    new: &New<u32>,
) -> Result<(), Reason> {
    nat64::to_v4(frame, headers, &new.tuple, new.quoted.as_ref(), flows.next_identification())
}

/// Makes a packet to a client one of IPv6, and sends it there: in fragments if it is longer than any IPv6 way is sure to carry,
/// and may be cut.
pub(super) fn enter<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    at: At<'_>,
    way: &Way<'_>,
    new: &New<u128>,
    frame: B,
) {
    let whole = dont_fragment(frame.data());
    let mtu = if whole { u16::MAX } else { LONGEST_FRAGMENT };
    let refuse = |ctx: &mut Context<'_, S>, frame| ctx.drop(way.port, Reason::MtuDf, frame);
    let send = |ctx: &mut Context<'_, S>, mut frame: B| {
        let converted = parse(frame.data())
            .and_then(|headers| nat64::to_v6(&mut frame, &headers, &new.tuple, new.quoted.as_ref()));
        match converted {
            Ok(()) => on(ctx, at, way, frame),
            Err(reason) => ctx.drop(way.port, reason, frame),
        }
    };
    fit(ctx, (way.port, mtu), &way.headers, frame, send, refuse);
}
