//! States of one VPC, `vpc-blue`, VNI 4100, with the subnets a (10.0.1.0/24) and b (10.0.2.0/24).

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use warren::{model::router_mac, packet::Mac};

/// A network interface.
#[derive(Clone)]
pub struct Eni {
    /// `a` or `b`.
    pub subnet: char,
    /// The last octet of its addresses and MAC.
    pub number: u8,
    /// Whether the source/destination check is on.
    pub check: bool,
    /// Where it is attached: host and port.
    pub at: Option<(&'static str, String)>,
}

/// An ENI of a subnet, attached to a port of `host-a`.
pub fn here(subnet: char, number: u8, port: &str) -> Eni {
    Eni { subnet, number, check: true, at: Some(("host-a", port.into())) }
}

/// An ENI of a subnet, attached to a port of its own of `host-b`.
pub fn there(subnet: char, number: u8) -> Eni {
    Eni { at: Some(("host-b", format!("{subnet}{number}"))), ..here(subnet, number, "") }
}

impl Eni {
    fn net(&self) -> u8 {
        self.subnet as u8 - b'a' + 1
    }

    pub fn id(&self) -> String {
        format!("eni-{}{}", self.subnet, self.number)
    }

    pub fn mac(&self) -> Mac {
        Mac([2, 0, 0, 0, self.net(), self.number])
    }

    pub fn v4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, self.net(), self.number)
    }

    pub fn v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0xb1, self.net().into(), 0, 0, 0, self.number.into())
    }

    /// The router's MAC in its subnet.
    pub fn router(&self) -> Mac {
        router_mac(&format!("subnet-{}", self.subnet))
    }
}

/// A state with these ENIs; `host-a` and `host-b` have these underlay addresses.
pub fn state(enis: &[Eni], underlay: [&str; 2]) -> Value {
    let interface = |eni: &Eni| {
        json!({
            "NetworkInterfaceId": eni.id(), "SubnetId": format!("subnet-{}", eni.subnet), "VpcId": "vpc-blue",
            "MacAddress": eni.mac(), "PrivateIpAddress": eni.v4(), "Ipv6Addresses": [{"Ipv6Address": eni.v6()}],
            "SourceDestCheck": eni.check, "Groups": [{"GroupId": "sg-open"}],
        })
    };
    let attachment = |eni: &Eni| {
        let (host, port) = eni.at.as_ref()?;
        Some(json!({"NetworkInterfaceId": eni.id(), "HostId": host, "Port": port}))
    };
    let anywhere = json!([{
        "IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}], "Ipv6Ranges": [{"CidrIpv6": "::/0"}],
    }]);
    let subnet = |name: &str, net: u8| {
        json!({
            "SubnetId": name, "VpcId": "vpc-blue", "AvailabilityZone": "eu-central-1a",
            "CidrBlock": format!("10.0.{net}.0/24"),
            "Ipv6CidrBlockAssociationSet": [{"Ipv6CidrBlock": format!("2001:db8:b1:{net}::/64")}],
        })
    };
    json!({
        "Vpcs": [{
            "VpcId": "vpc-blue", "CidrBlock": "10.0.0.0/16",
            "Ipv6CidrBlockAssociationSet": [{"Ipv6CidrBlock": "2001:db8:b1::/56"}],
        }],
        "Subnets": [subnet("subnet-a", 1), subnet("subnet-b", 2)],
        "SecurityGroups": [{
            "GroupId": "sg-open", "VpcId": "vpc-blue", "IpPermissions": anywhere, "IpPermissionsEgress": anywhere,
        }],
        "NetworkInterfaces": enis.iter().map(interface).collect::<Vec<_>>(),
        "RouteTables": [{
            "RouteTableId": "rtb-main", "VpcId": "vpc-blue", "Associations": [{"Main": true}],
            "Routes": [{"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local"}],
        }],
        "Warren": {
            "Hosts": [
                {"HostId": "host-a", "UnderlayAddress": underlay[0]},
                {"HostId": "host-b", "UnderlayAddress": underlay[1]},
            ],
            "Attachments": enis.iter().filter_map(attachment).collect::<Vec<_>>(),
            "Networks": [{"VpcId": "vpc-blue", "Vni": 4100}],
        },
    })
}

/// The hosts' underlay addresses where the test doesn't care.
pub const UNDERLAY: [&str; 2] = ["192.0.2.1", "192.0.2.2"];

/// Writes a state to `state.json` in a folder.
pub fn write(folder: &Path, state: &Value) -> PathBuf {
    let path = folder.join("state.json");
    fs::write(&path, state.to_string()).unwrap();
    path
}
