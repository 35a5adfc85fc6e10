//! What the kernel tells of the machine in `/sys` and `/proc`: processors, hugepages, devices. All of it is read below a root, so
//! that a test can make a machine up in a folder. What is absent, and what may not be read, is `None` or nothing.

mod cpus;
mod devices;
pub mod hugepages;

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

pub use cpus::{list, ranges};
pub use devices::{interface, option, pci_address};

/// A machine.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
}

impl Machine {
    /// The one that this runs on.
    pub fn here() -> Self {
        Self::at("/")
    }

    /// The one whose files lie in a folder.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where a file of the machine is: `path` is absolute.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Whether something is there.
    pub fn has(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).exists()
    }

    /// A file's text, without white space at its ends.
    pub fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        Some(fs::read_to_string(self.path(path)).ok()?.trim().to_owned())
    }

    /// The number that is all of a file's text.
    pub fn number<T: FromStr>(&self, path: impl AsRef<Path>) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// The value behind `name` in a file of lines such as `name: value`.
    pub fn field(&self, path: impl AsRef<Path>, name: &str) -> Option<String> {
        let text = self.text(path)?;
        let value =
            |line: &str| Some(line.strip_prefix(name)?.trim_start().strip_prefix(':')?.trim().to_owned());
        text.lines().find_map(value)
    }

    /// The names in a folder, sorted.
    pub fn names(&self, folder: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The last part of where a symbolic link leads, as `vfio-pci` of a device's `driver`.
    pub fn link(&self, path: impl AsRef<Path>) -> Option<String> {
        Some(fs::read_link(self.path(path)).ok()?.file_name()?.to_str()?.to_owned())
    }
}
