//! A node as a C program that libwarren.so makes one: built here, and told of its devices by the host file as `warren run` is.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// A program of `examples/`, built.
pub struct Plugin {
    /// Whether its nodes are DPDK's graph library's, which the EAL loads.
    graph: bool,
    program: PathBuf,
    libraries: PathBuf,
}

impl Plugin {
    /// Builds `examples/NAME.c`, and libwarren.so before.
    pub fn build(name: &str) -> Self {
        let program = folder().join(name);
        done(Command::new(root().join("ci/build-example.sh")).arg(library()).arg(name).arg(&program));
        Self { graph: name == "vpc-graph", program, libraries: library().join("lib") }
    }

    /// To run it as host number `number`, with its host file in a folder.
    pub fn command(&self, folder: &Path, number: u8) -> Command {
        let mut command = Command::new(&self.program);
        command
            // Its main thread waits for signals and runs anywhere, its worker where the daemon's would.
            .arg(format!("--lcores=0@(0,1),1@{}", number % 2))
            .args(["--no-pci", "--no-huge", "--no-shconf", "-m", "96", "--no-telemetry", "--log-level=error"])
            .arg(format!("--file-prefix=conformance-{number}"))
            .args(self.graph.then_some(["-d", "libwarren_graph.so.0"]).into_iter().flatten())
            .arg("--")
            .arg(folder.join("host.toml"))
            .env("LD_LIBRARY_PATH", &self.libraries);
        command
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// For what is built here.
fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Where `ci/build-plugin.sh` has put libwarren.so: `WARREN_PLUGIN`, if that is set, else it is built, once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        env::var_os("WARREN_PLUGIN").map_or_else(
            || {
                let built = folder().join("plugin");
                done(Command::new(root().join("ci/build-plugin.sh")).arg("--debug").arg(&built));
                built
            },
            PathBuf::from,
        )
    })
}

fn done(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&said));
}
