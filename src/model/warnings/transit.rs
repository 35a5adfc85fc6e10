//! Transit gateways: attachments that nothing leads to or from, and multicast members that hear nothing.

use hashbrown::{HashMap, HashSet};

use super::{Found, view::View};
use crate::model::{AttachmentKind, Id, Target, Terminal, TransitAttachment};

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    without_table(view, found);
    zones(view, found);
    routes(view, found);
    members(view, found);
    vpns(view, found);
}

/// Attachments that no route table is associated with: what comes from them is dropped (PT-11).
fn without_table(view: &View<'_>, found: &mut Found) {
    for attachment in view.model.transit_attachments.values().filter(|attachment| attachment.available) {
        if attachment.table.is_none() {
            let problem = format!(
                "no route table of {} is associated with it: what it sends is dropped",
                attachment.gateway
            );
            found.add(&attachment.id, problem, "add it to the Associations of a TransitGatewayRouteTable");
        }
    }
}

/// Subnets with routes to a transit gateway that has no attachment subnet in their zone: their packets are dropped (PT-10).
fn zones(view: &View<'_>, found: &mut Found) {
    let attachments: HashMap<(&Id, &Id), (&TransitAttachment, &Vec<Id>)> = view
        .model
        .transit_attachments
        .values()
        .filter_map(|attachment| match &attachment.kind {
            AttachmentKind::Vpc { vpc, subnets, .. } => {
                Some(((&attachment.gateway, vpc), (attachment, subnets)))
            }
            _ => None,
        })
        .collect();
    for (subnet, table) in &view.subnets {
        let gateways = table.routes.iter().filter_map(|route| match &route.target {
            Target::Transit(gateway) => Some(gateway),
            _ => None,
        });
        for gateway in gateways {
            let Some((attachment, places)) = attachments.get(&(gateway, &subnet.vpc)) else {
                let problem =
                    format!("{} routes to {gateway}, which {} is not attached to", table.id, subnet.vpc);
                found.add(&subnet.id, problem, "attach the VPC (TransitGatewayVpcAttachments)");
                continue;
            };
            let mut zones = places.iter().filter_map(|place| view.model.subnets.get(place));
            if !zones.any(|place| place.zone == subnet.zone) {
                let problem = format!(
                    "{} routes to {gateway}, but {} has no subnet in {}: the packets are dropped",
                    table.id, attachment.id, subnet.zone
                );
                found.add(
                    &subnet.id,
                    problem,
                    format!("add a subnet of {} to {}", subnet.zone, attachment.id),
                );
            }
        }
    }
}

/// Static routes to attachments that are not available.
fn routes(view: &View<'_>, found: &mut Found) {
    for table in view.model.transit_tables.values() {
        for route in &table.routes {
            let attachment = route.attachment.as_ref().and_then(|id| view.model.transit_attachments.get(id));
            if let Some(attachment) = attachment.filter(|attachment| !attachment.available) {
                let problem =
                    format!("it routes {} to {}, which is not available", route.destination, attachment.id);
                found.add(&table.id, problem, "accept the attachment, or route to another");
            }
        }
    }
}

/// Multicast members and sources outside of the domain's subnets.
fn members(view: &View<'_>, found: &mut Found) {
    for domain in view.model.multicast_domains.values() {
        let subnets: HashSet<&Id> = domain.subnets.iter().collect();
        for (role, of) in [("a member", &domain.members), ("a source", &domain.sources)] {
            for entry in of {
                let Some(eni) = view.model.enis.get(&entry.eni) else { continue };
                if !subnets.contains(&eni.subnet) {
                    let problem = format!(
                        "{} is {role} of {}, but {} is not associated with the domain",
                        entry.eni, entry.group, eni.subnet
                    );
                    found.add(&domain.id, problem, format!("associate {}", eni.subnet));
                }
            }
        }
    }
}

/// VPN connections of transit gateways that are no attachments of theirs.
fn vpns(view: &View<'_>, found: &mut Found) {
    let attached: HashSet<(&Id, &Id)> = view
        .model
        .transit_attachments
        .values()
        .filter_map(|attachment| match &attachment.kind {
            AttachmentKind::Vpn(vpn) => Some((vpn, &attachment.gateway)),
            _ => None,
        })
        .collect();
    for vpn in view.model.vpn_connections.values() {
        if let Terminal::TransitGateway(gateway) = &vpn.terminal
            && !attached.contains(&(&vpn.id, gateway))
        {
            let problem = format!("it ends at {gateway}, but is no attachment of it: it carries nothing");
            found.add(&vpn.id, problem, "add it to TransitGatewayAttachments, with ResourceType: vpn");
        }
    }
}
