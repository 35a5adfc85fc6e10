//! What flow logs are told of a worker's packets (FL-3, FL-5, FL-7).
//!
//! Connections count anyway. The worker goes through its table all the time, so that it sees each entry about once a second, and
//! tells what an entry has counted in an interval when it sees it in the next one, or when the entry goes. So packets within a
//! second of the end of an interval may count for either. What has no entry, first of all what is refused, is gathered in a
//! small table apart ([`Loose`]).

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{Cold, Ends, Hot, NONE};
use crate::{
    ffi::HugeSlice,
    flowlogs::{Action, FlowRecord, FlowRing},
    packet::{mapped, protocol},
    tables::{Direction, PortIndex, Secret},
};

/// Where packets are cut, in milliseconds: all aggregation intervals are multiples of it.
const CUT: u64 = 60_000;
/// How long it takes to go through a table, in milliseconds.
const TURN: u64 = 1000;
/// Entries looked at in a round, at most.
const AT_ONCE: u64 = 64;
/// Flows without an entry that are gathered at once.
const LOOSE: usize = 1024;

/// A packet that security has decided about.
#[derive(Clone, Copy, Debug)]
pub struct Logged {
    /// Which way it goes.
    pub direction: Direction,
    /// Its length, from the IP header on.
    pub bytes: u32,
    /// The flags in its TCP header.
    pub tcp_flags: u8,
    /// As in [`FlowRecord`].
    pub path: u8,
}

/// What of the flags in a TCP header is logged (FL-7).
fn flags(tcp: u8) -> u8 {
    const FIN_SYN_RST: u8 = 0x07;
    const SYN_ACK: u8 = 0x12;
    if tcp & SYN_ACK == SYN_ACK { tcp & FIN_SYN_RST | SYN_ACK } else { tcp & FIN_SYN_RST }
}

/// What has been told of a direction of an entry. Times are in milliseconds, modulo 2³².
#[derive(Clone, Copy)]
struct Told {
    packets: u64,
    bytes: u64,
    /// When there was nothing new the last time.
    since: u32,
    /// When there was something new the last time, and how many packets in all.
    until: u32,
    seen: u32,
    flags: u8,
    path: u8,
    /// Whether there is a log for it.
    logged: bool,
}

impl Told {
    const NOTHING: Self =
        Self { packets: 0, bytes: 0, since: 0, until: 0, seen: 0, flags: 0, path: 0, logged: false };
}

/// The same of both directions: a cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([Told; 2]);

const _: () = assert!(size_of::<Line>() == 64);

const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// How far a walk through a table is that takes a [`TURN`].
#[derive(Default)]
struct Walk {
    next: u64,
    at: u64,
}

impl Walk {
    /// The places to be looked at now, of so many.
    fn step(&mut self, now: u64, len: u64) -> impl Iterator<Item = usize> + use<> {
        let due = (len * now.saturating_sub(self.at) / TURN).min(AT_ONCE).min(len);
        let first = self.next;
        if due > 0 {
            (self.next, self.at) = ((first + due) % len.max(1), now);
        }
        (first..first + due).map(move |place| (place % len.max(1)) as usize)
    }
}

/// What flow logs are told.
pub(super) struct Logging {
    rings: Arc<[FlowRing]>,
    worker: usize,
    lines: HugeSlice<Line>,
    loose: Loose,
    /// By port: the stay of its ENI, if there is a log for it.
    ports: Box<[u32]>,
    /// The generation of the tables that these are of.
    generation: u32,
    walk: Walk,
    /// Milliseconds since the node's start, as of the last round.
    now: u64,
}

