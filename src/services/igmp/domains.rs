//! What the state says of multicast domains, and what becomes of memberships when it changes.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc, time::Duration};

use super::{Asked, GroupKey, Memberships, Queried};
use crate::{
    packet::Mac,
    tables::{Domain, DomainIndex, EniKey, HostIndex, LocalEni, Multicast, Place, PortIndex, SubnetIndex},
};

/// A transit gateway's multicast domain, as the state has it.
#[derive(Clone, Debug)]
pub struct TransitDomain {
    /// Its number and options.
    pub domain: Domain,
    /// The subnets associated with it; a subnet is in one domain at most.
    pub subnets: Vec<SubnetIndex>,
    /// The other hosts that have ENIs in those subnets.
    pub hosts: Arc<[HostIndex]>,
    /// What is registered, by group.
    pub groups: BTreeMap<Ipv4Addr, Registered>,
}

/// What the API registered for a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// The members.
    pub members: Vec<EniKey>,
    /// The sources.
    pub sources: Vec<EniKey>,
}

/// An ENI attached to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// Its port.
    pub port: PortIndex,
    /// Its VPC and MAC.
    pub eni: EniKey,
    /// Its subnet.
    pub subnet: SubnetIndex,
    /// The router's MAC of its subnet, from which queries come.
    pub router_mac: Mac,
}

impl Local {
    /// The ENI behind a port.
    pub fn new(port: PortIndex, eni: &LocalEni) -> Self {
        Self { port, eni: (eni.vni, eni.mac), subnet: eni.subnet, router_mac: eni.router_mac }
    }
}

impl Memberships {
    /// Replaces the domains and this node's ENIs. `locate` finds the subnet of any ENI, and where it is (see
    /// [`crate::tables::Enis::get_mac`]). Memberships by IGMP stay where ENI, subnet and domain do, also of an ENI that has
    /// moved. A new ENI is queried at once, a new host asked.
    pub fn set_domains(
        &mut self,
        now: Duration,
        domains: impl IntoIterator<Item = TransitDomain>,
        locals: impl IntoIterator<Item = Local>,
        locate: impl Fn(EniKey) -> Option<(SubnetIndex, Place)>,
    ) {
        self.domains = domains.into_iter().map(|state| (state.domain.index, state)).collect();
        let by_subnet = self
            .domains
            .values()
            .flat_map(|state| state.subnets.iter().map(|&subnet| (subnet, state.domain)));
        self.table = Multicast::new(by_subnet);
        self.changed = true;

        self.places.clear();
        self.keep_learned(&locate);
        let registered = self.domains.values().flat_map(|state| state.groups.values());
        for &eni in registered.flat_map(|group| &group.members) {
            if let Some((_, place)) = locate(eni) {
                self.places.insert(eni, place);
            }
        }
        self.usage.retain(|&eni, _| locate(eni).is_some());
        self.keep_queried(now, locals);
        self.keep_asked(now);

        let registered = self
            .domains
            .iter()
            .flat_map(|(&domain, state)| state.groups.keys().map(move |&group| (domain, group)));
        let groups: Vec<GroupKey> = registered.chain(self.learned.keys().copied()).collect();
        groups.into_iter().for_each(|group| self.rebuild(group));
    }

    /// Forgets the memberships of ENIs that are no longer in the domain, or of one that is without IGMP now.
    fn keep_learned(&mut self, locate: &impl Fn(EniKey) -> Option<(SubnetIndex, Place)>) {
        let mut gone = Vec::new();
        for (&group, members) in &self.learned {
            for &eni in members.keys() {
                let found = locate(eni).filter(|&(subnet, _)| self.igmp_domain(subnet) == Some(group.0));
                match found {
                    Some((_, place)) => drop(self.places.insert(eni, place)),
                    None => gone.push((group, eni)),
                }
            }
        }
        for (group, eni) in gone {
            self.forget(group, eni);
        }
    }

    fn keep_queried(&mut self, now: Duration, locals: impl IntoIterator<Item = Local>) {
        let mut before = std::mem::take(&mut self.queried);
        for local in locals {
            if self.igmp_domain(local.subnet).is_some() {
                let known = before.remove(&local.port).filter(|queried| queried.local == local);
                let new = Queried { local, sent: 0, last: None, next: now };
                self.queried.insert(local.port, known.unwrap_or(new));
            }
        }
    }

    /// Where this node has an ENI of a domain, it asks the domain's other hosts.
    fn keep_asked(&mut self, now: Duration) {
        let before = std::mem::take(&mut self.asked);
        for queried in self.queried.values() {
            let Some(state) =
                self.igmp_domain(queried.local.subnet).and_then(|index| self.domains.get(&index))
            else {
                continue;
            };
            for &host in &*state.hosts {
                let key = (state.domain.index, host);
                let known = before.get(&key).copied();
                self.asked.entry(key).or_insert_with(|| known.unwrap_or(Asked { sent: 0, next: now }));
            }
        }
    }

    /// The domain of a subnet in which ENIs join by IGMP.
    pub(super) fn igmp_domain(&self, subnet: SubnetIndex) -> Option<DomainIndex> {
        self.table.domain(subnet).filter(|domain| domain.igmp).map(|domain| domain.index)
    }
}
