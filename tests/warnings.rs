//! What `warren check` warns of: legal, and surely wrong.

use warren::model::{Document, load, warnings};

/// Two VPCs. `vpc-a` has an internet gateway that is served, a public subnet, an application's subnet and one for appliances.
const BASE: &str = r#"
Vpcs:
- {VpcId: vpc-a, CidrBlock: 10.0.0.0/16}
- {VpcId: vpc-b, CidrBlock: 10.1.0.0/16}
Subnets:
- {SubnetId: subnet-app, VpcId: vpc-a, AvailabilityZone: eu-central-1a, CidrBlock: 10.0.1.0/24}
- {SubnetId: subnet-db, VpcId: vpc-a, AvailabilityZone: eu-central-1b, CidrBlock: 10.0.2.0/24}
- {SubnetId: subnet-box, VpcId: vpc-a, AvailabilityZone: eu-central-1a, CidrBlock: 10.0.3.0/24}
- {SubnetId: subnet-b, VpcId: vpc-b, AvailabilityZone: eu-central-1a, CidrBlock: 10.1.1.0/24}
NetworkInterfaces:
- {NetworkInterfaceId: eni-app, SubnetId: subnet-app, MacAddress: "02:00:00:00:01:0a", PrivateIpAddress: 10.0.1.10}
- {NetworkInterfaceId: eni-db, SubnetId: subnet-db, MacAddress: "02:00:00:00:02:0a", PrivateIpAddress: 10.0.2.10}
- NetworkInterfaceId: eni-box
  SubnetId: subnet-box
  MacAddress: "02:00:00:00:03:0a"
  PrivateIpAddress: 10.0.3.10
  SourceDestCheck: false
- {NetworkInterfaceId: eni-b, SubnetId: subnet-b, MacAddress: "02:00:00:00:04:0a", PrivateIpAddress: 10.1.1.10}
InternetGateways:
- {InternetGatewayId: igw-a, Attachments: [{VpcId: vpc-a, State: available}]}
"#;

const WARREN: &str = r#"
Warren:
  Networks:
  - {VpcId: vpc-a, Vni: 1}
  - {VpcId: vpc-b, Vni: 2}
  Hosts:
  - {HostId: host-a, UnderlayAddress: 192.0.2.1}
  Gateways:
  - {GatewayId: igw-a, Hosts: [host-a]}
"#;

/// The warnings of the base with more documents: `more` of resources, `warren` below `Warren`.
fn of(more: &str, warren: &str) -> Vec<String> {
    let document = |name: &str, text: String| Document { name: name.to_owned(), text };
    let documents = [
        document("base.yaml", format!("{BASE}{WARREN}")),
        document("more.yaml", more.to_owned()),
        document("warren.yaml", warren.to_owned()),
    ];
    let model = load(&documents).unwrap_or_else(|errors| panic!("{errors}"));
    warnings(&model).iter().map(ToString::to_string).collect()
}

/// Exactly one warning, with these words.
fn one(more: &str, warren: &str, words: &[&str]) {
    let found = of(more, warren);
    assert_eq!(found.len(), 1, "{found:#?}");
    for word in words {
        assert!(found[0].contains(word), "{word} is not in: {}", found[0]);
    }
}

fn none(more: &str, warren: &str) {
    assert_eq!(of(more, warren), Vec::<String>::new());
}

/// A route table of a subnet of `vpc-a`.
fn table(subnet: &str, routes: &str) -> String {
    format!(
        "- {{RouteTableId: rtb-{subnet}, VpcId: vpc-a, Associations: [{{SubnetId: subnet-{subnet}}}], Routes: [{routes}]}}\n"
    )
}

const TO_INTERNET: &str = "{DestinationCidrBlock: 0.0.0.0/0, GatewayId: igw-a}";
const TO_BOX: &str = "{DestinationCidrBlock: 0.0.0.0/0, NetworkInterfaceId: eni-box}";

/// Elastic IP addresses of ENIs.
fn addresses(enis: &[&str]) -> String {
    let of = |(n, eni): (usize, &&str)| {
        format!("- {{PublicIp: 203.0.113.{}, AssociationId: a, NetworkInterfaceId: {eni}}}\n", n + 1)
    };
    format!("Addresses:\n{}", enis.iter().enumerate().map(of).collect::<String>())
}

#[test]
fn a_state_without_ways_out_has_none() {
    none("", "");
}

