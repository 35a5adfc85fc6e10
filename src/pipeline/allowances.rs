//! How much an instance may ask of the node itself: answers, ICMP errors, link-local services.
//!
//! What the node does for an instance beyond forwarding costs more than forwarding, so that each ENI has an allowance of
//! it, at each worker that receives from its port. Beyond it, a request is dropped before anything of it is worked on.

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
    fn take(&mut self, now: Duration) -> bool {
        let full_at = self.full_at.max(now) + self.interval;
        let fits = full_at <= now + Duration::from_secs(1);
        if fits {
            self.full_at = full_at;
        }
        fits
    }
}

/// The allowances of the ENIs behind the ports that a worker receives from.
pub struct Allowances {
    ports: Box<[[Bucket; Allowance::ALL.len()]]>,
    /// What is left of those that the ENIs' attachments state.
    stated: Box<[Left]>,
}

impl Allowances {
    /// Full allowances. `workers` says for each port how many workers receive from it: each has that part of the whole.
    pub fn new(workers: impl IntoIterator<Item = u32>) -> Self {
        let bucket = |allowance: Allowance, workers: u32| Bucket {
            full_at: Duration::ZERO,
            interval: Duration::from_secs(1) * workers.max(1) / allowance.per_second(),
        };
        let port = |workers| Allowance::ALL.map(|allowance| bucket(allowance, workers));
        let (ports, stated): (Vec<_>, Vec<_>) =
            workers.into_iter().map(|workers| (port(workers), Left::new(workers))).unzip();
        Self { ports: ports.into(), stated: stated.into() }
    }

    /// What is left of those that the attachment of the ENI behind a port states.
    pub(super) fn left(&mut self, port: PortIndex) -> Option<&mut Left> {
        self.stated.get_mut(usize::from(port.0))
    }

    /// Uses one of a port's allowance at a time; `false` if there is none left.
    pub fn take(&mut self, port: PortIndex, allowance: Allowance, now: Duration) -> bool {
        let buckets = self.ports.get_mut(usize::from(port.0));
        buckets.and_then(|buckets| buckets.get_mut(allowance as usize)).is_some_and(|bucket| bucket.take(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(allowances: &mut Allowances, port: u16, allowance: Allowance, now: Duration, asked: u32) -> u32 {
        (0..asked).filter(|_| allowances.take(PortIndex(port), allowance, now)).count() as u32
    }

    #[test]
    fn a_second_is_worth_a_second() {
        let mut allowances = Allowances::new([1, 2]);
        for allowance in Allowance::ALL {
            let rate = allowance.per_second();
            let mut take = |port, now, asked| taken(&mut allowances, port, allowance, now, asked);
            let start = Duration::from_secs(7);
            assert_eq!(take(0, start, 100_000), rate);
            assert_eq!(take(1, start, 100_000), rate / 2, "the port has another worker");
            assert_eq!(take(0, start + Duration::from_millis(500), 100_000), rate / 2);
            assert_eq!(take(0, start + Duration::from_secs(60), 100_000), rate);
            assert_eq!(take(2, start, 1), 0, "no such port");
        }
    }
}
