//! What happens to a burst, stage by stage, and the name of every drop.
//!
//! ```text
//!  instance port ─► [egress]  parse ─ source check ─► find the destination ─► rewrite, encapsulate ─► uplink
//!                               └► [local] (ARP, ND, DHCP…)  └► on this node ─► [ingress::admit] ─► instance port
//!  uplink port   ─► [ingress] parse outer, inner ─► find sender and receiver ─► origin check ─► admit ─► instance port
//! ```
//!
//! [`process`] takes the packets of one port through the stages, each stage over the whole burst, so that the memory
//! that a stage needs was asked for a stage before. The frames leave through a [`Sink`].
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod allowances;
mod counters;
mod early;
mod egress;
mod glance;
mod ingress;
mod limits;
mod local;
mod mirror;
mod mtu;
mod reason;
mod security;
mod service;
mod spread;
mod step;
mod subnet;
mod watch;

use std::{net::IpAddr, time::Duration};

use arrayvec::ArrayVec;

pub use allowances::{Allowance, Allowances};
pub use counters::{Counter, Counters, PortCounters};
pub use early::{Due, EARLY, Early, resume_early};
pub(crate) use egress::send_to;
pub(crate) use ingress::pass_on;
pub(crate) use mirror::copy as mirror;
pub(crate) use mtu::{fit, may_tell, path_mtu, tell};
pub use reason::Reason;
pub(crate) use security::{Packet, cross, permits};
pub use step::{Check, Connection, Notes, Request, Step};

use self::spread::By;
use crate::{
    flow::Connections,
    gateway::{self, Flows},
    packet::{Buffer, Mac, Vni},
    services::Learned,
    tables::{Direction, GatewayIndex, PortIndex, Role, Tables},
};

/// The most packets that go through the stages together.
pub const MAX_BURST: usize = 64;

/// Packets on their way together.
pub type Burst<B> = ArrayVec<B, MAX_BURST>;

/// Where frames go from the pipeline.
pub trait Sink<B>: Notes {
    /// Sends a finished frame out of a port.
    fn transmit(&mut self, port: PortIndex, frame: B);

    /// Sends the first finished frames of a burst out of a port.
    #[inline]
    fn transmit_all(&mut self, port: PortIndex, burst: &mut Burst<B>, count: usize) {
        let count = count.min(burst.len());
        burst.drain(..count).for_each(|frame| self.transmit(port, frame));
    }

    /// Whether a part of the flows of the ENI behind an instance port is this worker's. There is one part for each of the ENI's
    /// workers ([`crate::tables::LocalEni::workers`]); the first is that of the worker which owns the port.
    fn owns(&self, port: PortIndex, part: u8) -> bool;

    /// Gives a frame of an ENI to the worker that has a part of its flows, which calls [`take_over`].
    fn hand_over(&mut self, part: u8, at: AtEni, frame: B);

    /// The number of this worker, and how many the node has: which one has the state of a gateway's flows goes by their share
    /// ([`crate::tables::worker_of_share`]).
    fn workers(&self) -> (usize, usize);

    /// Gives a packet in a gateway to the worker that has its share, which calls [`crate::gateway::resume`].
    fn hand_share(&mut self, share: u8, at: AtGateway, frame: B);

    /// Gives a packet of an instance to the management thread, which answers it; returns it if that has enough to do.
    fn punt(&mut self, port: PortIndex, frame: B) -> Result<(), B>;

    /// Tells the management thread something. It may get lost.
    fn tell(&mut self, news: News);

    /// Keeps a fragment that is early, for [`Sink::due`]; returns it if there is no room, or nobody who keeps any.
    fn hold(&mut self, early: Early, now: Duration, frame: B) -> Result<(), B> {
        let _ = (early, now);
        Err(frame)
    }

    /// Gives back fragments whose first one is `known` by now, or that have waited for too long.
    #[inline(always)]
    fn due(&mut self, now: Duration, known: impl Fn(&Early) -> bool) -> Option<Due<B>> {
        let _ = (now, known);
        None
    }

    /// A packet is about to be dropped.
    #[inline(always)]
    fn dropped(&mut self, port: PortIndex, reason: Reason, frame: &B) {
        let _ = (port, reason, frame);
    }
}

