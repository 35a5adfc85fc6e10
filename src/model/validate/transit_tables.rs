//! Route tables of transit gateways: what is looked up in them, what propagates into them, static routes.

use hashbrown::{HashMap, HashSet};

use super::{Item, Source, Validation, each, transit, value, value::Wrong};
use crate::model::{
    AttachmentKind, ById, Destination, Errors, Id, Model, TransitAttachment, TransitRoute, TransitRouteTable,
    raw::{self, Check as _},
};

/// How ids of attachments begin.
const ATTACHMENT: &str = "tgw-attach-";

pub(super) fn tables(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    for (item, raw) in in_force(sources) {
        let known = &model.transit_gateways;
        let gateway =
            item.reference(&raw.gateway, "TransitGatewayId", "tgw-hub", "TransitGateways", known, errors);
        let gateway = gateway.map(|(id, _)| id.clone());
        let routes = match &gateway {
            Some(gateway) => routes(&item, raw, gateway, model, errors),
            None => Vec::new(),
        };
        let known = &mut model.transit_tables;
        let id = item.new_id(&raw.id, "TransitGatewayRouteTableId", "tgw-rtb-hub", known, errors);
        let Some(id) = id else { continue };
        let gateway = gateway.unwrap_or_default();
        let (propagations, descriptive) = (Vec::new(), raw.notes.descriptive());
        known.insert(id.clone(), TransitRouteTable { id, gateway, routes, propagations, descriptive });
    }
    let propagating = propagations(sources, state);
    associations(sources, state);
    defaults(sources, &propagating, state);
}

fn in_force<'s, 'a: 's>(
    sources: &'s [Source<'a>],
) -> impl Iterator<Item = (Item<'s>, &'s raw::TransitRouteTable<'a>)> {
    let all = each(sources, "TransitGatewayRouteTables", |raw| &raw.transit_tables, |raw| &raw.id);
    all.filter(|(_, raw)| raw.state.in_force())
}

/// An attachment of the table's gateway.
fn resolve<'m>(
    attachments: &'m ById<TransitAttachment>,
    id: &str,
    gateway: &str,
) -> Result<&'m TransitAttachment, Wrong> {
    let found = transit::of_gateway(attachments, id, gateway);
    let attachment = found.ok_or_else(|| value::unresolved(id, "transit gateway attachments"))?;
    if *attachment.gateway != *gateway && !attachment.gateway.is_empty() {
        let problem = format!("{id} is an attachment of {}, the table of {gateway}", attachment.gateway);
        return Err(Wrong::new(problem, "name an attachment of the same transit gateway"));
    }
    Ok(attachment)
}

/// The static routes; what was propagated is computed anew.
fn routes(
    item: &Item<'_>,
    raw: &raw::TransitRouteTable<'_>,
    gateway: &str,
    model: &Model,
    errors: &mut Errors,
) -> Vec<TransitRoute> {
    let mut routes: Vec<TransitRoute> = Vec::new();
    let mut places: HashMap<Destination, usize> = HashMap::new();
    let stated = raw.routes.items().iter().enumerate();
    let stated = stated.filter(|(_, raw)| raw.kind.get() != Some("propagated") && raw.state.in_force());
    for (index, raw) in stated {
        let at = |key: &str| format!("Routes[{index}].{key}");
        let kinds = |text| value::one_of(text, &[("static", ())]);
        item.optional(&raw.kind, at("Type"), kinds, errors);
        let (key, destination) = if raw.prefix_list.is_stated() {
            // The AWS CLI prints such a route once for each block of the list.
            let (key, known) = (at("PrefixListId"), &model.prefix_lists);
            let found = item.reference(&raw.prefix_list, &key, "pl-corp", "PrefixLists", known, errors);
            (key, found.map(|(id, _)| Destination::PrefixList(id.clone())))
        } else {
            let key = at("DestinationCidrBlock");
            let found = item.required(&raw.destination, &key, "10.1.0.0/16", value::cidr, errors);
            (key, found.map(Destination::Block))
        };
        let target = target(item, raw, index, gateway, &model.transit_attachments, errors);
        let (Some(destination), Some(attachment)) = (destination, target) else { continue };
        let route = TransitRoute { destination, attachment };
        if let Some(earlier) = places.get(&route.destination).and_then(|at| routes.get(*at)) {
            if !(raw.prefix_list.is_stated() && *earlier == route) {
                let problem = format!("{} has a route already (RouteAlreadyExists)", route.destination);
                item.wrong(key, problem, "write one route for each destination", errors);
            }
            continue;
        }
        places.insert(route.destination.clone(), routes.len());
        routes.push(route);
    }
    routes
}

