//! The other hosts of the overlay, with the ready outer header for each.

use std::net::IpAddr;

use hashbrown::HashSet;

use super::{HostIndex, PortIndex, Secret, ShardedMap, Slot};
use crate::{
    packet::{OuterTemplate, Vni, mapped},
    pipeline::Reason,
};

/// Whether a packet can be sent to a host now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// The template is complete.
    Ready,
    /// The next hop's link-layer address is not known.
    Unresolved,
    /// No uplink leads there.
    Unreachable,
}

/// Another host, as its packets need it: one cache line of it with VXLAN over IPv4, two otherwise.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
pub struct Host {
    /// The longest inner frame, link-layer header included, that fits the uplink's MTU once encapsulated; 0, which nothing
    /// fits, unless the host is [`Reachability::Ready`].
    pub max_inner: u16,
    /// The port that leads to it.
    pub uplink: PortIndex,
    /// Whether the template is complete.
    pub reachability: Reachability,
    /// The outer header of packets to it.
    pub template: OuterTemplate,
}

const _: () = assert!(size_of::<Host>() == 128);

impl Host {
    /// Why a frame of so many bytes can't be sent to it, if it can't.
    #[inline(always)]
    pub fn refuses(&self, frame: usize) -> Option<Reason> {
        if frame <= usize::from(self.max_inner) {
            return None;
        }
        Some(match self.reachability {
            Reachability::Ready => Reason::MtuDf,
            Reachability::Unresolved => Reason::UnderlayUnresolved,
            Reachability::Unreachable => Reason::UnderlayUnreachable,
        })
    }

    /// A host that no uplink leads to.
    pub const UNREACHABLE: Self = Self {
        max_inner: 0,
        uplink: PortIndex(u16::MAX),
        reachability: Reachability::Unreachable,
        template: OuterTemplate::NONE,
    };
}

/// A host's underlay address.
#[derive(Clone, Copy)]
#[repr(C)]
struct AddressSlot {
    address: [u64; 2],
    /// The host's index plus one; zero is the empty slot.
    host: u64,
}

impl Slot for AddressSlot {
    type Key = u128;

    const EMPTY: Self = Self { address: [0; 2], host: 0 };

    #[inline]
    fn is_empty(&self) -> bool {
        self.host == 0
    }

    fn key(&self) -> u128 {
        let [high, low] = self.address;
        u128::from(high) << 64 | u128::from(low)
    }

    #[inline]
    fn holds(&self, key: &u128) -> bool {
        !self.is_empty() && self.key() == *key
    }

    #[inline]
    fn hash(key: &u128, secret: &Secret) -> u64 {
        secret.mix(*key as u64, (*key >> 64) as u64)
    }
}

/// The hosts, by index and by underlay address.
pub struct Hosts {
    entries: Box<[Host]>,
    by_address: ShardedMap<AddressSlot>,
    /// The hosts which hold an ENI of a VPC whose source/destination check is off: such an ENI sends packets with any
    /// source (P-4).
    forwarders: HashSet<(Vni, HostIndex)>,
}

impl Hosts {
    /// Hosts by index, with their underlay addresses (`None` where an index is not in use), and the forwarders.
    pub fn new(
        hosts: impl IntoIterator<Item = Option<(IpAddr, Host)>>,
        forwarders: HashSet<(Vni, HostIndex)>,
    ) -> Self {
        let hosts: Vec<_> = hosts.into_iter().collect();
        let mut by_address = ShardedMap::with_capacity(hosts.len());
        for (index, host) in hosts.iter().enumerate() {
            if let Some((address, _)) = host {
                let address = mapped(*address);
                by_address.insert(AddressSlot {
                    address: [(address >> 64) as u64, address as u64],
                    host: index as u64 + 1,
                });
            }
        }
        let entries =
            hosts.into_iter().map(|host| host.map_or(Host::UNREACHABLE, |(_, host)| host)).collect();
        Self { entries, by_address, forwarders }
    }

    /// The host with an index.
    #[inline(always)]
    pub fn get(&self, index: HostIndex) -> Option<&Host> {
        self.entries.get(index.0 as usize)
    }

    /// All, by index.
    #[inline]
    pub fn all(&self) -> &[Host] {
        &self.entries
    }

    /// The host with an underlay address, an IPv4 one IPv4-mapped.
    #[inline]
    pub fn at(&self, address: u128) -> Option<HostIndex> {
        self.by_address.get(&address).map(|slot| HostIndex((slot.host - 1) as u32))
    }

    /// Whether an ENI of the VPC at the host may send packets with any source.
    pub fn forwards_for(&self, vni: Vni, host: HostIndex) -> bool {
        self.forwarders.contains(&(vni, host))
    }

    /// Memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.entries) + self.by_address.bytes()
    }
}
