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

/// `Type=notify`: systemd hears when the node runs, and when it stops. The host file names no CPUs: the daemon chooses.
#[cfg(feature = "dpdk")]
#[test]
fn it_hears_when_a_node_runs_and_stops() {
    use std::{os::unix::net::UnixDatagram, process::Stdio, time::Duration};

    assert_eq!(values("Type"), ["notify"]);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let text = format!(
        "host = \"host-a\"\nstate = \"{}/examples/two-hosts.state.yaml\"\nworkers.idle = \"sleep\"\n\
         eal.args = [\"--no-huge\", \"--no-shconf\", \"-m\", \"400\", \"--no-pci\"]\ncontrol.socket = \"{}\"\n\
         port = [{{ name = \"vm0\", role = \"instance\", device = \"net_null0\" }}, {{ name = \"vm1\", role = \"instance\", \
         device = \"net_null1\" }}, {{ name = \"uplink\", role = \"uplink\", device = \"net_null2\", address = \"192.0.2.1/24\" }}]\n",
        env!("CARGO_MANIFEST_DIR"),
        file("control.sock").display(),
    );
    fs::write(file("host.toml"), text).unwrap();
    let systemd = UnixDatagram::bind(file("notify")).unwrap();
    systemd.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut node = Command::new(WARREN)
        .args(["run", "--config", file("host.toml").to_str().unwrap()])
        .env("NOTIFY_SOCKET", file("notify"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = [0; 64];
    let hear = |told: &mut [u8]| {
        let length = systemd.recv(told).map_err(|error| error.to_string())?;
        Ok::<_, String>(String::from_utf8_lossy(&told[..length]).into_owned())
    };
    let ready = hear(&mut told);
    Command::new("kill").arg(node.id().to_string()).status().unwrap();
    let stopping = ready.is_ok().then(|| hear(&mut told));
    let status = node.wait().unwrap();
    let mut log = String::new();
    std::io::Read::read_to_string(&mut node.stderr.take().unwrap(), &mut log).unwrap();
    assert_eq!(ready.as_deref(), Ok("READY=1"), "{log}");
    assert_eq!(stopping, Some(Ok("STOPPING=1".into())), "{log}");
    assert!(status.success() && log.contains("CPUs of the workers: "), "{log}");
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
