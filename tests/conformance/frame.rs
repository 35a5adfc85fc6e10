//! Frames from their description. What a description leaves out is as a usual guest sends it.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Deserialize;
use serde_json::Value;
use warren::{
    packet::{Mac, checksum::Sum},
    tables::ServicePort,
};

use super::{
    dhcp::{Dhcp, Dhcp6},
    state::{GATEWAY, INTERNET_PLACE, Names, OUTSIDE, SERVICES},
    suite::Family,
};

/// A frame in a scenario, sent or expected.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Frame {
    /// The ENI that sends it, or the place outside.
    pub from: Option<String>,
    /// Sent from the internet: the edge that it comes in at.
    pub edge: Option<String>,
    /// Sent from a circuit with a tunnel: outside of that.
    pub bare: bool,
    /// Sent: it comes from the services of that ENI's host instead.
    pub service: bool,
    /// Sent: it comes from the underlay instead.
    pub underlay: Option<Underlay>,
    /// Sent: the congestion mark that each outer header gets on the way.
    pub marked: Option<u8>,
    /// Expected: the ENI or the place outside that gets it.
    pub at: Option<String>,
    /// Expected: from the router's MAC of the receiver's subnet, to the receiver's MAC (FWD-6).
    pub routed: bool,
    /// Expected: it has nothing of the frame that was sent.
    pub new: bool,
    /// Expected: it is in a copy for traffic mirroring.
    pub copy: Option<Copied>,
    /// Expected: how many of them.
    pub count: Option<usize>,
    /// Expected: fields that may have any value.
    pub any: Vec<String>,
    /// Expected: names for the values of fields that may have any from 1024 on, for later steps.
    #[serde(rename = "as")]
    pub names: BTreeMap<String, String>,
    pub eth: Eth,
    /// Of the family that the scenario runs with.
    pub ip: Option<Ip>,
    pub ipv4: Option<Ip>,
    pub ipv6: Option<Ip>,
    pub arp: Option<Arp>,
    pub udp: Option<Udp>,
    pub tcp: Option<Tcp>,
    pub icmp: Option<Icmp>,
    pub igmp: Option<Igmp>,
    pub nd: Option<Nd>,
    pub dhcp: Option<Dhcp>,
    pub dhcp6: Option<Dhcp6>,
    pub payload: Option<Payload>,
    /// The payload is as long as it takes for an IP packet of so many bytes.
    pub size: Option<usize>,
    /// Only so many bytes of the frame.
    pub cut: Option<usize>,
    /// The whole frame, in hexadecimal.
    pub raw: Option<String>,
}

/// Around a frame: a copy for traffic mirroring.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copied {
    /// The ENI whose packet it is.
    pub of: String,
    pub vni: u32,
}

