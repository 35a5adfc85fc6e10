//! Several workers against one: each on a CPU of its own, with a queue of its own of the first instance's port, whose flows they share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    super::{
        fleet::{self, Fleet},
        traffic::Stamp,
        worker::{Plan, Receive, Worker, WorkerCounters},
    },
    Case, Figure, Machine, Options,
    generator::{Generator, Traffic},
};
use crate::{
    compile::Compiler,
    dpdk::{Mbuf, Port, TxQueue},
    ffi::pin_to_cpus,
    flow::Connections,
    packet::Plain,
    pipeline::{Burst, Reason},
    rcu::Publisher,
    tables::Tables,
};

/// How long a measurement takes.
const WINDOW: Duration = Duration::from_millis(100);

/// Packets that may be on their way through a node, or a little more.
const WINDOW_PACKETS: u64 = 1024;
/// Bursts between two looks at how many there are: the counters of other workers are in their caches.
const LOOK: u32 = 16;

/// A queue that waits while too many packets are on their way: without, who hands over takes new ones faster than others can finish
/// them, and what is measured is how many are lost.
struct Windowed {
    generator: Generator,
    counters: Arc<[Arc<WorkerCounters>]>,
    bursts: u32,
}

impl Windowed {
    fn on_their_way(&self) -> u64 {
        let of = |worker: &Arc<WorkerCounters>| {
            let (from, to) = (worker.ports.port(fleet::FIRST), worker.ports.port(fleet::UPLINK));
            (from.rx_packets.get(), to.tx_packets.get() + from.drops(Reason::HandoffFull))
        };
        let (came, went) =
            self.counters.iter().map(of).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        came.saturating_sub(went)
    }
}

impl Receive<Mbuf> for Windowed {
    #[inline]
    fn receive(&mut self, burst: &mut Burst<Mbuf>, most: usize) {
        if self.bursts == 0 {
            if self.on_their_way() > WINDOW_PACKETS {
                return;
            }
            self.bursts = LOOK;
        }
        self.bursts -= 1;
        self.generator.receive(burst, most);
    }
}

type TeamWorker = Worker<Mbuf, Windowed, TxQueue>;

/// Workers of one node.
struct Team {
    workers: Vec<TeamWorker>,
    counters: Arc<[Arc<WorkerCounters>]>,
    /// Kept for as long as the workers.
    _ports: Vec<Port>,
    _tables: Publisher<Tables>,
}

impl Team {
    /// So many, of whose packets `astray` percent arrive at another's queue.
    fn new(
        name: &str,
        workers: usize,
        astray: usize,
        machine: &Machine,
        options: &Options,
    ) -> Result<Self, String> {
        let fleet = Fleet::new(options.entries).with_workers(workers as u8);
        let stamp = Stamp::encapsulate(&fleet, options.size);
        // As the pipeline has it: equal parts of the hash.
        let part = |frame: &[u8]| {
            let hash = Plain::of(frame).map_or(0, |plain| plain.flow_hash());
            ((u64::from(hash) * workers as u64) >> 32) as usize
        };
        let (source, queues, uplinks) =
            machine.null_queues(&format!("{name}0"), options.size, workers as u16)?;
        let (sink, _, others) = machine.null_queues(&format!("{name}1"), 64, workers as u16)?;
        let mut compiler = Compiler::new(fleet.site());
        let tables = compiler.build(fleet.model(), &fleet.neighbours());
        let (tables, readers) = Publisher::new(tables, workers);
        // The ports' owner is worker 0, whose part of an ENI's flows is the first.
        let plan = Arc::new(Plan::new(vec![0; 3].into(), workers));
        let counters: Arc<[_]> = (0..workers).map(|_| Arc::new(WorkerCounters::new(3))).collect();
        let room = 2 * (fleet.count() as u32);
        let stamps = stamp.split(workers, astray, part);
        let parts = queues.into_iter().zip(uplinks.into_iter().zip(others)).zip(stamps).zip(readers);
        let workers = parts
            .enumerate()
            .map(|(number, (((rx, (tx, other)), stamp), reader))| {
                let generator = Generator::new(rx, Traffic::of(stamp));
                let windowed = Windowed { generator, counters: Arc::clone(&counters), bursts: 0 };
                let receivers = vec![(fleet::FIRST, windowed)];
                let outputs = [Some(tx), None, Some(other)];
                let own = Arc::clone(&counters[number]);
                Worker::new(number, receivers, outputs, Arc::clone(&plan), reader, own, options.burst)
                    .with_connections(Connections::new(room))
            })
            .collect();
        Ok(Self { workers, counters, _ports: vec![source, sink], _tables: tables })
    }

