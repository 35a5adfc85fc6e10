//! Routes of VPCs' route tables, and the tables that gateways read.

use warren::model::{Destination, Target};

use crate::{
    gateways::{changed, model, refused},
    loaded,
};

fn targets(table: &str) -> Vec<String> {
    let model = model();
    let routes = &model.route_tables[table].routes;
    routes.iter().map(|route| format!("{} {:?}", route.destination, route.target)).collect()
}

#[test]
fn routes_lead_to_things() {
    // RT-9; the routes of the VPC's blocks come first (RT-2), and what was learned is not among them (RT-19).
    assert_eq!(
        targets("rtb-main"),
        [
            "10.0.0.0/16 Local",
            "2001:db8:b1::/56 Local",
            "0.0.0.0/0 Nat(\"nat-blue\")",
            "::/0 EgressOnly(\"eigw-blue\")",
            "10.1.0.0/16 Peering(\"pcx-1\")",
            "10.20.0.0/14 Transit(\"tgw-hub\")",
            "pl-s3 Endpoint(\"vpce-s3\")",
            "10.0.0.0/24 Eni(\"eni-fw\")",
        ]
    );
    assert_eq!(
        targets("rtb-public")[2..],
        [
            "0.0.0.0/0 InternetGateway(\"igw-blue\")",
            "10.30.0.0/16 Eni(\"eni-fw\")",
            "10.31.0.0/16 VpnGateway(\"vgw-blue\")",
            "10.32.0.0/16 Gone(\"nat-gone\")",
            "10.0.1.0/24 Endpoint(\"vpce-gwlb\")",
            "10.33.0.0/16 InternetGateway(\"igw-spare\")",
        ]
    );
    let model = model();
    assert_eq!(&*model.route_tables["rtb-main"].propagating, ["vgw-blue".into()]);
    assert_eq!(model.route_tables["rtb-ingress"].gateway.as_deref(), Some("igw-blue"));
}

/// Replaces the target of a route of rtb-public.
fn to(target: &str) -> String {
    changed(
        "{DestinationCidrBlock: 10.31.0.0/16, GatewayId: vgw-blue}",
        &format!("{{DestinationCidrBlock: 10.31.0.0/16, {target}}}"),
    )
}

/// Replaces the first route of rtb-public.
fn route(route: &str) -> String {
    changed("{DestinationCidrBlock: 0.0.0.0/0, GatewayId: igw-blue}", &format!("{{{route}}}"))
}

#[test]
fn what_is_gone_leaves_a_blackhole() {
    // RT-12
    for (target, id) in [
        ("GatewayId: igw-x", "igw-x"),
        ("GatewayId: vgw-x", "vgw-x"),
        ("GatewayId: vpce-x", "vpce-x"),
        ("VpcEndpointId: vpce-x", "vpce-x"),
        ("NatGatewayId: nat-x", "nat-x"),
        ("NetworkInterfaceId: eni-x", "eni-x"),
        ("VpcPeeringConnectionId: pcx-x", "pcx-x"),
        ("TransitGatewayId: tgw-x", "tgw-x"),
    ] {
        let model = loaded(&to(target)).unwrap_or_else(|errors| panic!("{target}: {errors}"));
        let routes = &model.route_tables["rtb-public"].routes;
        assert!(routes.iter().any(|route| route.target == Target::Gone(id.into())), "{target}");
    }
    for (target, words) in [
        ("GatewayId: gateway", &["RouteTables[1].Routes[2].GatewayId", "gateway is not known", "igw-"][..]),
        ("GatewayId: 10.0.0.1", &["a target is never an address (RT-9)"]),
        ("NatGatewayId: igw-x", &["igw-x is not known", "nat-"]),
        ("CarrierGatewayId: cagw-1", &["CarrierGatewayId", "cagw-1 is not known"]),
        ("Tags: []", &["the key Tags is unknown"]),
    ] {
        let errors = loaded(&to(target)).expect_err(target).to_string();
        for word in words {
            assert!(errors.contains(word), "{word} is not in: {errors}");
        }
    }
}

