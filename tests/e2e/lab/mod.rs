//! What the tests build on: programs with a time limit, states, packets, captures; namespaces and daemons with DPDK.

pub mod captures;
#[cfg(feature = "dpdk")]
pub mod cloud;
#[cfg(feature = "dpdk")]
pub mod daemon;
#[cfg(feature = "dpdk")]
pub mod fetched;
#[cfg(feature = "dpdk")]
pub mod fleet;
#[cfg(feature = "dpdk")]
pub mod frr;
#[cfg(feature = "dpdk")]
pub mod gre;
#[cfg(feature = "dpdk")]
pub mod inside;
#[cfg(feature = "dpdk")]
pub mod iperf;
#[cfg(feature = "dpdk")]
pub mod listen;
#[cfg(feature = "dpdk")]
pub mod machine;
#[cfg(feature = "dpdk")]
pub mod netns;
#[cfg(feature = "dpdk")]
pub mod outside;
pub mod packets;
#[cfg(feature = "dpdk")]
pub mod python;
#[cfg(feature = "dpdk")]
pub mod setup;
pub mod state;
#[cfg(feature = "dpdk")]
pub mod stream;
#[cfg(feature = "dpdk")]
pub mod vlans;

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a program may take that doesn't wait for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// A program that has ended.
pub struct Done {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Done {
    /// Standard output, of a program that must succeed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    /// Standard error, of a program that must fail with this code.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        self.err
    }
}

/// Runs a program to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Done {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    collect(child, &format!("{command:?}"))
}

/// Waits for the end of a program.
#[track_caller]
pub fn collect(mut child: Child, name: &str) -> Done {
    let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{name}: not done after {LIMIT:?}\n{}{}", out.join().unwrap(), err.join().unwrap());
        }
        thread::sleep(Duration::from_millis(2));
    };
    Done { code: status.code(), out: out.join().unwrap(), err: err.join().unwrap() }
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The program under test.
pub fn warren(arguments: &[&str]) -> Done {
    run(Command::new(env!("CARGO_BIN_EXE_warren")).args(arguments))
}

/// A tool, or a panic that says which Debian package has it.
#[track_caller]
pub fn tool(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let mut found = folders.map(|folder| folder.join(name)).filter(|file| file.is_file());
    found.next().unwrap_or_else(|| panic!("this test needs `{name}`: apt-get install {package}"))
}

/// Looks every few milliseconds until `condition` holds.
#[track_caller]
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Writes a host file for `host-a` with the state in `state.json` and the socket `warren.sock` beside it.
pub fn host_file(folder: &Path, settings: &str, ports: &str) -> PathBuf {
    let path = folder.join("host.toml");
    let socket = folder.join("warren.sock");
    let text = format!(
        "host = \"host-a\"\nstate = \"state.json\"\n{settings}\ncontrol = {{ socket = {socket:?} }}\n\
         eal = {{ args = [\"--no-pci\", \"--in-memory\"] }}\n{ports}"
    );
    std::fs::write(&path, text).unwrap();
    path
}
