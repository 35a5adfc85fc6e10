//! What replication costs: a frame of 1400 bytes to 100 members of a group, and the same frame sent 100 times by unicast, to
//! 100 ENIs of other hosts. Both go through the pipeline, over real mbufs, without drivers: all buffers hold the frame already, as a
//! device puts it there, but for its headers; the cases `copied` add the copy that a software device makes of each frame
//! it receives. The members are on 100 other hosts, each of which gets a copy, or on ten with ten each; what those hosts then do for
//! their members is not in it.

mod common;

use std::{net::Ipv4Addr, time::Duration};

use arrayvec::ArrayVec;
use common::{Alone, Take};
use criterion::{Criterion, criterion_group, criterion_main};
use warren::{
    compile::Compiler,
    dpdk::{Eal, EalConfig, Mbuf, Mempool},
    flow::Connections,
    gateway::Flows,
    node::{
        fleet::{FIRST, Fleet},
        traffic::Stamp,
    },
    packet::{Buffer, HEADROOM, checksum::Sum},
    pipeline::{Allowances, Burst, Context, Counters, MAX_BURST, process},
    tables::{Domain, DomainIndex, Group, HostIndex, Multicast, Tables},
};

const MEMBERS: usize = 100;
const SIZE: usize = 1400;
/// The headers of a frame.
const HEADERS: usize = 42;
/// Frames that a worker takes from a queue at once.
const BURST: usize = 32;

/// Gives what is sent back to its pool, a burst at a time, as a device does.
#[derive(Default)]
struct Device(ArrayVec<Mbuf, MAX_BURST>, usize);

impl Device {
    fn send(&mut self, frame: Mbuf) {
        self.1 += 1;
        self.0.push(frame);
        if self.0.is_full() {
            Mbuf::free_all(&mut self.0);
        }
    }

    /// The frames since the last call.
    fn flush(&mut self) -> usize {
        Mbuf::free_all(&mut self.0);
        std::mem::take(&mut self.1)
    }
}

impl Take<Mbuf> for Device {
    fn take(&mut self, frame: Mbuf) {
        self.send(frame);
    }
}

struct Bench {
    pool: Mempool,
    counters: Counters,
    allowances: Allowances,
    flows: Flows,
    connections: Connections,
    stamp: Stamp,
    /// The headers of a frame to the group.
    group: [u8; HEADERS],
    device: Alone<Device>,
}

impl Bench {
    /// Frames from the sender's port through the pipeline; returns how many left.
    fn send(&mut self, tables: &Tables, to_group: bool, count: usize, copied: bool) -> usize {
        let mut burst = Burst::new();
        let mut next = 0;
        while next < count {
            let some = BURST.min(count - next);
            assert_eq!(self.pool.alloc_bulk(&mut burst, some), some);
            for frame in &mut burst {
                frame.extend_to(SIZE);
                let whole = if copied { SIZE } else { HEADERS };
                frame.data_mut()[..whole].copy_from_slice(&self.stamp.frame()[..whole]);
                if to_group {
                    frame.data_mut()[..HEADERS].copy_from_slice(&self.group);
                    next += 1;
                } else {
                    next = self.stamp.write(frame.data_mut(), next);
                }
            }
            let mut ctx = Context {
                tables,
                counters: &self.counters,
                now: Duration::ZERO,
                allowances: &mut self.allowances,
                flows: &mut self.flows,
                connections: &mut self.connections,
                sink: &mut self.device,
            };
            process(&mut ctx, FIRST, &mut burst);
        }
        self.device.0.flush()
    }
}

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 0, 0, 1);

/// The tables with a group of these members, to which anybody may send.
fn with_group(tables: &Tables, group: Group) -> Tables {
    let domain = Domain { index: DomainIndex(0), igmp: true, static_sources: false };
    let eni = tables.local_eni(FIRST).expect("an ENI");
    let mut multicast = Multicast::new([(eni.subnet, domain)]);
    multicast.set_group(domain.index, GROUP.to_bits(), group);
    Tables { multicast: multicast.into(), ..tables.clone() }
}

/// A frame's headers, with the group for destination.
fn to_group(frame: &[u8]) -> [u8; HEADERS] {
    let mut headers: [u8; HEADERS] = frame[..HEADERS].try_into().expect("a frame");
    headers[..6].copy_from_slice(&[0x01, 0x00, 0x5e, 0, 0, 1]);
    headers[30..34].copy_from_slice(&GROUP.octets());
    headers[24..26].fill(0);
    let checksum = Sum::of(&headers[14..34]).checksum();
    headers[24..26].copy_from_slice(&checksum.to_be_bytes());
    headers
}

fn multicast(c: &mut Criterion) {
    let config = EalConfig {
        args: vec!["--no-pci".into()],
        file_prefix: Some(format!("warren-bench-{}", std::process::id())),
        memory_mib: 64,
        ..EalConfig::default()
    };
    let eal = Eal::init(&config).expect("an EAL");
    let pool = Mempool::new(&eal, "multicast", 4095, (HEADROOM + 2048) as u16, 250, None).expect("a pool");
    // 256 ENIs on each host.
    let fleet = Fleet::new(MEMBERS * 256);
    let stamp = Stamp::encapsulate(&fleet, SIZE);
    let filled: Vec<Mbuf> = std::iter::from_fn(|| Mbuf::from_frame(&pool, stamp.frame())).collect();
    drop(filled);
    let tables = Compiler::new(fleet.site()).build(fleet.model(), &fleet.neighbours());
    let hosts = || {
        let all = (0..MEMBERS as u32 + 1).map(HostIndex);
        all.filter(|&host| tables.hosts.get(host).is_some_and(|host| host.max_inner > 0))
    };
    let cases = [
        ("to 100 hosts", MEMBERS, with_group(&tables, Group::new([], hosts(), []))),
        (
            "to 10 hosts with ten each",
            MEMBERS / 10,
            with_group(&tables, Group::new([], hosts().take(10), [])),
        ),
    ];
    let mut bench = Bench {
        pool,
        counters: Counters::new(3),
        allowances: Allowances::new(3),
        flows: Flows::new(0),
        connections: Connections::new(4096),
        group: to_group(stamp.frame()),
        stamp,
        device: Alone::default(),
    };

    let mut group = c.benchmark_group(format!("{SIZE} bytes to {MEMBERS} members"));
    for (copied, suffix) in [(false, ""), (true, ", copied")] {
        group.bench_function(format!("unicast{suffix}"), |b| {
            b.iter(|| assert_eq!(bench.send(&tables, false, MEMBERS, copied), MEMBERS));
        });
        for (name, copies, tables) in &cases {
            group.bench_function(format!("{name}{suffix}"), |b| {
                b.iter(|| assert_eq!(bench.send(tables, true, 1, copied), *copies));
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = multicast
}
criterion_main!(benches);
