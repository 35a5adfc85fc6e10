//! Elastic network interfaces: linear in their number but for two sorts, as there may be a million.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use hashbrown::{HashMap, HashSet};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    Item, Source, Validation, each,
    overlap::{Span, overlaps},
    tracking, value,
    value::Wrong,
};
use crate::{
    model::{
        ById, Eni, Errors, Id, SecurityGroup, Subnet,
        raw::{self, Check as _},
        router_mac,
    },
    packet::Mac,
};

/// Most security groups of an ENI (QT-3).
const GROUPS: usize = 16;

pub(super) fn enis(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, doubtful } = state;
    let places = Places::new(&model.subnets, doubtful);
    let count = sources.iter().map(|source| source.state.enis.items().len()).sum();
    let mut all =
        All { items: Vec::with_capacity(count), spans: Vec::with_capacity(count), macs: Vec::new() };
    let enis = &mut model.enis;
    enis.reserve(count);
    for (item, raw) in each(sources, "NetworkInterfaces", |raw| &raw.enis, |eni| &eni.id) {
        let eni = eni(item, raw, &places, &model.security_groups, &mut all, errors);
        if let Some(id) = item.new_id(&raw.id, "NetworkInterfaceId", "eni-a1", enis, errors) {
            enis.insert(id.clone(), Eni { id, ..eni });
        }
        all.items.push(item);
    }
    all.unique(errors);
}

/// The subnets, with what their ENIs are checked against.
struct Places<'m> {
    subnets: HashMap<&'m str, Place<'m>>,
    /// The MACs of the routers, by VPC.
    routers: HashMap<(u32, Mac), &'m str>,
    none: Id,
}

struct Place<'m> {
    id: &'m Id,
    subnet: &'m Subnet,
    /// The VPC, as a number.
    scope: u32,
    /// Whether its blocks are known.
    sound: bool,
}

impl<'m> Places<'m> {
    fn new(all: &'m ById<Subnet>, doubtful: &HashSet<Id>) -> Self {
        let mut scopes: HashMap<&str, u32> = HashMap::new();
        let mut subnets = HashMap::with_capacity(all.len());
        let mut routers = HashMap::with_capacity(all.len());
        for (id, subnet) in all {
            let next = scopes.len() as u32;
            let scope = *scopes.entry(&*subnet.vpc).or_insert(next);
            subnets.insert(&**id, Place { id, subnet, scope, sound: !doubtful.contains(id) });
            routers.insert((scope, router_mac(id)), &**id);
        }
        Self { subnets, routers, none: Id::default() }
    }
}

/// What must be unique among all ENIs of a VPC.
struct All<'a> {
    items: Vec<Item<'a>>,
    spans: Vec<Span<Part>>,
    macs: Vec<(u32, Mac, u32)>,
}

impl All<'_> {
    /// Notes MACs and addresses that two ENIs have.
    fn unique(&mut self, errors: &mut Errors) {
        let items = &self.items;
        self.macs.sort_unstable();
        let seconds = self.macs.iter().skip(1);
        for ((scope, mac, first), (other_scope, other_mac, second)) in self.macs.iter().zip(seconds) {
            if (scope, mac) == (other_scope, other_mac)
                && let (Some(first), Some(item)) = (items.get(*first as usize), items.get(*second as usize))
            {
                let problem = format!("{} has the MAC {mac} too", first.id);
                item.wrong("MacAddress", problem, "give each ENI of a VPC its own", errors);
            }
        }
        overlaps(&mut self.spans, |first, second| {
            let (Some(earlier), Some(item)) =
                (items.get(first.owner as usize), items.get(second.owner as usize))
            else {
                return;
            };
            let problem = match (first.block(), second.block()) {
                (a, b) if a == b => format!("{} is {}'s already", text(b), earlier.id),
                (a, b) => format!("{} overlaps {} of {}", text(b), text(a), earlier.id),
            };
            item.wrong(second.part, problem, "give each ENI addresses of its own", errors);
        });
    }
}

/// A block for people: an address without its length.
fn text(block: IpNet) -> String {
    if block.prefix_len() == block.max_prefix_len() { block.addr().to_string() } else { block.to_string() }
}

