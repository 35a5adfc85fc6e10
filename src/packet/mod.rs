//! Packets as bytes: addresses, buffers, header views, checksums, encapsulations. Knows no I/O and no clock.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod addr;
pub mod arp;
mod buffer;
mod bytes;
pub mod checksum;
mod coalesce;
mod copies;
mod decap;
mod encap;
mod ends;
pub mod fragment;
mod gre;
mod gwlb;
mod headers;
pub mod icmp;
pub mod igmp;
mod ip;
pub mod nat64;
pub mod nd;
mod offload;
mod patch;
mod pattern;
mod plain;
mod quoted;
mod readdress;
#[cfg(test)]
pub(crate) mod sample;
mod segments;
pub mod tcp;
mod translate;
mod vlan;

pub use addr::{GROUP, Mac, MacPair, ParseMacError, Vni, mac_numbers, macs, set_macs};
pub use buffer::{Buffer, Checked, HEADROOM, HeapBuffer};
pub use coalesce::{Run, Takes, join};
pub use copies::Copies;
pub use decap::{Outer, PlainOuter, apply_ecn, mapped, strip_outer, unmapped};
pub use encap::{Encapsulation, OuterChecksum, OuterTemplate, Sender, traffic_class};
pub use gre::{Gre, GreTemplate};
pub use gwlb::{Gwlb, GwlbTemplate};
pub use headers::{
    ETHERNET, Fragment, Headers, Network, endpoints, ethertype, ethertype_of, flow_hash, ipv4_addresses,
    ipv6_addresses, ipv6_endpoints, parse, protocol,
};
pub use offload::{Undone, finish_checksum};
pub use pattern::Pattern;
pub use plain::{Plain, PlainV6};
pub use quoted::{Quoted, is_error, quoted, translate_error};
pub use readdress::{readdress_v4, readdress_v6, set_ttl, ttl};
pub use segments::Cut;
pub use translate::{Address, Readdressed, Tuple, translate};
pub use vlan::{push_vlan, strip_vlan, vlan_id};
