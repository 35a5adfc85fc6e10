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
//!                                      [Cold]: IPv6 addresses, totals, TCP windows
//! ```

mod key;
mod logging;
mod passages;
mod record;
mod shares;
mod shown;
#[cfg(test)]
mod tests;

use std::{num::NonZeroU16, sync::Arc, time::Duration};

pub use key::{Ends, Key, Short};
pub use logging::Logged;
pub use passages::Passage;
pub use record::{Cold, Hot, Origin, Way};
pub use shares::{PortStats, Tenant};
pub use shown::{FlowState, Shown};

use logging::Logging;
use passages::Passages;
use record::Class;
use shares::{End, Shares};

use super::{Index, Side, Tcp, Wheel, Windows, millis, rings::Rings};
use crate::{
    ffi::{HugeSlice, prefetch},
    flowlogs::{Action, FlowRing},
    packet::tcp::Segment,
    tables::{Direction, PortIndex, Secret},
};

/// A time as entries keep it: milliseconds, modulo 2³².
#[inline]
pub fn clock(now: Duration) -> u32 {
    millis(now) as u32
}

/// What a connection takes, in bytes: its entry, its place in the index, and its places on the wheel and among those of its
/// port.
pub const BYTES: usize = size_of::<Hot>() + size_of::<Cold>() + Index::BYTES + 2 * Rings::BYTES;

const _: () = assert!(BYTES <= 192);

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
    /// Connections that nobody has answered yet, when their ENI is short of room (SEC-10).
    pub const PRESSED: u32 = 5_000;
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why there is no entry for a new connection: `conntrack_full`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// How long a connection without an answer is left alone by others that need its place, in milliseconds.
const PATIENCE: u32 = 1000;

/// What a worker's table has done, for `warren show`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStats {
    /// Connections that there may be at once.
    pub capacity: u64,
    /// Connections that there are, with those that have expired since the last turn of the wheel.
    pub connections: u64,
    /// Connections made.
    pub created: u64,
    /// Connections whose time was over.
    pub expired: u64,
    /// Connections that had to make way for others.
    pub evicted: u64,
    /// Connections that were removed otherwise.
    pub closed: u64,
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
    shares: Shares,
    passages: Passages,
    /// The generation of the tables that the shares were settled by.
    settled: u32,
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
    /// Its first segment, if it is one of TCP and its segments are checked.
    pub segment: Option<Segment>,
}

impl Connections {
    /// A table for so many connections, which all ports share until [`Connections::with_ports`] says otherwise.
    pub fn new(capacity: u32) -> Self {
        let wheel = Wheel::new(capacity);
        let capacity = wheel.capacity();
        Self {
            secret: Secret::random(),
            index: Index::new(capacity),
            hot: HugeSlice::new(capacity as usize, Hot::FREE),
            cold: HugeSlice::new(capacity as usize, Cold::FREE),
            wheel,
            shares: Shares::new(capacity, 0),
            passages: Passages::new(),
            settled: 0,
            logging: None,
        }
    }

    /// The table, still empty, with a share for each of so many ports.
    #[must_use]
    pub fn with_ports(self, ports: usize) -> Self {
        Self { shares: Shares::new(self.wheel.capacity(), ports), ..self }
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
        let parts = [self.index.bytes(), self.hot.bytes(), self.cold.bytes(), self.wheel.bytes(), logging];
        parts.iter().sum::<usize>() + self.shares.bytes()
    }

    /// What it has done.
    pub fn stats(&self) -> ConnectionStats {
        ConnectionStats {
            capacity: self.wheel.capacity().into(),
            connections: self.wheel.used().into(),
            created: self.shares.sum(|port| port.created),
            expired: self.shares.sum(|port| port.expired),
            evicted: self.shares.sum(|port| port.evicted),
            closed: self.shares.sum(|port| port.closed),
            refused: self.shares.sum(|port| port.refused),
        }
    }

    /// How many ports have a share of their own.
    pub fn ports(&self) -> usize {
        self.shares.ports()
    }

    /// The connections of a port.
    pub fn port_stats(&self, port: PortIndex) -> PortStats {
        self.shares.stats(port)
    }

    /// Notes who is at the ports under tables of a generation, if that is news: of each instance port the ENI, if there is one;
    /// of others `None`. What is remembered of ENIs that have left goes with [`Connections::advance`].
    #[inline]
    pub fn settle<P>(&mut self, generation: u32, ports: impl FnOnce() -> P)
    where
        P: Iterator<Item = Option<Option<Tenant>>> + Clone,
    {
        if self.settled != generation {
            self.settled = generation;
            self.passages.clear();
            self.shares.settle(ports());
        }
    }

