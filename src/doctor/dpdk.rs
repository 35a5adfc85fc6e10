//! The DPDK that this program is linked to.

use super::{Finding, Patient};

const SUBJECT: &str = "DPDK";

#[cfg(feature = "dpdk")]
pub(super) fn examine(_: &Patient<'_>) -> Vec<Finding> {
    vec![Finding::ok(SUBJECT, format!("linked to {}", crate::dpdk::version()))]
}

#[cfg(not(feature = "dpdk"))]
pub(super) fn examine(_: &Patient<'_>) -> Vec<Finding> {
    let why = "this program has neither `warren run` nor `warren bench`";
    vec![Finding::note(SUBJECT, "built without it", why).with_fix("cargo build --release")]
}
