//! What decides which packets may pass: security groups at ENIs, network ACLs at the edges of subnets.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Descriptive, Id};

/// A security group: rules that allow, each in one direction.
#[derive(Clone, Debug, PartialEq)]
pub struct SecurityGroup {
    /// `GroupId`.
    pub id: Id,
    /// Its VPC.
    pub vpc: Id,
    /// `GroupName`, no other's of the VPC. The one that is called [`SecurityGroup::DEFAULT`] is the group of the ENIs that have
    /// none stated (SEC-1).
    pub name: Option<Box<str>>,
    /// What may come in (`IpPermissions`).
    pub ingress: Vec<Permission>,
    /// What may go out (`IpPermissionsEgress`).
    pub egress: Vec<Permission>,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

impl SecurityGroup {
    /// The name of the default group of a VPC.
    pub const DEFAULT: &str = "default";

    /// A group that allows everything, both ways.
    pub fn open(id: Id, vpc: Id) -> Self {
        let anything = || vec![Permission::anywhere()];
        Self { id, vpc, name: None, ingress: anything(), egress: anything(), descriptive: None }
    }

    /// The default group that EC2 makes in a VPC: what its members send each other may come in, everything may go out.
    pub(super) fn default_of(vpc: &Id) -> Self {
        let id = Id::from(format!("sg-default-of-{vpc}"));
        let members = Peer { peer: id.clone(), description: None };
        let ingress = Permission { groups: vec![members], ..Permission::new(Traffic::All) };
        Self {
            id,
            vpc: vpc.clone(),
            name: Some(Self::DEFAULT.into()),
            ingress: vec![ingress],
            egress: vec![Permission::anywhere()],
            descriptive: None,
        }
    }

    /// Whether it is the default group of its VPC.
    pub fn is_default(&self) -> bool {
        self.name.as_deref() == Some(Self::DEFAULT)
    }
}

/// One element of `IpPermissions`: traffic, and the peers it is allowed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// What kind of traffic.
    pub traffic: Traffic,
    /// `IpRanges`.
    pub ranges4: Vec<Peer<Ipv4Net>>,
    /// `Ipv6Ranges`.
    pub ranges6: Vec<Peer<Ipv6Net>>,
    /// `PrefixListIds`.
    pub prefix_lists: Vec<Peer<Id>>,
    /// `UserIdGroupPairs`: the members of groups of the VPC, or of a VPC that an active peering joins with it (PT-7). The model
    /// has them.
    pub groups: Vec<Peer<Id>>,
    /// Those of `UserIdGroupPairs` that match nothing any more: the group of the peered VPC, or the peering, is gone or
    /// not active. EC2 keeps them, and calls the rules stale.
    pub stale: Vec<Peer<Id>>,
}

impl Permission {
    /// Of a kind of traffic, with nobody yet.
    pub const fn new(traffic: Traffic) -> Self {
        Self {
            traffic,
            ranges4: Vec::new(),
            ranges6: Vec::new(),
            prefix_lists: Vec::new(),
            groups: Vec::new(),
            stale: Vec::new(),
        }
    }

    /// Everything, with everybody.
    fn anywhere() -> Self {
        Self {
            ranges4: vec![Peer { peer: Ipv4Net::default(), description: None }],
            ranges6: vec![Peer { peer: Ipv6Net::default(), description: None }],
            ..Self::new(Traffic::All)
        }
    }
}

/// A peer of a [`Permission`], and why it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer<T> {
    /// The block, prefix list or group.
    pub peer: T,
    /// `Description`.
    pub description: Option<Box<str>>,
}

/// The traffic of a [`Permission`] or [`AclEntry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Traffic {
    /// Every protocol (`IpProtocol: -1`).
    All,
    /// TCP (6) or UDP (17) to a range of destination ports, both ends included.
    Ports {
        /// IP protocol number, 6 or 17.
        protocol: u8,
        /// The lowest destination port.
        from: u16,
        /// The highest destination port.
        to: u16,
    },
    /// ICMP (1) or ICMPv6 (58); `None` is every type, or every code.
    Icmp {
        /// IP protocol number, 1 or 58.
        protocol: u8,
        /// `FromPort`.
        kind: Option<u8>,
        /// `ToPort`.
        code: Option<u8>,
    },
    /// Any other protocol, by its IP protocol number.
    Protocol(u8),
}

/// A network ACL: numbered rules that allow or deny what enters or leaves its subnets, without regard to flows. What no
/// entry matches is denied (NACL-1).
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkAcl {
    /// `NetworkAclId`.
    pub id: Id,
    /// Its VPC.
    pub vpc: Id,
    /// Whether it is in force in the subnets of the VPC without an association.
    pub is_default: bool,
    /// Its entries: first those of what comes in, then those of what goes out, each by number, which no two of a direction
    /// share. EC2's last entry, `*`, is not among them.
    pub entries: Vec<AclEntry>,
    /// The subnets associated with it, in the order stated. [`Subnet::network_acl`](super::Subnet::network_acl) says what is
    /// in force.
    pub subnets: Vec<Id>,
    /// What no packet depends on.
    pub descriptive: Descriptive,
}

impl NetworkAcl {
    /// The entries of one direction, by number: the first that matches decides.
    pub fn rules(&self, egress: bool) -> &[AclEntry] {
        let (ingress, out) = self.entries.split_at(self.entries.partition_point(|entry| !entry.egress));
        if egress { out } else { ingress }
    }
}

/// An entry of a [`NetworkAcl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclEntry {
    /// `RuleNumber`, 1 to 32766.
    pub number: u16,
    /// Whether it is for what leaves the subnet, rather than for what enters it (`Egress`).
    pub egress: bool,
    /// Whether it allows what it matches (`RuleAction`).
    pub allow: bool,
    /// What kind of traffic. Of an entry for IPv4, ICMPv6 has neither type nor code, as in EC2.
    pub traffic: Traffic,
    /// The other end, and so the family: the source of what comes in, the destination of what goes out.
    pub block: IpNet,
}

/// For how many seconds an idle connection of an ENI is remembered (SEC-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionTracking {
    /// `TcpEstablishedTimeout`, 60 to 432000.
    pub tcp_established: u32,
    /// `UdpTimeout`: UDP in one direction, or one request and its response. 30 to 60.
    pub udp: u16,
    /// `UdpStreamTimeout`: UDP with more than one request and response. 60 to 180.
    pub udp_stream: u16,
}

impl Default for ConnectionTracking {
    /// What holds where nothing is stated.
    fn default() -> Self {
        Self { tcp_established: 350, udp: 30, udp_stream: 180 }
    }
}
