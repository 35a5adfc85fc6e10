//! The connections of all workers, listed while they work.
//!
//! Who asks gives the list a number. Each worker goes through its table once for it, some entries a round, and puts them into a
//! ring; where that is full it goes on in the next round. A worker that nobody has asked pays one load a round.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam::{queue::ArrayQueue, utils::CachePadded};

use crate::flow::{Connections, connections::Shown};

/// Entries of a worker that wait for who asked.
const RING: usize = 1024;
/// Entries that a worker looks at in a round that had packets, and in one that had none: 64 take about a microsecond.
const AT_ONCE: u32 = 64;
const IDLE: u32 = 1024;
/// How long to wait for a worker that says nothing.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(1);

/// What a worker and who asked have in common.
struct Slot {
    /// The last list that the worker has gone through its table for.
    done: AtomicU32,
    /// Entries, with the list that they are for.
    entries: ArrayQueue<(u32, Shown)>,
}

/// Where a worker is in its table.
#[derive(Debug, Default)]
pub struct Walk {
    list: u32,
    next: u32,
    done: u32,
}

/// The lists of a node, one after the other.
pub struct Listing {
    /// The number of the list that is wanted.
    list: CachePadded<AtomicU32>,
    slots: Box<[CachePadded<Slot>]>,
    asking: Mutex<()>,
}

impl Listing {
    /// For a node with so many workers.
    pub fn new(workers: usize) -> Self {
        let slot = || Slot { done: AtomicU32::new(0), entries: ArrayQueue::new(RING) };
        Self {
            list: CachePadded::default(),
            slots: (0..workers).map(|_| CachePadded::new(slot())).collect(),
            asking: Mutex::new(()),
        }
    }

    /// Whether a worker has a list to make.
    #[inline(always)]
    pub(super) fn wants(&self, walk: &Walk) -> bool {
        self.list.load(Ordering::Relaxed) != walk.done
    }

    /// Goes on with a worker's part of the list.
    #[cold]
    #[inline(never)]
    pub(super) fn walk(
        &self,
        worker: usize,
        walk: &mut Walk,
        connections: &Connections,
        now: Duration,
        busy: bool,
    ) {
        let list = self.list.load(Ordering::Acquire);
        if walk.list != list {
            (walk.list, walk.next) = (list, 0);
        }
        let Some(slot) = self.slots.get(worker) else { return };
        let end = walk.next.saturating_add(if busy { AT_ONCE } else { IDLE }).min(connections.capacity());
        while walk.next < end {
            if slot.entries.is_full() {
                return;
            }
            if let Some(entry) = connections.show(walk.next, now) {
                // There is room, and nobody else fills it.
                let _ = slot.entries.push((list, entry));
            }
            walk.next += 1;
        }
        if walk.next >= connections.capacity() {
            walk.done = list;
            slot.done.store(list, Ordering::Release);
        }
    }

    /// Calls `each` for every connection of every worker. One that begins or ends meanwhile may be missing.
    ///
    /// # Errors
    ///
    /// The worker that does not answer.
    pub fn each(&self, mut each: impl FnMut(Shown)) -> Result<(), usize> {
        let _one_at_a_time = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        // What an earlier one that was given up has left.
        for slot in &self.slots {
            while slot.entries.pop().is_some() {}
        }
        let list = self.list.load(Ordering::Relaxed).wrapping_add(1);
        self.list.store(list, Ordering::Release);
        let mut heard = Instant::now();
        loop {
            // Looked at before its ring, which then holds all that is left.
            let mut behind = None;
            let mut found = 0;
            for (worker, slot) in self.slots.iter().enumerate() {
                if slot.done.load(Ordering::Acquire) != list {
                    behind = Some(worker);
                }
                while let Some((of, entry)) = slot.entries.pop() {
                    if of == list {
                        found += 1;
                        each(entry);
                    }
                }
            }
            match behind {
                None => return Ok(()),
                Some(_) if found > 0 => heard = Instant::now(),
                Some(worker) if heard.elapsed() > PATIENCE => return Err(worker),
                Some(_) => thread::sleep(PAUSE),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::{
        flow::{
            Timeouts,
            connections::{Ends, Opening},
        },
        tables::{Direction, PortIndex},
    };

    fn table(connections: u32, of: u32) -> Connections {
        let mut table = Connections::new(of).with_ports(1);
        for number in 0..connections {
            let ends = Ends {
                local: "10.0.0.1".parse().unwrap(),
                remote: "10.0.0.2".parse().unwrap(),
                local_port: number as u16,
                remote_port: 1,
                protocol: 17,
            };
            let opening = Opening {
                direction: Direction::Egress,
                tracked: true,
                tcp_flags: 0,
                eni: 1,
                flow: 1,
                segment: None,
            };
            let key = table.key(PortIndex(0), &ends);
            table.open(&key, Duration::ZERO, &Timeouts::DEFAULT, &opening).unwrap();
        }
        table
    }

    /// Ports of the connections that a list has.
    fn listed(listing: &Listing) -> Result<Vec<u16>, usize> {
        let mut ports = Vec::new();
        listing.each(|shown| ports.push(shown.ends.local_port))?;
        ports.sort_unstable();
        Ok(ports)
    }

    #[test]
    fn a_list_has_every_connection_of_every_worker_once_and_so_has_the_next() {
        let (listing, stop) = (Listing::new(2), AtomicBool::new(false));
        let sizes = [3000, 0];
        thread::scope(|scope| {
            for (worker, size) in sizes.into_iter().enumerate() {
                let (listing, stop) = (&listing, &stop);
                scope.spawn(move || {
                    let (table, mut walk, mut round) = (table(size, 4096), Walk::default(), 0_u32);
                    while !stop.load(Ordering::Relaxed) {
                        round += 1;
                        if listing.wants(&walk) {
                            listing.walk(worker, &mut walk, &table, Duration::ZERO, round.is_multiple_of(2));
                        }
                    }
                });
            }
            for _ in 0..3 {
                assert_eq!(listed(&listing), Ok((0..3000).collect()));
            }
            stop.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_worker_that_does_not_answer_is_named_and_its_late_answers_are_nobodys() {
        let listing = Listing::new(1);
        let (table, mut walk) = (table(10, 64), Walk::default());
        assert!(!listing.wants(&walk), "nobody has asked");
        assert_eq!(listed(&listing), Err(0));
        assert!(listing.wants(&walk));
        listing.walk(0, &mut walk, &table, Duration::ZERO, true);
        assert!(!listing.wants(&walk));
        thread::scope(|scope| {
            let asked = scope.spawn(|| listed(&listing));
            while !listing.wants(&walk) {}
            listing.walk(0, &mut walk, &table, Duration::ZERO, true);
            assert_eq!(asked.join().unwrap(), Ok((0..10).collect()));
        });
    }
}
