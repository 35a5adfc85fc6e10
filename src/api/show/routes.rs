//! `warren show routes`: every route that a packet could take, whether it does, and why not.

use serde_json::json;

use super::{super::Table, Snapshot, sorted};
use crate::{
    compile::{Learned, State, effective, effective_transit},
    model::{Id, Model, RouteTable},
};

/// The routes, by the subnet whose packets they are for, by the gateway through which packets come in, and by transit gateway.
pub fn routes(snapshot: &Snapshot) -> Table {
    let Snapshot { model, learned, .. } = snapshot;
    let columns =
        ["from", "vpc", "route_table", "association", "destination", "target", "origin", "state", "why"];
    let mut table = Table::new(&columns);
    for subnet in sorted(&model.subnets) {
        let Some(routes) = model.route_tables.get(&subnet.route_table) else { continue };
        let association = if routes.subnets.contains(&subnet.id) { "explicit" } else { "main" };
        of_vpc(&mut table, model, learned, (&subnet.id, association), routes);
    }
    for routes in sorted(&model.route_tables) {
        if let Some(gateway) = &routes.gateway {
            of_vpc(&mut table, model, learned, (gateway, "gateway"), routes);
        }
    }
    for routes in sorted(&model.transit_tables) {
        for route in effective_transit(model, learned, routes) {
            let (state, why) = state(&route.state);
            table.row([
                json!(routes.gateway),
                json!(null),
                json!(routes.id),
                json!("transit"),
                json!(route.destination.to_string()),
                json!(route.attachment),
                json!(route.origin.to_string()),
                json!(state),
                json!(why),
            ]);
        }
    }
    table
}

/// The routes of a VPC's route table, for the packets that come from somewhere.
fn of_vpc(
    table: &mut Table,
    model: &Model,
    learned: &Learned,
    (from, association): (&Id, &str),
    routes: &RouteTable,
) {
    for route in effective(model, learned, routes) {
        let (state, why) = state(&route.state);
        table.row([
            json!(from),
            json!(routes.vpc),
            json!(routes.id),
            json!(association),
            json!(route.destination.to_string()),
            json!(route.target.id()),
            json!(route.origin.to_string()),
            json!(state),
            json!(why),
        ]);
    }
}

fn state(state: &State) -> (&'static str, Option<&str>) {
    match state {
        State::Active => ("active", None),
        State::Blackhole(why) => ("blackhole", Some(why)),
        State::Unused(why) => ("unused", Some(why)),
    }
}
