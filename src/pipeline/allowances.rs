//! How much an instance may ask of the node itself: answers, ICMP errors, link-local services.
//!
//! What the node does for an instance beyond forwarding costs more than forwarding, so that each ENI has an allowance of
//! it, at each of its workers. Beyond it, a request is dropped before anything of it is worked on.

use std::time::Duration;

use super::limits::Left;
use crate::tables::PortIndex;

/// What an instance can ask of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// An answer: ARP, neighbour discovery, DHCP, echo.
    Answer,
    /// An ICMP error about a packet that is too big (MTU-10).
    IcmpError,
    /// A packet to a link-local service (ADDR-20).
    LinkLocal,
    /// A fragment cut off a packet that is too long for its path.
    Fragment,
}

impl Allowance {
    /// Every allowance, in the order of its number.
    pub const ALL: [Self; 4] = [Self::Answer, Self::IcmpError, Self::LinkLocal, Self::Fragment];

    /// Packets of a second, and at once, for an ENI: AWS's documented 1024 a second for link-local services (ADDR-20), as
    /// many for answers, 100 ICMP errors (MTU-10), and 50 000 fragments: some 580 Mbit/s of them with an underlay of
    /// 1500 bytes, and about a hundredth of a worker's time.
    pub const fn per_second(self) -> u32 {
        match self {
            Self::Answer | Self::LinkLocal => 1024,
            Self::IcmpError => 100,
            Self::Fragment => 50_000,
        }
    }
}

/// A token bucket that holds a second's worth, as the generic cell rate algorithm (ITU-T I.371 annex A): only the time at
/// which it will be full again is kept.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full_at: Duration,
    /// What a token takes to come back.
    interval: Duration,
}

impl Bucket {
    /// Takes a token of so many that there are in all, of which this bucket holds an equal part.
    fn take(&mut self, now: Duration, parts: u8) -> bool {
        let full_at = self.full_at.max(now) + self.interval * parts.into();
        let fits = full_at <= now + Duration::from_secs(1);
        if fits {
            self.full_at = full_at;
        }
        fits
    }
}

/// The allowances of the ENIs behind ports, as a worker has them.
pub struct Allowances {
    ports: Box<[[Bucket; Allowance::ALL.len()]]>,
    /// What is left of those that the ENIs' attachments state.
    stated: Box<[Left]>,
}

impl Allowances {
    /// Full allowances, for so many ports.
    pub fn new(ports: usize) -> Self {
        let bucket = |allowance: Allowance| Bucket {
            full_at: Duration::ZERO,
            interval: Duration::from_secs(1) / allowance.per_second(),
        };
        let buckets = vec![Allowance::ALL.map(bucket); ports];
        Self { ports: buckets.into(), stated: vec![Left::FULL; ports].into() }
    }

    /// What is left of those that the attachment of the ENI behind a port states.
    pub(super) fn left(&mut self, port: PortIndex) -> Option<&mut Left> {
        self.stated.get_mut(usize::from(port.0))
    }

    /// Uses one of a port's allowance at a time; `false` if there is none left.
    pub fn take(&mut self, port: PortIndex, allowance: Allowance, now: Duration) -> bool {
        self.take_part(port, allowance, now, 1)
    }

    /// Uses one of this worker's part of a port's allowance, of which so many workers have a part each.
    pub fn take_part(&mut self, port: PortIndex, allowance: Allowance, now: Duration, workers: u8) -> bool {
        let bucket = self.ports.get_mut(usize::from(port.0)).and_then(|of| of.get_mut(allowance as usize));
        bucket.is_some_and(|bucket| bucket.take(now, workers.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_worth_a_second() {
        let mut allowances = Allowances::new(2);
        for allowance in Allowance::ALL {
            let rate = allowance.per_second();
            let mut take = |port, workers, now| {
                let takes = |_: &u32| allowances.take_part(PortIndex(port), allowance, now, workers);
                (0..100_000).filter(takes).count() as u32
            };
            let start = Duration::from_secs(7);
            assert_eq!(take(0, 1, start), rate);
            assert_eq!(take(1, 2, start), rate / 2, "another worker has the rest");
            assert_eq!(take(0, 1, start + Duration::from_millis(500)), rate / 2);
            assert_eq!(take(0, 1, start + Duration::from_secs(60)), rate);
            assert_eq!(take(2, 1, start), 0, "no such port");
        }
    }
}
