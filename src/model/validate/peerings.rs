//! VPC peering connections.

use hashbrown::HashMap;

use super::{Source, Validation, each, route_tables::blocks};
use crate::model::Peering;

pub(super) fn peerings(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, doubtful } = state;
    let mut regions: HashMap<&str, &str> = HashMap::new();
    if sources.iter().any(|source| !source.state.peerings.items().is_empty()) {
        regions.extend(model.subnets.values().filter_map(|subnet| Some((&*subnet.vpc, subnet.region()?))));
    }
    let mut pairs = HashMap::new();
    let all = each(sources, "VpcPeeringConnections", |raw| &raw.peerings, |raw| &raw.id);
    for (item, raw) in all.filter(|(_, raw)| raw.status.code.in_force()) {
        let vpcs = &model.vpcs;
        let key = "RequesterVpcInfo.VpcId";
        let requester = item.reference(&raw.requester.vpc, key, "vpc-blue", "Vpcs", vpcs, errors);
        let key = "AccepterVpcInfo.VpcId";
        let accepter = item.reference(&raw.accepter.vpc, key, "vpc-red", "Vpcs", vpcs, errors);
        if let (Some((a, one)), Some((b, other))) = (requester, accepter) {
            let overlap = blocks(one).find_map(|a| {
                let other = blocks(other).find(|b| a.contains(b) || b.contains(&a))?;
                Some((a, other))
            });
            let pair = if a < b { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) };
            if a == b {
                item.wrong(key, format!("{a} is both VPCs"), "name another VPC", errors);
            } else if let Some(earlier) = pairs.insert(pair, item.id) {
                let problem =
                    format!("{earlier} joins {a} and {b} already (VpcPeeringConnectionAlreadyExists)");
                item.wrong("", problem, "join two VPCs by one peering connection", errors);
            } else if let Some((mine, theirs)) = overlap
                && !doubtful.contains(a)
                && !doubtful.contains(b)
            {
                let problem = format!("{theirs} of {b} overlaps {mine} of {a} (PT-5)");
                item.wrong("", problem, "peer VPCs with disjoint blocks", errors);
            }
        }
        let region = |vpc: Option<&str>, stated: Option<&str>| {
            vpc.and_then(|vpc| regions.get(vpc).copied())
                .map(ToOwned::to_owned)
                .or(stated.map(ToOwned::to_owned))
        };
        let ours = region(requester.map(|(id, _)| &**id), raw.requester.region.get());
        let theirs = region(accepter.map(|(id, _)| &**id), raw.accepter.region.get());
        let inter_region = matches!((ours, theirs), (Some(ours), Some(theirs)) if ours != theirs);
        let id = item.new_id(&raw.id, "VpcPeeringConnectionId", "pcx-blue-red", &model.peerings, errors);
        let Some(id) = id else { continue };
        let peering = Peering {
            id: id.clone(),
            requester: requester.map(|(id, _)| id.clone()).unwrap_or_default(),
            accepter: accepter.map(|(id, _)| id.clone()).unwrap_or_default(),
            active: raw.status.code.get().is_none_or(|code| code == "active"),
            inter_region,
            descriptive: raw.notes.descriptive(),
        };
        model.peerings.insert(id, peering);
    }
}
