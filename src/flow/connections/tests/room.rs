//! SEC-10: who has room for new connections, and which make way.

use std::collections::BTreeMap;

use super::*;

const ENI_A: PortIndex = PortIndex(0);
const ENI_B: PortIndex = PortIndex(1);
const UPLINK: PortIndex = PortIndex(2);
const PORTS: [PortIndex; 3] = [ENI_A, ENI_B, UPLINK];

const SECOND: Duration = Duration::from_secs(1);

fn tenant(stay: u32) -> Tenant {
    Tenant { stay, most: None, reserved: 0 }
}

/// A table with two instance ports, and an uplink.
struct Room {
    table: Connections,
    tenants: [Tenant; 2],
    generation: u32,
    now: Duration,
}

impl Room {
    fn new(capacity: u32, tenants: [Tenant; 2]) -> Self {
        let table = Connections::new(capacity).with_ports(3);
        let mut room = Self { table, tenants, generation: 0, now: START };
        room.settle();
        room
    }

    fn settle(&mut self) {
        let [a, b] = self.tenants;
        self.generation += 1;
        self.table.settle(self.generation, || [Some(Some(a)), Some(Some(b)), None].into_iter());
    }

    fn key(&self, port: PortIndex, n: u16) -> Key {
        self.table.key(port, &ends_of(n))
    }

    fn has(&self, port: PortIndex, n: u16) -> bool {
        self.table.find(&self.key(port, n), self.now).is_some()
    }

    fn open(&mut self, port: PortIndex, n: u16, tracked: bool) -> Result<u32, Full> {
        let eni = self.tenants.get(usize::from(port.0)).map_or(0, |tenant| tenant.stay);
        self.table.open(&self.key(port, n), self.now, &T, &Opening { eni, ..opening(tracked, SYN) })
    }

    fn establish(&mut self, port: PortIndex, n: u16) {
        let entry = self.open(port, n, true).unwrap();
        self.table.track(entry, self.now, &T, R, SYN | ACK);
    }

    fn count(&self, port: PortIndex) -> u64 {
        let stats = self.table.port_stats(port);
        stats.unanswered + stats.established + stats.spare
    }

    fn available(&self, port: PortIndex) -> u64 {
        self.table.port_stats(port).available
    }
}

fn ends_of(n: u16) -> Ends {
    Ends { local_port: n, ..ends(0) }
}

#[test]
fn sec_10_a_table_full_of_established_connections_refuses_new_ones_and_keeps_the_old() {
    let mut room = Room::new(16, [tenant(1), tenant(2)]);
    // Half the table is reserved: four entries for each ENI.
    assert_eq!((room.available(ENI_A), room.available(ENI_B), room.available(UPLINK)), (12, 12, 8));
    (0..12).for_each(|n| room.establish(ENI_A, n));
    assert_eq!(room.open(ENI_A, 12, true), Err(Full));
    assert_eq!(room.open(ENI_A, 13, false), Err(Full));
    assert!((0..12).all(|n| room.has(ENI_A, n)));
    (0..4).for_each(|n| room.establish(ENI_B, n));
    assert_eq!(room.open(ENI_B, 4, true), Err(Full));
    let [a, b] = [ENI_A, ENI_B].map(|port| room.table.port_stats(port));
    assert_eq!((a.established, a.refused, a.available), (12, 1, 0), "what is not tracked is not refused");
    assert_eq!((b.established, b.refused, b.available), (4, 1, 0));
    assert_eq!(room.table.stats().evicted, 0);
}

#[test]
fn sec_10_a_quota_holds_while_there_is_room() {
    let mut room = Room::new(64, [Tenant { most: Some(3), ..tenant(1) }, tenant(2)]);
    (0..3).for_each(|n| room.establish(ENI_A, n));
    assert_eq!((room.available(ENI_A), room.open(ENI_A, 3, true)), (0, Err(Full)));
    // Half-open connections of others make no room for it.
    (0..8).for_each(|n| assert!(room.open(ENI_B, n, true).is_ok()));
    room.now += 2 * SECOND;
    assert_eq!(room.open(ENI_A, 4, true), Err(Full));
    assert_eq!(room.count(ENI_B), 8);
}

