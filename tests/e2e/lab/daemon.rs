//! A running node.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Map, Value};

use super::{Done, netns::Netns, run, warren};

/// `warren run`, stopped when dropped. If its test fails, it says what it logged and counted.
pub struct Daemon {
    child: Child,
    /// Its control socket.
    pub socket: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Starts it with the host file of a folder, in a namespace or in the test's own, and waits until it answers.
    #[track_caller]
    pub fn start(node: Option<&Netns>, folder: &Path) -> Self {
        let mut daemon = Self::launch(node, folder);
        let deadline = Instant::now() + Duration::from_secs(30);
        while warren(&["show", "ports", "--socket", daemon.socket.to_str().unwrap()]).code != Some(0) {
            let ended = daemon.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {ended:?}");
            assert!(Instant::now() < deadline, "it does not answer");
            thread::sleep(Duration::from_millis(20));
        }
        daemon
    }

    /// Starts it.
    pub fn launch(node: Option<&Netns>, folder: &Path) -> Self {
        let program = env!("CARGO_BIN_EXE_warren");
        let log = folder.join("log");
        let mut command = node.map_or_else(|| Command::new(program), |node| node.command(program));
        command.args(["run", "--config"]).arg(folder.join("host.toml"));
        // Several nodes of one name run here at once; EAL keeps its files there.
        command.env("RUNTIME_DIRECTORY", folder);
        let output = File::create(&log).unwrap();
        command.stdout(output.try_clone().unwrap()).stderr(output);
        let child = command.spawn().unwrap();
        Self { child, socket: folder.join("warren.sock"), log }
    }

    fn socket(&self) -> &str {
        self.socket.to_str().unwrap()
    }

    /// The rows of `warren show`.
    #[track_caller]
    pub fn show(&self, what: &str) -> Vec<Map<String, Value>> {
        let text = warren(&["show", what, "--json", "--socket", self.socket()]).ok();
        serde_json::from_str(&text).unwrap()
    }

    /// A cell of `warren show`: of the row whose `key` is `value`, the number in `column`; 0 without such a row.
    #[track_caller]
    pub fn count(&self, what: &str, rows: &[(&str, &str)], column: &str) -> u64 {
        let of = |row: &&Map<String, Value>| rows.iter().all(|(key, value)| row[*key] == **value);
        self.show(what).iter().filter(of).filter_map(|row| row[column].as_u64()).sum()
    }

    /// How many packets from a port were dropped for a reason.
    #[track_caller]
    pub fn drops(&self, port: &str, reason: &str) -> u64 {
        self.count("drops", &[("port", port), ("reason", reason)], "packets")
    }

    /// `warren apply`.
    pub fn apply(&self, state: &Path) -> Done {
        warren(&["apply", state.to_str().unwrap(), "--socket", self.socket()])
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        run(Command::new("kill").args(["-s", name, &self.child.id().to_string()])).ok();
    }

    /// Ends it with a signal.
    #[track_caller]
    pub fn stop(mut self, signal: &str) -> ExitStatus {
        self.signal(signal);
        self.wait()
    }

    /// Waits until it ends.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            for what in ["ports", "stats", "drops", "hosts", "enis", "workers"] {
                let shown = warren(&["show", what, "--socket", self.socket()]);
                eprintln!("--- {what}\n{}{}", shown.out, shown.err);
            }
            eprintln!("--- log\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
