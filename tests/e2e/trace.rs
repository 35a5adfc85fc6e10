//! `warren trace` through a running daemon's tables.

use serde_json::Value;

use crate::lab::{
    setup::Setup,
    state::{UNDERLAY, state, write},
    warren,
};

fn trace(setup: &Setup, arguments: &str) -> Value {
    let socket = setup.daemon.socket.to_str().unwrap();
    let fixed = ["trace", "--json", "--socket", socket];
    let arguments: Vec<_> = fixed.into_iter().chain(arguments.split_whitespace()).collect();
    let traces: Value = serde_json::from_str(&warren(&arguments).ok()).unwrap();
    traces[0].clone()
}

/// The tables are those in force, and nothing is counted or sent.
#[test]
fn a_trace_follows_the_tables_in_force_and_changes_nothing() {
    let setup = Setup::usual();
    let delivered = trace(&setup, "--eni eni-a10 --dst 10.0.2.10 --proto tcp --dport 443");
    assert_eq!(delivered["outcomes"][0]["verdict"], "delivered");
    assert_eq!(delivered["outcomes"][0]["eni"], "eni-b10");
    assert_eq!(trace(&setup, "--eni eni-a10 --dst 10.0.2.11")["outcomes"][0]["reason"], "no_mapping");
    assert_eq!(setup.daemon.drops("vm0", "no_mapping"), 0);
    // The orchestrator takes eni-b10 away.
    let fewer = state(&setup.enis[..2], UNDERLAY);
    setup.daemon.apply(&write(setup.folder.path(), &fewer)).ok();
    assert_eq!(trace(&setup, "--eni eni-a10 --dst 10.0.2.10")["outcomes"][0]["reason"], "no_mapping");
    // What the node answers itself, it answers in a trace.
    let discover = "ffffffffffff02000000010a0800450001100000000040113ade00000000ffffffff0044004300fc0000";
    let mut message = vec![1, 1, 6, 0, 1, 2, 3, 4];
    message.resize(28, 0);
    message.extend([2, 0, 0, 0, 1, 10]);
    message.resize(236, 0);
    message.extend([99, 130, 83, 99, 53, 1, 1, 255]);
    let message: String = message.iter().map(|byte| format!("{byte:02x}")).collect();
    let offered = trace(&setup, &format!("--eni eni-a10 --hex {discover}{message}"));
    assert_eq!(offered["outcomes"][0]["verdict"], "delivered", "{offered:#}");
    assert_eq!(offered["outcomes"][0]["eni"], "eni-a10");
}

#[test]
fn a_mistake_is_named() {
    let setup = Setup::usual();
    let socket = setup.daemon.socket.to_str().unwrap();
    let refused = |arguments: &[&str]| {
        warren(&[&["trace", "--socket", socket, "--dst", "10.0.1.11"], arguments].concat()).fails(1)
    };
    assert!(refused(&["--eni", "eni-x"]).contains("eni-x: no such ENI"));
    assert!(refused(&["--port", "vm9"]).contains("has no port `vm9`; it has vm0, vm1, vm2"));
}
