//! Security groups and their rules.

use ipnet::{Ipv4Net, Ipv6Net};

use super::{Item, Source, Validation, each, value, value::Wrong};
use crate::model::{
    Errors, Id, Peer, Permission, SecurityGroup, Traffic,
    raw::{self, Check as _},
};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

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
        let traffic = traffic(item, raw, &at, errors);
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

/// What a rule allows: protocol and ports.
fn traffic(
    item: &Item<'_>,
    raw: &raw::Permission<'_>,
    at: &impl Fn(&str) -> String,
    errors: &mut Errors,
) -> Option<Traffic> {
    let before = errors.0.len();
    let protocol = item.required(&raw.protocol, at("IpProtocol"), "tcp", protocol, errors)?;
    let mut end = |text: &raw::Text<'_>, key: &str, range| {
        item.optional(text, at(key), |text| number(text, range), errors)
    };
    let traffic = match protocol {
        Some(protocol @ (TCP | UDP)) => {
            let ports = (0, 65535, "a port");
            let (from, to) = (end(&raw.from, "FromPort", ports), end(&raw.to, "ToPort", ports));
            for (text, key) in [(&raw.from, "FromPort"), (&raw.to, "ToPort")] {
                if text.is_missing() {
                    item.wrong(
                        at(key),
                        "is missing",
                        "add it; all ports are FromPort 0 and ToPort 65535",
                        errors,
                    );
                }
            }
            if let (Some(from), Some(to)) = (from, to) {
                if from > to {
                    let problem = format!("FromPort {from} is greater than ToPort {to}");
                    item.wrong(at("FromPort"), problem, "write the lower port first", errors);
                }
                Traffic::Ports { protocol, from: from as u16, to: to as u16 }
            } else {
                Traffic::All
            }
        }
        Some(protocol @ (ICMP | ICMPV6)) => {
            let kind = end(&raw.from, "FromPort", (-1, 255, "an ICMP type"));
            let code = end(&raw.to, "ToPort", (-1, 255, "an ICMP code"));
            // -1, or nothing, is every type or code.
            let some = |number: Option<i32>| number.and_then(|number| u8::try_from(number).ok());
            let (kind, code) = (some(kind), some(code));
            if kind.is_none() && code.is_some() {
                item.wrong(
                    at("ToPort"),
                    "has an ICMP code of every type",
                    "write -1, or a type in FromPort",
                    errors,
                );
            }
            Traffic::Icmp { protocol, kind, code }
        }
        // EC2 allows any ports with the other protocols, and pays no heed to them.
        other => {
            let any = (-1, 65535, "a port");
            for (text, key) in [(&raw.from, "FromPort"), (&raw.to, "ToPort")] {
                end(text, key, any);
            }
            other.map_or(Traffic::All, Traffic::Protocol)
        }
    };
    (errors.0.len() == before).then_some(traffic)
}

/// An IP protocol; `None` for all.
fn protocol(text: &str) -> Result<Option<u8>, Wrong> {
    match text {
        "-1" => Ok(None),
        "tcp" => Ok(Some(TCP)),
        "udp" => Ok(Some(UDP)),
        "icmp" => Ok(Some(ICMP)),
        "icmpv6" => Ok(Some(ICMPV6)),
        _ => text.parse().map(Some).map_err(|_| {
            Wrong::new(
                format!("{text} is not a protocol"),
                "write -1 for all, tcp, udp, icmp, icmpv6 or a number from 0 to 255",
            )
        }),
    }
}

fn number(text: &str, (lowest, highest, what): (i32, i32, &str)) -> Result<i32, Wrong> {
    match text.parse() {
        Ok(number) if (lowest..=highest).contains(&number) => Ok(number),
        _ => Err(Wrong::new(
            format!("{text} is not {what}"),
            format!("write a number from {lowest} to {highest}"),
        )),
    }
}
