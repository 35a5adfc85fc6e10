//! What benchmarks of the pipeline have in common.

use warren::{
    pipeline::{AtEni, AtGateway, News, Notes, Sink},
    tables::PortIndex,
};

/// The sink of a worker that is alone: all frames that it sends are given to `T`.
#[derive(Default)]
pub(crate) struct Alone<T>(pub(crate) T);

impl<T> Notes for Alone<T> {}

/// What becomes of frames that are sent.
pub(crate) trait Take<B> {
    /// One of them.
    fn take(&mut self, frame: B);
}

impl<B, T: Take<B>> Sink<B> for Alone<T> {
    #[inline]
    fn transmit(&mut self, _port: PortIndex, frame: B) {
        self.0.take(frame);
    }

    fn owns(&self, _port: PortIndex, _part: u8) -> bool {
        true
    }

    fn hand_over(&mut self, _part: u8, _at: AtEni, frame: B) {
        self.0.take(frame);
    }

    fn workers(&self) -> (usize, usize) {
        (0, 1)
    }

    fn hand_share(&mut self, _share: u8, _at: AtGateway, _frame: B) {}

    fn punt(&mut self, _port: PortIndex, frame: B) -> Result<(), B> {
        Err(frame)
    }

    fn tell(&mut self, _news: News) {}
}
