//! What the pipeline says of a packet on its way, to who wants to hear it.
//!
//! Only `warren trace` does. For a worker, whose sink keeps the empty [`Notes::note`], nothing of it is compiled.

use std::net::{IpAddr, SocketAddr};

use crate::{
    packet::{Mac, Outer, Vni},
    tables::{
        AclVerdict, Attachment, Destination, Direction, Fanout, Gateway, Host, LinkLocal, LocalEni,
        MirrorSession, Peer, PortIndex, RuleIndex, Target,
    },
};

/// A step of a packet.
#[derive(Clone, Copy)]
pub enum Step<'a> {
    /// It came from an ENI of this node.
    From(&'a LocalEni),
    /// It came from the underlay, with this outer header.
    Arrived(&'a Outer),
    /// It passed a check.
    Passed(Check),
    /// A check was not made, because the ENI's source/destination check is off.
    Waived(Check),
    /// What an ENI's connections have of it.
    Connection(Connection),
    /// What an ENI's security groups say of it: the rule that lets it through, if there is one.
    Groups(&'a LocalEni, Direction, Option<RuleIndex>),
    /// What the network ACL of an ENI's subnet says of it; `None` of one that allows everything.
    Acl(&'a LocalEni, Direction, Option<AclVerdict>),
    /// It takes the L2 path: to the ENI with this MAC.
    ByMac(Mac),
    /// It takes the L3 path: to the ENI with this address.
    ByAddress(IpAddr),
    /// The ENI that it is for, anywhere.
    To(&'a Destination),
    /// The ENI that it is for, behind a port of this node.
    ToLocal(PortIndex, &'a LocalEni),
    /// No ENI has the address; what the route table says.
    Route(Option<Target>),
    /// Its MACs became the receiver's and its router's.
    Rewritten(Mac, Mac),
    /// A SYN, it tells a shorter segment size now: one that fits IP packets of so many bytes.
    Clamped(u16),
    /// A fragment, of so many bytes at most, was cut off it.
    Fragmented(u16),
    /// It was encapsulated towards a host.
    Encapsulated(&'a Host, Vni),
    /// The outer header was taken off.
    Decapsulated,
    /// It asks something of the node itself.
    Asks(Request),
    /// It is for a link-local service, behind a port.
    Service(LinkLocal, PortIndex),
    /// It is in a gateway.
    Gateway(&'a Gateway),
    /// It is in a transit gateway, where it came over an attachment.
    Transit(&'a Attachment),
    /// A copy for traffic mirroring is made of it, which goes first.
    Copied(&'a MirrorSession),
    /// It is copied to the members of a multicast group.
    Replicated(&'a Fanout<'a>),
    /// It leaves over a peering.
    Peering(&'a Peer),
    /// A gateway gave it these addresses.
    Translated(IpAddr, IpAddr),
    /// A NAT gateway has bound the first of these ends, inside, to the second, outside. A port is an ICMP echo's identifier.
    Bound(SocketAddr, SocketAddr),
    /// It leaves for the outside over a VLAN of a port.
    Outside(PortIndex, u16),
    /// It came from a link-local service.
    Reply(LinkLocal),
}

/// A packet's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It is known and tracked, so that the packet passes whatever the rules say (SEC-2).
    Known,
    /// It begins, and is tracked.
    New,
    /// It is not tracked (SEC-4).
    Untracked,
    /// The packet is an ICMP error about one that is known (SEC-14).
    Related,
}

/// A check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The source MAC is the ENI's (L2-3).
    SourceMac,
    /// The source address is the ENI's (ADDR-5).
    SourceAddress,
    /// The packet fits the ENI's MTU (MTU-2).
    Size,
    /// The inner sender lives behind the outer source (P-4).
    Origin,
    /// The destination address is the receiving ENI's (ADDR-6).
    DestinationAddress,
    /// The ENI has asked the node for no more than its allowance.
    Allowance,
}

/// What is asked of the node itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Who has an IPv4 address (L2-10).
    Arp,
    /// Neighbour or router discovery, or a listener report (L2-20 to L2-24).
    NeighbourDiscovery,
    /// DHCP (ADDR-12, ADDR-14).
    Dhcp,
    /// Membership in a multicast group (MC-4).
    Igmp,
    /// Echo of the subnet router (ADDR-23).
    Echo,
    /// An ICMP error about a packet too big for its path (MTU-4).
    PathMtu,
}

/// Who hears of steps.
pub trait Notes {
    /// A packet took a step. Notes of a packet come in order, but those of a burst's packets are mixed.
    #[inline(always)]
    fn note(&mut self, step: Step<'_>) {
        let _ = step;
    }
}