#[test]
fn gw_2_a_public_subnet_without_public_addresses() {
    let routes = format!("RouteTables:\n{}", table("app", TO_INTERNET));
    one(&routes, "", &["subnet-app: rtb-app routes to igw-a, but no ENI", "NAT gateway"]);
    none(&format!("{routes}{}", addresses(&["eni-app"])), "");
    // A NAT gateway is what a public subnet may be for.
    let nat = "NatGateways:\n- {NatGatewayId: nat-a, SubnetId: subnet-app, NatGatewayAddresses: \
               [{PrivateIp: 10.0.1.20, PublicIp: 203.0.113.9}]}\n";
    none(&format!("{routes}{nat}"), "");
}

#[test]
fn gw_3_a_public_address_without_a_way_out() {
    one(&addresses(&["eni-app"]), "", &["203.0.113.1: it is eni-app's", "no route to an internet gateway"]);
}

#[test]
fn gw_17_a_private_nat_gateway_routed_to_the_internet() {
    let nat = "NatGateways:\n- {NatGatewayId: nat-a, SubnetId: subnet-app, ConnectivityType: private, \
               NatGatewayAddresses: [{PrivateIp: 10.0.1.20}]}\n";
    let more = format!("{nat}RouteTables:\n{}{}", table("app", TO_INTERNET), addresses(&["eni-app"]));
    one(&more, "", &["nat-a: it is private, and rtb-app sends its packets to igw-a"]);
}

#[test]
fn a_gateway_that_no_host_serves() {
    let more = format!(
        "NatGateways:\n- {{NatGatewayId: nat-a, SubnetId: subnet-app, NatGatewayAddresses: \
         [{{PrivateIp: 10.0.1.20, PublicIp: 203.0.113.9}}]}}\nRouteTables:\n{}{}",
        table("app", TO_INTERNET),
        table("db", "{DestinationCidrBlock: 0.0.0.0/0, NatGatewayId: nat-a}")
    );
    one(&more, "", &["nat-a: rtb-db routes to it, but no host serves it", "Warren.Gateways"]);
    none(&more, "Warren: {Gateways: [{GatewayId: nat-a, Hosts: [host-a]}]}");
}

#[test]
fn rt_12_routes_to_nothing() {
    let route = "{DestinationCidrBlock: 198.51.100.0/24, NatGatewayId: nat-typo}";
    one(
        &format!("RouteTables:\n{}", table("app", route)),
        "",
        &["rtb-app: its route for 198.51.100.0/24 is a blackhole: nat-typo is not in the state"],
    );
    let route = "{DestinationCidrBlock: 198.51.100.0/24, GatewayId: igw-spare, State: blackhole}";
    let spare = "InternetGateways:\n- {InternetGatewayId: igw-spare}\n";
    one(
        &format!("{spare}RouteTables:\n{}", table("app", route)),
        "",
        &["rtb-app", "igw-spare is attached to no VPC"],
    );
}

#[test]
fn rt_10_a_route_to_an_eni_that_checks() {
    let routes = |destination: &str| {
        let route = format!("{{DestinationCidrBlock: {destination}, NetworkInterfaceId: eni-app}}");
        format!("RouteTables:\n{}", table("db", &route))
    };
    one(&routes("198.51.100.0/24"), "", &["eni-app", "source/dest check is on", "SourceDestCheck: false"]);
}

#[test]
fn ing_4_an_ingress_target_without_a_public_address() {
    let ingress = "- {RouteTableId: rtb-in, VpcId: vpc-a, Associations: [{GatewayId: igw-a}], Routes: \
                   [{DestinationCidrBlock: 10.0.1.0/24, NetworkInterfaceId: eni-box}]}\n";
    let tables = format!("RouteTables:\n{ingress}{}{}", table("app", TO_BOX), table("box", TO_INTERNET));
    let both = addresses(&["eni-app", "eni-box"]);
    none(&format!("{tables}{both}"), "");
    let found = of(&format!("{tables}{}", addresses(&["eni-app"])), "");
    assert!(
        found.iter().any(|warning| warning.contains("eni-box: the gateway's table rtb-in")),
        "{found:#?}"
    );
}