#[test]
fn reserves_beyond_the_table_are_cut_in_proportion() {
    let reserve = |stay, reserved| Tenant { reserved, ..tenant(stay) };
    let room = Room::new(30, [reserve(1, 20), reserve(2, 40)]);
    assert_eq!((room.available(ENI_A), room.available(ENI_B), room.available(UPLINK)), (10, 20, 0));
}

#[test]
fn sec_10_a_flood_of_syns_leaves_others_room() {
    let mut room = Room::new(64, [tenant(1), tenant(2)]);
    (0..10).for_each(|n| room.establish(ENI_A, n));
    for n in 100..1000 {
        assert!(room.open(ENI_A, n, true).is_ok(), "the oldest half-open one makes way");
    }
    assert!((0..10).all(|n| room.has(ENI_A, n)));
    assert_eq!((room.count(ENI_A), room.available(ENI_A)), (48, 0));
    // 16 entries are reserved for the other; then it takes from the flood, once that has had time to be answered.
    (0..16).for_each(|n| room.establish(ENI_B, n));
    assert_eq!(room.open(ENI_B, 16, true), Err(Full));
    room.now += SECOND + Duration::from_millis(1);
    (16..48).for_each(|n| room.establish(ENI_B, n));
    assert!((0..48).all(|n| room.has(ENI_B, n)));
    assert_eq!((room.count(ENI_A), room.table.port_stats(ENI_A).established), (16, 10));
    assert_eq!(room.open(ENI_B, 48, true), Err(Full), "the rest is reserved for the first");
    assert!((0..10).all(|n| room.has(ENI_A, n)));
}

#[test]
fn sec_10_what_is_over_or_not_tracked_makes_way_first() {
    let mut room = Room::new(16, [tenant(1), tenant(2)]);
    room.open(ENI_A, 0, true).unwrap();
    let closed = room.open(ENI_A, 1, true).unwrap();
    room.table.track(closed, room.now, &T, R, RST | ACK);
    room.open(ENI_A, 2, false).unwrap();
    (3..12).for_each(|n| room.establish(ENI_A, n));
    for (n, gone) in [(12, 1), (13, 2), (14, 0)] {
        assert!(room.has(ENI_A, gone));
        room.establish(ENI_A, n);
        assert!(!room.has(ENI_A, gone));
    }
    assert_eq!(room.open(ENI_A, 15, true), Err(Full));
}

#[test]
fn sec_10_half_open_connections_age_fast_under_pressure() {
    let mut room = Room::new(64, [tenant(1), tenant(2)]);
    // Its reserve, and seven eighths of the common part: 16 + 28.
    (0..44).for_each(|n| room.establish(ENI_A, n));
    let calm = room.open(ENI_B, 0, true).unwrap();
    let pressed = room.open(ENI_A, 44, true).unwrap();
    room.table.track(pressed, room.now, &T, I, SYN);
    room.now += 5 * SECOND;
    assert!(!room.has(ENI_A, 44) && room.has(ENI_B, 0));
    room.table.track(calm, room.now, &T, R, SYN | ACK);
    room.now += 300 * SECOND;
    assert!(room.has(ENI_B, 0) && room.has(ENI_A, 0));
}

#[test]
fn sec_11_the_entries_of_an_eni_that_left_are_given_back_in_small_steps() {
    let mut room = Room::new(64, [tenant(1), tenant(2)]);
    (0..20).for_each(|n| room.establish(ENI_A, n));
    (20..30).for_each(|n| assert!(room.open(ENI_A, n, n % 2 == 0).is_ok()));
    room.establish(ENI_B, 0);
    room.tenants[0] = tenant(3);
    room.settle();
    room.establish(ENI_A, 50);
    room.open(ENI_A, 51, true).unwrap();
    for left in [22, 12, 2, 2] {
        room.table.advance(room.now, 10);
        assert_eq!(room.count(ENI_A), left);
    }
    assert!(room.has(ENI_A, 50) && room.has(ENI_A, 51) && room.has(ENI_B, 0));
    assert_eq!(room.table.port_stats(ENI_A).closed, 30);
}

