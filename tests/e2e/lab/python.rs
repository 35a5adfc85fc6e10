//! Programs from PyPI, in a virtual environment of the build folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::tool;

/// A Python that has a package of PyPI, in a version such as `flowlogs-reader==5.0.1`. It is installed once.
#[track_caller]
pub fn with(requirement: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{requirement}"));
    let python = folder.join("bin/python");
    let installed = folder.join("installed");
    if !installed.exists() {
        // What an interrupted test left.
        let _ = fs::remove_dir_all(&folder);
        let venv = ["-m", "venv"];
        succeed(Command::new(tool("python3", "python3-minimal python3-venv")).args(venv).arg(&folder));
        succeed(Command::new(&python).args(["-m", "pip", "install", "--quiet", requirement]));
        fs::write(&installed, "").unwrap();
    }
    python
}

/// Runs a program that may take minutes.
#[track_caller]
fn succeed(command: &mut Command) {
    let done = command.stdin(Stdio::null()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{command:?}\n{out}{err}");
}
