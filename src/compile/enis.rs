//! Where the addresses of ENIs, and of NAT gateways, are in the maps.

use super::Compiler;
use crate::{
    model::{self, Model, router_mac},
    tables::{Destination, Enis, GroupSetIndex, HostIndex, MacKey, Place, SubnetIndex, V4Key, V6Key},
};

impl Compiler {
    /// Puts the NAT gateways' addresses where those of ENIs are.
    pub(super) fn insert_gateways(&self, enis: &mut Enis, model: &Model) {
        for gateway in model.nat_gateways.values() {
            let (Some(destination), Some(vpc)) =
                (self.nat_destination(gateway), model.vpcs.get(&gateway.vpc))
            else {
                continue;
            };
            for address in &gateway.addresses {
                enis.v4.insert(V4Key::exact(vpc.vni, address.to_bits()).slot(destination));
            }
            enis.mac.insert(MacKey::slot(vpc.vni, destination));
        }
    }

    /// Takes the NAT gateways' addresses out again.
    pub(super) fn remove_gateways(&self, enis: &mut Enis, model: &Model) {
        for gateway in model.nat_gateways.values() {
            let Some(vpc) = model.vpcs.get(&gateway.vpc) else { continue };
            for address in &gateway.addresses {
                enis.v4.remove(&V4Key::exact(vpc.vni, address.to_bits()));
            }
            enis.mac.remove(&MacKey::new(vpc.vni, model::gateway_mac(&gateway.id)));
        }
    }

    fn nat_destination(&self, gateway: &model::NatGateway) -> Option<Destination> {
        Some(Destination {
            mac: model::gateway_mac(&gateway.id),
            router_mac: router_mac(&gateway.subnet),
            location: Place::Gateway(self.exits.index(&gateway.id)?).into(),
            subnet: SubnetIndex(self.subnets.get(&gateway.subnet)?),
            source_dest_check: true,
            groups: GroupSetIndex::EMPTY,
        })
    }

    fn destination(&self, eni: &model::Eni) -> Option<Destination> {
        let place = match &eni.attachment {
            None => Place::Nowhere,
            Some(at) if at.host == self.site.host => {
                self.site.port(&at.port).map_or(Place::Nowhere, Place::Local)
            }
            Some(at) => {
                self.hosts.get(&at.host).map_or(Place::Nowhere, |host| Place::Remote(HostIndex(host)))
            }
        };
        Some(Destination {
            mac: eni.mac,
            router_mac: router_mac(&eni.subnet),
            location: place.into(),
            subnet: SubnetIndex(self.subnets.get(&eni.subnet)?),
            source_dest_check: eni.source_dest_check,
            groups: self.group_sets.get(&eni.groups),
        })
    }

    /// The addresses that lead to an ENI, as keys of the maps.
    fn keys(model: &Model, eni: &model::Eni) -> Option<(Vec<V4Key>, Vec<V6Key>, MacKey)> {
        let vni = model.vpcs.get(&eni.vpc)?.vni;
        let single =
            eni.primary4.iter().chain(&eni.secondary4).map(|address| V4Key::exact(vni, address.to_bits()));
        let delegated = eni.prefixes4.iter().map(|prefix| V4Key::delegated(vni, prefix.network().to_bits()));
        let v4 = single.chain(delegated).collect();
        let single = eni.addresses6.iter().map(|address| V6Key::exact(vni, address.to_bits()));
        let delegated = eni.prefixes6.iter().map(|prefix| V6Key::delegated(vni, prefix.network().to_bits()));
        let v6 = single.chain(delegated).collect();
        Some((v4, v6, MacKey::new(vni, eni.mac)))
    }

    /// Puts an ENI's addresses in.
    pub(super) fn insert(&mut self, enis: &mut Enis, model: &Model, eni: &model::Eni) {
        self.group_sets.take(&eni.groups);
        let (Some(destination), Some((v4, v6, _)), Some(vpc)) =
            (self.destination(eni), Self::keys(model, eni), model.vpcs.get(&eni.vpc))
        else {
            return;
        };
        for key in v4 {
            enis.v4.insert(key.slot(destination));
        }
        for key in v6 {
            enis.v6.insert(key.slot(destination));
        }
        enis.mac.insert(MacKey::slot(vpc.vni, destination));
        enis.delegated[0] += eni.prefixes4.len();
        enis.delegated[1] += eni.prefixes6.len();
    }

    /// Takes an ENI's addresses out again.
    pub(super) fn remove(&mut self, enis: &mut Enis, model: &Model, eni: &model::Eni) {
        self.group_sets.release(&eni.groups);
        let Some((v4, v6, mac)) = Self::keys(model, eni) else { return };
        for key in v4 {
            enis.v4.remove(&key);
        }
        for key in v6 {
            enis.v6.remove(&key);
        }
        enis.mac.remove(&mac);
        enis.delegated[0] -= eni.prefixes4.len();
        enis.delegated[1] -= eni.prefixes6.len();
    }
}
