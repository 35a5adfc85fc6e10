//! The packet of a trace: a frame, or a short description of one.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{
    packet::{Mac, checksum::Sum, ethertype, protocol},
    tables::{LocalEni, Tables},
};

/// A packet.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packet {
    /// An Ethernet frame, in hexadecimal.
    Frame(String),
    /// A frame to be made.
    Described(Described),
}

impl Packet {
    /// The frame, where it is given.
    pub(super) fn frame(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Frame(text) => unhex(text),
            Self::Described(_) => Err("from the underlay comes a frame, not a description".into()),
        }
    }
}

/// A short description of a packet of an ENI. What it leaves out is what the ENI's own stack would choose.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Described {
    /// Source address [default: the ENI's first of the destination's family].
    #[arg(long, value_name = "ADDRESS")]
    pub src: Option<IpAddr>,
    /// Destination address.
    #[arg(long, value_name = "ADDRESS", required_unless_present_any = ["hex", "pcap"])]
    pub dst: Option<IpAddr>,
    /// `tcp`, `udp`, `icmp` (an echo request) or a protocol number [default: icmp].
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol_name)]
    pub proto: Option<u8>,
    /// Source port of TCP or UDP [default: 49152].
    #[arg(long, value_name = "PORT")]
    pub sport: Option<u16>,
    /// Destination port of TCP or UDP [default: 80].
    #[arg(long, value_name = "PORT")]
    pub dport: Option<u16>,
    /// Bytes of the whole IP packet [default: without payload].
    #[arg(long, value_name = "BYTES")]
    pub length: Option<u16>,
    /// Time to live, or hop limit [default: 64].
    #[arg(long)]
    pub ttl: Option<u8>,
    /// IPv4: let routers fragment it (DF = 0).
    #[arg(long)]
    pub fragmentable: bool,
    /// Destination MAC [default: what the ENI's ARP or ND would find].
    #[arg(long, value_name = "MAC")]
    pub dst_mac: Option<Mac>,
    /// Source MAC [default: the ENI's].
    #[arg(long, value_name = "MAC")]
    pub src_mac: Option<Mac>,
}

/// `--proto`'s value. ICMP is that of the destination's family.
fn protocol_name(text: &str) -> Result<u8, String> {
    match text {
        "tcp" => Ok(protocol::TCP),
        "udp" => Ok(protocol::UDP),
        "icmp" => Ok(protocol::ICMP),
        "icmp6" | "icmpv6" => Ok(protocol::ICMPV6),
        number => number.parse().map_err(|_| "tcp, udp, icmp or a protocol number, 0 to 255".into()),
    }
}

