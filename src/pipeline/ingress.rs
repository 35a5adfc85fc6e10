//! From the underlay, and to an instance: where a packet really came from, and whether the ENI takes it.
//!
//! The usual frame is one of a connection whose packets have come from the same host before ([`usual`]); the first one that comes is an
//! answer ([`answers`]), if the ENI began. All others are looked at by themselves.

mod answers;
mod usual;

use std::{net::IpAddr, num::NonZeroU32};

use arrayvec::ArrayVec;

use self::usual::Here;
use super::{
    AtEni, Burst, Check, Context, MAX_BURST, News, Notes, Reason, Sink, Step, early,
    egress::{parse_frame, transmit_all},
    glance::Glance,
    mirror,
    security::{self, Seen},
    spread::{self, By},
    watch,
};
use crate::{
    flow::connections::{self, Logged, Origin},
    gateway::{self, multicast},
    packet::{
        Buffer, Checked, Headers, Mac, Network, Outer, Plain, PlainV6, Sender, Vni, endpoints, ethertype,
        ethertype_of, flow_hash, igmp, ipv4_addresses, ipv6_addresses, macs, parse, strip_outer, unmapped,
    },
    services::{Answer, Learned, Station, arp, nd},
    tables::{
        Direction, GatewayIndex, HostIndex, LocalEni, MacKey, Place, PortIndex, Tables, Uplink, V4Key, V6Key,
        VlanMode,
    },
};

/// What a frame of the uplink is, after the first stage.
enum Class {
    /// Of the overlay, from a host that is known.
    Overlay(Arrived),
    /// For the node itself.
    Arp,
    /// For the node itself.
    NeighbourDiscovery,
    /// For nobody.
    Refused(Reason),
}

/// What the first stage leaves of an outer header. Scalars, each read as it was written (see `egress`).
struct Arrived {
    host: HostIndex,
    /// [`Origin::host`], where that is all that is known of its sender.
    from: Option<NonZeroU32>,
    vni: Vni,
    sender: Option<Sender>,
    /// Offset of the inner frame, and of what is behind it.
    inner: u16,
    end: u16,
    ecn: u8,
    /// Of the inner frame.
    network: Network,
}

/// Takes the packets of an uplink through the ingress stages.
#[inline(never)]
pub(super) fn process<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    vlan: VlanMode,
    uplink: &Uplink,
    burst: &mut Burst<B>,
) {
    burst.iter().for_each(Buffer::prefetch);
    let Some(here) = Here::of(ctx.tables, uplink) else {
        return process_others(ctx, port, vlan, uplink, burst);
    };
    let mut packets = ArrayVec::new();
    usual::classify(ctx.tables, ctx.connections, &here, burst, &mut packets);
    let mut packets = packets.as_slice();
    // Usual ones together, and others together, in their order: what others change holds for those behind them.
    while !packets.is_empty() {
        let usual = usual::follow(ctx, packets, burst);
        let count = if usual > 0 { usual } else { answers::follow(ctx, packets, burst) };
        if let Some((done, others)) = packets.split_at_checked(count).filter(|_| count > 0) {
            let receivers: ArrayVec<PortIndex, MAX_BURST> = done.iter().map(|packet| packet.port).collect();
            transmit_all(ctx.sink, &receivers, burst);
            packets = others;
            continue;
        }
        let begin = packets.iter().skip(1).take_while(|packet| packet.begins());
        let count = packets.len().min(1 + begin.count());
        if count == burst.len() {
            return process_others(ctx, port, vlan, uplink, burst);
        }
        process_others(ctx, port, vlan, uplink, &mut burst.drain(..count).collect());
        packets = packets.get(count..).unwrap_or_default();
    }
}