#[test]
fn ing_7_a_middlebox_that_one_direction_misses() {
    let ingress = "- {RouteTableId: rtb-in, VpcId: vpc-a, Associations: [{GatewayId: igw-a}], Routes: \
                   [{DestinationCidrBlock: 10.0.1.0/24, NetworkInterfaceId: eni-box}]}\n";
    let both = addresses(&["eni-app", "eni-box"]);
    // In through the box, out past it.
    let tables = format!("RouteTables:\n{ingress}{}{}", table("app", TO_INTERNET), table("box", TO_INTERNET));
    one(
        &format!("{tables}{both}"),
        "",
        &["subnet-app", "rtb-in sends what enters to eni-box", "0.0.0.0/0 to eni-box"],
    );
    // Out through the box, in past it.
    let tables = format!("RouteTables:\n{}{}", table("app", TO_BOX), table("box", TO_INTERNET));
    one(
        &format!("{tables}{both}"),
        "",
        &["subnet-app", "what enters comes past it", "10.0.1.0/24 to eni-box"],
    );
    // The box does the NAT for a subnet without public addresses.
    none(&format!("{tables}{}", addresses(&["eni-box"])), "");
}

#[test]
fn ing_10_an_appliance_between_subnets_in_one_direction() {
    let to = |block: &str| format!("{{DestinationCidrBlock: {block}, NetworkInterfaceId: eni-box}}");
    let there = table("app", &to("10.0.2.0/24"));
    one(
        &format!("RouteTables:\n{there}"),
        "",
        &["subnet-app", "rtb-main-of-vpc-a sends 10.0.1.0/24 back another way"],
    );
    none(&format!("RouteTables:\n{there}{}", table("db", &to("10.0.1.0/24"))), "");
}

#[test]
fn pt_6_peerings_with_routes_on_one_side_or_too_early() {
    let peering = |code: &str| {
        format!(
            "VpcPeeringConnections:\n- {{VpcPeeringConnectionId: pcx-1, RequesterVpcInfo: {{VpcId: vpc-a}}, \
             AccepterVpcInfo: {{VpcId: vpc-b}}, Status: {{Code: {code}}}}}\n"
        )
    };
    let a = table("app", "{DestinationCidrBlock: 10.1.0.0/16, VpcPeeringConnectionId: pcx-1}");
    let b = "- {RouteTableId: rtb-b, VpcId: vpc-b, Associations: [{Main: true}], Routes: \
             [{DestinationCidrBlock: 10.0.0.0/16, VpcPeeringConnectionId: pcx-1}]}\n";
    none(&peering("active"), "");
    none(&format!("{}RouteTables:\n{a}{b}", peering("active")), "");
    one(
        &format!("{}RouteTables:\n{a}", peering("active")),
        "",
        &["pcx-1", "vpc-b has none", "replies are dropped"],
    );
    one(
        &format!("{}RouteTables:\n{a}", peering("pending-acceptance")),
        "",
        &["pcx-1", "not active", "accept it"],
    );
}

/// A transit gateway with both VPCs attached in one zone, and a table.
fn transit(associations: &str, state: &str, routes: &str) -> String {
    format!(
        "TransitGateways:\n- {{TransitGatewayId: tgw-1, Options: {{MulticastSupport: enable}}}}\n\
         TransitGatewayVpcAttachments:\n\
         - {{TransitGatewayAttachmentId: tgw-attach-a, TransitGatewayId: tgw-1, VpcId: vpc-a, SubnetIds: [subnet-box]}}\n\
         - {{TransitGatewayAttachmentId: tgw-attach-b, TransitGatewayId: tgw-1, VpcId: vpc-b, SubnetIds: [subnet-b], State: {state}}}\n\
         TransitGatewayRouteTables:\n\
         - {{TransitGatewayRouteTableId: tgw-rtb-1, TransitGatewayId: tgw-1, Associations: [{associations}], Routes: [{routes}]}}\n"
    )
}

const BOTH: &str = "{TransitGatewayAttachmentId: tgw-attach-a}, {TransitGatewayAttachmentId: tgw-attach-b}";

#[test]
fn pt_10_a_zone_without_an_attachment_subnet() {
    let route = "{DestinationCidrBlock: 10.1.0.0/16, TransitGatewayId: tgw-1}";
    let transit = transit(BOTH, "available", "");
    none(&format!("{transit}RouteTables:\n{}", table("app", route)), "");
    let found = format!("{transit}RouteTables:\n{}", table("db", route));
    one(&found, "", &["subnet-db", "tgw-attach-a has no subnet in eu-central-1b"]);
}

#[test]
fn pt_11_an_attachment_without_a_table() {
    let one_of_two = "{TransitGatewayAttachmentId: tgw-attach-a}";
    one(&transit(one_of_two, "available", ""), "", &["tgw-attach-b: no route table of tgw-1"]);
}

