//! What leads out of VPCs, as a worker sees it: gateways, peerings, transit attachments, and the wires to the outside.
//!
//! Route tables hold [`Target`]s, small numbers into [`Exits`]; what a packet meets behind them is the business of
//! [`crate::gateway`].

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use hashbrown::{HashMap, HashSet};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;

use super::{Acl, Fib, HostIndex, Lpm, PortIndex, RouteTable, SubnetIndex};
use crate::{
    model::BlockPublicAccess,
    packet::{GreTemplate, Mac, Vni, mapped},
};

/// A gateway, by its position in [`Exits::gateways`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GatewayIndex(pub u32);

/// A peering, by its position in [`Exits::peers`]: one for each of its two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerIndex(pub u32);

/// An attachment of a transit gateway, by its position in [`Exits::attachments`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttachmentIndex(pub u32);

/// An availability zone: a number that differs between the zones of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ZoneIndex(pub u16);

/// A circuit, by its position in [`Exits::circuits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CircuitIndex(pub u32);

/// Circuits of a gateway: bit `n` is the `n`th of its [`Outside::circuits`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CircuitSet(pub u32);

impl CircuitSet {
    /// The most circuits of a gateway.
    pub const MOST: usize = 32;
}

/// What leads out of VPCs. A snapshot: the next one shares what did not change.
#[derive(Clone)]
pub struct Exits {
    /// Where a packet's way begins and is decided again, by [`SubnetIndex`].
    pub subnets: Arc<[SubnetExits]>,
    /// The VPCs.
    pub vpcs: Arc<HashMap<Vni, VpcExits, FxBuildHasher>>,
    /// The peerings' directions.
    pub peers: Arc<[Peer]>,
    /// The gateways, of whichever nodes.
    pub gateways: Arc<[Gateway]>,
    /// The transit gateways' attachments.
    pub attachments: Arc<[Attachment]>,
    /// Attachments that equal routes of a transit gateway lead to.
    pub equals: Arc<[Arc<[AttachmentIndex]>]>,
    /// The circuits.
    pub circuits: Arc<[Circuit]>,
    /// The ports of this node that lead to the internet.
    pub internet: SmallVec<[PortIndex; 2]>,
    /// The gateways by the MAC that stands for them.
    pub by_mac: Arc<HashMap<Mac, GatewayIndex, FxBuildHasher>>,
    /// What has a public IPv4 address, host order.
    pub publics: Arc<HashMap<u32, Private, FxBuildHasher>>,
    /// The public address of a private one.
    pub privates: Arc<HashMap<(Vni, u32), u32, FxBuildHasher>>,
    /// Whose an IPv6 block is that an internet gateway or egress-only internet gateway leads to.
    pub public_v6: Arc<Lpm<Vni>>,
    /// What is behind a VLAN of a gateway port of this node; VLAN 0 is no tag.
    pub wires: Arc<HashMap<(PortIndex, u16), Wire, FxBuildHasher>>,
    /// The other hosts that serve a gateway, which may send packets of the outside into a VPC (P-4).
    pub edges: Arc<HashSet<(GatewayIndex, HostIndex), FxBuildHasher>>,
    /// For each VPC, the other hosts that serve a gateway from which packets come into it. Geneve names the gateway; with VXLAN
    /// any packet of such a host may be one.
    pub edges_of: Arc<HashSet<(Vni, HostIndex), FxBuildHasher>>,
}

/// What has a public address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Private {
    /// The private address's VPC.
    pub vni: Vni,
    /// The private address, host order.
    pub address: u32,
    /// The internet gateway of the VPC; `None`: the VPC has none, and the address leads nowhere.
    pub gateway: Option<GatewayIndex>,
}

/// A subnet, as packets leave it and enter it.
#[derive(Clone)]
pub struct SubnetExits {
    /// Its VPC.
    pub vni: Vni,
    /// Its zone.
    pub zone: ZoneIndex,
    /// The route table in force.
    pub routes: Arc<RouteTable>,
    /// The network ACL in force.
    pub acl: Arc<Acl>,
    /// The router's MAC.
    pub router_mac: Mac,
    /// The router's address, of a subnet with an IPv4 block.
    pub router_v4: Option<Ipv4Addr>,
}

