//! What an edge is asked: its gateways, the sources of their routes, NAT.

use serde_json::json;

use super::{super::Table, Snapshot};
use crate::tables::{GatewayKind, LOTS, LoadBalancer, OutsideKind, SHARES, Seat};

/// The gateways of all hosts, and what of them is this node's.
pub fn gateways(snapshot: &Snapshot) -> Table {
    let columns = [
        "gateway",
        "kind",
        "vpc",
        "served_here",
        "shares",
        "shares_unserved",
        "circuits_up",
        "circuits_down",
    ];
    let mut table = Table::new(&columns);
    let exits = &snapshot.exits;
    let mut gateways: Vec<_> = exits.gateways.iter().collect();
    gateways.sort_unstable_by_key(|gateway| &gateway.id);
    for gateway in gateways {
        // Those of an endpoint's flows are its appliances', wherever they are.
        let lots = match &gateway.kind {
            GatewayKind::LoadBalancer(balancer) => Some(balancer),
            _ => None,
        };
        let of_lots = |balancer: &LoadBalancer, of: Seat| {
            let owners = balancer.lots.iter().map(|&owner| balancer.appliances.get(usize::from(owner)));
            owners.filter(|owner| owner.map_or(Seat::Nobody, |owner| owner.seat) == of).count()
        };
        let shares = |of: Seat| match lots {
            Some(balancer) => of_lots(balancer, of),
            None => gateway.seats.iter().filter(|seat| **seat == of).count(),
        };
        let all = if lots.is_some() { LOTS } else { SHARES };
        let kind = match &gateway.kind {
            GatewayKind::Internet(_) => "internet",
            GatewayKind::EgressOnly(_) => "egress-only",
            GatewayKind::Nat(_) => "nat",
            GatewayKind::Outside(outside) => match outside.kind {
                OutsideKind::Private => "virtual-private",
                OutsideKind::Transit => "transit-attachment",
                OutsideKind::Endpoint => "endpoint",
            },
            GatewayKind::LoadBalancer(_) => "load-balancer-endpoint",
        };
        let circuits: Vec<bool> = match &gateway.kind {
            GatewayKind::Outside(outside) => {
                let circuits = outside.circuits.iter().filter_map(|&index| exits.circuit(index));
                circuits.map(|circuit| circuit.up).collect()
            }
            _ => Vec::new(),
        };
        let up = circuits.iter().filter(|up| **up).count();
        table.row([
            json!(gateway.id),
            json!(kind),
            json!(exits.vpcs.get(&gateway.vni).map(|vpc| &vpc.id)),
            json!(gateway.served_here),
            json!(format!("{}/{all}", shares(Seat::Here))),
            json!(shares(Seat::Nobody)),
            json!(up),
            json!(circuits.len() - up),
        ]);
    }
    table
}

/// Where gateways' routes by BGP come from: zebras that connect here, hosts that are followed.
pub fn bgp(snapshot: &Snapshot) -> Table {
    let columns = ["gateway", "source", "address", "connected_s", "routes", "stale", "last_down"];
    let mut table = Table::new(&columns);
    for session in &snapshot.sessions {
        let connected = session.since.map(|since| since.elapsed().unwrap_or_default().as_secs());
        table.row([
            json!(session.gateway),
            json!(session.source),
            json!(session.address),
            json!(connected),
            json!(session.routes),
            json!(session.stale),
            json!(session.last_down),
        ]);
    }
    table
}

/// The workers' tables of NAT bindings, on a node that serves NAT gateways or egress-only internet gateways.
pub fn nat(snapshot: &Snapshot) -> Table {
    let columns = [
        "worker",
        "capacity",
        "bindings",
        "created",
        "expired",
        "error_port_allocation",
        "refused_full",
        "refused_no_state",
        "unsolicited",
    ];
    let mut table = Table::new(&columns);
    for (worker, counters) in snapshot.counters.iter().enumerate().take(snapshot.cpus.len()) {
        let stats = counters.nat.read();
        if stats.capacity > 0 {
            let values = [
                worker as u64,
                stats.capacity,
                stats.bindings,
                stats.created,
                stats.expired,
                stats.refused_ports,
                stats.refused_full,
                stats.refused_no_state,
                stats.unsolicited,
            ];
            table.row(values.map(|value| json!(value)));
        }
    }
    table
}
