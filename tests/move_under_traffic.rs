//! An ENI moves between two hosts while two workers send to it: each frame goes, whole, to where it was or where it is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use warren::{
    compile::Compiler,
    model::{Attachment, Diff, Model, router_mac},
    node::{
        fleet::{self, Fleet, UPLINK},
        worker::{Plan, Receive, Transmit, Worker, WorkerCounters},
    },
    packet::{Buffer, Encapsulation, HeapBuffer, OuterChecksum, OuterTemplate, Sender},
    pipeline::{Burst, Reason},
    rcu::Publisher,
    tables::PortIndex,
};

const MOVES: usize = 3000;
/// The ENI that moves, and the hosts between which it does. It starts at the first.
const MOVING: usize = 600;
const HOSTS: [u32; 2] = [3, 1];

/// A frame from instance 0 or 1 to the moving ENI.
fn frame(from: usize) -> Vec<u8> {
    let mut frame = [router_mac(&fleet::subnet_of(MOVING)).0, fleet::mac(from).0].concat();
    frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 17, 0, 0]);
    frame.extend(fleet::address(from).octets());
    frame.extend(fleet::address(MOVING).octets());
    frame.extend([0x30, 0x39, 0, 53, 0, 20, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    frame
}

/// What the uplink may send of [`frame`]: for each host the one right frame.
fn expected(from: usize) -> [Vec<u8>; 2] {
    let mut inner = frame(from);
    let hash = warren::packet::flow_hash(&inner, &warren::packet::parse(&inner).expect("a packet"));
    inner.copy_within(..6, 6);
    inner[..6].copy_from_slice(&fleet::mac(MOVING).0);
    HOSTS.map(|host| {
        let address = fleet::underlay(host);
        let [_, b, c, d] = address.octets();
        let template = OuterTemplate::new(
            Encapsulation::Vxlan,
            fleet::UPLINK_MAC,
            warren::packet::Mac([0x02, 0xfb, 0, b, c, d]),
            fleet::underlay(0).into(),
            address.into(),
            OuterChecksum::Zero,
        )
        .expect("one family");
        let mut buffer = HeapBuffer::new(&inner);
        let sender = Sender { vni: fleet::VNI, mac: fleet::mac(from) };
        template.encapsulate(&mut buffer, fleet::VNI, sender, hash).expect("headroom");
        buffer.data().to_vec()
    })
}

/// An instance that never stops sending, until it is told.
struct Source {
    frame: Vec<u8>,
    made: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Receive<HeapBuffer> for Source {
    fn receive(&mut self, burst: &mut Burst<HeapBuffer>, most: usize) {
        if !self.stop.load(Ordering::Relaxed) {
            burst.extend((0..most).map(|_| HeapBuffer::new(&self.frame)));
            self.made.fetch_add(most as u64, Ordering::Relaxed);
        }
    }
}

/// Counts what leaves the uplink, by host; and what is neither.
struct Drain {
    port: PortIndex,
    expected: [Vec<u8>; 2],
    seen: Arc<[AtomicU64; 3]>,
}

impl Transmit<HeapBuffer> for Drain {
    fn transmit(&mut self, burst: &mut Burst<HeapBuffer>) {
        for frame in burst.drain(..) {
            let to = self.expected.iter().position(|expected| expected == frame.data());
            let to = to.filter(|_| self.port == UPLINK).unwrap_or(2);
            self.seen[to].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The same model with the moving ENI at another host.
fn moved(model: &Model, host: u32) -> Model {
    let mut model = model.clone();
    let id = format!("eni-{MOVING}");
    let eni = model.enis.get_mut(id.as_str()).expect("the moving ENI");
    eni.attachment = Some(Attachment::new(format!("host-{host}").into(), "eth0".into()));
    model
}

#[test]
fn every_frame_goes_to_the_old_or_the_new_host() {
    let fleet = Fleet::new(1000);
    assert_eq!(fleet::host_of(MOVING), HOSTS[0]);
    let models = HOSTS.map(|host| moved(fleet.model(), host));
    let mut compiler = Compiler::new(fleet.site());
    let tables = compiler.build(&models[0], &fleet.neighbours());
    let (mut publisher, readers) = Publisher::new(tables, 2);
    let plan = Arc::new(Plan::new([0, 1, 0].into(), 2));
    let stop = Arc::new(AtomicBool::new(false));
    let made = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
    let seen = [(); 2].map(|()| Arc::new([const { AtomicU64::new(0) }; 3]));
    let counters = [(); 2].map(|()| Arc::new(WorkerCounters::new(3)));

    thread::scope(|scope| {
        for (number, reader) in readers.into_iter().enumerate() {
            let source =
                Source { frame: frame(number), made: Arc::clone(&made[number]), stop: Arc::clone(&stop) };
            let queues = (0..3).map(|port| {
                let seen = Arc::clone(&seen[number]);
                Some(Drain { port: PortIndex(port), expected: expected(number), seen })
            });
            let mut worker = Worker::new(
                number,
                vec![(PortIndex(number as u16), source)],
                queues.collect::<Vec<_>>(),
                Arc::clone(&plan),
                reader,
                Arc::clone(&counters[number]),
                32,
            );
            let stop = Arc::clone(&stop);
            scope.spawn(move || {
                let now = Duration::ZERO;
                while !stop.load(Ordering::Relaxed) || worker.round(now) > 0 {
                    worker.round(now);
                }
            });
        }
        let id = format!("eni-{MOVING}");
        let diff = Diff { enis: vec![id.as_str().into()], ..Diff::default() };
        for step in 0..MOVES {
            let (old, new) = (&models[step % 2], &models[(step + 1) % 2]);
            let next = compiler.update(publisher.current(), old, new, &diff, &fleet.neighbours());
            publisher.publish(next);
            publisher.collect();
            // Both hosts get their share, also on one core.
            if step % 64 == 0 {
                thread::yield_now();
            }
        }
        // Both workers have worked, before and behind the last move.
        let generation = publisher.generation();
        while !publisher.is_adopted(generation) || made.iter().any(|made| made.load(Ordering::Relaxed) == 0) {
            thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
    });

    for worker in 0..2 {
        let made = made[worker].load(Ordering::Relaxed);
        let [first, second, wrong] = [0, 1, 2].map(|to| seen[worker][to].load(Ordering::Relaxed));
        assert_eq!(wrong, 0, "frames of neither host");
        assert_eq!(first + second, made, "frames lost");
        assert!(made > 0);
        let port = counters[worker].ports.port(PortIndex(worker as u16));
        assert!(Reason::ALL.iter().all(|&reason| port.drops(reason) == 0));
    }
    let moved: u64 = seen.iter().map(|seen| seen[1].load(Ordering::Relaxed)).sum();
    assert!(moved > 0, "no frame met the ENI at its other host");
    assert_eq!(publisher.collect(), 0, "tables that nobody sees are kept");
    assert_eq!(publisher.generation(), 1 + MOVES as u64);
}
