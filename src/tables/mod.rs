//! What a worker reads: immutable, index-linked, compact.
//!
//! [`Tables`] is one snapshot of everything, so that a packet sees exactly one configuration. Snapshots share the pieces
//! that a change did not touch.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod direction;
mod enis;
mod exits;
mod fib;
mod hosts;
mod limits;
mod load_balancers;
mod local_macs;
mod mirrors;
mod multicast;
mod policy;
mod ports;
mod routes;
mod services;
mod sharded;

use std::{net::IpAddr, sync::Arc};

use hashbrown::HashSet;

pub use direction::Direction;
pub use enis::{
    DELEGATED_V4, DELEGATED_V6, Destination, Enis, Location, MacKey, MacSlot, Place, V4Key, V4Slot, V6Key,
    V6Slot,
};
pub use exits::{
    Attachment, AttachmentIndex, AttachmentKind, Blocks, Circuit, CircuitIndex, CircuitKind, CircuitSet,
    Exits, Gateway, GatewayIndex, GatewayKind, GatewayPort, Internet, NatGateway, Outside, OutsideKind,
    OutsideNeighbours, PORTS_A_SHARE, Peer, PeerIndex, Private, SHARES, Seat, SubnetExits, TransitTable,
    TransitTarget, Tunnel, VpcExits, Wire, ZoneIndex, share_of_flow, share_of_port, worker_of_share,
};
pub use fib::Fib;
pub use hosts::{Host, Hosts, Reachability};
pub use limits::Limits;
pub use load_balancers::{Appliance, LOTS, LoadBalancer, LocalAppliance, load_balancer_of};
pub use local_macs::LocalMacs;
pub use mirrors::{MirrorSession, Mirrored, Mirrors};
pub use multicast::{Domain, DomainIndex, EniKey, Fanout, Group, LocalMember, Multicast};
pub use policy::{
    Acl, AclVerdict, Grant, GroupIndex, GroupRules, GroupSetIndex, GroupSets, Policy, Rule, RuleIndex,
    RuleName, RulePeer, RulePeers, Shown,
};
pub use ports::{Addresses, LocalEni, Port, Role, Uplink, VlanMode, router_of};
pub use routes::{Lpm, RouteTable, Target};
pub use services::{Asker, LinkLocal, Position, ServicePort};
pub use sharded::{SHARD_SLOTS, Secret, ShardedMap, Slot};

use crate::{
    flow::connections::Tenant,
    packet::{Encapsulation, Mac, Vni},
};

/// A port of this node: its position in the host file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortIndex(pub u16);

/// A host, by its position in [`Hosts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostIndex(pub u32);

/// A subnet: a number that differs between the subnets of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubnetIndex(pub u32);

/// One snapshot of everything that decides what happens to a packet.
#[derive(Clone)]
pub struct Tables {
    /// Which tables they are: a number that differs from that of those before, if decisions about packets may. It is never 0.
    pub generation: u32,
    /// The encapsulation of the overlay.
    pub encapsulation: Encapsulation,
    /// The node's ports, by [`PortIndex`].
    pub ports: Box<[Port]>,
    /// The ENIs of all VPCs.
    pub enis: Enis,
    /// The sets of security groups that ENIs are members of.
    pub group_sets: Arc<GroupSets>,
    /// The other hosts.
    pub hosts: Arc<Hosts>,
    /// The ports of the ENIs attached to this node, by VPC and MAC.
    pub local: LocalMacs,
    /// The ports of this node that lead to link-local services, by [`LinkLocal`].
    pub services: [Option<PortIndex>; LinkLocal::ALL.len()],
    /// The VNIs of all VPCs.
    pub vnis: Arc<HashSet<Vni>>,
    /// What leads out of VPCs.
    pub exits: Arc<Exits>,
    /// The neighbours outside.
    pub outside: Arc<OutsideNeighbours>,
    /// The transit gateways' multicast domains.
    pub multicast: Arc<Multicast>,
}

impl Tables {
    /// The port with an index; `None` for an index that is not of this node.
    #[inline]
    pub fn port(&self, index: PortIndex) -> Option<&Port> {
        self.ports.get(usize::from(index.0))
    }

    /// Who may have connections: at each instance port the ENI, if there is one; `None` at other ports.
    pub fn tenants(&self) -> impl Iterator<Item = Option<Option<Tenant>>> + Clone {
        self.ports.iter().map(|port| match &port.role {
            Role::Instance(eni) => Some(eni.as_ref().map(|eni| eni.tenant())),
            _ => None,
        })
    }

    /// Of each port, the stay of its ENI if a flow log tells of it.
    pub fn logged(&self) -> impl Iterator<Item = Option<u32>> {
        self.ports.iter().map(|port| match &port.role {
            Role::Instance(Some(eni)) if eni.logged => Some(eni.stay),
            _ => None,
        })
    }

    /// The ENI behind a port of this node.
    #[inline]
    pub fn local_eni(&self, port: PortIndex) -> Option<&LocalEni> {
        match &self.port(port)?.role {
            Role::Instance(eni) => eni.as_deref(),
            _ => None,
        }
    }

    /// What has an address in a VPC: an ENI, or a NAT gateway.
    #[inline]
    pub fn owner(&self, vni: Vni, address: IpAddr) -> Option<&Destination> {
        match address {
            IpAddr::V4(address) => self.enis.get_v4(vni, address.to_bits()),
            IpAddr::V6(address) => self.enis.get_v6(vni, address.to_bits()),
        }
    }

    /// The MAC of the ENI that has an address in the subnet of another.
    pub fn owner_in_subnet(&self, eni: &LocalEni, address: IpAddr) -> Option<Mac> {
        self.owner(eni.vni, address).filter(|found| found.subnet == eni.subnet).map(|found| found.mac)
    }

    /// The port that leads to a link-local service.
    pub fn service(&self, service: LinkLocal) -> Option<(PortIndex, &ServicePort)> {
        let index = (*self.services.get(service as usize)?)?;
        match &self.port(index)?.role {
            Role::Service(port) => Some((index, port)),
            _ => None,
        }
    }

    /// Memory of the tables, in bytes, without the few that grow with the node's own ports.
    pub fn bytes(&self) -> usize {
        self.enis.bytes() + self.hosts.bytes()
    }
}
