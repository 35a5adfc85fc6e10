//! Later fragments that came before their first one, which alone tells their ports (SEC-15): they wait a little for it.
//!
//! A worker has room for few: 8 fragments of a datagram, 8 datagrams of a port, 32 in all. What finds no room is dropped at once, so
//! that nobody makes others wait.

use std::time::Duration;

use arrayvec::{ArrayVec, CapacityError};

use crate::pipeline::{Due, EARLY, Early};

/// Datagrams of which a worker holds fragments.
pub(super) const DATAGRAMS: usize = 32;
/// Those of a port.
const OF_A_PORT: usize = 8;
/// How long they wait.
const PATIENCE: Duration = Duration::from_secs(1);

/// The fragments of a datagram.
struct Waiting<B> {
    early: Early,
    since: Duration,
    frames: ArrayVec<B, EARLY>,
}

/// What a worker holds.
pub(super) struct Held<B>(Box<ArrayVec<Waiting<B>, DATAGRAMS>>);

impl<B> Held<B> {
    /// Nothing.
    pub(super) fn new() -> Self {
        Self(Box::default())
    }

    /// Whether there is anything.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Holds a fragment; returns it if there is no room.
    pub(super) fn hold(&mut self, early: Early, now: Duration, frame: B) -> Result<(), B> {
        let known = self.0.iter_mut().find(|waiting| waiting.early == early);
        if let Some(waiting) = known {
            return waiting.frames.try_push(frame).map_err(CapacityError::element);
        }
        let of_port = self.0.iter().filter(|waiting| waiting.early.at.port == early.at.port).count();
        if self.0.is_full() || of_port >= OF_A_PORT {
            return Err(frame);
        }
        let mut frames = ArrayVec::new();
        frames.push(frame);
        self.0.push(Waiting { early, since: now, frames });
        Ok(())
    }

    /// The fragments of a datagram whose first one is known by now, or that have waited for too long.
    pub(super) fn due(&mut self, now: Duration, known: impl Fn(&Early) -> bool) -> Option<Due<B>> {
        let late = |waiting: &Waiting<B>| now.saturating_sub(waiting.since) >= PATIENCE;
        let due = self.0.iter().position(|waiting| known(&waiting.early) || late(waiting))?;
        let Waiting { early, frames, .. } = self.0.swap_remove(due);
        Some(Due { early, frames, in_vain: !known(&early) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        flow::Datagram,
        packet::Vni,
        pipeline::AtEni,
        tables::{Direction, PortIndex},
    };

    fn early(port: u16, identification: u32) -> Early {
        let datagram = Datagram { scope: 0, source: 1, destination: 2, identification, protocol: 17 };
        let at = AtEni { port: PortIndex(port), direction: Direction::Egress, vni: Vni::FIRST };
        Early { datagram, at }
    }

    #[test]
    fn each_datagram_and_port_has_its_room() {
        let mut held = Held::new();
        for number in 0..EARLY {
            assert_eq!(held.hold(early(0, 1), Duration::ZERO, number), Ok(()));
        }
        assert_eq!(held.hold(early(0, 1), Duration::ZERO, 99), Err(99), "no more of a datagram");
        for datagram in 2..=OF_A_PORT as u32 {
            assert_eq!(held.hold(early(0, datagram), Duration::ZERO, 1), Ok(()));
        }
        assert_eq!(held.hold(early(0, 77), Duration::ZERO, 99), Err(99), "no more of a port");
        let others = (1..100).filter(|&port| held.hold(early(port, 1), Duration::ZERO, 1).is_ok());
        assert_eq!(others.count(), DATAGRAMS - OF_A_PORT);
    }

    #[test]
    fn fragments_go_when_their_first_is_known_or_after_a_second_in_their_order() {
        let mut held = Held::new();
        let at = Duration::from_millis;
        for (identification, frame) in [(1, 10), (2, 20), (1, 11)] {
            held.hold(early(0, identification), at(5000), frame).unwrap();
        }
        let known = |early: &Early| early.datagram.identification == 1;
        let due = held.due(at(5001), known).unwrap();
        assert_eq!((&due.frames[..], due.in_vain), (&[10, 11][..], false));
        assert!(held.due(at(5999), known).is_none());
        let due = held.due(at(6000), known).unwrap();
        assert_eq!((&due.frames[..], due.in_vain), (&[20][..], true));
        assert!(held.is_empty());
    }
}
