//! From an instance: who sends, to whom, and the way there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;

use super::{Burst, Check, Context, MAX_BURST, Notes, Reason, Sink, Step, ingress, local, mtu};
use crate::{
    ffi::prefetch,
    packet::{
        Buffer, Headers, Mac, Network, Plain, Sender, flow_hash, ipv4_addresses, ipv6_addresses, macs, parse,
        protocol, set_macs, strip_vlan,
    },
    services::nd,
    tables::{
        Destination, Host, LocalEni, MacKey, Place, PortIndex, Reachability, Tables, Target, V4Key, V6Key,
        VlanMode,
    },
};

/// Where a packet goes from the first stage.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// On the L2 path: to the ENI with the destination MAC.
    Mac,
    /// On the L3 path: to the ENI with the destination address.
    V4,
    /// The same.
    V6,
    /// To the node itself.
    Arp,
    /// To the node itself.
    NeighbourDiscovery,
    /// Nowhere.
    Refused(Reason),
}

/// What the first stage leaves for the others. Scalars, each read as it was written: a copy of the whole right behind the
/// writes of its parts would wait for them longer than a stage takes.
struct Classified {
    /// Of the lookup's key.
    lookup: u64,
    /// Of the flow.
    flow: u32,
    class: Class,
}

impl Classified {
    #[inline(always)]
    fn only(class: Class) -> Self {
        Self { lookup: 0, flow: 0, class }
    }
}

/// How far ahead of the packet in work the next packets' first bytes are asked for.
const AHEAD: usize = 4;

/// Takes the packets of an ENI through the egress stages.
#[inline(never)]
pub(super) fn process<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    vlan: VlanMode,
    eni: &LocalEni,
    burst: &mut Burst<B>,
) {
    let tables = ctx.tables;
    burst.iter().take(AHEAD).for_each(Buffer::prefetch);
    let mut classified: ArrayVec<Classified, MAX_BURST> = ArrayVec::new();
    for index in 0..burst.len() {
        if let Some(coming) = burst.get(index + AHEAD) {
            coming.prefetch();
        }
        if let Some(frame) = burst.get_mut(index) {
            classified.push(classify(tables, vlan, eni, frame, ctx.sink));
        }
    }
    let mut found: ArrayVec<Result<(&Destination, Option<&Host>), Reason>, MAX_BURST> = ArrayVec::new();
    for (classified, frame) in classified.iter().zip(burst.iter()) {
        found.push(find(tables, eni, classified, frame.data(), ctx.sink));
    }
    if eni.narrow {
        for (found, frame) in found.iter().zip(burst.iter_mut()) {
            if let Ok((_, Some(host))) = found {
                mtu::clamp(ctx.sink, host, frame.data_mut());
            }
        }
    }
    let mut frames = burst.drain(..);
    for (classified, found) in classified.iter().zip(&found) {
        let Some(frame) = frames.next() else { break };
        match *found {
            Ok((to, host)) => forward(ctx, port, eni, classified, to, host, frame),
            Err(reason) => local::serve(ctx, port, eni, classified.class, reason, frame),
        }
    }
}

/// Parses a frame, first without its tag where the port says so.
#[inline(always)]
pub(super) fn parse_frame<B: Buffer>(vlan: VlanMode, frame: &mut B) -> Result<Headers, Reason> {
    if !frame.is_contiguous() {
        return Err(Reason::MultiSegment);
    }
    match parse(frame.data()) {
        Err(Reason::Vlan) if vlan == VlanMode::Strip && strip_vlan(frame).is_some() => parse(frame.data()),
        parsed => parsed,
    }
}

