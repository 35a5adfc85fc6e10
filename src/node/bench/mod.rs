//! `warren bench`: the real worker loop over software ports, in cycles per packet.
//!
//! Every case runs in turns with its own baseline, so that both see the same machine: the *driver* baseline receives,
//! writes the packet's changing bytes and sends, and does nothing between. The case [`Case::Bare`] is a yardstick, not a
//! part of Warren: the least that any VXLAN sender does (see `bare`).

mod bare;
mod border;
mod case;
mod generator;
mod moves;
mod paced;
mod scaling;
mod turns;

use clap::Args;
use serde::Serialize;

pub use self::case::Case;
use self::{generator::Generator, turns::Bench};
use super::{
    clock::{Clock, measure_cycles},
    fleet::{self, Fleet},
    worker::Worker,
};
use crate::{
    dpdk::{self, Eal, EalConfig, Mbuf, Mempool, Port, TxQueue, reserve_hugepages},
    ffi::{allowed_cpus, pin_to_cpus},
    pipeline::MAX_BURST,
};

/// The rules that a [`Fleet`] can have: few more than it takes to let its connections through, and as many as there are blocks of eight ports.
const RULES: std::ops::RangeInclusive<usize> = 64..=8000;
/// The driver of null devices counts a queue's packets, atomically, in the cache line of the next queue's: two workers with queues next
/// to each other would measure that, which network cards don't have. (40 octets are of a queue, and the device's own are before the
/// first one's.)
const QUEUES_APART: u16 = 4;
/// The routes that it can have.
const MOST_ROUTES: usize = 60_000;

type BenchWorker = Worker<Mbuf, Generator, TxQueue>;

/// How it is measured.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// What to measure; several are measured in turns.
    #[arg(long = "case", value_enum, required = true, value_delimiter = ',')]
    pub cases: Vec<Case>,
    /// ENIs in the tables.
    #[arg(long, default_value_t = 1000)]
    pub entries: usize,
    /// Connections of the `stateful` cases.
    #[arg(long, default_value_t = 4096)]
    pub flows: usize,
    /// Rules of the ENIs' security groups in each direction, in the cases with connections.
    #[arg(long, default_value_t = 1000)]
    pub rules: usize,
    /// Routes of the subnets' route table besides the local ones, in the cases with connections.
    #[arg(long, default_value_t = 100)]
    pub routes: usize,
    /// Bytes of the inner frame.
    #[arg(long, default_value_t = 64)]
    pub size: usize,
    /// Packets taken from a queue at once.
    #[arg(long, default_value_t = 32)]
    pub burst: usize,
    /// Measurements, of which the minimum and the median are printed.
    #[arg(long, default_value_t = 21)]
    pub runs: usize,
    /// The CPU to run on.
    #[arg(long, default_value_t = 1)]
    pub cpu: usize,
    /// Of `paced`: the packets that arrive, in percent of the most that the worker takes.
    #[arg(long, value_name = "PERCENT", default_value_t = 50.0)]
    pub load: f64,
    /// Of `paced`: how often a second an ENI moves to another host.
    #[arg(long, value_name = "PER_SECOND", default_value_t = 0)]
    pub updates: u32,
    /// Of `scale`: how many workers.
    #[arg(long, default_value_t = 2)]
    pub workers: usize,
    /// Of `scale`: the packets that arrive at another's queue.
    #[arg(long, value_name = "PERCENT", default_value_t = 0)]
    pub handoff: usize,
    /// Print JSON, a line for each case.
    #[arg(long)]
    pub json: bool,
}

/// Minimum and median.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figure {
    /// The smallest (for rates: the largest) of all runs.
    pub best: f64,
    /// Half of the runs are better.
    pub median: f64,
}

impl Figure {
    fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at =
            |index: usize| samples.get(index).copied().map_or(0.0, |value| (value * 100.0).round() / 100.0);
        Self { best: at(0), median: at(samples.len() / 2) }
    }
}

/// A line of the result.
#[derive(Serialize)]
struct Line {
    case: Case,
    entries: usize,
    flows: usize,
    size: usize,
    burst: usize,
    workers: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routes: Option<usize>,
    cycles_per_packet: f64,
    cycles_per_packet_median: f64,
    driver_cycles_per_packet: f64,
    driver_cycles_per_packet_median: f64,
    mpps: f64,
    mpps_median: f64,
    /// Of [`Case::Connect`]: millions of connections a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    connections_mps: Option<f64>,
    hugepages: bool,
    table_bytes: usize,
}

