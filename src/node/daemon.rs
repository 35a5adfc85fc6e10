//! The daemon: EAL, ports, worker threads, and the management thread's loop.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam::channel::{Receiver, Select, Sender, TryRecvError, unbounded};
use hashbrown::HashMap;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use super::{
    clock::{Clock, measure_cycles},
    config::{HostConfig, PortConfig, RoleConfig},
    cores,
    flow_logs::FlowLogs,
    management::{Management, TICK},
    manager::Manager,
    memory::{Buffers, POOL_CACHE, ring_frame},
    notify::notify,
    offload::{Input, Output, Taker},
    propagation::Propagation,
    worker::{Plan, Receive, Transmit, Worker, queues_of},
};
use crate::{
    api::{
        Reply,
        server::{self, Call, Server},
        show::{Device, Snapshot},
    },
    dpdk::{
        self, Eal, EalConfig, Guest, HugepageMode, LogLevel, Mbuf, Mempool, MtuOutcome, Port, PortSetup,
        RxQueue, TxQueue,
    },
    ffi::{allowed_cpus, pin_to_cpus},
    flow::Connections,
    gateway::Flows,
    machine::{Machine, ranges},
    model::{self, Model},
    packet::{Mac, OuterChecksum, Takes},
    pipeline::{Burst, Reason},
    rcu::Reader,
    tables::{PortIndex, Tables},
};

/// Why a node could not run.
#[derive(Debug)]
pub struct RunError(String);

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RunError {}

impl RunError {
    fn new(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl Receive<Mbuf> for RxQueue {
    #[inline]
    fn receive(&mut self, burst: &mut Burst<Mbuf>, most: usize) {
        self.burst_at_most(burst, most);
    }
}

impl Transmit<Mbuf> for TxQueue {
    #[inline]
    fn transmit(&mut self, burst: &mut Burst<Mbuf>) {
        self.burst(burst);
    }
}

impl Taker for Arc<Guest> {
    #[inline]
    fn takes(&self) -> Takes {
        let (v4, v6) = self.takes_runs();
        Takes { v4, v6 }
    }
}

/// Runs a node until SIGINT or SIGTERM. SIGHUP reads the state again.
///
/// # Errors
///
/// A sentence about the first thing that kept the node from starting.
pub fn run(config: HostConfig, model: Model) -> Result<(), RunError> {
    // Before any thread is started, so that all of them leave the signals to the thread that waits for them.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(RunError::new)?;
    let node = Node::start(config, model)?;
    let (events, received) = unbounded();
    let handle = signals.handle();
    let forward = events.clone();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in &mut signals {
                if forward.send(signal).is_err() {
                    break;
                }
            }
        })
        .map_err(RunError::new)?;
    let stopped = node.manage(&received);
    handle.close();
    stopped
}

/// The CPUs on which the management thread runs: all that this process may use, but those of the workers.
fn management_cpus(workers: &[usize]) -> Vec<usize> {
    let allowed = allowed_cpus();
    let others: Vec<usize> = allowed.iter().copied().filter(|cpu| !workers.contains(cpu)).collect();
    if others.is_empty() { allowed } else { others }
}

/// The device string, with the ring geometry that the MTU needs where net_af_packet would have taken frames of 2 KiB.
fn device_string(port: &PortConfig) -> String {
    let frame = ring_frame(port.mtu);
    if port.device.starts_with("net_af_packet") && !port.device.contains("framesz") && frame > 2048 {
        format!("{},blocksz={},framesz={frame},framecnt=512", port.device, frame * 4)
    } else {
        port.device.clone()
    }
}

struct WorkerThread {
    cpu: usize,
    thread: JoinHandle<()>,
}

/// A port with its device.
struct OpenPort {
    port: Port,
    setup: PortSetup,
    driver: String,
    /// Who is behind a vhost-user socket, and leaves work to the node.
    guest: Option<Arc<Guest>>,
    owner: usize,
}

/// A running node, as its management thread holds it.
///
/// Fields are dropped in order: workers are joined and queues dropped before ports close, ports before pools and the EAL.
struct Node {
    config: HostConfig,
    management: Management<Mbuf>,
    propagation: Propagation,
    workers: Vec<WorkerThread>,
    /// Behind the workers, so that what they have pushed is written when they have ended.
    flow_logs: Option<FlowLogs>,
    stop: Arc<AtomicBool>,
    ports: Vec<OpenPort>,
    pool: Mempool,
    eal: Arc<Eal>,
    clock: Clock,
    cycles_per_second: u64,
}

