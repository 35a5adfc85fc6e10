//! The usual frame of an uplink: VXLAN over IPv4 around a packet of a connection, for which two things are at hand: that it may come in,
//! and that such packets come from this host.

use std::{net::IpAddr, num::NonZeroU32};

use crate::{
    flow::connections::{self, Logged, Origin, Short},
    packet::{Buffer, Checked, Encapsulation, Plain, PlainOuter, macs, mapped, strip_outer, tcp},
    pipeline::{Context, Sink, security},
    tables::{Direction, PortIndex, Uplink},
};

/// What the first stage leaves of such a frame. Scalars, each read as it was written (see `egress`).
pub(super) struct Usual {
    key: Short,
    /// The entry that the connection probably has, or [`connections::NONE`].
    entry: u32,
    /// [`Origin::host`].
    host: NonZeroU32,
    /// The port of the ENI that it is for.
    port: PortIndex,
    /// Offset of what is behind the inner frame.
    end: u16,
    ip_len: u16,
    protocol: u8,
    ecn: u8,
}

/// First stage: the key of the connection. Asks for the memory of the lookup. `None` of all other frames, right or wrong.
#[inline(always)]
pub(super) fn classify<B: Buffer, S>(ctx: &Context<'_, S>, uplink: &Uplink, frame: &B) -> Option<Usual> {
    const CE: u8 = 3;
    let data = frame.data();
    let PlainOuter { source: host, destination: here, vni, end, ecn } =
        PlainOuter::of(data, frame.ip_checksum())?;
    let inner = data.get(PlainOuter::LEN..end.into())?;
    let Plain { source, destination, ports, ip_len, protocol } = Plain::of(inner)?;
    let host = NonZeroU32::new(host)?;
    let usual = macs(data).0 == uplink.mac
        && mapped(IpAddr::V4(here.into())) == uplink.mapped
        && ctx.tables.encapsulation == Encapsulation::Vxlan
        && ecn != CE
        && frame.l4_checksum() != Checked::Bad
        && frame.is_contiguous();
    if !usual {
        return None;
    }
    let port = *ctx.tables.local.get(&(vni, macs(inner).0))?;
    let key = ctx.connections.short(port, destination, source, ports.rotate_left(16), protocol);
    ctx.connections.prefetch(&key);
    Some(Usual { key, entry: connections::NONE, host, port, end, ip_len, protocol, ecn })
}

impl Usual {
    /// Second stage: the entry, which starts being loaded.
    #[inline(always)]
    pub(super) fn find<S>(&mut self, ctx: &Context<'_, S>) {
        self.entry = ctx.connections.candidate(&self.key);
    }

    /// Whether there may be an entry.
    #[inline(always)]
    pub(super) fn is_known(&self) -> bool {
        self.entry != connections::NONE
    }

    /// Third stage: if both are at hand, the outer header off. Returns the port that the frame leaves through.
    #[inline(always)]
    pub(super) fn decided<B: Buffer, S: Sink<B>>(
        &self,
        ctx: &mut Context<'_, S>,
        now: u32,
        frame: &mut B,
    ) -> Option<PortIndex> {
        let generation = ctx.tables.generation;
        let eni = ctx.tables.local_eni(self.port).filter(|eni| !eni.watched)?;
        let hot = ctx.connections.confirm(self.entry, &self.key)?;
        let inner = frame.data().get(PlainOuter::LEN..)?;
        let (_, mac) = macs(inner);
        let origin = Origin { host: self.host, mac, routed: mac == eni.router_mac };
        let tcp_flags = tcp::plain_flags(self.protocol, inner);
        let follows = hot.follows(Direction::Ingress, generation, now, tcp_flags)?;
        if !hot.comes_from(&origin) {
            return None;
        }
        strip_outer(frame, PlainOuter::LEN as u16, self.end, self.ecn).ok()?;
        let bytes = self.ip_len.into();
        let logged = Logged { direction: Direction::Ingress, bytes, tcp_flags, path: 0 };
        security::follow(ctx, eni, self.entry, now, follows, &logged);
        Some(self.port)
    }
}
