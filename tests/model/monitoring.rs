//! What is told of packets: flow logs and mirrored traffic.

use warren::model::{FlowLog, LogScope, LogTraffic, Model, diff};

use crate::{gateways::refused, loaded};

const STATE: &str = include_str!("../data/monitoring.state.yaml");

/// The state of this file with one text put for another, which must be there.
fn changed(from: &str, to: &str) -> String {
    assert!(STATE.contains(from), "{from}");
    STATE.replacen(from, to, 1)
}

fn model(text: &str) -> Model {
    loaded(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// What `warren apply` says of a change from this file's state.
fn told(from: &str, to: &str) -> String {
    diff(&model(STATE), &model(&changed(from, to))).to_string()
}

#[test]
fn flow_logs_load() {
    let state = model(STATE);
    // What EC2 has taken away is not there.
    assert_eq!(state.flow_logs.len(), 3);
    let log = &state.flow_logs["fl-vpc"];
    assert_eq!(
        (&log.scope, log.traffic, log.interval),
        (&LogScope::Vpc("vpc-blue".into()), LogTraffic::All, 600)
    );
    // FL-1: the format of version 2 is what a log has without one.
    assert_eq!((&*log.folder, &*log.format), ("logs/blue", FlowLog::FORMAT));
    let log = &state.flow_logs["fl-subnet"];
    assert_eq!(
        (&log.scope, log.traffic, log.interval),
        (&LogScope::Subnet("subnet-a".into()), LogTraffic::Reject, 60)
    );
    assert_eq!((&*log.folder, &*log.format), ("vpc/rejected", "${action} ${pkt-srcaddr} ${flow-direction}"));
    let log = &state.flow_logs["fl-eni"];
    assert_eq!(
        (&log.scope, log.traffic, log.interval),
        (&LogScope::Eni("eni-a".into()), LogTraffic::All, 600)
    );
    assert_eq!((&*log.folder, &*log.format), ("fl-eni", FlowLog::FORMAT));
    let arn = changed(
        "LogGroupName: /vpc/rejected",
        "LogDestination: \"arn:aws:logs:eu-central-1:111122223333:log-group:flows:*\"",
    );
    assert_eq!(&*model(&arn).flow_logs["fl-subnet"].folder, "flows");
    let text = told("TrafficType: REJECT", "TrafficType: ACCEPT");
    assert!(text.contains("~ fl-subnet traffic REJECT → ACCEPT"), "{text}");
}

#[test]
fn mistakes_in_flow_logs_are_named() {
    for (from, to, words) in [
        (
            "ResourceId: eni-a}",
            "ResourceId: eni-x}",
            &["FlowLogs[2].ResourceId", "eni-x is not in the state"][..],
        ),
        ("TrafficType: REJECT", "TrafficType: DROP", &["FlowLogs[1].TrafficType", "ACCEPT or REJECT or ALL"]),
        (
            "MaxAggregationInterval: 60\n",
            "MaxAggregationInterval: 61\n",
            &["MaxAggregationInterval", "60 or 600"],
        ),
        ("${action} ${pkt-srcaddr}  $", "${action} ${srcadr}  $", &["LogFormat", "srcadr"]),
        ("${action} ${pkt-srcaddr}  $", "action $", &["LogFormat", "action is no field"]),
        ("LogGroupName: /vpc/rejected", "LogGroupName: /vpc/../../etc", &["LogGroupName", "names no folder"]),
        (
            "FileFormat: plain-text",
            "FileFormat: parquet",
            &["DestinationOptions.FileFormat", "write plain-text"],
        ),
        (
            "LogDestinationType: s3",
            "LogDestinationType: tape",
            &["LogDestinationType", "cloud-watch-logs or s3"],
        ),
    ] {
        refused(&changed(from, to), words);
    }
}

#[test]
fn mirrored_traffic_loads() {
    let state = model(STATE);
    assert_eq!(&*state.mirror_targets["tmt-1"].eni, "eni-ids");
    let filter = &state.mirror_filters["tmf-1"];
    let rules: Vec<_> = filter.ingress.iter().map(ToString::to_string).collect();
    assert_eq!(
        rules,
        [
            "[100: reject protocol 6 198.51.100.0/24:1024-65535 to 0.0.0.0/0:22-22]",
            "[200: accept all 0.0.0.0/0 to 10.0.0.0/16]",
        ]
    );
    assert!(filter.dns && filter.egress.is_empty());
    let session = &state.mirror_sessions["tms-1"];
    assert_eq!((&*session.eni, &*session.target, &*session.filter), ("eni-a", "tmt-1", "tmf-1"));
    assert_eq!((session.number, session.length, session.vni.get()), (1, Some(100), 7));
    // MIR-1: where none is stated, each session has a VNI of its own, the same wherever the state is read.
    let vnis = ["tms-2", "tms-3"].map(|id| (state.mirror_sessions[id].vni, state.mirror_sessions[id].length));
    assert_ne!(vnis[0], vnis[1]);
    assert_eq!(vnis[0].1, None);
    let text = told("SessionNumber: 3", "SessionNumber: 4");
    assert!(text.starts_with("~ tms-3 number 3 → 4"), "{text}");
    let text = told("RuleAction: reject", "RuleAction: accept");
    assert!(text.starts_with("~ tmf-1 ingress [100: reject protocol 6"), "{text}");
    let text = told("NetworkInterfaceId: eni-ids, Type", "NetworkInterfaceId: eni-b, Type");
    assert!(text.starts_with("~ tmt-1 eni eni-ids → eni-b"), "{text}");
}

#[test]
fn mistakes_in_mirroring_are_named() {
    let fourth = "- {TrafficMirrorSessionId: tms-4, TrafficMirrorTargetId: tmt-1, TrafficMirrorFilterId: tmf-1, NetworkInterfaceId: eni-a, SessionNumber: 4}\nWarren:";
    for (from, to, words) in [
        (
            "\nWarren:",
            &*format!("\n{fourth}"),
            &["TrafficMirrorSessions[3].NetworkInterfaceId", "eni-a has 3 sessions"][..],
        ),
        (
            "SessionNumber: 3",
            "SessionNumber: 2",
            &["TrafficMirrorSessions[2].SessionNumber", "tms-2 is session 2 of eni-a"],
        ),
        ("SessionNumber: 3", "SessionNumber: 32767", &["32767 is not a session number", "1 to 32766"]),
        ("VirtualNetworkId: 7", "VirtualNetworkId: 16777216", &["VirtualNetworkId", "1 to 16777215"]),
        ("PacketLength: 100", "PacketLength: 0", &["PacketLength"]),
        (
            "TrafficMirrorTargetId: tmt-1, NetworkInterfaceId: eni-ids,",
            "TrafficMirrorTargetId: tmt-1, NetworkLoadBalancerArn: \"arn:aws:x\",",
            &["TrafficMirrorTargets[0].NetworkLoadBalancerArn", "make an ENI the target"],
        ),
        ("TrafficMirrorTargetId: tmt-1\n", "TrafficMirrorTargetId: tmt-2\n", &["tmt-2 is not in the state"]),
        (
            "RuleNumber: 200",
            "RuleNumber: 100",
            &["IngressFilterRules[1].RuleNumber", "has the number 100 too"],
        ),
        ("RuleAction: reject", "RuleAction: deny", &["IngressFilterRules[1].RuleAction", "accept or reject"]),
        (
            "DestinationCidrBlock: 10.0.0.0/16",
            "DestinationCidrBlock: \"::/0\"",
            &["another family than 0.0.0.0/0"],
        ),
        (
            "{FromPort: 22, ToPort: 22}",
            "{FromPort: 22, ToPort: 21}",
            &["DestinationPortRange.FromPort", "lower port first"],
        ),
        ("[amazon-dns]", "[amazon-ntp]", &["NetworkServices[0]", "write amazon-dns"]),
    ] {
        refused(&changed(from, to), words);
    }
    // Each of the three sessions would copy to where it copies from.
    let errors = loaded(&changed("eni-ids, Type", "eni-a, Type")).unwrap_err();
    assert_eq!(errors.0.len(), 3, "{errors}");
    assert!(errors.0[0].problem.contains("would receive the copies of its own packets"), "{errors}");
    // Each of the three is of an ENI that receives copies.
    let target =
        "- {TrafficMirrorTargetId: tmt-0, NetworkInterfaceId: eni-a}\n- {TrafficMirrorTargetId: tmt-1,";
    let errors = loaded(&changed("- {TrafficMirrorTargetId: tmt-1,", target)).unwrap_err();
    assert_eq!(errors.0.len(), 3, "{errors}");
    assert!(
        errors.0.iter().all(|error| error.problem.contains("eni-a receives copies, as tmt-0")),
        "{errors}"
    );
}
