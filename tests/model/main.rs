//! From state documents to a model, as the command line and the daemon use it.

mod attachments;
mod gateways;
mod monitoring;
mod routes;
mod security;
mod transit;

use std::{collections::HashMap, fmt::Write as _, path::PathBuf, time::Instant};

use proptest::prelude::*;
use warren::model::{
    Document, Errors, Model, NameServer, Target, Traffic, VpcDhcp, diff, load, read_documents,
};

const EXAMPLE: &str = include_str!("../../examples/two-hosts.state.yaml");

fn document(name: &str, text: impl Into<String>) -> Document {
    Document { name: name.to_owned(), text: text.into() }
}

fn loaded(text: &str) -> Result<Model, Errors> {
    load(&[document("state.yaml", text)])
}

/// The example with one text put for another, which must be there.
fn changed(from: &str, to: &str) -> String {
    assert!(EXAMPLE.contains(from), "{from}");
    EXAMPLE.replacen(from, to, 1)
}

/// Loads the example with a change, and expects exactly one error with these words.
fn one_error(from: &str, to: &str, words: &[&str]) {
    let errors = loaded(&changed(from, to)).expect_err(to);
    let text = errors.to_string();
    assert_eq!(errors.0.len(), 1, "{to}: {text}");
    for word in words {
        assert!(text.contains(word), "{word} is not in: {text}");
    }
    assert!(!errors.0[0].problem.is_empty() && !errors.0[0].fix.is_empty(), "{text}");
}

#[test]
fn the_example_loads() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let documents = read_documents(&[folder]).unwrap();
    assert_eq!(documents.len(), 1);
    let model = load(&documents).unwrap();

    let vpc = &model.vpcs["vpc-blue"];
    assert_eq!((vpc.vni.get(), vpc.cidrs4.len(), vpc.cidrs6.len()), (4100, 1, 1));
    let subnet = &model.subnets["subnet-b"];
    assert_eq!((&*subnet.zone, &*subnet.route_table, subnet.cidr6), ("eu-central-1b", "rtb-main", None));
    let eni = &model.enis["eni-a1"];
    assert_eq!(eni.primary4.unwrap().to_string(), "10.0.1.10");
    assert_eq!(eni.addresses6[0].to_string(), "2001:db8:b1:1::a");
    assert!(eni.secondary4.is_empty() && eni.source_dest_check);
    let attachment = eni.attachment.as_ref().unwrap();
    assert_eq!((&*attachment.host, &*attachment.port), ("host-a", "vm0"));
    // The local route of the IPv6 block is there though the file leaves it out (RT-2).
    let routes = &model.route_tables["rtb-main"].routes;
    assert_eq!(
        routes.iter().map(|route| route.destination.to_string()).collect::<Vec<_>>(),
        ["10.0.0.0/16", "2001:db8:b1::/56"]
    );
    assert!(routes.iter().all(|route| route.target == Target::Local));
    assert_eq!(model.security_groups["sg-open"].ingress[0].traffic, Traffic::All);
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    let text = include_str!("../data/twenty-mistakes.state.yaml");
    let errors = load(&[document("twenty.yaml", text)]).unwrap_err();
    let wanted = [
        ("Vpcs[0].CidrBlok", "vpc-blue"),
        ("Vpcs[1].CidrBlock", "vpc-red"),
        ("Warren.Networks[1].Vni", "vpc-red"),
        ("Subnets[1].CidrBlock", "subnet-b"),
        ("Subnets[2].CidrBlock", "subnet-c"),
        ("Subnets[3].AvailabilityZone", "subnet-d"),
        ("Subnets[4].VpcId", "subnet-e"),
        ("SecurityGroups[0].IpPermissions[0].FromPort", "sg-web"),
        ("SecurityGroups[0].IpPermissions[1].UserIdGroupPairs[0].GroupId", "sg-web"),
        ("RouteTables[0].Routes[1].GatewayId", "rtb-main"),
        ("RouteTables[1].Associations[0].Main", "rtb-other"),
        ("NetworkInterfaces[1].PrivateIpAddress", "eni-reserved"),
        ("NetworkInterfaces[2].PrivateIpAddress", "eni-outside"),
        ("NetworkInterfaces[3].MacAddress", "eni-multicast"),
        ("NetworkInterfaces[4].MacAddress", "eni-mac-twice"),
        ("NetworkInterfaces[5].PrivateIpAddress", "eni-ip-twice"),
        ("NetworkInterfaces[6].Groups", "eni-no-list"),
        ("NetworkInterfaces[7].Ipv4Prefixes[0].Ipv4Prefix", "eni-prefix"),
        ("Warren.Hosts[1].UnderlayAddress", "host-b"),
        ("Warren.Attachments[1].Port", "eni-reserved"),
    ];
    let mut left: HashMap<_, _> =
        errors.0.iter().map(|error| ((&*error.path, &*error.resource), error)).collect();
    for place in wanted {
        let error = left.remove(&place).unwrap_or_else(|| panic!("{place:?} is not in\n{errors}"));
        assert_eq!(error.file, "twenty.yaml");
        assert!(!error.problem.is_empty() && !error.fix.is_empty(), "{error}");
    }
    assert!(left.is_empty(), "{left:#?}");
    assert_eq!(errors.0.len(), 20, "{errors}");
    assert!(errors.to_string().ends_with("20 errors"));
    let json = serde_json::to_value(&errors).unwrap();
    assert_eq!(json[0]["path"], "Vpcs[0].CidrBlok");
    assert_eq!(json[0]["fix"], "did you mean CidrBlock?");
}

