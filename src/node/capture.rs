//! What a capture sees of a worker's packets.
//!
//! ```text
//!  control connection                                worker
//!  Captures::start ── a Tap for each worker ───────► takes it, processes with Tapped in front of its outputs
//!  Running::next ◄───── Shared::full ──────────────  fills a Record that it took from Shared::free
//!  Running::recycle ──► Shared::free                 (none there: the packet is counted as lost)
//!  drop of Running ───► Shared::stopped ───────────► gives the tap back, and is as before
//! ```
//!
//! While there is no capture, a worker pays one relaxed load a round. While there is one, it allocates nothing and waits for
//! nobody: records are made before it starts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use arrayvec::ArrayVec;
use crossbeam::{queue::ArrayQueue, utils::CachePadded};

use super::worker::{Outputs, Transmit};
use crate::{
    packet::Buffer,
    pipeline::{AtEni, AtGateway, Due, Early, News, Notes, Reason, Sink},
    tables::PortIndex,
};

/// Captures that can run at once.
pub const MAX_CAPTURES: usize = 4;
/// Bytes that the records of a capture may take.
const MEMORY: usize = 16 << 20;
/// Records of a capture, at most and at least.
const RECORDS: (usize, usize) = (64, 8192);
/// How long a capture that ends waits for its taps.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether a frame, from the first octet of its link-layer header, is to be captured. A worker calls it: it may not allocate
/// or block.
pub type Filter = Box<dyn Fn(&[u8]) -> bool + Send>;

/// A way through a port, as the node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Received from the port.
    In,
    /// Sent out of the port.
    Out,
}

/// What became of a packet, or where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Received, and sent out of a port, after processing.
    Sent(PortIndex),
    /// Received, and answered through the same port.
    Answered,
    /// Received, and given to the worker that owns the ENI behind a port.
    HandedOver(PortIndex),
    /// Received, and given to the management thread, which answers it.
    Punted,
    /// Received, and taken in without more.
    Consumed,
    /// Dropped.
    Dropped(Reason),
    /// About to be sent; received from that port by the same worker, otherwise handed over by another one or made by the
    /// management thread.
    From(Option<PortIndex>),
}

/// A frame that was captured.
pub struct Record {
    /// When, since the node's start.
    pub time: Duration,
    /// At which port.
    pub port: PortIndex,
    /// In which direction.
    pub direction: Direction,
    /// What became of it.
    pub verdict: Verdict,
    /// Its length in bytes.
    pub length: usize,
    /// What it was turned into, each with what follows it.
    pub after: Option<Box<Self>>,
    captured: usize,
    buffer: Box<[u8]>,
}

impl Record {
    fn new(snaplen: usize) -> Self {
        Self {
            time: Duration::ZERO,
            port: PortIndex(0),
            direction: Direction::In,
            verdict: Verdict::Consumed,
            length: 0,
            after: None,
            captured: 0,
            // Not zeros, which the system would map only when a worker writes the first byte.
            buffer: vec![0xff; snaplen].into(),
        }
    }

    /// The frame's first bytes, as many as were asked for.
    pub fn data(&self) -> &[u8] {
        self.buffer.get(..self.captured).unwrap_or_default()
    }

    fn fill(&mut self, frame: &[u8]) {
        self.length = frame.len();
        self.captured = 0;
        let wanted = frame.len().min(self.buffer.len());
        if let Some((to, from)) = self.buffer.get_mut(..wanted).zip(frame.get(..wanted)) {
            to.copy_from_slice(from);
            self.captured = wanted;
        }
    }

    /// A drop outdoes what was sent before it, which was about the drop.
    fn settle(&mut self, verdict: Verdict) {
        if self.verdict == Verdict::Consumed || matches!(verdict, Verdict::Dropped(_)) {
            self.verdict = verdict;
        }
    }

    fn append(&mut self, record: Option<Box<Self>>) {
        let mut last = &mut self.after;
        while let Some(next) = last {
            last = &mut next.after;
        }
        *last = record;
    }
}

