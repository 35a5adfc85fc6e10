//! Cases in turns, each with its own baseline, packet by packet as fast as one worker can.

use std::sync::Arc;

use super::{
    super::{
        clock::Clock,
        fleet::{self, Fleet},
        traffic::Connections,
        worker::{Plan, Receive, Transmit, Worker, WorkerCounters},
    },
    BenchWorker, Case, Figure, Line, Machine, Options, bare, border,
    generator::Generator,
};
use crate::{
    compile::Compiler,
    dpdk::{Mbuf, Port, TxQueue},
    ffi::cycles,
    flow::{self, Side, connections::Opening},
    packet::tcp::{ACK, SYN},
    pipeline::{Burst, Reason},
    rcu::Publisher,
    tables::{Direction, PortIndex, Tables},
};

/// Packets of one measurement.
const PACKETS: usize = 1 << 18;

/// Packets of a connection in [`Case::Connect`].
const PACKETS_PER_CONNECTION: f64 = 6.0;

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
pub(super) struct Bench {
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
    pub(super) fn new(
        case: Case,
        machine: &Machine,
        fleet: &Fleet,
        options: &Options,
    ) -> Result<Self, String> {
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
    pub(super) fn measure(&mut self, clock: Clock, counted: bool) {
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
    pub(super) fn check(&self) -> Result<(), String> {
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

    pub(super) fn line(self, options: &Options, machine: &Machine) -> Line {
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
            rules: self.case.is_stateful().then_some(options.rules),
            routes: self.case.is_stateful().then_some(options.routes),
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
pub(super) struct SetUp<R, T> {
    pub(super) worker: Worker<Mbuf, R, T>,
    pub(super) tables: Publisher<Tables>,
    pub(super) counters: Arc<WorkerCounters>,
}

/// The worker of a node with two instance ports and an uplink.
pub(super) fn worker<R: Receive<Mbuf>, T: Transmit<Mbuf>>(
    fleet: &Fleet,
    receivers: Vec<(PortIndex, R)>,
    outputs: [Option<T>; 3],
    (burst, connections): (usize, u32),
) -> SetUp<R, T> {
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
pub(super) fn establish<R: Receive<Mbuf>, T: Transmit<Mbuf>>(
    set_up: &mut SetUp<R, T>,
    fleet: &Fleet,
    connections: Connections,
    clock: Clock,
) {
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
