//! Appliances in the way: ENIs and Gateway Load Balancer endpoints that routes name.

use hashbrown::HashMap;
use ipnet::IpNet;

use super::{
    Found,
    view::{View, blocks_of, is_inside},
};
use crate::model::{Eni, Id, RouteTable, Subnet, Target};

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    let ingress: HashMap<&Id, &RouteTable> = view
        .model
        .route_tables
        .values()
        .filter_map(|table| {
            let gateway = view.model.internet_gateways.get(table.gateway.as_ref()?)?;
            Some((gateway.vpc.as_ref()?, table))
        })
        .collect();
    eni_targets(view, found);
    ingress_targets(view, &ingress, found);
    from_outside(view, &ingress, found);
    between_subnets(view, found);
}

/// Whether a target is an appliance, which both directions of a flow should pass.
fn is_appliance(target: &Target) -> bool {
    matches!(target, Target::Eni(_) | Target::Endpoint(_))
}

/// ENIs that routes name and that refuse what is not for their own addresses (RT-10).
fn eni_targets(view: &View<'_>, found: &mut Found) {
    for table in view.model.route_tables.values() {
        for route in &table.routes {
            let Target::Eni(id) = &route.target else { continue };
            let Some(eni) = view.model.enis.get(id).filter(|eni| eni.source_dest_check) else { continue };
            if !view.blocks(route).iter().all(|block| is_own(eni, *block)) {
                let problem = format!(
                    "{} routes {} to it, but its source/dest check is on",
                    table.id, route.destination
                );
                found.add(id, problem, "write SourceDestCheck: false");
            }
        }
    }
}

/// Whether all addresses of a block are an ENI's own.
fn is_own(eni: &Eni, block: IpNet) -> bool {
    if block.prefix_len() == block.max_prefix_len() {
        match block.addr() {
            std::net::IpAddr::V4(address) => {
                eni.primary4.iter().chain(&eni.secondary4).any(|own| *own == address)
            }
            std::net::IpAddr::V6(address) => eni.addresses6.contains(&address),
        }
    } else {
        match block {
            IpNet::V4(block) => eni.prefixes4.iter().any(|own| own.contains(&block)),
            IpNet::V6(block) => eni.prefixes6.iter().any(|own| own.contains(&block)),
        }
    }
}

/// ENIs that an internet gateway's table names and that have no public address: what comes in is dropped (ING-4).
fn ingress_targets(view: &View<'_>, ingress: &HashMap<&Id, &RouteTable>, found: &mut Found) {
    for table in ingress.values() {
        for route in &table.routes {
            let Target::Eni(id) = &route.target else { continue };
            let has = view.model.public_addresses.values().any(|address| address.owner == *id);
            if !has && view.is_of(route, false) {
                let problem =
                    format!("the gateway's table {} routes to it, but it has no public address", table.id);
                found.add(id, problem, "associate a public address with it in Addresses");
            }
        }
    }
}

/// Subnets that what comes from the internet reaches through an appliance, and their replies leave without it, or the other
/// way round (ING-7).
fn from_outside(view: &View<'_>, ingress: &HashMap<&Id, &RouteTable>, found: &mut Found) {
    for (subnet, table) in &view.subnets {
        let gateway_table = ingress.get(&subnet.vpc);
        for block in blocks_of(subnet) {
            let ipv6 = matches!(block, IpNet::V6(_));
            let Some(out) = view.outward(table, ipv6) else { continue };
            let into =
                gateway_table.and_then(|table| view.towards(table, block)).filter(|to| is_appliance(to));
            match (into, out) {
                (Some(into), Target::InternetGateway(_)) if !is_in(view, into, subnet) => {
                    let of = gateway_table.map_or("", |table| &*table.id);
                    let problem = format!(
                        "{of} sends what enters to {into}, but {} sends replies to {out}: they miss the appliance",
                        table.id
                    );
                    found.add(&subnet.id, problem, format!("route {} to {into}", everything(ipv6)));
                }
                (None, appliance) if is_appliance(appliance) && is_reached(view, subnet, appliance, ipv6) => {
                    let problem = format!(
                        "{} sends packets to {appliance}, but what enters comes past it: the internet gateway has \
                         no table that sends {block} there",
                        table.id
                    );
                    let fix = format!(
                        "route {block} to {appliance} in a table associated with the internet gateway"
                    );
                    found.add(&subnet.id, problem, fix);
                }
                _ => {}
            }
        }
    }
}

fn everything(ipv6: bool) -> &'static str {
    if ipv6 { "::/0" } else { "0.0.0.0/0" }
}

/// Whether an appliance is in a subnet itself.
fn is_in(view: &View<'_>, appliance: &Target, subnet: &Subnet) -> bool {
    view.model.enis.get(appliance.id()).is_some_and(|eni| eni.subnet == subnet.id)
}

/// Whether the internet reaches a subnet's ENIs, whose replies an appliance sends on to the internet gateway.
fn is_reached(view: &View<'_>, subnet: &Subnet, appliance: &Target, ipv6: bool) -> bool {
    let place = view.model.enis.get(appliance.id()).map(|eni| &eni.subnet);
    let table = place
        .and_then(|place| view.model.subnets.get(place))
        .and_then(|subnet| view.model.route_tables.get(&subnet.route_table));
    let to_internet = table
        .and_then(|table| view.outward(table, ipv6))
        .is_some_and(|target| matches!(target, Target::InternetGateway(_)));
    to_internet && (ipv6 || view.public.contains(&subnet.id))
}

/// Pairs of subnets of which one sends to the other through an appliance, and the other back without it (ING-10).
fn between_subnets(view: &View<'_>, found: &mut Found) {
    let by_block: HashMap<(&Id, IpNet), (&Subnet, &RouteTable)> = view
        .subnets
        .iter()
        .flat_map(|&(subnet, table)| {
            blocks_of(subnet).map(move |block| ((&subnet.vpc, block), (subnet, table)))
        })
        .collect();
    for (subnet, table) in &view.subnets {
        let Some(vpc) = view.model.vpcs.get(&subnet.vpc) else { continue };
        for route in table.routes.iter().filter(|route| is_appliance(&route.target)) {
            for block in view.blocks(route).iter().filter(|block| is_inside(vpc, **block)) {
                let Some((other, back)) = by_block.get(&(&subnet.vpc, *block)) else { continue };
                let ipv6 = matches!(block, IpNet::V6(_));
                let own = blocks_of(subnet).find(|own| matches!(own, IpNet::V6(_)) == ipv6);
                let Some(own) = own else { continue };
                if other.id == subnet.id || view.towards(back, own) == Some(&route.target) {
                    continue;
                }
                let problem = format!(
                    "{} sends {block} ({}) to {}, but {} sends {own} back another way",
                    table.id, other.id, route.target, back.id
                );
                found.add(&subnet.id, problem, format!("route {own} to {} in {}", route.target, back.id));
            }
        }
    }
}
