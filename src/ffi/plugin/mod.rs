//! The C API: what `libwarren.so` (`src/plugin/`) exports, and what `warren.h` is made from. Types and functions have the names
//! that they have in C, and their documentation is the header's.
//!
//! It checks arguments and lets no panic out; all else is [`crate::node::embedded`].

// C's names; what a caller has to keep to is said of each function, in the header's words.
#![allow(non_camel_case_types, clippy::missing_safety_doc)]

mod called;
mod error;
mod log;
mod node;
mod sized;
mod worker;

use std::ffi::{c_char, c_void};

pub(crate) use self::called::Called;
pub use self::{
    error::{
        WARREN_ARGUMENT, WARREN_BUSY, WARREN_DEVICE, WARREN_HOST, WARREN_MESSAGE_BYTES, WARREN_OK,
        WARREN_OWNER, WARREN_PANIC, WARREN_PORT, WARREN_STATE, WARREN_SYSTEM, warren_error,
    },
    log::{WARREN_LOG_ERROR, WARREN_LOG_INFO, WARREN_LOG_WARNING},
    node::{
        warren, warren_apply, warren_apply_text, warren_close, warren_drops, warren_open,
        warren_port_counters, warren_port_info, warren_ports, warren_reason, warren_reasons, warren_version,
        warren_workers,
    },
    worker::{warren_process, warren_quiesce, warren_worker, warren_worker_close, warren_worker_open},
};

/// DPDK's packet buffer.
pub struct rte_mbuf {
    _private: [u8; 0],
}

/// DPDK's pool of packet buffers.
pub struct rte_mempool {
    _private: [u8; 0],
}

/// What warren_version() returns, of this header: major, minor and patch, a byte each. A library of another major version has another
/// SONAME; one of an older minor version may lack functions.
pub const WARREN_VERSION: u32 = 0x00_01_00;

/// It is the package's. cbindgen wants the number itself.
const _: () = {
    const fn part(text: &str) -> u32 {
        match u32::from_str_radix(text, 10) {
            Ok(part) if part < 256 => part,
            _ => panic!("a version of three bytes"),
        }
    }
    let [major, minor, patch] = [
        part(env!("CARGO_PKG_VERSION_MAJOR")),
        part(env!("CARGO_PKG_VERSION_MINOR")),
        part(env!("CARGO_PKG_VERSION_PATCH")),
    ];
    assert!(
        WARREN_VERSION == major << 16 | minor << 8 | patch,
        "WARREN_VERSION is not the package's version"
    );
};

/// The most packets that warren_process() takes at once.
pub const WARREN_BURST: u32 = 1024;

/// The port of an instance: one network interface.
pub const WARREN_ROLE_INSTANCE: u32 = 0;
/// A port of the underlay.
pub const WARREN_ROLE_UPLINK: u32 = 1;
/// A port with link-local services of the host.
pub const WARREN_ROLE_SERVICE: u32 = 2;
/// A port that leads outside: the internet, circuits.
pub const WARREN_ROLE_GATEWAY: u32 = 3;
/// The port of a routing daemon that speaks as a gateway port.
pub const WARREN_ROLE_CONTROL: u32 = 4;

/// The host file's control socket is served, as `warren run` does, so that `warren show`, `warren apply`, `warren capture` and
/// `warren trace` work. This takes a thread, and one for each client.
pub const WARREN_CONTROL_SOCKET: u32 = 1;

