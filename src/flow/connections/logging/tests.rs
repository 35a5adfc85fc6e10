use std::collections::HashMap;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    flow::{Connections, Timeouts, connections::Opening},
    flowlogs::FlowKey,
};

const LOGGED: PortIndex = PortIndex(0);
const UNLOGGED: PortIndex = PortIndex(1);
const STAYS: [u32; 2] = [7, 8];
const RING: usize = 1 << 12;

/// A worker's table, and what passed.
struct Lab {
    table: Connections,
    rings: Arc<[FlowRing]>,
    now: Duration,
    passed: HashMap<(u32, FlowKey), (u64, u64)>,
}

impl Lab {
    fn new() -> Self {
        let rings: Arc<[FlowRing]> = [FlowRing::new(RING)].into();
        let table = Connections::new(64).with_logs(Arc::clone(&rings), 0, 2);
        let mut lab = Self { table, rings, now: Duration::from_secs(50), passed: HashMap::new() };
        lab.wait(0);
        lab
    }

    fn wait(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        loop {
            self.table.log(self.now, 1, || [Some(STAYS[0]), None].into_iter());
            self.table.advance(self.now, u32::MAX);
            if self.now == until {
                return;
            }
            self.now = until.min(self.now + Duration::from_millis(100));
        }
    }

    fn passes(&mut self, port: PortIndex, ends: Ends, packet: Logged) {
        let stay = STAYS[usize::from(port.0)];
        let key = self.table.key(port, &ends);
        let opening = Opening {
            direction: packet.direction,
            tracked: true,
            tcp_flags: packet.tcp_flags,
            eni: stay,
            flow: 0,
            segment: None,
        };
        let found = self.table.find(&key, self.now);
        let entry =
            found.unwrap_or_else(|| self.table.open(&key, self.now, &Timeouts::DEFAULT, &opening).unwrap());
        self.table.count(entry, &packet);
        if port == LOGGED {
            self.counted(stay, &ends, &packet, Action::Accept);
        }
    }

    fn refused(&mut self, port: PortIndex, ends: Ends, packet: Logged) {
        let stay = STAYS[usize::from(port.0)];
        self.table.count_loose((port, stay), &ends, &packet, Action::Reject, self.now);
        if port == LOGGED {
            self.counted(stay, &ends, &packet, Action::Reject);
        }
    }

    fn counted(&mut self, stay: u32, ends: &Ends, packet: &Logged, action: Action) {
        let key = blank(stay, ends, packet.direction, action).key();
        let (packets, bytes) = self.passed.entry((stay, key)).or_default();
        (*packets, *bytes) = (*packets + 1, *bytes + u64::from(packet.bytes));
    }

    /// What was told since the last time.
    fn told(&self) -> Vec<FlowRecord> {
        std::iter::from_fn(|| self.rings[0].pop()).collect()
    }
}

fn ends(n: u16) -> Ends {
    let protocol = [protocol::TCP, protocol::UDP, protocol::ICMP][usize::from(n % 3)];
    let (local, remote) =
        if n.is_multiple_of(2) { ("10.0.0.1", "10.0.1.9") } else { ("2001:db8::1", "2001:db8::9") };
    let [local, remote] = [local, remote].map(|address| address.parse().unwrap());
    Ends { local, remote, local_port: n, remote_port: 443, protocol }
}

