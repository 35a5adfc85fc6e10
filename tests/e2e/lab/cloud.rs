//! States of several VPCs, and of what leads out of them.
//!
//! Everything has a number, and the rest follows from it: VPC 1 is `vpc-1`, 10.1.0.0/16 and 2001:db8:b1::/56, its subnet 2
//! `subnet-1-2`, 10.1.2.0/24 and 2001:db8:b1:2::/64, and the interface 10 in it `eni-1-2-10`, 10.1.2.10 and ...::10.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use warren::packet::Mac;

use super::state::write;

/// A network interface, attached to a port of a host.
#[derive(Clone, Debug)]
pub struct Nic {
    pub vpc: u8,
    pub subnet: u8,
    pub number: u8,
    pub host: &'static str,
    pub port: &'static str,
    /// Whether the source/destination check is on.
    pub check: bool,
}

/// An interface by VPC, subnet and number, at a host's port.
pub fn nic([vpc, subnet, number]: [u8; 3], host: &'static str, port: &'static str) -> Nic {
    Nic { vpc, subnet, number, host, port, check: true }
}

impl Nic {
    /// Without source/destination check: a router's.
    pub fn unchecked(self) -> Self {
        Self { check: false, ..self }
    }

    pub fn id(&self) -> String {
        format!("eni-{}-{}-{}", self.vpc, self.subnet, self.number)
    }

    pub fn mac(&self) -> Mac {
        Mac([2, 0, self.vpc, self.subnet, 0, self.number])
    }

    pub fn v4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.vpc, self.subnet, self.number)
    }

    pub fn v6(&self) -> Ipv6Addr {
        // As it is written, 10 is ::10.
        let number = u16::from_str_radix(&self.number.to_string(), 16).unwrap();
        Ipv6Addr::new(0x2001, 0xdb8, 0xb0 + u16::from(self.vpc), self.subnet.into(), 0, 0, 0, number)
    }
}

/// A state, as it grows.
#[derive(Clone)]
pub struct Cloud(Value);

impl Cloud {
    /// Hosts with the underlay addresses 192.0.2.1 and on, VPCs and subnets as the interfaces have them, and everybody may
    /// talk to everybody.
    pub fn new(hosts: &[&str], nics: &[Nic]) -> Self {
        let vpcs: BTreeSet<u8> = nics.iter().map(|nic| nic.vpc).collect();
        let subnets: BTreeSet<[u8; 2]> = nics.iter().map(|nic| [nic.vpc, nic.subnet]).collect();
        let mut cloud = Self(json!({"Warren": {}}));
        for (host, number) in hosts.iter().zip(1..) {
            cloud
                .add_warren("Hosts", json!({"HostId": host, "UnderlayAddress": format!("192.0.2.{number}")}));
        }
        for vpc in vpcs {
            cloud = cloud.vpc(vpc);
        }
        for [vpc, subnet] in subnets {
            cloud = cloud.subnet(vpc, subnet);
        }
        nics.iter().fold(cloud, Self::nic)
    }

    fn push(list: &mut Value, item: Value) {
        match list {
            Value::Array(items) => items.push(item),
            list => *list = json!([item]),
        }
    }

    fn add_warren(&mut self, list: &str, item: Value) {
        Self::push(&mut self.0["Warren"][list], item);
    }

    /// With one more resource in a list.
    pub fn with(mut self, list: &str, item: Value) -> Self {
        Self::push(&mut self.0[list], item);
        self
    }

    /// The same of what EC2 hides.
    pub fn with_warren(mut self, list: &str, item: Value) -> Self {
        self.add_warren(list, item);
        self
    }

    fn vpc(self, vpc: u8) -> Self {
        let id = format!("vpc-{vpc}");
        self.with(
            "Vpcs",
            json!({
                "VpcId": id, "CidrBlock": format!("10.{vpc}.0.0/16"),
                "Ipv6CidrBlockAssociationSet": [{"Ipv6CidrBlock": format!("2001:db8:b{vpc}::/56")}],
            }),
        )
        .group(&format!("sg-{vpc}"), vpc, &[anywhere()], &[anywhere()])
        .with_warren("Networks", json!({"VpcId": id, "Vni": 4100 + u32::from(vpc)}))
    }

    /// With a security group: rules for what comes in, and for what goes out.
    pub fn group(self, id: &str, vpc: u8, ingress: &[Value], egress: &[Value]) -> Self {
        self.with(
            "SecurityGroups",
            json!({
                "GroupId": id, "VpcId": format!("vpc-{vpc}"),
                "IpPermissions": ingress, "IpPermissionsEgress": egress,
            }),
        )
    }

    /// With an interface in a security group instead of its VPC's.
    #[track_caller]
    pub fn member(mut self, nic: &Nic, group: &str) -> Self {
        self.interface(nic)["Groups"] = json!([{"GroupId": group}]);
        self
    }

