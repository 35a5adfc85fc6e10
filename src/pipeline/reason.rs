//! Why a packet was dropped.

use std::{ffi::CStr, fmt};

/// Declares [`Reason`], so that a reason, its name and its explanation stand in one place.
macro_rules! reasons {
    ($($variant:ident $name:literal $help:literal;)*) => {
        /// Why a packet was dropped. One counter each; the same name everywhere it is shown.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $(#[doc = $help] $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in counters, traces, logs and tests.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The name, for C.
            pub const fn c_name(self) -> &'static CStr {
                let name = match self { $(Self::$variant => concat!($name, "\0").as_bytes(),)* };
                match CStr::from_bytes_with_nul(name) {
                    Ok(name) => name,
                    Err(_) => c"",
                }
            }

            /// What the drop means, in a sentence for an operator.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }
        }
    };
}

reasons! {
    // Frame sanity, on any port.
    Truncated "truncated" "The frame ends before the headers that it announces.";
    Malformed "malformed" "A header contradicts itself: version, header length or total length.";
    MultiSegment "multi_segment" "The frame is longer than one buffer of the port's pool: its MTU was raised behind Warren's back.";
    Unfinished "unfinished" "The virtual machine left the node a checksum or segments that are neither TCP's nor UDP's, or behind headers that the node does not look behind.";
    Ethertype "ethertype" "The EtherType is not IPv4, ARP or IPv6 (semantics L2-1, L2-2).";
    Vlan "vlan" "An 802.1Q or 802.1ad tag on a port whose `vlan` is `refuse` (L2-2).";
    FragInvalid "frag_invalid" "A fragment that cuts the transport header or overlaps it (SEC-16, RFC 1858).";
    OversizeFrame "oversize" "The IP packet is larger than the ENI's MTU (MTU-2).";
    // From an instance.
    NoEni "no_eni" "No ENI is attached to the port that the frame came from.";
    SrcMac "src_mac" "The source MAC is not the sending ENI's (L2-3).";
    SrcCheck "src_check" "The source address is none of the sending ENI's, and its source/destination check is on (ADDR-5).";
    UnknownMac "unknown_mac" "The destination MAC is neither the subnet router's nor an ENI's of the same subnet (L2-7).";
    Broadcast "broadcast" "A broadcast frame or address: a VPC delivers none (L2-8, ADDR-2).";
    Multicast "multicast" "A multicast frame in a subnet without a multicast domain (L2-9).";
    MulticastLink "multicast_link" "A multicast packet to a group of the link, 224.0.0.0/24, which is never forwarded (MC-11).";
    MulticastSource "multicast_source" "A multicast packet in a domain with static sources, from an ENI that is none of the group's (MC-3).";
    MulticastMember "multicast_member" "A multicast packet to a group without members other than its sender (MC-2, MC-10).";
    MulticastFrag "multicast_frag" "A fragment of a multicast packet (MC-8).";
    IgmpVersion "igmp_version" "A membership report of IGMP version 1 or 3: only version 2 is processed (MC-6).";
    IgmpIgnored "igmp_ignored" "An IGMP message that changes nothing: malformed, a query, about a group that is never forwarded, or in a domain without IGMP (MC-4, MC-11).";
    IgmpLimited "igmp_limited" "A membership report beyond what an ENI may: 256 groups, and 4 new ones a second.";
    Garp "garp" "A gratuitous or unsolicited ARP: it changes nothing (L2-14).";
    ArpUnanswered "arp_unanswered" "An ARP request that the node does not answer: for an address of no ENI of the subnet, a probe for the own address, or with a false sender (L2-12, L2-13, L2-15, L2-16).";
    NdSpoof "nd_spoof" "An unsolicited neighbour advertisement, a router advertisement or a redirect from an instance (L2-22).";
    NdUnanswered "nd_unanswered" "A neighbour or router solicitation that the node does not answer (L2-20, L2-21, L2-23).";
    Service "service" "Addressed to the subnet router or a link-local address where nothing answers (ADDR-24, ADDR-25).";
    DnsPps "dns_pps" "More packets to link-local services than an ENI's allowance of 1024 a second (ADDR-20).";
    ServiceReply "service_reply" "From a service port: neither from an address of its services to an identity in use, nor a request for the MAC of one.";
    DhcpIgnored "dhcp_ignored" "A DHCP message that the node does not answer: a release, relayed, for another server, without an address to lease, or malformed (ADDR-12, ADDR-26).";
    AnswersLimited "answers_limited" "More requests for answers than an ENI's allowance: ARP, neighbour discovery, DHCP, echo (1024 a second).";
    FragmentsLimited "fragments_limited" "More fragments to be cut off packets too long for their path than an ENI's allowance of 50 000 a second.";
    PuntFull "punt_full" "The ring to the management thread, which answers DHCP, is full.";
    InvalidDestination "invalid_destination" "An IP destination that is never routed: 0/8, 127/8, 224/4, 240/4 and their IPv6 kin (FWD-20).";
    ToSelf "to_self" "Sent by an ENI to its own address (FWD-19).";
    NoRoute "no_route" "No route of the subnet's table matches (RT-13).";
    Blackhole "blackhole" "The route's target is gone, detached or served by no host (RT-12).";
    PeerTransit "peer_transit" "Over a peering to neither an address of the peer VPC, nor from one of the sender's VPC (PT-2, PT-4).";
    EdgeToEdge "edge_to_edge" "Over a peering or from outside to a gateway of the VPC, or through a gateway from an address that is not the VPC's (GW-9, PT-3, BGP-4).";
    TgwNoAz "tgw_no_az" "The transit gateway attachment has no subnet in the sender's zone (PT-10).";
    TgwBlackhole "tgw_blackhole" "The transit gateway's route is a blackhole (PT-13).";
    TooManyHops "too_many_hops" "The route tables send the packet in a circle.";
    IgwNoPublic "igw_no_public" "To an internet gateway from a private address that has no public one, or from the internet to an address that nothing has (GW-2).";
    GwTargetInvalid "gw_target_invalid" "The gateway route table's target is not usable there: an ENI without a public address or that is not attached (ING-3, ING-4).";
    NatPorts "nat_ports" "The NAT gateway has as many flows to this destination as it may have, 55 000 for each of its addresses, or no port left for it: EC2's ErrorPortAllocation (GW-11).";
    NatFull "nat_full" "The worker's table of NAT bindings is full: raise `gateway.bindings` in the host file.";
    NatNoState "nat_no_state" "To a NAT gateway's address without a binding (GW-14), or of a TCP connection that it does not know (any more): whoever is inside gets a reset (GW-12).";
    EigwUnsolicited "eigw_unsolicited" "To an address behind an egress-only internet gateway, and no reply (GW-21).";
    TtlExpired "ttl_expired" "The time to live, or hop limit, ended at a NAT gateway: its sender is told (MTU-12).";
    FragOrphan "frag_orphan" "A later fragment whose first one has not been seen: nobody can tell its ports (GW-13, SEC-15).";
    Bpa "bpa" "VPC Block Public Access forbids it (GW-25).";
    NotServed "not_served" "For a gateway that this node does not serve.";
    GatewayFamily "gateway_family" "The gateway does not carry this IP version: IPv6 over a virtual private gateway (BGP-7), or where the attachment has no IPv6 support.";
    EndpointSource "endpoint_source" "To a gateway endpoint from an address that is not of its VPC (GW-22).";
    GatewayPort "gateway_port" "From a gateway port: neither for the node nor for anything behind it.";
    NoMapping "no_mapping" "The route is `local` and no ENI of the VPC has the address (FWD-4).";
    Unattached "unattached" "The destination ENI is attached to no host.";
    MtuDf "mtu_df" "The packet is larger than its path's MTU and may not be fragmented: its sender is told the MTU (MTU-3, MTU-4).";
    // At a gateway.
    NatProto "nat_proto" "A packet that a NAT gateway does not translate: neither TCP, UDP nor ICMP, or a message or header of theirs that the other IP version has not (GW-10, GW-18).";
    NatFrag "nat_frag" "A fragment that a NAT gateway does not translate: of TCP or ICMP, or to IPv6 of a UDP datagram without checksum (GW-13, GW-18).";
    Gre "gre" "A GRE packet unlike those of a Connect attachment: other addresses, version, payload or options, or a wrong checksum (PT-20, RFC 2784).";
    GwlbHeader "gwlb_header" "To a load balancer's address from one of its appliances: no Geneve packet with an IP packet and AWS's options in it (GW-23).";
    GwlbOption "gwlb_option" "From an appliance, with the options of an endpoint that it is none of, or a cookie of another flow: it has to send back what came (GW-23).";
    // Security groups and network ACLs.
    SgOut "sg_out" "No rule of the sending ENI's security groups allows it (SEC-1).";
    SgIn "sg_in" "No rule of the receiving ENI's security groups allows it (SEC-1).";
    NaclOut "nacl_out" "The network ACL of the sender's subnet denies it on the way out (NACL-1).";
    NaclIn "nacl_in" "The network ACL of the receiver's subnet denies it on the way in (NACL-1).";
    TcpWindow "tcp_window" "A TCP segment outside of its connection's window, of an ENI with `TcpWindowCheck`.";
    ConntrackFull "conntrack_full" "No room for a new connection: EC2's conntrack_allowance_exceeded (SEC-10). Raise `connections` in the host file.";
    // The allowances of an ENI's attachment.
    BwIn "bw_in" "More bits to the ENI than its allowance: EC2's bw_in_allowance_exceeded.";
    BwOut "bw_out" "More bits from the ENI than its allowance: EC2's bw_out_allowance_exceeded.";
    Pps "pps" "More packets to and from the ENI than its allowance: EC2's pps_allowance_exceeded.";
    ConnectionsLimited "connections_limited" "More new connections of the ENI than its allowance: EC2's conntrack_allowance_exceeded.";
    MirrorLimited "mirror_limited" "A copy for traffic mirroring for which the ENI had no allowance to spare: at least half of it is for packets.";
    // Towards an instance.
    DstCheck "dst_check" "The destination address is none of the receiving ENI's, and its source/destination check is on (ADDR-6).";
    // From and to the underlay.
    UnderlayUnresolved "underlay_unresolved" "The link-layer address of the next hop to the destination's host is not known (yet).";
    UnderlayUnreachable "underlay_unreachable" "No uplink leads to the destination's host.";
    UnderlayDestination "underlay_destination" "Not addressed to this node's underlay address.";
    UnderlayProtocol "underlay_protocol" "Not the configured encapsulation, nor ARP or neighbour discovery.";
    UnderlayChecksum "underlay_checksum" "A wrong checksum of the outer IP or UDP header.";
    UnderlayFragment "underlay_fragment" "A fragmented outer packet: raise the underlay's MTU.";
    UnderlaySpoof "underlay_spoof" "The inner sender does not live behind the outer source (P-4).";
    UnderlayNeighbour "underlay_neighbour" "An ARP or neighbour-discovery message of the uplink that needed no answer (consumed; not a fault).";
    EcnCe "ecn_ce" "The underlay marked congestion, and the inner transport knows no ECN: a loss tells it (RFC 6040).";
    UnknownVni "unknown_vni" "The encapsulation's network identifier belongs to no VPC.";
    NotHere "not_here" "The inner destination is not attached to this host: the sender's tables are older or newer than ours.";
    // In the node.
    HandoffFull "handoff_full" "The ring to the worker that owns the packet's ENI is full.";
    TxFull "tx_full" "The device's transmit queue is full.";
    NoBuffer "no_buffer" "No buffer was free for a fragment or a copy of the packet.";
    NoHeadroom "no_headroom" "The buffer has no room for the outer header.";
}

impl Reason {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_numbers_are_positions() {
        for (position, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, position);
            assert_eq!(Reason::ALL.iter().filter(|other| other.name() == reason.name()).count(), 1);
        }
    }
}
