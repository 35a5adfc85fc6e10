//! Warren: the virtual network that AWS gives EC2 instances, for bare-metal hosts.
//!
//! A node runs poll-mode workers over DPDK ports: **instance ports** (one ENI each), **uplink ports** into an IP
//! underlay, **service ports** to link-local services of the host. The crate is two halves that meet in one place only:
//!
//! | half | holds | may do |
//! | --- | --- | --- |
//! | [`model`] → [`compile`] | what the orchestrator said, in EC2's words | allocate, fail with a clear error, take its time |
//! | [`tables`] → [`pipeline`] | what a worker reads: immutable, index-linked, compact | never allocate, lock, block, panic or make a system call |
//!
//! The management thread ([`node`]) turns a change of the model into new tables and publishes them through [`rcu`]; a
//! worker pins them once per burst. Read the modules in this order:
//!
//! 1. [`packet`]: addresses, buffers, header views, checksums, encapsulations. No I/O, no clock.
//! 2. [`tables`]: the ENI maps, route tables, hosts and ports as a worker sees them.
//! 3. [`flow`]: what a worker remembers of flows: the bindings of NAT and egress-only internet gateways.
//! 4. [`pipeline`]: what happens to a burst, stage by stage; [`pipeline::Reason`] names every drop.
//! 5. [`gateway`]: what a packet meets beyond the ENIs of its VPC.
//! 6. [`services`]: what the node answers itself (ARP, neighbour discovery, DHCP, router advertisements).
//! 7. [`flowlogs`]: from what workers count of flows to files of AWS's flow log records.
//! 8. [`model`] and [`compile`]: from state documents to tables.
//! 9. [`rcu`]: publish, pin, reclaim.
//! 10. [`propagation`]: from FRR's BGP to changes of a gateway's routes.
//! 11. [`node`]: configuration, workers, management thread, replay.
//! 12. [`api`]: the control socket, what `warren show` prints, and captures.
//! 13. [`trace`]: what becomes of a packet, step by step, through the same code.
//! 14. [`machine`] and [`doctor`]: what the kernel tells of the machine, and what of it is wrong for a node.
//! 15. `load` (feature `dpdk`): traffic for a node from outside, and what becomes of it.
//! 16. `dpdk` (feature `dpdk`): the foreign functions, and most of the crate's `unsafe`.

pub mod api;
pub mod compile;
pub mod doctor;
#[cfg(feature = "dpdk")]
pub mod dpdk;
pub mod ffi;
pub mod flow;
pub mod flowlogs;
pub mod gateway;
#[cfg(feature = "dpdk")]
pub mod load;
pub mod machine;
pub mod model;
pub mod node;
pub mod packet;
pub mod pipeline;
pub mod propagation;
pub mod rcu;
pub mod services;
pub mod tables;
mod time;
pub mod trace;

/// The synchronisation primitives of [`rcu`]; `tests/rcu_loom.rs` puts loom's in their place.
mod sync {
    pub(crate) use std::sync::{
        Arc,
        atomic::{AtomicPtr, AtomicU64, Ordering, fence},
    };

    pub(crate) use crossbeam::utils::CachePadded;
}
