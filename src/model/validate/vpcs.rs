//! VPCs, and what they are on the wire.

use hashbrown::{HashMap, HashSet};

use super::{
    Source, Validation, dhcp_options, each,
    overlap::{Span, overlaps},
    value,
};
use crate::{
    model::{Vpc, VpcDhcp, raw::Check as _},
    packet::Vni,
};

/// Most blocks of a family (ADDR-4).
const BLOCKS: usize = 50;

/// Stands in for a VNI that is missing or wrong, in a model that is thrown away.
const UNKNOWN: Vni = Vni::new(1).unwrap();

/// What a VPC is on the wire, and how it routes.
#[derive(Clone, Copy)]
pub(super) struct Network {
    /// `None` for one that is wrong.
    vni: Option<Vni>,
    legacy_2020_local: bool,
}

/// The networks by VPC.
pub(super) fn networks<'s>(sources: &'s [Source<'_>], state: &mut Validation) -> HashMap<&'s str, Network> {
    let vpcs: HashSet<&str> =
        each(sources, "Vpcs", |raw| &raw.vpcs, |vpc| &vpc.id).map(|(item, _)| item.id).collect();
    let mut networks = HashMap::new();
    let mut owners: HashMap<Vni, &str> = HashMap::new();
    let errors = &mut state.errors;
    for (item, raw) in each(sources, "Warren.Networks", |raw| &raw.warren.networks, |network| &network.vpc) {
        let known = |id| if vpcs.contains(id) { Ok(id) } else { Err(value::unresolved(id, "Vpcs")) };
        let vpc = item.required(&raw.vpc, "VpcId", "vpc-blue", known, errors);
        let vni = item.required(&raw.vni, "Vni", "4100", value::vni, errors);
        if let Some(vni) = vni {
            match owners.get(&vni) {
                Some(other) if *other != item.id => {
                    let problem = format!("{other} has the VNI {vni} too");
                    item.wrong("Vni", problem, "give each VPC its own", errors);
                }
                _ => drop(owners.insert(vni, item.id)),
            }
        }
        let legacy = item.optional(&raw.legacy, "Legacy2020Local", value::boolean, errors);
        let network = Network { vni, legacy_2020_local: legacy.unwrap_or(false) };
        if let Some(vpc) = vpc
            && networks.insert(vpc, network).is_some()
        {
            item.wrong("VpcId", format!("{vpc} has a VNI already"), "give each VPC one VNI", errors);
        }
    }
    networks
}

pub(super) fn vpcs(sources: &[Source<'_>], networks: &HashMap<&str, Network>, state: &mut Validation) {
    for (item, raw) in each(sources, "Vpcs", |raw| &raw.vpcs, |vpc| &vpc.id) {
        let errors = &mut state.errors;
        let before = errors.0.len();
        let mut spans = Vec::new();
        let mut cidrs4 = Vec::new();
        let mut cidrs6 = Vec::new();

        let primary = item.required(&raw.cidr, "CidrBlock", "10.0.0.0/16", value::vpc_cidr4, errors);
        if let Some(primary) = primary {
            cidrs4.push(primary);
            spans.push(Span::new(0, primary.into(), 0, Part::Primary));
        }
        let mut listed = raw.cidrs4.is_missing();
        for (index, block) in
            raw.cidrs4.items().iter().enumerate().filter(|(_, block)| block.state.in_force())
        {
            let part = Part::Block4(index);
            if let Some(cidr) = item.required(&block.cidr, part, "10.0.0.0/16", value::vpc_cidr4, errors) {
                if Some(cidr) == primary && !listed {
                    listed = true;
                    continue;
                }
                cidrs4.push(cidr);
                spans.push(Span::new(0, cidr.into(), 0, part));
            }
        }
        if let (Some(primary), false) = (primary, listed) {
            let problem = format!("{primary} is not in CidrBlockAssociationSet");
            item.wrong("CidrBlock", problem, "list it there too, or leave the set out", errors);
        }
        for (index, block) in
            raw.cidrs6.items().iter().enumerate().filter(|(_, block)| block.state.in_force())
        {
            let part = Part::Block6(index);
            if let Some(cidr) = item.required(&block.cidr, part, "2001:db8:b1::/56", value::vpc_cidr6, errors)
            {
                cidrs6.push(cidr);
                spans.push(Span::new(0, cidr.into(), 0, part));
            }
        }
        for span in &spans {
            if let Err(wrong) = value::usable(span.block()) {
                errors.0.push(item.error(span.part, wrong));
            }
        }
        overlaps(&mut spans, |first, second| {
            let problem = format!("{} overlaps {} of the same VPC", second.block(), first.block());
            item.wrong(second.part, problem, "choose disjoint blocks", errors);
        });
        for (key, count) in
            [("CidrBlockAssociationSet", cidrs4.len()), ("Ipv6CidrBlockAssociationSet", cidrs6.len())]
        {
            if count > BLOCKS {
                item.wrong(key, format!("has {count} blocks"), format!("a VPC has at most {BLOCKS}"), errors);
            }
        }
        let sound = errors.0.len() == before;

        let associated = |id| match id {
            dhcp_options::NONE => Ok(VpcDhcp::None),
            _ => {
                state.model.dhcp_options.get_key_value(id).map(|(id, _)| VpcDhcp::Set(id.clone())).ok_or_else(
                    || {
                        let fix =
                            "name one of the DhcpOptions, add it there, or write default for no options";
                        value::Wrong::new(format!("{id} is not in the state"), fix)
                    },
                )
            }
        };
        let dhcp_options = item.optional(&raw.dhcp_options, "DhcpOptionsId", associated, errors);

        let network = networks.get(item.id);
        if network.is_none() && !item.id.is_empty() {
            let fix = format!("add {{VpcId: {}, Vni: 1 to {}}} to Warren.Networks", item.id, Vni::MAX);
            item.wrong("", "has no VNI", fix, errors);
        }
        let Some(id) = item.new_id(&raw.id, "VpcId", "vpc-blue", &state.model.vpcs, errors) else { continue };
        if !sound {
            state.doubtful.insert(id.clone());
        }
        let vni = network.and_then(|network| network.vni).unwrap_or(UNKNOWN);
        let legacy_2020_local = network.is_some_and(|network| network.legacy_2020_local);
        let descriptive = raw.notes.descriptive();
        let dhcp_options = dhcp_options.unwrap_or_default();
        let vpc = Vpc { id: id.clone(), vni, cidrs4, cidrs6, dhcp_options, legacy_2020_local, descriptive };
        state.model.vpcs.insert(id, vpc);
    }
}

/// Where a block of a VPC stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Primary,
    Block4(usize),
    Block6(usize),
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Primary => f.write_str("CidrBlock"),
            Self::Block4(index) => write!(f, "CidrBlockAssociationSet[{index}].CidrBlock"),
            Self::Block6(index) => write!(f, "Ipv6CidrBlockAssociationSet[{index}].Ipv6CidrBlock"),
        }
    }
}
