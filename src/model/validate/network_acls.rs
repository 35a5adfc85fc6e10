//! Network ACLs, their entries, and which is in force in a subnet.

use hashbrown::HashMap;
use ipnet::IpNet;

use super::{Item, Source, Validation, each, traffic::Stated, value, value::Wrong};
use crate::model::{AclEntry, Errors, Id, Model, NetworkAcl, Traffic, raw};

/// The highest number of an entry (NACL-1).
const LAST: u16 = 32766;

/// The numbers of the entries that deny the rest, `*`: of IPv4 and of IPv6, as EC2 prints them.
const REST: [&str; 2] = ["32767", "32768"];

/// Which ACL each reader has, so far.
#[derive(Default)]
struct Readers {
    /// By VPC.
    defaults: HashMap<Id, Id>,
    /// By subnet.
    subnets: HashMap<Id, Id>,
}

pub(super) fn network_acls(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let mut readers = Readers::default();
    for (item, raw) in each(sources, "NetworkAcls", |raw| &raw.network_acls, |acl| &acl.id) {
        let vpc = item.reference(&raw.vpc, "VpcId", "vpc-blue", "Vpcs", &model.vpcs, errors);
        let vpc = vpc.map(|(id, _)| id.clone());
        let id = item.new_id(&raw.id, "NetworkAclId", "acl-blue", &model.network_acls, errors);
        let name = id.clone().unwrap_or_default();
        let is_default = item.optional(&raw.is_default, "IsDefault", value::boolean, errors) == Some(true);
        if is_default
            && let Some(vpc) = &vpc
            && let Some(other) = readers.defaults.insert(vpc.clone(), name.clone())
        {
            let problem = format!("{other} is the default ACL of {vpc} already");
            item.wrong("IsDefault", problem, "a VPC has one default ACL", errors);
        }
        let entries = entries(&item, raw.entries.items(), errors);
        let subnets = subnets(&item, raw, (&name, vpc.as_ref()), model, &mut readers, errors);
        if let (Some(id), Some(vpc)) = (id, vpc) {
            let descriptive = raw.notes.descriptive();
            let acl = NetworkAcl { id: id.clone(), vpc, is_default, entries, subnets, descriptive };
            model.network_acls.insert(id, acl);
        }
    }
    for subnet in model.subnets.values_mut() {
        let acl = readers.subnets.get(&subnet.id).or_else(|| readers.defaults.get(&subnet.vpc));
        subnet.network_acl = acl.cloned();
    }
}

/// The subnets associated with an ACL.
fn subnets(
    item: &Item<'_>,
    raw: &raw::NetworkAcl<'_>,
    (name, vpc): (&Id, Option<&Id>),
    model: &Model,
    readers: &mut Readers,
    errors: &mut Errors,
) -> Vec<Id> {
    let mut subnets = Vec::new();
    for (index, association) in raw.associations.items().iter().enumerate() {
        let at = |key: &str| format!("Associations[{index}].{key}");
        if let Some(acl) = association.acl.get()
            && acl != item.id
        {
            let problem = format!("{acl} is another ACL than the one it stands in");
            item.wrong(at("NetworkAclId"), problem, format!("write {}, or leave it out", item.id), errors);
        }
        let key = at("SubnetId");
        let known = &model.subnets;
        let found = item.reference(&association.subnet, &key, "subnet-a", "Subnets", known, errors);
        let Some((id, subnet)) = found else { continue };
        if let Some(vpc) = vpc
            && subnet.vpc != *vpc
        {
            let problem = format!("{id} is in {}, the ACL in {vpc}", subnet.vpc);
            item.wrong(&key, problem, "associate subnets of the same VPC", errors);
        }
        if let Some(other) = readers.subnets.insert(id.clone(), name.clone()) {
            let problem = format!("{id} is associated with {other} already");
            item.wrong(key, problem, "associate a subnet with one ACL", errors);
        }
        subnets.push(id.clone());
    }
    subnets
}