impl Described {
    /// The frame, as an ENI would send it.
    pub(super) fn frame(&self, eni: &LocalEni, tables: &Tables) -> Result<Vec<u8>, String> {
        let to = self.dst.ok_or("--dst: the destination address is missing")?;
        let first = match to {
            IpAddr::V4(_) => eni.v4.single().first().map(|&address| Ipv4Addr::from_bits(address).into()),
            IpAddr::V6(_) => eni.v6.single().first().map(|&address| Ipv6Addr::from_bits(address).into()),
        };
        let from = self
            .src
            .or(first)
            .ok_or_else(|| format!("--dst {to}: {} has no address of that family; give --src", eni.id))?;
        // As the kernel finds it: by ARP or ND in the subnet, the router's otherwise.
        let on_link = match to {
            IpAddr::V4(to) => eni.subnet_v4.is_some_and(|net| net.contains(&to)),
            IpAddr::V6(to) => eni.subnet_v6.is_some_and(|net| net.contains(&to)),
        };
        let neighbour = if on_link { tables.owner_in_subnet(eni, to) } else { None };
        let to_mac = self.dst_mac.or(neighbour).unwrap_or(eni.router_mac);
        let from_mac = self.src_mac.unwrap_or(eni.mac);
        let mut frame = [to_mac.0, from_mac.0].concat();
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                frame.extend(ethertype::IPV4.to_be_bytes());
                frame.extend(self.ipv4(from, to)?);
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                frame.extend(ethertype::IPV6.to_be_bytes());
                frame.extend(self.ipv6(from, to)?);
            }
            _ => return Err(format!("--src {from} and --dst {to} are of two families")),
        }
        Ok(frame)
    }

    fn ipv4(&self, from: Ipv4Addr, to: Ipv4Addr) -> Result<Vec<u8>, String> {
        let proto = match self.proto {
            None | Some(protocol::ICMPV6) => protocol::ICMP,
            Some(proto) => proto,
        };
        let pseudo = |len: usize| match proto {
            protocol::ICMP => Sum::ZERO,
            _ => Sum::pseudo_v4(from, to, proto, len as u16),
        };
        let payload = self.transport(proto, 20, 8, pseudo)?;
        let df = if self.fragmentable { 0 } else { 0x40 };
        let [high, low] = (20 + payload.len() as u16).to_be_bytes();
        let mut header = vec![0x45, 0, high, low, 0, 0, df, 0, self.ttl.unwrap_or(64), proto, 0, 0];
        header.extend(from.octets());
        header.extend(to.octets());
        let checksum = Sum::of(&header).checksum().to_be_bytes();
        header.splice(10..12, checksum);
        header.extend(payload);
        Ok(header)
    }

    fn ipv6(&self, from: Ipv6Addr, to: Ipv6Addr) -> Result<Vec<u8>, String> {
        let proto = match self.proto {
            None | Some(protocol::ICMP) => protocol::ICMPV6,
            Some(proto) => proto,
        };
        let pseudo = |len: usize| Sum::pseudo_v6(from, to, proto, len as u32);
        let payload = self.transport(proto, 40, 128, pseudo)?;
        let [high, low] = (payload.len() as u16).to_be_bytes();
        let mut header = vec![0x60, 0, 0, 0, high, low, proto, self.ttl.unwrap_or(64)];
        header.extend(from.octets());
        header.extend(to.octets());
        header.extend(payload);
        Ok(header)
    }

    /// The transport header and zeros up to the length asked for, with the checksum filled in.
    fn transport(
        &self,
        proto: u8,
        header: u16,
        echo: u8,
        pseudo: impl Fn(usize) -> Sum,
    ) -> Result<Vec<u8>, String> {
        let ports = [self.sport.unwrap_or(49_152), self.dport.unwrap_or(80)];
        let ports = ports.map(u16::to_be_bytes).concat();
        // The offset of the checksum, if there is one.
        let (mut bytes, checksum) = match proto {
            // A SYN (RFC 9293 §3.1).
            protocol::TCP => (
                [&ports[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]].concat(),
                Some(16),
            ),
            protocol::UDP => ([&ports[..], &[0, 8, 0, 0]].concat(), Some(6)),
            protocol::ICMP | protocol::ICMPV6 => (vec![echo, 0, 0, 0, 0, 1, 0, 1], Some(2)),
            _ => (Vec::new(), None),
        };
        if let Some(length) = self.length {
            let wanted = usize::from(length.saturating_sub(header));
            if wanted < bytes.len() {
                let least = usize::from(header) + bytes.len();
                return Err(format!("--length {length}: the headers alone take {least}"));
            }
            bytes.resize(wanted, 0);
        }
        let len = bytes.len();
        if proto == protocol::UDP {
            bytes.splice(4..6, (len as u16).to_be_bytes());
        }
        if let Some(at) = checksum {
            let sum = pseudo(len).plus(Sum::of(&bytes));
            let value = if proto == protocol::UDP { sum.udp_checksum() } else { sum.checksum() };
            bytes.splice(at..at + 2, value.to_be_bytes());
        }
        Ok(bytes)
    }
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of a hexadecimal text, in which colons, hyphens and white space mean nothing.
pub(super) fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<char> = text.chars().filter(|c| !matches!(c, ':' | '-') && !c.is_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| {
        let high = pair.first().and_then(|digit| digit.to_digit(16));
        let low = pair.get(1).and_then(|digit| digit.to_digit(16));
        high.zip(low).map(|(high, low)| (high << 4 | low) as u8)
    });
    pairs.collect::<Option<_>>().ok_or_else(|| "a frame in hexadecimal is an even number of digits".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_goes_both_ways() {
        assert_eq!(unhex("02:00 00-0a\nFF"), Ok(vec![2, 0, 0, 10, 255]));
        assert_eq!(hex(&[2, 0, 0, 10, 255]), "0200000aff");
        assert!(unhex("0").is_err() && unhex("0g").is_err());
    }

    #[test]
    fn protocols_have_names_and_numbers() {
        assert_eq!(["tcp", "udp", "icmp", "112"].map(protocol_name), [Ok(6), Ok(17), Ok(1), Ok(112)]);
        assert!(protocol_name("256").is_err() && protocol_name("ospf").is_err());
    }
}
