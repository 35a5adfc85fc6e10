//! A VPC of any size, made up, for benchmarks and tests: one host with two instances, the others elsewhere; and traffic in it.

use std::{
    net::{IpAddr, Ipv4Addr},
    ops::Range,
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net};

use crate::{
    compile::{Resolve, Site, SitePort, SiteRole, SiteUplink},
    model::{
        Attachment, AttachmentOptions, ConnectionTracking, Destination, Eni, Host, Id, Model, Peer, Peering,
        Permission, Route, RouteTable, SecurityGroup, Subnet, Target, Traffic, Vpc, VpcDhcp,
    },
    packet::{Encapsulation, Mac, OuterChecksum, Vni},
    tables::{PortIndex, VlanMode},
};

/// The port with the sending (or receiving) instance.
pub const FIRST: PortIndex = PortIndex(0);
/// The port of the underlay.
pub const UPLINK: PortIndex = PortIndex(2);

/// The port that servers of a fleet with rules serve.
pub const SERVED: u16 = 443;
/// The block of all ENIs.
const TEN: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8);

/// ENIs that a /16 subnet takes, round.
const PER_SUBNET: usize = 65_000;
/// ENIs that the made-up hosts have each.
const PER_HOST: usize = 256;
/// The VPC's blocks are 10.0.0.0/16 to 10.255.0.0/16.
pub const MAX_ENIS: usize = 255 * PER_SUBNET;

/// The made-up network.
pub struct Fleet {
    model: Model,
    count: usize,
    /// The number of the first ENI that is on another host.
    first_remote: usize,
    hosts: u32,
    workers: u8,
}

impl Fleet {
    /// A network of `count` ENIs. Numbers 0 and 1 are on this host's ports, the others spread over other hosts.
    pub fn new(count: usize) -> Self {
        let hosts = count.div_ceil(PER_HOST) as u32;
        let mut fleet = Self { model: Model::default(), count, first_remote: 2, hosts, workers: 1 };
        let vpc: Id = "vpc-bench".into();
        let table: Id = "rtb-bench".into();
        let subnets: Vec<Id> =
            (0..count.div_ceil(PER_SUBNET)).map(|index| format!("subnet-{index}").into()).collect();
        let blocks: Vec<Ipv4Net> = (0..subnets.len()).filter_map(|index| block(index).ok()).collect();
        let hosts: Vec<Id> = (0..=fleet.hosts).map(|index| format!("host-{index}").into()).collect();
        let model = &mut fleet.model;
        for (index, id) in hosts.iter().enumerate() {
            let host = Host { id: Arc::clone(id), underlay: underlay(index as u32).into() };
            model.hosts.insert(Arc::clone(id), host);
        }
        for (id, block) in subnets.iter().zip(&blocks) {
            let subnet = Subnet {
                id: Arc::clone(id),
                vpc: Arc::clone(&vpc),
                zone: "bench-1a".into(),
                cidr4: Some(*block),
                cidr6: None,
                route_table: Arc::clone(&table),
                network_acl: None,
                descriptive: None,
            };
            model.subnets.insert(Arc::clone(id), subnet);
        }
        let routes = blocks
            .iter()
            .map(|block| Route { destination: Destination::Block(IpNet::V4(*block)), target: Target::Local });
        let routes = RouteTable {
            id: Arc::clone(&table),
            vpc: Arc::clone(&vpc),
            main: true,
            subnets: Vec::new(),
            gateway: None,
            propagating: Vec::new(),
            routes: routes.collect(),
            descriptive: None,
        };
        model.route_tables.insert(table, routes);
        model.vpcs.insert(
            Arc::clone(&vpc),
            Vpc {
                id: Arc::clone(&vpc),
                vni: VNI,
                cidrs4: blocks,
                cidrs6: Vec::new(),
                dhcp_options: VpcDhcp::Region,
                legacy_2020_local: false,
                descriptive: None,
            },
        );
        let group: Id = "sg-open".into();
        model
            .security_groups
            .insert(Arc::clone(&group), SecurityGroup::open(Arc::clone(&group), Arc::clone(&vpc)));
        let instance: Arc<str> = "eth0".into();
        for number in 0..count {
            let id: Id = format!("eni-{number}").into();
            let port = match number {
                0 => "vm0".into(),
                1 => "vm1".into(),
                _ => Arc::clone(&instance),
            };
            let host = Arc::clone(&hosts[host_of(number) as usize]);
            let eni = Eni {
                id: Arc::clone(&id),
                vpc: Arc::clone(&vpc),
                subnet: Arc::clone(&subnets[number / PER_SUBNET]),
                mac: mac(number),
                primary4: Some(address(number)),
                secondary4: Box::default(),
                prefixes4: Box::default(),
                addresses6: Box::default(),
                prefixes6: Box::default(),
                source_dest_check: true,
                groups: Box::new([Arc::clone(&group)]),
                tracking: ConnectionTracking::default(),
                attachment: Some(Attachment::new(host, port)),
                descriptive: None,
            };
            model.enis.insert(id, eni);
        }
        fleet
    }

