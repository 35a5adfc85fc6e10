//! Traffic mirroring: targets, filters and sessions.

use std::ops::RangeInclusive;

use hashbrown::HashMap;
use ipnet::IpNet;

use super::{Item, Source, Validation, each, value, value::Wrong};
use crate::{
    model::{
        Errors, MirrorFilter, MirrorRule, MirrorSession, MirrorTarget,
        raw::{self, Check as _},
    },
    packet::Vni,
};

/// The highest number of a rule or session (MIR-2).
const LAST: u16 = 32766;

/// Most sessions of an ENI.
const SESSIONS: usize = 3;

pub(super) fn mirroring(sources: &[Source<'_>], state: &mut Validation) {
    targets(sources, state);
    filters(sources, state);
    sessions(sources, state);
}

fn targets(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    for (item, raw) in each(sources, "TrafficMirrorTargets", |raw| &raw.mirror_targets, |it| &it.id) {
        let others = [
            ("NetworkLoadBalancerArn", &raw.load_balancer),
            ("GatewayLoadBalancerEndpointId", &raw.endpoint),
        ];
        let id = item.new_id(&raw.id, "TrafficMirrorTargetId", "tmt-ids", &model.mirror_targets, errors);
        if let Some((key, _)) = others.into_iter().find(|(_, text)| text.is_stated()) {
            let problem = "is a target that copies cannot be sent to here";
            item.wrong(key, problem, "make an ENI the target, by NetworkInterfaceId", errors);
        }
        let known = &model.enis;
        let eni = if raw.eni.is_missing() && others.iter().any(|(_, text)| text.is_stated()) {
            None
        } else {
            item.reference(&raw.eni, "NetworkInterfaceId", "eni-a1", "NetworkInterfaces", known, errors)
        };
        if let Some(id) = id {
            let eni = eni.map(|(id, _)| id.clone()).unwrap_or_default();
            let descriptive = raw.notes.descriptive();
            model.mirror_targets.insert(id.clone(), MirrorTarget { id, eni, descriptive });
        }
    }
}

fn filters(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    for (item, raw) in each(sources, "TrafficMirrorFilters", |raw| &raw.mirror_filters, |it| &it.id) {
        let ingress = rules(&item, "IngressFilterRules", raw.ingress.items(), errors);
        let egress = rules(&item, "EgressFilterRules", raw.egress.items(), errors);
        let mut dns = false;
        for (index, text) in raw.services.items().iter().enumerate() {
            let service = |text| value::one_of(text, &[("amazon-dns", true)]);
            let key = format!("NetworkServices[{index}]");
            dns |= item.required(text, key, "amazon-dns", service, errors) == Some(true);
        }
        let id = item.new_id(&raw.id, "TrafficMirrorFilterId", "tmf-all", &model.mirror_filters, errors);
        if let Some(id) = id {
            let descriptive = raw.notes.descriptive();
            model.mirror_filters.insert(id.clone(), MirrorFilter { id, ingress, egress, dns, descriptive });
        }
    }
}

/// The rules of one direction, by number.
fn rules(item: &Item<'_>, key: &str, list: &[raw::MirrorRule<'_>], errors: &mut Errors) -> Vec<MirrorRule> {
    let mut rules = Vec::with_capacity(list.len());
    let mut numbers = HashMap::new();
    for (index, raw) in list.iter().enumerate() {
        let at = |below: &str| format!("{key}[{index}].{below}");
        let number = |text| value::number(text, 1..=LAST, "a rule number");
        let number = item.required(&raw.number, at("RuleNumber"), "100", number, errors);
        if let Some(number) = number
            && let Some(first) = numbers.insert(number, index)
        {
            let problem = format!("{key}[{first}] has the number {number} too");
            item.wrong(at("RuleNumber"), problem, "give each rule of a direction its own number", errors);
        }
        let action = |text| value::one_of(text, &[("accept", true), ("reject", false)]);
        let accept = item.required(&raw.action, at("RuleAction"), "accept", action, errors);
        let protocol = item.optional(&raw.protocol, at("Protocol"), protocol, errors);
        let source = item.required(&raw.source, at("SourceCidrBlock"), "0.0.0.0/0", value::cidr, errors);
        let destination =
            item.required(&raw.destination, at("DestinationCidrBlock"), "0.0.0.0/0", value::cidr, errors);
        if let (Some(source), Some(destination)) = (source, destination)
            && matches!(source, IpNet::V4(_)) != matches!(destination, IpNet::V4(_))
        {
            let problem = format!("{destination} is of another family than {source}");
            item.wrong(at("DestinationCidrBlock"), problem, "make a rule for each family", errors);
        }
        let source_ports = ports(item, &raw.source_ports, &at("SourcePortRange"), errors);
        let destination_ports = ports(item, &raw.destination_ports, &at("DestinationPortRange"), errors);
        if let (Some(number), Some(accept), Some(source), Some(destination)) =
            (number, accept, source, destination)
        {
            let protocol = protocol.flatten();
            rules.push(MirrorRule {
                number,
                accept,
                protocol,
                source,
                destination,
                source_ports,
                destination_ports,
            });
        }
    }
    rules.sort_unstable_by_key(|rule| rule.number);
    rules
}

