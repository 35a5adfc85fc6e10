//! Public addresses, internet gateways, and the hosts that serve gateways.

use hashbrown::HashSet;

use super::{
    Found,
    view::{View, is_inside, users},
};
use crate::model::{AttachmentKind, EndpointService, Id, Route, RouteTable, Target};

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    subnets_without(view, found);
    addresses_without_a_way(view, found);
    private_nat_gateways(view, found);
    gateways_without_hosts(view, found);
    endpoints_in_vain(view, found);
}

/// Whether a table has an IPv4 route to a target of this kind.
fn leads(view: &View<'_>, table: &RouteTable, to: impl Fn(&Target) -> bool) -> bool {
    table.routes.iter().any(|route| to(&route.target) && view.is_of(route, false))
}

/// Whether it is an internet gateway that is attached to a VPC. A route to another is a blackhole, which has a warning of its own.
fn is_internet(view: &View<'_>, target: &Target) -> bool {
    let Target::InternetGateway(id) = target else { return false };
    view.model.internet_gateways.get(id).is_some_and(|gateway| gateway.vpc.is_some())
}

/// Subnets whose table leads to an internet gateway, and whose ENIs all have private addresses only: their packets are
/// dropped there (GW-2).
fn subnets_without(view: &View<'_>, found: &mut Found) {
    let candidates = view.subnets.iter().filter(|(subnet, table)| {
        !view.public.contains(&subnet.id) && leads(view, table, |target| is_internet(view, target))
    });
    let candidates: HashSet<&Id> = candidates.map(|(subnet, _)| &subnet.id).collect();
    if candidates.is_empty() {
        return;
    }
    let enis = view.model.enis.values().filter(|eni| eni.primary4.is_some());
    let inhabited: HashSet<&Id> = enis.map(|eni| &eni.subnet).filter(|id| candidates.contains(id)).collect();
    for (subnet, table) in view.subnets.iter().filter(|(subnet, _)| inhabited.contains(&subnet.id)) {
        let gateway = table.routes.iter().map(|route| &route.target).find(|target| is_internet(view, target));
        let Some(gateway) = gateway else { continue };
        let problem = format!("{} routes to {gateway}, but no ENI in it has a public IPv4 address", table.id);
        found.add(&subnet.id, problem, "associate one in Addresses, or route to a NAT gateway");
    }
}

/// Public addresses of subnets whose tables have no route to an internet gateway: replies have no way out (GW-3). A subnet
/// behind a middlebox has one all the same (ING-7).
fn addresses_without_a_way(view: &View<'_>, found: &mut Found) {
    let out =
        |target: &Target| matches!(target, Target::InternetGateway(_) | Target::Eni(_) | Target::Endpoint(_));
    for (id, address) in &view.model.public_addresses {
        let Some(subnet) = view.place(&address.owner).and_then(|id| view.model.subnets.get(id)) else {
            continue;
        };
        let (table, vpc) =
            (view.model.route_tables.get(&subnet.route_table), view.model.vpcs.get(&subnet.vpc));
        let (Some(table), Some(vpc)) = (table, vpc) else { continue };
        let leads = table.routes.iter().any(|route| {
            out(&route.target)
                && view.is_of(route, false)
                && view.blocks(route).iter().any(|block| !is_inside(vpc, *block))
        });
        if !leads {
            let problem = format!(
                "it is {}'s, but {} of {} has no route to an internet gateway",
                address.owner, table.id, subnet.id
            );
            found.add(id, problem, format!("add 0.0.0.0/0 to an internet gateway to {}", table.id));
        }
    }
}

/// Private NAT gateways whose packets go to an internet gateway, which drops them (GW-17).
fn private_nat_gateways(view: &View<'_>, found: &mut Found) {
    for gateway in view.model.nat_gateways.values().filter(|gateway| !gateway.public) {
        let subnet = view.model.subnets.get(&gateway.subnet);
        let Some(table) = subnet.and_then(|subnet| view.model.route_tables.get(&subnet.route_table)) else {
            continue;
        };
        if let Some(target @ Target::InternetGateway(_)) = view.outward(table, false) {
            let problem = format!("it is private, and {} sends its packets to {target}", table.id);
            found.add(&gateway.id, problem, "make it public, or route it to a transit or VPN gateway");
        }
    }
}

/// Gateways that routes use and no host serves: the routes are blackholes.
fn gateways_without_hosts(view: &View<'_>, found: &mut Found) {
    let model = view.model;
    let outside: HashSet<&Id> = model
        .transit_attachments
        .values()
        .filter(|attachment| {
            !matches!(attachment.kind, AttachmentKind::Vpc { .. } | AttachmentKind::Peering { .. })
        })
        .map(|attachment| &attachment.gateway)
        .collect();
    for (id, table) in users(model) {
        let served = model.edges.get(id).is_some_and(|edge| !edge.hosts.is_empty());
        let key = [
            model
                .internet_gateways
                .get(id)
                .filter(|gateway| gateway.vpc.is_some())
                .map(|gateway| &gateway.id),
            model
                .egress_only_gateways
                .get(id)
                .filter(|gateway| gateway.vpc.is_some())
                .map(|gateway| &gateway.id),
            model.nat_gateways.get(id).map(|gateway| &gateway.id),
            model.vpn_gateways.get(id).filter(|gateway| gateway.vpc.is_some()).map(|gateway| &gateway.id),
            model.transit_gateways.get(id).map(|gateway| &gateway.id).filter(|id| outside.contains(id)),
            model
                .endpoints
                .get(id)
                .filter(|endpoint| endpoint.service == EndpointService::Gateway)
                .map(|endpoint| &endpoint.id),
        ];
        if let (false, Some(id)) = (served, key.into_iter().flatten().next()) {
            let problem = format!("{table} routes to it, but no host serves it");
            found.add(id, problem, format!("add {{GatewayId: {id}, Hosts: [...]}} to Warren.Gateways"));
        }
    }
}

/// Gateway Load Balancer endpoints that routes use and that have nothing behind them, or that lead to themselves.
fn endpoints_in_vain(view: &View<'_>, found: &mut Found) {
    let model = view.model;
    let users = users(model);
    for endpoint in model.endpoints.values() {
        let EndpointService::LoadBalancer { subnet, appliances } = &endpoint.service else { continue };
        let Some(table) = users.get(&*endpoint.id) else { continue };
        let id = &endpoint.id;
        if appliances.is_empty() {
            let problem = format!("{table} routes to it, but it has no appliances");
            let fix = format!("add {{VpcEndpointId: {id}, NetworkInterfaceIds: [...]}} to Warren.Appliances");
            found.add(id, problem, fix);
        } else if endpoint.live_appliances(model).is_empty() {
            let problem = format!("{table} routes to it, but none of its appliances can take packets");
            found.add(id, problem, "attach one that has a private IPv4 address to a host");
        }
        let own = model.subnets.get(subnet).and_then(|subnet| model.route_tables.get(&subnet.route_table));
        let to_itself = |route: &Route| matches!(&route.target, Target::Endpoint(to) if to == id);
        if let Some(table) = own.filter(|table| table.routes.iter().any(to_itself)) {
            let problem =
                format!("{} of its own subnet routes to it what its appliances send back", table.id);
            found.add(id, problem, format!("give {subnet} a route table with other targets"));
        }
    }
}
