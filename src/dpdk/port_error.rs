//! What can be wrong with a device, and what to do about it.

use std::fmt;

use super::{Errno, sys};

/// A device could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortError {
    /// The device string.
    pub device: String,
    pub(super) problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// DPDK does not attach it.
    Probe(Errno),
    /// It is attached, and is no Ethernet device.
    NoPort,
    /// It has a `Port`.
    Claimed,
    /// A call out of order.
    Order(&'static str),
    /// A frame of `needed` bytes does not fit into the `room` of a buffer.
    Room { pool: String, room: u32, needed: u32, mtu: u16 },
    /// The driver does not do `action`.
    Driver { action: &'static str, errno: Errno },
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = &self.device;
        match &self.problem {
            Problem::Probe(errno) => {
                write!(f, "device {device}: DPDK does not attach it: {errno}; {}", probe_hint(device, *errno))
            }
            Problem::NoPort => {
                write!(
                    f,
                    "device {device}: DPDK attaches it, but it has no Ethernet port; name an Ethernet device"
                )
            }
            Problem::Claimed => {
                write!(f, "device {device}: it is in use by another port; name each device once")
            }
            Problem::Order(rule) => write!(f, "device {device}: {rule}"),
            Problem::Room { pool, room, needed, mtu } => write!(
                f,
                "device {device}: a frame of MTU {mtu} takes {needed} bytes, a buffer of mempool {pool} holds {room}; \
                 make the pool's data room at least {} bytes, or the MTU at most {}",
                needed + u32::from(sys::WARREN_HEADROOM),
                room.saturating_sub(needed - u32::from(*mtu))
            ),
            Problem::Driver { action, errno } => {
                write!(f, "device {device}: its driver does not {action}: {errno}; {}", driver_hint(*errno))
            }
        }
    }
}

impl std::error::Error for PortError {}

/// What most likely keeps `device` from being attached.
fn probe_hint(device: &str, errno: Errno) -> &'static str {
    const PRIVATE: [&str; 2] = ["net_tap", "net_tun"];

    let is_any = |names: &[&str]| names.iter().any(|name| device.starts_with(name));
    // A virtual device's name starts with its driver's, a physical one's is a bus address.
    if !device.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return "bind it to vfio-pci (dpdk-devbind.py), and leave --no-pci out of the EAL arguments";
    }
    match errno.0 {
        libc::EINVAL | libc::ENODEV | libc::ENOENT | libc::ENOTSUP | libc::EFAULT if !is_any(&KNOWN) => {
            "no driver has such a name: correct it, or install the drivers (Debian: librte-net-…, Fedora: dpdk)"
        }
        _ if is_any(&PRIVATE) => {
            "it needs CAP_NET_ADMIN and /dev/net/tun, and an interface name that is free"
        }
        _ if is_any(&["net_af_packet", "net_af_xdp"]) => {
            "it needs CAP_NET_RAW (af_xdp: CAP_NET_ADMIN) and iface= with an interface that exists"
        }
        _ if is_any(&["net_pcap"]) => "the file or interface it names must exist and be readable or writable",
        _ if is_any(&["net_memif", "net_vhost", "net_virtio_user"]) => {
            "its socket's directory must exist and be writable, and a server may not be there yet"
        }
        libc::ENOMEM | libc::ENOBUFS => "give the EAL more memory",
        _ => "see the driver's message above",
    }
}

/// Drivers whose absence is not the likely problem.
const KNOWN: [&str; 10] = [
    "net_null",
    "net_ring",
    "net_tap",
    "net_tun",
    "net_pcap",
    "net_af_packet",
    "net_af_xdp",
    "net_memif",
    "net_vhost",
    "net_virtio_user",
];

const fn driver_hint(errno: Errno) -> &'static str {
    match errno.0 {
        libc::ENOMEM | libc::ENOBUFS => {
            "give the EAL more memory, or the pool more buffers than all rings have descriptors"
        }
        libc::EPERM | libc::EACCES => "run as root, or with the capabilities the driver needs",
        libc::EINVAL => "its message above names the value that is out of range",
        _ => "see its message above",
    }
}