    /// Packets that have left through the uplink.
    fn sent(&self) -> u64 {
        self.counters.iter().map(|worker| worker.ports.port(fleet::UPLINK).tx_packets.get()).sum()
    }
}

/// Measures one worker and `--workers` of them in turns.
pub(super) fn run(machine: &Machine, options: &Options, cpus: &[usize]) -> Result<(), String> {
    let others = cpus.iter().copied().filter(|&cpu| cpu != options.cpu);
    let cpus: Vec<usize> = std::iter::once(options.cpu).chain(others).take(options.workers).collect();
    if cpus.len() < options.workers {
        return Err(format!("--workers {}: this process may use {} CPUs only", options.workers, cpus.len()));
    }
    let mut one = Team::new("one", 1, 0, machine, options)?;
    let mut all = Team::new("all", options.workers, options.handoff, machine, options)?;
    // Who works: nobody, one, all, and finally nobody ever again.
    let turn = AtomicUsize::new(NOBODY);
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    let workers = one.workers.drain(..).map(|worker| (ONE, worker));
    let workers: Vec<_> = workers.chain(all.workers.drain(..).map(|worker| (ALL, worker))).collect();
    thread::scope(|scope| {
        for (number, (team, worker)) in workers.into_iter().enumerate() {
            let cpu = cpus[number.saturating_sub(1)];
            let turn = &turn;
            scope.spawn(move || work(machine, cpu, worker, turn, team));
        }
        for run in 0..=options.runs {
            for (team, of, rates) in [(ONE, &one, &mut alone), (ALL, &all, &mut together)] {
                turn.store(team, Ordering::Relaxed);
                // Until all have seen it, and every flow has begun.
                thread::sleep(WINDOW / 5);
                let (before, start) = (of.sent(), Instant::now());
                thread::sleep(WINDOW);
                let rate = (of.sent() - before) as f64 / start.elapsed().as_secs_f64();
                if run > 0 {
                    rates.push(machine.cycles_per_second / rate);
                }
            }
        }
        turn.store(OVER, Ordering::Relaxed);
    });
    print(machine, options, &all, (&Figure::of(alone), &Figure::of(together)));
    Ok(())
}

const NOBODY: usize = 0;
const ONE: usize = 1;
const ALL: usize = 2;
const OVER: usize = 3;

/// A worker's thread: works when it is its team's turn.
fn work(machine: &Machine, cpu: usize, mut worker: TeamWorker, turn: &AtomicUsize, team: usize) {
    // Unpinned or unregistered it is slower, which the figures show.
    let _ = pin_to_cpus(&[cpu]);
    let _lcore = machine.eal.register_thread();
    loop {
        match turn.load(Ordering::Relaxed) {
            OVER => break,
            now if now == team => {
                worker.round(machine.clock.now());
            }
            _ => thread::sleep(Duration::from_micros(200)),
        }
    }
}

fn print(machine: &Machine, options: &Options, team: &Team, (alone, together): (&Figure, &Figure)) {
    let mpps = |cycles: f64| (machine.cycles_per_second / cycles / 1e4).round() / 100.0;
    let sum =
        |of: &dyn Fn(&WorkerCounters) -> u64| team.counters.iter().map(|worker| of(worker)).sum::<u64>();
    let handed = sum(&|worker| worker.handed_over.get()) as f64 * 100.0
        / sum(&|worker| worker.ports.port(fleet::FIRST).rx_packets.get()).max(1) as f64;
    let refused = sum(&|worker| worker.ports.port(fleet::FIRST).drops(Reason::HandoffFull));
    let ratio = |one: f64, all: f64| (one / all * 100.0).round() / 100.0;
    let (best, median) = (ratio(alone.best, together.best), ratio(alone.median, together.median));
    if options.json {
        println!(
            "{}",
            json!({
                "case": Case::Scale, "entries": options.entries, "size": options.size, "burst": options.burst,
                "workers": options.workers, "handed_over_percent": (handed * 10.0).round() / 10.0,
                "handoff_full": refused, "mpps": mpps(together.best), "mpps_median": mpps(together.median),
                "mpps_one_worker": mpps(alone.best), "mpps_one_worker_median": mpps(alone.median),
                "speedup": best, "speedup_median": median, "hugepages": machine.hugepages,
            })
        );
    } else {
        println!(
            "Scale: {} workers, {handed:.0} % of the packets handed over ({refused} refused): {:.2} Mpps (median {:.2}), one worker {:.2} (median {:.2}): {best:.2} times (median {median:.2})",
            options.workers,
            mpps(together.best),
            mpps(together.median),
            mpps(alone.best),
            mpps(alone.median),
        );
    }
}
