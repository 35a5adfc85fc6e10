//! What gateways have learned by BGP, beside the state that documents state.

use std::sync::Arc;

use hashbrown::HashMap;
use ipnet::IpNet;

use super::circuits::Ends;
use crate::{
    model::{Id, Model},
    propagation::preference::{self, Source},
    tables::{CircuitKind, CircuitSet, Fib},
};

/// The routes of gateways by BGP. Cheap to clone.
#[derive(Clone, Default)]
pub struct Learned {
    /// By the id of a virtual private gateway, or of an attachment of a transit gateway.
    pub gateways: HashMap<Id, LearnedTable>,
}

/// The routes of a gateway by BGP.
#[derive(Clone)]
pub struct LearnedTable {
    /// The circuits that the sets name, by bit.
    pub circuits: Arc<[Id]>,
    /// Over which of them a prefix is reached.
    pub routes: Fib<CircuitSet>,
}

/// The gateway's order of preference.
fn order(model: &Model, gateway: &str) -> preference::Gateway {
    let transit = model.transit_attachments.get(gateway);
    match transit.and_then(|attachment| model.transit_gateways.get(&attachment.gateway)) {
        Some(transit) => preference::Gateway::Transit { vpn_ecmp: transit.vpn_ecmp },
        None => preference::Gateway::VirtualPrivate,
    }
}

fn source(kind: CircuitKind) -> Source {
    match kind {
        CircuitKind::Vpn => Source::Vpn,
        CircuitKind::DirectConnect => Source::DirectConnect,
        CircuitKind::Connect => Source::Connect,
        CircuitKind::Endpoint => Source::Static,
    }
}

/// Those of the circuits over which BGP has a route that the gateway uses (BGP-2, BGP-3, RT-20), as bits of its table's.
pub fn preferred(model: &Model, ends: &Ends, gateway: &str, hops: &[Id]) -> CircuitSet {
    let circuits = ends.circuits(gateway);
    let candidates = circuits.iter().zip(0_u32..).filter(|(circuit, _)| hops.contains(&circuit.id));
    let candidates = candidates.map(|(circuit, bit)| (source(circuit.kind), bit));
    set(preference::best(order(model, gateway), candidates))
}

fn set(bits: impl IntoIterator<Item = u32>) -> CircuitSet {
    CircuitSet(bits.into_iter().fold(0, |set, bit| set | 1 << bit))
}

impl LearnedTable {
    /// A table without routes, for a gateway's circuits as they are.
    pub fn new(ends: &Ends, gateway: &str) -> Self {
        let circuits = ends.circuits(gateway).iter().map(|circuit| Arc::clone(&circuit.id)).collect();
        Self { circuits, routes: Fib::new([]) }
    }
}

/// Finds the routes of a gateway, as [`routes_of`].
pub(super) type RoutesOf<'a> = dyn Fn(&str) -> Fib<CircuitSet> + 'a;

/// The routes of a gateway over its circuits: those by BGP, and the static ones of its VPN connections, by rank.
pub(super) fn routes_of(model: &Model, ends: &Ends, learned: &Learned, gateway: &str) -> Fib<CircuitSet> {
    let circuits = ends.circuits(gateway);
    let table = learned.gateways.get(gateway);
    let by_bgp = match table {
        None => Fib::new([]),
        Some(table) if table.circuits.iter().eq(circuits.iter().map(|circuit| &circuit.id)) => {
            table.routes.clone()
        }
        // The circuits changed: those that are left keep their routes.
        Some(table) => Fib::new(table.routes.iter().filter_map(|(prefix, old)| {
            let kept = circuits.iter().zip(0_u32..).filter_map(|(circuit, bit)| {
                let was = table.circuits.iter().position(|id| *id == circuit.id)?;
                (old.0 >> was & 1 == 1).then_some(bit)
            });
            let kept = set(kept);
            (kept.0 != 0).then_some((prefix, kept))
        })),
    };
    let mut statics: HashMap<IpNet, Vec<(Source, u32)>> = HashMap::new();
    for (circuit, bit) in circuits.iter().zip(0_u32..) {
        let Some(circuit) = model.circuits.get(&circuit.id) else { continue };
        let Some(connection) = model.vpn_connections.get(&circuit.resource) else { continue };
        if connection.tunnels_up.get(usize::from(circuit.tunnel)) == Some(&false) {
            continue;
        }
        for &route in &connection.routes {
            statics.entry(route).or_default().push((Source::VpnStatic, bit));
        }
    }
    let gateway_order = order(model, gateway);
    let changes: Vec<_> = statics
        .into_iter()
        .map(|(prefix, mut candidates)| {
            if matches!(gateway_order, preference::Gateway::Transit { .. }) {
                // There, a static route stands in the transit gateway's own table, and tunnels don't share it (PT-15).
                candidates.truncate(1);
                candidates.iter_mut().for_each(|(source, _)| *source = Source::Vpn);
            }
            let learned = by_bgp.get(prefix).unwrap_or_default();
            let known = circuits.iter().zip(0_u32..).filter(|(_, bit)| learned.0 >> bit & 1 == 1);
            candidates.extend(known.map(|(circuit, bit)| (source(circuit.kind), bit)));
            (prefix, Some(set(preference::best(gateway_order, candidates))))
        })
        .collect();
    if changes.is_empty() { by_bgp } else { by_bgp.apply(changes) }
}
