//! Subnets.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{
    Source, Validation, each,
    overlap::{Span, overlaps},
    value,
};
use crate::model::{Id, Subnet, Vpc, raw::Check as _};

pub(super) fn subnets(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, doubtful } = state;
    let mut items = Vec::new();
    let mut spans = Vec::new();
    let mut scopes: HashMap<&str, u32> = HashMap::new();
    let mut regions: HashMap<&str, (&str, &str)> = HashMap::new();
    let mut zones: HashMap<&str, Arc<str>> = HashMap::new();
    for (item, raw) in each(sources, "Subnets", |raw| &raw.subnets, |subnet| &subnet.id) {
        let vpc = item.reference(&raw.vpc, "VpcId", "vpc-blue", "Vpcs", &model.vpcs, errors);

        let region = item.required(&raw.zone, "AvailabilityZone", "eu-central-1a", value::region, errors);
        let zone = raw.zone.get().unwrap_or_default();
        if let (Some(region), Some((vpc, _))) = (region, vpc) {
            // A VPC is in one region (FWD-1).
            let (first_region, first_zone) = *regions.entry(vpc).or_insert((region, zone));
            if region != first_region {
                let problem = format!("{zone} is in {region}, but {vpc} has {first_zone} in {first_region}");
                item.wrong("AvailabilityZone", problem, format!("choose a zone of {first_region}"), errors);
            }
        }

        let before = errors.0.len();
        let mut cidr4 = item.optional(&raw.cidr, Part::Cidr4, value::vpc_cidr4, errors);
        let mut cidr6 = None;
        for (index, block) in
            raw.cidrs6.items().iter().enumerate().filter(|(_, block)| block.state.in_force())
        {
            let key = Part::Cidr6(index);
            if let Some(cidr) =
                item.required(&block.cidr, key, "2001:db8:b1:1::/64", value::subnet_cidr6, errors)
                && let Some((first, _)) = cidr6.replace((cidr, key))
            {
                let problem = format!("the subnet has the IPv6 block {first} already");
                item.wrong(key, problem, "a subnet has one IPv6 block", errors);
            }
        }
        let native = item.optional(&raw.ipv6_native, "Ipv6Native", value::boolean, errors);
        if let Some(true) = native
            && raw.cidr.get().is_some()
        {
            let fix = "leave out CidrBlock, or write Ipv6Native: false";
            item.wrong("Ipv6Native", "an IPv6-only subnet has an IPv4 block", fix, errors);
        }
        let mut sound = errors.0.len() == before;
        if sound && cidr4.is_none() && cidr6.is_none() && raw.cidr.is_missing() {
            let fix = "add CidrBlock, Ipv6CidrBlockAssociationSet or both";
            item.wrong("", "has no block of addresses", fix, errors);
            sound = false;
        }

        let vpc_is_sound = vpc.is_some_and(|(id, _)| !doubtful.contains(id));
        if let (Some((vpc_id, vpc)), true) = (vpc, vpc_is_sound) {
            let scope = scopes.len() as u32;
            let scope = *scopes.entry(vpc_id).or_insert(scope);
            let blocks = cidr4.map(|cidr| (cidr.into(), Part::Cidr4));
            let blocks = blocks.into_iter().chain(cidr6.map(|(cidr, part)| (cidr.into(), part)));
            for (block, part) in blocks {
                if contains(vpc, block) {
                    spans.push(Span::new(scope, block, items.len() as u32, part));
                } else {
                    let problem = format!("{block} is not in a block of {vpc_id}");
                    item.wrong(part, problem, format!("choose one inside {}", blocks_of(vpc, block)), errors);
                    sound = false;
                }
            }
        }
        items.push(item);

        let vpc = vpc.map_or_else(|| Id::from(raw.vpc.get().unwrap_or_default()), |(id, _)| id.clone());
        let Some(id) = item.new_id(&raw.id, "SubnetId", "subnet-a", &model.subnets, errors) else { continue };
        if !sound || !vpc_is_sound {
            doubtful.insert(id.clone());
            // Half a subnet would make its ENIs wrong as well.
            (cidr4, cidr6) = (None, None);
        }
        let zone = zones.entry(zone).or_insert_with(|| Arc::from(zone)).clone();
        let cidr6 = cidr6.map(|(cidr, _)| cidr);
        // Route tables and network ACLs, which come later, say which of them are in force.
        let (route_table, network_acl) = (Id::default(), None);
        let descriptive = raw.notes.descriptive();
        let subnet = Subnet { id, vpc, zone, cidr4, cidr6, route_table, network_acl, descriptive };
        model.subnets.insert(subnet.id.clone(), subnet);
    }
    overlaps(&mut spans, |first, second| {
        let (Some(earlier), Some(item)) = (items.get(first.owner as usize), items.get(second.owner as usize))
        else {
            return;
        };
        let problem = format!("{} overlaps {} of {}", second.block(), first.block(), earlier.id);
        item.wrong(second.part, problem, "choose disjoint blocks", errors);
    });
}

fn contains(vpc: &Vpc, block: ipnet::IpNet) -> bool {
    match block {
        ipnet::IpNet::V4(block) => vpc.cidrs4.iter().any(|vpc| vpc.contains(&block)),
        ipnet::IpNet::V6(block) => vpc.cidrs6.iter().any(|vpc| vpc.contains(&block)),
    }
}

/// The VPC's blocks of the same family, for people.
fn blocks_of(vpc: &Vpc, block: ipnet::IpNet) -> String {
    let blocks: Vec<String> = match block {
        ipnet::IpNet::V4(_) => vpc.cidrs4.iter().map(ToString::to_string).collect(),
        ipnet::IpNet::V6(_) => vpc.cidrs6.iter().map(ToString::to_string).collect(),
    };
    if blocks.is_empty() {
        "an IPv6 block, which the VPC needs first".to_owned()
    } else {
        blocks.join(" or ")
    }
}

/// Where a block of a subnet stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Cidr4,
    Cidr6(usize),
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cidr4 => f.write_str("CidrBlock"),
            Self::Cidr6(index) => write!(f, "Ipv6CidrBlockAssociationSet[{index}].Ipv6CidrBlock"),
        }
    }
}
