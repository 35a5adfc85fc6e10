//! The other hosts, as workers send to them.

use std::net::IpAddr;

use hashbrown::HashSet;

use super::{Compiler, Resolve};
use crate::{
    model::{self, Model},
    packet::{ETHERNET, Mac, OuterTemplate},
    tables::{Host, HostIndex, Hosts, PortIndex, Reachability},
};

impl Compiler {
    /// The next hops on the uplinks through which the model's hosts are reached.
    pub fn next_hops(&self, model: &Model) -> HashSet<(PortIndex, IpAddr)> {
        self.remote_hosts(model)
            .filter_map(|host| self.site.link_to(host.underlay))
            .map(|link| (link.uplink, link.next_hop))
            .collect()
    }

    fn remote_hosts<'a>(&'a self, model: &'a Model) -> impl Iterator<Item = &'a model::Host> {
        model.hosts.values().filter(|host| host.id != self.site.host)
    }

    /// The hosts, by number.
    pub(super) fn hosts(&self, model: &Model, resolve: &dyn Resolve) -> Hosts {
        let mut hosts = vec![None; self.hosts.len()];
        for host in self.remote_hosts(model) {
            let Some(slot) = self.hosts.get(&host.id).and_then(|index| hosts.get_mut(index as usize)) else {
                continue;
            };
            *slot = Some((host.underlay, self.host(host.underlay, resolve).unwrap_or(Host::UNREACHABLE)));
        }
        let forwarders = self
            .forwarding
            .iter()
            .filter_map(|id| {
                let eni = model.enis.get(id)?;
                let host = self.hosts.get(&eni.attachment.as_ref()?.host)?;
                Some((model.vpcs.get(&eni.vpc)?.vni, HostIndex(host)))
            })
            .collect();
        Hosts::new(hosts, forwarders)
    }

    /// What the workers need to send to an underlay address; `None` where no uplink leads to it.
    fn host(&self, underlay: IpAddr, resolve: &dyn Resolve) -> Option<Host> {
        let link = self.site.link_to(underlay)?;
        let uplink = self.site.uplink(link.uplink)?;
        let next_hop = resolve.resolve(link.uplink, link.next_hop);
        let template = OuterTemplate::new(
            self.site.encapsulation,
            uplink.mac,
            next_hop.unwrap_or(Mac::ZERO),
            uplink.address,
            underlay,
            uplink.checksum,
        )?;
        let fits = self.site.path_mtu(uplink) + ETHERNET as u16;
        let (reachability, max_inner) = match next_hop {
            None => (Reachability::Unresolved, 0),
            Some(_) => (Reachability::Ready, fits),
        };
        Some(Host { template, uplink: link.uplink, reachability, max_inner })
    }
}
