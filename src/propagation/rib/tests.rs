use std::{collections::BTreeMap, net::IpAddr};

use proptest::prelude::*;

use super::*;
use crate::propagation::NextHop;

const GRACEFUL: Duration = Duration::from_secs(120);

fn via(interface: u32) -> Path {
    Path::Via([NextHop { interface, address: None }].into())
}

fn prefix(n: u8) -> IpNet {
    if n.is_multiple_of(2) {
        IpNet::new(IpAddr::from([10, n, 0, 0]), 16).unwrap()
    } else {
        format!("fd00:{n:x}::/32").parse().unwrap()
    }
}

fn up(n: u8, interface: u32) -> Update {
    Update { prefix: prefix(n), path: Some(via(interface)) }
}

fn withdrawn(n: u8) -> Update {
    Update { prefix: prefix(n), path: None }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A rib that has heard of prefixes 0 to 3 in a session that began at `start` and ended a second later.
fn left_alone(start: Instant) -> Rib {
    let mut rib = Rib::new(GRACEFUL);
    rib.connected(start);
    rib.apply((0..4).map(|n| up(n, 1)));
    rib.disconnected(start + seconds(1));
    assert_eq!(rib.take_changes().len(), 4);
    rib
}

#[test]
fn bgp_9_routes_stay_for_the_graceful_restart_time_and_no_longer() {
    let start = Instant::now();
    let mut rib = left_alone(start);
    assert_eq!(rib.next_sweep(), Some(start + seconds(121)));
    rib.sweep(start + seconds(120));
    assert_eq!((rib.len(), rib.stale(), rib.take_changes()), (4, 4, vec![]));
    rib.sweep(start + seconds(121));
    assert_eq!((rib.len(), rib.take_changes().len(), rib.next_sweep()), (0, 4, None));
}

/// FRR 8.4 has no end-of-RIB on this channel, and replays connected routes first.
#[test]
fn what_is_replayed_stays_and_the_rest_goes_late() {
    let start = Instant::now();
    let mut rib = left_alone(start);
    rib.connected(start + seconds(60));
    rib.apply([up(0, 1), up(1, 2)]);
    assert_eq!(rib.stale(), 2);
    let change = Change { prefix: prefix(1), old: Some(via(1)), new: Some(via(2)) };
    assert_eq!(rib.take_changes(), [change], "what is the same is no change");
    rib.sweep(start + seconds(179));
    assert_eq!(rib.len(), 4);
    rib.sweep(start + seconds(180));
    let mut gone: Vec<_> = rib.take_changes().into_iter().map(|change| (change.prefix, change.new)).collect();
    gone.sort_by_key(|change| change.0);
    assert_eq!((rib.len(), rib.stale(), gone), (2, 0, vec![(prefix(2), None), (prefix(3), None)]));
}

#[test]
fn sessions_that_come_and_go_keep_nothing_alive() {
    let start = Instant::now();
    let mut rib = left_alone(start);
    for n in 1..100 {
        rib.connected(start + seconds(n * 3));
        rib.sweep(start + seconds(n * 3));
        assert_eq!(rib.len(), if n * 3 < 123 { 4 } else { 0 }, "after {} s", n * 3);
    }
}

#[test]
fn generations_are_bounded() {
    let now = Instant::now();
    let mut rib = Rib::new(seconds(4000));
    for n in 0..70_000_u32 {
        rib.connected(now);
        rib.apply([Update {
            prefix: IpNet::new(IpAddr::from(n.to_be_bytes()), 32).unwrap(),
            path: Some(via(1)),
        }]);
    }
    assert_eq!((rib.len(), rib.stale()), (GENERATIONS, GENERATIONS - 1));
}

#[test]
fn changes_are_net() {
    let mut rib = Rib::new(GRACEFUL);
    rib.connected(Instant::now());
    rib.apply([up(0, 1), up(1, 1), withdrawn(0), up(1, 2), withdrawn(2)]);
    assert_eq!(rib.take_changes(), [Change { prefix: prefix(1), old: None, new: Some(via(2)) }]);
    // As zebra replaces a route in one frame.
    rib.apply([withdrawn(1), up(1, 3), withdrawn(1), up(1, 2)]);
    assert_eq!(rib.take_changes(), []);
    assert_eq!(rib.paths.len(), 1, "paths out of use are forgotten");
}

#[derive(Clone, Debug)]
enum Step {
    Connect,
    Disconnect,
    Hear(Vec<(u8, Option<u32>)>),
    Pass(u64),
    Take,
}

fn step() -> impl Strategy<Value = Step> {
    let hear = proptest::collection::vec((0..12u8, proptest::option::weighted(0.7, 0..3u32)), 0..8);
    prop_oneof![
        2 => Just(Step::Connect),
        1 => Just(Step::Disconnect),
        4 => hear.prop_map(Step::Hear),
        3 => (0..90u64).prop_map(Step::Pass),
        2 => Just(Step::Take),
    ]
}

/// Every session with its begin and end, and every route with the session it was last heard in.
#[derive(Default)]
struct Model {
    sessions: Vec<(Instant, Option<Instant>)>,
    routes: BTreeMap<IpNet, (Path, usize)>,
}

impl Model {
    fn connected(&self) -> bool {
        self.sessions.last().is_some_and(|(_, end)| end.is_none())
    }

    fn disconnect(&mut self, now: Instant) {
        if let Some((_, end)) = self.sessions.last_mut() {
            end.get_or_insert(now);
        }
    }

    fn sweep(&mut self, now: Instant) {
        let sessions = &self.sessions;
        self.routes.retain(|_, (_, heard)| {
            let next = sessions.get(*heard + 1).map(|(begin, _)| *begin);
            next.or(sessions[*heard].1).is_none_or(|since| since + GRACEFUL > now)
        });
    }
}

proptest! {
    #[test]
    fn equals_a_naive_model(steps in proptest::collection::vec(step(), 0..60)) {
        let mut now = Instant::now();
        let (mut rib, mut model) = (Rib::new(GRACEFUL), Model::default());
        let mut told = BTreeMap::new();
        for step in steps {
            match step {
                Step::Connect => {
                    model.disconnect(now);
                    model.sessions.push((now, None));
                    rib.connected(now);
                }
                Step::Disconnect => {
                    model.disconnect(now);
                    rib.disconnected(now);
                }
                Step::Hear(updates) if model.connected() => {
                    let heard = model.sessions.len() - 1;
                    for (n, path) in &updates {
                        match path {
                            Some(path) => model.routes.insert(prefix(*n), (via(*path), heard)),
                            None => model.routes.remove(&prefix(*n)),
                        };
                    }
                    rib.apply(updates.into_iter().map(|(n, path)| Update { prefix: prefix(n), path: path.map(via) }));
                }
                Step::Hear(_) => {}
                Step::Pass(time) => now += seconds(time),
                Step::Take => {
                    for Change { prefix, old, new } in rib.take_changes() {
                        prop_assert!(old != new);
                        let before = match new {
                            Some(path) => told.insert(prefix, path),
                            None => told.remove(&prefix),
                        };
                        prop_assert_eq!(before, old);
                    }
                    let known: BTreeMap<IpNet, Path> =
                        rib.iter().map(|(prefix, path)| (prefix, path.clone())).collect();
                    prop_assert_eq!(&known, &told);
                }
            }
            model.sweep(now);
            rib.sweep(now);
            let expected: BTreeMap<_, _> = model.routes.iter().map(|(prefix, (path, _))| (*prefix, path)).collect();
            prop_assert_eq!(rib.iter().collect::<BTreeMap<_, _>>(), expected);
            let fresh = model.routes.values().filter(|(_, heard)| model.connected() && *heard + 1 == model.sessions.len());
            prop_assert_eq!((rib.len(), rib.stale()), (model.routes.len(), model.routes.len() - fresh.count()));
        }
    }
}
