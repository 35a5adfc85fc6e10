//! Resources as the orchestrator states them, in EC2's words, and their validation.
//!
//! State documents (YAML or JSON in the shape that `aws ec2 describe-*` prints, see [`load`]) become a [`Model`] in
//! two steps. `raw` reads the documents leniently: any scalar as text, wrong kinds and unknown keys recorded, never
//! a stop at the first mistake. `validate` turns each raw resource into its validated type here, or into
//! [`StateError`]s that name the file, the path, the resource, the problem and the fix. A `Model` that exists is
//! consistent: every reference resolves, no two blocks overlap, every address is where EC2 would allow it.
//!
//! [`diff()`] compares two models, for people and for the compiler. [`warnings()`] finds what is legal and surely wrong.

mod attachment;
mod diff;
mod document;
mod errors;
mod gateways;
mod monitoring;
mod raw;
mod security;
mod transit;
mod validate;
mod warnings;
mod yaml;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

pub use self::{
    attachment::{Allowance, Attachment, AttachmentOptions},
    diff::{Change, Diff, FieldChange, Kind, diff},
    document::{Document, load, read_documents},
    errors::{Errors, StateError},
    gateways::{
        BlockPublicAccess, Circuit, DirectConnectGateway, Edge, EgressOnlyInternetGateway, EndpointService,
        InternetGateway, NatGateway, Peering, PrefixList, PublicAddress, Terminal, VirtualInterface,
        VpcEndpoint, VpnConnection, VpnGateway, gateway_mac,
    },
    monitoring::{FlowLog, LogScope, LogTraffic, MirrorFilter, MirrorRule, MirrorSession, MirrorTarget},
    security::{AclEntry, ConnectionTracking, NetworkAcl, Peer, Permission, SecurityGroup, Traffic},
    transit::{
        AttachmentKind, ConnectPeer, GroupEni, MulticastDomain, Session, TransitAttachment, TransitGateway,
        TransitRoute, TransitRouteTable,
    },
    warnings::{Warning, warnings},
};
use crate::packet::{Mac, Vni};

/// A resource's id, such as `eni-a1`. Every mention of one resource in a loaded [`Model`] shares one allocation.
pub type Id = Arc<str>;

/// Resources of one kind by their ids.
pub type ById<T> = hashbrown::HashMap<Id, T>;

/// The keys of a resource that EC2 prints and no packet depends on (`Tags`, `OwnerId`, `State`…), as they were
/// stated. `None` when there are none, which is the common case for a large state.
pub type Descriptive = Option<Box<serde_json::Map<String, serde_json::Value>>>;

/// A whole, validated state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// The DHCP option sets, of whichever VPCs.
    pub dhcp_options: ById<DhcpOptions>,
    /// The VPCs.
    pub vpcs: ById<Vpc>,
    /// The subnets of all VPCs.
    pub subnets: ById<Subnet>,
    /// The security groups of all VPCs.
    pub security_groups: ById<SecurityGroup>,
    /// The network ACLs of all VPCs.
    pub network_acls: ById<NetworkAcl>,
    /// The elastic network interfaces of all VPCs.
    pub enis: ById<Eni>,
    /// The route tables of all VPCs; each VPC has exactly one main table, made up if the documents have none.
    pub route_tables: ById<RouteTable>,
    /// The hosts of the underlay.
    pub hosts: ById<Host>,
    /// The prefix lists.
    pub prefix_lists: ById<PrefixList>,
    /// The internet gateways.
    pub internet_gateways: ById<InternetGateway>,
    /// The egress-only internet gateways.
    pub egress_only_gateways: ById<EgressOnlyInternetGateway>,
    /// The NAT gateways.
    pub nat_gateways: ById<NatGateway>,
    /// The public addresses that something has, by their text.
    pub public_addresses: ById<PublicAddress>,
    /// The VPC peering connections.
    pub peerings: ById<Peering>,
    /// The virtual private gateways.
    pub vpn_gateways: ById<VpnGateway>,
    /// The VPN connections.
    pub vpn_connections: ById<VpnConnection>,
    /// The Direct Connect gateways.
    pub direct_connect_gateways: ById<DirectConnectGateway>,
    /// The virtual interfaces.
    pub virtual_interfaces: ById<VirtualInterface>,
    /// The VPC endpoints.
    pub endpoints: ById<VpcEndpoint>,
    /// The transit gateways.
    pub transit_gateways: ById<TransitGateway>,
    /// Their attachments.
    pub transit_attachments: ById<TransitAttachment>,
    /// Their route tables.
    pub transit_tables: ById<TransitRouteTable>,
    /// Their multicast domains.
    pub multicast_domains: ById<MulticastDomain>,
    /// Which hosts serve which gateway, by the gateway's id.
    pub edges: ById<Edge>,
    /// The links to the outside.
    pub circuits: ById<Circuit>,
    /// The flow logs.
    pub flow_logs: ById<FlowLog>,
    /// Where copies of packets go.
    pub mirror_targets: ById<MirrorTarget>,
    /// Of which packets.
    pub mirror_filters: ById<MirrorFilter>,
    /// Whose packets are copied.
    pub mirror_sessions: ById<MirrorSession>,
    /// Whether public access is blocked, in the whole region.
    pub block_public_access: BlockPublicAccess,
}

