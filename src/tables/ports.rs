//! The node's own ports and the ENIs that are plugged into them.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use ipnet::{Ipv4Net, Ipv6Net};
use smallvec::SmallVec;

use super::{
    Acl, DELEGATED_V4, DELEGATED_V6, GatewayPort, Limits, Location, Mirrors, Policy, PortIndex, Position,
    RouteTable, ServicePort, SubnetIndex,
};
use crate::{
    flow::{Timeouts, connections::Tenant},
    packet::{Mac, OuterChecksum, Pattern, Vni},
    services::dhcp::Lease,
};

/// A port of this node.
#[derive(Clone)]
pub struct Port {
    /// Its name in the host file.
    pub name: Arc<str>,
    /// What is behind it.
    pub role: Role,
    /// What happens to 802.1Q-tagged frames from it.
    pub vlan: VlanMode,
}

/// What happens to a frame that carries an 802.1Q tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VlanMode {
    /// It is dropped (L2-2).
    #[default]
    Refuse,
    /// The tag is removed and the frame treated as if it had come without.
    Strip,
}

/// What is behind a port.
#[derive(Clone)]
pub enum Role {
    /// An instance: the ENI attached to the port, if one is.
    Instance(Option<Arc<LocalEni>>),
    /// The underlay.
    Uplink(Uplink),
    /// Link-local services of the host.
    Service(Arc<ServicePort>),
    /// The outside: the internet, circuits.
    Gateway(Arc<GatewayPort>),
    /// A routing daemon, which speaks as the gateway port at that index.
    Control(PortIndex),
}

/// An uplink, as its worker needs it.
#[derive(Clone, Copy, Debug)]
pub struct Uplink {
    /// Its link-layer address.
    pub mac: Mac,
    /// This node's underlay address on it.
    pub address: IpAddr,
    /// [`Uplink::address`], an IPv4 one IPv4-mapped.
    pub mapped: u128,
    /// What is put into the outer UDP checksum.
    pub checksum: OuterChecksum,
    /// What plain outer headers to it are told by ([`PlainOuter::to`](crate::packet::PlainOuter::to)), over IPv4.
    pub plain: Option<Pattern>,
}

/// The addresses of one family that belong to an ENI: single ones and delegated prefixes.
#[derive(Clone, Debug)]
pub struct Addresses<T> {
    /// The first of `single`, which most packets have, at hand.
    first: Option<T>,
    /// The primary first; host byte order.
    single: SmallVec<[T; 4]>,
    /// The first address of each delegated prefix.
    delegated: SmallVec<[T; 1]>,
}

macro_rules! addresses {
    ($word:ty, $delegated:expr) => {
        impl Addresses<$word> {
            /// Single addresses, the primary first, and the first addresses of delegated prefixes.
            pub fn new(
                single: impl IntoIterator<Item = $word>,
                delegated: impl IntoIterator<Item = $word>,
            ) -> Self {
                let single: SmallVec<[$word; 4]> = single.into_iter().collect();
                Self { first: single.first().copied(), single, delegated: delegated.into_iter().collect() }
            }

            /// Whether the address is one of them.
            #[inline(always)]
            pub fn contain(&self, address: $word) -> bool {
                self.first == Some(address) || self.contain_further(address)
            }

            /// The single ones, the primary first.
            pub fn single(&self) -> &[$word] {
                &self.single
            }

            /// The first address of each delegated prefix.
            pub fn delegated(&self) -> &[$word] {
                &self.delegated
            }

            /// Where an address is among them.
            pub fn position(&self, address: $word) -> Option<Position> {
                let host_bits = <$word>::BITS - $delegated;
                if let Some(index) = self.single.iter().position(|&single| single == address) {
                    return Some(Position { prefix: 0, index: index as u64 });
                }
                let prefix = self.delegated.iter().position(|prefix| (prefix ^ address) >> host_bits == 0)?;
                let index = (address & ((1 << host_bits) - 1)) as u64;
                Some(Position { prefix: u16::try_from(prefix + 1).ok()?, index })
            }

            /// The address at a position.
            pub fn at(&self, position: Position) -> Option<$word> {
                let host_bits = <$word>::BITS - $delegated;
                let Position { prefix, index } = position;
                match usize::from(prefix).checked_sub(1) {
                    None => self.single.get(usize::try_from(index).ok()?).copied(),
                    Some(prefix) if index >> host_bits == 0 => {
                        self.delegated.get(prefix).map(|first| first | <$word>::try_from(index).unwrap_or(0))
                    }
                    Some(_) => None,
                }
            }

            #[inline(never)]
            fn contain_further(&self, address: $word) -> bool {
                let host_bits = <$word>::BITS - $delegated;
                self.single.contains(&address)
                    || self.delegated.iter().any(|prefix| (prefix ^ address) >> host_bits == 0)
            }
        }
    };
}

