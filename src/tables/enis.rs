//! Who has an address: the maps of ENIs by (VPC, address) and by (VPC, MAC).

use super::sharded::{Secret, ShardedMap, Slot};
use super::{GatewayIndex, GroupSetIndex, HostIndex, PortIndex, SubnetIndex};
use crate::packet::{Mac, Vni};

/// Length of a delegated IPv4 prefix (AWS, "Prefix delegation for Amazon EC2 network interfaces").
pub const DELEGATED_V4: u32 = 28;
/// Length of a delegated IPv6 prefix.
pub const DELEGATED_V6: u32 = 80;

/// Where an ENI is plugged in, in four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location(u32);

/// A [`Location`], spelled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A port of this node.
    Local(PortIndex),
    /// Another host.
    Remote(HostIndex),
    /// A gateway, which has the address.
    Gateway(GatewayIndex),
    /// No host: the ENI is attached to none.
    Nowhere,
}

impl Location {
    const LOCAL: u32 = 1 << 31;
    const GATEWAY: u32 = 1 << 30;
    const NOWHERE: u32 = Self::LOCAL - 1;

    /// At no host.
    pub const UNATTACHED: Self = Self(Self::NOWHERE);

    /// The host, if it is one.
    #[inline(always)]
    pub fn host(self) -> Option<HostIndex> {
        (self.0 < Self::GATEWAY).then_some(HostIndex(self.0))
    }

    /// Whether it is that host.
    #[inline]
    pub fn is_at(self, host: HostIndex) -> bool {
        self.0 == host.0
    }

    /// Spelled out.
    #[inline(always)]
    pub fn place(self) -> Place {
        match self.0 {
            Self::NOWHERE => Place::Nowhere,
            local if local & Self::LOCAL != 0 => Place::Local(PortIndex(local as u16)),
            gateway if gateway & Self::GATEWAY != 0 => Place::Gateway(GatewayIndex(gateway & !Self::GATEWAY)),
            host => Place::Remote(HostIndex(host)),
        }
    }
}

impl From<Place> for Location {
    fn from(place: Place) -> Self {
        match place {
            Place::Local(port) => Self(Self::LOCAL | u32::from(port.0)),
            Place::Remote(host) => Self(host.0),
            Place::Gateway(gateway) => Self(Self::GATEWAY | gateway.0),
            Place::Nowhere => Self(Self::NOWHERE),
        }
    }
}

/// What a sender's node needs to know of an ENI to deliver a packet to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Destination {
    /// The ENI's MAC.
    pub mac: Mac,
    /// The router's MAC of the ENI's subnet: the source of what reaches it from other subnets (FWD-6).
    pub router_mac: Mac,
    /// Where it is plugged in.
    pub location: Location,
    /// Its subnet.
    pub subnet: SubnetIndex,
    /// Whether its source/destination check is on.
    pub source_dest_check: bool,
    /// Its security groups (SEC-12).
    pub groups: GroupSetIndex,
}

impl Destination {
    const NONE: Self = Self {
        mac: Mac::ZERO,
        router_mac: Mac::ZERO,
        location: Location(Location::NOWHERE),
        subnet: SubnetIndex(0),
        source_dest_check: true,
        groups: GroupSetIndex::EMPTY,
    };
}

/// A VPC and what kind of key follows, in one word; never zero.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Scope(u32);

impl Scope {
    const EMPTY: Self = Self(0);
    const DELEGATED: u32 = 1 << 24;

    fn exact(vni: Vni) -> Self {
        Self(vni.get())
    }

    fn delegated(vni: Vni) -> Self {
        Self(vni.get() | Self::DELEGATED)
    }
}

