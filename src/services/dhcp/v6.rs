//! DHCPv6 (RFC 8415).

use std::net::Ipv6Addr;

use dhcproto::{
    Decoder, Encodable,
    v6::{
        DhcpOption, DhcpOptions, IAAddr, IANA, IAPD, IAPrefix, IATA, MessageType, NtpSuboption, OptionCode,
        Status, StatusCode, UnknownOption,
    },
};
use ipnet::Ipv6Net;

use super::{super::nd::ROUTER, Datagram, Ends, Lease, LeaseV6};
use crate::packet::{Mac, ipv6_endpoints};

/// UDP ports (RFC 8415 §7.2).
pub(super) const SERVER: u16 = 547;
const CLIENT: u16 = 546;

/// ff02::1:2, All_DHCP_Relay_Agents_and_Servers (RFC 8415 §7.1).
const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// How long an address is preferred, in seconds, where the option set does not say: EC2's default.
const PREFERRED: u32 = 140;
/// How much longer than preferred an address is valid, in seconds: so long a client may find no server without losing its
/// connections.
const GRACE: u32 = 310;

/// What a server of the largest preference says (RFC 8415 §21.8): it is the only one.
const ONLY: u8 = 255;

/// Octets of an address in an association (RFC 8415 §21.6), and of the headers of IPv6 and UDP.
const ADDRESS: usize = 28;
const HEADERS: usize = 48;

/// A client's options, which may come again and again: code and content, in their order.
struct Options<'a>(Vec<(OptionCode, &'a [u8])>);

impl<'a> Options<'a> {
    /// `None` where an option reaches behind the end.
    fn read(data: &'a [u8]) -> Option<Self> {
        let mut decoder = Decoder::new(data);
        let mut options = Vec::new();
        while !decoder.buffer().is_empty() {
            let code = OptionCode::from(decoder.read_u16().ok()?);
            let length = decoder.read_u16().ok()?;
            options.push((code, decoder.read_slice(length.into()).ok()?));
        }
        Some(Self(options))
    }

    fn all(&self, code: OptionCode) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(known, _)| *known == code).map(|(_, data)| *data)
    }

    fn get(&self, code: OptionCode) -> Option<&'a [u8]> {
        self.all(code).next()
    }
}

/// An identity association that a client wants filled (RFC 8415 §4.2): for addresses, temporary addresses or prefixes.
struct Association<'a> {
    kind: OptionCode,
    id: u32,
    options: Options<'a>,
}

impl<'a> Association<'a> {
    /// `None` of an option that is none, and where it contradicts itself.
    fn read(kind: OptionCode, data: &'a [u8]) -> Option<Option<Self>> {
        let fixed = match kind {
            // Behind the id are the times T1 and T2, which a server overrides (RFC 8415 §21.4, §21.21).
            OptionCode::IANA | OptionCode::IAPD => 12,
            OptionCode::IATA => 4,
            _ => return Some(None),
        };
        let (head, rest) = data.split_at_checked(fixed)?;
        let id = u32::from_be_bytes(*head.first_chunk()?);
        Some(Some(Self { kind, id, options: Options::read(rest)? }))
    }

    /// The addresses in it.
    fn addresses(&self) -> impl Iterator<Item = Ipv6Addr> {
        let address = |data: &[u8]| data.first_chunk::<16>().map(|&octets| Ipv6Addr::from(octets));
        self.options.all(OptionCode::IAAddr).filter_map(address)
    }

    /// The prefixes in it.
    fn prefixes(&self) -> impl Iterator<Item = Ipv6Net> {
        // RFC 8415 §21.22: behind two lifetimes, length and prefix.
        let prefix = |data: &[u8]| {
            let (&length, prefix) = data.get(8..25)?.split_first()?;
            Ipv6Net::new(Ipv6Addr::from(*prefix.first_chunk::<16>()?), length).ok()
        };
        self.options.all(OptionCode::IAPrefix).filter_map(prefix)
    }
}

/// A client's message.
struct Request<'a> {
    kind: MessageType,
    transaction: [u8; 3],
    options: Options<'a>,
    associations: Vec<Association<'a>>,
}

impl<'a> Request<'a> {
    fn read(message: &'a [u8]) -> Option<Self> {
        let (head, rest) = message.split_first_chunk::<4>()?;
        let [kind, transaction @ ..] = *head;
        let options = Options::read(rest)?;
        let mut associations = Vec::new();
        for &(code, data) in &options.0 {
            associations.extend(Association::read(code, data)?);
        }
        Some(Self { kind: MessageType::from(kind), transaction, options, associations })
    }

    /// Whether a server may look at it (RFC 8415 §16): who it is from and for.
    fn is_valid(&self, server: &[u8]) -> bool {
        let from = self.options.get(OptionCode::ClientId);
        let to = self.options.get(OptionCode::ServerId);
        match self.kind {
            MessageType::Solicit | MessageType::Confirm | MessageType::Rebind => {
                from.is_some() && to.is_none()
            }
            MessageType::Request | MessageType::Renew | MessageType::Release | MessageType::Decline => {
                from.is_some() && to == Some(server)
            }
            MessageType::InformationRequest => {
                to.is_none_or(|to| to == server) && self.associations.is_empty()
            }
            // Servers' messages, relays' (whom a VPC does not have), and unknown ones.
            _ => false,
        }
    }

