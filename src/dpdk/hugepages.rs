//! The hugepages of the machine.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::machine::{
    Machine,
    hugepages::{argued, free_mib},
};

const SIZES: &str = "/sys/kernel/mm/hugepages";
const DEFAULT_SIZE_COUNT: &str = "/proc/sys/vm/nr_hugepages";

/// What memory the EAL runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HugepageMode {
    /// The machine's hugepages, of which `free_mib` MiB were free at the start.
    Hugepages {
        /// MiB in free hugepages of all sizes when the EAL started.
        free_mib: u64,
    },
    /// `memory_mib` MiB of ordinary pages, because too few hugepages were free: every packet costs more.
    OrdinaryPages {
        /// MiB that the EAL was given.
        memory_mib: u32,
        /// MiB in free hugepages of all sizes, less than was asked for.
        free_mib: u64,
    },
    /// What the caller's own EAL arguments say.
    AsArgued,
}

impl HugepageMode {
    /// Decides for a process that needs `memory_mib` MiB and has the EAL arguments `args`, and returns the arguments
    /// that make it so: EAL refuses `--in-memory` together with `--no-huge`.
    pub(super) fn choose(args: &[String], memory_mib: u32) -> (Self, Vec<String>) {
        let mut args = args.to_vec();
        if argued(&args) {
            return (Self::AsArgued, args);
        }
        let free_mib = free_mib(&Machine::here().hugepages());
        if free_mib >= u64::from(memory_mib).max(1) {
            // Without it, the pages' files stay in the file system when the process ends, and keep the pages.
            if !args.iter().any(|arg| arg == "--in-memory") {
                args.push("--in-memory".to_owned());
            }
            return (Self::Hugepages { free_mib }, args);
        }
        args.retain(|arg| arg != "--in-memory");
        // What `--in-memory` implies: no files for other processes.
        args.extend(["--no-huge".to_owned(), "--no-shconf".to_owned()]);
        if args.iter().any(|arg| arg.starts_with("-m")) {
            return (Self::AsArgued, args);
        }
        args.extend(["-m".to_owned(), memory_mib.to_string()]);
        (Self::OrdinaryPages { memory_mib, free_mib }, args)
    }
}

/// A process's turn to count the free hugepages and take its own. Two that start together would else count the same pages, and the
/// second come to too few, when it can't be started on others any more.
#[derive(Debug)]
pub(super) struct Turn {
    _lock: File,
}

impl Turn {
    /// Waits for those that had theirs before, though not for one that hangs; `None` after that, and where there are no hugepages.
    pub(super) fn take() -> Option<Self> {
        Self::take_at(Path::new(SIZES), Duration::from_secs(3))
    }

    fn take_at(folder: &Path, longest: Duration) -> Option<Self> {
        let (lock, until) = (File::open(folder).ok()?, Instant::now() + longest);
        while lock.try_lock().is_err() {
            if Instant::now() >= until {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
        Some(Self { _lock: lock })
    }
}

fn read_number(path: &Path) -> io::Result<u64> {
    fs::read_to_string(path)?.trim().parse().map_err(io::Error::other)
}

/// What [`reserve_hugepages`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HugepagesReserved {
    /// Pages of the default size that the machine had before.
    pub before: u64,
    /// Those it has now.
    pub total: u64,
    /// Those of them that are free.
    pub free: u64,
}

/// Asks the kernel for as many hugepages of the default size (2 MiB on x86-64) as it takes to have `free` of them free,
/// and says what it gave, which is less where memory is short or fragmented. Never takes pages away.
///
/// # Errors
///
/// Where the kernel has no hugepages, or more are needed and the caller may not write `/proc/sys/vm/nr_hugepages`
/// (that takes root).
pub fn reserve_hugepages(free: u64) -> io::Result<HugepagesReserved> {
    let before = read_number(Path::new(DEFAULT_SIZE_COUNT))?;
    let free_path = default_size_dir()?.join("free_hugepages");
    let missing = free.saturating_sub(read_number(&free_path)?);
    if missing > 0 {
        fs::write(DEFAULT_SIZE_COUNT, before.saturating_add(missing).to_string())?;
    }
    let total = read_number(Path::new(DEFAULT_SIZE_COUNT))?;
    Ok(HugepagesReserved { before, total, free: read_number(&free_path)? })
}

/// The directory under [`SIZES`] of the page size that [`DEFAULT_SIZE_COUNT`] counts.
fn default_size_dir() -> io::Result<PathBuf> {
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let kib = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("Hugepagesize:")?.trim().strip_suffix(" kB"))
        .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "the kernel has no hugepages"))?;
    Ok(Path::new(SIZES).join(format!("hugepages-{kib}kB")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(args: &[&str]) -> Vec<String> {
        args.iter().map(|&arg| arg.to_owned()).collect()
    }

    #[test]
    fn the_callers_choice_stays() {
        let args = strings(&["--no-huge", "-m", "100"]);
        assert_eq!(HugepageMode::choose(&args, 64), (HugepageMode::AsArgued, args));
        let args = strings(&["--huge-dir=/mnt/huge"]);
        assert_eq!(HugepageMode::choose(&args, 64), (HugepageMode::AsArgued, args));
    }

    #[test]
    fn processes_that_start_count_pages_in_turn() {
        let folder = tempfile::tempdir().unwrap();
        let take = |millis| Turn::take_at(folder.path(), Duration::from_millis(millis));
        let first = take(0).unwrap();
        assert!(take(20).is_none(), "it has not ended");
        thread::scope(|scope| {
            let second = scope.spawn(|| take(60_000));
            drop(first);
            assert!(second.join().unwrap().is_some());
        });
    }

    #[test]
    fn too_few_hugepages_mean_ordinary_ones() {
        let (mode, args) = HugepageMode::choose(&strings(&["--in-memory", "--no-pci"]), u32::MAX);
        assert!(matches!(mode, HugepageMode::OrdinaryPages { memory_mib: u32::MAX, .. }));
        assert_eq!(args, strings(&["--no-pci", "--no-huge", "--no-shconf", "-m", "4294967295"]));
    }
}