/// An IP protocol; `None` for all.
fn protocol(text: &str) -> Result<Option<u8>, Wrong> {
    if text == "-1" { Ok(None) } else { value::number(text, 0..=255, "a protocol").map(Some) }
}

/// A range of ports; all if none is stated.
fn ports(item: &Item<'_>, raw: &raw::MirrorPorts<'_>, key: &str, errors: &mut Errors) -> RangeInclusive<u16> {
    let mut port = |text: &raw::Text<'_>, below| {
        let number = |text| value::number(text, 0..=65535, "a port");
        item.optional(text, format!("{key}.{below}"), number, errors)
    };
    match (port(&raw.from, "FromPort"), port(&raw.to, "ToPort")) {
        (Some(from), Some(to)) if from > to => {
            let problem = format!("FromPort {from} is greater than ToPort {to}");
            item.wrong(format!("{key}.FromPort"), problem, "write the lower port first", errors);
            from..=from
        }
        (from, to) => from.unwrap_or(0)..=to.unwrap_or(u16::MAX),
    }
}

fn sessions(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut numbers: HashMap<(&str, u16), &str> = HashMap::new();
    for (item, raw) in each(sources, "TrafficMirrorSessions", |raw| &raw.mirror_sessions, |it| &it.id) {
        let eni = item.reference(
            &raw.eni,
            "NetworkInterfaceId",
            "eni-a1",
            "NetworkInterfaces",
            &model.enis,
            errors,
        );
        let target = item.reference(
            &raw.target,
            "TrafficMirrorTargetId",
            "tmt-ids",
            "TrafficMirrorTargets",
            &model.mirror_targets,
            errors,
        );
        let filter = item.reference(
            &raw.filter,
            "TrafficMirrorFilterId",
            "tmf-all",
            "TrafficMirrorFilters",
            &model.mirror_filters,
            errors,
        );
        let number = |text| value::number(text, 1..=LAST, "a session number");
        let number = item.required(&raw.number, "SessionNumber", "1", number, errors);
        let length = |text| value::number(text, 1..=u16::MAX, "a number of bytes");
        let length = item.optional(&raw.length, "PacketLength", length, errors);
        let vni = item.optional(&raw.vni, "VirtualNetworkId", value::vni, errors);
        let id = item.new_id(&raw.id, "TrafficMirrorSessionId", "tms-a1", &model.mirror_sessions, errors);
        let (Some((eni_id, eni)), Some((target_id, target))) = (eni, target) else { continue };
        if target.eni == *eni_id {
            let problem = format!("{eni_id} would receive the copies of its own packets");
            item.wrong("TrafficMirrorTargetId", problem, "choose another target", errors);
        } else if let Some(is) = model.mirror_targets.values().find(|target| target.eni == *eni_id) {
            let problem = format!("{eni_id} receives copies, as {}", is.id);
            item.wrong(
                "NetworkInterfaceId",
                problem,
                "mirror another ENI, or make another the target",
                errors,
            );
        }
        if eni.primary4.is_none() && !eni.addresses6.is_empty() {
            let problem = format!("{} has no IPv4 block (MIR-7)", eni.subnet);
            item.wrong("NetworkInterfaceId", problem, "mirror an ENI of another subnet", errors);
        }
        let source = raw.eni.get().unwrap_or_default();
        let count = counts.entry(source).or_default();
        *count += 1;
        if *count == SESSIONS + 1 {
            let problem = format!("{eni_id} has {SESSIONS} sessions already");
            item.wrong("NetworkInterfaceId", problem, format!("an ENI has at most {SESSIONS}"), errors);
        }
        if let Some(number) = number
            && let Some(other) = numbers.insert((source, number), item.id)
        {
            let problem = format!("{other} is session {number} of {eni_id} already");
            item.wrong("SessionNumber", problem, "give each session of an ENI its own number", errors);
        }
        if let (Some(id), Some((filter, _)), Some(number)) = (id, filter, number) {
            let session = MirrorSession {
                id: id.clone(),
                eni: eni_id.clone(),
                target: target_id.clone(),
                filter: filter.clone(),
                number,
                length,
                vni: vni.unwrap_or_else(|| vni_of(&id)),
                descriptive: raw.notes.descriptive(),
            };
            model.mirror_sessions.insert(id, session);
        }
    }
}

/// A VNI for a session that states none, the same on all hosts: of the FNV-1a 32 hash of its id.
fn vni_of(id: &str) -> Vni {
    let hash =
        id.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    Vni::new(hash >> 8).unwrap_or(Vni::FIRST)
}