    /// The key of TCP or UDP over IPv4: in host order the local address in the upper half of `addresses`, and the local port in the
    /// upper half of `ports`.
    #[inline(always)]
    pub fn short(&self, port: PortIndex, addresses: u64, ports: u32, protocol: u8) -> Short {
        Short::v4(&self.secret, port, addresses, ports, protocol)
    }

    /// The part of the key of TCP or UDP over IPv6 that fits two words: `addresses` are the local and the remote one.
    pub fn wide(&self, port: PortIndex, addresses: [u128; 2], ports: u32, protocol: u8) -> Short {
        Short::v6(&self.secret, port, addresses, ports, protocol)
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

    /// The entry that the key with a hash probably has, which starts being loaded; [`NONE`] if it has none.
    #[inline(always)]
    pub fn candidate(&self, hash: u32) -> u32 {
        let found = self.index.first(hash).unwrap_or(NONE);
        if let Some(hot) = self.hot.get(found as usize) {
            prefetch(hot);
        }
        found
    }

    /// The entry that [`Connections::candidate`] found, if it has the key ([`Short::words`]), and over IPv6 the local and remote
    /// address that `wide` gives.
    #[inline(always)]
    pub fn confirm(
        &mut self,
        candidate: u32,
        key: &[u64; 2],
        wide: impl FnOnce() -> [u128; 2],
    ) -> Option<&mut Hot> {
        let at = candidate as usize;
        let hot = self.hot.get_mut(at).filter(|hot| hot.key == *key)?;
        if key::is_wide(key) && self.cold.get(at).is_none_or(|cold| cold.wide != wide()) {
            return None;
        }
        Some(hot)
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

    /// Makes an entry for a connection that has none. Another may end for it: numbers of entries hold until then.
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
            self.end(old, End::Closed);
        }
        let mut hot = Hot::opened(key, opening);
        let port = hot.port();
        let idle = idle(&self.shares, &hot, timeouts);
        hot.due = (now as u32).wrapping_add(idle);
        let Some(entry) = self.take(port, opening.tracked, now, now + u64::from(idle)) else {
            // What is not tracked needs no entry.
            if opening.tracked {
                self.shares.refuse(port);
            }
            return Err(Full);
        };
        self.index.insert(key.short.hash, entry);
        self.shares.enter(entry, port, hot.class());
        if let (Some(at), Some(cold)) = (self.hot.get_mut(entry as usize), self.cold.get_mut(entry as usize))
        {
            *at = hot;
            *cold = Cold::opened(key, opening, now as u32);
        }
        if let Some(logging) = &mut self.logging {
            logging.begin(entry, hot.port(), opening.eni, now as u32);
        }
        Ok(entry)
    }

    /// A free entry for a port, due at a time; one that others have to make way for, if it is tracked.
    fn take(&mut self, port: PortIndex, tracked: bool, now: u64, due: u64) -> Option<u32> {
        let free = if self.shares.has_room(port) { self.wheel.take(due) } else { None };
        if free.is_some() {
            return free;
        }
        let victim = self.victim(port, tracked, now as u32)?;
        self.end(victim, End::Evicted);
        self.wheel.take(due)
    }

    /// Who makes way for a port's new connection: what is spare, then what has waited for an answer for a while, its own before
    /// others'; then any of its own without an answer. Others only have to if they have more than their reserve, and never
    /// for what is not tracked. What lasts stays.
    fn victim(&mut self, port: PortIndex, tracked: bool, now: u32) -> Option<u32> {
        let own = self.shares.oldest(port, Class::Spare);
        if own.is_some() || !tracked {
            return own;
        }
        let cold = &self.cold;
        let waited = |&entry: &u32| {
            cold.get(entry as usize).is_some_and(|cold| now.wrapping_sub(cold.began) > PATIENCE)
        };
        let waiting = self.shares.oldest(port, Class::Unanswered);
        let own = waiting.filter(waited);
        if own.is_some() || self.shares.is_at_quota(port) {
            return own.or(waiting);
        }
        self.shares
            .donated(Class::Spare, |_| true)
            .or_else(|| self.shares.donated(Class::Unanswered, |entry| waited(&entry)))
            .or(waiting)
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
        self.end(entry, End::Closed);
    }

    fn end(&mut self, entry: u32, how: End) {
        let Some(at) = self.hot.get_mut(entry as usize).filter(|hot| hot.key != Hot::FREE.key) else {
            return;
        };
        let hot = std::mem::replace(at, Hot::FREE);
        let stay = self.cold.get(entry as usize).map_or(NONE, |cold| cold.eni);
        if let (Some(logging), Some(cold)) = (&mut self.logging, self.cold.get(entry as usize)) {
            logging.end(entry as usize, &hot, cold);
        }
        self.index.remove(Short::of(&self.secret, hot.key).hash, entry);
        self.shares.leave(entry, hot.port(), hot.class(), stay, how);
        self.wheel.release(entry);
    }

