//! What the management thread does for the workers: the same for a daemon, a replay and a test.

use std::time::Duration;

use super::{manager::Manager, worker::Plan};
use crate::{packet::Buffer, pipeline::Counters};

/// The management thread between calls. `frame` makes a buffer of a frame of the node's own; `None` where there is none.
pub struct Chores<'a, B, F> {
    /// What workers leave for it, and it for them.
    pub plan: &'a Plan<B>,
    /// What it knows.
    pub manager: &'a mut Manager,
    /// Where it counts the packets that it does not answer.
    pub counters: &'a Counters,
    /// Makes buffers.
    pub frame: F,
}

impl<B: Buffer, F: FnMut(&[u8]) -> Option<B>> Chores<'_, B, F> {
    /// Sees to what workers have left: news, then packets to answer. Returns whether it sent one.
    pub fn attend(&mut self, now: Duration) -> bool {
        hear(self.plan, self.manager, now);
        let mut sent = false;
        while let Some((port, frame)) = self.plan.punted.pop() {
            match self.manager.answer(port, frame.data()) {
                Ok(Some(reply)) => sent |= send(self.plan, port, (self.frame)(&reply)),
                Ok(None) => {}
                Err(reason) => self.counters.port(port).drop(reason),
            }
        }
        sent
    }

    /// Sends what is due.
    pub fn tick(&mut self, now: Duration) {
        for (port, frame) in self.manager.tick(now) {
            send(self.plan, port, (self.frame)(&frame));
        }
    }
}

/// Takes in what workers have to tell.
pub fn hear<B>(plan: &Plan<B>, manager: &mut Manager, now: Duration) {
    while let Some(news) = plan.news.pop() {
        manager.hear(now, news);
    }
    manager.publish_outside();
}

/// Sends a frame of the node's own. Without a buffer or with the worker's inbox full it is lost: whoever asked asks again.
fn send<B>(plan: &Plan<B>, port: crate::tables::PortIndex, frame: Option<B>) -> bool {
    frame.is_some_and(|frame| plan.send(port, frame).is_ok())
}
