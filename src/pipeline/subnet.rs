//! A sender's subnet, as the services that answer for it see it.

use std::net::IpAddr;

use ipnet::Ipv6Net;

use crate::{
    packet::Mac,
    services::Subnet,
    tables::{LocalEni, Tables},
};

/// The subnet of an ENI of this node.
pub(super) struct SubnetOf<'a> {
    pub(super) tables: &'a Tables,
    pub(super) eni: &'a LocalEni,
}

impl Subnet for SubnetOf<'_> {
    fn asker(&self) -> Mac {
        self.eni.mac
    }

    fn asker_has(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.eni.v4.contain(address.to_bits()),
            IpAddr::V6(address) => self.eni.v6.contain(address.to_bits()),
        }
    }

    fn router(&self) -> Mac {
        self.eni.router_mac
    }

    fn is_router(&self, address: IpAddr) -> bool {
        self.eni.is_router(address) || self.eni.is_load_balancer(address)
    }

    fn eni(&self, address: IpAddr) -> Option<Mac> {
        self.tables.owner_in_subnet(self.eni, address)
    }

    fn has_eni(&self, mac: Mac) -> bool {
        self.tables.enis.get_mac(self.eni.vni, mac).is_some_and(|found| found.subnet == self.eni.subnet)
    }

    fn prefix6(&self) -> Option<Ipv6Net> {
        self.eni.subnet_v6
    }

    fn mtu(&self) -> u16 {
        self.eni.mtu
    }
}