/// A DHCP option set: what the instances of the VPCs associated with it are told besides their addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct DhcpOptions {
    /// `DhcpOptionsId`.
    pub id: Id,
    /// `domain-name`: one domain, or several separated by blanks, which some clients understand.
    pub domain_name: Option<Box<str>>,
    /// `domain-name-servers`, at most four, in the order stated.
    pub domain_name_servers: Vec<NameServer>,
    /// `ntp-servers`, at most four, in the order stated.
    pub ntp_servers: Vec<IpAddr>,
    /// `netbios-name-servers`, at most four, in the order stated.
    pub netbios_name_servers: Vec<Ipv4Addr>,
    /// `netbios-node-type`: 1, 2, 4 or 8 (RFC 2132 §8.7).
    pub netbios_node_type: Option<u8>,
    /// `ipv6-address-preferred-lease-time`, in seconds, 140 to 2147483647.
    pub preferred_lifetime6: Option<u32>,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

/// A DNS server of a [`DhcpOptions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameServer {
    /// `AmazonProvidedDNS`: the resolver at the VPC's base plus two (ADDR-19), over IPv6 at fd00:ec2::253.
    AmazonProvided,
    /// Any other.
    Address(IpAddr),
}

impl NameServer {
    /// What state documents call [`NameServer::AmazonProvided`].
    pub const AMAZON_PROVIDED: &str = "AmazonProvidedDNS";
}

/// The DHCP options of a VPC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VpcDhcp {
    /// The VPC's documents say nothing: those of its region, AmazonProvidedDNS and the region's domain.
    #[default]
    Region,
    /// `DhcpOptionsId: default`, EC2's word for no options at all.
    None,
    /// Those of a set.
    Set(Id),
}

/// A virtual private cloud: one forwarding domain in one region.
#[derive(Clone, Debug, PartialEq)]
pub struct Vpc {
    /// `VpcId`.
    pub id: Id,
    /// The network identifier it has on the wire, no other VPC's.
    pub vni: Vni,
    /// IPv4 blocks, the primary (`CidrBlock`) first. Disjoint, /16 to /28.
    pub cidrs4: Vec<Ipv4Net>,
    /// IPv6 blocks, as stated. Disjoint, /44 to /60 in steps of four.
    pub cidrs6: Vec<Ipv6Net>,
    /// What its instances are told by DHCP besides their addresses (`DhcpOptionsId`).
    pub dhcp_options: VpcDhcp,
    /// Whether subnets' route tables may hold no prefix inside the VPC but the local ones, as in 2020 (RT-7;
    /// `Warren.Networks[].Legacy2020Local`).
    pub legacy_2020_local: bool,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

/// A subnet: a block of its VPC in one availability zone. It has an IPv4 block, an IPv6 block, or both.
#[derive(Clone, Debug, PartialEq)]
pub struct Subnet {
    /// `SubnetId`.
    pub id: Id,
    /// Its VPC.
    pub vpc: Id,
    /// Its availability zone, such as `eu-central-1a`.
    pub zone: Arc<str>,
    /// Its IPv4 block, /16 to /28; `None` in an IPv6-only subnet (ADDR-26).
    pub cidr4: Option<Ipv4Net>,
    /// Its IPv6 block, /44 to /64 in steps of four.
    pub cidr6: Option<Ipv6Net>,
    /// The route table in force: the explicitly associated one, else the VPC's main table (RT-1).
    pub route_table: Id,
    /// The network ACL in force: the associated one, else the VPC's default one (NACL-1). `None` allows everything, as the
    /// default ACL that EC2 makes does (NACL-7): the VPC's documents state no default ACL.
    pub network_acl: Option<Id>,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

impl Model {
    /// The network ACL in force in a subnet; `None` allows everything.
    pub fn acl_of(&self, subnet: &Subnet) -> Option<&NetworkAcl> {
        self.network_acls.get(subnet.network_acl.as_ref()?)
    }
}

impl Subnet {
    /// The region of its zone: `eu-central-1` of `eu-central-1a`. `None` of a zone that validation would refuse.
    pub fn region(&self) -> Option<&str> {
        validate::region_of(&self.zone)
    }
}

/// An elastic network interface. A million of them live in memory, so ids are shared and lists are exact.
#[derive(Clone, Debug, PartialEq)]
pub struct Eni {
    /// `NetworkInterfaceId`.
    pub id: Id,
    /// Its subnet's VPC.
    pub vpc: Id,
    /// Its subnet.
    pub subnet: Id,
    /// Its MAC address: unicast, and unique in the VPC.
    pub mac: Mac,
    /// The primary private IPv4 address; `None` exactly in an IPv6-only subnet.
    pub primary4: Option<Ipv4Addr>,
    /// The secondary private IPv4 addresses.
    pub secondary4: Box<[Ipv4Addr]>,
    /// Delegated IPv4 prefixes, /28.
    pub prefixes4: Box<[Ipv4Net]>,
    /// IPv6 addresses, in the order stated.
    pub addresses6: Box<[Ipv6Addr]>,
    /// Delegated IPv6 prefixes, /80.
    pub prefixes6: Box<[Ipv6Net]>,
    /// Whether its packets must come from, and go to, its own addresses (`SourceDestCheck`).
    pub source_dest_check: bool,
    /// Its security groups, all of its VPC; the VPC's default one where none are stated.
    pub groups: Box<[Id]>,
    /// How long its connections are remembered (`ConnectionTrackingConfiguration`).
    pub tracking: ConnectionTracking,
    /// Where it is plugged in, if anywhere.
    pub attachment: Option<Attachment>,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

/// A route table.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteTable {
    /// `RouteTableId`; `rtb-main-of-<VpcId>` for the main table of a VPC whose documents state none.
    pub id: Id,
    /// Its VPC.
    pub vpc: Id,
    /// Whether subnets of the VPC without an explicit association use it.
    pub main: bool,
    /// The subnets explicitly associated with it, in the order stated.
    pub subnets: Vec<Id>,
    /// The internet or virtual private gateway it is the gateway route table of, if of one (ING-1).
    pub gateway: Option<Id>,
    /// The virtual private gateways whose routes are propagated into it (`PropagatingVgws`).
    pub propagating: Vec<Id>,
    /// Its static routes, destinations unique: first the route of each block of the VPC, local unless stated otherwise (RT-2,
    /// RT-7), then the others as stated. Routes that EC2 prints with `Origin: EnableVgwRoutePropagation` are not among them:
    /// they are learned.
    pub routes: Vec<Route>,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `DestinationCidrBlock`, `DestinationIpv6CidrBlock` or `DestinationPrefixListId`.
    pub destination: Destination,
    /// Where its packets go.
    pub target: Target,
}

/// What a route is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A block.
    Block(IpNet),
    /// The blocks of a prefix list.
    PrefixList(Id),
}

/// Where a route's packets go: a thing, never an address (RT-9). The thing exists in the model, or [`Target::Gone`] stands
/// in its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Within the VPC (`GatewayId: local`).
    Local,
    /// An ENI of the VPC (`NetworkInterfaceId`).
    Eni(Id),
    /// An internet gateway (`GatewayId: igw-…`).
    InternetGateway(Id),
    /// An egress-only internet gateway (`EgressOnlyInternetGatewayId`).
    EgressOnly(Id),
    /// A NAT gateway (`NatGatewayId`).
    Nat(Id),
    /// A VPC peering connection (`VpcPeeringConnectionId`).
    Peering(Id),
    /// A transit gateway (`TransitGatewayId`).
    Transit(Id),
    /// A virtual private gateway (`GatewayId: vgw-…`).
    VpnGateway(Id),
    /// A gateway endpoint or a Gateway Load Balancer endpoint (`GatewayId` or `VpcEndpointId: vpce-…`).
    Endpoint(Id),
    /// What the state does not have (any more): the route is a blackhole (RT-12), as EC2 keeps it after the target is deleted.
    Gone(Id),
}

