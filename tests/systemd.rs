//! The systemd unit says what systemd and the command line understand.

use std::{fs, process::Command};

const UNIT: &str = include_str!("../configs/systemd/warren.service");
const WARREN: &str = env!("CARGO_BIN_EXE_warren");

/// The values of a key, in the order of the file.
fn values(key: &str) -> Vec<&'static str> {
    UNIT.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn systemd_finds_nothing_to_complain_of() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("warren.service");
    // It looks for the program, which nobody has installed.
    fs::write(&unit, UNIT.replace("/usr/local/bin/warren", WARREN)).unwrap();
    let Ok(verified) = Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&unit).output()
    else {
        eprintln!("systemd-analyze is not here: not verified");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    let of_it: Vec<_> = said.lines().filter(|line| line.contains("warren")).collect();
    assert!(of_it.is_empty(), "{said}");
}

/// Exit code 2 would be a command or an option that there is not; 1 is the host file that there is not.
#[cfg(feature = "dpdk")]
#[test]
fn its_command_is_one_of_the_command_line() {
    let [start] = *values("ExecStart").as_slice() else { panic!("one ExecStart") };
    let mut words = start.split_whitespace();
    assert_eq!(words.next(), Some("/usr/local/bin/warren"));
    let folder = tempfile::tempdir().unwrap();
    let words = words.map(|word| word.replace("/etc/warren", folder.path().to_str().unwrap()));
    let output = Command::new(WARREN).args(words).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What DPDK and Warren rely on: see the unit's comments.
#[test]
fn it_leaves_what_a_node_needs() {
    assert_eq!(values("ExecReload"), ["/bin/kill -HUP $MAINPID"]);
    assert_eq!(values("LimitMEMLOCK"), ["infinity"]);
    for key in
        ["PrivateDevices", "ProtectClock", "PrivateNetwork", "PrivateUsers", "DevicePolicy", "DeviceAllow"]
    {
        assert!(values(key).is_empty(), "{key}");
    }
    let kept = values("CapabilityBoundingSet").join(" ");
    for capability in ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK"] {
        assert!(kept.contains(capability), "{capability}");
    }
}
