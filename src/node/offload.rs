//! What an instance may leave to its device, at the edge of the node: the pipeline sees whole packets with right checksums,
//! none longer than the instance's MTU if it keeps to that.
//!
//! A port whose driver offers such work to its instance has queues with a [`Bench`] and a [`Taker`]; to the queues of all
//! others it costs a test each burst.

use std::sync::Arc;

use super::worker::{Receive, Transmit, WorkerCounters};
use crate::{
    packet::{Buffer, Cut, Takes, Undone, finish_checksum, join},
    pipeline::{Burst, Reason},
    tables::PortIndex,
};

/// A receive queue of a port.
pub struct Input<B, R> {
    queue: R,
    bench: Option<Box<Bench<B>>>,
}

/// Where unfinished packets of a queue are finished.
pub struct Bench<B> {
    port: PortIndex,
    counters: Arc<WorkerCounters>,
    /// Received and not looked at yet, the next one last.
    waiting: Burst<B>,
    /// The run that is being cut.
    cut: Option<Cut<B>>,
}

impl<B, R> Input<B, R> {
    /// A queue whose packets are finished.
    pub const fn new(queue: R) -> Self {
        Self { queue, bench: None }
    }

    /// A queue of a port whose instance leaves work to the node. What cannot be done is counted as received and dropped.
    pub fn finishing(queue: R, port: PortIndex, counters: Arc<WorkerCounters>) -> Self {
        let bench = Bench { port, counters, waiting: Burst::new(), cut: None };
        Self { queue, bench: Some(Box::new(bench)) }
    }
}

impl<B: Buffer, R: Receive<B>> Receive<B> for Input<B, R> {
    #[inline(always)]
    fn receive(&mut self, burst: &mut Burst<B>, most: usize) {
        match &mut self.bench {
            None => self.queue.receive(burst, most),
            Some(bench) => bench.receive(&mut self.queue, burst, most),
        }
    }
}

impl<B: Buffer> Bench<B> {
    /// A run may be thousands of packets, if it says so: at most `most` in a round, and the rest in the next ones.
    #[inline(never)]
    fn receive(&mut self, queue: &mut impl Receive<B>, burst: &mut Burst<B>, most: usize) {
        if self.waiting.is_empty() && self.cut.is_none() {
            queue.receive(&mut self.waiting, most);
            self.waiting.reverse();
        }
        while burst.len() < most {
            if let Some(cut) = &mut self.cut {
                match cut.next_segment() {
                    Ok(Some(segment)) => burst.push(segment),
                    Ok(None) => self.cut = None,
                    Err(reason) => {
                        let left = cut.left();
                        self.cut = None;
                        self.refuse(reason, left);
                    }
                }
                continue;
            }
            let Some(mut frame) = self.waiting.pop() else { break };
            match frame.undone() {
                Undone::Nothing => burst.push(frame),
                Undone::Checksum => {
                    // A chained one is longer than any MTU: the pipeline drops it.
                    if !frame.is_contiguous() || finish_checksum(frame.data_mut()) {
                        frame.set_done();
                        burst.push(frame);
                    } else {
                        self.refuse(Reason::Unfinished, frame.frame_len());
                    }
                }
                Undone::Segments(size) => match Cut::new(frame, size) {
                    Ok(cut) => self.cut = Some(cut),
                    Err(frame) => self.refuse(Reason::Unfinished, frame.frame_len()),
                },
            }
        }
    }

    #[cold]
    fn refuse(&self, reason: Reason, bytes: usize) {
        let counters = self.counters.ports.port(self.port);
        counters.rx_packets.add(1);
        counters.rx_bytes.add(bytes as u64);
        counters.drop(reason);
    }
}

/// Who is behind a port, as far as it takes runs of segments.
pub trait Taker {
    /// What it takes now.
    fn takes(&self) -> Takes;
}

/// A transmit queue of a port.
pub struct Output<T, K> {
    queue: T,
    taker: Option<K>,
}

impl<T, K> Output<T, K> {
    /// A queue to who takes packets as they are on a wire.
    pub const fn new(queue: T) -> Self {
        Self { queue, taker: None }
    }

    /// A queue to who may take runs of segments.
    pub const fn joining(queue: T, taker: K) -> Self {
        Self { queue, taker: Some(taker) }
    }
}

