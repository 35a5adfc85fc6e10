//! The usual packet of an instance: plain TCP or UDP, of a connection for which a decision is at hand. The stages are functions
//! of their own so that each has the processor's registers for itself.

use std::time::Duration;

use arrayvec::ArrayVec;

use crate::{
    ffi::prefetch,
    flow::{
        Connections,
        connections::{self, Hot, Logged, Short},
    },
    flowlogs::path,
    packet::{Buffer, GROUP, Plain, PlainV6, Sender, mac_numbers, macs, tcp::SYN},
    pipeline::{Context, MAX_BURST, Notes, Step, glance::Glance},
    tables::{Direction, LocalEni, Location, PortIndex},
};

/// How far ahead of the packet in work the next packets' first bytes are asked for.
const AHEAD: usize = 4;

/// What the first stage leaves of a packet. Scalars, each read as it was written: a copy of the whole right behind the writes of its
/// parts would wait for them longer than a stage takes.
pub(super) struct Usual {
    /// [`Short::words`] of its connection's key.
    pub(super) key: [u64; 2],
    /// The key's hash, and then the entry that the connection probably has.
    pub(super) found: u32,
    pub(super) ip_len: u16,
    pub(super) tcp_flags: u8,
    traffic_class: u8,
    /// Whether it goes to the router.
    pub(super) routed: bool,
}

impl Usual {
    /// Whether it is probably of a connection that this worker has.
    pub(super) fn is_known(&self) -> bool {
        self.found != connections::NONE
    }

    /// Whether there may be a decision about it: not if it has no connection, begins one, or is the first since the tables changed.
    pub(super) fn may_be_decided<S>(&self, ctx: &Context<'_, S>) -> bool {
        self.tcp_flags & SYN == 0 && ctx.connections.has_way(self.found, ctx.tables.generation)
    }
}

/// What stands for a packet that is to be looked at by itself.
const OTHER: Usual = Usual {
    key: Short::NONE.words,
    found: Short::NONE.hash,
    ip_len: 0,
    tcp_flags: 0,
    traffic_class: 0,
    routed: false,
};

/// What is decided about a packet: where it goes, and its connection's [`Hot::flow`].
pub(super) type Decision = (Location, u32);

/// First stages: the connections. The keys, and then the entries, with the memory that the next stage needs asked for.
#[inline(never)]
pub(super) fn classify<B: Buffer>(
    connections: &Connections,
    port: PortIndex,
    eni: &LocalEni,
    burst: &[B],
    packets: &mut ArrayVec<Usual, MAX_BURST>,
) {
    burst.iter().take(AHEAD).for_each(Buffer::prefetch);
    let mut coming = burst.iter().skip(AHEAD);
    let router = eni.router_mac.to_u64();
    for frame in burst {
        if let Some(coming) = coming.next() {
            coming.prefetch();
        }
        // A push each, so that nothing is gathered elsewhere before.
        match usual(connections, port, eni, router, frame) {
            Some(usual) => packets.push(usual),
            None => packets.push(less_usual(connections, port, eni, router, frame).unwrap_or(OTHER)),
        }
    }
    for packet in packets {
        packet.found = connections.candidate(packet.found);
    }
}

/// The usual packet from the ENI's first IPv4 address; `None` of all others, right or wrong. `router`: the MAC of the ENI's router.
#[inline(always)]
fn usual<B: Buffer>(
    connections: &Connections,
    port: PortIndex,
    eni: &LocalEni,
    router: u64,
    frame: &B,
) -> Option<Usual> {
    let data = frame.data();
    let plain = Plain::of_sender(&eni.plain, data)?;
    admitted(connections, eni, router, frame, Glance::v4(connections, port, Direction::Egress, &plain, data))
}

/// The usual packet from any address of the ENI.
#[inline(never)]
fn less_usual<B: Buffer>(
    connections: &Connections,
    port: PortIndex,
    eni: &LocalEni,
    router: u64,
    frame: &B,
) -> Option<Usual> {
    let glance = of_other_address(connections, port, eni, frame.data())?;
    admitted(connections, eni, router, frame, glance)
}

/// What goes to a unicast MAC, and is no longer than the ENI may send. Asks for the memory of the lookup.
#[inline(always)]
fn admitted<B: Buffer>(
    connections: &Connections,
    eni: &LocalEni,
    router: u64,
    frame: &B,
    glance: Glance,
) -> Option<Usual> {
    let Glance { key, ip_len, tcp_flags, traffic_class } = glance;
    let (destination, _) = mac_numbers(frame.data());
    if destination & GROUP != 0 || ip_len > eni.mtu || !frame.is_contiguous() {
        return None;
    }
    connections.prefetch(&key);
    let routed = destination == router;
    Some(Usual { key: key.words, found: key.hash, ip_len, tcp_flags, traffic_class, routed })
}

