//! Multicast domains of transit gateways.

use hashbrown::{HashMap, HashSet};

use super::{Item, Source, Validation, each, value};
use crate::model::{
    AttachmentKind, Errors, GroupEni, Id, Model, MulticastDomain,
    raw::{self, Check as _},
};

pub(super) fn domains(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let attached: HashSet<(Id, Id)> = model
        .transit_attachments
        .values()
        .filter_map(|attachment| match &attachment.kind {
            AttachmentKind::Vpc { vpc, .. } => Some((attachment.gateway.clone(), vpc.clone())),
            _ => None,
        })
        .collect();
    let mut taken = HashMap::new();
    let section = "TransitGatewayMulticastDomains";
    let all = each(sources, section, |raw| &raw.multicast_domains, |raw| &raw.id);
    for (item, raw) in all.filter(|(_, raw)| raw.state.in_force()) {
        let known = &model.transit_gateways;
        let gateway =
            item.reference(&raw.gateway, "TransitGatewayId", "tgw-hub", "TransitGateways", known, errors);
        if let Some((id, gateway)) = gateway
            && !gateway.multicast
        {
            let problem = format!("{id} has no multicast");
            item.wrong(
                "TransitGatewayId",
                problem,
                "write Options: {MulticastSupport: enable} there",
                errors,
            );
        }
        let gateway = gateway.map(|(id, _)| id.clone());
        let key = "Options.Igmpv2Support";
        let igmp = item.optional(&raw.options.igmp, key, value::enabled, errors).unwrap_or(false);
        let key = "Options.StaticSourcesSupport";
        let sources = item.optional(&raw.options.static_sources, key, value::enabled, errors);
        let static_sources = sources.unwrap_or(false);
        if igmp && static_sources {
            let problem = "excludes Igmpv2Support (MC-3)";
            item.wrong(key, problem, "enable one of the two", errors);
        }
        let subnets = subnets(&item, raw, gateway.as_ref(), (&attached, &mut taken), model, errors);
        let (members, sources) = groups(&item, raw, static_sources, model, errors);
        let known = &mut model.multicast_domains;
        let id = item.new_id(&raw.id, "TransitGatewayMulticastDomainId", "tgw-mcast-domain-1", known, errors);
        let Some(id) = id else { continue };
        let gateway = gateway.unwrap_or_default();
        let descriptive = raw.notes.descriptive();
        let domain = MulticastDomain {
            id: id.clone(),
            gateway,
            igmp,
            static_sources,
            subnets,
            members,
            sources,
            descriptive,
        };
        known.insert(id, domain);
    }
}

/// The subnets of the domain, of VPCs that are attached to its gateway.
fn subnets<'s>(
    item: &Item<'s>,
    raw: &raw::MulticastDomain<'_>,
    gateway: Option<&Id>,
    (attached, taken): (&HashSet<(Id, Id)>, &mut HashMap<Id, &'s str>),
    model: &Model,
    errors: &mut Errors,
) -> Vec<Id> {
    let mut subnets = Vec::new();
    let all = raw.associations.items().iter().enumerate();
    for (index, association) in all.filter(|(_, one)| one.nested.state.in_force()) {
        let (text, key) = if association.nested.subnet.is_missing() {
            (&association.subnet, format!("Associations[{index}].SubnetId"))
        } else {
            (&association.nested.subnet, format!("Associations[{index}].Subnet.SubnetId"))
        };
        let found = item.reference(text, &key, "subnet-a", "Subnets", &model.subnets, errors);
        let Some((id, subnet)) = found else { continue };
        if let Some(other) = taken.insert(id.clone(), item.id) {
            let problem = format!("{id} is associated with {other} already");
            item.wrong(key, problem, "associate a subnet with one multicast domain", errors);
            continue;
        }
        if let Some(gateway) = gateway
            && !attached.contains(&(gateway.clone(), subnet.vpc.clone()))
        {
            let problem = format!("{} is not attached to {gateway}", subnet.vpc);
            item.wrong(key, problem, "add it to TransitGatewayVpcAttachments", errors);
        }
        subnets.push(id.clone());
    }
    subnets
}

/// The members and the sources that were registered. What is one by IGMP is found out anew.
fn groups(
    item: &Item<'_>,
    raw: &raw::MulticastDomain<'_>,
    static_sources: bool,
    model: &Model,
    errors: &mut Errors,
) -> (Vec<GroupEni>, Vec<GroupEni>) {
    let (mut members, mut sources) = (Vec::new(), Vec::new());
    let all = raw.groups.items().iter().enumerate();
    let learned = |group: &raw::MulticastGroup<'_>| {
        [&group.member_type, &group.source_type].iter().any(|text| text.get() == Some("igmp"))
    };
    for (index, group) in all.filter(|(_, group)| !learned(group)) {
        let at = |key: &str| format!("Groups[{index}].{key}");
        let address = item.required(&group.group, at("GroupIpAddress"), "239.1.1.1", value::group4, errors);
        let (key, enis) = (at("NetworkInterfaceId"), &model.enis);
        let eni = item.reference(&group.eni, &key, "eni-a1", "NetworkInterfaces", enis, errors);
        let member = item.optional(&group.member, at("GroupMember"), value::boolean, errors);
        let source = item.optional(&group.source, at("GroupSource"), value::boolean, errors);
        if group.member.is_missing() && group.source.is_missing() {
            let fix = "add GroupMember: true, or GroupSource: true";
            item.wrong(format!("Groups[{index}]"), "is neither member nor source", fix, errors);
        }
        if source == Some(true) && !static_sources {
            let fix = "write Options: {StaticSourcesSupport: enable}, or leave it out";
            item.wrong(at("GroupSource"), "the domain has no static sources (MC-3)", fix, errors);
        }
        let (Some(group), Some((eni, _))) = (address, eni) else { continue };
        for (list, wanted) in [(&mut members, member), (&mut sources, source)] {
            if wanted != Some(true) {
                continue;
            }
            let one = GroupEni { group, eni: eni.clone() };
            if list.contains(&one) {
                let problem = format!("{eni} is there already for {group}");
                item.wrong(format!("Groups[{index}]"), problem, "list it once", errors);
            } else {
                list.push(one);
            }
        }
    }
    (members, sources)
}