impl Node {
    fn start(mut config: HostConfig, model: Model) -> Result<Self, RunError> {
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let cores = cores::choose(&Machine::here(), &config);
        tracing::info!(cpus = ranges(&cores.cpus), "CPUs of the workers: {}", cores.why);
        config.workers.cores = cores.cpus;
        let cpus = management_cpus(&config.workers.cores);
        let workers = config.workers.cores.len();
        let buffers = Buffers::of(&config, workers);
        let eal = Arc::new(start_eal(&config, &cpus, buffers)?);
        let mut pools = Pools { eal: Arc::clone(&eal), buffers, by_socket: HashMap::new() };
        let mut ports = Vec::new();
        for (index, port) in config.ports.iter_mut().enumerate() {
            let open = open(&eal, port, index % workers, workers, &mut pools)?;
            if let RoleConfig::Uplink(uplink) = &mut port.role
                && uplink.checksum == OuterChecksum::Offload
                && !open.setup.tx_udp_checksum
            {
                tracing::warn!(port = %port.name, "the device computes no UDP checksums: software does");
                uplink.checksum = OuterChecksum::Software;
            }
            ports.push(open);
        }
        let pool = pools.on(None)?;
        let macs: Vec<Mac> = ports.iter().map(|port| port.setup.mac).collect();
        let mac = |index: PortIndex| macs.get(usize::from(index.0)).copied().unwrap_or_default();
        let (manager, readers) = Manager::new(&config, config.site(mac), model, workers)
            .map_err(|problems| RunError(problems.join("\n")))?;
        let propagation = Propagation::start(&config).map_err(RunError)?;
        let owners = ports.iter().map(|port| port.owner).collect();
        let cycles_per_second = measure_cycles();
        let clock = Clock::new(cycles_per_second);
        let flow_logs = config.flow_logs.as_ref().map(|logs| {
            FlowLogs::start(logs.settings(&config.host), workers, clock)
                .map_err(|error| RunError(format!("flow logs: no thread: {error}")))
        });
        let flow_logs = flow_logs.transpose()?;
        if let Some(flow_logs) = &flow_logs {
            flow_logs.set_state(manager.tables(), manager.model());
        }
        let plan = Plan::new(owners, workers);
        let mut node = Self {
            management: Management::new(manager, plan, workers, flow_logs.is_some()),
            propagation,
            workers: Vec::new(),
            flow_logs,
            stop: Arc::default(),
            ports,
            pool,
            eal,
            clock,
            cycles_per_second,
            config,
        };
        for (worker, reader) in readers.into_iter().enumerate() {
            node.start_worker(worker, reader)?;
        }
        Ok(node)
    }

    fn start_worker(&mut self, worker: usize, reader: Reader<Tables>) -> Result<(), RunError> {
        let Some((&cpu, counters)) =
            self.config.workers.cores.get(worker).zip(self.management.counters.get(worker))
        else {
            return Ok(());
        };
        let mut inputs = Vec::new();
        let mut outputs = Vec::new();
        let workers = self.config.workers.cores.len();
        for (port, index) in self.ports.iter_mut().zip(0..) {
            let own = |queues| queues_of(worker, port.owner, workers, queues);
            for queue in own(port.setup.rx_queues).filter_map(|queue| port.port.take_rx(queue)) {
                let index = PortIndex(index);
                let input = match &port.guest {
                    Some(_) => Input::finishing(queue, index, Arc::clone(counters)),
                    None => Input::new(queue),
                };
                inputs.push((index, input));
            }
            let queue = own(port.setup.tx_queues).next().and_then(|queue| port.port.take_tx(queue));
            outputs.push(queue.map(|queue| match &port.guest {
                Some(guest) => Output::joining(queue, Arc::clone(guest)),
                None => Output::new(queue),
            }));
        }
        let mut connections = Connections::new(self.config.workers.connections);
        if let Some(flow_logs) = &self.flow_logs {
            connections = connections.with_logs(Arc::clone(flow_logs.rings()), worker, self.ports.len());
        }
        let mut worker = Worker::new(
            worker,
            inputs,
            outputs,
            Arc::clone(&self.management.plan),
            reader,
            Arc::clone(counters),
            self.config.workers.burst,
        )
        .with_flows(Flows::new(self.config.bindings))
        .with_connections(connections);
        let (eal, stop, idle) = (Arc::clone(&self.eal), Arc::clone(&self.stop), self.config.workers.idle);
        let clock = self.clock;
        let thread = thread::Builder::new()
            .name(format!("worker-{cpu}"))
            .spawn(move || {
                if let Err(error) = pin_to_cpus(&[cpu]) {
                    tracing::warn!(cpu, %error, "worker not pinned to its CPU; check workers.cores");
                }
                // Without an lcore id the worker has no buffer cache of its own, which is slow but works.
                let registered = eal.register_thread();
                if let Err(error) = &registered {
                    tracing::warn!(cpu, %error, "worker has no lcore id");
                }
                worker.run(&stop, idle, clock);
            })
            .map_err(RunError::new)?;
        self.workers.push(WorkerThread { cpu, thread });
        Ok(())
    }

