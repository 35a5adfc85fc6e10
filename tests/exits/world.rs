//! A model with one of everything that leads out of a VPC, and the node host-a in it.
//!
//! vpc-v (10.0.0.0/16) has everything; vpc-w (10.1.0.0/16) is peered with it; both and vpc-x (10.2.0.0/16) are attached to
//! tgw-1. vpc-one is alone and has the network identifier 1.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use ipnet::IpNet;
use warren::{
    compile::{Resolve, Site, SitePort, SiteRole, SiteUplink},
    model::*,
    packet::{Encapsulation, Mac, OuterChecksum, Vni},
    tables::{GatewayPort, PortIndex, VlanMode},
};

/// Knows everybody's MAC.
pub(crate) struct Known;

impl Resolve for Known {
    fn resolve(&self, _uplink: PortIndex, _next_hop: IpAddr) -> Option<Mac> {
        Some(Mac([2, 0xfa, 0, 0, 0, 1]))
    }
}

pub(crate) fn vni(number: u32) -> Vni {
    Vni::new(number).unwrap()
}

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(crate) fn ids(list: &[&str]) -> Vec<Id> {
    list.iter().map(|&id| id.into()).collect()
}

fn ip4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// The node host-a: three instances, an uplink, a gateway port.
pub(crate) fn site() -> Site {
    let port = |name: &str, role| SitePort { name: name.into(), mtu: 9001, vlan: VlanMode::Refuse, role };
    let uplink = SiteUplink {
        mac: Mac([2, 0xfa, 0, 0, 0, 9]),
        address: ip4("192.0.2.1").into(),
        on_link: net("192.0.2.0/24"),
        gateway: None,
        mtu: 9100,
        checksum: OuterChecksum::Zero,
    };
    let outside = GatewayPort {
        mac: Mac([2, 0xfb, 0, 0, 0, 1]),
        addresses: [net("203.0.113.1/24")].into_iter().collect(),
        next_hops: [IpAddr::V4(ip4("203.0.113.254"))].into_iter().collect(),
        mtu: 9001,
        control: None,
    };
    let instances = ["vm0", "vm1", "vm2"].map(|name| port(name, SiteRole::Instance));
    let others = [port("up0", SiteRole::Uplink(uplink)), port("gw0", SiteRole::Gateway(Arc::new(outside)))];
    Site {
        host: "host-a".into(),
        encapsulation: Encapsulation::Geneve,
        workers: 1,
        ports: instances.into_iter().chain(others).collect(),
    }
}

/// Puts something into the map that it belongs to.
macro_rules! put {
    ($map:expr, $kind:ident { id: $id:expr, $($rest:tt)* }) => {{
        let id: Id = $id.into();
        $map.insert(id.clone(), $kind { id, descriptive: None, $($rest)* });
    }};
}

/// Everything.
pub(crate) fn model() -> Model {
    let mut model = Model::default();
    vpcs(&mut model);
    gateways(&mut model);
    outside(&mut model);
    transit(&mut model);
    model
}

