//! Read-copy-update by quiescent states: publish, pin, reclaim.
//!
//! One [`Publisher`] (the management thread) owns the current value; each worker has a [`Reader`]. A reader *pins* the
//! value for one burst, which costs a plain load, and announces a *quiescent state* between bursts, when it holds no
//! reference. A value that was replaced is freed by the publisher once every reader has been quiescent since (or is
//! offline). Nobody waits for anybody: a reader that stops announcing delays only the freeing, and the publisher can say
//! which one it is ([`Publisher::laggards`]).
//!
//! # Why it is sound
//!
//! Let a publication store the new pointer, then the generation `g`. A reader announces the generation it loads with
//! Acquire; having announced `g` or later it has also seen the new pointer, so any later pin returns the new value or a
//! newer one, and its earlier reads happen before its Release store of the announcement. The publisher frees the old value
//! only after reading, with Acquire, announcements ≥ `g` (or "offline") from all readers.
//!
//! A reader that comes online races with a publication: it stores its announcement, then loads the pointer; the publisher
//! stores the pointer, then loads the announcement. Both put a sequentially consistent fence between the two, so at least
//! one sees the other's store: either the publisher sees the reader online with an older generation and keeps the value, or
//! the reader loads the new pointer.
//!
//! The scheme is that of userspace RCU's QSBR flavour (Desnoyers et al., "User-Level Implementations of Read-Copy
//! Update", IEEE TPDS 2012). `tests/rcu_loom.rs` model-checks this file under loom.
#![allow(unsafe_code)]

use std::{collections::VecDeque, ops::Deref, ptr::NonNull};

use super::sync::{Arc, AtomicPtr, AtomicU64, CachePadded, Ordering, fence};

/// A reader's announcement while it holds nothing and will load nothing.
const OFFLINE: u64 = 0;

struct Shared<T> {
    /// Publisher writes, readers read.
    current: AtomicPtr<T>,
    /// Of the current value; publisher writes, readers read. Starts at 1.
    generation: AtomicU64,
    /// One line a reader: the generation it last announced, or [`OFFLINE`]. That reader writes, the publisher reads.
    announced: Box<[CachePadded<AtomicU64>]>,
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let current = self.current.load(Ordering::Relaxed);
        // SAFETY: `current` came from `Box::into_raw` and was not retired; publisher and readers are gone, since each
        // holds this `Shared` by an `Arc`.
        drop(unsafe { Box::from_raw(current) });
    }
}

/// A value that readers may still see.
struct Retired<T> {
    /// The generation that replaced it.
    generation: u64,
    value: NonNull<T>,
}

/// The writing side, of which there is one.
pub struct Publisher<T> {
    shared: Arc<Shared<T>>,
    retired: VecDeque<Retired<T>>,
}

// SAFETY: the raw pointers in `retired` are uniquely owned boxes; readers on other threads may still hold `&T`, hence `Sync`.
unsafe impl<T: Send + Sync> Send for Publisher<T> {}

impl<T> Publisher<T> {
    /// Publishes `initial` as generation 1 to `readers` readers, which start offline.
    pub fn new(initial: T, readers: usize) -> (Self, Vec<Reader<T>>) {
        let shared = Arc::new(Shared {
            current: AtomicPtr::new(Box::into_raw(Box::new(initial))),
            generation: AtomicU64::new(1),
            announced: (0..readers).map(|_| CachePadded::new(AtomicU64::new(OFFLINE))).collect(),
        });
        let readers = (0..readers)
            .map(|slot| Reader { shared: Arc::clone(&shared), slot, announced: OFFLINE })
            .collect();
        (Self { shared, retired: VecDeque::new() }, readers)
    }

    /// The value that pins return now.
    pub fn current(&self) -> &T {
        // SAFETY: only `publish`, which needs `&mut self`, retires the current value.
        unsafe { &*self.shared.current.load(Ordering::Relaxed) }
    }

