//! A node inside another program, which owns the devices, the packet buffers and the threads that poll: it gives each worker bursts
//! and gets bursts back. Workers run the daemon's loop ([`super::worker`]), the one thread made here the daemon's duties
//! (`management`). Nothing is shared between two nodes.

use std::{
    io,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam::{
    channel::{Receiver, RecvTimeoutError, Sender, unbounded},
    utils::CachePadded,
};

use super::{
    clock::{Clock, measure_cycles},
    config::{HostConfig, RoleConfig},
    management::{Management, TICK},
    manager::Manager,
    worker::{Plan, Receive, Transmit, Worker, WorkerCounters, queues_of},
};
use crate::{
    api::{
        Reply,
        server::{self, Call, Server},
        show::{self, Snapshot},
    },
    compile::Site,
    ffi::{move_front, pin_to_cpus, without_signals},
    flow::Connections,
    gateway::Flows,
    model::Model,
    packet::{Buffer, Mac, OuterChecksum},
    pipeline::{Burst, MAX_BURST, Reason},
    rcu::Reader,
    tables::{PortIndex, Tables},
};

/// Frames that a worker can give back for a port at once.
pub const SENT: usize = 2048;

/// A port's device, which the program has opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Device {
    /// Its link-layer address.
    pub mac: Mac,
    /// Whether it fills in UDP checksums of what it sends.
    pub udp_checksum: bool,
    /// Whether it sends frames in several pieces.
    pub segments: bool,
}

/// How a node is to be.
pub struct Setup {
    /// The host file.
    pub config: HostConfig,
    /// The first state.
    pub model: Model,
    /// The devices, by port.
    pub devices: Vec<Device>,
    /// The workers.
    pub workers: usize,
    /// The CPUs that the management thread may run on; none: those of the thread that opens the node.
    pub cpus: Vec<usize>,
    /// Whether the host file's control socket is served, as the daemon does, with threads of its own.
    pub control: bool,
    /// Called by the management thread before all else: where its log goes.
    pub log: Option<tracing::Dispatch>,
}

/// The most workers: as many lcores as DPDK has.
const MOST_WORKERS: usize = 128;

/// Makes a buffer of a frame of the node's own.
type Frames<B> = Box<dyn Fn(&[u8]) -> Option<B> + Send + Sync>;

/// What the program's threads and the management thread share.
struct Common<B> {
    plan: Arc<Plan<B>>,
    /// By worker; behind them, those of the management thread.
    counters: Vec<Arc<WorkerCounters>>,
    frames: OnceLock<Frames<B>>,
    /// The time of the first round of all, by the program's clock and by the node's.
    start: OnceLock<(Duration, Duration)>,
    /// By worker: the time of its last round, in nanoseconds; 0 before the first.
    times: Box<[CachePadded<AtomicU64>]>,
    clock: Clock,
    /// Set when the management thread is to end.
    stop: AtomicBool,
}

impl<B> Common<B> {
    /// The latest round's time: time is what the workers' callers say it is.
    fn now(&self) -> Option<Duration> {
        let latest = self.times.iter().map(|time| time.load(Ordering::Relaxed)).max();
        latest.filter(|&time| time > 0).map(Duration::from_nanos)
    }
}

/// Why a node was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// A sentence for each thing that is wrong with the host file, or between it and the state.
    Host(String),
    /// The system has no thread left, or refuses the control socket.
    System(String),
}

/// What is kept for a worker until the program asks for it.
struct Seat {
    reader: Reader<Tables>,
    flows: Flows,
    connections: Connections,
}

/// A node. Its workers may outlive it, and then forward by the last tables.
pub struct Node<B> {
    config: Arc<HostConfig>,
    devices: Vec<Device>,
    common: Arc<Common<B>>,
    seats: Mutex<Vec<Option<Seat>>>,
    calls: Sender<Call>,
    server: Option<Server>,
    thread: Option<JoinHandle<()>>,
}