/// Declares the slot and key types of one address family.
macro_rules! address_slot {
    ($(#[$doc:meta])* $slot:ident, $key:ident, $word:ty, $delegated:expr, $fill:literal, $align:literal, |$address:ident| $halves:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        #[repr(C, align($align))]
        pub struct $slot {
            address: [u32; size_of::<$word>() / 4],
            scope: Scope,
            /// The ENI that has the address.
            pub destination: Destination,
        }

        /// A VPC and an address, or a VPC and a delegated prefix.
        #[derive(Clone, Copy)]
        pub struct $key {
            address: $word,
            scope: Scope,
        }

        impl $key {
            /// One address, host byte order.
            #[inline]
            pub fn exact(vni: Vni, address: $word) -> Self {
                Self { address, scope: Scope::exact(vni) }
            }

            /// The delegated prefix that holds the address.
            #[inline]
            pub fn delegated(vni: Vni, address: $word) -> Self {
                let host_bits = <$word>::BITS - $delegated;
                Self { address: address >> host_bits << host_bits, scope: Scope::delegated(vni) }
            }

            /// The slot with this key.
            pub fn slot(self, destination: Destination) -> $slot {
                let mut address = [0; size_of::<$word>() / 4];
                for (word, bytes) in address.iter_mut().zip(self.address.to_ne_bytes().chunks_exact(4)) {
                    *word = bytes.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
                }
                $slot { address, scope: self.scope, destination }
            }
        }

        impl $slot {
            #[inline]
            fn address(&self) -> $word {
                let mut bytes = [0; size_of::<$word>()];
                for (bytes, word) in bytes.chunks_exact_mut(4).zip(self.address) {
                    bytes.copy_from_slice(&word.to_ne_bytes());
                }
                <$word>::from_ne_bytes(bytes)
            }
        }

        impl Slot for $slot {
            type Key = $key;

            const EMPTY: Self =
                Self { address: [0; size_of::<$word>() / 4], scope: Scope::EMPTY, destination: Destination::NONE };

            const FILL: usize = $fill;

            #[inline]
            fn is_empty(&self) -> bool {
                self.scope == Scope::EMPTY
            }

            fn key(&self) -> $key {
                $key { address: self.address(), scope: self.scope }
            }

            #[inline]
            fn holds(&self, key: &$key) -> bool {
                self.scope == key.scope && self.address() == key.address
            }

            #[inline]
            fn hash(key: &$key, secret: &Secret) -> u64 {
                let $address = key.address;
                let (high, low): (u64, u64) = $halves;
                secret.mix(low, high ^ u64::from(key.scope.0) << 32)
            }
        }
    };
}

address_slot!(
    /// An IPv4 address of an ENI, or a /28 delegated to one. Two fill a cache line.
    V4Slot, V4Key, u32, DELEGATED_V4, 40, 32, |address| (0, u64::from(address))
);
address_slot!(
    /// An IPv6 address of an ENI, or a /80 delegated to one.
    V6Slot, V6Key, u128, DELEGATED_V6, 70, 4, |address| ((address >> 64) as u64, address as u64)
);

const _: () = assert!(size_of::<V4Slot>() == 32 && size_of::<V6Slot>() <= 48 && size_of::<MacSlot>() == 32);

/// The MAC of an ENI.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct MacSlot {
    scope: Scope,
    /// The ENI that has the MAC, which is part of the key.
    pub destination: Destination,
}

/// A VPC and a MAC.
#[derive(Clone, Copy)]
pub struct MacKey {
    scope: Scope,
    mac: Mac,
}

impl MacKey {
    /// The key of a MAC in a VPC.
    #[inline]
    pub fn new(vni: Vni, mac: Mac) -> Self {
        Self { scope: Scope::exact(vni), mac }
    }

    /// The slot of an ENI in a VPC.
    pub fn slot(vni: Vni, destination: Destination) -> MacSlot {
        MacSlot { scope: Scope::exact(vni), destination }
    }
}

impl Slot for MacSlot {
    type Key = MacKey;

    const EMPTY: Self = Self { scope: Scope::EMPTY, destination: Destination::NONE };

    #[inline]
    fn is_empty(&self) -> bool {
        self.scope == Scope::EMPTY
    }

    fn key(&self) -> MacKey {
        MacKey { scope: self.scope, mac: self.destination.mac }
    }

    #[inline]
    fn holds(&self, key: &MacKey) -> bool {
        self.scope == key.scope && self.destination.mac == key.mac
    }

    #[inline]
    fn hash(key: &MacKey, secret: &Secret) -> u64 {
        secret.mix(key.mac.to_u64(), u64::from(key.scope.0) << 32)
    }
}

/// Every ENI of every VPC, found by address and by MAC.
#[derive(Clone)]
pub struct Enis {
    /// By IPv4 address.
    pub v4: ShardedMap<V4Slot>,
    /// By IPv6 address.
    pub v6: ShardedMap<V6Slot>,
    /// By MAC.
    pub mac: ShardedMap<MacSlot>,
    /// Delegated prefixes in `v4` and `v6`: while there are none, nobody looks for them.
    pub(crate) delegated: [usize; 2],
}

