//! Route tables, and which one is in force in a subnet (RT-1, RT-2).

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;

use super::{Item, Source, Validation, each, value};
use crate::model::{Destination, Errors, Id, Route, RouteTable, Target, Vpc, raw};

pub(super) fn route_tables(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, doubtful } = state;
    let mut mains: HashMap<Id, Id> = HashMap::new();
    let mut explicit: HashMap<Id, Id> = HashMap::new();
    for (item, raw) in each(sources, "RouteTables", |raw| &raw.route_tables, |table| &table.id) {
        let vpc = item.reference(&raw.vpc, "VpcId", "vpc-blue", "Vpcs", &model.vpcs, errors);
        let id = item.new_id(&raw.id, "RouteTableId", "rtb-main", &model.route_tables, errors);
        let name = id.clone().unwrap_or_default();
        let mut main = false;
        let mut subnets = Vec::new();
        for (index, association) in raw.associations.items().iter().enumerate() {
            let at = |key: &str| format!("Associations[{index}].{key}");
            if association.gateway.get().is_some() {
                let fix = "leave it out; this version associates route tables with subnets only";
                item.wrong(at("GatewayId"), "associates the table with a gateway", fix, errors);
            }
            if let Some(table) = association.table.get()
                && table != item.id
            {
                let problem = format!("{table} is another table than the one it stands in");
                item.wrong(
                    at("RouteTableId"),
                    problem,
                    format!("write {}, or leave it out", item.id),
                    errors,
                );
            }
            let is_main = item.optional(&association.main, at("Main"), value::boolean, errors);
            if is_main == Some(true) {
                if association.subnet.get().is_some() {
                    let fix = "write two associations, one {Main: true} and one with the SubnetId";
                    item.wrong(at("SubnetId"), "the main association names a subnet", fix, errors);
                }
                if std::mem::replace(&mut main, true) {
                    item.wrong(at("Main"), "is there already", "write {Main: true} once", errors);
                } else if let Some((vpc, _)) = vpc
                    && let Some(other) = mains.insert(vpc.clone(), name.clone())
                {
                    let problem = format!("{other} is the main table of {vpc} already");
                    item.wrong(at("Main"), problem, "a VPC has one main table", errors);
                }
                continue;
            }
            if association.subnet.is_missing() && association.gateway.get().is_some() {
                continue;
            }
            let key = at("SubnetId");
            let found =
                item.reference(&association.subnet, &key, "subnet-a", "Subnets", &model.subnets, errors);
            let Some((subnet_id, subnet)) = found else { continue };
            if let Some((vpc, _)) = vpc
                && subnet.vpc != *vpc
            {
                let problem = format!("{subnet_id} is in {}, the table in {vpc}", subnet.vpc);
                item.wrong(&key, problem, "associate subnets of the same VPC", errors);
            }
            if let Some(other) = explicit.insert(subnet_id.clone(), name.clone()) {
                let problem = format!("{subnet_id} is associated with {other} already");
                item.wrong(&key, problem, "associate a subnet with one table", errors);
            }
            subnets.push(subnet_id.clone());
        }
        let blocks = vpc.filter(|(id, _)| !doubtful.contains(*id)).map(|(_, vpc)| vpc);
        let stated = routes(&item, raw, blocks, errors);
        if let (Some(id), Some((vpc_id, vpc))) = (id, vpc) {
            let routes = with_local(vpc, stated);
            let descriptive = raw.notes.descriptive();
            let table = RouteTable {
                id: id.clone(),
                vpc: vpc_id.clone(),
                main,
                subnets,
                gateway: None,
                propagating: Vec::new(),
                routes,
                descriptive,
            };
            model.route_tables.insert(id, table);
        }
    }

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