/// First stage: what the packet is, and whether the ENI may send it. Asks for the memory of the lookup.
#[inline(always)]
fn classify<B: Buffer>(
    tables: &Tables,
    vlan: VlanMode,
    eni: &LocalEni,
    frame: &mut B,
    notes: &mut impl Notes,
) -> Classified {
    notes.note(Step::From(eni));
    match classify_usual(tables, eni, frame) {
        Some(classified) => {
            notes.note(Step::Passed(Check::SourceMac));
            notes.note(Step::Passed(Check::SourceAddress));
            notes.note(Step::Passed(Check::Size));
            classified
        }
        None => classify_any(tables, vlan, eni, frame, notes)
            .unwrap_or_else(|reason| Classified::only(Class::Refused(reason))),
    }
}

/// What [`classify_any`] says of the usual packet, in few compares: plain IPv4 from an address of the ENI to a unicast MAC.
/// `None` of all others, right or wrong.
#[inline(always)]
fn classify_usual<B: Buffer>(tables: &Tables, eni: &LocalEni, frame: &B) -> Option<Classified> {
    let data = frame.data();
    let packet = Plain::of(data)?;
    let (destination, source) = macs(data);
    let usual = source == eni.mac
        && !destination.is_group()
        && eni.v4.contain(packet.source)
        && packet.ip_len <= eni.mtu
        && frame.is_contiguous();
    if !usual {
        return None;
    }
    let flow = packet.flow_hash();
    Some(if destination == eni.router_mac {
        let lookup = tables.enis.v4.hash(&V4Key::exact(eni.vni, packet.destination));
        tables.enis.v4.prefetch(lookup);
        Classified { lookup, flow, class: Class::V4 }
    } else {
        let lookup = tables.enis.mac.hash(&MacKey::new(eni.vni, destination));
        tables.enis.mac.prefetch(lookup);
        Classified { lookup, flow, class: Class::Mac }
    })
}

/// [`classify`] of any packet.
#[inline(never)]
fn classify_any<B: Buffer>(
    tables: &Tables,
    vlan: VlanMode,
    eni: &LocalEni,
    frame: &mut B,
    notes: &mut impl Notes,
) -> Result<Classified, Reason> {
    let headers = parse_frame(vlan, frame)?;
    let frame = frame.data();
    let (destination, source) = macs(frame);
    // L2-3: nothing waives it.
    if source != eni.mac {
        return Err(Reason::SrcMac);
    }
    notes.note(Step::Passed(Check::SourceMac));
    let routed = destination == eni.router_mac;
    match headers.network {
        Network::Ipv4 => {
            let (from, to) = ipv4_addresses(frame);
            // ADDR-5, ADDR-7.
            if eni.source_dest_check && !eni.v4.contain(from) {
                return Err(if is_dhcp(&headers) && from == 0 { Reason::Service } else { Reason::SrcCheck });
            }
            note_source(eni, notes);
            oversize(eni, &headers)?;
            notes.note(Step::Passed(Check::Size));
            if routed {
                let lookup = tables.enis.v4.hash(&V4Key::exact(eni.vni, to));
                tables.enis.v4.prefetch(lookup);
                return Ok(Classified { lookup, flow: flow_hash(frame, &headers), class: Class::V4 });
            }
        }
        Network::Ipv6 => {
            if nd::is_for_node(&headers) {
                return Ok(Classified::only(Class::NeighbourDiscovery));
            }
            let (from, to) = ipv6_addresses(frame);
            if eni.source_dest_check && !eni.v6.contain(from) {
                return Err(Reason::SrcCheck);
            }
            note_source(eni, notes);
            oversize(eni, &headers)?;
            notes.note(Step::Passed(Check::Size));
            if routed {
                let lookup = tables.enis.v6.hash(&V6Key::exact(eni.vni, to));
                tables.enis.v6.prefetch(lookup);
                return Ok(Classified { lookup, flow: flow_hash(frame, &headers), class: Class::V6 });
            }
        }
        Network::Arp => return Ok(Classified::only(Class::Arp)),
    }
    if destination.is_group() {
        return Err(group(destination, &headers));
    }
    // L2-5: the MAC decides, whatever the destination address.
    let lookup = tables.enis.mac.hash(&MacKey::new(eni.vni, destination));
    tables.enis.mac.prefetch(lookup);
    Ok(Classified { lookup, flow: flow_hash(frame, &headers), class: Class::Mac })
}

