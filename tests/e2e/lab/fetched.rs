//! What comes from registries, in the build folder.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The folder of that name, which is filled once. Tests of this and of other processes that want it wait until it is.
#[track_caller]
pub fn once(name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let builds = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = builds.join(name);
    let lock = File::create(builds.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let whole = folder.join("whole");
    if !whole.exists() {
        // What an interrupted test left.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fill(&folder);
        fs::write(&whole, "").unwrap();
    }
    folder
}

/// Runs a program that may take minutes.
#[track_caller]
pub fn succeed(command: &mut Command) {
    let done = command.stdin(Stdio::null()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{command:?}\n{out}{err}");
}