/// A frame that another host of the underlay sends.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Underlay {
    pub from: String,
    pub to: String,
    /// The VPC whose network identifier it has.
    pub vpc: String,
    /// The ENI that Geneve's option names; the one with the inner source MAC where there is none, no option where that is
    /// nobody's.
    pub sender: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Eth {
    pub src: Option<String>,
    pub dst: Option<String>,
    /// The EtherType, where the rest doesn't tell; below 1536 a length.
    #[serde(rename = "type")]
    pub kind: Option<u16>,
    /// Tags: protocol identifiers; each is of VLAN 5.
    pub tags: Vec<u16>,
    /// Bytes of padding behind the packet.
    pub padding: usize,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ip {
    pub src: Option<String>,
    pub dst: Option<String>,
    /// Or hop limit.
    pub ttl: Option<u8>,
    pub dscp: u8,
    pub ecn: u8,
    pub id: Option<u32>,
    /// Don't fragment; set unless the packet is a fragment. IPv4 only.
    pub df: Option<bool>,
    /// More fragments follow.
    pub mf: bool,
    /// Where in the datagram the fragment begins, in bytes.
    pub offset: u16,
    /// The protocol, where no transport header tells.
    pub protocol: Option<u8>,
    /// IPv4 options.
    pub options: String,
    /// IPv6 extension headers.
    pub extensions: Vec<Extension>,
    pub flow_label: u32,
    /// The version field, where it is wrong.
    pub version: Option<u8>,
    /// The header length field in words, where it is wrong. IPv4 only.
    pub ihl: Option<u8>,
    /// The length field, where it is wrong.
    pub length: Option<u16>,
    /// IPv4 only.
    pub checksum: Option<u16>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    #[serde(rename = "type")]
    pub kind: u8,
    /// All behind the length field: 6 bytes, and 8 for each unit of the length.
    pub body: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Arp {
    /// 1 or `request`, 2 or `reply`.
    pub op: Option<String>,
    pub sender_mac: Option<String>,
    pub sender_ip: Option<String>,
    pub target_mac: Option<String>,
    pub target_ip: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Udp {
    pub src: Option<u16>,
    pub dst: Option<u16>,
    /// The length field, where it isn't that of what is here.
    pub length: Option<u16>,
    pub checksum: Option<u16>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tcp {
    pub src: Option<u16>,
    pub dst: Option<u16>,
    pub flags: Option<String>,
    pub seq: Option<u32>,
    pub ack: Option<u32>,
    pub window: Option<u16>,
    /// The maximum segment size option.
    pub mss: Option<u16>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Icmp {
    /// `echo`, `echo-reply`, `too-big`, `unreachable`, `time-exceeded`, of the family; or a number.
    #[serde(rename = "type")]
    pub kind: String,
    pub code: Option<u8>,
    /// Of `echo`.
    pub id: u16,
    pub seq: u16,
    /// Of `too-big`.
    pub mtu: u32,
    /// The bytes behind the checksum, where the rest doesn't tell.
    pub body: String,
    /// What an ICMP error quotes.
    pub quote: Quote,
}

/// What an ICMP error quotes: so much of a packet as it may (RFC 1812 §4.3.2.3, RFC 4443 §2.4).
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub enum Quote {
    /// Of the packet that was sent, or nothing.
    Sent(bool),
    /// Of this packet.
    Packet(Box<Frame>),
}

impl Default for Quote {
    fn default() -> Self {
        Self::Sent(false)
    }
}

impl Quote {
    /// The frame around the packet that is quoted.
    fn frame(&self, sent: &[u8], names: &Names<'_>) -> Option<Vec<u8>> {
        match self {
            Self::Sent(false) => None,
            Self::Sent(true) => Some(sent.to_vec()),
            Self::Packet(frame) => {
                let mut frame = frame.clone();
                (frame.eth.src, frame.eth.dst) = (Some("outside".to_owned()), Some("gateway".to_owned()));
                Some(frame.build(names, &[]))
            }
        }
    }
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Igmp {
    /// `query`, `report`, `leave`, `report-1`, `report-3`.
    #[serde(rename = "type")]
    pub kind: String,
    /// All groups, if there is none.
    pub group: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nd {
    /// `solicitation`, `advertisement`, `router-solicitation`, `router-advertisement`, `redirect`.
    #[serde(rename = "type")]
    pub kind: String,
    pub target: Option<String>,
    /// `router`, `solicited`, `override`.
    pub flags: Vec<String>,
    /// The link-layer address option, the sender's where it isn't stated; `none`.
    pub option: Option<String>,
    /// Of a router advertisement: the MTU and the prefix (on the link, not for autoconfiguration) that it tells.
    pub mtu: Option<u32>,
    pub prefix: Option<String>,
    /// The message behind the checksum, options too, instead of all this.
    pub body: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub enum Payload {
    /// So many bytes: 0, 1, 2…
    Bytes(usize),
    /// In hexadecimal.
    Hex(String),
}

/// Bytes in hexadecimal, with blanks anywhere.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("no hexadecimal: {text}")))
        .collect()
}

fn counting(len: usize) -> Vec<u8> {
    (0..len).map(|n| n as u8).collect()
}

mod protocol {
    pub(super) use warren::packet::protocol::*;
    pub(super) const FRAGMENT: u8 = 44;
}

impl Frame {
    /// Reads a description.
    pub fn parse(value: &Value) -> Result<Self, String> {
        serde_json::from_value(value.clone()).map_err(|error| format!("{error} in {value}"))
    }

    /// The ENI that sends it.
    pub fn sender(&self) -> &str {
        self.from.as_deref().unwrap_or_else(|| panic!("a frame without `from`"))
    }

    /// The ENI that sends a DHCP message, or gets one.
    fn client(&self) -> &str {
        self.from.as_deref().or(self.at.as_deref()).unwrap_or_else(|| panic!("neither `from` nor `at`"))
    }

    fn is_dhcp_reply(&self) -> bool {
        self.dhcp.as_ref().is_some_and(Dhcp::is_reply) || self.dhcp6.as_ref().is_some_and(Dhcp6::is_reply)
    }

    /// The numbers of DHCP options that it may not have.
    pub fn absent(&self) -> Vec<u16> {
        let v4 = self.dhcp.as_ref().map(Dhcp::absent);
        v4.or_else(|| self.dhcp6.as_ref().map(Dhcp6::absent)).unwrap_or_default()
    }

    /// Source and destination of a DHCP message (RFC 2131 §4.1, RFC 8415 §7.1), where they aren't stated.
    fn dhcp_ends(&self, names: &Names<'_>) -> Option<(IpAddr, IpAddr)> {
        let client = || (self.client(), &names.eni(self.client()).subnet);
        let (source, destination) = match (&self.dhcp, &self.dhcp6) {
            (Some(dhcp), _) if dhcp.is_reply() => {
                let (client, subnet) = client();
                let everybody = dhcp.kind == "nak";
                let to = if everybody { "255.255.255.255".to_owned() } else { format!("ip4({client})") };
                (format!("router-ip({subnet})"), to)
            }
            (Some(_), _) => ("0.0.0.0".to_owned(), "255.255.255.255".to_owned()),
            (None, Some(dhcp)) if dhcp.is_reply() => ("router".to_owned(), format!("ll({})", client().0)),
            (None, Some(_)) => (format!("ll({})", client().0), "ff02::1:2".to_owned()),
            (None, None) => return None,
        };
        Some((names.ip(&source), names.ip(&destination)))
    }

    fn network(&self, family: Family) -> Option<(Family, Ip)> {
        if self.igmp.is_some() {
            // RFC 2236 §2: for the link, and with Router Alert (RFC 2113).
            let ip = self.ipv4.clone().unwrap_or_default();
            let options = "94040000".to_owned();
            return Some((Family::Ipv4, Ip { ttl: Some(ip.ttl.unwrap_or(1)), options, ..ip }));
        }
        let neutral = self.ip.clone().map(|ip| (family, ip));
        let v4 = || self.ipv4.clone().map(|ip| (Family::Ipv4, ip));
        let v6 = || self.ipv6.clone().map(|ip| (Family::Ipv6, ip));
        let usual = |is: bool, family| move || is.then(|| (family, Ip::default()));
        let dhcp = usual(self.dhcp.is_some(), Family::Ipv4);
        let of_ipv6 = usual(self.nd.is_some() || self.dhcp6.is_some(), Family::Ipv6);
        neutral.or_else(v4).or_else(v6).or_else(dhcp).or_else(of_ipv6)
    }

    /// The frame's bytes. `sent` is the frame that an error quotes.
    pub fn build(&self, names: &Names<'_>, sent: &[u8]) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return hex(raw);
        }
        let mut names = *names;
        let network = self.network(names.family);
        match network {
            _ if self.arp.is_some() => names.family = Family::Ipv4,
            Some((family, _)) => names.family = family,
            None => {}
        }
        let mac = |text: &Option<String>| text.as_ref().map(|text| names.mac(text));
        let reply = self.is_dhcp_reply();
        let outside = self.from.as_deref().is_some_and(|from| names.is_outside(from));
        let source = mac(&self.eth.src).unwrap_or_else(|| match self.service {
            true => SERVICES,
            false if outside => OUTSIDE,
            false if reply => names.mac(&format!("router({})", names.eni(self.client()).subnet)),
            false => names.eni(self.sender()).mac,
        });
        let (kind, packet, usual) = match (&self.arp, network) {
            (Some(arp), _) => (0x0806, self.arp(arp, &names), Some(Mac::BROADCAST)),
            (None, Some((family, ip))) => {
                let (packet, destination) = self.packet(family, &ip, source, &names, sent);
                let next_hop = || match self.service {
                    true => Some(ServicePort::ROUTER),
                    false if outside => Some(GATEWAY),
                    false if reply => Some(names.next_hop(self.client(), destination)),
                    false => Some(names.next_hop(self.from.as_deref()?, destination)),
                };
                let usual = if self.eth.dst.is_some() { None } else { next_hop() };
                (if family == Family::Ipv4 { 0x0800 } else { 0x86dd }, packet, usual)
            }
            (None, None) => (self.eth.kind.expect("an EtherType or a packet"), self.payload(32), None),
        };
        let destination = mac(&self.eth.dst).or(usual).expect("a destination MAC");
        let mut frame = [destination.0, source.0].concat();
        for tag in &self.eth.tags {
            frame.extend(tag.to_be_bytes());
            frame.extend([0, 5]);
        }
        frame.extend(self.eth.kind.unwrap_or(kind).to_be_bytes());
        frame.extend(packet);
        frame.extend(vec![0; self.eth.padding]);
        frame.truncate(self.cut.unwrap_or(usize::MAX));
        frame
    }

    fn payload(&self, usual: usize) -> Vec<u8> {
        match &self.payload {
            None => counting(usual),
            Some(Payload::Bytes(len)) => counting(*len),
            Some(Payload::Hex(text)) => hex(text),
        }
    }

    /// RFC 826.
    fn arp(&self, arp: &Arp, names: &Names<'_>) -> Vec<u8> {
        let mac = |text: &Option<String>, usual: &dyn Fn() -> Mac| {
            text.as_ref().map_or_else(usual, |text| names.mac(text)).0
        };
        let ip = |text: &Option<String>, usual: &str| match names.ip(text.as_deref().unwrap_or(usual)) {
            IpAddr::V4(address) => address.octets(),
            IpAddr::V6(address) => panic!("{address} in ARP"),
        };
        let operation = match arp.op.as_deref().unwrap_or("request") {
            "request" => 1,
            "reply" => 2,
            other => other.parse::<u8>().expect("request, reply or a number"),
        };
        let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
        packet.extend(mac(&arp.sender_mac, &|| names.eni(self.sender()).mac));
        packet.extend(ip(&arp.sender_ip, &format!("ip4({})", self.from.as_deref().unwrap_or_default())));
        packet.extend(mac(&arp.target_mac, &|| Mac([0; 6])));
        packet.extend(ip(&arp.target_ip, "0.0.0.0"));
        packet
    }

    /// An IP packet, and its destination.
    fn packet(
        &self,
        family: Family,
        ip: &Ip,
        source_mac: Mac,
        names: &Names<'_>,
        sent: &[u8],
    ) -> (Vec<u8>, IpAddr) {
        let dhcp = self.dhcp_ends(names);
        let own = || {
            let usual = || match self.sender() {
                INTERNET_PLACE => "internet(7)".to_owned(),
                from if names.is_outside(from) => "site(7)".to_owned(),
                eni => format!("ip({eni})"),
            };
            dhcp.map_or_else(|| names.ip(&usual()), |(source, _)| source)
        };
        let source = ip.src.as_ref().map_or_else(own, |text| names.ip(text));
        let usual = || match self.nd.as_ref().map(|nd| (&*nd.kind, nd.target.as_ref())) {
            Some(("solicitation", Some(target))) => names.ip(&format!("solicited-node({target})")),
            Some(("router-solicitation", _)) => "ff02::2".parse().unwrap(),
            _ => "ff02::1".parse().unwrap(),
        };
        let destination = match &ip.dst {
            Some(text) => names.ip(text),
            None if self.nd.is_some() => usual(),
            None if self.igmp.is_some() => names.ip(self.igmp.as_ref().map_or("", Igmp::destination)),
            None => dhcp.unwrap_or_else(|| panic!("a packet without ip.dst")).1,
        };
        let header = match family {
            Family::Ipv4 => 20 + hex(&ip.options).len(),
            Family::Ipv6 => {
                let extensions = ip.extensions.iter().map(|it| 2 + hex(&it.body).len()).sum::<usize>();
                40 + extensions + if ip.mf || ip.offset > 0 { 8 } else { 0 }
            }
        };
        let (protocol, body) = self.transport(ip, (source, destination), source_mac, header, names, sent);
        let packet = match (source, destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                ipv4(ip, &[from.octets(), to.octets()].concat(), protocol, &body)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let ttl = if self.nd.is_some() { 255 } else { 64 };
                ipv6(ip, ttl, &[from.octets(), to.octets()].concat(), protocol, &body)
            }
            _ => panic!("two families: {source}, {destination}"),
        };
        (packet, destination)
    }

    /// The protocol, and what is behind the IP header.
    fn transport(
        &self,
        ip: &Ip,
        ends: (IpAddr, IpAddr),
        source_mac: Mac,
        header: usize,
        names: &Names<'_>,
        sent: &[u8],
    ) -> (u8, Vec<u8>) {
        let sized = |own: usize| match self.size {
            Some(size) => counting(size - header - own),
            None => self.payload(32),
        };
        let v4 = ends.0.is_ipv4();
        if let Some(tcp) = &self.tcp {
            let options = tcp.mss.map_or(Vec::new(), |mss| [&[2, 4][..], &mss.to_be_bytes()].concat());
            let flags = tcp.flags.as_deref().unwrap_or("syn").split('+').map(|flag| match flag {
                "fin" => 1,
                "syn" => 2,
                "rst" => 4,
                "psh" => 8,
                "ack" => 16,
                other => panic!("no TCP flag: {other}"),
            });
            let mut segment =
                [tcp.src.unwrap_or(40_000), tcp.dst.unwrap_or(80)].map(u16::to_be_bytes).concat();
            segment.extend([tcp.seq.unwrap_or(1), tcp.ack.unwrap_or(0)].map(u32::to_be_bytes).concat());
            segment.extend([(20 + options.len() as u8) << 2, flags.sum()]);
            segment.extend(tcp.window.unwrap_or(0xffff).to_be_bytes());
            segment.extend([0; 4]);
            segment.extend(options);
            let own = segment.len();
            segment.extend(if self.size.is_none() && self.payload.is_none() {
                Vec::new()
            } else {
                sized(own)
            });
            return (protocol::TCP, summed(segment, 16, ends, protocol::TCP));
        }
        if let Some(icmp) = &self.icmp {
            let own = if v4 { protocol::ICMP } else { protocol::ICMPV6 };
            let (kind, code) = icmp.kind(v4);
            let quoted = icmp.quote.frame(sent, names);
            let mut message = vec![kind, icmp.code.unwrap_or(code), 0, 0];
            match &*icmp.kind {
                "echo" | "echo-reply" => {
                    message.extend([icmp.id, icmp.seq].map(u16::to_be_bytes).concat());
                    message.extend(sized(8));
                }
                _ if quoted.is_some() => {
                    message.extend(icmp.mtu.to_be_bytes());
                    let most = if v4 { 576 - 20 - 8 } else { 1280 - 40 - 8 };
                    let packet = quoted.as_ref().map_or(&[][..], |frame| &frame[14..]);
                    message.extend(&packet[..packet.len().min(most)]);
                }
                _ if self.size.is_some() => message.extend([vec![0; 4], sized(8)].concat()),
                _ => message.extend(hex(&icmp.body)),
            }
            return (own, summed(message, 2, ends, own));
        }
        if let Some(igmp) = &self.igmp {
            return (protocol::IGMP, igmp.message(names));
        }
        if let Some(nd) = &self.nd {
            return (
                protocol::ICMPV6,
                summed(nd.message(source_mac, ends.0, names), 2, ends, protocol::ICMPV6),
            );
        }
        let dhcp = self.dhcp.as_ref().map(|it| ([68, 67], it.is_reply(), it.build(self.client(), names)));
        let dhcp6 = self.dhcp6.as_ref().map(|it| ([546, 547], it.is_reply(), it.build(names)));
        if let Some(([client, server], reply, data)) = dhcp.or(dhcp6) {
            let udp = self.udp.clone().unwrap_or_default();
            let (from, to) = if reply { (server, client) } else { (client, server) };
            let ports = [udp.src.unwrap_or(from), udp.dst.unwrap_or(to), 8 + data.len() as u16, 0];
            let datagram = [&ports.map(u16::to_be_bytes).concat()[..], &data].concat();
            return (protocol::UDP, summed(datagram, 6, ends, protocol::UDP));
        }
        // A later fragment has no transport header.
        let bare = ip.offset > 0 || ip.protocol.is_some();
        if self.udp.is_none() && bare {
            return (ip.protocol.unwrap_or(protocol::UDP), sized(0));
        }
        let udp = self.udp.clone().unwrap_or_default();
        let data = sized(8);
        let len = udp.length.unwrap_or(8 + data.len() as u16);
        let ports = [udp.src.unwrap_or(40_000), udp.dst.unwrap_or(9), len, udp.checksum.unwrap_or(0)];
        let datagram = [&ports.map(u16::to_be_bytes).concat()[..], &data].concat();
        // A first fragment's checksum is of data that isn't here.
        let ready = udp.checksum.is_some() || ip.mf;
        (protocol::UDP, if ready { datagram } else { summed(datagram, 6, ends, protocol::UDP) })
    }
}

impl Icmp {
    /// Type and code.
    fn kind(&self, v4: bool) -> (u8, u8) {
        match (&*self.kind, v4) {
            ("echo", true) => (8, 0),
            ("echo", false) => (128, 0),
            ("echo-reply", true) => (0, 0),
            ("echo-reply", false) => (129, 0),
            ("too-big", true) => (3, 4),
            ("too-big", false) => (2, 0),
            ("unreachable", true) => (3, 1),
            ("unreachable", false) => (1, 3),
            ("time-exceeded", true) => (11, 0),
            ("time-exceeded", false) => (3, 0),
            (number, _) => (number.parse().expect("an ICMP type"), 0),
        }
    }
}

impl Igmp {
    /// RFC 2236 §9, RFC 3376 §4.2.14.
    fn destination(&self) -> &str {
        match (&*self.kind, &self.group) {
            ("leave", _) => "224.0.0.2",
            ("report-3", _) => "224.0.0.22",
            (_, Some(group)) => group,
            (_, None) => "224.0.0.1",
        }
    }

    /// RFC 2236 §2, RFC 3376 §4.2.
    fn message(&self, names: &Names<'_>) -> Vec<u8> {
        let group = match self.group.as_ref().map(|group| names.ip(group)) {
            Some(IpAddr::V4(group)) => group.octets(),
            Some(IpAddr::V6(group)) => panic!("igmp.group {group}"),
            None => [0; 4],
        };
        let mut message = match &*self.kind {
            "query" => [&[0x11, 100, 0, 0][..], &group].concat(),
            "report-1" => [&[0x12, 0, 0, 0][..], &group].concat(),
            "report" => [&[0x16, 0, 0, 0][..], &group].concat(),
            "leave" => [&[0x17, 0, 0, 0][..], &group].concat(),
            // One record: the group without excluded sources, which is a join.
            "report-3" => [&[0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0][..], &group].concat(),
            other => panic!("no IGMP message: {other}"),
        };
        let checksum = Sum::of(&message).checksum();
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        message
    }
}

impl Nd {
    fn message(&self, mac: Mac, source: IpAddr, names: &Names<'_>) -> Vec<u8> {
        let target = || match names.ip(self.target.as_ref().expect("nd.target")) {
            IpAddr::V6(address) => address.octets(),
            IpAddr::V4(address) => panic!("nd.target {address}"),
        };
        let (kind, fixed, option) = match &*self.kind {
            "router-solicitation" => (133, vec![0; 4], 1),
            // Hop limit 64, managed and other configuration, for 1800 s.
            "router-advertisement" => (134, [&[64, 0xc0, 0x07, 0x08][..], &[0; 8]].concat(), 1),
            "solicitation" => (135, [&[0; 4][..], &target()].concat(), 1),
            "advertisement" => {
                let flags = self.flags.iter().map(|flag| match &**flag {
                    "router" => 0x80,
                    "solicited" => 0x40,
                    "override" => 0x20,
                    other => panic!("no flag: {other}"),
                });
                (136, [&[flags.sum(), 0, 0, 0][..], &target()].concat(), 2)
            }
            "redirect" => (137, [&[0; 4][..], &target(), &target()].concat(), 2),
            other => panic!("no message of neighbour discovery: {other}"),
        };
        if let Some(body) = &self.body {
            return [&[kind, 0, 0, 0][..], &hex(body)].concat();
        }
        let mut message = [&[kind, 0, 0, 0][..], &fixed].concat();
        let address = match self.option.as_deref() {
            Some("none") => None,
            Some(text) => Some(names.mac(text)),
            // Nobody's address has no MAC (RFC 4861 §4.3).
            None => (!source.is_unspecified()).then_some(mac),
        };
        if let Some(Mac(address)) = address {
            message.extend([option, 1]);
            message.extend(address);
        }
        if let Some(mtu) = self.mtu {
            message.extend([5, 1, 0, 0]);
            message.extend(mtu.to_be_bytes());
        }
        if let Some(prefix) = &self.prefix {
            let (address, length) = prefix.split_once('/').expect("a prefix");
            message.extend([
                3,
                4,
                length.parse().expect("a length"),
                0x80,
                0,
                0,
                7,
                8,
                0,
                0,
                7,
                8,
                0,
                0,
                0,
                0,
            ]);
            match names.ip(address) {
                IpAddr::V6(address) => message.extend(address.octets()),
                IpAddr::V4(address) => panic!("nd.prefix {address}"),
            }
        }
        message
    }
}

/// With the transport checksum in its place.
fn summed(mut body: Vec<u8>, at: usize, ends: (IpAddr, IpAddr), protocol: u8) -> Vec<u8> {
    let len = body.len() as u32;
    let pseudo = match ends {
        (IpAddr::V4(from), IpAddr::V4(to)) if protocol != protocol::ICMP => {
            Sum::pseudo_v4(from, to, protocol, len as u16)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => Sum::pseudo_v6(from, to, protocol, len),
        _ => Sum::of(&[]),
    };
    let checksum = match pseudo.plus(Sum::of(&body)).checksum() {
        0 if protocol == protocol::UDP => 0xffff,
        checksum => checksum,
    };
    body[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    body
}

/// RFC 791.
fn ipv4(ip: &Ip, ends: &[u8], protocol: u8, body: &[u8]) -> Vec<u8> {
    let options = hex(&ip.options);
    let header = 20 + options.len();
    let fragment = ip.mf || ip.offset > 0;
    let flags = u16::from(ip.df.unwrap_or(!fragment)) << 14 | u16::from(ip.mf) << 13 | (ip.offset / 8);
    let first = ip.version.unwrap_or(4) << 4 | ip.ihl.unwrap_or((header / 4) as u8);
    let mut packet = vec![first, ip.dscp << 2 | ip.ecn];
    packet.extend(ip.length.unwrap_or((header + body.len()) as u16).to_be_bytes());
    packet.extend((ip.id.unwrap_or(0x1234) as u16).to_be_bytes());
    packet.extend(flags.to_be_bytes());
    packet.extend([ip.ttl.unwrap_or(64), protocol, 0, 0]);
    packet.extend(ends);
    packet.extend(options);
    let checksum = ip.checksum.unwrap_or_else(|| Sum::of(&packet).checksum());
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(body);
    packet
}

/// RFC 8200.
fn ipv6(ip: &Ip, ttl: u8, ends: &[u8], protocol: u8, body: &[u8]) -> Vec<u8> {
    let mut kinds: Vec<u8> = ip.extensions.iter().map(|extension| extension.kind).collect();
    let mut headers: Vec<Vec<u8>> = ip.extensions.iter().map(|extension| hex(&extension.body)).collect();
    for body in &mut headers {
        body.insert(0, ((body.len() - 6) / 8) as u8);
    }
    if ip.mf || ip.offset > 0 {
        kinds.push(protocol::FRAGMENT);
        let field = ip.offset & !7 | u16::from(ip.mf);
        let id = ip.id.unwrap_or(0x1234).to_be_bytes();
        headers.push([&[0][..], &field.to_be_bytes(), &id].concat());
    }
    kinds.push(protocol);
    let rest: usize = headers.iter().map(|header| header.len() + 1).sum();
    let class = u32::from(ip.dscp << 2 | ip.ecn);
    let first = u32::from(ip.version.unwrap_or(6)) << 28 | class << 20 | ip.flow_label;
    let mut packet = first.to_be_bytes().to_vec();
    packet.extend(ip.length.unwrap_or((rest + body.len()) as u16).to_be_bytes());
    packet.extend([kinds[0], ip.ttl.unwrap_or(ttl)]);
    packet.extend(ends);
    for (header, next) in headers.iter().zip(&kinds[1..]) {
        packet.push(*next);
        packet.extend(header);
    }
    packet.extend(body);
    packet
}
