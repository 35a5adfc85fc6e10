//! DHCP messages from their description (RFC 2131, RFC 2132, RFC 8415).

use std::{collections::BTreeMap, net::IpAddr};

use serde::Deserialize;
use serde_json::Value;

use super::{frame::hex, state::Names};

/// A DHCPv4 message.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dhcp {
    /// `discover`, `offer`, `request`, `decline`, `ack`, `nak`, `release`, `inform`.
    #[serde(rename = "type")]
    pub kind: String,
    pub broadcast: bool,
    pub ciaddr: Option<String>,
    pub yiaddr: Option<String>,
    pub giaddr: Option<String>,
    /// The sender's where it isn't stated.
    pub chaddr: Option<String>,
    /// By name or number.
    pub options: BTreeMap<String, Value>,
    /// Expected: options that it has not.
    pub without: Vec<String>,
}

/// A DHCPv6 message.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dhcp6 {
    /// `solicit`, `advertise`, `request`, `confirm`, `renew`, `rebind`, `reply`, `release`, `decline`,
    /// `information-request`, `relay-forward`.
    #[serde(rename = "type")]
    pub kind: String,
    /// By name or number.
    pub options: BTreeMap<String, Value>,
    /// Expected: options that it has not.
    pub without: Vec<String>,
}

/// How an option's value is written.
#[derive(Clone, Copy)]
enum Form {
    Addresses,
    Byte,
    Word,
    Long,
    Text,
    /// Numbers of a byte each, and of two.
    Bytes,
    Words,
    /// An identity association: the addresses in it, or a status code.
    Association,
    Hex,
}

const OPTIONS4: [(&str, u16, Form); 20] = [
    ("subnet-mask", 1, Form::Addresses),
    ("routers", 3, Form::Addresses),
    ("domain-name-servers", 6, Form::Addresses),
    ("host-name", 12, Form::Text),
    ("domain-name", 15, Form::Text),
    ("interface-mtu", 26, Form::Word),
    ("ntp-servers", 42, Form::Addresses),
    ("netbios-name-servers", 44, Form::Addresses),
    ("netbios-node-type", 46, Form::Byte),
    ("requested-address", 50, Form::Addresses),
    ("lease-time", 51, Form::Long),
    ("message-type", 53, Form::Byte),
    ("server-identifier", 54, Form::Addresses),
    ("parameter-request-list", 55, Form::Bytes),
    ("max-message-size", 57, Form::Word),
    ("renewal-time", 58, Form::Long),
    ("rebinding-time", 59, Form::Long),
    ("client-identifier", 61, Form::Hex),
    ("relay-agent-information", 82, Form::Hex),
    ("classless-static-routes", 121, Form::Hex),
];

const OPTIONS6: [(&str, u16, Form); 12] = [
    ("client-id", 1, Form::Hex),
    ("server-id", 2, Form::Hex),
    ("ia-na", 3, Form::Association),
    ("option-request", 6, Form::Words),
    ("preference", 7, Form::Byte),
    ("elapsed-time", 8, Form::Word),
    ("status-code", 13, Form::Word),
    ("rapid-commit", 14, Form::Hex),
    ("dns-servers", 23, Form::Addresses),
    ("domain-list", 24, Form::Hex),
    ("ia-pd", 25, Form::Hex),
    ("sntp-servers", 31, Form::Addresses),
];

const KINDS4: [&str; 8] = ["discover", "offer", "request", "decline", "ack", "nak", "release", "inform"];
const KINDS6: [&str; 12] = [
    "solicit",
    "advertise",
    "request",
    "confirm",
    "renew",
    "rebind",
    "reply",
    "release",
    "decline",
    "reconfigure",
    "information-request",
    "relay-forward",
];

fn number_of(kinds: &[&str], kind: &str) -> u8 {
    1 + kinds.iter().position(|known| *known == kind).unwrap_or_else(|| panic!("no message {kind}")) as u8
}

