//! What connections are found by.

use std::net::IpAddr;

use crate::{
    packet::mapped,
    tables::{PortIndex, Secret},
};

/// The two ends of a connection, as its ENI sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The ENI's side.
    pub local: IpAddr,
    /// The other side.
    pub remote: IpAddr,
    /// The port of the ENI's side. Of ICMP, the identifier at the end that asks, and 0 at the one that answers (RFC 5508 §3.1);
    /// of other protocols 0.
    pub local_port: u16,
    /// The port of the other side, likewise.
    pub remote_port: u16,
    /// The IP protocol.
    pub protocol: u8,
}

/// The part of a key that fits two words, and its hash. Over IPv4 it is all of it; over IPv6 the first word is a keyed hash of
/// the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// The part itself.
    pub words: [u64; 2],
    /// Its hash.
    pub hash: u32,
}

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The part that fits two words.
    pub short: Short,
    /// Local and remote address over IPv6.
    pub(super) wide: Option<[u128; 2]>,
}

const IPV4: u64 = 4;
const IPV6: u64 = 6;

/// Whether a key's addresses are more than its words hold.
#[inline(always)]
pub(super) fn is_wide(words: &[u64; 2]) -> bool {
    words[1] as u8 == IPV6 as u8
}

impl Short {
    /// The key of no connection.
    pub const NONE: Self = Self { words: [u64::MAX; 2], hash: 0 };

    #[inline(always)]
    fn new(secret: &Secret, addresses: u64, ports: u32, port: PortIndex, protocol: u8, family: u64) -> Self {
        let rest = u64::from(ports) << 32 | u64::from(port.0) << 16 | u64::from(protocol) << 8 | family;
        Self::of(secret, [addresses, rest])
    }

    #[inline(always)]
    pub(super) fn of(secret: &Secret, words: [u64; 2]) -> Self {
        let [addresses, rest] = words;
        Self { words, hash: secret.mix(addresses, rest) as u32 }
    }

    #[inline(always)]
    pub(super) fn v6(
        secret: &Secret,
        port: PortIndex,
        addresses: [u128; 2],
        ports: u32,
        protocol: u8,
    ) -> Self {
        let [a, b] = addresses.map(|address| secret.mix((address >> 64) as u64, address as u64));
        Self::new(secret, secret.mix(a, b), ports, port, protocol, IPV6)
    }

    #[inline(always)]
    pub(super) fn v4(secret: &Secret, port: PortIndex, addresses: u64, ports: u32, protocol: u8) -> Self {
        Self::new(secret, addresses, ports, port, protocol, IPV4)
    }
}

impl Key {
    pub(super) fn new(secret: &Secret, port: PortIndex, ends: &Ends) -> Self {
        let ports = u32::from(ends.local_port) << 16 | u32::from(ends.remote_port);
        match (ends.local, ends.remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                let addresses = u64::from(local.to_bits()) << 32 | u64::from(remote.to_bits());
                let short = Short::v4(secret, port, addresses, ports, ends.protocol);
                Self { short, wide: None }
            }
            (local, remote) => {
                let wide = [mapped(local), mapped(remote)];
                let short = Short::v6(secret, port, wide, ports, ends.protocol);
                Self { short, wide: Some(wide) }
            }
        }
    }
}
