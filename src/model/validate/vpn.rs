//! VPN connections.

use super::{Item, Source, Validation, each, value};
use crate::model::{Errors, Model, Terminal, VpnConnection, raw};

pub(super) fn vpn_connections(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let all = each(sources, "VpnConnections", |raw| &raw.vpn_connections, |raw| &raw.id);
    for (item, raw) in all.filter(|(_, raw)| raw.state.in_force()) {
        let terminal = terminal(&item, raw, model, errors);
        let key = "Options.StaticRoutesOnly";
        let is_static = item.optional(&raw.options.static_only, key, value::boolean, errors).unwrap_or(false);
        let mut routes = Vec::new();
        let stated = raw.routes.items().iter().enumerate().filter(|(_, route)| route.state.in_force());
        for (index, route) in stated {
            let key = format!("Routes[{index}].DestinationCidrBlock");
            let found = item.required(&route.destination, &key, "10.9.0.0/16", value::cidr, errors);
            let Some(block) = found else { continue };
            if !is_static {
                let fix = "write Options: {StaticRoutesOnly: true}, or leave the routes to BGP";
                item.wrong(key, format!("{block} is a static route of a BGP connection"), fix, errors);
            } else if routes.contains(&block) {
                let problem = format!("{block} is there already (RouteAlreadyExists)");
                item.wrong(key, problem, "list a block once", errors);
            } else {
                routes.push(block);
            }
        }
        let mut tunnels_up = [true; 2];
        for (index, (tunnel, up)) in raw.telemetry.items().iter().zip(&mut tunnels_up).enumerate() {
            let states = |text| value::one_of(text, &[("UP", true), ("DOWN", false)]);
            let key = format!("VgwTelemetry[{index}].Status");
            *up = item.optional(&tunnel.status, key, states, errors).unwrap_or(true);
        }
        let known = &mut model.vpn_connections;
        if let Some(id) = item.new_id(&raw.id, "VpnConnectionId", "vpn-office", known, errors) {
            let terminal = terminal.unwrap_or(Terminal::VpnGateway(crate::model::Id::default()));
            let descriptive = raw.notes.descriptive();
            known.insert(id.clone(), VpnConnection { id, terminal, routes, tunnels_up, descriptive });
        }
    }
}

/// The virtual private gateway or transit gateway that the connection ends at.
fn terminal(
    item: &Item<'_>,
    raw: &raw::VpnConnection<'_>,
    model: &Model,
    errors: &mut Errors,
) -> Option<Terminal> {
    if raw.transit_gateway.is_stated() {
        if raw.vpn_gateway.is_stated() {
            let fix = "leave out VpnGatewayId or TransitGatewayId";
            item.wrong("TransitGatewayId", "is a second gateway", fix, errors);
        }
        let (text, known) = (&raw.transit_gateway, &model.transit_gateways);
        let found = item.reference(text, "TransitGatewayId", "tgw-hub", "TransitGateways", known, errors);
        return found.map(|(id, _)| Terminal::TransitGateway(id.clone()));
    }
    let (text, known) = (&raw.vpn_gateway, &model.vpn_gateways);
    let found = item.reference(text, "VpnGatewayId", "vgw-blue", "VpnGateways", known, errors);
    found.map(|(id, _)| Terminal::VpnGateway(id.clone()))
}
