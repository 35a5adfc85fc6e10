//! What is remembered of a connection.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::{NonZeroU16, NonZeroU32},
};

use super::{Ends, Key, Opening, Side, Tcp, Timeouts};
use crate::{
    flow::{Phase, Windows},
    packet::{
        Mac, MacPair, macs, protocol,
        tcp::{FIN, RST, SYN},
    },
    tables::{Direction, Location, PortIndex},
};

/// Where a connection's packets go out, as decided for the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The destination.
    pub to: Location,
    /// The destination's MAC.
    pub mac: Mac,
    /// The router's MAC of the destination's subnet.
    pub router: Mac,
    /// Whether these two are written over those that the ENI sent: of what it sends to its router. What it sends to the
    /// destination itself stays as it is.
    pub rewrites: bool,
}

/// Where a packet to an ENI came from, as the check of its origin found right (P-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The underlay's IPv4 address of the host that sent it.
    pub host: NonZeroU32,
    /// Its source MAC.
    pub mac: Mac,
    /// Whether that is the router's MAC of the ENI's subnet.
    pub routed: bool,
}

/// What every packet of a connection reads and writes: a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Hot {
    pub(super) key: [u64; 2],
    /// The generation of the tables that the decisions were made under.
    generation: u32,
    /// When it expires, in milliseconds, modulo 2³²: more than any timeout twice.
    pub(super) due: u32,
    /// [`crate::packet::flow_hash`] of its packets.
    pub flow: u32,
    /// How far a connection of TCP is; of other protocols, [`NEW`] and so on.
    state: u8,
    bits: u8,
    /// The number of its [`super::Passage`], if what goes out is routed over one: not the usual way, for which there is [`EGRESS`].
    passage: Option<NonZeroU16>,
    /// Where it goes, and with which MACs.
    to: Location,
    macs: MacPair,
    /// [`Origin::host`] of what comes in, if that is known.
    from: Option<NonZeroU32>,
    /// By direction; moved to [`Cold`] before they overflow.
    packets: [u16; 2],
    bytes: [u32; 2],
}

const _: () = assert!(size_of::<Hot>() == 64);

/// The rest.
#[derive(Clone, Copy, Debug)]
pub struct Cold {
    /// Local and remote address over IPv6.
    pub(super) wide: [u128; 2],
    /// By direction.
    packets: [u64; 2],
    bytes: [u64; 2],
    /// The number of the ENI's stay at its port.
    pub eni: u32,
    /// When it began, in milliseconds of the node's time, modulo 2³².
    pub began: u32,
    /// Of TCP, where each segment is looked at: which are expected.
    pub(super) windows: Option<Windows>,
}

/// What an entry is worth, when there is no room for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A connection that is over, or a decision about a flow that is not tracked: it makes way for any other.
    Spare,
    /// A connection that nobody has answered yet.
    Unanswered,
    /// One that lasts.
    Lasting,
}

impl Class {
    pub(super) const ALL: [Self; 3] = [Self::Spare, Self::Unanswered, Self::Lasting];
}

/// Bits of [`Hot`]: there is a decision for a direction.
const EGRESS: u8 = 1 << Direction::Egress as u8;
const INGRESS: u8 = 1 << Direction::Ingress as u8;
/// Its state does not change with the usual packet: an established connection, or a stream.
const SETTLED: u8 = 1 << 2;
/// It is tracked (SEC-4).
const TRACKED: u8 = 1 << 3;
/// The ENI sent its first packet.
const FROM_ENI: u8 = 1 << 4;
/// What goes out gets the MACs of the decision.
const REWRITE: u8 = 1 << 5;
/// What comes in has the router's MAC as its source; if not, the MAC that what goes out has as its destination.
const ROUTED: u8 = 1 << 6;
/// Each of its segments is checked, so that it is never settled.
const CHECKED: u8 = 1 << 7;

/// States of protocols without connections: one direction was seen, an answer, more of the first direction; after another answer,
/// a stream (SEC-8).
const NEW: u8 = 0;
const ANSWERED: u8 = 1;
const ASKED_AGAIN: u8 = 2;
const STREAM: u8 = 3;

impl Hot {
    pub(super) const FREE: Self = Self {
        key: [0; 2],
        generation: 0,
        due: 0,
        flow: 0,
        state: 0,
        bits: 0,
        passage: None,
        to: Location::UNATTACHED,
        macs: MacPair::ZERO,
        from: None,
        packets: [0; 2],
        bytes: [0; 2],
    };

