//! Pools of packet buffers.

use std::{
    ffi::{CString, c_void},
    fmt,
    ptr::NonNull,
    sync::Arc,
};

use arrayvec::ArrayVec;

use super::{Eal, Errno, Mbuf, eal::EalInner, sys};

/// A pool of packet buffers of one size, shared between threads; clones are handles of the same pool.
///
/// Its memory belongs to the EAL, which lives as long as any handle: it is given back, and the name free again, when
/// the EAL is cleaned up. If buffers are still out then, the EAL stays instead, so that an [`Mbuf`] is always valid.
#[derive(Clone)]
pub struct Mempool(Arc<Inner>);

struct Inner {
    raw: RawPool,
    name: String,
    count: u32,
    /// The EAL, if it is not the program's own.
    _eal: Option<Arc<EalInner>>,
}

/// A pool, valid until the EAL is cleaned up.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawPool(NonNull<sys::rte_mempool>);

// SAFETY: the pool's ring is safe for several producers and consumers, and its caches are per logical core.
unsafe impl Send for RawPool {}
// SAFETY: as above.
unsafe impl Sync for RawPool {}

impl RawPool {
    /// The buffers outside the pool; exact only while no thread takes or gives back any.
    pub(super) fn in_use(self) -> u32 {
        // SAFETY: the EAL is not cleaned up.
        unsafe { sys::rte_mempool_in_use_count(self.0.as_ptr()) }
    }
}

impl Mempool {
    /// Makes a pool of `count` buffers (best one less than a power of two) of `data_room_bytes` each,
    /// [`HEADROOM`](crate::packet::HEADROOM) included, on NUMA node `socket` (any if `None`). Each registered thread
    /// keeps up to `cache` buffers for itself (0: none).
    ///
    /// # Errors
    ///
    /// If the name is in use or too long, the numbers are out of range, or the memory is short.
    pub fn new(
        eal: &Eal,
        name: &str,
        count: u32,
        data_room_bytes: u16,
        cache: u32,
        socket: Option<u32>,
    ) -> Result<Self, MempoolError> {
        let error =
            |errno| MempoolError { name: name.to_owned(), count, data_room_bytes, cache, socket, errno };
        let c_name = CString::new(name).map_err(|_| error(Errno(libc::EINVAL)))?;
        if name.len() >= sys::WARREN_MEMPOOL_NAME_SIZE as usize {
            return Err(error(Errno(libc::ENAMETOOLONG)));
        }
        if data_room_bytes < sys::WARREN_HEADROOM {
            return Err(error(Errno(libc::EINVAL)));
        }
        let socket = socket.map_or(Ok(-1), i32::try_from).map_err(|_| error(Errno(libc::EINVAL)))?;
        // SAFETY: the EAL is initialised, and the name a string.
        let raw = unsafe {
            sys::rte_pktmbuf_pool_create(c_name.as_ptr(), count, cache, 0, data_room_bytes, socket)
        };
        let raw = RawPool(NonNull::new(raw).ok_or_else(|| error(Errno::last()))?);
        eal.inner().keep(raw);
        Ok(Self(Arc::new(Inner { raw, name: name.to_owned(), count, _eal: Some(Arc::clone(eal.inner())) })))
    }

    /// A pool of a C program that has started the EAL itself.
    ///
    /// # Safety
    ///
    /// `pool` is a valid `rte_mempool` of packet buffers, and stays so as long as there is a handle or a buffer of it.
    pub unsafe fn of_program(pool: NonNull<c_void>) -> Self {
        let raw = RawPool(pool.cast());
        Self(Arc::new(Inner { raw, name: String::new(), count: 0, _eal: None }))
    }