#[test]
fn pt_13_a_transit_route_to_an_attachment_that_is_not_available() {
    let route = "{DestinationCidrBlock: 10.1.0.0/16, Type: static, TransitGatewayAttachments: \
                 [{TransitGatewayAttachmentId: tgw-attach-b}]}";
    none(&transit(BOTH, "available", route), "");
    one(
        &transit(BOTH, "pendingAcceptance", route),
        "",
        &["tgw-rtb-1", "tgw-attach-b, which is not available"],
    );
}

#[test]
fn mc_1_a_member_outside_of_the_domain() {
    let domain = |eni: &str| {
        format!(
            "{}TransitGatewayMulticastDomains:\n- {{TransitGatewayMulticastDomainId: tgw-mcast-1, TransitGatewayId: tgw-1, \
             Associations: [{{Subnet: {{SubnetId: subnet-app}}}}], Groups: \
             [{{GroupIpAddress: 239.1.1.1, NetworkInterfaceId: {eni}, GroupMember: true}}]}}\n",
            transit(BOTH, "available", "")
        )
    };
    none(&domain("eni-app"), "");
    one(
        &domain("eni-db"),
        "",
        &["tgw-mcast-1: eni-db is a member of 239.1.1.1", "subnet-db is not associated"],
    );
}

/// A security group of `vpc-a`.
fn group(id: &str, rules: &str) -> String {
    format!("- {{GroupId: {id}, VpcId: vpc-a, IpPermissions: [{rules}]}}\n")
}

/// One more ENI, in some groups.
fn member(groups: &str) -> String {
    format!(
        "NetworkInterfaces:\n- {{NetworkInterfaceId: eni-more, SubnetId: subnet-app, MacAddress: \"02:00:00:00:01:77\", \
         PrivateIpAddress: 10.0.1.77, Groups: [{groups}]}}\n"
    )
}

#[test]
fn sec_1_a_rule_for_nobody() {
    let rule = "{IpProtocol: tcp, FromPort: 22, ToPort: 22, UserIdGroupPairs: [{GroupId: sg-admins}]}";
    let groups = format!("SecurityGroups:\n{}{}", group("sg-web", rule), group("sg-admins", rule));
    let member = |id: &str| format!("{groups}{}", member(&format!("{{GroupId: {id}}}")));
    none(&member("sg-admins"), "");
    let found = of(&member("sg-web"), "");
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[1].contains("sg-web: its rule for tcp 22 is for sg-admins, which no ENI is in"),
        "{found:#?}"
    );
    let stale = "{IpProtocol: \"-1\", IpRanges: [{CidrIp: 10.0.0.0/8}], \
                 UserIdGroupPairs: [{GroupId: sg-gone, VpcPeeringConnectionId: pcx-gone}]}";
    let stale = format!("SecurityGroups:\n{}", group("sg-web", stale));
    one(&stale, "", &["sg-web: its rule for all is stale", "sg-gone is out of reach"]);
}

#[test]
fn sec_1_an_eni_that_nothing_comes_in_to() {
    let groups = format!(
        "SecurityGroups:\n{}{}",
        group("sg-none", ""),
        group("sg-ssh", "{IpProtocol: \"-1\", IpRanges: [{CidrIp: 0.0.0.0/0}]}")
    );
    one(
        &format!("{groups}{}", member("{GroupId: sg-none}")),
        "",
        &["eni-more: its security groups let nothing in"],
    );
    none(&format!("{groups}{}", member("{GroupId: sg-none}, {GroupId: sg-ssh}")), "");
}

#[test]
fn qt_3_more_rules_than_ec2_allows() {
    let rules = |count: usize| {
        let ranges: Vec<_> =
            (0..count).map(|n| format!("{{CidrIp: 10.{}.{}.0/24}}", n / 250, n % 250)).collect();
        let rule = format!("{{IpProtocol: \"-1\", IpRanges: [{}]}}", ranges.join(", "));
        format!("SecurityGroups:\n{}{}", group("sg-many", &rule), member("{GroupId: sg-many}"))
    };
    none(&rules(1000), "");
    one(&rules(1001), "", &["eni-more", "1001 rules for IPv4 in", "EC2 allows 1000 (QT-3)"]);
}

/// A network ACL of `vpc-a`.
fn acl(entries: &str) -> String {
    format!(
        "NetworkAcls:\n- {{NetworkAclId: acl-1, VpcId: vpc-a, Associations: [{{SubnetId: subnet-app}}], Entries: [{entries}]}}\n"
    )
}

