//! Hugepages: enough of them, on the right NUMA nodes.

use std::collections::BTreeSet;

use super::{Finding, Level, Node, Patient};
use crate::machine::{
    Machine,
    hugepages::{Pages, argued, free_mib, is_option},
};

const SUBJECT: &str = "hugepages";

pub(super) fn examine(patient: &Patient<'_>) -> Vec<Finding> {
    let pages = patient.machine.hugepages();
    if pages.is_empty() {
        return vec![Finding::note(
            SUBJECT,
            "/sys/kernel/mm/hugepages can't be read, or this kernel has none",
            "packet buffers are in ordinary pages then, and every packet costs more",
        )];
    }
    match &patient.node {
        None => vec![any(&pages)],
        Some(node) if argued(&node.config.eal.args) => vec![as_argued(patient.machine, node)],
        Some(node) => enough(patient.machine, node, &pages),
    }
}

/// Without a host file it is not known how many are needed.
fn any(pages: &[Pages]) -> Finding {
    match free_mib(pages) {
        0 => Finding::warning(
            SUBJECT,
            format!("none is free ({})", shown(pages)),
            "packet buffers are in ordinary pages then, and every packet costs more",
            reserve(pages, 2048),
        ),
        free => Finding::ok(SUBJECT, format!("{free} MiB free ({})", shown(pages))),
    }
}

/// The host file's arguments of the EAL say what is used.
fn as_argued(machine: &Machine, node: &Node<'_>) -> Finding {
    let args = &node.config.eal.args;
    let has = |option: &str| args.iter().any(|arg| is_option(arg, option));
    let mounted = machine.text("/proc/mounts").unwrap_or_default().contains(" hugetlbfs ");
    if has("--no-huge") {
        return Finding::note(SUBJECT, "eal.args has --no-huge", "every packet costs more in ordinary pages")
            .with_fix(
                "leave --no-huge and -m out of eal.args: Warren then uses hugepages where they are free",
            );
    }
    if !has("--in-memory") && !mounted {
        return Finding::error(
            SUBJECT,
            "no hugetlbfs is mounted, and eal.args has no --in-memory",
            "the EAL makes files there for each page",
            "mount -t hugetlbfs none /dev/hugepages",
        );
    }
    Finding::note(
        SUBJECT,
        format!("eal.args decides: {}", args.join(" ")),
        "Warren hands them on as they are",
    )
}

/// As many as the node needs before it starts, and as many on each NUMA node as the pool there takes.
fn enough(machine: &Machine, node: &Node<'_>, pages: &[Pages]) -> Vec<Finding> {
    let (free, needed) = (free_mib(pages), node.mib());
    // A daemon that was started without hugepages has none of them.
    if node.running && pages.iter().any(|pages| pages.free < pages.total) {
        let found = format!("{free} MiB free beside those of the running daemon ({})", shown(pages));
        return vec![Finding::ok(SUBJECT, found)];
    }
    if free < needed {
        return vec![Finding::warning(
            SUBJECT,
            format!("{free} MiB free, {needed} needed ({})", shown(pages)),
            "the node runs on ordinary pages then: every packet costs more, and cards work only behind an IOMMU",
            reserve(pages, needed - free),
        )];
    }
    let mut findings =
        vec![Finding::ok(SUBJECT, format!("{free} MiB free, {needed} needed ({})", shown(pages)))];
    let on: BTreeSet<usize> =
        node.config.ports.iter().filter_map(|port| machine.node_of_device(&port.device)).collect();
    findings.extend(on.into_iter().filter_map(|numa| {
        let pages = machine.hugepages_of(numa);
        let (free, needed) = (free_mib(&pages), u64::from(node.buffers.mib()));
        (free < needed).then(|| {
            Finding::warning(
                SUBJECT,
                format!("{free} MiB free on NUMA node {numa}, where devices are; {needed} needed"),
                "their buffers come from the other node, or the node does not start",
                reserve_in(&format!("/sys/devices/system/node/node{numa}/hugepages"), &pages, needed - free),
            )
            .at(if pages.is_empty() { Level::Note } else { Level::Warning })
        })
    }));
    findings
}

fn shown(pages: &[Pages]) -> String {
    let size = |pages: &Pages| format!("{} of {} pages of {} KiB free", pages.free, pages.total, pages.kib);
    pages.iter().map(size).collect::<Vec<_>>().join(", ")
}

/// The command that makes so many MiB more, in pages of the smallest size, which a running kernel finds the easiest.
fn reserve(pages: &[Pages], mib: u64) -> String {
    reserve_in("/sys/kernel/mm/hugepages", pages, mib)
}

fn reserve_in(folder: &str, pages: &[Pages], mib: u64) -> String {
    let Pages { kib, total, .. } = pages.first().copied().unwrap_or(Pages { kib: 2048, total: 0, free: 0 });
    let wanted = total + (mib * 1024).div_ceil(kib.max(1));
    format!(
        "echo {wanted} > {folder}/hugepages-{kib}kB/nr_hugepages\nat each boot: hugepagesz={kib}K hugepages={wanted} on the kernel's command line"
    )
}
