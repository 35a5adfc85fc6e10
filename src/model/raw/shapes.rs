//! The keys of state documents: `aws ec2 describe-vpcs`, `-dhcp-options`, `-subnets`, `-security-groups`,
//! `-network-interfaces` and `-route-tables` as the AWS CLI prints them, and Warren's own.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, MapAccess};

use super::{Check, Key, List, Notes, Path, Report, Shape, Text};

/// Defines maps: their keys that count, and those that only describe.
///
/// A `resource` has its id first and keeps what describes it; a `part` drops that.
macro_rules! maps {
    ($(
        $(#[$doc:meta])*
        $role:ident $name:ident {
            $($(#[$field_doc:meta])* $field:ident: $type:ty = $key:literal,)*
        } described by [$($descriptive:literal),* $(,)?]
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(in crate::model) struct $name<'a> {
            $($(#[$field_doc])* pub(in crate::model) $field: $type,)*
            /// The other keys.
            pub(in crate::model) notes: Notes<'a>,
        }

        impl $name<'_> {
            const KEYS: &'static [&'static str] = &[$($key),*];
            const DESCRIPTIVE: &'static [&'static str] = &[$($descriptive),*];
        }

        impl<'de> Shape<'de> for $name<'de> {
            fn wrong(kind: &'static str) -> Self {
                Self { notes: Notes::wrong(kind), ..Self::default() }
            }

            fn map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
                let mut this = Self::default();
                while let Some(Key(key)) = map.next_key()? {
                    match &*key {
                        $($key if this.$field.is_missing() => this.$field = map.next_value()?,)*
                        $($key => this.notes.repeated(Cow::Borrowed($key), &mut map)?,)*
                        _ => this.notes.other(key, Self::DESCRIPTIVE, maps!(@keep $role), &mut map)?,
                    }
                }
                Ok(this)
            }
        }

        impl<'de> Deserialize<'de> for $name<'de> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                super::deserialize(deserializer)
            }
        }

        impl Check for $name<'_> {
            fn check(&self, path: Path<'_>, resource: &str, report: &mut Report<'_>) {
                let resource = maps!(@id $role self resource $($field)*);
                self.notes.check(path, resource, &[Self::KEYS, Self::DESCRIPTIVE], report);
                $(self.$field.check(Path::Key(&path, $key), resource, report);)*
            }
        }
    )*};
    (@keep resource) => { true };
    (@keep part) => { false };
    (@id resource $self:ident $resource:ident $id:ident $($field:ident)*) => { $self.$id.get().unwrap_or($resource) };
    (@id part $self:ident $resource:ident $($field:ident)*) => { $resource };
}

maps! {
    /// A document.
    part State {
        dhcp_options: List<DhcpOptions<'a>> = "DhcpOptions",
        vpcs: List<Vpc<'a>> = "Vpcs",
        subnets: List<Subnet<'a>> = "Subnets",
        security_groups: List<SecurityGroup<'a>> = "SecurityGroups",
        enis: List<Eni<'a>> = "NetworkInterfaces",
        route_tables: List<RouteTable<'a>> = "RouteTables",
        warren: Warren<'a> = "Warren",
    } described by []

    /// What EC2 hides.
    part Warren {
        hosts: List<Host<'a>> = "Hosts",
        attachments: List<Attachment<'a>> = "Attachments",
        networks: List<Network<'a>> = "Networks",
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

    resource SecurityGroup {
        id: Text<'a> = "GroupId",
        vpc: Text<'a> = "VpcId",
        ingress: List<Permission<'a>> = "IpPermissions",
        egress: List<Permission<'a>> = "IpPermissionsEgress",
    } described by ["Description", "GroupName", "OwnerId", "SecurityGroupArn", "Tags"]

    /// Some allowed traffic, and with whom.
    part Permission {
        protocol: Text<'a> = "IpProtocol",
        from: Text<'a> = "FromPort",
        to: Text<'a> = "ToPort",
        ranges4: List<Range4<'a>> = "IpRanges",
        ranges6: List<Range6<'a>> = "Ipv6Ranges",
        prefix_lists: List<PrefixList<'a>> = "PrefixListIds",
        groups: List<GroupPair<'a>> = "UserIdGroupPairs",
    } described by []

    part Range4 {
        cidr: Text<'a> = "CidrIp",
        description: Text<'a> = "Description",
    } described by []

    part Range6 {
        cidr: Text<'a> = "CidrIpv6",
        description: Text<'a> = "Description",
    } described by []

    part PrefixList {
        id: Text<'a> = "PrefixListId",
        description: Text<'a> = "Description",
    } described by []

    /// The members of another group.
    part GroupPair {
        id: Text<'a> = "GroupId",
        description: Text<'a> = "Description",
    } described by ["GroupName", "PeeringStatus", "UserId", "VpcId", "VpcPeeringConnectionId"]

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
    } described by [
        "AssociatedSubnets", "Association", "Attachment", "AvailabilityZone", "AvailabilityZoneId",
        "ConnectionTrackingConfiguration", "DenyAllIgwTraffic", "Description", "InterfaceType", "Ipv6Address",
        "Ipv6Native", "NetworkInterfaceArn", "Operator", "OutpostArn", "OwnerId", "PrivateDnsName", "PublicDnsName",
        "PublicIpDnsNameOptions", "RequesterId", "RequesterManaged", "Status", "TagSet", "Tags",
    ]

    part Address4 {
        address: Text<'a> = "PrivateIpAddress",
        primary: Text<'a> = "Primary",
    } described by ["Association", "PrivateDnsName"]

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
        routes: List<Route<'a>> = "Routes",
    } described by ["OwnerId", "PropagatingVgws", "RouteTableArn", "Tags"]

    /// Who uses a route table.
    part Association {
        main: Text<'a> = "Main",
        subnet: Text<'a> = "SubnetId",
        gateway: Text<'a> = "GatewayId",
        table: Text<'a> = "RouteTableId",
    } described by ["AssociationState", "RouteTableAssociationId"]

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
    } described by ["InstanceOwnerId", "IpAddress", "Origin", "State"]

    resource Host {
        id: Text<'a> = "HostId",
        underlay: Text<'a> = "UnderlayAddress",
    } described by []

    /// Where an ENI is plugged in.
    resource Attachment {
        eni: Text<'a> = "NetworkInterfaceId",
        host: Text<'a> = "HostId",
        port: Text<'a> = "Port",
        metadata: MetadataOptions<'a> = "MetadataOptions",
    } described by []

    /// How the ENI reaches instance metadata.
    part MetadataOptions {
        hop_limit: Text<'a> = "HttpPutResponseHopLimit",
    } described by []

    /// What a VPC is on the wire.
    resource Network {
        vpc: Text<'a> = "VpcId",
        vni: Text<'a> = "Vni",
    } described by []
}

impl Warren<'_> {
    /// Whether no part of it has been read, as for a key left out.
    fn is_missing(&self) -> bool {
        self.hosts.is_missing()
            && self.attachments.is_missing()
            && self.networks.is_missing()
            && self.notes.0.is_none()
    }
}

impl MetadataOptions<'_> {
    fn is_missing(&self) -> bool {
        self.hop_limit.is_missing() && self.notes.0.is_none()
    }
}

impl BlockState<'_> {
    fn is_missing(&self) -> bool {
        self.state.is_missing() && self.notes.0.is_none()
    }

    /// Whether the block counts. EC2 goes on listing blocks for a while that it has taken away.
    pub(in crate::model) fn in_force(&self) -> bool {
        matches!(self.state.get(), None | Some("associated" | "associating"))
    }
}
