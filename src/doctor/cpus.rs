//! The CPUs of the workers: there, alone, undisturbed.

use super::{Finding, Level, Node, Patient};
use crate::{
    machine::{Machine, ranges},
    node::config::Idle,
};

const SUBJECT: &str = "workers' CPUs";

impl Node<'_> {
    /// Whether workers leave their CPUs to others while there are no packets.
    pub(super) fn sleeps(&self) -> bool {
        self.config.workers.idle == Idle::Sleep
    }
}

pub(super) fn examine(patient: &Patient<'_>) -> Vec<Finding> {
    let machine = patient.machine;
    let Some(node) = &patient.node else {
        let (online, isolated) = (machine.online(), machine.isolated());
        let found = format!("CPUs {}, of which isolated: {}", ranges(&online), none_or(&isolated));
        return vec![Finding::note(SUBJECT, found, "give --config to see whether they suit a host file")];
    };
    let chosen = format!("{}: {}", ranges(&node.cores.cpus), node.cores.why);
    let mut findings: Vec<_> = node.cores.cpus.iter().filter_map(|&cpu| missing(machine, cpu)).collect();
    if findings.is_empty() {
        findings.push(Finding::ok(SUBJECT, chosen));
    }
    findings.extend(management(machine, node));
    findings.extend(disturbed(machine, node));
    findings.extend(siblings(machine, node));
    findings
}

fn none_or(cpus: &[usize]) -> String {
    if cpus.is_empty() { "none".into() } else { ranges(cpus) }
}

/// A worker's CPU that the machine does not have, or this process may not use.
fn missing(machine: &Machine, cpu: usize) -> Option<Finding> {
    let (online, permitted) = (machine.online(), machine.permitted());
    let error = |found: &str, cpus: &[usize], fix: &str| {
        let found = format!("CPU {cpu} {found}: {}", ranges(cpus));
        Some(Finding::error(SUBJECT, found, "the worker runs wherever the kernel puts it", fix))
    };
    if !online.contains(&cpu) {
        error("does not run; these do", &online, "name others in workers.cores, or leave it out")
    } else if !permitted.contains(&cpu) {
        let fix = "name others in workers.cores; in a unit or container, AllowedCPUs= or --cpuset-cpus";
        error("is not of this process's cgroup, which has", &permitted, fix)
    } else {
        None
    }
}

/// Whether workers leave a CPU for the management thread.
fn management(machine: &Machine, node: &Node<'_>) -> Option<Finding> {
    let affinity = machine.affinity();
    let left = affinity.iter().any(|cpu| !node.cores.cpus.contains(cpu));
    (!affinity.is_empty() && !left).then(|| {
        Finding::warning(
            SUBJECT,
            format!("workers have all CPUs that this process runs on: {}", ranges(&affinity)),
            "the management thread, which answers DHCP and updates tables, shares one with a worker",
            "leave one CPU out of workers.cores",
        )
    })
}

/// CPUs on which the kernel runs other things or its tick.
fn disturbed(machine: &Machine, node: &Node<'_>) -> Vec<Finding> {
    let online = machine.online();
    let cores: Vec<_> = node.cores.cpus.iter().copied().filter(|cpu| online.contains(cpu)).collect();
    let without = |set: &[usize]| cores.iter().copied().filter(|cpu| !set.contains(cpu)).collect::<Vec<_>>();
    let (open, ticking) = (without(&machine.isolated()), without(&machine.tickless()));
    if cores.is_empty() {
        return Vec::new();
    }
    let all = ranges(&cores);
    let fix = format!(
        "isolcpus={all} nohz_full={all} rcu_nocbs={all} on the kernel's command line (GRUB_CMDLINE_LINUX in /etc/default/grub), then update-grub and reboot"
    );
    if !open.is_empty() {
        let found = format!("not isolated: {}", ranges(&open));
        let why = "the kernel runs other programs there: packets wait, and are lost when queues overflow";
        let level = if node.sleeps() { Level::Note } else { Level::Warning };
        return vec![Finding::warning("isolated CPUs", found, why, fix).at(level)];
    }
    let mut findings = vec![Finding::ok("isolated CPUs", format!("all of the workers': {all}"))];
    if !ticking.is_empty() {
        let found = format!("the timer ticks on {}", ranges(&ticking));
        let why = "each tick costs a worker some microseconds";
        findings.push(Finding::note("isolated CPUs", found, why).with_fix(fix));
    }
    findings
}

/// Hyperthreads that share a core with a worker.
fn siblings(machine: &Machine, node: &Node<'_>) -> Vec<Finding> {
    let (cores, isolated, online) = (&node.cores.cpus, machine.isolated(), machine.online());
    let mut findings = Vec::new();
    for &cpu in cores {
        for other in
            machine.siblings(cpu).into_iter().filter(|&other| other != cpu && online.contains(&other))
        {
            let off = format!("echo 0 > /sys/devices/system/cpu/cpu{other}/online");
            if cores.contains(&other) {
                // Said once of a pair.
                findings.extend((cpu < other).then(|| {
                    Finding::warning(
                        "hyperthreads",
                        format!("workers on CPU {cpu} and {other} share a core"),
                        "two workers there do little more than one",
                        format!("name one of them in workers.cores; {off}"),
                    )
                }));
            } else if !isolated.contains(&other) {
                findings.push(
                    Finding::note(
                        "hyperthreads",
                        format!(
                            "CPU {other} shares a core with the worker on CPU {cpu}, and is not isolated"
                        ),
                        "what runs there takes from the worker's speed",
                    )
                    .with_fix(format!("add it to isolcpus=, or {off}")),
                );
            }
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("hyperthreads", "no other program shares a core with a worker"));
    }
    findings
}
