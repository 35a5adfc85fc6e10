//! DHCPv4 (RFC 2131).

use std::net::Ipv4Addr;

use dhcproto::{
    Encodable, Encoder,
    v4::{
        DhcpOption, HType, Message, MessageType, NodeType, Opcode, OptionCode,
        borrowed::{self, DhcpOptionIterator},
    },
};
use ipnet::Ipv4Net;

use super::{Datagram, Ends, Lease, LeaseV4};
use crate::{
    packet::{Mac, ipv4_addresses},
    tables::LinkLocal,
};

/// UDP ports (RFC 2131 §4.1).
pub(super) const SERVER: u16 = 67;
const CLIENT: u16 = 68;

/// How long a lease is, in seconds, and after how long a client renews and rebinds: half and seven eighths of it (RFC 2131
/// §4.4.5). ADDR-12's choice, and what EC2 does.
const LEASE: u32 = 3600;
const RENEWAL: u32 = LEASE / 2;
const REBINDING: u32 = LEASE / 8 * 7;

/// The shortest message: BOOTP's (RFC 1542 §2.1), to which some clients still hold servers.
const SHORTEST: usize = 300;

/// The longest IP packet that a client takes that names no other (RFC 2131 §2), and the headers of IP and UDP in it.
const LONGEST: u16 = 576;
const HEADERS: usize = 28;

/// What of a client's message decides the answer.
struct Request<'a> {
    message: borrowed::Message<'a>,
    kind: MessageType,
    /// The address that the client wants (option 50).
    requested: Option<Ipv4Addr>,
    /// The server that it chose (option 54).
    server: Option<Ipv4Addr>,
    /// What it wants to be told, in its order (option 55).
    wanted: Option<Vec<OptionCode>>,
    /// The longest IP packet that it takes.
    longest: u16,
    /// Its identifier (option 61).
    client: Option<Vec<u8>>,
}

impl<'a> Request<'a> {
    /// `None` where it is not a client's on this link, with the MAC `mac` (ADDR-12).
    fn read(message: &'a [u8], mac: Mac) -> Option<Self> {
        let message = borrowed::Message::new(message).ok()?;
        let plausible = message.opcode() == Opcode::BootRequest
            && message.htype() == HType::Eth
            // Before `chaddr`, which trusts it.
            && message.hlen() == 6
            && message.chaddr() == mac.0
            // A relay's. In a VPC, it could only be an instance's.
            && message.giaddr().is_unspecified()
            && message.hops() == 0;
        if !plausible {
            return None;
        }
        let mut kind = None;
        let (mut requested, mut server, mut wanted, mut longest, mut client) =
            (None, None, None, LONGEST, None);
        let options: DhcpOptionIterator<'a> = message.opts();
        for option in options {
            let data = option.data();
            let address = || <[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from);
            match option.code() {
                OptionCode::MessageType => kind = data.first().map(|&kind| MessageType::from(kind)),
                OptionCode::RequestedIpAddress => requested = address(),
                OptionCode::ServerIdentifier => server = address(),
                OptionCode::ParameterRequestList => {
                    wanted = Some(data.iter().map(|&code| OptionCode::from(code)).collect());
                }
                OptionCode::MaxMessageSize => {
                    let size = <[u8; 2]>::try_from(data).map_or(0, u16::from_be_bytes);
                    longest = size.max(LONGEST);
                }
                OptionCode::ClientIdentifier => client = Some(data.to_vec()),
                _ => {}
            }
        }
        // Without a type, it is BOOTP (RFC 2131 §3): whose clients keep an address for ever.
        Some(Self { message, kind: kind?, requested, server, wanted, longest, client })
    }

    /// The type of the answer; `None` for silence.
    fn verdict(&self, lease: &LeaseV4) -> Option<MessageType> {
        let of_another = self.server.is_some_and(|server| server != lease.router());
        match self.kind {
            _ if of_another => None,
            MessageType::Discover => Some(MessageType::Offer),
            MessageType::Request => {
                // RFC 2131 §4.3.2, table 4: a client that selects or reboots names the address in an option, one that
                // renews or rebinds uses it.
                let used = Some(self.message.ciaddr()).filter(|address| !address.is_unspecified());
                // ADDR-13
                let right = self.requested.or(used)? == lease.address;
                Some(if right { MessageType::Ack } else { MessageType::Nak })
            }
            MessageType::Inform => Some(MessageType::Ack),
            // A release or a declined address changes nothing: it is the ENI's.
            _ => None,
        }
    }
}

/// The answer to the message in a frame; `None` for silence.
pub(super) fn answer(frame: &[u8], message: &[u8], lease: &Lease, v4: &LeaseV4) -> Option<Datagram> {
    let (_, destination) = ipv4_addresses(frame);
    let for_server =
        [Ipv4Addr::BROADCAST, v4.subnet.broadcast(), v4.router()].contains(&Ipv4Addr::from_bits(destination));
    let request = Request::read(message, lease.mac).filter(|_| for_server)?;
    let kind = request.verdict(v4)?;
    let (to, address) = destination_of(&request, kind, lease, v4);
    Some(Datagram {
        to,
        ends: Ends::V4(v4.router(), address),
        ports: (SERVER, CLIENT),
        data: reply(&request, kind, lease, v4)?,
    })
}

