//! FRR as a gateway has it, BIRD as the customer has it, and what zebra says when.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant, SystemTime},
};

use tempfile::TempDir;

use super::{inside, netns::Netns, run, tool};

/// BGP sessions come up in some seconds, more on a busy machine; a zebra dials every three.
pub const PATIENCE: Duration = Duration::from_secs(90);

pub const CONFIGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/frr");

/// Waits until `condition` holds, with the patience that BGP takes.
#[track_caller]
pub fn wait(logs: impl Fn() -> String, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}\n{}", logs());
        thread::sleep(Duration::from_millis(50));
    }
}

/// A program that is ended when dropped, with what it has started.
pub struct Program(Child);

impl Program {
    /// Starts it, as a process group; what it says is appended to a file.
    #[track_caller]
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let log = File::options().append(true).create(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.process_group(0).spawn().unwrap())
    }

    /// Waits until it ends; returns the exit code.
    pub fn wait(mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }

    fn signal(&self, signal: &str, to: &str) {
        let _ = Command::new("kill").args([signal, "--", to]).status();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        let deadline = Instant::now() + Duration::from_secs(10);
        if let Ok(None) = self.0.try_wait() {
            self.signal("-TERM", &pid);
        }
        while let Ok(None) = self.0.try_wait() {
            if Instant::now() > deadline {
                eprintln!("{pid} does not end when it is asked to");
                self.signal("-KILL", &format!("-{pid}"));
                let _ = self.0.wait();
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// FRR in a gateway's namespace, and BIRD in a customer's, with the examples of `configs/frr/`.
pub struct Routers {
    // They go before what they are in.
    frr: Option<Program>,
    _bird: Program,
    namespace: PathBuf,
    gateway: String,
    folder: TempDir,
}

impl Routers {
    /// Starts both; `config` is bgpd's.
    #[track_caller]
    pub fn start(gateway: &Netns, customer: &Netns, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let configs = Path::new(CONFIGS);
        for (config, daemon) in [("zebra.conf", "zebra"), (config, "bgpd")] {
            fs::copy(configs.join(config), folder.path().join(format!("{daemon}.conf"))).unwrap();
        }
        // FRR's daemons give up root, and read and write here.
        run(Command::new("chown").args(["-R", "frr:frr"]).arg(folder.path())).ok();
        let mut bird = customer.command(tool("bird", "bird2"));
        bird.arg("-f").arg("-c").arg(configs.join("customer-bird.conf"));
        bird.arg("-s").arg(folder.path().join("bird.ctl"));
        let bird = Program::start(&mut bird, &folder.path().join("bird.log"));
        let namespace = Path::new("/run/netns").join(&gateway.name);
        let mut routers = Self { frr: None, _bird: bird, namespace, gateway: gateway.name.clone(), folder };
        routers.start_frr();
        routers
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// The gateway's namespace, as a file.
    pub fn namespace(&self) -> PathBuf {
        self.namespace.clone()
    }

    pub fn start_frr(&mut self) {
        let zebra = Path::new("/usr/lib/frr/zebra");
        assert!(zebra.is_file(), "this test needs {}: apt-get install frr", zebra.display());
        let mut command = Command::new(Path::new(CONFIGS).join("frr-gateway"));
        command.args([&self.gateway, &self.path(""), &self.path("run")]);
        self.frr = Some(Program::start(&mut command, Path::new(&self.path("frr.log"))));
    }

    /// As when it crashes. The script ends the other, and itself.
    #[track_caller]
    pub fn kill_zebra(&mut self) {
        let pid = fs::read_to_string(self.path("run/zebra.pid")).unwrap();
        run(Command::new("kill").args(["-KILL", pid.trim()])).ok();
        let script = self.frr.take().expect("FRR is running");
        assert_eq!(script.wait(), Some(1), "{}", self.logs());
    }

    #[track_caller]
    pub fn birdc(&self, arguments: &str) -> String {
        run(Command::new(tool("birdc", "bird2"))
            .args(["-s", &self.path("bird.ctl")])
            .args(arguments.split_whitespace()))
        .ok()
    }

    /// What the daemons said, for whoever looks for what went wrong.
    pub fn logs(&self) -> String {
        let read = |name| fs::read_to_string(self.path(name)).unwrap_or_default();
        ["frr.log", "bird.log"].map(read).concat()
    }

    /// Waits until `condition` holds.
    #[track_caller]
    pub fn wait(&self, what: &str, condition: impl FnMut() -> bool) {
        wait(|| self.logs(), what, condition);
    }
}

/// When zebra said something.
pub type Said = Arc<Mutex<Vec<SystemTime>>>;

/// Stands between zebra and Warren, at two ports of a namespace, and knows when zebra said something.
pub fn relay(namespace: &Netns, from: u16, to: u16) -> Said {
    let times = Said::default();
    let said = Arc::clone(&times);
    // It ends with the test.
    drop(inside::spawn(namespace, move || {
        let listener = TcpListener::bind(("127.0.0.1", from)).unwrap();
        for zebra in listener.incoming() {
            let (Ok(zebra), Ok(warren)) = (zebra, TcpStream::connect(("127.0.0.1", to))) else { continue };
            forward(zebra, warren, &said);
        }
    }));
    times
}

fn forward(mut zebra: TcpStream, mut warren: TcpStream, said: &Mutex<Vec<SystemTime>>) {
    let (mut back, toward) = (warren.try_clone().unwrap(), zebra.try_clone().unwrap());
    // Warren says nothing, but it ends connections.
    thread::spawn(move || {
        let _ = back.read(&mut [0]);
        let _ = toward.shutdown(Shutdown::Both);
    });
    let mut bytes = vec![0; 1 << 16];
    loop {
        match zebra.read(&mut bytes) {
            Ok(0) => break,
            Ok(len) => {
                said.lock().unwrap().push(SystemTime::now());
                if warren.write_all(&bytes[..len]).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let _ = warren.shutdown(Shutdown::Both);
}