impl<B: Buffer, T: Transmit<B>, K: Taker> Transmit<B> for Output<T, K> {
    #[inline(always)]
    fn transmit(&mut self, burst: &mut Burst<B>) {
        if let Some(taker) = &self.taker {
            join(burst, taker.takes());
        }
        self.queue.transmit(burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::HeapBuffer;

    struct Queue(Vec<HeapBuffer>);

    impl Receive<HeapBuffer> for Queue {
        fn receive(&mut self, burst: &mut Burst<HeapBuffer>, most: usize) {
            let most = most.min(self.0.len());
            burst.extend(self.0.drain(..most));
        }
    }

    impl Transmit<HeapBuffer> for Queue {
        fn transmit(&mut self, burst: &mut Burst<HeapBuffer>) {
            self.0.extend(burst.drain(..));
        }
    }

    struct Takes4(bool);

    impl Taker for Takes4 {
        fn takes(&self) -> Takes {
            Takes { v4: self.0, v6: false }
        }
    }

    /// A frame of TCP with so much data, whose checksums are the IPv4 header's only.
    fn tcp(data: usize) -> HeapBuffer {
        let mut frame = vec![2; 12];
        frame.extend([8, 0, 0x45, 0]);
        frame.extend((40 + data as u16).to_be_bytes());
        frame.extend([0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 1, 10, 10, 0, 1, 11]);
        let checksum = crate::packet::checksum::Sum::of(&frame[14..34]).checksum();
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        frame.extend([1, 2, 3, 4, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
        frame.extend((0..data).map(|n| n as u8));
        HeapBuffer::new(&frame)
    }

    fn rounds(input: &mut Input<HeapBuffer, Queue>) -> Vec<Vec<HeapBuffer>> {
        let mut rounds = Vec::new();
        loop {
            let mut burst = Burst::new();
            input.receive(&mut burst, 32);
            if burst.is_empty() {
                return rounds;
            }
            rounds.push(burst.into_iter().collect());
        }
    }

    #[test]
    fn runs_are_cut_in_rounds_and_come_together_again() {
        let counters = Arc::new(WorkerCounters::new(1));
        let run = tcp(10_000).leaving(Undone::Segments(200));
        let queue = Queue(vec![tcp(0), run.clone(), tcp(7).leaving(Undone::Checksum)]);
        let mut input = Input::finishing(queue, PortIndex(0), Arc::clone(&counters));
        let rounds = rounds(&mut input);
        // 1 + 50 + 1.
        assert_eq!(rounds.iter().map(Vec::len).collect::<Vec<_>>(), [32, 20]);
        let mut output = Output::joining(Queue(Vec::new()), Takes4(true));
        for round in rounds {
            let mut burst = round.into_iter().collect();
            output.transmit(&mut burst);
        }
        let sizes: Vec<_> = output.queue.0.iter().map(|frame| frame.data().len() - 54).collect();
        assert_eq!(sizes, [0, 31 * 200, 19 * 200, 7]);
        assert_eq!(output.queue.0[1].as_sent(), (31, 31 * 254));
        let data: Vec<u8> =
            output.queue.0[1..3].iter().flat_map(|frame| frame.data()[54..].to_vec()).collect();
        assert_eq!(data, run.data()[54..]);
        assert_eq!(counters.ports.port(PortIndex(0)).rx_packets.get(), 0);
    }

    #[test]
    fn what_cannot_be_finished_is_dropped_by_name() {
        let counters = Arc::new(WorkerCounters::new(1));
        let mut frame = tcp(100);
        // Behind an authentication header, of which only the end nodes know (RFC 4302).
        frame.data_mut()[23] = 51;
        let queue = Queue(vec![frame.clone().leaving(Undone::Checksum), frame.leaving(Undone::Segments(9))]);
        let mut input = Input::finishing(queue, PortIndex(0), Arc::clone(&counters));
        assert!(rounds(&mut input).is_empty());
        let port = counters.ports.port(PortIndex(0));
        assert_eq!((port.rx_packets.get(), port.drops(Reason::Unfinished)), (2, 2));
    }

    #[test]
    fn a_receiver_that_takes_no_runs_gets_none() {
        let mut output = Output::joining(Queue(Vec::new()), Takes4(false));
        let mut burst: Burst<_> = [tcp(9), tcp(9)].into_iter().collect();
        output.transmit(&mut burst);
        assert_eq!(output.queue.0, [tcp(9), tcp(9)]);
        let mut output = Output::<_, Takes4>::new(Queue(Vec::new()));
        output.transmit(&mut [tcp(9)].into_iter().collect());
        assert_eq!(output.queue.0.len(), 1);
    }
}
