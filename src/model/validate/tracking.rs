//! How the connections of an ENI are tracked.

use super::{Item, value};
use crate::model::{ConnectionTracking, Errors, raw};

/// The timeouts of the ENI's connections (SEC-8).
pub(super) fn of_eni(
    item: Item<'_>,
    raw: &raw::ConnectionTracking<'_>,
    errors: &mut Errors,
) -> ConnectionTracking {
    let nothing = ConnectionTracking::default();
    let mut read = |text: &raw::Text<'_>, key: &str, range| {
        let key = format_args!("ConnectionTrackingConfiguration.{key}");
        item.optional(text, key, |text| value::number(text, range, "a timeout"), errors)
    };
    let (tcp, udp, stream) = (
        read(&raw.tcp_established, "TcpEstablishedTimeout", 60..=432_000),
        read(&raw.udp, "UdpTimeout", 30..=60),
        read(&raw.udp_stream, "UdpStreamTimeout", 60..=180),
    );
    ConnectionTracking {
        tcp_established: tcp.unwrap_or(nothing.tcp_established),
        udp: udp.map_or(nothing.udp, |seconds| seconds as u16),
        udp_stream: stream.map_or(nothing.udp_stream, |seconds| seconds as u16),
    }
}
