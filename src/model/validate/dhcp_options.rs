//! DHCP option sets.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use super::{Item, Source, Validation, each, value, value::Wrong};
use crate::model::{DhcpOptions, Errors, Id, NameServer, raw};

/// What a VPC names as its set to have none. No set can have this id.
pub(super) const NONE: &str = "default";

/// Most servers of a kind in a set.
const SERVERS: usize = 4;

pub(super) fn dhcp_options(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    for (item, raw) in each(sources, "DhcpOptions", |raw| &raw.dhcp_options, |set| &set.id) {
        let set = set(item, raw, errors);
        let id = item.new_id(&raw.id, "DhcpOptionsId", "dopt-a", &model.dhcp_options, errors);
        match id.as_deref() {
            Some(NONE) => {
                let problem = format!("{NONE} means no options at all in a VPC");
                item.wrong("DhcpOptionsId", problem, "give the set another id, such as dopt-a", errors);
            }
            _ => drop(id.map(|id| model.dhcp_options.insert(id.clone(), DhcpOptions { id, ..set }))),
        }
    }
}

/// The set, but for its id; with what is wrong noted.
fn set(item: Item<'_>, raw: &raw::DhcpOptions<'_>, errors: &mut Errors) -> DhcpOptions {
    let mut set = DhcpOptions {
        id: Id::default(),
        domain_name: None,
        domain_name_servers: Vec::new(),
        ntp_servers: Vec::new(),
        netbios_name_servers: Vec::new(),
        netbios_node_type: None,
        preferred_lifetime6: None,
        descriptive: raw.notes.descriptive(),
    };
    let mut seen: Vec<Key> = Vec::new();
    for (index, option) in raw.configurations.items().iter().enumerate() {
        let Some(key) = item.required(&option.key, Part::Key(index), "domain-name", str::parse, errors)
        else {
            continue;
        };
        if seen.contains(&key) {
            let problem = format!("{key} is there already");
            item.wrong(Part::Key(index), problem, "give all its values in one place", errors);
            continue;
        }
        seen.push(key);
        let mut values = Values { item, index, key, raw: option.values.items(), errors };
        if !matches!(option.values, raw::List::Wrong(_)) {
            values.count();
        }
        match key {
            Key::DomainName => set.domain_name = values.one(|text| domain_names(text).map(Box::from)),
            Key::DomainNameServers => set.domain_name_servers = values.all(name_server),
            Key::NtpServers => set.ntp_servers = values.all(value::server),
            Key::NetbiosNameServers => set.netbios_name_servers = values.all(netbios_server),
            Key::NetbiosNodeType => set.netbios_node_type = values.one(node_type),
            Key::PreferredLifetime6 => {
                set.preferred_lifetime6 =
                    values.one(|text| value::number(text, 140..=2_147_483_647, "a lease time in seconds"));
            }
        }
    }
    set
}

/// The values of one option of a set.
struct Values<'v, 'a> {
    item: Item<'v>,
    /// The option's position in the set.
    index: usize,
    key: Key,
    raw: &'v [raw::DhcpValue<'a>],
    errors: &'v mut Errors,
}

impl<'v> Values<'v, '_> {
    /// Notes that there are none, or too many.
    fn count(&mut self) {
        let most = self.key.most();
        let fix = match self.raw.len() {
            0 => format!("add {{Value: {}}}, or leave {} out", self.key.example(), self.key),
            count if count > most => format!("{} has at most {most}", self.key),
            _ => return,
        };
        let problem = format!("{} has {} values", self.key, self.raw.len());
        self.item.wrong(Part::Values(self.index), problem, fix, self.errors);
    }

    /// What is right among them.
    fn all<T>(&mut self, parse: impl Fn(&'v str) -> Result<T, Wrong>) -> Vec<T> {
        let mut all = Vec::with_capacity(self.raw.len());
        for (number, value) in self.raw.iter().enumerate().take(self.key.most()) {
            let part = Part::Value(self.index, number);
            all.extend(self.item.required(&value.value, part, self.key.example(), &parse, self.errors));
        }
        all
    }

    /// The only one.
    fn one<T>(&mut self, parse: impl Fn(&'v str) -> Result<T, Wrong>) -> Option<T> {
        self.all(parse).pop()
    }
}

/// The options that a set may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    DomainName,
    DomainNameServers,
    NtpServers,
    NetbiosNameServers,
    NetbiosNodeType,
    PreferredLifetime6,
}