    /// With security groups of `rules` rules in each direction, of which a few let the connections of [`super::traffic`] through
    /// and none is for all addresses, and `routes` further routes.
    #[must_use]
    pub fn with_rules(mut self, rules: usize, routes: usize) -> Self {
        let permission = |number: usize| {
            let from = 1 + number as u16 * 8;
            let traffic = Traffic::Ports { protocol: 6, from, to: from + 7 };
            let block = Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8 + (number % 2) as u8 * 8);
            let block = if (from..=from + 7).contains(&SERVED) { TEN } else { block };
            Permission { ranges4: vec![Peer { peer: block, description: None }], ..Permission::new(traffic) }
        };
        let permissions: Vec<_> = (0..rules).map(permission).collect();
        for group in self.model.security_groups.values_mut() {
            (group.ingress, group.egress) = (permissions.clone(), permissions.clone());
        }
        for table in self.model.route_tables.values_mut() {
            table.routes.extend((0..routes).map(|number| Route {
                destination: Destination::Block(IpNet::V4(Ipv4Net::new_assert(
                    Ipv4Addr::from_bits(0xac10_0000 + ((number as u32) << 8)),
                    24,
                ))),
                target: Target::Gone("pcx-gone".into()),
            }));
        }
        self
    }

    /// A network of `count` ENIs with the rules and routes of [`Fleet::with_rules`], of which those on other hosts are in another VPC,
    /// over a peering.
    pub fn peered(count: usize, rules: usize, routes: usize) -> Self {
        let mut fleet = Self::new(PER_SUBNET + count).with_rules(rules, routes);
        let (peer, table): (Id, Id) = ("vpc-peer".into(), "rtb-peer".into());
        fleet.first_remote = PER_SUBNET;
        let model = &mut fleet.model;
        // What is left of the first subnet is this host's.
        model.enis.retain(|_, eni| {
            let is_peers = &*eni.subnet != "subnet-0";
            if is_peers {
                (eni.vpc, eni.groups) = (Arc::clone(&peer), Box::default());
            }
            is_peers || matches!(&*eni.id, "eni-0" | "eni-1")
        });
        let subnets = model.subnets.values_mut().filter(|subnet| &*subnet.id != "subnet-0");
        subnets.for_each(|subnet| {
            (subnet.vpc, subnet.route_table) = (Arc::clone(&peer), Arc::clone(&table));
        });
        let id: Id = "pcx-bench".into();
        for routes in model.route_tables.values_mut() {
            let of_peer = routes.routes.iter_mut().filter(|route| route.target == Target::Local).skip(1);
            of_peer.for_each(|route| route.target = Target::Peering(Arc::clone(&id)));
        }
        if let Some(vpc) = model.vpcs.values_mut().next() {
            let blocks = vpc.cidrs4.split_off(1);
            let new = Vpc { id: Arc::clone(&peer), vni: PEER_VNI, cidrs4: blocks, ..vpc.clone() };
            let peering = Peering {
                id: Arc::clone(&id),
                requester: Arc::clone(&vpc.id),
                accepter: Arc::clone(&peer),
                active: true,
                inter_region: false,
                descriptive: None,
            };
            model.vpcs.insert(Arc::clone(&peer), new);
            model.peerings.insert(id, peering);
        }
        if let Some(routes) = model.route_tables.values().next() {
            let routes =
                RouteTable { id: Arc::clone(&table), vpc: peer, routes: Vec::new(), ..routes.clone() };
            model.route_tables.insert(table, routes);
        }
        fleet
    }

    /// With so many workers on this host, which share the flows of the first instance.
    #[must_use]
    pub fn with_workers(mut self, workers: u8) -> Self {
        self.workers = workers;
        if let Some(at) = self.model.enis.get_mut("eni-0").and_then(|eni| eni.attachment.as_mut()) {
            at.options = Some(Box::new(AttachmentOptions { workers, ..AttachmentOptions::NOTHING_STATED }));
        }
        self
    }

    /// The network.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// How many ENIs it has.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The numbers of those on other hosts.
    pub fn remotes(&self) -> Range<usize> {
        self.first_remote..self.count
    }

    /// How many hosts it has besides this one.
    pub fn hosts(&self) -> u32 {
        self.hosts
    }

    /// This host.
    pub fn site(&self) -> Site {
        let port = |name: &str, role| SitePort { name: name.into(), mtu: 1500, vlan: VlanMode::Refuse, role };
        let uplink = SiteUplink {
            mac: UPLINK_MAC,
            address: underlay(0).into(),
            on_link: IpNet::V4(Ipv4Net::new_assert(underlay(0), 8).trunc()),
            gateway: None,
            mtu: 9100,
            checksum: OuterChecksum::Zero,
        };
        Site {
            host: "host-0".into(),
            encapsulation: Encapsulation::Vxlan,
            workers: self.workers,
            ports: vec![
                port("vm0", SiteRole::Instance),
                port("vm1", SiteRole::Instance),
                port("uplink", SiteRole::Uplink(uplink)),
            ],
        }
    }

    /// Every host is a neighbour with a known MAC.
    pub fn neighbours(&self) -> AllKnown {
        AllKnown
    }
}