/// Takes those packets of an uplink through the stages that have to be looked at by themselves.
#[inline(never)]
fn process_others<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    vlan: VlanMode,
    uplink: &Uplink,
    burst: &mut Burst<B>,
) {
    let tables = ctx.tables;
    let mut classified: ArrayVec<Class, MAX_BURST> = ArrayVec::new();
    for frame in burst.iter_mut() {
        classified.push(classify(tables, vlan, uplink, frame, ctx.sink).unwrap_or_else(Class::Refused));
    }
    let station = Station { mac: uplink.mac, addresses: std::slice::from_ref(&uplink.address) };
    for (class, mut frame) in classified.iter().zip(burst.drain(..)) {
        match class {
            Class::Overlay(arrived) => match receive(tables, arrived, &mut frame, ctx.sink) {
                Ok(Receiver::Port(receiver)) => {
                    take(ctx, receiver, arrived.vni, By::Itself, arrived.from, frame);
                }
                Ok(Receiver::Gateway(index)) => gateway::from_underlay(ctx, port, arrived.vni, index, frame),
                Ok(Receiver::Group) => multicast::receive(ctx, port, arrived.vni, frame),
                Ok(Receiver::Memberships) => match ctx.sink.punt(port, frame) {
                    Ok(()) => ctx.counters.port(port).punted.add(1),
                    Err(frame) => ctx.drop(port, Reason::PuntFull, frame),
                },
                Err(reason) => ctx.drop(port, reason, frame),
            },
            Class::Refused(reason) => ctx.drop(port, *reason, frame),
            Class::Arp => answer(ctx, port, frame, |frame| arp::answer_uplink(frame, &station)),
            Class::NeighbourDiscovery => {
                answer(ctx, port, frame, |frame| match parse(frame.data()) {
                    Ok(headers) => nd::answer_uplink(frame, &headers, &station),
                    Err(reason) => (Answer::Drop(reason), None),
                });
            }
        }
    }
}

/// First stage: the outer and the inner headers. Asks for the memory of the origin check.
#[inline(always)]
fn classify<B: Buffer>(
    tables: &Tables,
    vlan: VlanMode,
    uplink: &Uplink,
    frame: &mut B,
    notes: &mut impl Notes,
) -> Result<Class, Reason> {
    let headers = parse_frame(vlan, frame)?;
    match headers.network {
        Network::Arp => return Ok(Class::Arp),
        Network::Ipv6 if nd::is_for_node(&headers) => return Ok(Class::NeighbourDiscovery),
        Network::Ipv4 | Network::Ipv6 => {}
    }
    if frame.l4_checksum() == Checked::Bad {
        return Err(Reason::UnderlayChecksum);
    }
    let (destination, _) = macs(frame.data());
    if destination != uplink.mac {
        return Err(Reason::UnderlayDestination);
    }
    let outer = Outer::parse(frame.data(), &headers, tables.encapsulation, frame.ip_checksum())?;
    notes.note(Step::Arrived(&outer));
    if outer.destination != uplink.mapped {
        return Err(Reason::UnderlayDestination);
    }
    let inner = frame.data().get(outer.inner.into()..outer.end.into()).ok_or(Reason::Truncated)?;
    let Headers { network, .. } = parse(inner)?;
    let host = tables.hosts.at(outer.source).ok_or(Reason::UnderlaySpoof)?;
    let Outer { vni, sender, inner: start, end, ecn, .. } = outer;
    let mac = sender.map_or(macs(inner).1, |sender| sender.mac);
    prefetch_sender(tables, vni, mac, network, inner);
    let from = match unmapped(outer.source) {
        IpAddr::V4(address) if sender.is_none() => NonZeroU32::new(address.to_bits()),
        _ => None,
    };
    Ok(Class::Overlay(Arrived { host, from, vni, sender, inner: start, end, ecn, network }))
}

/// Asks for the memory in which [`is_from`] will look for the sender.
#[inline(always)]
fn prefetch_sender(tables: &Tables, vni: Vni, mac: Mac, network: Network, inner: &[u8]) {
    let enis = &tables.enis;
    match network {
        Network::Ipv4 => enis.v4.prefetch(enis.v4.hash(&V4Key::exact(vni, ipv4_addresses(inner).0))),
        Network::Ipv6 => enis.v6.prefetch(enis.v6.hash(&V6Key::exact(vni, ipv6_addresses(inner).0))),
        Network::Arp => {}
    }
    enis.mac.prefetch(enis.mac.hash(&MacKey::new(vni, mac)));
}

