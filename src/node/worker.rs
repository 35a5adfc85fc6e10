//! A poll-mode worker: takes bursts from queues, runs them through the pipeline, sends what comes out.
//!
//! A worker owns its receive queues, its transmit queues and its counters. What it has to give to another worker — a frame
//! for an ENI that the other owns, or for a port on which it has no transmit queue — goes through a bounded ring
//! (`handover`); a full ring costs the packets, by name, and never the time.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crossbeam::{queue::ArrayQueue, utils::CachePadded};

use super::{
    capture::{Captures, Tapped, Taps},
    clock::{Clock, Moment},
    config::Idle,
    handover::{Handed, Inbox, Mailbox, Outbox, mailboxes},
    held::Held,
    listing::{Listing, Walk},
    table_counters::{ConnectionCounters, NatCounters},
};
use crate::{
    ffi::{cycles, move_front},
    flow::Connections,
    gateway::{self, Flows},
    packet::Buffer,
    pipeline::{
        self, Allowances, AtEni, AtGateway, Burst, Context, Counter, Counters, Due, Early, MAX_BURST, News,
        Notes, Reason, Sink,
    },
    rcu::Reader,
    tables::{PortIndex, Tables, worker_of_share},
};

/// A queue that packets come from.
pub trait Receive<B> {
    /// Appends up to `most` packets that have arrived, as many as `burst` has room for; it is empty, but for what was put there
    /// for this queue before the round.
    fn receive(&mut self, burst: &mut Burst<B>, most: usize);
}

/// A queue that packets leave through.
pub trait Transmit<B> {
    /// Takes from the front of `burst` what it has room for; the rest stays.
    fn transmit(&mut self, burst: &mut Burst<B>);
}

/// Packets that wait for the management thread, at most.
pub const PUNTED: usize = 256;
/// Packets of the management thread that wait for a worker, at most.
pub const POSTED: usize = 256;
/// Connections of a worker, unless said otherwise.
const CONNECTIONS: u32 = 4096;
/// Connections that are looked at in a round because they may have expired: more than begin in one.
const EXPIRIES: u32 = 64;
/// Rounds from one port whose connections are counted for the management thread to the next one.
const PUBLISHING: u64 = 64;
/// How long a worker that ends waits for the writer of flow logs at most, in milliseconds.
const LAST_LOGS: u32 = 1000;
/// News that wait for the management thread, at most.
const NEWS: usize = 4096;

/// What a worker counts. It writes, the management thread reads.
pub struct WorkerCounters {
    /// By port.
    pub ports: Counters,
    /// Rounds over the worker's queues.
    pub rounds: CachePadded<Counter>,
    /// Rounds that found packets.
    pub busy_rounds: Counter,
    /// Time-stamp-counter cycles of the busy rounds.
    pub busy_cycles: Counter,
    /// Packets of the busy rounds, received and handed over.
    pub packets: Counter,
    /// Packets given to other workers.
    pub handed_over: Counter,
    /// Captures that the worker serves now.
    pub captures: Counter,
    /// Its table of NAT bindings.
    pub nat: CachePadded<NatCounters>,
    /// Its table of connections.
    pub connections: ConnectionCounters,
}

impl WorkerCounters {
    /// Zeros, for a node with that many ports.
    pub fn new(ports: usize) -> Self {
        Self {
            ports: Counters::new(ports),
            rounds: CachePadded::default(),
            busy_rounds: Counter::default(),
            busy_cycles: Counter::default(),
            packets: Counter::default(),
            handed_over: Counter::default(),
            captures: Counter::default(),
            nat: CachePadded::default(),
            connections: ConnectionCounters::new(ports),
        }
    }
}

/// Which worker does what, the same for all workers of a node.
pub struct Plan<B> {
    /// By port: the worker that owns the ENI behind it, or the first part of its flows, and sends for workers which have no queue on it.
    pub owners: Box<[usize]>,
    /// By worker, from the management thread: packets to be sent out of a port.
    pub posted: Box<[ArrayQueue<(PortIndex, B)>]>,
    /// By worker, until it begins: its ends of the rings between workers.
    mailboxes: Mutex<Vec<Option<Mailbox<B>>>>,
    /// To the management thread: packets that it answers.
    pub punted: ArrayQueue<(PortIndex, B)>,
    /// To the management thread: what it should know.
    pub news: ArrayQueue<News>,
    /// What of the packets is captured.
    pub captures: Arc<Captures>,
    /// Who asks for connections.
    pub listing: Arc<Listing>,
}

