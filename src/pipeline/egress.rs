//! From an instance: who sends, to whom, and the way there.

use arrayvec::ArrayVec;

use super::{Burst, Context, MAX_BURST, Reason, Sink, ingress, subnet::SubnetOf};
use crate::{
    ffi::prefetch,
    packet::{
        Buffer, Headers, Mac, Network, Sender, flow_hash, ipv4_addresses, ipv6_addresses, macs, parse,
        protocol, set_macs, strip_vlan,
    },
    services::{Answer, arp, nd},
    tables::{
        Destination, LocalEni, MacKey, Place, PortIndex, Reachability, Tables, Target, V4Key, V6Key, VlanMode,
    },
};

/// How the destination is found.
#[derive(Clone, Copy)]
enum Lookup {
    /// On the L2 path: by the destination MAC.
    Mac,
    /// On the L3 path: by the destination address.
    V4,
    /// The same.
    V6,
}

/// What a packet is, after the first stage.
#[derive(Clone, Copy)]
enum Class {
    /// For an ENI, to be found by a lookup with this hash.
    Unicast(Headers, Lookup, u64),
    /// For the node itself.
    Arp,
    /// For the node itself.
    NeighbourDiscovery(Headers),
}

/// What a packet is, after the second stage.
#[derive(Clone, Copy)]
enum Step {
    /// To be delivered to an ENI, having crossed the router or not.
    Deliver { headers: Headers, to: Destination, routed: bool },
    /// As [`Class::Arp`].
    Arp,
    /// As [`Class::NeighbourDiscovery`].
    NeighbourDiscovery(Headers),
}

/// How far ahead of the packet in work the next packets' first bytes are asked for.
const AHEAD: usize = 4;

/// Takes the packets of an ENI through the egress stages.
#[inline]
pub(super) fn process<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    vlan: VlanMode,
    eni: &LocalEni,
    burst: &mut Burst<B>,
) {
    let tables = ctx.tables;
    burst.iter().take(AHEAD).for_each(Buffer::prefetch);
    let mut classified: ArrayVec<Result<Class, Reason>, MAX_BURST> = ArrayVec::new();
    for index in 0..burst.len() {
        if let Some(coming) = burst.get(index + AHEAD) {
            coming.prefetch();
        }
        if let Some(frame) = burst.get_mut(index) {
            classified.push(classify(tables, vlan, eni, frame));
        }
    }
    let mut steps: ArrayVec<Result<Step, Reason>, MAX_BURST> = ArrayVec::new();
    for (class, frame) in classified.into_iter().zip(burst.iter()) {
        steps.push(class.and_then(|class| find(tables, eni, class, frame.data())));
    }
    for (step, frame) in steps.into_iter().zip(burst.drain(..)) {
        match step {
            Ok(Step::Deliver { headers, to, routed }) => {
                forward(ctx, port, eni, &headers, &to, routed, frame)
            }
            Ok(Step::Arp) => answer(ctx, port, frame, |frame| arp::answer(frame, &SubnetOf { tables, eni })),
            Ok(Step::NeighbourDiscovery(headers)) => {
                answer(ctx, port, frame, |frame| nd::answer(frame, &headers, &SubnetOf { tables, eni }));
            }
            Err(reason) => ctx.drop(port, reason, frame),
        }
    }
}

/// Parses a frame, first without its tag where the port says so.
#[inline]
pub(super) fn parse_frame<B: Buffer>(vlan: VlanMode, frame: &mut B) -> Result<Headers, Reason> {
    if !frame.is_contiguous() {
        return Err(Reason::MultiSegment);
    }
    match parse(frame.data()) {
        Err(Reason::Vlan) if vlan == VlanMode::Strip && strip_vlan(frame) => parse(frame.data()),
        parsed => parsed,
    }
}

