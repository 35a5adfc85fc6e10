//! States that change under traffic, and a daemon's life.

use std::{
    fs::{self, Permissions},
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    process::Child,
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::lab::{
    Done,
    daemon::Daemon,
    host_file,
    netns::{Netns, Pinged, configure, instance},
    state::{UNDERLAY, here, state, there, write},
    wait_for, warren,
};

const PORTS: &str = r#"
    [[port]]
    name = "vm0"
    role = "instance"
    device = "net_tap0,iface=vm0"
    [[port]]
    name = "vm1"
    role = "instance"
    device = "net_tap1,iface=vm1"
    [[port]]
    name = "vm2"
    role = "instance"
    device = "net_tap2,iface=vm2"
"#;

/// A folder with a host file of software ports that lead nowhere, and a state of one ENI.
fn quiet() -> TempDir {
    let folder = TempDir::new().unwrap();
    let ports = (0..3).fold(PORTS.to_owned(), |ports, number| {
        ports.replace(&format!("net_tap{number},iface=vm{number}"), &format!("net_null{number},no-rx=1"))
    });
    host_file(folder.path(), "workers = { cores = [1], idle = \"sleep\" }", &ports);
    write(folder.path(), &one());
    folder
}

fn one() -> Value {
    state(&[here('a', 10, "vm0")], UNDERLAY)
}

fn finish(ping: Child) -> Pinged {
    let output = ping.wait_with_output().unwrap();
    Pinged::parse(&Done {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    })
}

/// ADDR-28, L2-17: ENIs come, go and move while others talk.
#[test]
fn addr_28_enis_come_go_and_move_under_traffic() {
    let (node, folder) = (Netns::new("node"), TempDir::new().unwrap());
    host_file(folder.path(), "workers = { cores = [1], idle = \"sleep\" }", PORTS);
    let (a, b) = (here('a', 10, "vm0"), here('a', 11, "vm1"));
    write(folder.path(), &state(&[a.clone(), b.clone()], UNDERLAY));
    let daemon = Daemon::start(Some(&node), folder.path());
    let (first, second) = (instance(&node, "vm0", &a), instance(&node, "vm1", &b));
    let third = Netns::new("third");
    node.ip(&format!("link set vm2 netns {}", third.name));
    configure(&third, "vm2", &b);
    first.ping("-c 2 -i 0.05", b.v4()).all();

    // Others come and go: nothing is lost.
    let ping = first.start_ping("-c 150 -i 0.01 -W 1", b.v4());
    for round in 0..20 {
        let mut enis = vec![a.clone(), b.clone()];
        enis.extend((0..round).map(|number| there('b', 20 + number)));
        daemon.apply(&write(folder.path(), &state(&enis, UNDERLAY))).ok();
    }
    daemon.apply(&write(folder.path(), &state(&[a.clone(), b.clone()], UNDERLAY))).ok();
    finish(ping).all();

    // ADDR-28: B moves to vm2, with its MAC and addresses; A's ARP cache stays right (L2-17).
    let before = first.ip("neigh show 10.0.1.11");
    let ping = first.start_ping("-c 150 -i 0.01 -W 1", b.v4());
    thread::sleep(Duration::from_millis(300));
    let moved = here('a', 11, "vm2");
    let text = daemon.apply(&write(folder.path(), &state(&[a.clone(), moved], UNDERLAY))).ok();
    assert!(text.contains("eni-a11"), "{text}");
    let pinged = finish(ping);
    // The third has to ask for A's MAC first; a reply under way at the move is lost.
    assert!(pinged.sent - pinged.received <= 3, "{pinged:?}");
    assert_eq!(before.split(' ').next(), first.ip("neigh show 10.0.1.11").split(' ').next());
    assert!(first.ip("neigh show 10.0.1.11").contains(&b.mac().to_string()));
    assert!(daemon.count("stats", &[("port", "vm2")], "rx_packets") >= 50);
    // Where it was, nothing is attached.
    second.ping("-c 1", a.v4()).none();
    assert!(daemon.drops("vm1", "no_eni") >= 1);

    // B goes: A's frames find nobody.
    daemon.apply(&write(folder.path(), &state(&[a], UNDERLAY))).ok();
    first.ping("-c 2 -i 0.05", b.v4()).none();
    assert_eq!(daemon.drops("vm0", "unknown_mac"), 2, "L2-7");
}

/// A wrong state is refused whole, with every mistake, and changes nothing.
#[test]
fn a_wrong_state_changes_nothing() {
    let folder = quiet();
    let daemon = Daemon::start(None, folder.path());
    let before = (daemon.show("enis"), daemon.show("workers")[0]["tables"].clone());
    let mut wrong = state(&[here('a', 10, "vm0"), here('a', 12, "vm1"), here('b', 10, "vm2")], UNDERLAY);
    wrong["NetworkInterfaces"][1]["SubnetId"] = "subnet-x".into();
    wrong["NetworkInterfaces"][2]["PrivateIpAddress"] = "10.0.1.7".into();
    let error = daemon.apply(&write(folder.path(), &wrong)).fails(1);
    for expected in ["not applied, nothing has changed", "subnet-x", "10.0.1.7"] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    // Valid in itself, but not for this host file.
    let error = daemon.apply(&write(folder.path(), &state(&[here('a', 10, "vm9")], UNDERLAY))).fails(1);
    assert!(
        error.contains("attached to port `vm9` of `host-a`, whose host file has no such port"),
        "{error}"
    );
    assert_eq!((daemon.show("enis"), daemon.show("workers")[0]["tables"].clone()), before);

    // SIGHUP reads the state again; a wrong one is logged.
    write(folder.path(), &wrong);
    daemon.signal("HUP");
    wait_for("the mistakes to be logged", || daemon.log().contains("subnet-x"));
    assert_eq!(daemon.show("enis").len(), 1);
    write(folder.path(), &state(&[here('a', 10, "vm0"), there('a', 11)], UNDERLAY));
    daemon.signal("HUP");
    wait_for("the new state", || daemon.show("enis").len() == 2);
}

/// The socket is root's alone and one daemon's alone, and goes with it; SIGTERM and SIGINT end it in order.
#[test]
fn a_daemon_lives_and_ends() {
    for signal in ["TERM", "INT"] {
        let folder = quiet();
        let daemon = Daemon::start(None, folder.path());
        let socket = daemon.socket.clone();
        let mode = fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, Permissions::from_mode(0o600).mode());

        let second = TempDir::new().unwrap();
        let text = fs::read_to_string(folder.path().join("host.toml")).unwrap();
        fs::write(second.path().join("host.toml"), text).unwrap();
        write(second.path(), &one());
        let mut refused = Daemon::launch(None, second.path());
        assert_eq!(refused.wait().code(), Some(1));
        assert!(refused.log().contains("a daemon listens on this socket already"), "{}", refused.log());

        assert_eq!(daemon.show("enis").len(), 1, "the first still answers");
        assert_eq!(daemon.stop(signal).code(), Some(0), "{signal}");
        assert!(!socket.exists());
        let error = warren(&["show", "ports", "--socket", socket.to_str().unwrap()]).fails(1);
        assert!(error.contains("is `warren run` running here"), "{error}");
    }
}