/// What a frame of the overlay is for.
enum Receiver {
    /// The ENI behind a port.
    Port(PortIndex),
    /// A gateway that this node serves.
    Gateway(GatewayIndex),
    /// The members of a group.
    Group,
    /// The management thread: what an ENI of another host said of its memberships.
    Memberships,
}

/// Second stage: the origin check, and the outer header off. Returns what the inner frame is for.
#[inline(always)]
fn receive<B: Buffer>(
    tables: &Tables,
    arrived: &Arrived,
    frame: &mut B,
    notes: &mut impl Notes,
) -> Result<Receiver, Reason> {
    let inner = frame.data().get(arrived.inner.into()..).ok_or(Reason::Truncated)?;
    let (destination, source) = macs(inner);
    let Some(port) = tables.local.get(arrived.vni, destination) else {
        return to_another(tables, arrived, frame, notes);
    };
    let eni = tables.local_eni(port).ok_or(Reason::NotHere)?;
    // No node sends these: it answers them (L2-10).
    if arrived.network == Network::Arp {
        return Err(Reason::ArpUnanswered);
    }
    if !comes_from_its_origin(tables, arrived, inner, source, eni) {
        return Err(Reason::UnderlaySpoof);
    }
    notes.note(Step::Passed(Check::Origin));
    strip_outer(frame, arrived.inner, arrived.end, arrived.ecn)?;
    notes.note(Step::Decapsulated);
    Ok(Receiver::Port(port))
}

/// [`receive`] of a frame whose destination is no ENI of this node.
#[inline(never)]
fn to_another<B: Buffer>(
    tables: &Tables,
    arrived: &Arrived,
    frame: &mut B,
    notes: &mut impl Notes,
) -> Result<Receiver, Reason> {
    let inner = frame.data().get(arrived.inner.into()..arrived.end.into()).ok_or(Reason::Truncated)?;
    let (destination, source) = macs(inner);
    if destination.is_group() && destination != Mac::BROADCAST {
        return to_group(tables, arrived, source, frame, notes);
    }
    let found = tables.exits.by_mac.get(&destination).filter(|_| tables.vnis.contains(&arrived.vni));
    let Some(&index) = found.filter(|&&index| tables.exits.serves(index)) else {
        return Err(elsewhere(tables, arrived.vni, destination));
    };
    let from = (arrived.host, arrived.vni);
    if !gateway::is_from(tables, from, arrived.sender, index, (inner, arrived.network)) {
        return Err(Reason::UnderlaySpoof);
    }
    notes.note(Step::Passed(Check::Origin));
    strip_outer(frame, arrived.inner, arrived.end, arrived.ecn)?;
    notes.note(Step::Decapsulated);
    Ok(Receiver::Gateway(index))
}

/// [`receive`] of a frame to a group, which comes from its sender's host. What it says of memberships stays as it arrived: the
/// management thread has to know the VPC.
fn to_group<B: Buffer>(
    tables: &Tables,
    arrived: &Arrived,
    source: Mac,
    frame: &mut B,
    notes: &mut impl Notes,
) -> Result<Receiver, Reason> {
    let sender = tables.enis.get_mac(arrived.vni, source).ok_or(Reason::Multicast)?;
    let domain = tables.multicast.domain(sender.subnet).ok_or(Reason::Multicast)?;
    let named = arrived.sender.is_none_or(|named| named.mac == source && named.vni == arrived.vni);
    if !named || !sender.location.is_at(arrived.host) {
        return Err(Reason::UnderlaySpoof);
    }
    notes.note(Step::Passed(Check::Origin));
    let inner = frame.data().get(arrived.inner.into()..arrived.end.into()).ok_or(Reason::Truncated)?;
    if arrived.network != Network::Ipv4 {
        return Err(Reason::Multicast);
    }
    if domain.igmp && igmp::is_igmp(&parse(inner)?) {
        return Ok(Receiver::Memberships);
    }
    strip_outer(frame, arrived.inner, arrived.end, arrived.ecn)?;
    notes.note(Step::Decapsulated);
    Ok(Receiver::Group)
}

