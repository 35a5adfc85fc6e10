//! What arrives at an interface, as tcpdump sees it.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Stdio},
};

use super::{netns::Netns, tool, wait_for};

/// A tcpdump in the background, ended when dropped.
pub struct Listener {
    tcpdump: Child,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Listener {
    /// Starts one, of what comes in at an interface and passes a filter.
    #[track_caller]
    pub fn start(namespace: &Netns, interface: &str, filter: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (log, errors) = (folder.path().join("out"), folder.path().join("err"));
        let mut command = namespace.command(tool("tcpdump", "tcpdump"));
        command.args(["-i", interface, "-Q", "in", "-n", "-l", "-tt", "--immediate-mode"]);
        command.args(filter.split(' ')).stdin(Stdio::null());
        command.stdout(File::create(&log).unwrap()).stderr(File::create(&errors).unwrap());
        let tcpdump = command.spawn().unwrap();
        wait_for("tcpdump", || fs::read_to_string(&errors).unwrap().contains("listening on"));
        Self { tcpdump, log, _folder: folder }
    }

    /// A line for each packet; it starts with the time in seconds since 1970.
    pub fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.log).unwrap().lines().map(str::to_owned).collect()
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.lines().len()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}
