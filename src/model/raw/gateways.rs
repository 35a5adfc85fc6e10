//! The keys of what leads out of a VPC: `aws ec2 describe-managed-prefix-lists`, `-internet-gateways`,
//! `-egress-only-internet-gateways`, `-nat-gateways`, `-addresses`, `-vpc-peering-connections`, `-vpn-gateways`,
//! `-vpn-connections`, `-vpc-endpoints` and `-vpc-block-public-access-options`, `aws directconnect
//! describe-virtual-interfaces`, `-direct-connect-gateways` and `-direct-connect-gateway-associations`, and Warren's own.

use super::{
    List, Text,
    maps::{maps, prelude::*},
};

maps! {
    resource PrefixList {
        id: Text<'a> = "PrefixListId",
        family: Text<'a> = "AddressFamily",
        max_entries: Text<'a> = "MaxEntries",
        entries: List<Entry<'a>> = "Entries",
        state: Text<'a> = "State",
    } described by [
        "IpamPrefixListResolverSyncEnabled", "IpamPrefixListResolverTargetId", "OwnerId", "PrefixListArn",
        "PrefixListName", "StateMessage", "Tags", "Version",
    ]

    /// A block of a prefix list.
    part Entry {
        cidr: Text<'a> = "Cidr",
    } described by ["Description"]

    resource InternetGateway {
        id: Text<'a> = "InternetGatewayId",
        attachments: List<VpcAttachment<'a>> = "Attachments",
    } described by ["OwnerId", "Tags"]

    resource EgressOnlyInternetGateway {
        id: Text<'a> = "EgressOnlyInternetGatewayId",
        attachments: List<VpcAttachment<'a>> = "Attachments",
    } described by ["Tags"]

    /// The VPC that a gateway is attached to.
    part VpcAttachment {
        vpc: Text<'a> = "VpcId",
        state: Text<'a> = "State",
    } described by []

    resource NatGateway {
        id: Text<'a> = "NatGatewayId",
        vpc: Text<'a> = "VpcId",
        subnet: Text<'a> = "SubnetId",
        connectivity: Text<'a> = "ConnectivityType",
        addresses: List<NatAddress<'a>> = "NatGatewayAddresses",
        state: Text<'a> = "State",
    } described by [
        "AttachedAppliances", "AutoProvisionZones", "AutoScalingIps", "AvailabilityMode", "CreateTime", "DeleteTime",
        "FailureCode", "FailureMessage", "ProvisionedBandwidth", "RouteTableId", "Tags",
    ]

    part NatAddress {
        private: Text<'a> = "PrivateIp",
        public: Text<'a> = "PublicIp",
        primary: Text<'a> = "IsPrimary",
        eni: Text<'a> = "NetworkInterfaceId",
        status: Text<'a> = "Status",
    } described by ["AllocationId", "AssociationId", "AvailabilityZone", "AvailabilityZoneId", "FailureMessage"]

    /// An Elastic IP address.
    resource Address {
        public: Text<'a> = "PublicIp",
        eni: Text<'a> = "NetworkInterfaceId",
        private: Text<'a> = "PrivateIpAddress",
    } described by [
        "AllocationId", "AssociationId", "CarrierIp", "CustomerOwnedIp", "CustomerOwnedIpv4Pool", "Domain",
        "InstanceId", "NetworkBorderGroup", "NetworkInterfaceOwnerId", "PublicIpv4Pool", "ServiceManaged", "SubnetId",
        "Tags",
    ]

    resource Peering {
        id: Text<'a> = "VpcPeeringConnectionId",
        requester: PeeringVpc<'a> = "RequesterVpcInfo",
        accepter: PeeringVpc<'a> = "AccepterVpcInfo",
        status: Status<'a> = "Status",
    } described by ["ExpirationTime", "Tags"]

    /// One of the two VPCs of a peering connection.
    part PeeringVpc {
        vpc: Text<'a> = "VpcId",
        region: Text<'a> = "Region",
    } described by ["CidrBlock", "CidrBlockSet", "Ipv6CidrBlockSet", "OwnerId", "PeeringOptions"]

    part Status {
        code: Text<'a> = "Code",
    } described by ["Message"]

    resource VpnGateway {
        id: Text<'a> = "VpnGatewayId",
        attachments: List<VpcAttachment<'a>> = "VpcAttachments",
        state: Text<'a> = "State",
    } described by ["AmazonSideAsn", "AvailabilityZone", "Tags", "Type"]

    resource VpnConnection {
        id: Text<'a> = "VpnConnectionId",
        vpn_gateway: Text<'a> = "VpnGatewayId",
        transit_gateway: Text<'a> = "TransitGatewayId",
        options: VpnOptions<'a> = "Options",
        routes: List<VpnRoute<'a>> = "Routes",
        telemetry: List<Telemetry<'a>> = "VgwTelemetry",
        state: Text<'a> = "State",
    } described by [
        "Category", "CoreNetworkArn", "CoreNetworkAttachmentArn", "CustomerGatewayConfiguration", "CustomerGatewayId",
        "GatewayAssociationState", "PreSharedKeyArn", "Tags", "Type", "VpnConcentratorId",
    ]

    part VpnOptions {
        static_only: Text<'a> = "StaticRoutesOnly",
    } described by [
        "EnableAcceleration", "LocalIpv4NetworkCidr", "LocalIpv6NetworkCidr", "OutsideIpAddressType",
        "RemoteIpv4NetworkCidr", "RemoteIpv6NetworkCidr", "TransportTransitGatewayAttachmentId", "TunnelBandwidth",
        "TunnelInsideIpVersion", "TunnelOptions",
    ]

    part VpnRoute {
        destination: Text<'a> = "DestinationCidrBlock",
        state: Text<'a> = "State",
    } described by ["Source"]

    /// The state of a tunnel.
    part Telemetry {
        status: Text<'a> = "Status",
    } described by ["AcceptedRouteCount", "CertificateArn", "LastStatusChange", "OutsideIpAddress", "StatusMessage"]

    resource VirtualInterface {
        id: Text<'a> = "virtualInterfaceId",
        kind: Text<'a> = "virtualInterfaceType",
        vpn_gateway: Text<'a> = "virtualGatewayId",
        direct_connect_gateway: Text<'a> = "directConnectGatewayId",
        vlan: Text<'a> = "vlan",
        mtu: Text<'a> = "mtu",
        address: Text<'a> = "amazonAddress",
        peer: Text<'a> = "customerAddress",
        state: Text<'a> = "virtualInterfaceState",
    } described by [
        "addressFamily", "amazonSideAsn", "asn", "asnLong", "authKey", "awsDeviceV2", "awsLogicalDeviceId", "bgpPeers",
        "connectionId", "customerRouterConfig", "jumboFrameCapable", "location", "ownerAccount", "region",
        "routeFilterPrefixes", "siteLinkEnabled", "tags", "virtualInterfaceName",
    ]

    resource DirectConnectGateway {
        id: Text<'a> = "directConnectGatewayId",
        state: Text<'a> = "directConnectGatewayState",
    } described by ["amazonSideAsn", "directConnectGatewayName", "ownerAccount", "stateChangeError", "tags"]

    /// A virtual private gateway or transit gateway behind a Direct Connect gateway.
    resource DirectConnectAssociation {
        gateway: Text<'a> = "directConnectGatewayId",
        associated: AssociatedGateway<'a> = "associatedGateway",
        state: Text<'a> = "associationState",
    } described by [
        "allowedPrefixesToDirectConnectGateway", "associatedCoreNetwork", "associationId",
        "directConnectGatewayOwnerAccount", "stateChangeError", "virtualGatewayId", "virtualGatewayOwnerAccount",
        "virtualGatewayRegion",
    ]

    part AssociatedGateway {
        id: Text<'a> = "id",
        kind: Text<'a> = "type",
    } described by ["ownerAccount", "region"]

    resource VpcEndpoint {
        id: Text<'a> = "VpcEndpointId",
        kind: Text<'a> = "VpcEndpointType",
        vpc: Text<'a> = "VpcId",
        subnets: List<Text<'a>> = "SubnetIds",
        state: Text<'a> = "State",
    } described by [
        "CreationTimestamp", "DnsEntries", "DnsOptions", "FailureReason", "Groups", "IpAddressType", "Ipv4Prefixes",
        "Ipv6Prefixes", "LastError", "NetworkInterfaceIds", "OwnerId", "PayerResponsibility", "PolicyDocument",
        "PrivateDnsEnabled", "RequesterManaged", "ResourceConfigurationArn", "RouteTableIds", "ServiceName",
        "ServiceNetworkArn", "ServiceRegion", "Tags",
    ]

    part PublicAccess {
        mode: Text<'a> = "InternetGatewayBlockMode",
    } described by [
        "AwsAccountId", "AwsRegion", "ExclusionsAllowed", "LastUpdateTimestamp", "ManagedBy", "Reason", "State",
    ]

    /// Which hosts serve a gateway.
    resource Gateway {
        id: Text<'a> = "GatewayId",
        hosts: List<Text<'a>> = "Hosts",
    } described by []

    /// A link to the outside.
    resource Circuit {
        resource: Text<'a> = "ResourceId",
        id: Text<'a> = "CircuitId",
        tunnel: Text<'a> = "Tunnel",
        host: Text<'a> = "HostId",
        port: Text<'a> = "Port",
        vlan: Text<'a> = "Vlan",
        address: Text<'a> = "Address",
        peer: Text<'a> = "PeerAddress",
    } described by []

    /// The appliances behind a Gateway Load Balancer endpoint.
    resource Appliances {
        endpoint: Text<'a> = "VpcEndpointId",
        enis: List<Text<'a>> = "NetworkInterfaceIds",
    } described by []
}
