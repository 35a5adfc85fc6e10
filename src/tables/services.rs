//! Link-local services: which port leads to which, and who is who there.
//!
//! VPCs use the same addresses, so that a service in the host could not tell two askers apart, nor answer them, by their own.
//! On a service port each address of an ENI of this node is another, its **identity**: one of a pool, computed from the
//! ENI's port and the address's position among the ENI's. Nothing is remembered about a packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::PortIndex;
use crate::packet::Mac;

/// A service that every instance finds at a link-local address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkLocal {
    /// Instance metadata (ADDR-17).
    Metadata,
    /// The resolver (ADDR-19), also at the VPC block's base plus two.
    Dns,
    /// The time service (ADDR-22).
    Time,
}

impl LinkLocal {
    /// Every service, in the order of its number.
    pub const ALL: [Self; 3] = [Self::Metadata, Self::Dns, Self::Time];

    /// Its IPv4 address.
    pub const fn v4(self) -> Ipv4Addr {
        match self {
            Self::Metadata => Ipv4Addr::new(169, 254, 169, 254),
            Self::Dns => Ipv4Addr::new(169, 254, 169, 253),
            Self::Time => Ipv4Addr::new(169, 254, 169, 123),
        }
    }

    /// Its IPv6 address.
    pub const fn v6(self) -> Ipv6Addr {
        let last = match self {
            Self::Metadata => 0x254,
            Self::Dns => 0x253,
            Self::Time => 0x123,
        };
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, last)
    }

    /// The service at an address.
    pub fn at(address: IpAddr) -> Option<Self> {
        Self::ALL.into_iter().find(|service| match address {
            IpAddr::V4(address) => service.v4() == address,
            IpAddr::V6(address) => service.v6() == address,
        })
    }
}

/// Where an address is among those of an ENI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// 0 for a single address, else the number of the delegated prefix, from 1.
    pub prefix: u16,
    /// Which single address, from 0, or which of the prefix's.
    pub index: u64,
}

/// Whom an identity stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The port of the ENI.
    pub port: PortIndex,
    /// Which of its addresses.
    pub position: Position,
    /// Whether it asked the resolver by the address in its VPC, base plus two.
    pub in_vpc: bool,
}

/// A port behind which services of the host are.
#[derive(Clone, Debug)]
pub struct ServicePort {
    /// The services behind it.
    pub services: Box<[LinkLocal]>,
    /// The MAC of the host's interface.
    pub peer: Mac,
    /// The pool of IPv4 identities.
    pub pool_v4: Ipv4Net,
    /// The pool of IPv6 identities.
    pub pool_v6: Ipv6Net,
}

/// Bits of an IPv4 identity for the address of an ENI, of which the first is [`Asker::in_vpc`].
const ADDRESS_BITS: u32 = 12;
/// IPv4 addresses of an ENI that are singles; as many are of delegated prefixes, 16 each.
const SINGLES: u32 = 1 << (ADDRESS_BITS - 2);

impl ServicePort {
    /// The node's MAC on a service port, where all identities are.
    pub const ROUTER: Mac = Mac([0x02, 0x57, 0x52, 0x4e, 0xff, 0xfe]);

    /// The shortest and longest prefix of an IPv4 pool: 4096 addresses for each port.
    pub const POOL_V4: std::ops::RangeInclusive<u8> = 8..=20;
    /// The longest prefix of an IPv6 pool: 2^64 addresses for each port.
    pub const POOL_V6: u8 = 48;

    /// The IPv4 identity of an asker, host order; `None` if the pool has no room for it.
    pub fn identity_v4(&self, asker: Asker) -> Option<u32> {
        let Position { prefix, index } = asker.position;
        let index = u32::try_from(index).ok()?;
        let address = match prefix {
            0 if index < SINGLES => index,
            1.. if index < 16 => SINGLES + (u32::from(prefix) - 1) * 16 + index,
            _ => return None,
        };
        let number =
            u32::from(asker.port.0) << ADDRESS_BITS | u32::from(asker.in_vpc) << (ADDRESS_BITS - 1) | address;
        let fits = address < 2 * SINGLES && number & self.pool_v4.hostmask().to_bits() == number;
        fits.then_some(self.pool_v4.network().to_bits() | number)
    }