    /// The management thread, until a signal ends it.
    fn manage(mut self, signals: &Receiver<i32>) -> Result<(), RunError> {
        let (calls, called) = unbounded();
        let daemon = server::Daemon {
            calls: calls.clone(),
            captures: Arc::clone(&self.management.plan.captures),
            listing: Arc::clone(&self.management.plan.listing),
            clock: self.clock,
        };
        let server = Server::start(&self.config.control, daemon).map_err(|error| {
            RunError(format!("control socket {}: {error}", self.config.control.display()))
        })?;
        tracing::info!(
            host = %self.config.host,
            workers = self.workers.len(),
            ports = self.ports.len(),
            enis = self.management.manager.model().enis.len(),
            control = %self.config.control.display(),
            "running"
        );
        notify("READY=1");
        let mut next_tick = Instant::now();
        let (zebras, hosts) = self.propagation.receivers();
        let mut select = Select::new();
        let calling = select.recv(&called);
        select.recv(&zebras);
        select.recv(&hosts);
        let signal = loop {
            match select.ready_deadline(next_tick) {
                Ok(ready) if ready == calling => match called.try_recv() {
                    Ok(call) => self.answer(call),
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Disconnected) => break SIGTERM,
                },
                Ok(_) => self.propagation.attend(&mut self.management.manager),
                Err(_) => {}
            }
            if Instant::now() >= next_tick {
                self.tick();
                next_tick = Instant::now() + TICK;
            }
            match signals.try_recv() {
                Ok(SIGHUP) => reread(&self.config.state, &calls),
                Ok(signal) => break signal,
                Err(_) => {}
            }
        };
        tracing::info!(signal, "stopping");
        notify("STOPPING=1");
        drop(server);
        self.shut_down();
        Ok(())
    }

    fn answer(&mut self, call: Call) {
        // Who asked may have gone.
        match call {
            Call::Apply(model, reply) => drop(reply.send(self.apply(*model))),
            Call::Look(reply) => drop(reply.send(Arc::new(self.snapshot()))),
            Call::Node(reply) => drop(reply.send(Box::new(self.management.manager.node()))),
        }
    }

    fn shut_down(self) {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers {
            if worker.thread.join().is_err() {
                tracing::error!(cpu = worker.cpu, "worker ended by a panic");
            }
        }
        // What was for workers: the rings between them are gone with them.
        for posted in &self.management.plan.posted {
            while posted.pop().is_some() {}
        }
        while self.management.plan.punted.pop().is_some() {}
    }

    fn now(&self) -> Duration {
        self.clock.now().time
    }

    fn tick(&mut self) {
        let (now, pool) = (self.now(), &self.pool);
        self.management.tick(now, |frame| Mbuf::from_frame(pool, frame));
    }

    fn apply(&mut self, model: Model) -> Reply {
        let now = self.now();
        let Self { management, flow_logs, propagation, .. } = self;
        management.apply(model, now, |manager| {
            if let Some(flow_logs) = flow_logs {
                flow_logs.set_state(manager.tables(), manager.model());
            }
            propagation.tell(manager);
        })
    }

    fn snapshot(&self) -> Snapshot {
        let ports = self.ports.iter().zip(&self.config.ports);
        Snapshot {
            devices: ports.map(|(port, config)| device(port, config)).collect(),
            cpus: self.workers.iter().map(|worker| worker.cpu).collect(),
            sessions: self.propagation.sessions(),
            flow_logs: self.flow_logs.as_ref().map(FlowLogs::status).unwrap_or_default(),
            cycles_per_second: self.cycles_per_second,
            ..self.management.snapshot()
        }
    }
}

/// Reads the state again, off the management thread, and asks it to put it in force.
fn reread(state: &Path, calls: &Sender<Call>) {
    let (state, calls) = (state.to_owned(), calls.clone());
    let read = move || {
        let loaded =
            model::read_documents(std::slice::from_ref(&state)).and_then(|documents| model::load(&documents));
        match loaded {
            Err(errors) => tracing::error!("SIGHUP: {} not applied:\n{errors}", state.display()),
            Ok(model) => {
                let (reply, replied) = crossbeam::channel::bounded(1);
                let asked = calls.send(Call::Apply(Box::new(model), reply));
                if let Some(Reply::Failed(problem)) = asked.ok().and_then(|()| replied.recv().ok()) {
                    tracing::error!("SIGHUP: {} not applied: {problem}", state.display());
                }
            }
        }
    };
    if let Err(error) = thread::Builder::new().name("reread".into()).spawn(read) {
        tracing::error!(%error, "SIGHUP: state not read");
    }
}

