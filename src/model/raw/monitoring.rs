//! The keys of what is told of packets: `aws ec2 describe-flow-logs`, `-traffic-mirror-targets`, `-traffic-mirror-filters`
//! and `-traffic-mirror-sessions`.

use super::{
    List, Text,
    maps::{maps, prelude::*},
};

maps! {
    resource FlowLog {
        id: Text<'a> = "FlowLogId",
        resource: Text<'a> = "ResourceId",
        traffic: Text<'a> = "TrafficType",
        format: Text<'a> = "LogFormat",
        interval: Text<'a> = "MaxAggregationInterval",
        destination: Text<'a> = "LogDestination",
        destination_type: Text<'a> = "LogDestinationType",
        group: Text<'a> = "LogGroupName",
        options: LogOptions<'a> = "DestinationOptions",
        status: Text<'a> = "FlowLogStatus",
    } described by [
        "CreationTime", "DeliverCrossAccountRole", "DeliverLogsErrorMessage", "DeliverLogsPermissionArn",
        "DeliverLogsStatus", "Tags",
    ]

    part LogOptions {
        file_format: Text<'a> = "FileFormat",
    } described by ["HiveCompatiblePartitions", "PerHourPartition"]

    resource MirrorTarget {
        id: Text<'a> = "TrafficMirrorTargetId",
        eni: Text<'a> = "NetworkInterfaceId",
        load_balancer: Text<'a> = "NetworkLoadBalancerArn",
        endpoint: Text<'a> = "GatewayLoadBalancerEndpointId",
    } described by ["Description", "OwnerId", "Tags", "Type"]

    resource MirrorFilter {
        id: Text<'a> = "TrafficMirrorFilterId",
        ingress: List<MirrorRule<'a>> = "IngressFilterRules",
        egress: List<MirrorRule<'a>> = "EgressFilterRules",
        services: List<Text<'a>> = "NetworkServices",
    } described by ["Description", "Tags"]

    part MirrorRule {
        number: Text<'a> = "RuleNumber",
        action: Text<'a> = "RuleAction",
        protocol: Text<'a> = "Protocol",
        source: Text<'a> = "SourceCidrBlock",
        destination: Text<'a> = "DestinationCidrBlock",
        source_ports: MirrorPorts<'a> = "SourcePortRange",
        destination_ports: MirrorPorts<'a> = "DestinationPortRange",
    } described by [
        "Description", "Tags", "TrafficDirection", "TrafficMirrorFilterId", "TrafficMirrorFilterRuleId",
    ]

    part MirrorPorts {
        from: Text<'a> = "FromPort",
        to: Text<'a> = "ToPort",
    } described by []

    resource MirrorSession {
        id: Text<'a> = "TrafficMirrorSessionId",
        eni: Text<'a> = "NetworkInterfaceId",
        target: Text<'a> = "TrafficMirrorTargetId",
        filter: Text<'a> = "TrafficMirrorFilterId",
        number: Text<'a> = "SessionNumber",
        length: Text<'a> = "PacketLength",
        vni: Text<'a> = "VirtualNetworkId",
    } described by ["Description", "OwnerId", "Tags"]
}
