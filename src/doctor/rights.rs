//! What this process may do: capabilities and limits. The systemd unit gives the daemon its own.

use super::{Finding, Node, Patient};
use crate::machine::{Machine, pci_address};

/// Bits of `CapEff` (`linux/capability.h`).
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const IPC_LOCK: u32 = 14;
const DAC_OVERRIDE: u32 = 1;

/// What the process may do.
pub(super) struct Rights {
    capabilities: u64,
    user: u32,
    groups: Vec<u32>,
}

impl Rights {
    /// Those of this process.
    pub(super) fn of(machine: &Machine) -> Self {
        let field = |name: &str| machine.field("/proc/self/status", name).unwrap_or_default();
        // The real, effective, saved and file system's ones.
        let effective = |name: &str| field(name).split_whitespace().nth(1).and_then(|id| id.parse().ok());
        let groups = field("Groups");
        let groups = groups.split_whitespace().filter_map(|group| group.parse().ok());
        Self {
            capabilities: u64::from_str_radix(&field("CapEff"), 16).unwrap_or(0),
            user: effective("Uid").unwrap_or(u32::MAX),
            groups: groups.chain(effective("Gid")).collect(),
        }
    }

    fn has(&self, capability: u32) -> bool {
        self.capabilities >> capability & 1 == 1
    }

    /// Whether it may write to a file with this owner, group and mode.
    pub(super) fn may_write(&self, user: u32, group: u32, mode: u32) -> bool {
        self.has(DAC_OVERRIDE)
            || mode & 0o002 != 0
            || self.user == user && mode & 0o200 != 0
            || self.groups.contains(&group) && mode & 0o020 != 0
    }
}

pub(super) fn examine(patient: &Patient<'_>) -> Vec<Finding> {
    let Some(node) = &patient.node else { return Vec::new() };
    let rights = Rights::of(patient.machine);
    let mut findings = capabilities(&rights, node);
    findings.extend(memory_lock(patient.machine, &rights, node));
    findings
}

/// The capabilities that the ports' devices need.
fn capabilities(rights: &Rights, node: &Node<'_>) -> Vec<Finding> {
    const SUBJECT: &str = "capabilities";
    let needed = [
        (NET_ADMIN, "CAP_NET_ADMIN", "net_tap", "makes interfaces"),
        (NET_RAW, "CAP_NET_RAW", "net_af_packet", "opens packet sockets"),
        (NET_ADMIN, "CAP_NET_ADMIN", "net_af_xdp", "loads a program into an interface"),
    ];
    let missing = needed.into_iter().filter_map(|(bit, capability, driver, does)| {
        let port = node.config.ports.iter().find(|port| port.device.starts_with(driver))?;
        (!rights.has(bit)).then(|| {
            Finding::error(
                SUBJECT,
                format!("this process has no {capability}"),
                format!("{driver} of port `{}` {does}", port.name),
                format!("run as root, or in a unit: AmbientCapabilities={capability}"),
            )
        })
    });
    let missing: Vec<_> = missing.collect();
    if missing.is_empty() { vec![Finding::ok(SUBJECT, "what the ports' devices need")] } else { missing }
}

/// Whether memory for DMA can be locked.
fn memory_lock(machine: &Machine, rights: &Rights, node: &Node<'_>) -> Option<Finding> {
    const SUBJECT: &str = "locked memory";
    node.config.ports.iter().find(|port| pci_address(&port.device).is_some())?;
    let limits = machine.text("/proc/self/limits").unwrap_or_default();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"));
    let limit = limit.and_then(|line| line.split_whitespace().next());
    let needed = node.mib() << 20;
    Some(match limit {
        None => Finding::note(SUBJECT, "/proc/self/limits can't be read", "cards need theirs locked"),
        Some("unlimited") => Finding::ok(SUBJECT, "no limit"),
        Some(_) if rights.has(IPC_LOCK) => Finding::ok(SUBJECT, "CAP_IPC_LOCK: no limit"),
        Some(bytes) if bytes.parse().unwrap_or(0) >= needed => {
            Finding::ok(SUBJECT, format!("{bytes} bytes, at least the {needed} of the buffers"))
        }
        Some(bytes) => Finding::warning(
            SUBJECT,
            format!("at most {bytes} bytes; the buffers have {needed}"),
            "vfio locks what a card reads and writes: the port does not open",
            "LimitMEMLOCK=infinity in the unit; ulimit -l unlimited as root, or \"USER - memlock unlimited\" in /etc/security/limits.d",
        ),
    })
}