/// What a capture is of.
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    /// The port.
    pub port: PortIndex,
    /// Whether of packets received from it.
    pub incoming: bool,
    /// Whether of packets sent out of it.
    pub outgoing: bool,
    /// Of how many packets that pass the filter each worker takes one; at least 1.
    pub every: u64,
    /// Bytes to keep of a frame.
    pub snaplen: usize,
}

/// What workers and the reader of a capture share.
struct Shared {
    free: ArrayQueue<Box<Record>>,
    full: ArrayQueue<Box<Record>>,
    lost: AtomicU64,
    stopped: AtomicBool,
}

/// A worker's part of a capture.
pub struct Tap {
    selection: Selection,
    filter: Option<Filter>,
    /// Packets that passed the filter.
    passed: u64,
    /// The packet at work, if it is captured.
    pending: Option<Box<Record>>,
    shared: Arc<Shared>,
}

impl Tap {
    fn wants(&mut self, frame: &[u8]) -> bool {
        if self.filter.as_ref().is_some_and(|passes| !passes(frame)) {
            return false;
        }
        self.passed = self.passed.wrapping_add(1);
        self.passed.wrapping_sub(1).is_multiple_of(self.selection.every)
    }

    fn record(
        &self,
        time: Duration,
        port: PortIndex,
        direction: Direction,
        verdict: Verdict,
        frame: &[u8],
    ) -> Option<Box<Record>> {
        let Some(mut record) = self.shared.free.pop() else {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        record.fill(frame);
        (record.time, record.port, record.direction, record.verdict) = (time, port, direction, verdict);
        Some(record)
    }

    fn give(&self, record: Option<Box<Record>>) {
        if let Some(record) = record {
            // There is room for all records there are.
            let _ = self.shared.full.push(record);
        }
    }

    /// A frame leaves, or would have left, through a port.
    fn leaving(&mut self, time: Duration, port: PortIndex, verdict: Verdict, frame: &[u8]) {
        if self.selection.outgoing && self.selection.port == port && self.wants(frame) {
            self.give(self.record(time, port, Direction::Out, verdict, frame));
        }
    }
}

/// A worker's taps.
pub type Taps = ArrayVec<Tap, MAX_CAPTURES>;

/// The captures of a node.
pub struct Captures {
    /// Taps that workers have, or are to take. Each round of a worker reads it; it changes as captures start and end.
    taps: CachePadded<AtomicUsize>,
    /// By worker: taps to take.
    orders: Box<[ArrayQueue<Tap>]>,
    /// Taps that workers gave back, to be freed by others.
    done: ArrayQueue<Tap>,
    running: AtomicUsize,
}

impl Captures {
    /// None, for a node with that many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            taps: CachePadded::default(),
            orders: (0..workers).map(|_| ArrayQueue::new(MAX_CAPTURES)).collect(),
            done: ArrayQueue::new(2 * MAX_CAPTURES * workers.max(1)),
            running: AtomicUsize::new(0),
        }
    }

    /// Whether a worker has anything to do for captures.
    #[inline(always)]
    pub fn is_on(&self) -> bool {
        self.taps.load(Ordering::Relaxed) != 0
    }

    /// Starts a capture. `filter` makes the filter of one worker; without one, all packets pass.
    ///
    /// # Errors
    ///
    /// What `filter` says, or that too many captures run.
    pub fn start(
        self: &Arc<Self>,
        selection: Selection,
        mut filter: impl FnMut() -> Result<Option<Filter>, String>,
    ) -> Result<Running, String> {
        let filters = self.orders.iter().map(|_| filter()).collect::<Result<Vec<_>, _>>()?;
        let taken = self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |running| {
            (running < MAX_CAPTURES).then_some(running + 1)
        });
        if taken.is_err() {
            return Err(format!("{MAX_CAPTURES} captures run already: end one of them"));
        }
        let (fewest, most) = RECORDS;
        let records = (MEMORY / (selection.snaplen + size_of::<Record>())).clamp(fewest, most);
        let shared = Arc::new(Shared {
            free: ArrayQueue::new(records),
            full: ArrayQueue::new(records),
            lost: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        });
        for _ in 0..records {
            let _ = shared.free.push(Box::new(Record::new(selection.snaplen)));
        }
        // From here on, its drop undoes what was done.
        let running = Running { captures: Arc::clone(self), shared };
        for (worker, (orders, filter)) in self.orders.iter().zip(filters).enumerate() {
            let shared = Arc::clone(&running.shared);
            let tap = Tap { selection, filter, passed: 0, pending: None, shared };
            self.taps.fetch_add(1, Ordering::Relaxed);
            if orders.push(tap).is_err() {
                self.taps.fetch_sub(1, Ordering::Relaxed);
                return Err(format!(
                    "worker {worker} has not left earlier captures yet: see `warren show workers`"
                ));
            }
        }
        Ok(running)
    }

    /// A worker gives back the taps of captures that have ended and takes those that wait for it.
    #[cold]
    #[inline(never)]
    pub(super) fn exchange(&self, worker: usize, taps: &mut Taps) {
        let is_stopped = |tap: &Tap| tap.shared.stopped.load(Ordering::Relaxed);
        for index in (0..taps.len()).rev() {
            if taps.get(index).is_some_and(is_stopped)
                && let Some(tap) = taps.swap_pop(index)
            {
                self.give_back(tap);
            }
        }
        let Some(orders) = self.orders.get(worker) else { return };
        while !taps.is_full()
            && let Some(tap) = orders.pop()
        {
            if is_stopped(&tap) { self.give_back(tap) } else { taps.push(tap) }
        }
    }

    fn give_back(&self, tap: Tap) {
        // There is room for twice as many as there can be.
        let _ = self.done.push(tap);
        self.taps.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A capture that runs until this is dropped.
pub struct Running {
    captures: Arc<Captures>,
    shared: Arc<Shared>,
}

impl Running {
    /// The next packet: as received, with the frames that it became behind it; or as sent.
    pub fn next(&self) -> Option<Box<Record>> {
        self.shared.full.pop()
    }

    /// Lets workers have a packet's records again.
    pub fn recycle(&self, record: Box<Record>) {
        let mut next = Some(record);
        while let Some(mut record) = next {
            next = record.after.take();
            let _ = self.shared.free.push(record);
        }
    }

    /// How many frames were lost because no record was free.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Ends it, as far as workers are concerned; what they have captured is still to be had.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let since = Instant::now();
        loop {
            while self.captures.done.pop().is_some() {}
            if Arc::strong_count(&self.shared) == 1 || since.elapsed() > PATIENCE {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
        self.captures.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A worker's outputs, with its taps in front of them.
pub(super) struct Tapped<'a, B, T> {
    outputs: &'a mut Outputs<B, T>,
    taps: &'a mut Taps,
    now: Duration,
    /// The port that the packets at work were received from.
    from: Option<PortIndex>,
}

impl<'a, B: Buffer, T: Transmit<B>> Tapped<'a, B, T> {
    pub(super) fn new(outputs: &'a mut Outputs<B, T>, taps: &'a mut Taps, now: Duration) -> Self {
        Self { outputs, taps, now, from: None }
    }

    /// Says where the packets of the coming calls were received; `None` for those that others gave to the worker.
    pub(super) fn receive(&mut self, from: Option<PortIndex>) {
        self.from = from;
    }

    /// Whether packets from a port are to be processed one by one.
    pub(super) fn watches(&self, port: PortIndex) -> bool {
        self.taps.iter().any(|tap| tap.selection.incoming && tap.selection.port == port)
    }

    /// A packet, as received from [`Tapped::receive`]'s port, is the next to be processed, alone.
    pub(super) fn begin(&mut self, frame: &[u8]) {
        let Some(port) = self.from else { return };
        for tap in self.taps.iter_mut() {
            if tap.selection.incoming && tap.selection.port == port && tap.wants(frame) {
                tap.pending = tap.record(self.now, port, Direction::In, Verdict::Consumed, frame);
            }
        }
    }

    /// It has been processed.
    pub(super) fn finish(&mut self) {
        for tap in self.taps.iter_mut() {
            let record = tap.pending.take();
            tap.give(record);
        }
    }

    /// Sends everything that waits.
    pub(super) fn flush(&mut self) {
        let Self { outputs, taps, now, .. } = self;
        outputs.flush(&mut refusals(taps, *now));
    }
}

/// Records what a device did not take.
fn refusals<B: Buffer>(taps: &mut Taps, now: Duration) -> impl FnMut(PortIndex, Reason, &B) {
    move |port, reason, frame| {
        for tap in taps.iter_mut() {
            tap.leaving(now, port, Verdict::Dropped(reason), frame.data());
        }
    }
}

impl<B, T> Notes for Tapped<'_, B, T> {}

impl<B: Buffer, T: Transmit<B>> Sink<B> for Tapped<'_, B, T> {
    fn transmit(&mut self, port: PortIndex, frame: B) {
        let Self { outputs, taps, now, from } = self;
        for tap in taps.iter_mut() {
            if let Some(mut packet) = tap.pending.take() {
                packet.settle(if *from == Some(port) { Verdict::Answered } else { Verdict::Sent(port) });
                packet.append(tap.record(*now, port, Direction::Out, Verdict::From(*from), frame.data()));
                tap.pending = Some(packet);
            } else if outputs.sends(port) {
                // Otherwise the worker that sends it sees it.
                tap.leaving(*now, port, Verdict::From(*from), frame.data());
            }
        }
        outputs.enqueue(port, frame, &mut refusals(taps, *now));
    }

    fn owns(&self, port: PortIndex, part: u8) -> bool {
        self.outputs.owns(port, part)
    }

    fn workers(&self) -> (usize, usize) {
        self.outputs.workers()
    }

    fn hand_share(&mut self, share: u8, at: AtGateway, frame: B) {
        self.outputs.hand_share(share, at, frame);
    }

    fn hand_over(&mut self, part: u8, at: AtEni, frame: B) {
        let port = at.port;
        for tap in self.taps.iter_mut() {
            if let Some(mut packet) = tap.pending.take() {
                packet.settle(Verdict::HandedOver(port));
                let verdict = Verdict::HandedOver(port);
                packet.append(tap.record(self.now, port, Direction::Out, verdict, frame.data()));
                tap.pending = Some(packet);
            }
        }
        self.outputs.hand_part(part, at, frame, &mut refusals(self.taps, self.now));
    }

    fn punt(&mut self, port: PortIndex, frame: B) -> Result<(), B> {
        self.outputs.punt(port, frame)?;
        for packet in self.taps.iter_mut().filter_map(|tap| tap.pending.as_mut()) {
            packet.settle(Verdict::Punted);
        }
        Ok(())
    }

    fn hold(&mut self, early: Early, now: Duration, frame: B) -> Result<(), B> {
        self.outputs.hold(early, now, frame)
    }

    fn due(&mut self, now: Duration, known: impl Fn(&Early) -> bool) -> Option<Due<B>> {
        self.outputs.due(now, known)
    }

    fn tell(&mut self, news: News) {
        Sink::<B>::tell(self.outputs, news);
    }

    fn dropped(&mut self, port: PortIndex, reason: Reason, frame: &B) {
        let verdict = Verdict::Dropped(reason);
        for tap in self.taps.iter_mut() {
            if let Some(packet) = &mut tap.pending {
                packet.settle(verdict);
            } else if self.from != Some(port) {
                // It was for the ENI behind the port.
                tap.leaving(self.now, port, verdict, frame.data());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;
    use crate::{
        compile::Compiler,
        node::{
            fleet::{self, FIRST, Fleet, UPLINK},
            traffic::Stamp,
            worker::{Plan, Receive, Worker, WorkerCounters},
        },
        packet::{
            HeapBuffer, Mac,
            arp::{Arp, Operation},
            macs,
        },
        pipeline::Burst,
        rcu::Publisher,
        tables::Tables,
    };

    const SECOND: PortIndex = PortIndex(1);

    /// A port's frames, on their way to the node or from it; the device takes `room` of them.
    #[derive(Clone)]
    struct Queue(Rc<RefCell<Vec<HeapBuffer>>>, usize);

    impl Receive<HeapBuffer> for Queue {
        fn receive(&mut self, burst: &mut Burst<HeapBuffer>, _most: usize) {
            burst.extend(self.0.borrow_mut().drain(..));
        }
    }

    impl Transmit<HeapBuffer> for Queue {
        fn transmit(&mut self, burst: &mut Burst<HeapBuffer>) {
            let mut sent = self.0.borrow_mut();
            while sent.len() < self.1
                && let Some(frame) = burst.pop_at(0)
            {
                sent.push(frame);
            }
        }
    }

    /// A node with the fleet's three ports, each owned by one of the workers.
    struct Node {
        captures: Arc<Captures>,
        inputs: Vec<Queue>,
        workers: Vec<Worker<HeapBuffer, Queue, Queue>>,
        counters: Vec<Arc<WorkerCounters>>,
        _publisher: Publisher<Tables>,
    }

    impl Node {
        fn new(owners: [usize; 3], room: usize) -> Self {
            let fleet = Fleet::new(1000);
            let count = owners.iter().max().unwrap() + 1;
            let tables = Compiler::new(fleet.site()).build(fleet.model(), &fleet.neighbours());
            let (publisher, readers) = Publisher::new(tables, count);
            let plan = Arc::new(Plan::new(owners.into(), count));
            let inputs =
                vec![(); 3].into_iter().map(|()| Queue(Rc::default(), usize::MAX)).collect::<Vec<_>>();
            let counters: Vec<_> = (0..count).map(|_| Arc::new(WorkerCounters::new(3))).collect();
            let worker = |(worker, reader)| {
                let own = |port: &usize| owners[*port] == worker;
                let queues = (0..3).filter(own).map(|port| (PortIndex(port as u16), inputs[port].clone()));
                let outputs = (0..3).map(|port| own(&port).then(|| Queue(Rc::default(), room)));
                let counters = Arc::clone(&counters[worker]);
                Worker::new(worker, queues.collect(), outputs, Arc::clone(&plan), reader, counters, 32)
            };
            let workers = readers.into_iter().enumerate().map(worker).collect();
            Self { captures: Arc::clone(&plan.captures), inputs, workers, counters, _publisher: publisher }
        }

        fn capture(&self, port: PortIndex, incoming: bool, outgoing: bool) -> Running {
            let selection = Selection { port, incoming, outgoing, every: 1, snaplen: 2048 };
            self.captures.start(selection, || Ok(None)).unwrap()
        }

        fn round(&mut self, from: PortIndex, frames: &[Vec<u8>]) {
            let frames = frames.iter().map(|frame| HeapBuffer::new(frame));
            self.inputs[usize::from(from.0)].0.borrow_mut().extend(frames);
            for worker in &mut self.workers {
                worker.round(Duration::from_millis(7));
            }
        }
    }

    fn stamped(stamp: &Stamp) -> Vec<u8> {
        let mut frame = stamp.frame().to_vec();
        stamp.write(&mut frame, 0);
        frame
    }

    fn encapsulate() -> Vec<u8> {
        stamped(&Stamp::encapsulate(&Fleet::new(1000), 128))
    }

    fn local() -> Vec<u8> {
        stamped(&Stamp::local(&Fleet::new(1000), 128))
    }

    fn foreign_mac() -> Vec<u8> {
        let mut frame = encapsulate();
        frame[11] = 99;
        frame
    }

    type Seen = (PortIndex, Direction, Verdict);

    /// What a capture has, each packet with what it became.
    fn seen(running: &Running) -> Vec<Vec<Seen>> {
        let mut packets = Vec::new();
        while let Some(packet) = running.next() {
            let mut frames = Vec::new();
            let mut next = Some(&packet);
            while let Some(record) = next {
                frames.push((record.port, record.direction, record.verdict));
                next = record.after.as_ref();
            }
            packets.push(frames);
            running.recycle(packet);
        }
        packets
    }

    use Direction::{In, Out};
    use Verdict::{Answered, Dropped, From, HandedOver, Punted, Sent};

    #[test]
    fn a_packet_is_seen_before_and_after() {
        let mut node = Node::new([0; 3], usize::MAX);
        let running = node.capture(FIRST, true, true);
        let frame = encapsulate();
        node.round(FIRST, std::slice::from_ref(&frame));
        let before = running.next().unwrap();
        assert_eq!((before.port, before.direction, before.verdict), (FIRST, In, Sent(UPLINK)));
        assert_eq!((before.data(), before.length, before.time), (&frame[..], 128, Duration::from_millis(7)));
        let after = before.after.as_ref().unwrap();
        assert_eq!((after.port, after.direction, after.verdict), (UPLINK, Out, From(Some(FIRST))));
        assert_eq!((after.length, after.after.is_none()), (128 + 50, true));
        assert_eq!(after.data()[50 + 14..], frame[14..]);
        assert!(running.next().is_none());
    }

    #[test]
    fn each_packet_of_a_burst_has_its_own_verdict() {
        let mut node = Node::new([0; 3], usize::MAX);
        let running = node.capture(FIRST, true, true);
        let arp = Arp {
            operation: Operation::Request,
            sender_mac: fleet::mac(0),
            sender_ip: fleet::address(0),
            target_mac: Mac::ZERO,
            target_ip: fleet::address(500),
        };
        // RFC 2131 §4.1: a client without an address.
        let mut dhcp = encapsulate();
        dhcp[..6].copy_from_slice(&Mac::BROADCAST.0);
        dhcp[26..34].copy_from_slice(&[0, 0, 0, 0, 255, 255, 255, 255]);
        dhcp[34..38].copy_from_slice(&[0, 68, 0, 67]);
        let arp = arp.frame(Mac::BROADCAST).to_vec();
        node.round(FIRST, &[encapsulate(), foreign_mac(), arp, dhcp, local()]);
        assert_eq!(
            seen(&running),
            [
                vec![(FIRST, In, Sent(UPLINK)), (UPLINK, Out, From(Some(FIRST)))],
                vec![(FIRST, In, Dropped(Reason::SrcMac))],
                vec![(FIRST, In, Answered), (FIRST, Out, From(Some(FIRST)))],
                vec![(FIRST, In, Punted)],
                vec![(FIRST, In, Sent(SECOND)), (SECOND, Out, From(Some(FIRST)))],
            ]
        );
    }

    #[test]
    fn what_goes_to_a_port_is_seen_there() {
        let mut node = Node::new([0; 3], usize::MAX);
        let (first, second) = (node.capture(FIRST, false, true), node.capture(SECOND, true, true));
        node.round(UPLINK, &[stamped(&Stamp::decapsulate(&Fleet::new(1000), 128))]);
        assert_eq!(seen(&first), [[(FIRST, Out, From(Some(UPLINK)))]]);
        // By MAC, with an address that is not the receiver's (ADDR-6).
        let mut astray = local();
        astray[..6].copy_from_slice(&fleet::mac(1).0);
        astray[33] = 99;
        node.round(FIRST, &[local(), astray, encapsulate()]);
        assert_eq!(seen(&first), [[]; 0]);
        let [sent, astray] = [From(Some(FIRST)), Dropped(Reason::DstCheck)];
        assert_eq!(seen(&second), [[(SECOND, Out, sent)], [(SECOND, Out, astray)]]);
    }

    #[test]
    fn what_another_worker_delivers_is_seen_on_both() {
        let mut node = Node::new([0, 1, 1], usize::MAX);
        let (first, second) = (node.capture(FIRST, true, true), node.capture(SECOND, true, true));
        let uplink = node.capture(UPLINK, true, true);
        node.round(FIRST, &[local(), encapsulate()]);
        assert_eq!(
            seen(&first),
            [
                [(FIRST, In, HandedOver(SECOND)), (SECOND, Out, HandedOver(SECOND))],
                [(FIRST, In, Sent(UPLINK)), (UPLINK, Out, From(Some(FIRST)))]
            ]
        );
        assert_eq!(seen(&second), [[(SECOND, Out, From(None))]]);
        assert_eq!(seen(&uplink), [[(UPLINK, Out, From(None))]]);
    }

    #[test]
    fn what_the_device_does_not_take_is_seen_as_a_drop() {
        let mut node = Node::new([0; 3], 1);
        let running = node.capture(UPLINK, false, true);
        node.round(FIRST, &[encapsulate(), encapsulate()]);
        let sent = (UPLINK, Out, From(Some(FIRST)));
        assert_eq!(seen(&running), [[sent], [sent], [(UPLINK, Out, Dropped(Reason::TxFull))]]);
        assert_eq!(node.counters[0].ports.port(UPLINK).drops(Reason::TxFull), 1);
    }

    #[test]
    fn only_every_nth_of_what_passes_the_filter() {
        let mut node = Node::new([0; 3], usize::MAX);
        let selection = Selection { port: FIRST, incoming: true, outgoing: true, every: 3, snaplen: 20 };
        let own_mac = || -> Result<Option<Filter>, String> {
            Ok(Some(Box::new(|frame: &[u8]| macs(frame).1 == fleet::mac(0))))
        };
        let running = node.captures.start(selection, own_mac).unwrap();
        for _ in 0..2 {
            node.round(FIRST, &vec![[encapsulate(), foreign_mac()]; 5].concat());
        }
        let mut packets = 0;
        while let Some(record) = running.next() {
            packets += 1;
            assert_eq!(record.verdict, Sent(UPLINK));
            assert_eq!((record.length, record.data()), (128, &encapsulate()[..20]));
            let after = record.after.as_ref().unwrap();
            assert_eq!((after.length, after.data().len()), (178, 20));
            running.recycle(record);
        }
        assert_eq!(packets, 4, "the 1st, 4th, 7th and 10th of 10");
    }

    #[test]
    fn what_finds_no_record_is_counted_as_lost() {
        let mut node = Node::new([0; 3], usize::MAX);
        let selection = Selection { port: FIRST, incoming: true, outgoing: true, every: 1, snaplen: 1 << 18 };
        let running = node.captures.start(selection, || Ok(None)).unwrap();
        for _ in 0..10 {
            node.round(FIRST, &vec![foreign_mac(); 10]);
        }
        assert_eq!(node.counters[0].ports.port(FIRST).drops(Reason::SrcMac), 100, "none goes astray");
        assert_eq!((seen(&running).len(), running.lost()), (RECORDS.0, 100 - RECORDS.0 as u64));
        node.round(FIRST, &vec![foreign_mac(); 10]);
        assert_eq!(seen(&running).len(), 10, "records are used again");
    }

    #[test]
    fn a_capture_that_ended_leaves_nothing_behind() {
        let mut node = Node::new([0, 1, 1], usize::MAX);
        assert!(!node.captures.is_on());
        let running: Vec<_> = (0..MAX_CAPTURES).map(|_| node.capture(FIRST, true, true)).collect();
        let selection = Selection { port: FIRST, incoming: true, outgoing: true, every: 1, snaplen: 64 };
        let refused = node.captures.start(selection, || Ok(None)).err().unwrap();
        assert!(refused.contains("end one"), "{refused}");
        node.round(FIRST, &[]);
        assert_eq!(node.counters[0].captures.get(), MAX_CAPTURES as u64);
        let shared: Vec<_> = running.iter().map(|running| Arc::downgrade(&running.shared)).collect();
        // The workers are this thread, so nobody gives the taps back meanwhile.
        for running in &running {
            running.shared.stopped.store(true, Ordering::Relaxed);
        }
        node.round(FIRST, &[encapsulate()]);
        assert!(!node.captures.is_on());
        assert_eq!(node.counters.iter().map(|counters| counters.captures.get()).sum::<u64>(), 0);
        assert!(running.iter().all(|running| running.next().is_none()));
        drop(running);
        assert!(shared.iter().all(|shared| shared.strong_count() == 0), "memory is kept");
        let again = node.capture(FIRST, true, true);
        node.round(FIRST, &[foreign_mac()]);
        assert_eq!(seen(&again).len(), 1);
    }

    #[test]
    fn a_filter_that_cannot_be_made_starts_nothing() {
        let node = Node::new([0, 1, 1], usize::MAX);
        let selection = Selection { port: FIRST, incoming: true, outgoing: true, every: 1, snaplen: 64 };
        let mut made = 0;
        let second_fails = || {
            made += 1;
            if made == 2 { Err("no filter".to_owned()) } else { Ok(None) }
        };
        assert_eq!(node.captures.start(selection, second_fails).err().unwrap(), "no filter");
        assert!(!node.captures.is_on());
    }
}