/// Everything can be shown, to people and to programs.
#[test]
fn everything_is_shown() {
    let folder = quiet();
    let daemon = Daemon::start(None, folder.path());
    for (what, column, rows) in [
        ("hosts", "underlay_address", 2),
        ("vpcs", "vni", 1),
        ("subnets", "router_mac", 2),
        ("enis", "source_dest_check", 1),
        ("routes", "destination", 4),
        ("ports", "driver", 3),
        ("workers", "handed_over", 1),
        ("drops", "reason", 0),
        ("stats", "rx_packets", 3),
    ] {
        let shown = daemon.show(what);
        assert_eq!(shown.len(), rows, "{what}: {shown:?}");
        assert!(shown.iter().all(|row| row.contains_key(column)), "{what}: {shown:?}");
        let text = warren(&["show", what, "--socket", daemon.socket.to_str().unwrap()]).ok();
        assert_eq!(text.lines().count(), rows + 1, "{what}: {text}");
        assert!(text.contains(&column.to_uppercase().replace('_', " ")), "{what}: {text}");
    }
    let eni = &daemon.show("enis")[0];
    assert_eq!(eni["addresses"][0], Ipv4Addr::new(10, 0, 1, 10).to_string());
}

/// A host file that doesn't fit the state ends the start with a sentence about it.
#[test]
fn a_host_file_that_does_not_fit_is_refused() {
    for (enis, underlay, expected) in [
        (vec![here('a', 10, "vm9")], UNDERLAY, "port `vm9` of `host-a`, whose host file has no such port"),
        (
            vec![here('a', 10, "uplink")],
            UNDERLAY,
            "which is none for instances; attach it to a port with role",
        ),
        (vec![], ["192.0.2.77", "192.0.2.2"], "the state says UnderlayAddress 192.0.2.77"),
    ] {
        let folder = quiet();
        let uplink = "[[port]]\nname = \"uplink\"\nrole = \"uplink\"\ndevice = \"net_null3,no-rx=1\"\naddress = \"192.0.2.1/24\"";
        let host = folder.path().join("host.toml");
        let text = fs::read_to_string(&host).unwrap();
        fs::write(&host, format!("{text}\n{uplink}")).unwrap();
        write(folder.path(), &state(&enis, underlay));
        let mut daemon = Daemon::launch(None, folder.path());
        assert_eq!(daemon.wait().code(), Some(1), "{}", daemon.log());
        assert!(daemon.log().contains(expected), "{}", daemon.log());
    }
}