#[test]
fn a_route_to_a_detached_gateway_stays() {
    // RT-12: EC2 keeps it, as a blackhole.
    for target in ["GatewayId: igw-spare", "TransitGatewayId: tgw-far"] {
        let model = loaded(&to(target)).unwrap_or_else(|errors| panic!("{target}: {errors}"));
        let routes = &model.route_tables["rtb-public"].routes;
        assert!(routes.iter().any(|route| target.ends_with(route.target.id())), "{target}");
    }
    // Attached elsewhere, it is another's, but for what EC2 says is left behind.
    let elsewhere = |state: &str| {
        let text = to(&format!("GatewayId: igw-spare{state}"));
        let spare = "{InternetGatewayId: igw-spare, Attachments: [{VpcId: vpc-red}]}";
        text.replacen("{InternetGatewayId: igw-spare}", spare, 1).replacen(
            "\n  - {DestinationCidrBlock: 10.33.0.0/16, GatewayId: igw-spare}",
            "",
            1,
        )
    };
    refused(&elsewhere(""), &["igw-spare is of vpc-red", "State: blackhole"]);
    let model = loaded(&elsewhere(", State: blackhole")).unwrap();
    let gone = Target::Gone("igw-spare".into());
    assert!(model.route_tables["rtb-public"].routes.iter().any(|route| route.target == gone));
}

#[test]
fn targets_are_of_the_tables_vpc() {
    refused(
        &to("NetworkInterfaceId: eni-red"),
        &["eni-red is of vpc-red, another VPC", "InvalidParameterValue"],
    );
    let other = "{VpcPeeringConnectionId: pcx-1, RequesterVpcInfo: {VpcId: vpc-blue}";
    assert!(loaded(&changed(other, other)).is_ok());
    refused(
        &to("GatewayId: igw-blue, NatGatewayId: nat-blue"),
        &["NatGatewayId", "second target, beside GatewayId"],
    );
    // The AWS CLI prints an instance's ENI beside it.
    assert!(loaded(&to("InstanceId: i-fw, InstanceOwnerId: 1, NetworkInterfaceId: eni-fw")).is_ok());
    refused(&to("InstanceId: i-none"), &["no ENI's Attachment has the InstanceId i-none"]);
    let twice = to("InstanceId: i-two")
        .replace("i-fw, DeviceIndex", "i-two, DeviceIndex")
        .replace("InstanceId: i-fw", "NetworkInterfaceId: eni-fw");
    assert!(loaded(&twice).is_ok());
    let twice = twice.replacen(
        "  PrivateIpAddress: 10.1.0.10",
        "  PrivateIpAddress: 10.1.0.10\n  Attachment: {InstanceId: i-two}",
        1,
    );
    refused(&twice, &["i-two has 2 ENIs", "write NetworkInterfaceId"]);
}

#[test]
fn destinations_are_unique_and_whole() {
    refused(
        &route("DestinationCidrBlock: 10.31.0.0/16, GatewayId: igw-blue"),
        &["RouteTables[1].Routes[2].DestinationCidrBlock", "RouteAlreadyExists"],
    );
    refused(
        &route("DestinationPrefixListId: pl-none, GatewayId: igw-blue"),
        &["pl-none is not in the state"],
    );
    refused(&route("GatewayId: igw-blue"), &["has no destination"]);
    refused(
        &route("DestinationCidrBlock: 0.0.0.0/0, DestinationPrefixListId: pl-corp, GatewayId: igw-blue"),
        &["second destination"],
    );
    refused(&route("DestinationCidrBlock: 0.0.0.0/0"), &["has no target"]);
    // Of one family; a gateway endpoint is for a prefix list (GW-21, GW-22).
    refused(
        &route("DestinationCidrBlock: 0.0.0.0/0, EgressOnlyInternetGatewayId: eigw-blue"),
        &["is for IPv6 only"],
    );
    refused(
        &route("DestinationCidrBlock: 0.0.0.0/0, GatewayId: vpce-s3"),
        &["vpce-s3 is a gateway endpoint"],
    );
    let list = loaded(&route("DestinationPrefixListId: pl-corp, GatewayId: igw-blue")).unwrap();
    assert_eq!(
        list.route_tables["rtb-public"].routes[2].destination,
        Destination::PrefixList("pl-corp".into())
    );
}

