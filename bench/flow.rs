//! The table of NAT bindings: lookups of either direction in bursts of 32 packets, and new bindings where as many
//! expire. The table of connections: packets of established ones in bursts of 32, connections from SYN to FIN in a table that is full,
//! and what a round costs in which nothing expires.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use warren::{
    flow::{
        Connections, Endpoint, Flow, Protocol, Side, Timeouts,
        connections::{Ends, Opening, Short, Way, clock},
        nat::{BLOCKS, IDLE, Key, Nat, Pool},
    },
    packet::{
        Mac, mapped, protocol,
        tcp::{ACK, FIN, SYN},
    },
    tables::{Direction, Location, PortIndex},
};

const BURST: usize = 32;
const SIZES: [u32; 3] = [1_000, 100_000, 1_000_000];

/// What a call of [`Nat::advance`] may do per burst.
const BUDGET: u32 = 2 * BURST as u32;

fn address(octets: [u8; 4]) -> u128 {
    mapped(std::net::IpAddr::from(octets))
}

/// A flow of many sources to 10 000 destinations.
fn flow(n: u32) -> Flow {
    let source = Endpoint {
        address: address([10, 0, 0, 0]) + u128::from(n / 10_000),
        port: 40_000 + (n % 10_000) as u16,
    };
    let destination = Endpoint { address: address([198, 51, 0, 0]) + u128::from(n % 10_000), port: 443 };
    Flow { gateway: 1, protocol: Protocol::Udp, source, destination }
}

/// The gateway that flows go through.
#[derive(Clone, Copy)]
enum Gateway {
    Nat,
    EgressOnly,
}

impl Gateway {
    const ALL: [(&str, Self); 2] = [("NAT", Self::Nat), ("egress-only", Self::EgressOnly)];

    fn pool(self, n: u32, addresses: &[u128]) -> Option<Pool<'_>> {
        let block = (n.wrapping_mul(0x9e37_79b1) >> 26) as u8;
        matches!(self, Self::Nat).then_some(Pool { addresses, block, share: BLOCKS })
    }
}

/// A burst of flows through a table in three passes, as a worker does it: their keys, their bindings, the work.
fn burst(nat: &Nat, flows: impl Iterator<Item = Flow>, outside: bool) -> [Key; BURST] {
    let mut keys = [nat.key(flow(0)); BURST];
    for (slot, flow) in keys.iter_mut().zip(flows) {
        *slot = nat.key(flow);
        if outside { nat.prefetch_outside(slot) } else { nat.prefetch_inside(slot) }
    }
    for key in &keys {
        if outside { nat.prefetch_binding_outside(key) } else { nat.prefetch_binding_inside(key) }
    }
    keys
}

fn lookup(c: &mut Criterion) {
    let addresses = [address([203, 0, 113, 1])];
    let mut group = c.benchmark_group("flow/lookup");
    group.throughput(Throughput::Elements(BURST as u64));
    for size in SIZES {
        let mut nat = Nat::new(size);
        let mut outside = Vec::new();
        for n in 0..size {
            let key = nat.key(flow(n));
            let source = nat.outbound(IDLE, &key, 0, Gateway::Nat.pool(n, &addresses)).expect("room");
            outside.push(Flow { source, ..flow(n) });
        }
        // Any order but that in which they were made.
        let mut at = 0;
        let mut order = || {
            at = (at + 611_953) % size;
            at
        };
        group.bench_function(BenchmarkId::new("outbound", size), |b| {
            b.iter(|| {
                let numbers: [u32; BURST] = std::array::from_fn(|_| order());
                let keys = burst(&nat, numbers.iter().map(|&n| flow(n)), false);
                for (key, n) in keys.iter().zip(numbers) {
                    black_box(nat.outbound(IDLE, key, 0, Gateway::Nat.pool(n, &addresses))).expect("bound");
                }
            });
        });
        group.bench_function(BenchmarkId::new("inbound", size), |b| {
            b.iter(|| {
                let flows = std::array::from_fn::<_, BURST, _>(|_| outside[order() as usize]);
                for key in burst(&nat, flows.into_iter(), true) {
                    black_box(nat.inbound(IDLE, &key, 0)).expect("bound");
                }
            });
        });
    }
    group.finish();
}

/// New bindings in a table of a million, 90 % of which are in use: for each, one that has been idle for too long goes.
fn create(c: &mut Criterion) {
    const CAPACITY: u32 = 1_000_000;
    let addresses = [address([203, 0, 113, 1])];
    let mut group = c.benchmark_group("flow/create and expire");
    group.throughput(Throughput::Elements(BURST as u64));
    for (name, gateway) in Gateway::ALL {
        let mut nat = Nat::new(CAPACITY);
        let mut now = IDLE;
        let mut next = 0;
        let mut turn = || {
            let first = next;
            next += BURST as u32;
            let keys = burst(&nat, (first..next).map(flow), false);
            for (key, n) in keys.iter().zip(first..) {
                black_box(nat.outbound(now, key, 0, gateway.pool(n, &addresses))).expect("room");
            }
            now += IDLE * BURST as u32 / (CAPACITY / 10 * 9);
            nat.advance(now, BUDGET);
        };
        for _ in 0..2 * CAPACITY / BURST as u32 {
            turn();
        }
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter_custom(|turns| {
                let start = Instant::now();
                (0..turns).for_each(|_| turn());
                start.elapsed()
            });
        });
        let stats = nat.stats();
        assert!((890_000..=910_000).contains(&stats.bindings), "{stats:?}");
    }
    group.finish();
}