addresses!(u32, DELEGATED_V4);
addresses!(u128, DELEGATED_V6);

/// An ENI attached to this node.
#[derive(Clone)]
pub struct LocalEni {
    /// Its id, for operators.
    pub id: Arc<str>,
    /// Its VPC's id, for operators.
    pub vpc: Arc<str>,
    /// The number of its stay at its port: no other stay at any port has had it.
    pub stay: u32,
    /// Its VPC's network identifier.
    pub vni: Vni,
    /// Its MAC.
    pub mac: Mac,
    /// The router's MAC of its subnet.
    pub router_mac: Mac,
    /// Where it is: at its port.
    pub location: Location,
    /// Its subnet.
    pub subnet: SubnetIndex,
    /// Its subnet's IPv4 block.
    pub subnet_v4: Option<Ipv4Net>,
    /// Its subnet's IPv6 block.
    pub subnet_v6: Option<Ipv6Net>,
    /// Its IPv4 addresses.
    pub v4: Addresses<u32>,
    /// What its plain packets from the first of these are told by ([`Plain::sender`](crate::packet::Plain::sender)).
    pub plain: Pattern,
    /// Its IPv6 addresses, the link-local one of its MAC included.
    pub v6: Addresses<u128>,
    /// The resolver's address in its VPC, host order: the primary IPv4 block's base plus two (ADDR-19).
    pub resolver: Option<u32>,
    /// The time to live of answers from the metadata service (ADDR-18).
    pub metadata_hop_limit: u8,
    /// How many workers share its flows, at least 1 and no more than the node has.
    pub workers: u8,
    /// How long its connections live without packets.
    pub timeouts: Timeouts,
    /// Whether ICMP errors need a rule even if they are about a connection that is tracked (SEC-14).
    pub strict_icmp: bool,
    /// Whether TCP segments outside of their connection's window are dropped.
    pub tcp_window_check: bool,
    /// The most connections that it may have, if that is limited.
    pub most_connections: Option<u32>,
    /// How many connections it has room for, whatever the others have.
    pub reserved_connections: u32,
    /// What may pass it in a second, if that is limited.
    pub limits: Option<Box<Limits>>,
    /// What of its packets is copied, if anything is.
    pub mirrors: Option<Arc<Mirrors>>,
    /// Whether it has one of these two.
    pub watched: bool,
    /// Whether its source/destination check is on.
    pub source_dest_check: bool,
    /// The largest IP packet that it may send, in bytes.
    pub mtu: u16,
    /// Whether an uplink carries shorter IP packets only, so that TCP has to be told (see `pipeline`).
    pub narrow: bool,
    /// Whether a flow log tells of it.
    pub logged: bool,
    /// What it is told over DHCP.
    pub lease: Arc<Lease>,
    /// The route table in force in its subnet.
    pub routes: Arc<RouteTable>,
    /// Whether that table has routes inside the VPC besides the local ones (RT-7), so that an ENI's address does not settle
    /// where its packets go.
    pub steered: bool,
    /// The rules of its security groups.
    pub policy: Arc<Policy>,
    /// The network ACL in force in its subnet.
    pub acl: Arc<Acl>,
    /// The load balancer's address that it knows, host order, if it is an appliance (GW-23).
    pub load_balancer: Option<u32>,
}

/// The address of a subnet's router: the block's base plus one (L2-11).
pub fn router_of(block: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from_bits(block.network().to_bits() | 1)
}

impl LocalEni {
    /// Whether an address is that of the load balancer whose appliance it is.
    pub fn is_load_balancer(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(address) if self.load_balancer == Some(address.to_bits()))
    }

    /// What it may have of the table of connections of one of its workers: each of them has an equal part of its flows.
    pub fn tenant(&self) -> Tenant {
        let part = |whole: u32| whole.div_ceil(self.workers.max(1).into());
        let most = self.most_connections.map(part);
        Tenant { stay: self.stay, most, reserved: part(self.reserved_connections) }
    }

    /// The subnet router's IPv4 address ([`router_of`]).
    pub fn router_v4(&self) -> Option<Ipv4Addr> {
        self.subnet_v4.map(router_of)
    }

    /// Whether the address is the subnet router's: the block's base plus one (L2-11, L2-21).
    pub fn is_router(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.router_v4() == Some(address),
            IpAddr::V6(address) => {
                self.subnet_v6.is_some_and(|net| net.network().to_bits() | 1 == address.to_bits())
            }
        }
    }
}
