//! A worker in its steady state allocates nothing: not to encapsulate, decapsulate, deliver, answer or drop.
//!
//! One test only: the count is of the whole process.
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::RefCell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use warren::{
    compile::Compiler,
    flow::{
        Endpoint, Flow, Protocol,
        nat::{self, Nat},
    },
    model::router_mac,
    node::{
        capture::{Filter, Selection},
        fleet::{self, FIRST, Fleet, UPLINK},
        traffic::Stamp,
        worker::{Plan, Receive, Transmit, Worker, WorkerCounters},
    },
    packet::{
        Buffer, HeapBuffer, Mac,
        arp::{Arp, Operation},
    },
    pipeline::{Burst, Reason},
    rcu::Publisher,
    tables::PortIndex,
};

/// Counts what it passes on.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every method passes its arguments on to the system's allocator, whose contract is the same, and returns what that
// returns; the counter is not memory that either manages.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises about `layout` are the ones asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `memory` is from `alloc` or `realloc` above, so from `System`, with this layout.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as `dealloc`; the caller promises that `size` is not zero and fits.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The one pool that all queues take from and give back to, and what the frames leave as.
struct Pool {
    /// Frames that wait to be received, on the port under test.
    waiting: Vec<HeapBuffer>,
    sent: Vec<(PortIndex, HeapBuffer)>,
}

/// A queue of a port.
struct Queue(PortIndex, Rc<RefCell<Pool>>);

impl Receive<HeapBuffer> for Queue {
    fn receive(&mut self, burst: &mut Burst<HeapBuffer>, most: usize) {
        let mut pool = self.1.borrow_mut();
        for _ in 0..most {
            let Some(frame) = pool.waiting.pop() else { break };
            burst.push(frame);
        }
    }
}

impl Transmit<HeapBuffer> for Queue {
    fn transmit(&mut self, burst: &mut Burst<HeapBuffer>) {
        let mut pool = self.1.borrow_mut();
        pool.sent.extend(burst.drain(..).map(|frame| (self.0, frame)));
    }
}

/// What is to become of a frame.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Sent(PortIndex),
    Dropped(Reason),
}

/// Rounds of a worker with bursts of `frame` on a port, which may be captured: the allocations in all rounds but the first few.
fn allocations(fleet: &Fleet, from: PortIndex, frame: &[u8], fate: Fate, captured: bool) -> u64 {
    const BURST: usize = 32;
    const ROUNDS: usize = 200;
    let tables = Compiler::new(fleet.site()).build(fleet.model(), &fleet.neighbours());
    let (_publisher, mut readers) = Publisher::new(tables, 1);
    let pool =
        Rc::new(RefCell::new(Pool { waiting: Vec::with_capacity(BURST), sent: Vec::with_capacity(BURST) }));
    let queue = |port| Queue(port, Rc::clone(&pool));
    let counters = Arc::new(WorkerCounters::new(3));
    let plan = Arc::new(Plan::new([0, 0, 0].into(), 1));
    let selection = Selection { port: from, incoming: true, outgoing: true, every: 2, snaplen: 1 << 18 };
    let filter = || Ok(Some(Box::new(|frame: &[u8]| frame.len() > 60) as Filter));
    let running = captured.then(|| plan.captures.start(selection, filter).expect("a capture"));
    let mut worker = Worker::new(
        0,
        vec![(from, queue(from))],
        (0..3).map(|port| Some(queue(PortIndex(port)))),
        plan,
        readers.pop().expect("one reader"),
        Arc::clone(&counters),
        BURST,
    );
    // A dropped buffer is gone, so each round has its own.
    let fresh: Vec<Vec<HeapBuffer>> = match fate {
        Fate::Sent(_) => vec![Vec::new(); ROUNDS],
        Fate::Dropped(_) => vec![vec![HeapBuffer::new(frame); BURST]; ROUNDS],
    };
    pool.borrow_mut().waiting.extend((0..BURST).map(|_| HeapBuffer::new(frame)));
    let (mut counted, mut seen) = (0, 0);
    for (round, mut fresh) in fresh.into_iter().enumerate() {
        if let Fate::Dropped(_) = fate {
            let mut pool = pool.borrow_mut();
            pool.waiting.clear();
            pool.waiting.append(&mut fresh);
        }
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        assert_eq!(worker.round(Duration::from_secs(round as u64)), BURST);
        if round >= 4 {
            counted += ALLOCATIONS.load(Ordering::Relaxed) - before;
        }
        // Not in all rounds, so that in some no record is free.
        if let Some(running) = running.as_ref().filter(|_| round % 100 < 20) {
            while let Some(record) = running.next() {
                seen += 1;
                running.recycle(record);
            }
        }
        let mut pool = pool.borrow_mut();
        let Pool { waiting, sent } = &mut *pool;
        match fate {
            Fate::Dropped(_) => assert!(sent.is_empty()),
            Fate::Sent(to) => {
                assert_eq!(sent.len(), BURST);
                for (port, mut buffer) in sent.drain(..) {
                    assert_eq!(port, to);
                    let now = buffer.data().len();
                    if now > frame.len() {
                        buffer.trim_front(now - frame.len());
                    } else {
                        buffer.prepend(frame.len() - now).expect("the headroom that was");
                    }
                    buffer.data_mut().copy_from_slice(frame);
                    waiting.push(buffer);
                }
            }
        }
    }
    if let Fate::Dropped(reason) = fate {
        assert_eq!(counters.ports.port(from).drops(reason), (ROUNDS * BURST) as u64);
    }
    if let Some(running) = running.filter(|_| frame.len() > 60) {
        assert!(seen > 0 && running.lost() > 0, "{seen} seen, {} lost", running.lost());
    }
    counted
}

