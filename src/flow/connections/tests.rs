use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    flow::SLOT_MILLIS,
    packet::{
        Mac, protocol,
        tcp::{ACK, FIN, RST, SYN},
    },
    tables::Location,
};

mod room;

const PORT: PortIndex = PortIndex(1);
const T: Timeouts = Timeouts::DEFAULT;

/// The ends of a connection by its number: all protocols, over both IP versions.
fn ends(n: u16) -> Ends {
    let protocols = [protocol::TCP, protocol::UDP, protocol::ICMP, 47];
    let protocol = protocols[usize::from(n / 2 % 4)];
    let (local, remote): (IpAddr, IpAddr) = if n.is_multiple_of(2) {
        (Ipv4Addr::new(10, 0, 0, 1).into(), Ipv4Addr::new(10, 0, 1, 9).into())
    } else {
        let host = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n);
        (host(1).into(), host(9).into())
    };
    Ends { local, remote, local_port: n, remote_port: 443, protocol }
}

fn opening(tracked: bool, tcp_flags: u8) -> Opening {
    Opening { direction: Direction::Egress, tracked, tcp_flags, eni: 7, flow: 0, segment: None }
}

/// A table in which one connection is opened at 1 s, and the packets that pass then.
struct One {
    table: Connections,
    key: Key,
    entry: u32,
    timeouts: Timeouts,
}

impl One {
    fn new(protocol: u8, timeouts: Timeouts, tcp_flags: u8) -> Self {
        let mut table = Connections::new(4);
        let key = table.key(PORT, &Ends { protocol, ..ends(0) });
        let entry = table.open(&key, START, &timeouts, &opening(true, tcp_flags)).unwrap();
        Self { table, key, entry, timeouts }
    }

    /// Packets of the sides at the start, with flags.
    fn after(mut self, packets: &[(Side, u8)]) -> Self {
        for &(side, flags) in packets {
            self.table.track(self.entry, START, &self.timeouts, side, flags);
        }
        self
    }

    /// It passes until so many milliseconds after its last packet, and no longer.
    fn lives(mut self, idle: u64) {
        let at = |after: u64| START + Duration::from_millis(after);
        assert_eq!(self.table.find(&self.key, at(idle - 1)), Some(self.entry));
        assert_eq!(self.table.find(&self.key, at(idle)), None);
        self.table.advance(at(idle - 1), u32::MAX);
        assert_eq!(self.table.stats().connections, 1);
        self.table.advance(at(idle + SLOT_MILLIS), u32::MAX);
        assert_eq!(self.table.stats().connections, 0, "filed where it ends");
    }
}

const START: Duration = Duration::from_secs(1);
use Side::{Initiator as I, Responder as R};

#[test]
fn sec_8_udp_lives_30_s_and_a_stream_180_s() {
    let udp = |timeouts, sides: &[Side]| {
        let packets: Vec<_> = sides.iter().map(|&side| (side, 0)).collect();
        One::new(protocol::UDP, timeouts, 0).after(&packets)
    };
    udp(T, &[]).lives(30_000);
    udp(T, &[I, I, I]).lives(30_000);
    udp(T, &[R, R, R]).lives(30_000);
    udp(T, &[R, I, I]).lives(30_000);
    udp(T, &[R, I, R]).lives(180_000);
    let own = Timeouts { udp: 45_000, udp_stream: 60_000, ..T };
    udp(own, &[R]).lives(45_000);
    udp(own, &[R, I, R]).lives(60_000);
}

#[test]
fn sec_8_established_tcp_lives_350_s_or_up_to_5_days() {
    let open = [(R, SYN | ACK), (I, ACK)];
    One::new(protocol::TCP, T, SYN).after(&open).lives(350_000);
    let own = Timeouts { established: 432_000_000, ..T };
    One::new(protocol::TCP, own, SYN).after(&open).lives(432_000_000);
}

#[test]
fn sec_9_half_open_60_s_closed_30_s() {
    let tcp = |packets: &[(Side, u8)]| One::new(protocol::TCP, T, SYN).after(packets);
    tcp(&[]).lives(60_000);
    tcp(&[(I, SYN), (I, ACK)]).lives(60_000);
    tcp(&[(R, RST | ACK)]).lives(30_000);
    tcp(&[(R, SYN | ACK), (I, ACK), (I, RST)]).lives(30_000);
    tcp(&[(R, SYN | ACK), (I, FIN | ACK)]).lives(350_000);
    tcp(&[(R, SYN | ACK), (I, FIN | ACK), (R, FIN | ACK), (I, ACK)]).lives(30_000);
}