/// First stage: what the packet is, and whether the ENI may send it. Asks for the memory of the lookup.
#[inline]
fn classify<B: Buffer>(
    tables: &Tables,
    vlan: VlanMode,
    eni: &LocalEni,
    frame: &mut B,
) -> Result<Class, Reason> {
    let headers = parse_frame(vlan, frame)?;
    let frame = frame.data();
    let (destination, source) = macs(frame);
    // L2-3: nothing waives it.
    if source != eni.mac {
        return Err(Reason::SrcMac);
    }
    let routed = destination == eni.router_mac;
    match headers.network {
        Network::Ipv4 => {
            let (from, to) = ipv4_addresses(frame);
            // ADDR-5, ADDR-7.
            if eni.source_dest_check && !eni.v4.contain(from) {
                return Err(if is_dhcp(&headers) && from == 0 { Reason::Service } else { Reason::SrcCheck });
            }
            oversize(eni, &headers)?;
            if routed {
                let hash = tables.enis.v4.hash(&V4Key::exact(eni.vni, to));
                tables.enis.v4.prefetch(hash);
                return Ok(Class::Unicast(headers, Lookup::V4, hash));
            }
        }
        Network::Ipv6 => {
            if nd::is_for_node(&headers) {
                return Ok(Class::NeighbourDiscovery(headers));
            }
            let (from, to) = ipv6_addresses(frame);
            if eni.source_dest_check && !eni.v6.contain(from) {
                return Err(Reason::SrcCheck);
            }
            oversize(eni, &headers)?;
            if routed {
                let hash = tables.enis.v6.hash(&V6Key::exact(eni.vni, to));
                tables.enis.v6.prefetch(hash);
                return Ok(Class::Unicast(headers, Lookup::V6, hash));
            }
        }
        Network::Arp => return Ok(Class::Arp),
    }
    if destination.is_group() {
        return Err(group(destination, &headers));
    }
    // L2-5: the MAC decides, whatever the destination address.
    let hash = tables.enis.mac.hash(&MacKey::new(eni.vni, destination));
    tables.enis.mac.prefetch(hash);
    Ok(Class::Unicast(headers, Lookup::Mac, hash))
}

/// MTU-2.
#[inline]
fn oversize(eni: &LocalEni, headers: &Headers) -> Result<(), Reason> {
    if headers.ip_len > u32::from(eni.mtu) { Err(Reason::OversizeFrame) } else { Ok(()) }
}

/// Whether a packet is a DHCP client's (RFC 2131 §4.1, RFC 8415 §7.2).
fn is_dhcp(headers: &Headers) -> bool {
    headers.protocol == protocol::UDP && matches!(headers.destination_port, 67 | 547)
}

/// Why a frame to a group address goes nowhere.
#[cold]
fn group(destination: Mac, headers: &Headers) -> Reason {
    match destination {
        _ if is_dhcp(headers) => Reason::Service,
        // L2-8, L2-9.
        Mac::BROADCAST => Reason::Broadcast,
        _ => Reason::Multicast,
    }
}

/// Second stage: the destination. Asks for the memory of the next stage.
#[inline]
fn find(tables: &Tables, eni: &LocalEni, class: Class, frame: &[u8]) -> Result<Step, Reason> {
    let (headers, lookup, hash) = match class {
        Class::Unicast(headers, lookup, hash) => (headers, lookup, hash),
        Class::Arp => return Ok(Step::Arp),
        Class::NeighbourDiscovery(headers) => return Ok(Step::NeighbourDiscovery(headers)),
    };
    let found = match lookup {
        Lookup::V4 => {
            let (_, to) = ipv4_addresses(frame);
            tables.enis.find_v4(eni.vni, to, hash).ok_or_else(|| unknown_v4(eni, to))
        }
        Lookup::V6 => {
            let (_, to) = ipv6_addresses(frame);
            tables.enis.find_v6(eni.vni, to, hash).ok_or_else(|| unknown_v6(eni, to))
        }
        Lookup::Mac => {
            let (to, _) = macs(frame);
            // L2-7: an ENI of another subnet is as unknown as none.
            let found = tables.enis.mac.find(hash, &MacKey::new(eni.vni, to)).map(|slot| &slot.destination);
            found.filter(|found| found.subnet == eni.subnet).ok_or(Reason::UnknownMac)
        }
    };
    let to = *found?;
    // FWD-19.
    if to.mac == eni.mac {
        return Err(Reason::ToSelf);
    }
    // By address, it is one of the VPC: every route table routes the VPC's blocks `local` (RT-2) and has no longer route,
    // so it need not be asked.
    if let Place::Remote(host) = to.location.place()
        && let Some(host) = tables.hosts.get(host)
    {
        prefetch(host);
    }
    Ok(Step::Deliver { headers, to, routed: !matches!(lookup, Lookup::Mac) })
}