/// The ENI, but for its id and attachment; with what is wrong noted.
fn eni<'a>(
    item: Item<'a>,
    raw: &raw::Eni<'_>,
    places: &Places<'_>,
    groups: &ById<SecurityGroup>,
    all: &mut All<'a>,
    errors: &mut Errors,
) -> Eni {
    let owner = all.items.len() as u32;
    let resolve = |id| places.subnets.get(id).ok_or_else(|| value::unresolved(id, "Subnets"));
    let place = item.required(&raw.subnet, "SubnetId", "subnet-a", resolve, errors);
    let vpc = place.map_or(&places.none, |place| &place.subnet.vpc);
    if let (Some(place), Some(stated)) = (place, raw.vpc.get())
        && stated != &**vpc
        && !vpc.is_empty()
    {
        let problem = format!("{stated} is not the VPC of {}", place.id);
        item.wrong("VpcId", problem, format!("write {vpc}, or leave it out"), errors);
    }

    let mac = item.required(&raw.mac, "MacAddress", "02:00:00:00:01:0a", value::mac, errors);
    if let (Some(place), Some(mac)) = (place, mac) {
        if let Some(subnet) = places.routers.get(&(place.scope, mac)) {
            let problem = format!("{mac} is the MAC of the router of {subnet}");
            item.wrong("MacAddress", problem, "choose another", errors);
        }
        all.macs.push((place.scope, mac, owner));
    }

    let mut addresses = Addresses { item, place: place.filter(|place| place.sound), owner, all, errors };
    let (primary4, secondary4) = addresses.four(raw);
    let prefixes4 = addresses.prefixes4(raw);
    let (addresses6, prefixes6) = (addresses.six(raw), addresses.prefixes6(raw));
    let check = item.optional(&raw.source_dest_check, "SourceDestCheck", value::boolean, errors);
    Eni {
        id: Id::default(),
        vpc: vpc.clone(),
        subnet: place.map_or(&places.none, |place| place.id).clone(),
        mac: mac.unwrap_or_default(),
        primary4,
        secondary4,
        prefixes4,
        addresses6,
        prefixes6,
        source_dest_check: check.unwrap_or(true),
        groups: security_groups(item, raw, vpc, groups, errors),
        tracking: tracking::of_eni(item, &raw.tracking, errors),
        attachment: None,
        descriptive: raw.notes.descriptive(),
    }
}

/// The ENI's groups, all of its VPC.
fn security_groups(
    item: Item<'_>,
    raw: &raw::Eni<'_>,
    vpc: &Id,
    known: &ById<SecurityGroup>,
    errors: &mut Errors,
) -> Box<[Id]> {
    let list = raw.groups.items();
    if list.len() > GROUPS {
        let problem = format!("has {} security groups", list.len());
        item.wrong("Groups", problem, format!("an ENI has at most {GROUPS}"), errors);
    }
    let mut groups: Vec<Id> = Vec::with_capacity(list.len().min(GROUPS));
    for (index, group) in list.iter().enumerate().take(GROUPS) {
        let part = Part::Group(index as u32);
        let found = item.reference(&group.id, part, "sg-open", "SecurityGroups", known, errors);
        let Some((id, group)) = found else { continue };
        if group.vpc != *vpc && !group.vpc.is_empty() && !vpc.is_empty() {
            let problem = format!("{id} is a group of {}, the ENI is in {vpc}", group.vpc);
            item.wrong(part, problem, "choose groups of the same VPC", errors);
        }
        if groups.contains(id) {
            item.wrong(part, format!("{id} is there already"), "list a group once", errors);
        }
        groups.push(id.clone());
    }
    groups.into()
}

/// The addresses of one ENI as they are validated.
struct Addresses<'v, 'a, 'm> {
    item: Item<'a>,
    /// The subnet; `None` if it is not known what lies in it.
    place: Option<&'v Place<'m>>,
    owner: u32,
    all: &'v mut All<'a>,
    errors: &'v mut Errors,
}

