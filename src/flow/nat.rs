//! The bindings of NAT gateways and egress-only internet gateways that one worker serves (GW-10 to GW-21).
//!
//! Mapping and filtering are endpoint-dependent (GW-20): a binding is of one flow from inside to one endpoint outside,
//! and only that endpoint's packets come in. Either direction is found by one lookup. An egress-only gateway's bindings
//! have the source itself for what it is outside (GW-21).

mod binding;
mod ports;
#[cfg(test)]
mod tests;

use std::time::Duration;

use binding::Binding;
pub use ports::{BLOCK_PORTS, BLOCKS, FLOWS_PER_DESTINATION, Pool, block_of};

use super::{Endpoint, Flow, Groups, Index, Protocol, Side, Tcp, Wheel, millis};
use crate::{
    ffi::{HugeSlice, prefetch},
    tables::Secret,
};

/// How long a binding lives without a packet in either direction: AWS's 350 s (GW-12), for all protocols, and for
/// egress-only gateways (GW-21). RFC 4787 REQ-5 asks of UDP no less than two minutes, RFC 5508 REQ-2 of ICMP a minute.
pub const IDLE: Duration = Duration::from_secs(350);

/// The same for TCP connections that are not yet established, and for ended ones, whose time runs from the end on:
/// four minutes (RFC 5382 REQ-5, RFC 7857 §2.1 and §2.2), a segment's lifetime in both directions.
pub const TRANSITORY: Duration = Duration::from_secs(240);

/// Why a packet from inside has no binding and gets none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Too many flows to this destination at once, from all NAT addresses (GW-11): `nat_ports`.
    Ports,
    /// The worker's table of bindings is full: `nat_full`.
    Full,
    /// A TCP packet that opens no connection, of one that is not known (any more), where it would be translated:
    /// `nat_no_state`. Its sender gets a reset (GW-12).
    Reset,
    /// A reset, of a connection that is not known (any more). It gets no answer, and needs no binding where it is not
    /// translated: `nat_no_state`.
    NoState,
}

/// What a worker's table has done, for `warren show`: the worker copies it to where others read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NatStats {
    /// Bindings that there may be at once.
    pub capacity: u64,
    /// Bindings that there are, with those that have expired since the last turn of the wheel.
    pub bindings: u64,
    /// Bindings made.
    pub created: u64,
    /// Bindings removed: idle for too long, or their NAT address is no longer the gateway's.
    pub expired: u64,
    /// Packets refused for want of a port ([`Refusal::Ports`]): AWS's `ErrorPortAllocation`.
    pub refused_ports: u64,
    /// Packets refused for want of room ([`Refusal::Full`]).
    pub refused_full: u64,
    /// TCP packets refused that belong to no connection ([`Refusal::Reset`] and [`Refusal::NoState`]).
    pub refused_no_state: u64,
    /// Packets from outside that belong to no binding (GW-14, GW-21).
    pub unsolicited: u64,
}

/// A flow, in the direction from inside, and its hash in a table: made once for a prefetch and a lookup.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    flow: Flow,
    hash: u64,
}

/// Where a new binding may go.
struct Place {
    outside: Key,
    group: Option<u32>,
    group_hash: u32,
}

/// The bindings of all gateways of a worker.
///
/// A flow is written as its packets from inside have it: with its source there (*inside*: what the gateway's clients
/// see), or with the NAT address and port for source (*outside*: what the world sees). A packet from outside belongs to
/// the [reverse](Flow::reversed) of its own.
pub struct Nat {
    secret: Secret,
    bindings: HugeSlice<Binding>,
    inside: Index,
    outside: Index,
    /// The translated ones with the same NAT address, remote endpoint and protocol, whose number is limited (GW-11).
    groups: Groups,
    wheel: Wheel,
    stats: NatStats,
}

impl Nat {
    /// A table for so many bindings. A million take 126 bytes each, rounding to huge pages included.
    pub fn new(capacity: u32) -> Self {
        Self::with_secret(capacity, Secret::random())
    }

    fn with_secret(capacity: u32, secret: Secret) -> Self {
        let wheel = Wheel::new(capacity);
        let capacity = wheel.capacity();
        Self {
            secret,
            bindings: HugeSlice::new(capacity as usize, Binding::FREE),
            inside: Index::new(capacity),
            outside: Index::new(capacity),
            groups: Groups::new(capacity),
            wheel,
            stats: NatStats::default(),
        }
    }

