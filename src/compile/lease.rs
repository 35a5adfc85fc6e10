//! What an ENI is told over DHCP.

use std::net::Ipv4Addr;

use crate::{
    model::{self, Model, NameServer, VpcDhcp, router_mac},
    services::dhcp::{Lease, LeaseV4, LeaseV6, Options},
    tables::LinkLocal,
};

/// The lease of an ENI in its VPC and subnet; `mtu` is its port's.
pub(super) fn lease(
    model: &Model,
    vpc: &model::Vpc,
    subnet: &model::Subnet,
    eni: &model::Eni,
    mtu: u16,
) -> Lease {
    let v6 = || LeaseV6 { addresses: eni.addresses6.clone(), prefixes: eni.prefixes6.clone() };
    Lease {
        mac: eni.mac,
        router_mac: router_mac(&eni.subnet),
        mtu,
        v4: eni.primary4.zip(subnet.cidr4).map(|(address, subnet)| LeaseV4 { address, subnet }),
        v6: subnet.cidr6.map(|_| v6()),
        options: options(model, vpc, subnet),
    }
}

/// The options of a VPC (ADDR-16).
fn options(model: &Model, vpc: &model::Vpc, subnet: &model::Subnet) -> Options {
    let mut options = Options::default();
    match &vpc.dhcp_options {
        VpcDhcp::None => {}
        VpcDhcp::Region => {
            options.domain_name = subnet.region().map(domain_of);
            tell(&mut options, vpc, NameServer::AmazonProvided);
        }
        VpcDhcp::Set(id) => {
            let Some(set) = model.dhcp_options.get(id) else { return options };
            for &server in &set.domain_name_servers {
                tell(&mut options, vpc, server);
            }
            options.domain_name = set.domain_name.clone();
            options.ntp.extend(set.ntp_servers.iter().copied());
            options.netbios = set.netbios_name_servers.clone();
            options.netbios_node_type = set.netbios_node_type;
            options.preferred_lifetime6 = set.preferred_lifetime6;
        }
    }
    options
}

/// Adds a DNS server. Amazon's is at the primary block's base plus two, and at a link-local address over IPv6 (ADDR-19).
fn tell(options: &mut Options, vpc: &model::Vpc, server: NameServer) {
    match server {
        NameServer::AmazonProvided => {
            let base = vpc.cidrs4.first();
            options.dns.v4.extend(base.map(|block| Ipv4Addr::from_bits(block.network().to_bits() | 2)));
            options.dns.v6.push(LinkLocal::Dns.v6());
        }
        NameServer::Address(address) => options.dns.extend([address]),
    }
}

/// The domain of instances in a region, as EC2's default option sets have it.
fn domain_of(region: &str) -> Box<str> {
    match region {
        "us-east-1" => "ec2.internal".into(),
        _ => format!("{region}.compute.internal").into(),
    }
}
