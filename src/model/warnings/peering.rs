//! Peerings whose routes are on one side only, or too early.

use hashbrown::HashSet;

use super::{Found, view::View};
use crate::model::{Id, Target};

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    let mut routed: HashSet<(&Id, &Id)> = HashSet::new();
    for table in view.model.route_tables.values() {
        for route in &table.routes {
            if let Target::Peering(id) = &route.target {
                routed.insert((id, &table.vpc));
            }
        }
    }
    for peering in view.model.peerings.values() {
        let sides = [(&peering.requester, &peering.accepter), (&peering.accepter, &peering.requester)];
        for (vpc, other) in sides.into_iter().filter(|(vpc, _)| routed.contains(&(&peering.id, *vpc))) {
            if !peering.active {
                let problem = format!("{vpc} has routes to it, but it is not active: they are blackholes");
                found.add(&peering.id, problem, "accept it");
            } else if !routed.contains(&(&peering.id, other)) {
                // PT-6
                let problem = format!("{vpc} has routes to it, {other} has none: replies are dropped");
                found.add(&peering.id, problem, format!("add routes to it to the tables of {other}"));
            }
        }
    }
}