impl<B> Plan<B> {
    /// A plan in which port `i` is owned by worker `owners[i]` of `workers`.
    pub fn new(owners: Box<[usize]>, workers: usize) -> Self {
        Self {
            owners,
            posted: (0..workers).map(|_| ArrayQueue::new(POSTED)).collect(),
            mailboxes: Mutex::new(mailboxes(workers).into_iter().map(Some).collect()),
            punted: ArrayQueue::new(PUNTED),
            news: ArrayQueue::new(NEWS),
            captures: Arc::new(Captures::new(workers)),
            listing: Arc::new(Listing::new(workers)),
        }
    }

    fn owner(&self, port: PortIndex) -> Option<usize> {
        self.owners.get(usize::from(port.0)).copied()
    }

    fn workers(&self) -> usize {
        self.posted.len()
    }

    /// The ends that a worker has of the rings between workers. Another one of the same number has none.
    fn mailbox(&self, worker: usize) -> Mailbox<B> {
        let mut mailboxes = self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
        mailboxes.get_mut(worker).and_then(Option::take).unwrap_or_default()
    }

    /// The worker that has a part of the flows of the ENI behind a port: those behind the owner have the next ones, all round.
    #[inline]
    fn worker_of(&self, port: PortIndex, part: u8) -> Option<usize> {
        let (worker, workers) = (self.owner(port)? + usize::from(part), self.workers());
        // Hardly ever more than once round, and a division takes longer than all else here.
        match worker.checked_sub(workers) {
            None => Some(worker),
            Some(worker) if worker < workers => Some(worker),
            Some(worker) => worker.checked_rem(workers),
        }
    }

    /// Gives a frame to the worker that sends for a port; returns it where too many wait for that worker.
    pub fn send(&self, port: PortIndex, frame: B) -> Result<(), B> {
        match self.owner(port).and_then(|owner| self.posted.get(owner)) {
            Some(posted) => posted.push((port, frame)).map_err(|(_, frame)| frame),
            None => Err(frame),
        }
    }
}

/// The queues that a worker has of a port with so many: its owner has the first, the workers behind it the next ones, all round.
pub fn queues_of(
    worker: usize,
    owner: usize,
    workers: usize,
    queues: u16,
) -> impl Iterator<Item = u16> + Clone {
    let first = (worker + workers - owner) % workers;
    (first..queues.into()).step_by(workers).map(|queue| queue as u16)
}

/// A port as a worker sends to it.
struct Output<B, T> {
    /// The worker's own queue, if it has one.
    queue: Option<T>,
    /// What is to be sent at the end of the round.
    waiting: Burst<B>,
}

/// Where a worker's frames go. What is refused on the way is counted, and told to a `refused`.
pub(super) struct Outputs<B, T> {
    worker: usize,
    ports: Box<[Output<B, T>]>,
    /// Ports with frames waiting. As long as there are ports, so that it never grows.
    dirty: Vec<PortIndex>,
    /// Fragments that wait for their first one.
    held: Held<B>,
    /// For frames of other workers.
    others: Outbox<B>,
    plan: Arc<Plan<B>>,
    counters: Arc<WorkerCounters>,
}

impl<B: Buffer, T: Transmit<B>> Outputs<B, T> {
    /// Whether the worker itself sends for a port.
    pub(super) fn sends(&self, port: PortIndex) -> bool {
        self.ports.get(usize::from(port.0)).is_some_and(|output| output.queue.is_some())
    }

