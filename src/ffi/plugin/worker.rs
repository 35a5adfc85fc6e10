//! Packets.

use std::{
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::{self, NonNull},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    WARREN_BURST,
    error::{
        Failure, WARREN_ARGUMENT, WARREN_BUSY, WARREN_OK, WARREN_OWNER, WARREN_PANIC, WARREN_PORT, guarded,
        warren_error,
    },
    node::warren,
    rte_mbuf, rte_mempool, warren_burst,
};
use crate::{
    dpdk::{Mbuf, Mempool},
    node::embedded::{Handle, Refusal},
    pipeline::MAX_BURST,
    tables::PortIndex,
};

/// A worker. One thread at a time uses it, usually an lcore's.
pub struct warren_worker {
    handle: Handle<Mbuf>,
    /// As long as there are ports, so that it never grows.
    bursts: Vec<warren_burst>,
    /// After a panic, in who knows which state.
    broken: bool,
    open: Arc<AtomicUsize>,
}

/// Opens worker number `number`, from 0 on, once. `pool` is where the host's own frames come from (answers of DHCP, requests for
/// neighbours), of which there are few; that of the first worker opened serves for all. Its buffers hold a frame of the largest MTU and
/// RTE_PKTMBUF_HEADROOM, and it lives until the host is closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn warren_worker_open(
    host: *const warren,
    number: u32,
    pool: *mut rte_mempool,
    worker: *mut *mut warren_worker,
    error: *mut warren_error,
) -> i32 {
    let open = || {
        // SAFETY: what is not NULL is as the header says.
        let worker = unsafe { worker.as_mut() }.ok_or_else(|| Failure::argument("worker is NULL"))?;
        *worker = ptr::null_mut();
        // SAFETY: as above.
        let host = unsafe { host.as_ref() }.ok_or_else(|| Failure::argument("host is NULL"))?;
        let pool = NonNull::new(pool.cast::<c_void>())
            .ok_or_else(|| Failure::argument("pool is NULL; give one of rte_pktmbuf_pool_create()"))?;
        let workers = host.node.workers();
        if number as usize >= workers {
            let text = format!("there is no worker {number}; the host has {workers}, from 0 on");
            return Err(Failure::argument(text));
        }
        // SAFETY: as above.
        let pool = unsafe { Mempool::of_program(pool) };
        let handle = host.node.worker(number as usize, move |frame| Mbuf::from_frame(&pool, frame));
        let handle = handle.ok_or_else(|| {
            Failure::new(WARREN_BUSY, format!("worker {number} was opened before; open each once"))
        })?;
        host.open.fetch_add(1, Ordering::AcqRel);
        let ports = host.node.config().ports.len();
        *worker = Box::into_raw(Box::new(warren_worker::new(handle, ports, Arc::clone(&host.open))));
        Ok(())
    };
    // SAFETY: `error` is as the header says.
    unsafe { guarded(error, open) }
}

/// Closes a worker, which must not be used any more; its number can't be opened again. What others have for it is lost.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn warren_worker_close(worker: *mut warren_worker) -> i32 {
    if worker.is_null() {
        return WARREN_ARGUMENT;
    }
    let close = || {
        // SAFETY: it came from `Box::into_raw` and is not used any more.
        let worker = unsafe { Box::from_raw(worker) };
        let open = Arc::clone(&worker.open);
        drop(worker);
        open.fetch_sub(1, Ordering::AcqRel);
    };
    catch_unwind(AssertUnwindSafe(close)).map_or(WARREN_PANIC, |()| WARREN_OK)
}

/// Takes `count` packets, WARREN_BURST at most, that came from a port of the host file, and returns how many bursts there are to send,
/// of this worker's packets and of what other workers and the management thread have for it; `*bursts` is the first. The
/// packets are the worker's from the call on: each comes back in a burst, here or at another worker, or is freed and counted. They are
/// direct mbufs with a reference count of 1 and RTE_PKTMBUF_HEADROOM bytes of headroom.
///
/// `now` is the time in nanoseconds, of any beginning, the same clock for all workers; it does not go back.
///
/// To be called often, also without packets (`count` 0, `mbufs` may be NULL, `port` is not looked at): every 100 us is enough.
///
/// Fails, having taken nothing, with WARREN_ARGUMENT, WARREN_PORT, WARREN_OWNER; or with WARREN_PANIC, having taken all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn warren_process(
    worker: *mut warren_worker,
    port: u16,
    mbufs: *const *mut rte_mbuf,
    count: u32,
    now: u64,
    bursts: *mut *const warren_burst,
) -> i32 {
    // SAFETY: what is not NULL is as the header says.
    let (Some(worker), Some(bursts)) = (unsafe { (worker.as_mut(), bursts.as_mut()) }) else {
        return WARREN_ARGUMENT;
    };
    *bursts = ptr::null();
    if count > WARREN_BURST || (mbufs.is_null() && count > 0) {
        return WARREN_ARGUMENT;
    }
    if worker.broken {
        return WARREN_PANIC;
    }
    let port = PortIndex(port);
    if count > 0
        && let Err(refusal) = worker.handle.takes(port)
    {
        return match refusal {
            Refusal::NoPort => WARREN_PORT,
            Refusal::NotOurs => WARREN_OWNER,
        };
    }
    // SAFETY: as above.
    let process = || unsafe { worker.process(port, mbufs.cast(), count as usize, Duration::from_nanos(now)) };
    if catch_unwind(AssertUnwindSafe(process)).is_err() {
        worker.broken = true;
        return WARREN_PANIC;
    }
    *bursts = worker.bursts.as_ptr();
    worker.bursts.len() as i32
}

/// Says that the worker does nothing until its next warren_process(): to be called before its thread sleeps, blocks or applies a state, so
/// that no update waits for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn warren_quiesce(worker: *mut warren_worker) -> i32 {
    // SAFETY: what is not NULL is as the header says.
    let Some(worker) = (unsafe { worker.as_mut() }) else { return WARREN_ARGUMENT };
    if worker.broken {
        return WARREN_PANIC;
    }
    let rest = || worker.handle.quiesce();
    catch_unwind(AssertUnwindSafe(rest)).map_or(WARREN_PANIC, |()| WARREN_OK)
}

/// A worker may be opened, used and closed by several threads, one after the other.
const _: fn() = || {
    const fn moves<T: Send>() {}
    moves::<Handle<Mbuf>>();
};

impl warren_worker {
    /// The worker of a host with so many ports, of which `open` counts the open ones.
    pub(super) fn new(handle: Handle<Mbuf>, ports: usize, open: Arc<AtomicUsize>) -> Self {
        Self { handle, bursts: Vec::with_capacity(ports), broken: false, open }
    }

    /// # Safety
    ///
    /// `mbufs` points to `count` mbufs that belong to nobody else, unless that is 0.
    #[inline]
    unsafe fn process(&mut self, port: PortIndex, mbufs: *const *mut c_void, count: usize, now: Duration) {
        let mut taken = 0;
        loop {
            let some = (count - taken).min(MAX_BURST);
            self.handle.round(port, now, |burst| {
                if some > 0 {
                    // SAFETY: as the caller promises; the burst is empty before a round.
                    unsafe { Mbuf::take_over(burst, mbufs.add(taken), some) };
                }
            });
            taken += some;
            if taken == count {
                break;
            }
        }
        let Self { handle, bursts, .. } = self;
        bursts.clear();
        handle.take(|PortIndex(port), frames| {
            let (mbufs, count) = Mbuf::give_away(frames);
            bursts.push(warren_burst { mbufs: mbufs.cast(), count: count as u32, port });
        });
    }
}