/// Why an IPv4 packet to the router's MAC goes nowhere.
#[cold]
fn unknown_v4(eni: &LocalEni, to: u32) -> Reason {
    let [first, second, ..] = to.to_be_bytes();
    match (first, second) {
        // ADDR-17, ADDR-19, ADDR-22, ADDR-25.
        (169, 254) => Reason::Service,
        // ADDR-2.
        _ if to == u32::MAX || eni.subnet_v4.is_some_and(|net| net.broadcast().to_bits() == to) => {
            Reason::Broadcast
        }
        // FWD-20.
        (0 | 127 | 224.., _) => Reason::InvalidDestination,
        // ADDR-23, ADDR-24.
        _ if eni.is_router(std::net::Ipv4Addr::from_bits(to).into()) => Reason::Service,
        _ => unrouted(eni.routes.lookup_v4(to)),
    }
}

/// Why an IPv6 packet to the router's MAC goes nowhere.
#[cold]
fn unknown_v6(eni: &LocalEni, to: u128) -> Reason {
    let address = std::net::Ipv6Addr::from_bits(to);
    let router =
        address == nd::ROUTER || address == eni.router_mac.link_local() || eni.is_router(address.into());
    match address.segments() {
        // ADDR-17, ADDR-19, ADDR-22, ADDR-25.
        [0xfd00, 0x0ec2, ..] => Reason::Service,
        _ if router => Reason::Service,
        // Unspecified, loopback, multicast, and the link-local of anybody else: never routed (RFC 4291 §2.5, §2.7).
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] | [0xff00..=0xffff | 0xfe80..=0xfebf, ..] => Reason::InvalidDestination,
        _ => unrouted(eni.routes.lookup_v6(to)),
    }
}

/// RT-13 and FWD-4.
fn unrouted(route: Option<Target>) -> Reason {
    match route {
        None => Reason::NoRoute,
        Some(Target::Local) => Reason::NoMapping,
    }
}

/// Third stage: rewrite, encapsulate, send.
#[inline]
fn forward<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    headers: &Headers,
    to: &Destination,
    routed: bool,
    mut frame: B,
) {
    if routed {
        // FWD-6; FWD-5: nothing else of the packet changes.
        set_macs(frame.data_mut(), to.mac, to.router_mac);
    }
    match to.location.place() {
        Place::Local(receiver) => ingress::deliver_parsed(ctx, port, receiver, eni.vni, headers, frame),
        Place::Nowhere => ctx.drop(port, Reason::Unattached, frame),
        Place::Remote(host) => {
            let sent = match ctx.tables.hosts.get(host) {
                None => Err(Reason::UnderlayUnreachable),
                Some(host) if host.reachability == Reachability::Unresolved => {
                    Err(Reason::UnderlayUnresolved)
                }
                Some(host) if frame.data().len() > usize::from(host.max_inner) => Err(Reason::UnderlayMtu),
                Some(host) => {
                    let hash = flow_hash(frame.data(), headers);
                    let sender = Sender { vni: eni.vni, mac: eni.mac };
                    host.template.encapsulate(&mut frame, eni.vni, sender, hash).map(|()| host.uplink)
                }
            };
            match sent {
                Ok(uplink) => ctx.sink.transmit(uplink, frame),
                Err(reason) => ctx.drop(port, reason, frame),
            }
        }
    }
}

/// Sends what a service made of a frame back to where it came from.
pub(super) fn answer<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    mut frame: B,
    service: impl FnOnce(&mut B) -> Answer,
) {
    match service(&mut frame) {
        Answer::Reply => ctx.sink.transmit(port, frame),
        Answer::Drop(reason) => ctx.drop(port, reason, frame),
    }
}