    /// Puts a frame where it waits for its port.
    #[inline(always)]
    pub(super) fn enqueue(
        &mut self,
        port: PortIndex,
        frame: B,
        refused: &mut impl FnMut(PortIndex, Reason, &B),
    ) {
        let Some(output) = self.ports.get_mut(usize::from(port.0)) else { return };
        if output.queue.is_none() {
            if let Some(owner) = self.plan.owner(port) {
                self.hand_to(owner, Handed::Transmit(port, frame), refused);
            }
            return;
        }
        output.waiting.push(frame);
        match output.waiting.len() {
            1 => self.dirty.push(port),
            MAX_BURST => self.flush_full(port, refused),
            _ => {}
        }
    }

    /// Gives a frame of an ENI to the worker that has a part of its flows.
    #[inline]
    pub(super) fn hand_part(
        &mut self,
        part: u8,
        at: AtEni,
        frame: B,
        refused: &mut impl FnMut(PortIndex, Reason, &B),
    ) {
        if let Some(worker) = self.plan.worker_of(at.port, part) {
            self.hand_to(worker, Handed::Eni(at, frame), refused);
        }
    }

    /// Gives a frame to another worker.
    #[inline]
    pub(super) fn hand_to(
        &mut self,
        worker: usize,
        item: Handed<B>,
        refused: &mut impl FnMut(PortIndex, Reason, &B),
    ) {
        self.counters.handed_over.add(1);
        if let Err(item) = self.others.give(worker, item) {
            let (port, frame) = item.at();
            self.counters.ports.port(port).drop(Reason::HandoffFull);
            refused(port, Reason::HandoffFull, frame);
        }
    }

    /// Sends what is waiting for a port. Of what the device does not take, the first frame is dropped, by name: its queue is
    /// full, or the frame is one that it never takes, and the ones behind must not wait for it.
    #[inline]
    fn flush_port(&mut self, port: PortIndex, refused: &mut impl FnMut(PortIndex, Reason, &B)) {
        let Some(output) = self.ports.get_mut(usize::from(port.0)) else { return };
        let Some(queue) = &mut output.queue else { return };
        let counters = self.counters.ports.port(port);
        let mut bytes: u64 = output.waiting.iter().map(|frame| frame.frame_len() as u64).sum();
        let mut packets = output.waiting.len() as u64;
        queue.transmit(&mut output.waiting);
        while !output.waiting.is_empty() {
            if let Some(frame) = output.waiting.pop_at(0) {
                // It may be a run that its queue has made of several.
                let (lost, octets) = frame.as_sent();
                packets = packets.saturating_sub(lost);
                bytes = bytes.saturating_sub(octets);
                counters.drop_many(Reason::TxFull, lost);
                refused(port, Reason::TxFull, &frame);
            }
            queue.transmit(&mut output.waiting);
        }
        counters.tx_packets.add(packets);
        counters.tx_bytes.add(bytes);
    }

    /// Sends what waits for a port in the middle of a round.
    #[inline(never)]
    fn flush_full(&mut self, port: PortIndex, refused: &mut impl FnMut(PortIndex, Reason, &B)) {
        self.dirty.retain(|&dirty| dirty != port);
        self.flush_port(port, refused);
    }

    /// Sends everything that waits.
    #[inline]
    pub(super) fn flush(&mut self, refused: &mut impl FnMut(PortIndex, Reason, &B)) {
        while let Some(port) = self.dirty.pop() {
            self.flush_port(port, refused);
        }
    }
}

/// What nobody looks at.
#[inline(always)]
fn unseen<B>() -> impl FnMut(PortIndex, Reason, &B) {
    |_, _, _| {}
}

impl<B, T> Notes for Outputs<B, T> {}

impl<B: Buffer, T: Transmit<B>> Sink<B> for Outputs<B, T> {
    #[inline(always)]
    fn transmit(&mut self, port: PortIndex, frame: B) {
        self.enqueue(port, frame, &mut unseen());
    }

    #[inline]
    fn transmit_all(&mut self, port: PortIndex, burst: &mut Burst<B>, count: usize) {
        match self.ports.get_mut(usize::from(port.0)) {
            // They fit, and there is room for another one.
            Some(Output { queue: Some(_), waiting }) if waiting.remaining_capacity() > count => {
                if waiting.is_empty() && count > 0 {
                    self.dirty.push(port);
                }
                move_front(burst, count, waiting);
            }
            _ => {
                let count = count.min(burst.len());
                burst.drain(..count).for_each(|frame| self.transmit(port, frame));
            }
        }
    }

