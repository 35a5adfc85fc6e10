//! What leads out of VPCs: gateways, public addresses, peerings, endpoints, the links to the outside.

use warren::model::{BlockPublicAccess, EndpointService, Model, Terminal, diff, load};

use crate::{document, loaded};

pub(crate) const STATE: &str = include_str!("../data/gateways.state.yaml");

/// The state of this file with one text put for another, which must be there.
pub(crate) fn changed(from: &str, to: &str) -> String {
    assert!(STATE.contains(from), "{from}");
    STATE.replacen(from, to, 1)
}

pub(crate) fn model() -> Model {
    loaded(STATE).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Loads a state, and expects exactly one error with these words.
pub(crate) fn refused(text: &str, words: &[&str]) {
    let errors = loaded(text).expect_err(&words.join(", "));
    let report = errors.to_string();
    assert_eq!(errors.0.len(), 1, "{words:?}: {report}");
    for word in words {
        assert!(report.contains(word), "{word} is not in: {report}");
    }
    assert!(!errors.0[0].problem.is_empty() && !errors.0[0].fix.is_empty(), "{report}");
}

#[test]
fn gateways_of_all_kinds_load() {
    let model = model();
    assert_eq!(model.prefix_lists["pl-corp"].entries.len(), 2);
    assert_eq!((model.prefix_lists["pl-corp"].max_entries, model.prefix_lists["pl-s3"].max_entries), (5, 1));
    assert_eq!(model.internet_gateways["igw-blue"].vpc.as_deref(), Some("vpc-blue"));
    assert_eq!(model.internet_gateways["igw-spare"].vpc, None);
    assert_eq!(model.egress_only_gateways["eigw-blue"].vpc.as_deref(), Some("vpc-blue"));
    assert_eq!(model.vpn_gateways["vgw-blue"].vpc.as_deref(), Some("vpc-blue"));
    let nat = &model.nat_gateways["nat-blue"];
    let addresses: Vec<_> = nat.addresses.iter().map(ToString::to_string).collect();
    assert_eq!((&*nat.vpc, nat.public, &*addresses.join(" ")), ("vpc-blue", true, "10.0.0.21 10.0.0.20"));
    assert!(!model.nat_gateways["nat-private"].public);
    assert!(!model.nat_gateways.contains_key("nat-gone"));
    assert_eq!(model.block_public_access, BlockPublicAccess::Ingress);

    let vpn = &model.vpn_connections["vpn-static"];
    assert_eq!(vpn.terminal, Terminal::VpnGateway("vgw-blue".into()));
    assert_eq!((vpn.routes.len(), vpn.tunnels_up), (1, [true, false]));
    assert_eq!(model.vpn_connections["vpn-hub"].terminal, Terminal::TransitGateway("tgw-hub".into()));
    assert_eq!(&*model.direct_connect_gateways["dxgw-hub"].transit_gateways, ["tgw-hub".into()]);
    let vif = &model.virtual_interfaces["dxvif-private"];
    assert_eq!((vif.vlan, vif.mtu, &*vif.peer.to_string()), (101, 9001, "169.254.255.2"));
    assert_eq!(vif.terminal, Terminal::VpnGateway("vgw-blue".into()));
    let vif = &model.virtual_interfaces["dxvif-transit"];
    assert_eq!(vif.terminal, Terminal::DirectConnectGateway("dxgw-hub".into()));

    assert_eq!(model.endpoints["vpce-s3"].service, EndpointService::Gateway);
    let service =
        EndpointService::LoadBalancer { subnet: "subnet-fw".into(), appliances: vec!["eni-red".into()] };
    assert_eq!(model.endpoints["vpce-gwlb"].service, service);
    let peering = &model.peerings["pcx-1"];
    assert!(peering.active && !peering.inter_region);
    assert_eq!(peering.peer_of("vpc-blue").map(|id| &**id), Some("vpc-red"));
    assert_eq!(model.edges["igw-blue"].hosts.len(), 2);

    let circuit = &model.circuits["dxvif-private"];
    assert_eq!((circuit.vlan, &*circuit.address.to_string()), (Some(101), "169.254.255.1/30"));
    assert_eq!((model.circuits["office-1"].tunnel, model.circuits["office-1"].vlan), (1, None));
}

#[test]
fn a_public_address_has_one_owner() {
    let model = model();
    let owners: Vec<_> = [10, 11, 20, 21]
        .map(|last| &model.public_addresses[&*format!("203.0.113.{last}")])
        .map(|address| format!("{} {}", address.owner, address.private))
        .into();
    assert_eq!(
        owners,
        ["eni-web 10.0.0.10", "eni-web 10.0.0.11", "nat-blue 10.0.0.20", "nat-blue 10.0.0.21"]
    );
    // One that nothing has is not there.
    assert_eq!(model.public_addresses.len(), 4);
    for (from, to, words) in [
        (
            "PublicIp: 203.0.113.10, NetworkInterfaceId: eni-web",
            "PublicIp: 203.0.113.10, NetworkInterfaceId: eni-fw",
            &["Addresses[0].PublicIp", "10.0.0.10 of eni-web already"][..],
        ),
        (
            "PublicIp: 203.0.113.10, NetworkInterfaceId: eni-web",
            "PublicIp: 203.0.113.12, NetworkInterfaceId: eni-web",
            &["has the public address 203.0.113.10 already"],
        ),
        (
            "PublicIp: 203.0.113.20,",
            "PublicIp: 203.0.113.11,",
            &["NatGateways[0]", "10.0.0.11 of eni-web already"],
        ),
        (
            "{PublicIp: 203.0.113.99}",
            "{PublicIp: 203.0.113.99, NetworkInterfaceId: eni-none}",
            &["eni-none is not in"],
        ),
        (
            "{PublicIp: 203.0.113.99}",
            "{PublicIp: 203.0.113.99, NetworkInterfaceId: eni-fw, PrivateIpAddress: 10.0.2.99}",
            &["eni-fw does not have 10.0.2.99"],
        ),
        ("{PublicIp: 203.0.113.99}", "{PublicIp: 224.0.0.9}", &["224.0.0.9 is a multicast address"]),
    ] {
        refused(&changed(from, to), words);
    }
}

#[test]
fn a_vpc_has_one_gateway_of_a_kind() {
    // GW-7: one internet gateway for a VPC; as many egress-only and virtual private gateways.
    refused(
        &changed(
            "{InternetGatewayId: igw-spare}",
            "{InternetGatewayId: igw-spare, Attachments: [{VpcId: vpc-blue}]}",
        ),
        &[
            "InternetGateways[1].Attachments[0].VpcId",
            "vpc-blue has igw-blue attached already",
            "InvalidParameterValue",
        ],
    );
    let second = |id: &str, key: &str, list: &str| {
        changed(
            &format!("\n{list}:\n"),
            &format!("\n{list}:\n- {{{id}: other, {key}: [{{VpcId: vpc-blue}}]}}\n"),
        )
    };
    refused(
        &second("EgressOnlyInternetGatewayId", "Attachments", "EgressOnlyInternetGateways"),
        &["has other attached"],
    );
    refused(&second("VpnGatewayId", "VpcAttachments", "VpnGateways"), &["has other attached"]);
    refused(
        &changed("VpcId: vpc-blue, State: available}", "VpcId: vpc-blue}, {VpcId: vpc-red}"),
        &["is attached to vpc-blue already"],
    );
    // One that is being detached is not attached.
    let detached = changed("[{VpcId: vpc-blue, State: attached}]", "[{VpcId: vpc-blue, State: detached}]");
    assert_eq!(loaded(&detached).unwrap().egress_only_gateways["eigw-blue"].vpc, None);
}

#[test]
fn a_nat_gateway_has_free_addresses_of_its_subnet() {
    // GW-11, and ADDR-1 for the reserved ones.
    let one = "{NatGatewayId: nat-private, SubnetId: subnet-public, ConnectivityType: private, NatGatewayAddresses: [{PrivateIp: 10.0.0.22}]}";
    let private = |addresses: &str| changed(one, &one.replace("{PrivateIp: 10.0.0.22}", addresses));
    for (addresses, words) in [
        (
            "{PrivateIp: 10.0.0.2}",
            &["NatGateways[1].NatGatewayAddresses[0].PrivateIp", "reserved for DNS"][..],
        ),
        ("{PrivateIp: 10.0.1.22}", &["is not in subnet-public"]),
        ("{PrivateIp: 10.0.0.11}", &["is eni-web's already", "InvalidIPAddress.InUse"]),
        ("{PrivateIp: 10.0.0.20}", &["is nat-blue's already"]),
        ("{PrivateIp: 10.0.0.22, PublicIp: 203.0.113.22}", &["a private NAT gateway has a public address"]),
        (
            "{PrivateIp: 10.0.0.22, IsPrimary: true}, {PrivateIp: 10.0.0.23, IsPrimary: true}",
            &["second primary"],
        ),
        ("", &["has no address"]),
    ] {
        refused(&private(addresses), words);
    }
    let many = |count: u8| {
        (0..count).map(|n| format!("{{PrivateIp: 10.0.0.{}}}", n + 100)).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(loaded(&private(&many(8))).unwrap().nat_gateways["nat-private"].addresses.len(), 8);
    refused(&private(&many(9)), &["has 9 addresses", "at most 8"]);
    refused(
        &changed("ConnectivityType: private", "ConnectivityType: public"),
        &["10.0.0.22 has no public address"],
    );
}

#[test]
fn what_ec2_makes_for_gateways_is_not_there_twice() {
    // EC2 shows an ENI for each address of a NAT gateway: it is the gateway.
    let eni = "NetworkInterfaces:\n- {NetworkInterfaceId: eni-of-nat-1, SubnetId: subnet-public, MacAddress: 02:00:00:00:00:09, PrivateIpAddress: 10.0.0.22}\n";
    let own =
        changed("[{PrivateIp: 10.0.0.22}]", "[{PrivateIp: 10.0.0.22, NetworkInterfaceId: eni-of-nat-1}]");
    let model =
        loaded(&own.replacen("NetworkInterfaces:\n", eni, 1)).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(!model.enis.contains_key("eni-of-nat-1") && model.nat_gateways.contains_key("nat-private"));
    // Endpoints that are ENIs are reached as ENIs.
    let interface =
        "VpcEndpoints:\n- {VpcEndpointId: vpce-if, VpcEndpointType: Interface, VpcId: vpc-blue}\n";
    assert!(!loaded(&changed("VpcEndpoints:\n", interface)).unwrap().endpoints.contains_key("vpce-if"));
}

#[test]
fn prefix_lists_are_checked() {
    // QT-7
    for (from, to, words) in [
        ("MaxEntries: 5", "MaxEntries: 1", &["PrefixListMaxEntriesExceeded", "has 2 entries"][..]),
        ("MaxEntries: 5", "MaxEntries: 1001", &["from 1 to 1000"]),
        ("{Cidr: 10.9.0.0/16}", "{Cidr: \"2001:db8::/32\"}", &["Entries[1].Cidr", "another family"]),
        ("{Cidr: 10.9.0.0/16}", "{Cidr: 10.8.0.0/16}", &["is there already"]),
        ("AddressFamily: IPv4", "AddressFamily: IPv5", &["IPv4 or IPv6"]),
    ] {
        refused(&changed(from, to), words);
    }
}

#[test]
fn peerings_join_two_vpcs_with_disjoint_blocks() {
    // PT-5
    let overlapping = changed(
        "VpcId: vpc-red, CidrBlock: 10.1.0.0/16",
        "VpcId: vpc-red, CidrBlock: 10.1.0.0/16, CidrBlockAssociationSet: [{CidrBlock: 10.1.0.0/16}, {CidrBlock: 10.0.128.0/20}]",
    );
    refused(
        &overlapping,
        &["VpcPeeringConnections[0]", "10.0.128.0/20 of vpc-red overlaps 10.0.0.0/16 of vpc-blue", "PT-5"],
    );
    // One that EC2 has given up is as if it were not there: the route to it stays, a blackhole (RT-12).
    let failed = overlapping.replace("Status: {Code: active}", "Status: {Code: failed}");
    assert!(loaded(&failed).unwrap().peerings.is_empty());
    let pending = changed("{Code: active}", "{Code: pending-acceptance}");
    assert!(!loaded(&pending).unwrap().peerings["pcx-1"].active);
    refused(
        &changed("AccepterVpcInfo: {VpcId: vpc-red}", "AccepterVpcInfo: {VpcId: vpc-blue}"),
        &["is both VPCs"],
    );
    let second = "VpcPeeringConnections:\n- {VpcPeeringConnectionId: pcx-2, RequesterVpcInfo: {VpcId: vpc-red}, AccepterVpcInfo: {VpcId: vpc-blue}}\n";
    refused(
        &changed("VpcPeeringConnections:\n", second),
        &["pcx-2 joins", "VpcPeeringConnectionAlreadyExists"],
    );
    // PT-8: two regions.
    let far = changed(
        "subnet-red, VpcId: vpc-red, AvailabilityZone: eu-central-1a",
        "subnet-red, VpcId: vpc-red, AvailabilityZone: eu-west-1a",
    );
    assert!(loaded(&far).unwrap().peerings["pcx-1"].inter_region);
}

#[test]
fn vpn_connections_and_virtual_interfaces_are_checked() {
    for (from, to, words) in [
        (
            "StaticRoutesOnly: true",
            "StaticRoutesOnly: false",
            &["VpnConnections[0].Routes[0]", "of a BGP connection"][..],
        ),
        (
            "vpn-hub, TransitGatewayId: tgw-hub",
            "vpn-hub, TransitGatewayId: tgw-hub, VpnGatewayId: vgw-blue",
            &["second gateway"],
        ),
        ("{Status: DOWN}", "{Status: DWON}", &["VgwTelemetry[1].Status", "UP or DOWN"]),
        ("vlan: 101", "vlan: 4095", &["virtualInterfaces[0].vlan", "from 1 to 4094"]),
        ("mtu: 8500", "mtu: 9001", &["virtualInterfaces[1].mtu", "1500 or 8500"]),
        ("169.254.255.2/30", "169.254.255.9/30", &["customerAddress", "not the other end"]),
        ("virtualInterfaceType: private", "virtualInterfaceType: public", &["public virtual interfaces"]),
        // BGP-10: a private interface does not lead to transit gateways.
        ("virtualInterfaceType: transit", "virtualInterfaceType: private", &["leads to tgw-hub"]),
        (
            "{id: tgw-hub, type: transitGateway}",
            "{id: tgw-hub, type: virtualPrivateGateway}",
            &["is not a virtualPrivateGateway"],
        ),
    ] {
        refused(&changed(from, to), words);
    }
    let both = "{directConnectGatewayId: dxgw-hub, associatedGateway: {id: vgw-blue}}\n- {directConnectGatewayId: dxgw-hub, associatedGateway: {id: tgw-hub, type";
    let text = changed("{directConnectGatewayId: dxgw-hub, associatedGateway: {id: tgw-hub, type", both);
    let errors = loaded(&text).unwrap_err().to_string();
    assert!(errors.contains("a gateway of the other kind"), "{errors}");
}

#[test]
fn endpoints_and_their_appliances_are_checked() {
    for (from, to, words) in [
        (
            "VpcEndpointType: Gateway,",
            "VpcEndpointType: Interfaces,",
            &["VpcEndpoints[0]", "Gateway or GatewayLoadBalancer"][..],
        ),
        ("SubnetIds: [subnet-fw]}", "SubnetIds: [subnet-fw, subnet-app]}", &["second subnet"]),
        ("SubnetIds: [subnet-fw]}", "SubnetIds: [subnet-red]}", &["subnet-red is in vpc-red"]),
        ("SubnetIds: [subnet-fw]}", "Tags: []}", &["VpcEndpoints[1].SubnetIds", "is missing"]),
        (
            "[eni-red]",
            "[eni-red, eni-red]",
            &["Warren.Appliances[0].NetworkInterfaceIds[1]", "there already"],
        ),
        ("VpcEndpointId: vpce-gwlb, Net", "VpcEndpointId: vpce-s3, Net", &["vpce-s3 is a gateway endpoint"]),
        ("VpcEndpointId: vpce-gwlb, Net", "VpcEndpointId: vpce-x, Net", &["vpce-x is not in the state"]),
        (
            "block-ingress",
            "on",
            &["VpcBlockPublicAccessOptions.InternetGatewayBlockMode", "block-bidirectional"],
        ),
    ] {
        refused(&changed(from, to), words);
    }
}

#[test]
fn hosts_and_links_of_gateways_are_checked() {
    for (from, to, words) in [
        (
            "GatewayId: nat-blue, Hosts",
            "GatewayId: nat-gone, Hosts",
            &["Warren.Gateways[1].GatewayId", "nat-gone is not in"][..],
        ),
        ("GatewayId: nat-blue, Hosts", "GatewayId: vpce-gwlb, Hosts", &["which every host serves"]),
        ("GatewayId: nat-blue, Hosts", "GatewayId: igw-blue, Hosts", &["igw-blue has hosts already"]),
        ("[host-a, host-b]", "[host-a, host-a]", &["Hosts[1]", "host-a is there already"]),
        ("[host-a, host-b]", "[host-c]", &["host-c is not in the state"]),
        ("ResourceId: dxvif-private, HostId", "ResourceId: igw-blue, HostId", &["igw-blue has no circuits"]),
        (
            "ResourceId: dxvif-private, HostId",
            "ResourceId: dxvif-private, Tunnel: 1, HostId",
            &["has no tunnels"],
        ),
        ("Tunnel: 1", "Tunnel: 2", &["has 2, numbered from 0"]),
        ("Vlan: 200", "Vlan: 101", &["VLAN 101 is dxvif-private's already"]),
        ("CircuitId: office-1", "CircuitId: office-0", &["another circuit has the id office-0"]),
        (", PeerAddress: 169.254.10.2", "", &["Warren.Circuits[1].PeerAddress", "is missing"]),
        ("169.254.10.1/30", "169.254.10.1", &["an address with its prefix"]),
        ("PeerAddress: 169.254.10.2}", "PeerAddress: 169.254.10.1}", &["not the other end"]),
    ] {
        refused(&changed(from, to), words);
    }
}

#[test]
fn every_mistake_with_gateways_is_reported_with_its_place() {
    let text = include_str!("../data/gateway-mistakes.state.yaml");
    let errors = load(&[document("mistakes.yaml", text)]).unwrap_err();
    let found: Vec<_> = errors.0.iter().map(|error| (&*error.path, &*error.resource)).collect();
    // Each mistake's place stands in the line above it: `# N. PATH (RESOURCE): what is wrong`.
    let stated = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("# ")?.split_once(". ")?.1.split_once(')'));
    let mut wanted: Vec<_> = stated.filter_map(|(place, _)| place.split_once(" (")).collect();
    assert!(wanted.len() >= 20, "{wanted:?}");
    for place in found {
        let index = wanted.iter().position(|wanted| *wanted == place);
        wanted.remove(index.unwrap_or_else(|| panic!("{place:?} is not expected:\n{errors}")));
    }
    assert!(wanted.is_empty(), "{wanted:?} are not in\n{errors}");
}

#[test]
fn what_the_aws_cli_prints_loads() {
    let text = include_str!("../data/aws-cli.state.json");
    let model = load(&[document("aws.json", text)]).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(model.nat_gateways.len(), 1);
    assert_eq!(model.public_addresses.len(), 2);
    assert_eq!(model.transit_attachments.len(), 2);
    assert_eq!(model.virtual_interfaces.len(), 1);
    // What describes them is kept.
    assert!(model.nat_gateways.values().all(|gateway| gateway.descriptive.is_some()));
}

#[test]
fn differences_of_what_leads_out_are_told() {
    let old = model();
    assert!(diff(&old, &old).is_empty() && !diff(&old, &old).routing);
    for (from, to, text) in [
        ("Hosts: [host-a, host-b]", "Hosts: [host-a]", "~ igw-blue hosts host-a host-b → host-a"),
        ("Code: active", "Code: pending-acceptance", "~ pcx-1 active true → false"),
        ("block-ingress", "off", "~ block-public-access mode block-ingress → off"),
        (
            "{PublicIp: 203.0.113.99}",
            "{PublicIp: 203.0.113.99, NetworkInterfaceId: eni-fw}",
            "+ 203.0.113.99",
        ),
        (
            "{DestinationCidrBlock: 10.31.0.0/16, GatewayId: vgw-blue}",
            "{DestinationCidrBlock: 10.31.0.0/16, GatewayId: vgw-gone}",
            "10.31.0.0/16:vgw-gone",
        ),
        ("VpcId: vpc-red, Vni: 101", "VpcId: vpc-red, Vni: 102", "~ vpc-red vni 101 → 102"),
        (
            "GroupMember: false, GroupSource: true",
            "GroupMember: true, GroupSource: true",
            "~ tgw-mcast-1 members 239.1.1.1:eni-fw → 239.1.1.1:eni-fw 239.1.1.1:eni-web",
        ),
        (
            "tgw-hub, VpcId: vpc-blue, SubnetIds: [subnet-app, subnet-fw]",
            "tgw-hub, VpcId: vpc-blue, SubnetIds: [subnet-app]",
            "~ tgw-attach-blue kind vpc-blue by subnet-app subnet-fw in appliance mode → vpc-blue by subnet-app in appliance mode",
        ),
        ("Vlan: 200", "Vlan: 201", "~ office-0 vlan 200 → 201"),
    ] {
        let new = loaded(&changed(from, to)).unwrap_or_else(|errors| panic!("{to}: {errors}"));
        let found = diff(&old, &new);
        assert!(found.routing, "{to}");
        assert!(found.to_string().contains(text), "{text} is not in: {found}");
    }
    let inside = loaded(&changed("MacAddress: 02:00:00:00:00:02", "MacAddress: 02:00:00:00:00:04")).unwrap();
    assert!(!diff(&old, &inside).routing);
    let text =
        loaded(&changed("{PublicIp: 203.0.113.99}", "{PublicIp: 203.0.113.99, NetworkInterfaceId: eni-fw}"))
            .unwrap();
    let json = serde_json::to_value(diff(&old, &text)).unwrap();
    assert_eq!(json["added"][0]["kind"], "public-address");
}
