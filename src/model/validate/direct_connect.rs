//! Direct Connect: gateways, what is associated with them, and virtual interfaces.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::{Item, Source, Validation, each, value, value::Wrong};
use crate::model::{DirectConnectGateway, Errors, Id, Model, Terminal, VirtualInterface, raw};

/// Stands in for the addresses of a link that are missing or wrong, in a model that is thrown away.
pub(super) const NO_LINK: (IpNet, IpAddr) =
    (IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)), IpAddr::V4(Ipv4Addr::UNSPECIFIED));

pub(super) fn direct_connect(sources: &[Source<'_>], state: &mut Validation) {
    gateways(sources, state);
    associations(sources, state);
    let Validation { model, errors, .. } = state;
    let all = each(sources, "virtualInterfaces", |raw| &raw.virtual_interfaces, |raw| &raw.id);
    for (item, raw) in all.filter(|(_, raw)| raw.state.in_force()) {
        let interface = virtual_interface(&item, raw, model, errors);
        let known = &mut model.virtual_interfaces;
        if let Some(id) = item.new_id(&raw.id, "virtualInterfaceId", "dxvif-office", known, errors) {
            known.insert(id.clone(), VirtualInterface { id, ..interface });
        }
    }
}

fn gateways(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let all = each(sources, "directConnectGateways", |raw| &raw.direct_connect_gateways, |raw| &raw.id);
    for (item, raw) in all.filter(|(_, raw)| raw.state.in_force()) {
        let known = &mut model.direct_connect_gateways;
        if let Some(id) = item.new_id(&raw.id, "directConnectGatewayId", "dxgw-office", known, errors) {
            let (vpn_gateways, transit_gateways) = (Vec::new(), Vec::new());
            let descriptive = raw.notes.descriptive();
            known
                .insert(id.clone(), DirectConnectGateway { id, vpn_gateways, transit_gateways, descriptive });
        }
    }
}

fn associations(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let section = "directConnectGatewayAssociations";
    let all = each(sources, section, |raw| &raw.direct_connect_associations, |raw| &raw.gateway);
    for (item, raw) in all.filter(|(_, raw)| raw.state.in_force()) {
        let gateways = &mut model.direct_connect_gateways;
        let key = "directConnectGatewayId";
        let gateway = item.required(
            &raw.gateway,
            key,
            "dxgw-office",
            move |id| gateways.get_mut(id).ok_or_else(|| value::unresolved(id, "directConnectGateways")),
            errors,
        );
        let (vgws, tgws) = (&model.vpn_gateways, &model.transit_gateways);
        let found = |id| {
            let vgw = vgws.get_key_value(id).map(|(id, _)| (id.clone(), "virtualPrivateGateway"));
            let tgw = tgws.get_key_value(id).map(|(id, _)| (id.clone(), "transitGateway"));
            vgw.or(tgw).ok_or_else(|| value::unresolved(id, "VpnGateways or TransitGateways"))
        };
        let associated = item.required(&raw.associated.id, "associatedGateway.id", "vgw-blue", found, errors);
        let (Some(gateway), Some((id, kind))) = (gateway, associated) else { continue };
        if let Some(stated) = raw.associated.kind.get()
            && stated != kind
        {
            let problem = format!("{id} is not a {stated}");
            item.wrong("associatedGateway.type", problem, format!("write {kind}"), errors);
        }
        let is_vgw = kind == "virtualPrivateGateway";
        let other = if is_vgw { &gateway.transit_gateways } else { &gateway.vpn_gateways };
        if let Some(other) = other.first() {
            let problem = format!("{} has {other}, a gateway of the other kind", gateway.id);
            let fix = "associate a Direct Connect gateway with gateways of one kind (BGP-10)";
            item.wrong("associatedGateway.id", problem, fix, errors);
        }
        let list = if is_vgw { &mut gateway.vpn_gateways } else { &mut gateway.transit_gateways };
        if list.contains(&id) {
            let problem = format!("{id} is associated already");
            item.wrong("associatedGateway.id", problem, "state an association once", errors);
        } else {
            list.push(id);
        }
    }
}

/// The interface, but for its id.
fn virtual_interface(
    item: &Item<'_>,
    raw: &raw::VirtualInterface<'_>,
    model: &Model,
    errors: &mut Errors,
) -> VirtualInterface {
    let kinds = |text| {
        value::one_of(text, &[("private", false), ("transit", true)]).map_err(|wrong| match text {
            "public" => Wrong::new("public virtual interfaces lead to AWS itself", "leave it out"),
            _ => wrong,
        })
    };
    let transit = item.optional(&raw.kind, "virtualInterfaceType", kinds, errors).unwrap_or(false);
    let terminal = terminal(item, raw, transit, model, errors);
    let vlan = item.required(&raw.vlan, "vlan", "101", value::vlan, errors);
    let mtus: &[(&str, u16)] = if transit {
        &[("1500", 1500), ("8500", 8500)]
    } else {
        &[("1500", 1500), ("9001", 9001), ("8500", 8500)]
    };
    let mtu = item.optional(&raw.mtu, "mtu", |text| value::one_of(text, mtus), errors);
    let address = item.required(&raw.address, "amazonAddress", "169.254.255.1/30", value::link, errors);
    let peer = item.required(&raw.peer, "customerAddress", "169.254.255.2/30", value::neighbour, errors);
    if let (Some(address), Some(peer)) = (address, peer)
        && let Err(wrong) = value::on_link(address, peer)
    {
        errors.0.push(item.error("customerAddress", wrong));
    }
    VirtualInterface {
        id: Id::default(),
        terminal: terminal.unwrap_or(Terminal::VpnGateway(Id::default())),
        vlan: vlan.unwrap_or_default(),
        mtu: mtu.unwrap_or(1500),
        address: address.unwrap_or(NO_LINK.0),
        peer: peer.unwrap_or(NO_LINK.1),
        descriptive: raw.notes.descriptive(),
    }
}

fn terminal(
    item: &Item<'_>,
    raw: &raw::VirtualInterface<'_>,
    transit: bool,
    model: &Model,
    errors: &mut Errors,
) -> Option<Terminal> {
    let gateway = &raw.direct_connect_gateway;
    if gateway.is_stated() || !raw.vpn_gateway.is_stated() {
        if raw.vpn_gateway.is_stated() {
            let fix = "leave out virtualGatewayId or directConnectGatewayId";
            item.wrong("virtualGatewayId", "is a second gateway", fix, errors);
        }
        let key = "directConnectGatewayId";
        let known = &model.direct_connect_gateways;
        let (id, gateway) =
            item.reference(gateway, key, "dxgw-office", "directConnectGateways", known, errors)?;
        let foreign = if transit { &gateway.vpn_gateways } else { &gateway.transit_gateways };
        if let Some(other) = foreign.first() {
            let kind = if transit { "transit" } else { "private" };
            let problem = format!("is a {kind} interface, but {id} leads to {other}");
            let fix =
                "a private interface leads to virtual private gateways, a transit one to transit gateways";
            item.wrong(key, problem, fix, errors);
        }
        return Some(Terminal::DirectConnectGateway(id.clone()));
    }
    if transit {
        let fix = "end it at a Direct Connect gateway (directConnectGatewayId)";
        item.wrong("virtualGatewayId", "a transit interface has no virtual private gateway", fix, errors);
    }
    let (key, known) = ("virtualGatewayId", &model.vpn_gateways);
    let (id, _) = item.reference(&raw.vpn_gateway, key, "vgw-blue", "VpnGateways", known, errors)?;
    Some(Terminal::VpnGateway(id.clone()))
}