#[test]
fn sec_9_icmp_lives_30_s_and_sec_3_others_600_s() {
    One::new(protocol::ICMP, T, 0).lives(30_000);
    One::new(protocol::ICMPV6, T, 0).after(&[(R, 0), (I, 0), (R, 0)]).lives(30_000);
    One::new(47, T, 0).after(&[(R, 0)]).lives(600_000);
}

/// A connection of the naive model.
struct Naive {
    tracked: bool,
    packets: Vec<(Side, u8)>,
    due: u64,
    sums: [(u64, u64); 2],
}

impl Naive {
    /// How long it lives, from all its packets so far.
    fn idle(&self, protocol: u8) -> u64 {
        let sides: Vec<Side> = self.packets.iter().map(|packet| packet.0).collect();
        let turns = sides.windows(2).filter(|pair| pair[0] != pair[1]).count();
        match protocol {
            _ if !self.tracked => 30_000,
            protocol::TCP => {
                let has = |side, flag| self.packets.iter().any(|&(s, flags)| s == side && flags & flag != 0);
                let reset = self.packets.last().is_some_and(|packet| packet.1 & RST != 0);
                if reset || has(I, FIN) && has(R, FIN) {
                    30_000
                } else if has(R, SYN) {
                    350_000
                } else {
                    60_000
                }
            }
            protocol::UDP => {
                if turns >= 3 {
                    180_000
                } else {
                    30_000
                }
            }
            protocol::ICMP => 30_000,
            _ => 600_000,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Open(bool),
    Track(Side, u8),
    Count(Direction, u32),
    Close,
    Advance,
}

fn step() -> impl Strategy<Value = Step> {
    let side = prop_oneof![Just(I), Just(R)];
    // No SYN of the initiator after the end: `security` opens anew there.
    let flags = prop_oneof![4 => Just(ACK), 1 => Just(FIN | ACK), 1 => Just(RST), 2 => Just(SYN | ACK)];
    let direction = prop_oneof![Just(Direction::Ingress), Just(Direction::Egress)];
    prop_oneof![
        3 => any::<bool>().prop_map(Step::Open),
        4 => (side, flags).prop_map(|(side, flags)| Step::Track(side, flags)),
        3 => (direction, 0u32..1 << 30).prop_map(|(direction, bytes)| Step::Count(direction, bytes)),
        1 => Just(Step::Close),
        1 => Just(Step::Advance),
    ]
}

/// Mostly short, and now and then as long as any timeout.
fn pause() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0u64..2_000, 2 => 0u64..40_000, 1 => 0u64..700_000]
}

proptest! {
    #[test]
    fn equals_a_naive_model(steps in vec((step(), 0u16..16, pause()), 0..200), start in any::<u32>()) {
        // Room for all.
        const CAPACITY: u32 = 64;
        let mut table = Connections::new(CAPACITY);
        let mut model: HashMap<u16, Naive> = HashMap::new();
        let mut now = u64::from(start);
        for (step, n, pause) in steps {
            now += pause;
            let time = Duration::from_millis(now);
            let key = table.key(PORT, &ends(n));
            let found = table.find(&key, time);
            let live = model.get_mut(&n).filter(|naive| naive.due > now);
            prop_assert_eq!(found.is_some(), live.is_some());
            match (step, found, live) {
                (Step::Open(tracked), None, _) => {
                    table.open(&key, time, &T, &opening(tracked, SYN)).unwrap();
                    let mut naive = Naive { tracked, packets: vec![(I, SYN)], due: 0, sums: [(0, 0); 2] };
                    naive.due = now + naive.idle(ends(n).protocol);
                    model.insert(n, naive);
                }
                (Step::Track(side, flags), Some(entry), Some(naive)) => {
                    table.track(entry, time, &T, side, flags);
                    naive.packets.push((side, flags));
                    naive.due = now + naive.idle(ends(n).protocol);
                }
                (Step::Count(direction, bytes), Some(entry), Some(naive)) => {
                    table.count(entry, &Logged { direction, bytes, tcp_flags: 0, path: 0 });
                    let sum = &mut naive.sums[direction as usize];
                    *sum = (sum.0 + 1, sum.1 + u64::from(bytes));
                    let (hot, cold) = (*table.hot(entry).unwrap(), *table.cold(entry).unwrap());
                    prop_assert_eq!(cold.total(&hot, direction), *sum);
                    prop_assert_eq!(cold.ends(&hot), ends(n));
                }
                (Step::Close, Some(entry), Some(_)) => {
                    table.close(entry);
                    model.remove(&n);
                }
                (Step::Advance, ..) => table.advance(time, 5),
                _ => {}
            }
        }
        // Nothing stays.
        for _ in 0..3 {
            now += 700_000;
            table.advance(Duration::from_millis(now), u32::MAX);
        }
        let stats = table.stats();
        prop_assert_eq!((stats.connections, stats.evicted), (0, 0));
        prop_assert_eq!(stats.created, stats.expired + stats.closed);
        prop_assert!(table.index.is_empty());
    }
}