/// Runs the cases and prints a line for each.
///
/// # Errors
///
/// A sentence: what could not be set up.
pub fn run(options: &Options) -> Result<(), String> {
    let check = |ok: bool, text: &str| if ok { Ok(()) } else { Err(text.to_owned()) };
    check((1..=MAX_BURST).contains(&options.burst), &format!("--burst: 1 to {MAX_BURST}"))?;
    check((64..=1514).contains(&options.size), "--size: 64 to 1514")?;
    check((2..=fleet::MAX_ENIS).contains(&options.entries), &format!("--entries: 2 to {}", fleet::MAX_ENIS))?;
    check(options.runs > 0, "--runs: at least 1")?;
    check(options.flows > 0, "--flows: at least 1")?;
    check(RULES.contains(&options.rules), "--rules: 64 to 8000")?;
    check(options.routes <= MOST_ROUTES, &format!("--routes: at most {MOST_ROUTES}"))?;
    check(options.load > 0.0 && options.load <= 200.0, "--load: more than 0, at most 200 percent")?;
    check((1..=64).contains(&options.workers), "--workers: 1 to 64")?;
    check(options.handoff <= 100, "--handoff: at most 100 percent")?;
    check(options.handoff == 0 || options.workers > 1, "--handoff: with --workers 2 or more")?;
    let cpus = allowed_cpus();
    let machine = Machine::new(options)?;
    let fleet = Fleet::new(options.entries);
    let ruled = Fleet::new(options.entries).with_rules(options.rules, options.routes);
    let mut benches = Vec::new();
    for case in options.cases.iter().filter(|case| !case.is_apart()) {
        let fleet = match case {
            Case::Peering => &Fleet::peered(options.entries, options.rules, options.routes),
            case if case.is_stateful() => &ruled,
            _ => &fleet,
        };
        benches.push(Bench::new(*case, &machine, fleet, options)?);
    }
    pin_to_cpus(&[options.cpu]).map_err(|error| format!("--cpu {}: {error}", options.cpu))?;
    // The first turn warms caches and is not counted.
    for turn in 0..=options.runs {
        for bench in &mut benches {
            bench.measure(machine.clock, turn > 0);
        }
    }
    for bench in benches {
        bench.check()?;
        print(&bench.line(options, &machine), options.json);
    }
    for case in &options.cases {
        match case {
            Case::Move => moves::run(&machine, &fleet, options, &cpus)?,
            Case::Paced => paced::run(&machine, &ruled, options, &cpus)?,
            Case::Scale => scaling::run(&machine, options, &cpus)?,
            _ => {}
        }
    }
    Ok(())
}

fn print(line: &Line, json: bool) {
    if json {
        println!("{}", serde_json::to_string(line).unwrap_or_default());
    } else {
        println!(
            "{:?}: {} entries, {} bytes, bursts of {}: {:.1} cycles per packet (median {:.1}), of which the driver {:.1} (median {:.1}); {:.2} Mpps per core{}{}",
            line.case,
            line.entries,
            line.size,
            line.burst,
            line.cycles_per_packet,
            line.cycles_per_packet_median,
            line.driver_cycles_per_packet,
            line.driver_cycles_per_packet_median,
            line.mpps,
            line.connections_mps
                .map_or_else(String::new, |mps| format!(", {mps:.2} million connections a second")),
            if line.hugepages { "" } else { " (no hugepages: not to be quoted)" },
        );
    }
}

/// What all cases share: the EAL, buffers, the frequency of the cycle counter.
struct Machine {
    eal: Eal,
    pool: Mempool,
    hugepages: bool,
    cycles_per_second: f64,
    clock: Clock,
}

impl Machine {
    fn new(options: &Options) -> Result<Self, String> {
        let memory_mib = 256;
        // Refused where the kernel or the caller's rights don't allow it: the run goes on without, and says so.
        let _ = reserve_hugepages(u64::from(memory_mib) / 2 + 8);
        let eal = Eal::init(&EalConfig {
            args: vec!["--no-pci".into(), "--in-memory".into()],
            file_prefix: Some(format!("warren-bench-{}", std::process::id())),
            main_cpus: vec![options.cpu],
            memory_mib,
            ..EalConfig::default()
        })
        .map_err(|error| error.to_string())?;
        let pool =
            Mempool::new(&eal, "buffers", 16_383, 2176, 256, None).map_err(|error| error.to_string())?;
        let hugepages = matches!(eal.hugepages(), dpdk::HugepageMode::Hugepages { .. });
        let frequency = measure_cycles();
        let (clock, cycles_per_second) = (Clock::new(frequency), frequency as f64);
        Ok(Self { eal, pool, hugepages, cycles_per_second, clock })
    }

    /// A null device that hands out buffers of a size and swallows what it is given.
    fn null(&self, name: &str, size: usize) -> Result<(Port, dpdk::RxQueue, TxQueue), String> {
        let (port, mut rx, mut tx) = self.null_queues(name, size, 1)?;
        let queues = rx.pop().zip(tx.pop());
        let (rx, tx) = queues.ok_or("a null device without queues")?;
        Ok((port, rx, tx))
    }

    /// One with several queues of each direction, of which workers of their own can each have one: the queues between are left out.
    fn null_queues(
        &self,
        name: &str,
        size: usize,
        queues: u16,
    ) -> Result<(Port, Vec<dpdk::RxQueue>, Vec<TxQueue>), String> {
        let device = format!("net_null_{name},size={size}");
        let mut port = Port::probe(&self.eal, &device).map_err(|error| error.to_string())?;
        let numbers = (1..=queues).map(|queue| queue * QUEUES_APART);
        let all = queues * QUEUES_APART + 1;
        port.configure(&dpdk::PortConfig {
            rx_queues: all,
            tx_queues: all,
            rx_descriptors: 512,
            tx_descriptors: 512,
            mtu: None,
            mac: None,
            promiscuous: false,
            rss: false,
            rx_checksums: false,
            pool: self.pool.clone(),
        })
        .map_err(|error| error.to_string())?;
        port.start().map_err(|error| error.to_string())?;
        let rx = numbers.clone().filter_map(|queue| port.take_rx(queue)).collect();
        let tx = numbers.filter_map(|queue| port.take_tx(queue)).collect();
        Ok((port, rx, tx))
    }
}
