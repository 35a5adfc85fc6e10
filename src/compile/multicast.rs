//! Multicast domains, as the management thread's memberships start from them.

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::{HashMap, HashSet};

use super::Compiler;
use crate::{
    model::{self, Id, Model},
    services::igmp::{Registered, TransitDomain},
    tables::{Domain, DomainIndex, EniKey, HostIndex, SubnetIndex},
};

impl Compiler {
    /// The multicast domains of a model whose tables have been made. Looks at every ENI if there is a domain.
    pub fn multicast_domains(&mut self, model: &Model) -> Vec<TransitDomain> {
        self.domains.retain(&model.multicast_domains);
        let of_subnet: HashMap<&Id, &Id> = model
            .multicast_domains
            .values()
            .flat_map(|domain| domain.subnets.iter().map(move |subnet| (subnet, &domain.id)))
            .collect();
        let mut hosts: HashMap<&Id, HashSet<u32>> = HashMap::new();
        if !of_subnet.is_empty() {
            for eni in model.enis.values() {
                let host = eni.attachment.as_ref().filter(|at| at.host != self.site.host);
                let host = host.and_then(|at| self.hosts.get(&at.host));
                if let (Some(&domain), Some(host)) = (of_subnet.get(&eni.subnet), host) {
                    hosts.entry(domain).or_default().insert(host);
                }
            }
        }
        model
            .multicast_domains
            .values()
            .filter_map(|domain| {
                self.multicast_domain(model, domain, hosts.remove(&domain.id).unwrap_or_default())
            })
            .collect()
    }

    /// The number of a domain of the model that was last compiled.
    pub fn multicast_domain_index(&self, id: &str) -> Option<DomainIndex> {
        self.domains.get(id).map(DomainIndex)
    }

    fn multicast_domain(
        &self,
        model: &Model,
        domain: &model::MulticastDomain,
        hosts: HashSet<u32>,
    ) -> Option<TransitDomain> {
        let key = |id: &Id| -> Option<EniKey> {
            let eni = model.enis.get(id)?;
            Some((model.vpcs.get(&eni.vpc)?.vni, eni.mac))
        };
        let mut groups: BTreeMap<_, Registered> = BTreeMap::new();
        for member in &domain.members {
            groups.entry(member.group).or_default().members.extend(key(&member.eni));
        }
        for source in &domain.sources {
            groups.entry(source.group).or_default().sources.extend(key(&source.eni));
        }
        let mut hosts: Vec<HostIndex> = hosts.into_iter().map(HostIndex).collect();
        hosts.sort_unstable();
        Some(TransitDomain {
            domain: Domain {
                index: self.multicast_domain_index(&domain.id)?,
                igmp: domain.igmp,
                static_sources: domain.static_sources,
            },
            subnets: domain.subnets.iter().filter_map(|id| self.subnets.get(id)).map(SubnetIndex).collect(),
            hosts: Arc::from(hosts),
            groups,
        })
    }
}
