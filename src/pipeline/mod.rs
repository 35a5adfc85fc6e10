//! What happens to a burst, stage by stage, and the name of every drop.
//!
//! ```text
//!  instance port ─► [egress]  parse ─ source check ─► find the destination ─► rewrite, encapsulate ─► uplink
//!                               └► services (ARP, ND)        └► on this node ─► [ingress::admit] ─► instance port
//!  uplink port   ─► [ingress] parse outer, inner ─► find sender and receiver ─► origin check ─► admit ─► instance port
//! ```
//!
//! [`process`] takes the packets of one port through the stages, each stage over the whole burst, so that the memory
//! that a stage needs was asked for a stage before. The frames leave through a [`Sink`].
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod counters;
mod egress;
mod ingress;
mod reason;
mod subnet;

use arrayvec::ArrayVec;

pub use counters::{Counter, Counters, PortCounters};
pub use ingress::deliver;
pub use reason::Reason;

use crate::{
    packet::{Buffer, Vni},
    services::Learned,
    tables::{PortIndex, Role, Tables},
};

/// The most packets that go through the stages together.
pub const MAX_BURST: usize = 64;

/// Packets on their way together.
pub type Burst<B> = ArrayVec<B, MAX_BURST>;

/// Where frames go from the pipeline.
pub trait Sink<B> {
    /// Sends a finished frame out of a port.
    fn transmit(&mut self, port: PortIndex, frame: B);

    /// Whether the ENI behind an instance port is this worker's.
    fn owns(&self, port: PortIndex) -> bool;

    /// Gives a frame for the ENI behind an instance port, in the VPC `vni`, to the worker that owns it, which calls
    /// [`deliver`].
    fn hand_over(&mut self, port: PortIndex, vni: Vni, frame: B);

    /// Tells the management thread what an underlay neighbour said of itself.
    fn learned(&mut self, uplink: PortIndex, neighbour: Learned);
}

/// What every stage of one burst needs.
pub struct Context<'a, S> {
    /// The tables, pinned for the burst.
    pub tables: &'a Tables,
    /// The worker's counters.
    pub counters: &'a Counters,
    /// Where frames go.
    pub sink: &'a mut S,
}

impl<S> Context<'_, S> {
    #[inline]
    fn drop<B>(&self, port: PortIndex, reason: Reason, frame: B) {
        self.counters.port(port).drop(reason);
        drop(frame);
    }
}

/// Takes the packets that came from a port through the pipeline. Leaves the burst empty.
#[inline]
pub fn process<B: Buffer, S: Sink<B>>(ctx: &mut Context<'_, S>, port: PortIndex, burst: &mut Burst<B>) {
    let tables = ctx.tables;
    match tables.port(port) {
        Some(from) => match &from.role {
            Role::Instance(Some(eni)) => egress::process(ctx, port, from.vlan, eni, burst),
            Role::Instance(None) => burst.drain(..).for_each(|frame| ctx.drop(port, Reason::NoEni, frame)),
            Role::Uplink(uplink) => ingress::process(ctx, port, from.vlan, uplink, burst),
        },
        None => burst.clear(),
    }
}
