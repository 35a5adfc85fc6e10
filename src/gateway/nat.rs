//! NAT gateways (GW-10 to GW-20).
//!
//! A packet from inside gets one of the gateway's addresses and a port of its share for source and goes on by the route table
//! of the gateway's subnet; the reply to that port goes back the same way. Between IPv6 clients and IPv4 servers
//! ([`super::nat64`]) the IP version changes with it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use arrayvec::ArrayVec;

use super::{
    nat64,
    subject::Subject,
    way::{Way, go_from},
};
use crate::{
    flow::{
        Endpoint,
        nat::{Key, Pool, Refusal},
    },
    packet::{
        Address, Buffer, Fragment, Headers, Network, Tuple,
        fragment::dont_fragment,
        icmp, is_error, mapped,
        nat64::{embed, embedded},
        parse, protocol, quoted, set_ttl, tcp, translate, translate_error, ttl, unmapped,
    },
    pipeline::{Allowance, Context, Reason, Sink, Step, cross},
    tables::{Direction, Gateway, NatGateway, Shown, SubnetExits, Target},
};

/// Gateways that translate a packet one after the other, at most: of more, the route tables send it in a circle.
const MAX_GATEWAYS: u8 = 4;

/// Whether NAT gateways take packets of a kind (GW-10, GW-13, GW-18).
///
/// # Errors
///
/// Why not.
pub(super) fn takes(way: &Way<'_>) -> Result<(), Reason> {
    let Headers { network, fragment, .. } = way.headers;
    if let IpAddr::V6(to) = way.destination
        && embedded(to.to_bits()).is_none()
    {
        return Err(Reason::GatewayFamily);
    }
    match (network, way.headers.protocol) {
        (_, protocol::UDP) => Ok(()),
        (_, protocol::TCP) | (Network::Ipv4, protocol::ICMP) | (Network::Ipv6, protocol::ICMPV6)
            if fragment != Fragment::Whole =>
        {
            Err(Reason::NatFrag)
        }
        (_, protocol::TCP) => Ok(()),
        (Network::Ipv4, protocol::ICMP) | (Network::Ipv6, protocol::ICMPV6)
            if is_error(&way.headers) || icmp::is_echo(&way.headers) =>
        {
            Ok(())
        }
        // What it is, the first fragment told.
        (Network::Ipv6, _) if fragment == Fragment::Later => Ok(()),
        _ => Err(Reason::NatProto),
    }
}

/// A gateway, and what of it is needed for a packet.
#[derive(Clone, Copy)]
pub(super) struct At<'t> {
    gateway: &'t Gateway,
    nat: &'t NatGateway,
    subnet: &'t SubnetExits,
    /// The packet's share.
    share: u8,
    /// The destination port with which the packet leaves, which a later fragment doesn't say.
    port: u16,
}

impl At<'_> {
    /// What the network ACL of the gateway's subnet says of a packet that crosses the subnet's edge (GW-15).
    ///
    /// # Errors
    ///
    /// `nacl_out` or `nacl_in`.
    fn cross(&self, direction: Direction, remote: IpAddr, headers: &Headers) -> Result<(), Reason> {
        let (protocol, port) = match headers.fragment {
            // GW-13.
            Fragment::Later => (protocol::UDP, self.port),
            _ => (headers.protocol, headers.destination_port),
        };
        cross(&self.subnet.acl, direction, &Shown { remote, protocol, port })
    }
}

/// What becomes of a packet.
pub(super) struct New<A> {
    /// Its addresses and ports; of an ICMP error, only the addresses count.
    pub(super) tuple: Tuple<A>,
    /// Of an ICMP error, those of the packet that it quotes.
    pub(super) quoted: Option<Tuple<A>>,
}

impl<A: Address> New<A> {
    /// Of a packet of a flow that goes that way, or of an error about the other direction's, between these addresses.
    fn of(subject: &Subject, flow: Tuple<A>, (source, destination): (A, A)) -> Self {
        if subject.is_error {
            Self { tuple: Tuple { source, destination, ..flow }, quoted: Some(flow.reversed()) }
        } else {
            Self { tuple: flow, quoted: None }
        }
    }
}