/// The entries of an ACL, in the order of the model.
fn entries(item: &Item<'_>, list: &[raw::AclEntry<'_>], errors: &mut Errors) -> Vec<AclEntry> {
    let mut entries = Vec::with_capacity(list.len());
    let mut numbers = HashMap::new();
    for (index, raw) in list.iter().enumerate() {
        let at = |key: &str| format!("Entries[{index}].{key}");
        if raw.number.get().is_some_and(|number| REST.contains(&number)) {
            rest(item, raw, at("RuleAction"), errors);
            continue;
        }
        let number = |text| value::number(text, 1..=LAST, "a rule number");
        let number = item.required(&raw.number, at("RuleNumber"), "100", number, errors);
        let egress = item.required(&raw.egress, at("Egress"), "false", value::boolean, errors);
        if let (Some(number), Some(egress)) = (number, egress)
            && let Some(first) = numbers.insert((egress, number), index)
        {
            let direction = if egress { "what goes out" } else { "what comes in" };
            let problem = format!(
                "Entries[{first}] is number {number} of {direction} too (NetworkAclEntryAlreadyExists)"
            );
            item.wrong(at("RuleNumber"), problem, "give each entry of a direction its own number", errors);
        }
        let action = |text| value::one_of(text, &[("allow", true), ("deny", false)]);
        let allow = item.required(&raw.action, at("RuleAction"), "allow", action, errors);
        let block = block(item, raw, &at, errors);
        let traffic = traffic(item, raw, block, &at, errors);
        if let (Some(number), Some(egress), Some(allow), Some(traffic), Some(block)) =
            (number, egress, allow, traffic, block)
        {
            entries.push(AclEntry { number, egress, allow, traffic, block });
        }
    }
    entries.sort_unstable_by_key(|entry| (entry.egress, entry.number));
    entries
}

/// Checks an entry that EC2 prints last and that is there anyway.
fn rest(item: &Item<'_>, raw: &raw::AclEntry<'_>, key: String, errors: &mut Errors) {
    if raw.action.get() != Some("deny") {
        let problem = "the last entry, which stands for *, does not deny";
        item.wrong(key, problem, format!("leave it out, or give it a number from 1 to {LAST}"), errors);
    }
}

/// The block of an entry, of either family.
fn block(
    item: &Item<'_>,
    raw: &raw::AclEntry<'_>,
    at: &impl Fn(&str) -> String,
    errors: &mut Errors,
) -> Option<IpNet> {
    match (raw.cidr4.is_stated(), raw.cidr6.is_stated()) {
        (true, true) => {
            item.wrong(at("Ipv6CidrBlock"), "is a second block", "make an entry for each family", errors);
            None
        }
        (false, true) => {
            let block = item.optional(&raw.cidr6, at("Ipv6CidrBlock"), value::cidr6, errors);
            block.map(IpNet::V6)
        }
        _ => {
            let cidr4 = |text| if raw.cidr4.is_stated() { value::cidr4(text) } else { Err(no_block()) };
            item.required(&raw.cidr4, at("CidrBlock"), "0.0.0.0/0", cidr4, errors).map(IpNet::V4)
        }
    }
}

fn no_block() -> Wrong {
    Wrong::new("is no block", "write 0.0.0.0/0, or ::/0 in Ipv6CidrBlock, for everything")
}

/// What an entry matches.
fn traffic(
    item: &Item<'_>,
    raw: &raw::AclEntry<'_>,
    block: Option<IpNet>,
    at: &impl Fn(&str) -> String,
    errors: &mut Errors,
) -> Option<Traffic> {
    let keys = ["PortRange.From", "PortRange.To", "IcmpTypeCode.Type", "IcmpTypeCode.Code"].map(at);
    let stated = Stated {
        protocol: (&raw.protocol, at("Protocol")),
        ports: [(&raw.ports.from, &keys[0]), (&raw.ports.to, &keys[1])],
        icmp: [(&raw.icmp.kind, &keys[2]), (&raw.icmp.code, &keys[3])],
    };
    Some(match stated.read(item, errors)? {
        // EC2 ignores what is said of ICMPv6 in an entry for IPv4.
        Traffic::Icmp { protocol: 58, .. } if matches!(block, Some(IpNet::V4(_))) => {
            Traffic::Icmp { protocol: 58, kind: None, code: None }
        }
        traffic => traffic,
    })
}
