//! A host as a state alone describes it.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{
    compile::{Resolve, Site, SitePort, SiteRole, SiteUplink},
    model::Model,
    packet::{Encapsulation, Mac, OuterChecksum, mapped},
    tables::{PortIndex, VlanMode},
};

/// The MTU of an ENI of which no host file tells it: the largest (MTU-1).
const INSTANCE_MTU: u16 = 9001;
/// That of an uplink: room for such packets and any outer header.
const UPLINK_MTU: u16 = 9100;

/// A link-layer address for an underlay address.
fn stand_in(address: IpAddr) -> Mac {
    let address = mapped(address);
    let [.., a, b, c, d] = ((address >> 64) as u32 ^ (address >> 32) as u32 ^ address as u32).to_be_bytes();
    Mac([0x02, 0x57, a, b, c, d])
}

/// An underlay in which every address has its [`stand_in`].
pub(super) struct Known;

impl Resolve for Known {
    fn resolve(&self, _uplink: PortIndex, next_hop: IpAddr) -> Option<Mac> {
        Some(stand_in(next_hop))
    }
}

/// A host of a state without its host file: a port for each ENI attached to it, in the order of their names, and one uplink
/// with every other host on its link. `None` if the state has no such host.
pub fn site_of(model: &Model, host: &str, encapsulation: Encapsulation) -> Option<Site> {
    let host = model.hosts.get(host)?;
    let attached = model.enis.values().filter_map(|eni| eni.attachment.as_ref());
    let mut names: Vec<_> = attached.filter(|at| at.host == host.id).map(|at| &at.port).collect();
    names.sort();
    let port = |name, mtu, role| SitePort { name, mtu, vlan: VlanMode::Refuse, role };
    let instances = names.into_iter().map(|name| port(name.clone(), INSTANCE_MTU, SiteRole::Instance));
    let uplink = SiteRole::Uplink(SiteUplink {
        mac: stand_in(host.underlay),
        address: host.underlay,
        on_link: IpNet::new(host.underlay, 0).ok()?.trunc(),
        gateway: None,
        mtu: UPLINK_MTU,
        checksum: OuterChecksum::Zero,
    });
    let ports = instances.chain([port("uplink".into(), UPLINK_MTU, uplink)]).collect();
    Some(Site { host: host.id.clone(), encapsulation, ports })
}
