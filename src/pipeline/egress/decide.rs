//! What happens to a packet for which no decision is at hand: its checks, its destination, its rules, and the decision for those
//! that follow it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::send;
use crate::{
    flow::connections::Way,
    flowlogs::path,
    gateway,
    packet::{
        Buffer, Headers, Mac, Network, flow_hash, ipv4_addresses, ipv6_addresses, macs, parse, protocol,
        set_macs, strip_vlan,
    },
    pipeline::{
        AtEni, Check, Context, Notes, Packet, Reason, Sink, Step, early, local, mirror, mtu,
        security::{self, Seen},
    },
    services::nd,
    tables::{Destination, Direction, LocalEni, Place, PortIndex, Tables, Target, VlanMode},
};

/// Where a packet goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) enum Class {
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

/// What a packet is.
struct Classified {
    headers: Headers,
    class: Class,
}

/// Where a packet goes that goes to no ENI of its VPC by its address or MAC.
#[derive(Clone, Copy)]
enum Otherwise {
    /// Nowhere, or to the node itself.
    Refused(Reason),
    /// Where the subnet's route table says.
    Routed(Target),
    /// From an appliance back to its load balancer.
    LoadBalancer,
}

impl From<Reason> for Otherwise {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

/// Takes a packet of an ENI to where it goes, and remembers the way for those that follow it.
#[inline(never)]
pub(in crate::pipeline) fn decide<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    vlan: VlanMode,
    eni: &LocalEni,
    mut frame: B,
) {
    let tables = ctx.tables;
    ctx.sink.note(Step::From(eni));
    let Classified { headers, class } = match classify(vlan, eni, &mut frame, ctx.sink) {
        Ok(classified) => classified,
        Err(reason) => return local::serve(ctx, port, eni, Class::Refused(reason), reason, frame),
    };
    let found = find(tables, eni, class, frame.data(), ctx.sink);
    if let Err(Otherwise::Refused(Reason::Service)) = found {
        // SEC-17, NACL-5: what is for the node is nothing of theirs.
        mirror::copy(ctx, port, eni, Direction::Egress, &frame);
        return local::serve(ctx, port, eni, class, Reason::Service, frame);
    }
    match permit(ctx, port, eni, &headers, &found, &frame) {
        Ok(packet) => match found {
            Ok(to) => {
                mirror::copy(ctx, port, eni, Direction::Egress, &frame);
                forward(ctx, port, eni, class, &packet, to, frame);
            }
            Err(Otherwise::Routed(target)) => gateway::leave(ctx, port, eni, &packet, target, frame),
            Err(Otherwise::LoadBalancer) => gateway::come_back(ctx, port, eni, &packet, frame),
            Err(Otherwise::Refused(reason)) => local::serve(ctx, port, eni, class, reason, frame),
        },
        Err(reason) => {
            let at = AtEni { port, direction: Direction::Egress, vni: eni.vni };
            early::turn_away(ctx, at, reason, frame);
        }
    }
}

/// The ENI's security groups, for what goes somewhere its connection, and its subnet's network ACL if it is known by now that the
/// packet leaves the subnet.
///
/// # Errors
///
/// Who denies it.
fn permit<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    headers: &Headers,
    found: &Result<&Destination, Otherwise>,
    frame: &B,
) -> Result<Packet, Reason> {
    let seen = Seen::of(ctx, Direction::Egress, (port, eni), headers, frame.data())?;
    let flow = flow_hash(frame.data(), headers);
    let entry = match found {
        Err(Otherwise::Refused(_)) => security::judge(ctx, eni, &seen).map(|_| None)?,
        Ok(_) | Err(Otherwise::LoadBalancer) => security::admit(ctx, port, eni, &seen, flow, || false)?,
        Err(Otherwise::Routed(target)) => {
            let tables = ctx.tables;
            security::admit(ctx, port, eni, &seen, flow, || gateway::always_tracked(tables, *target))?
        }
    };
    if let Ok(to) = found
        && to.subnet != eni.subnet
    {
        security::leave(ctx, eni, &seen)?;
    }
    Ok(Packet { seen, flow, entry })
}

