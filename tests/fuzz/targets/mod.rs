//! Functions that take any bytes, and panic where something does not hold.

mod gateways;
mod node;
mod packets;
mod routes;
mod texts;

/// The target with a name.
///
/// # Panics
///
/// If there is none.
pub(crate) fn named(name: &str) -> fn(&[u8]) {
    match name {
        "headers" => packets::headers,
        "arp" => packets::arp,
        "nd" => packets::nd,
        "icmp" => packets::icmp,
        "igmp" => packets::igmp,
        "fragment" => packets::fragment,
        "mss" => packets::mss,
        "offload" => packets::offload,
        "dhcp" => packets::dhcp,
        "decap" => packets::decap,
        "translation" => gateways::translation,
        "nat64" => gateways::nat64,
        "gre" => gateways::gre,
        "gwlb" => gateways::gwlb,
        "node" => node::frames,
        "state" => texts::state,
        "host_file" => texts::host_file,
        "request" => texts::request,
        "fpm" => routes::fpm,
        _ => panic!("no target `{name}`"),
    }
}