impl Enis {
    /// Empty maps, made for about that many ENIs, IPv4 addresses and IPv6 addresses.
    pub fn with_capacity(enis: usize, v4: usize, v6: usize) -> Self {
        Self {
            v4: ShardedMap::with_capacity(v4),
            v6: ShardedMap::with_capacity(v6),
            mac: ShardedMap::with_capacity(enis),
            delegated: [0; 2],
        }
    }

    /// The ENI that has an IPv4 address, by itself or in a delegated prefix. `hash` is that of the exact key.
    #[inline(always)]
    pub fn find_v4(&self, vni: Vni, address: u32, hash: u64) -> Option<&Destination> {
        let found = self.v4.find(hash, &V4Key::exact(vni, address));
        let found = match found {
            None if self.delegated[0] != 0 => self.v4.get(&V4Key::delegated(vni, address)),
            found => found,
        };
        found.map(|slot| &slot.destination)
    }

    /// The ENI that has an IPv6 address, by itself or in a delegated prefix. `hash` is that of the exact key.
    #[inline(always)]
    pub fn find_v6(&self, vni: Vni, address: u128, hash: u64) -> Option<&Destination> {
        let found = self.v6.find(hash, &V6Key::exact(vni, address));
        let found = match found {
            None if self.delegated[1] != 0 => self.v6.get(&V6Key::delegated(vni, address)),
            found => found,
        };
        found.map(|slot| &slot.destination)
    }

    /// As [`Enis::find_v4`], where the hash is not at hand.
    #[inline(always)]
    pub fn get_v4(&self, vni: Vni, address: u32) -> Option<&Destination> {
        self.find_v4(vni, address, self.v4.hash(&V4Key::exact(vni, address)))
    }

    /// As [`Enis::find_v6`], where the hash is not at hand.
    #[inline]
    pub fn get_v6(&self, vni: Vni, address: u128) -> Option<&Destination> {
        self.find_v6(vni, address, self.v6.hash(&V6Key::exact(vni, address)))
    }

    /// The ENI that has a MAC.
    #[inline(always)]
    pub fn get_mac(&self, vni: Vni, mac: Mac) -> Option<&Destination> {
        self.mac.get(&MacKey::new(vni, mac)).map(|slot| &slot.destination)
    }

    /// Memory of the maps, in bytes.
    pub fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes() + self.mac.bytes()
    }

    /// Bytes of the maps that are not shared with another snapshot: what the change between the two copied.
    pub fn bytes_not_shared_with(&self, other: &Self) -> usize {
        self.v4.bytes_not_shared_with(&other.v4)
            + self.v6.bytes_not_shared_with(&other.v6)
            + self.mac.bytes_not_shared_with(&other.mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mac: u8) -> Destination {
        Destination { mac: Mac([2, 0, 0, 0, 0, mac]), ..Destination::NONE }
    }

    #[test]
    fn a_location_is_what_it_was_made_of() {
        for place in [
            Place::Local(PortIndex(0)),
            Place::Local(PortIndex(u16::MAX)),
            Place::Remote(HostIndex(7)),
            Place::Gateway(GatewayIndex(0)),
            Place::Gateway(GatewayIndex(9)),
            Place::Nowhere,
        ] {
            assert_eq!(Location::from(place).place(), place);
        }
    }

    #[test]
    fn an_exact_address_wins_over_the_prefix_around_it_and_vpcs_are_apart() {
        let (blue, red) = (Vni::new(1).unwrap(), Vni::new(2).unwrap());
        let mut enis = Enis::with_capacity(0, 0, 0);
        enis.v4.insert(V4Key::exact(blue, 0x0a00_0113).slot(at(1)));
        enis.v4.insert(V4Key::delegated(blue, 0x0a00_0110).slot(at(2)));
        enis.v6.insert(V6Key::delegated(blue, 0x2001_0db8 << 96).slot(at(3)));
        enis.delegated = [1, 1];
        assert_eq!(enis.get_v4(blue, 0x0a00_0113), Some(&at(1)));
        assert_eq!(enis.get_v4(blue, 0x0a00_011f), Some(&at(2)));
        assert_eq!(enis.get_v4(blue, 0x0a00_0120), None);
        assert_eq!(enis.get_v4(red, 0x0a00_0113), None);
        assert_eq!(enis.get_v6(blue, (0x2001_0db8 << 96) | 0xffff), Some(&at(3)));
        assert_eq!(enis.get_v6(blue, (0x2001_0db8 << 96) | 1 << 48), None);
    }
}
