//! Connections as people see them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Connections, Ends, Hot, record::Class};
use crate::{
    flow::{Phase, Side, millis},
    tables::{Direction, PortIndex},
};

/// How far a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum FlowState {
    /// Only one side has said anything.
    Unanswered,
    /// Both sides have.
    Established,
    /// It was reset, or closed by both sides.
    Closed,
    /// It is not tracked (SEC-4).
    Untracked,
}

/// An entry.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// The port of its ENI.
    pub port: PortIndex,
    /// The number of the ENI's stay there.
    pub stay: u32,
    /// Its ends.
    pub ends: Ends,
    /// How far it is.
    pub state: FlowState,
    /// Whether the ENI began it.
    pub from_eni: bool,
    /// Packets and bytes to the ENI.
    pub ingress: (u64, u64),
    /// Packets and bytes from the ENI.
    pub egress: (u64, u64),
    /// How long ago it began, and for how long it lives if nothing comes; both are less than 24 days.
    pub age: Duration,
    /// See `age`.
    pub left: Duration,
}

impl Connections {
    /// How many entries there may be: their numbers are below.
    pub fn capacity(&self) -> u32 {
        self.hot.len() as u32
    }

    /// An entry, if there is one with this number that has not expired.
    pub fn show(&self, entry: u32, now: Duration) -> Option<Shown> {
        let now = millis(now) as u32;
        let hot = self.hot.get(entry as usize).filter(|hot| hot.key != Hot::FREE.key && hot.lives(now))?;
        let cold = self.cold.get(entry as usize)?;
        Some(Shown {
            port: hot.port(),
            stay: cold.eni,
            ends: cold.ends(hot),
            state: state(hot),
            from_eni: hot.side(Direction::Egress) == Side::Initiator,
            ingress: cold.total(hot, Direction::Ingress),
            egress: cold.total(hot, Direction::Egress),
            age: Duration::from_millis(now.wrapping_sub(cold.began).into()),
            left: Duration::from_millis(hot.due.wrapping_sub(now).into()),
        })
    }
}

fn state(hot: &Hot) -> FlowState {
    match (hot.is_tracked(), hot.phase(), hot.class()) {
        (false, ..) => FlowState::Untracked,
        (_, Some(Phase::Closed), _) => FlowState::Closed,
        (_, _, Class::Unanswered) => FlowState::Unanswered,
        _ => FlowState::Established,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        flow::connections::{Logged, Opening, Timeouts},
        packet::protocol,
    };

    #[test]
    fn an_entry_is_shown_as_it_is_while_it_lives() {
        let mut connections = Connections::new(8);
        let ends = Ends {
            local: "10.0.0.1".parse().unwrap(),
            remote: "2001:db8::1".parse().unwrap(),
            local_port: 1000,
            remote_port: 53,
            protocol: protocol::UDP,
        };
        let ends = Ends { local: "2001:db8::2".parse().unwrap(), ..ends };
        let at = Duration::from_millis;
        let opening = Opening {
            direction: Direction::Ingress,
            tracked: true,
            tcp_flags: 0,
            eni: 7,
            flow: 1,
            segment: None,
        };
        let key = connections.key(PortIndex(3), &ends);
        let entry = connections.open(&key, at(1000), &Timeouts::DEFAULT, &opening).unwrap();
        let packet = |direction| Logged { direction, bytes: 100, tcp_flags: 0, path: 0 };
        connections.count(entry, &packet(Direction::Ingress));
        connections.count(entry, &packet(Direction::Ingress));
        let shown = connections.show(entry, at(3000)).unwrap();
        assert_eq!((shown.port, shown.stay, shown.ends, shown.from_eni), (PortIndex(3), 7, ends, false));
        assert_eq!((shown.ingress, shown.egress, shown.state), ((2, 200), (0, 0), FlowState::Unanswered));
        assert_eq!((shown.age, shown.left), (at(2000), at(28_000)));
        connections.track(entry, at(3000), &Timeouts::DEFAULT, Side::Responder, 0);
        assert_eq!(connections.show(entry, at(3000)).unwrap().state, FlowState::Established);
        assert!(connections.show(entry, at(33_000)).is_none(), "it has expired");
        let others = (0..connections.capacity()).filter(|&other| other != entry);
        assert_eq!(others.filter_map(|other| connections.show(other, at(3000))).count(), 0);
    }
}