/// The attachment that a route leads to: `Some(None)` for a blackhole (PT-13), `None` for a mistake.
fn target(
    item: &Item<'_>,
    raw: &raw::TransitRoute<'_>,
    index: usize,
    gateway: &str,
    attachments: &ById<TransitAttachment>,
    errors: &mut Errors,
) -> Option<Option<Id>> {
    let key = format!("Routes[{index}].TransitGatewayAttachments");
    match raw.attachments.items() {
        [] if raw.state.get() == Some("blackhole") => Some(None),
        [] => {
            let fix = "name one attachment, or write State: blackhole";
            item.wrong(key, "has no attachment", fix, errors);
            None
        }
        [one] => {
            let key = format!("{key}[0].TransitGatewayAttachmentId");
            let find = |id: &str| match resolve(attachments, id, gateway) {
                Ok(attachment) => Ok(Some(attachment.id.clone())),
                // What was deleted leaves a blackhole (RT-12).
                Err(_) if !attachments.contains_key(id) && id.starts_with(ATTACHMENT) => Ok(None),
                Err(wrong) => Err(wrong),
            };
            item.required(&one.id, key, "tgw-attach-blue", find, errors)
        }
        _ => {
            let fix = "name one; equal routes of several attachments are propagated ones";
            item.wrong(key, "a static route has several attachments", fix, errors);
            None
        }
    }
}

/// Takes what propagates into each table. Returns the attachments that are stated to propagate into some table.
fn propagations(sources: &[Source<'_>], state: &mut Validation) -> HashSet<Id> {
    let Validation { model, errors, .. } = state;
    let mut stated = HashSet::new();
    for (item, raw) in in_force(sources) {
        let Some(table) = model.transit_tables.get_mut(item.id) else { continue };
        let all = raw.propagations.items().iter().enumerate().filter(|(_, raw)| raw.state.in_force());
        for (index, propagation) in all {
            let key = format!("TransitGatewayRouteTablePropagations[{index}].TransitGatewayAttachmentId");
            let find = |id| resolve(&model.transit_attachments, id, &table.gateway);
            let found = item.required(&propagation.attachment, &key, "tgw-attach-blue", find, errors);
            let Some(attachment) = found else { continue };
            if matches!(attachment.kind, AttachmentKind::Peering { .. }) {
                let problem = "a peering attachment does not propagate (PT-18)";
                item.wrong(key, problem, "add static routes to it", errors);
            } else if table.propagations.contains(&attachment.id) {
                item.wrong(key, format!("{} is there already", attachment.id), "list it once", errors);
            } else {
                table.propagations.push(attachment.id.clone());
                stated.insert(attachment.id.clone());
            }
        }
    }
    stated
}

/// Takes the table that each attachment is associated with: stated by the table, or by `TransitGatewayAttachments`.
fn associations(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let mut stated = of_tables(sources, model, errors);
    stated.extend(of_attachments(sources, model, errors));
    for (item, key, attachment, table) in stated {
        let Some(attachment) = model.transit_attachments.get_mut(&attachment) else { continue };
        match &attachment.table {
            Some(other) if *other != table => {
                let problem = format!(
                    "{} is associated with {other} already (Resource.AlreadyAssociated)",
                    attachment.id
                );
                item.wrong(key, problem, "associate an attachment with one table (PT-11)", errors);
            }
            _ => attachment.table = Some(table),
        }
    }
}

/// An association as it is stated: where, the attachment, the table.
type Association<'s> = (Item<'s>, String, Id, Id);

