//! The C API as C calls it, for `warren bench`: through a pointer, so that nothing of it becomes a part of the caller.

use std::{hint::black_box, ptr};

use super::{
    rte_mbuf, warren_burst,
    worker::{warren_process, warren_worker},
};
use crate::{dpdk::Mbuf, node::embedded::Handle, pipeline::Burst, tables::PortIndex};

type Process = unsafe extern "C" fn(
    *mut warren_worker,
    u16,
    *const *mut rte_mbuf,
    u32,
    u64,
    *mut *const warren_burst,
) -> i32;

/// A worker behind the border.
pub(crate) struct Called {
    worker: Box<warren_worker>,
    process: Process,
}

impl Called {
    /// The worker of a host with so many ports.
    pub(crate) fn new(handle: Handle<Mbuf>, ports: usize) -> Self {
        Self {
            worker: Box::new(warren_worker::new(handle, ports, Default::default())),
            process: black_box(warren_process),
        }
    }

    /// Gives it a burst from a port at a time in nanoseconds, and what comes back to `send`.
    #[inline]
    pub(crate) fn process(
        &mut self,
        PortIndex(port): PortIndex,
        burst: &mut Burst<Mbuf>,
        now: u64,
        mut send: impl FnMut(PortIndex, &mut Burst<Mbuf>),
    ) {
        let (count, mut first) = (burst.len(), ptr::null());
        // SAFETY: the pointers are to what is alive; the mbufs are the worker's from here, and no longer the burst's.
        let bursts = unsafe {
            burst.set_len(0);
            (self.process)(
                &raw mut *self.worker,
                port,
                burst.as_ptr().cast(),
                count as u32,
                now,
                &raw mut first,
            )
        };
        for number in 0..usize::try_from(bursts).unwrap_or(0) {
            // SAFETY: so many bursts are there, until the next call.
            let given = unsafe { &*first.add(number) };
            let mut taken = 0;
            while taken < given.count as usize {
                // SAFETY: the burst's mbufs belong to nobody else, and each is taken once.
                taken += unsafe {
                    Mbuf::take_over(burst, given.mbufs.add(taken).cast(), given.count as usize - taken)
                };
                send(PortIndex(given.port), burst);
                burst.clear();
            }
        }
    }
}
