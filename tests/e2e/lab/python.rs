//! Programs from PyPI, in a virtual environment of the build folder.

use std::{path::PathBuf, process::Command};

use super::{
    fetched::{once, succeed},
    tool,
};

/// A Python that has a package of PyPI, in a version such as `flowlogs-reader==5.0.1`. It is installed once.
#[track_caller]
pub fn with(requirement: &str) -> PathBuf {
    let python = "bin/python";
    let folder = once(&format!("python-{requirement}"), |folder| {
        let venv = ["-m", "venv"];
        succeed(Command::new(tool("python3", "python3-minimal python3-venv")).args(venv).arg(folder));
        succeed(Command::new(folder.join(python)).args(["-m", "pip", "install", "--quiet", requirement]));
    });
    folder.join(python)
}
