//! Processors.

use std::path::Path;

use super::Machine;

const CPUS: &str = "/sys/devices/system/cpu";

/// The numbers of a list such as `0-3,8`; what is no number is left out.
pub fn list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// The list of numbers, as the kernel writes and reads it: `0-3,8`.
pub fn ranges(numbers: &[usize]) -> String {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let parts = sorted.chunk_by(|one, next| one + 1 == *next).filter_map(|run| {
        let (first, last) = (run.first()?, run.last()?);
        Some(if first == last { first.to_string() } else { format!("{first}-{last}") })
    });
    parts.collect::<Vec<_>>().join(",")
}

impl Machine {
    fn cpus(&self, name: &str) -> Vec<usize> {
        self.text(Path::new(CPUS).join(name)).map(|text| list(&text)).unwrap_or_default()
    }

    /// A file of a CPU, such as `cpufreq/scaling_governor`.
    pub fn of_cpu(&self, cpu: usize, name: &str) -> Option<String> {
        self.text(format!("{CPUS}/cpu{cpu}/{name}"))
    }

    /// The CPUs that run.
    pub fn online(&self) -> Vec<usize> {
        self.cpus("online")
    }

    /// Those that the kernel starts nothing on by itself (`isolcpus`).
    pub fn isolated(&self) -> Vec<usize> {
        self.cpus("isolated")
    }

    /// Those that have no timer tick while one thread runs on them (`nohz_full`).
    pub fn tickless(&self) -> Vec<usize> {
        self.cpus("nohz_full")
    }

    /// Those that this process runs on unless it asks for others.
    pub fn affinity(&self) -> Vec<usize> {
        self.field("/proc/self/status", "Cpus_allowed_list").map(|text| list(&text)).unwrap_or_default()
    }

    /// Those that this process may ask for: the CPUs of its cgroup, or of the nearest one above it that says; all that run where
    /// none does. Isolated ones are among them, which are not in its affinity.
    pub fn permitted(&self) -> Vec<usize> {
        let groups = self.text("/proc/self/cgroup").unwrap_or_default();
        let group = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        let folder = Path::new("/sys/fs/cgroup").join(group);
        let said = folder
            .ancestors()
            .take_while(|folder| folder.starts_with("/sys/fs/cgroup"))
            .find_map(|folder| self.text(folder.join("cpuset.cpus.effective")));
        said.map_or_else(|| self.online(), |text| list(&text))
    }

    /// The CPUs of the same core, itself included.
    pub fn siblings(&self, cpu: usize) -> Vec<usize> {
        self.of_cpu(cpu, "topology/thread_siblings_list").map_or_else(|| vec![cpu], |text| list(&text))
    }

    /// The NUMA nodes that have memory or CPUs.
    pub fn nodes(&self) -> Vec<usize> {
        self.text("/sys/devices/system/node/online").map_or_else(|| vec![0], |text| list(&text))
    }

    /// The CPUs of a NUMA node.
    pub fn cpus_of_node(&self, node: usize) -> Vec<usize> {
        let text = self.text(format!("/sys/devices/system/node/node{node}/cpulist"));
        text.map(|text| list(&text)).unwrap_or_default()
    }

    /// The NUMA node of a CPU.
    pub fn node_of_cpu(&self, cpu: usize) -> Option<usize> {
        self.nodes().into_iter().find(|&node| self.cpus_of_node(node).contains(&cpu))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_as_the_kernel_does() {
        assert_eq!(list("0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!(list(""), [0; 0]);
        assert_eq!(list("(null)"), [0; 0]);
        assert_eq!(ranges(&[8, 0, 1, 2, 3]), "0-3,8");
        assert_eq!(ranges(&[]), "");
    }
}