    #[inline]
    fn owns(&self, port: PortIndex, part: u8) -> bool {
        self.plan.worker_of(port, part) == Some(self.worker)
    }

    #[inline]
    fn hand_over(&mut self, part: u8, at: AtEni, frame: B) {
        self.hand_part(part, at, frame, &mut unseen());
    }

    #[inline]
    fn workers(&self) -> (usize, usize) {
        (self.worker, self.plan.workers())
    }

    fn hand_share(&mut self, share: u8, at: AtGateway, frame: B) {
        self.hand_to(worker_of_share(share, self.plan.workers()), Handed::Gateway(at, frame), &mut unseen());
    }

    fn punt(&mut self, port: PortIndex, frame: B) -> Result<(), B> {
        self.plan.punted.push((port, frame)).map_err(|(_, frame)| frame)
    }

    fn hold(&mut self, early: Early, now: Duration, frame: B) -> Result<(), B> {
        self.held.hold(early, now, frame)
    }

    #[inline(always)]
    fn due(&mut self, now: Duration, known: impl Fn(&Early) -> bool) -> Option<Due<B>> {
        if self.held.is_empty() { None } else { self.held.due(now, known) }
    }

    fn tell(&mut self, news: News) {
        // A full ring loses it; a neighbour is asked again when its entry is due.
        let _ = self.plan.news.push(news);
    }
}

/// A worker.
pub struct Worker<B, R, T> {
    inputs: Vec<(PortIndex, R)>,
    inbox: Inbox<B>,
    outputs: Outputs<B, T>,
    tables: Reader<Tables>,
    plan: Arc<Plan<B>>,
    counters: Arc<WorkerCounters>,
    allowances: Allowances,
    flows: Flows,
    connections: Connections,
    burst: Burst<B>,
    most: usize,
    taps: Taps,
    walk: Walk,
}

impl<B: Buffer, R: Receive<B>, T: Transmit<B>> Worker<B, R, T> {
    /// Worker number `worker`: with the receive queues `inputs`, a transmit queue or none for each port, and at most `most`
    /// packets of a queue at once.
    pub fn new(
        worker: usize,
        inputs: Vec<(PortIndex, R)>,
        queues: impl IntoIterator<Item = Option<T>>,
        plan: Arc<Plan<B>>,
        tables: Reader<Tables>,
        counters: Arc<WorkerCounters>,
        most: usize,
    ) -> Self {
        let ports: Box<[_]> =
            queues.into_iter().map(|queue| Output { queue, waiting: Burst::new() }).collect();
        let Mailbox { to, from: inbox } = plan.mailbox(worker);
        let outputs = Outputs {
            worker,
            dirty: Vec::with_capacity(ports.len()),
            ports,
            held: Held::new(),
            others: to,
            plan: Arc::clone(&plan),
            counters: Arc::clone(&counters),
        };
        let allowances = Allowances::new(plan.owners.len());
        let (burst, most) = (Burst::new(), most.min(MAX_BURST));
        let (flows, connections) =
            (Flows::new(0), Connections::new(CONNECTIONS).with_ports(plan.owners.len()));
        let (taps, walk) = (Taps::new(), Walk::default());
        Self {
            inputs,
            inbox,
            outputs,
            tables,
            plan,
            counters,
            allowances,
            flows,
            connections,
            burst,
            most,
            taps,
            walk,
        }
    }

    /// With memory for the flows through gateways.
    #[must_use]
    pub fn with_flows(self, flows: Flows) -> Self {
        Self { flows, ..self }
    }

    /// With a table of connections.
    #[must_use]
    pub fn with_connections(self, connections: Connections) -> Self {
        Self { connections: connections.with_ports(self.plan.owners.len()), ..self }
    }

    /// Its table of connections.
    pub fn connections(&mut self) -> &mut Connections {
        &mut self.connections
    }