/// What a connection of the model is.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    lasts: bool,
    due: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Open(bool),
    Answer,
    Reset,
    Leave,
}

fn step() -> impl Strategy<Value = Step> {
    let open = prop_oneof![4 => Just(true), 1 => Just(false)].prop_map(Step::Open);
    prop_oneof![12 => open, 6 => Just(Step::Answer), 2 => Just(Step::Reset), 1 => Just(Step::Leave)]
}

proptest! {
    #[test]
    fn sec_10_nobody_takes_what_is_reserved_and_what_lasts_stays(
        reserved in (0u32..40, 0u32..40),
        most in proptest::option::of(1u32..60),
        steps in vec((step(), 0usize..3, 0u16..64, 0u64..1500), 0..300),
    ) {
        let tenants = [
            Tenant { stay: 1, reserved: reserved.0.min(most.unwrap_or(40)), most },
            Tenant { stay: 2, reserved: reserved.1, most: None },
        ];
        const CAPACITY: u32 = 64;
        let mut room = Room::new(CAPACITY, tenants);
        let reserve = |port: PortIndex| {
            let all = [0, 1].map(|at: usize| {
                tenants[at].reserved.max(CAPACITY / 4).min(tenants[at].most.unwrap_or(CAPACITY))
            });
            let sum = all[0] + all[1];
            let own = all.get(usize::from(port.0)).copied().unwrap_or(0);
            u64::from(if sum > CAPACITY { own * CAPACITY / sum } else { own })
        };
        let mut model: BTreeMap<(PortIndex, u16), Known> = BTreeMap::new();
        let mut stay = 2;
        for (step, port, n, pause) in steps {
            let port = PORTS[port];
            room.now += Duration::from_millis(pause);
            let entry = room.table.find(&room.key(port, n), room.now);
            let before = PORTS.map(|port| room.count(port));
            match (step, entry) {
                (Step::Open(tracked), None) => {
                    let opened = room.open(port, n, tracked);
                    if tracked && before[usize::from(port.0)] < reserve(port) {
                        prop_assert!(opened.is_ok());
                    }
                    if opened.is_ok() {
                        model.insert((port, n), Known { lasts: false, due: room.now });
                    }
                    for (at, other) in PORTS.into_iter().enumerate() {
                        if other != port {
                            let gone = room.count(other) < before[at];
                            prop_assert!(!gone || before[at] > reserve(other));
                        }
                    }
                }
                (Step::Answer, Some(entry)) => {
                    room.table.track(entry, room.now, &T, R, SYN | ACK);
                    let lasts = room.table.hot(entry).unwrap().is_tracked();
                    model.insert((port, n), Known { lasts, due: room.now + 350 * SECOND });
                }
                (Step::Reset, Some(entry)) => {
                    room.table.track(entry, room.now, &T, R, RST | ACK);
                    model.remove(&(port, n));
                }
                (Step::Leave, _) if port != UPLINK => {
                    stay += 1;
                    room.tenants[usize::from(port.0)].stay = stay;
                    room.settle();
                    model.retain(|(of, _), _| *of != port);
                }
                _ => {}
            }
            // The connections of who has left are as good as gone (`security::keep`).
            if let Step::Leave = step {
                room.table.advance(room.now, u32::MAX);
            }
            room.table.advance(room.now, 3);
            for (&(port, n), known) in &model {
                if known.lasts && room.now < known.due {
                    prop_assert!(room.has(port, n), "{port:?} {n} was evicted");
                }
            }
            if let Some(most) = most {
                prop_assert!(room.count(ENI_A) <= u64::from(most));
            }
            let stats = room.table.stats();
            prop_assert_eq!(PORTS.iter().map(|&port| room.count(port)).sum::<u64>(), stats.connections);
            prop_assert_eq!(stats.created, stats.connections + stats.expired + stats.evicted + stats.closed);
        }
    }
}