/// A VPC.
#[derive(Clone)]
pub struct VpcExits {
    /// Its id, for operators.
    pub id: Arc<str>,
    /// Its blocks.
    pub blocks: Blocks,
    /// By source address: the VPCs whose packets may come in, over peerings and over each transit gateway.
    pub joined: SmallVec<[Arc<Lpm<Vni>>; 2]>,
    /// Those VPCs that have ENIs without source/destination check, which may send from any address.
    pub neighbours: SmallVec<[Vni; 2]>,
    /// Its egress-only internet gateway.
    pub egress_only: Option<GatewayIndex>,
    /// Its internet gateway.
    pub internet: Option<GatewayIndex>,
}

/// The blocks of a VPC.
#[derive(Clone, Debug, Default)]
pub struct Blocks {
    /// IPv4.
    pub v4: SmallVec<[Ipv4Net; 1]>,
    /// IPv6.
    pub v6: SmallVec<[Ipv6Net; 1]>,
}

impl Blocks {
    /// Whether an address is in one of them.
    #[inline]
    pub fn contain(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.iter().any(|block| block.contains(&address)),
            IpAddr::V6(address) => self.v6.iter().any(|block| block.contains(&address)),
        }
    }
}

/// One direction of an active peering.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The peering's id, for operators.
    pub id: Arc<str>,
    /// The VPC that packets go to.
    pub vni: Vni,
    /// The largest IP packet, in bytes (PT-8).
    pub mtu: u16,
}

/// Who does the work of a gateway for a share of its flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// This node.
    Here,
    /// Another.
    Host(HostIndex),
    /// Nobody: no host serves the gateway.
    Nobody,
}

/// How many shares the flows of a gateway are split into.
///
/// Each share belongs to one of the hosts that serve the gateway, by rendezvous hashing (Thaler and Ravishankar, "A
/// Name-Based Mapping Scheme for Rendezvous", 1996): when a host goes, its shares move and no other does. A share of a NAT
/// gateway has the NAT ports `1024 + 1008 * share` and 1007 more for itself, so that hosts have no state in common.
pub const SHARES: usize = 64;

/// The share that a flow belongs to, by [`crate::packet::flow_hash`], which is the same in both directions.
#[inline]
pub fn share_of_flow(flow: u32) -> u8 {
    // The lower bits choose the underlay's source port.
    (flow >> 26) as u8
}

/// The share that a NAT port belongs to; `None` below 1024.
#[inline]
pub fn share_of_port(port: u16) -> Option<u8> {
    Some((port.checked_sub(1024)? / PORTS_A_SHARE) as u8)
}

/// The worker of a node, of so many, that has the state of a share's flows through every gateway that the node serves.
#[inline]
pub fn worker_of_share(share: u8, workers: usize) -> usize {
    usize::from(share) % workers.max(1)
}

/// NAT ports of a share.
pub const PORTS_A_SHARE: u16 = 1008;

/// A gateway.
#[derive(Clone)]
pub struct Gateway {
    /// Its id, for operators.
    pub id: Arc<str>,
    /// A number that no other gateway has, or has had for longer than flows are remembered.
    pub number: u32,
    /// The MAC that stands for it in the overlay.
    pub mac: Mac,
    /// Its VPC; of what is behind a transit gateway, any VPC attached to that.
    pub vni: Vni,
    /// The largest IP packet to it, in bytes (MTU-3, MTU-5).
    pub mtu: u16,
    /// Whether this node is one of those that serve it.
    pub served_here: bool,
    /// Who serves it, by share.
    pub seats: Arc<[Seat; SHARES]>,
    /// What it does.
    pub kind: GatewayKind,
}

impl Gateway {
    /// Who serves a share.
    #[inline]
    pub fn seat(&self, share: u8) -> Seat {
        self.seats.get(usize::from(share)).copied().unwrap_or(Seat::Nobody)
    }

    /// How many shares a worker of this node has, of so many workers.
    pub fn shares_of(&self, (worker, workers): (usize, usize)) -> u8 {
        // As `worker_of_share` has it.
        let seats = self.seats.iter().skip(worker).step_by(workers.max(1));
        seats.filter(|&&seat| seat == Seat::Here).count() as u8
    }
}

/// What a gateway does.
#[derive(Clone)]
pub enum GatewayKind {
    /// An internet gateway.
    Internet(Internet),
    /// An egress-only internet gateway.
    EgressOnly(Internet),
    /// A NAT gateway.
    Nat(NatGateway),
    /// A virtual private gateway, or what ends at a transit gateway from outside, or a gateway endpoint.
    Outside(Outside),
}

/// What internet gateways and egress-only internet gateways have.
#[derive(Clone)]
pub struct Internet {
    /// Whether public access is blocked (GW-25).
    pub blocked: BlockPublicAccess,
    /// The gateway route table (ING-1).
    pub ingress: Option<Arc<RouteTable>>,
}