impl Addresses<'_, '_, '_> {
    /// Notes that the ENI has the block.
    fn take(&mut self, place: &Place<'_>, block: impl Into<IpNet>, part: Part) {
        self.all.spans.push(Span::new(place.scope, block.into(), self.owner, part));
    }

    fn wrong(&mut self, part: Part, problem: String, fix: impl Into<String>) {
        self.item.wrong(part, problem, fix, self.errors);
    }

    /// Runs a check of a block against the subnet; takes the block if it passes.
    fn check(
        &mut self,
        block: impl Into<IpNet>,
        part: Part,
        check: impl FnOnce(&Subnet) -> Result<(), Wrong>,
    ) {
        let Some(place) = self.place else { return };
        match check(place.subnet) {
            Ok(()) => self.take(place, block, part),
            Err(wrong) => self.errors.0.push(self.item.error(part, wrong)),
        }
    }

    /// The primary and the secondary IPv4 addresses.
    fn four(&mut self, raw: &raw::Eni<'_>) -> (Option<Ipv4Addr>, Box<[Ipv4Addr]>) {
        let primary = self.item.optional(&raw.primary4, Part::Primary4, value::address4, self.errors);
        if let Some(primary) = primary {
            self.check(Ipv4Net::from(primary), Part::Primary4, |subnet| assignable4(subnet, primary));
        } else if raw.primary4.is_missing()
            && let Some(Place { id, subnet: Subnet { cidr4: Some(cidr4), .. }, .. }) = self.place
        {
            let fix = format!("add an address of {id}, {}", range4(*cidr4));
            self.wrong(Part::Primary4, "is missing".to_owned(), fix);
        }

        let list = raw.addresses4.items();
        let mut secondary = Vec::with_capacity(list.len().saturating_sub(1));
        let (mut listed, mut primaries, mut sound) =
            (false, 0, !matches!(raw.addresses4, raw::List::Wrong(_)));
        for (index, entry) in list.iter().enumerate() {
            let part = Part::Address4(index as u32);
            let address = self.item.required(&entry.address, part, "10.0.1.10", value::address4, self.errors);
            let key = Part::Primary(index as u32);
            let is_primary = self.item.optional(&entry.primary, key, value::boolean, self.errors);
            if is_primary == Some(true) {
                primaries += 1;
                if primaries == 2 {
                    self.wrong(
                        key,
                        "is a second primary address".to_owned(),
                        "mark one address Primary: true",
                    );
                }
            }
            let Some(address) = address else {
                sound = false;
                continue;
            };
            let is_the_one = primary == Some(address);
            if let (Some(primary), Some(stated)) = (primary, is_primary)
                && stated != is_the_one
                && primaries < 2
            {
                let problem = format!("Primary of {address} is {stated}, but PrivateIpAddress is {primary}");
                self.wrong(key, problem, "make the two agree");
                sound = false;
            }
            if is_the_one && !listed {
                listed = true;
            } else {
                self.check(Ipv4Net::from(address), part, |subnet| assignable4(subnet, address));
                secondary.push(address);
            }
        }
        if let Some(primary) = primary
            && sound
            && !listed
            && !raw.addresses4.is_missing()
        {
            let problem = format!("{primary} is not in PrivateIpAddresses");
            let fix = format!("add {{PrivateIpAddress: {primary}, Primary: true}} there");
            self.wrong(Part::Primary4, problem, fix);
        }
        (primary, secondary.into())
    }

    fn six(&mut self, raw: &raw::Eni<'_>) -> Box<[Ipv6Addr]> {
        let mut addresses = Vec::with_capacity(raw.addresses6.items().len());
        for (index, entry) in raw.addresses6.items().iter().enumerate() {
            let part = Part::Address6(index as u32);
            let example = "2001:db8:b1:1::a";
            let address = self.item.required(&entry.address, part, example, value::address6, self.errors);
            if let Some(address) = address {
                self.check(Ipv6Net::from(address), part, |subnet| assignable6(subnet, address));
                addresses.push(address);
            }
        }
        addresses.into()
    }

    fn prefixes4(&mut self, raw: &raw::Eni<'_>) -> Box<[Ipv4Net]> {
        let mut prefixes = Vec::with_capacity(raw.prefixes4.items().len());
        for (index, entry) in raw.prefixes4.items().iter().enumerate() {
            let part = Part::Prefix4(index as u32);
            let prefix = self.item.required(&entry.prefix, part, "10.0.1.16/28", value::cidr4, self.errors);
            let Some(prefix) = prefix else { continue };
            self.check(prefix, part, |subnet| {
                length(prefix.into(), 28)?;
                let block = subnet.cidr4.ok_or_else(|| no_block(subnet, "IPv4"))?;
                let (first, last) = (block.network().to_bits(), block.broadcast().to_bits());
                let covers = (prefix.network().to_bits(), prefix.broadcast().to_bits());
                delegated(prefix.into(), block.into(), covers.0 <= first + 3 || covers.1 >= last)
            });
            prefixes.push(prefix);
        }
        prefixes.into()
    }

    fn prefixes6(&mut self, raw: &raw::Eni<'_>) -> Box<[Ipv6Net]> {
        let mut prefixes = Vec::with_capacity(raw.prefixes6.items().len());
        for (index, entry) in raw.prefixes6.items().iter().enumerate() {
            let part = Part::Prefix6(index as u32);
            let example = "2001:db8:b1:1:1::/80";
            let prefix = self.item.required(&entry.prefix, part, example, value::cidr6, self.errors);
            let Some(prefix) = prefix else { continue };
            self.check(prefix, part, |subnet| {
                length(prefix.into(), 80)?;
                let block = subnet.cidr6.ok_or_else(|| no_block(subnet, "IPv6"))?;
                let (first, last) = (block.network().to_bits(), block.broadcast().to_bits());
                let covers = (prefix.network().to_bits(), prefix.broadcast().to_bits());
                delegated(prefix.into(), block.into(), covers.0 <= first + 3 || covers.1 >= last)
            });
            prefixes.push(prefix);
        }
        prefixes.into()
    }
}