/// A port of the host file.
#[repr(C)]
pub struct warren_port {
    /// sizeof(struct warren_port), set by the caller of warren_port_info().
    pub size: usize,
    /// Its name. The string is the host's (struct warren) and lives as long.
    pub name: *const c_char,
    /// What the host file says of the device: DPDK's device string, or whatever the program makes of it. Lives as the name.
    pub device: *const c_char,
    /// The port's number: the position in the host file, from 0.
    pub index: u16,
    /// The largest IP packet, in bytes.
    pub mtu: u16,
    /// Receive queues, and as many transmit queues, of which worker W uses number Q where (owner + Q) % workers is W.
    pub queues: u16,
    /// 1 if the host file says the MAC.
    pub has_mac: u8,
    /// The MAC that the host file says; zeros if none.
    pub mac: [u8; 6],
    /// One of WARREN_ROLE_...
    pub role: u32,
    /// The worker that an instance's packets come to, and that sends where others have no queue.
    pub owner: u32,
}

/// A device, as the program opened it.
#[repr(C)]
pub struct warren_device {
    /// Its MAC address.
    pub mac: [u8; 6],
    /// 1 if it sends chained mbufs. If not, Warren makes them one piece first.
    pub segments: u8,
    /// 1 if it computes the UDP checksums that RTE_MBUF_F_TX_UDP_CKSUM asks for. If not, Warren never asks.
    pub udp_checksum: u8,
}

/// How a host is to be opened. What is not needed is zero.
#[repr(C)]
pub struct warren_options {
    /// sizeof(struct warren_options).
    pub size: usize,
    /// The host file. `control`, `workers.connections`, `gateway`, `encapsulation` and the ports are as for `warren run`; `eal`,
    /// `workers.idle`, `workers.burst` and `descriptors` have no meaning; `bgp`, `propagation` and `flow_logs` are refused.
    pub host_file: *const c_char,
    /// The state, a file or a folder; NULL: the one that the host file names.
    pub state: *const c_char,
    /// Workers; 0: as many as the host file has `workers.cores`, one if it has none.
    pub workers: u32,
    /// 0, or WARREN_CONTROL_SOCKET.
    pub flags: u32,
    /// Opens the device of a port, and tells of it. Called by warren_open(), on its thread, for each port; returns 0, or something
    /// else where the device is not there, which ends warren_open() with WARREN_DEVICE. NULL: no devices are opened, and the
    /// host file says the MAC of each uplink, gateway and service port.
    pub open_port: Option<
        unsafe extern "C" fn(user: *mut c_void, port: *const warren_port, device: *mut warren_device) -> i32,
    >,
    /// Takes a line of the log, of the level WARREN_LOG_... The text is valid during the call. Called on the management thread and
    /// on that which calls warren_open(), never on a worker's. NULL: nothing is logged.
    pub log: Option<unsafe extern "C" fn(user: *mut c_void, level: u32, text: *const c_char)>,
    /// Given to open_port and log.
    pub user: *mut c_void,
    /// The CPUs that the management thread may run on; NULL: those of the thread that calls warren_open(). It should not be
    /// one that polls.
    pub cpus: *const u32,
    /// How many those are.
    pub cpu_count: usize,
}

/// What a change of the state did.
#[repr(C)]
pub struct warren_applied {
    /// sizeof(struct warren_applied), set by the caller.
    pub size: usize,
    /// How often tables have been published.
    pub generation: u64,
    /// Workers that had not used the new state a second after: they neither called warren_process() nor warren_quiesce().
    pub late: u32,
    /// Resources that are new, gone, and different.
    pub added: u32,
    /// See `added`.
    pub removed: u32,
    /// See `added`.
    pub changed: u32,
}

/// What was counted at a port. Bytes are of whole frames.
#[repr(C)]
pub struct warren_counters {
    /// sizeof(struct warren_counters), set by the caller.
    pub size: usize,
    /// Packets given to warren_process().
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Packets given back by it.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Packets dropped, for all reasons.
    pub dropped: u64,
}

/// Packets for a port.
#[repr(C)]
pub struct warren_burst {
    /// The program's from now on: it sends or frees each. The array itself is the worker's, and valid until the next call about it.
    pub mbufs: *mut *mut rte_mbuf,
    /// How many.
    pub count: u32,
    /// The number of the port to send them out of.
    pub port: u16,
}
