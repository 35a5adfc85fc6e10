//! DPDK behind safe types: the environment abstraction layer ([`Eal`]), packet buffers ([`Mempool`], [`Mbuf`]) and
//! Ethernet devices ([`Port`], [`RxQueue`], [`TxQueue`]).
//!
//! What C leaves to discipline is a type here:
//!
//! - An [`Mbuf`] owns its buffer and gives it back on drop. [`TxQueue::burst`] takes what was sent out of the caller's
//!   burst and leaves the rest there, so that nothing is freed twice or forgotten, and nobody spins on a full queue.
//! - A queue has one owner: it is taken once, can be sent to a worker but not shared.
//! - Everything keeps what it stands on alive: a queue its port, a port its pool, all of them the EAL. A device is stopped
//!   and closed when its last handle goes, and the EAL cleaned up at the very end, if all buffers are back.
// The FFI boundary. `sys` is the only module that declares foreign functions.
#![allow(unsafe_code)]

mod eal;
mod errno;
mod hugepages;
mod mbuf;
mod mempool;
mod port;
mod port_error;
mod queue;
mod sys;
mod vhost;

pub use self::{
    eal::{Eal, EalConfig, EalError, LogLevel, RegisterError, ThreadGuard, version},
    errno::Errno,
    hugepages::{HugepageMode, HugepagesReserved, reserve_hugepages},
    mbuf::Mbuf,
    mempool::{Mempool, MempoolError},
    port::{MtuOutcome, Port, PortConfig, PortInfo, PortSetup, PortStats},
    port_error::PortError,
    queue::{RxQueue, TxQueue},
    vhost::Guest,
};
