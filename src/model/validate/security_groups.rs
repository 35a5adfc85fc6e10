//! Security groups and their rules, and the default groups of ENIs.

use hashbrown::{HashMap, HashSet};
use ipnet::{Ipv4Net, Ipv6Net};

use super::{Item, Source, Validation, each, traffic::Stated, value, value::Wrong};
use crate::model::{
    AttachmentKind, Errors, Id, Model, Peer, Peering, Permission, SecurityGroup, TransitAttachment, raw,
};

pub(super) fn security_groups(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let mut all = Vec::new();
    let mut names: HashMap<(Id, &str), &str> = HashMap::new();
    for (item, raw) in each(sources, "SecurityGroups", |raw| &raw.security_groups, |group| &group.id) {
        let vpc = item.reference(&raw.vpc, "VpcId", "vpc-blue", "Vpcs", &model.vpcs, errors);
        let vpc = vpc.map_or_else(Id::default, |(id, _)| id.clone());
        let name = raw.name.get();
        if let Some(name) = name
            && !vpc.is_empty()
            && let Some(other) = names.insert((vpc.clone(), name), item.id)
            && other != item.id
        {
            let problem = format!("{other} has the name {name} in {vpc} too (InvalidGroup.Duplicate)");
            item.wrong("GroupName", problem, "give each group of a VPC its own", errors);
        }
        let id = item.new_id(&raw.id, "GroupId", "sg-open", &model.security_groups, errors);
        if let Some(id) = &id {
            let group = SecurityGroup {
                id: id.clone(),
                vpc: vpc.clone(),
                name: name.map(Box::from),
                ingress: Vec::new(),
                egress: Vec::new(),
                descriptive: raw.notes.descriptive(),
            };
            model.security_groups.insert(id.clone(), group);
        }
        all.push((item, raw, id, vpc));
    }
    // Rules name groups, so they come when all groups are known.
    let known = Known::new(model);
    let rules: Vec<_> = all
        .iter()
        .map(|(item, raw, id, vpc)| {
            let mut read = |key, list| known.permissions(item, vpc, key, list, errors);
            (id, read(INGRESS, &raw.ingress), read("IpPermissionsEgress", &raw.egress))
        })
        .collect();
    drop(known);
    for (id, ingress, egress) in rules {
        if let Some(group) = id.as_ref().and_then(|id| model.security_groups.get_mut(id)) {
            (group.ingress, group.egress) = (ingress, egress);
        }
    }
}

/// Gives the ENIs without a group the default one of their VPC (SEC-1), which is made up if the documents have none.
pub(super) fn default_groups(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let groups = model.security_groups.values().filter(|group| group.is_default());
    let mut defaults: HashMap<Id, Id> = groups.map(|group| (group.vpc.clone(), group.id.clone())).collect();
    let mut made = Vec::new();
    for eni in model.enis.values_mut().filter(|eni| eni.groups.is_empty() && !eni.vpc.is_empty()) {
        let group = defaults.entry(eni.vpc.clone()).or_insert_with(|| {
            let group = SecurityGroup::default_of(&eni.vpc);
            let id = group.id.clone();
            made.push(group);
            id
        });
        eni.groups = Box::new([group.clone()]);
    }
    for group in made {
        let (id, vpc) = (group.id.clone(), group.vpc.clone());
        if model.security_groups.insert(id.clone(), group).is_some() {
            let all = each(sources, "SecurityGroups", |raw| &raw.security_groups, |group| &group.id);
            for (item, _) in all.filter(|(item, _)| *item.id == *id) {
                let problem = format!("{id} is the id of the default group that {vpc} gets, as it has none");
                item.wrong("GroupId", problem, "give it the GroupName default, or rename it", errors);
            }
        }
    }
}

/// What rules name.
struct Known<'m> {
    model: &'m Model,
    /// The peering of two VPCs, by both of its sides.
    peerings: HashMap<(&'m Id, &'m Id), &'m Peering>,
    /// The transit gateways that let rules name groups of other VPCs, with the VPCs that take part (PT-19).
    transits: HashSet<(&'m Id, &'m Id)>,
}

