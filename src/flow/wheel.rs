//! Which entries of a table are free, and when the others come due: a timer wheel.
//!
//! One turn of 1024 slots of [`SLOT_MILLIS`] each. An entry is filed under the slot of its time; one whose time is
//! beyond the turn is filed under the last slot, and filed again when that one comes. So is an entry whose time has moved: a
//! packet only notes in its entry that it was seen, and when the slot comes that was the entry's when it was filed, its
//! owner says where it belongs now. Filing and freeing an entry touch it and its neighbours in two rings, whatever the
//! number of entries; nothing is ever scanned.

use super::rings::Rings;

/// Slots of a turn; a power of two.
const SLOTS: u32 = 1024;

/// What a slot spans, as a power of two: 512 ms, so that a turn spans more than eight minutes.
const SLOT_SHIFT: u32 = 9;

/// What a slot spans, in milliseconds: how long after its time an entry may stay filed, given enough calls.
pub const SLOT_MILLIS: u64 = 1 << SLOT_SHIFT;

/// A wheel of entries 0 to `capacity - 1`, each free or filed.
pub struct Wheel {
    /// The entries, then what each slot's ring is known by, then the free ones'.
    rings: Rings,
    capacity: u32,
    used: u32,
    /// The number since time began of the first slot that may hold entries.
    slot: u64,
}

impl Wheel {
    /// A wheel of free entries: at most 2³² − 1026 of them.
    pub fn new(capacity: u32) -> Self {
        let capacity = capacity.min(u32::MAX - SLOTS - 1);
        let mut wheel = Self { rings: Rings::new(capacity + SLOTS + 1), capacity, used: 0, slot: 0 };
        for entry in 0..capacity {
            wheel.rings.enter(entry, wheel.free());
        }
        wheel
    }

    /// Memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.rings.bytes()
    }

    /// How many entries there are, free or not.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// How many entries are not free.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// What the ring of the free entries is known by.
    #[inline]
    fn free(&self) -> u32 {
        self.capacity + SLOTS
    }

    /// Takes a free entry, due at a time in milliseconds; `None` if none is free.
    pub fn take(&mut self, due: u64) -> Option<u32> {
        let entry = self.rings.next(self.free());
        if entry >= self.capacity {
            return None;
        }
        self.used += 1;
        self.file(entry, due);
        Some(entry)
    }

    /// Files an entry that is not free under another time, in milliseconds.
    pub fn file(&mut self, entry: u32, due: u64) {
        let slot = (due >> SLOT_SHIFT).clamp(self.slot + 1, self.slot + u64::from(SLOTS - 1));
        self.rings.leave(entry);
        self.rings.enter(entry, self.ring(slot));
    }

    /// Frees an entry that is not free. The next one taken is the one freed last, since its memory is still near.
    pub fn release(&mut self, entry: u32) {
        self.rings.leave(entry);
        let first = self.rings.next(self.free());
        self.rings.enter(entry, first);
        self.used -= 1;
    }

    /// An entry whose time under which it was filed has passed at `now`, in milliseconds, to be filed anew or released
    /// before the next call. A slot that is passed over and an entry that is returned take one off `budget`, at whose
    /// end there is `None`, as when nothing (more) is due.
    pub fn due(&mut self, now: u64, budget: &mut u32) -> Option<u32> {
        let until = now >> SLOT_SHIFT;
        // Within a turn each ring is seen once, and a second turn would see the same rings.
        self.slot = self.slot.max(until.saturating_sub(u64::from(SLOTS)));
        if self.used == 0 {
            self.slot = self.slot.max(until);
        }
        while self.slot < until && *budget > 0 {
            *budget -= 1;
            let entry = self.rings.next(self.ring(self.slot));
            if entry < self.capacity {
                return Some(entry);
            }
            self.slot += 1;
        }
        None
    }

    /// What the ring of a slot is known by.
    #[inline]
    fn ring(&self, slot: u64) -> u32 {
        self.capacity + (slot as u32 & (SLOTS - 1))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Everything due at a time, released; how much budget that took.
    fn drain(wheel: &mut Wheel, now: u64) -> (Vec<u32>, u32) {
        let mut budget = u32::MAX;
        let mut entries = Vec::new();
        while let Some(entry) = wheel.due(now, &mut budget) {
            wheel.release(entry);
            entries.push(entry);
        }
        entries.sort_unstable();
        (entries, u32::MAX - budget)
    }

    #[test]
    fn entries_are_taken_come_due_and_are_free_again() {
        let mut wheel = Wheel::new(3);
        let taken = [1000, 2000, 1_000_000].map(|due| wheel.take(due));
        assert_eq!((taken, wheel.take(1)), ([Some(0), Some(1), Some(2)], None));
        assert!(drain(&mut wheel, 999).0.is_empty());
        assert_eq!(drain(&mut wheel, 1000 + SLOT_MILLIS).0, [0]);
        assert_eq!(drain(&mut wheel, 2000 + SLOT_MILLIS).0, [1]);
        assert_eq!(
            (wheel.used(), wheel.take(9000), wheel.take(9000)),
            (1, Some(1), Some(0)),
            "last freed first"
        );
    }

    #[test]
    fn the_work_of_a_call_is_bounded() {
        let mut wheel = Wheel::new(100);
        for _ in 0..100 {
            wheel.take(1000);
        }
        let mut budget = 10;
        let mut seen = 0;
        while let Some(entry) = wheel.due(60_000, &mut budget) {
            wheel.release(entry);
            seen += 1;
        }
        // The slot of time 0, which is passed over, was the tenth.
        assert_eq!((seen, budget), (9, 0));
        // A leap of a year costs one turn; and with nothing filed, nothing.
        let year = 365 * 24 * 3_600_000;
        let (entries, work) = drain(&mut wheel, year);
        assert_eq!(entries.len(), 91);
        assert!(work <= 91 + SLOTS, "{work}");
        assert_eq!(drain(&mut wheel, 2 * year), (vec![], 0));
    }

    proptest! {
        #[test]
        fn equals_a_naive_model(
            steps in vec((0u8..3, 0usize..50, 0u64..2_000_000, 0u64..30_000), 0..300),
        ) {
            let mut wheel = Wheel::new(40);
            let mut model = BTreeMap::new();
            let mut now = 0;
            for (step, which, delay, passes) in steps {
                let which = model.keys().nth(which).copied();
                match (step, which) {
                    (0, _) => match wheel.take(now + delay) {
                        Some(entry) => prop_assert_eq!(model.insert(entry, now + delay), None),
                        None => prop_assert_eq!(model.len(), 40),
                    },
                    (1, Some(entry)) => {
                        wheel.file(entry, now + delay);
                        model.insert(entry, now + delay);
                    }
                    (2, Some(entry)) => {
                        wheel.release(entry);
                        model.remove(&entry);
                    }
                    _ => {}
                }
                now += passes;
                let mut budget = u32::MAX;
                while let Some(entry) = wheel.due(now, &mut budget) {
                    // Early only where the time was beyond the turn.
                    if model[&entry] > now {
                        wheel.file(entry, model[&entry]);
                    } else {
                        wheel.release(entry);
                        model.remove(&entry);
                    }
                }
                prop_assert_eq!(wheel.used() as usize, model.len());
                prop_assert!(model.values().all(|&due| now < due + 2 * SLOT_MILLIS));
            }
        }
    }
}
