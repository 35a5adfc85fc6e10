//! Which circuits end at which gateways.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::{
    model::{AttachmentKind, Id, Model, Terminal},
    tables::{CircuitKind, CircuitSet},
};

/// A circuit of a gateway, and what it is part of.
pub(super) struct OfGateway {
    pub(super) id: Id,
    pub(super) kind: CircuitKind,
}

/// The circuits of a model's virtual private gateways, transit gateways' attachments and gateway endpoints, and back.
#[derive(Default)]
pub struct Ends {
    of_gateway: HashMap<Id, Vec<OfGateway>>,
    of_circuit: HashMap<Id, Vec<Id>>,
}

impl Ends {
    /// Those of a model.
    pub fn new(model: &Model) -> Self {
        // By the VPN connection or Direct Connect gateway that they are of.
        let mut attachments: HashMap<&Id, Vec<&Id>> = HashMap::new();
        for attachment in model.transit_attachments.values() {
            if let AttachmentKind::Vpn(of) | AttachmentKind::DirectConnect(of) = &attachment.kind {
                attachments.entry(of).or_default().push(&attachment.id);
            }
        }
        let mut ends = Self::default();
        for circuit in model.circuits.values() {
            let Some((kind, gateways)) = gateways(model, &attachments, &circuit.resource) else { continue };
            for gateway in gateways {
                let of_gateway = ends.of_gateway.entry(Arc::clone(gateway)).or_default();
                of_gateway.push(OfGateway { id: Arc::clone(&circuit.id), kind });
            }
        }
        for (gateway, circuits) in &mut ends.of_gateway {
            circuits.sort_unstable_by(|a, b| a.id.cmp(&b.id));
            circuits.dedup_by(|a, b| a.id == b.id);
            circuits.truncate(CircuitSet::MOST);
            for circuit in circuits {
                ends.of_circuit.entry(Arc::clone(&circuit.id)).or_default().push(Arc::clone(gateway));
            }
        }
        ends
    }

    /// The circuits of a gateway, by id.
    pub(super) fn circuits(&self, gateway: &str) -> &[OfGateway] {
        self.of_gateway.get(gateway).map(Vec::as_slice).unwrap_or_default()
    }

    /// The gateways that a circuit ends at.
    pub(super) fn gateways(&self, circuit: &str) -> &[Id] {
        self.of_circuit.get(circuit).map(Vec::as_slice).unwrap_or_default()
    }
}

/// What a circuit's resource is, and where it ends.
fn gateways<'m>(
    model: &'m Model,
    attachments: &HashMap<&Id, Vec<&'m Id>>,
    resource: &Id,
) -> Option<(CircuitKind, Vec<&'m Id>)> {
    let attached = |of: &Id| attachments.get(of).into_iter().flatten().copied();
    if let Some(connection) = model.vpn_connections.get(resource) {
        let private = match &connection.terminal {
            Terminal::VpnGateway(id) => Some(id),
            Terminal::DirectConnectGateway(_) | Terminal::TransitGateway(_) => None,
        };
        return Some((CircuitKind::Vpn, private.into_iter().chain(attached(&connection.id)).collect()));
    }
    if let Some(interface) = model.virtual_interfaces.get(resource) {
        let ends = match &interface.terminal {
            Terminal::VpnGateway(id) => vec![id],
            Terminal::DirectConnectGateway(id) => {
                let associated = model.direct_connect_gateways.get(id).map(|it| it.vpn_gateways.iter());
                associated.into_iter().flatten().chain(attached(id)).collect()
            }
            Terminal::TransitGateway(_) => Vec::new(),
        };
        return Some((CircuitKind::DirectConnect, ends));
    }
    if let Some(endpoint) = model.endpoints.get(resource) {
        return Some((CircuitKind::Endpoint, vec![&endpoint.id]));
    }
    let attachment = model.transit_attachments.get(resource)?;
    matches!(attachment.kind, AttachmentKind::Connect { .. })
        .then(|| (CircuitKind::Connect, vec![&attachment.id]))
}
