use std::{cell::RefCell, rc::Rc, sync::Arc, thread, time::Duration};

use super::*;
use crate::{
    compile::Compiler,
    node::{
        fleet::{self, Fleet},
        traffic::Stamp,
        worker::{Plan, Receive, Transmit, Worker, WorkerCounters},
    },
    packet::{HeapBuffer, Plain},
    pipeline::{Burst, Reason},
    rcu::Publisher,
    tables::Tables,
};

/// A frame for port 0 that is `number`.
fn numbered(number: u32) -> Handed<HeapBuffer> {
    Handed::Transmit(PortIndex(0), HeapBuffer::new(&number.to_be_bytes()))
}

fn number(item: &Handed<HeapBuffer>) -> u32 {
    u32::from_be_bytes(item.frame().data().try_into().unwrap())
}

/// What a worker finds in a round.
fn round(inbox: &mut Inbox<HeapBuffer>) -> Vec<u32> {
    inbox.look();
    inbox.look_inside();
    let mut found = Vec::new();
    for given in inbox.by_giver() {
        while let Some(some) = given.take() {
            found.extend(some.map(|item| number(&item)));
        }
    }
    found
}

fn pair() -> (Outbox<HeapBuffer>, Inbox<HeapBuffer>) {
    let mut all = mailboxes(2);
    let (second, first) = (all.remove(1), all.remove(0));
    (first.to, second.from)
}

#[test]
fn a_full_ring_refuses_a_frame_until_others_are_taken() {
    let (mut to, mut from) = pair();
    let room = waiting(2) as u32;
    assert!((0..room).all(|number| to.give(1, numbered(number)).is_ok()));
    assert_eq!(to.give(1, numbered(room)).map_err(|item| number(&item)), Err(room));
    assert_eq!(round(&mut from), (0..room).collect::<Vec<_>>());
    assert!(to.give(1, numbered(room)).is_ok());
    assert_eq!(round(&mut from), [room]);
}

#[test]
fn there_is_no_ring_to_oneself_nor_to_nobody() {
    let (mut to, _from) = pair();
    assert!(to.give(0, numbered(0)).is_err() && to.give(2, numbered(0)).is_err());
}

#[test]
fn a_round_takes_what_was_there_when_it_began() {
    let (mut to, mut from) = pair();
    (0..40).for_each(|number| assert!(to.give(1, numbered(number)).is_ok()));
    from.look();
    (40..50).for_each(|number| assert!(to.give(1, numbered(number)).is_ok()));
    let mut found = 0;
    for given in from.by_giver() {
        while let Some(some) = given.take() {
            found += some.count();
        }
    }
    assert_eq!(found, 40);
    assert_eq!(round(&mut from), (40..50).collect::<Vec<_>>());
}

#[test]
fn what_waits_for_a_worker_is_bounded_however_many_there_are() {
    for workers in 1..=64 {
        assert!(waiting(workers) <= WAITING, "{workers}");
    }
    assert_eq!((waiting(0), waiting(1), waiting(2), waiting(255)), (0, 0, 1024, 254 * LEAST));
}

#[test]
fn frames_come_once_and_in_order_to_a_thread() {
    const FRAMES: u32 = 50_000;
    let (mut to, mut from) = pair();
    let giver = thread::spawn(move || {
        for number in 0..FRAMES {
            let mut item = numbered(number);
            while let Err(refused) = to.give(1, item) {
                item = refused;
                thread::yield_now();
            }
        }
    });
    let mut next = 0;
    while next < FRAMES {
        for number in round(&mut from) {
            assert_eq!(number, next);
            next += 1;
        }
        thread::yield_now();
    }
    giver.join().unwrap();
}

#[derive(Clone, Default)]
struct Queue(Rc<RefCell<Vec<HeapBuffer>>>);

impl Receive<HeapBuffer> for Queue {
    fn receive(&mut self, burst: &mut Burst<HeapBuffer>, most: usize) {
        let mut frames = self.0.borrow_mut();
        let count = frames.len().min(most);
        burst.extend(frames.drain(..count));
    }
}

impl Transmit<HeapBuffer> for Queue {
    fn transmit(&mut self, burst: &mut Burst<HeapBuffer>) {
        self.0.borrow_mut().extend(burst.drain(..));
    }
}