/// An entry for TCP.
fn entry(number: u16, egress: bool, action: &str, block: &str, ports: (u16, u16)) -> String {
    format!(
        "{{RuleNumber: {number}, Protocol: \"6\", RuleAction: {action}, Egress: {egress}, CidrBlock: {block}, \
         PortRange: {{From: {}, To: {}}}}},",
        ports.0, ports.1
    )
}

const ANY: &str = "0.0.0.0/0";

#[test]
fn nacl_2_an_acl_that_drops_replies() {
    let web = entry(100, false, "allow", ANY, (443, 443));
    one(&acl(&web), "", &["acl-1: its entry 100 allows tcp 443 in", "replies out", "32768 to 60999"]);
    none(&acl(&format!("{web}{}", entry(100, true, "allow", ANY, (1024, 65535)))), "");
    // In two parts, and with a gap between them.
    let parts = |gap: u16| {
        let parts =
            [(1024, 40000), (40001 + gap, 65535)].map(|ports| entry(ports.0 / 2, true, "allow", ANY, ports));
        acl(&format!("{web}{}", parts.concat()))
    };
    none(&parts(0), "");
    one(&parts(1), "", &["replies out"]);
    // The other way, and what only receives replies.
    one(&acl(&entry(100, true, "allow", ANY, (80, 80))), "", &["allows tcp 80 out", "replies in"]);
    none(&acl(&entry(100, true, "allow", ANY, (1024, 65535))), "");
}

#[test]
fn nacl_1_an_entry_that_never_matches() {
    let replies = entry(100, true, "allow", ANY, (1024, 65535));
    let wide = entry(100, false, "allow", ANY, (0, 65535));
    let deny = entry(200, false, "deny", "198.51.100.0/24", (22, 22));
    one(
        &acl(&format!("{replies}{wide}{deny}")),
        "",
        &["acl-1: its entry 200 in never matches", "entry 100 allows all of it before"],
    );
    none(&acl(&format!("{replies}{wide}{}", entry(50, false, "deny", "198.51.100.0/24", (22, 22)))), "");
    none(&acl(&format!("{replies}{wide}{}", entry(200, false, "allow", "198.51.100.0/24", (22, 22)))), "");
    let narrow = entry(100, false, "allow", "198.51.100.0/25", (0, 65535));
    none(&acl(&format!("{replies}{narrow}{deny}")), "");
}

#[test]
fn qt_4_more_entries_than_ec2_allows() {
    let entries = |count: u16| {
        acl(&(1..=count).map(|n| entry(n, true, "allow", ANY, (1024 + n, 65535))).collect::<String>())
    };
    none(&entries(39), "");
    one(&entries(40), "", &["acl-1", "41 entries for IPv4 out", "QT-4"]);
}

#[test]
fn fl_1_a_log_of_what_has_none() {
    let log = |resource: &str| {
        format!(
            "{}FlowLogs:\n- {{FlowLogId: fl-1, ResourceId: {resource}}}\n",
            transit(BOTH, "available", "")
        )
    };
    none(&log("vpc-a"), "");
    one(&log("tgw-1"), "", &["fl-1: tgw-1 has no flow logs here"]);
}

#[test]
fn gw_23_an_endpoint_in_vain() {
    let endpoint = "VpcEndpoints:\n- {VpcEndpointId: vpce-a, VpcEndpointType: GatewayLoadBalancer, VpcId: vpc-a, \
                    SubnetIds: [subnet-box]}\n";
    let to = "{DestinationCidrBlock: 192.168.0.0/16, VpcEndpointId: vpce-a}";
    let appliances = |more: &str| {
        format!("Warren: {{Appliances: [{{VpcEndpointId: vpce-a, NetworkInterfaceIds: [eni-b]}}]{more}}}")
    };
    let attached = ", Attachments: [{NetworkInterfaceId: eni-b, HostId: host-a, Port: vm0}]";
    let routes = format!("{endpoint}RouteTables:\n{}", table("app", to));
    one(&routes, "", &["vpce-a: rtb-app routes to it, but it has no appliances", "Warren.Appliances"]);
    one(
        &routes,
        &appliances(""),
        &["vpce-a: rtb-app routes to it", "none of its appliances can take packets"],
    );
    none(&routes, &appliances(attached));
    let circle = format!("{endpoint}RouteTables:\n{}", table("box", to));
    one(&circle, &appliances(attached), &["vpce-a: rtb-box of its own subnet routes to it", "subnet-box"]);
}
