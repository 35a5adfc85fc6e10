//! What of an ENI's packets is copied, and where to.

use super::Site;
use crate::{
    model::{self, MirrorSession as Stated, Model, router_mac},
    packet::{ETHERNET, Encapsulation, OuterChecksum, OuterTemplate},
    tables::{Direction, MirrorSession, Mirrors},
};

/// By how many bytes the IP packet of a copy is longer than the one that is copied, as AWS has it (MIR-4).
const OVERHEAD: u16 = 54;
/// The longest IP packet between VPCs, whatever is between them (MTU-5).
const BETWEEN_VPCS: u16 = 8500;

/// What is copied of the packets of an ENI of the node with an MTU. `None`, if nothing is.
pub(super) fn of(model: &Model, site: &Site, eni: &model::Eni, mtu: u16) -> Option<Mirrors> {
    let mut stated: Vec<_> = model.mirror_sessions.values().filter(|session| session.eni == eni.id).collect();
    if stated.is_empty() {
        return None;
    }
    stated.sort_unstable_by_key(|session| session.number);
    let sessions = stated.into_iter().filter_map(|stated| session(model, site, eni, mtu, stated)).collect();
    Some(Mirrors { sessions })
}

fn session(model: &Model, site: &Site, eni: &model::Eni, mtu: u16, stated: &Stated) -> Option<MirrorSession> {
    let target = model.enis.get(&model.mirror_targets.get(&stated.target)?.eni)?;
    let filter = model.mirror_filters.get(&stated.filter)?;
    // MIR-7.
    let (from, to) = (eni.primary4?, target.primary4?);
    let template = OuterTemplate::new(
        Encapsulation::Vxlan,
        eni.mac,
        router_mac(&eni.subnet),
        from.into(),
        to.into(),
        OuterChecksum::Zero,
    )?;
    let is_here = target.attachment.as_ref().is_some_and(|at| at.host == site.host);
    let underlay = if is_here { None } else { site.uplinks().map(|(_, uplink)| site.path_mtu(uplink)).min() };
    let between = (target.vpc != eni.vpc).then_some(BETWEEN_VPCS);
    let mtu = [underlay, between].into_iter().flatten().fold(mtu, u16::min);
    let fits = (mtu + ETHERNET as u16).saturating_sub(OVERHEAD);
    let mut rules = <[Box<[model::MirrorRule]>; 2]>::default();
    rules[Direction::Ingress as usize] = filter.ingress.as_slice().into();
    rules[Direction::Egress as usize] = filter.egress.as_slice().into();
    Some(MirrorSession {
        id: stated.id.clone(),
        target: to.to_bits(),
        template,
        vni: stated.vni,
        longest: stated.length.map_or(fits, |length| length.min(fits)),
        rules,
        dns: filter.dns,
    })
}
