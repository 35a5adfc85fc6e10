//! `warren doctor` on the machine that the tests run on, whatever it is.

use std::{fs, process::Command};

/// What it prints and its exit code.
fn doctor(arguments: &[&str]) -> (String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_warren")).arg("doctor").args(arguments).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

#[test]
fn the_exit_code_says_whether_there_is_something_to_mend() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("host.toml");
    let text = "host = \"h\"\nstate = \"s\"\n[[port]]\nname = \"vm0\"\nrole = \"instance\"\ndevice = \"net_null0\"\n";
    fs::write(&file, text).unwrap();
    for arguments in [vec!["--json"], vec!["--json", "--config", file.to_str().unwrap()]] {
        let (text, code) = doctor(&arguments);
        let json: serde_json::Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let findings = json["findings"].as_array().unwrap();
        assert!(findings.len() > 5, "{text}");
        let bad = findings
            .iter()
            .filter(|finding| ["warning", "error"].iter().any(|level| finding["level"] == *level));
        let bad: Vec<_> = bad.collect();
        assert_eq!(code, i32::from(!bad.is_empty()), "{text}");
        for finding in bad {
            assert!(finding["why"].is_string() && finding["fix"].is_string(), "{finding}");
        }
    }
}

#[test]
fn a_wrong_host_file_is_a_finding_and_the_machine_is_looked_at_all_the_same() {
    let (text, code) = doctor(&["--config", "/nonexistent/host.toml"]);
    assert_eq!(code, 1);
    assert!(text.starts_with("error    host file: /nonexistent/host.toml: "), "{text}");
    assert!(text.contains("workers' CPUs") && text.contains("swap"), "{text}");
}
