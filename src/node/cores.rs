//! Which CPUs run workers where the host file does not say.

use super::config::HostConfig;
use crate::machine::Machine;

/// The CPUs of a node's workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    /// One worker each.
    pub cpus: Vec<usize>,
    /// Where they come from.
    pub why: &'static str,
}

/// The CPUs that the host file names; else the isolated ones, of the uplinks' NUMA nodes if some are there; else one of each core
/// that this process runs on, but the first. At least one.
pub fn choose(machine: &Machine, config: &HostConfig) -> Cores {
    if !config.workers.cores.is_empty() {
        return Cores { cpus: config.workers.cores.clone(), why: "of the host file" };
    }
    let (permitted, online) = (machine.permitted(), machine.online());
    let usable = |cpu: &usize| permitted.contains(cpu) && online.contains(cpu);
    let isolated: Vec<usize> = machine.isolated().into_iter().filter(usable).collect();
    let uplinks = config.ports.iter().filter(|port| port.uplink().is_some());
    let nodes: Vec<_> = uplinks.filter_map(|port| machine.node_of_device(&port.device)).collect();
    let near = |cpu: &usize| machine.node_of_cpu(*cpu).is_some_and(|node| nodes.contains(&node));
    let local: Vec<usize> = isolated.iter().copied().filter(near).collect();
    if !local.is_empty() {
        return Cores { cpus: local, why: "isolated, on the NUMA node of the uplinks" };
    }
    if !isolated.is_empty() {
        return Cores { cpus: isolated, why: "isolated" };
    }
    let affinity = machine.affinity();
    let Some((&first, others)) = affinity.split_first() else {
        return Cores { cpus: vec![0], why: "the first" };
    };
    let mut taken = machine.siblings(first);
    let mut cpus = Vec::new();
    for &cpu in others {
        if !taken.contains(&cpu) {
            taken.extend(machine.siblings(cpu));
            cpus.push(cpu);
        }
    }
    if cpus.is_empty() {
        cpus.extend(affinity.last());
    }
    Cores { cpus, why: "one of each core that the process may use, but the first core" }
}
