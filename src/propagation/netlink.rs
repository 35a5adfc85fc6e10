//! The netlink messages of an FPM frame: what zebra says of its routes (rtnetlink(7), `linux/rtnetlink.h`).
//!
//! Only the few attributes that matter are read, with a reader of our own: the crates that know all of them recurse into
//! next hops that hold next hops, so that one hostile frame of 64 KiB ends the process. The tests compare it with
//! netlink-packet-route. Numbers are in the byte order of this host, as zebra is on it; addresses are in network order.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use super::{NextHop, Path, Update};

const MESSAGE_HEADER: usize = 16;
const ROUTE_HEADER: usize = 12;
const ATTRIBUTE_HEADER: usize = 4;
const NEXT_HOP_HEADER: usize = 8;

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const RT_TABLE_MAIN: u32 = 254;
/// `RTPROT_BGP`: zebra's mark of a route that bgpd gave it.
const BGP: u8 = 186;

const RTN_UNICAST: u8 = 1;
const RTN_BLACKHOLE: u8 = 6;
const RTN_UNREACHABLE: u8 = 7;
const RTN_PROHIBIT: u8 = 8;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTA_ENCAP: u16 = 22;
const RTA_NH_ID: u16 = 30;
/// The attribute's type without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// A frame that can't be applied. None of its messages is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// A length that does not fit what holds it: of what.
    Length(&'static str),
    /// A field that has no such value: which.
    Value(&'static str),
    /// The route names a next-hop group instead of its next hops.
    NextHopGroup(IpNet),
    /// The route has no next hop at all.
    NoNextHop(IpNet),
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(what) => write!(f, "a netlink message with the wrong length of {what}"),
            Self::Value(what) => write!(f, "a netlink message with an impossible {what}"),
            Self::NextHopGroup(prefix) => write!(
                f,
                "the route {prefix} names a next-hop group, not its next hops: put `no fpm use-next-hop-groups` \
                 into frr.conf"
            ),
            Self::NoNextHop(prefix) => write!(f, "the route {prefix} has no next hop"),
        }
    }
}

impl std::error::Error for RouteError {}

/// What all messages of a frame say, in order; what is not about a route of the main table is skipped.
///
/// Zebra tells of the one route per prefix that it chose, so one that is not BGP's says that BGP's is gone. A withdrawal
/// counts whatever protocol it names: FRR 8.4 does not always give BGP in those of BGP's routes.
///
/// # Errors
///
/// Where one of them can't be understood: the frame shall have no effect then, and the connection ends.
pub fn updates(frame: &[u8]) -> Result<Vec<Update>, RouteError> {
    let mut updates = Vec::new();
    let mut rest = frame;
    while !rest.is_empty() {
        let message;
        (message, rest) = cut(rest, word(rest, 0).map(|len| len as usize), MESSAGE_HEADER, "a message")?;
        let kind = half(message, 4).ok_or(RouteError::Length("a message"))?;
        let route = &message[MESSAGE_HEADER..];
        match kind {
            RTM_NEWROUTE => updates.extend(update(route, true)?),
            RTM_DELROUTE => updates.extend(update(route, false)?),
            // Next-hop objects, and whatever a later zebra tells of.
            _ => {}
        }
    }
    Ok(updates)
}

/// What a message says of a route, behind its header.
fn update(message: &[u8], new: bool) -> Result<Option<Update>, RouteError> {
    let Some((&[family, len, _, _, table, protocol, _, kind, _, _, _, _], attributes)) =
        message.split_first_chunk::<ROUTE_HEADER>()
    else {
        return Err(RouteError::Length("a route"));
    };
    let any = match family {
        AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return Ok(None),
    };
    let attributes = Attributes::read(family, attributes)?;
    if attributes.table.unwrap_or(table.into()) != RT_TABLE_MAIN {
        return Ok(None);
    }
    let destination = attributes.destination.unwrap_or(any);
    let prefix = IpNet::new(destination, len).map_err(|_| RouteError::Value("prefix length"))?.trunc();
    let path = if new && protocol == BGP { path(prefix, kind, attributes)? } else { None };
    Ok(Some(Update { prefix, path }))
}

/// Where a route of BGP leads; `None` if this program can't go that way, so that the prefix is as good as withdrawn.
fn path(prefix: IpNet, kind: u8, attributes: Attributes) -> Result<Option<Path>, RouteError> {
    match kind {
        RTN_BLACKHOLE | RTN_UNREACHABLE | RTN_PROHIBIT => return Ok(Some(Path::Blackhole)),
        RTN_UNICAST => {}
        _ => return Err(RouteError::Value("type of a BGP route")),
    }
    if attributes.encapsulated {
        tracing::warn!(%prefix, "a route with an encapsulation (MPLS or SRv6) is not used");
        return Ok(None);
    }
    let mut hops = attributes.multipath;
    hops.extend(attributes.single.hop());
    hops.sort_unstable();
    hops.dedup();
    match (hops.is_empty(), attributes.group) {
        (false, _) => Ok(Some(Path::Via(hops.into()))),
        (true, true) => Err(RouteError::NextHopGroup(prefix)),
        (true, false) => Err(RouteError::NoNextHop(prefix)),
    }
}

