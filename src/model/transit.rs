//! Transit gateways: attachments, route tables, multicast domains.

use std::net::{IpAddr, Ipv4Addr};

use super::{Circuit, Descriptive, Id, Model};

/// A transit gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct TransitGateway {
    /// `TransitGatewayId`.
    pub id: Id,
    /// Whether equal VPN and Connect routes share traffic (`Options.VpnEcmpSupport`, on by default; PT-15).
    pub vpn_ecmp: bool,
    /// Whether it may have multicast domains (`Options.MulticastSupport`).
    pub multicast: bool,
    /// Whether rules of security groups may name groups of other attached VPCs (`Options.SecurityGroupReferencingSupport`, off by
    /// default; PT-19).
    pub group_references: bool,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

/// What is attached to a transit gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct TransitAttachment {
    /// `TransitGatewayAttachmentId`.
    pub id: Id,
    /// The transit gateway.
    pub gateway: Id,
    /// Whether its `State` is `available`, which it is if nothing is stated.
    pub available: bool,
    /// What it is.
    pub kind: AttachmentKind,
    /// The route table that its packets are looked up in: exactly one, or none (PT-11).
    pub table: Option<Id>,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

/// What an attachment is of.
#[derive(Clone, Debug, PartialEq)]
pub enum AttachmentKind {
    /// A VPC (`TransitGatewayVpcAttachments`).
    Vpc {
        /// The VPC.
        vpc: Id,
        /// A subnet in each of some zones (PT-10), each zone once.
        subnets: Vec<Id>,
        /// `Options.ApplianceModeSupport` (PT-14).
        appliance_mode: bool,
        /// `Options.Ipv6Support`.
        ipv6: bool,
        /// Whether its groups may be named in others' rules, and others' in its own (`Options.SecurityGroupReferencingSupport`, on by
        /// default; PT-19).
        group_references: bool,
    },
    /// Another transit gateway (`TransitGatewayPeeringAttachments`); each of the two has the attachment, by the same id. The
    /// attachment stands in the model once for each, under `<id>` for the requester and `<id>@<gateway>` for the accepter.
    Peering {
        /// The other transit gateway.
        peer: Id,
        /// The other's attachment, in [`super::Model::transit_attachments`].
        peer_attachment: Id,
    },
    /// A VPN connection.
    Vpn(Id),
    /// A Direct Connect gateway.
    DirectConnect(Id),
    /// GRE to an appliance that is reached through another attachment (`TransitGatewayConnects`, PT-20).
    Connect {
        /// The attachment that carries it.
        transport: Id,
        /// Its peers.
        peers: Vec<ConnectPeer>,
    },
}

/// A GRE tunnel of a Connect attachment (`TransitGatewayConnectPeers`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectPeer {
    /// `TransitGatewayConnectPeerId`.
    pub id: Id,
    /// The outer address of the transit gateway.
    pub address: Ipv4Addr,
    /// The outer address of the appliance.
    pub peer: Ipv4Addr,
    /// The ends of the BGP sessions inside (`BgpConfigurations`).
    pub sessions: Vec<Session>,
}

impl Model {
    /// The tunnel that a circuit is, of those of a Connect attachment.
    pub fn connect_peer(&self, circuit: &Circuit) -> Option<&ConnectPeer> {
        match &self.transit_attachments.get(&circuit.resource)?.kind {
            AttachmentKind::Connect { peers, .. } => peers.get(usize::from(circuit.tunnel)),
            _ => None,
        }
    }
}

/// A BGP session inside a GRE tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The transit gateway's address.
    pub address: IpAddr,
    /// The appliance's, the next hop of the routes that it announces.
    pub peer: IpAddr,
}

/// A route table of a transit gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct TransitRouteTable {
    /// `TransitGatewayRouteTableId`.
    pub id: Id,
    /// The transit gateway.
    pub gateway: Id,
    /// Static routes, destinations unique.
    pub routes: Vec<TransitRoute>,
    /// The attachments that propagate into it (`TransitGatewayRouteTablePropagations`).
    pub propagations: Vec<Id>,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

/// A static route of a transit gateway's route table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TransitRoute {
    /// `DestinationCidrBlock` or `PrefixListId`.
    pub destination: super::Destination,
    /// The attachment; `None` for a blackhole route (PT-13).
    pub attachment: Option<Id>,
}

/// An IPv4 multicast domain of a transit gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct MulticastDomain {
    /// `TransitGatewayMulticastDomainId`.
    pub id: Id,
    /// The transit gateway.
    pub gateway: Id,
    /// Whether members join by IGMPv2 (`Options.Igmpv2Support`); never together with static sources.
    pub igmp: bool,
    /// Whether only registered sources may send (`Options.StaticSourcesSupport`, MC-3).
    pub static_sources: bool,
    /// The subnets associated with it, each with no other domain.
    pub subnets: Vec<Id>,
    /// Members that the API registered, by group.
    pub members: Vec<GroupEni>,
    /// Sources that the API registered, by group.
    pub sources: Vec<GroupEni>,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

/// An ENI as member or source of a multicast group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupEni {
    /// `GroupIpAddress`: 224.0.0.0/4 but for 224.0.0.0/24.
    pub group: Ipv4Addr,
    /// The ENI.
    pub eni: Id,
}