    /// Whether the client wants to be told an option (RFC 8415 §21.7).
    fn wants(&self, code: u16) -> bool {
        let list = self.options.get(OptionCode::ORO);
        list.is_none_or(|list| list.as_chunks().0.iter().any(|&wanted| u16::from_be_bytes(wanted) == code))
    }
}

/// The server's DUID: of type DUID-LL (RFC 8415 §11.4), of the router's MAC, and so the same on all hosts.
fn server_id(router: Mac) -> Vec<u8> {
    [&[0, 3, 0, 1][..], &router.0].concat()
}

/// The answer to the message in a frame; `None` for silence.
pub(super) fn answer(frame: &[u8], message: &[u8], lease: &Lease, v6: &LeaseV6) -> Option<Datagram> {
    let (source, destination) = ipv6_endpoints(frame);
    let request = Request::read(message)?;
    let server = server_id(lease.router_mac);
    // RFC 8415 §13.1: a client on the link asks from a link-local address.
    if !source.is_unicast_link_local() || !request.is_valid(&server) {
        return None;
    }
    // One packet: what is more than fits of an ENI's addresses, its instance has to be told otherwise.
    let longest = usize::from(lease.mtu).saturating_sub(HEADERS);
    let most = v6.addresses.len();
    let mut data = reply(&request, server.clone(), destination, &Told::new(&request, lease, v6, most))?;
    if let Some(excess) = data.len().checked_sub(longest) {
        let most = most.saturating_sub(excess.div_ceil(ADDRESS));
        data = reply(&request, server, destination, &Told::new(&request, lease, v6, most))?;
    }
    let fits = data.len() <= longest;
    fits.then_some(Datagram { to: lease.mac, ends: Ends::V6(ROUTER, source), ports: (SERVER, CLIENT), data })
}

/// The message with the answer; `None` for silence.
fn reply(request: &Request<'_>, server: Vec<u8>, destination: Ipv6Addr, told: &Told<'_>) -> Option<Vec<u8>> {
    let reply = if destination == SERVERS {
        told.options(request)?
    } else if destination.is_multicast() {
        return None;
    } else {
        // RFC 8415 §16, §18.3: of messages that name the server, the sender is told that nobody allowed it unicast.
        request.options.get(OptionCode::ServerId)?;
        vec![status(Status::UseMulticast)]
    };
    let kind = match request.kind {
        MessageType::Solicit if request.options.get(OptionCode::RapidCommit).is_none() => {
            MessageType::Advertise
        }
        _ => MessageType::Reply,
    };
    let mut data = vec![kind.into()];
    data.extend(request.transaction);
    let ids = request.options.get(OptionCode::ClientId).map(|id| DhcpOption::ClientId(id.to_vec()));
    let ids = ids.into_iter().chain([DhcpOption::ServerId(server)]);
    // One by one: a set of `dhcproto`'s has them in the order of their codes, and equal ones in any.
    for option in ids.chain(reply) {
        data.extend(option.to_vec().ok()?);
    }
    Some(data)
}

fn status(status: Status) -> DhcpOption {
    DhcpOption::StatusCode(StatusCode { status, msg: String::new() })
}

/// What a client can be told.
struct Told<'a> {
    lease: &'a Lease,
    v6: &'a LeaseV6,
    /// As many of the addresses as there is room for.
    addresses: &'a [Ipv6Addr],
    /// Preferred and valid lifetime, in seconds.
    lifetimes: (u32, u32),
    /// Whether addresses that the client has and should not have, are taken away (RFC 8415 §18.3.4, §18.3.5).
    takes_back: bool,
}

impl<'a> Told<'a> {
    fn new(request: &Request<'_>, lease: &'a Lease, v6: &'a LeaseV6, most: usize) -> Self {
        let preferred = lease.options.preferred_lifetime6.unwrap_or(PREFERRED);
        let lifetimes = (preferred, preferred.saturating_add(GRACE));
        let takes_back = matches!(request.kind, MessageType::Renew | MessageType::Rebind);
        let addresses = v6.addresses.get(..most).unwrap_or_default();
        Self { lease, v6, addresses, lifetimes, takes_back }
    }

    /// The options of the answer, but for the two ids; `None` for silence.
    fn options(&self, request: &Request<'_>) -> Option<Vec<DhcpOption>> {
        let mut options = Vec::new();
        match request.kind {
            // RFC 8415 §18.3.3
            MessageType::Confirm => {
                let mut addresses = request.associations.iter().flat_map(Association::addresses).peekable();
                addresses.peek()?;
                let right = addresses.all(|address| self.v6.addresses.contains(&address));
                options.push(status(if right { Status::Success } else { Status::NotOnLink }));
            }
            // RFC 8415 §18.3.7, §18.3.8. The addresses stay the ENI's all the same.
            MessageType::Release | MessageType::Decline => {
                options.push(status(Status::Success));
                return Some(options);
            }
            MessageType::Solicit if request.options.get(OptionCode::RapidCommit).is_some() => {
                options.push(DhcpOption::RapidCommit);
            }
            MessageType::Solicit => options.push(DhcpOption::Preference(ONLY)),
            _ => {}
        }
        if request.kind != MessageType::Confirm {
            options.extend(self.associations(request));
        }
        options.extend(self.configuration(request));
        Some(options)
    }

