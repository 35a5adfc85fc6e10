//! What flow logs are told of: FL rules.

use std::{sync::Arc, time::Duration};

use warren::{
    flowlogs::{Action, FlowRecord, FlowRing},
    packet::Mac,
    pipeline::Reason,
    tables::Direction,
};

use crate::{
    frames::{Outer, datagram, icmp_echo, ip, packet},
    lab::*,
};

const LOG: &str = "\
FlowLogs:
- {FlowLogId: fl-1, ResourceId: subnet-s1, TrafficType: ALL, LogDestinationType: s3}
";

/// host-a with a log of subnet S1, and more in the state.
fn logged(more: &str) -> (Lab, Arc<[FlowRing]>) {
    let rings: Arc<[FlowRing]> = [FlowRing::new(64)].into();
    let mut lab = Lab::new(VXLAN);
    lab.log(&format!("{LOG}{more}"), &rings);
    (lab, rings)
}

/// What is told until the next interval.
fn told(lab: &mut Lab, rings: &[FlowRing]) -> Vec<FlowRecord> {
    for _ in 0..620 {
        lab.now += Duration::from_millis(100);
        lab.round();
    }
    std::iter::from_fn(|| rings[0].pop()).collect()
}

fn echo(to: Mac, from: Mac, (source, destination): (&str, &str), kind: u8) -> Vec<u8> {
    packet(to, from, (ip(source), ip(destination)), 1, &icmp_echo(kind, 7))
}

#[test]
fn fl_5_a_ping_whose_answer_the_acl_denies_is_one_accept_and_one_reject() {
    let (mut lab, rings) = logged(
        "\
NetworkAcls:
- NetworkAclId: acl-1
  VpcId: vpc-v
  IsDefault: false
  Associations: [{NetworkAclAssociationId: aclassoc-1, NetworkAclId: acl-1, SubnetId: subnet-s1}]
  Entries:
  - {RuleNumber: 100, Protocol: '-1', RuleAction: allow, Egress: false, CidrBlock: 0.0.0.0/0}
",
    );
    let ping = echo(A, r1(), ("10.0.2.10", "10.0.1.10"), 8);
    lab.sends(UPLINK, &Outer::new(VXLAN, 2, V, None).around(&ping), AT_A, &ping);
    lab.drops(AT_A, &echo(r1(), A, ("10.0.1.10", "10.0.2.10"), 0), Reason::NaclOut);
    let mut records = told(&mut lab, &rings);
    records.sort_by_key(|record| record.direction);
    let what: Vec<_> = records
        .iter()
        .map(|told| (told.action, told.direction, told.source, told.destination, told.packets, told.bytes))
        .collect();
    let (a, c) = (ip("10.0.1.10"), ip("10.0.2.10"));
    assert_eq!(
        what,
        [(Action::Accept, Direction::Ingress, c, a, 1, 28), (Action::Reject, Direction::Egress, a, c, 1, 28),]
    );
    // FL-11.
    assert!(records.iter().all(|told| (told.source_port, told.destination_port) == (0, 0)));
}

#[test]
fn fl_5_what_a_group_denies_is_one_reject() {
    let (mut lab, rings) = logged("");
    lab.change(|model| {
        let group = model.security_groups.get_mut("sg-v").unwrap();
        group.ingress.clear();
    });
    lab.round();
    let ping = echo(A, r1(), ("10.0.2.10", "10.0.1.10"), 8);
    lab.drops(UPLINK, &Outer::new(VXLAN, 2, V, None).around(&ping), Reason::SgIn);
    let records = told(&mut lab, &rings);
    let what: Vec<_> = records.iter().map(|told| (told.action, told.direction, told.packets)).collect();
    assert_eq!(what, [(Action::Reject, Direction::Ingress, 1)]);
}

#[test]
fn fl_6_what_goes_nowhere_is_not_told() {
    let (mut lab, rings) = logged("");
    lab.drops(AT_A, &datagram(r1(), A, "10.0.1.10", "10.0.2.200"), Reason::NoMapping);
    lab.drops(AT_A, &datagram(r1(), A, "10.0.1.10", "8.8.8.8"), Reason::NoRoute);
    lab.drops(AT_A, &datagram(r1(), A, "10.0.9.9", "10.0.2.10"), Reason::SrcCheck);
    assert_eq!(told(&mut lab, &rings), []);
}

#[test]
fn both_enis_of_a_node_tell_of_their_ends_if_they_have_logs() {
    let (mut lab, rings) = logged("");
    let to_b2 = datagram(B2, A, "10.0.1.10", "10.0.1.21");
    for _ in 0..3 {
        lab.sends(AT_A, &to_b2, AT_B2, &to_b2);
    }
    // C2 is in another subnet, which has no log.
    let _ = lab.send(AT_C2, &datagram(r2(), C2, "10.0.2.20", "10.0.1.10"));
    let mut records = told(&mut lab, &rings);
    records.sort_by_key(|record| (record.direction, record.source));
    let what: Vec<_> = records
        .iter()
        .map(|told| (told.direction, told.source, told.packets, told.source_port, told.path))
        .collect();
    let (a, c2) = (ip("10.0.1.10"), ip("10.0.2.20"));
    assert_eq!(
        what,
        [
            (Direction::Ingress, a, 3, 40_000, 0),
            (Direction::Ingress, c2, 1, 40_000, 0),
            (Direction::Egress, a, 3, 40_000, 1),
        ]
    );
}