fn vpcs(model: &mut Model) {
    for (id, number, v4, v6) in [
        ("vpc-v", 100, "10.0.0.0/16", Some("2001:db8:0:100::/56")),
        ("vpc-w", 200, "10.1.0.0/16", None),
        ("vpc-x", 300, "10.2.0.0/16", None),
        ("vpc-one", 1, "10.9.0.0/16", None),
    ] {
        let group: Id = format!("sg-{id}").into();
        model.security_groups.insert(group.clone(), SecurityGroup::open(group, id.into()));
        put!(
            model.vpcs,
            Vpc {
                id: id,
                vni: vni(number),
                cidrs4: vec![v4.parse().unwrap()],
                cidrs6: v6.iter().map(|block| block.parse().unwrap()).collect(),
                dhcp_options: VpcDhcp::Region,
                legacy_2020_local: false,
            }
        );
    }
    for (id, vpc, zone, block, table) in [
        ("subnet-s1", "vpc-v", "eu-1a", "10.0.1.0/24", "rtb-v"),
        ("subnet-s2", "vpc-v", "eu-1b", "10.0.2.0/24", "rtb-v"),
        ("subnet-f", "vpc-v", "eu-1a", "10.0.3.0/24", "rtb-f"),
        ("subnet-p", "vpc-v", "eu-1a", "10.0.9.0/24", "rtb-f"),
        ("subnet-w", "vpc-w", "eu-1a", "10.1.1.0/24", "rtb-w"),
        ("subnet-x", "vpc-x", "eu-1b", "10.2.1.0/24", "rtb-x"),
        ("subnet-one", "vpc-one", "eu-1a", "10.9.1.0/24", "rtb-one"),
    ] {
        put!(
            model.subnets,
            Subnet {
                id: id,
                vpc: vpc.into(),
                zone: zone.into(),
                cidr4: Some(block.parse().unwrap()),
                cidr6: None,
                route_table: table.into(),
                network_acl: None,
            }
        );
    }
    for (index, host) in ["host-a", "host-b", "host-c", "host-d"].into_iter().enumerate() {
        let id: Id = host.into();
        let underlay = Ipv4Addr::new(192, 0, 2, 1 + index as u8).into();
        model.hosts.insert(id.clone(), Host { id, underlay });
    }
    for (id, vpc, subnet, low, address, host, port, check) in [
        ("eni-a", "vpc-v", "subnet-s1", 0x0a, "10.0.1.10", "host-a", "vm0", true),
        ("eni-b", "vpc-v", "subnet-s2", 0x0b, "10.0.2.10", "host-b", "vm0", true),
        ("eni-fw", "vpc-v", "subnet-f", 0x0f, "10.0.3.10", "host-c", "vm0", false),
        ("eni-w", "vpc-w", "subnet-w", 0x1a, "10.1.1.10", "host-a", "vm1", true),
        ("eni-x", "vpc-x", "subnet-x", 0x2a, "10.2.1.10", "host-a", "vm2", true),
        ("eni-one", "vpc-one", "subnet-one", 0x9a, "10.9.1.10", "host-d", "vm0", true),
    ] {
        put!(
            model.enis,
            Eni {
                id: id,
                vpc: vpc.into(),
                subnet: subnet.into(),
                mac: Mac([2, 0, 0, 0, 0, low]),
                primary4: Some(ip4(address)),
                secondary4: Box::default(),
                prefixes4: Box::default(),
                addresses6: Box::default(),
                prefixes6: Box::default(),
                source_dest_check: check,
                groups: Box::new([format!("sg-{vpc}").into()]),
                tracking: ConnectionTracking::default(),
                attachment: Some(Attachment::new(host.into(), port.into())),
            }
        );
    }
    let block = |text: &str, target| Route { destination: Destination::Block(net(text)), target };
    let listed = |id: &str, target| Route { destination: Destination::PrefixList(id.into()), target };
    let fw = || Target::Eni("eni-fw".into());
    let tgw = || Target::Transit("tgw-1".into());
    for (id, vpc, gateway, routes) in [
        (
            "rtb-v",
            "vpc-v",
            None,
            vec![
                block("10.0.0.0/16", Target::Local),
                block("2001:db8:0:100::/56", Target::Local),
                block("0.0.0.0/0", Target::Nat("nat-v".into())),
                block("::/0", Target::EgressOnly("eigw-v".into())),
                block("10.1.0.0/16", Target::Peering("pcx-vw".into())),
                block("10.2.0.0/16", tgw()),
                block("10.0.3.0/24", fw()),
                block("198.51.100.0/24", fw()),
                listed("pl-1", Target::Endpoint("vpce-1".into())),
                listed("pl-2", tgw()),
            ],
        ),
        (
            "rtb-f",
            "vpc-v",
            None,
            vec![
                block("10.0.0.0/16", Target::Local),
                block("2001:db8:0:100::/56", Target::Local),
                block("0.0.0.0/0", Target::InternetGateway("igw-v".into())),
            ],
        ),
        (
            "rtb-in",
            "vpc-v",
            Some("igw-v"),
            vec![
                block("10.0.0.0/16", Target::Local),
                block("2001:db8:0:100::/56", Target::Local),
                block("10.0.1.0/24", fw()),
            ],
        ),
        (
            "rtb-w",
            "vpc-w",
            None,
            vec![
                block("10.1.0.0/16", Target::Local),
                block("10.0.0.0/16", Target::Peering("pcx-vw".into())),
                block("0.0.0.0/0", tgw()),
            ],
        ),
        ("rtb-x", "vpc-x", None, vec![block("10.2.0.0/16", Target::Local), block("0.0.0.0/0", tgw())]),
        ("rtb-one", "vpc-one", None, vec![block("10.9.0.0/16", Target::Local)]),
    ] {
        put!(
            model.route_tables,
            RouteTable {
                id: id,
                vpc: vpc.into(),
                main: gateway.is_none(),
                subnets: Vec::new(),
                gateway: gateway.map(Id::from),
                propagating: if id == "rtb-v" { ids(&["vgw-v"]) } else { Vec::new() },
                routes,
            }
        );
    }
    for (id, entries) in [
        ("pl-1", vec![net("172.16.0.0/16"), net("172.17.0.0/16")]),
        ("pl-2", vec![net("172.17.0.0/16"), net("172.18.0.0/16")]),
    ] {
        put!(model.prefix_lists, PrefixList { id: id, max_entries: 10, entries });
    }
}

