//! Route tables, who reads which (RT-1, RT-2, ING-1), and which is in force in a subnet.

use hashbrown::HashMap;
use ipnet::IpNet;

use super::{
    Item, Source, Validation, each,
    routes::{Routes, Table},
    value,
    value::Wrong,
};
use crate::model::{Destination, Errors, Id, Model, Route, RouteTable, Target, Vpc, raw};

/// Which table each reader has, so far.
#[derive(Default)]
struct Readers {
    mains: HashMap<Id, Id>,
    subnets: HashMap<Id, Id>,
    gateways: HashMap<Id, Id>,
}

/// Who reads one table.
#[derive(Default)]
struct Associations {
    main: bool,
    subnets: Vec<Id>,
    gateway: Option<Id>,
    /// Whether a gateway reads it, be it known or not.
    of_gateway: bool,
}

pub(super) fn route_tables(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, doubtful } = state;
    let mut readers = Readers::default();
    let mut tables = crate::model::ById::new();
    let checks = Routes::new(model, doubtful);
    for (item, raw) in each(sources, "RouteTables", |raw| &raw.route_tables, |table| &table.id) {
        let vpc = item.reference(&raw.vpc, "VpcId", "vpc-blue", "Vpcs", &model.vpcs, errors);
        let id = item.new_id(&raw.id, "RouteTableId", "rtb-main", &tables, errors);
        let name = id.clone().unwrap_or_default();
        let vpc_id = vpc.map(|(id, _)| id);
        let Associations { main, subnets, gateway, of_gateway } =
            associations(&item, raw, (&name, vpc_id), model, &mut readers, errors);
        let propagating = propagating(&item, raw, (vpc_id, of_gateway), model, errors);
        let routes = checks.read(&item, raw, vpc.map(|(_, vpc)| Table { vpc, of_gateway }), errors);
        if let (Some(id), Some((vpc_id, vpc))) = (id, vpc) {
            let (routes, descriptive) = (with_local(vpc, routes), raw.notes.descriptive());
            let vpc = vpc_id.clone();
            let table =
                RouteTable { id: id.clone(), vpc, main, subnets, gateway, propagating, routes, descriptive };
            tables.insert(id, table);
        }
    }
    drop(checks);
    model.route_tables = tables;
    let Readers { mut mains, subnets: explicit, .. } = readers;

    for vpc in model.vpcs.values() {
        if mains.contains_key(&vpc.id) {
            continue;
        }
        let id = Id::from(format!("rtb-main-of-{}", vpc.id));
        mains.insert(vpc.id.clone(), id.clone());
        let (routes, subnets) = (with_local(vpc, Vec::new()), Vec::new());
        let table = RouteTable {
            id: id.clone(),
            vpc: vpc.id.clone(),
            main: true,
            subnets,
            gateway: None,
            propagating: Vec::new(),
            routes,
            descriptive: None,
        };
        if model.route_tables.insert(id.clone(), table).is_some() {
            let places = each(sources, "RouteTables", |raw| &raw.route_tables, |table| &table.id);
            for (item, _) in places.filter(|(item, _)| *item.id == *id) {
                let problem =
                    format!("{id} is the id of the main table that {} gets, as it has none", vpc.id);
                item.wrong(
                    "RouteTableId",
                    problem,
                    "add {Main: true} to its Associations, or rename it",
                    errors,
                );
            }
        }
    }
    for subnet in model.subnets.values_mut() {
        let table = explicit.get(&subnet.id).or_else(|| mains.get(&subnet.vpc));
        subnet.route_table = table.cloned().unwrap_or_default();
    }
}

/// Reads the associations of a table.
fn associations(
    item: &Item<'_>,
    raw: &raw::RouteTable<'_>,
    (name, vpc): (&Id, Option<&Id>),
    model: &Model,
    readers: &mut Readers,
    errors: &mut Errors,
) -> Associations {
    let mut found = Associations::default();
    let all = raw.associations.items().iter().enumerate();
    for (index, association) in all.filter(|(_, association)| association.state.in_force()) {
        let at = |key: &str| format!("Associations[{index}].{key}");
        if let Some(table) = association.table.get()
            && table != item.id
        {
            let problem = format!("{table} is another table than the one it stands in");
            item.wrong(at("RouteTableId"), problem, format!("write {}, or leave it out", item.id), errors);
        }
        let is_main = item.optional(&association.main, at("Main"), value::boolean, errors) == Some(true);
        let others = [("SubnetId", &association.subnet), ("GatewayId", &association.gateway)];
        let mut others = others.into_iter().filter(|(_, text)| text.get().is_some());
        if let Some((key, _)) = if is_main { others.next() } else { others.nth(1) } {
            let fix = "write an association for each, such as {Main: true} and {SubnetId: subnet-a}";
            item.wrong(at(key), "is a second reader", fix, errors);
        }
        if is_main {
            if std::mem::replace(&mut found.main, true) {
                item.wrong(at("Main"), "is there already", "write {Main: true} once", errors);
            } else if let Some(vpc) = vpc
                && let Some(other) = readers.mains.insert(vpc.clone(), name.clone())
            {
                let problem = format!("{other} is the main table of {vpc} already");
                item.wrong(at("Main"), problem, "a VPC has one main table", errors);
            }
        } else if association.gateway.get().is_some() {
            found.of_gateway = true;
            let found = &mut found.gateway;
            gateway(item, association, at("GatewayId"), (name, vpc), found, (model, readers), errors);
        } else {
            let key = at("SubnetId");
            let text = &association.subnet;
            let subnet = item.reference(text, &key, "subnet-a", "Subnets", &model.subnets, errors);
            let Some((id, subnet)) = subnet else { continue };
            if let Some(vpc) = vpc
                && subnet.vpc != *vpc
            {
                let problem = format!("{id} is in {}, the table in {vpc}", subnet.vpc);
                item.wrong(&key, problem, "associate subnets of the same VPC", errors);
            }
            if let Some(other) = readers.subnets.insert(id.clone(), name.clone()) {
                let problem = format!("{id} is associated with {other} already");
                item.wrong(&key, problem, "associate a subnet with one table", errors);
            }
            found.subnets.push(id.clone());
        }
    }
    if found.main
        && let Some(gateway) = &found.gateway
    {
        let problem = format!("a main table is associated with {gateway} (ING-9)");
        item.wrong("Associations", problem, "associate the gateway with a table of its own", errors);
    }
    found
}