#[test]
fn one_mistake_is_one_error() {
    one_error(
        "VpcId: vpc-blue\n  CidrBlock: 10.0.0.0/16",
        "VpcId: vpc-blue\n  CidrBlock: 10.0.0.1/16",
        &["vpc-blue", "write 10.0.0.0/16"],
    );
    one_error("Vni: 4100", "Vni: 0", &["Warren.Networks[0].Vni", "1 to 16777215"]);
    one_error("  - {VpcId: vpc-blue, Vni: 4100}", "", &["Vpcs[0]", "has no VNI"]);
    one_error("CidrBlock: 10.0.2.0/24", "CidrBlock: 10.1.2.0/24", &["subnet-b", "inside 10.0.0.0/16"]);
    one_error("CidrBlock: 10.0.1.0/24", "CidrBlock: 10.0.1.0/29", &["subnet-a", "/29"]);
    one_error("2001:db8:b1:1::/64", "2001:db8:b1:1::/63", &["subnet-a", "/63"]);
    one_error("MacAddress: 02:00:00:00:01:0b", "MacAddress: 02-00", &["eni-a2", "six octets"]);
    one_error("10.0.1.11", "10.0.1.255", &["eni-a2", "broadcast", "10.0.1.4 to 10.0.1.254"]);
    one_error("10.0.1.10, Primary: true", "10.0.1.10, Primary: false", &["PrivateIpAddresses[0].Primary"]);
    one_error("{PrivateIpAddress: 10.0.1.10, ", "{PrivateIpAddress: 10.0.1.12, ", &["Primary of 10.0.1.12"]);
    one_error("2001:db8:b1:1::a", "2001:db8:b1:1::3", &["eni-a1", "reserved"]);
    one_error("  SourceDestCheck: true", "  SourceDestCheck: maybe", &["SourceDestCheck", "true or false"]);
    one_error("VpcId: vpc-blue\n  MacAddress", "VpcId: vpc-red\n  MacAddress", &["not the VPC of subnet-a"]);
    one_error("HostId: host-a, Port: vm1", "HostId: host-c, Port: vm1", &["host-c is not in the state"]);
    one_error(
        "HostId: host-a, Port: vm1",
        "HostId: host-a, Port: vm0",
        &["eni-a1 is plugged into host-a/vm0"],
    );
    one_error("NetworkInterfaceId: eni-b1, HostId", "NetworkInterfaceId: eni-a1, HostId", &["already"]);
    one_error("UnderlayAddress: 192.0.2.2", "UnderlayAddress: 224.0.0.1", &["host-b", "multicast"]);
    one_error("GatewayId: local", "GatewayId: igw-1", &["rtb-main", "Routes[0].GatewayId", "igw-1"]);
    one_error("10.0.0.0/16, GatewayId", "10.0.0.0/17, GatewayId", &["cannot be local", "10.0.0.0/16"]);
    one_error("IpProtocol: \"-1\"", "IpProtocol: tpc", &["IpPermissions[0].IpProtocol", "tpc"]);
    one_error("Groups: [{GroupId: sg-open}]", "Groups: [{GroupId: sg-x}]", &["sg-x is not in the state"]);
    one_error("eu-central-1b", "eu-west-1b", &["subnet-b", "eu-west-1", "eu-central-1"]);
    one_error(
        "SubnetId: subnet-b\n  VpcId",
        "SubnetId: subnet-b\n  Tagz: []\n  VpcId",
        &["did you mean Tags?"],
    );
    one_error(
        "SubnetId: subnet-b\n  VpcId",
        "SubnetId: subnet-b\n  Zone: []\n  VpcId",
        &["Zone", "AvailabilityZone"],
    );
    let router = warren::model::router_mac("subnet-b").to_string();
    one_error("02:00:00:00:01:0b", &router, &["router of subnet-b"]);
}