    pub(super) fn opened(key: &Key, opening: &Opening) -> Self {
        let bit = |set, bit| if set { bit } else { 0 };
        let from_eni = bit(opening.direction == Direction::Egress, FROM_ENI);
        let bits = bit(opening.tracked, TRACKED) | bit(!opening.tracked, SETTLED) | from_eni;
        let mut hot = Self { key: key.short.words, flow: opening.flow, bits, ..Self::FREE };
        if hot.protocol() == protocol::TCP {
            hot.state = Tcp::picked_up(opening.tcp_flags).bits();
            hot.check(opening.segment.is_some());
        }
        hot
    }

    /// The IP protocol.
    #[inline(always)]
    pub fn protocol(&self) -> u8 {
        (self.key[1] >> 8) as u8
    }

    /// The port of its ENI.
    pub fn port(&self) -> PortIndex {
        PortIndex((self.key[1] >> 16) as u16)
    }

    /// How far it is; `None` of other protocols than TCP.
    pub fn phase(&self) -> Option<Phase> {
        (self.protocol() == protocol::TCP).then(|| Tcp::from_bits(self.state).phase())
    }

    /// Whether it is tracked.
    pub fn is_tracked(&self) -> bool {
        self.bits & TRACKED != 0
    }

    /// Which end a packet of a direction comes from.
    pub fn side(&self, direction: Direction) -> Side {
        if (self.bits & FROM_ENI != 0) == (direction == Direction::Egress) {
            Side::Initiator
        } else {
            Side::Responder
        }
    }

    /// Whether it has not expired, at a time in milliseconds.
    #[inline(always)]
    pub(super) fn lives(&self, now: u32) -> bool {
        self.due.wrapping_sub(now) as i32 > 0
    }

    /// Whether a packet of a direction passes as decided for one before, and changes nothing: the rest is for [`Hot::settled`].
    #[inline(always)]
    pub fn is_settled(&self, direction: Direction, generation: u32, now: u32, tcp_flags: u8) -> bool {
        let wanted = 1 << direction as u8 | SETTLED;
        self.bits & wanted == wanted
            && tcp_flags & (FIN | SYN | RST) == 0
            && self.generation == generation
            && self.lives(now)
    }

    /// Whether one that is not settled passes as decided for one before: the rest is for [`super::Connections::follow`]. If not, it has
    /// to be decided about.
    pub fn follows(&self, direction: Direction, generation: u32, now: u32, tcp_flags: u8) -> bool {
        self.bits & (1 << direction as u8) != 0 && self.may_follow(generation, now, tcp_flags)
    }

    /// Whether a packet may pass as decided under tables of a generation, if that was decided for its direction.
    #[inline(always)]
    fn may_follow(&self, generation: u32, now: u32, tcp_flags: u8) -> bool {
        self.generation == generation && self.lives(now) && self.bits & CHECKED == 0 && tcp_flags & SYN == 0
    }

    /// Whether it is a connection whose packets pass whatever the rules, without a look at their segments.
    pub fn awaits(&self, now: u32) -> bool {
        self.bits & (TRACKED | CHECKED) == TRACKED && self.lives(now)
    }

    /// Whether there is a decision for a direction.
    #[inline]
    pub fn is_decided(&self, direction: Direction, generation: u32) -> bool {
        self.bits & (1 << direction as u8) != 0 && self.generation == generation
    }

    /// A packet passes as decided, and changes nothing: lets the connection live for as long as a settled one does, and counts it, as
    /// [`Hot::count`].
    #[inline(always)]
    pub fn settled(&mut self, direction: Direction, now: u32, timeouts: &Timeouts, bytes: u32) -> bool {
        let idle = match self.bits & TRACKED {
            0 => Timeouts::UNTRACKED,
            _ if self.protocol() == protocol::UDP => timeouts.udp_stream,
            _ => timeouts.established,
        };
        self.due = now.wrapping_add(idle);
        self.count(direction, bytes)
    }

    /// Counts a packet; `true` if the counters have to be moved to [`Cold::add`] now.
    #[inline(always)]
    pub fn count(&mut self, direction: Direction, bytes: u32) -> bool {
        let (packets, sum) = match direction {
            Direction::Ingress => (&mut self.packets[0], &mut self.bytes[0]),
            Direction::Egress => (&mut self.packets[1], &mut self.bytes[1]),
        };
        *packets = packets.wrapping_add(1);
        *sum = sum.wrapping_add(bytes);
        *packets >> 15 != 0 || *sum >> 31 != 0
    }