    /// A packet of a tracked connection passes: takes its state on, and says how long it lives from now on.
    pub fn track(&mut self, entry: u32, now: Duration, timeouts: &Timeouts, side: Side, tcp_flags: u8) {
        let now = millis(now);
        let Some(hot) = self.hot.get_mut(entry as usize) else { return };
        let (class, due) = (hot.class(), hot.due);
        hot.step(side, tcp_flags);
        let idle = idle(&self.shares, hot, timeouts);
        hot.due = (now as u32).wrapping_add(idle);
        // A wheel looks again when an entry was due; one that now is due earlier must not wait for that.
        if (hot.due.wrapping_sub(due) as i32) < 0 {
            self.wheel.file(entry, now + u64::from(idle));
        }
        if class != hot.class() {
            self.shares.change(entry, hot.port(), class, hot.class());
        }
    }

    /// A packet passes as decided that may take the connection into another state: counts it, too.
    pub fn follow(&mut self, entry: u32, now: Duration, timeouts: &Timeouts, packet: &Logged) {
        let side = self.hot(entry).map(|hot| hot.side(packet.direction));
        if let Some(side) = side {
            self.track(entry, now, timeouts, side, packet.tcp_flags);
            self.count(entry, packet);
        }
    }

    /// Whether a packet that a side sends is one to be expected: any is where its segment is not checked, as `segment` says by
    /// `None`. One that isn't has to be dropped, and must change nothing.
    pub fn expects(&mut self, entry: u32, side: Side, segment: Option<&Segment>) -> bool {
        let (Some(hot), Some(cold)) = (self.hot.get_mut(entry as usize), self.cold.get_mut(entry as usize))
        else {
            return true;
        };
        match (segment, &mut cold.windows) {
            (Some(segment), Some(windows)) => windows.expects(side, segment),
            // It is checked from now on: as if it were seen from its middle on.
            (Some(segment), windows) if hot.is_tracked() => {
                *windows = Some(Windows::between(side, segment));
                hot.check(true);
                true
            }
            (None, windows @ Some(_)) => {
                *windows = None;
                hot.check(false);
                true
            }
            _ => true,
        }
    }

    /// Notes where what goes out goes, as decided under tables of a generation.
    pub fn decide_egress(&mut self, entry: u32, generation: u32, way: &Way) {
        if let Some(hot) = self.hot.get_mut(entry as usize) {
            hot.decide_egress(generation, way, None);
        }
    }

    /// Notes the same of what is routed over a passage, if there is room for another one.
    pub fn decide_beyond(&mut self, entry: u32, generation: u32, way: &Way, passage: &Passage) {
        let Some(number) = self.passages.number(passage) else { return };
        if let Some(hot) = self.hot.get_mut(entry as usize) {
            hot.decide_egress(generation, way, Some(number));
        }
    }

    /// Whether it is decided for what goes out of an entry where that goes.
    #[inline]
    pub fn has_way(&self, entry: u32, generation: u32) -> bool {
        self.hot.get(entry as usize).is_some_and(|hot| hot.has_way(generation))
    }

    /// The passage with a number.
    #[inline]
    pub fn passage(&self, number: NonZeroU16) -> Option<Passage> {
        self.passages.get(number).copied()
    }

    /// Notes that what comes in may, as decided under tables of a generation for a packet from there.
    pub fn decide_ingress(&mut self, entry: u32, generation: u32, origin: Option<&Origin>) {
        if let Some(hot) = self.hot.get_mut(entry as usize) {
            hot.decide_ingress(generation);
            if let Some(origin) = origin {
                hot.come_from(origin);
            }
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

    /// Removes some of the entries that have expired, or whose ENI has left: to be called once a round.
    pub fn advance(&mut self, now: Duration, budget: u32) {
        let now = millis(now);
        let mut left = budget;
        while let Some(entry) = self.wheel.due(now, &mut left) {
            let Some(hot) = self.hot.get(entry as usize) else { return };
            let due = hot.due.wrapping_sub(now as u32) as i32;
            if due > 0 {
                self.wheel.file(entry, now + due as u64);
            } else {
                self.end(entry, End::Expired);
            }
        }
        for _ in 0..budget {
            let cold = &self.cold;
            let stay = |entry: u32| cold.get(entry as usize).map(|cold| cold.eni);
            let Some(entry) = self.shares.left(stay) else { return };
            self.end(entry, End::Closed);
        }
    }
}

/// How long a connection lives from now on, in milliseconds.
#[inline]
fn idle(shares: &Shares, hot: &Hot, timeouts: &Timeouts) -> u32 {
    let idle = hot.idle(timeouts);
    let waits = hot.class() == Class::Unanswered;
    if waits && shares.is_pressed(hot.port()) { idle.min(Timeouts::PRESSED) } else { idle }
}
