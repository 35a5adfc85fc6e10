//! Routes that lead nowhere (RT-12): to what the state does not have, where a mistyped id may stand, or to a gateway that is
//! attached to no VPC.

use super::{Found, view::View};
use crate::model::{Model, Target};

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    for table in view.model.route_tables.values() {
        for route in &table.routes {
            let Some((why, fix)) = nowhere(view.model, &route.target) else { continue };
            let problem = format!("its route for {} is a blackhole: {why}", route.destination);
            found.add(&table.id, problem, fix);
        }
    }
}

/// Why a target leads nowhere, and what would be right.
fn nowhere(model: &Model, target: &Target) -> Option<(String, &'static str)> {
    let id = target.id();
    let attached = match target {
        Target::InternetGateway(_) | Target::EgressOnly(_) | Target::VpnGateway(_) | Target::Gone(_) => {
            let igw = model.internet_gateways.get(id).map(|gateway| &gateway.vpc);
            let eigw = model.egress_only_gateways.get(id).map(|gateway| &gateway.vpc);
            let vgw = model.vpn_gateways.get(id).map(|gateway| &gateway.vpc);
            igw.or(eigw).or(vgw)
        }
        _ => return None,
    };
    match (attached, target) {
        (Some(None), _) => Some((format!("{id} is attached to no VPC"), "attach it, or take the route out")),
        (None, Target::Gone(_)) if !model.transit_gateways.contains_key(id) => {
            Some((format!("{id} is not in the state"), "correct the id, or take the route out"))
        }
        _ => None,
    }
}
