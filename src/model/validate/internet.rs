//! Gateways that are attached to a VPC, one of a kind to each: internet, egress-only internet and virtual private
//! gateways; and whether public access is blocked.

use hashbrown::HashMap;

use super::{Item, Source, Validation, each, value};
use crate::model::{
    BlockPublicAccess, ById, EgressOnlyInternetGateway, Errors, Id, InternetGateway, Vpc, VpnGateway, raw,
};

pub(super) fn gateways(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let mut taken = HashMap::new();
    for (item, raw) in each(sources, "InternetGateways", |raw| &raw.internet_gateways, |raw| &raw.id) {
        let vpc = vpc(&item, &raw.attachments, "Attachments", &model.vpcs, &mut taken, errors);
        let known = &mut model.internet_gateways;
        if let Some(id) = item.new_id(&raw.id, "InternetGatewayId", "igw-blue", known, errors) {
            let descriptive = raw.notes.descriptive();
            known.insert(id.clone(), InternetGateway { id, vpc, descriptive });
        }
    }
    taken.clear();
    let all = each(sources, "EgressOnlyInternetGateways", |raw| &raw.egress_only_gateways, |raw| &raw.id);
    for (item, raw) in all {
        let vpc = vpc(&item, &raw.attachments, "Attachments", &model.vpcs, &mut taken, errors);
        let known = &mut model.egress_only_gateways;
        if let Some(id) = item.new_id(&raw.id, "EgressOnlyInternetGatewayId", "eigw-blue", known, errors) {
            let descriptive = raw.notes.descriptive();
            known.insert(id.clone(), EgressOnlyInternetGateway { id, vpc, descriptive });
        }
    }
    taken.clear();
    let all = each(sources, "VpnGateways", |raw| &raw.vpn_gateways, |raw| &raw.id);
    for (item, raw) in all.filter(|(_, raw)| raw.state.in_force()) {
        let vpc = vpc(&item, &raw.attachments, "VpcAttachments", &model.vpcs, &mut taken, errors);
        let known = &mut model.vpn_gateways;
        if let Some(id) = item.new_id(&raw.id, "VpnGatewayId", "vgw-blue", known, errors) {
            let descriptive = raw.notes.descriptive();
            known.insert(id.clone(), VpnGateway { id, vpc, descriptive });
        }
    }
}

/// The VPC that a gateway is attached to, if to any. `taken` has those that have a gateway of the kind, and which.
fn vpc<'s>(
    item: &Item<'s>,
    attachments: &raw::List<raw::VpcAttachment<'_>>,
    key: &str,
    vpcs: &ById<Vpc>,
    taken: &mut HashMap<Id, &'s str>,
    errors: &mut Errors,
) -> Option<Id> {
    let mut attached = None;
    let attachments = attachments.items().iter().enumerate();
    for (index, attachment) in attachments.filter(|(_, attachment)| attachment.state.in_force()) {
        let key = format!("{key}[{index}].VpcId");
        let found = item.reference(&attachment.vpc, &key, "vpc-blue", "Vpcs", vpcs, errors);
        let Some((vpc, _)) = found else { continue };
        if let Some(other) = &attached {
            let problem = format!("is attached to {other} already (Resource.AlreadyAssociated)");
            item.wrong(key, problem, "attach a gateway to one VPC", errors);
        } else if let Some(other) = taken.insert(vpc.clone(), item.id) {
            let problem = format!("{vpc} has {other} attached already (InvalidParameterValue)");
            item.wrong(key, problem, "attach one gateway of a kind to a VPC", errors);
        } else {
            attached = Some(vpc.clone());
        }
    }
    attached
}

/// `VpcBlockPublicAccessOptions`, which is one of the whole region (GW-25).
pub(super) fn block_public_access(sources: &[Source<'_>], state: &mut Validation) {
    const MODES: [(&str, BlockPublicAccess); 3] = [
        ("off", BlockPublicAccess::Off),
        ("block-bidirectional", BlockPublicAccess::Bidirectional),
        ("block-ingress", BlockPublicAccess::Ingress),
    ];
    let mut stated: Option<BlockPublicAccess> = None;
    for source in sources {
        let Some(text) = source.state.public_access.mode.get() else { continue };
        let mode = value::one_of(text, &MODES).and_then(|mode| match stated.replace(mode) {
            Some(other) if other != mode => Err(value::Wrong::new(
                format!("{text} contradicts another document"),
                "state it once for the whole region",
            )),
            _ => Ok(mode),
        });
        match mode {
            Ok(mode) => state.model.block_public_access = mode,
            Err(value::Wrong { problem, fix }) => state.errors.0.push(crate::model::StateError {
                file: source.name.to_owned(),
                path: "VpcBlockPublicAccessOptions.InternetGatewayBlockMode".to_owned(),
                resource: String::new(),
                problem,
                fix,
            }),
        }
    }
}
