//! Packets that arrive whether or not the worker is there: what waits, for how long, and what finds no room.
//!
//! A null device has a packet whenever it is asked. Here packets arrive at a rate, into a queue as a network card has one, and are lost
//! where it is full. Each carries the time of its arrival; when it is sent, that tells how long it was in the node.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    super::{
        fleet::{self, Fleet},
        traffic::Stamp,
        worker::{Receive, Transmit, Worker},
    },
    Case, Figure, Machine, Options,
    generator::{Generator, Traffic},
    moves, turns,
};
use crate::{
    dpdk::{Mbuf, TxQueue},
    ffi::{cycles, pin_to_cpus},
    load::{Histogram, Snapshot},
    packet::Buffer,
    pipeline::{Burst, Counter},
};

/// Packets that wait before one is lost: the descriptors of a port, unless its host file says otherwise.
const ROOM: usize = 1024;
/// How long a measurement takes.
const WINDOW: Duration = Duration::from_millis(250);

/// What receiver, sender and measuring thread share.
struct Flow {
    /// Cycles between two arrivals, in units of 2^-16.
    interval: AtomicU64,
    lost: Counter,
    waits: Histogram,
    stop: AtomicBool,
}

/// A queue into which packets arrive.
struct Paced {
    generator: Generator,
    flow: Arc<Flow>,
    /// When those that wait have arrived.
    waiting: VecDeque<u64>,
    /// When the next one arrives, in units of 2^-16 cycles since `start`.
    next: u64,
    start: u64,
}

impl Receive<Mbuf> for Paced {
    #[inline]
    fn receive(&mut self, burst: &mut Burst<Mbuf>, most: usize) {
        let now = cycles().wrapping_sub(self.start) << 16;
        let interval = self.flow.interval.load(Ordering::Relaxed);
        while self.next <= now {
            if self.waiting.len() < ROOM {
                self.waiting.push_back(self.next >> 16);
            } else {
                // All that has arrived since finds no room either.
                let more = (now - self.next) / interval.max(1);
                self.flow.lost.add(1 + more);
                self.next += more * interval;
            }
            self.next += interval;
        }
        let first = burst.len();
        self.generator.receive(burst, most.min(self.waiting.len()));
        for mbuf in burst.iter_mut().skip(first) {
            let Some(arrived) = self.waiting.pop_front() else { break };
            if let Some(end) = mbuf.data_mut().last_chunk_mut() {
                *end = self.start.wrapping_add(arrived).to_ne_bytes();
            }
        }
    }
}

/// A queue that looks at when what leaves has arrived.
struct Timed {
    queue: TxQueue,
    flow: Arc<Flow>,
}

impl Transmit<Mbuf> for Timed {
    #[inline]
    fn transmit(&mut self, burst: &mut Burst<Mbuf>) {
        let now = cycles();
        for mbuf in burst.iter_mut() {
            if let Some(arrived) = mbuf.data().last_chunk() {
                self.flow.waits.record(now.wrapping_sub(u64::from_ne_bytes(*arrived)));
            }
        }
        self.queue.transmit(burst);
    }
}

/// A measurement.
struct Window {
    waits: Snapshot,
    lost: u64,
    seconds: f64,
}

impl Window {
    /// Measures what happens from now on.
    fn of(flow: &Flow, length: Duration) -> Self {
        let (lost, start) = (flow.lost.get(), Instant::now());
        flow.waits.take();
        thread::sleep(length);
        let waits = flow.waits.take();
        Self { waits, lost: flow.lost.get() - lost, seconds: start.elapsed().as_secs_f64() }
    }

    fn per_second(&self) -> f64 {
        self.waits.count() as f64 / self.seconds
    }
}