#[inline(always)]
fn note_source(eni: &LocalEni, notes: &mut impl Notes) {
    let check = Check::SourceAddress;
    notes.note(if eni.source_dest_check { Step::Passed(check) } else { Step::Waived(check) });
}

/// MTU-2.
#[inline]
fn oversize(eni: &LocalEni, headers: &Headers) -> Result<(), Reason> {
    if headers.ip_len > u32::from(eni.mtu) { Err(Reason::OversizeFrame) } else { Ok(()) }
}

/// Whether a packet is a DHCP client's (RFC 2131 §4.1, RFC 8415 §7.2).
pub(super) fn is_dhcp(headers: &Headers) -> bool {
    headers.protocol == protocol::UDP && matches!(headers.destination_port, 67 | 547)
}

/// Why a frame to a group address goes nowhere.
#[cold]
#[inline(never)]
fn group(destination: Mac, headers: &Headers) -> Reason {
    match destination {
        _ if is_dhcp(headers) => Reason::Service,
        // L2-8, L2-9.
        Mac::BROADCAST => Reason::Broadcast,
        _ => Reason::Multicast,
    }
}

/// Second stage: the destination. Asks for the memory of the next stage. What is for the node itself, finds none.
#[inline(always)]
fn find<'a>(
    tables: &'a Tables,
    eni: &LocalEni,
    classified: &Classified,
    frame: &[u8],
    notes: &mut impl Notes,
) -> Result<(&'a Destination, Option<&'a Host>), Reason> {
    let hash = classified.lookup;
    let to = match classified.class {
        Class::V4 => {
            let (_, to) = ipv4_addresses(frame);
            notes.note(Step::ByAddress(Ipv4Addr::from_bits(to).into()));
            tables.enis.find_v4(eni.vni, to, hash).ok_or_else(|| unknown_v4(eni, to, notes))?
        }
        Class::V6 => {
            let (_, to) = ipv6_addresses(frame);
            notes.note(Step::ByAddress(Ipv6Addr::from_bits(to).into()));
            tables.enis.find_v6(eni.vni, to, hash).ok_or_else(|| unknown_v6(eni, to, notes))?
        }
        Class::Mac => {
            let (to, _) = macs(frame);
            notes.note(Step::ByMac(to));
            let found = tables.enis.mac.find(hash, &MacKey::new(eni.vni, to)).map(|slot| &slot.destination);
            // L2-7: an ENI of another subnet is as unknown as none.
            found.filter(|found| found.subnet == eni.subnet).ok_or(Reason::UnknownMac)?
        }
        Class::Arp | Class::NeighbourDiscovery => return Err(Reason::Service),
        Class::Refused(reason) => return Err(reason),
    };
    notes.note(Step::To(to));
    // FWD-19.
    if to.location == eni.location {
        return Err(Reason::ToSelf);
    }
    // By address, it is one of the VPC: every route table routes the VPC's blocks `local` (RT-2) and has no longer route,
    // so it need not be asked.
    let host = match to.location.place() {
        Place::Remote(host) => tables.hosts.get(host),
        Place::Local(_) | Place::Nowhere => None,
    };
    if let Some(host) = host {
        prefetch(host);
    }
    Ok((to, host))
}