impl Key {
    const ALL: [Self; 6] = [
        Self::DomainName,
        Self::DomainNameServers,
        Self::NtpServers,
        Self::NetbiosNameServers,
        Self::NetbiosNodeType,
        Self::PreferredLifetime6,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::DomainName => "domain-name",
            Self::DomainNameServers => "domain-name-servers",
            Self::NtpServers => "ntp-servers",
            Self::NetbiosNameServers => "netbios-name-servers",
            Self::NetbiosNodeType => "netbios-node-type",
            Self::PreferredLifetime6 => "ipv6-address-preferred-lease-time",
        }
    }

    const fn example(self) -> &'static str {
        match self {
            Self::DomainName => "example.com",
            Self::DomainNameServers => NameServer::AMAZON_PROVIDED,
            Self::NtpServers => "169.254.169.123",
            Self::NetbiosNameServers => "10.0.0.9",
            Self::NetbiosNodeType => "2",
            Self::PreferredLifetime6 => "140",
        }
    }

    /// The most values it has.
    const fn most(self) -> usize {
        match self {
            Self::DomainNameServers | Self::NtpServers | Self::NetbiosNameServers => SERVERS,
            Self::DomainName | Self::NetbiosNodeType | Self::PreferredLifetime6 => 1,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Key {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        Self::ALL.into_iter().find(|key| key.name() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Wrong::new(format!("{text} is no option of a set"), format!("choose one of {known}"))
        })
    }
}

fn name_server(text: &str) -> Result<NameServer, Wrong> {
    if text == NameServer::AMAZON_PROVIDED {
        return Ok(NameServer::AmazonProvided);
    }
    value::server(text).map(NameServer::Address).map_err(|wrong| {
        Wrong::new(wrong.problem, format!("{}, or {}", wrong.fix, NameServer::AMAZON_PROVIDED))
    })
}

fn netbios_server(text: &str) -> Result<Ipv4Addr, Wrong> {
    let address = value::address4(text)?;
    value::server(text).map(|_| address)
}

fn node_type(text: &str) -> Result<u8, Wrong> {
    match text.parse() {
        Ok(kind @ (1 | 2 | 4 | 8)) => Ok(kind),
        _ => Err(Wrong::new(
            format!("{text} is not a NetBIOS node type"),
            "write 1 (B), 2 (P), 4 (M) or 8 (H); EC2 recommends 2",
        )),
    }
}

/// One domain, or several separated by blanks: labels of letters, digits, hyphens and underscores, 63 octets each, 253 in
/// all (RFC 1035 §2.3.4). Wider than RFC 1123 by the underscore, which EC2 takes.
fn domain_names(text: &str) -> Result<&str, Wrong> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let is_name = |name: &str| {
        let name = name.strip_suffix('.').unwrap_or(name);
        name.len() <= 253 && name.split('.').all(is_label)
    };
    // A DHCPv4 option of up to 255 octets is understood by all clients (RFC 3396 §1).
    let fits = (1..=255).contains(&text.len());
    if fits && text.split_ascii_whitespace().count() > 0 && text.split_ascii_whitespace().all(is_name) {
        return Ok(text);
    }
    Err(Wrong::new(
        format!("{text:?} is not a domain name"),
        "write one such as example.com, of letters, digits, hyphens and dots, at most 253 characters",
    ))
}

/// A place in a set.
#[derive(Clone, Copy)]
enum Part {
    Key(usize),
    Values(usize),
    Value(usize, usize),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(index) => write!(f, "DhcpConfigurations[{index}].Key"),
            Self::Values(index) => write!(f, "DhcpConfigurations[{index}].Values"),
            Self::Value(index, number) => write!(f, "DhcpConfigurations[{index}].Values[{number}].Value"),
        }
    }
}
