//! `warren capture`: what it shows of a real daemon's packets, and that it leaves nothing behind.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::lab::{
    Done, captures, collect,
    daemon::Daemon,
    host_file,
    netns::{Netns, instance},
    run,
    state::{Eni, UNDERLAY, here, state, there, write},
    tool, wait_for, warren,
};

/// A node with two instances in subnet a, whose uplink leads nowhere, and an ENI on another host.
struct Setup {
    daemon: Daemon,
    guests: Vec<Netns>,
    enis: [Eni; 3],
    folder: TempDir,
    _node: Netns,
}

impl Setup {
    fn new() -> Self {
        let (node, folder) = (Netns::new("node"), TempDir::new().unwrap());
        let enis = [here('a', 10, "vm0"), here('a', 11, "vm1"), there('b', 10)];
        let mut ports = String::new();
        for (number, name) in ["vm0", "vm1"].iter().enumerate() {
            ports += &format!(
                "[[port]]\nname = \"{name}\"\nrole = \"instance\"\ndevice = \"net_tap{number},iface={name}\"\n"
            );
        }
        ports += "[[port]]\nname = \"uplink\"\nrole = \"uplink\"\ndevice = \"net_null0,no-rx=1\"\naddress = \"192.0.2.1/24\"\n\
            neighbors = [{ address = \"192.0.2.2\", mac = \"02:00:00:00:ff:02\" }]\n";
        host_file(folder.path(), "workers = { cores = [1], idle = \"sleep\" }", &ports);
        write(folder.path(), &state(&enis, UNDERLAY));
        let daemon = Daemon::start(Some(&node), folder.path());
        let guests =
            enis[..2].iter().zip(["vm0", "vm1"]).map(|(eni, port)| instance(&node, port, eni)).collect();
        Self { daemon, guests, enis, folder, _node: node }
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
        command.args(["capture", "--socket"]).arg(&self.daemon.socket).args(arguments.split(' '));
        command
    }