/// Parses a frame, first without its tag where the port says so.
#[inline(always)]
pub(in crate::pipeline) fn parse_frame<B: Buffer>(vlan: VlanMode, frame: &mut B) -> Result<Headers, Reason> {
    if !frame.is_contiguous() {
        return Err(Reason::MultiSegment);
    }
    match parse(frame.data()) {
        Err(Reason::Vlan) if vlan == VlanMode::Strip && strip_vlan(frame).is_some() => parse(frame.data()),
        parsed => parsed,
    }
}

/// What a packet is, and whether the ENI may send it.
fn classify<B: Buffer>(
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
            let (from, _) = ipv4_addresses(frame);
            // ADDR-5, ADDR-7.
            if eni.source_dest_check && !eni.v4.contain(from) {
                return Err(if is_dhcp(&headers) && from == 0 { Reason::Service } else { Reason::SrcCheck });
            }
            note_source(eni, notes);
            oversize(eni, &headers)?;
            notes.note(Step::Passed(Check::Size));
            if routed {
                return Ok(Classified { headers, class: Class::V4 });
            }
        }
        Network::Ipv6 => {
            if nd::is_for_node(&headers) {
                return Ok(Classified { headers, class: Class::NeighbourDiscovery });
            }
            let (from, _) = ipv6_addresses(frame);
            if eni.source_dest_check && !eni.v6.contain(from) {
                return Err(Reason::SrcCheck);
            }
            note_source(eni, notes);
            oversize(eni, &headers)?;
            notes.note(Step::Passed(Check::Size));
            if routed {
                return Ok(Classified { headers, class: Class::V6 });
            }
        }
        Network::Arp => return Ok(Classified { headers, class: Class::Arp }),
    }
    if destination.is_group() {
        return Err(group(destination, &headers));
    }
    // L2-5: the MAC decides, whatever the destination address.
    Ok(Classified { headers, class: Class::Mac })
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
pub(in crate::pipeline) fn is_dhcp(headers: &Headers) -> bool {
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

/// The destination. What is for the node itself, finds none.
fn find<'a>(
    tables: &'a Tables,
    eni: &LocalEni,
    class: Class,
    frame: &[u8],
    notes: &mut impl Notes,
) -> Result<&'a Destination, Otherwise> {
    let to = match class {
        Class::V4 => {
            let (_, to) = ipv4_addresses(frame);
            notes.note(Step::ByAddress(Ipv4Addr::from_bits(to).into()));
            tables.enis.get_v4(eni.vni, to).ok_or_else(|| unknown_v4(eni, to, notes))?
        }
        Class::V6 => {
            let (_, to) = ipv6_addresses(frame);
            notes.note(Step::ByAddress(Ipv6Addr::from_bits(to).into()));
            tables.enis.get_v6(eni.vni, to).ok_or_else(|| unknown_v6(eni, to, notes))?
        }
        Class::Mac => {
            let (to, _) = macs(frame);
            notes.note(Step::ByMac(to));
            let found = tables.enis.get_mac(eni.vni, to);
            // L2-7: an ENI of another subnet is as unknown as none.
            found.filter(|found| found.subnet == eni.subnet).ok_or(Reason::UnknownMac)?
        }
        Class::Arp | Class::NeighbourDiscovery => return Err(Reason::Service.into()),
        Class::Refused(reason) => return Err(reason.into()),
    };
    // An ENI's address is one of the VPC, whose blocks every route table routes `local` (RT-2): it need not be asked, unless it
    // has longer routes (RT-7), which never steer what stays in the subnet (FWD-15).
    if eni.steered
        && to.subnet != eni.subnet
        && let Some(target) = steered(eni, class, frame, notes)
    {
        return Err(Otherwise::Routed(target));
    }
    notes.note(Step::To(to));
    // FWD-19.
    if to.location == eni.location {
        return Err(Reason::ToSelf.into());
    }
    if let Place::Gateway(gateway) = to.location.place() {
        return Err(Otherwise::Routed(Target::Gateway(gateway)));
    }
    Ok(to)
}

