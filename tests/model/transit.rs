//! Transit gateways.

use std::time::Duration;

use warren::{
    api::show,
    model::{AttachmentKind, Destination},
    node::multicast::Joined,
};

use crate::{
    gateways::{STATE, changed, model, refused},
    loaded,
};

#[test]
fn attachments_of_all_kinds_load() {
    let model = model();
    let kind = |id: &str| &model.transit_attachments[id].kind;
    assert!(
        matches!(kind("tgw-attach-blue"), AttachmentKind::Vpc { subnets, appliance_mode: true, ipv6: false, .. } if subnets.len() == 2)
    );
    assert_eq!(*kind("tgw-attach-vpn"), AttachmentKind::Vpn("vpn-hub".into()));
    assert_eq!(*kind("tgw-attach-dx"), AttachmentKind::DirectConnect("dxgw-hub".into()));
    assert!(
        matches!(kind("tgw-attach-sdwan"), AttachmentKind::Connect { transport, peers } if &**transport == "tgw-attach-blue" && peers.len() == 1)
    );
    // A peering stands there once for each of the two.
    let halves = [
        ("tgw-attach-peer", "tgw-far", "tgw-attach-peer@tgw-far"),
        ("tgw-attach-peer@tgw-far", "tgw-hub", "tgw-attach-peer"),
    ];
    for (id, peer, other) in halves {
        assert_eq!(*kind(id), AttachmentKind::Peering { peer: peer.into(), peer_attachment: other.into() });
    }
    assert!(model.transit_attachments["tgw-attach-blue"].available);
    assert!(!model.transit_attachments["tgw-attach-red"].available);
    assert!(model.transit_gateways["tgw-hub"].vpn_ecmp && !model.transit_gateways["tgw-far"].vpn_ecmp);
}

#[test]
fn an_attachment_is_associated_with_one_table_and_propagates_into_some() {
    // PT-11
    let model = model();
    let table = |id: &str| model.transit_attachments[id].table.as_deref();
    assert_eq!(table("tgw-attach-red"), Some("tgw-rtb-red"));
    assert_eq!(table("tgw-attach-peer@tgw-far"), Some("tgw-rtb-far"));
    for id in ["tgw-attach-blue", "tgw-attach-vpn", "tgw-attach-dx", "tgw-attach-sdwan", "tgw-attach-peer"] {
        assert_eq!(table(id), Some("tgw-rtb-hub"), "{id}");
    }
    let propagations =
        |id: &str| model.transit_tables[id].propagations.iter().map(|id| &**id).collect::<Vec<_>>();
    // tgw-attach-blue is stated to propagate elsewhere, and a peering attachment does not propagate (PT-18).
    assert_eq!(
        propagations("tgw-rtb-hub"),
        ["tgw-attach-dx", "tgw-attach-red", "tgw-attach-sdwan", "tgw-attach-vpn"]
    );
    assert_eq!(propagations("tgw-rtb-red"), ["tgw-attach-blue"]);

    // A default table that lists its associations has no others, nor has one that is switched off.
    for (from, to) in [
        (
            "tgw-rtb-hub\n  TransitGatewayId: tgw-hub\n",
            "tgw-rtb-hub\n  TransitGatewayId: tgw-hub\n  Associations: [{TransitGatewayAttachmentId: tgw-attach-vpn}]\n",
        ),
        (
            "AssociationDefaultRouteTableId: tgw",
            "DefaultRouteTableAssociation: disable, AssociationDefaultRouteTableId: tgw",
        ),
    ] {
        assert_eq!(loaded(&changed(from, to)).unwrap().transit_attachments["tgw-attach-blue"].table, None);
    }
    for (from, to, words) in [
        (
            "[{TransitGatewayAttachmentId: tgw-attach-peer, State: associated}]",
            "[{TransitGatewayAttachmentId: tgw-attach-blue}]",
            &["TransitGatewayRouteTables[2].Associations[0]", "attachment of tgw-hub, the table of tgw-far"]
                [..],
        ),
        (
            "tgw-rtb-hub\n  TransitGatewayId: tgw-hub\n",
            "tgw-rtb-hub\n  TransitGatewayId: tgw-hub\n  Associations: [{TransitGatewayAttachmentId: tgw-attach-red}]\n",
            &["tgw-attach-red is associated with tgw-rtb-hub already", "Resource.AlreadyAssociated"],
        ),
        (
            "{TransitGatewayAttachmentId: tgw-attach-blue, State: enabled}",
            "{TransitGatewayAttachmentId: tgw-attach-peer}",
            &["TransitGatewayRouteTables[1].TransitGatewayRouteTablePropagations[0]", "PT-18"],
        ),
        (
            "AssociationDefaultRouteTableId: tgw-rtb-hub",
            "AssociationDefaultRouteTableId: tgw-rtb-far",
            &["Options.AssociationDefaultRouteTableId", "a table of tgw-far"],
        ),
        (
            "AssociationDefaultRouteTableId: tgw-rtb-hub",
            "AssociationDefaultRouteTableId: tgw-rtb-x",
            &["tgw-rtb-x is not in"],
        ),
    ] {
        refused(&changed(from, to), words);
    }
}

