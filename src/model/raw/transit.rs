//! The keys of transit gateways: `aws ec2 describe-transit-gateways`, `-transit-gateway-vpc-attachments`,
//! `-peering-attachments`, `-connects`, `-connect-peers`, `-attachments`, `-route-tables` and `-multicast-domains`, the
//! last two with what the `get-` and `search-` commands print of each nested in it.

use super::{
    List, Status, Text,
    maps::{maps, prelude::*},
};

maps! {
    resource TransitGateway {
        id: Text<'a> = "TransitGatewayId",
        options: TransitOptions<'a> = "Options",
        state: Text<'a> = "State",
    } described by ["CreationTime", "Description", "OwnerId", "Tags", "TransitGatewayArn"]

    part TransitOptions {
        association: Text<'a> = "DefaultRouteTableAssociation",
        association_table: Text<'a> = "AssociationDefaultRouteTableId",
        propagation: Text<'a> = "DefaultRouteTablePropagation",
        propagation_table: Text<'a> = "PropagationDefaultRouteTableId",
        vpn_ecmp: Text<'a> = "VpnEcmpSupport",
        multicast: Text<'a> = "MulticastSupport",
        references: Text<'a> = "SecurityGroupReferencingSupport",
    } described by [
        "AmazonSideAsn", "AutoAcceptSharedAttachments", "DnsSupport", "EncryptionSupport",
        "TransitGatewayCidrBlocks",
    ]

    resource TransitVpcAttachment {
        id: Text<'a> = "TransitGatewayAttachmentId",
        gateway: Text<'a> = "TransitGatewayId",
        vpc: Text<'a> = "VpcId",
        subnets: List<Text<'a>> = "SubnetIds",
        options: TransitVpcOptions<'a> = "Options",
        state: Text<'a> = "State",
    } described by ["CreationTime", "Tags", "VpcOwnerId"]

    part TransitVpcOptions {
        appliance_mode: Text<'a> = "ApplianceModeSupport",
        ipv6: Text<'a> = "Ipv6Support",
        references: Text<'a> = "SecurityGroupReferencingSupport",
    } described by ["DnsSupport"]

    resource TransitPeering {
        id: Text<'a> = "TransitGatewayAttachmentId",
        requester: TransitPeer<'a> = "RequesterTgwInfo",
        accepter: TransitPeer<'a> = "AccepterTgwInfo",
        state: Text<'a> = "State",
        status: Status<'a> = "Status",
    } described by ["AccepterTransitGatewayAttachmentId", "CreationTime", "Options", "Tags"]

    part TransitPeer {
        gateway: Text<'a> = "TransitGatewayId",
    } described by ["CoreNetworkId", "OwnerId", "Region"]

    resource TransitConnect {
        id: Text<'a> = "TransitGatewayAttachmentId",
        gateway: Text<'a> = "TransitGatewayId",
        transport: Text<'a> = "TransportTransitGatewayAttachmentId",
        options: TransitConnectOptions<'a> = "Options",
        state: Text<'a> = "State",
    } described by ["CreationTime", "Tags"]

    part TransitConnectOptions {
        protocol: Text<'a> = "Protocol",
    } described by []

    resource TransitConnectPeer {
        id: Text<'a> = "TransitGatewayConnectPeerId",
        attachment: Text<'a> = "TransitGatewayAttachmentId",
        configuration: ConnectPeerConfiguration<'a> = "ConnectPeerConfiguration",
        state: Text<'a> = "State",
    } described by ["CreationTime", "Tags"]

    part ConnectPeerConfiguration {
        address: Text<'a> = "TransitGatewayAddress",
        peer: Text<'a> = "PeerAddress",
        sessions: List<BgpConfiguration<'a>> = "BgpConfigurations",
    } described by ["InsideCidrBlocks", "Protocol"]

    /// A session with a Connect peer, inside the tunnel.
    part BgpConfiguration {
        address: Text<'a> = "TransitGatewayAddress",
        peer: Text<'a> = "PeerAddress",
    } described by ["BgpStatus", "PeerAsn", "TransitGatewayAsn"]

    /// Any attachment, as `describe-transit-gateway-attachments` prints it.
    resource TransitAttachment {
        id: Text<'a> = "TransitGatewayAttachmentId",
        gateway: Text<'a> = "TransitGatewayId",
        kind: Text<'a> = "ResourceType",
        resource: Text<'a> = "ResourceId",
        association: TransitAssociation<'a> = "Association",
        state: Text<'a> = "State",
    } described by ["CreationTime", "ResourceOwnerId", "Tags", "TransitGatewayOwnerId"]

    /// The route table that an attachment's packets are looked up in.
    part TransitAssociation {
        table: Text<'a> = "TransitGatewayRouteTableId",
        state: Text<'a> = "State",
    } described by []

    resource TransitRouteTable {
        id: Text<'a> = "TransitGatewayRouteTableId",
        gateway: Text<'a> = "TransitGatewayId",
        associations: List<TableAttachment<'a>> = "Associations",
        propagations: List<TableAttachment<'a>> = "TransitGatewayRouteTablePropagations",
        routes: List<TransitRoute<'a>> = "Routes",
        state: Text<'a> = "State",
    } described by [
        "AdditionalRoutesAvailable", "CreationTime", "DefaultAssociationRouteTable", "DefaultPropagationRouteTable",
        "Tags",
    ]

    /// An attachment that is associated with a route table, or propagates into it.
    part TableAttachment {
        attachment: Text<'a> = "TransitGatewayAttachmentId",
        state: Text<'a> = "State",
    } described by ["ResourceId", "ResourceType", "TransitGatewayRouteTableAnnouncementId"]

    part TransitRoute {
        destination: Text<'a> = "DestinationCidrBlock",
        prefix_list: Text<'a> = "PrefixListId",
        attachments: List<RouteAttachment<'a>> = "TransitGatewayAttachments",
        kind: Text<'a> = "Type",
        state: Text<'a> = "State",
    } described by ["TransitGatewayRouteTableAnnouncementId"]

    part RouteAttachment {
        id: Text<'a> = "TransitGatewayAttachmentId",
    } described by ["ResourceId", "ResourceType"]

    resource MulticastDomain {
        id: Text<'a> = "TransitGatewayMulticastDomainId",
        gateway: Text<'a> = "TransitGatewayId",
        options: MulticastOptions<'a> = "Options",
        associations: List<MulticastAssociation<'a>> = "Associations",
        groups: List<MulticastGroup<'a>> = "Groups",
        state: Text<'a> = "State",
    } described by ["CreationTime", "OwnerId", "Tags", "TransitGatewayMulticastDomainArn"]

    part MulticastOptions {
        igmp: Text<'a> = "Igmpv2Support",
        static_sources: Text<'a> = "StaticSourcesSupport",
    } described by ["AutoAcceptSharedAssociations"]

    /// A subnet of a multicast domain: written shortly, or as the AWS CLI nests it.
    part MulticastAssociation {
        subnet: Text<'a> = "SubnetId",
        nested: MulticastSubnet<'a> = "Subnet",
    } described by ["ResourceId", "ResourceOwnerId", "ResourceType", "TransitGatewayAttachmentId"]

    part MulticastSubnet {
        subnet: Text<'a> = "SubnetId",
        state: Text<'a> = "State",
    } described by []

    part MulticastGroup {
        group: Text<'a> = "GroupIpAddress",
        eni: Text<'a> = "NetworkInterfaceId",
        member: Text<'a> = "GroupMember",
        source: Text<'a> = "GroupSource",
        member_type: Text<'a> = "MemberType",
        source_type: Text<'a> = "SourceType",
    } described by [
        "ResourceId", "ResourceOwnerId", "ResourceType", "SubnetId", "TransitGatewayAttachmentId",
    ]
}
