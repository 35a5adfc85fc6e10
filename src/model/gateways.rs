//! What leads out of a VPC: gateways of every kind, peerings, and the circuits behind them.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::{Descriptive, Eni, Id, Model};
use crate::packet::Mac;

/// The MAC address that stands for a gateway in the overlay: as [`super::router_mac`], of the gateway's id.
pub fn gateway_mac(gateway_id: &str) -> Mac {
    super::router_mac(gateway_id)
}

/// A customer-managed prefix list, of one family.
#[derive(Clone, Debug, PartialEq)]
pub struct PrefixList {
    /// `PrefixListId`.
    pub id: Id,
    /// `MaxEntries`, at most 1000 (QT-7).
    pub max_entries: u16,
    /// `Entries`, each once, all of one family.
    pub entries: Vec<IpNet>,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

/// An internet gateway. A VPC has one at most (GW-7).
#[derive(Clone, Debug, PartialEq)]
pub struct InternetGateway {
    /// `InternetGatewayId`.
    pub id: Id,
    /// The VPC it is attached to, if to any.
    pub vpc: Option<Id>,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

/// An egress-only internet gateway: IPv6 out, and replies in (GW-21).
#[derive(Clone, Debug, PartialEq)]
pub struct EgressOnlyInternetGateway {
    /// `EgressOnlyInternetGatewayId`.
    pub id: Id,
    /// Its VPC.
    pub vpc: Option<Id>,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

/// A NAT gateway, in a subnet.
#[derive(Clone, Debug, PartialEq)]
pub struct NatGateway {
    /// `NatGatewayId`.
    pub id: Id,
    /// Its subnet's VPC.
    pub vpc: Id,
    /// Its subnet, whose route table its packets follow (GW-10).
    pub subnet: Id,
    /// Whether its addresses have public ones (`ConnectivityType`).
    pub public: bool,
    /// Its addresses in the subnet, one to eight (GW-11), the primary first. No ENI of the state has them.
    pub addresses: Vec<Ipv4Addr>,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

/// A public IPv4 address and what has it: an Elastic IP address (`Addresses`), or one that an ENI or a NAT gateway was
/// given with it (`Association`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicAddress {
    /// The public address: no other's.
    pub public: Ipv4Addr,
    /// The VPC of the private address.
    pub vpc: Id,
    /// The private address, of an ENI or a NAT gateway: no other public address's.
    pub private: Ipv4Addr,
    /// The ENI or NAT gateway.
    pub owner: Id,
}

/// A VPC peering connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Peering {
    /// `VpcPeeringConnectionId`.
    pub id: Id,
    /// The VPC that asked.
    pub requester: Id,
    /// The VPC that was asked.
    pub accepter: Id,
    /// Whether `Status.Code` is `active`: routes to a peering that isn't are blackholes (RT-12).
    pub active: bool,
    /// Whether the two VPCs' subnets are in two regions, which limits packets to 8500 bytes (PT-8).
    pub inter_region: bool,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

impl Peering {
    /// The other VPC; `None` where `vpc` is neither.
    pub fn peer_of(&self, vpc: &str) -> Option<&Id> {
        match () {
            () if *self.requester == *vpc => Some(&self.accepter),
            () if *self.accepter == *vpc => Some(&self.requester),
            () => None,
        }
    }
}

/// A virtual private gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct VpnGateway {
    /// `VpnGatewayId`.
    pub id: Id,
    /// The VPC it is attached to, if to any; a VPC has one at most.
    pub vpc: Option<Id>,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

/// What a VPN connection, a virtual interface or a Connect attachment ends at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// A virtual private gateway.
    VpnGateway(Id),
    /// A transit gateway.
    TransitGateway(Id),
    /// A Direct Connect gateway.
    DirectConnectGateway(Id),
}

/// A VPN connection. Its tunnels are [`Circuit`]s.
#[derive(Clone, Debug, PartialEq)]
pub struct VpnConnection {
    /// `VpnConnectionId`.
    pub id: Id,
    /// What it ends at: a virtual private gateway or a transit gateway.
    pub terminal: Terminal,
    /// Its static routes (`Routes`); none with BGP (`Options.StaticRoutesOnly` false).
    pub routes: Vec<IpNet>,
    /// By tunnel: whether `VgwTelemetry` says that it is up; one that is not stated is.
    pub tunnels_up: [bool; 2],
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

/// A Direct Connect gateway: it joins virtual interfaces to virtual private gateways and transit gateways, and never these
/// to each other (BGP-10).
#[derive(Clone, Debug, PartialEq)]
pub struct DirectConnectGateway {
    /// `directConnectGatewayId`.
    pub id: Id,
    /// The virtual private gateways associated with it.
    pub vpn_gateways: Vec<Id>,
    /// The transit gateways associated with it.
    pub transit_gateways: Vec<Id>,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

/// A Direct Connect virtual interface, private or transit: a VLAN of a gateway port.
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualInterface {
    /// `virtualInterfaceId`.
    pub id: Id,
    /// What it ends at.
    pub terminal: Terminal,
    /// `vlan`, 1 to 4094.
    pub vlan: u16,
    /// `mtu`: 1500, or 8500 or 9001 with jumbo frames (MTU-6).
    pub mtu: u16,
    /// `amazonAddress`: Warren's end, with the link's prefix.
    pub address: IpNet,
    /// `customerAddress`, without the prefix.
    pub peer: IpAddr,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

/// A gateway endpoint, or a Gateway Load Balancer endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct VpcEndpoint {
    /// `VpcEndpointId`.
    pub id: Id,
    /// Its VPC.
    pub vpc: Id,
    /// What is behind it.
    pub service: EndpointService,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

impl VpcEndpoint {
    /// The appliances that can take packets, in the order of their ids: they have a private IPv4 address, and are attached to a
    /// host. A gateway endpoint has none.
    pub fn live_appliances<'m>(&self, model: &'m Model) -> Vec<&'m Eni> {
        let EndpointService::LoadBalancer { appliances, .. } = &self.service else { return Vec::new() };
        let is_live = |eni: &&Eni| {
            let host = eni.attachment.as_ref().map(|at| &at.host);
            eni.primary4.is_some() && host.is_some_and(|host| model.hosts.contains_key(host))
        };
        let mut live: Vec<_> =
            appliances.iter().filter_map(|id| model.enis.get(id)).filter(is_live).collect();
        live.sort_unstable_by_key(|eni| &eni.id);
        live
    }
}

/// What is behind a VPC endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointService {
    /// A service outside of the VPC, behind the endpoint's [`Circuit`]s (`VpcEndpointType: Gateway`, GW-22).
    Gateway,
    /// Appliances (`VpcEndpointType: GatewayLoadBalancer`, GW-23).
    LoadBalancer {
        /// The endpoint's subnet, whose route table what comes back follows.
        subnet: Id,
        /// The ENIs of the appliances, in any VPC (`Warren.Appliances`).
        appliances: Vec<Id>,
    },
}

/// `InternetGatewayBlockMode` of VPC Block Public Access (GW-25).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockPublicAccess {
    /// Nothing is blocked.
    #[default]
    Off,
    /// Nothing passes an internet gateway or egress-only internet gateway.
    Bidirectional,
    /// Only what was begun inside, through NAT gateways and egress-only internet gateways, passes.
    Ingress,
}

/// Which hosts serve a gateway: those with a port of the role `gateway` (`Warren.Gateways`). Without such, the routes to it
/// are blackholes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The gateway: an internet, egress-only internet, NAT or virtual private gateway, a transit gateway (for its VPN, Direct
    /// Connect and Connect attachments), or a gateway endpoint.
    pub gateway: Id,
    /// The hosts, each once, in any order.
    pub hosts: Vec<Id>,
}

/// One link of a virtual interface, VPN tunnel, Connect peer or gateway endpoint to the outside: a VLAN of a gateway port of
/// a host, and the addresses at its two ends (`Warren.Circuits`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circuit {
    /// `CircuitId`; by default the resource's id.
    pub id: Id,
    /// The virtual interface, VPN connection, Connect attachment or gateway endpoint.
    pub resource: Id,
    /// The tunnel of a VPN connection, 0 or 1; the Connect peer of a Connect attachment, in the state's order; 0 of others.
    pub tunnel: u8,
    /// The host.
    pub host: Id,
    /// The name of the gateway port of that host.
    pub port: Id,
    /// The VLAN on that port; `None` for frames without a tag. A virtual interface's own where it is not stated.
    pub vlan: Option<u16>,
    /// Warren's address on the link, with the link's prefix. A virtual interface's own where it is not stated.
    pub address: IpNet,
    /// The next hop. A virtual interface's own where it is not stated.
    pub peer: IpAddr,
}