/// Measures how many packets a worker can take, then how they fare at `--load` percent of that, while ENIs move
/// `--updates` times a second.
pub(super) fn run(machine: &Machine, fleet: &Fleet, options: &Options, cpus: &[usize]) -> Result<(), String> {
    let connections = Case::Paced.connections(options);
    let stamp = Stamp::connected(fleet, options.size, connections);
    let (_source, rx, tx) = machine.null("paced0", options.size)?;
    let (_sink, _, other) = machine.null("paced1", 64)?;
    let flow = Arc::new(Flow {
        interval: AtomicU64::new(1),
        lost: Counter::default(),
        waits: Histogram::new(),
        stop: AtomicBool::new(false),
    });
    let paced = Paced {
        generator: Generator::new(rx, Traffic::of(stamp)),
        flow: Arc::clone(&flow),
        waiting: VecDeque::with_capacity(ROOM),
        next: 0,
        start: cycles(),
    };
    let timed = |queue| Some(Timed { queue, flow: Arc::clone(&flow) });
    let outputs = [timed(tx), None, timed(other)];
    let room = (options.burst, 2 * options.flows.max(1) as u32);
    let mut set_up = turns::worker(fleet, vec![(fleet::FIRST, paced)], outputs, room);
    turns::establish(&mut set_up, fleet, connections, machine.clock);
    let turns::SetUp { worker, tables, .. } = set_up;
    let thread = spawn(machine, worker, Arc::clone(&flow), options.cpu);
    let others: Vec<usize> = cpus.iter().copied().filter(|&other| other != options.cpu).collect();
    let _ = pin_to_cpus(&others);

    let mut mover = moves::Mover::new(fleet, tables)?;
    let updates = options.updates;
    let (stop, updated) = (AtomicBool::new(false), Counter::default());
    thread::scope(|scope| {
        // Packets are always there: the most that a worker takes.
        Window::of(&flow, WINDOW);
        let most = (0..3).map(|_| Window::of(&flow, WINDOW).per_second()).fold(0.0, f64::max);
        let offered = most * options.load / 100.0;
        flow.interval.store((machine.cycles_per_second / offered * 65536.0) as u64, Ordering::Relaxed);
        if updates > 0 {
            scope.spawn(|| {
                let _ = pin_to_cpus(&others);
                keep_moving(&mut mover, updates, &stop, &updated);
            });
        }
        Window::of(&flow, WINDOW);
        let before = (updated.get(), Instant::now());
        let windows: Vec<Window> = (0..options.runs).map(|_| Window::of(&flow, WINDOW)).collect();
        let achieved = (updated.get() - before.0) as f64 / before.1.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        print(machine, options, (most, offered, achieved), &windows);
    });
    flow.stop.store(true, Ordering::Relaxed);
    thread.join().map_err(|_| "the worker panicked".to_owned())
}

/// Runs a worker on a CPU until it is told to stop.
fn spawn(
    machine: &Machine,
    mut worker: Worker<Mbuf, Paced, Timed>,
    flow: Arc<Flow>,
    cpu: usize,
) -> thread::JoinHandle<()> {
    let (eal, clock) = (machine.eal.clone(), machine.clock);
    thread::spawn(move || {
        // Unpinned or unregistered it is slower, which the figures show.
        let _ = pin_to_cpus(&[cpu]);
        let _lcore = eal.register_thread();
        while !flow.stop.load(Ordering::Relaxed) {
            worker.round(clock.now());
        }
    })
}

/// Changes the tables so many times a second, or as often as it can.
fn keep_moving(mover: &mut moves::Mover<'_>, rate: u32, stop: &AtomicBool, updated: &Counter) {
    let interval = Duration::from_secs(1) / rate;
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due = (due + interval).max(Instant::now() - interval);
        mover.publish();
        updated.add(1);
    }
}

fn print(
    machine: &Machine,
    options: &Options,
    (most, offered, updates): (f64, f64, f64),
    windows: &[Window],
) {
    let microseconds = |share: f64| {
        let one = |window: &Window| window.waits.percentile(share) as f64 * 1e6 / machine.cycles_per_second;
        Figure::of(windows.iter().map(one).collect())
    };
    let (half, p99, p999) = (microseconds(0.5), microseconds(0.99), microseconds(0.999));
    let slowest = microseconds(1.0);
    let lost: u64 = windows.iter().map(|window| window.lost).sum();
    let packets: u64 = lost + windows.iter().map(|window| window.waits.count()).sum::<u64>();
    let loss = Figure::of(windows.iter().map(lost_percent).collect());
    let mpps = |rate: f64| (rate / 1e4).round() / 100.0;
    if options.json {
        let line: Value = json!({
            "case": Case::Paced, "entries": options.entries, "flows": options.flows, "size": options.size,
            "burst": options.burst, "workers": 1, "load_percent": options.load, "most_mpps": mpps(most),
            "offered_mpps": mpps(offered), "updates_per_second": updates.round(), "packets": packets, "lost": lost,
            "lost_percent": loss, "latency_us_p50": half, "latency_us_p99": p99, "latency_us_p999": p999,
            "latency_us_max": slowest, "hugepages": machine.hugepages,
        });
        println!("{line}");
    } else {
        println!(
            "Paced: {:.2} of {:.2} Mpps, {updates:.0} updates a second: {lost} of {packets} packets lost; in the node for {:.1} µs (median), {:.1} (p99), {:.1} (p99.9), {:.0} at most (least of {} runs)",
            mpps(offered),
            mpps(most),
            half.best,
            p99.best,
            p999.best,
            slowest.best,
            windows.len(),
        );
    }
}

/// Of a window's packets, in percent.
fn lost_percent(window: &Window) -> f64 {
    let all = window.lost + window.waits.count();
    window.lost as f64 * 100.0 / all.max(1) as f64
}
