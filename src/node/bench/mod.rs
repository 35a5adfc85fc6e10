//! `warren bench`: the real worker loop over software ports, in cycles per packet.
//!
//! Every case runs in turns with its own baseline, so that both see the same machine: the *driver* baseline receives,
//! writes the packet's changing bytes and sends, and does nothing between. The case [`Case::Bare`] is a yardstick, not a
//! part of Warren: the least that any VXLAN sender does (see `bare`).

mod bare;
mod border;
mod generator;
mod moves;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64},
};

use clap::{Args, ValueEnum};
use serde::Serialize;

use self::generator::{Generator, Traffic};
use super::worker::{Plan, Transmit, Worker, WorkerCounters};
use super::{
    clock::{Clock, measure_cycles},
    fleet::{self, Fleet},
    traffic::{Connections, Stamp},
};
use crate::{
    compile::Compiler,
    dpdk::{self, Eal, EalConfig, Mbuf, Mempool, Port, TxQueue, reserve_hugepages},
    ffi::{allowed_cpus, cycles, pin_to_cpus},
    flow::{self, Side, connections::Opening},
    packet::tcp::{ACK, FIN, SYN},
    pipeline::{Burst, MAX_BURST, Reason},
    rcu::Publisher,
    tables::{Direction, PortIndex, Tables},
};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Case {
    /// From an instance across subnets to random ENIs of other hosts: checks, lookup, VXLAN.
    Encap,
    /// From random ENIs of other hosts to an instance: VXLAN off, origin check, delivery.
    Decap,
    /// From an instance to another of this host.
    Local,
    /// As `encap`, of `--flows` established TCP connections, with security groups of 1000 rules on both ENIs and 100 routes.
    Stateful,
    /// The way back: as `decap`.
    #[value(name = "stateful-in")]
    #[serde(rename = "stateful-in")]
    StatefulIn,
    /// New connections, with the rules of `stateful`: the first instance opens TCP connections to others of other hosts, which
    /// close them, six packets each. `--flows`: how many come before the first comes again, at least a million.
    Connect,
    /// As `encap`, through the C API.
    #[value(name = "encap-api")]
    #[serde(rename = "encap-api")]
    EncapApi,
    /// As `decap`, through the C API.
    #[value(name = "decap-api")]
    #[serde(rename = "decap-api")]
    DecapApi,
    /// Moves of an ENI under `encap` traffic: how long until all workers use the new tables, and what was copied.
    Move,
    /// The yardstick: parse, one hash lookup, a ready VXLAN header, and none of Warren's checks.
    Bare,
}

impl Case {
    /// Whether its connections are there before it counts.
    fn is_established(self) -> bool {
        matches!(self, Self::Stateful | Self::StatefulIn)
    }

    /// Whether its ENIs have rules and connections.
    fn is_stateful(self) -> bool {
        self.is_established() || self == Self::Connect
    }

    /// The traffic, by the port that it comes from.
    fn traffic(self, fleet: &Fleet, options: &Options) -> Vec<(PortIndex, Traffic)> {
        let size = options.size;
        let connections = self.connections(options);
        let (port, stamp) = match self {
            Self::Encap | Self::EncapApi | Self::Bare | Self::Move => {
                (fleet::FIRST, Stamp::encapsulate(fleet, size))
            }
            Self::Local => (fleet::FIRST, Stamp::local(fleet, size)),
            Self::Decap | Self::DecapApi => (fleet::UPLINK, Stamp::decapsulate(fleet, size)),
            Self::Stateful => (fleet::FIRST, Stamp::connected(fleet, size, connections)),
            Self::StatefulIn => (fleet::UPLINK, Stamp::connected_in(fleet, size, connections)),
            Self::Connect => {
                let client = Stamp::connected(fleet, size, connections);
                let server = Stamp::connected_in(fleet, size, connections);
                return vec![
                    (fleet::FIRST, Traffic::in_rounds(client, &[SYN, ACK, FIN | ACK])),
                    (fleet::UPLINK, Traffic::in_rounds(server, &[SYN | ACK, FIN | ACK, ACK])),
                ];
            }
        };
        vec![(port, Traffic::of(stamp))]
    }

    /// The connections of a case that has some.
    fn connections(self, options: &Options) -> Connections {
        let (serves, random) = (self == Self::StatefulIn, self != Self::Connect);
        let count = if random { options.flows } else { options.flows.max(1 << 20) };
        Connections { count, serves, random }
    }
}

/// Packets of a connection in [`Case::Connect`].
const PACKETS_PER_CONNECTION: f64 = 6.0;

/// Rules of an ENI's security groups in each direction, and routes, in the `stateful` cases.
const RULES: usize = 1000;
const ROUTES: usize = 100;

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
    /// Print JSON, a line for each case.
    #[arg(long)]
    pub json: bool,
}

