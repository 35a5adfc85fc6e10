//! Public IPv4 addresses: Elastic IP addresses, and those that ENIs and NAT gateways were given. One address may be
//! stated in several of these ways, if they agree.

use std::net::Ipv4Addr;

use hashbrown::HashMap;

use super::{Item, Source, Validation, each, nat_gateways, value};
use crate::model::{ById, Eni, Errors, Id, Model, PublicAddress};

pub(super) fn public_addresses(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let mut claims = Claims::default();
    of_enis(sources, &model.enis, &mut claims, errors);
    let interfaces = of_nat_gateways(sources, model, &mut claims, errors);
    elastic(sources, &model.enis, &interfaces, &mut claims, errors);
    for (item, raw) in nat_gateways::in_force(sources) {
        let Some(gateway) = model.nat_gateways.get(item.id).filter(|gateway| gateway.public) else {
            continue;
        };
        for (index, entry) in nat_gateways::entries(raw).filter(|(_, entry)| entry.public.get().is_none()) {
            let private = entry.private.get().and_then(|text| text.parse().ok());
            let Some(private) = private.filter(|private| gateway.addresses.contains(private)) else {
                continue;
            };
            if !claims.by_private.contains_key(&(gateway.vpc.clone(), private)) {
                let problem = format!("{private} has no public address");
                let fix = "add its PublicIp, or write ConnectivityType: private";
                item.wrong(format!("NatGatewayAddresses[{index}].PublicIp"), problem, fix, errors);
            }
        }
    }
    model.public_addresses = claims.by_public;
}

/// The public addresses stated so far.
#[derive(Default)]
struct Claims {
    by_public: ById<PublicAddress>,
    by_private: HashMap<(Id, Ipv4Addr), Ipv4Addr>,
}

impl Claims {
    /// Takes an address for its owner, and notes what contradicts it.
    fn claim(&mut self, item: &Item<'_>, key: &str, address: PublicAddress, errors: &mut Errors) {
        let id = Id::from(address.public.to_string());
        if let Some(other) = self.by_public.get(&id) {
            if *other != address {
                let problem = format!("{id} is that of {} of {} already", other.private, other.owner);
                item.wrong(key, problem, "a public address has one owner", errors);
            }
            return;
        }
        let private = (address.vpc.clone(), address.private);
        if let Some(other) = self.by_private.insert(private, address.public) {
            let problem =
                format!("{} of {} has the public address {other} already", address.private, address.owner);
            item.wrong(key, problem, "a private address has one public address", errors);
        }
        self.by_public.insert(id, address);
    }
}

