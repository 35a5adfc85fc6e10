//! A long run: two nodes of two workers each, on buffers of a DPDK pool, with random packets, random changes of the tables and
//! workers that stall at random. Nothing may be lost without a name, delivered to anybody else, or leak.
//!
//! `WARREN_SOAK=600 cargo test --release --test soak -- --nocapture` runs for ten minutes instead of a few seconds; a failure
//! prints the seed, which `WARREN_SOAK_SEED` takes.
#![cfg(feature = "dpdk")]
// Nothing outside uses what is here; `pub` means public to the other files.
#![allow(unreachable_pub)]

mod changes;
mod guests;
mod packets;
mod random;
mod world;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use warren::{
    dpdk::{Eal, EalConfig, Mbuf, Mempool},
    flow::Connections,
    gateway::Flows,
    model::Model,
    node::{
        manager::Manager,
        worker::{Plan, Worker, WorkerCounters},
    },
    packet::{Buffer, HEADROOM},
    pipeline::Reason,
    rcu::Reader,
    tables::{PortIndex, Tables},
};

use self::{
    changes::change,
    guests::{Queue, Sender, Wire},
    random::Random,
    world::{HOSTS, PORTS, UPLINK, config, model},
};

/// Workers of a node.
const WORKERS: usize = 2;
/// Buffers of both nodes.
const BUFFERS: u32 = 32_767;
/// How many seconds of the nodes' time pass in one: connections expire meanwhile.
const HASTE: u32 = 200;

/// What the threads of both nodes share.
struct Shared {
    seed: u64,
    start: Instant,
    pool: Mempool,
    /// The instances send no more.
    quiet: AtomicBool,
    /// The workers end.
    stop: AtomicBool,
    /// Packets that instances have got.
    delivered: AtomicU64,
    /// Frames that instances have got from the node itself.
    own: AtomicU64,
    /// What was wrong with what instances got; the first of them.
    wrong: crossbeam::queue::ArrayQueue<String>,
    /// By host, by worker: what is on the way there.
    wires: [[Wire; WORKERS]; 2],
}

impl Shared {
    fn now(&self) -> Duration {
        self.start.elapsed() * HASTE
    }
}

/// A node, as its management thread has it.
struct Node {
    host: usize,
    manager: Manager,
    plan: Arc<Plan<Mbuf>>,
    counters: Vec<Arc<WorkerCounters>>,
    /// What the management thread counts.
    own_counters: WorkerCounters,
    /// Frames of its own that it has given to workers.
    own: u64,
}

type SoakWorker = Worker<Mbuf, Queue, Sender>;

impl Node {
    fn new(host: usize, shared: &Arc<Shared>, model: Model) -> (Self, Vec<SoakWorker>) {
        let config = config(host);
        let (manager, readers) =
            Manager::new(&config, config.site(|port| world::port_mac(host, port)), model, WORKERS).unwrap();
        let owners: Box<[usize]> = (0..PORTS).map(|port| port % WORKERS).collect();
        let plan = Arc::new(Plan::new(owners, WORKERS));
        let counters: Vec<_> = (0..WORKERS).map(|_| Arc::new(WorkerCounters::new(PORTS))).collect();
        let worker = |(number, reader): (usize, Reader<Tables>)| {
            let sends =
                |port: &usize| *port == UPLINK || world::queues(*port) > 1 || port % WORKERS == number;
            let inputs = (0..PORTS)
                .filter(sends)
                .map(|port| (PortIndex(port as u16), Queue::new(Arc::clone(shared), host, port, number)));
            let outputs = (0..PORTS)
                .map(|port| sends(&port).then(|| Sender::new(Arc::clone(shared), host, port, number)));
            Worker::new(
                number,
                inputs.collect(),
                outputs.collect::<Vec<_>>(),
                Arc::clone(&plan),
                reader,
                Arc::clone(&counters[number]),
                32,
            )
            .with_flows(Flows::new(0))
            .with_connections(Connections::new(2048))
        };
        let workers = readers.into_iter().enumerate().map(worker).collect();
        let own_counters = WorkerCounters::new(PORTS);
        (Self { host, manager, plan, counters, own_counters, own: 0 }, workers)
    }