    /// Starts a capture, and waits until the worker serves it.
    fn start(&self, arguments: &str) -> Child {
        let mut command = self.command(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        self.serves(1);
        child
    }

    fn serves(&self, captures: u64) {
        wait_for("the worker", || self.daemon.count("workers", &[], "captures") == captures);
    }
}

/// Ends it as Ctrl-C does.
fn interrupt(child: Child) -> Done {
    run(Command::new("kill").args(["-s", "INT", &child.id().to_string()])).ok();
    collect(child, "warren capture")
}

fn comments(file: &Path) -> Vec<String> {
    captures::dissect(file, &["frame.comment"]).concat()
}

#[test]
fn a_capture_shows_packets_and_what_became_of_them() {
    let lab = Setup::new();
    let [a, b, c] = &lab.enis;
    let file = lab.folder.path().join("seen.pcapng");
    let capture = lab.start(&format!("--eni {} --filter icmp -w {}", a.id(), file.display()));
    lab.guests[0].ping("-c 1", b.v4()).all();
    lab.guests[0].ping("-c 1", c.v4()).none();
    lab.guests[0].ip("addr add 10.0.1.77/24 dev vm0");
    lab.guests[0].ip(&format!("neigh replace {} lladdr {} dev vm0", b.v4(), b.mac()));
    lab.guests[0].ping("-c 1 -I 10.0.1.77", b.v4()).none();
    let done = interrupt(capture);
    assert!(done.err.contains("4 packets captured, 0 frames lost"), "{}", done.err);
    let dropped = "in vm0 eni-a10: dropped, src_check: The source address";
    let seen = comments(&file);
    assert_eq!(
        seen[..5],
        [
            "in vm0 eni-a10: sent to vm1 eni-a11",
            "out vm1 eni-a11: from vm0 eni-a10",
            "out vm0 eni-a10: from vm1 eni-a11",
            "in vm0 eni-a10: sent to uplink",
            "out uplink: from vm0 eni-a10",
        ]
    );
    assert!(seen.len() == 6 && seen[5].starts_with(dropped), "{seen:?}");
    let fields = ["frame.interface_name", "frame.interface_description", "frame.packet_flags_direction"];
    let ports = captures::dissect(&file, &fields);
    assert_eq!(ports[0], ["vm0", "eni-a10", "0x00000001"]);
    assert_eq!(ports[4], ["uplink", "", "0x00000002"]);
    let wire = captures::dissect(&file, &["vxlan.vni", "frame.packet_id", "ip.dst"]);
    assert_eq!(wire[3][1..], [wire[4][1].clone(), c.v4().to_string()]);
    assert_eq!(wire[4][0], "4100");
    assert_eq!(wire[4][2], format!("192.0.2.2,{}", c.v4()));
    done.ok();
    // The worker is as it was.
    lab.serves(0);
}

#[test]
fn captures_end_by_themselves_or_with_their_reader() {
    let lab = Setup::new();
    let to = lab.enis[1].v4();
    let lines = lab.start("--port vm1 --direction in --filter icmp --count 3 --json");
    lab.guests[0].ping("-c 5 -i 0.05", to).all();
    let done = collect(lines, "warren capture");
    assert!(done.err.contains("3 packets captured, 0 frames lost; ended: --count reached"), "{}", done.err);
    let lines: Vec<Value> = done.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 6);
    for pair in lines.chunks(2) {
        let [before, after] = pair else { unreachable!() };
        assert_eq!(
            (&before["direction"], &before["verdict"], &before["to"]),
            (&"in".into(), &"sent".into(), &"vm0".into())
        );
        assert_eq!(
            (&after["direction"], &after["port"], &after["from"]),
            (&"out".into(), &"vm0".into(), &"vm1".into())
        );
        assert_eq!(before["id"], after["id"]);
        assert_eq!(before["frame"], format!("{to} > {} icmp type 0 code 0 84", lab.enis[0].v4()));
    }
    lab.serves(0);
    let text = lab.start("--port vm0 --direction in --filter icmp --duration 1");
    lab.guests[0].ping("-c 1", to).all();
    let done = collect(text, "warren capture");
    assert!(
        done.err.contains("1 packets captured, 0 frames lost; ended: --duration is over"),
        "{}",
        done.err
    );
    let said =
        format!("in vm0 eni-a10  {} > {to} icmp type 8 code 0 84  sent to vm1 eni-a11\n", lab.enis[0].v4());
    assert!(done.out.contains(&said), "{}", done.out);
    lab.serves(0);
    // Live, into a program that leaves first.
    let mut capture = lab.command("--eni eni-a10 --filter icmp --snaplen 60 -w -");
    let mut capture = capture.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let tshark = Command::new(tool("tshark", "tshark"))
        .args([
            "-c",
            "2",
            "-r",
            "-",
            "-T",
            "fields",
            "-e",
            "frame.comment",
            "-e",
            "frame.cap_len",
            "-e",
            "frame.len",
        ])
        .stdin(capture.stdout.take().unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    lab.serves(1);
    lab.guests[0].ping("-c 3 -i 0.2", to).all();
    let seen = collect(tshark, "tshark").ok();
    assert!(seen.starts_with("in vm0 eni-a10: sent to vm1 eni-a11\t60\t98\n"), "{seen}");
    // It finds out with its next packet.
    lab.guests[0].ping("-c 3 -i 0.2", to).all();
    collect(capture, "warren capture").ok();
    lab.serves(0);
}

#[test]
fn a_capture_ends_when_the_eni_leaves_the_port() {
    let lab = Setup::new();
    let capture = lab.start("--eni eni-a10");
    let mut enis = lab.enis.clone();
    enis[0].at = None;
    let file = lab.folder.path().join("later.json");
    fs::write(&file, state(&enis, UNDERLAY).to_string()).unwrap();
    lab.daemon.apply(&file).ok();
    let done = collect(capture, "warren capture");
    assert!(done.err.contains("ended: eni-a10 has left vm0"), "{}", done.err);
    lab.serves(0);
}

#[test]
fn what_cannot_be_captured_is_refused_with_a_reason() {
    let lab = Setup::new();
    let refused = |arguments: &str| run(&mut lab.command(arguments)).fails(1);
    for (arguments, problem) in [
        ("--eni eni-x", "--eni eni-x: the state has no such ENI; `warren show enis` lists them"),
        ("--eni eni-b10", "--eni eni-b10: it is attached to host `host-b`: capture there"),
        ("--port eth0", "--port eth0: `host-a` has no such port; it has vm0, vm1, uplink"),
        (
            "--port vm0 --filter tcp.port==443",
            "--filter 'tcp.port==443': can't parse filter expression: syntax error",
        ),
        ("--port vm0 -w /nowhere/file", "/nowhere/file: No such file"),
    ] {
        let error = refused(arguments);
        assert!(error.contains(problem), "{arguments}: {error}");
    }
    lab.serves(0);
    let running: Vec<_> = (1..=4)
        .map(|number| {
            let child =
                lab.command("--port vm0").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            lab.serves(number);
            child
        })
        .collect();
    assert!(refused("--port vm0").contains("4 captures run already"));
    // Killed, they say nothing.
    for mut child in running {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    lab.serves(0);
    warren(&["capture", "--socket", lab.daemon.socket.to_str().unwrap()]).fails(2);
}
