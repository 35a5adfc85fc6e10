//! Static routes of VPCs' route tables: where they may lead, and to what (RT-7, RT-8, RT-9, RT-14, RT-17, ING-2, ING-3).

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;

use super::{Item, route_tables::blocks, value, value::Wrong};
use crate::model::{
    ById, Destination, Errors, Id, Model, Route, Target, Vpc,
    raw::{self, Check as _},
};

/// What routes are checked against.
pub(super) struct Routes<'m> {
    model: &'m Model,
    /// The blocks of all subnets, by VPC.
    subnets: HashSet<(&'m str, IpNet)>,
    /// VPCs with a block or subnet that is not known.
    doubtful: HashSet<&'m str>,
    /// The ENIs of each instance; made when a route first needs it.
    instances: std::cell::OnceCell<HashMap<String, Vec<Id>>>,
}

/// The table that routes are in.
#[derive(Clone, Copy)]
pub(super) struct Table<'t> {
    pub(super) vpc: &'t Vpc,
    /// Whether a gateway reads it (ING-1).
    pub(super) of_gateway: bool,
}

/// Blocks of EC2's own services, inside of which no route may lead (RT-14).
const RESERVED: [&str; 2] = ["169.254.168.0/22", "fd00:ec2::/32"];

impl<'m> Routes<'m> {
    pub(super) fn new(model: &'m Model, doubtful: &'m HashSet<Id>) -> Self {
        let mut subnets = HashSet::new();
        let mut unknown: HashSet<&str> = HashSet::new();
        for (id, subnet) in &model.subnets {
            let blocks = subnet.cidr4.map(IpNet::V4).into_iter().chain(subnet.cidr6.map(IpNet::V6));
            subnets.extend(blocks.map(|block| (&*subnet.vpc, block)));
            if doubtful.contains(id) {
                unknown.insert(&subnet.vpc);
            }
        }
        unknown.extend(doubtful.iter().filter(|id| model.vpcs.contains_key(*id)).map(|id| &**id));
        Self { model, subnets, doubtful: unknown, instances: std::cell::OnceCell::new() }
    }

    /// The routes stated, with what is wrong noted. `table` is `None` where its VPC is not known.
    pub(super) fn read(
        &self,
        item: &Item<'_>,
        raw: &raw::RouteTable<'_>,
        table: Option<Table<'_>>,
        errors: &mut Errors,
    ) -> Vec<Route> {
        let mut routes = Vec::new();
        let mut destinations = HashSet::new();
        let stated = raw.routes.items().iter().enumerate();
        // Propagated routes are learned anew (RT-19).
        let stated = stated.filter(|(_, route)| {
            !matches!(route.origin.get(), Some("EnableVgwRoutePropagation" | "Advertisement"))
        });
        for (index, raw) in stated {
            let destination = self.destination(item, raw, index, errors);
            let target = self.target(item, raw, index, table, errors);
            let Some((key, destination)) = destination else { continue };
            let key = format!("Routes[{index}].{key}");
            if !destinations.insert(destination.clone()) {
                let problem = format!("{destination} has a route already (RouteAlreadyExists)");
                item.wrong(&key, problem, "write one route for each destination", errors);
                continue;
            }
            let Some((target_key, target)) = target else { continue };
            let sound = table.filter(|table| !self.doubtful.contains(&*table.vpc.id));
            let target_key = format!("Routes[{index}].{target_key}");
            if let Some(table) = sound
                && let Err((of_target, wrong)) = self.allowed(table, &destination, &target)
            {
                errors.0.push(item.error(if of_target { target_key } else { key }, wrong));
            }
            routes.push(Route { destination, target });
        }
        routes
    }

