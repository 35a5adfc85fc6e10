//! Fields of frames that an expectation leaves open, or gives a name to.

use serde_json::Value;
use warren::packet::protocol;

/// The expected bytes with those of the actual frame where any will do.
pub fn with_any(expected: &[u8], actual: &[u8], value: &Value) -> Vec<u8> {
    let mut bytes = expected.to_vec();
    let Some(any) = value["any"].as_array() else { return bytes };
    if bytes.len() != actual.len() {
        return bytes;
    }
    let v4 = bytes[12..14] == [8, 0];
    for field in any {
        let range = match (field.as_str(), v4) {
            (Some("ip.id"), true) => 18..20,
            (Some("ip.ttl"), true) => 22..23,
            (Some("ip.ttl"), false) => 21..22,
            (Some("ip.df"), true) => 20..21,
            (Some("ip.id" | "ip.df"), false) => continue,
            other => panic!("any: {other:?}"),
        };
        bytes[range.clone()].copy_from_slice(&actual[range]);
    }
    if v4 {
        bytes[24..26].fill(0);
        let end = 14 + usize::from(bytes[14] & 15) * 4;
        let checksum = warren::packet::checksum::Sum::of(&bytes[14..end]).checksum();
        bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
    }
    bytes
}

/// The value of a field such as `udp.src` in a frame.
pub fn read(frame: &[u8], field: &str) -> Result<u16, String> {
    let missing = || format!("a frame without {field}");
    let byte = |at: usize| frame.get(at).copied().ok_or_else(missing);
    let (protocol, header) = match (byte(12)?, byte(13)?) {
        (8, 0) => (byte(23)?, 14 + usize::from(byte(14)? & 15) * 4),
        _ => (byte(20)?, 54),
    };
    let at = match (field, protocol) {
        ("udp.src", protocol::UDP) | ("tcp.src", protocol::TCP) => 0,
        ("udp.dst", protocol::UDP) | ("tcp.dst", protocol::TCP) => 2,
        ("icmp.id", protocol::ICMP | protocol::ICMPV6) => 4,
        _ => return Err(missing()),
    };
    Ok(u16::from_be_bytes([byte(header + at)?, byte(header + at + 1)?]))
}

/// Puts a value in a description.
pub fn set(description: &mut Value, field: &str, number: u16) {
    if let Some((part, key)) = field.split_once('.') {
        description[part][key] = number.into();
    }
}

/// Adds to the source port of a description, of TCP or UDP.
pub fn add_to_source_port(description: &mut Value, more: u16) {
    let field = if description.get("tcp").is_some() { "tcp" } else { "udp" };
    let port = description[field]["src"].as_u64().unwrap_or(40_000);
    set(description, &format!("{field}.src"), port as u16 + more);
}