/// Why a packet does not pass.
enum Refused {
    /// Without an answer.
    Silently(Reason),
    /// Its sender gets a reset (GW-12).
    Reset,
    /// Its sender gets ICMP Time Exceeded (MTU-12).
    Expired,
    /// Its sender gets the MTU of its way (MTU-3).
    TooBig(u16),
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self::Silently(reason)
    }
}

/// Takes a packet through, in either direction.
pub(super) fn pass<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: Way<'_>,
    (gateway, nat): (&Gateway, &NatGateway),
    (subject, share): (Subject, u8),
    frame: B,
) {
    let Some(subnet) = ctx.tables.exits.subnet(nat.subnet) else {
        return ctx.drop(way.port, Reason::Blackhole, frame);
    };
    let at = At { gateway, nat, subnet, share, port: subject.tuple.destination_port };
    let neighbour = ctx.tables.owner(way.vni, way.source).is_some_and(|owner| owner.subnet == nat.subnet);
    if !neighbour && let Err(reason) = at.cross(Direction::Ingress, way.source, &way.headers) {
        return ctx.drop(way.port, reason, frame);
    }
    match (way.source, way.destination) {
        // From one family to the other nothing is.
        (IpAddr::V4(source), IpAddr::V4(own)) if nat.has(way.destination) => {
            inward(ctx, at, &way, &subject, (source, own), frame);
        }
        _ => outward(ctx, at, &way, &subject, frame),
    }
}

/// Gives a packet from inside its source outside, and sends it on.
fn outward<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    at: At<'_>,
    way: &Way<'_>,
    subject: &Subject,
    mut frame: B,
) {
    let hops = ttl(frame.data(), &way.headers);
    let (new, remote) = match source_outside(ctx, at, way, subject, (hops, &frame)) {
        Ok(found) => found,
        Err(refused) => return refuse(ctx, at, way, &refused, frame),
    };
    let new = New::of(subject, new, (new.source, remote));
    set_ttl(frame.data_mut(), &way.headers, hops - 1);
    let translated = match way.destination {
        IpAddr::V4(_) => {
            rewrite(frame.data_mut(), &way.headers, &new);
            Ok(())
        }
        IpAddr::V6(_) => nat64::to_v4(ctx.flows, &mut frame, &way.headers, &new),
    };
    match translated {
        Ok(()) => on(ctx, at, way, frame),
        Err(reason) => ctx.drop(way.port, reason, frame),
    }
}

/// What a packet's flow is outside, in the direction from inside, and the IPv4 address that the packet is for.
fn source_outside<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    at: At<'_>,
    way: &Way<'_>,
    subject: &Subject,
    (hops, frame): (u8, &B),
) -> Result<(Tuple<u32>, u32), Refused> {
    // What it has translated already.
    if at.nat.has(way.source) || way.gateways >= MAX_GATEWAYS {
        return Err(Reason::TooManyHops.into());
    }
    let remote = remote(at.nat, way.destination)?;
    if hops <= 1 {
        return Err(Refused::Expired);
    }
    let flow = subject.flow(at.gateway);
    // An error is about what came in.
    let mut inside = if subject.is_error { flow.reversed() } else { flow };
    let to = match unmapped(inside.destination.address) {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => embedded(address.to_bits()).ok_or(Reason::NatNoState)?,
    };
    inside.destination.address = to.mapped();
    let key = ctx.flows.nat.key(inside);
    let outside = if subject.is_error {
        ctx.flows.nat.find_inside(ctx.now, &key).ok_or(Reason::NatNoState)?
    } else if icmp::is_echo_reply(&way.headers) {
        // To whom nobody may ask (GW-14).
        return Err(Reason::NatNoState.into());
    } else {
        fits(ctx, at, way, remote, frame.data())?;
        bind::<B, S>(ctx, at, &key, tcp::flags(frame.data(), &way.headers))?
    };
    let IpAddr::V4(source) = unmapped(outside.address) else { return Err(Reason::NatNoState.into()) };
    note::<B, S>(ctx, inside.source, outside);
    let (source_port, destination_port) = (outside.port, inside.destination.port);
    Ok((Tuple { source: source.to_bits(), destination: to, source_port, destination_port }, remote.to_bits()))
}

