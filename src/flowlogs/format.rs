//! The lines of a flow log: which fields, in which order, and what stands in them.

use std::{
    fmt::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::Ipv6Net;

use super::{Action, FlowKey, Sums};
use crate::tables::Direction;

macro_rules! fields {
    ($($version:literal { $($field:ident $name:literal,)* })*) => {
        /// A field of a record (FL-1, FL-2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Field {
            $($(#[doc = concat!("`", $name, "`")] $field,)*)*
        }

        impl Field {
            /// All fields, by the version of the format that brought them.
            pub const ALL: &[Self] = &[$($(Self::$field,)*)*];

            /// Its name in a format and in the first line of a file.
            pub fn name(self) -> &'static str {
                match self { $($(Self::$field => $name,)*)* }
            }

            /// The version of the format that brought it.
            pub fn version(self) -> u8 {
                match self { $($(Self::$field => $version,)*)* }
            }
        }
    };
}

fields! {
    2 {
        Version "version",
        AccountId "account-id",
        InterfaceId "interface-id",
        SrcAddr "srcaddr",
        DstAddr "dstaddr",
        SrcPort "srcport",
        DstPort "dstport",
        Protocol "protocol",
        Packets "packets",
        Bytes "bytes",
        Start "start",
        End "end",
        Action "action",
        LogStatus "log-status",
    }
    3 {
        VpcId "vpc-id",
        SubnetId "subnet-id",
        InstanceId "instance-id",
        TcpFlags "tcp-flags",
        Type "type",
        PktSrcAddr "pkt-srcaddr",
        PktDstAddr "pkt-dstaddr",
    }
    4 {
        Region "region",
        AzId "az-id",
        SublocationType "sublocation-type",
        SublocationId "sublocation-id",
    }
    5 {
        PktSrcAwsService "pkt-src-aws-service",
        PktDstAwsService "pkt-dst-aws-service",
        FlowDirection "flow-direction",
        TrafficPath "traffic-path",
    }
    8 {
        RejectReason "reject-reason",
    }
}

/// The fields of a log's lines, in order. It never changes in a log's life (FL-12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    fields: Box<[Field]>,
    version: u8,
}

impl Default for Format {
    /// The fields of version 2 (FL-1).
    fn default() -> Self {
        let fields = Field::ALL.iter().copied().filter(|field| field.version() == 2);
        Self { fields: fields.collect(), version: 2 }
    }
}

/// Why a text is no format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// It has no field.
    Empty,
    /// A part of it is not of the form `${field}`.
    NotAField(String),
    /// A field that there is not.
    Unknown(String),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no field; write some, such as ${srcaddr} ${dstaddr}"),
            Self::NotAField(part) => {
                write!(f, "`{part}` is no field; write ${{field}}, and one space between fields")
            }
            Self::Unknown(name) => {
                f.write_str("no field `")?;
                f.write_str(name)?;
                f.write_str("`; those of versions 2 to 5 and reject-reason can be had")
            }
        }
    }
}

impl std::error::Error for FormatError {}

impl Format {
    /// Reads a format such as `${version} ${vpc-id} ${srcaddr}`.
    ///
    /// # Errors
    ///
    /// The first part of it that is no field.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let field = |part: &str| {
            let name = part.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
            let name = name.ok_or_else(|| FormatError::NotAField(part.into()))?;
            let known = Field::ALL.iter().copied().find(|field| field.name() == name);
            known.ok_or_else(|| FormatError::Unknown(name.into()))
        };
        let fields: Box<[Field]> = text.split_whitespace().map(field).collect::<Result<_, _>>()?;
        let version = fields.iter().map(|field| field.version()).max().ok_or(FormatError::Empty)?;
        Ok(Self { fields, version })
    }

    /// The fields, in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The highest version of the fields (FL-2).
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Appends the first line of a file: the fields' names.
    pub fn header(&self, out: &mut String) {
        self.join(out, |out, field| out.push_str(field.name()));
    }

    /// Appends a line. `span` has the first and last second of the interval, since 1970-01-01 UTC, which a flow's own
    /// replace.
    pub fn line(&self, out: &mut String, interface: &Interface, span: (u64, u64), content: Content) {
        self.join(out, |out, field| {
            // Writing into a string does not fail.
            let _ = value(out, field, self.version, interface, span, content);
        });
    }

    fn join(&self, out: &mut String, mut part: impl FnMut(&mut String, Field)) {
        for (index, &field) in self.fields.iter().enumerate() {
            if index > 0 {
                out.push(' ');
            }
            part(out, field);
        }
        out.push('\n');
    }
}