    /// What the management thread does in between. Returns whether there was anything.
    fn attend(&mut self, shared: &Shared) -> bool {
        let now = shared.now();
        while let Some(news) = self.plan.news.pop() {
            self.manager.hear(now, news);
        }
        let mut frames = self.manager.tick(now);
        let mut found = false;
        while let Some((port, frame)) = self.plan.punted.pop() {
            found = true;
            match self.manager.answer(port, frame.data()) {
                Ok(reply) => frames.extend(reply.map(|reply| (port, reply))),
                Err(reason) => self.own_counters.ports.port(port).drop(reason),
            }
        }
        for (port, frame) in frames {
            found = true;
            let sent = Mbuf::from_frame(&shared.pool, &frame).map(|frame| self.plan.send(port, frame));
            self.own += u64::from(matches!(sent, Some(Ok(()))));
        }
        self.manager.collect();
        found
    }

    /// The sum over workers and ports of a counter.
    fn sum(&self, count: impl Fn(&warren::pipeline::PortCounters) -> u64) -> u64 {
        let ports = (0..PORTS).map(|port| PortIndex(port as u16));
        ports
            .flat_map(|port| self.counters.iter().map(move |worker| (worker, port)))
            .map(|(worker, port)| count(worker.ports.port(port)))
            .sum()
    }

    /// Everything that came in has left, or was dropped by name, or was given to the management thread.
    fn check_counters(&self) {
        let drops = |reason| self.sum(|port| port.drops(reason));
        let by_reason: BTreeMap<&str, u64> = Reason::ALL
            .iter()
            .map(|&reason| (reason.name(), drops(reason)))
            .filter(|(_, n)| *n > 0)
            .collect();
        let (came, left) = (self.sum(|port| port.rx_packets.get()), self.sum(|port| port.tx_packets.get()));
        let punted = self.sum(|port| port.punted.get());
        let dropped: u64 = by_reason.values().sum();
        println!(
            "host {}: {came} in, {} of its own, {left} out, {punted} punted, {dropped} dropped: {by_reason:?}",
            self.host, self.own
        );
        assert_eq!(came + self.own, left + punted + dropped, "in = out + drops");
    }
}

/// Rounds until the end, at times with a pause.
fn work(shared: &Shared, eal: &Eal, mut random: Random, worker: &mut SoakWorker) {
    // So it has a cache of the pool's buffers.
    let _thread = eal.register_thread().unwrap();
    while !shared.stop.load(Ordering::Relaxed) {
        let found = worker.round(shared.now());
        if random.one_in(3000) && !shared.quiet.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(random.below(30) as u64));
        } else if found == 0 {
            thread::yield_now();
        }
    }
}

/// Changes the tables at random and attends to the workers, until it is over.
fn manage(shared: &Shared, nodes: &mut [Node; 2], model: &mut Model, length: Duration) -> u64 {
    let mut random = Random::new(shared.seed ^ 1);
    let mut changes = 0;
    while shared.start.elapsed() < length && shared.wrong.is_empty() {
        change(model, &mut random);
        // The hosts hear of it one after the other, in either order.
        let first = random.below(2);
        for host in [first, 1 - first] {
            nodes[host].manager.apply(model.clone()).unwrap();
            thread::sleep(Duration::from_millis(random.below(8) as u64));
            nodes.iter_mut().for_each(|node| {
                node.attend(shared);
            });
        }
        changes += 1;
    }
    changes
}