const PORT: PortIndex = PortIndex(0);
const GENERATION: u32 = 1;

/// The ends of a connection by its number, as one ENI sees them.
fn ends(n: u32) -> (u32, u32, u32) {
    (0x0a00_0001, 0xc633_0000 + n / 50_000, (10_000 + n % 50_000) << 16 | 443)
}

fn open(table: &mut Connections, n: u32, now: Duration) -> u32 {
    let (local, remote, ports) = ends(n);
    let ends = Ends {
        local: std::net::Ipv4Addr::from_bits(local).into(),
        remote: std::net::Ipv4Addr::from_bits(remote).into(),
        local_port: (ports >> 16) as u16,
        remote_port: ports as u16,
        protocol: protocol::TCP,
    };
    let opening = Opening {
        direction: Direction::Egress,
        tracked: true,
        tcp_flags: SYN,
        eni: 1,
        flow: n,
        segment: None,
    };
    let key = table.key(PORT, &ends);
    table.open(&key, now, &Timeouts::DEFAULT, &opening).expect("room")
}

/// A table of established connections, with decisions.
fn established(connections: u32, now: Duration) -> Connections {
    let mut table = Connections::new(connections).with_ports(1);
    let way = Way { to: Location::UNATTACHED, mac: Mac::ZERO, router: Mac::ZERO, rewrites: true };
    for n in 0..connections {
        let entry = open(&mut table, n, now);
        table.track(entry, now, &Timeouts::DEFAULT, Side::Responder, SYN | ACK);
        table.decide_egress(entry, GENERATION, &way);
    }
    table
}

/// Packets of established connections: found, judged, and counted.
fn pass(c: &mut Criterion) {
    let mut group = c.benchmark_group("connections/pass");
    group.throughput(Throughput::Elements(BURST as u64));
    let now = Duration::from_secs(1);
    for size in [4_000, 100_000, 1_000_000] {
        let mut table = established(size, now);
        let mut at = 0;
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                let keys: [Short; BURST] = std::array::from_fn(|_| {
                    at = (at + 611_953) % size;
                    let (local, remote, ports) = ends(at);
                    let key =
                        table.short(PORT, u64::from(local) << 32 | u64::from(remote), ports, protocol::TCP);
                    table.prefetch(&key);
                    key
                });
                let entries = keys.map(|key| table.candidate(key.hash));
                for (key, entry) in keys.iter().zip(entries) {
                    // Of a million, some hundred share a hash.
                    let Some(hot) = table.confirm(entry, &key.words, || [0; 2]) else { continue };
                    let (direction, bytes, timeouts) = (Direction::Egress, 64, Timeouts::DEFAULT);
                    assert!(hot.is_settled(direction, GENERATION, clock(now), 0));
                    if hot.settled(direction, clock(now), &timeouts, bytes) {
                        table.sum_up(entry);
                    }
                }
            });
        });
    }
    group.finish();
}

/// Connections of six packets, in a table where those before are closed and make way.
fn connect(c: &mut Criterion) {
    const PACKETS: [(Side, u8); 5] = [
        (Side::Responder, SYN | ACK),
        (Side::Initiator, ACK),
        (Side::Initiator, FIN | ACK),
        (Side::Responder, FIN | ACK),
        (Side::Initiator, ACK),
    ];
    let mut group = c.benchmark_group("connections/connect");
    group.throughput(Throughput::Elements(BURST as u64));
    for size in [4_000, 100_000, 1_000_000] {
        let mut table = Connections::new(size).with_ports(1);
        let (mut next, mut now) = (0, Duration::from_secs(1));
        let mut turn = || {
            let entries: [u32; BURST] = std::array::from_fn(|_| {
                next += 1;
                open(&mut table, next, now)
            });
            for (side, flags) in PACKETS {
                for entry in entries {
                    table.track(entry, now, &Timeouts::DEFAULT, side, flags);
                }
            }
            now += Duration::from_micros(16);
            table.advance(now, BUDGET);
        };
        (0..size / BURST as u32 + 1).for_each(|_| turn());
        group.bench_function(BenchmarkId::from_parameter(size), |b| b.iter(&mut turn));
    }
    group.finish();
}

/// A round in which nothing expires.
fn advance(c: &mut Criterion) {
    let mut now = Duration::from_secs(1);
    let mut table = established(100_000, now);
    c.bench_function("connections/advance", |b| {
        b.iter(|| {
            now += Duration::from_nanos(100);
            table.advance(now, BUDGET);
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = lookup, create, pass, connect, advance
}
criterion_main!(benches);
