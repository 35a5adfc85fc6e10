//! The connections of a worker's ENIs: tracking (SEC-2 to SEC-11), and the decisions about their packets.
//!
//! A connection is one of an ENI, by the two ends as the ENI sees them: *local* is its own side, the source of what it sends and
//! the destination of what it gets. So both directions of a flow are one entry, found by one lookup, and have one owner: the
//! worker that owns the ENI. Two ENIs of a node that talk to each other have an entry each.
//!
//! An entry is in two pieces. What every packet reads and writes is one cache line ([`Hot`]); what only the first packet after
//! a change of the tables needs, or an operator, is another ([`Cold`]).
//!
//! ```text
//!  key ─hash─► [Index] ─entry number─► [Hot]: key, when it expires, state, decision, counters
//!                                      [Cold]: IPv6 addresses, origin, totals
//! ```

mod key;
mod logging;
mod record;

use std::{sync::Arc, time::Duration};

pub use key::{Ends, Key, Short};
pub use logging::Logged;
pub use record::{Cold, Hot, Way};

use logging::Logging;

use super::{Index, Side, Tcp, Wheel, millis};
use crate::{
    ffi::{HugeSlice, prefetch},
    flowlogs::{Action, FlowRing},
    packet::protocol,
    tables::{Direction, HostIndex, PortIndex, Secret},
};

/// A time as entries keep it: milliseconds, modulo 2³².
#[inline]
pub fn clock(now: Duration) -> u32 {
    millis(now) as u32
}

/// Whether a packet, by [`crate::packet::Plain`], is one of TCP that may change its connection's state: by FIN, SYN or RST.
#[inline(always)]
pub fn tells(protocol: u8, frame: &[u8]) -> bool {
    const FLAGS: usize = 47;
    const TELLING: u8 = 0x07;
    protocol == protocol::TCP && frame.get(FLAGS).is_none_or(|flags| flags & TELLING != 0)
}

/// No entry.
pub const NONE: u32 = u32::MAX;

/// How long connections live without packets, in milliseconds (SEC-8, SEC-9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP connections that are established, and what was not closed properly.
    pub established: u32,
    /// UDP flows of which one direction is seen, or one question and one answer.
    pub udp: u32,
    /// UDP flows with more than that.
    pub udp_stream: u32,
}

impl Timeouts {
    /// AWS's: 350 s, 30 s and 180 s ("Amazon EC2 security group connection tracking").
    pub const DEFAULT: Self = Self { established: 350_000, udp: 30_000, udp_stream: 180_000 };
    /// TCP connections that are not established yet (SEC-9).
    pub const HALF_OPEN: u32 = 60_000;
    /// TCP connections that were reset or closed by both ends (SEC-9).
    pub const CLOSED: u32 = 30_000;
    /// ICMP echo (SEC-9).
    pub const ICMP: u32 = 30_000;
    /// Protocols without ports (SEC-3).
    pub const OTHER: u32 = 600_000;
    /// Decisions about flows that are not tracked: they are only remembered to be fast.
    pub const UNTRACKED: u32 = 30_000;
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why there is no entry for a new connection: `conntrack_full`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What a worker's table has done, for `warren show`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStats {
    /// Connections that there may be at once.
    pub capacity: u64,
    /// Connections that there are, with those that have expired since the last turn of the wheel.
    pub connections: u64,
    /// Connections made.
    pub created: u64,
    /// Connections removed.
    pub removed: u64,
    /// New connections refused for want of room ([`Full`]).
    pub refused: u64,
}

/// The connections of a worker's ENIs.
pub struct Connections {
    secret: Secret,
    index: Index,
    hot: HugeSlice<Hot>,
    cold: HugeSlice<Cold>,
    wheel: Wheel,
    stats: ConnectionStats,
    /// What flow logs are told, if there may be any.
    logging: Option<Box<Logging>>,
}

/// A new connection.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// Which way its first packet goes.
    pub direction: Direction,
    /// Whether it is tracked (SEC-4).
    pub tracked: bool,
    /// The flags of its first packet, of TCP.
    pub tcp_flags: u8,
    /// The number of the ENI's stay at its port.
    pub eni: u32,
    /// [`crate::packet::flow_hash`] of it.
    pub flow: u32,
}

impl Connections {
    /// A table for so many connections.
    pub fn new(capacity: u32) -> Self {
        let wheel = Wheel::new(capacity);
        let capacity = wheel.capacity();
        Self {
            secret: Secret::random(),
            index: Index::new(capacity),
            hot: HugeSlice::new(capacity as usize, Hot::FREE),
            cold: HugeSlice::new(capacity as usize, Cold::FREE),
            wheel,
            stats: ConnectionStats::default(),
            logging: None,
        }
    }