    /// With an IPv4 prefix that is an interface's too.
    #[track_caller]
    pub fn prefix(mut self, nic: &Nic, prefix: &str) -> Self {
        self.interface(nic)["Ipv4Prefixes"] = json!([{"Ipv4Prefix": prefix}]);
        self
    }

    #[track_caller]
    fn interface(&mut self, nic: &Nic) -> &mut Value {
        let all = self.0["NetworkInterfaces"].as_array_mut().expect("interfaces");
        all.iter_mut().find(|interface| interface["NetworkInterfaceId"] == nic.id()).expect("that interface")
    }

    /// With a network ACL of a subnet, which denies what comes in by TCP to a port and allows the rest.
    pub fn acl_against(self, [vpc, subnet]: [u8; 2], port: u16) -> Self {
        let allow = |egress: bool| {
            json!({
                "RuleNumber": 100, "Egress": egress, "RuleAction": "allow", "Protocol": "-1", "CidrBlock": "0.0.0.0/0",
            })
        };
        self.with(
            "NetworkAcls",
            json!({
                "NetworkAclId": format!("acl-{vpc}-{subnet}"), "VpcId": format!("vpc-{vpc}"),
                "Associations": [{"SubnetId": format!("subnet-{vpc}-{subnet}")}],
                "Entries": [
                    {
                        "RuleNumber": 90, "Egress": false, "RuleAction": "deny", "Protocol": "6",
                        "CidrBlock": "0.0.0.0/0", "PortRange": {"From": port, "To": port},
                    },
                    allow(false),
                    allow(true),
                ],
            }),
        )
    }

    /// With a subnet that has no interface.
    pub fn subnet(self, vpc: u8, subnet: u8) -> Self {
        self.with(
            "Subnets",
            json!({
                "SubnetId": format!("subnet-{vpc}-{subnet}"), "VpcId": format!("vpc-{vpc}"),
                "AvailabilityZone": "eu-central-1a", "CidrBlock": format!("10.{vpc}.{subnet}.0/24"),
                "Ipv6CidrBlockAssociationSet": [{"Ipv6CidrBlock": format!("2001:db8:b{vpc}:{subnet}::/64")}],
            }),
        )
    }

    fn nic(self, nic: &Nic) -> Self {
        let &Nic { vpc, subnet, host, port, check, .. } = nic;
        self.with("NetworkInterfaces", json!({
            "NetworkInterfaceId": nic.id(), "SubnetId": format!("subnet-{vpc}-{subnet}"), "VpcId": format!("vpc-{vpc}"),
            "MacAddress": nic.mac(), "PrivateIpAddress": nic.v4(), "Ipv6Addresses": [{"Ipv6Address": nic.v6()}],
            "SourceDestCheck": check, "Groups": [{"GroupId": format!("sg-{vpc}")}],
        }))
        .with_warren("Attachments", json!({"NetworkInterfaceId": nic.id(), "HostId": host, "Port": port}))
    }

    /// With a route table: of subnets and gateways by their ids, or the VPC's main one by `main`. Routes are destinations
    /// with their targets' ids.
    pub fn routes(self, table: &str, vpc: u8, of: &[&str], routes: &[(&str, &str)]) -> Self {
        let association = |id: &&str| match *id {
            "main" => json!({"Main": true}),
            id if id.starts_with("subnet-") => json!({"SubnetId": id}),
            id => json!({"GatewayId": id}),
        };
        self.with(
            "RouteTables",
            json!({
                "RouteTableId": table, "VpcId": format!("vpc-{vpc}"),
                "Associations": of.iter().map(association).collect::<Vec<_>>(),
                "Routes": routes.iter().map(|&route| self::route(route)).collect::<Vec<_>>(),
            }),
        )
    }

    /// With an internet gateway, `igw-` and the VPC's number, that hosts serve.
    pub fn internet_gateway(self, vpc: u8, hosts: &[&str]) -> Self {
        let id = format!("igw-{vpc}");
        let attached = json!([{"VpcId": format!("vpc-{vpc}"), "State": "available"}]);
        self.with("InternetGateways", json!({"InternetGatewayId": id, "Attachments": attached}))
            .served(&id, hosts)
    }

    /// With a public address for an interface.
    pub fn elastic(self, public: &str, nic: &Nic) -> Self {
        self.with(
            "Addresses",
            json!({
                "PublicIp": public, "AllocationId": format!("eipalloc-{public}"),
                "NetworkInterfaceId": nic.id(), "PrivateIpAddress": nic.v4(),
            }),
        )
    }

    /// With a public NAT gateway, which hosts serve, in a subnet: `nat-` and the VPC's number, with the address 5 there.
    pub fn nat_gateway(self, [vpc, subnet]: [u8; 2], public: &str, hosts: &[&str]) -> Self {
        let id = format!("nat-{vpc}");
        self.with("NatGateways", json!({
            "NatGatewayId": id, "VpcId": format!("vpc-{vpc}"), "SubnetId": format!("subnet-{vpc}-{subnet}"),
            "ConnectivityType": "public", "State": "available",
            "NatGatewayAddresses": [{
                "PrivateIp": format!("10.{vpc}.{subnet}.5"), "PublicIp": public,
                "AllocationId": format!("eipalloc-{public}"), "IsPrimary": true,
            }],
        }))
        .served(&id, hosts)
    }