/// Where a packet of an ENI is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtEni {
    /// The port of the ENI.
    pub port: PortIndex,
    /// Whether it comes from the ENI, or goes there.
    pub direction: Direction,
    /// The ENI's VPC.
    pub vni: Vni,
}

/// Where a packet in a gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtGateway {
    /// The port it came from.
    pub port: PortIndex,
    /// The gateway.
    pub gateway: GatewayIndex,
    /// The VPC it is in.
    pub vni: Vni,
}

/// What workers tell the management thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// What an underlay neighbour on an uplink said of itself.
    Neighbour(PortIndex, Learned),
    /// The ENI behind a port was told that an address in its subnet is at a MAC.
    Told(PortIndex, IpAddr, Mac),
    /// A neighbour outside, on a VLAN of a gateway port, said where it is.
    Outside(PortIndex, u16, Learned),
    /// A packet waits for the link-layer address of a neighbour outside, on a VLAN of a gateway port.
    Wanted(PortIndex, u16, IpAddr),
}

/// What every stage of one burst needs.
pub struct Context<'a, S> {
    /// The tables, pinned for the burst.
    pub tables: &'a Tables,
    /// The worker's counters.
    pub counters: &'a Counters,
    /// The time since the node's start.
    pub now: Duration,
    /// What is left of the ENIs' allowances.
    pub allowances: &'a mut Allowances,
    /// What the worker remembers of flows through gateways.
    pub flows: &'a mut Flows,
    /// The connections of the worker's ENIs.
    pub connections: &'a mut Connections,
    /// Where frames go.
    pub sink: &'a mut S,
}

impl<S> Context<'_, S> {
    #[inline]
    pub(crate) fn drop<B>(&mut self, port: PortIndex, reason: Reason, frame: B)
    where
        S: Sink<B>,
    {
        self.dropped(port, reason, &frame);
        drop(frame);
    }

    /// As [`Context::drop`], for a frame that is used again: an answer is made of it.
    #[inline]
    pub(crate) fn dropped<B>(&mut self, port: PortIndex, reason: Reason, frame: &B)
    where
        S: Sink<B>,
    {
        self.sink.dropped(port, reason, frame);
        self.counters.port(port).drop(reason);
    }
}

/// Takes the packets that came from a port through the pipeline. Leaves the burst empty.
#[inline]
pub fn process<B: Buffer, S: Sink<B>>(ctx: &mut Context<'_, S>, port: PortIndex, burst: &mut Burst<B>) {
    let tables = ctx.tables;
    match tables.port(port) {
        Some(from) => match &from.role {
            Role::Instance(Some(eni)) => egress::process(ctx, port, from.vlan, eni, By::Itself, burst),
            Role::Instance(None) => burst.drain(..).for_each(|frame| ctx.drop(port, Reason::NoEni, frame)),
            Role::Uplink(uplink) => ingress::process(ctx, port, from.vlan, uplink, burst),
            Role::Service(services) => service::process(ctx, port, from.vlan, services, burst),
            Role::Gateway(outside) => gateway::arrive(ctx, port, outside, burst),
            Role::Control(as_port) => burst.drain(..).for_each(|frame| ctx.sink.transmit(*as_port, frame)),
        },
        None => burst.clear(),
    }
}

/// Takes packets of an ENI on that another worker handed over. Leaves the burst empty.
pub fn take_over<B: Buffer, S: Sink<B>>(ctx: &mut Context<'_, S>, at: AtEni, burst: &mut Burst<B>) {
    let AtEni { port, direction, vni } = at;
    let tables = ctx.tables;
    match (direction, tables.port(port).zip(tables.local_eni(port))) {
        (Direction::Ingress, _) => ingress::take_over(ctx, port, vni, burst),
        (Direction::Egress, Some((from, eni))) if eni.vni == vni => {
            egress::process(ctx, port, from.vlan, eni, By::Worker, burst);
        }
        // The ENI has left meanwhile.
        (Direction::Egress, _) => burst.drain(..).for_each(|frame| ctx.drop(port, Reason::NoEni, frame)),
    }
}