fn gateways(model: &mut Model) {
    let v = || Some(Id::from("vpc-v"));
    put!(model.internet_gateways, InternetGateway { id: "igw-v", vpc: v() });
    put!(model.egress_only_gateways, EgressOnlyInternetGateway { id: "eigw-v", vpc: v() });
    put!(model.vpn_gateways, VpnGateway { id: "vgw-v", vpc: v() });
    put!(
        model.nat_gateways,
        NatGateway {
            id: "nat-v",
            vpc: "vpc-v".into(),
            subnet: "subnet-p".into(),
            public: true,
            addresses: vec![ip4("10.0.9.5"), ip4("10.0.9.6")],
        }
    );
    let endpoint = EndpointService::Gateway;
    put!(model.endpoints, VpcEndpoint { id: "vpce-1", vpc: "vpc-v".into(), service: endpoint });
    let balancer = EndpointService::LoadBalancer {
        subnet: "subnet-f".into(),
        appliances: ids(&["eni-b", "eni-w", "eni-x"]),
    };
    put!(model.endpoints, VpcEndpoint { id: "vpce-2", vpc: "vpc-v".into(), service: balancer });
    put!(
        model.peerings,
        Peering {
            id: "pcx-vw",
            requester: "vpc-v".into(),
            accepter: "vpc-w".into(),
            active: true,
            inter_region: true,
        }
    );
    for (public, private, owner) in
        [("203.0.113.10", "10.0.3.10", "eni-fw"), ("203.0.113.20", "10.0.9.5", "nat-v")]
    {
        let address = PublicAddress {
            public: ip4(public),
            vpc: "vpc-v".into(),
            private: ip4(private),
            owner: owner.into(),
        };
        model.public_addresses.insert(public.into(), address);
    }
    for gateway in ["igw-v", "eigw-v", "vgw-v", "nat-v", "vpce-1", "tgw-1"] {
        let edge = Edge { gateway: gateway.into(), hosts: ids(&["host-a", "host-b"]) };
        model.edges.insert(gateway.into(), edge);
    }
}

fn outside(model: &mut Model) {
    let vgw = || Terminal::VpnGateway("vgw-v".into());
    let tgw = || Terminal::TransitGateway("tgw-1".into());
    for (id, terminal, routes) in [
        ("vpn-v", vgw(), vec![net("192.168.0.0/16")]),
        ("vpn-t", tgw(), Vec::new()),
        ("vpn-u", tgw(), Vec::new()),
    ] {
        put!(model.vpn_connections, VpnConnection { id: id, terminal, routes, tunnels_up: [true; 2] });
    }
    put!(
        model.direct_connect_gateways,
        DirectConnectGateway {
            id: "dxgw-1",
            vpn_gateways: ids(&["vgw-v"]),
            transit_gateways: ids(&["tgw-1"]),
        }
    );
    put!(
        model.virtual_interfaces,
        VirtualInterface {
            id: "dxvif-1",
            terminal: Terminal::DirectConnectGateway("dxgw-1".into()),
            vlan: 101,
            mtu: 8500,
            address: net("169.254.8.1/30"),
            peer: ip4("169.254.8.2").into(),
        }
    );
    for (id, resource, tunnel, host, vlan) in [
        ("c-dx", "dxvif-1", 0, "host-a", 101),
        ("c-s3", "vpce-1", 0, "host-a", 102),
        ("c-t", "vpn-t", 0, "host-a", 103),
        ("c-u", "vpn-u", 0, "host-b", 104),
        ("c-v0", "vpn-v", 0, "host-a", 105),
        ("c-v1", "vpn-v", 1, "host-b", 106),
    ] {
        let id: Id = id.into();
        let circuit = Circuit {
            id: id.clone(),
            resource: resource.into(),
            tunnel,
            host: host.into(),
            port: "gw0".into(),
            vlan: Some(vlan),
            address: net(&format!("169.254.{vlan}.1/30")),
            peer: ip4(&format!("169.254.{vlan}.2")).into(),
        };
        model.circuits.insert(id, circuit);
    }
}

fn transit(model: &mut Model) {
    put!(
        model.transit_gateways,
        TransitGateway { id: "tgw-1", vpn_ecmp: true, multicast: false, group_references: false }
    );
    let vpc = |vpc: &str, subnets: &[&str]| AttachmentKind::Vpc {
        vpc: vpc.into(),
        subnets: ids(subnets),
        appliance_mode: false,
        ipv6: false,
        group_references: true,
    };
    for (id, kind) in [
        ("att-v", vpc("vpc-v", &["subnet-s1", "subnet-s2"])),
        ("att-w", vpc("vpc-w", &["subnet-w"])),
        ("att-x", vpc("vpc-x", &["subnet-x"])),
        ("att-t", AttachmentKind::Vpn("vpn-t".into())),
        ("att-u", AttachmentKind::Vpn("vpn-u".into())),
        ("att-dx", AttachmentKind::DirectConnect("dxgw-1".into())),
    ] {
        put!(
            model.transit_attachments,
            TransitAttachment {
                id: id,
                gateway: "tgw-1".into(),
                available: true,
                kind,
                table: Some("tgw-rtb-1".into()),
            }
        );
    }
    let route = |destination: &str, attachment: Option<&str>| TransitRoute {
        destination: Destination::Block(net(destination)),
        attachment: attachment.map(Id::from),
    };
    put!(
        model.transit_tables,
        TransitRouteTable {
            id: "tgw-rtb-1",
            gateway: "tgw-1".into(),
            routes: vec![route("0.0.0.0/0", Some("att-v")), route("10.2.7.0/24", None)],
            propagations: ids(&["att-v", "att-w", "att-x", "att-t", "att-u", "att-dx"]),
        }
    );
}
