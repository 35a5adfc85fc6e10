//! Link-layer addresses and network identifiers.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use serde::{Deserialize, Serialize};

use super::bytes::{get, put};

/// An IEEE 802 MAC-48 address, in wire order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[repr(transparent)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// 00:00:00:00:00:00, which no station may have.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether the group bit is set (IEEE 802-2014 §8.2.2): multicast, or broadcast.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether a station can own it: not a group address and not all zeros.
    pub const fn is_unicast(self) -> bool {
        !self.is_group() && self.to_u64() != 0
    }

    /// The 48 bits, first octet most significant.
    #[inline]
    pub const fn to_u64(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// The IPv6 link-local address with this MAC's modified EUI-64 identifier (RFC 4291 appendix A).
    pub const fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        Ipv6Addr::from_octets([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The text is not six two-digit hexadecimal octets separated by colons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseMacError;

impl fmt::Display for ParseMacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a MAC address is six octets such as 02:00:00:00:01:0a")
    }
}

impl std::error::Error for ParseMacError {}

impl FromStr for Mac {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, ParseMacError> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().ok_or(ParseMacError)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(ParseMacError);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| ParseMacError)?;
        }
        if parts.next().is_some() { Err(ParseMacError) } else { Ok(Self(octets)) }
    }
}

impl TryFrom<String> for Mac {
    type Error = ParseMacError;

    fn try_from(text: String) -> Result<Self, ParseMacError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

/// Destination and source MAC, as a frame begins with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct MacPair([u8; 12]);

impl MacPair {
    /// Both of them zero.
    pub const ZERO: Self = Self([0; 12]);

    /// The two.
    pub fn new(destination: Mac, source: Mac) -> Self {
        let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (destination.0, source.0);
        Self([a, b, c, d, e, f, g, h, i, j, k, l])
    }

    /// The first.
    #[inline(always)]
    pub fn destination(&self) -> Mac {
        Mac(get(&self.0, 0).unwrap_or_default())
    }

    /// Writes both into a frame; nothing into a shorter one.
    #[inline(always)]
    pub fn put(&self, frame: &mut [u8]) {
        put(frame, 0, self.0);
    }
}

/// Destination and source MAC of a frame; zeros of a shorter one.
#[inline(always)]
pub fn macs(frame: &[u8]) -> (Mac, Mac) {
    frame.first_chunk::<12>().map_or((Mac::ZERO, Mac::ZERO), |head| {
        (Mac(get(head, 0).unwrap_or_default()), Mac(get(head, 6).unwrap_or_default()))
    })
}

/// [`Mac::to_u64`] of both, as they are compared soonest; zeros of a frame that is shorter than an Ethernet header.
#[inline(always)]
pub fn mac_numbers(frame: &[u8]) -> (u64, u64) {
    let number = |at| u64::from_be_bytes(get(frame, at).unwrap_or_default()) >> 16;
    (number(0), number(6))
}

/// The group bit ([`Mac::is_group`]) of [`Mac::to_u64`].
pub const GROUP: u64 = 1 << 40;

/// Writes destination and source MAC into a frame; nothing into a shorter one.
#[inline(always)]
pub fn set_macs(frame: &mut [u8], destination: Mac, source: Mac) {
    MacPair::new(destination, source).put(frame);
}

/// A 24-bit virtual network identifier of VXLAN (RFC 7348 §5) or Geneve (RFC 8926 §3.4), never zero.
///
/// Warren gives each VPC one; the VNI on the wire is that of the VPC in which the packet is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Vni(std::num::NonZeroU32);

impl Vni {
    /// The largest identifier.
    pub const MAX: u32 = 0xff_ffff;
    /// The least one.
    pub const FIRST: Self = match Self::new(1) {
        Some(first) => first,
        None => unreachable!(),
    };

    /// The identifier, if it fits 24 bits and is not zero.
    #[inline]
    pub const fn new(value: u32) -> Option<Self> {
        match std::num::NonZeroU32::new(value) {
            Some(value) if value.get() <= Self::MAX => Some(Self(value)),
            _ => None,
        }
    }

    /// The number, 1 to [`Vni::MAX`].
    #[inline]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_text_round_trips_and_rejects_other_forms() {
        let mac: Mac = "02:00:5E:00:01:ff".parse().unwrap();
        assert_eq!(mac, Mac([2, 0, 0x5e, 0, 1, 0xff]));
        assert_eq!(mac.to_string(), "02:00:5e:00:01:ff");
        for bad in [
            "",
            "02:00:00:00:01",
            "02:00:00:00:01:0a:0b",
            "2:0:0:0:1:a",
            "02-00-00-00-01-0a",
            "+2:00:00:00:01:0a",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    #[test]
    fn link_local_is_modified_eui64() {
        assert_eq!(Mac([2, 0, 0, 0, 1, 0xa]).link_local().to_string(), "fe80::ff:fe00:10a");
    }

    #[test]
    fn vni_is_24_bits_and_not_zero() {
        assert!(Vni::new(0).is_none() && Vni::new(Vni::MAX + 1).is_none());
        assert_eq!(Vni::new(Vni::MAX).unwrap().get(), Vni::MAX);
    }
}