/// Waits until nothing is on its way any more.
fn drain(shared: &Shared, nodes: &mut [Node; 2]) {
    shared.quiet.store(true, Ordering::Relaxed);
    let rounds = |nodes: &[Node; 2]| -> Vec<u64> {
        nodes.iter().flat_map(|node| node.counters.iter().map(|worker| worker.rounds.get())).collect()
    };
    let busy = |nodes: &[Node; 2]| -> u64 {
        nodes.iter().flat_map(|node| node.counters.iter().map(|worker| worker.packets.get())).sum()
    };
    let until = Instant::now() + Duration::from_secs(30);
    let mut still = 0;
    while still < 5 {
        assert!(Instant::now() < until, "packets go round and round");
        let (before, packets) = (rounds(nodes), busy(nodes));
        while rounds(nodes).iter().zip(&before).any(|(now, before)| now < &(before + 3)) {
            thread::yield_now();
        }
        let found = nodes.iter_mut().fold(false, |found, node| node.attend(shared) | found);
        // Longer than fragments wait for their first one.
        thread::sleep(Duration::from_secs(2) / HASTE);
        still = if found || busy(nodes) != packets { 0 } else { still + 1 };
    }
}

fn seconds() -> u64 {
    std::env::var("WARREN_SOAK").map_or(4, |text| text.parse().expect("WARREN_SOAK: a number of seconds"))
}

fn seed() -> u64 {
    let fresh = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    std::env::var("WARREN_SOAK_SEED")
        .map_or_else(|_| fresh(), |text| text.parse().expect("WARREN_SOAK_SEED: a number"))
}

#[test]
fn nothing_leaks_and_nothing_goes_astray() {
    let config = EalConfig {
        args: vec!["--no-pci".into()],
        file_prefix: Some(format!("warren-soak-{}", std::process::id())),
        memory_mib: 256,
        ..EalConfig::default()
    };
    let eal = Eal::init(&config).unwrap();
    let pool = Mempool::new(&eal, "soak", BUFFERS, 2048 + HEADROOM as u16, 256, None).unwrap();
    let seed = seed();
    println!("seed {seed}");
    let shared = Arc::new(Shared {
        seed,
        start: Instant::now(),
        pool: pool.clone(),
        quiet: AtomicBool::default(),
        stop: AtomicBool::default(),
        delivered: AtomicU64::default(),
        own: AtomicU64::default(),
        wrong: crossbeam::queue::ArrayQueue::new(1),
        wires: Default::default(),
    });
    let mut model = model();
    let (mut nodes, mut workers) = (Vec::new(), Vec::new());
    for host in 0..HOSTS.len() {
        let (node, of_node) = Node::new(host, &shared, model.clone());
        nodes.push(node);
        workers.extend(of_node);
    }
    let mut nodes: [Node; 2] = nodes.try_into().unwrap_or_else(|_| unreachable!());
    let changes = thread::scope(|scope| {
        for (worker, number) in workers.iter_mut().zip(10..) {
            let (shared, eal, random) = (&shared, &eal, Random::new(seed ^ number));
            scope.spawn(move || work(shared, eal, random, worker));
        }
        let changes = manage(&shared, &mut nodes, &mut model, Duration::from_secs(seconds()));
        drain(&shared, &mut nodes);
        shared.stop.store(true, Ordering::Relaxed);
        changes
    });
    let (delivered, own) = (shared.delivered.load(Ordering::Relaxed), shared.own.load(Ordering::Relaxed));
    println!("{changes} changes; {delivered} packets delivered, {own} frames of the nodes");
    assert_eq!(shared.wrong.pop(), None, "seed {seed}");
    nodes.iter().for_each(Node::check_counters);
    // On however busy a machine.
    assert!(delivered > 1000 && changes > 10, "too little has happened");

    // The tables of connections are empty when their time is over.
    let days = shared.now() + Duration::from_secs(30 * 24 * 3600);
    for worker in &mut workers {
        let connections = worker.connections();
        // One that lived on since it was put on the wheel is put there again.
        connections.advance(days, u32::MAX);
        connections.advance(2 * days, u32::MAX);
        for port in (0..PORTS).map(|port| PortIndex(port as u16)) {
            let stats = connections.port_stats(port);
            assert_eq!(stats.unanswered + stats.established + stats.spare, 0, "{port:?}: {stats:?}");
            assert_eq!(stats.created, stats.expired + stats.evicted + stats.closed, "{port:?}: {stats:?}");
        }
    }
    drop(workers);
    assert_eq!(pool.in_use(), 0, "buffers leak");
}
