//! What the processor is and how its clock runs: set by the firmware, or by who runs this virtual machine.

use super::{Finding, Level, Patient};

pub(super) fn examine(patient: &Patient<'_>) -> Vec<Finding> {
    let machine = patient.machine;
    let Some(flags) = machine.field("/proc/cpuinfo", "flags") else {
        let why = "whether the processor is new enough, and its time-stamp counter steady, is not known";
        return vec![Finding::note("processor", "/proc/cpuinfo has no flags", why)];
    };
    let has = |flag: &str| flags.split_whitespace().any(|one| one == flag);
    let mut findings = Vec::new();
    let missing: Vec<_> = ["avx2", "bmi2", "aes"].into_iter().filter(|flag| !has(flag)).collect();
    findings.push(if missing.is_empty() {
        Finding::ok("processor", "has the instructions that Warren is built for")
    } else {
        Finding::error(
            "processor",
            format!("has no {}", missing.join(", ")),
            "Warren is built for Haswell's instructions and stops at the first that is missing",
            "use a processor of 2013 or later; in a virtual machine, -cpu host",
        )
    });
    findings.push(if has("constant_tsc") && has("nonstop_tsc") {
        Finding::ok("clock", "the time-stamp counter is steady")
    } else {
        Finding::warning(
            "clock",
            "the time-stamp counter stops or changes its pace",
            "workers tell the time by it",
            "in a virtual machine, -cpu host,+invtsc; on bare metal, switch deep C-states off in the firmware",
        )
    });
    findings.extend(patient.workers().iter().filter_map(|&cpu| governor(patient, cpu)));
    if findings.iter().all(|finding| finding.subject != GOVERNOR) && !patient.workers().is_empty() {
        findings.push(match machine.of_cpu(0, SCALING) {
            None => Finding::note(
                GOVERNOR,
                "the kernel does not choose frequencies here",
                "firmware or hypervisor do: choose their profile for performance",
            ),
            Some(_) => Finding::ok(GOVERNOR, "performance on the workers' CPUs"),
        });
    }
    findings
}

const GOVERNOR: &str = "frequency governor";
const SCALING: &str = "cpufreq/scaling_governor";

fn governor(patient: &Patient<'_>, cpu: usize) -> Option<Finding> {
    let governor = patient.machine.of_cpu(cpu, SCALING).filter(|governor| governor != "performance")?;
    let finding = Finding::warning(
        GOVERNOR,
        format!("`{governor}` on CPU {cpu}"),
        "a CPU that has slowed down drops the first packets of a burst",
        format!("echo performance > /sys/devices/system/cpu/cpu{cpu}/{SCALING}"),
    );
    let level =
        if patient.node.as_ref().is_some_and(super::Node::sleeps) { Level::Note } else { finding.level };
    Some(finding.at(level))
}
