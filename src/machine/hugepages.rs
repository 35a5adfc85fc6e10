//! Hugepages.

use super::Machine;

const SIZES: &str = "/sys/kernel/mm/hugepages";

/// The hugepages of one size, of the machine or of a NUMA node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages {
    /// The size, in KiB.
    pub kib: u64,
    /// How many there are.
    pub total: u64,
    /// How many of them nobody uses.
    pub free: u64,
}

/// MiB in those that are free.
pub fn free_mib(pages: &[Pages]) -> u64 {
    pages.iter().map(|pages| pages.kib.saturating_mul(pages.free)).sum::<u64>() / 1024
}

/// Whether arguments of the EAL say by themselves what memory it takes, so that nothing is decided for it.
pub fn argued(args: &[String]) -> bool {
    const DECIDED: [&str; 5] = ["--no-huge", "--huge-dir", "--huge-unlink", "--legacy-mem", "--socket-mem"];
    args.iter().any(|arg| DECIDED.iter().any(|option| is_option(arg, option)))
}

/// Whether `arg` is the long option `option`, alone or as `option=value`.
pub fn is_option(arg: &str, option: &str) -> bool {
    arg.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

impl Machine {
    /// The machine's hugepages, the smallest size first.
    pub fn hugepages(&self) -> Vec<Pages> {
        self.hugepages_in(SIZES)
    }

    /// Those of a NUMA node.
    pub fn hugepages_of(&self, node: usize) -> Vec<Pages> {
        self.hugepages_in(&format!("/sys/devices/system/node/node{node}/hugepages"))
    }

    fn hugepages_in(&self, folder: &str) -> Vec<Pages> {
        let size = |name: &String| {
            let kib = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let count = |file: &str| self.number(format!("{folder}/{name}/{file}"));
            Some(Pages { kib, total: count("nr_hugepages")?, free: count("free_hugepages")? })
        };
        let mut sizes: Vec<_> = self.names(folder).iter().filter_map(size).collect();
        sizes.sort_by_key(|pages| pages.kib);
        sizes
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn free_pages_of_all_sizes_count() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("sys/kernel/mm/hugepages");
        for (name, free) in [("hugepages-2048kB", "3\n"), ("hugepages-1048576kB", "1\n"), ("other", "9")] {
            fs::create_dir_all(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("nr_hugepages"), "9").unwrap();
            fs::write(folder.join(name).join("free_hugepages"), free).unwrap();
        }
        assert_eq!(free_mib(&Machine::at(root.path()).hugepages()), 1024 + 6);
        assert_eq!(free_mib(&Machine::at(root.path().join("absent")).hugepages()), 0);
    }
}