#[test]
fn static_routes_lead_to_one_attachment_or_nowhere() {
    // PT-13
    let model = model();
    let routes: Vec<_> = model.transit_tables["tgw-rtb-hub"].routes.iter().map(ToString::to_string).collect();
    assert_eq!(
        routes,
        [
            "10.20.0.0/16:tgw-attach-peer",
            "10.21.0.0/16:blackhole",
            "10.22.0.0/16:blackhole",
            "pl-corp:tgw-attach-vpn"
        ]
    );
    assert_eq!(
        model.transit_tables["tgw-rtb-hub"].routes[3].destination,
        Destination::PrefixList("pl-corp".into())
    );
    for (from, to, words) in [
        (
            "10.21.0.0/16, Type: static, State: blackhole",
            "10.20.0.0/16, Type: static, State: blackhole",
            &["Routes[1].DestinationCidrBlock", "RouteAlreadyExists"][..],
        ),
        (
            "10.21.0.0/16, Type: static, State: blackhole",
            "10.21.0.0/16, Type: static, State: active",
            &["has no attachment"],
        ),
        (
            "[{TransitGatewayAttachmentId: tgw-attach-gone}]",
            "[{TransitGatewayAttachmentId: gone}]",
            &["gone is not in the state"],
        ),
        (
            "[{TransitGatewayAttachmentId: tgw-attach-gone}]",
            "[{TransitGatewayAttachmentId: tgw-attach-vpn}, {TransitGatewayAttachmentId: tgw-attach-dx}]",
            &["several attachments"],
        ),
    ] {
        refused(&changed(from, to), words);
    }
}

#[test]
fn attachments_are_checked() {
    let subnets = "VpcId: vpc-blue, SubnetIds: [subnet-app, subnet-fw]";
    for (from, to, words) in [
        // PT-10
        (
            subnets,
            "VpcId: vpc-blue, SubnetIds: [subnet-app, subnet-public]",
            &["SubnetIds[1]", "DuplicateSubnetsInSameZone", "PT-10"][..],
        ),
        (subnets, "VpcId: vpc-blue, SubnetIds: [subnet-app, subnet-red]", &["subnet-red is in vpc-red"]),
        (subnets, "VpcId: vpc-blue", &["SubnetIds", "has no subnet"]),
        (
            "TransitGatewayPeeringAttachments:",
            "- {TransitGatewayAttachmentId: tgw-attach-again, TransitGatewayId: tgw-hub, VpcId: vpc-blue, SubnetIds: [subnet-app]}\nTransitGatewayPeeringAttachments:",
            &["DuplicateTransitGatewayAttachment"],
        ),
        (
            "AccepterTgwInfo: {TransitGatewayId: tgw-far}",
            "AccepterTgwInfo: {TransitGatewayId: tgw-x}",
            &["tgw-x is not in"],
        ),
        (
            "TransportTransitGatewayAttachmentId: tgw-attach-blue",
            "TransportTransitGatewayAttachmentId: tgw-attach-vpn",
            &["tgw-attach-vpn cannot carry it"],
        ),
        ("PeerAddress: 10.0.2.10}", "PeerAddress: 192.0.2.10}", &["is both ends"]),
        (
            "TransitGatewayConnectPeerId: tgw-connect-peer-1, TransitGatewayAttachmentId: tgw-attach-sdwan",
            "TransitGatewayConnectPeerId: tgw-connect-peer-1, TransitGatewayAttachmentId: tgw-attach-blue",
            &["tgw-attach-blue is not in the state", "TransitGatewayConnects"],
        ),
        (
            "vpn-hub, TransitGatewayId: tgw-hub",
            "vpn-hub, TransitGatewayId: tgw-far",
            &["TransitGatewayAttachments[0]", "vpn-hub does not end at tgw-hub"],
        ),
        ("ResourceType: vpn", "ResourceType: vpm", &["vpm is not known"]),
        (
            "TransitGatewayAttachmentId: tgw-attach-red, TransitGatewayId: tgw-hub, ResourceType",
            "TransitGatewayAttachmentId: tgw-attach-x, TransitGatewayId: tgw-hub, ResourceType",
            &["tgw-attach-x is not in the state"],
        ),
    ] {
        refused(&changed(from, to), words);
    }
}

