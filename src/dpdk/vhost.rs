//! What DPDK's vhost says of the virtual machine behind a `net_vhost` device.

use std::{
    ffi::{CString, c_void},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Errno, sys};

/// Feature bits of a network device (virtio 1.1 §5.1.3). GUEST: what the machine takes; HOST: what the device takes.
mod feature {
    pub(super) const GUEST_CSUM: u64 = 1 << 1;
    pub(super) const GUEST_TSO4: u64 = 1 << 7;
    pub(super) const GUEST_TSO6: u64 = 1 << 8;
    pub(super) const GUEST_UFO: u64 = 1 << 10;
    pub(super) const HOST_UFO: u64 = 1 << 14;
}

/// The machine behind a device, as it has said what it takes.
#[derive(Debug)]
pub struct Guest {
    /// The features that it has accepted; none while there is no machine. Written by [`Guest::look`].
    features: AtomicU64,
    /// Held while the library is asked, which it does not survive the machine's going by itself.
    looking: Mutex<()>,
}

impl Guest {
    /// Watches who comes and goes at port `port`, which is attached and not configured yet.
    ///
    /// # Errors
    ///
    /// DPDK's.
    pub(super) fn watch(port: u16) -> Result<Arc<Self>, Errno> {
        let guest = Arc::new(Self { features: AtomicU64::new(0), looking: Mutex::new(()) });
        // SAFETY: the port is attached; `changed` is called with this pointer until `unwatch`, before which whoever got the
        // `Arc` does not drop it.
        let result =
            unsafe { sys::warren_watch_link(port, Some(changed), Arc::as_ptr(&guest).cast_mut().cast()) };
        Errno::check(result).map(|()| guest)
    }

    /// The opposite of [`Guest::watch`]: nothing refers to it any more.
    pub(super) fn unwatch(self: &Arc<Self>, port: u16) {
        // SAFETY: as in `watch`; it waits for a call that runs.
        unsafe { sys::warren_unwatch_link(port, Some(changed), Arc::as_ptr(self).cast_mut().cast()) };
    }

    /// Asks the library what the machine behind a port takes.
    ///
    /// A machine that goes has its link down first, then `changed` is called, which waits for whoever is here, and only then
    /// does the library forget it: so what is asked while the link is up is there until it has answered.
    pub(super) fn look(&self, port: u16) {
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the port is attached. Of a machine that is not there, or goes, it asks nothing, as above.
        let features = unsafe { sys::warren_vhost_features(port) };
        self.features.store(features, Ordering::Relaxed);
    }

    /// Whether it takes runs of TCP segments whose checksum is left to it: over IPv4, over IPv6.
    #[inline]
    pub fn takes_runs(&self) -> (bool, bool) {
        let features = self.features.load(Ordering::Relaxed);
        let has = |feature| features & feature != 0;
        let csum = has(feature::GUEST_CSUM);
        (csum && has(feature::GUEST_TSO4), csum && has(feature::GUEST_TSO6))
    }
}

/// Called by DPDK's vhost thread when a machine has come, and before one is forgotten.
unsafe extern "C" fn changed(port: u16, _event: u32, guest: *mut c_void, _more: *mut c_void) -> i32 {
    // SAFETY: the pointer of `watch`, whose `Arc` lives until `unwatch`.
    let guest = unsafe { &*guest.cast_const().cast::<Guest>() };
    guest.look(port);
    0
}

/// Keeps machines from leaving the fragmentation of UDP to the device of a socket (UFO), which nobody does any more: Linux has not
/// since 4.14. The driver offers it.
pub(super) fn refuse_ufo(socket: &Path) {
    if let Ok(path) = CString::new(socket.as_os_str().as_encoded_bytes()) {
        // SAFETY: a string; the library knows its sockets by such.
        unsafe {
            sys::rte_vhost_driver_disable_features(path.as_ptr(), feature::HOST_UFO | feature::GUEST_UFO)
        };
    }
}
