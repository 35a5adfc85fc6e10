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
    /// What may come in (`IpPermissions`).
    pub ingress: Vec<Permission>,
    /// What may go out (`IpPermissionsEgress`).
    pub egress: Vec<Permission>,
    /// What no packet depends on.
    pub descriptive: Descriptive,
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
    /// `UserIdGroupPairs`: the members of other groups, which the model has too.
    pub groups: Vec<Peer<Id>>,
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
