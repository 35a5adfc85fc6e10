//! A running node: configuration, workers, management thread, replay.
//!
//! [`worker`] is generic over the queues that it polls, so that the daemon's DPDK queues, a benchmark's generator and a
//! test's vectors run the same loop. [`manager`] is what the management thread knows, without threads or I/O.

#[cfg(feature = "dpdk")]
pub mod bench;
#[cfg(feature = "dpdk")]
pub mod bpf;
pub mod capture;
pub mod chores;
pub mod clock;
pub mod config;
pub mod cores;
#[cfg(feature = "dpdk")]
pub mod daemon;
#[cfg(feature = "dpdk")]
pub mod embedded;
pub mod fleet;
pub mod flow_logs;
mod handover;
mod held;
pub mod learned;
pub mod listing;
#[cfg(feature = "dpdk")]
mod management;
pub mod manager;
pub mod memory;
pub mod multicast;
#[cfg(feature = "dpdk")]
mod notify;
pub mod offload;
mod outside;
pub mod propagation;
pub mod replay;
pub mod table_counters;
pub mod traffic;
pub mod worker;
