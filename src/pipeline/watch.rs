//! What few ENIs have: allowances, and somebody who watches. The stages ask whether an ENI is one of these
//! ([`LocalEni::watched`]), and come here if it is.

use super::{Burst, Context, Reason, Sink, limits, mirror};
use crate::{
    packet::Buffer,
    tables::{Direction, LocalEni, PortIndex},
};

/// Takes what an ENI sends past its allowances.
#[inline(never)]
pub(super) fn leave<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    burst: &mut Burst<B>,
) {
    for frame in std::mem::take(burst) {
        match limits::pass(ctx, port, eni, Direction::Egress, frame.frame_len()) {
            Ok(()) => burst.push(frame),
            Err(reason) => ctx.drop(port, reason, frame),
        }
    }
}

/// Takes what comes to an ENI past its allowances, and makes a copy of what passes if one is wanted.
///
/// # Errors
///
/// `bw_in` or `pps`.
#[inline(never)]
pub(super) fn enter<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    frame: &B,
) -> Result<(), Reason> {
    limits::pass(ctx, port, eni, Direction::Ingress, frame.frame_len())?;
    mirror::copy(ctx, port, eni, Direction::Ingress, frame);
    Ok(())
}