fn packet(egress: bool, bytes: u32, tcp_flags: u8) -> Logged {
    let direction = if egress { Direction::Egress } else { Direction::Ingress };
    Logged { direction, bytes, tcp_flags, path: 1 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// FL-3, FL-5: what is told is what passed and what was refused, in intervals in which it can have been.
    #[test]
    fn the_records_add_up_to_the_packets(
        steps in vec((0..12_u16, any::<bool>(), any::<bool>(), any::<bool>(), 40..9000_u32, 0..30_000_u64), 1..60),
    ) {
        let mut lab = Lab::new();
        for (n, logged, refused, egress, bytes, pause) in steps {
            let port = if logged { LOGGED } else { UNLOGGED };
            if refused {
                lab.refused(port, ends(n), packet(egress, bytes, 0));
            } else {
                lab.passes(port, ends(n), packet(egress, bytes, 0));
            }
            lab.wait(if pause < 15_000 { 0 } else { pause });
        }
        lab.table.end_logs(|| {});
        let mut told: HashMap<(u32, FlowKey), (u64, u64)> = HashMap::new();
        for record in lab.told() {
            prop_assert!(record.start <= record.end && record.end <= lab.now);
            prop_assert_eq!(record.start.as_secs() / 60, record.end.as_secs() / 60);
            let (packets, bytes) = told.entry((record.eni, record.key())).or_default();
            (*packets, *bytes) = (*packets + record.packets, *bytes + record.bytes);
        }
        prop_assert_eq!(told, lab.passed);
    }
}

#[test]
fn fl_3_a_connection_has_a_record_per_interval_and_direction() {
    let mut lab = Lab::new();
    let tcp = ends(0);
    lab.passes(LOGGED, tcp, packet(true, 60, 0x02));
    lab.passes(LOGGED, tcp, packet(false, 60, 0x12));
    lab.passes(LOGGED, tcp, packet(true, 52, 0x10));
    lab.wait(9_000);
    assert_eq!(lab.told(), [], "the interval lasts until 60 s");
    lab.wait(2_500);
    let told = lab.told();
    let numbers = |record: &FlowRecord| (record.direction, record.packets, record.bytes, record.tcp_flags);
    let found: Vec<_> = told.iter().map(numbers).collect();
    // FL-7.
    assert_eq!(found, [(Direction::Ingress, 1, 60, 18), (Direction::Egress, 2, 112, 2)]);
    let within_a_second = |record: &FlowRecord| record.start.as_secs() == 50 && record.end.as_secs() <= 51;
    assert!(told.iter().all(within_a_second));
    lab.passes(LOGGED, tcp, packet(true, 52, 0x11));
    lab.wait(60_000);
    let found: Vec<_> = lab.told().iter().map(numbers).collect();
    assert_eq!(found, [(Direction::Egress, 1, 52, 1)], "nothing of a direction without packets");
}

#[test]
fn fl_11_ports_are_those_of_tcp_and_udp() {
    let mut lab = Lab::new();
    for n in [0, 1, 2] {
        lab.refused(LOGGED, ends(n), packet(false, 40, 0));
    }
    // In steps of 100 ms, going through all takes more than a turn.
    lab.wait(2_000);
    let mut ports: Vec<_> =
        lab.told().iter().map(|told| (told.protocol, told.source_port, told.destination_port)).collect();
    ports.sort_unstable();
    assert_eq!(ports, [(1, 0, 0), (6, 443, 0), (17, 443, 1)]);
}

#[test]
fn what_was_before_a_log_is_none_of_it() {
    let mut lab = Lab::new();
    let settle = |lab: &mut Lab, generation, stay| {
        for _ in 0..12 {
            lab.now += Duration::from_millis(100);
            lab.table.log(lab.now, generation, || [stay].into_iter());
        }
    };
    settle(&mut lab, 2, None);
    lab.passes(LOGGED, ends(1), packet(true, 100, 0));
    settle(&mut lab, 3, Some(STAYS[0]));
    lab.passes(LOGGED, ends(1), packet(true, 50, 0));
    settle(&mut lab, 4, None);
    let told: Vec<_> = lab.told().iter().map(|record| (record.packets, record.bytes)).collect();
    assert_eq!(told, [(1, 50)], "told at once when the log goes");
}

#[test]
fn what_the_writer_has_no_room_for_waits() {
    let mut lab = Lab::new();
    lab.passes(LOGGED, ends(1), packet(true, 100, 0));
    let filler = blank(99, &ends(1), Direction::Egress, Action::Accept);
    while lab.rings[0].push(filler) {}
    lab.wait(12_000);
    assert!(lab.told().iter().all(|record| record.eni == 99));
    lab.wait(1_500);
    let told: Vec<_> = lab.told().iter().map(|record| (record.eni, record.start.as_secs())).collect();
    assert_eq!(told, [(STAYS[0], 50)]);
}