#[test]
fn the_shapes_of_people_and_of_the_cli_load() {
    for (from, to) in [
        ("Vni: 4100", "Vni: \"4100\""),
        ("IpProtocol: \"-1\"", "IpProtocol: -1"),
        ("02:00:00:00:01:0a", "02:00:00:00:01:10"),
        ("02:00:00:00:01:0a", "12:00:00:00:01:10"),
        ("SubnetId: subnet-b\n", "SubnetId: subnet-b\n  Tags: [{Key: Name, Value: \"b\\tc\"}]\n"),
        ("SubnetId: subnet-b\n", "SubnetId: subnet-b\n  Ipv6Native: false\n  SubnetArn: arn:aws:x\n"),
        ("UnderlayAddress: 192.0.2.2", "UnderlayAddress: 2001:db8::2"),
    ] {
        loaded(&changed(from, to)).unwrap_or_else(|errors| panic!("{to}: {errors}"));
    }
}

#[test]
fn json_and_yaml_are_the_same() {
    // The AWS CLI prints JSON; the same state read either way is the same model, and the same errors.
    for text in [EXAMPLE, include_str!("../data/twenty-mistakes.state.yaml")] {
        let value: serde_json::Value = loaded_value(text);
        let json = serde_json::to_string_pretty(&value).unwrap();
        assert_eq!(load(&[document("state", json)]), load(&[document("state", text)]));
    }
}

/// YAML of the subset that the test files use, as JSON's values.
fn loaded_value(text: &str) -> serde_json::Value {
    // The loader keeps what describes a resource as it was stated: a way to have any YAML as JSON.
    let indented: String = text.lines().fold(String::new(), |mut all, line| {
        let _ = writeln!(all, "    {line}");
        all
    });
    let state = format!(
        "Vpcs:\n- VpcId: v\n  CidrBlock: 10.0.0.0/16\n  State:\n{indented}\nWarren:\n  Networks:\n  - VpcId: v\n    Vni: 1\n"
    );
    loaded(&state).unwrap().vpcs["v"].descriptive.as_ref().unwrap()["State"].clone()
}

#[test]
fn a_state_may_be_many_files() {
    let (networks, rest) = EXAMPLE.split_once("Subnets:\n").unwrap();
    let (subnets, rest) = rest.split_once("SecurityGroups:\n").unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("1.yaml", networks.to_owned()),
        ("2.yml", format!("Subnets:\n{subnets}")),
        ("3.yaml", format!("SecurityGroups:\n{rest}")),
        ("host.toml", "not a state".to_owned()),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let documents = read_documents(&[folder.path().to_owned()]).unwrap();
    assert_eq!(documents.len(), 3);
    assert_eq!(load(&documents), loaded(EXAMPLE));

    let errors =
        read_documents(&[folder.path().join("none.yaml"), folder.path().join("host.toml")]).unwrap_err();
    assert_eq!(errors.0.len(), 1);
    assert!(errors.to_string().contains("none.yaml: cannot be read"));
}