    /// The client's associations, filled: the first for addresses and the first for prefixes have all there are.
    fn associations(&self, request: &Request<'_>) -> Vec<DhcpOption> {
        let (preferred, _) = self.lifetimes;
        // RFC 8415 §21.4: renew after half, rebind after four fifths of the time that the addresses are preferred.
        let (t1, t2) = (preferred / 2, (u64::from(preferred) * 4 / 5) as u32);
        let mut filled: Vec<OptionCode> = Vec::new();
        let mut fill = |association: &Association<'_>| {
            let id = association.id;
            let first = !filled.contains(&association.kind);
            filled.push(association.kind);
            match association.kind {
                OptionCode::IANA => {
                    let given = if first { self.addresses } else { &[] };
                    let wrong =
                        association.addresses().filter(|address| !self.v6.addresses.contains(address));
                    let opts = self.contents(given, wrong, Self::address, Status::NoAddrsAvail);
                    DhcpOption::IANA(IANA { id, t1, t2, opts })
                }
                OptionCode::IAPD => {
                    let given: &[Ipv6Net] = if first { &self.v6.prefixes } else { &[] };
                    let wrong = association.prefixes().filter(|prefix| !self.v6.prefixes.contains(prefix));
                    let opts = self.contents(given, wrong, Self::prefix, Status::NoPrefixAvail);
                    DhcpOption::IAPD(IAPD { id, t1, t2, opts })
                }
                // An ENI has no temporary addresses.
                _ => {
                    DhcpOption::IATA(IATA { id, opts: [status(Status::NoAddrsAvail)].into_iter().collect() })
                }
            }
        };
        request.associations.iter().map(&mut fill).collect()
    }

    /// What stands in an association: what is given, or that there is nothing; and, with lifetimes of zero, what the client
    /// has wrongly.
    fn contents<T>(
        &self,
        given: &[T],
        wrong: impl Iterator<Item = T>,
        option: impl Fn(&T, (u32, u32)) -> DhcpOption,
        none: Status,
    ) -> DhcpOptions {
        let mut all: Vec<DhcpOption> = given.iter().map(|thing| option(thing, self.lifetimes)).collect();
        all.extend(wrong.filter(|_| self.takes_back).map(|thing| option(&thing, (0, 0))));
        if given.is_empty() {
            all.push(status(none));
        }
        let mut options = DhcpOptions::new();
        // A set puts an option in front of others with its code.
        for option in all.into_iter().rev() {
            options.insert(option);
        }
        options
    }

    fn address(&addr: &Ipv6Addr, (preferred_life, valid_life): (u32, u32)) -> DhcpOption {
        DhcpOption::IAAddr(IAAddr { addr, preferred_life, valid_life, opts: DhcpOptions::new() })
    }

    fn prefix(&prefix: &Ipv6Net, (preferred_lifetime, valid_lifetime): (u32, u32)) -> DhcpOption {
        DhcpOption::IAPrefix(IAPrefix {
            preferred_lifetime,
            valid_lifetime,
            prefix_len: prefix.prefix_len(),
            prefix_ip: prefix.addr(),
            opts: DhcpOptions::new(),
        })
    }

    /// What the client wants to be told of the VPC.
    fn configuration(&self, request: &Request<'_>) -> Vec<DhcpOption> {
        let options = &self.lease.options;
        let mut told = Vec::new();
        if !options.dns.v6.is_empty() {
            told.push(DhcpOption::DomainNameServers(options.dns.v6.clone()));
        }
        if let Some(domains) = &options.domain_name {
            let names = UnknownOption::new(OptionCode::DomainSearchList, wire_names(domains));
            told.push(DhcpOption::Unknown(names));
        }
        if !options.ntp.v6.is_empty() {
            let servers = &options.ntp.v6;
            let octets = servers.iter().flat_map(Ipv6Addr::octets).collect();
            told.push(DhcpOption::Unknown(UnknownOption::new(OptionCode::SntpServers, octets)));
            let servers = servers.iter().copied().map(NtpSuboption::ServerAddress).collect();
            told.push(DhcpOption::NtpServer(servers));
        }
        told.retain(|option| request.wants(OptionCode::from(option).into()));
        told
    }
}

/// Domain names separated by blanks, as RFC 1035 §3.1 has them on the wire. DHCPv6 allows no compression (RFC 8415 §10),
/// which `dhcproto` does.
fn wire_names(domains: &str) -> Vec<u8> {
    let mut wire = Vec::with_capacity(domains.len() + 2);
    for name in domains.split_ascii_whitespace() {
        for label in name.trim_end_matches('.').split('.') {
            // Validation keeps labels to 63 octets.
            wire.push(label.len() as u8);
            wire.extend(label.as_bytes());
        }
        wire.push(0);
    }
    wire
}
