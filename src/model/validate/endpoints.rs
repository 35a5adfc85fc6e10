//! Gateway endpoints and Gateway Load Balancer endpoints, and the appliances behind these.

use hashbrown::HashMap;

use super::{Item, Source, Validation, each, in_order, value, value::Wrong};
use crate::model::{EndpointService, Id, VpcEndpoint, raw::Check as _};

pub(super) fn endpoints(sources: &[Source<'_>], state: &mut Validation) {
    let mut appliances = appliances(sources, state);
    let Validation { model, errors, .. } = state;
    let all = each(sources, "VpcEndpoints", |raw| &raw.endpoints, |raw| &raw.id);
    // The others are reached by their ENIs, as anything in the VPC is.
    let others = [Some("Interface"), Some("Resource"), Some("ServiceNetwork")];
    for (item, raw) in all.filter(|(_, raw)| raw.state.in_force() && !others.contains(&raw.kind.get())) {
        let vpc = item.reference(&raw.vpc, "VpcId", "vpc-blue", "Vpcs", &model.vpcs, errors);
        let kinds = |text| value::one_of(text, &[("Gateway", false), ("GatewayLoadBalancer", true)]);
        let load_balancer = item.optional(&raw.kind, "VpcEndpointType", kinds, errors).unwrap_or(false);
        let enis = appliances.remove(item.id);
        let service = if load_balancer {
            let mut subnets = raw.subnets.items().iter();
            let key = if subnets.len() == 0 { "SubnetIds" } else { "SubnetIds[0]" };
            let missing = crate::model::raw::Text::Missing;
            let first = subnets.next().unwrap_or(&missing);
            let subnet = item.reference(first, key, "subnet-appliances", "Subnets", &model.subnets, errors);
            if subnets.next().is_some() {
                let fix = "make an endpoint for each subnet";
                item.wrong("SubnetIds[1]", "is a second subnet (InvalidParameter)", fix, errors);
            }
            if let (Some((vpc, _)), Some((id, subnet))) = (vpc, subnet)
                && subnet.vpc != *vpc
            {
                let problem = format!("{id} is in {}, the endpoint in {vpc}", subnet.vpc);
                item.wrong(key, problem, "choose a subnet of the same VPC", errors);
            }
            let subnet = subnet.map(|(id, _)| id.clone()).unwrap_or_default();
            EndpointService::LoadBalancer {
                subnet,
                appliances: enis.map(|(_, enis)| enis).unwrap_or_default(),
            }
        } else {
            if let Some((appliances, _)) = enis {
                let problem = format!("{} is a gateway endpoint", item.id);
                let fix = "name one of VpcEndpointType: GatewayLoadBalancer";
                appliances.wrong("VpcEndpointId", problem, fix, errors);
            }
            EndpointService::Gateway
        };
        if let Some(id) = item.new_id(&raw.id, "VpcEndpointId", "vpce-blue", &model.endpoints, errors) {
            let vpc = vpc.map(|(id, _)| id.clone()).unwrap_or_default();
            let descriptive = raw.notes.descriptive();
            model.endpoints.insert(id.clone(), VpcEndpoint { id, vpc, service, descriptive });
        }
    }
    let start = errors.0.len();
    for (id, (item, _)) in appliances {
        if !model.endpoints.contains_key(id) {
            errors.0.push(item.error("VpcEndpointId", value::unresolved(id, "VpcEndpoints")));
        }
    }
    in_order(errors, start);
}

/// The appliances by endpoint, and where they stand.
fn appliances<'s>(
    sources: &'s [Source<'_>],
    state: &mut Validation,
) -> HashMap<&'s str, (Item<'s>, Vec<Id>)> {
    let Validation { model, errors, .. } = state;
    let mut all = HashMap::new();
    for (item, raw) in each(sources, "Warren.Appliances", |raw| &raw.warren.appliances, |raw| &raw.endpoint) {
        let endpoint = item.required(&raw.endpoint, "VpcEndpointId", "vpce-blue", value::id, errors);
        if raw.enis.is_missing() {
            let wrong = Wrong::new("is missing", "list the ENIs of the appliances, such as [eni-firewall]");
            errors.0.push(item.error("NetworkInterfaceIds", wrong));
        }
        let mut enis = Vec::new();
        for (index, eni) in raw.enis.items().iter().enumerate() {
            let key = format!("NetworkInterfaceIds[{index}]");
            let found = item.reference(eni, &key, "eni-firewall", "NetworkInterfaces", &model.enis, errors);
            let Some((id, _)) = found else { continue };
            if enis.contains(id) {
                item.wrong(key, format!("{id} is there already"), "list an ENI once", errors);
            } else {
                enis.push(id.clone());
            }
        }
        if let Some(endpoint) = endpoint
            && all.insert(endpoint, (item, enis)).is_some()
        {
            let problem = format!("{endpoint} has appliances already");
            item.wrong("VpcEndpointId", problem, "list the appliances of an endpoint once", errors);
        }
    }
    all
}