#[test]
fn syntax_errors_have_a_line_and_hide_nothing_else() {
    let errors = load(&[
        document("a.yaml", "Vpcs:\n- VpcId: [\n"),
        document("b.json", "{\"Vpcs\": [}"),
        document("c.yaml", "Vpc: []\n"),
    ])
    .unwrap_err();
    let text = errors.to_string();
    assert_eq!(errors.0.len(), 3, "{text}");
    assert!(
        errors.0[0].path.starts_with("line ") && errors.0[1].path.starts_with("line 1 column "),
        "{text}"
    );
    assert!(text.contains("did you mean Vpcs?"), "{text}");
}

#[test]
fn a_vpc_without_a_main_table_gets_one() {
    let start = EXAMPLE.find("RouteTables:").unwrap();
    let end = EXAMPLE.find("# What EC2 hides").unwrap();
    let model = loaded(&format!("{}{}", &EXAMPLE[..start], &EXAMPLE[end..])).unwrap();
    let table = &model.route_tables["rtb-main-of-vpc-blue"];
    assert!(table.main && table.routes.len() == 2);
    assert_eq!(&*model.subnets["subnet-a"].route_table, "rtb-main-of-vpc-blue");
}

#[test]
fn an_explicit_association_wins() {
    let model = loaded(&changed(
        "RouteTables:\n",
        "RouteTables:\n- RouteTableId: rtb-b\n  VpcId: vpc-blue\n  Associations: [{Main: false, SubnetId: subnet-b}]\n",
    ))
    .unwrap();
    assert_eq!(&*model.subnets["subnet-a"].route_table, "rtb-main");
    assert_eq!(&*model.subnets["subnet-b"].route_table, "rtb-b");
    assert_eq!(model.route_tables["rtb-b"].routes.len(), 2);
}

/// A DHCP option set with all options, and the example's VPC associated with it.
fn with_dhcp_options() -> String {
    let vpc = "Vpcs:\n- VpcId: vpc-blue\n";
    let set = "DhcpOptions:\n- DhcpOptionsId: dopt-a\n  OwnerId: \"1\"\n  DhcpConfigurations:\n  \
               - {Key: domain-name, Values: [{Value: corp.example}]}\n  \
               - {Key: domain-name-servers, Values: [{Value: 10.9.0.1}, {Value: AmazonProvidedDNS}, {Value: \"2001:db8::53\"}]}\n  \
               - {Key: ntp-servers, Values: [{Value: 10.9.0.2}, {Value: \"2001:db8::7b\"}]}\n  \
               - {Key: netbios-name-servers, Values: [{Value: 10.9.0.3}]}\n  \
               - {Key: netbios-node-type, Values: [{Value: 2}]}\n  \
               - {Key: ipv6-address-preferred-lease-time, Values: [{Value: 600}]}\n";
    changed(vpc, &format!("{set}{vpc}  DhcpOptionsId: dopt-a\n"))
}