fn start_eal(config: &HostConfig, cpus: &[usize], buffers: Buffers) -> Result<Eal, RunError> {
    let eal = Eal::init(&EalConfig {
        program: "warren".into(),
        args: config.eal.args.clone(),
        file_prefix: Some(format!("warren-{}", config.host)),
        main_cpus: cpus.to_vec(),
        memory_mib: config.eal.memory.unwrap_or_else(|| buffers.mib()),
        log_level: LogLevel::Warning,
        telemetry: false,
    })
    .map_err(RunError::new)?;
    match eal.hugepages() {
        HugepageMode::OrdinaryPages { memory_mib, free_mib } => tracing::warn!(
            "{free_mib} MiB free in hugepages, {memory_mib} needed: running on ordinary pages, without --in-memory; every packet costs more"
        ),
        mode => tracing::debug!(?mode, "memory"),
    }
    Ok(eal)
}

/// The buffer pools, one a NUMA node.
struct Pools {
    eal: Arc<Eal>,
    buffers: Buffers,
    by_socket: HashMap<Option<u32>, Mempool>,
}

impl Pools {
    /// The pool for devices of a NUMA node; one without a node shares any other's.
    fn on(&mut self, socket: Option<u32>) -> Result<Mempool, RunError> {
        let existing = match socket {
            None => self.by_socket.values().next(),
            Some(_) => self.by_socket.get(&socket),
        };
        if let Some(pool) = existing {
            return Ok(pool.clone());
        }
        let name = socket.map_or_else(|| "buffers".into(), |socket| format!("buffers-{socket}"));
        let Buffers { count, room } = self.buffers;
        let pool = Mempool::new(&self.eal, &name, count, room, POOL_CACHE, socket).map_err(RunError::new)?;
        self.by_socket.insert(socket, pool.clone());
        Ok(pool)
    }
}

fn open(
    eal: &Eal,
    config: &PortConfig,
    owner: usize,
    workers: usize,
    pools: &mut Pools,
) -> Result<OpenPort, RunError> {
    let fail = |error: dpdk::PortError| RunError(format!("port `{}`: {error}", config.name));
    if let Some(vhost) = &config.vhost {
        vhost.prepare().map_err(|problem| RunError(format!("port `{}`: {problem}", config.name)))?;
    }
    let mut port = Port::probe(eal, &device_string(config)).map_err(fail)?;
    let info = port.info().map_err(fail)?;
    let uplink = config.uplink().is_some();
    let queues = config.queues_for(workers);
    let setup = port
        .configure(&dpdk::PortConfig {
            rx_queues: queues as u16,
            // As many: net_tap insists, and no worker needs more than one.
            tx_queues: queues as u16,
            rx_descriptors: config.descriptors,
            tx_descriptors: config.descriptors,
            mtu: Some(config.mtu),
            mac: config.mac,
            // The uplink's MAC may differ from the device's, and an instance's frames carry the router's.
            promiscuous: true,
            rss: true,
            // A machine's: to be told which are left to the node.
            rx_checksums: uplink || config.vhost.is_some(),
            pool: pools.on(info.socket)?,
        })
        .map_err(fail)?;
    port.start().map_err(fail)?;
    match setup.mtu {
        MtuOutcome::Fixed => {
            tracing::debug!(port = %config.name, "the driver has no MTU setting; {} is taken as given", config.mtu);
        }
        // The others that declare a limit do not keep to it.
        MtuOutcome::Limit(limit) if info.driver == "net_tap" => tracing::warn!(
            port = %config.name,
            "net_tap sends packets of at most {limit} bytes, not {}: longer ones are dropped as {}",
            config.mtu, Reason::TxFull
        ),
        MtuOutcome::Limit(_) | MtuOutcome::Is(_) => {}
    }
    let guest = port.guest().filter(|_| config.vhost.is_some());
    Ok(OpenPort { port, setup, driver: info.driver, guest, owner })
}

fn device(open: &OpenPort, config: &PortConfig) -> Device {
    let stats = open.port.stats().unwrap_or_default();
    Device {
        role: config.role_name(),
        device: config.device.clone(),
        driver: open.driver.clone(),
        mac: config.mac.unwrap_or(open.setup.mac),
        mtu: config.mtu,
        link_up: open.port.info().is_ok_and(|info| info.link_up),
        rx_queues: open.setup.rx_queues,
        tx_queues: open.setup.tx_queues,
        worker: open.owner,
        rx_missed: stats.rx_missed,
        rx_errors: stats.rx_errors,
        rx_no_buffer: stats.rx_no_mbuf,
        tx_errors: stats.tx_errors,
    }
}
