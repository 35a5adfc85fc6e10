//! What is compared of each kind of resource.

use super::{Fields, Kind, Resource, descriptive, list, optional, text};
use crate::model::{
    Circuit, DhcpOptions, DirectConnectGateway, Edge, EgressOnlyInternetGateway, Eni, FlowLog, Host,
    InternetGateway, MirrorFilter, MirrorSession, MirrorTarget, MulticastDomain, NatGateway, NetworkAcl,
    Peering, PrefixList, PublicAddress, RouteTable, SecurityGroup, Subnet, TransitAttachment, TransitGateway,
    TransitRouteTable, VirtualInterface, Vpc, VpcEndpoint, VpnConnection, VpnGateway,
};

/// For each type its kind, its fields, and how their values are told.
macro_rules! resources {
    ($($type:ident = $kind:ident { $($field:ident: $text:ident,)* })*) => {$(
        impl Resource for $type {
            const KIND: Kind = Kind::$kind;

            fn fields(&self, new: &Self, fields: &mut Fields) {
                $(fields.note(stringify!($field), &self.$field, &new.$field, |value| $text(value));)*
            }
        }
    )*};
}

resources! {
    DhcpOptions = DhcpOptions {
        domain_name: optional,
        domain_name_servers: list,
        ntp_servers: list,
        netbios_name_servers: list,
        netbios_node_type: optional,
        preferred_lifetime6: optional,
        descriptive: descriptive,
    }

    Vpc = Vpc {
        vni: text,
        cidrs4: list,
        cidrs6: list,
        dhcp_options: text,
        legacy_2020_local: text,
        descriptive: descriptive,
    }

    Subnet = Subnet {
        vpc: text,
        zone: text,
        cidr4: optional,
        cidr6: optional,
        route_table: text,
        network_acl: optional,
        descriptive: descriptive,
    }

    Eni = Eni {
        vpc: text,
        subnet: text,
        mac: text,
        primary4: optional,
        secondary4: list,
        prefixes4: list,
        addresses6: list,
        prefixes6: list,
        source_dest_check: text,
        groups: list,
        tracking: text,
        attachment: optional,
        descriptive: descriptive,
    }

    RouteTable = RouteTable {
        vpc: text,
        main: text,
        subnets: list,
        gateway: optional,
        propagating: list,
        routes: list,
        descriptive: descriptive,
    }

    Host = Host {
        underlay: text,
    }

    SecurityGroup = SecurityGroup {
        vpc: text,
        name: optional,
        ingress: list,
        egress: list,
        descriptive: descriptive,
    }

    NetworkAcl = NetworkAcl {
        vpc: text,
        is_default: text,
        entries: list,
        subnets: list,
        descriptive: descriptive,
    }

    FlowLog = FlowLog {
        scope: text,
        traffic: text,
        format: text,
        interval: text,
        folder: text,
        descriptive: descriptive,
    }

    MirrorTarget = TrafficMirrorTarget {
        eni: text,
        descriptive: descriptive,
    }

    MirrorFilter = TrafficMirrorFilter {
        ingress: list,
        egress: list,
        dns: text,
        descriptive: descriptive,
    }

    MirrorSession = TrafficMirrorSession {
        eni: text,
        target: text,
        filter: text,
        number: text,
        length: optional,
        vni: text,
        descriptive: descriptive,
    }

    PrefixList = PrefixList {
        max_entries: text,
        entries: list,
        descriptive: descriptive,
    }

    InternetGateway = InternetGateway {
        vpc: optional,
        descriptive: descriptive,
    }

    EgressOnlyInternetGateway = EgressOnlyInternetGateway {
        vpc: optional,
        descriptive: descriptive,
    }

    NatGateway = NatGateway {
        vpc: text,
        subnet: text,
        public: text,
        addresses: list,
        descriptive: descriptive,
    }

    PublicAddress = PublicAddress {
        vpc: text,
        private: text,
        owner: text,
    }

    Peering = VpcPeeringConnection {
        requester: text,
        accepter: text,
        active: text,
        inter_region: text,
        descriptive: descriptive,
    }

    VpnGateway = VpnGateway {
        vpc: optional,
        descriptive: descriptive,
    }

    VpnConnection = VpnConnection {
        terminal: text,
        routes: list,
        tunnels_up: list,
        descriptive: descriptive,
    }

    DirectConnectGateway = DirectConnectGateway {
        vpn_gateways: list,
        transit_gateways: list,
        descriptive: descriptive,
    }

    VirtualInterface = VirtualInterface {
        terminal: text,
        vlan: text,
        mtu: text,
        address: text,
        peer: text,
        descriptive: descriptive,
    }

    VpcEndpoint = VpcEndpoint {
        vpc: text,
        service: text,
        descriptive: descriptive,
    }

    TransitGateway = TransitGateway {
        vpn_ecmp: text,
        multicast: text,
        group_references: text,
        descriptive: descriptive,
    }

    TransitAttachment = TransitGatewayAttachment {
        gateway: text,
        available: text,
        kind: text,
        table: optional,
        descriptive: descriptive,
    }

    TransitRouteTable = TransitGatewayRouteTable {
        gateway: text,
        routes: list,
        propagations: list,
        descriptive: descriptive,
    }

    MulticastDomain = TransitGatewayMulticastDomain {
        gateway: text,
        igmp: text,
        static_sources: text,
        subnets: list,
        members: list,
        sources: list,
        descriptive: descriptive,
    }

    Edge = Edge {
        hosts: list,
    }

    Circuit = Circuit {
        resource: text,
        tunnel: text,
        host: text,
        port: text,
        vlan: optional,
        address: text,
        peer: text,
    }
}