    /// Its first receive queue, with the port that it is of, and what that gives in the coming round: nothing between rounds.
    #[cfg(feature = "dpdk")]
    #[inline]
    pub(super) fn coming(&mut self) -> (Option<&mut (PortIndex, R)>, &mut Burst<B>) {
        (self.inputs.first_mut(), &mut self.burst)
    }

    /// Its transmit queue of a port, if it has one.
    #[cfg(feature = "dpdk")]
    pub(super) fn output(&mut self, port: PortIndex) -> Option<&mut T> {
        self.outputs.ports.get_mut(usize::from(port.0))?.queue.as_mut()
    }

    /// Says that it does nothing until its next round: it delays nobody meanwhile.
    pub(super) fn rest(&mut self) {
        self.tables.offline();
    }

    /// One round over all queues and the inbox, at a time since the node's start. Returns how many packets it found.
    #[inline]
    pub fn round(&mut self, now: impl Into<Moment>) -> usize {
        let Moment { cycles: start, time: now } = now.into();
        if self.plan.captures.is_on() {
            self.take_taps();
        }
        let Self {
            inputs,
            inbox,
            outputs,
            tables,
            plan,
            counters,
            allowances,
            flows,
            connections,
            burst,
            most,
            taps,
            walk,
        } = self;
        let pinned = tables.pin();
        connections.settle(pinned.generation, || pinned.tenants());
        connections.log(now, pinned.generation, || pinned.logged());
        let mut queues = Queues { inputs, inbox, burst, most: *most, plan, worker: outputs.worker };
        let mut ctx = Context {
            tables: &pinned,
            counters: &counters.ports,
            now,
            allowances,
            flows,
            connections,
            sink: outputs,
        };
        let found = if taps.is_empty() {
            let found = queues.poll(&mut ctx, |ctx, port, burst| pipeline::process(ctx, port, burst));
            ctx.sink.flush(&mut unseen());
            found
        } else {
            queues.poll_tapped(ctx, taps)
        };
        tables.quiescent();
        connections.advance(now, EXPIRIES);
        if plan.listing.wants(walk) {
            plan.listing.walk(outputs.worker, walk, connections, now, found > 0);
        }
        let rounds = counters.rounds.get();
        if rounds.is_multiple_of(PUBLISHING) {
            let port = PortIndex((rounds / PUBLISHING % connections.ports().max(1) as u64) as u16);
            counters.connections.publish(port, &connections.port_stats(port));
        }
        if flows.has_room() {
            flows.advance(now);
            counters.nat.publish(&flows.stats());
        }
        counters.rounds.add(1);
        if found > 0 {
            counters.busy_rounds.add(1);
            counters.packets.add(found as u64);
            counters.busy_cycles.add(cycles().wrapping_sub(start));
        }
        found
    }

    #[cold]
    #[inline(never)]
    fn take_taps(&mut self) {
        self.plan.captures.exchange(self.outputs.worker, &mut self.taps);
        self.counters.captures.set(self.taps.len() as u64);
    }

    /// Rounds until `stop` is set.
    pub fn run(&mut self, stop: &AtomicBool, idle: Idle, clock: Clock) {
        let mut idle_rounds = 0_u32;
        while !stop.load(Ordering::Relaxed) {
            if self.round(clock.now()) > 0 {
                idle_rounds = 0;
                continue;
            }
            idle_rounds = idle_rounds.saturating_add(1);
            match idle {
                Idle::Spin => std::hint::spin_loop(),
                Idle::Sleep if idle_rounds > 64 => {
                    self.rest();
                    thread::sleep(Duration::from_micros(u64::from(idle_rounds - 64).min(100)));
                }
                Idle::Sleep => std::hint::spin_loop(),
            }
        }
        let mut patience = LAST_LOGS;
        self.connections.end_logs(|| {
            if patience > 0 {
                patience -= 1;
                thread::sleep(Duration::from_millis(1));
            }
        });
    }
}

/// Where a worker's packets come from.
struct Queues<'a, B, R> {
    inputs: &'a mut [(PortIndex, R)],
    inbox: &'a mut Inbox<B>,
    burst: &'a mut Burst<B>,
    most: usize,
    plan: &'a Plan<B>,
    worker: usize,
}