/// Where an IPv4 packet to the router's MAC goes that is to no ENI.
#[inline(never)]
fn unknown_v4(eni: &LocalEni, to: u32, notes: &mut impl Notes) -> Otherwise {
    let [first, second, ..] = to.to_be_bytes();
    match (first, second) {
        // ADDR-17, ADDR-19, ADDR-22, ADDR-25.
        (169, 254) => Reason::Service.into(),
        // ADDR-2.
        _ if to == u32::MAX || eni.subnet_v4.is_some_and(|net| net.broadcast().to_bits() == to) => {
            Reason::Broadcast.into()
        }
        _ if eni.resolver == Some(to) => Reason::Service.into(),
        // FWD-20.
        (0 | 127 | 224.., _) => Reason::InvalidDestination.into(),
        // GW-23.
        _ if eni.load_balancer == Some(to) => Otherwise::LoadBalancer,
        // ADDR-23, ADDR-24.
        _ if is_router(eni, Ipv4Addr::from_bits(to).into()) => Reason::Service.into(),
        _ => routed(eni.routes.lookup_v4(to), notes),
    }
}

/// Where an IPv6 packet to the router's MAC goes that is to no ENI.
#[inline(never)]
fn unknown_v6(eni: &LocalEni, to: u128, notes: &mut impl Notes) -> Otherwise {
    let address = Ipv6Addr::from_bits(to);
    match address.segments() {
        // ADDR-17, ADDR-19, ADDR-22, ADDR-25.
        [0xfd00, 0x0ec2, ..] => Reason::Service.into(),
        _ if is_router(eni, address.into()) => Reason::Service.into(),
        // Unspecified, loopback, multicast, and the link-local of anybody else: never routed (RFC 4291 §2.5, §2.7).
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] | [0xff00..=0xffff | 0xfe80..=0xfebf, ..] => {
            Reason::InvalidDestination.into()
        }
        _ => routed(eni.routes.lookup_v6(to), notes),
    }
}

/// Whether an address is one of the router's in the ENI's subnet: the block's base plus one, and over IPv6 the two
/// link-local ones (L2-20).
pub(in crate::pipeline) fn is_router(eni: &LocalEni, address: IpAddr) -> bool {
    let link_local = |address| address == nd::ROUTER || address == eni.router_mac.link_local();
    eni.is_router(address) || matches!(address, IpAddr::V6(address) if link_local(address))
}

/// RT-13 and FWD-4.
fn routed(route: Option<Target>, notes: &mut impl Notes) -> Otherwise {
    notes.note(Step::Route(route));
    match route {
        None => Reason::NoRoute.into(),
        Some(Target::Local) => Reason::NoMapping.into(),
        Some(target) => Otherwise::Routed(target),
    }
}

/// What a route table with longer routes than the VPC's blocks says of a packet to an ENI; `None`: to deliver it.
#[inline(never)]
fn steered(eni: &LocalEni, class: Class, frame: &[u8], notes: &mut impl Notes) -> Option<Target> {
    let route = match class {
        Class::V4 => eni.routes.lookup_v4(ipv4_addresses(frame).1),
        Class::V6 => eni.routes.lookup_v6(ipv6_addresses(frame).1),
        _ => None,
    };
    let target = route.filter(|&target| target != Target::Local)?;
    notes.note(Step::Route(route));
    Some(target)
}

/// Sends a packet to an ENI, and remembers the way.
fn forward<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    class: Class,
    packet: &Packet,
    to: &Destination,
    mut frame: B,
) {
    let rewrites = class != Class::Mac;
    if let Some(entry) = packet.entry {
        let way = Way { to: to.location, mac: to.mac, router: to.router_mac, rewrites };
        ctx.connections.decide_egress(entry, ctx.tables.generation, &way);
    }
    packet.passed(ctx, eni, path::SAME_VPC);
    if eni.narrow
        && let Some(host) = to.location.host().and_then(|host| ctx.tables.hosts.get(host))
    {
        mtu::clamp(ctx.sink, host, frame.data_mut());
    }
    if rewrites {
        // FWD-6; FWD-5: nothing else of the packet changes.
        set_macs(frame.data_mut(), to.mac, to.router_mac);
        ctx.sink.note(Step::Rewritten(to.mac, to.router_mac));
    }
    send(ctx, port, eni, (to.location, packet.flow), frame);
}