#[test]
fn dhcp_options_load() {
    let model = loaded(&with_dhcp_options()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(model.vpcs["vpc-blue"].dhcp_options, VpcDhcp::Set("dopt-a".into()));
    let set = &model.dhcp_options["dopt-a"];
    assert_eq!(set.domain_name.as_deref(), Some("corp.example"));
    let address = |text: &str| NameServer::Address(text.parse().unwrap());
    let servers = [address("10.9.0.1"), NameServer::AmazonProvided, address("2001:db8::53")];
    assert_eq!(set.domain_name_servers, servers);
    assert_eq!((set.ntp_servers.len(), set.netbios_name_servers.len()), (2, 1));
    assert_eq!((set.netbios_node_type, set.preferred_lifetime6), (Some(2), Some(600)));
    assert!(set.descriptive.is_some());

    // Not stated: the region's. EC2's word for none: none.
    assert_eq!(loaded(EXAMPLE).unwrap().vpcs["vpc-blue"].dhcp_options, VpcDhcp::Region);
    let none = with_dhcp_options()
        .replace("  DhcpOptionsId: dopt-a\n  CidrBlock", "  DhcpOptionsId: default\n  CidrBlock");
    assert_eq!(loaded(&none).unwrap().vpcs["vpc-blue"].dhcp_options, VpcDhcp::None);
}

#[test]
fn dhcp_options_are_checked() {
    let text = with_dhcp_options();
    let long = "a".repeat(64);
    for (from, to, words) in [
        (
            "DhcpOptionsId: dopt-a\n  C",
            "DhcpOptionsId: dopt-b\n  C",
            &["Vpcs[0].DhcpOptionsId", "dopt-b is not in"][..],
        ),
        (
            "DhcpOptionsId: dopt-a\n  OwnerId",
            "DhcpOptionsId: default\n  OwnerId",
            &["default means no options"],
        ),
        (
            "DhcpOptionsId: dopt-a\n  OwnerId",
            "Tags: []\n  OwnerId",
            &["DhcpOptions[0].DhcpOptionsId", "is missing"],
        ),
        (
            "Key: domain-name,",
            "Key: domain,",
            &["DhcpConfigurations[0].Key", "domain is no option", "ntp-servers"],
        ),
        (
            "Key: netbios-name-servers",
            "Key: ntp-servers",
            &["DhcpConfigurations[3].Key", "ntp-servers is there already"],
        ),
        ("corp.example", "corp..example", &["Values[0].Value", "not a domain name"]),
        ("corp.example", &long, &["not a domain name"]),
        ("[{Value: corp.example}]", "[]", &["DhcpConfigurations[0].Values", "has 0 values"]),
        ("{Value: corp.example}", "{Value: a.b}, {Value: c.d}", &["has 2 values", "at most 1"]),
        (
            "{Value: 10.9.0.1}",
            "{Value: 10.9.0.1}, {Value: 10.9.0.4}, {Value: 10.9.0.5}",
            &["has 5 values", "at most 4"],
        ),
        ("10.9.0.1", "AmazonDNS", &["AmazonDNS is not an IP address", "or AmazonProvidedDNS"]),
        ("10.9.0.2", "224.0.1.1", &["multicast", "DhcpConfigurations[2].Values[0].Value"]),
        ("10.9.0.3", "2001:db8::3", &["not an IPv4 address"]),
        ("{Value: 2}", "{Value: 3}", &["not a NetBIOS node type", "EC2 recommends 2"]),
        ("{Value: 600}", "{Value: 139}", &["from 140 to 2147483647"]),
        ("[{Value: 600}]", "600", &["DhcpConfigurations[5].Values", "write a list"]),
        ("{Value: 600}", "{Valu: 600}", &["did you mean Value?"]),
    ] {
        assert!(text.contains(from), "{from}");
        let mut text = text.replacen(from, to, 1);
        if to.starts_with("Tags") || to.starts_with("DhcpOptionsId: default") {
            // Else the VPC's reference is a second mistake.
            text = text.replacen("  DhcpOptionsId: dopt-a\n  CidrBlock", "  CidrBlock", 1);
        }
        let errors = loaded(&text).expect_err(to);
        let report = errors.to_string();
        let expected = if to.contains("Valu:") { 2 } else { 1 };
        assert_eq!(errors.0.len(), expected, "{to}: {report}");
        for word in words {
            assert!(report.contains(word), "{word} is not in: {report}");
        }
    }
}

#[test]
fn the_hop_limit_of_metadata_is_of_the_attachment() {
    // ADDR-18
    let port = "HostId: host-a, Port: vm0";
    let stated = |limit: &str| {
        changed(port, &format!("{port}, MetadataOptions: {{HttpPutResponseHopLimit: {limit}}}"))
    };
    let limit =
        |text: &str| loaded(text).unwrap().enis["eni-a1"].attachment.as_ref().unwrap().metadata_hop_limit;
    assert_eq!((limit(EXAMPLE), limit(&stated("64"))), (1, 64));
    let old = loaded(EXAMPLE).unwrap();
    assert!(
        diff(&old, &loaded(&stated("2")).unwrap())
            .to_string()
            .contains("host-a/vm0 → host-a/vm0 (metadata hop limit 2)")
    );
    for wrong in ["0", "65", "many"] {
        let errors = loaded(&stated(wrong)).unwrap_err();
        assert!(
            errors.to_string().contains("Warren.Attachments[0].MetadataOptions.HttpPutResponseHopLimit"),
            "{errors}"
        );
        assert!(errors.to_string().contains("from 1 to 64"), "{errors}");
    }
}

#[test]
fn an_ipv6_only_subnet_has_no_ipv4() {
    let subnet = "Ipv6CidrBlockAssociationSet: [{Ipv6CidrBlock: 2001:db8:b1:1::/64}]\n- SubnetId: subnet-b";
    let only = "Ipv6CidrBlockAssociationSet: [{Ipv6CidrBlock: 2001:db8:b1:1::/64}]\n- SubnetId: subnet-six\n  \
                VpcId: vpc-blue\n  AvailabilityZone: eu-central-1a\n  Ipv6Native: true\n  \
                Ipv6CidrBlockAssociationSet: [{Ipv6CidrBlock: 2001:db8:b1:6::/64}]\n- SubnetId: subnet-b";
    let text = changed(subnet, only);
    let eni = "NetworkInterfaces:\n- NetworkInterfaceId: eni-six\n  SubnetId: subnet-six\n  \
               MacAddress: 02:00:00:00:06:01\n  Ipv6Addresses: [{Ipv6Address: \"2001:db8:b1:6::6\"}]\n  \
               Ipv6Prefixes: [{Ipv6Prefix: \"2001:db8:b1:6:1::/80\"}]\n";
    let text = text.replacen("NetworkInterfaces:\n", eni, 1);
    let model = loaded(&text).unwrap();
    assert_eq!(model.enis["eni-six"].primary4, None);
    assert_eq!(model.enis["eni-six"].prefixes6.len(), 1);
    let text = text.replacen(
        "SubnetId: subnet-six\n  Mac",
        "SubnetId: subnet-six\n  PrivateIpAddress: 10.0.1.99\n  Mac",
        1,
    );
    let errors = loaded(&text).unwrap_err();
    assert_eq!(errors.0.len(), 1, "{errors}");
    assert!(errors.to_string().contains("subnet-six has no IPv4 block"), "{errors}");
}

#[test]
fn differences_are_told() {
    let old = loaded(EXAMPLE).unwrap();
    assert!(diff(&old, &loaded(EXAMPLE).unwrap()).is_empty());

    let text = changed("eni-a1, HostId: host-a, Port: vm0", "eni-a1, HostId: host-b, Port: vm7");
    let text = text.replace("  - {NetworkInterfaceId: eni-b1, HostId: host-a, Port: vm1}\n", "");
    let text = text.replace("eni-a2", "eni-a3").replace("Vni: 4100", "Vni: 4200");
    let new = loaded(&text).unwrap();
    let diff = diff(&old, &new);
    assert_eq!(
        diff.to_string(),
        "+ eni-a3\n- eni-a2\n~ vpc-blue vni 4100 → 4200\n~ eni-a1 attachment host-a/vm0 → host-b/vm7\n\
         ~ eni-b1 attachment host-a/vm1 → none\n1 added, 1 removed, 3 changed"
    );
    let ids = |ids: &[warren::model::Id]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(ids(&diff.enis), ["eni-a3", "eni-a2", "eni-a1", "eni-b1"]);
    assert_eq!(ids(&diff.vpcs), ["vpc-blue"]);
    assert!(diff.subnets.is_empty() && diff.hosts.is_empty() && diff.route_tables.is_empty());
    let json = serde_json::to_value(&diff).unwrap();
    assert_eq!(json["changed"][1]["fields"][0]["new"], "host-b/vm7");
}

#[test]
fn differences_of_dhcp_options_are_told() {
    let (old, new) = (loaded(EXAMPLE).unwrap(), loaded(&with_dhcp_options()).unwrap());
    let added = diff(&old, &new);
    assert_eq!(
        added.to_string(),
        "+ dopt-a\n~ vpc-blue dhcp_options the region's → dopt-a\n1 added, 0 removed, 1 changed"
    );
    assert_eq!(added.dhcp_options.len(), 1);
    let text =
        with_dhcp_options().replace("10.9.0.1", "10.9.0.8").replace("corp.example", "a.example b.example");
    assert_eq!(
        diff(&new, &loaded(&text).unwrap()).to_string(),
        "~ dopt-a domain_name corp.example → a.example b.example, domain_name_servers 10.9.0.1 AmazonProvidedDNS \
         2001:db8::53 → 10.9.0.8 AmazonProvidedDNS 2001:db8::53\n0 added, 0 removed, 1 changed"
    );
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (this, last) in ('b'..='j').zip('a'..) {
        let _ = writeln!(
            bomb,
            "{this}: &{this} [*{last}, *{last}, *{last}, *{last}, *{last}, *{last}, *{last}, *{last}]"
        );
    }
    let errors = loaded(&bomb).unwrap_err();
    assert!(errors.to_string().contains("alias"), "{errors}");
}

/// The example cut into lines, some gone, doubled or spoiled: near enough to a state to reach every check.
fn spoiled() -> impl Strategy<Value = String> {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    let edit = (0..lines.len(), 0..8_u8, "[-a-z0-9:./{}\\[\\], ]{0,12}");
    prop::collection::vec(edit, 0..6).prop_map(move |edits| {
        let mut lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        for (at, kind, text) in edits {
            let at = at % lines.len();
            match kind {
                0 => drop(lines.remove(at)),
                1 => lines.insert(at, lines[at].clone()),
                2 => lines[at].push_str(&text),
                3 => lines[at] = lines[at].replace("10.0", &text),
                4 => lines[at] = lines[at].replace(": ", &format!(": {text}")),
                5 => lines[at] = lines[at].replace('1', "255"),
                6 => lines[at] = lines[at].replace("24", "0"),
                _ => lines[at] = text,
            }
        }
        lines.join("\n")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_loads_or_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = loaded(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_spoiled_state_loads_or_is_refused(text in spoiled()) {
        match loaded(&text) {
            Ok(model) => prop_assert!(diff(&model, &model).is_empty()),
            Err(errors) => prop_assert!(!errors.0.is_empty()),
        }
    }
}

/// A state of `count` ENIs on a thousand hosts, as block-style YAML or as JSON.
fn large(count: usize, json: bool) -> String {
    let subnets = count.div_ceil(200);
    let vpcs = subnets.div_ceil(250);
    let mut all = serde_json::Map::new();
    let cidr = |subnet: usize| format!("10.{}.{}", subnet / 250, subnet % 250);
    let list = |items: Vec<serde_json::Value>| serde_json::Value::Array(items);
    use serde_json::json;
    let vpc = |n: usize| format!("vpc-{n:017x}");
    all.insert(
        "Vpcs".into(),
        list((0..vpcs).map(|n| json!({"VpcId": vpc(n), "CidrBlock": format!("10.{n}.0.0/16")})).collect()),
    );
    let subnet = |n: usize| format!("subnet-{n:017x}");
    all.insert(
        "Subnets".into(),
        list(
            (0..subnets)
                .map(|n| {
                    json!({"SubnetId": subnet(n), "VpcId": vpc(n / 250),
        "AvailabilityZone": "eu-central-1a", "CidrBlock": format!("{}.0/24", cidr(n))})
                })
                .collect(),
        ),
    );
    all.insert(
        "SecurityGroups".into(),
        list((0..vpcs).map(|n| json!({"GroupId": format!("sg-{n}"), "VpcId": vpc(n)})).collect()),
    );
    let mut text = String::with_capacity(count * 400);
    let hosts = list((0..1000).map(|n| json!({"HostId": format!("host-{n}"), "UnderlayAddress": format!("192.0.{}.{}", n / 250, n % 250 + 1)})).collect());
    let networks = list((0..vpcs).map(|n| json!({"VpcId": vpc(n), "Vni": n + 1})).collect());
    let eni = |n: usize| {
        let (a, [_, _, b, c]) = (format!("{}.{}", cidr(n / 200), n % 200 + 10), (n as u32).to_be_bytes());
        (format!("eni-{n:017x}"), a, format!("02:ff:00:{:02x}:{b:02x}:{c:02x}", n >> 16))
    };
    if json {
        text.push_str(serde_json::to_string(&all).unwrap().trim_end_matches('}'));
        text.push_str(",\"NetworkInterfaces\": [");
        for n in 0..count {
            let (id, address, mac) = eni(n);
            let comma = if n == 0 { "" } else { "," };
            let _ = write!(
                text,
                "{comma}\n{{\"NetworkInterfaceId\": \"{id}\", \"SubnetId\": \"{}\", \"VpcId\": \"{}\", \"MacAddress\": \"{mac}\", \"PrivateIpAddress\": \"{address}\", \"PrivateIpAddresses\": [{{\"PrivateIpAddress\": \"{address}\", \"Primary\": true}}], \"SourceDestCheck\": true, \"Groups\": [{{\"GroupId\": \"sg-{}\"}}]}}",
                subnet(n / 200),
                vpc(n / 50_000),
                n / 50_000
            );
        }
        text.push_str("],\"Warren\": {\"Attachments\": [");
        for n in 0..count {
            let comma = if n == 0 { "" } else { "," };
            let _ = write!(
                text,
                "{comma}\n{{\"NetworkInterfaceId\": \"{}\", \"HostId\": \"host-{}\", \"Port\": \"vm{}\"}}",
                eni(n).0,
                n % 1000,
                n / 1000
            );
        }
        let _ = write!(text, "], \"Hosts\": {hosts}, \"Networks\": {networks}}}}}");
        return text;
    }
    for (key, items) in &all {
        let _ = writeln!(text, "{key}:");
        block_list(&mut text, items, "");
    }
    text.push_str("NetworkInterfaces:\n");
    for n in 0..count {
        let (id, address, mac) = eni(n);
        let _ = write!(
            text,
            "- NetworkInterfaceId: {id}\n  SubnetId: {}\n  VpcId: {}\n  MacAddress: {mac}\n  PrivateIpAddress: {address}\n  PrivateIpAddresses:\n  - PrivateIpAddress: {address}\n    Primary: true\n  SourceDestCheck: true\n  Groups:\n  - GroupId: sg-{}\n",
            subnet(n / 200),
            vpc(n / 50_000),
            n / 50_000
        );
    }
    text.push_str("Warren:\n  Attachments:\n");
    for n in 0..count {
        let _ = write!(
            text,
            "  - NetworkInterfaceId: {}\n    HostId: host-{}\n    Port: vm{}\n",
            eni(n).0,
            n % 1000,
            n / 1000
        );
    }
    for (key, items) in [("Hosts", hosts), ("Networks", networks)] {
        let _ = writeln!(text, "  {key}:");
        block_list(&mut text, &items, "  ");
    }
    text
}

/// A list of maps of scalars in block style.
fn block_list(text: &mut String, items: &serde_json::Value, indent: &str) {
    for item in items.as_array().unwrap() {
        for (index, (key, value)) in item.as_object().unwrap().iter().enumerate() {
            let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            let _ = writeln!(text, "{indent}{} {key}: {value}", if index == 0 { '-' } else { ' ' });
        }
    }
}

#[test]
fn a_large_state_is_the_same_in_both_formats() {
    let yaml = loaded(&large(2000, false)).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(yaml.enis.len(), 2000);
    assert_eq!(loaded(&large(2000, true)).unwrap(), yaml);
}

/// `cargo test --release --test model -- --ignored --nocapture` prints the figures.
#[test]
#[ignore = "takes a gigabyte of memory and, in a debug build, a minute"]
fn a_million_enis_load_within_ten_seconds() {
    let mut models = Vec::new();
    for (name, json) in [("YAML", false), ("JSON", true)] {
        let documents = [document(name, large(1_000_000, json))];
        let start = Instant::now();
        let model = load(&documents).unwrap_or_else(|errors| panic!("{}", errors.0[0]));
        let took = start.elapsed();
        println!(
            "{name}: {} MB, {} ENIs loaded in {took:?}",
            documents[0].text.len() >> 20,
            model.enis.len()
        );
        assert!(took.as_secs() < 10 || cfg!(debug_assertions));
        models.push(model);
    }
    let start = Instant::now();
    assert!(diff(&models[0], &models[1]).is_empty());
    println!("compared in {:?}", start.elapsed());
    let start = Instant::now();
    let mut moved = models[0].clone();
    println!("cloned in {:?}", start.elapsed());
    moved.enis.get_mut("eni-00000000000000007").unwrap().attachment = None;
    let start = Instant::now();
    assert_eq!(diff(&models[0], &moved).enis.len(), 1);
    println!("one move found in {:?}", start.elapsed());
}