/// Packets of one measurement.
const PACKETS: usize = 1 << 18;

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
    let cpus = allowed_cpus();
    let machine = Machine::new(options)?;
    let fleet = Fleet::new(options.entries);
    let ruled = Fleet::new(options.entries).with_rules(RULES, ROUTES);
    let mut benches = Vec::new();
    for case in options.cases.iter().filter(|case| **case != Case::Move) {
        let fleet = if case.is_stateful() { &ruled } else { &fleet };
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
    if options.cases.contains(&Case::Move) {
        moves::run(&machine, &fleet, options, &cpus)?;
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
        let device = format!("net_null_{name},size={size}");
        let mut port = Port::probe(&self.eal, &device).map_err(|error| error.to_string())?;
        port.configure(&dpdk::PortConfig {
            rx_queues: 1,
            tx_queues: 1,
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
        let queues = port.take_rx(0).zip(port.take_tx(0));
        let (rx, tx) = queues.ok_or("a null device without queues")?;
        Ok((port, rx, tx))
    }
}

type BenchWorker = Worker<Mbuf, Generator, TxQueue>;

/// What is done with the generated packets.
enum Work {
    /// The worker loop, and what it counts.
    Worker(Box<BenchWorker>, Arc<WorkerCounters>),
    /// A program with the C API.
    Border(Box<border::Border>),
    /// The yardstick.
    Bare(Box<bare::Bare>),
}

/// A case, set up.
struct Bench {
    case: Case,
    work: Work,
    baseline: Vec<(Generator, TxQueue)>,
    table_bytes: usize,
    flows: usize,
    /// Packets after which they come again.
    period: usize,
    burst: usize,
    cycles: Vec<f64>,
    driver: Vec<f64>,
    /// Closed after the queues above.
    _ports: Vec<Port>,
}

impl Bench {
    fn new(case: Case, machine: &Machine, fleet: &Fleet, options: &Options) -> Result<Self, String> {
        let name = format!("{case:?}").to_lowercase();
        let traffic = case.traffic(fleet, options);
        let mut devices = Vec::new();
        let mut baseline = Vec::new();
        let mut receivers = Vec::new();
        let mut outputs = [None, None, None];
        for (port, traffic) in &traffic {
            let len = traffic.stamp().frame().len();
            let (device, rx, tx) = machine.null(&format!("{name}{}", port.0), len)?;
            let (base, base_rx, base_tx) = machine.null(&format!("{name}{}base", port.0), len)?;
            receivers.push((*port, Generator::new(rx, traffic.clone())));
            outputs[usize::from(port.0)] = Some(tx);
            baseline.push((Generator::new(base_rx, traffic.clone()), base_tx));
            devices.extend([device, base]);
        }
        for (number, output) in outputs.iter_mut().enumerate().filter(|(_, output)| output.is_none()) {
            let (device, _, tx) = machine.null(&format!("{name}{number}"), 64)?;
            *output = Some(tx);
            devices.push(device);
        }
        let stamps = traffic.iter().map(|(_, traffic)| traffic.stamp());
        let (flows, period) = stamps.map(|stamp| (stamp.flows(), stamp.period())).max().unwrap_or_default();
        let room = 2 * flows.max(1) as u32;
        let (work, table_bytes) = if case == Case::Bare {
            let from = receivers.pop().zip(outputs[usize::from(fleet::UPLINK.0)].take());
            let ((_, generator), tx) = from.ok_or("no traffic")?;
            let bare = bare::Bare::new(fleet, generator, tx);
            let bytes = bare.table_bytes();
            (Work::Bare(Box::new(bare)), bytes)
        } else if matches!(case, Case::EncapApi | Case::DecapApi) {
            let from = receivers.pop().ok_or("no traffic")?;
            (Work::Border(Box::new(border::Border::new(fleet, from, outputs, room)?)), 0)
        } else {
            let mut set_up = worker(fleet, receivers, outputs, (options.burst, room));
            if case.is_established() {
                establish(&mut set_up, fleet, case.connections(options), machine.clock);
            }
            let bytes = set_up.tables.current().bytes();
            (Work::Worker(Box::new(set_up.worker), set_up.counters), bytes)
        };
        Ok(Self {
            case,
            work,
            baseline,
            table_bytes,
            flows,
            period,
            burst: options.burst,
            cycles: Vec::new(),
            driver: Vec::new(),
            _ports: devices,
        })
    }

    /// One turn: the baseline, then the case.
    fn measure(&mut self, clock: Clock, counted: bool) {
        let driver = baseline(&mut self.baseline, self.burst);
        let start = cycles();
        let mut packets = 0;
        // Before it counts, every connection has begun.
        let most = if counted { PACKETS } else { PACKETS.max(self.period) };
        while packets < most {
            packets += match &mut self.work {
                Work::Worker(worker, _) => worker.round(clock.now()),
                Work::Border(border) => border.round(self.burst, clock),
                Work::Bare(bare) => bare.round(self.burst),
            };
        }
        let spent = (cycles() - start) as f64 / packets as f64;
        if counted {
            self.cycles.push(spent);
            self.driver.push(driver);
        }
    }

    /// A packet that was dropped was not measured doing what the case says.
    fn check(&self) -> Result<(), String> {
        let counters = match &self.work {
            Work::Worker(_, counters) => counters,
            Work::Border(border) => {
                let dropped = border.dropped();
                return dropped.map_or(Ok(()), |(port, packets)| {
                    Err(format!("{:?}: {packets} packets were dropped at port {}", self.case, port.0))
                });
            }
            Work::Bare(_) => return Ok(()),
        };
        let ports = (0..3).map(|port| counters.ports.port(PortIndex(port)));
        let dropped =
            ports.flat_map(|port| Reason::ALL.iter().map(move |reason| (*reason, port.drops(*reason))));
        match dropped.filter(|(_, packets)| *packets > 0).max_by_key(|(_, packets)| *packets) {
            Some((reason, packets)) => {
                Err(format!("{:?}: {packets} packets were dropped: {reason}", self.case))
            }
            None => Ok(()),
        }
    }

    fn line(self, options: &Options, machine: &Machine) -> Line {
        let (cycles, driver) = (Figure::of(self.cycles), Figure::of(self.driver));
        let mpps = |cycles: f64| (machine.cycles_per_second / cycles / 1e4).round() / 100.0;
        let connects = self.case == Case::Connect;
        let connections_mps = connects.then(|| mpps(cycles.best * PACKETS_PER_CONNECTION));
        Line {
            case: self.case,
            entries: options.entries,
            flows: self.flows,
            size: options.size,
            burst: options.burst,
            workers: 1,
            cycles_per_packet: cycles.best,
            cycles_per_packet_median: cycles.median,
            driver_cycles_per_packet: driver.best,
            driver_cycles_per_packet_median: driver.median,
            mpps: mpps(cycles.best),
            mpps_median: mpps(cycles.median),
            connections_mps,
            hugepages: machine.hugepages,
            table_bytes: self.table_bytes,
        }
    }
}

/// Receives, stamps and sends; returns cycles per packet.
fn baseline(ports: &mut [(Generator, TxQueue)], burst: usize) -> f64 {
    use super::worker::Receive;
    let mut packets = Burst::new();
    let start = cycles();
    let mut count = 0;
    while count < PACKETS {
        for (generator, tx) in &mut *ports {
            generator.receive(&mut packets, burst);
            count += packets.len();
            tx.transmit(&mut packets);
        }
    }
    (cycles() - start) as f64 / count as f64
}

/// A worker, and what goes with it.
struct SetUp {
    worker: BenchWorker,
    tables: Publisher<Tables>,
    counters: Arc<WorkerCounters>,
}

/// The worker of a node with two instance ports and an uplink.
fn worker(
    fleet: &Fleet,
    receivers: Vec<(PortIndex, Generator)>,
    outputs: [Option<TxQueue>; 3],
    (burst, connections): (usize, u32),
) -> SetUp {
    let mut compiler = Compiler::new(fleet.site());
    let tables = compiler.build(fleet.model(), &fleet.neighbours());
    let (tables, mut readers) = Publisher::new(tables, 1);
    let counters = Arc::new(WorkerCounters::new(3));
    let plan = Arc::new(Plan::new(vec![0; 3].into(), 1));
    let reader = readers.remove(0);
    let worker = Worker::new(0, receivers, outputs, plan, reader, Arc::clone(&counters), burst)
        .with_connections(flow::Connections::new(connections));
    SetUp { worker, tables, counters }
}

/// Makes the connections of a `stateful` case, all established, as their packets alone would not.
fn establish(set_up: &mut SetUp, fleet: &Fleet, connections: Connections, clock: Clock) {
    // The first round settles who has which room.
    set_up.worker.round(clock.now());
    let now = clock.now().time;
    let stay = set_up.tables.current().local_eni(fleet::FIRST).map_or(0, |eni| eni.stay);
    let direction = if connections.serves { Direction::Ingress } else { Direction::Egress };
    let timeouts = flow::Timeouts::DEFAULT;
    let table = set_up.worker.connections();
    for ends in connections.ends(fleet) {
        let key = table.key(fleet::FIRST, &ends);
        let opening = Opening { direction, tracked: true, tcp_flags: SYN, eni: stay, flow: 0, segment: None };
        if let Ok(entry) = table.open(&key, now, &timeouts, &opening) {
            table.track(entry, now, &timeouts, Side::Responder, SYN | ACK);
            table.track(entry, now, &timeouts, Side::Initiator, ACK);
        }
    }
}

/// Set by one thread, seen by another.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    packets: AtomicU64,
}