/// Flows through gateways, far more than fit at once: the allocations after construction.
fn allocations_of_flows() -> u64 {
    const CAPACITY: u32 = 1000;
    let addresses = [1, 2];
    let mut nat = Nat::new(CAPACITY);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for n in 0..20 * CAPACITY {
        let now = Duration::from_millis(100 * u64::from(n));
        nat.advance(now, 100);
        let pool = nat::Pool { addresses: &addresses, block: (n % 64) as u8, share: 2 };
        let pool = (n % 3 != 0).then_some(pool);
        let (source, port) = (Endpoint { address: n.into(), port: 1 }, (n % 2) as u16);
        let destination = Endpoint { address: 7, port };
        let flow = Flow { gateway: u32::from(pool.is_none()), protocol: Protocol::Udp, source, destination };
        if let Ok(outside) = nat.outbound(now, &nat.key(flow), 0, pool) {
            assert_eq!(nat.inbound(now, &nat.key(Flow { source: outside, ..flow }), 0), Some(source));
        }
    }
    let stats = nat.stats();
    assert!(stats.expired > 0 && stats.refused_full > 0, "{stats:?}");
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[test]
fn a_worker_allocates_nothing_per_packet() {
    let fleet = Fleet::new(1000);
    let stamped = |stamp: Stamp| {
        let mut frame = stamp.frame().to_vec();
        stamp.write(&mut frame, 0);
        frame
    };
    let encapsulate = stamped(Stamp::encapsulate(&fleet, 128));
    let arp = Arp {
        operation: Operation::Request,
        sender_mac: fleet::mac(0),
        sender_ip: fleet::address(0),
        target_mac: Mac::ZERO,
        target_ip: fleet::address(500),
    };
    let changed = |at: usize, octet: u8| {
        let mut frame = encapsulate.clone();
        frame[at] = octet;
        frame
    };
    let unknown = [&fleet::mac(1001).0[..], &encapsulate[6..]].concat();
    let arrived = stamped(Stamp::decapsulate(&fleet, 128));
    let mut spoofed = arrived.clone();
    // An address that is not of the 256 which the sending host has.
    spoofed[50 + 28] ^= 2;
    let cases: [(&str, PortIndex, Vec<u8>, Fate); 9] = [
        ("encapsulate", FIRST, encapsulate.clone(), Fate::Sent(UPLINK)),
        ("decapsulate", UPLINK, arrived, Fate::Sent(FIRST)),
        ("local", FIRST, stamped(Stamp::local(&fleet, 128)), Fate::Sent(PortIndex(1))),
        ("ARP", FIRST, arp.frame(Mac::BROADCAST).to_vec(), Fate::Sent(FIRST)),
        ("foreign MAC", FIRST, changed(11, 99), Fate::Dropped(Reason::SrcMac)),
        ("foreign address", FIRST, changed(29, 99), Fate::Dropped(Reason::SrcCheck)),
        ("unknown MAC", FIRST, unknown, Fate::Dropped(Reason::UnknownMac)),
        ("no route", FIRST, changed(30, 9), Fate::Dropped(Reason::NoRoute)),
        ("spoof", UPLINK, spoofed, Fate::Dropped(Reason::UnderlaySpoof)),
    ];
    assert_eq!(router_mac(&fleet::subnet_of(0)).0, encapsulate[..6]);
    for (name, from, frame, fate) in cases {
        for captured in [false, true] {
            assert_eq!(allocations(&fleet, from, &frame, fate, captured), 0, "{name}, captured: {captured}");
        }
    }
    assert_eq!(allocations_of_flows(), 0, "bindings");
}