    /// Memory, in bytes.
    pub fn bytes(&self) -> usize {
        let indices = self.inside.bytes() + self.outside.bytes();
        self.bindings.bytes() + indices + self.groups.bytes() + self.wheel.bytes()
    }

    /// What it has done.
    pub fn stats(&self) -> NatStats {
        NatStats { capacity: self.wheel.capacity().into(), bindings: self.wheel.used().into(), ..self.stats }
    }

    /// The key of a flow, inside or outside.
    #[inline]
    pub fn key(&self, flow: Flow) -> Key {
        Key { flow, hash: flow.hash(&self.secret) }
    }

    /// Starts loading what [`Nat::outbound`] reads first.
    #[inline]
    pub fn prefetch_inside(&self, inside: &Key) {
        self.inside.prefetch(inside.hash as u32);
    }

    /// Starts loading what [`Nat::inbound`] reads first.
    #[inline]
    pub fn prefetch_outside(&self, outside: &Key) {
        self.outside.prefetch(outside.hash as u32);
    }

    /// Starts loading the binding that a flow from inside probably has; reads what [`Nat::prefetch_inside`] loads.
    #[inline]
    pub fn prefetch_binding_inside(&self, inside: &Key) {
        self.prefetch_binding(&self.inside, inside);
    }

    /// Starts loading the binding that a flow from outside probably has; reads what [`Nat::prefetch_outside`] loads.
    #[inline]
    pub fn prefetch_binding_outside(&self, outside: &Key) {
        self.prefetch_binding(&self.outside, outside);
    }

    #[inline]
    fn prefetch_binding(&self, index: &Index, key: &Key) {
        if let Some(binding) = index.find(key.hash as u32, |_| true).and_then(|entry| self.binding(entry)) {
            prefetch(binding);
        }
    }

    /// A packet from inside: what its source becomes. `inside` is its flow, `tcp_flags` the octet of a TCP header and 0
    /// for other protocols, `pool` where a new binding gets its port from, `None` for an egress-only gateway. A gateway
    /// always has one or always has none.
    ///
    /// # Errors
    ///
    /// Why the packet has to be dropped. No other flow is affected.
    #[inline]
    pub fn outbound(
        &mut self,
        now: Duration,
        inside: &Key,
        tcp_flags: u8,
        pool: Option<Pool<'_>>,
    ) -> Result<Endpoint, Refusal> {
        match self.established(now, inside, tcp_flags, pool.map(|pool| pool.addresses)) {
            Some(nat) => Ok(nat),
            None => self.begin(now, inside, tcp_flags, pool),
        }
    }

    /// The first half of [`Nat::outbound`], for callers to which a [`Pool`] is too dear for every packet: what the source
    /// becomes if the flow has a binding. Of the pool it needs the addresses alone. [`Nat::begin`] is the other half.
    #[inline]
    pub fn established(
        &mut self,
        now: Duration,
        inside: &Key,
        tcp_flags: u8,
        addresses: Option<&[u128]>,
    ) -> Option<Endpoint> {
        let entry = self.entry_inside(inside)?;
        let binding = self.pass(millis(now), entry, Side::Initiator, tcp_flags)?;
        if binding.suits(addresses) {
            return Some(binding.nat());
        }
        self.remove(entry);
        None
    }

