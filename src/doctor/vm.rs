//! Ordinary memory: where tables and what workers remember of flows are.

use super::{Finding, Patient};

pub(super) fn examine(patient: &Patient<'_>) -> Vec<Finding> {
    vec![transparent(patient), swap(patient)]
}

fn transparent(patient: &Patient<'_>) -> Finding {
    const SUBJECT: &str = "transparent hugepages";
    const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    let why = "tables are in ordinary pages then, and a lookup among many ENIs or flows misses the TLB";
    match patient.machine.text(SETTING) {
        None => Finding::note(SUBJECT, format!("{SETTING} can't be read"), why),
        Some(text) if text.contains("[never]") => {
            Finding::warning(SUBJECT, "never", why, format!("echo madvise > {SETTING}"))
        }
        Some(text) => {
            let chosen = text.split(['[', ']']).nth(1).unwrap_or(&text);
            Finding::ok(SUBJECT, chosen)
        }
    }
}

fn swap(patient: &Patient<'_>) -> Finding {
    const SUBJECT: &str = "swap";
    match patient.machine.text("/proc/swaps") {
        None => Finding::note(
            SUBJECT,
            "/proc/swaps can't be read",
            "a worker that waits for a disk loses packets",
        ),
        Some(text) if text.lines().count() < 2 => Finding::ok(SUBJECT, "none"),
        Some(text) => {
            let areas = text.lines().skip(1).filter_map(|line| line.split_whitespace().next());
            let found = format!("on {}", areas.collect::<Vec<_>>().join(", "));
            let why = "a worker whose tables are on disk waits for them and loses packets";
            Finding::note(SUBJECT, found, why).with_fix("MemorySwapMax=0 in the unit, or swapoff -a")
        }
    }
}
