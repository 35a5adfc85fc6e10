//! The allowances of ENIs: bits, packets and connections of a second, as their attachments state them.
//!
//! What an instance sends counts as it comes in, whatever becomes of it; what is for it, when it has passed all checks. Frames
//! count as they are at the instance, from the link-layer header on. What the node itself answers costs nothing here: it has
//! allowances of its own ([`super::Allowance`]).

use std::time::Duration;

use super::{Context, Reason};
use crate::{
    model::Allowance,
    tables::{Direction, Limits, LocalEni, PortIndex},
};

/// Parts of a bit, packet or connection in which a bucket counts: so a nanosecond adds a whole number of them.
const PARTS: i128 = 1_000_000_000;

/// What of an allowance is for others.
#[derive(Clone, Copy)]
enum Keep {
    Nothing,
    Half,
}

/// What is left of an allowance.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In parts. Below nothing, where more passed than the bucket holds.
    level: i128,
    at: Duration,
}

impl Bucket {
    /// More than any allowance holds, which is full at first.
    const FULL: Self = Self { level: i128::MAX, at: Duration::ZERO };

    /// Whether so much is left, beside a part that is kept. What is more than the bucket can hold passes if it is full.
    fn has(&mut self, allowance: &Allowance, now: Duration, n: u64, keep: Keep) -> bool {
        let full = i128::from(allowance.burst) * PARTS;
        let elapsed = now.saturating_sub(self.at).as_nanos() as i128;
        let level = self.level.saturating_add(elapsed.saturating_mul(allowance.rate.into()));
        (self.level, self.at) = (level.min(full), now);
        let kept = match keep {
            Keep::Nothing => 0,
            Keep::Half => full / 2,
        };
        self.level >= (kept + i128::from(n) * PARTS).min(full)
    }

    fn take(&mut self, n: u64) {
        self.level = self.level.saturating_sub(i128::from(n) * PARTS);
    }
}

/// What is left of the allowances of an ENI's stay at a port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    stay: Option<u32>,
    /// By [`Direction`].
    bandwidth: [Bucket; 2],
    packets: Bucket,
    connections: Bucket,
}

impl Left {
    /// Full allowances.
    pub(super) const FULL: Self = {
        let full = Bucket::FULL;
        Self { stay: None, bandwidth: [full; 2], packets: full, connections: full }
    };

    /// This, of a stay.
    fn of(&mut self, stay: u32) -> &mut Self {
        if self.stay != Some(stay) {
            *self = Self { stay: Some(stay), ..Self::FULL };
        }
        self
    }

    /// Uses what a frame costs, if that is left.
    ///
    /// # Errors
    ///
    /// Which allowance is used up; nothing of another is taken then.
    fn pass(
        &mut self,
        limits: &Limits,
        direction: Direction,
        (bytes, keep): (usize, Keep),
        now: Duration,
    ) -> Result<(), Reason> {
        let bits = bytes as u64 * 8;
        let (bandwidth, reason) = match direction {
            Direction::Ingress => (limits.bandwidth[0], Reason::BwIn),
            Direction::Egress => (limits.bandwidth[1], Reason::BwOut),
        };
        let [ingress, egress] = &mut self.bandwidth;
        let bucket = if direction == Direction::Ingress { ingress } else { egress };
        if bandwidth.is_some_and(|allowance| !bucket.has(&allowance, now, bits, keep)) {
            return Err(reason);
        }
        if limits.packets.is_some_and(|allowance| !self.packets.has(&allowance, now, 1, keep)) {
            return Err(Reason::Pps);
        }
        if bandwidth.is_some() {
            bucket.take(bits);
        }
        if limits.packets.is_some() {
            self.packets.take(1);
        }
        Ok(())
    }

    /// Uses a connection, if one is left.
    fn connect(&mut self, limits: &Limits, now: Duration) -> bool {
        let Some(allowance) = limits.connections else { return true };
        let has = self.connections.has(&allowance, now, 1, Keep::Nothing);
        if has {
            self.connections.take(1);
        }
        has
    }
}

/// The allowances of an ENI that has some, and what is left of them.
fn of<'c, S>(
    ctx: &'c mut Context<'_, S>,
    port: PortIndex,
    eni: &'c LocalEni,
) -> Option<(&'c Limits, &'c mut Left)> {
    let limits = eni.limits.as_deref()?;
    Some((limits, ctx.allowances.left(port)?.of(eni.stay)))
}

