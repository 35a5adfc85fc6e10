//! The keys of what decides which packets may pass: `aws ec2 describe-security-groups` and `-network-acls`.

use super::{
    List, Text,
    maps::{maps, prelude::*},
};

maps! {
    resource SecurityGroup {
        id: Text<'a> = "GroupId",
        vpc: Text<'a> = "VpcId",
        name: Text<'a> = "GroupName",
        ingress: List<Permission<'a>> = "IpPermissions",
        egress: List<Permission<'a>> = "IpPermissionsEgress",
    } described by ["Description", "OwnerId", "SecurityGroupArn", "Tags"]

    /// Some allowed traffic, and with whom.
    part Permission {
        protocol: Text<'a> = "IpProtocol",
        from: Text<'a> = "FromPort",
        to: Text<'a> = "ToPort",
        ranges4: List<Range4<'a>> = "IpRanges",
        ranges6: List<Range6<'a>> = "Ipv6Ranges",
        prefix_lists: List<PrefixListId<'a>> = "PrefixListIds",
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

    part PrefixListId {
        id: Text<'a> = "PrefixListId",
        description: Text<'a> = "Description",
    } described by []

    /// The members of another group.
    part GroupPair {
        id: Text<'a> = "GroupId",
        peering: Text<'a> = "VpcPeeringConnectionId",
        description: Text<'a> = "Description",
    } described by ["GroupName", "PeeringStatus", "UserId", "VpcId"]

    resource NetworkAcl {
        id: Text<'a> = "NetworkAclId",
        vpc: Text<'a> = "VpcId",
        is_default: Text<'a> = "IsDefault",
        entries: List<AclEntry<'a>> = "Entries",
        associations: List<AclAssociation<'a>> = "Associations",
    } described by ["OwnerId", "Tags"]

    part AclEntry {
        number: Text<'a> = "RuleNumber",
        egress: Text<'a> = "Egress",
        action: Text<'a> = "RuleAction",
        protocol: Text<'a> = "Protocol",
        cidr4: Text<'a> = "CidrBlock",
        cidr6: Text<'a> = "Ipv6CidrBlock",
        ports: PortRange<'a> = "PortRange",
        icmp: IcmpTypeCode<'a> = "IcmpTypeCode",
    } described by []

    part PortRange {
        from: Text<'a> = "From",
        to: Text<'a> = "To",
    } described by []

    part IcmpTypeCode {
        kind: Text<'a> = "Type",
        code: Text<'a> = "Code",
    } described by []

    /// A subnet with an ACL.
    part AclAssociation {
        acl: Text<'a> = "NetworkAclId",
        subnet: Text<'a> = "SubnetId",
    } described by ["NetworkAclAssociationId"]

    /// The timeouts of an ENI's connections.
    part ConnectionTracking {
        tcp_established: Text<'a> = "TcpEstablishedTimeout",
        udp: Text<'a> = "UdpTimeout",
        udp_stream: Text<'a> = "UdpStreamTimeout",
    } described by []
}