impl Logging {
    /// For the table of a worker, with so many entries and ports.
    pub(super) fn new(rings: Arc<[FlowRing]>, worker: usize, capacity: u32, ports: usize) -> Self {
        Self {
            rings,
            worker,
            lines: HugeSlice::new(capacity as usize, Line([Told::NOTHING; 2])),
            loose: Loose::new(),
            ports: vec![NONE; ports].into(),
            generation: 0,
            walk: Walk::default(),
            now: 0,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.lines.bytes() + size_of_val(&*self.loose.slots)
    }

    /// Notes which ENIs have logs under tables of a generation, if that is news.
    #[inline]
    pub(super) fn settle<P: Iterator<Item = Option<u32>>>(
        &mut self,
        generation: u32,
        ports: impl FnOnce() -> P,
    ) {
        if self.generation != generation {
            self.generation = generation;
            self.ports.iter_mut().zip(ports()).for_each(|(at, stay)| *at = stay.unwrap_or(NONE));
        }
    }

    /// Whether there is a log for an ENI's stay at a port.
    fn logs(&self, port: PortIndex, stay: u32) -> bool {
        self.ports.get(usize::from(port.0)) == Some(&stay)
    }

    /// An entry begins.
    pub(super) fn begin(&mut self, entry: u32, port: PortIndex, stay: u32, now: u32) {
        let logged = self.logs(port, stay);
        if let Some(line) = self.lines.get_mut(entry as usize) {
            *line = Line([Told { since: now, logged, ..Told::NOTHING }; 2]);
        }
    }

    /// A packet of an entry is counted that the hot path does not see.
    pub(super) fn note(&mut self, entry: u32, packet: &Logged) {
        let line = self.lines.get_mut(entry as usize);
        if let Some(told) = line.and_then(|line| line.0.get_mut(packet.direction as usize)) {
            told.flags |= flags(packet.tcp_flags);
            told.path = packet.path;
        }
    }

    /// A packet without an entry, of the ENI's stay at a port.
    pub(super) fn loose(
        &mut self,
        (port, stay): (PortIndex, u32),
        ends: &Ends,
        packet: &Logged,
        action: Action,
        now: Duration,
    ) {
        if !self.logs(port, stay) {
            return;
        }
        let record = FlowRecord {
            packets: 1,
            bytes: packet.bytes.into(),
            start: now,
            end: now,
            tcp_flags: flags(packet.tcp_flags),
            path: packet.path,
            ..blank(stay, ends, packet.direction, action)
        };
        if let (Some(ring), Some(before)) = (self.rings.get(self.worker), self.loose.add(record)) {
            ring.push(before);
        }
    }

    /// The entries to be seen in this round.
    pub(super) fn round(&mut self, now: u64) -> impl Iterator<Item = usize> + use<> {
        self.now = now;
        if let Some(ring) = self.rings.get(self.worker) {
            for slot in self.loose.walk.step(now, LOOSE as u64) {
                if let Some(record) = self.loose.slots.get_mut(slot).and_then(Option::take) {
                    ring.push(record);
                }
            }
        }
        self.walk.step(now, self.lines.len() as u64)
    }

    /// Tells of an entry what is due.
    pub(super) fn see(&mut self, entry: usize, hot: &Hot, cold: &Cold) {
        let logged = self.logs(hot.port(), cold.eni);
        // Of an ENI that has no log any more, at once.
        self.tell(entry, hot, cold, !logged);
        let Some(Line(line)) = self.lines.get_mut(entry) else { return };
        for (told, direction) in line.iter_mut().zip(DIRECTIONS).filter(|(told, _)| told.logged != logged) {
            // What was before the log, is none of it.
            let (packets, bytes) = cold.total(hot, direction);
            *told = Told { packets, bytes, since: self.now as u32, logged, ..Told::NOTHING };
        }
    }

    /// Tells the rest of an entry.
    pub(super) fn end(&mut self, entry: usize, hot: &Hot, cold: &Cold) {
        self.tell(entry, hot, cold, true);
    }

    /// Whether the writer is behind.
    pub(super) fn is_full(&self) -> bool {
        self.rings.get(self.worker).is_some_and(FlowRing::is_full)
    }

    /// Tells all that has no entry.
    pub(super) fn end_loose(&mut self) {
        if let Some(ring) = self.rings.get(self.worker) {
            self.loose.slots.iter_mut().filter_map(Option::take).for_each(|record| {
                ring.push(record);
            });
        }
    }

    /// Tells of the packets of an entry since the last time, if they are of an interval that is over, or there is no later. If
    /// there is one, what the writer has no room for now can wait.
    fn tell(&mut self, entry: usize, hot: &Hot, cold: &Cold, last: bool) {
        let Some(ring) = self.rings.get(self.worker) else { return };
        let Some(Line(line)) = self.lines.get_mut(entry) else { return };
        let now = self.now;
        let time = |at: u32| now.saturating_sub(u64::from((now as u32).wrapping_sub(at)));
        for (told, direction) in line.iter_mut().zip(DIRECTIONS).filter(|(told, _)| told.logged) {
            let (packets, bytes) = cold.total(hot, direction);
            if packets == told.packets {
                told.since = now as u32;
                continue;
            }
            if packets as u32 != told.seen {
                (told.seen, told.until) = (packets as u32, now as u32);
            }
            let start = time(told.since);
            let over = start / CUT != now / CUT;
            if !last && (!over || ring.is_full()) {
                continue;
            }
            let end = time(told.until).clamp(start, (start / CUT + 1) * CUT - 1);
            ring.push(FlowRecord {
                packets: packets - told.packets,
                bytes: bytes - told.bytes,
                start: Duration::from_millis(start),
                end: Duration::from_millis(end),
                tcp_flags: told.flags,
                path: told.path,
                ..blank(cold.eni, &cold.ends(hot), direction, Action::Accept)
            });
            *told = Told { packets, bytes, since: now as u32, flags: 0, ..*told };
        }
    }
}

/// A record of a flow, of no packets.
fn blank(eni: u32, ends: &Ends, direction: Direction, action: Action) -> FlowRecord {
    // FL-11.
    let port = |port| if matches!(ends.protocol, protocol::TCP | protocol::UDP) { port } else { 0 };
    let (local, remote) = ((ends.local, port(ends.local_port)), (ends.remote, port(ends.remote_port)));
    let (from, to) = if direction == Direction::Egress { (local, remote) } else { (remote, local) };
    FlowRecord {
        eni,
        direction,
        source: from.0,
        destination: to.0,
        source_port: from.1,
        destination_port: to.1,
        protocol: ends.protocol,
        packets: 0,
        bytes: 0,
        start: Duration::ZERO,
        end: Duration::ZERO,
        tcp_flags: 0,
        action,
        path: 0,
    }
}

/// Flows without entries: each has one place, and who comes to it takes it.
struct Loose {
    secret: Secret,
    slots: Box<[Option<FlowRecord>]>,
    walk: Walk,
}

impl Loose {
    fn new() -> Self {
        Self { secret: Secret::random(), slots: vec![None; LOOSE].into(), walk: Walk::default() }
    }

