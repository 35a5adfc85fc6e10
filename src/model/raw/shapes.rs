//! The keys of state documents: `aws ec2 describe-vpcs`, `-dhcp-options`, `-subnets`, `-network-interfaces` and
//! `-route-tables` as the AWS CLI prints them, and Warren's own. `security` has what decides which packets may pass,
//! `monitoring` what is told of them,
//! `gateways` and `transit` have what leads out of VPCs.

use super::{
    Address, Appliances, Attachment, Circuit, ConnectionTracking, DirectConnectAssociation,
    DirectConnectGateway, EgressOnlyInternetGateway, FlowLog, Gateway, InternetGateway, List, MirrorFilter,
    MirrorSession, MirrorTarget, MulticastDomain, NatGateway, NetworkAcl, Peering, PrefixList, PublicAccess,
    SecurityGroup, Text, TransitAttachment, TransitConnect, TransitConnectPeer, TransitGateway,
    TransitPeering, TransitRouteTable, TransitVpcAttachment, VirtualInterface, VpcEndpoint, VpnConnection,
    VpnGateway,
    maps::{maps, prelude::*},
};

maps! {
    /// A document.
    part State {
        dhcp_options: List<DhcpOptions<'a>> = "DhcpOptions",
        vpcs: List<Vpc<'a>> = "Vpcs",
        subnets: List<Subnet<'a>> = "Subnets",
        security_groups: List<SecurityGroup<'a>> = "SecurityGroups",
        network_acls: List<NetworkAcl<'a>> = "NetworkAcls",
        enis: List<Eni<'a>> = "NetworkInterfaces",
        route_tables: List<RouteTable<'a>> = "RouteTables",
        prefix_lists: List<PrefixList<'a>> = "PrefixLists",
        internet_gateways: List<InternetGateway<'a>> = "InternetGateways",
        egress_only_gateways: List<EgressOnlyInternetGateway<'a>> = "EgressOnlyInternetGateways",
        nat_gateways: List<NatGateway<'a>> = "NatGateways",
        addresses: List<Address<'a>> = "Addresses",
        peerings: List<Peering<'a>> = "VpcPeeringConnections",
        vpn_gateways: List<VpnGateway<'a>> = "VpnGateways",
        vpn_connections: List<VpnConnection<'a>> = "VpnConnections",
        virtual_interfaces: List<VirtualInterface<'a>> = "virtualInterfaces",
        direct_connect_gateways: List<DirectConnectGateway<'a>> = "directConnectGateways",
        direct_connect_associations: List<DirectConnectAssociation<'a>> = "directConnectGatewayAssociations",
        endpoints: List<VpcEndpoint<'a>> = "VpcEndpoints",
        transit_gateways: List<TransitGateway<'a>> = "TransitGateways",
        transit_vpcs: List<TransitVpcAttachment<'a>> = "TransitGatewayVpcAttachments",
        transit_peerings: List<TransitPeering<'a>> = "TransitGatewayPeeringAttachments",
        transit_connects: List<TransitConnect<'a>> = "TransitGatewayConnects",
        transit_connect_peers: List<TransitConnectPeer<'a>> = "TransitGatewayConnectPeers",
        transit_attachments: List<TransitAttachment<'a>> = "TransitGatewayAttachments",
        transit_tables: List<TransitRouteTable<'a>> = "TransitGatewayRouteTables",
        multicast_domains: List<MulticastDomain<'a>> = "TransitGatewayMulticastDomains",
        flow_logs: List<FlowLog<'a>> = "FlowLogs",
        mirror_targets: List<MirrorTarget<'a>> = "TrafficMirrorTargets",
        mirror_filters: List<MirrorFilter<'a>> = "TrafficMirrorFilters",
        mirror_sessions: List<MirrorSession<'a>> = "TrafficMirrorSessions",
        public_access: PublicAccess<'a> = "VpcBlockPublicAccessOptions",
        warren: Warren<'a> = "Warren",
    } described by []

    /// What EC2 hides.
    part Warren {
        hosts: List<Host<'a>> = "Hosts",
        attachments: List<Attachment<'a>> = "Attachments",
        networks: List<Network<'a>> = "Networks",
        gateways: List<Gateway<'a>> = "Gateways",
        circuits: List<Circuit<'a>> = "Circuits",
        appliances: List<Appliances<'a>> = "Appliances",
    } described by []

    resource DhcpOptions {
        id: Text<'a> = "DhcpOptionsId",
        configurations: List<DhcpConfiguration<'a>> = "DhcpConfigurations",
    } described by ["OwnerId", "Tags"]

    /// An option of a set, and its values.
    part DhcpConfiguration {
        key: Text<'a> = "Key",
        values: List<DhcpValue<'a>> = "Values",
    } described by []

    part DhcpValue {
        value: Text<'a> = "Value",
    } described by []

    resource Vpc {
        id: Text<'a> = "VpcId",
        cidr: Text<'a> = "CidrBlock",
        cidrs4: List<Block4<'a>> = "CidrBlockAssociationSet",
        cidrs6: List<Block6<'a>> = "Ipv6CidrBlockAssociationSet",
        dhcp_options: Text<'a> = "DhcpOptionsId",
    } described by [
        "BlockPublicAccessStates", "EncryptionControl", "InstanceTenancy", "IsDefault", "OwnerId", "State", "Tags",
        "VpcArn",
    ]

    /// An IPv4 block of a VPC.
    part Block4 {
        cidr: Text<'a> = "CidrBlock",
        state: BlockState<'a> = "CidrBlockState",
    } described by ["AssociationId"]

    /// An IPv6 block of a VPC or subnet.
    part Block6 {
        cidr: Text<'a> = "Ipv6CidrBlock",
        state: BlockState<'a> = "Ipv6CidrBlockState",
    } described by ["AssociationId", "IpSource", "Ipv6AddressAttribute", "Ipv6Pool", "NetworkBorderGroup"]

    /// Whether a block is in force.
    part BlockState {
        state: Text<'a> = "State",
    } described by ["StatusMessage"]

    resource Subnet {
        id: Text<'a> = "SubnetId",
        vpc: Text<'a> = "VpcId",
        zone: Text<'a> = "AvailabilityZone",
        cidr: Text<'a> = "CidrBlock",
        cidrs6: List<Block6<'a>> = "Ipv6CidrBlockAssociationSet",
        ipv6_native: Text<'a> = "Ipv6Native",
    } described by [
        "AssignIpv6AddressOnCreation", "AvailabilityZoneId", "AvailableIpAddressCount", "BlockPublicAccessStates",
        "CustomerOwnedIpv4Pool", "DefaultForAz", "EnableDns64", "EnableLniAtDeviceIndex",
        "MapCustomerOwnedIpOnLaunch", "MapPublicIpOnLaunch", "OutpostArn", "OwnerId",
        "PrivateDnsNameOptionsOnLaunch", "State", "SubnetArn", "Tags", "Type",
    ]

    resource Eni {
        id: Text<'a> = "NetworkInterfaceId",
        subnet: Text<'a> = "SubnetId",
        vpc: Text<'a> = "VpcId",
        mac: Text<'a> = "MacAddress",
        primary4: Text<'a> = "PrivateIpAddress",
        addresses4: List<Address4<'a>> = "PrivateIpAddresses",
        prefixes4: List<Prefix4<'a>> = "Ipv4Prefixes",
        addresses6: List<Address6<'a>> = "Ipv6Addresses",
        prefixes6: List<Prefix6<'a>> = "Ipv6Prefixes",
        source_dest_check: Text<'a> = "SourceDestCheck",
        groups: List<Group<'a>> = "Groups",
        tracking: ConnectionTracking<'a> = "ConnectionTrackingConfiguration",
        association: PublicAssociation<'a> = "Association",
    } described by [
        "AssociatedSubnets", "Attachment", "AvailabilityZone", "AvailabilityZoneId", "DenyAllIgwTraffic", "Description", "InterfaceType", "Ipv6Address",
        "Ipv6Native", "NetworkInterfaceArn", "Operator", "OutpostArn", "OwnerId", "PrivateDnsName", "PublicDnsName",
        "PublicIpDnsNameOptions", "RequesterId", "RequesterManaged", "Status", "TagSet", "Tags",
    ]

    part Address4 {
        address: Text<'a> = "PrivateIpAddress",
        primary: Text<'a> = "Primary",
        association: PublicAssociation<'a> = "Association",
    } described by ["PrivateDnsName"]

    /// The public address of an address.
    part PublicAssociation {
        public: Text<'a> = "PublicIp",
    } described by [
        "AllocationId", "AssociationId", "CarrierIp", "CustomerOwnedIp", "IpOwnerId", "PublicDnsName",
    ]

    part Address6 {
        address: Text<'a> = "Ipv6Address",
    } described by ["IsPrimaryIpv6", "PublicIpv6DnsName"]

    part Prefix4 {
        prefix: Text<'a> = "Ipv4Prefix",
    } described by []

    part Prefix6 {
        prefix: Text<'a> = "Ipv6Prefix",
    } described by []

    /// A security group of an ENI.
    part Group {
        id: Text<'a> = "GroupId",
    } described by ["GroupName"]

    resource RouteTable {
        id: Text<'a> = "RouteTableId",
        vpc: Text<'a> = "VpcId",
        associations: List<Association<'a>> = "Associations",
        propagating: List<Propagating<'a>> = "PropagatingVgws",
        routes: List<Route<'a>> = "Routes",
    } described by ["OwnerId", "RouteTableArn", "Tags"]

    /// A virtual private gateway whose routes come into a table.
    part Propagating {
        gateway: Text<'a> = "GatewayId",
    } described by []

    /// Who uses a route table.
    part Association {
        main: Text<'a> = "Main",
        subnet: Text<'a> = "SubnetId",
        gateway: Text<'a> = "GatewayId",
        table: Text<'a> = "RouteTableId",
        state: BlockState<'a> = "AssociationState",
    } described by ["PublicIpv4Pool", "RouteTableAssociationId"]

    part Route {
        destination4: Text<'a> = "DestinationCidrBlock",
        destination6: Text<'a> = "DestinationIpv6CidrBlock",
        prefix_list: Text<'a> = "DestinationPrefixListId",
        gateway: Text<'a> = "GatewayId",
        carrier_gateway: Text<'a> = "CarrierGatewayId",
        core_network: Text<'a> = "CoreNetworkArn",
        egress_only: Text<'a> = "EgressOnlyInternetGatewayId",
        instance: Text<'a> = "InstanceId",
        local_gateway: Text<'a> = "LocalGatewayId",
        nat: Text<'a> = "NatGatewayId",
        eni: Text<'a> = "NetworkInterfaceId",
        odb_network: Text<'a> = "OdbNetworkArn",
        transit: Text<'a> = "TransitGatewayId",
        endpoint: Text<'a> = "VpcEndpointId",
        peering: Text<'a> = "VpcPeeringConnectionId",
        origin: Text<'a> = "Origin",
        state: Text<'a> = "State",
    } described by ["InstanceOwnerId", "IpAddress"]

    resource Host {
        id: Text<'a> = "HostId",
        underlay: Text<'a> = "UnderlayAddress",
    } described by []

    /// What a VPC is on the wire.
    resource Network {
        vpc: Text<'a> = "VpcId",
        vni: Text<'a> = "Vni",
        legacy: Text<'a> = "Legacy2020Local",
    } described by []
}

impl BlockState<'_> {
    /// Whether the block counts. EC2 goes on listing blocks for a while that it has taken away.
    pub(in crate::model) fn in_force(&self) -> bool {
        matches!(self.state.get(), None | Some("associated" | "associating"))
    }
}