/// Why an IPv4 packet to the router's MAC goes nowhere.
#[cold]
#[inline(never)]
fn unknown_v4(eni: &LocalEni, to: u32, notes: &mut impl Notes) -> Reason {
    let [first, second, ..] = to.to_be_bytes();
    match (first, second) {
        // ADDR-17, ADDR-19, ADDR-22, ADDR-25.
        (169, 254) => Reason::Service,
        // ADDR-2.
        _ if to == u32::MAX || eni.subnet_v4.is_some_and(|net| net.broadcast().to_bits() == to) => {
            Reason::Broadcast
        }
        _ if eni.resolver == Some(to) => Reason::Service,
        // FWD-20.
        (0 | 127 | 224.., _) => Reason::InvalidDestination,
        // ADDR-23, ADDR-24.
        _ if is_router(eni, Ipv4Addr::from_bits(to).into()) => Reason::Service,
        _ => unrouted(eni.routes.lookup_v4(to), notes),
    }
}

/// Why an IPv6 packet to the router's MAC goes nowhere.
#[cold]
#[inline(never)]
fn unknown_v6(eni: &LocalEni, to: u128, notes: &mut impl Notes) -> Reason {
    let address = Ipv6Addr::from_bits(to);
    match address.segments() {
        // ADDR-17, ADDR-19, ADDR-22, ADDR-25.
        [0xfd00, 0x0ec2, ..] => Reason::Service,
        _ if is_router(eni, address.into()) => Reason::Service,
        // Unspecified, loopback, multicast, and the link-local of anybody else: never routed (RFC 4291 §2.5, §2.7).
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] | [0xff00..=0xffff | 0xfe80..=0xfebf, ..] => Reason::InvalidDestination,
        _ => unrouted(eni.routes.lookup_v6(to), notes),
    }
}

/// Whether an address is one of the router's in the ENI's subnet: the block's base plus one, and over IPv6 the two
/// link-local ones (L2-20).
pub(super) fn is_router(eni: &LocalEni, address: IpAddr) -> bool {
    let link_local = |address| address == nd::ROUTER || address == eni.router_mac.link_local();
    eni.is_router(address) || matches!(address, IpAddr::V6(address) if link_local(address))
}

/// RT-13 and FWD-4.
fn unrouted(route: Option<Target>, notes: &mut impl Notes) -> Reason {
    notes.note(Step::Route(route));
    match route {
        None => Reason::NoRoute,
        Some(Target::Local) => Reason::NoMapping,
    }
}

/// Third stage: rewrite, encapsulate, send.
#[inline(always)]
fn forward<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    classified: &Classified,
    to: &Destination,
    host: Option<&Host>,
    mut frame: B,
) {
    if classified.class != Class::Mac {
        // FWD-6; FWD-5: nothing else of the packet changes.
        set_macs(frame.data_mut(), to.mac, to.router_mac);
        ctx.sink.note(Step::Rewritten(to.mac, to.router_mac));
    }
    match host {
        Some(host) => match encapsulate(eni, host, classified.flow, &mut frame) {
            Ok(()) => {
                ctx.sink.note(Step::Encapsulated(host, eni.vni));
                ctx.sink.transmit(host.uplink, frame);
            }
            Err(reason) => mtu::refused(ctx, port, eni, (host, classified.flow), reason, frame),
        },
        None => match to.location.place() {
            Place::Local(receiver) => ingress::pass_on(ctx, receiver, eni.vni, frame),
            Place::Remote(_) => ctx.drop(port, Reason::UnderlayUnreachable, frame),
            Place::Nowhere => ctx.drop(port, Reason::Unattached, frame),
        },
    }
}

/// Puts the header towards a host in front of a frame.
#[inline(always)]
pub(super) fn encapsulate<B: Buffer>(
    eni: &LocalEni,
    host: &Host,
    flow: u32,
    frame: &mut B,
) -> Result<(), Reason> {
    if frame.data().len() > usize::from(host.max_inner) {
        return Err(match host.reachability {
            Reachability::Ready => Reason::MtuDf,
            Reachability::Unresolved => Reason::UnderlayUnresolved,
            Reachability::Unreachable => Reason::UnderlayUnreachable,
        });
    }
    host.template.encapsulate(frame, eni.vni, Sender { vni: eni.vni, mac: eni.mac }, flow)
}