/// The source outside of a flow: of its binding, or of one that is made for it.
fn bind<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    at: At<'_>,
    key: &Key,
    flags: u8,
) -> Result<Endpoint, Refused> {
    let addresses = at.nat.addresses.iter().take(8).map(|address| address.mapped());
    let addresses: ArrayVec<u128, 8> = addresses.collect();
    if let Some(outside) = ctx.flows.nat.established(ctx.now, key, flags, Some(&addresses)) {
        return Ok(outside);
    }
    let share = at.gateway.shares_of(ctx.sink.workers());
    let pool = Pool { addresses: &addresses, block: at.share, share };
    ctx.flows.nat.begin(ctx.now, key, flags, Some(pool)).map_err(|refusal| match refusal {
        Refusal::Ports => Reason::NatPorts.into(),
        Refusal::Full => Reason::NatFull.into(),
        Refusal::Reset => Refused::Reset,
        Refusal::NoState => Reason::NatNoState.into(),
    })
}

/// The IPv4 address that a packet from inside is for.
fn remote(nat: &NatGateway, destination: IpAddr) -> Result<Ipv4Addr, Reason> {
    match destination {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(address) => {
            let address = Ipv4Addr::from_bits(embedded(address.to_bits()).ok_or(Reason::GatewayFamily)?);
            if nat64::may_embed(address, nat.public) { Ok(address) } else { Err(Reason::InvalidDestination) }
        }
    }
}

/// Whether a packet fits the gateway that it leaves through next, or may be cut.
fn fits<S>(
    ctx: &Context<'_, S>,
    at: At<'_>,
    way: &Way<'_>,
    remote: Ipv4Addr,
    frame: &[u8],
) -> Result<(), Refused> {
    let Some(Target::Gateway(next)) = at.subnet.routes.lookup_v4(remote.to_bits()) else { return Ok(()) };
    let Some(next) = ctx.tables.exits.gateway(next) else { return Ok(()) };
    let (mtu, whole) = match way.destination {
        IpAddr::V4(_) => (next.mtu, dont_fragment(frame)),
        // RFC 7915 §5.1: the header becomes 20 bytes shorter.
        IpAddr::V6(_) => (next.mtu.saturating_add(20), way.headers.fragment == Fragment::Whole),
    };
    if whole && way.headers.ip_len > u32::from(mtu) { Err(Refused::TooBig(mtu)) } else { Ok(()) }
}

/// Gives a packet to one of the gateway's own addresses its client for destination, and sends it there.
fn inward<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    at: At<'_>,
    way: &Way<'_>,
    subject: &Subject,
    (source, own): (Ipv4Addr, Ipv4Addr),
    mut frame: B,
) {
    let flow = subject.flow(at.gateway);
    // An error quotes what went out.
    let outside = if subject.is_error { flow } else { flow.reversed() };
    let nat = &mut ctx.flows.nat;
    let key = nat.key(outside);
    let found = if !subject.is_error {
        nat.inbound(ctx.now, &key, tcp::flags(frame.data(), &way.headers))
    } else if outside.source.address == mapped(own.into()) {
        nat.find_outside(ctx.now, &key)
    } else {
        None
    };
    let Some(client) = found else { return ctx.drop(way.port, Reason::NatNoState, frame) };
    let hops = ttl(frame.data(), &way.headers);
    if hops <= 1 {
        return refuse(ctx, at, way, &Refused::Expired, frame);
    }
    let at = At { port: client.port, ..at };
    note::<B, S>(ctx, client, outside.source);
    set_ttl(frame.data_mut(), &way.headers, hops - 1);
    let IpAddr::V4(remote) = unmapped(outside.destination.address) else {
        return ctx.drop(way.port, Reason::NatNoState, frame);
    };
    let (source_port, destination_port) = (outside.destination.port, client.port);
    let (source, remote) = (source.to_bits(), remote.to_bits());
    match unmapped(client.address) {
        IpAddr::V4(address) => {
            let destination = address.to_bits();
            let flow = Tuple { source: remote, destination, source_port, destination_port };
            rewrite(frame.data_mut(), &way.headers, &New::of(subject, flow, (source, destination)));
            on(ctx, at, way, frame);
        }
        IpAddr::V6(address) => {
            let destination = address.to_bits();
            let flow = Tuple { source: embed(remote), destination, source_port, destination_port };
            let new = New::of(subject, flow, (embed(source), destination));
            nat64::enter(ctx, at, way, &new, frame);
        }
    }
}