    /// What a route is for, and the key that says it.
    fn destination(
        &self,
        item: &Item<'_>,
        raw: &raw::Route<'_>,
        index: usize,
        errors: &mut Errors,
    ) -> Option<(&'static str, Destination)> {
        const KEYS: [&str; 3] =
            ["DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId"];
        let [key4, key6, _] = KEYS;
        let texts = [&raw.destination4, &raw.destination6, &raw.prefix_list];
        let mut stated = KEYS.into_iter().zip(texts).filter(|(_, text)| !text.is_missing());
        let Some((key, text)) = stated.next() else {
            let fix = "add DestinationCidrBlock, DestinationIpv6CidrBlock or DestinationPrefixListId";
            item.wrong(format!("Routes[{index}]"), "has no destination", fix, errors);
            return None;
        };
        for (key, _) in stated {
            let key = format!("Routes[{index}].{key}");
            item.wrong(key, "is a second destination", "write a route for each", errors);
        }
        let lists = &self.model.prefix_lists;
        let parse = |text| match key {
            _ if key == key4 => value::cidr4(text).map(|block| Destination::Block(block.into())),
            _ if key == key6 => value::cidr6(text).map(|block| Destination::Block(block.into())),
            _ => {
                let found = lists.get_key_value(text).map(|(id, _)| Destination::PrefixList(id.clone()));
                found.ok_or_else(|| value::unresolved(text, "PrefixLists"))
            }
        };
        item.optional(text, format!("Routes[{index}].{key}"), parse, errors).map(|found| (key, found))
    }

