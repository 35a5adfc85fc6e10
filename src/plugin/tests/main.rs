//! `libwarren.so` as C programs see it: its header, its binary interface, and its functions without packets, also under Valgrind. What it
//! does to packets, the conformance suite shows through `examples/`.
//!
//! `WARREN_BLESS=1` writes `warren.h`, and what is kept of the present version.

mod header;
mod interface;
mod versions;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

/// The plugin's folder.
fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("src/plugin")
}

/// The repository.
fn root() -> &'static Path {
    package().ancestors().nth(2).expect("src/plugin")
}

/// A folder for what is built here.
fn built() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    output
}

/// Where `ci/build-plugin.sh` has put the library: `WARREN_PLUGIN`, if that is set, else it is built.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        env::var_os("WARREN_PLUGIN").map_or_else(
            || {
                run(Command::new(root().join("ci/build-plugin.sh"))
                    .arg("--debug")
                    .arg(built().join("plugin")));
                built().join("plugin")
            },
            PathBuf::from,
        )
    })
}

/// Compares a generated file with the committed one, or writes it.
fn compare(file: &str, text: &str) {
    let path = package().join(file);
    if env::var_os("WARREN_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    } else {
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "{file} is old: WARREN_BLESS=1 cargo test -p warren-plugin-tests");
    }
}

/// The compiler, for a program with the `warren.h` of a folder.
fn gcc(folder: &Path, program: &Path) -> Command {
    let mut gcc = Command::new("gcc");
    gcc.args(["-Wall", "-Wextra", "-Werror", "-g", "-o"]).arg(program);
    gcc.arg(format!("-I{}", folder.display()));
    gcc
}

/// A program of C without DPDK's headers, against `warren.h` only.
fn compile(source: &Path, program: &str) -> PathBuf {
    let program = built().join(program);
    run(gcc(package(), &program)
        .args(["-std=c11", "-pedantic"])
        .arg(source)
        .arg(format!("-L{}", library().join("lib").display()))
        .arg("-lwarren")
        // What libwarren.so needs of DPDK, its program has, or the system.
        .arg("-Wl,--allow-shlib-undefined"));
    program
}

/// Two hosts' files and their state, as the first test of every reader has them.
fn files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(root().join("examples/two-hosts.state.yaml"), folder.path().join("two-hosts.state.yaml"))
        .unwrap();
    let text = fs::read_to_string(root().join("examples/host-a.toml")).unwrap();
    // Small tables, as Valgrind has to look at all of them.
    let text = text.replace("cores = [1]", "cores = [1]\nconnections = 64");
    fs::write(folder.path().join("host-a.toml"), &text).unwrap();
    let other = text
        .replace("host-a", "host-b")
        .replace("192.0.2.1/", "192.0.2.2/")
        .replace("mac = \"02:fa:00:00:00:01\"", "");
    let other = other.replace("192.0.2.2\", mac", "192.0.2.1\", mac");
    fs::write(folder.path().join("no-mac.toml"), other).unwrap();
    fs::write(folder.path().join("wrong.yaml"), "Vpcs:\n- VpcId: vpc-blue\n  CidrBlock: 10.0.0.0/33\n")
        .unwrap();
    folder
}

/// Opens, applies, reads and closes in a loop, and makes every mistake. What is only "possibly lost" is Rust's handle of the main thread,
/// which lives as long, and to whose middle it points.
#[test]
fn a_c_program_opens_applies_and_closes() {
    let program = compile(&package().join("tests/api.c"), "api");
    let files = files();
    let libraries = library().join("lib");
    run(Command::new(&program).arg(files.path()).arg("5").env("LD_LIBRARY_PATH", &libraries));
    run(Command::new("valgrind")
        .args(["--leak-check=full", "--errors-for-leak-kinds=definite,indirect", "--error-exitcode=9", "-q"])
        .arg(&program)
        .arg(files.path())
        .arg("3")
        .env("LD_LIBRARY_PATH", &libraries));
}

/// C++ takes the header too.
#[test]
fn the_header_is_c_plus_plus() {
    run(Command::new("gcc")
        .args(["-x", "c++", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"])
        .arg(package().join("warren.h")));
}
