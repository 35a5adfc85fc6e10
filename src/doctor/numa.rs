//! Whether devices and workers are on the same NUMA node.

use super::{Finding, Patient};
use crate::machine::{pci_address, ranges};

const SUBJECT: &str = "NUMA";

pub(super) fn examine(patient: &Patient<'_>) -> Vec<Finding> {
    let machine = patient.machine;
    let nodes = machine.nodes();
    if nodes.len() < 2 {
        return vec![Finding::ok(SUBJECT, "one node")];
    }
    let mut findings = Vec::new();
    if machine.number::<u32>("/proc/sys/kernel/numa_balancing").unwrap_or(0) != 0 {
        findings.push(Finding::warning(
            SUBJECT,
            "the kernel moves memory between nodes by itself",
            "it takes pages away for a moment to see who uses them, which stops workers",
            "sysctl -w kernel.numa_balancing=0",
        ));
    }
    for port in patient.ports() {
        let device = &port.device;
        let Some(node) = machine.node_of_device(device) else {
            findings.extend(pci_address(device).map(|_| {
                let found = format!("port `{}`: the node of {device} is not known", port.name);
                Finding::note(SUBJECT, found, "a worker on another node has longer ways to its buffers")
            }));
            continue;
        };
        let (near, cores) = (machine.cpus_of_node(node), patient.workers());
        let far: Vec<_> = cores.iter().copied().filter(|cpu| !near.contains(cpu)).collect();
        findings.push(if far.is_empty() {
            Finding::ok(SUBJECT, format!("port `{}` is on node {node}, as the workers are", port.name))
        } else {
            Finding::warning(
                SUBJECT,
                format!(
                    "port `{}` ({device}) is on node {node}, workers on CPUs {} are not",
                    port.name,
                    ranges(&far)
                ),
                "each access to a packet or a queue crosses the link between the sockets",
                format!("choose workers.cores of {}", ranges(&near)),
            )
        });
    }
    if findings.is_empty() {
        findings.push(Finding::ok(SUBJECT, format!("{} nodes, no device on one", nodes.len())));
    }
    findings
}