fn no_block(subnet: &Subnet, family: &str) -> Wrong {
    let fix = format!("leave it out, or give the subnet an {family} block");
    Wrong::new(format!("{} has no {family} block", subnet.id), fix)
}

/// The addresses that ENIs can have, for people.
fn range4(block: Ipv4Net) -> String {
    let (first, last) = (block.network().to_bits() + 4, block.broadcast().to_bits() - 1);
    format!("{} to {}", Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(last))
}

/// Whether the address may be an ENI's: in the subnet, and not reserved (ADDR-1).
pub(super) fn assignable4(subnet: &Subnet, address: Ipv4Addr) -> Result<(), Wrong> {
    let block = subnet.cidr4.ok_or_else(|| no_block(subnet, "IPv4"))?;
    if !block.contains(&address) {
        let problem = format!("{address} is not in {} ({block})", subnet.id);
        return Err(Wrong::new(problem, format!("choose one of {}", range4(block))));
    }
    let what = match address.to_bits() - block.network().to_bits() {
        0 => "as the network's own",
        1 => "for the router",
        2 => "for DNS",
        3 => "for future use",
        _ if address == block.broadcast() => "as the broadcast address",
        _ => return Ok(()),
    };
    let problem = format!("{address} is reserved {what} in {}", subnet.id);
    Err(Wrong::new(problem, format!("choose one of {}", range4(block))))
}

/// Whether the address may be an ENI's: in the subnet, and not reserved (ADDR-3).
fn assignable6(subnet: &Subnet, address: Ipv6Addr) -> Result<(), Wrong> {
    let block = subnet.cidr6.ok_or_else(|| no_block(subnet, "IPv6"))?;
    let (first, last) = (block.network().to_bits(), block.broadcast().to_bits());
    let right = format!("choose one of {} to {}", Ipv6Addr::from(first + 4), Ipv6Addr::from(last - 1));
    if !block.contains(&address) {
        return Err(Wrong::new(format!("{address} is not in {} ({block})", subnet.id), right));
    }
    if address.to_bits() <= first + 3 || address.to_bits() == last {
        let problem =
            format!("{address} is one of the first four or the last of {}, which are reserved", subnet.id);
        return Err(Wrong::new(problem, right));
    }
    Ok(())
}

/// Whether a delegated prefix has the length EC2 gives (ADDR-10).
fn length(prefix: IpNet, right: u8) -> Result<(), Wrong> {
    if prefix.prefix_len() == right {
        return Ok(());
    }
    Err(Wrong::new(
        format!("{prefix} is a /{}", prefix.prefix_len()),
        format!("a delegated prefix is a /{right}"),
    ))
}

/// Whether a delegated prefix lies in the subnet's block, and covers no reserved address (ADDR-11).
fn delegated(prefix: IpNet, block: IpNet, covers_reserved: bool) -> Result<(), Wrong> {
    if !block.contains(&prefix) {
        return Err(Wrong::new(format!("{prefix} is not in {block}"), "choose one in the subnet"));
    }
    if covers_reserved {
        let problem = format!("{prefix} covers reserved addresses of {block}");
        return Err(Wrong::new(problem, "choose one behind the first four addresses and before the last"));
    }
    Ok(())
}

/// A place in an ENI.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Primary4,
    Address4(u32),
    Primary(u32),
    Prefix4(u32),
    Address6(u32),
    Prefix6(u32),
    Group(u32),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary4 => f.write_str("PrivateIpAddress"),
            Self::Address4(index) => write!(f, "PrivateIpAddresses[{index}].PrivateIpAddress"),
            Self::Primary(index) => write!(f, "PrivateIpAddresses[{index}].Primary"),
            Self::Prefix4(index) => write!(f, "Ipv4Prefixes[{index}].Ipv4Prefix"),
            Self::Address6(index) => write!(f, "Ipv6Addresses[{index}].Ipv6Address"),
            Self::Prefix6(index) => write!(f, "Ipv6Prefixes[{index}].Ipv6Prefix"),
            Self::Group(index) => write!(f, "Groups[{index}].GroupId"),
        }
    }
}