/// A NAT gateway.
#[derive(Clone)]
pub struct NatGateway {
    /// Its subnet, whose route table its packets follow.
    pub subnet: SubnetIndex,
    /// Its addresses in the subnet, host order.
    pub addresses: SmallVec<[u32; 8]>,
    /// Whether it leads to the internet.
    pub public: bool,
}

impl NatGateway {
    /// Whether an address is one of the gateway's own.
    #[inline]
    pub fn has(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(address) if self.addresses.contains(&address.to_bits()))
    }
}

/// What leads to circuits.
#[derive(Clone)]
pub struct Outside {
    /// What it is, for the rules that differ.
    pub kind: OutsideKind,
    /// The gateway route table (ING-1).
    pub ingress: Option<Arc<RouteTable>>,
    /// Where destinations are, over which of `circuits`.
    pub routes: Fib<CircuitSet>,
    /// The circuits, at most 32.
    pub circuits: SmallVec<[CircuitIndex; 4]>,
    /// Whether equal routes share traffic (PT-15), or the first in the set has it all (RT-20).
    pub ecmp: bool,
    /// Where packets that came from outside go on: in the gateway's VPC, or in a transit gateway as from this attachment.
    pub attachment: Option<AttachmentIndex>,
}

/// What an [`Outside`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutsideKind {
    /// A virtual private gateway: IPv4 only (BGP-7).
    Private,
    /// A VPN, Direct Connect or Connect attachment of a transit gateway.
    Transit,
    /// A gateway endpoint: only sources of its VPC (GW-22).
    Endpoint,
}

/// A circuit: one link to the outside.
#[derive(Clone, Debug)]
pub struct Circuit {
    /// Its id, for operators.
    pub id: Arc<str>,
    /// The node whose link it is.
    pub seat: Seat,
    /// The gateway port of that node.
    pub port: PortIndex,
    /// The VLAN on that port; 0 for none.
    pub vlan: u16,
    /// What it is part of.
    pub kind: CircuitKind,
    /// The largest IP packet, in bytes.
    pub mtu: u16,
    /// Warren's end.
    pub address: IpAddr,
    /// The other end, the next hop.
    pub peer: IpAddr,
    /// Whether it is up.
    pub up: bool,
    /// The tunnel that its packets are in, of a Connect attachment.
    pub tunnel: Option<Arc<Tunnel>>,
}

/// A GRE tunnel to an appliance, over a circuit's link (PT-20).
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// The outer header.
    pub template: GreTemplate,
    /// Warren's outer address.
    pub address: IpAddr,
    /// The appliance's.
    pub peer: IpAddr,
    /// Warren's addresses inside, those of BGP sessions.
    pub inside: SmallVec<[IpAddr; 2]>,
}

/// What a circuit is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitKind {
    /// A VPN connection.
    Vpn,
    /// A virtual interface.
    DirectConnect,
    /// A Connect attachment.
    Connect,
    /// A gateway endpoint.
    Endpoint,
}

/// What is behind a VLAN of a gateway port.
#[derive(Clone)]
pub enum Wire {
    /// The internet.
    Internet,
    /// A circuit, and the gateway that it leads to by destination: one that it ends at, or any of a Direct Connect gateway's.
    Circuit(CircuitIndex, Arc<Lpm<GatewayIndex>>),
}

/// An attachment of a transit gateway.
#[derive(Clone)]
pub struct Attachment {
    /// Its id, for operators.
    pub id: Arc<str>,
    /// The transit gateway's id, for operators.
    pub gateway: Arc<str>,
    /// The route table that its packets are looked up in (PT-11).
    pub routes: Option<TransitTable>,
    /// What it is of.
    pub kind: AttachmentKind,
}

/// What an attachment is of.
#[derive(Clone)]
pub enum AttachmentKind {
    /// A VPC.
    Vpc {
        /// The VPC.
        vni: Vni,
        /// The attachment's subnet in each of its zones.
        zones: SmallVec<[(ZoneIndex, SubnetIndex); 3]>,
        /// Whether both directions of a flow use one zone (PT-14).
        appliance_mode: bool,
        /// Whether it carries IPv6.
        ipv6: bool,
    },
    /// Another transit gateway, whose attachment that is.
    Peering(AttachmentIndex),
    /// The outside.
    Outside(GatewayIndex),
}

/// A transit gateway's route table.
pub type TransitTable = Fib<TransitTarget>;