/// Why an inner frame to a MAC that is not here goes nowhere.
#[cold]
fn elsewhere(tables: &Tables, vni: Vni, destination: Mac) -> Reason {
    if !tables.vnis.contains(&vni) {
        Reason::UnknownVni
    } else if destination == Mac::BROADCAST {
        Reason::Broadcast
    } else if destination.is_group() {
        Reason::Multicast
    } else if tables.enis.get_mac(vni, destination).is_some() {
        Reason::NotHere
    } else {
        Reason::UnknownMac
    }
}

/// P-4, whichever way it came.
#[inline(always)]
fn comes_from_its_origin(
    tables: &Tables,
    arrived: &Arrived,
    inner: &[u8],
    source: Mac,
    receiver: &LocalEni,
) -> bool {
    is_from(tables, arrived, inner, source, receiver)
        || is_from_beyond(tables, arrived, inner, source, receiver)
}

/// P-4: whether the inner sender lives behind the outer source. What the sending node wrote tells the path: the router's
/// MAC of the receiver's subnet if it routed, the sender's if not.
#[inline(always)]
fn is_from(tables: &Tables, arrived: &Arrived, inner: &[u8], source: Mac, receiver: &LocalEni) -> bool {
    let (host, vni) = (arrived.host, arrived.vni);
    let routed = source == receiver.router_mac;
    let by_address = || match arrived.network {
        Network::Ipv4 => tables.enis.get_v4(vni, ipv4_addresses(inner).0),
        Network::Ipv6 => tables.enis.get_v6(vni, ipv6_addresses(inner).0),
        Network::Arp => None,
    };
    // Geneve names the sender, which makes the check exact.
    let named = arrived.sender.map(|sender| (sender, tables.enis.get_mac(sender.vni, sender.mac)));
    match (named, routed) {
        (Some((_, None)), _) => false,
        (Some((sender, Some(eni))), true) => {
            let has_address = || by_address().is_some_and(|owner| owner.mac == sender.mac);
            sender.vni == vni && eni.location.is_at(host) && (!eni.source_dest_check || has_address())
        }
        (Some((sender, _)), false) if sender.mac != source || sender.vni != vni => false,
        (None, true) => {
            by_address().is_some_and(|eni| eni.location.is_at(host)) || tables.hosts.forwards_for(vni, host)
        }
        (_, false) => tables
            .enis
            .get_mac(vni, source)
            .is_some_and(|eni| eni.location.is_at(host) && eni.subnet == receiver.subnet),
    }
}

/// P-4, of a frame that comes from another VPC over a peering or a transit gateway, or from a gateway.
#[inline(never)]
fn is_from_beyond(
    tables: &Tables,
    arrived: &Arrived,
    inner: &[u8],
    source: Mac,
    receiver: &LocalEni,
) -> bool {
    let exits = &tables.exits;
    let (host, vni) = (arrived.host, arrived.vni);
    let Some((address, _)) = endpoints(inner, arrived.network).filter(|_| source == receiver.router_mac)
    else {
        return false;
    };
    let lives = |of| tables.owner(of, address).filter(|eni| eni.location.is_at(host));
    let Some(sender) = arrived.sender else {
        return exits.edges_of.contains(&(vni, host))
            || exits.origins(vni, address).any(|of| lives(of).is_some())
            || exits.joined_to(vni).any(|of| tables.hosts.forwards_for(of, host));
    };
    // A NAT gateway is known by its MAC as ENIs are, and is at all the hosts that serve it.
    let eni = tables.enis.get_mac(sender.vni, sender.mac);
    match eni.filter(|eni| !matches!(eni.location.place(), Place::Gateway(_))) {
        Some(eni) if !eni.location.is_at(host) => false,
        Some(eni) if eni.source_dest_check => exits
            .origins(vni, address)
            .any(|of| of == sender.vni && lives(of).is_some_and(|owner| owner.mac == sender.mac)),
        Some(_) => exits.joined_to(vni).any(|of| of == sender.vni),
        None => exits.by_mac.get(&sender.mac).is_some_and(|&index| {
            exits.edges.contains(&(index, host)) && exits.edges_of.contains(&(vni, host))
        }),
    }
}