impl<B: Buffer + Send + 'static> Node<B> {
    /// Compiles the state and starts the management thread.
    ///
    /// # Errors
    ///
    /// What is wrong; nothing is open then.
    pub fn open(setup: Setup) -> Result<Self, OpenError> {
        let Setup { mut config, model, devices, workers, cpus, control, log } = setup;
        check(&config, &devices, workers).map_err(OpenError::Host)?;
        let log = log.unwrap_or_else(tracing::Dispatch::none);
        let mac = |port: PortIndex| devices.get(usize::from(port.0)).map_or(Mac::default(), |it| it.mac);
        fall_back(&mut config, &devices);
        let site = Site { workers: workers as u8, ..config.site(mac) };
        let (manager, readers) =
            Manager::new(&config, site, model, workers).map_err(|it| OpenError::Host(it.join("\n")))?;
        let owners = (0..config.ports.len()).map(|port| port % workers).collect();
        let plan = Plan::new(owners, workers);
        let management =
            tracing::dispatcher::with_default(&log, || Management::new(manager, plan, workers, false));
        let cycles_per_second = measure_cycles();
        let own = &management.own_counters;
        let common = Arc::new(Common {
            plan: Arc::clone(&management.plan),
            counters: management.counters.iter().chain([own]).cloned().collect(),
            frames: OnceLock::new(),
            start: OnceLock::new(),
            times: (0..workers).map(|_| CachePadded::default()).collect(),
            clock: Clock::new(cycles_per_second),
            stop: AtomicBool::new(false),
        });
        let seat = |reader| {
            Some(Seat {
                reader,
                flows: Flows::new(config.bindings),
                connections: Connections::new(config.workers.connections),
            })
        };
        let seats = Mutex::new(readers.into_iter().map(seat).collect());
        let (calls, called) = unbounded();
        let config = Arc::new(config);
        let thread = Thread {
            management,
            common: Arc::clone(&common),
            config: Arc::clone(&config),
            devices: devices.clone(),
            cycles_per_second,
        };
        let run = move || {
            if !cpus.is_empty()
                && let Err(error) = pin_to_cpus(&cpus)
            {
                tracing::warn!(?cpus, %error, "management thread not restricted to its CPUs");
            }
            thread.run(&called);
        };
        let run = move || tracing::dispatcher::with_default(&log, run);
        let thread =
            without_signals(|| thread::Builder::new().name("warren".into()).spawn(run)).map_err(|error| {
                OpenError::System(format!(
                    "no management thread: {error}; end other threads or raise the limit"
                ))
            })?;
        let mut node = Self { config, devices, common, seats, calls, server: None, thread: Some(thread) };
        if control {
            node.server = Some(node.serve().map_err(|error| {
                let path = node.config.control.display();
                OpenError::System(format!("control socket {path}: {error}"))
            })?);
        }
        Ok(node)
    }

    fn serve(&self) -> io::Result<Server> {
        let daemon = server::Daemon {
            calls: self.calls.clone(),
            captures: Arc::clone(&self.common.plan.captures),
            listing: Arc::clone(&self.common.plan.listing),
            clock: self.common.clock,
        };
        without_signals(|| Server::start(&self.config.control, daemon))
    }

    /// The host file.
    pub fn config(&self) -> &HostConfig {
        &self.config
    }

    /// How many workers it has.
    pub fn workers(&self) -> usize {
        self.common.times.len()
    }

    /// The worker that a port belongs to.
    pub fn owner(&self, port: PortIndex) -> Option<usize> {
        self.common.plan.owners.get(usize::from(port.0)).copied()
    }

    /// Worker number `worker`, once; `None` after that, or if there is no such. `frames` makes buffers for the node's own
    /// frames; that of the first worker asked for serves for all.
    pub fn worker(
        &self,
        worker: usize,
        frames: impl Fn(&[u8]) -> Option<B> + Send + Sync + 'static,
    ) -> Option<Handle<B>> {
        let Seat { reader, flows, connections } =
            self.seats.lock().unwrap_or_else(PoisonError::into_inner).get_mut(worker)?.take()?;
        let _ = self.common.frames.set(Box::new(frames));
        let workers = self.workers();
        let with = Arc::new(Ports::new(self.config.ports.len()));
        let polls = |(port, index): (&super::config::PortConfig, usize)| {
            let queues = port.queues_for(workers) as u16;
            queues_of(worker, index % workers, workers, queues).next().is_some()
        };
        let ours: Box<[bool]> = self.config.ports.iter().zip(0..).map(polls).collect();
        let queues = ours.iter().zip(&self.devices).zip(0..).map(|((ours, device), port)| {
            ours.then(|| Sent {
                port: PortIndex(port),
                frames: Vec::with_capacity(SENT),
                segments: device.segments,
                with: Arc::clone(&with),
            })
        });
        let counters = Arc::clone(self.common.counters.get(worker)?);
        let plan = Arc::clone(&self.common.plan);
        let inputs = vec![(PortIndex(0), Given)];
        let worker_loop = Worker::new(worker, inputs, queues, plan, reader, counters, MAX_BURST)
            .with_flows(flows)
            .with_connections(connections);
        Some(Handle {
            worker: worker_loop,
            number: worker,
            ours,
            with,
            start: None,
            last: Duration::from_nanos(1),
            common: Arc::clone(&self.common),
        })
    }

    /// Puts a validated model in force, as `warren apply` does; `None` if the management thread has ended by a panic.
    pub fn apply(&self, model: Model) -> Option<Reply> {
        server::ask(&self.calls, |reply| Call::Apply(Box::new(model), reply))
    }

    /// What was counted at a port, by all workers and the management thread together.
    pub fn counters(&self, port: PortIndex) -> Option<Counted> {
        self.config.ports.get(usize::from(port.0))?;
        let mut counted = Counted { drops: vec![0; Reason::COUNT], ..Counted::default() };
        for counters in &self.common.counters {
            let port = counters.ports.port(port);
            counted.rx_packets += port.rx_packets.get();
            counted.rx_bytes += port.rx_bytes.get();
            counted.tx_packets += port.tx_packets.get();
            counted.tx_bytes += port.tx_bytes.get();
            for (sum, reason) in counted.drops.iter_mut().zip(Reason::ALL) {
                *sum += port.drops(*reason);
            }
        }
        Some(counted)
    }
}