/// Uses what a frame of an ENI costs, if that is left.
///
/// # Errors
///
/// `bw_in`, `bw_out` or `pps`.
pub(super) fn pass<S>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    direction: Direction,
    bytes: usize,
) -> Result<(), Reason> {
    let now = ctx.now;
    let Some((limits, left)) = of(ctx, port, eni) else { return Ok(()) };
    left.pass(limits, direction, (bytes, Keep::Nothing), now)
}

/// Uses what a copy of an ENI's packet costs, if more than half of what that is taken from is left.
///
/// # Errors
///
/// `bw_out` or `pps`.
pub(super) fn spare<S>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    bytes: usize,
) -> Result<(), Reason> {
    let now = ctx.now;
    let Some((limits, left)) = of(ctx, port, eni) else { return Ok(()) };
    left.pass(limits, Direction::Egress, (bytes, Keep::Half), now)
}

/// Uses one of the connections that an ENI may begin, if one is left.
///
/// # Errors
///
/// `connections_limited`.
pub(super) fn connect<S>(ctx: &mut Context<'_, S>, port: PortIndex, eni: &LocalEni) -> Result<(), Reason> {
    let now = ctx.now;
    let Some((limits, left)) = of(ctx, port, eni) else { return Ok(()) };
    if left.connect(limits, now) { Ok(()) } else { Err(Reason::ConnectionsLimited) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOTHING: Limits = Limits { bandwidth: [None; 2], packets: None, connections: None };

    proptest! {
        /// In any span no more passes than the burst and what came in, and as long as packets wait, no less but for one.
        #[test]
        fn a_bucket_gives_what_comes_in(
            rate in 1_u64..1_000_000_000_000,
            burst in 1_u64..1_000_000_000,
            steps in prop::collection::vec((0_u64..10_000_000, 1_u64..100_000), 1..200),
        ) {
            let allowance = Allowance { rate, burst };
            let mut bucket = Bucket::FULL;
            let (mut now, mut passed, mut largest, mut full) = (Duration::from_secs(5), 0_u128, 0, true);
            let start = now;
            for (wait, n) in steps {
                now += Duration::from_nanos(wait);
                largest = largest.max(u128::from(n));
                let come = u128::from(burst) + (now - start).as_nanos() * u128::from(rate) / 1_000_000_000;
                if bucket.has(&allowance, now, n, Keep::Nothing) {
                    bucket.take(n);
                    passed += u128::from(n);
                    prop_assert!(passed <= come + largest);
                } else {
                    // It was refused for good reason: less than this was left.
                    full = false;
                    prop_assert!(bucket.level < i128::from(n.min(burst)) * PARTS);
                }
            }
            prop_assert!(full || passed > 0 || burst == 0);
        }
    }

    #[test]
    fn what_one_allowance_refuses_costs_nothing_of_another() {
        let second = |rate| Some(Allowance { rate, burst: rate });
        let limits = Limits { bandwidth: [None, second(8 * 1000)], packets: second(3), ..NOTHING };
        let mut left = Left::FULL;
        let mut pass = |bytes, at| {
            left.pass(&limits, Direction::Egress, (bytes, Keep::Nothing), Duration::from_millis(at))
        };
        assert_eq!(pass(900, 0), Ok(()));
        assert_eq!(pass(200, 0), Err(Reason::BwOut));
        assert_eq!(pass(50, 0), Ok(()));
        assert_eq!(pass(50, 0), Ok(()));
        assert_eq!(pass(0, 0), Err(Reason::Pps));
        // What comes in costs packets, and no bits of what goes out.
        assert_eq!(
            left.pass(&limits, Direction::Ingress, (9000, Keep::Nothing), Duration::from_millis(334)),
            Ok(())
        );
        assert_eq!(
            left.pass(&limits, Direction::Ingress, (9000, Keep::Nothing), Duration::from_millis(340)),
            Err(Reason::Pps)
        );
    }

    #[test]
    fn a_new_stay_begins_with_full_allowances() {
        let limits = Limits { connections: Some(Allowance { rate: 4, burst: 4 }), ..NOTHING };
        let connections = |left: &mut Left, stay| {
            (0..10).filter(|_| left.of(stay).connect(&limits, Duration::ZERO)).count()
        };
        let mut left = Left::FULL;
        assert_eq!(
            (connections(&mut left, 1), connections(&mut left, 1), connections(&mut left, 2)),
            (4, 0, 4)
        );
    }
}