impl<B: Buffer, R: Receive<B>> Queues<'_, B, R> {
    /// Gives what has arrived to `process`, port by port, and does what other workers and the management thread asked for.
    /// Returns how many packets there were.
    #[inline(always)]
    fn poll<S: Sink<B>>(
        &mut self,
        ctx: &mut Context<'_, S>,
        mut process: impl FnMut(&mut Context<'_, S>, PortIndex, &mut Burst<B>),
    ) -> usize {
        self.inbox.look();
        let burst = &mut *self.burst;
        let mut found = 0;
        for (number, (port, queue)) in self.inputs.iter_mut().enumerate() {
            queue.receive(burst, self.most);
            if number == 0 {
                self.inbox.look_inside();
            }
            if burst.is_empty() {
                continue;
            }
            found += burst.len();
            let port_counters = ctx.counters.port(*port);
            port_counters.rx_packets.add(burst.len() as u64);
            port_counters.rx_bytes.add(burst.iter().map(|frame| frame.data().len() as u64).sum());
            process(ctx, *port, burst);
        }
        pipeline::resume_early(ctx);
        found + self.take_posted(ctx) + self.take_handed(ctx)
    }

    /// The same with taps in front of the outputs, and sends what waits.
    #[cold]
    #[inline(never)]
    fn poll_tapped<T: Transmit<B>>(&mut self, ctx: Context<'_, Outputs<B, T>>, taps: &mut Taps) -> usize {
        let Context { tables, counters, now, allowances, flows, connections, sink } = ctx;
        let mut tapped = Tapped::new(sink, taps, now);
        let mut ctx = Context { tables, counters, now, allowances, flows, connections, sink: &mut tapped };
        let found = self.poll(&mut ctx, process_tapped);
        tapped.flush();
        found
    }

    /// Sends what the management thread has for ports of this worker.
    #[inline]
    fn take_posted<S: Sink<B>>(&mut self, ctx: &mut Context<'_, S>) -> usize {
        let Some(posted) = self.plan.posted.get(self.worker).filter(|posted| !posted.is_empty()) else {
            return 0;
        };
        let some = std::iter::from_fn(|| posted.pop()).take(MAX_BURST);
        some.map(|(port, frame)| ctx.sink.transmit(port, frame)).count()
    }

    /// Does what other workers handed over: what of an ENI came together, together.
    #[inline]
    fn take_handed<S: Sink<B>>(&mut self, ctx: &mut Context<'_, S>) -> usize {
        let together = &mut *self.burst;
        let mut found = 0;
        for given in self.inbox.by_giver() {
            while let Some(some) = given.take() {
                let mut whose = None;
                for item in some {
                    found += 1;
                    let at = if let Handed::Eni(at, _) = &item { Some(*at) } else { None };
                    if let Some(before) = whose.filter(|_| whose != at) {
                        pipeline::take_over(ctx, before, together);
                    }
                    whose = at;
                    match item {
                        Handed::Eni(_, frame) => together.push(frame),
                        Handed::Transmit(port, frame) => ctx.sink.transmit(port, frame),
                        Handed::Gateway(at, frame) => gateway::resume(ctx, at, frame),
                    }
                }
                if let Some(at) = whose {
                    pipeline::take_over(ctx, at, together);
                }
            }
        }
        found
    }
}

/// Processes packets of a port that may be captured: one by one if they are, so that each has a verdict of its own.
fn process_tapped<B: Buffer, T: Transmit<B>>(
    ctx: &mut Context<'_, Tapped<'_, B, T>>,
    port: PortIndex,
    burst: &mut Burst<B>,
) {
    ctx.sink.receive(Some(port));
    if ctx.sink.watches(port) {
        let mut single = Burst::new();
        for frame in burst.drain(..) {
            ctx.sink.begin(frame.data());
            single.push(frame);
            pipeline::process(ctx, port, &mut single);
            ctx.sink.finish();
        }
    } else {
        pipeline::process(ctx, port, burst);
    }
    ctx.sink.receive(None);
}