    /// The generation of [`Publisher::current`], counted from 1.
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Relaxed)
    }

    /// Replaces the value. Readers see the new one from their next pin after their next quiescent state; the old one is
    /// kept until [`Publisher::collect`] finds that all have left it. Returns the new generation.
    pub fn publish(&mut self, value: T) -> u64 {
        let new = Box::into_raw(Box::new(value));
        let old = self.shared.current.swap(new, Ordering::AcqRel);
        let generation = self.generation() + 1;
        self.shared.generation.store(generation, Ordering::Release);
        if let Some(value) = NonNull::new(old) {
            self.retired.push_back(Retired { generation, value });
        }
        generation
    }

    /// Whether every reader has left all values older than `generation`.
    pub fn is_adopted(&self, generation: u64) -> bool {
        self.laggards(generation).next().is_none()
    }

    /// The readers which may still hold a value older than `generation`.
    pub fn laggards(&self, generation: u64) -> impl Iterator<Item = usize> + '_ {
        fence(Ordering::SeqCst);
        self.shared.announced.iter().enumerate().filter_map(move |(reader, announced)| {
            let announced = announced.load(Ordering::Acquire);
            (announced != OFFLINE && announced < generation).then_some(reader)
        })
    }

    /// Frees the replaced values that no reader can see any more; returns how many still wait.
    pub fn collect(&mut self) -> usize {
        while let Some(oldest) = self.retired.front() {
            if !self.is_adopted(oldest.generation) {
                break;
            }
            // SAFETY: from `Box::into_raw`, retired once, and every reader has announced the replacing generation or is
            // offline (see the module's proof), so nobody holds a reference.
            drop(unsafe { Box::from_raw(oldest.value.as_ptr()) });
            self.retired.pop_front();
        }
        self.retired.len()
    }
}

impl<T> Drop for Publisher<T> {
    fn drop(&mut self) {
        // Readers that are still online keep what they may see: freed if they have left it, leaked otherwise. A node
        // joins its workers first, so nothing is.
        self.collect();
    }
}

/// A worker's side. Not shared between threads: every method takes `&mut self`.
pub struct Reader<T> {
    shared: Arc<Shared<T>>,
    slot: usize,
    /// What this reader last announced.
    announced: u64,
}

impl<T> Reader<T> {
    /// The current value, for as long as the guard lives. The borrow makes it impossible to announce a quiescent state
    /// while holding it:
    ///
    /// ```compile_fail
    /// let (_publisher, mut readers) = warren::rcu::Publisher::new(1, 1);
    /// let reader = &mut readers[0];
    /// let pinned = reader.pin();
    /// reader.quiescent();
    /// assert_eq!(*pinned, 1);
    /// ```
    #[inline]
    pub fn pin(&mut self) -> Guard<'_, T> {
        if self.announced == OFFLINE {
            self.come_online();
        }
        // SAFETY: this reader is online and announces nothing while the guard borrows it, so the publisher keeps the
        // value that is current now (see the module's proof).
        Guard { value: unsafe { &*self.shared.current.load(Ordering::Acquire) } }
    }

    /// Announces that this reader holds no reference. Call between bursts.
    #[inline]
    pub fn quiescent(&mut self) {
        if self.announced == OFFLINE {
            return;
        }
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation != self.announced {
            self.announce(generation, Ordering::Release);
        }
    }

    /// Stops taking part until the next [`Reader::pin`]: to be called before sleeping or blocking.
    pub fn offline(&mut self) {
        self.announce(OFFLINE, Ordering::Release);
    }

    #[cold]
    fn come_online(&mut self) {
        let generation = self.shared.generation.load(Ordering::Acquire);
        self.announce(generation, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    fn announce(&mut self, generation: u64, ordering: Ordering) {
        self.announced = generation;
        if let Some(slot) = self.shared.announced.get(self.slot) {
            slot.store(generation, ordering);
        }
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        self.offline();
    }
}

/// A pinned value.
pub struct Guard<'a, T> {
    value: &'a T,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.value
    }
}