/// Two workers that share the flows of the fleet's first instance; all that it sends arrives at the first worker's queue.
struct Pair {
    input: Queue,
    workers: Vec<Worker<HeapBuffer, Queue, Queue>>,
    /// What each sends out of the uplink.
    sent: Vec<Queue>,
    counters: Vec<Arc<WorkerCounters>>,
    _tables: Publisher<Tables>,
}

impl Pair {
    fn new() -> Self {
        let fleet = Fleet::new(100).with_workers(2);
        let tables = Compiler::new(fleet.site()).build(fleet.model(), &fleet.neighbours());
        let (tables, readers) = Publisher::new(tables, 2);
        let plan = Arc::new(Plan::new([0; 3].into(), 2));
        let (input, sent) = (Queue::default(), vec![Queue::default(), Queue::default()]);
        let counters: Vec<_> = (0..2).map(|_| Arc::new(WorkerCounters::new(3))).collect();
        let worker = |(number, reader)| {
            let inputs = (number == 0).then(|| (fleet::FIRST, input.clone())).into_iter().collect();
            let outputs: Vec<_> = (0..3)
                .map(|port| {
                    Some(if fleet::UPLINK == PortIndex(port) {
                        Queue::clone(&sent[number])
                    } else {
                        Queue::default()
                    })
                })
                .collect();
            let counters = Arc::clone(&counters[number]);
            Worker::new(number, inputs, outputs, Arc::clone(&plan), reader, counters, 32)
        };
        let workers = readers.into_iter().enumerate().map(worker).collect();
        Self { input, workers, sent, counters, _tables: tables }
    }

    /// Packets of all flows, each with its number in the last octets.
    fn send(&self, count: u32) {
        let stamp = Stamp::encapsulate(&Fleet::new(100), 128);
        let mut at = 0;
        for number in 0..count {
            let mut frame = stamp.frame().to_vec();
            at = stamp.write(&mut frame, at);
            frame[124..].copy_from_slice(&number.to_be_bytes());
            self.input.0.borrow_mut().push(HeapBuffer::new(&frame));
        }
    }

    fn round(&mut self, worker: usize) {
        self.workers[worker].round(Duration::from_secs(1));
    }

    /// Of the packets that a worker has sent: the part of its flow, its destination, its number.
    fn sent(&self, worker: usize) -> Vec<(u32, u32, u32)> {
        let sent = self.sent[worker].0.borrow();
        let seen = sent.iter().map(|frame| {
            let inner = &frame.data()[50..];
            let plain = Plain::of(inner).unwrap();
            let number = u32::from_be_bytes(inner[124..].try_into().unwrap());
            (plain.flow_hash() >> 31, plain.destination(), number)
        });
        seen.collect()
    }
}

#[test]
fn each_worker_sends_the_packets_of_its_part_in_the_order_of_their_flows() {
    let mut pair = Pair::new();
    pair.send(500);
    for _ in 0..20 {
        pair.round(0);
        pair.round(1);
    }
    let sent = [pair.sent(0), pair.sent(1)];
    assert_eq!(sent[0].len() + sent[1].len(), 500);
    for (worker, packets) in (0..).zip(&sent) {
        assert!(packets.len() > 100, "{}", packets.len());
        assert!(packets.iter().all(|&(part, ..)| part == worker));
        for &(_, flow, number) in packets {
            let before = packets.iter().take_while(|packet| packet.2 != number);
            assert!(before.filter(|packet| packet.1 == flow).all(|packet| packet.2 < number));
        }
    }
    assert_eq!(pair.counters[0].handed_over.get(), sent[1].len() as u64);
}

#[test]
fn what_a_worker_that_does_not_come_round_has_no_room_for_is_dropped_by_name() {
    let mut pair = Pair::new();
    pair.send(4000);
    (0..200).for_each(|_| pair.round(0));
    let refused = pair.counters[0].ports.port(fleet::FIRST).drops(Reason::HandoffFull);
    assert_eq!(refused, pair.counters[0].handed_over.get() - waiting(2) as u64);
    assert!(refused > 500, "{refused}");
    pair.round(1);
    assert_eq!(pair.sent(1).len(), waiting(2));
    assert_eq!(pair.sent(0).len() + pair.sent(1).len() + refused as usize, 4000);
}
