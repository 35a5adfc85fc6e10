//! Security groups and their rules.

use ipnet::{Ipv4Net, Ipv6Net};

use super::{Item, Source, Validation, each, traffic::Stated, value, value::Wrong};
use crate::model::{Errors, Id, Peer, Permission, SecurityGroup, raw};

pub(super) fn security_groups(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let mut rules = Vec::new();
    for (item, raw) in each(sources, "SecurityGroups", |raw| &raw.security_groups, |group| &group.id) {
        let vpc = item.reference(&raw.vpc, "VpcId", "vpc-blue", "Vpcs", &model.vpcs, errors);
        let vpc = vpc.map_or_else(Id::default, |(id, _)| id.clone());
        let id = item.new_id(&raw.id, "GroupId", "sg-open", &model.security_groups, errors);
        if let Some(id) = &id {
            let descriptive = raw.notes.descriptive();
            let group =
                SecurityGroup { id: id.clone(), vpc, ingress: Vec::new(), egress: Vec::new(), descriptive };
            model.security_groups.insert(id.clone(), group);
        }
        rules.push((item, raw, id));
    }
    // Rules name groups, so they come when all groups are known.
    for (item, raw, id) in rules {
        let ingress = permissions(&item, "IpPermissions", &raw.ingress, state);
        let egress = permissions(&item, "IpPermissionsEgress", &raw.egress, state);
        if let Some(group) = id.and_then(|id| state.model.security_groups.get_mut(&id)) {
            (group.ingress, group.egress) = (ingress, egress);
        }
    }
}

fn permissions(
    item: &Item<'_>,
    key: &str,
    list: &raw::List<raw::Permission<'_>>,
    state: &mut Validation,
) -> Vec<Permission> {
    let Validation { model, errors, .. } = state;
    let known = &model.security_groups;
    let mut permissions = Vec::new();
    for (index, raw) in list.items().iter().enumerate() {
        let at = |key_below: &str| format!("{key}[{index}].{key_below}");
        let keys = [at("FromPort"), at("ToPort")];
        let ends = [(&raw.from, &*keys[0]), (&raw.to, &*keys[1])];
        let stated = Stated { protocol: (&raw.protocol, at("IpProtocol")), ports: ends, icmp: ends };
        let traffic = stated.read(item, errors);
        let ranges4 =
            peers::<_, Ipv4Net>(item, raw.ranges4.items(), &at, "IpRanges", "CidrIp", value::cidr4, errors);
        let ranges6 = peers::<_, Ipv6Net>(
            item,
            raw.ranges6.items(),
            &at,
            "Ipv6Ranges",
            "CidrIpv6",
            value::cidr6,
            errors,
        );
        let prefix_lists =
            peers(item, raw.prefix_lists.items(), &at, "PrefixListIds", "PrefixListId", prefix_list, errors);
        let group = |id: &str| {
            let group = known.get_key_value(id).map(|(id, _)| id.clone());
            group.ok_or_else(|| value::unresolved(id, "SecurityGroups"))
        };
        let groups = peers(item, raw.groups.items(), &at, "UserIdGroupPairs", "GroupId", group, errors);
        if let Some(traffic) = traffic {
            permissions.push(Permission { traffic, ranges4, ranges6, prefix_lists, groups });
        }
    }
    permissions
}

fn prefix_list(text: &str) -> Result<Id, Wrong> {
    if !text.starts_with("pl-") {
        return Err(Wrong::new(format!("{text} is not a prefix list's id"), "write one such as pl-12345678"));
    }
    value::id(text).map(Id::from)
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
    at: &impl Fn(&str) -> String,
    key: &str,
    peer_key: &str,
    parse: impl Fn(&str) -> Result<T, Wrong>,
    errors: &mut Errors,
) -> Vec<Peer<T>> {
    let mut peers = Vec::with_capacity(list.len());
    for (index, raw) in list.iter().enumerate() {
        let path = at(&format!("{key}[{index}].{peer_key}"));
        let example = match peer_key {
            "CidrIp" => "0.0.0.0/0",
            "CidrIpv6" => "::/0",
            "PrefixListId" => "pl-12345678",
            _ => "sg-open",
        };
        if let Some(peer) = item.required(raw.peer(), path, example, &parse, errors) {
            peers.push(Peer { peer, description: raw.description().get().map(Box::from) });
        }
    }
    peers
}