/// A plain packet from any address of the ENI.
fn of_other_address(
    connections: &Connections,
    port: PortIndex,
    eni: &LocalEni,
    frame: &[u8],
) -> Option<Glance> {
    let direction = Direction::Egress;
    if macs(frame).1 != eni.mac {
        return None;
    }
    if let Some(plain) = Plain::of(frame) {
        let own = eni.v4.contain(plain.source());
        return own.then(|| Glance::v4(connections, port, direction, &plain, frame));
    }
    let plain = PlainV6::of(frame)?;
    let [source, _] = plain.addresses;
    if eni.v6.contain(source) { Glance::v6(connections, port, direction, &plain, frame) } else { None }
}

/// Third stage: takes packets about which a decision is at hand into their connections, up to the first about which there is none.
/// Rewrites their MACs, and asks for the memory of the outer headers.
#[inline(never)]
pub(super) fn follow<B: Buffer, S>(
    ctx: &mut Context<'_, S>,
    eni: &LocalEni,
    packets: &[Usual],
    frames: &mut [B],
    decisions: &mut ArrayVec<Decision, MAX_BURST>,
) {
    decisions.clear();
    let hosts = ctx.tables.hosts.all();
    let now = Now { generation: ctx.tables.generation, time: ctx.now, clock: connections::clock(ctx.now) };
    for (packet, frame) in packets.iter().zip(frames) {
        let Some((to, flow)) = decided(ctx.connections, eni, packet, &now, frame) else { break };
        if let Some(host) = to.host().and_then(|host| hosts.get(host.0 as usize)) {
            prefetch(host);
        }
        decisions.push((to, flow));
    }
}

/// The generation of the tables, and the time twice.
struct Now {
    generation: u32,
    time: Duration,
    clock: u32,
}

/// The decision about a packet, if there is one at hand. Rewrites its MACs.
#[inline(always)]
fn decided<B: Buffer>(
    connections: &mut Connections,
    eni: &LocalEni,
    packet: &Usual,
    now: &Now,
    frame: &mut B,
) -> Option<Decision> {
    let &Usual { ref key, found, ip_len, tcp_flags, routed, .. } = packet;
    let hot = connections.confirm(found, key, || Glance::wide(Direction::Egress, frame.data()))?;
    if !hot.is_settled(Direction::Egress, now.generation, now.clock, tcp_flags) {
        return decided_further(connections, eni, packet, now, frame);
    }
    let decision = (hot.leave(routed, frame.data_mut())?, hot.flow);
    if hot.settled(Direction::Egress, now.clock, &eni.timeouts, ip_len.into()) {
        connections.sum_up(found);
    }
    Some(decision)
}

/// The same about a packet that may take its connection into another state.
#[inline(never)]
fn decided_further<B: Buffer>(
    connections: &mut Connections,
    eni: &LocalEni,
    packet: &Usual,
    now: &Now,
    frame: &mut B,
) -> Option<Decision> {
    let &Usual { found, ip_len, tcp_flags, routed, .. } = packet;
    let (direction, bytes, path) = (Direction::Egress, ip_len.into(), path::SAME_VPC);
    let follows = |hot: &&mut Hot| hot.follows(direction, now.generation, now.clock, tcp_flags);
    let hot = connections.hot(found).filter(follows)?;
    let decision = (hot.leave(routed, frame.data_mut())?, hot.flow);
    connections.follow(found, now.time, &eni.timeouts, &Logged { direction, bytes, tcp_flags, path });
    Some(decision)
}

/// Last stage: puts the outer headers in front of frames that leave through an uplink, up to the first one that does not, or not as it
/// is. `uplinks`: theirs.
#[inline(never)]
pub(super) fn encapsulate<'a, B: Buffer, S: Notes>(
    ctx: &mut Context<'_, S>,
    eni: &LocalEni,
    packets: impl Iterator<Item = (&'a Usual, &'a Decision)>,
    frames: &mut [B],
    uplinks: &mut ArrayVec<PortIndex, MAX_BURST>,
) {
    uplinks.clear();
    let hosts = ctx.tables.hosts.all();
    let sender = Sender { vni: eni.vni, mac: eni.mac };
    for ((packet, (to, flow)), frame) in packets.zip(frames) {
        let Some(host) = to.host().and_then(|host| hosts.get(host.0 as usize)) else { return };
        let Usual { traffic_class, .. } = *packet;
        if host.refuses(frame.data().len()).is_some()
            || host.template.encapsulate_classed(frame, eni.vni, &sender, traffic_class, *flow).is_err()
        {
            return;
        }
        ctx.sink.note(Step::Encapsulated(host, eni.vni));
        uplinks.push(host.uplink);
    }
}