    /// Makes room for decisions under newer tables.
    fn renew(&mut self, generation: u32) {
        if self.generation != generation {
            self.generation = generation;
            self.bits &= !(EGRESS | INGRESS);
            (self.passage, self.from) = (None, None);
        }
    }

    /// Notes where what goes out goes: over a passage, if it has the number of one.
    pub(super) fn decide_egress(&mut self, generation: u32, way: &Way, passage: Option<NonZeroU16>) {
        self.renew(generation);
        if self.bits & ROUTED == 0 && self.macs.destination() != way.mac {
            self.from = None;
        }
        (self.to, self.macs) = (way.to, MacPair::new(way.mac, way.router));
        self.passage = passage;
        self.bits = if passage.is_none() { self.bits | EGRESS } else { self.bits & !EGRESS };
        self.bits = if way.rewrites { self.bits | REWRITE } else { self.bits & !REWRITE };
    }

    /// The passage of a packet to the router that passes as decided for one before, if that was decided: the rest is for
    /// [`super::Connections::follow`].
    #[inline(always)]
    pub fn passage(&self, generation: u32, now: u32, tcp_flags: u8) -> Option<NonZeroU16> {
        self.passage.filter(|_| self.may_follow(generation, now, tcp_flags))
    }

    /// Whether one that passes over a passage changes nothing: the rest is for [`Hot::settled`].
    #[inline(always)]
    pub fn stays_settled(&self, tcp_flags: u8) -> bool {
        self.bits & SETTLED != 0 && tcp_flags & (FIN | SYN | RST) == 0
    }

    /// Whether it is decided where what goes out goes, over a passage or not.
    #[inline]
    pub fn has_way(&self, generation: u32) -> bool {
        self.generation == generation && (self.bits & EGRESS != 0 || self.passage.is_some())
    }

    /// Where what goes over a passage goes, and with which MACs.
    #[inline(always)]
    pub fn beyond(&self) -> (Location, MacPair) {
        (self.to, self.macs)
    }

    /// Where what goes out goes, if a packet has the destination MAC of those that this was decided for: its frame, which gets the
    /// MACs of the decision, has that of its ENI's router if it is `routed`.
    #[inline(always)]
    pub fn leave(&self, routed: bool, frame: &mut [u8]) -> Option<Location> {
        match (self.bits & REWRITE != 0, routed) {
            (true, true) => self.macs.put(frame),
            (false, false) if macs(frame).0 == self.macs.destination() => {}
            _ => return None,
        }
        Some(self.to)
    }

    /// Notes that what comes in may.
    pub(super) fn decide_ingress(&mut self, generation: u32) {
        self.renew(generation);
        self.bits |= INGRESS;
    }

    /// Notes where a packet that may come in came from, if the entry has its source MAC: that of the way out, or where none is decided
    /// any.
    #[inline]
    pub fn come_from(&mut self, origin: &Origin) {
        if origin.routed {
            (self.from, self.bits) = (Some(origin.host), self.bits | ROUTED);
            return;
        }
        if self.bits & EGRESS == 0 && self.passage.is_none() {
            self.macs = MacPair::new(origin.mac, Mac::ZERO);
        }
        if self.macs.destination() == origin.mac {
            (self.from, self.bits) = (Some(origin.host), self.bits & !ROUTED);
        }
    }

    /// Whether a packet comes from where those came from whose origin was found right under the tables of the decision.
    #[inline(always)]
    pub fn comes_from(&self, origin: &Origin) -> bool {
        let mac = if self.bits & ROUTED != 0 { origin.routed } else { self.macs.destination() == origin.mac };
        mac && self.from == Some(origin.host)
    }

    /// Takes the state on by a packet.
    pub(super) fn step(&mut self, side: Side, tcp_flags: u8) {
        if self.bits & TRACKED == 0 {
            return;
        }
        if self.protocol() == protocol::TCP {
            self.state = Tcp::from_bits(self.state).after(side, tcp_flags).bits();
        } else {
            self.state = match (self.state, side) {
                (NEW, Side::Responder) => ANSWERED,
                (ANSWERED, Side::Initiator) => ASKED_AGAIN,
                (ASKED_AGAIN, Side::Responder) => STREAM,
                (state, _) => state,
            };
        }
        self.settle();
    }