/// Where an answer goes (RFC 2131 §4.1, §4.3.2).
fn destination_of(request: &Request<'_>, kind: MessageType, lease: &Lease, v4: &LeaseV4) -> (Mac, Ipv4Addr) {
    let used = request.message.ciaddr();
    // A client that informs itself uses its address, whatever it says of broadcasts.
    let unconfigured =
        used.is_unspecified() && (request.message.flags().broadcast() || request.kind == MessageType::Inform);
    if kind == MessageType::Nak || unconfigured {
        (Mac::BROADCAST, Ipv4Addr::BROADCAST)
    } else if used.is_unspecified() {
        (lease.mac, v4.address)
    } else {
        (lease.mac, used)
    }
}

/// The message with the answer (RFC 2131 §4.3.1, table 3).
fn reply(request: &Request<'_>, kind: MessageType, lease: &Lease, v4: &LeaseV4) -> Option<Vec<u8>> {
    let asked = &request.message;
    let leased = kind != MessageType::Nak && request.kind != MessageType::Inform;
    let none = Ipv4Addr::UNSPECIFIED;
    let used = if kind == MessageType::Nak || kind == MessageType::Offer { none } else { asked.ciaddr() };
    let yours = if leased { v4.address } else { none };
    let mut message = Message::new_with_id(asked.xid(), used, yours, none, none, &lease.mac.0);
    message.set_opcode(Opcode::BootReply).set_flags(asked.flags());
    let mut data = Vec::with_capacity(SHORTEST);
    // Without options, it ends with the magic cookie. They are written one by one: a set of `dhcproto`'s has them in the
    // order of their codes.
    message.encode(&mut Encoder::new(&mut data)).ok()?;

    let mut required = vec![DhcpOption::MessageType(kind), DhcpOption::ServerIdentifier(v4.router())];
    if leased {
        required.push(DhcpOption::AddressLeaseTime(LEASE));
        required.push(DhcpOption::Renewal(RENEWAL));
        required.push(DhcpOption::Rebinding(REBINDING));
    }
    // RFC 6842 §3
    required.extend(request.client.clone().map(DhcpOption::ClientIdentifier));
    let mut optional = Vec::new();
    if kind != MessageType::Nak {
        // RFC 2132 §3.3: the mask before the router.
        required.push(DhcpOption::SubnetMask(v4.subnet.netmask()));
        required.push(DhcpOption::Router(vec![v4.router()]));
        optional = configuration(request, lease, v4);
    }
    for option in &required {
        data.extend(option.to_vec().ok()?);
    }
    let longest = usize::from(request.longest.min(lease.mtu)).saturating_sub(HEADERS + 1);
    for option in &optional {
        let option = option.to_vec().ok()?;
        if data.len() + option.len() <= longest {
            data.extend(option);
        }
    }
    data.push(OptionCode::End.into());
    if data.len() < SHORTEST {
        data.resize(SHORTEST, OptionCode::Pad.into());
    }
    Some(data)
}

/// What the client wants to be told of the link and the VPC, in its order (RFC 2132 §9.8); all of it, if it does not say.
fn configuration(request: &Request<'_>, lease: &Lease, v4: &LeaseV4) -> Vec<DhcpOption> {
    const ALL: [OptionCode; 6] = [
        OptionCode::DomainNameServer,
        OptionCode::DomainName,
        OptionCode::InterfaceMtu,
        OptionCode::NtpServers,
        OptionCode::NetBiosNameServers,
        OptionCode::NetBiosNodeType,
    ];
    let options = &lease.options;
    let servers = |servers: &[Ipv4Addr]| (!servers.is_empty()).then(|| servers.to_vec());
    let value = |code| {
        Some(match code {
            OptionCode::DomainNameServer => DhcpOption::DomainNameServer(servers(&options.dns.v4)?),
            OptionCode::DomainName => DhcpOption::DomainName(options.domain_name.as_deref()?.to_owned()),
            OptionCode::InterfaceMtu => DhcpOption::InterfaceMtu(lease.mtu),
            OptionCode::NtpServers => DhcpOption::NtpServers(servers(&options.ntp.v4)?),
            OptionCode::NetBiosNameServers => DhcpOption::NetBiosNameServers(servers(&options.netbios)?),
            OptionCode::NetBiosNodeType => {
                DhcpOption::NetBiosNodeType(NodeType::from(options.netbios_node_type?))
            }
            // RFC 3442: who asks for it ignores the router option, so the default route is in it too. Who does not know it, has
            // no use for it.
            OptionCode::ClasslessStaticRoute => DhcpOption::ClasslessStaticRoute(routes(v4)),
            _ => return None,
        })
    };
    let mut told: Vec<OptionCode> = Vec::new();
    for &code in request.wanted.as_deref().unwrap_or(&ALL) {
        // Each once, however often it is asked for.
        if !told.contains(&code) {
            told.push(code);
        }
    }
    told.into_iter().filter_map(value).collect()
}

/// The default route and those to the link-local services, via the router.
fn routes(v4: &LeaseV4) -> Vec<(Ipv4Net, Ipv4Addr)> {
    let to_services = LinkLocal::ALL.map(|service| Ipv4Net::from(service.v4()));
    [Ipv4Net::default()].into_iter().chain(to_services).map(|block| (block, v4.router())).collect()
}
