//! `warren doctor`: what is wrong with this machine for a node, and the command that mends it.
//!
//! Each subject has a file, which looks at a [`Machine`] and says [`Finding`]s. Nothing is taken from the kernel or from a running
//! daemon, nothing is changed, and no right is needed: what can't be read is a note that says so.

mod bios;
mod cpus;
mod devices;
mod dpdk;
mod finding;
mod hugepages;
mod iommu;
mod numa;
mod rights;
mod vm;

use std::{
    io::{self, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
};

use serde_json::json;

pub use finding::{Finding, Level};

use crate::{
    machine::Machine,
    node::{
        config::{HostConfig, PortConfig},
        cores,
        memory::Buffers,
    },
};

/// What to look at.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// A host file: look at what it needs.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A machine, and what is asked of it.
struct Patient<'a> {
    machine: &'a Machine,
    /// What the host file says, if there is one and it is right.
    node: Option<Node<'a>>,
}

/// A node on the machine.
struct Node<'a> {
    config: &'a HostConfig,
    /// The CPUs of its workers.
    cores: cores::Cores,
    buffers: Buffers,
    /// Whether its daemon runs, with hugepages and devices of its own.
    running: bool,
}

impl<'a> Node<'a> {
    fn new(machine: &Machine, config: &'a HostConfig) -> Self {
        let cores = cores::choose(machine, config);
        let buffers = Buffers::of(config, cores.cpus.len());
        let running = UnixStream::connect(machine.path(&config.control)).is_ok();
        Self { config, cores, buffers, running }
    }

    /// MiB that must be free in hugepages before it starts.
    fn mib(&self) -> u64 {
        self.config.eal.memory.unwrap_or_else(|| self.buffers.mib()).into()
    }
}

impl Patient<'_> {
    /// The ports of the host file.
    fn ports(&self) -> impl Iterator<Item = &PortConfig> {
        self.node.iter().flat_map(|node| &node.config.ports)
    }

    /// The CPUs that run workers, if it is known that some will.
    fn workers(&self) -> &[usize] {
        self.node.as_ref().map_or(&[], |node| &node.cores.cpus)
    }
}

/// All that there is to say of a machine, and of what a host file asks of it.
pub fn examine(machine: &Machine, config: Option<&HostConfig>) -> Vec<Finding> {
    let patient = Patient { machine, node: config.map(|config| Node::new(machine, config)) };
    let subjects = [
        dpdk::examine,
        bios::examine,
        hugepages::examine,
        cpus::examine,
        numa::examine,
        iommu::examine,
        devices::examine,
        rights::examine,
        vm::examine,
    ];
    subjects.iter().flat_map(|subject| subject(&patient)).collect()
}

/// Looks at this machine, and prints what is to be said.
///
/// # Errors
///
/// How many warnings and errors there are, if any; or if it can't be printed.
pub fn run(options: &Options) -> Result<(), String> {
    let config = options.config.as_deref().map(HostConfig::read).transpose();
    let mut findings = Vec::new();
    let config = config.unwrap_or_else(|error| {
        let fix = "correct the host file; docs/configuration.md has all keys";
        findings.push(Finding::error(
            "host file",
            error.to_string(),
            "warren run does not start with it",
            fix,
        ));
        None
    });
    for warning in config.iter().flat_map(HostConfig::warnings) {
        findings.push(Finding::warning(
            "host file",
            warning,
            "packets are cut or lost",
            "correct the port's mtu",
        ));
    }
    findings.extend(examine(&Machine::here(), config.as_ref()));
    let summary = summary(&findings);
    let text = if options.json {
        json!({ "summary": summary, "findings": findings }).to_string() + "\n"
    } else {
        findings.iter().map(Finding::to_string).collect()
    };
    io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    if findings.iter().any(|finding| finding.level >= Level::Warning) { Err(summary) } else { Ok(()) }
}

/// How many findings of each level there are.
fn summary(findings: &[Finding]) -> String {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    format!("{errors} errors, {warnings} warnings, {} notes", count(Level::Note))
}

#[cfg(test)]
mod tests;