/// Reads the association with an internet or virtual private gateway, whose packets the table then routes (ING-1).
fn gateway(
    item: &Item<'_>,
    association: &raw::Association<'_>,
    key: String,
    (name, vpc): (&Id, Option<&Id>),
    found: &mut Option<Id>,
    (model, readers): (&Model, &mut Readers),
    errors: &mut Errors,
) {
    let resolve = |id: &str| {
        let igw = model.internet_gateways.get_key_value(id).map(|(id, igw)| (id, &igw.vpc));
        let vgw = model.vpn_gateways.get_key_value(id).map(|(id, vgw)| (id, &vgw.vpc));
        igw.or(vgw).ok_or_else(|| value::unresolved(id, "InternetGateways or VpnGateways"))
    };
    let Some((id, attached)) = item.optional(&association.gateway, &key, resolve, errors) else { return };
    if let Some(vpc) = vpc
        && attached.as_ref() != Some(vpc)
    {
        let problem = format!("{id} is not attached to {vpc} (InvalidParameterValue)");
        item.wrong(&key, problem, "associate the gateway of the table's VPC", errors);
    }
    if let Some(other) = readers.gateways.insert(id.clone(), name.clone()) {
        let problem = format!("{id} is associated with {other} already (Resource.AlreadyAssociated)");
        item.wrong(key, problem, "associate a gateway with one table", errors);
    } else if let Some(other) = found.replace(id.clone()) {
        let problem = format!("the table is associated with {other} already");
        item.wrong(key, problem, "make a table for each gateway", errors);
    }
}

/// The virtual private gateways that propagate into a table.
fn propagating(
    item: &Item<'_>,
    raw: &raw::RouteTable<'_>,
    (vpc, of_gateway): (Option<&Id>, bool),
    model: &Model,
    errors: &mut Errors,
) -> Vec<Id> {
    let mut all = Vec::new();
    for (index, propagating) in raw.propagating.items().iter().enumerate() {
        let key = format!("PropagatingVgws[{index}].GatewayId");
        let known = &model.vpn_gateways;
        let found = item.reference(&propagating.gateway, &key, "vgw-blue", "VpnGateways", known, errors);
        let Some((id, gateway)) = found else { continue };
        let wrong = if of_gateway {
            let problem = "propagates into the table of a gateway (ING-9)".to_owned();
            Some(Wrong::new(problem, "leave it out, or the gateway's association"))
        } else if vpc.is_some() && gateway.vpc.as_ref().is_some_and(|other| Some(other) != vpc) {
            let problem = format!("{id} is attached to another VPC (Gateway.NotAttached)");
            Some(Wrong::new(problem, "name the gateway of the table's VPC"))
        } else if all.contains(id) {
            Some(Wrong::new(format!("{id} is there already"), "list a gateway once"))
        } else {
            None
        };
        match wrong {
            Some(wrong) => errors.0.push(item.error(key, wrong)),
            None => all.push(id.clone()),
        }
    }
    all
}

/// The blocks of a VPC, of both families.
pub(super) fn blocks(vpc: &Vpc) -> impl Iterator<Item = IpNet> + '_ {
    let four = vpc.cidrs4.iter().copied().map(IpNet::V4);
    four.chain(vpc.cidrs6.iter().copied().map(IpNet::V6))
}

/// The routes of each block of the VPC first, local ones where nothing else is stated (RT-2, RT-7), then the others.
fn with_local(vpc: &Vpc, stated: Vec<Route>) -> Vec<Route> {
    let is_own = |route: &Route| blocks(vpc).any(|block| Destination::Block(block) == route.destination);
    let (own, others): (Vec<_>, Vec<_>) = stated.into_iter().partition(is_own);
    let route = |block| {
        let destination = Destination::Block(block);
        let stated = own.iter().find(|route| route.destination == destination).cloned();
        stated.unwrap_or(Route { destination, target: Target::Local })
    };
    let mut routes: Vec<Route> = blocks(vpc).map(route).collect();
    routes.extend(others);
    routes
}
