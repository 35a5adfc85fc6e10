//! What replication costs: a frame of 1400 bytes to 100 members, and the same frame sent 100 times by unicast, over real mbufs,
//! without drivers. All buffers hold the frame already, as a device puts it there; the cases `copied` add the copy that
//! a software device makes of each frame it receives.

mod common;

use std::{net::Ipv4Addr, time::Duration};

use arrayvec::ArrayVec;
use common::Alone;
use criterion::{Criterion, criterion_group, criterion_main};
use warren::{
    compile::Compiler,
    dpdk::{Eal, EalConfig, Mbuf, Mempool},
    flow::Connections,
    gateway::Flows,
    node::{
        fleet::{self, FIRST, Fleet},
        traffic::Stamp,
    },
    packet::{Buffer, Copies, HEADROOM, Sender, flow_hash, parse},
    pipeline::{Allowances, Burst, Context, Counters, MAX_BURST, process},
    tables::{Domain, DomainIndex, Group, HostIndex, LocalMember, Multicast, PortIndex, Tables},
};

const MEMBERS: usize = 100;
const SIZE: usize = 1400;
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

impl Extend<Mbuf> for Device {
    fn extend<I: IntoIterator<Item = Mbuf>>(&mut self, frames: I) {
        frames.into_iter().for_each(|frame| self.send(frame));
    }
}

struct Bench {
    pool: Mempool,
    tables: Tables,
    counters: Counters,
    allowances: Allowances,
    flows: Flows,
    connections: Connections,
    stamp: Stamp,
    next: usize,
    device: Alone<Device>,
}

impl Bench {
    /// The next frames from the sender's port.
    fn receive(&mut self, burst: &mut Burst<Mbuf>, count: usize, copied: bool) {
        assert_eq!(self.pool.alloc_bulk(burst, count), count);
        for frame in burst {
            frame.extend_to(SIZE);
            if copied {
                frame.data_mut().copy_from_slice(self.stamp.frame());
            }
            self.next = self.stamp.write(frame.data_mut(), self.next);
        }
    }

    /// As many frames as there are members, through the pipeline.
    fn unicast(&mut self, copied: bool) {
        let mut burst = Burst::new();
        let mut left = MEMBERS;
        while left > 0 {
            let count = left.min(BURST);
            left -= count;
            self.receive(&mut burst, count, copied);
            let mut ctx = Context {
                tables: &self.tables,
                counters: &self.counters,
                now: Duration::ZERO,
                allowances: &mut self.allowances,
                flows: &mut self.flows,
                connections: &mut self.connections,
                sink: &mut self.device,
            };
            process(&mut ctx, FIRST, &mut burst);
        }
        assert_eq!(self.device.0.flush(), MEMBERS, "a packet was dropped");
    }

    /// One frame, and a copy of it for each member. Buffers are taken many at once, as the node does, or one by one.
    fn replicate(&mut self, table: &Multicast, copied: bool, at_once: bool) {
        let mut burst = Burst::new();
        self.receive(&mut burst, 1, copied);
        let frame = burst.pop().expect("a frame");
        let headers = parse(frame.data()).expect("a packet");
        let eni = self.tables.local_eni(FIRST).expect("an ENI");
        let fanout =
            table.fan_out(eni.subnet, (eni.vni, eni.mac), Some(FIRST), GROUP.to_bits()).expect("members");
        let (flow, sender) = (flow_hash(frame.data(), &headers), Sender { vni: eni.vni, mac: eni.mac });
        let mut copies = Copies::new(&frame, if at_once { fanout.hosts().len() } else { 0 });
        for &host in fanout.hosts() {
            let host = self.tables.hosts.get(host).expect("a host");
            self.device
                .0
                .send(host.template.encapsulate_copy(&mut copies, eni.vni, sender, flow).expect("a buffer"));
        }
        for _ in fanout.local() {
            self.device.0.send(frame.clone_ref().expect("a buffer"));
        }
        drop(copies);
        drop(frame);
        assert_eq!(self.device.0.flush(), MEMBERS);
    }
}

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 0, 0, 1);

fn table(tables: &Tables, group: Group) -> Multicast {
    let domain = Domain { index: DomainIndex(0), igmp: true, static_sources: false };
    let eni = tables.local_eni(FIRST).expect("an ENI");
    let mut table = Multicast::new([(eni.subnet, domain)]);
    table.set_group(domain.index, GROUP.to_bits(), group);
    table
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
    let local = (0..MEMBERS as u16).map(|port| LocalMember { port: PortIndex(port + 10), vni: fleet::VNI });
    let hosts = (0..MEMBERS as u32 + 1)
        .map(HostIndex)
        .filter(|&host| tables.hosts.get(host).is_some_and(|host| host.max_inner > 0));
    let remote = table(&tables, Group::new([], hosts, []));
    let local = table(&tables, Group::new(local, [], []));
    let (counters, allowances) = (Counters::new(3), Allowances::new([1; 3]));
    let mut bench = Bench {
        pool,
        tables,
        counters,
        allowances,
        flows: Flows::new(0),
        connections: Connections::new(4096),
        stamp,
        next: 0,
        device: Alone::default(),
    };

    let mut group = c.benchmark_group(format!("{SIZE} bytes to {MEMBERS} members"));
    for (copied, suffix) in [(false, ""), (true, ", copied")] {
        group.bench_function(format!("unicast to hosts{suffix}"), |b| b.iter(|| bench.unicast(copied)));
        group.bench_function(format!("to hosts{suffix}"), |b| {
            b.iter(|| bench.replicate(&remote, copied, true));
        });
        group.bench_function(format!("to local ENIs{suffix}"), |b| {
            b.iter(|| bench.replicate(&local, copied, true));
        });
    }
    group.bench_function("to hosts, buffers one by one", |b| {
        b.iter(|| bench.replicate(&remote, false, false));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = multicast
}
criterion_main!(benches);