/// Gives a frame for the ENI behind the port `to` to its owner, which may be this worker. What the ENI does not take is
/// counted at its port.
#[inline(always)]
pub(crate) fn pass_on<B: Buffer, S: Sink<B>>(ctx: &mut Context<'_, S>, to: PortIndex, vni: Vni, frame: B) {
    take(ctx, to, vni, By::Itself, None, frame);
}

/// Takes on frames that another worker handed over for the ENI behind the port `to`.
pub(super) fn take_over<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    to: PortIndex,
    vni: Vni,
    burst: &mut Burst<B>,
) {
    burst.drain(..).for_each(|frame| take(ctx, to, vni, By::Worker, None, frame));
}

/// [`pass_on`] of a frame which may come from the underlay, of a host with that [`Origin::host`].
#[inline(always)]
fn take<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    to: PortIndex,
    vni: Vni,
    by: By,
    host: Option<NonZeroU32>,
    frame: B,
) {
    let at = AtEni { port: to, direction: Direction::Ingress, vni };
    let eni = ctx.tables.local_eni(to);
    if let Some(part) = spread::elsewhere(ctx, at, eni, by, frame.data()) {
        return ctx.sink.hand_over(part, at, frame);
    }
    let admitted = admit(ctx.tables, to, vni, frame.data(), ctx.sink);
    let passed = admitted.and_then(|eni| {
        let (_, mac) = macs(frame.data());
        let origin = host.map(|host| Origin { host, mac, routed: mac == eni.router_mac });
        secure(ctx, to, eni, origin.as_ref(), frame.data())?;
        if eni.watched { watch::enter(ctx, to, eni, &frame) } else { Ok(()) }
    });
    match passed {
        Ok(()) => ctx.sink.transmit(to, frame),
        Err(reason) => early::turn_away(ctx, at, reason, frame),
    }
}

/// Gives a frame of the link-local services to the ENI behind the port `to`: no rule is asked (SEC-17, NACL-5).
pub(super) fn pass_answer<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    to: PortIndex,
    vni: Vni,
    frame: B,
) {
    match admit(ctx.tables, to, vni, frame.data(), ctx.sink) {
        Ok(eni) => {
            mirror::copy(ctx, to, eni, Direction::Ingress, &frame);
            ctx.sink.transmit(to, frame);
        }
        Err(reason) => ctx.drop(to, reason, frame),
    }
}

/// Whether the ENI's connections, its subnet's network ACL and its security groups let a packet in.
#[inline(always)]
fn secure<S: Notes>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    origin: Option<&Origin>,
    frame: &[u8],
) -> Result<(), Reason> {
    match decided(ctx, port, eni, origin, frame) {
        Some(()) => Ok(()),
        None => decide(ctx, port, eni, origin, frame),
    }
}

/// Whether a decision is at hand: of the usual packet of a connection.
#[inline(always)]
fn decided<S>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    origin: Option<&Origin>,
    frame: &[u8],
) -> Option<()> {
    match Plain::of(frame) {
        Some(plain) => {
            let glance = Glance::v4(ctx.connections, port, Direction::Ingress, &plain, frame);
            decided_about(ctx, eni, origin, glance, frame)
        }
        None => decided_v6(ctx, port, eni, origin, frame),
    }
}

/// The same over IPv6, apart so that the code of the other is short.
#[inline(never)]
fn decided_v6<S>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    origin: Option<&Origin>,
    frame: &[u8],
) -> Option<()> {
    let plain = PlainV6::of(frame)?;
    let glance = Glance::v6(ctx.connections, port, Direction::Ingress, &plain, frame)?;
    decided_about(ctx, eni, origin, glance, frame)
}

#[inline(always)]
fn decided_about<S>(
    ctx: &mut Context<'_, S>,
    eni: &LocalEni,
    origin: Option<&Origin>,
    glance: Glance,
    frame: &[u8],
) -> Option<()> {
    let (direction, now) = (Direction::Ingress, connections::clock(ctx.now));
    let Glance { key, ip_len, tcp_flags, .. } = glance;
    let (entry, bytes) = (ctx.connections.candidate(key.hash), ip_len.into());
    let hot = ctx.connections.confirm(entry, &key.words, || Glance::wide(direction, frame))?;
    let settled = hot.is_settled(direction, ctx.tables.generation, now, tcp_flags);
    if !settled && !hot.follows(direction, ctx.tables.generation, now, tcp_flags) {
        return None;
    }
    if let Some(origin) = origin {
        hot.come_from(origin);
    }
    if !settled {
        let logged = Logged { direction, bytes, tcp_flags, path: 0 };
        ctx.connections.follow(entry, ctx.now, &eni.timeouts, &logged);
    } else if hot.settled(direction, now, &eni.timeouts, bytes) {
        ctx.connections.sum_up(entry);
    }
    Some(())
}