/// The number of an option, and how it is written.
fn option(known: &[(&str, u16, Form)], name: &str) -> (u16, Form) {
    let found = known.iter().find(|(known, ..)| *known == name).map(|(_, code, form)| (*code, *form));
    found.unwrap_or_else(|| (name.parse().unwrap_or_else(|_| panic!("no option {name}")), Form::Hex))
}

impl Form {
    fn encode(self, value: &Value, names: &Names<'_>) -> Vec<u8> {
        let list = match value {
            Value::Array(list) => list.clone(),
            other => vec![other.clone()],
        };
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned();
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no number: {value}"));
        let octets = |value: &Value| match names.ip(&text(value)) {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        match self {
            Self::Addresses => list.iter().flat_map(octets).collect(),
            Self::Byte | Self::Bytes => list.iter().map(|value| number(value) as u8).collect(),
            Self::Word | Self::Words => {
                list.iter().flat_map(|value| (number(value) as u16).to_be_bytes()).collect()
            }
            Self::Long => (number(value) as u32).to_be_bytes().to_vec(),
            Self::Text => text(value).into_bytes(),
            Self::Hex => match text(value).strip_prefix("server-id(").and_then(|rest| rest.strip_suffix(')'))
            {
                // RFC 8415 §11.4, of the router's MAC.
                Some(subnet) => [&[0, 3, 0, 1][..], &names.mac(&format!("router({subnet})")).0].concat(),
                None => hex(&text(value)),
            },
            // Number 1, no times.
            Self::Association => {
                let mut data = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
                for item in &list {
                    match item {
                        // RFC 8415 §21.13
                        Value::Number(_) => {
                            data.extend([0, 13, 0, 2]);
                            data.extend((number(item) as u16).to_be_bytes());
                        }
                        address => {
                            data.extend([0, 5, 0, 24]);
                            data.extend(octets(address));
                            data.extend([0; 8]);
                        }
                    }
                }
                data
            }
        }
    }
}

impl Dhcp {
    /// Whether it is a server's.
    pub fn is_reply(&self) -> bool {
        matches!(&*self.kind, "offer" | "ack" | "nak")
    }

    /// The message. `client` is the ENI that sends or gets it.
    pub fn build(&self, client: &str, names: &Names<'_>) -> Vec<u8> {
        let address = |text: &Option<String>| match text.as_ref().map(|text| names.ip(text)) {
            None => [0; 4],
            Some(IpAddr::V4(address)) => address.octets(),
            Some(IpAddr::V6(address)) => panic!("{address} in DHCPv4"),
        };
        let mut message = vec![1 + u8::from(self.is_reply()), 1, 6, 0, 0x5e, 0xed, 0, 1, 0, 0];
        message.extend(if self.broadcast { [0x80, 0] } else { [0, 0] });
        message
            .extend([address(&self.ciaddr), address(&self.yiaddr), [0; 4], address(&self.giaddr)].concat());
        let chaddr = self.chaddr.as_ref().map_or_else(|| names.eni(client).mac, |text| names.mac(text));
        message.extend(chaddr.0);
        message.resize(236, 0);
        message.extend([99, 130, 83, 99, 53, 1, number_of(&KINDS4, &self.kind)]);
        for (name, value) in &self.options {
            let (code, form) = option(&OPTIONS4, name);
            let data = form.encode(value, names);
            message.extend([code as u8, data.len() as u8]);
            message.extend(data);
        }
        message.push(255);
        message.resize(message.len().max(300), 0);
        message
    }

    /// The numbers of the options that it may not have.
    pub fn absent(&self) -> Vec<u16> {
        self.without.iter().map(|name| option(&OPTIONS4, name).0).collect()
    }
}

impl Dhcp6 {
    /// Whether it is a server's.
    pub fn is_reply(&self) -> bool {
        matches!(&*self.kind, "advertise" | "reply")
    }

    /// The message.
    pub fn build(&self, names: &Names<'_>) -> Vec<u8> {
        let mut message = vec![number_of(&KINDS6, &self.kind), 0x5e, 0xed, 1];
        if self.kind == "relay-forward" {
            message.extend([0; 30]);
        }
        for (name, value) in &self.options {
            let (code, form) = option(&OPTIONS6, name);
            let data = form.encode(value, names);
            message.extend([code, data.len() as u16].map(u16::to_be_bytes).concat());
            message.extend(data);
        }
        message
    }

