//! The keys of `Warren.Attachments`.

use super::{
    Text,
    maps::{maps, prelude::*},
};

maps! {
    /// Where an ENI is plugged in.
    resource Attachment {
        eni: Text<'a> = "NetworkInterfaceId",
        host: Text<'a> = "HostId",
        port: Text<'a> = "Port",
        metadata: MetadataOptions<'a> = "MetadataOptions",
        tracking: TrackingOptions<'a> = "ConnectionTrackingOptions",
        workers: Text<'a> = "Workers",
        allowances: Allowances<'a> = "Allowances",
    } described by []

    /// How the ENI reaches instance metadata.
    part MetadataOptions {
        hop_limit: Text<'a> = "HttpPutResponseHopLimit",
    } described by []

    /// How the ENI's connections are tracked, and how many.
    part TrackingOptions {
        strict_icmp: Text<'a> = "StrictIcmp",
        tcp_window_check: Text<'a> = "TcpWindowCheck",
        max: Text<'a> = "ConnectionsMax",
        reserved: Text<'a> = "ConnectionsReserved",
    } described by []

    /// What may pass in a second, and after a pause.
    part Allowances {
        bandwidth_in: Text<'a> = "BandwidthInMbps",
        bandwidth_in_burst: Text<'a> = "BandwidthInBurstMbit",
        bandwidth_out: Text<'a> = "BandwidthOutMbps",
        bandwidth_out_burst: Text<'a> = "BandwidthOutBurstMbit",
        packets: Text<'a> = "PacketsPerSecond",
        packets_burst: Text<'a> = "PacketsBurst",
        connections: Text<'a> = "ConnectionsPerSecond",
        connections_burst: Text<'a> = "ConnectionsBurst",
    } described by []
}
