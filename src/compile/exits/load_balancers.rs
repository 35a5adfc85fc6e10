//! Gateway Load Balancer endpoints and their appliances (GW-23).

use std::sync::Arc;

use hashbrown::HashMap;

use super::{Builder, gateways::weight};
use crate::{
    model::{EndpointService, Eni, Id, VpcEndpoint, fnv1a, router_mac},
    packet::GwlbTemplate,
    tables::{Appliance, LOTS, LoadBalancer, LocalAppliance, Seat, SubnetIndex, load_balancer_of},
};

/// The lots of endpoints with the same appliances.
pub(super) type Lots<'m> = HashMap<Vec<&'m Id>, Arc<[u16; LOTS]>>;

/// What an appliance knows a thing by: the number in an id as EC2 makes them, such as `vpce-0123456789abcdef0`; FNV-1a 64 of any
/// other id.
fn number(id: &str) -> u64 {
    let hexadecimal = id.split_once('-').and_then(|(_, digits)| u64::from_str_radix(digits, 16).ok());
    hexadecimal.unwrap_or_else(|| fnv1a(id))
}

impl<'m> Builder<'m> {
    /// Remembers the appliances: what becomes of one, changes the exits.
    pub(super) fn remember_appliances(&mut self) {
        for endpoint in self.model.endpoints.values() {
            if let EndpointService::LoadBalancer { appliances, .. } = &endpoint.service {
                self.memory.targets.extend(appliances.iter().map(Arc::clone));
            }
        }
    }

    /// An endpoint in a subnet.
    pub(super) fn load_balancer(
        &self,
        endpoint: &VpcEndpoint,
        subnet: &Id,
        known: &mut Lots<'m>,
    ) -> LoadBalancer {
        let live = endpoint.live_appliances(self.model);
        let ids: Vec<&Id> = live.iter().map(|eni| &eni.id).collect();
        let appliance = |eni: &&Eni| Appliance {
            eni: Arc::clone(&eni.id),
            seat: eni.attachment.as_ref().map_or(Seat::Nobody, |at| self.seat(&at.host)),
            here: self.local_appliance(eni, (number(&endpoint.id), number(&endpoint.vpc))),
        };
        LoadBalancer {
            subnet: self.subnets.get(subnet).map_or(SubnetIndex(u32::MAX), SubnetIndex),
            number: number(&endpoint.id),
            appliances: live.iter().map(appliance).collect(),
            lots: Arc::clone(known.entry(ids).or_insert_with_key(|ids| Arc::new(lots(ids)))),
        }
    }

    /// How an appliance of this node gets packets of an endpoint.
    fn local_appliance(&self, eni: &Eni, numbers: (u64, u64)) -> Option<LocalAppliance> {
        let at = eni.attachment.as_ref().filter(|at| at.host == self.site.host)?;
        let port = self.site.port(&at.port)?;
        let block = self.model.subnets.get(&eni.subnet)?.cidr4?;
        let addresses = (load_balancer_of(block), eni.primary4?);
        let template = GwlbTemplate::new(addresses, (router_mac(&eni.subnet), eni.mac), numbers);
        let mtu = self.site.ports.get(usize::from(port.0))?.mtu.saturating_sub(GwlbTemplate::OVERHEAD);
        Some(LocalAppliance { port, vni: self.vni(&eni.vpc)?, mtu, template })
    }
}

/// Which of some appliances has each lot.
fn lots(appliances: &[&Id]) -> [u16; LOTS] {
    let names: Vec<u64> = appliances.iter().map(|id| fnv1a(id)).collect();
    let mut lots = [0; LOTS];
    for (owner, lot) in lots.iter_mut().zip(0..) {
        let heaviest = (0..).zip(&names).max_by_key(|(_, name)| weight(lot, **name));
        *owner = heaviest.map_or(0, |(position, _)| position);
    }
    lots
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: usize) -> Vec<Id> {
        (0..count).map(|n| Id::from(format!("eni-{n:02}"))).collect()
    }

    #[test]
    fn numbers_are_those_in_ec2s_ids() {
        assert_eq!(number("vpce-0123456789abcdef0"), 0x1234_5678_9abc_def0);
        // More than 64 bits, no number, no hyphen.
        for id in ["vpce-f123456789abcdef0", "vpce-blue", "blue"] {
            assert_eq!(number(id), fnv1a(id));
        }
    }

    /// GW-23: of two sets, the lots of whoever is in both stay, but for those that a new one takes.
    #[test]
    fn a_change_of_the_set_moves_no_other_lots() {
        let all = ids(8);
        let all: Vec<&Id> = all.iter().collect();
        let owners = |ids: &[&'_ Id]| lots(ids).map(|owner| ids[usize::from(owner)].to_string());
        let before = owners(&all);
        let share = |id: &str| before.iter().filter(|owner| **owner == *id).count();
        for id in &all {
            assert!((LOTS / 16..LOTS / 4).contains(&share(id)), "{id} has {}", share(id));
            let others: Vec<&Id> = all.iter().copied().filter(|other| other != id).collect();
            let after = owners(&others);
            let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
            assert!(moved.clone().all(|(before, _)| **before == ***id));
            assert_eq!(moved.count(), share(id));
        }
    }
}