impl<B> Drop for Node<B> {
    fn drop(&mut self) {
        self.server = None;
        // Clients of the socket may still be able to ask it.
        self.common.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that has panicked has said so.
            let _ = thread.join();
        }
        // What waited for it goes back to its pool while that is surely there.
        while self.common.plan.punted.pop().is_some() {}
    }
}

/// What was counted at a port.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// Packets received.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Packets dropped, by the number of the reason.
    pub drops: Vec<u64>,
}

/// What only the daemon does, and what else cannot be.
fn check(config: &HostConfig, devices: &[Device], workers: usize) -> Result<(), String> {
    let mut problems = Vec::new();
    let keys = [
        ("bgp", !config.bgp.is_empty()),
        ("propagation", config.propagation.listen.is_some() || !config.propagation.follow.is_empty()),
        ("flow_logs", config.flow_logs.is_some()),
    ];
    let daemons = keys.iter().filter(|(_, used)| *used);
    problems.extend(daemons.map(|(key, _)| {
        format!("{key}: needs threads that only `warren run` has; take it out of the host file")
    }));
    if !(1..=MOST_WORKERS).contains(&workers) {
        problems.push(format!("workers: 1 to {MOST_WORKERS}, not {workers}"));
    }
    let device = |port: usize| devices.get(port).copied().unwrap_or_default();
    for (port, index) in config.ports.iter().zip(0..) {
        let (stated, key) = match &port.role {
            RoleConfig::Uplink(_) | RoleConfig::Gateway(_) => (port.mac, "mac"),
            RoleConfig::Service(service) => (service.peer, "peer"),
            RoleConfig::Instance | RoleConfig::Control => continue,
        };
        if stated.is_none() && !device(index).mac.is_unicast() {
            let name = &port.name;
            problems.push(format!(
                "port `{name}`: {key}: say it in the host file, or open a device that has one"
            ));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// Software does what a device can't.
fn fall_back(config: &mut HostConfig, devices: &[Device]) {
    for (port, device) in config.ports.iter_mut().zip(devices) {
        if let RoleConfig::Uplink(uplink) = &mut port.role
            && uplink.checksum == OuterChecksum::Offload
            && !device.udp_checksum
        {
            uplink.checksum = OuterChecksum::Software;
        }
    }
}

/// The management thread.
struct Thread<B> {
    management: Management<B>,
    common: Arc<Common<B>>,
    config: Arc<HostConfig>,
    devices: Vec<Device>,
    cycles_per_second: u64,
}

impl<B: Buffer> Thread<B> {
    /// Until it is told to end.
    fn run(mut self, called: &Receiver<Call>) {
        let mut next_tick = Instant::now();
        while !self.common.stop.load(Ordering::Relaxed) {
            match called.recv_deadline(next_tick) {
                Ok(call) => self.answer(call),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() >= next_tick {
                self.tick();
                next_tick = Instant::now() + TICK;
            }
        }
    }

    fn answer(&mut self, call: Call) {
        // Who asked may have gone.
        match call {
            Call::Apply(model, reply) => {
                let now = self.common.now().unwrap_or_default();
                drop(reply.send(self.management.apply(*model, now, |_| {})));
            }
            Call::Look(reply) => drop(reply.send(Arc::new(self.snapshot()))),
            Call::Node(reply) => drop(reply.send(Box::new(self.management.manager.node()))),
        }
    }

    fn tick(&mut self) {
        // Before the first round there is no time, and nobody who would send anything.
        let Some(now) = self.common.now() else { return };
        let frames = &self.common.frames;
        self.management.tick(now, |frame| frames.get().and_then(|frames| frames(frame)));
    }

    fn snapshot(&self) -> Snapshot {
        let workers = self.common.times.len();
        let device = |((port, device), index): ((&super::config::PortConfig, &Device), usize)| {
            let queues = port.queues_for(workers) as u16;
            show::Device {
                role: port.role_name(),
                device: port.device.clone(),
                driver: "program".to_owned(),
                mac: port.mac.unwrap_or(device.mac),
                mtu: port.mtu,
                link_up: true,
                rx_queues: queues,
                tx_queues: queues,
                worker: index % workers,
                rx_missed: 0,
                rx_errors: 0,
                rx_no_buffer: 0,
                tx_errors: 0,
            }
        };
        let cpus = self.config.workers.cores.iter().copied().chain(std::iter::repeat(0));
        Snapshot {
            devices: self.config.ports.iter().zip(&self.devices).zip(0..).map(device).collect(),
            cpus: cpus.take(workers).collect(),
            cycles_per_second: self.cycles_per_second,
            ..self.management.snapshot()
        }
    }
}

/// A set of ports, kept by a worker. Its parts are atomic only so that they can be shared; one thread uses them.
struct Ports(Box<[AtomicU64]>);

impl Ports {
    fn new(ports: usize) -> Self {
        Self((0..ports.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    #[inline]
    fn add(&self, PortIndex(port): PortIndex) {
        if let Some(word) = self.0.get(usize::from(port / 64)) {
            word.store(word.load(Ordering::Relaxed) | 1 << (port % 64), Ordering::Relaxed);
        }
    }

    /// Takes all out.
    #[inline]
    fn take(&self, mut of: impl FnMut(PortIndex)) {
        for (word, first) in self.0.iter().zip((0..).step_by(64)) {
            let mut bits = word.load(Ordering::Relaxed);
            if bits != 0 {
                word.store(0, Ordering::Relaxed);
            }
            while bits != 0 {
                of(PortIndex(first + bits.trailing_zeros() as u16));
                bits &= bits - 1;
            }
        }
    }
}

/// What a worker was given for the coming round: it lies in its burst already.
struct Given;

impl<B> Receive<B> for Given {
    #[inline(always)]
    fn receive(&mut self, _burst: &mut Burst<B>, _most: usize) {}
}

/// What it has for a port.
struct Sent<B> {
    port: PortIndex,
    /// As long as [`SENT`], so that it never grows.
    frames: Vec<B>,
    segments: bool,
    with: Arc<Ports>,
}

impl<B: Buffer> Transmit<B> for Sent<B> {
    #[inline]
    fn transmit(&mut self, burst: &mut Burst<B>) {
        let mut ready = burst.len().min(self.frames.capacity() - self.frames.len());
        if !self.segments && !burst.iter().all(Buffer::is_contiguous) {
            ready = burst.iter_mut().take(ready).position(|frame| !frame.linearize()).unwrap_or(ready);
        }
        if ready > 0 {
            move_front(burst, ready, &mut self.frames);
            self.with.add(self.port);
        }
    }
}

/// Why a worker does not take a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The node has no such port.
    NoPort,
    /// Another worker has the port.
    NotOurs,
}

/// A worker, for the thread that the program runs it in.
pub struct Handle<B> {
    worker: Worker<B, Given, Sent<B>>,
    number: usize,
    /// By port: whether it receives from it and sends to it.
    ours: Box<[bool]>,
    /// With frames that nobody has taken yet.
    with: Arc<Ports>,
    start: Option<(Duration, Duration)>,
    last: Duration,
    common: Arc<Common<B>>,
}

impl<B: Buffer> Handle<B> {
    /// Whether it takes what comes from a port.
    ///
    /// # Errors
    ///
    /// Why not.
    #[inline]
    pub fn takes(&self, port: PortIndex) -> Result<(), Refusal> {
        match self.ours.get(usize::from(port.0)) {
            Some(true) => Ok(()),
            Some(false) => Err(Refusal::NotOurs),
            None => Err(Refusal::NoPort),
        }
    }

    /// A round: with the packets that `give` puts into the burst, which came from a port; and with what other workers and the
    /// management thread have for this one. The time is the program's, of any beginning, the same for all workers; it does
    /// not go back.
    #[inline]
    pub fn round(&mut self, port: PortIndex, now: Duration, give: impl FnOnce(&mut Burst<B>)) {
        let now = self.time(now);
        if let (Some((from, _)), given) = self.worker.coming() {
            *from = port;
            give(given);
        }
        self.worker.round(now);
    }

    /// The node's time of the program's.
    #[inline]
    fn time(&mut self, now: Duration) -> Duration {
        let (since, start) = match self.start {
            Some(start) => start,
            None => {
                *self.start.insert(*self.common.start.get_or_init(|| (now, self.common.clock.now().time)))
            }
        };
        self.last = self.last.max(start + now.saturating_sub(since));
        if let Some(time) = self.common.times.get(self.number) {
            time.store(self.last.as_nanos() as u64, Ordering::Relaxed);
        }
        self.last
    }

    /// Gives the frames of the last rounds to `take`, port by port. What it leaves there
    /// comes again with the port's next frames.
    #[inline]
    pub fn take(&mut self, mut take: impl FnMut(PortIndex, &mut Vec<B>)) {
        let Self { worker, with, .. } = self;
        with.take(|port| {
            if let Some(sent) = worker.output(port) {
                take(port, &mut sent.frames);
            }
        });
    }

    /// Says that it does nothing until its next round, so that no update waits for it.
    pub fn quiesce(&mut self) {
        self.worker.rest();
    }
}