    /// Whether each of its segments is checked.
    pub(super) fn is_checked(&self) -> bool {
        self.bits & CHECKED != 0
    }

    /// From now on each of its segments is checked, or none.
    pub(super) fn check(&mut self, on: bool) {
        self.bits = if on { self.bits | CHECKED } else { self.bits & !CHECKED };
        self.settle();
    }

    fn settle(&mut self) {
        let settled = match self.protocol() {
            protocol::TCP => !self.is_checked() && Tcp::from_bits(self.state).phase() == Phase::Established,
            protocol::UDP => self.state == STREAM,
            _ => false,
        };
        if self.bits & TRACKED != 0 {
            self.bits = if settled { self.bits | SETTLED } else { self.bits & !SETTLED };
        }
    }

    /// What it is worth.
    pub(super) fn class(&self) -> Class {
        if self.bits & TRACKED == 0 {
            return Class::Spare;
        }
        match self.phase() {
            Some(Phase::Closed) => Class::Spare,
            Some(Phase::HalfOpen) => Class::Unanswered,
            None if self.state == NEW => Class::Unanswered,
            Some(Phase::Established) | None => Class::Lasting,
        }
    }

    /// How long it lives from its last packet on, in milliseconds.
    pub(super) fn idle(&self, timeouts: &Timeouts) -> u32 {
        if self.bits & TRACKED == 0 {
            return Timeouts::UNTRACKED;
        }
        match self.protocol() {
            protocol::TCP => match Tcp::from_bits(self.state).phase() {
                Phase::HalfOpen => Timeouts::HALF_OPEN,
                Phase::Established => timeouts.established,
                Phase::Closed => Timeouts::CLOSED,
            },
            protocol::UDP if self.state == STREAM => timeouts.udp_stream,
            protocol::UDP => timeouts.udp,
            protocol::ICMP | protocol::ICMPV6 => Timeouts::ICMP,
            _ => Timeouts::OTHER,
        }
    }
}

impl Cold {
    pub(super) const FREE: Self =
        Self { wide: [0; 2], packets: [0; 2], bytes: [0; 2], eni: 0, began: 0, windows: None };

    pub(super) fn opened(key: &Key, opening: &Opening, now: u32) -> Self {
        let wide = key.wide.unwrap_or_default();
        let windows = opening.segment.as_ref().map(Windows::of);
        Self { wide, eni: opening.eni, began: now, windows, ..Self::FREE }
    }

    /// Takes over what the hot part has counted.
    pub fn add(&mut self, hot: &mut Hot) {
        for (total, packets) in self.packets.iter_mut().zip(&mut hot.packets) {
            *total += u64::from(std::mem::take(packets));
        }
        for (total, bytes) in self.bytes.iter_mut().zip(&mut hot.bytes) {
            *total += u64::from(std::mem::take(bytes));
        }
    }

    /// Packets and bytes in a direction, with what the hot part has counted.
    pub fn total(&self, hot: &Hot, direction: Direction) -> (u64, u64) {
        let [ingress, egress] = [0, 1].map(|at: usize| {
            let sum = |totals: &[u64; 2], now: u64| totals.get(at).copied().unwrap_or(0) + now;
            let packets = hot.packets.get(at).copied().unwrap_or(0);
            let bytes = hot.bytes.get(at).copied().unwrap_or(0);
            (sum(&self.packets, packets.into()), sum(&self.bytes, bytes.into()))
        });
        if direction == Direction::Ingress { ingress } else { egress }
    }

    /// The ends of the connection.
    pub fn ends(&self, hot: &Hot) -> Ends {
        let [addresses, rest] = hot.key;
        let (local, remote) = if rest & 0xff == 4 {
            let v4 = |word: u64| IpAddr::V4(Ipv4Addr::from_bits(word as u32));
            (v4(addresses >> 32), v4(addresses))
        } else {
            let [local, remote] = self.wide.map(|address| IpAddr::V6(Ipv6Addr::from_bits(address)));
            (local, remote)
        };
        let (local_port, remote_port) = ((rest >> 48) as u16, (rest >> 32) as u16);
        Ends { local, remote, local_port, remote_port, protocol: hot.protocol() }
    }
}