/// The VPC's network identifier.
pub const VNI: Vni = match Vni::new(4100) {
    Some(vni) => vni,
    None => unreachable!(),
};
/// That of the other VPC, where there is one.
const PEER_VNI: Vni = match Vni::new(4101) {
    Some(vni) => vni,
    None => unreachable!(),
};
/// The uplink's MAC.
pub const UPLINK_MAC: Mac = Mac([0x02, 0xfa, 0, 0, 0, 1]);

/// Knows everybody's MAC.
pub struct AllKnown;

impl Resolve for AllKnown {
    fn resolve(&self, _uplink: PortIndex, next_hop: IpAddr) -> Option<Mac> {
        match next_hop {
            IpAddr::V4(address) => {
                let [_, b, c, d] = address.octets();
                Some(Mac([0x02, 0xfb, 0, b, c, d]))
            }
            IpAddr::V6(_) => None,
        }
    }
}

fn block(index: usize) -> Result<Ipv4Net, ipnet::PrefixLenError> {
    Ipv4Net::new(Ipv4Addr::new(10, index as u8, 0, 0), 16)
}

/// The id of an ENI's subnet.
pub fn subnet_of(number: usize) -> String {
    format!("subnet-{}", number / PER_SUBNET)
}

/// The address of an ENI, behind the subnet's four reserved ones.
pub fn address(number: usize) -> Ipv4Addr {
    let (subnet, host) = (number / PER_SUBNET, number % PER_SUBNET + 4);
    Ipv4Addr::from_bits(0x0a00_0000 | (subnet as u32) << 16 | host as u32)
}

/// The MAC of an ENI.
pub fn mac(number: usize) -> Mac {
    let [a, b, c, d] = (number as u32).to_be_bytes();
    Mac([0x06, 0, a, b, c, d])
}

/// The number of the host that an ENI is on; 0 is this one.
pub fn host_of(number: usize) -> u32 {
    if number < 2 { 0 } else { (number / PER_HOST + 1) as u32 }
}

/// The underlay address of a host.
pub fn underlay(host: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0b00_0001 + host)
}