impl<'m> Known<'m> {
    fn new(model: &'m Model) -> Self {
        let sides = |peering: &'m Peering| {
            let (one, other) = (&peering.requester, &peering.accepter);
            [((one, other), peering), ((other, one), peering)]
        };
        let takes_part = |attachment: &'m TransitAttachment| match &attachment.kind {
            AttachmentKind::Vpc { vpc, group_references: true, .. } if attachment.available => {
                let gateway = model.transit_gateways.get(&attachment.gateway)?;
                gateway.group_references.then_some((&gateway.id, vpc))
            }
            _ => None,
        };
        Self {
            model,
            peerings: model.peerings.values().flat_map(sides).collect(),
            transits: model.transit_attachments.values().filter_map(takes_part).collect(),
        }
    }

    /// The rules of one direction of a group of a VPC.
    fn permissions(
        &self,
        item: &Item<'_>,
        vpc: &Id,
        key: &str,
        list: &raw::List<raw::Permission<'_>>,
        errors: &mut Errors,
    ) -> Vec<Permission> {
        let mut permissions = Vec::with_capacity(list.items().len());
        for (index, raw) in list.items().iter().enumerate() {
            let at = |below: &str| format!("{key}[{index}].{below}");
            let keys = [at("FromPort"), at("ToPort")];
            let ends = [(&raw.from, &*keys[0]), (&raw.to, &*keys[1])];
            let stated = Stated { protocol: (&raw.protocol, at("IpProtocol")), ports: ends, icmp: ends };
            let traffic = stated.read(item, errors);
            let ranges4: Vec<Peer<Ipv4Net>> = peers(
                item,
                raw.ranges4.items(),
                |index| at(&format!("IpRanges[{index}].CidrIp")),
                "0.0.0.0/0",
                |_, text| value::cidr4(text),
                errors,
            );
            let ranges6: Vec<Peer<Ipv6Net>> = peers(
                item,
                raw.ranges6.items(),
                |index| at(&format!("Ipv6Ranges[{index}].CidrIpv6")),
                "::/0",
                |_, text| value::cidr6(text),
                errors,
            );
            let prefix_lists = peers(
                item,
                raw.prefix_lists.items(),
                |index| at(&format!("PrefixListIds[{index}].PrefixListId")),
                "pl-corp",
                |_, text| self.prefix_list(text),
                errors,
            );
            let pairs = peers(
                item,
                raw.groups.items(),
                |index| at(&format!("UserIdGroupPairs[{index}].GroupId")),
                "sg-open",
                |pair, text| self.group(vpc, key, pair, text),
                errors,
            );
            let (stale, groups): (Vec<_>, Vec<_>) =
                pairs.into_iter().partition(|pair| matches!(pair.peer, Group::Stale(_)));
            let id = |pair: Peer<Group>| {
                let (Group::Stale(peer) | Group::Known(peer)) = pair.peer;
                Peer { peer, description: pair.description }
            };
            let groups = groups.into_iter().map(id).collect();
            let stale = stale.into_iter().map(id).collect();
            if let Some(traffic) = traffic {
                permissions.push(Permission { traffic, ranges4, ranges6, prefix_lists, groups, stale });
            }
        }
        permissions
    }

    fn prefix_list(&self, text: &str) -> Result<Id, Wrong> {
        let found = self.model.prefix_lists.get_key_value(text).map(|(id, _)| id.clone());
        found.ok_or_else(|| value::unresolved(text, "PrefixLists"))
    }

    /// Whether a transit gateway joins two VPCs, and all three let rules name groups of others.
    fn over_transit(&self, one: &Id, other: &Id) -> bool {
        self.transits.iter().any(|&(gateway, vpc)| vpc == one && self.transits.contains(&(gateway, other)))
    }

    /// A group that a rule of a group of `vpc` names: of that VPC, of a peered one in the same region (PT-7), or, where that is enabled,
    /// for what comes in, of one attached to the same transit gateway (PT-19).
    fn group(&self, vpc: &Id, key: &str, pair: &raw::GroupPair<'_>, text: &str) -> Result<Group, Wrong> {
        // EC2 prints the peering of a group of another VPC, and goes on doing so when either is gone.
        let over_peering = pair.peering.is_stated();
        let Some((id, group)) = self.model.security_groups.get_key_value(text) else {
            let stale = value::id(text).map(|id| Group::Stale(id.into()));
            return if over_peering { stale } else { Err(value::unresolved(text, "SecurityGroups")) };
        };
        let theirs = &group.vpc;
        if theirs == vpc || theirs.is_empty() || vpc.is_empty() {
            return Ok(Group::Known(id.clone()));
        }
        match self.peerings.get(&(vpc, theirs)) {
            Some(peering) if peering.inter_region => {
                let problem = format!(
                    "{id} is of {theirs}, in another region than {vpc} (InvalidGroup.NotFound, PT-7)"
                );
                Err(Wrong::new(problem, "allow its addresses instead, by CidrIp or a prefix list"))
            }
            Some(peering) if peering.active => Ok(Group::Known(id.clone())),
            _ if over_peering => Ok(Group::Stale(id.clone())),
            _ if !self.over_transit(vpc, theirs) => {
                let problem = format!(
                    "{id} is of {theirs}, which no active peering connection joins with {vpc}, nor a transit gateway with \
                     SecurityGroupReferencingSupport (InvalidGroup.NotFound)"
                );
                Err(Wrong::new(problem, "name a group of the same VPC, or peer the two"))
            }
            _ if key != INGRESS => {
                let problem = format!(
                    "{id} is of {theirs}, beyond a transit gateway: only what comes in can be from there (PT-19)"
                );
                Err(Wrong::new(problem, "allow its addresses instead, by CidrIp or a prefix list"))
            }
            _ => Ok(Group::Known(id.clone())),
        }
    }
}

/// The key of the rules for what comes in.
const INGRESS: &str = "IpPermissions";

/// A group that a rule names.
enum Group {
    /// One whose members can be reached.
    Known(Id),
    /// One of a VPC that is peered no longer, or that is gone.
    Stale(Id),
}

/// A raw peer of a rule: the text that names it, and why it is there.
trait RawPeer<'a> {
    fn peer(&self) -> &raw::Text<'a>;
    fn description(&self) -> &raw::Text<'a>;
}

macro_rules! raw_peers {
    ($($name:ident.$peer:ident)*) => {$(
        impl<'a> RawPeer<'a> for raw::$name<'a> {
            fn peer(&self) -> &raw::Text<'a> {
                &self.$peer
            }

            fn description(&self) -> &raw::Text<'a> {
                &self.description
            }
        }
    )*};
}

raw_peers!(Range4.cidr Range6.cidr PrefixListId.id GroupPair.id);

/// The peers of one kind in a rule.
fn peers<'a, R: RawPeer<'a>, T>(
    item: &Item<'_>,
    list: &[R],
    at: impl Fn(usize) -> String,
    example: &str,
    parse: impl Fn(&R, &str) -> Result<T, Wrong>,
    errors: &mut Errors,
) -> Vec<Peer<T>> {
    let mut peers = Vec::with_capacity(list.len());
    for (index, raw) in list.iter().enumerate() {
        if let Some(peer) = item.required(raw.peer(), at(index), example, |text| parse(raw, text), errors) {
            peers.push(Peer { peer, description: raw.description().get().map(Box::from) });
        }
    }
    peers
}