fn note<B, S: Sink<B>>(ctx: &mut Context<'_, S>, inside: Endpoint, outside: Endpoint) {
    let at = |end: Endpoint| SocketAddr::new(unmapped(end.address), end.port);
    ctx.sink.note(Step::Bound(at(inside), at(outside)));
}

/// Gives a packet, and what it quotes, other addresses and ports.
fn rewrite(frame: &mut [u8], headers: &Headers, new: &New<u32>) {
    match &new.quoted {
        None => translate(frame, headers, &new.tuple),
        Some(inner) => {
            if let Some(quote) = quoted(frame, headers) {
                translate_error(frame, headers, &quote, new.tuple.addresses(), inner);
            }
        }
    }
}

/// Sends a packet of the gateway's on, by the route table of its subnet (GW-10).
pub(super) fn on<B: Buffer, S: Sink<B>>(ctx: &mut Context<'_, S>, at: At<'_>, way: &Way<'_>, frame: B) {
    let At { gateway, subnet, .. } = at;
    let headers = match parse(frame.data()) {
        Ok(headers) => headers,
        Err(reason) => return ctx.drop(way.port, reason, frame),
    };
    let mut way = Way {
        headers,
        vni: gateway.vni,
        zone: Some(subnet.zone),
        mtu: u16::MAX,
        passed_on: false,
        gateways: way.gateways + 1,
        ..*way
    };
    way.readdressed(frame.data());
    let route = subnet.routes.lookup(way.destination);
    ctx.sink.note(Step::Route(route));
    match route {
        Some(target) => {
            let may = |_: &mut Context<'_, S>, stays: bool, _, _: &B| {
                if stays { Ok(()) } else { at.cross(Direction::Egress, way.destination, &way.headers) }
            };
            go_from(ctx, way, (at.nat.subnet, target), may, frame);
        }
        None => ctx.drop(way.port, Reason::NoRoute, frame),
    }
}

/// Drops a packet, and sends the answer to it, if it gets one, from the gateway.
#[cold]
#[inline(never)]
fn refuse<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    at: At<'_>,
    way: &Way<'_>,
    refused: &Refused,
    mut frame: B,
) {
    let reason = match refused {
        Refused::Silently(reason) => *reason,
        Refused::Reset => Reason::NatNoState,
        Refused::Expired => Reason::TtlExpired,
        Refused::TooBig(_) => Reason::MtuDf,
    };
    ctx.dropped(way.port, reason, &frame);
    let Some(own) = at.nat.addresses.first() else { return };
    let address: IpAddr = match way.headers.network {
        Network::Ipv6 => Ipv6Addr::from_bits(embed(*own)).into(),
        Network::Ipv4 | Network::Arp => Ipv4Addr::from_bits(*own).into(),
    };
    // The way back sets the MACs.
    let (router, sender, headers) = ((at.gateway.mac, address), at.gateway.mac, &way.headers);
    let allowed = |ctx: &mut Context<'_, S>| ctx.allowances.take(way.port, Allowance::IcmpError, ctx.now);
    let answered = match refused {
        Refused::Silently(_) => false,
        Refused::Reset => tcp::reset(&mut frame, headers),
        Refused::Expired => allowed(ctx) && icmp::time_exceeded(&mut frame, headers, router, sender),
        Refused::TooBig(mtu) => allowed(ctx) && icmp::too_big(&mut frame, headers, router, sender, *mtu),
    };
    if answered {
        on(ctx, at, way, frame);
    }
}
