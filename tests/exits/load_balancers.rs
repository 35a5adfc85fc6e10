//! Which appliance behind a Gateway Load Balancer endpoint has a flow (GW-23).

use proptest::prelude::*;
use warren::{
    compile::{Compiler, Site, unusable},
    model::{EndpointService, Model, Target},
    packet::Tuple,
    tables::{GatewayKind, LoadBalancer, PortIndex, Tables},
};

use crate::world::{Known, model, site};

fn appliances(model: &mut Model, ids: &[&str]) {
    let endpoint = model.endpoints.get_mut("vpce-2").expect("an endpoint");
    let EndpointService::LoadBalancer { appliances, .. } = &mut endpoint.service else { panic!() };
    *appliances = ids.iter().map(|&id| id.into()).collect();
}

fn with(ids: &[&str], host: &str) -> Tables {
    let mut model = model();
    appliances(&mut model, ids);
    Compiler::new(Site { host: host.into(), ..site() }).build(&model, &Known)
}

fn balancer(tables: &Tables) -> &LoadBalancer {
    let gateway =
        tables.exits.gateways.iter().find(|gateway| &*gateway.id == "vpce-2").expect("the endpoint");
    let GatewayKind::LoadBalancer(balancer) = &gateway.kind else { panic!() };
    balancer
}

/// The appliance of a flow.
fn of(tables: &Tables, flow: u32) -> String {
    balancer(tables).appliance(flow).map_or_else(String::new, |it| it.eni.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Both directions of a flow have one appliance and one cookie, at every host; if the set changes, a flow stays where it was
    /// unless its appliance goes, or a new one takes it.
    #[test]
    fn gw_23_flows_stay(flows in prop::collection::vec((any::<u32>(), any::<u32>(), any::<[u16; 2]>()), 32)) {
        let all = ["eni-b", "eni-w", "eni-x"];
        let (here, there) = (with(&all, "host-a"), with(&all, "host-b"));
        let less = with(&["eni-b", "eni-x"], "host-a");
        for (source, destination, [source_port, destination_port]) in flows {
            let out = Tuple { source, destination, source_port, destination_port };
            let (flow, back) = (out.flow_hash(6), out.reversed().flow_hash(6));
            let appliance = of(&here, flow);
            prop_assert!(all.contains(&&*appliance));
            prop_assert_eq!(&of(&there, back), &appliance);
            prop_assert_eq!(balancer(&here).cookie(flow), balancer(&there).cookie(back));
            if appliance != "eni-w" {
                prop_assert_eq!(of(&less, flow), appliance);
            }
        }
    }
}

/// Only who is attached to a known host takes packets; where nobody is left, the route is a blackhole.
#[test]
fn gw_23_rt_12_without_an_appliance_the_route_is_a_blackhole() {
    let mut model = model();
    let target = Target::Endpoint("vpce-2".into());
    assert_eq!(unusable(&model, "vpc-v", &target), None);
    for id in ["eni-b", "eni-w"] {
        model.enis.get_mut(id).unwrap().attachment = None;
    }
    let tables = Compiler::new(site()).build(&model, &Known);
    assert!((0..64).all(|flow| of(&tables, flow << 26) == "eni-x"));
    model.enis.get_mut("eni-x").unwrap().primary4 = None;
    let why = unusable(&model, "vpc-v", &target).expect("a reason");
    assert!(why.contains("no appliance"), "{why}");
    let tables = Compiler::new(site()).build(&model, &Known);
    assert_eq!(of(&tables, 0), "");
}

/// An appliance knows its load balancer at the third address behind its subnet's base; other ENIs know none.
#[test]
fn gw_23_appliances_know_the_load_balancer() {
    let tables = Compiler::new(site()).build(&model(), &Known);
    let known = |port| tables.local_eni(PortIndex(port)).and_then(|eni| eni.load_balancer);
    assert_eq!(known(0), None, "eni-a is none");
    assert_eq!(known(1), Some(u32::from_be_bytes([10, 1, 1, 3])));
    let gateway = tables.exits.gateways.iter().find(|gateway| &*gateway.id == "vpce-2").unwrap();
    assert!(gateway.served_here);
    assert!(balancer(&tables).is_behind(PortIndex(1)) && !balancer(&tables).is_behind(PortIndex(0)));
}