    /// The table, still empty, with what it takes to tell flow logs: 64 bytes more for each connection. What worker `i` has to
    /// tell, it pushes into ring `i`.
    #[must_use]
    pub fn with_logs(self, rings: Arc<[FlowRing]>, worker: usize, ports: usize) -> Self {
        let logging = Logging::new(rings, worker, self.wheel.capacity(), ports);
        Self { logging: Some(Box::new(logging)), ..self }
    }

    /// Memory, in bytes.
    pub fn bytes(&self) -> usize {
        let logging = self.logging.as_ref().map_or(0, |logging| logging.bytes());
        self.index.bytes() + self.hot.bytes() + self.cold.bytes() + self.wheel.bytes() + logging
    }

    /// What it has done.
    pub fn stats(&self) -> ConnectionStats {
        ConnectionStats {
            capacity: self.wheel.capacity().into(),
            connections: self.wheel.used().into(),
            ..self.stats
        }
    }

    /// The key of TCP or UDP over IPv4: addresses in host order, the local port in the upper half of `ports`.
    #[inline(always)]
    pub fn short(&self, port: PortIndex, local: u32, remote: u32, ports: u32, protocol: u8) -> Short {
        Short::v4(&self.secret, port, local, remote, ports, protocol)
    }

    /// The key of any connection.
    pub fn key(&self, port: PortIndex, ends: &Ends) -> Key {
        Key::new(&self.secret, port, ends)
    }

    /// Starts loading what [`Connections::candidate`] reads.
    #[inline(always)]
    pub fn prefetch(&self, key: &Short) {
        self.index.prefetch(key.hash);
    }

    /// The entry that a key probably has, which starts being loaded; [`NONE`] if it has none.
    #[inline(always)]
    pub fn candidate(&self, key: &Short) -> u32 {
        let found = self.index.find(key.hash, |_| true).unwrap_or(NONE);
        if let Some(hot) = self.hot.get(found as usize) {
            prefetch(hot);
        }
        found
    }

    /// The entry that [`Connections::candidate`] found, if it has the key.
    #[inline(always)]
    pub fn confirm(&mut self, candidate: u32, key: &Short) -> Option<&mut Hot> {
        self.hot.get_mut(candidate as usize).filter(|hot| hot.key == key.words)
    }

    /// The entry of a connection that has not expired.
    pub fn find(&self, key: &Key, now: Duration) -> Option<u32> {
        let now = millis(now) as u32;
        let found = self.position(key)?;
        self.hot.get(found as usize).is_some_and(|hot| hot.lives(now)).then_some(found)
    }

    /// What every packet of an entry reads and writes.
    #[inline]
    pub fn hot(&mut self, entry: u32) -> Option<&mut Hot> {
        self.hot.get_mut(entry as usize)
    }

    /// The rest of an entry.
    #[inline]
    pub fn cold(&mut self, entry: u32) -> Option<&mut Cold> {
        self.cold.get_mut(entry as usize)
    }

    /// Makes an entry for a connection that has none.
    ///
    /// # Errors
    ///
    /// [`Full`], which changes nothing.
    pub fn open(
        &mut self,
        key: &Key,
        now: Duration,
        timeouts: &Timeouts,
        opening: &Opening,
    ) -> Result<u32, Full> {
        let now = millis(now);
        // One that has expired but was not collected yet is in the way of its successor.
        if let Some(old) = self.position(key) {
            self.close(old);
        }
        let mut hot = Hot::opened(key, opening);
        let idle = hot.idle(timeouts);
        hot.due = (now as u32).wrapping_add(idle);
        let Some(entry) = self.wheel.take(now + u64::from(idle)) else {
            self.stats.refused += 1;
            return Err(Full);
        };
        self.index.insert(key.short.hash, entry);
        if let (Some(at), Some(cold)) = (self.hot.get_mut(entry as usize), self.cold.get_mut(entry as usize))
        {
            *at = hot;
            *cold = Cold::opened(key, opening, now as u32);
        }
        if let Some(logging) = &mut self.logging {
            logging.begin(entry, hot.port(), opening.eni, now as u32);
        }
        self.stats.created += 1;
        Ok(entry)
    }

    fn position(&self, key: &Key) -> Option<u32> {
        self.index.find(key.short.hash, |entry| {
            let entry = entry as usize;
            let same = self.hot.get(entry).is_some_and(|hot| hot.key == key.short.words);
            same && key.wide.is_none_or(|wide| self.cold.get(entry).is_some_and(|cold| cold.wide == wide))
        })
    }

