//! The usual frame of an uplink: VXLAN over IPv4 around a packet of a connection, for which two things are at hand: that it may come in,
//! and that such packets come from this host.

use std::num::NonZeroU32;

use arrayvec::ArrayVec;

use crate::{
    flow::{
        Connections, Tcp,
        connections::{self, Logged, Origin, Short},
    },
    packet::{
        Buffer, Checked, Encapsulation, Pattern, Plain, PlainOuter, PlainV6, mac_numbers, macs, strip_outer,
    },
    pipeline::{Burst, Context, MAX_BURST, glance::Glance},
    tables::{Direction, PortIndex, Tables, Uplink},
};

/// What such frames of an uplink have in common.
pub(super) struct Here<'a> {
    mac: u64,
    plain: &'a Pattern,
}

impl<'a> Here<'a> {
    /// That of an uplink; `None` if there are no such frames.
    pub(super) fn of(tables: &Tables, uplink: &'a Uplink) -> Option<Self> {
        let plain = uplink.plain.as_ref().filter(|_| tables.encapsulation == Encapsulation::Vxlan)?;
        Some(Self { mac: uplink.mac.to_u64(), plain })
    }
}

/// What the first stage leaves of such a frame. Scalars, each read as it was written (see `egress`).
pub(super) struct Usual {
    /// [`Short::words`] of its connection's key.
    pub(super) key: [u64; 2],
    /// The key's hash, and then the entry that the connection probably has.
    pub(super) found: u32,
    /// [`Origin::host`].
    pub(super) host: u32,
    /// The port of the ENI that it is for.
    pub(super) port: PortIndex,
    /// Offset of what is behind the inner frame.
    pub(super) end: u16,
    pub(super) ip_len: u16,
    pub(super) tcp_flags: u8,
    pub(super) ecn: u8,
}

/// What stands for a frame that is to be looked at by itself.
const OTHER: Usual = Usual {
    key: Short::NONE.words,
    found: Short::NONE.hash,
    host: 0,
    port: PortIndex(u16::MAX),
    end: 0,
    ip_len: 0,
    tcp_flags: 0,
    ecn: 0,
};

/// First stages: the connections. The keys, and then the entries, with the memory that the next stage needs asked for. Functions of
/// their own as those of `egress`.
#[inline(never)]
pub(super) fn classify<B: Buffer>(
    tables: &Tables,
    connections: &Connections,
    here: &Here<'_>,
    burst: &Burst<B>,
    packets: &mut ArrayVec<Usual, MAX_BURST>,
) {
    for frame in burst {
        match usual::<B, false>(tables, connections, here, frame) {
            Some(usual) => packets.push(usual),
            None => packets.push(less_usual(tables, connections, here, frame).unwrap_or(OTHER)),
        }
    }
    for packet in packets {
        packet.found = connections.candidate(packet.found);
    }
}

/// The usual frame around IPv6, apart so that the code of the other is short.
#[inline(never)]
fn less_usual<B: Buffer>(
    tables: &Tables,
    connections: &Connections,
    here: &Here<'_>,
    frame: &B,
) -> Option<Usual> {
    usual::<B, true>(tables, connections, here, frame)
}

/// The usual frame, around IPv6 or IPv4; `None` of all others, right or wrong.
#[inline(always)]
fn usual<B: Buffer, const IPV6: bool>(
    tables: &Tables,
    connections: &Connections,
    here: &Here<'_>,
    frame: &B,
) -> Option<Usual> {
    const CE: u8 = 3;
    let data = frame.data();
    let PlainOuter { source: host, vni, end, ecn } = PlainOuter::of(here.plain, data, frame.ip_checksum())?;
    let inner = data.get(PlainOuter::LEN..end.into())?;
    let usual = mac_numbers(data).0 == here.mac
        && ecn != CE
        && frame.l4_checksum() != Checked::Bad
        && frame.is_contiguous();
    if !usual {
        return None;
    }
    let (port, direction) = (|| tables.local.at(vni, mac_numbers(inner).0), Direction::Ingress);
    let (port, Glance { key, ip_len, tcp_flags, .. }) = if IPV6 {
        let plain = PlainV6::of(inner)?;
        let port = port()?;
        (port, Glance::v6(connections, port, direction, &plain, inner)?)
    } else {
        let plain = Plain::of(inner)?;
        let port = port()?;
        (port, Glance::v4(connections, port, direction, &plain, inner))
    };
    connections.prefetch(&key);
    Some(Usual { key: key.words, found: key.hash, host, port, end, ip_len, tcp_flags, ecn })
}

impl Usual {
    /// Whether there can be no decision about it: it has no connection, or begins one.
    pub(super) fn begins(&self) -> bool {
        self.found == connections::NONE || Tcp::opens(self.tcp_flags)
    }
}

/// Third stage: takes frames for which both are at hand into their connections, up to the first one for which they are not, and the
/// outer headers off. Returns how many.
#[inline(never)]
pub(super) fn follow<B: Buffer, S>(ctx: &mut Context<'_, S>, packets: &[Usual], frames: &mut [B]) -> usize {
    let now = connections::clock(ctx.now);
    run(packets, frames, |packet, frame| decided(ctx, packet, now, frame))
}

/// Takes frames through, up to the first one of which `take` says `None`. Returns how many.
#[inline(always)]
pub(super) fn run<B>(
    packets: &[Usual],
    frames: &mut [B],
    mut take: impl FnMut(&Usual, &mut B) -> Option<()>,
) -> usize {
    let mut both = packets.iter().zip(frames);
    both.position(|(packet, frame)| take(packet, frame).is_none()).unwrap_or(packets.len())
}

#[inline(always)]
fn decided<B: Buffer, S>(ctx: &mut Context<'_, S>, packet: &Usual, now: u32, frame: &mut B) -> Option<()> {
    let &Usual { ref key, found, host, port, end, ip_len, tcp_flags, ecn } = packet;
    let (direction, generation, bytes) = (Direction::Ingress, ctx.tables.generation, ip_len.into());
    let eni = ctx.tables.local_eni(port).filter(|eni| !eni.watched)?;
    let inner = frame.data().get(PlainOuter::LEN..)?;
    let hot = ctx.connections.confirm(found, key, || Glance::wide(direction, inner))?;
    let settled = hot.is_settled(direction, generation, now, tcp_flags);
    if !settled && !hot.follows(direction, generation, now, tcp_flags) {
        return None;
    }
    let (_, mac) = macs(inner);
    let origin = Origin { host: NonZeroU32::new(host)?, mac, routed: mac == eni.router_mac };
    if !hot.comes_from(&origin) {
        return None;
    }
    strip_outer(frame, PlainOuter::LEN as u16, end, ecn).ok()?;
    if !settled {
        let logged = Logged { direction, bytes, tcp_flags, path: 0 };
        ctx.connections.follow(found, ctx.now, &eni.timeouts, &logged);
    } else if hot.settled(direction, now, &eni.timeouts, bytes) {
        ctx.connections.sum_up(found);
    }
    Some(())
}