#[test]
fn an_entry_whose_time_shortens_is_filed_anew() {
    let mut table = Connections::new(1);
    let key = table.key(PORT, &ends(0));
    let entry = table.open(&key, START, &T, &opening(true, SYN)).unwrap();
    table.track(entry, START, &T, R, SYN | ACK);
    table.advance(START + Duration::from_secs(100), u32::MAX);
    let reset = START + Duration::from_secs(101);
    table.track(entry, reset, &T, R, RST);
    table.advance(reset + Duration::from_secs(30) + Duration::from_millis(SLOT_MILLIS), u32::MAX);
    assert_eq!(table.stats().connections, 0);
}

#[test]
fn ports_families_and_protocols_have_connections_of_their_own() {
    let mut table = Connections::new(64);
    let all: Vec<(PortIndex, Ends)> =
        (0..16).flat_map(|n| [PortIndex(1), PortIndex(2)].map(|port| (port, ends(n)))).collect();
    for (port, ends) in &all {
        let key = table.key(*port, ends);
        assert_eq!(table.find(&key, START), None);
        table.open(&key, START, &T, &opening(true, SYN)).unwrap();
    }
    for (port, ends) in &all {
        let key = table.key(*port, ends);
        let entry = table.find(&key, START).unwrap();
        let (hot, cold) = (*table.hot(entry).unwrap(), *table.cold(entry).unwrap());
        assert_eq!((hot.port(), cold.ends(&hot)), (*port, *ends));
    }
    let short = table.short(PORT, 0x0a00_0001_0a00_0109, 443, protocol::TCP);
    let candidate = table.candidate(short.hash);
    assert!(
        table.confirm(candidate, &short.words, || [0; 2]).is_some(),
        "the key of the fast path is the same"
    );
}

#[test]
fn a_connection_takes_as_much_as_the_docs_say() {
    assert_eq!(BYTES, 186, "docs/configuration.md");
    const CONNECTIONS: u32 = 100_000;
    let bytes = Connections::new(CONNECTIONS).with_ports(100).bytes();
    let pieces = 6;
    assert!(bytes - CONNECTIONS as usize * BYTES <= pieces * (2 << 20), "rounded up to huge pages");
}

/// A connection whose segments are checked, after the handshake: the sides' numbers are 101 and 901.
fn checked() -> (Connections, u32) {
    let mut table = Connections::new(4);
    let key = table.key(PORT, &ends(0));
    let opening = Opening { segment: Some(segment(SYN, 100, 0)), ..opening(true, SYN) };
    let entry = table.open(&key, START, &T, &opening).unwrap();
    assert!(table.expects(entry, R, Some(&segment(SYN | ACK, 900, 101))));
    table.track(entry, START, &T, R, SYN | ACK);
    (table, entry)
}

fn segment(flags: u8, sequence: u32, acknowledgment: u32) -> Segment {
    let len = u32::from(flags & SYN != 0);
    Segment { flags, sequence, acknowledgment, len, window: 1000, shift: None }
}

#[test]
fn a_blind_reset_is_not_expected_where_segments_are_checked() {
    let (mut table, entry) = checked();
    assert!(!table.expects(entry, R, Some(&segment(RST, 1 << 30, 0))));
    assert!(table.expects(entry, I, Some(&segment(ACK, 101, 901))));
    assert!(table.expects(entry, R, Some(&segment(RST, 901, 0))));
}

#[test]
fn what_is_checked_is_never_settled_until_it_is_checked_no_longer() {
    let (mut table, entry) = checked();
    let now = clock(START);
    let way = Way { to: Location::UNATTACHED, mac: Mac::ZERO, router: Mac::ZERO, rewrites: false };
    table.decide_egress(entry, 1, &way);
    let passes = |table: &mut Connections| table.hot(entry).unwrap().follows(Direction::Egress, 1, now, ACK);
    assert!(!passes(&mut table));
    assert!(table.expects(entry, I, None) && passes(&mut table));
    // Switched on again, in the middle.
    assert!(table.expects(entry, R, Some(&segment(ACK, 5000, 101))) && !passes(&mut table));
    assert!(!table.expects(entry, R, Some(&segment(RST, 5000 + (1 << 31), 0))));
}