    /// Removes an entry.
    pub fn close(&mut self, entry: u32) {
        let Some(hot) = self.hot.get_mut(entry as usize).filter(|hot| hot.key != Hot::FREE.key) else {
            return;
        };
        let hot = std::mem::replace(hot, Hot::FREE);
        let Some(cold) = self.cold.get(entry as usize) else { return };
        if let Some(logging) = &mut self.logging {
            logging.end(entry as usize, &hot, cold);
        }
        self.index.remove(cold.hash, entry);
        self.wheel.release(entry);
        self.stats.removed += 1;
    }

    /// A packet of a tracked connection passes: takes its state on, and says how long it lives from now on.
    pub fn track(&mut self, entry: u32, now: Duration, timeouts: &Timeouts, side: Side, tcp_flags: u8) {
        let now = millis(now);
        let Some(hot) = self.hot.get_mut(entry as usize) else { return };
        let before = hot.idle(timeouts);
        hot.step(side, tcp_flags);
        let idle = hot.idle(timeouts);
        hot.due = (now as u32).wrapping_add(idle);
        // A wheel looks again when an entry was due; one that now is due earlier must not wait for that.
        if idle < before {
            self.wheel.file(entry, now + u64::from(idle));
        }
    }

    /// Notes where what goes out goes, as decided under tables of a generation.
    pub fn decide_egress(&mut self, entry: u32, generation: u32, way: &Way) {
        if let Some(hot) = self.hot.get_mut(entry as usize) {
            hot.decide_egress(generation, way);
        }
    }

    /// Notes that what comes in may, by a host from which it came, with the router's MAC or not.
    pub fn decide_ingress(&mut self, entry: u32, generation: u32, from: HostIndex, routed: bool) {
        if let Some(hot) = self.hot.get_mut(entry as usize) {
            hot.decide_ingress(generation, from, routed);
        }
    }

    /// Counts a packet.
    pub fn count(&mut self, entry: u32, packet: &Logged) {
        if self.hot.get_mut(entry as usize).is_some_and(|hot| hot.count(packet.direction, packet.bytes)) {
            self.sum_up(entry);
        }
        if let Some(logging) = &mut self.logging {
            logging.note(entry, packet);
        }
    }

    /// Counts a packet without an entry, of the ENI's stay at a port.
    pub fn count_loose(
        &mut self,
        from: (PortIndex, u32),
        ends: &Ends,
        packet: &Logged,
        action: Action,
        now: Duration,
    ) {
        if let Some(logging) = &mut self.logging {
            logging.loose(from, ends, packet, action, now);
        }
    }

    /// Tells flow logs what is due: to be called once a round. `ports`: of each port the stay of its ENI, if there is a log for it,
    /// under tables of a generation.
    #[inline]
    pub fn log<P>(&mut self, now: Duration, generation: u32, ports: impl FnOnce() -> P)
    where
        P: Iterator<Item = Option<u32>>,
    {
        let Some(logging) = &mut self.logging else { return };
        logging.settle(generation, ports);
        for entry in logging.round(millis(now)) {
            if let (Some(hot), Some(cold)) = (self.hot.get(entry), self.cold.get(entry))
                && hot.key != Hot::FREE.key
            {
                logging.see(entry, hot, cold);
            }
        }
    }

    /// Tells flow logs all that they have not been told, and calls `wait` where the writer is behind.
    pub fn end_logs(&mut self, mut wait: impl FnMut()) {
        let Some(logging) = &mut self.logging else { return };
        logging.end_loose();
        let entries = self.hot.iter().zip(self.cold.iter()).enumerate();
        for (entry, (hot, cold)) in entries.filter(|(_, (hot, _))| hot.key != Hot::FREE.key) {
            if logging.is_full() {
                wait();
            }
            logging.end(entry, hot, cold);
        }
    }

    /// Makes room in the counters of [`Hot`].
    #[cold]
    #[inline(never)]
    pub fn sum_up(&mut self, entry: u32) {
        if let (Some(hot), Some(cold)) = (self.hot.get_mut(entry as usize), self.cold.get_mut(entry as usize))
        {
            cold.add(hot);
        }
    }

    /// Removes some of the entries that have expired: to be called once a round.
    pub fn advance(&mut self, now: Duration, mut budget: u32) {
        let now = millis(now);
        while let Some(entry) = self.wheel.due(now, &mut budget) {
            let Some(hot) = self.hot.get(entry as usize) else { return };
            let left = hot.due.wrapping_sub(now as u32) as i32;
            if left > 0 {
                self.wheel.file(entry, now + left as u64);
            } else {
                self.close(entry);
            }
        }
    }
}
