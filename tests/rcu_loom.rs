//! Model-checks `src/rcu.rs` under loom: the file is compiled here a second time, over loom's atomics.

#[path = "../src/rcu.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, clippy::duplicate_mod)]
mod rcu;

mod sync {
    pub(crate) use std::ops::Deref;

    pub(crate) use loom::sync::{
        Arc,
        atomic::{AtomicPtr, AtomicU64, Ordering, fence},
    };

    /// Padding means nothing to a model.
    pub(crate) struct CachePadded<T>(T);

    impl<T> CachePadded<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(value)
        }
    }

    impl<T> Deref for CachePadded<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }
}

use loom::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// A value whose freeing is a write to the cell that readers read, so that loom reports a read that races with it.
struct Tracked {
    cell: UnsafeCell<u64>,
    freed: Arc<AtomicUsize>,
}

impl Tracked {
    fn new(value: u64, freed: &Arc<AtomicUsize>) -> Self {
        Self { cell: UnsafeCell::new(value), freed: Arc::clone(freed) }
    }

    fn read(&self) -> u64 {
        // SAFETY: loom checks that no write races with this read.
        #[allow(unsafe_code)]
        self.cell.with(|value| unsafe { *value })
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        // SAFETY: loom checks that no read races with this write.
        #[allow(unsafe_code)]
        self.cell.with_mut(|value| unsafe { *value = u64::MAX });
        self.freed.fetch_add(1, Ordering::Relaxed);
    }
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

#[test]
fn a_pinned_value_is_never_freed_and_generations_only_grow() {
    model(|| {
        let freed = Arc::new(AtomicUsize::new(0));
        let (mut publisher, mut readers) = rcu::Publisher::new(Tracked::new(1, &freed), 1);
        let mut reader = readers.remove(0);
        let worker = thread::spawn(move || {
            let mut last = 0;
            for _ in 0..2 {
                let pinned = reader.pin();
                let value = pinned.read();
                assert!(value >= last && value <= 2);
                last = value;
                reader.quiescent();
            }
        });
        publisher.publish(Tracked::new(2, &freed));
        publisher.collect();
        worker.join().unwrap();
        assert_eq!(publisher.collect(), 0);
        assert_eq!(freed.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_reader_that_goes_offline_and_back_is_safe() {
    model(|| {
        let freed = Arc::new(AtomicUsize::new(0));
        let (mut publisher, mut readers) = rcu::Publisher::new(Tracked::new(1, &freed), 1);
        let mut reader = readers.remove(0);
        let worker = thread::spawn(move || {
            assert!(reader.pin().read() <= 2);
            reader.offline();
            assert!(reader.pin().read() <= 2);
        });
        publisher.publish(Tracked::new(2, &freed));
        publisher.collect();
        worker.join().unwrap();
        assert_eq!(publisher.collect(), 0);
    });
}

#[test]
fn two_readers_are_both_waited_for() {
    model(|| {
        let freed = Arc::new(AtomicUsize::new(0));
        let (mut publisher, readers) = rcu::Publisher::new(Tracked::new(1, &freed), 2);
        let workers: Vec<_> = readers
            .into_iter()
            .map(|mut reader| thread::spawn(move || assert!(reader.pin().read() <= 2)))
            .collect();
        publisher.publish(Tracked::new(2, &freed));
        publisher.collect();
        for worker in workers {
            worker.join().unwrap();
        }
        assert_eq!(publisher.collect(), 0);
    });
}
