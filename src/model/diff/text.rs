//! How the values of fields are told.

use std::fmt::{self, Display};

use super::{join, text};
use crate::model::{
    AclEntry, Allowance, Attachment, AttachmentKind, AttachmentOptions, BlockPublicAccess, ConnectPeer,
    ConnectionTracking, EndpointService, GroupEni, LogScope, LogTraffic, MirrorRule, NameServer, Permission,
    Route, Terminal, Traffic, TransitRoute, VpcDhcp,
};

impl Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.port)?;
        if self.metadata_hop_limit != Self::METADATA_HOP_LIMIT {
            write!(f, " (metadata hop limit {})", self.metadata_hop_limit)?;
        }
        self.options.as_ref().map_or(Ok(()), |options| write!(f, " ({options})"))
    }
}

/// What differs from where nothing is stated.
impl Display for AttachmentOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = |is: bool, name: &str| is.then(|| name.to_owned());
        let allowance = |is: Option<Allowance>, of: &str| {
            is.map(|Allowance { rate, burst }| format!("{rate} {of} in bursts of {burst}"))
        };
        let all = [
            flag(self.strict_icmp, "strict ICMP"),
            flag(self.tcp_window_check, "TCP windows checked"),
            self.connections_max.map(|max| format!("at most {max} connections")),
            (self.connections_reserved > 0)
                .then(|| format!("{} connections reserved", self.connections_reserved)),
            (self.workers > 1).then(|| format!("{} workers", self.workers)),
            allowance(self.bandwidth_in, "bit/s in"),
            allowance(self.bandwidth_out, "bit/s out"),
            allowance(self.packets, "packets/s"),
            allowance(self.connections, "connections/s"),
        ];
        f.write_str(&all.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

impl Display for ConnectionTracking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tcp_established, udp, udp_stream } = self;
        write!(f, "TCP {tcp_established} s, UDP {udp} s, UDP streams {udp_stream} s")
    }
}

impl Display for VpcDhcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Region => "the region's",
            Self::None => "none",
            Self::Set(id) => id,
        })
    }
}

impl Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AmazonProvided => f.write_str(Self::AMAZON_PROVIDED),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.destination, self.target)
    }
}

impl Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers = self.ranges4.iter().map(|p| text(&p.peer));
        let peers = peers.chain(self.ranges6.iter().map(|p| text(&p.peer)));
        let peers = peers.chain(self.prefix_lists.iter().chain(&self.groups).map(|p| text(&p.peer)));
        let peers = peers.chain(self.stale.iter().map(|p| format!("{} (stale)", p.peer)));
        write!(f, "[{}: {}]", self.traffic, join(peers))
    }
}

impl Display for AclEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, egress, allow, traffic, block } = self;
        let (direction, action) = (if *egress { "out" } else { "in" }, if *allow { "allow" } else { "deny" });
        write!(f, "[{direction} {number}: {action} {traffic} {block}]")
    }
}

impl Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::All => f.write_str("all"),
            Self::Ports { protocol, from, to } => {
                let name = if protocol == 6 { "tcp" } else { "udp" };
                if from == to { write!(f, "{name} {from}") } else { write!(f, "{name} {from}-{to}") }
            }
            Self::Icmp { protocol, kind, code } => {
                let name = if protocol == 1 { "icmp" } else { "icmpv6" };
                match (kind, code) {
                    (None, _) => f.write_str(name),
                    (Some(kind), None) => write!(f, "{name} {kind}"),
                    (Some(kind), Some(code)) => write!(f, "{name} {kind}/{code}"),
                }
            }
            Self::Protocol(number) => write!(f, "protocol {number}"),
        }
    }
}

impl Display for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::VpnGateway(id) | Self::TransitGateway(id) | Self::DirectConnectGateway(id)) = self;
        f.write_str(id)
    }
}

impl Display for EndpointService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway => f.write_str("a gateway"),
            Self::LoadBalancer { subnet, appliances } => {
                write!(f, "{} in {subnet}", join(appliances.iter().map(text)))
            }
        }
    }
}

impl Display for AttachmentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vpc { vpc, subnets, appliance_mode, ipv6, group_references } => {
                write!(f, "{vpc} by {}", join(subnets.iter().map(text)))?;
                f.write_str(if *appliance_mode { " in appliance mode" } else { "" })?;
                f.write_str(if *ipv6 { " with IPv6" } else { "" })?;
                f.write_str(if *group_references { "" } else { " without security group references" })
            }
            Self::Peering { peer, .. } => write!(f, "peer {peer}"),
            Self::Vpn(id) | Self::DirectConnect(id) => f.write_str(id),
            Self::Connect { transport, peers } => {
                write!(f, "Connect over {transport} with {}", join(peers.iter().map(text)))
            }
        }
    }
}

impl Display for ConnectPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}-{}", self.id, self.address, self.peer)?;
        self.sessions.iter().try_for_each(|inside| write!(f, " {}-{}", inside.address, inside.peer))
    }
}

impl Display for TransitRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.destination, self.attachment.as_deref().unwrap_or("blackhole"))
    }
}

impl Display for GroupEni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.group, self.eni)
    }
}

/// The words of `InternetGatewayBlockMode`.
impl Display for BlockPublicAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Bidirectional => "block-bidirectional",
            Self::Ingress => "block-ingress",
        })
    }
}

impl Display for LogScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Vpc(id) | Self::Subnet(id) | Self::Eni(id) | Self::Other(id)) = self;
        f.write_str(id)
    }
}

/// The words of `TrafficType`.
impl Display for LogTraffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "ACCEPT",
            Self::Reject => "REJECT",
            Self::All => "ALL",
        })
    }
}

impl Display for MirrorRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = |ports: &std::ops::RangeInclusive<u16>| {
            if *ports == (0..=u16::MAX) {
                String::new()
            } else {
                format!(":{}-{}", ports.start(), ports.end())
            }
        };
        let protocol = self.protocol.map_or_else(|| "all".to_owned(), |number| format!("protocol {number}"));
        write!(
            f,
            "[{}: {} {protocol} {}{} to {}{}]",
            self.number,
            if self.accept { "accept" } else { "reject" },
            self.source,
            ports(&self.source_ports),
            self.destination,
            ports(&self.destination_ports),
        )
    }
}