/// The routes stated, with what is wrong noted. `vpc` is `None` where its blocks are not known.
fn routes(item: &Item<'_>, raw: &raw::RouteTable<'_>, vpc: Option<&Vpc>, errors: &mut Errors) -> Vec<Route> {
    let mut routes = Vec::new();
    let mut destinations = HashSet::new();
    for (index, raw) in raw.routes.items().iter().enumerate() {
        let at = |key: &str| format!("Routes[{index}].{key}");
        if raw.prefix_list.get().is_some() {
            let fix =
                "write DestinationCidrBlock or DestinationIpv6CidrBlock; this version has no prefix lists";
            item.wrong(at("DestinationPrefixListId"), "is not known", fix, errors);
        }
        let (key, destination) = match (&raw.destination4, &raw.destination6) {
            (four, six) if four.is_missing() && six.is_missing() => {
                if raw.prefix_list.is_missing() {
                    let fix = "add DestinationCidrBlock or DestinationIpv6CidrBlock";
                    item.wrong(format!("Routes[{index}]"), "has no destination", fix, errors);
                }
                ("", None)
            }
            (four, six) if six.is_missing() => {
                let key = "DestinationCidrBlock";
                (key, item.optional(four, at(key), value::cidr4, errors).map(IpNet::V4))
            }
            (four, six) => {
                let key = "DestinationIpv6CidrBlock";
                if !four.is_missing() {
                    item.wrong(at(key), "is a second destination", "write a route for each", errors);
                }
                (key, item.optional(six, at(key), value::cidr6, errors).map(IpNet::V6))
            }
        };
        let target = target(item, raw, index, errors);
        let Some(destination) = destination else { continue };
        if !destinations.insert(destination) {
            let problem = format!("{destination} has a route already");
            item.wrong(at(key), problem, "write one route for each destination", errors);
        }
        let Some(target) = target else { continue };
        if let Some(vpc) = vpc
            && !blocks(vpc).any(|block| block == destination)
        {
            let blocks: Vec<String> = blocks(vpc).map(|block| block.to_string()).collect();
            let problem = format!("{destination} is not a block of {}, so it cannot be local", vpc.id);
            item.wrong(at(key), problem, format!("write {}", blocks.join(" or ")), errors);
        }
        routes.push(Route { destination: Destination::Block(destination), target });
    }
    routes
}

/// The target of a route.
fn target(item: &Item<'_>, raw: &raw::Route<'_>, index: usize, errors: &mut Errors) -> Option<Target> {
    let targets = [
        ("GatewayId", &raw.gateway),
        ("CarrierGatewayId", &raw.carrier_gateway),
        ("CoreNetworkArn", &raw.core_network),
        ("EgressOnlyInternetGatewayId", &raw.egress_only),
        ("InstanceId", &raw.instance),
        ("LocalGatewayId", &raw.local_gateway),
        ("NatGatewayId", &raw.nat),
        ("NetworkInterfaceId", &raw.eni),
        ("OdbNetworkArn", &raw.odb_network),
        ("TransitGatewayId", &raw.transit),
        ("VpcEndpointId", &raw.endpoint),
        ("VpcPeeringConnectionId", &raw.peering),
    ];
    let mut local = false;
    let mut sound = true;
    for (key, text) in targets {
        sound &= !matches!(text, raw::Text::Wrong(_));
        match text.get() {
            Some("local") if key == "GatewayId" => local = true,
            Some(target) => {
                let problem = format!("the target {target} is not known");
                let fix = "write GatewayId: local, the only target of this version, or leave the route out";
                item.wrong(format!("Routes[{index}].{key}"), problem, fix, errors);
                sound = false;
            }
            None => {}
        }
    }
    if sound && !local {
        item.wrong(format!("Routes[{index}]"), "has no target", "add GatewayId: local", errors);
    }
    (sound && local).then_some(Target::Local)
}

fn blocks(vpc: &Vpc) -> impl Iterator<Item = IpNet> + '_ {
    let four = vpc.cidrs4.iter().copied().map(IpNet::V4);
    four.chain(vpc.cidrs6.iter().copied().map(IpNet::V6))
}

/// The local route of each block of the VPC, stated or not (RT-2), then the others.
fn with_local(vpc: &Vpc, stated: Vec<Route>) -> Vec<Route> {
    let mut routes: Vec<Route> = blocks(vpc)
        .map(|block| Route { destination: Destination::Block(block), target: Target::Local })
        .collect();
    let others = stated
        .into_iter()
        .filter(|route| blocks(vpc).all(|block| Destination::Block(block) != route.destination));
    routes.extend(others);
    routes
}
