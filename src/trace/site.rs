//! A host as a state alone describes it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    compile::{Resolve, Site, SitePort, SiteRole, SiteUplink},
    model::Model,
    packet::{Encapsulation, Mac, OuterChecksum, mapped},
    tables::{GatewayPort, OutsideNeighbours, PortIndex, VlanMode},
};

/// The MTU of an ENI of which no host file tells it: the largest (MTU-1).
const INSTANCE_MTU: u16 = 9001;
/// That of an uplink: room for such packets and any outer header.
const UPLINK_MTU: u16 = 9100;

/// The node's addresses and the next hops on the way to the internet: those that nobody has (RFC 7600 §3.4, RFC 6666).
const INTERNET: ([IpNet; 2], [IpAddr; 2]) = (
    [
        IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 0, 8), 29)),
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 8), 64)),
    ],
    [IpAddr::V4(Ipv4Addr::new(192, 0, 0, 9)), IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 9))],
);

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

/// The neighbours outside that workers would have resolved from the start, each with its [`stand_in`].
pub(super) fn outside(site: &Site, model: &Model) -> OutsideNeighbours {
    let mut known = OutsideNeighbours::default();
    for (port, index) in site.ports.iter().zip(0..) {
        let SiteRole::Gateway(gateway) = &port.role else { continue };
        let hops = gateway.next_hops.iter().map(|&hop| (0, hop));
        let circuits =
            model.circuits.values().filter(|circuit| circuit.host == site.host && circuit.port == port.name);
        let peers = circuits.map(|circuit| (circuit.vlan.unwrap_or(0), circuit.peer));
        known.extend(hops.chain(peers).map(|(vlan, hop)| ((PortIndex(index), vlan, hop), stand_in(hop))));
    }
    known
}

/// A host of a state without its host file: a port for each ENI attached to it, in the order of their names, one uplink
/// with every other host on its link, the gateway ports that its circuits name, and, if it serves gateways, one to the
/// internet. `None` if the state has no such host.
pub fn site_of(model: &Model, host: &str, encapsulation: Encapsulation) -> Option<Site> {
    let host = model.hosts.get(host)?;
    let attached = model.enis.values().filter_map(|eni| eni.attachment.as_ref());
    let mut names: Vec<_> = attached.filter(|at| at.host == host.id).map(|at| &at.port).collect();
    names.sort();
    let port = |name, mtu, role| SitePort { name, mtu, vlan: VlanMode::Refuse, role };
    let outside = |addresses: &[IpNet], next_hops: &[IpAddr]| {
        SiteRole::Gateway(Arc::new(GatewayPort {
            mac: stand_in(host.underlay),
            addresses: addresses.iter().copied().collect(),
            next_hops: next_hops.iter().copied().collect(),
            mtu: INSTANCE_MTU,
            control: None,
        }))
    };
    let circuits = model.circuits.values().filter(|circuit| circuit.host == host.id);
    let mut links: Vec<_> = circuits.map(|circuit| &circuit.port).collect();
    links.sort();
    links.dedup();
    let circuits = links.into_iter().map(|name| port(name.clone(), INSTANCE_MTU, outside(&[], &[])));
    let serves = model.edges.values().any(|edge| edge.hosts.contains(&host.id));
    let internet = serves.then(|| {
        let (own, next_hops) = INTERNET;
        port("internet".into(), INSTANCE_MTU, outside(&own, &next_hops))
    });
    let instances = names.into_iter().map(|name| port(name.clone(), INSTANCE_MTU, SiteRole::Instance));
    let uplink = SiteRole::Uplink(SiteUplink {
        mac: stand_in(host.underlay),
        address: host.underlay,
        on_link: IpNet::new(host.underlay, 0).ok()?.trunc(),
        gateway: None,
        mtu: UPLINK_MTU,
        checksum: OuterChecksum::Zero,
    });
    let uplink = port("uplink".into(), UPLINK_MTU, uplink);
    let ports = instances.chain([uplink]).chain(circuits).chain(internet).collect();
    Some(Site { host: host.id.clone(), encapsulation, workers: 1, ports })
}