/// Where a route of a transit gateway leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransitTarget {
    /// Nowhere (PT-13).
    Blackhole,
    /// An attachment.
    Attachment(AttachmentIndex),
    /// One of several attachments, by flow (PT-15): a position in [`Exits::equals`].
    Ecmp(u32),
}

/// The link-layer addresses of neighbours outside, by gateway port, VLAN and address.
pub type OutsideNeighbours = HashMap<(PortIndex, u16, IpAddr), Mac, FxBuildHasher>;

/// A gateway port of this node.
#[derive(Clone, Debug)]
pub struct GatewayPort {
    /// Its link-layer address.
    pub mac: Mac,
    /// The node's addresses on the untagged link, with the link's prefix, where it leads to the internet.
    pub addresses: SmallVec<[IpNet; 2]>,
    /// The next hops for what is not on the link, one of a family.
    pub next_hops: SmallVec<[IpAddr; 2]>,
    /// The largest IP packet, in bytes.
    pub mtu: u16,
    /// The port of the routing daemon, which gets what is for the node itself and sends as this port.
    pub control: Option<PortIndex>,
}

impl GatewayPort {
    /// The address to send to, on the untagged link, for a destination: its own if it is on the link.
    pub fn next_hop(&self, destination: IpAddr) -> Option<IpAddr> {
        if self.addresses.iter().any(|link| link.contains(&destination)) {
            return Some(destination);
        }
        self.next_hops.iter().copied().find(|hop| hop.is_ipv4() == destination.is_ipv4())
    }

    /// Whether an address is the node's own on the untagged link.
    pub fn has_address(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.addr() == address)
    }
}

impl Exits {
    /// Of a network without any way out.
    pub fn none() -> Self {
        Self {
            subnets: Arc::default(),
            vpcs: Arc::default(),
            peers: Arc::default(),
            gateways: Arc::default(),
            attachments: Arc::default(),
            equals: Arc::default(),
            circuits: Arc::default(),
            internet: SmallVec::new(),
            by_mac: Arc::default(),
            publics: Arc::default(),
            privates: Arc::default(),
            public_v6: Arc::new(Lpm::new([])),
            wires: Arc::default(),
            edges: Arc::default(),
            edges_of: Arc::default(),
        }
    }

    /// A gateway.
    #[inline]
    pub fn gateway(&self, index: GatewayIndex) -> Option<&Gateway> {
        self.gateways.get(index.0 as usize)
    }

    /// Whether this node serves a gateway.
    #[inline]
    pub fn serves(&self, index: GatewayIndex) -> bool {
        self.gateway(index).is_some_and(|gateway| gateway.served_here)
    }

    /// A subnet.
    #[inline]
    pub fn subnet(&self, index: SubnetIndex) -> Option<&SubnetExits> {
        self.subnets.get(index.0 as usize)
    }

    /// An attachment.
    #[inline]
    pub fn attachment(&self, index: AttachmentIndex) -> Option<&Attachment> {
        self.attachments.get(index.0 as usize)
    }

    /// A circuit.
    #[inline]
    pub fn circuit(&self, index: CircuitIndex) -> Option<&Circuit> {
        self.circuits.get(index.0 as usize)
    }

    /// The public address of a private one, host order.
    #[inline]
    pub fn public_of(&self, vni: Vni, address: u32) -> Option<u32> {
        self.privates.get(&(vni, address)).copied()
    }

    /// Whether this node is the one of those serving a gateway that answers for a public address on a link (as for flows, by
    /// share).
    pub fn answers(&self, index: GatewayIndex, address: IpAddr) -> bool {
        let bits = mapped(address);
        let mixed = (bits as u64 ^ (bits >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.gateway(index).is_some_and(|gateway| gateway.seat((mixed >> 58) as u8) == Seat::Here)
    }

    /// The VPCs whose packets may come into another VPC.
    pub fn joined_to(&self, vni: Vni) -> impl Iterator<Item = Vni> + '_ {
        self.vpcs.get(&vni).map(|vpc| vpc.neighbours.as_slice()).unwrap_or_default().iter().copied()
    }

    /// The VPC that has an address and whose packets may come into another VPC, over a peering or a transit gateway (P-4).
    pub fn origins(&self, vni: Vni, source: IpAddr) -> impl Iterator<Item = Vni> + '_ {
        let joined = self.vpcs.get(&vni).map(|vpc| vpc.joined.as_slice()).unwrap_or_default();
        joined.iter().filter_map(move |blocks| blocks.lookup(source))
    }
}