/// An ENI, as the lines about it tell of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// `NetworkInterfaceId`.
    pub id: Arc<str>,
    /// Its VPC.
    pub vpc: Arc<str>,
    /// Its subnet.
    pub subnet: Arc<str>,
    /// The instance that it is attached to, if the state says which.
    pub instance: Option<Arc<str>>,
    /// The account that owns it, if the state says which.
    pub account: Option<Arc<str>>,
    /// Its region.
    pub region: Option<Arc<str>>,
    /// The id of its availability zone, if the state says which.
    pub zone_id: Option<Arc<str>>,
    /// Its primary IPv4 address.
    pub primary4: Option<Ipv4Addr>,
    /// Its IPv6 addresses.
    pub addresses6: Box<[Ipv6Addr]>,
    /// Its delegated IPv6 prefixes.
    pub prefixes6: Box<[Ipv6Net]>,
}

impl Interface {
    /// How the ENI's end of a flow is shown (FL-4): by the primary IPv4 address, whichever of its own or of others' it is;
    /// an IPv6 one as it is if it is the ENI's, otherwise by the first.
    fn own(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(_) => self.primary4.map_or(address, IpAddr::V4),
            IpAddr::V6(v6) if v6.is_unicast_link_local() || self.has(v6) => address,
            IpAddr::V6(_) => self.addresses6.first().map_or(address, |&first| first.into()),
        }
    }

    fn has(&self, address: Ipv6Addr) -> bool {
        self.addresses6.contains(&address) || self.prefixes6.iter().any(|prefix| prefix.contains(&address))
    }
}

/// A flow in an aggregation interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Which it is.
    pub key: FlowKey,
    /// What was counted of it.
    pub sums: Sums,
}

/// What a line tells (FL-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Of a flow: `OK`.
    Flow(Flow),
    /// That there was nothing to log: `NODATA`.
    NoData,
    /// That records were lost: `SKIPDATA`.
    SkipData,
}

const NONE: &str = "-";

fn value(
    out: &mut String,
    field: Field,
    version: u8,
    interface: &Interface,
    (start, end): (u64, u64),
    content: Content,
) -> fmt::Result {
    let text = |text: &Option<Arc<str>>| text.clone().unwrap_or_else(|| NONE.into());
    match field {
        Field::Version => write!(out, "{version}"),
        Field::AccountId => out.write_str(&text(&interface.account)),
        Field::InterfaceId => out.write_str(&interface.id),
        Field::VpcId => out.write_str(&interface.vpc),
        Field::SubnetId => out.write_str(&interface.subnet),
        Field::InstanceId => out.write_str(&text(&interface.instance)),
        Field::Region => out.write_str(&text(&interface.region)),
        Field::AzId => out.write_str(&text(&interface.zone_id)),
        Field::LogStatus => out.write_str(match content {
            Content::Flow(_) => "OK",
            Content::NoData => "NODATA",
            Content::SkipData => "SKIPDATA",
        }),
        _ => match content {
            Content::Flow(flow) => value_of_flow(out, field, interface, flow),
            Content::NoData | Content::SkipData => match field {
                Field::Start => write!(out, "{start}"),
                Field::End => write!(out, "{end}"),
                _ => out.write_str(NONE),
            },
        },
    }
}

/// The fields that only a flow has.
fn value_of_flow(out: &mut String, field: Field, interface: &Interface, flow: Flow) -> fmt::Result {
    let Flow { key, sums } = flow;
    let egress = key.direction == Direction::Egress;
    match field {
        Field::SrcAddr if egress => write!(out, "{}", interface.own(key.source)),
        Field::DstAddr if !egress => write!(out, "{}", interface.own(key.destination)),
        Field::SrcAddr | Field::PktSrcAddr => write!(out, "{}", key.source),
        Field::DstAddr | Field::PktDstAddr => write!(out, "{}", key.destination),
        Field::SrcPort => write!(out, "{}", key.source_port),
        Field::DstPort => write!(out, "{}", key.destination_port),
        Field::Protocol => write!(out, "{}", key.protocol),
        Field::Packets => write!(out, "{}", sums.packets),
        Field::Bytes => write!(out, "{}", sums.bytes),
        Field::Start => write!(out, "{}", sums.start),
        Field::End => write!(out, "{}", sums.end),
        Field::Action => out.write_str(match key.action {
            Action::Accept => "ACCEPT",
            Action::Reject => "REJECT",
        }),
        Field::TcpFlags => write!(out, "{}", sums.tcp_flags),
        Field::Type => out.write_str(if key.source.is_ipv4() { "IPv4" } else { "IPv6" }),
        Field::FlowDirection => out.write_str(if egress { "egress" } else { "ingress" }),
        Field::TrafficPath if egress && sums.path != 0 => write!(out, "{}", sums.path),
        // Of Warren's reasons to reject, none is one that AWS names; the others are not known here, or are no flow's.
        _ => out.write_str(NONE),
    }
}

#[cfg(test)]
mod tests;
