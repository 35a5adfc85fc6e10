//! The node's own ports, and the ENIs behind them.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::{Compiler, SitePort, SiteRole, lease, local_enis, mirrors};
use crate::{
    flow::Timeouts,
    model::{self, EndpointService, LogScope, Model, router_mac},
    packet::Plain,
    tables::{
        Addresses, Exits, Limits, LocalEni, LocalMacs, Place, Port, Role, SubnetIndex, load_balancer_of,
    },
};

impl Compiler {
    /// The ports, by index.
    pub(super) fn ports(&self, model: &Model, exits: &Exits) -> Box<[Port]> {
        let logged = logged(model);
        let appliances = appliances(model);
        let mut plugged: HashMap<&str, Arc<LocalEni>> = HashMap::new();
        for eni in local_enis(model, &self.local) {
            if let Some(at) = &eni.attachment
                && let Some(local) = self.local_eni(model, exits, eni, &at.port)
            {
                let logged = [&eni.id, &eni.subnet, &eni.vpc].iter().any(|id| logged.contains(&***id));
                let block =
                    local.subnet_v4.filter(|_| eni.primary4.is_some() && appliances.contains(&*eni.id));
                let load_balancer = block.map(|block| load_balancer_of(block).to_bits());
                plugged.insert(&at.port, Arc::new(LocalEni { logged, load_balancer, ..local }));
            }
        }
        let port = |port: &SitePort| Port {
            name: Arc::clone(&port.name),
            role: match &port.role {
                SiteRole::Instance => Role::Instance(plugged.get(&*port.name).cloned()),
                SiteRole::Uplink(uplink) => Role::Uplink(uplink.to_table()),
                SiteRole::Service(services) => Role::Service(Arc::clone(services)),
                SiteRole::Gateway(outside) => Role::Gateway(Arc::clone(outside)),
                SiteRole::Control(of) => Role::Control(*of),
            },
            vlan: port.vlan,
        };
        self.site.ports.iter().map(port).collect()
    }

    /// The ports of the ENIs that are attached to this node.
    pub(super) fn local_macs(&self, model: &Model) -> LocalMacs {
        let macs = self.local.iter().filter_map(|id| {
            let eni = model.enis.get(id)?;
            let port = self.site.port(&eni.attachment.as_ref()?.port)?;
            Some(((model.vpcs.get(&eni.vpc)?.vni, eni.mac), port))
        });
        macs.collect()
    }

    fn local_eni(&self, model: &Model, exits: &Exits, eni: &model::Eni, port: &str) -> Option<LocalEni> {
        let index = self.site.port(port)?;
        let mtu = self.site.ports.get(usize::from(index.0))?.mtu;
        let subnet = model.subnets.get(&eni.subnet)?;
        let vpc = model.vpcs.get(&eni.vpc)?;
        let attachment = eni.attachment.as_ref()?;
        let index_of_subnet = SubnetIndex(self.subnets.get(&eni.subnet)?);
        let leaving = exits.subnet(index_of_subnet)?;
        let v4 = eni.primary4.iter().chain(&eni.secondary4).map(|address| address.to_bits());
        let v6 =
            eni.addresses6.iter().map(|address| address.to_bits()).chain([eni.mac.link_local().to_bits()]);
        let workers = attachment.options().workers.min(self.site.workers).max(1);
        let limits = Limits::of(attachment.options(), workers).map(Box::new);
        let mirrors = mirrors::of(model, &self.site, eni, mtu).map(Arc::new);
        Some(LocalEni {
            id: Arc::clone(&eni.id),
            vpc: Arc::clone(&eni.vpc),
            stay: self.stays.number(&eni.id)?,
            vni: vpc.vni,
            mac: eni.mac,
            router_mac: router_mac(&eni.subnet),
            location: Place::Local(index).into(),
            subnet: index_of_subnet,
            subnet_v4: subnet.cidr4,
            subnet_v6: subnet.cidr6,
            // Without any address, no connection begins with a packet from none.
            plain: Plain::sender(eni.mac, v4.clone().next().unwrap_or(0)),
            v4: Addresses::<u32>::new(v4, eni.prefixes4.iter().map(|prefix| prefix.network().to_bits())),
            v6: Addresses::<u128>::new(v6, eni.prefixes6.iter().map(|prefix| prefix.network().to_bits())),
            resolver: vpc.cidrs4.first().map(|block| block.network().to_bits() + 2),
            metadata_hop_limit: attachment.metadata_hop_limit,
            workers,
            timeouts: timeouts(&eni.tracking),
            strict_icmp: attachment.options().strict_icmp,
            tcp_window_check: attachment.options().tcp_window_check,
            most_connections: attachment.options().connections_max,
            reserved_connections: attachment.options().connections_reserved,
            watched: limits.is_some() || mirrors.is_some(),
            limits,
            mirrors,
            source_dest_check: eni.source_dest_check,
            mtu,
            narrow: self.site.uplinks().any(|(_, uplink)| self.site.path_mtu(uplink) < mtu),
            logged: false,
            lease: Arc::new(lease::lease(model, vpc, subnet, eni, mtu)),
            routes: Arc::clone(&leaving.routes),
            steered: self.exits.steering.contains(&subnet.route_table),
            policy: self.policies.get(&eni.groups)?,
            acl: Arc::clone(&leaving.acl),
            load_balancer: None,
        })
    }
}

/// The ports with the route tables that their ENIs' subnets have now.
pub(super) fn rerouted(ports: &[Port], exits: &Exits) -> Box<[Port]> {
    let mut ports: Box<[Port]> = ports.into();
    for port in &mut ports {
        let Role::Instance(Some(eni)) = &mut port.role else { continue };
        let Some(subnet) = exits.subnet(eni.subnet) else { continue };
        if !Arc::ptr_eq(&eni.routes, &subnet.routes) {
            *eni = Arc::new(LocalEni { routes: Arc::clone(&subnet.routes), ..LocalEni::clone(eni) });
        }
    }
    ports
}

/// The ENIs, subnets and VPCs that have flow logs.
fn logged(model: &Model) -> HashSet<&str> {
    let scopes = model.flow_logs.values().filter_map(|log| match &log.scope {
        LogScope::Vpc(id) | LogScope::Subnet(id) | LogScope::Eni(id) => Some(&**id),
        LogScope::Other(_) => None,
    });
    scopes.collect()
}

/// The ENIs that are behind Gateway Load Balancer endpoints.
fn appliances(model: &Model) -> HashSet<&str> {
    let lists = model.endpoints.values().filter_map(|endpoint| match &endpoint.service {
        EndpointService::LoadBalancer { appliances, .. } => Some(appliances),
        EndpointService::Gateway => None,
    });
    lists.flatten().map(|id| &**id).collect()
}

/// As the workers keep them.
fn timeouts(stated: &model::ConnectionTracking) -> Timeouts {
    let millis = |seconds: u32| seconds * 1000;
    Timeouts {
        established: millis(stated.tcp_established),
        udp: millis(stated.udp.into()),
        udp_stream: millis(stated.udp_stream.into()),
    }
}
