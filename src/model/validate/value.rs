//! The values of keys: text to typed, each with what is wrong and what would be right.

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::packet::{Mac, Vni};

/// What is wrong, and what would be right.
pub(super) struct Wrong {
    pub(super) problem: String,
    pub(super) fix: String,
}

impl Wrong {
    pub(super) fn new(problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { problem: problem.into(), fix: fix.into() }
    }
}

/// A reference to something that is not in the state.
pub(super) fn unresolved(id: &str, section: &str) -> Wrong {
    Wrong::new(format!("{id} is not in the state"), format!("name one of the {section}, or add it there"))
}

pub(super) fn id(text: &str) -> Result<&str, Wrong> {
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Wrong::new(
            format!("{text:?} is not an id"),
            "write at least one character, and no blank",
        ));
    }
    Ok(text)
}

pub(super) fn boolean(text: &str) -> Result<bool, Wrong> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Wrong::new(format!("{text} is neither true nor false"), "write true or false")),
    }
}

/// A number in a range, which names itself: `what` is such as "a hop limit".
pub(super) fn number<T>(text: &str, range: RangeInclusive<T>, what: &str) -> Result<T, Wrong>
where
    T: FromStr + PartialOrd + Display,
{
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        let fix = format!("choose a number from {} to {}", range.start(), range.end());
        Wrong::new(format!("{text} is not {what}"), fix)
    })
}

pub(super) fn vni(text: &str) -> Result<Vni, Wrong> {
    text.parse().ok().and_then(Vni::new).ok_or_else(|| {
        Wrong::new(format!("{text} is not a VNI"), format!("choose a number from 1 to {}", Vni::MAX))
    })
}

pub(super) fn mac(text: &str) -> Result<Mac, Wrong> {
    let mac: Mac = text.parse().map_err(|error: crate::packet::ParseMacError| {
        Wrong::new(format!("{text} is not a MAC"), error.to_string())
    })?;
    if !mac.is_unicast() {
        let kind = if mac.is_group() { "a multicast or broadcast address" } else { "all zeros" };
        return Err(Wrong::new(
            format!("{mac} is {kind}"),
            "an ENI has a unicast MAC such as 02:00:00:00:01:0a",
        ));
    }
    Ok(mac)
}

fn parsed<T: FromStr>(text: &str, what: &str, example: &str) -> Result<T, Wrong> {
    text.parse()
        .map_err(|_| Wrong::new(format!("{text} is not {what}"), format!("write one such as {example}")))
}

pub(super) fn address4(text: &str) -> Result<Ipv4Addr, Wrong> {
    parsed(text, "an IPv4 address", "10.0.1.10")
}

pub(super) fn address6(text: &str) -> Result<Ipv6Addr, Wrong> {
    parsed(text, "an IPv6 address", "2001:db8:b1:1::a")
}

/// The address of a host on the underlay.
pub(super) fn underlay(text: &str) -> Result<IpAddr, Wrong> {
    let address = parsed(text, "an IP address", "192.0.2.1")?;
    match not_a_host(address) {
        None if matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()) => {
            Err(Wrong::new(format!("{address} is a link-local address"), UNDERLAY))
        }
        None => Ok(address),
        Some(kind) => Err(Wrong::new(format!("{address} is {kind}"), UNDERLAY)),
    }
}

const UNDERLAY: &str = "write the unicast address at which other hosts reach this one";

/// The address of a server that instances are told of.
pub(super) fn server(text: &str) -> Result<IpAddr, Wrong> {
    let address = parsed(text, "an IP address", "10.0.0.9")?;
    match not_a_host(address) {
        None => Ok(address),
        Some(kind) => Err(Wrong::new(
            format!("{address} is {kind}"),
            "write a server's unicast address such as 10.0.0.9",
        )),
    }
}

/// What an address is that no host has.
fn not_a_host(address: IpAddr) -> Option<&'static str> {
    Some(match address {
        _ if address.is_unspecified() => "the unspecified address",
        _ if address.is_loopback() => "a loopback address",
        _ if address.is_multicast() => "a multicast address",
        IpAddr::V4(Ipv4Addr::BROADCAST) => "the broadcast address",
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => "an IPv4 address in IPv6 form",
        _ => return None,
    })
}

/// A block with no host bits set.
fn block<T: FromStr + Display + PartialEq>(
    text: &str,
    family: &str,
    example: &str,
    trunc: impl Fn(&T) -> T,
) -> Result<T, Wrong> {
    let block: T = parsed(text, &format!("an {family} block"), example)?;
    let right = trunc(&block);
    if right != block {
        return Err(Wrong::new(format!("{text} has bits set behind its prefix"), format!("write {right}")));
    }
    Ok(block)
}

