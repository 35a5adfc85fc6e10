//! NAT gateways.

use std::net::Ipv4Addr;

use hashbrown::HashMap;
use ipnet::Ipv4Net;

use super::{Item, Source, Validation, each, enis::assignable4, in_order, value};
use crate::model::{Errors, Id, Model, NatGateway, Subnet, raw};

/// Most addresses of a NAT gateway (GW-11).
const ADDRESSES: usize = 8;

/// The NAT gateways' addresses by subnet, each with its gateway and place.
type Taken<'s> = HashMap<Id, HashMap<Ipv4Addr, (Item<'s>, String)>>;

pub(super) fn nat_gateways(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, doubtful } = state;
    let mut taken = Taken::new();
    for (item, raw) in in_force(sources) {
        let known = &model.subnets;
        let subnet = item.reference(&raw.subnet, "SubnetId", "subnet-public", "Subnets", known, errors);
        if let (Some((id, subnet)), Some(stated)) = (subnet, raw.vpc.get())
            && *stated != *subnet.vpc
        {
            let problem = format!("{stated} is not the VPC of {id}");
            item.wrong("VpcId", problem, format!("write {}, or leave it out", subnet.vpc), errors);
        }
        let kinds = |text| value::one_of(text, &[("public", true), ("private", false)]);
        let public = item.optional(&raw.connectivity, "ConnectivityType", kinds, errors).unwrap_or(true);
        let sound = subnet.filter(|(id, _)| !doubtful.contains(*id));
        let addresses = addresses(&item, raw, sound, &mut taken, errors);
        let Some(id) = item.new_id(&raw.id, "NatGatewayId", "nat-blue", &model.nat_gateways, errors) else {
            continue;
        };
        let (subnet, vpc) = subnet.map(|(id, subnet)| (id.clone(), subnet.vpc.clone())).unwrap_or_default();
        let descriptive = raw.notes.descriptive();
        let gateway = NatGateway { id: id.clone(), vpc, subnet, public, addresses, descriptive };
        model.nat_gateways.insert(id, gateway);
    }
    own_interfaces(sources, model, errors);
    let start = errors.0.len();
    for eni in model.enis.values() {
        let Some(taken) = taken.get(&eni.subnet) else { continue };
        let own = eni.primary4.iter().chain(&*eni.secondary4).filter_map(|address| taken.get(address));
        let delegated =
            |address: &&Ipv4Addr| eni.prefixes4.iter().any(|prefix: &Ipv4Net| prefix.contains(*address));
        let delegated = taken.iter().filter(|(address, _)| !eni.prefixes4.is_empty() && delegated(address));
        for (item, key) in own.chain(delegated.map(|(_, place)| place)) {
            let problem = format!("is {}'s already (InvalidIPAddress.InUse)", eni.id);
            item.wrong(
                key,
                problem,
                "choose a free one, or name the gateway's own NetworkInterfaceId",
                errors,
            );
        }
    }
    in_order(errors, start);
}

/// Takes out of the model the ENIs that EC2 shows for the addresses of NAT gateways: they are the gateways themselves, and no
/// host has them.
fn own_interfaces(sources: &[Source<'_>], model: &mut Model, errors: &mut Errors) {
    for (item, raw) in in_force(sources) {
        for (index, entry) in entries(raw) {
            let Some((id, eni)) = entry.eni.get().and_then(|id| model.enis.get_key_value(id)) else {
                continue;
            };
            let address = entry.private.get().and_then(|text| text.parse().ok());
            if address.is_some() && eni.primary4 == address {
                let id = id.clone();
                model.enis.remove(&id);
            } else if let Some(address) = address {
                let key = format!("NatGatewayAddresses[{index}].NetworkInterfaceId");
                let problem = format!("{id} does not have {address} as its primary address");
                item.wrong(key, problem, "name the ENI of the address, or leave it out", errors);
            }
        }
    }
}

/// The NAT gateways that count: only pending and available ones.
pub(super) fn in_force<'s, 'a: 's>(
    sources: &'s [Source<'a>],
) -> impl Iterator<Item = (Item<'s>, &'s raw::NatGateway<'a>)> {
    let all = each(sources, "NatGateways", |raw| &raw.nat_gateways, |raw| &raw.id);
    all.filter(|(_, raw)| raw.state.in_force())
}

/// The addresses that a NAT gateway has, and where they stand.
pub(super) fn entries<'s, 'a>(
    raw: &'s raw::NatGateway<'a>,
) -> impl Iterator<Item = (usize, &'s raw::NatAddress<'a>)> {
    let all = raw.addresses.items().iter().enumerate();
    all.filter(|(_, entry)| entry.status.in_force() && entry.status.get() != Some("unassigning"))
}

/// The private addresses, the primary first.
fn addresses<'s>(
    item: &Item<'s>,
    raw: &raw::NatGateway<'_>,
    subnet: Option<(&Id, &Subnet)>,
    taken: &mut Taken<'s>,
    errors: &mut Errors,
) -> Vec<Ipv4Addr> {
    let mut addresses = Vec::new();
    let mut primary = None;
    for (index, entry) in entries(raw) {
        let key = format!("NatGatewayAddresses[{index}].PrivateIp");
        let address = item.required(&entry.private, &key, "10.0.0.10", value::address4, errors);
        let at = format!("NatGatewayAddresses[{index}].IsPrimary");
        let is_primary = item.optional(&entry.primary, &at, value::boolean, errors);
        let Some(address) = address else { continue };
        if is_primary == Some(true) && primary.replace(address).is_some() {
            item.wrong(at, "is a second primary address", "mark one address IsPrimary: true", errors);
        }
        addresses.push(address);
        let Some((id, subnet)) = subnet else { continue };
        if let Err(wrong) = assignable4(subnet, address) {
            errors.0.push(item.error(key, wrong));
        } else if let Some((other, _)) =
            taken.entry(id.clone()).or_default().insert(address, (*item, key.clone()))
        {
            let problem = format!("{address} is {}'s already", other.id);
            item.wrong(key, problem, "give each NAT gateway addresses of its own", errors);
        }
    }
    let count = entries(raw).count();
    if count > ADDRESSES {
        let problem = format!("has {count} addresses (GW-11)");
        item.wrong("NatGatewayAddresses", problem, format!("a NAT gateway has at most {ADDRESSES}"), errors);
    }
    if count == 0 && !matches!(raw.addresses, raw::List::Wrong(_)) {
        let fix = "add {PrivateIp: an address of its subnet, PublicIp: a public address}";
        item.wrong("NatGatewayAddresses", "has no address", fix, errors);
    }
    // A stable sort: the others stay in the order stated.
    addresses.sort_by_key(|address| primary.is_some_and(|primary| primary != *address));
    addresses
}
