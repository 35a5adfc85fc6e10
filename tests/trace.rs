//! `warren trace` on states: what it says of packets, at both hosts.

use std::process::Command;

use serde_json::Value;

const STATE: &str = "examples/two-hosts.state.yaml";

fn warren(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_warren")).arg("trace").args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn trace(arguments: &[&str]) -> Vec<Value> {
    let (done, text) = warren(&[&["--json", "--state", STATE], arguments].concat());
    assert!(done, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn steps(trace: &Value) -> Vec<&str> {
    let steps = trace["steps"].as_array().unwrap();
    steps.iter().map(|line| line["step"].as_str().unwrap()).collect()
}

fn refusal(arguments: &[&str]) -> String {
    let (done, text) = warren(arguments);
    assert!(!done, "{text}");
    text
}

#[test]
fn a_packet_is_followed_to_the_receiving_host() {
    for encapsulation in ["vxlan", "geneve"] {
        let options = ["--eni", "eni-a1", "--dst", "10.0.1.11", "--proto", "tcp", "--dport", "443"];
        let [sender, receiver] = &trace(&[&options[..], &["--encapsulation", encapsulation]].concat())[..]
        else {
            panic!("two hosts");
        };
        let expected =
            ["eni", "source_mac", "source_check", "mtu", "path", "destination", "encapsulate", "outer"];
        assert_eq!(steps(sender), expected);
        assert_eq!(sender["outcomes"][0]["host"], "host-b");
        assert_eq!(steps(receiver), ["outer", "origin", "decapsulate", "receiver", "destination_check"]);
        let delivered = &receiver["outcomes"][0];
        assert_eq!((&delivered["verdict"], &delivered["eni"]), (&"delivered".into(), &"eni-a2".into()));
        // L2-5, FWD-5: not a bit of the inner frame has changed.
        assert_eq!(delivered["frame"], sender["frame"]);
    }
}

#[test]
fn a_route_and_a_rewrite_are_named() {
    let [trace] = &trace(&["--eni", "eni-a1", "--dst", "10.0.2.10"])[..] else { panic!("one host") };
    let text = |step: &str| {
        let mut lines = trace["steps"].as_array().unwrap().iter();
        lines.find(|line| line["step"] == step).unwrap()["text"].as_str().unwrap().to_owned()
    };
    assert_eq!(text("route"), "rtb-main: 10.0.0.0/16 → local");
    assert_eq!(text("destination"), "eni-b1, at port vm1 of this host");
    assert!(text("rewrite").starts_with("destination MAC 02:00:00:00:02:0a"));
}

#[test]
fn a_drop_says_which_and_where() {
    for (options, reason, last) in [
        (&["--dst", "8.8.8.8"][..], "no_route", "route"),
        (&["--dst", "10.0.2.99"], "no_mapping", "route"),
        (&["--dst", "10.0.2.10", "--src", "10.0.1.99"], "src_check", "source_mac"),
        (&["--dst", "10.0.2.10", "--src-mac", "02:00:00:00:00:99"], "src_mac", "eni"),
        (&["--dst", "10.0.2.10", "--dst-mac", "02:00:00:00:00:99"], "unknown_mac", "path"),
        (&["--dst", "10.0.2.10", "--length", "9002"], "oversize", "source_check"),
        (&["--dst", "169.254.169.254", "--proto", "tcp"], "service", "path"),
    ] {
        let [trace] = &trace(&[&["--eni", "eni-a1"], options].concat())[..] else { panic!("one host") };
        assert_eq!(trace["outcomes"][0]["reason"], reason, "{options:?}");
        assert_eq!(steps(trace).last(), Some(&last), "{options:?}");
    }
}

#[test]
fn a_frame_can_be_given() {
    let [described] = &trace(&["--eni", "eni-a1", "--dst", "10.0.2.10"])[..] else { panic!("one host") };
    let frame = described["frame"].as_str().unwrap();
    let [given] = &trace(&["--eni", "eni-a1", "--hex", frame])[..] else { panic!("one host") };
    assert_eq!(given, described);
    let [captured] = &trace(&["--port", "vm0", "--host", "host-a", "--pcap", "tests/data/eni-a1.pcap"])[..]
    else {
        panic!("one host");
    };
    assert_eq!(steps(captured)[0], "eni");
    // What the sending host sent is what the receiving one gets.
    let sent = &trace(&["--eni", "eni-a1", "--dst", "10.0.1.11"])[0]["outcomes"][0]["frame"];
    let arrived = trace(&["--underlay", "--host", "host-b", "--hex", sent.as_str().unwrap()]);
    assert_eq!(arrived[0]["outcomes"][0]["eni"], "eni-a2");
    // ARP is answered.
    let arp = "ffffffffffff02000000010a08060001080006040001\
               02000000010a0a00010a0000000000000a00010b";
    let [answered] = &trace(&["--eni", "eni-a1", "--hex", arp])[..] else { panic!("one host") };
    assert_eq!(answered["outcomes"][0]["eni"], "eni-a1");
    assert!(answered["outcomes"][0]["frame"].as_str().unwrap().starts_with("02000000010a02000000010b0806"));
}

#[test]
fn mistakes_are_named() {
    for (options, expected) in [
        (&["--state", STATE, "--eni", "eni-x", "--dst", "10.0.1.1"][..], "eni-x: not in the state"),
        (
            &["--state", STATE, "--host", "host-b", "--eni", "eni-a1", "--dst", "10.0.1.1"],
            "attached to host-a",
        ),
        (&["--state", STATE, "--host", "host-x", "--port", "vm0", "--dst", "10.0.1.1"], "host `host-x`"),
        (
            &["--state", STATE, "--host", "host-a", "--port", "vm9", "--dst", "10.0.1.1"],
            "it has vm0, vm1, uplink",
        ),
        (&["--state", STATE, "--port", "vm0", "--dst", "10.0.1.1"], "--host"),
        (&["--state", STATE, "--eni", "eni-a1", "--hex", "0"], "even number of digits"),
        (&["--state", STATE, "--eni", "eni-a1", "--dst", "10.0.1.1", "--length", "5"], "the headers alone"),
        (
            &["--state", STATE, "--eni", "eni-a1", "--dst", "10.0.1.1", "--encapsulation", "gre"],
            "vxlan or geneve",
        ),
        (&["--state", STATE, "--eni", "eni-a1", "--src", "fd00::1", "--dst", "10.0.1.1"], "two families"),
        (
            &["--state", STATE, "--eni", "eni-a1", "--pcap", "tests/data/eni-a1.pcap", "--packet", "999"],
            "number 999",
        ),
    ] {
        let text = refusal(options);
        assert!(text.contains(expected), "{options:?}: {text}");
    }
}
