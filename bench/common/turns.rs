//! Bursts of packets through the pipeline without devices.

use std::time::Duration;

use warren::{
    compile::Compiler,
    flow::Connections,
    gateway::Flows,
    node::{fleet::Fleet, traffic::Stamp},
    packet::Buffer,
    pipeline::{Allowances, Burst, Context, Counters, process},
    tables::{PortIndex, Tables},
};

use crate::{
    common::{Alone, Take},
    frame::Frame,
};

/// Packets of a turn.
pub(crate) const BURST: usize = 32;

/// A burst of stamped packets through the pipeline, over and over in the same buffers.
pub(crate) struct Turns {
    pub(crate) tables: Tables,
    counters: Counters,
    allowances: Allowances,
    flows: Flows,
    pub(crate) connections: Connections,
    pub(crate) stamp: Stamp,
    /// TCP flags that the packets get.
    pub(crate) flags: Option<u8>,
    next: usize,
    pub(crate) from: PortIndex,
    pub(crate) burst: Burst<Frame>,
    /// What the pipeline sends, to be used again.
    sink: Alone<Burst<Frame>>,
}

impl Take<Frame> for Burst<Frame> {
    #[inline]
    fn take(&mut self, frame: Frame) {
        self.push(frame);
    }
}

impl Turns {
    pub(crate) fn new(fleet: &Fleet, from: PortIndex, stamp: Stamp) -> Self {
        let tables = Compiler::new(fleet.site()).build(fleet.model(), &fleet.neighbours());
        let burst = Self::frames(&stamp);
        let (counters, allowances, flows) = (Counters::new(3), Allowances::new(3), Flows::new(0));
        let connections = Connections::new(2 * fleet.count().max(stamp.flows()) as u32);
        Self {
            tables,
            counters,
            allowances,
            flows,
            connections,
            stamp,
            flags: None,
            next: 0,
            from,
            burst,
            sink: Alone::default(),
        }
    }

    /// As many frames as come in a turn.
    pub(crate) fn frames(stamp: &Stamp) -> Burst<Frame> {
        (0..BURST).map(|_| Frame::new(stamp.frame())).collect()
    }

    pub(crate) fn turn(&mut self) {
        self.turn_by(process);
    }

    /// A turn of which `work` does all but stamping.
    pub(crate) fn turn_by(
        &mut self,
        work: impl FnOnce(&mut Context<'_, Alone<Burst<Frame>>>, PortIndex, &mut Burst<Frame>),
    ) {
        let len = self.stamp.frame().len();
        for frame in &mut self.burst {
            // Undo the encapsulation, or the decapsulation, of the turn before.
            let now = frame.data().len();
            if now > len {
                frame.trim_front(now - len);
            } else if now < len {
                frame.prepend(len - now);
            }
            self.next = self.stamp.write(frame.data_mut(), self.next);
            if let Some(flags) = self.flags {
                self.stamp.write_flags(frame.data_mut(), flags);
            }
        }
        let mut ctx = Context {
            tables: &self.tables,
            counters: &self.counters,
            now: Duration::ZERO,
            allowances: &mut self.allowances,
            flows: &mut self.flows,
            connections: &mut self.connections,
            sink: &mut self.sink,
        };
        work(&mut ctx, self.from, &mut self.burst);
        std::mem::swap(&mut self.burst, &mut self.sink.0);
        assert_eq!(self.burst.len(), BURST, "a packet was dropped");
    }
}
