//! End to end: the `warren` program against real instances, a real underlay, and other people's dissectors.
//!
//! One test binary, so that all share the [`lab`]. Tests make their own network namespaces and remove them; those need
//! root, and fail without it or without a tool, saying what to install. Names cite the rules of the semantics.
//! `cargo test --test e2e replay::` runs one file.

// Nothing outside uses a test's items; `pub` here means public to the other files.
#![allow(unreachable_pub)]
// What only a daemon needs, a build without DPDK does not use.
#![cfg_attr(not(feature = "dpdk"), allow(dead_code))]

mod lab;

#[cfg(feature = "dpdk")]
mod allowances;
#[cfg(feature = "dpdk")]
mod appliances;
#[cfg(feature = "dpdk")]
mod bgp;
#[cfg(feature = "dpdk")]
mod capture;
#[cfg(feature = "dpdk")]
mod connect;
#[cfg(feature = "dpdk")]
mod dhcp;
#[cfg(feature = "dpdk")]
mod drivers;
#[cfg(feature = "dpdk")]
mod flow_logs;
#[cfg(feature = "dpdk")]
mod flows;
#[cfg(feature = "dpdk")]
mod gateway_port;
#[cfg(feature = "dpdk")]
mod gateways;
mod geneve_wire;
#[cfg(feature = "dpdk")]
mod instances;
#[cfg(feature = "dpdk")]
mod kernel_vxlan;
#[cfg(feature = "dpdk")]
mod live_update;
#[cfg(feature = "dpdk")]
mod middlebox;
#[cfg(feature = "dpdk")]
mod mirroring;
#[cfg(feature = "dpdk")]
mod multicast;
#[cfg(feature = "dpdk")]
mod nd;
#[cfg(feature = "dpdk")]
mod path_mtu;
#[cfg(feature = "dpdk")]
mod peering_transit;
#[cfg(feature = "dpdk")]
mod propagation;
mod replay;
#[cfg(feature = "dpdk")]
mod replay_equals_daemon;
#[cfg(feature = "dpdk")]
mod security;
#[cfg(feature = "dpdk")]
mod services;
#[cfg(feature = "dpdk")]
mod throughput;
#[cfg(feature = "dpdk")]
mod trace;
#[cfg(feature = "dpdk")]
mod two_edges;
#[cfg(feature = "dpdk")]
mod virtual_machines;
#[cfg(feature = "dpdk")]
mod workers;