    /// Where a route leads, and the key that says it.
    fn target(
        &self,
        item: &Item<'_>,
        raw: &raw::Route<'_>,
        index: usize,
        table: Option<Table<'_>>,
        errors: &mut Errors,
    ) -> Option<(&'static str, Target)> {
        let at = |key: &str| format!("Routes[{index}].{key}");
        let refused = [
            ("CarrierGatewayId", &raw.carrier_gateway),
            ("CoreNetworkArn", &raw.core_network),
            ("LocalGatewayId", &raw.local_gateway),
            ("OdbNetworkArn", &raw.odb_network),
        ];
        let targets = [
            ("GatewayId", &raw.gateway),
            ("EgressOnlyInternetGatewayId", &raw.egress_only),
            ("NatGatewayId", &raw.nat),
            ("NetworkInterfaceId", &raw.eni),
            ("TransitGatewayId", &raw.transit),
            ("VpcEndpointId", &raw.endpoint),
            ("VpcPeeringConnectionId", &raw.peering),
            ("InstanceId", &raw.instance),
        ];
        let mut sound = true;
        for (key, text) in refused {
            sound &= text.is_missing();
            if let Some(target) = text.get() {
                let fix = "leave the route out; Warren has no such gateways";
                item.wrong(at(key), format!("the target {target} is not known"), fix, errors);
            }
        }
        let mut found: Option<(&'static str, Target)> = None;
        for (key, text) in targets {
            sound &= !matches!(text, raw::Text::Wrong(_));
            let Some(id) = text.get() else { continue };
            if let Some((earlier, _)) = found {
                // The AWS CLI prints both of an instance, the ENI and whose it is.
                if (earlier, key) != ("NetworkInterfaceId", "InstanceId") {
                    let problem = format!("is a second target, beside {earlier}");
                    item.wrong(at(key), problem, "write one target", errors);
                }
                continue;
            }
            let blackhole = raw.state.get() == Some("blackhole");
            match self.resolve(key, id, table.map(|table| table.vpc), blackhole) {
                Ok(target) => found = Some((key, target)),
                Err(wrong) => {
                    errors.0.push(item.error(at(key), wrong));
                    return None;
                }
            }
        }
        if found.is_none() && sound {
            let fix = "add GatewayId: local, or the id of a gateway, ENI or connection";
            item.wrong(format!("Routes[{index}]"), "has no target", fix, errors);
        }
        found.filter(|_| sound)
    }

    /// The thing that a key names. What the state does not have any more, by an id of the right shape, is gone (RT-12); so
    /// is a gateway that was attached to another VPC since, if the route is known to be a blackhole.
    fn resolve(&self, key: &str, id: &str, vpc: Option<&Vpc>, blackhole: bool) -> Result<Target, Wrong> {
        let model = self.model;
        let attached = |of: Option<&Id>| of.cloned();
        let (shapes, found): (&[&str], _) = match key {
            "GatewayId" if id == "local" => return Ok(Target::Local),
            "GatewayId" => {
                let igw = find(&model.internet_gateways, id, |igw| attached(igw.vpc.as_ref()));
                let vgw = find(&model.vpn_gateways, id, |vgw| attached(vgw.vpc.as_ref()));
                let endpoint = find(&model.endpoints, id, |endpoint| Some(endpoint.vpc.clone()));
                let found = igw.map(|(id, vpc)| (Target::InternetGateway(id), vpc));
                let found = found.or(vgw.map(|(id, vpc)| (Target::VpnGateway(id), vpc)));
                (&["igw-", "vgw-", "vpce-"], found.or(endpoint.map(|(id, vpc)| (Target::Endpoint(id), vpc))))
            }
            "EgressOnlyInternetGatewayId" => {
                let found = find(&model.egress_only_gateways, id, |eigw| attached(eigw.vpc.as_ref()));
                (&["eigw-"], found.map(|(id, vpc)| (Target::EgressOnly(id), vpc)))
            }
            "NatGatewayId" => {
                let found = find(&model.nat_gateways, id, |nat| Some(nat.vpc.clone()));
                (&["nat-"], found.map(|(id, vpc)| (Target::Nat(id), vpc)))
            }
            "NetworkInterfaceId" => {
                let found = find(&model.enis, id, |eni| Some(eni.vpc.clone()));
                (&["eni-"], found.map(|(id, vpc)| (Target::Eni(id), vpc)))
            }
            "InstanceId" => {
                let eni = self.eni_of(id)?;
                let found = find(&model.enis, &eni, |eni| Some(eni.vpc.clone()));
                (&[], found.map(|(id, vpc)| (Target::Eni(id), vpc)))
            }
            "TransitGatewayId" => {
                let found = find(&model.transit_gateways, id, |_| None);
                (&["tgw-"], found.map(|(id, vpc)| (Target::Transit(id), vpc)))
            }
            "VpcEndpointId" => {
                let found = find(&model.endpoints, id, |endpoint| Some(endpoint.vpc.clone()));
                (&["vpce-"], found.map(|(id, vpc)| (Target::Endpoint(id), vpc)))
            }
            _ => {
                let of = |peering: &crate::model::Peering| match vpc {
                    Some(vpc) if peering.peer_of(&vpc.id).is_some() => Some(vpc.id.clone()),
                    _ => Some(peering.requester.clone()),
                };
                let found = find(&model.peerings, id, of);
                (&["pcx-"], found.map(|(id, vpc)| (Target::Peering(id), vpc)))
            }
        };
        match found {
            Some((target, owner)) => Self::of_vpc(target, owner, vpc, blackhole),
            None if shapes.iter().any(|shape| id.starts_with(shape)) => Ok(Target::Gone(Id::from(id))),
            None => {
                let problem = format!("the target {id} is not known");
                let fix = match id.parse::<std::net::IpAddr>() {
                    Ok(_) => {
                        "name a gateway, ENI or connection; a target is never an address (RT-9)".to_owned()
                    }
                    Err(_) => format!(
                        "name one of the state; of one that is gone, the id begins with {}",
                        shapes.join(" or ")
                    ),
                };
                Err(Wrong::new(problem, fix))
            }
        }
    }

    /// The target, if it is not of another VPC. `owner` is the VPC that it is of, or attached to.
    fn of_vpc(
        target: Target,
        owner: Option<Id>,
        vpc: Option<&Vpc>,
        blackhole: bool,
    ) -> Result<Target, Wrong> {
        let other = owner.filter(|owner| vpc.is_some_and(|vpc| vpc.id != *owner) && !owner.is_empty());
        // EC2 keeps the route to a gateway that was detached, so one that is attached to nothing stays (RT-12).
        let Some(other) = other else { return Ok(target) };
        let attachable =
            matches!(target, Target::InternetGateway(_) | Target::EgressOnly(_) | Target::VpnGateway(_));
        if attachable && blackhole {
            return Ok(Target::Gone(Id::from(target.id())));
        }
        let problem = format!("{target} is of {other}, another VPC (InvalidParameterValue)");
        let fix = "name a target of the table's VPC";
        let detached =
            if attachable { ", or write State: blackhole if it was detached from that" } else { "" };
        Err(Wrong::new(problem, format!("{fix}{detached}")))
    }

    /// The only ENI of an instance.
    fn eni_of(&self, instance: &str) -> Result<Id, Wrong> {
        let all = self.instances.get_or_init(|| {
            let mut all: HashMap<String, Vec<Id>> = HashMap::new();
            for (id, eni) in &self.model.enis {
                let attachment = eni.descriptive.as_ref().and_then(|keys| keys.get("Attachment"));
                let instance = attachment.and_then(|attachment| attachment.get("InstanceId"));
                if let Some(instance) = instance.and_then(serde_json::Value::as_str) {
                    all.entry(instance.to_owned()).or_default().push(id.clone());
                }
            }
            all
        });
        let fix = "write NetworkInterfaceId, the ENI that the route leads to";
        match all.get(instance).map(Vec::as_slice) {
            Some([eni]) => Ok(eni.clone()),
            Some(enis) => {
                let problem = format!("{instance} has {} ENIs (InvalidInstanceID)", enis.len());
                Err(Wrong::new(problem, fix))
            }
            None => Err(Wrong::new(format!("no ENI's Attachment has the InstanceId {instance}"), fix)),
        }
    }

    /// Whether the table may have the route. An error says whether it is about the target.
    fn allowed(
        &self,
        table: Table<'_>,
        destination: &Destination,
        target: &Target,
    ) -> Result<(), (bool, Wrong)> {
        let of_destination = |wrong| (false, wrong);
        match destination {
            Destination::Block(block) => self.block(table, *block, target)?,
            Destination::PrefixList(id) => {
                if table.of_gateway {
                    let problem =
                        format!("{id} is a prefix list, in a gateway's table (InvalidParameterValue)");
                    let fix = "write blocks of the VPC, or whole subnets' (ING-2)";
                    return Err(of_destination(Wrong::new(problem, fix)));
                }
                let entries = self.model.prefix_lists.get(id).map(|list| &*list.entries).unwrap_or_default();
                // An entry that equals a block of the VPC is behind the local route (RT-4).
                for entry in entries.iter().filter(|entry| !blocks(table.vpc).any(|block| block == **entry)) {
                    self.block(table, *entry, target)?;
                }
            }
        }
        let is_list = matches!(destination, Destination::PrefixList(_));
        match target {
            Target::EgressOnly(id) if matches!(destination, Destination::Block(IpNet::V4(_))) => {
                let problem = format!("{id} is for IPv6 only (InvalidParameterValue)");
                Err((true, Wrong::new(problem, "write DestinationIpv6CidrBlock, or another target")))
            }
            Target::Endpoint(id) if !is_list && !self.is_load_balancer(id) => {
                let problem = format!("{id} is a gateway endpoint (InvalidParameterValue)");
                Err((true, Wrong::new(problem, "write the service's DestinationPrefixListId (GW-22)")))
            }
            _ => Ok(()),
        }
    }

    /// Whether an ENI is in the subnet that has the block.
    fn is_in(&self, eni: &str, block: IpNet) -> bool {
        let subnet = self.model.enis.get(eni).and_then(|eni| self.model.subnets.get(&eni.subnet));
        subnet.is_some_and(|subnet| {
            subnet.cidr4.map(IpNet::V4) == Some(block) || subnet.cidr6.map(IpNet::V6) == Some(block)
        })
    }

    fn is_load_balancer(&self, endpoint: &str) -> bool {
        let service = self.model.endpoints.get(endpoint).map(|endpoint| &endpoint.service);
        matches!(service, Some(crate::model::EndpointService::LoadBalancer { .. }))
    }

    /// Whether a middlebox: what a route inside the VPC may lead to.
    fn is_middlebox(&self, target: &Target, of_gateway: bool) -> bool {
        match target {
            Target::Eni(_) => true,
            Target::Nat(_) => !of_gateway,
            Target::Endpoint(id) => self.is_load_balancer(id),
            Target::Gone(id) => {
                let is = |shape| id.starts_with(shape);
                is("eni-") || is("vpce-") || (is("nat-") && !of_gateway)
            }
            _ => false,
        }
    }

    /// Whether the table may have a route of the block.
    fn block(&self, table: Table<'_>, block: IpNet, target: &Target) -> Result<(), (bool, Wrong)> {
        let Table { vpc, of_gateway } = table;
        let of_destination = |problem: String, fix: String| Err((false, Wrong::new(problem, fix)));
        let reserved = RESERVED.iter().filter_map(|reserved| reserved.parse::<IpNet>().ok());
        if let Some(reserved) = reserved.into_iter().find(|reserved| reserved.contains(&block)) {
            let problem = format!("{block} is inside {reserved}, EC2's own services (InvalidParameterValue)");
            return of_destination(problem, "leave it out; a larger block is allowed (RT-14)".to_owned());
        }
        let whole = blocks(vpc).any(|own| own == block);
        let inside = blocks(vpc).any(|own| own.contains(&block));
        let of_subnet = self.subnets.contains(&(&*vpc.id, block));
        let legacy = vpc.legacy_2020_local && !of_gateway;
        match target {
            Target::Local if whole || (of_gateway && of_subnet) => Ok(()),
            Target::Local => {
                let own: Vec<_> = blocks(vpc).map(|block| block.to_string()).collect();
                let problem = format!("{block} is not a block of {}, so it cannot be local", vpc.id);
                of_destination(problem, format!("write {}", own.join(" or ")))
            }
            _ if !inside && of_gateway => {
                let problem = format!("{block} is not in a block of {} (InvalidParameterValue)", vpc.id);
                of_destination(problem, "write a block of the VPC, or a whole subnet's (ING-2)".to_owned())
            }
            _ if !inside => Ok(()),
            _ if legacy => {
                let problem = format!("{block} is in a block of {} (InvalidParameterValue)", vpc.id);
                let fix = "leave it out, or leave out Legacy2020Local (RT-7)".to_owned();
                of_destination(problem, fix)
            }
            _ if !whole && !of_subnet => {
                let problem =
                    format!("{block} is inside {}, but not a whole subnet (InvalidParameterValue)", vpc.id);
                of_destination(problem, "write the whole block of a subnet (RT-8)".to_owned())
            }
            Target::Eni(id) if of_subnet && self.is_in(id, block) => {
                let problem = format!("{id} is in the subnet {block} itself (InvalidParameterValue)");
                Err((true, Wrong::new(problem, "choose an appliance in another subnet (ING-11)")))
            }
            _ if self.is_middlebox(target, of_gateway) => Ok(()),
            _ => {
                let problem = format!(
                    "{target} cannot be the target of {block}, inside the VPC (InvalidParameterValue)"
                );
                let fix = if of_gateway {
                    "write local, an ENI or a Gateway Load Balancer endpoint (ING-3)"
                } else {
                    "write an ENI, a NAT gateway or a Gateway Load Balancer endpoint (RT-7)"
                };
                Err((true, Wrong::new(problem, fix)))
            }
        }
    }
}

/// The resource with the id, and the VPC that it is of.
fn find<T>(all: &ById<T>, id: &str, vpc: impl FnOnce(&T) -> Option<Id>) -> Option<(Id, Option<Id>)> {
    all.get_key_value(id).map(|(id, found)| (id.clone(), vpc(found)))
}
