//! Two hosts, two VPCs with the same addresses, and who may be where.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
};

use warren::{
    model::{Document, Model, load, router_mac},
    node::config::HostConfig,
    packet::Mac,
    tables::PortIndex,
};

pub const HOSTS: [&str; 2] = ["host-a", "host-b"];
/// Ports of a host: those of instances, then the uplink.
pub const PORTS: usize = 5;
pub const UPLINK: usize = 4;

/// A place: the numbers of a host and of a port.
pub type Place = (usize, usize);

/// An interface.
#[derive(Debug)]
pub struct Nic {
    pub vpc: &'static str,
    /// The number of its subnet in the VPC.
    pub subnet: u8,
    pub host: u8,
    /// Where it may be, and is at first at the first of them. One that shares a place with another is there when that one is not.
    pub places: &'static [Place],
}

/// All of them. Numbers 2 and 5 have the addresses of 0 and 3, in another VPC.
pub const NICS: [Nic; 7] = [
    Nic { vpc: "v", subnet: 1, host: 10, places: &[(0, 0)] },
    Nic { vpc: "v", subnet: 2, host: 10, places: &[(0, 1)] },
    Nic { vpc: "w", subnet: 1, host: 10, places: &[(0, 2)] },
    Nic { vpc: "v", subnet: 1, host: 11, places: &[(1, 0)] },
    Nic { vpc: "v", subnet: 2, host: 11, places: &[(1, 3), (0, 3)] },
    Nic { vpc: "w", subnet: 1, host: 11, places: &[(1, 2)] },
    Nic { vpc: "v", subnet: 1, host: 12, places: &[(1, 1), (0, 1)] },
];

impl Nic {
    pub fn id(number: usize) -> String {
        format!("eni-{number}")
    }

    pub fn mac(number: usize) -> Mac {
        Mac([2, 0, 0, 0, 1, number as u8])
    }

    pub fn v4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, self.subnet, self.host)
    }

    pub fn v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0x100 + u16::from(self.subnet), 0, 0, 0, self.host.into())
    }

    pub fn subnet_id(&self) -> String {
        format!("subnet-{}{}", self.vpc, self.subnet)
    }

    /// The router's MAC of its subnet.
    pub fn router(&self) -> Mac {
        router_mac(&self.subnet_id())
    }

    /// Those that may be at a place.
    pub fn at(place: Place) -> impl Iterator<Item = usize> {
        (0..NICS.len()).filter(move |&number| NICS[number].places.contains(&place))
    }
}

/// Receive queues of a port.
pub fn queues(port: usize) -> usize {
    if port == 0 { 2 } else { 1 }
}

pub fn port_mac(host: usize, port: PortIndex) -> Mac {
    Mac([2, 0xfa, 0, 0, host as u8, port.0 as u8])
}

pub fn config(host: usize) -> HostConfig {
    let other = 1 - host;
    let instances: String = (0..UPLINK)
        .map(|port| {
            format!("[[port]]\nname = \"vm{port}\"\nrole = \"instance\"\ndevice = \"net_null{port}\"\n")
        })
        .collect();
    let text = format!(
        r#"host = "{name}"
state = "state.yaml"
workers = {{ cores = [0, 1] }}
{instances}
[[port]]
name = "up0"
role = "uplink"
device = "net_null{UPLINK}"
address = "192.0.2.{number}/24"
mtu = 9000
neighbors = [{{ address = "192.0.2.{peer}", mac = "{mac}" }}]
"#,
        name = HOSTS[host],
        number = host + 1,
        peer = other + 1,
        mac = port_mac(other, PortIndex(UPLINK as u16)),
    );
    HostConfig::parse(&text, Path::new("/nonexistent")).unwrap()
}

/// The state at first.
pub fn model() -> Model {
    let mut text = String::from(
        r#"
Vpcs:
- {VpcId: vpc-v, CidrBlock: 10.0.0.0/16, Ipv6CidrBlockAssociationSet: [{Ipv6CidrBlock: "2001:db8:0:100::/56"}]}
- {VpcId: vpc-w, CidrBlock: 10.0.0.0/16, Ipv6CidrBlockAssociationSet: [{Ipv6CidrBlock: "2001:db8:0:100::/56"}]}
Subnets:
"#,
    );
    for (vpc, number) in [("v", 1), ("v", 2), ("w", 1)] {
        text += &format!(
            "- {{SubnetId: subnet-{vpc}{number}, VpcId: vpc-{vpc}, AvailabilityZone: eu-central-1a, CidrBlock: 10.0.{number}.0/24, \
             Ipv6CidrBlockAssociationSet: [{{Ipv6CidrBlock: \"2001:db8:0:10{number}::/64\"}}]}}\n"
        );
    }
    text += "SecurityGroups:\n";
    for vpc in ["v", "w"] {
        let all = "[{IpProtocol: tcp, FromPort: 0, ToPort: 5999, IpRanges: [{CidrIp: 10.0.0.0/8}]}, \
                   {IpProtocol: udp, FromPort: 0, ToPort: 5999, IpRanges: [{CidrIp: 10.0.0.0/8}]}]";
        text += &format!(
            "- {{GroupId: sg-{vpc}, VpcId: vpc-{vpc}, IpPermissions: {all}, IpPermissionsEgress: {all}}}\n"
        );
    }
    text += "NetworkInterfaces:\n";
    for (number, nic) in NICS.iter().enumerate() {
        text += &format!(
            "- {{NetworkInterfaceId: {}, SubnetId: {}, MacAddress: \"{}\", PrivateIpAddress: {}, Ipv6Addresses: \
             [{{Ipv6Address: \"{}\"}}], Groups: [{{GroupId: sg-{}}}]}}\n",
            Nic::id(number),
            nic.subnet_id(),
            Nic::mac(number),
            nic.v4(),
            nic.v6(),
            nic.vpc
        );
    }
    text += "Warren:\n  Networks: [{VpcId: vpc-v, Vni: 100}, {VpcId: vpc-w, Vni: 200}]\n  Hosts:\n";
    for (number, host) in HOSTS.iter().enumerate() {
        text += &format!("  - {{HostId: {host}, UnderlayAddress: 192.0.2.{}}}\n", number + 1);
    }
    text += "  Attachments:\n";
    for (number, nic) in NICS.iter().enumerate() {
        let (host, port) = nic.places[0];
        text += &format!(
            "  - {{NetworkInterfaceId: {}, HostId: {}, Port: vm{port}}}\n",
            Nic::id(number),
            HOSTS[host]
        );
    }
    load(&[Document { name: "soak.yaml".into(), text }]).unwrap_or_else(|errors| panic!("{errors}"))
}
