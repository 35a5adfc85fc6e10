//! The instances, and the underlay between the hosts.

use std::sync::{Arc, atomic::Ordering};

use crossbeam::queue::ArrayQueue;
use warren::{
    dpdk::Mbuf,
    node::worker::{Receive, Transmit},
    packet::Buffer,
    pipeline::Burst,
};

use crate::{
    Shared, WORKERS,
    packets::{self, Tag},
    random::Random,
    world::{NICS, Nic, Place, UPLINK},
};

/// Frames on their way to a worker of a host.
pub struct Wire(ArrayQueue<Mbuf>);

impl Default for Wire {
    fn default() -> Self {
        Self(ArrayQueue::new(1024))
    }
}

/// A receive queue: of an instance, which sends at random, or of the uplink.
pub struct Queue {
    shared: Arc<Shared>,
    place: Place,
    worker: usize,
    random: Random,
}

impl Queue {
    pub fn new(shared: Arc<Shared>, host: usize, port: usize, worker: usize) -> Self {
        let random = Random::new(shared.seed ^ (1000 + host * 100 + port * 10 + worker) as u64);
        Self { shared, place: (host, port), worker, random }
    }

    fn send(&mut self, burst: &mut Burst<Mbuf>, most: usize) {
        let residents: Vec<usize> = Nic::at(self.place).collect();
        for _ in 0..self.random.below(9).min(most) {
            let source = self.random.of(&residents);
            let frame = packets::random(&mut self.random, source);
            match Mbuf::from_frame(&self.shared.pool, &frame) {
                Some(frame) => burst.push(frame),
                None => break,
            }
        }
    }
}

impl Receive<Mbuf> for Queue {
    fn receive(&mut self, burst: &mut Burst<Mbuf>, most: usize) {
        let (host, port) = self.place;
        if port == UPLINK {
            let wire = &self.shared.wires[host][self.worker].0;
            burst.extend(std::iter::from_fn(|| wire.pop()).take(most));
        } else if !self.shared.quiet.load(Ordering::Relaxed) {
            self.send(burst, most);
        }
    }
}

/// A transmit queue: to an instance, which looks at what it gets, or of the uplink.
pub struct Sender {
    shared: Arc<Shared>,
    place: Place,
    random: Random,
}

impl Sender {
    pub fn new(shared: Arc<Shared>, host: usize, port: usize, worker: usize) -> Self {
        let random = Random::new(shared.seed ^ (2000 + host * 100 + port * 10 + worker) as u64);
        Self { shared, place: (host, port), random }
    }

    /// To any worker of the other host, as many as there is room for.
    fn carry(&mut self, burst: &mut Burst<Mbuf>) {
        let wires = &self.shared.wires[1 - self.place.0];
        while let Some(frame) = burst.pop_at(0) {
            if let Err(frame) = wires[self.random.below(WORKERS)].0.push(frame) {
                burst.insert(0, frame);
                break;
            }
        }
    }

    /// What is wrong with a frame that the instance has got.
    fn look_at(&self, frame: &[u8]) -> Result<(), &'static str> {
        let to = &frame[..6];
        let Some(tag) = Tag::of(frame) else {
            self.shared.own.fetch_add(1, Ordering::Relaxed);
            let for_it = to[0] & 1 == 1 || Nic::at(self.place).any(|number| Nic::mac(number).0 == to);
            return if for_it { Ok(()) } else { Err("the node's own frame is for another MAC") };
        };
        self.shared.delivered.fetch_add(1, Ordering::Relaxed);
        let Some(number) = tag.destination else { return Err("it is for nobody") };
        let nic = &NICS[number];
        if !nic.places.contains(&self.place) {
            Err("it is for another interface")
        } else if Nic::mac(number).0 != to {
            Err("it has another MAC")
        } else if nic.vpc != NICS[tag.source].vpc {
            Err("it is from another VPC")
        } else {
            Ok(())
        }
    }
}

impl Transmit<Mbuf> for Sender {
    fn transmit(&mut self, burst: &mut Burst<Mbuf>) {
        if self.place.1 == UPLINK {
            return self.carry(burst);
        }
        for frame in burst.drain(..) {
            if let Err(problem) = self.look_at(frame.data()) {
                let (place, tag) = (self.place, Tag::of(frame.data()));
                let text = format!("{place:?} got {tag:?}: {problem}: {:02x?}", frame.data());
                let _ = self.shared.wrong.push(text);
            }
        }
    }
}