    /// Takes an empty buffer, with the whole headroom in front; `None` if there is none left.
    #[inline]
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool is valid as long as `self`.
        let raw = NonNull::new(unsafe { sys::warren_alloc(self.raw()) })?;
        // SAFETY: a buffer fresh from the pool has no other reference.
        Some(unsafe { Mbuf::from_raw(raw) })
    }

    /// Takes `n` empty buffers, or as many as `out` has room for, and appends them to it; returns how many, which is
    /// none if the pool has not enough of them.
    #[inline]
    pub fn alloc_bulk<const N: usize>(&self, out: &mut ArrayVec<Mbuf, N>, n: usize) -> usize {
        // SAFETY: the pool is valid as long as `self`.
        unsafe { alloc_bulk(self.raw(), out, n) }
    }

    /// The buffers in the pool, those in threads' caches included. Walks all caches: not for the packet path.
    pub fn available(&self) -> u32 {
        // SAFETY: the pool is valid as long as `self`.
        unsafe { sys::rte_mempool_avail_count(self.raw()) }
    }

    /// The buffers outside the pool: in devices' rings and as [`Mbuf`]s.
    pub fn in_use(&self) -> u32 {
        self.0.raw.in_use()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The buffers it was made with.
    pub fn count(&self) -> u32 {
        self.0.count
    }

    /// The bytes of one buffer, headroom included.
    pub fn data_room_bytes(&self) -> u16 {
        // SAFETY: the pool is valid as long as `self`.
        unsafe { sys::warren_data_room(self.raw()) }
    }

    pub(super) fn raw(&self) -> *mut sys::rte_mempool {
        self.0.raw.0.as_ptr()
    }
}

/// As [`Mempool::alloc_bulk`].
///
/// # Safety
///
/// `pool` is valid.
#[inline]
pub(super) unsafe fn alloc_bulk<const N: usize>(
    pool: *mut sys::rte_mempool,
    out: &mut ArrayVec<Mbuf, N>,
    n: usize,
) -> usize {
    let len = out.len();
    let n = n.min(out.remaining_capacity());
    // SAFETY: the pool is valid; `n` pointers fit behind the first `len`, an `Mbuf` is the pointer it wraps, and on
    // success they are fresh from the pool.
    unsafe {
        if sys::warren_alloc_bulk(pool, out.as_mut_ptr().add(len).cast(), n as u32) != 0 {
            return 0;
        }
        out.set_len(len + n);
    }
    n
}

impl fmt::Debug for Mempool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mempool")
            .field("name", &self.0.name)
            .field("count", &self.0.count)
            .finish_non_exhaustive()
    }
}

/// A pool could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MempoolError {
    /// The pool's name.
    pub name: String,
    /// The buffers asked for.
    pub count: u32,
    /// The bytes of each.
    pub data_room_bytes: u16,
    /// The buffers each thread may keep.
    pub cache: u32,
    /// The NUMA node asked for.
    pub socket: Option<u32>,
    /// Why.
    pub errno: Errno,
}

impl fmt::Display for MempoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, count, data_room_bytes, cache, socket, errno } = self;
        write!(f, "mempool {name}: {count} buffers of {data_room_bytes} bytes")?;
        if let Some(socket) = socket {
            write!(f, " on NUMA node {socket}")?;
        }
        write!(f, ": {errno}; ")?;
        match errno.0 {
            libc::ENOMEM | libc::ENOBUFS => {
                let mib = u64::from(*count) * (u64::from(*data_room_bytes) + 256) / (1 << 20) + 1;
                write!(f, "they take about {mib} MiB: give the EAL more memory, or ask for fewer")
            }
            libc::EEXIST => f.write_str("choose another name"),
            libc::ENAMETOOLONG => {
                write!(f, "choose a name of at most {} bytes", sys::WARREN_MEMPOOL_NAME_SIZE - 1)
            }
            libc::EINVAL => write!(
                f,
                "the cache ({cache}) may be {} and two thirds of the buffers at most, a buffer must hold {} bytes of \
                 headroom, and the name no NUL",
                sys::WARREN_CACHE_MAX,
                sys::WARREN_HEADROOM
            ),
            _ => f.write_str("see EAL's message"),
        }
    }
}

impl std::error::Error for MempoolError {}