/// `Association.PublicIp` of ENIs and of their addresses.
fn of_enis(sources: &[Source<'_>], enis: &ById<Eni>, claims: &mut Claims, errors: &mut Errors) {
    for (item, raw) in each(sources, "NetworkInterfaces", |raw| &raw.enis, |raw| &raw.id) {
        let whole = raw.association.public.get().map(|_| (&raw.association.public, None));
        let addresses = raw.addresses4.items().iter().enumerate();
        let each = addresses.filter(|(_, entry)| entry.association.public.get().is_some());
        let each = each.map(|(index, entry)| (&entry.association.public, Some((index, entry))));
        for (text, entry) in whole.into_iter().chain(each) {
            let key = match entry {
                None => "Association.PublicIp".to_owned(),
                Some((index, _)) => format!("PrivateIpAddresses[{index}].Association.PublicIp"),
            };
            let public = item.optional(text, &key, value::public4, errors);
            let Some((id, eni)) = enis.get_key_value(item.id) else { continue };
            let private = match entry {
                None => eni.primary4,
                Some((_, entry)) => entry.address.get().and_then(|text| text.parse().ok()),
            };
            match (public, private) {
                (Some(public), Some(private)) => {
                    let address = PublicAddress { public, vpc: eni.vpc.clone(), private, owner: id.clone() };
                    claims.claim(&item, &key, address, errors);
                }
                (Some(public), None) if raw.primary4.get().is_none() && entry.is_none() => {
                    let problem = format!("{public} is for an IPv4 address, and the ENI has none");
                    item.wrong(key, problem, "leave it out, or add PrivateIpAddress", errors);
                }
                _ => {}
            }
        }
    }
}

/// A private address of a NAT gateway.
struct NatAddress {
    gateway: Id,
    vpc: Id,
    private: Ipv4Addr,
}

/// `PublicIp` of NAT gateways; returns their addresses by the ENIs that EC2 made for them, as `Addresses` names these.
fn of_nat_gateways<'s>(
    sources: &'s [Source<'_>],
    model: &Model,
    claims: &mut Claims,
    errors: &mut Errors,
) -> HashMap<&'s str, Vec<NatAddress>> {
    let mut interfaces: HashMap<&str, Vec<NatAddress>> = HashMap::new();
    for (item, raw) in nat_gateways::in_force(sources) {
        let Some((id, gateway)) = model.nat_gateways.get_key_value(item.id) else { continue };
        for (index, entry) in nat_gateways::entries(raw) {
            let key = format!("NatGatewayAddresses[{index}].PublicIp");
            let Some(private) = entry.private.get().and_then(|text| text.parse().ok()) else { continue };
            if let Some(eni) = entry.eni.get() {
                let address = NatAddress { gateway: id.clone(), vpc: gateway.vpc.clone(), private };
                interfaces.entry(eni).or_default().push(address);
            }
            let Some(public) = item.optional(&entry.public, &key, value::public4, errors) else { continue };
            if gateway.public {
                let address = PublicAddress { public, vpc: gateway.vpc.clone(), private, owner: id.clone() };
                claims.claim(&item, &key, address, errors);
            } else {
                let fix = "leave it out, or write ConnectivityType: public";
                item.wrong(key, "a private NAT gateway has a public address", fix, errors);
            }
        }
    }
    interfaces
}

/// Elastic IP addresses that something has.
fn elastic(
    sources: &[Source<'_>],
    enis: &ById<Eni>,
    interfaces: &HashMap<&str, Vec<NatAddress>>,
    claims: &mut Claims,
    errors: &mut Errors,
) {
    for (item, raw) in each(sources, "Addresses", |raw| &raw.addresses, |raw| &raw.public) {
        let public = item.required(&raw.public, "PublicIp", "203.0.113.10", value::public4, errors);
        let key = "PrivateIpAddress";
        let stated = item.optional(&raw.private, key, value::address4, errors);
        let Some(interface) = raw.eni.get().filter(|id| !id.is_empty()) else { continue };
        let (owner, vpc, private, has): (_, _, _, bool) = if let Some((id, eni)) =
            enis.get_key_value(interface)
        {
            let private = stated.or(eni.primary4);
            let has = private
                .is_some_and(|private| eni.primary4 == Some(private) || eni.secondary4.contains(&private));
            (id, &eni.vpc, private, has)
        } else if let Some(addresses) = interfaces.get(interface)
            && let Some(first) = addresses.first()
        {
            let found =
                addresses.iter().find(|address| stated.is_none_or(|stated| stated == address.private));
            (&first.gateway, &first.vpc, stated.or(Some(first.private)), found.is_some())
        } else {
            let wrong = value::unresolved(interface, "NetworkInterfaces");
            errors.0.push(item.error("NetworkInterfaceId", wrong));
            continue;
        };
        let (Some(public), Some(private), true) = (public, private, has) else {
            let text = private.map_or_else(|| "an IPv4 address".to_owned(), |private| private.to_string());
            let sound = raw.private.get().is_none() == stated.is_none() && public.is_some();
            if sound {
                let problem = format!("{owner} does not have {text}");
                item.wrong(key, problem, "name one of its private IPv4 addresses", errors);
            }
            continue;
        };
        let address = PublicAddress { public, vpc: vpc.clone(), private, owner: owner.clone() };
        claims.claim(&item, "PublicIp", address, errors);
    }
}
