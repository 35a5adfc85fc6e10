//! The node that tables are compiled for: which host it is, and its ports.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

use crate::{
    model::Id,
    packet::{Encapsulation, Mac, OuterChecksum, PlainOuter, mapped},
    tables::{GatewayPort, LinkLocal, PortIndex, ServicePort, Uplink, VlanMode},
};

/// A node.
#[derive(Clone, Debug)]
pub struct Site {
    /// The host that it is.
    pub host: Id,
    /// The encapsulation of the overlay.
    pub encapsulation: Encapsulation,
    /// How many workers it has, or 255 of more.
    pub workers: u8,
    /// Its ports, in the order of the host file.
    pub ports: Vec<SitePort>,
}

/// A port of a node.
#[derive(Clone, Debug)]
pub struct SitePort {
    /// Its name.
    pub name: Arc<str>,
    /// The largest IP packet it carries, in bytes.
    pub mtu: u16,
    /// What happens to tagged frames from it.
    pub vlan: VlanMode,
    /// What is behind it.
    pub role: SiteRole,
}

/// What is behind a port.
#[derive(Clone, Debug)]
pub enum SiteRole {
    /// An instance.
    Instance,
    /// The underlay.
    Uplink(SiteUplink),
    /// Link-local services of the host.
    Service(Arc<ServicePort>),
    /// The outside.
    Gateway(Arc<GatewayPort>),
    /// A routing daemon, which speaks as the gateway port at that index.
    Control(PortIndex),
}

impl SitePort {
    /// The underlay behind it, if it is an uplink.
    pub fn uplink(&self) -> Option<&SiteUplink> {
        match &self.role {
            SiteRole::Uplink(uplink) => Some(uplink),
            _ => None,
        }
    }
}

/// The underlay side of an uplink port.
#[derive(Clone, Debug)]
pub struct SiteUplink {
    /// The port's link-layer address.
    pub mac: Mac,
    /// The node's underlay address on it.
    pub address: IpAddr,
    /// The addresses that are on the link.
    pub on_link: IpNet,
    /// The next hop for others.
    pub gateway: Option<IpAddr>,
    /// The port's MTU, in bytes.
    pub mtu: u16,
    /// What is put into the outer UDP checksum.
    pub checksum: OuterChecksum,
}

impl SiteUplink {
    pub(super) fn to_table(&self) -> Uplink {
        let plain = match self.address {
            IpAddr::V4(address) => Some(PlainOuter::to(address.to_bits())),
            IpAddr::V6(_) => None,
        };
        let (mac, address, checksum) = (self.mac, self.address, self.checksum);
        Uplink { mac, address, mapped: mapped(address), checksum, plain }
    }
}

/// The way to an underlay address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The port.
    pub uplink: PortIndex,
    /// The address on the port's link to send to.
    pub next_hop: IpAddr,
}

impl Site {
    /// The ports that lead to link-local services, by service.
    pub fn services(&self) -> [Option<PortIndex>; LinkLocal::ALL.len()] {
        LinkLocal::ALL.map(|service| {
            let leads = |port: &SitePort| {
                matches!(&port.role, SiteRole::Service(behind) if behind.services.contains(&service))
            };
            self.ports.iter().position(leads).map(|index| PortIndex(index as u16))
        })
    }

    /// The port with a name.
    pub fn port(&self, name: &str) -> Option<PortIndex> {
        self.ports.iter().position(|port| &*port.name == name).map(|index| PortIndex(index as u16))
    }

    /// The uplink at an index.
    pub fn uplink(&self, index: PortIndex) -> Option<&SiteUplink> {
        self.ports.get(usize::from(index.0))?.uplink()
    }

    /// The uplinks with their indexes.
    pub fn uplinks(&self) -> impl Iterator<Item = (PortIndex, &SiteUplink)> {
        self.ports.iter().zip(0..).filter_map(|(port, index)| Some((PortIndex(index), port.uplink()?)))
    }

    /// The longest IP packet of an instance that fits an uplink's MTU once encapsulated. The inner frame is carried with its
    /// own link-layer header, and the outer one is outside of the MTU; both are of the same length.
    pub fn path_mtu(&self, uplink: &SiteUplink) -> u16 {
        uplink.mtu.saturating_sub(self.encapsulation.overhead(uplink.address.is_ipv6()) as u16)
    }

    /// The way to an underlay address: the uplink on whose link it is, else the first with a gateway of its family.
    pub fn link_to(&self, address: IpAddr) -> Option<Link> {
        let direct = self.uplinks().find(|(_, uplink)| uplink.on_link.contains(&address));
        let via = || {
            let mut routed = self.uplinks().filter_map(|(index, uplink)| Some((index, uplink.gateway?)));
            routed.find(|(_, gateway)| gateway.is_ipv4() == address.is_ipv4())
        };
        let (uplink, next_hop) = direct.map(|(index, _)| (index, address)).or_else(via)?;
        Some(Link { uplink, next_hop })
    }
}