    /// The numbers of the options that it may not have.
    pub fn absent(&self) -> Vec<u16> {
        self.without.iter().map(|name| option(&OPTIONS6, name).0).collect()
    }
}

/// What a frame says, if it is a DHCP server's message or a router advertisement: of these a server chooses the order of
/// options and more, so that bytes can't be compared. `None` of all others.
pub fn says(frame: &[u8]) -> Option<BTreeMap<String, String>> {
    let v4 = *frame.get(12..14)? == [8, 0];
    let l4 = if v4 { 34 } else { 54 };
    let body = frame.get(l4..)?;
    let protocol = *frame.get(if v4 { 23 } else { 20 })?;
    let mut told = BTreeMap::new();
    let mut tell = |key: &str, bytes: &[u8]| {
        let digits = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        told.insert(key.to_owned(), digits);
    };
    tell("eth.dst", &frame[..6]);
    tell("eth.src", &frame[6..12]);
    let (addresses, size) = if v4 { (26, 4) } else { (22, 16) };
    tell("ip.src", &frame[addresses..addresses + size]);
    tell("ip.dst", &frame[addresses + size..addresses + 2 * size]);
    let ports = |ports: [u16; 2]| protocol == 17 && body.starts_with(&ports.map(u16::to_be_bytes).concat());
    if v4 && ports([67, 68]) && body.get(244..248) == Some(&[99, 130, 83, 99]) {
        let message = &body[8..];
        tell("op", &message[..4]);
        tell("xid", &message[4..8]);
        tell("flags", &message[10..12]);
        tell("ciaddr", &message[12..16]);
        tell("yiaddr", &message[16..20]);
        tell("giaddr", &message[24..28]);
        tell("chaddr", &message[28..34]);
        tell("cookie", &message[236..240]);
        let mut rest = &message[240..];
        while let [code, more @ ..] = rest {
            match code {
                0 => rest = more,
                255 => break,
                _ => {
                    let length = usize::from(more[0]);
                    tell(&format!("option {code}"), &more[1..=length]);
                    rest = &more[1 + length..];
                }
            }
        }
    } else if !v4 && ports([547, 546]) && matches!(body.get(8), Some(2 | 7)) {
        tell("type", &body[8..9]);
        tell("xid", &body[9..12]);
        let mut rest = &body[12..];
        while !rest.is_empty() {
            let word = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
            let (code, length) = (word(0), usize::from(word(2)));
            let data = &rest[4..4 + length];
            match code {
                // The times are the server's choice; what is in it, counts.
                3 => {
                    tell("option 3", &data[..4]);
                    let mut inner = &data[12..];
                    while let [_, kind, _, length, more @ ..] = inner {
                        let (data, behind) = more.split_at(usize::from(*length));
                        // An address, without its lifetimes; a status, without its text.
                        let counts = if *kind == 5 { 16 } else { 2 };
                        tell(&format!("option 3: {kind} {:02x?}", &data[..counts]), &[]);
                        inner = behind;
                    }
                }
                13 => tell("option 13", &data[..2]),
                _ => tell(&format!("option {code}"), data),
            }
            rest = &rest[4 + length..];
        }
    } else if !v4 && protocol == 58 && body.starts_with(&[134]) {
        tell("hop limit", &frame[21..22]);
        tell("fixed", &[&body[..2], &body[4..16]].concat());
        for option in options(&body[16..]) {
            tell(&format!("option {}", option[0]), option);
        }
    } else {
        return None;
    }
    Some(told)
}

/// Options of neighbour discovery (RFC 4861 §4.6).
fn options(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut options = Vec::new();
    while rest.len() >= 8 {
        let (option, behind) = rest.split_at(8 * usize::from(rest[1]));
        options.push(option);
        rest = behind;
    }
    options
}
