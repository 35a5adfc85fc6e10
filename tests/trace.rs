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
        let checks = ["eni", "source_mac", "source_check", "mtu"];
        let way = ["path", "destination", "groups", "connection", "encapsulate", "outer"];
        assert_eq!(steps(sender), [&checks[..], &way].concat());
        assert_eq!(sender["outcomes"][0]["host"], "host-b");
        let arrival = ["outer", "origin", "decapsulate", "receiver", "destination_check"];
        assert_eq!(steps(receiver), [&arrival[..], &["groups", "connection"]].concat());
        let delivered = &receiver["outcomes"][0];
        assert_eq!((&delivered["verdict"], &delivered["eni"]), (&"delivered".into(), &"eni-a2".into()));
        // L2-5, FWD-5: not a bit of the inner frame has changed.
        assert_eq!(delivered["frame"], sender["frame"]);
    }
}

/// What is said of a step, each time.
fn texts(trace: &Value, step: &str) -> Vec<String> {
    let lines = trace["steps"].as_array().unwrap().iter().filter(|line| line["step"] == step);
    lines.map(|line| line["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn rules_and_connections_are_named() {
    let options = ["--eni", "eni-a1", "--dst", "10.0.2.10", "--proto", "tcp", "--dport", "443"];
    let [open] = &trace(&options)[..] else { panic!("one host") };
    // SEC-13: at both ends.
    assert_eq!(
        texts(open, "groups"),
        ["out of eni-a1: sg-open allows all to 0.0.0.0/0", "into eni-b1: sg-open allows all from 0.0.0.0/0"]
    );
    assert_eq!(texts(open, "connection"), ["not tracked: everything is allowed both ways"; 2]);
    let acl = |way: &str, eni: &str| {
        format!("{way} the subnet of {eni}: the default network ACL, allows everything")
    };
    assert_eq!(texts(open, "acl"), [acl("out of", "eni-a1"), acl("into", "eni-b1")]);

    // A state in which only one rule and one entry let it through, and the other end's groups nothing.
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(STATE).unwrap();
    let open =
        "  - {IpProtocol: \"-1\", IpRanges: [{CidrIp: 0.0.0.0/0}], Ipv6Ranges: [{CidrIpv6: \"::/0\"}]}\n";
    let https = "  - {IpProtocol: tcp, FromPort: 443, ToPort: 443, IpRanges: [{CidrIp: 10.0.2.0/24}]}\n";
    let (before, after) = text.split_once(&format!("  IpPermissions:\n{open}")).unwrap();
    let acl = "\
NetworkAcls:
- NetworkAclId: acl-1
  VpcId: vpc-blue
  IsDefault: false
  Associations: [{NetworkAclAssociationId: aclassoc-1, NetworkAclId: acl-1, SubnetId: subnet-a}]
  Entries:
  - {RuleNumber: 110, Protocol: '6', RuleAction: allow, Egress: true, CidrBlock: 0.0.0.0/0, PortRange: {From: 443, To: 443}}
";
    let state = folder.path().join("state.yaml");
    std::fs::write(&state, format!("{before}  IpPermissions: []\n{}{acl}", after.replacen(open, https, 1)))
        .unwrap();
    let at = ["--json", "--state", state.to_str().unwrap()];
    let (done, text) = warren(&[&at[..], &options].concat());
    assert!(done, "{text}");
    let closed: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(
        texts(&closed[0], "groups"),
        [
            "out of eni-a1: sg-open allows tcp 443 to 10.0.2.0/24",
            "into eni-b1: no rule of its security groups allows it"
        ]
    );
    assert_eq!(texts(&closed[0], "connection"), ["new, and tracked"]);
    assert_eq!(texts(&closed[0], "acl")[0], "out of the subnet of eni-a1: acl-1, entry 110 allows");
    assert_eq!(closed[0]["outcomes"][0]["reason"], "sg_in");
    let other = ["--eni", "eni-a1", "--dst", "10.0.2.10", "--proto", "tcp", "--dport", "80"];
    let (_, text) = warren(&[&at[..], &other].concat());
    assert!(text.contains("out of eni-a1: no rule of its security groups allows it"), "{text}");
}

#[test]
fn a_route_and_a_rewrite_are_named() {
    let [trace] = &trace(&["--eni", "eni-a1", "--dst", "10.0.2.10"])[..] else { panic!("one host") };
    let text = |step: &str| texts(trace, step)[0].clone();
    assert_eq!(text("route"), "rtb-main: 10.0.0.0/16 → local");
    assert_eq!(text("destination"), "eni-b1, at port vm1 of this host");
    assert!(text("rewrite").starts_with("destination MAC 02:00:00:00:02:0a"));
}

#[test]
fn a_drop_says_which_and_where() {
    for (options, reason, last) in [
        (&["--dst", "8.8.8.8"][..], "no_route", "groups"),
        (&["--dst", "10.0.2.99"], "no_mapping", "groups"),
        (&["--dst", "10.0.2.10", "--src", "10.0.1.99"], "src_check", "source_mac"),
        (&["--dst", "10.0.2.10", "--src-mac", "02:00:00:00:00:99"], "src_mac", "eni"),
        (&["--dst", "10.0.2.10", "--dst-mac", "02:00:00:00:00:99"], "unknown_mac", "groups"),
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