/// Decides about a packet, and remembers it for those that follow.
#[inline(never)]
fn decide<S: Notes>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    origin: Option<&Origin>,
    frame: &[u8],
) -> Result<(), Reason> {
    let tables = ctx.tables;
    let headers = parse(frame)?;
    let seen = Seen::of(ctx, Direction::Ingress, (port, eni), &headers, frame)?;
    security::enter(ctx, eni, &seen, frame)?;
    let remote = seen.remote();
    let always_tracked =
        || eni.routes.lookup(remote).is_some_and(|target| gateway::always_tracked(tables, target));
    let entry = security::admit(ctx, port, eni, &seen, flow_hash(frame, &headers), always_tracked)?;
    if let Some(entry) = entry {
        ctx.connections.decide_ingress(entry, tables.generation, origin);
    }
    security::passed(ctx, eni, &seen, entry, 0);
    Ok(())
}

/// Last check before an instance gets a frame: that the ENI behind the port is still the one it was meant for (tables may
/// have changed while it was handed over), and that the address is the ENI's.
#[inline(always)]
fn admit<'t>(
    tables: &'t Tables,
    port: PortIndex,
    vni: Vni,
    frame: &[u8],
    notes: &mut impl Notes,
) -> Result<&'t LocalEni, Reason> {
    let eni = tables.local_eni(port).ok_or(Reason::NotHere)?;
    let (destination, _) = macs(frame);
    if eni.vni != vni || eni.mac != destination {
        return admit_group(tables, port, eni, frame, notes)
            .filter(|()| eni.vni == vni)
            .map(|()| eni)
            .ok_or(Reason::NotHere);
    }
    notes.note(Step::ToLocal(port, eni));
    let check = Check::DestinationAddress;
    if !eni.source_dest_check {
        notes.note(Step::Waived(check));
    } else if has_destination(eni, frame) {
        notes.note(Step::Passed(check));
    } else {
        return Err(Reason::DstCheck);
    }
    Ok(eni)
}

/// ADDR-6: whether the destination address of a frame, which was parsed on the way here, is the ENI's.
#[inline(always)]
fn has_destination(eni: &LocalEni, frame: &[u8]) -> bool {
    match ethertype_of(frame) {
        ethertype::IPV4 => eni.v4.contain(ipv4_addresses(frame).1),
        ethertype::IPV6 => eni.v6.contain(ipv6_addresses(frame).1),
        _ => false,
    }
}

/// [`admit`] of a frame to a group that the ENI is a member of. Its destination is not checked (MC-9).
#[inline(never)]
fn admit_group(
    tables: &Tables,
    port: PortIndex,
    eni: &LocalEni,
    frame: &[u8],
    notes: &mut impl Notes,
) -> Option<()> {
    let (destination, _) = macs(frame);
    let (_, group) = ipv4_addresses(frame);
    let is_member = destination.is_group()
        && ethertype_of(frame) == ethertype::IPV4
        && tables.multicast.is_member(eni.subnet, port, group);
    is_member.then(|| notes.note(Step::ToLocal(port, eni)))
}

/// Sends the answer to a message of the uplink back, and passes on what the message told of a neighbour.
fn answer<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    mut frame: B,
    service: impl FnOnce(&mut B) -> (Answer, Option<Learned>),
) {
    let (answer, learned) = service(&mut frame);
    match answer {
        Answer::Reply => ctx.sink.transmit(port, frame),
        Answer::Drop(reason) => ctx.drop(port, reason, frame),
    }
    if let Some(neighbour) = learned {
        ctx.sink.tell(News::Neighbour(port, neighbour));
    }
}