/// What is read of a route's attributes.
#[derive(Default)]
struct Attributes {
    destination: Option<IpAddr>,
    table: Option<u32>,
    single: Hop,
    multipath: Vec<NextHop>,
    /// Some next hop wants packets in an encapsulation.
    encapsulated: bool,
    /// There is a next-hop group.
    group: bool,
}

/// A next hop while its attributes are read.
#[derive(Default)]
struct Hop {
    address: Option<IpAddr>,
    interface: Option<u32>,
}

impl Hop {
    fn hop(self) -> Option<NextHop> {
        let some = self.address.is_some() || self.interface.is_some();
        some.then(|| NextHop { interface: self.interface.unwrap_or(0), address: self.address })
    }
}

impl Attributes {
    fn read(family: u8, mut rest: &[u8]) -> Result<Self, RouteError> {
        let mut read = Self::default();
        while !rest.is_empty() {
            let (kind, value);
            (kind, value, rest) = attribute(rest)?;
            match kind {
                RTA_DST => read.destination = Some(address(family, value)?),
                RTA_TABLE => read.table = Some(number(value)?),
                RTA_OIF => read.single.interface = Some(number(value)?),
                RTA_GATEWAY => read.single.address = Some(address(family, value)?),
                RTA_VIA => read.single.address = Some(via(value)?),
                RTA_MULTIPATH => read.next_hops(family, value)?,
                RTA_ENCAP => read.encapsulated = true,
                RTA_NH_ID => read.group = true,
                _ => {}
            }
        }
        Ok(read)
    }

    fn next_hops(&mut self, family: u8, mut rest: &[u8]) -> Result<(), RouteError> {
        while !rest.is_empty() {
            let next_hop;
            (next_hop, rest) = cut(rest, half(rest, 0).map(usize::from), NEXT_HOP_HEADER, "a next hop")?;
            let mut hop = Hop { address: None, interface: word(next_hop, 4).filter(|index| *index != 0) };
            let mut attributes = &next_hop[NEXT_HOP_HEADER..];
            while !attributes.is_empty() {
                let (kind, value);
                (kind, value, attributes) = attribute(attributes)?;
                match kind {
                    RTA_GATEWAY => hop.address = Some(address(family, value)?),
                    RTA_VIA => hop.address = Some(via(value)?),
                    RTA_ENCAP => self.encapsulated = true,
                    _ => {}
                }
            }
            self.multipath.extend(hop.hop());
        }
        Ok(())
    }
}

/// The first attribute: its type, its value, and what is behind it.
fn attribute(rest: &[u8]) -> Result<(u16, &[u8], &[u8]), RouteError> {
    let (attribute, rest) = cut(rest, half(rest, 0).map(usize::from), ATTRIBUTE_HEADER, "an attribute")?;
    let kind = half(attribute, 2).ok_or(RouteError::Length("an attribute"))?;
    Ok((kind & NLA_TYPE_MASK, &attribute[ATTRIBUTE_HEADER..], rest))
}

/// Cuts off something of `len` octets, at least its header's, and the padding to a multiple of four.
fn cut<'a>(
    rest: &'a [u8],
    len: Option<usize>,
    header: usize,
    what: &'static str,
) -> Result<(&'a [u8], &'a [u8]), RouteError> {
    let len = len.filter(|len| *len >= header);
    let (cut, _) = len.and_then(|len| rest.split_at_checked(len)).ok_or(RouteError::Length(what))?;
    // The last one need not be padded.
    Ok((cut, rest.get(cut.len().next_multiple_of(4)..).unwrap_or_default()))
}

fn address(family: u8, value: &[u8]) -> Result<IpAddr, RouteError> {
    let v4 = || <[u8; 4]>::try_from(value).ok().map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(value).ok().map(IpAddr::from);
    let address = match family {
        AF_INET => v4(),
        AF_INET6 => v6(),
        _ => return Err(RouteError::Value("address family")),
    };
    address.ok_or(RouteError::Length("an address"))
}

/// `struct rtvia`: a family of two octets, an address.
fn via(value: &[u8]) -> Result<IpAddr, RouteError> {
    let family = half(value, 0).ok_or(RouteError::Length("an address"))?;
    let family = u8::try_from(family).map_err(|_| RouteError::Value("address family"))?;
    address(family, &value[2..])
}

fn number(value: &[u8]) -> Result<u32, RouteError> {
    Ok(u32::from_ne_bytes(value.try_into().map_err(|_| RouteError::Length("a number"))?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests;
