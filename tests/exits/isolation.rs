//! What must not come into a VPC (FWD-2), and what must be let in (P-4).

use std::net::IpAddr;

use warren::{
    compile::Compiler,
    model::{AttachmentKind, TransitAttachment, TransitGateway, diff},
    tables::{Place, PortIndex, Wire},
};

use crate::world::{Known, ids, model, site, vni};

/// A virtual private gateway that is attached to no VPC leads its circuits to none: not to the one whose network
/// identifier happens to be the least (FWD-2).
#[test]
fn an_unattached_vpn_gateway_leads_nowhere() {
    let mut model = model();
    model.vpn_gateways.get_mut("vgw-v").unwrap().vpc = None;
    // It alone, so that nothing else may lead on.
    model.direct_connect_gateways.get_mut("dxgw-1").unwrap().transit_gateways.clear();
    model.transit_attachments.remove("att-dx");
    let tables = Compiler::new(site()).build(&model, &Known);
    let exits = &tables.exits;
    let gateway_port = PortIndex(4);
    for vlan in [101, 105] {
        for address in ["10.9.1.10", "10.0.1.10", "192.168.7.7"] {
            let address: IpAddr = address.parse().unwrap();
            let Some(Wire::Circuit(_, leads_to)) = exits.wires.get(&(gateway_port, vlan)) else { continue };
            let to = leads_to.lookup(address).and_then(|index| exits.gateway(index));
            assert!(to.is_none(), "VLAN {vlan}, {address}: to {}", to.unwrap().id);
        }
    }
}

/// P-4: a VPC that is attached to two transit gateways is joined to the VPCs of both.
#[test]
fn a_vpc_of_two_transit_gateways_is_joined_over_both() {
    let mut model = model();
    let id: warren::model::Id = "tgw-2".into();
    let second = TransitGateway {
        id: id.clone(),
        vpn_ecmp: true,
        multicast: false,
        group_references: false,
        descriptive: None,
    };
    model.transit_gateways.insert(id.clone(), second);
    for (name, vpc, subnet) in [("att-2v", "vpc-v", "subnet-s1"), ("att-2o", "vpc-one", "subnet-one")] {
        let kind = AttachmentKind::Vpc {
            vpc: vpc.into(),
            subnets: ids(&[subnet]),
            appliance_mode: false,
            ipv6: false,
            group_references: true,
        };
        let attachment = TransitAttachment {
            id: name.into(),
            gateway: id.clone(),
            available: true,
            kind,
            table: None,
            descriptive: None,
        };
        model.transit_attachments.insert(name.into(), attachment);
    }
    let tables = Compiler::new(site()).build(&model, &Known);
    let comes_in = |from: &str, vpc| tables.exits.origins(vpc, from.parse().unwrap()).collect::<Vec<_>>();
    assert_eq!(comes_in("10.9.1.10", vni(100)), [vni(1)]);
    assert_eq!(comes_in("10.2.1.10", vni(100)), [vni(300)]);
    assert_eq!(comes_in("10.0.1.10", vni(1)), [vni(100)]);
    // But not from one to the other.
    assert_eq!(comes_in("10.2.1.10", vni(1)), []);
}

/// GW-10: an ENI may have the address of a NAT gateway that went with the same change.
#[test]
fn an_eni_takes_the_address_of_a_nat_gateway() {
    let before = model();
    let mut after = before.clone();
    after.nat_gateways.remove("nat-v");
    after.enis.get_mut("eni-fw").unwrap().secondary4 = Box::new(["10.0.9.5".parse().unwrap()]);
    let mut compiler = Compiler::new(site());
    let tables = compiler.build(&before, &Known);
    let owner = |tables: &warren::tables::Tables| {
        tables.owner(vni(100), "10.0.9.5".parse().unwrap()).map(|found| found.location.place())
    };
    assert!(matches!(owner(&tables), Some(Place::Gateway(_))));
    let tables = compiler.update(&tables, &before, &after, &diff(&before, &after), &Known);
    assert!(matches!(owner(&tables), Some(Place::Remote(_))), "{:?}", owner(&tables));
    let tables = compiler.update(&tables, &after, &before, &diff(&after, &before), &Known);
    assert!(matches!(owner(&tables), Some(Place::Gateway(_))), "{:?}", owner(&tables));
}

/// BGP-10: a Direct Connect gateway's circuit leads to a VPC's gateway for the VPC's blocks, to the transit gateway for
/// all else.
#[test]
fn a_direct_connect_circuit_leads_by_destination() {
    let tables = Compiler::new(site()).build(&model(), &Known);
    let Some(Wire::Circuit(_, leads_to)) = tables.exits.wires.get(&(PortIndex(4), 101)) else { panic!() };
    let to = |address: &str| {
        let index = leads_to.lookup(address.parse().unwrap()).expect("a gateway");
        tables.exits.gateway(index).unwrap().id.to_string()
    };
    assert_eq!(to("10.0.1.10"), "vgw-v");
    assert_eq!(to("10.2.1.10"), "att-dx");
}
