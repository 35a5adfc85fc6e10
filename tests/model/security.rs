//! What decides which packets may pass: security groups and network ACLs.

use warren::model::{Model, Permission, diff};

use crate::{gateways::refused, loaded};

const STATE: &str = include_str!("../data/security.state.yaml");

/// The state of this file with one text put for another, which must be there.
fn changed(from: &str, to: &str) -> String {
    assert!(STATE.contains(from), "{from}");
    STATE.replacen(from, to, 1)
}

fn model(text: &str) -> Model {
    loaded(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// What `warren apply` says of a change from this file's state.
fn told_of(from: &str, to: &str) -> String {
    diff(&model(STATE), &model(&changed(from, to))).to_string()
}

/// The ACL in force in a subnet.
fn acl(model: &Model, subnet: &str) -> Option<String> {
    model.acl_of(&model.subnets[subnet]).map(|acl| acl.id.to_string())
}

#[test]
fn a_subnet_has_one_acl() {
    // NACL-1: the associated one, else the VPC's default one; NACL-7: without either, everything is allowed.
    let state = model(STATE);
    assert_eq!(acl(&state, "subnet-web").as_deref(), Some("acl-web"));
    assert_eq!(acl(&state, "subnet-db").as_deref(), Some("acl-default"));
    assert_eq!(acl(&state, "subnet-red"), None);
    let association =
        "  - {NetworkAclAssociationId: aclassoc-1, NetworkAclId: acl-default, SubnetId: subnet-db}\n";
    assert_eq!(acl(&model(&changed(association, "")), "subnet-db").as_deref(), Some("acl-default"));
    let association =
        "  - {NetworkAclAssociationId: aclassoc-2, NetworkAclId: acl-web, SubnetId: subnet-web}\n";
    assert_eq!(acl(&model(&changed(association, "")), "subnet-web").as_deref(), Some("acl-default"));

    refused(
        &changed("acl-web, SubnetId: subnet-web", "acl-web, SubnetId: subnet-db"),
        &["NetworkAcls[1].Associations[0].SubnetId", "subnet-db is associated with acl-default already"],
    );
    refused(
        &changed("acl-web, SubnetId: subnet-web", "acl-web, SubnetId: subnet-red"),
        &["subnet-red is in vpc-red, the ACL in vpc-blue"],
    );
    refused(
        &changed("acl-web, SubnetId: subnet-web", "acl-other, SubnetId: subnet-web"),
        &["NetworkAclId", "acl-other is another ACL", "write acl-web"],
    );
    refused(
        &changed("IsDefault: false", "IsDefault: true"),
        &["NetworkAcls[1].IsDefault", "acl-default is the default ACL of vpc-blue already"],
    );
}

#[test]
fn acl_entries_are_in_the_order_in_which_they_are_tried() {
    // NACL-1: ascending, each direction for itself; `*` is implied.
    let state = model(STATE);
    let told = |id: &str, egress| {
        state.network_acls[id].rules(egress).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        told("acl-web", false),
        [
            "[in 90: deny tcp 0-65535 198.51.100.0/24]",
            "[in 200: allow tcp 443 0.0.0.0/0]",
            "[in 210: allow icmpv6 128 ::/0]",
            "[in 220: allow icmp 3/4 0.0.0.0/0]",
        ]
    );
    assert_eq!(told("acl-web", true), ["[out 100: allow tcp 1024-65535 0.0.0.0/0]"]);
    assert_eq!(told("acl-default", true), ["[out 100: allow all 0.0.0.0/0]", "[out 101: allow all ::/0]"]);
    // An ACL without entries denies everything (NACL-7).
    let entries = STATE.find("  Entries:\n  - {RuleNumber: 200").unwrap();
    let bare = format!("{}{}", &STATE[..entries], &STATE[STATE.find("Warren:").unwrap()..]);
    assert!(model(&bare).network_acls["acl-web"].entries.is_empty());
    // As EC2 does, nobody heeds what an entry for IPv4 says of ICMPv6.
    let mixed =
        model(&changed("Ipv6CidrBlock: \"::/0\", IcmpTypeCode", "CidrBlock: 0.0.0.0/0, IcmpTypeCode"));
    assert_eq!(mixed.network_acls["acl-web"].rules(false)[2].to_string(), "[in 210: allow icmpv6 0.0.0.0/0]");
}

#[test]
fn acl_mistakes_are_named() {
    for (from, to, words) in [
        (
            "RuleNumber: 90,",
            "RuleNumber: 0,",
            &["Entries[1].RuleNumber", "0 is not a rule number", "1 to 32766"][..],
        ),
        ("RuleNumber: 90,", "RuleNumber: 40000,", &["40000 is not a rule number"]),
        (
            "RuleNumber: 90,",
            "RuleNumber: 200,",
            &["Entries[1].RuleNumber", "number 200 of what comes in", "NetworkAclEntryAlreadyExists"],
        ),
        (
            "RuleNumber: 32767, Protocol: \"-1\", RuleAction: deny",
            "RuleNumber: 32767, RuleAction: allow",
            &["stands for *"],
        ),
        (
            "RuleAction: deny, Egress: false, CidrBlock: 198",
            "RuleAction: drop, Egress: false, CidrBlock: 198",
            &["allow or deny"],
        ),
        ("CidrBlock: 198.51.100.0/24", "CidrBlock: 198.51.100.1/24", &["write 198.51.100.0/24"]),
        (
            "CidrBlock: 198.51.100.0/24",
            "Ipv6CidrBlock: \"::/0\", CidrBlock: 0.0.0.0/0",
            &["is a second block"],
        ),
        ("CidrBlock: 198.51.100.0/24, ", "", &["Entries[1].CidrBlock", "is missing"]),
        (
            "From: 1024, To: 65535",
            "From: 1024, To: 1023",
            &["Entries[4].PortRange.From", "From 1024 is greater than To 1023"],
        ),
        (
            ", PortRange: {From: 443, To: 443}",
            ", PortRange: {From: 443}",
            &["PortRange.To", "is missing", "From 0 and To 65535"],
        ),
        ("{Type: 3, Code: 4}", "{Type: -1, Code: 4}", &["IcmpTypeCode.Code", "every type"]),
        ("Protocol: \"58\"", "Protocol: \"256\"", &["256 is not a protocol"]),
        (
            "Egress: true, CidrBlock: 0.0.0.0/0, PortRange",
            "CidrBlock: 0.0.0.0/0, PortRange",
            &["Entries[4].Egress"],
        ),
    ] {
        refused(&changed(from, to), words);
    }
}

#[test]
fn changes_of_acls_are_told() {
    let text = told_of(
        "RuleNumber: 90, Protocol: \"6\", RuleAction: deny",
        "RuleNumber: 90, Protocol: \"6\", RuleAction: allow",
    );
    assert!(text.starts_with("~ acl-web entries [in 90: deny tcp 0-65535 198.51.100.0/24]"), "{text}");
    assert!(text.contains("→ [in 90: allow tcp 0-65535"), "{text}");
    // What is in force in the subnet changes with its association.
    let text = told_of(
        "  - {NetworkAclAssociationId: aclassoc-2, NetworkAclId: acl-web, SubnetId: subnet-web}\n",
        "",
    );
    assert!(text.contains("~ subnet-web network_acl acl-web → acl-default"), "{text}");
    assert!(text.contains("~ acl-web subnets subnet-web → none"), "{text}");
}

#[test]
fn an_eni_without_groups_is_in_the_default_group() {
    // SEC-1
    let state = model(STATE);
    let groups = |eni: &str| state.enis[eni].groups.to_vec();
    assert_eq!(groups("eni-web"), ["sg-web".into()]);
    assert_eq!(groups("eni-db"), ["sg-blue-default".into()]);
    // The documents of vpc-red have none: it is as EC2 makes it.
    assert_eq!(groups("eni-red"), ["sg-default-of-vpc-red".into()]);
    let made = &state.security_groups["sg-default-of-vpc-red"];
    assert!(made.is_default() && *made.vpc == *"vpc-red");
    let told = |rules: &[Permission]| rules.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(told(&made.ingress), ["[all: sg-default-of-vpc-red]"]);
    assert_eq!(told(&made.egress), ["[all: 0.0.0.0/0 ::/0]"]);
    // Nobody needs one in vpc-blue.
    assert_eq!(state.security_groups.len(), 4);

    refused(
        &changed(
            "GroupId: sg-red, VpcId: vpc-red, GroupName",
            "GroupId: sg-default-of-vpc-red, VpcId: vpc-red, GroupName",
        )
        .replace(
            "{GroupId: sg-red, VpcId: vpc-red, VpcPeering",
            "{GroupId: sg-default-of-vpc-red, VpcId: vpc-red, VpcPeering",
        ),
        &["SecurityGroups[2].GroupId", "the default group that vpc-red gets"],
    );
    refused(
        &changed("GroupName: web", "GroupName: default"),
        &["SecurityGroups[1].GroupName", "sg-blue-default has the name default", "InvalidGroup.Duplicate"],
    );
    let text = told_of("GroupName: web", "GroupName: www");
    assert!(text.starts_with("~ sg-web name web → www"), "{text}");
}

#[test]
fn rules_name_what_there_is() {
    let state = model(STATE);
    let told: Vec<_> = state.security_groups["sg-web"].ingress.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["[tcp 443: 0.0.0.0/0 pl-corp]", "[tcp 22: sg-blue-default sg-red]"]);
    refused(
        &changed("[{PrefixListId: pl-corp}]", "[{PrefixListId: pl-none}]"),
        &["IpPermissions[0].PrefixListIds[0].PrefixListId", "pl-none is not in the state"],
    );
    refused(
        &changed("{GroupId: sg-blue-default}", "{GroupId: sg-none}"),
        &["IpPermissions[1].UserIdGroupPairs[0].GroupId", "sg-none is not in the state"],
    );
}

#[test]
fn rules_name_groups_of_peered_vpcs() {
    // PT-7: by an active peering in the same region.
    let pair = "{GroupId: sg-red, VpcId: vpc-red, VpcPeeringConnectionId: pcx-1, PeeringStatus: active, Description: from red}";
    let bare = "{GroupId: sg-red}";
    let rule = |text: &str| {
        let rule = &model(text).security_groups["sg-web"].ingress[1];
        (rule.groups.len(), rule.stale.iter().map(|peer| peer.peer.to_string()).collect::<Vec<_>>())
    };
    assert_eq!(rule(STATE), (2, vec![]));
    assert_eq!(rule(&changed(pair, bare)), (2, vec![]));
    // Stale, as EC2 calls it: the peering or the group is gone.
    let gone = |text: &str| text.replacen("{Code: active, Message: Active}", "{Code: deleted}", 1);
    assert_eq!(rule(&gone(STATE)), (1, vec!["sg-red".into()]));
    assert_eq!(
        rule(&changed("GroupId: sg-red, VpcId: vpc-red, Vpc", "GroupId: sg-gone, VpcId: vpc-red, Vpc")),
        (1, vec!["sg-gone".into()])
    );
    let text = told_of("{Code: active, Message: Active}", "{Code: pending-acceptance}");
    assert!(
        text.contains("→ [tcp 443: 0.0.0.0/0 pl-corp] [tcp 22: sg-blue-default sg-red (stale)]"),
        "{text}"
    );

    refused(
        &gone(&changed(pair, bare)),
        &[
            "UserIdGroupPairs[1].GroupId",
            "no active peering connection joins with vpc-blue",
            "InvalidGroup.NotFound",
        ],
    );
    let red = "SubnetId: subnet-red, VpcId: vpc-red, AvailabilityZone: eu-central-1a";
    refused(
        &changed(red, &red.replace("central", "west")),
        &["sg-red is of vpc-red, in another region", "PT-7"],
    );
}