pub(super) fn cidr4(text: &str) -> Result<Ipv4Net, Wrong> {
    block(text, "IPv4", "10.0.1.0/24", Ipv4Net::trunc)
}

pub(super) fn cidr6(text: &str) -> Result<Ipv6Net, Wrong> {
    block(text, "IPv6", "2001:db8:b1:1::/64", Ipv6Net::trunc)
}

/// A block of either family.
pub(super) fn cidr(text: &str) -> Result<IpNet, Wrong> {
    if text.contains(':') { cidr6(text).map(IpNet::V6) } else { cidr4(text).map(IpNet::V4) }
}

/// A link's own address with the link's prefix, such as 169.254.255.1/30.
pub(super) fn link(text: &str) -> Result<IpNet, Wrong> {
    let link: IpNet = parsed(text, "an address with its prefix", "169.254.255.1/30")?;
    match not_a_host(link.addr()) {
        Some(kind) => Err(Wrong::new(format!("{} is {kind}", link.addr()), "write a unicast address")),
        None if link.prefix_len() < link.max_prefix_len() => Ok(link),
        None => {
            let fix = "write the prefix length of the link, such as 169.254.255.1/30";
            Err(Wrong::new(format!("{text} has no neighbours"), fix))
        }
    }
}

/// The address of the other end of a link; a prefix length behind it says nothing.
pub(super) fn neighbour(text: &str) -> Result<IpAddr, Wrong> {
    let address = text.split_once('/').map_or(text, |(address, _)| address);
    let address = parsed(address, "an IP address", "169.254.255.2")?;
    match not_a_host(address) {
        None => Ok(address),
        Some(kind) => Err(Wrong::new(format!("{address} is {kind}"), "write a unicast address")),
    }
}

/// Whether the other end of a link is on it, and another than this one.
pub(super) fn on_link(address: IpNet, peer: IpAddr) -> Result<(), Wrong> {
    if address.contains(&peer) && address.addr() != peer {
        return Ok(());
    }
    let fix = format!("write another address of {}", address.trunc());
    Err(Wrong::new(format!("{peer} is not the other end of {address}"), fix))
}

/// A VLAN id.
pub(super) fn vlan(text: &str) -> Result<u16, Wrong> {
    number(text, 1..=4094, "a VLAN id")
}

/// A public IPv4 address.
pub(super) fn public4(text: &str) -> Result<Ipv4Addr, Wrong> {
    let address = address4(text)?;
    match not_a_host(address.into()) {
        None => Ok(address),
        Some(kind) => Err(Wrong::new(format!("{address} is {kind}"), "write a unicast address")),
    }
}

/// An IPv4 multicast group that routers forward: not one of 224.0.0.0/24 (MC-11).
pub(super) fn group4(text: &str) -> Result<Ipv4Addr, Wrong> {
    let group = address4(text)?;
    let fix = "write one from 224.0.1.0 to 239.255.255.255";
    match group.octets() {
        _ if !group.is_multicast() => Err(Wrong::new(format!("{group} is no multicast group"), fix)),
        [224, 0, 0, _] => {
            Err(Wrong::new(format!("{group} is of 224.0.0.0/24, which stays on its link (MC-11)"), fix))
        }
        _ => Ok(group),
    }
}

/// `enable` or `disable`, as options of transit gateways are written.
pub(super) fn enabled(text: &str) -> Result<bool, Wrong> {
    match text {
        "enable" => Ok(true),
        "disable" => Ok(false),
        _ => Err(Wrong::new(format!("{text} is neither enable nor disable"), "write enable or disable")),
    }
}

/// One of some words.
pub(super) fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Wrong> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        Wrong::new(format!("{text} is not known here"), format!("write {}", words.join(" or ")))
    })
}

/// An IPv4 block of a VPC or subnet: /16 to /28 (ADDR-1, ADDR-4).
pub(super) fn vpc_cidr4(text: &str) -> Result<Ipv4Net, Wrong> {
    let block = cidr4(text)?;
    if !(16..=28).contains(&block.prefix_len()) {
        return Err(Wrong::new(
            format!("{block} is a /{}", block.prefix_len()),
            "an IPv4 block of a VPC or subnet is a /16 to a /28",
        ));
    }
    Ok(block)
}