    /// The asker with an IPv4 identity.
    pub fn asker_v4(&self, identity: u32) -> Option<Asker> {
        if !self.pool_v4.contains(&Ipv4Addr::from_bits(identity)) {
            return None;
        }
        let number = identity & self.pool_v4.hostmask().to_bits();
        let address = number & (2 * SINGLES - 1);
        let position = match address.checked_sub(SINGLES) {
            None => Position { prefix: 0, index: address.into() },
            Some(delegated) => {
                Position { prefix: (delegated / 16 + 1) as u16, index: (delegated % 16).into() }
            }
        };
        let port = PortIndex(u16::try_from(number >> ADDRESS_BITS).ok()?);
        Some(Asker { port, position, in_vpc: number >> (ADDRESS_BITS - 1) & 1 == 1 })
    }

    /// The IPv6 identity of an asker, host order: behind the pool's prefix 16 bits of port, 16 of prefix, 48 of index.
    pub fn identity_v6(&self, asker: Asker) -> Option<u128> {
        let Position { prefix, index } = asker.position;
        let number = u128::from(asker.port.0) << 64 | u128::from(prefix) << 48 | u128::from(index);
        (index >> 48 == 0).then_some(self.pool_v6.network().to_bits() | number)
    }

    /// The asker with an IPv6 identity.
    pub fn asker_v6(&self, identity: u128) -> Option<Asker> {
        let number = identity & self.pool_v6.hostmask().to_bits();
        let port = PortIndex(u16::try_from(number >> 64).ok()?);
        let position = Position { prefix: (number >> 48) as u16, index: number as u64 & 0xffff_ffff_ffff };
        let inside = self.pool_v6.contains(&Ipv6Addr::from_bits(identity));
        inside.then_some(Asker { port, position, in_vpc: false })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn port() -> ServicePort {
        ServicePort {
            services: LinkLocal::ALL.into(),
            peer: Mac::ZERO,
            pool_v4: "100.64.0.0/10".parse().unwrap(),
            pool_v6: "fd77:6172:72::/48".parse().unwrap(),
        }
    }

    proptest! {
        #[test]
        fn an_identity_is_of_one_asker(number in 0u16..1100, prefix in 0u16..70, index in 0u64..1100, in_vpc: bool) {
            let position = Position { prefix, index };
            let asker = Asker { port: PortIndex(number), position, in_vpc };
            let fits = number < 1024 && (prefix == 0 && index < 1024 || (1..=64).contains(&prefix) && index < 16);
            let identity = port().identity_v4(asker);
            prop_assert_eq!(identity.is_some(), fits);
            if let Some(identity) = identity {
                prop_assert_eq!(port().asker_v4(identity), Some(asker));
            }
            let asker = Asker { in_vpc: false, ..asker };
            let identity = port().identity_v6(asker).unwrap();
            prop_assert_eq!(port().asker_v6(identity), Some(asker));
        }

        #[test]
        fn an_address_elsewhere_is_nobody(v4: u32, v6: u128) {
            if let Some(asker) = port().asker_v4(v4) {
                prop_assert_eq!(port().identity_v4(asker), Some(v4));
            }
            if let Some(asker) = port().asker_v6(v6) {
                prop_assert_eq!(port().identity_v6(asker), Some(v6));
            }
        }
    }

    #[test]
    fn identities_are_as_documented() {
        let single = |port, index, in_vpc| Asker {
            port: PortIndex(port),
            position: Position { prefix: 0, index },
            in_vpc,
        };
        let v4 = |asker| port().identity_v4(asker).map(Ipv4Addr::from_bits);
        assert_eq!(v4(single(0, 0, false)), Some(Ipv4Addr::new(100, 64, 0, 0)));
        assert_eq!(v4(single(3, 1, false)), Some(Ipv4Addr::new(100, 64, 48, 1)));
        assert_eq!(v4(single(3, 1, true)), Some(Ipv4Addr::new(100, 64, 56, 1)));
        let v6 = port().identity_v6(single(3, 1, false)).map(Ipv6Addr::from_bits);
        assert_eq!(v6, Some("fd77:6172:72:3::1".parse().unwrap()));
    }
}