    /// Adds a packet. Returns whom it displaces.
    fn add(&mut self, packet: FlowRecord) -> Option<FlowRecord> {
        let place = self.place(&packet);
        let slot = self.slots.get_mut(place)?;
        let cut = |record: &FlowRecord| record.start.as_millis() as u64 / CUT;
        let same = |known: &&mut FlowRecord| {
            known.key() == packet.key() && known.eni == packet.eni && cut(known) == cut(&packet)
        };
        match slot.as_mut().filter(same) {
            Some(known) => {
                known.packets += packet.packets;
                known.bytes += packet.bytes;
                known.end = packet.end;
                known.tcp_flags |= packet.tcp_flags;
                None
            }
            None => slot.replace(packet),
        }
    }

    fn place(&self, of: &FlowRecord) -> usize {
        let mix = |address: IpAddr| {
            let address = mapped(address);
            self.secret.mix((address >> 64) as u64, address as u64)
        };
        let ports = u64::from(of.source_port) << 16 | u64::from(of.destination_port);
        let rest = u64::from(of.eni) << 32 | u64::from(of.protocol) << 8 | of.direction as u64;
        let addresses = self.secret.mix(mix(of.source), mix(of.destination));
        self.secret.mix(self.secret.mix(addresses, ports), rest) as usize % self.slots.len().max(1)
    }
}

#[cfg(test)]
mod tests;
