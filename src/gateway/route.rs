//! The walk through route tables: from a target to an ENI or a gateway, through peerings and transit gateways.

use super::way::Way;
use crate::{
    pipeline::{Notes, Reason, Step},
    tables::{
        Attachment, AttachmentIndex, AttachmentKind, Destination, GatewayIndex, PeerIndex, Place, Tables,
        Target, TransitTarget,
    },
};

/// Tables that a packet is looked up in, at most.
const MAX_HOPS: u32 = 8;

/// MTU-5.
const TRANSIT_MTU: u16 = 8500;

/// Where a walk ends.
#[derive(Clone, Copy)]
pub(super) enum End<'t> {
    /// At an ENI of the VPC that the packet is in now.
    Eni(&'t Destination),
    /// At a gateway.
    Gateway(GatewayIndex),
}

/// Follows a target.
///
/// # Errors
///
/// Why the packet goes nowhere.
pub(super) fn resolve<'t>(
    tables: &'t Tables,
    way: &mut Way<'_>,
    mut target: Target,
    notes: &mut impl Notes,
) -> Result<End<'t>, Reason> {
    for _ in 0..MAX_HOPS {
        match target {
            Target::Local => return local(tables, way),
            Target::Blackhole => return Err(Reason::Blackhole),
            Target::Invalid => return Err(Reason::GwTargetInvalid),
            Target::Eni(mac) => {
                let found = tables.enis.get_mac(way.vni, mac).ok_or(Reason::Blackhole)?;
                return match found.location.place() {
                    // RT-12.
                    Place::Nowhere => Err(Reason::Blackhole),
                    // An appliance's own subnet sends to the appliance.
                    _ if way.eni.is_some_and(|eni| eni.location == found.location) => Err(Reason::ToSelf),
                    _ => Ok(End::Eni(found)),
                };
            }
            Target::Peer(peer) => return peering(tables, way, peer, notes),
            Target::Gateway(gateway) => {
                let mtu = tables.exits.gateway(gateway).ok_or(Reason::Blackhole)?.mtu;
                way.mtu = way.mtu.min(mtu);
                return Ok(End::Gateway(gateway));
            }
            Target::Transit(attachment) => target = transit(tables, way, attachment, notes)?,
        }
    }
    Err(Reason::TooManyHops)
}

/// The ENI, or the NAT gateway, that has the destination address in the VPC that the packet is in.
fn local<'t>(tables: &'t Tables, way: &Way<'_>) -> Result<End<'t>, Reason> {
    let found = tables.owner(way.vni, way.destination).ok_or(Reason::NoMapping)?;
    Ok(match found.location.place() {
        Place::Gateway(gateway) => End::Gateway(gateway),
        _ => End::Eni(found),
    })
}

/// Over a peering, to an ENI of the peer VPC and nothing else: its route tables are not asked (PT-1 to PT-4).
fn peering<'t>(
    tables: &'t Tables,
    way: &mut Way<'_>,
    peer: PeerIndex,
    notes: &mut impl Notes,
) -> Result<End<'t>, Reason> {
    let exits = &tables.exits;
    let peer = exits.peers.get(peer.0 as usize).ok_or(Reason::Blackhole)?;
    notes.note(Step::Peering(peer));
    let has = |vni, address| exits.vpcs.get(&vni).is_some_and(|vpc| vpc.blocks.contain(address));
    // PT-4.
    if !has(way.vni, way.source) {
        return Err(Reason::PeerTransit);
    }
    way.vni = peer.vni;
    way.mtu = way.mtu.min(peer.mtu);
    match tables.owner(peer.vni, way.destination) {
        // GW-16.
        Some(found) if matches!(found.location.place(), Place::Gateway(_)) => Err(Reason::EdgeToEdge),
        Some(found) => Ok(End::Eni(found)),
        None if has(peer.vni, way.destination) => Err(Reason::NoMapping),
        None if exits.origins(peer.vni, way.destination).next().is_some() => Err(Reason::PeerTransit),
        None => Err(Reason::EdgeToEdge),
    }
}

/// Through the transit gateway of a VPC's attachment: the target in the route table of the subnet where the packet comes
/// into a VPC again, or the gateway through which it leaves.
fn transit(
    tables: &Tables,
    way: &mut Way<'_>,
    attachment: AttachmentIndex,
    notes: &mut impl Notes,
) -> Result<Target, Reason> {
    let entered = tables.exits.attachment(attachment).ok_or(Reason::Blackhole)?;
    if let AttachmentKind::Vpc { zones, ipv6, .. } = &entered.kind {
        // PT-10.
        if way.zone.is_some_and(|zone| zones.iter().all(|(of, _)| *of != zone)) {
            return Err(Reason::TgwNoAz);
        }
        if way.destination.is_ipv6() && !ipv6 {
            return Err(Reason::GatewayFamily);
        }
    }
    through(tables, way, attachment, notes)
}

/// As [`transit`], of a packet that has come over any attachment.
pub(super) fn through(
    tables: &Tables,
    way: &mut Way<'_>,
    attachment: AttachmentIndex,
    notes: &mut impl Notes,
) -> Result<Target, Reason> {
    let exits = &tables.exits;
    way.mtu = way.mtu.min(TRANSIT_MTU);
    let mut from = exits.attachment(attachment).ok_or(Reason::Blackhole)?;
    for _ in 0..MAX_HOPS {
        notes.note(Step::Transit(from));
        let next = next(tables, way, from)?;
        let to = exits.attachment(next).ok_or(Reason::TgwBlackhole)?;
        match &to.kind {
            // PT-14.
            AttachmentKind::Vpc { vni, zones, appliance_mode, ipv6 } => {
                if way.destination.is_ipv6() && !ipv6 {
                    return Err(Reason::GatewayFamily);
                }
                let same = zones.iter().find(|(zone, _)| !appliance_mode && Some(*zone) == way.zone);
                let any = || zones.get(way.flow as usize % zones.len().max(1));
                let (zone, subnet) = same.or_else(any).ok_or(Reason::TgwNoAz)?;
                notes.note(Step::Transit(to));
                (way.vni, way.zone) = (*vni, Some(*zone));
                let subnet = exits.subnet(*subnet).ok_or(Reason::NoRoute)?;
                let route = subnet.routes.lookup(way.destination);
                notes.note(Step::Route(route));
                return route.ok_or(Reason::NoRoute);
            }
            AttachmentKind::Peering(other) => {
                from = exits.attachment(*other).ok_or(Reason::TgwBlackhole)?;
            }
            AttachmentKind::Outside(gateway) => return Ok(Target::Gateway(*gateway)),
        }
    }
    Err(Reason::TooManyHops)
}

/// The attachment that a transit gateway's route table sends a packet to.
fn next(tables: &Tables, way: &Way<'_>, from: &Attachment) -> Result<AttachmentIndex, Reason> {
    let routes = from.routes.as_ref().ok_or(Reason::NoRoute)?;
    match routes.lookup(way.destination).ok_or(Reason::NoRoute)? {
        TransitTarget::Blackhole => Err(Reason::TgwBlackhole),
        TransitTarget::Attachment(attachment) => Ok(attachment),
        TransitTarget::Ecmp(equals) => {
            let equals = tables.exits.equals.get(equals as usize).ok_or(Reason::TgwBlackhole)?;
            let chosen = equals.get(way.flow as usize % equals.len().max(1));
            chosen.copied().ok_or(Reason::TgwBlackhole)
        }
    }
}