#[test]
fn inside_the_vpc_routes_are_for_whole_subnets_and_lead_to_middleboxes() {
    // RT-7: a whole subnet, to an ENI, a NAT gateway or a Gateway Load Balancer endpoint.
    for target in [
        "NetworkInterfaceId: eni-web",
        "NatGatewayId: nat-blue",
        "GatewayId: vpce-gwlb",
        "NetworkInterfaceId: eni-gone",
    ] {
        for block in ["10.0.2.0/24", "10.0.0.0/16"] {
            let text = route(&format!("DestinationCidrBlock: {block}, {target}"));
            let model = loaded(&text).unwrap_or_else(|errors| panic!("{target}: {errors}"));
            let routes = &model.route_tables["rtb-public"].routes;
            // The local route's own target is replaced, in its place.
            assert_eq!(routes[0].target == Target::Local, block != "10.0.0.0/16", "{target}");
        }
    }
    for target in [
        "GatewayId: igw-blue",
        "TransitGatewayId: tgw-hub",
        "VpcPeeringConnectionId: pcx-1",
        "GatewayId: igw-gone",
    ] {
        refused(
            &route(&format!("DestinationCidrBlock: 10.0.2.0/24, {target}")),
            &["cannot be the target of 10.0.2.0/24", "InvalidParameterValue", "RT-7"],
        );
    }
    // ING-11: not to an ENI of the very subnet.
    refused(
        &route("DestinationCidrBlock: 10.0.2.0/24, NetworkInterfaceId: eni-fw"),
        &["is in the subnet 10.0.2.0/24 itself"],
    );
    // RT-8: not a part of a subnet, nor a block around several.
    for block in ["10.0.2.10/32", "10.0.2.0/25", "10.0.0.0/20", "10.0.9.0/24"] {
        let text = route(&format!("DestinationCidrBlock: {block}, NetworkInterfaceId: eni-fw"));
        refused(&text, &["not a whole subnet", "RT-8", "InvalidParameterValue"]);
    }
    refused(&route("DestinationCidrBlock: 10.0.2.0/24, GatewayId: local"), &["cannot be local"]);
    // A larger block is outside.
    assert!(loaded(&route("DestinationCidrBlock: 10.0.0.0/8, GatewayId: igw-blue")).is_ok());
    // The blocks of a prefix list are held to the same.
    let list = changed("{Cidr: 10.9.0.0/16}", "{Cidr: 10.0.2.128/25}");
    assert!(loaded(&list).is_ok());
    let list = list.replacen("{DestinationCidrBlock: 10.31.0.0/16,", "{DestinationPrefixListId: pl-corp,", 1);
    refused(&list, &["DestinationPrefixListId", "10.0.2.128/25 is inside vpc-blue", "RT-8"]);
}

#[test]
fn a_vpc_of_2020_has_local_routes_only_inside() {
    // RT-7 before August 2021; gateways' tables were there already.
    let legacy = |text: &str| {
        text.replacen("{VpcId: vpc-blue, Vni: 100}", "{VpcId: vpc-blue, Vni: 100, Legacy2020Local: true}", 1)
    };
    let errors = loaded(&legacy(&changed("pcx-1, Req", "pcx-1, Req"))).unwrap_err();
    let places: Vec<_> = errors.0.iter().map(|error| &*error.path).collect();
    assert_eq!(
        places,
        ["RouteTables[0].Routes[6].DestinationCidrBlock", "RouteTables[1].Routes[4].DestinationCidrBlock"],
        "{errors}"
    );
    assert!(errors.to_string().contains("Legacy2020Local (RT-7)"), "{errors}");
    let text = changed("\n  - {DestinationCidrBlock: 10.0.0.0/24, NetworkInterfaceId: eni-fw}", "");
    let text = text.replacen("\n  - {DestinationCidrBlock: 10.0.1.0/24, VpcEndpointId: vpce-gwlb}", "", 1);
    let model = loaded(&legacy(&text)).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(model.vpcs["vpc-blue"].legacy_2020_local && !model.vpcs["vpc-red"].legacy_2020_local);
}