impl Target {
    /// The id of the target, `local` of the VPC itself.
    pub fn id(&self) -> &str {
        match self {
            Self::Local => "local",
            Self::Eni(id)
            | Self::InternetGateway(id)
            | Self::EgressOnly(id)
            | Self::Nat(id)
            | Self::Peering(id)
            | Self::Transit(id)
            | Self::VpnGateway(id)
            | Self::Endpoint(id)
            | Self::Gone(id) => id,
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id())
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Block(block) => block.fmt(f),
            Self::PrefixList(id) => f.write_str(id),
        }
    }
}

/// A host of the underlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// `HostId`.
    pub id: Id,
    /// The address at which other hosts reach it: unicast, and no other host's.
    pub underlay: IpAddr,
}

/// The MAC address of a subnet's router: `02` and the low 40 bits of the FNV-1a 64 hash of the subnet's id.
///
/// It is the same on all hosts, so that a guest's neighbour cache stays valid when it moves (L2-11).
pub fn router_mac(subnet_id: &str) -> Mac {
    let [_, _, _, a, b, c, d, e] = fnv1a(subnet_id).to_be_bytes();
    Mac([0x02, a, b, c, d, e])
}

/// The FNV-1a 64 hash of an id, where all nodes, also of other builds, have to come to the same.
pub(crate) fn fnv1a(id: &str) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x100_0000_01b3;
    id.bytes().fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn router_mac_is_stable_local_unicast_and_differs_by_subnet() {
        // FNV-1a 64 of "a" is af63dc4c8601ec8c (the algorithm's published test vector).
        assert_eq!(router_mac("a"), Mac([0x02, 0x4c, 0x86, 0x01, 0xec, 0x8c]));
        assert!(router_mac("subnet-a").is_unicast());
        assert_ne!(router_mac("subnet-a"), router_mac("subnet-b"));
    }

    #[test]
    fn an_eni_stays_compact() {
        assert!(size_of::<Eni>() <= 208, "{}", size_of::<Eni>());
    }
}