    /// The second half of [`Nat::outbound`], of a flow that has no binding.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn begin(
        &mut self,
        now: Duration,
        inside: &Key,
        tcp_flags: u8,
        pool: Option<Pool<'_>>,
    ) -> Result<Endpoint, Refusal> {
        let opened = self.open(millis(now), inside, tcp_flags, pool);
        match opened {
            Ok(_) => self.stats.created += 1,
            Err(Refusal::Ports) => self.stats.refused_ports += 1,
            Err(Refusal::Full) => self.stats.refused_full += 1,
            Err(Refusal::Reset | Refusal::NoState) => self.stats.refused_no_state += 1,
        }
        opened
    }

    /// A packet from outside: what its destination becomes. `outside` is the reverse of the packet's flow. `None` where
    /// nobody inside has asked for it (GW-14, `nat_no_state`; GW-21, `eigw_unsolicited`).
    #[inline]
    pub fn inbound(&mut self, now: Duration, outside: &Key, tcp_flags: u8) -> Option<Endpoint> {
        let entry = self.entry_outside(outside);
        let passed = entry.and_then(|entry| self.pass(millis(now), entry, Side::Responder, tcp_flags));
        let found = passed.map(|binding| binding.source());
        self.stats.unsolicited += u64::from(found.is_none());
        found
    }

    /// What [`Nat::outbound`] would answer, changing nothing: an expired binding of the flow keeps its port and place,
    /// which `outbound` would free first.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn peek_outbound(
        &self,
        now: Duration,
        inside: &Key,
        tcp_flags: u8,
        pool: Option<Pool<'_>>,
    ) -> Result<Endpoint, Refusal> {
        let found = self.entry_inside(inside).and_then(|entry| self.binding(entry));
        if let Some(binding) = found
            .filter(|binding| binding.is_live(millis(now)) && binding.suits(pool.map(|pool| pool.addresses)))
        {
            return Ok(binding.nat());
        }
        self.check(inside, tcp_flags, pool.is_some())?;
        let Some(pool) = pool else { return Ok(inside.flow.source) };
        let mut places = self.addresses(inside, pool).map(|address| self.place(inside, pool, address));
        places.find_map(Result::ok).map(|place| place.outside.flow.source).ok_or(Refusal::Ports)
    }

    /// What the source of a flow inside is outside, changing nothing. An ICMP error from inside quotes a packet of the
    /// flow's reverse.
    pub fn find_inside(&self, now: Duration, inside: &Key) -> Option<Endpoint> {
        let binding = self.binding(self.entry_inside(inside)?)?;
        binding.is_live(millis(now)).then(|| binding.nat())
    }

    /// What the source of a flow outside is inside, changing nothing. An ICMP error from outside quotes a packet of the
    /// flow.
    pub fn find_outside(&self, now: Duration, outside: &Key) -> Option<Endpoint> {
        let binding = self.binding(self.entry_outside(outside)?)?;
        binding.is_live(millis(now)).then(|| binding.source())
    }

    /// Removes bindings that have expired: to be called once a burst. Each one that is removed or looked at, and each
    /// half second that has passed, takes one off the budget, which bounds the work; a binding is looked at about once
    /// in its idle time. What the budget leaves is no longer found, and only its port and place are used for longer.
    pub fn advance(&mut self, now: Duration, budget: u32) {
        let now = millis(now);
        let mut budget = budget;
        while let Some(entry) = self.wheel.due(now, &mut budget) {
            match self.binding(entry).map_or(0, |binding| binding.remaining(now)) {
                0 => self.remove(entry),
                remaining => self.wheel.file(entry, now + u64::from(remaining)),
            }
        }
    }

    #[inline]
    fn binding(&self, entry: u32) -> Option<&Binding> {
        self.bindings.get(entry as usize)
    }

    #[inline]
    fn entry_inside(&self, key: &Key) -> Option<u32> {
        self.inside.find(key.hash as u32, |entry| {
            self.binding(entry).is_some_and(|binding| binding.inside() == key.flow)
        })
    }

    #[inline]
    fn entry_outside(&self, key: &Key) -> Option<u32> {
        self.outside.find(key.hash as u32, |entry| {
            self.binding(entry).is_some_and(|binding| binding.outside() == key.flow)
        })
    }

    /// The group of the flows outside that differ from one in nothing but the NAT port, and its hash, given that of the
    /// addresses.
    #[inline]
    fn group(&self, outside: &Flow, addresses_hash: u64) -> (Option<u32>, u32) {
        let common = |flow: Flow| Flow { source: Endpoint { port: 0, ..flow.source }, ..flow };
        let key = common(*outside);
        let hash = key.hash_ports(&self.secret, addresses_hash) as u32;
        let is = |entry| self.binding(entry).is_some_and(|binding| common(binding.outside()) == key);
        (self.groups.find(hash, is), hash)
    }

    /// Notes a packet of a binding, and returns it. One that has expired is removed.
    #[inline]
    fn pass(&mut self, now: u64, entry: u32, side: Side, tcp_flags: u8) -> Option<Binding> {
        let binding = self.bindings.get_mut(entry as usize)?;
        if !binding.is_live(now) {
            self.remove(entry);
            return None;
        }
        let closing = binding.pass(now, side, tcp_flags);
        let binding = *binding;
        if closing {
            self.wheel.file(entry, now + u64::from(binding.timeout()));
        }
        Some(binding)
    }

    /// Makes the binding of a flow that has none.
    #[cold]
    #[inline(never)]
    fn open(
        &mut self,
        now: u64,
        inside: &Key,
        tcp_flags: u8,
        pool: Option<Pool<'_>>,
    ) -> Result<Endpoint, Refusal> {
        self.check(inside, tcp_flags, pool.is_some())?;
        let place = match pool {
            Some(pool) => self.choose(inside, pool).ok_or(Refusal::Ports)?,
            None => Place { outside: *inside, group: None, group_hash: 0 },
        };
        let nat = place.outside.flow.source;
        let binding = Binding::new(&inside.flow, nat, now, tcp_flags);
        let entry = self.wheel.take(now + u64::from(binding.timeout())).ok_or(Refusal::Full)?;
        if let Some(free) = self.bindings.get_mut(entry as usize) {
            *free = binding;
        }
        self.inside.insert(inside.hash as u32, entry);
        self.outside.insert(place.outside.hash as u32, entry);
        if binding.is_translated() {
            self.groups.add(place.group_hash, place.group, entry);
        }
        Ok(nat)
    }

    /// Whether a flow that has no binding may have one. A TCP connection in its middle may if it is not translated: nothing of
    /// it is lost, so that an egress-only gateway picks up the flows of a node that failed.
    fn check(&self, inside: &Key, tcp_flags: u8, translated: bool) -> Result<(), Refusal> {
        match inside.flow.protocol {
            Protocol::Tcp if Tcp::resets(tcp_flags) => Err(Refusal::NoState),
            Protocol::Tcp if translated && !Tcp::opens(tcp_flags) => Err(Refusal::Reset),
            _ if self.wheel.used() >= self.wheel.capacity() => Err(Refusal::Full),
            _ => Ok(()),
        }
    }

    /// Looks for a free port of a pool, and remembers which blocks have none.
    fn choose(&mut self, inside: &Key, pool: Pool<'_>) -> Option<Place> {
        for address in self.addresses(inside, pool) {
            match self.place(inside, pool, address) {
                Ok(place) => return Some(place),
                Err(Some(group)) => self.groups.set_full(group, pool.block),
                Err(None) => {}
            }
        }
        None
    }

    /// The addresses of a pool, in the order in which a flow tries them.
    fn addresses<'a>(&self, inside: &Key, pool: Pool<'a>) -> impl Iterator<Item = u128> + use<'a> {
        let Flow { gateway, source, .. } = inside.flow;
        let hash = self.secret.mix((source.address >> 64) as u64 ^ u64::from(gateway), source.address as u64);
        // Once more: under some secrets neighbours would leave out an address of few.
        pool.addresses_for(self.secret.mix(hash, 0))
    }

    /// A place at an address of a pool. If there is none, the group whose block has just been found full, unless that
    /// was known.
    fn place(&self, inside: &Key, pool: Pool<'_>, address: u128) -> Result<Place, Option<u32>> {
        let with_port = |port| Flow { source: Endpoint { address, port }, ..inside.flow };
        let addresses_hash = with_port(0).hash_addresses(&self.secret);
        let (group, group_hash) = self.group(&with_port(0), addresses_hash);
        let count = group.map_or(0, |group| self.groups.count(group));
        if count >= pool.limit() || group.is_some_and(|group| self.groups.is_full(group, pool.block)) {
            return Err(None);
        }
        let mut keys = pool.ports_for(inside.hash >> 32).map(with_port).map(|flow| {
            let hash = flow.hash_ports(&self.secret, addresses_hash);
            Key { flow, hash }
        });
        let outside = keys.find(|key| self.entry_outside(key).is_none()).ok_or(group)?;
        Ok(Place { outside, group, group_hash })
    }

    #[inline(never)]
    fn remove(&mut self, entry: u32) {
        let Some(&binding) = self.binding(entry) else { return };
        let (inside, outside) = (binding.inside(), binding.outside());
        let addresses_hash = outside.hash_addresses(&self.secret);
        if binding.is_translated()
            && let (Some(group), hash) = self.group(&outside, addresses_hash)
        {
            self.groups.remove(hash, group, entry, block_of(outside.source.port).unwrap_or(0));
        }
        self.outside.remove(outside.hash_ports(&self.secret, addresses_hash) as u32, entry);
        self.inside.remove(inside.hash(&self.secret) as u32, entry);
        self.wheel.release(entry);
        self.stats.expired += 1;
    }
}