#[test]
fn ec2s_own_blocks_have_no_routes() {
    // RT-14
    for block in [
        "DestinationCidrBlock: 169.254.168.0/22",
        "DestinationCidrBlock: 169.254.169.254/32",
        "DestinationIpv6CidrBlock: \"fd00:ec2::253/128\"",
    ] {
        refused(&route(&format!("{block}, NetworkInterfaceId: eni-fw")), &["EC2's own services", "RT-14"]);
    }
    assert!(loaded(&route("DestinationCidrBlock: 169.254.0.0/16, NetworkInterfaceId: eni-fw")).is_ok());
}

/// Replaces the first route of the internet gateway's table.
fn ingress(route: &str) -> String {
    changed("- {DestinationCidrBlock: 10.0.1.0/24, NetworkInterfaceId: eni-fw}", &format!("- {{{route}}}"))
}

#[test]
fn a_gateways_table_has_whole_blocks_only() {
    // ING-2, ING-3
    for route in [
        "DestinationCidrBlock: 10.0.0.0/16, NetworkInterfaceId: eni-fw",
        "DestinationCidrBlock: 10.0.0.0/24, GatewayId: vpce-gwlb",
        "DestinationCidrBlock: 10.0.0.0/24, GatewayId: local",
    ] {
        loaded(&ingress(route)).unwrap_or_else(|errors| panic!("{route}: {errors}"));
    }
    for (route, words) in [
        (
            "DestinationCidrBlock: 0.0.0.0/0, NetworkInterfaceId: eni-fw",
            &["RouteTables[2].Routes[0]", "is not in a block of vpc-blue", "ING-2"][..],
        ),
        ("DestinationCidrBlock: 10.0.1.0/25, NetworkInterfaceId: eni-fw", &["not a whole subnet"]),
        (
            "DestinationPrefixListId: pl-corp, NetworkInterfaceId: eni-fw",
            &["pl-corp is a prefix list", "ING-2"],
        ),
        ("DestinationCidrBlock: 10.0.1.0/24, NatGatewayId: nat-blue", &["cannot be the target", "ING-3"]),
        ("DestinationCidrBlock: 10.0.1.0/24, GatewayId: vgw-blue", &["cannot be the target", "ING-3"]),
    ] {
        refused(&ingress(route), words);
    }
}

#[test]
fn a_gateways_table_is_its_own() {
    // ING-9
    let propagating = changed(
        "Associations: [{GatewayId: igw-blue}]",
        "Associations: [{GatewayId: igw-blue}]\n  PropagatingVgws: [{GatewayId: vgw-blue}]",
    );
    refused(&propagating, &["RouteTables[2].PropagatingVgws[0].GatewayId", "ING-9"]);
    let main = changed("[{Main: true}]", "[]").replacen(
        "[{GatewayId: igw-blue}]",
        "[{GatewayId: igw-blue}, {Main: true}]",
        1,
    );
    refused(&main, &["a main table is associated with igw-blue", "ING-9"]);
    for (associations, words) in [
        ("{GatewayId: igw-spare}", &["igw-spare is not attached to vpc-blue"][..]),
        ("{GatewayId: igw-x}", &["igw-x is not in the state"]),
        ("{GatewayId: igw-blue}, {GatewayId: vgw-blue}", &["the table is associated with igw-blue already"]),
        ("{GatewayId: igw-blue, SubnetId: subnet-app}", &["is a second reader"]),
    ] {
        refused(&changed("[{GatewayId: igw-blue}]", &format!("[{associations}]")), words);
    }
    let second =
        "- RouteTableId: rtb-second\n  VpcId: vpc-blue\n  Associations: [{GatewayId: igw-blue}]\nWarren:";
    refused(
        &changed("Warren:", second),
        &["igw-blue is associated with rtb-ingress already", "Resource.AlreadyAssociated"],
    );
}