#[test]
fn multicast_domains_are_checked() {
    let model = model();
    let domain = &model.multicast_domains["tgw-mcast-1"];
    assert_eq!((domain.subnets.len(), domain.members.len(), domain.sources.len()), (2, 1, 1));
    assert!(domain.static_sources && !domain.igmp);
    // Those that joined by IGMP join anew (MC-4).
    let joined = loaded(&changed(
        "GroupMember: true, GroupSource: false",
        "GroupMember: true, GroupSource: false, MemberType: igmp",
    ));
    assert!(joined.unwrap().multicast_domains["tgw-mcast-1"].members.is_empty());
    for (from, to, words) in [
        ("Igmpv2Support: disable", "Igmpv2Support: enable", &["StaticSourcesSupport", "MC-3"][..]),
        ("StaticSourcesSupport: enable", "StaticSourcesSupport: disable", &["Groups[1].GroupSource", "MC-3"]),
        (
            "GroupIpAddress: 239.1.1.1, NetworkInterfaceId: eni-fw",
            "GroupIpAddress: 224.0.0.5, NetworkInterfaceId: eni-fw",
            &["MC-11"],
        ),
        (
            "GroupIpAddress: 239.1.1.1, NetworkInterfaceId: eni-fw",
            "GroupIpAddress: 10.0.0.1, NetworkInterfaceId: eni-fw",
            &["no multicast group"],
        ),
        (
            "GroupMember: true, GroupSource: false",
            "GroupMember: true, GroupSource: maybe",
            &["true or false"],
        ),
        (", GroupMember: true, GroupSource: false", "", &["neither member nor source"]),
        ("MulticastSupport: enable", "MulticastSupport: disable", &["tgw-hub has no multicast"]),
        (
            "{SubnetId: subnet-app}",
            "{SubnetId: subnet-fw}",
            &["subnet-fw is associated with tgw-mcast-1 already"],
        ),
    ] {
        refused(&changed(from, to), words);
    }
}

/// The rows of `warren show multicast`, without domain and transit gateway.
fn shown(state: &str, joined: &[Joined]) -> Vec<String> {
    let model = loaded(state).unwrap_or_else(|errors| panic!("{errors}"));
    let text = show::multicast(&model, joined).render();
    let rows = text.lines().skip(1).map(|line| line.split_whitespace().skip(2).collect::<Vec<_>>().join(" "));
    rows.collect()
}

#[test]
fn multicast_groups_are_shown() {
    let model = model();
    let registered = ["239.1.1.1 member eni-fw - static -", "239.1.1.1 source eni-web - static -"];
    assert_eq!(shown(STATE, &[]), registered.map(|row| format!("static sources {row}")));

    let igmp = changed(
        "Options: {StaticSourcesSupport: enable, Igmpv2Support: disable}",
        "Options: {StaticSourcesSupport: disable, Igmpv2Support: enable}",
    );
    let source = "  - {GroupIpAddress: 239.1.1.1, NetworkInterfaceId: eni-web, GroupMember: false, GroupSource: true}\n";
    let igmp = igmp.replace(source, "");
    let (vpc, eni) = (&model.vpcs["vpc-blue"], &model.enis["eni-web"]);
    let member = |group: &str, left| Joined {
        domain: "tgw-mcast-1".into(),
        group: group.parse().unwrap(),
        eni: (vpc.vni, eni.mac),
        left: Duration::from_secs(left),
    };
    assert_eq!(
        shown(&igmp, &[member("239.1.1.1", 420), member("239.0.0.9", 7)]),
        [
            "igmp 239.0.0.9 member eni-web - igmp 7",
            "igmp 239.1.1.1 member eni-fw - static -",
            "igmp 239.1.1.1 member eni-web - igmp 420",
        ]
    );
}