    /// With an egress-only internet gateway, `eigw-` and the VPC's number, that hosts serve.
    pub fn egress_only_gateway(self, vpc: u8, hosts: &[&str]) -> Self {
        let id = format!("eigw-{vpc}");
        let attached = json!([{"VpcId": format!("vpc-{vpc}"), "State": "attached"}]);
        self.with(
            "EgressOnlyInternetGateways",
            json!({"EgressOnlyInternetGatewayId": id, "Attachments": attached}),
        )
        .served(&id, hosts)
    }

    /// With a peering of two VPCs: `pcx-` and their numbers.
    pub fn peering(self, a: u8, b: u8) -> Self {
        self.with("VpcPeeringConnections", json!({
            "VpcPeeringConnectionId": format!("pcx-{a}-{b}"), "Status": {"Code": "active"},
            "RequesterVpcInfo": {"VpcId": format!("vpc-{a}")}, "AccepterVpcInfo": {"VpcId": format!("vpc-{b}")},
        }))
    }

    /// With a VPC's attachment to `tgw-1` in one of its subnets: `tgw-attach-` and the VPC's number.
    pub fn attached(self, [vpc, subnet]: [u8; 2]) -> Self {
        self.with("TransitGatewayVpcAttachments", json!({
            "TransitGatewayAttachmentId": format!("tgw-attach-{vpc}"), "TransitGatewayId": "tgw-1",
            "VpcId": format!("vpc-{vpc}"), "SubnetIds": [format!("subnet-{vpc}-{subnet}")], "State": "available",
        }))
    }

    /// With a route table of `tgw-1`: which VPCs' packets follow it, and whose blocks are in it; static routes lead to
    /// VPCs, or nowhere.
    pub fn transit_table(
        self,
        table: &str,
        associated: &[u8],
        propagating: &[u8],
        routes: &[(&str, Option<u8>)],
    ) -> Self {
        let attachments = |vpcs: &[u8]| {
            let of = |vpc: &u8| json!({"TransitGatewayAttachmentId": format!("tgw-attach-{vpc}")});
            vpcs.iter().map(of).collect::<Vec<_>>()
        };
        let route = |(destination, vpc): &(&str, Option<u8>)| match vpc {
            Some(vpc) => json!({
                "DestinationCidrBlock": destination, "TransitGatewayAttachments": attachments(&[*vpc]),
                "Type": "static", "State": "active",
            }),
            None => json!({"DestinationCidrBlock": destination, "Type": "static", "State": "blackhole"}),
        };
        self.with("TransitGatewayRouteTables", json!({
            "TransitGatewayRouteTableId": table, "TransitGatewayId": "tgw-1",
            "Associations": attachments(associated), "TransitGatewayRouteTablePropagations": attachments(propagating),
            "Routes": routes.iter().map(route).collect::<Vec<_>>(),
        }))
    }

    /// With hosts that serve a gateway.
    pub fn served(self, gateway: &str, hosts: &[&str]) -> Self {
        self.with_warren("Gateways", json!({"GatewayId": gateway, "Hosts": hosts}))
    }

    /// The document, for a change by hand.
    pub fn edit(&mut self) -> &mut Value {
        &mut self.0
    }

    /// Writes it to `state.json` in a folder.
    pub fn write(&self, folder: &Path) -> PathBuf {
        write(folder, &self.0)
    }
}

/// A security group's rule for everything.
pub fn anywhere() -> Value {
    json!({"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}], "Ipv6Ranges": [{"CidrIpv6": "::/0"}]})
}

/// A security group's rule for some ports of `tcp` or `udp`; the others are a block of addresses, or those in a group.
pub fn rule(protocol: &str, ports: RangeInclusive<u16>, others: &str) -> Value {
    let (list, key) = match others {
        group if group.starts_with("sg-") => ("UserIdGroupPairs", "GroupId"),
        block if block.contains(':') => ("Ipv6Ranges", "CidrIpv6"),
        _ => ("IpRanges", "CidrIp"),
    };
    json!({"IpProtocol": protocol, "FromPort": ports.start(), "ToPort": ports.end(), list: [{key: others}]})
}

/// A route, its target's kind by its id.
fn route((destination, target): (&str, &str)) -> Value {
    let to = match destination {
        list if list.starts_with("pl-") => "DestinationPrefixListId",
        block if block.contains(':') => "DestinationIpv6CidrBlock",
        _ => "DestinationCidrBlock",
    };
    let by = match target.split('-').next() {
        Some("nat") => "NatGatewayId",
        Some("eni") => "NetworkInterfaceId",
        Some("eigw") => "EgressOnlyInternetGatewayId",
        Some("pcx") => "VpcPeeringConnectionId",
        Some("tgw") => "TransitGatewayId",
        _ => "GatewayId",
    };
    json!({to: destination, by: target})
}