fn of_tables<'s>(sources: &'s [Source<'_>], model: &Model, errors: &mut Errors) -> Vec<Association<'s>> {
    let mut stated = Vec::new();
    for (item, raw) in in_force(sources) {
        let Some((id, table)) = model.transit_tables.get_key_value(item.id) else { continue };
        let all = raw.associations.items().iter().enumerate().filter(|(_, raw)| raw.state.in_force());
        for (index, association) in all {
            let key = format!("Associations[{index}].TransitGatewayAttachmentId");
            let find = |attachment| resolve(&model.transit_attachments, attachment, &table.gateway);
            let found = item.required(&association.attachment, &key, "tgw-attach-blue", find, errors);
            stated.extend(found.map(|attachment| (item, key, attachment.id.clone(), id.clone())));
        }
    }
    stated
}

fn of_attachments<'s>(sources: &'s [Source<'_>], model: &Model, errors: &mut Errors) -> Vec<Association<'s>> {
    let mut stated = Vec::new();
    for (item, raw) in transit::in_force(sources) {
        let known = raw.kind.get().is_some_and(|kind| transit::KINDS.contains(&kind));
        let Some(gateway) = raw.gateway.get().filter(|_| known) else { continue };
        let find = |attachment| resolve(&model.transit_attachments, attachment, gateway);
        let key = "TransitGatewayAttachmentId";
        let Some(attachment) = item.required(&raw.id, key, "tgw-attach-blue", find, errors) else { continue };
        if raw.association.is_missing() || !raw.association.state.in_force() {
            continue;
        }
        let key = "Association.TransitGatewayRouteTableId";
        let (section, tables) = ("TransitGatewayRouteTables", &model.transit_tables);
        let found = item.reference(&raw.association.table, key, "tgw-rtb-hub", section, tables, errors);
        let Some((id, table)) = found else { continue };
        if table.gateway == attachment.gateway {
            stated.push((item, key.to_owned(), attachment.id.clone(), id.clone()));
        } else {
            let problem = format!("{id} is a table of {}", table.gateway);
            item.wrong(key, problem, format!("name one of {}", attachment.gateway), errors);
        }
    }
    stated
}

/// Puts attachments of which nothing is stated into the default tables of their gateway. A default table that lists its
/// associations, or its propagations, has these and no others.
fn defaults(sources: &[Source<'_>], propagating: &HashSet<Id>, state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let lists = |list: fn(&raw::TransitRouteTable<'_>) -> bool| -> HashSet<&str> {
        in_force(sources).filter(|(_, raw)| list(raw)).map(|(item, _)| item.id).collect()
    };
    let associated = lists(|raw| !raw.associations.is_missing());
    let propagated = lists(|raw| !raw.propagations.is_missing());
    for (item, raw) in transit::gateways_in_force(sources) {
        let Some(gateway) = model.transit_gateways.get_key_value(item.id).map(|(id, _)| id.clone()) else {
            continue;
        };
        let options = &raw.options;
        let mut table = |text: &raw::Text<'_>, id: &str, enabled: &raw::Text<'_>, key: &str| {
            let enabled = item.optional(enabled, format!("Options.{key}"), value::enabled, errors);
            let find = |id| match model.transit_tables.get_key_value(id) {
                None => Err(value::unresolved(id, "TransitGatewayRouteTables")),
                Some((id, table)) if table.gateway == gateway => Ok(id.clone()),
                Some((id, table)) => {
                    let problem = format!("{id} is a table of {}", table.gateway);
                    Err(Wrong::new(problem, format!("name one of {gateway}")))
                }
            };
            let stated = if enabled == Some(false) || !text.is_stated() { None } else { Some(text) };
            item.optional(stated?, format!("Options.{id}"), find, errors)
        };
        let association = table(
            &options.association_table,
            "AssociationDefaultRouteTableId",
            &options.association,
            "DefaultRouteTableAssociation",
        );
        let propagation = table(
            &options.propagation_table,
            "PropagationDefaultRouteTableId",
            &options.propagation,
            "DefaultRouteTablePropagation",
        );
        let association = association.filter(|id| !associated.contains(&**id));
        let propagation = propagation.filter(|id| !propagated.contains(&**id));
        let mut new = Vec::new();
        for attachment in model.transit_attachments.values_mut().filter(|one| one.gateway == gateway) {
            if attachment.table.is_none() {
                attachment.table.clone_from(&association);
            }
            let propagates = !matches!(attachment.kind, AttachmentKind::Peering { .. });
            if propagates && !propagating.contains(&attachment.id) {
                new.push(attachment.id.clone());
            }
        }
        if let Some(table) = propagation.and_then(|id| model.transit_tables.get_mut(&id)) {
            new.sort_unstable();
            table.propagations.extend(new);
        }
    }
}
