//! The node's clock: the time since its start, from the processor's time-stamp counter.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::ffi::cycles;

/// A clock that a worker can ask every round: reading it takes some twenty cycles and no system call.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: u64,
    /// Nanoseconds of a cycle, in units of 2^-32.
    nanos: u64,
}

/// A reading of a clock.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time-stamp counter.
    pub cycles: u64,
    /// The time since the clock's start.
    pub time: Duration,
}

impl From<Duration> for Moment {
    /// A time of another clock's, such as a capture's, now.
    fn from(time: Duration) -> Self {
        Self { cycles: cycles(), time }
    }
}

impl Clock {
    /// A clock that starts now, for a counter of so many cycles a second.
    pub fn new(cycles_per_second: u64) -> Self {
        let nanos = (1_000_000_000_u128 << 32) / u128::from(cycles_per_second.max(1));
        Self { start: cycles(), nanos: nanos as u64 }
    }

    /// The time now.
    #[inline]
    pub fn now(&self) -> Moment {
        let cycles = cycles();
        Moment { cycles, time: Duration::from_nanos(self.after(cycles.wrapping_sub(self.start))) }
    }

    #[inline]
    fn after(&self, cycles: u64) -> u64 {
        ((u128::from(cycles) * u128::from(self.nanos)) >> 32) as u64
    }
}

/// The frequency of the time-stamp counter, within a percent or so. Takes 20 ms.
pub fn measure_cycles() -> u64 {
    let (start, since) = (cycles(), Instant::now());
    thread::sleep(Duration::from_millis(20));
    let elapsed = since.elapsed().as_nanos() as u64;
    (u128::from(cycles() - start) * 1_000_000_000 / u128::from(elapsed.max(1))) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_become_nanoseconds() {
        for (frequency, cycles, nanos) in [
            (2_000_000_000, 3, 1),
            (2_000_000_000, 2_000_000_000, 1_000_000_000),
            // A year.
            (1_000_000_000, 31_536_000_000_000_000, 31_536_000_000_000_000),
        ] {
            assert_eq!(Clock::new(frequency).after(cycles), nanos, "{cycles} cycles at {frequency} Hz");
        }
    }
}