fn ipv6_size(block: Ipv6Net, largest: u8, what: &str) -> Result<Ipv6Net, Wrong> {
    let length = block.prefix_len();
    if !(44..=largest).contains(&length) || !length.is_multiple_of(4) {
        return Err(Wrong::new(
            format!("{block} is a /{length}"),
            format!("an IPv6 block of a {what} is a /44 to a /{largest} in steps of four"),
        ));
    }
    Ok(block)
}

/// An IPv6 block of a VPC: /44 to /60 in steps of four.
pub(super) fn vpc_cidr6(text: &str) -> Result<Ipv6Net, Wrong> {
    ipv6_size(cidr6(text)?, 60, "VPC")
}

/// An IPv6 block of a subnet: /44 to /64 in steps of four (ADDR-3).
pub(super) fn subnet_cidr6(text: &str) -> Result<Ipv6Net, Wrong> {
    ipv6_size(cidr6(text)?, 64, "subnet")
}

/// Blocks that instances cannot have addresses of, and why.
const SPECIAL: [(&str, &str); 9] = [
    ("0.0.0.0/8", "means this network"),
    ("127.0.0.0/8", "is loopback"),
    ("169.254.0.0/16", "is link-local"),
    ("224.0.0.0/3", "is multicast and reserved"),
    ("::/16", "is reserved"),
    ("fe80::/10", "is link-local"),
    ("fec0::/10", "is deprecated"),
    ("ff00::/8", "is multicast"),
    ("fd00:ec2::/32", "is that of EC2's own services"),
];

/// Refuses a VPC's block where no instance can have an address.
pub(super) fn usable(block: IpNet) -> Result<(), Wrong> {
    for (special, why) in SPECIAL {
        let special: IpNet = special.parse().map_err(|_| Wrong::new("", ""))?;
        if special.contains(&block) || block.contains(&special) {
            let example = if matches!(block, IpNet::V4(_)) { "10.0.0.0/16" } else { "2001:db8:b1::/56" };
            return Err(Wrong::new(
                format!("{block} overlaps {special}, which {why}"),
                format!("choose a unicast block such as {example}"),
            ));
        }
    }
    Ok(())
}

/// A well-formed availability zone's region: `eu-central-1` of `eu-central-1a`, `us-west-2` of `us-west-2-lax-1a`.
pub(super) fn region(zone: &str) -> Result<&str, Wrong> {
    region_of(zone).ok_or_else(|| {
        Wrong::new(
            format!("{zone} is not an availability zone"),
            "write a region and a letter such as eu-central-1a, or a local zone such as us-west-2-lax-1a",
        )
    })
}

/// The region of an availability zone; `None` of anything else.
pub(in crate::model) fn region_of(zone: &str) -> Option<&str> {
    // The region ends with its first number: words, then the number.
    let start = zone.find(|c: char| c.is_ascii_digit())?;
    let tail = zone.get(start..)?;
    let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
    let region = zone.get(..start + digits)?;
    let words = region.get(..start)?.strip_suffix('-')?;
    let is_word = |word: &str| word.len() >= 2 && word.bytes().all(|b| b.is_ascii_lowercase());
    if words.split('-').count() < 2 || !words.split('-').all(is_word) {
        return None;
    }
    let rest = tail.get(digits..)?;
    let is_zone = match rest.strip_prefix('-') {
        None => rest.len() == 1 && rest.bytes().all(|b| b.is_ascii_lowercase()),
        Some(local) => local.split('-').all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        }),
    };
    is_zone.then_some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_regions() {
        for (zone, region) in [
            ("eu-central-1a", Some("eu-central-1")),
            ("us-gov-west-1b", Some("us-gov-west-1")),
            ("us-west-2-lax-1a", Some("us-west-2")),
            ("us-east-1-wl1-bos-wlz-1", Some("us-east-1")),
            ("eu-central-1", None),
            ("eu-central-a", None),
            ("eu-1a", None),
            ("1a", None),
            ("eu-central-1A", None),
            ("eu-central-1-", None),
            ("rack 7", None),
            ("", None),
        ] {
            assert_eq!(region_of(zone), region, "{zone}");
        }
    }

    #[test]
    fn special_blocks_parse() {
        for (special, _) in SPECIAL {
            assert!(special.parse::<IpNet>().is_ok());
        }
        assert!(usable("10.0.0.0/16".parse().unwrap()).is_ok());
        assert!(usable("2001:db8:b1::/56".parse().unwrap()).is_ok());
        assert!(usable("169.254.0.0/16".parse().unwrap()).is_err());
    }
}
