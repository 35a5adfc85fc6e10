//! The effective routes of transit gateways' route tables.

use warren::{
    compile::{Compiler, EffectiveTransit, Ends, Learned, LearnedTable, State, effective_transit},
    model::{AttachmentKind, Destination, Id, Model, TransitAttachment, TransitRoute, TransitRouteTable},
    tables::{CircuitSet, Fib, TransitTarget},
};

use crate::world::{Known, model, net, site};

/// What some attachments have learned, each the same.
pub(crate) fn learned(model: &Model, by: &[&str], prefixes: &[&str]) -> Learned {
    let table = |gateway: &str| LearnedTable {
        routes: Fib::new(prefixes.iter().map(|prefix| (net(prefix), CircuitSet(1)))),
        ..LearnedTable::new(&Ends::new(model), gateway)
    };
    Learned { gateways: by.iter().map(|&gateway| (gateway.into(), table(gateway))).collect() }
}

fn table(model: &mut Model) -> &mut TransitRouteTable {
    model.transit_tables.get_mut("tgw-rtb-1").unwrap()
}

fn state(destination: &str, attachment: Option<&str>) -> TransitRoute {
    let destination = match destination.strip_prefix("pl-") {
        Some(_) => Destination::PrefixList(destination.into()),
        None => Destination::Block(net(destination)),
    };
    TransitRoute { destination, attachment: attachment.map(Id::from) }
}

/// The attachments for a destination, `!` those of blackholes, `-` those not in use.
fn found(model: &Model, learned: &Learned, destination: &str) -> String {
    let routes = effective_transit(model, learned, &model.transit_tables["tgw-rtb-1"]);
    let text = |route: &EffectiveTransit| {
        let sign = match route.state {
            State::Active => "",
            State::Blackhole(_) => "!",
            State::Unused(_) => "-",
        };
        format!("{sign}{}", route.attachment.as_deref().unwrap_or("stated"))
    };
    let of = routes.iter().filter(|route| route.destination == net(destination));
    of.map(text).collect::<Vec<_>>().join(" ")
}

#[test]
fn pt_12_static_then_prefix_list_then_vpc_then_direct_connect_then_vpn() {
    let mut model = model();
    let learned = learned(&model, &["att-t", "att-dx"], &["10.1.0.0/16", "172.18.0.0/16", "172.31.0.0/16"]);
    assert_eq!(found(&model, &learned, "172.31.0.0/16"), "att-dx -att-t");
    assert_eq!(found(&model, &learned, "10.1.0.0/16"), "att-w -att-dx -att-t");
    table(&mut model).routes.push(state("pl-2", Some("att-v")));
    assert_eq!(found(&model, &learned, "172.18.0.0/16"), "att-v -att-dx -att-t");
    table(&mut model).routes.push(state("172.18.0.0/16", Some("att-x")));
    assert_eq!(found(&model, &learned, "172.18.0.0/16"), "att-x -att-v -att-dx -att-t");
}

#[test]
fn pt_13_a_static_blackhole_wins_over_all_and_a_lesser_one_does_not() {
    let mut model = model();
    let none = Learned::default();
    assert_eq!(found(&model, &none, "10.2.7.0/24"), "!stated");
    table(&mut model).routes.push(state("10.1.0.0/16", None));
    assert_eq!(found(&model, &none, "10.1.0.0/16"), "!stated -att-w");
    // A prefix list's blackhole is behind a static route.
    table(&mut model).routes.extend([state("pl-2", None), state("172.18.0.0/16", Some("att-x"))]);
    assert_eq!(found(&model, &none, "172.18.0.0/16"), "att-x -stated");
    assert_eq!(found(&model, &none, "172.17.0.0/16"), "!stated");
}

/// An attachment that is not available propagates nothing, and static routes to it are blackholes.
#[test]
fn pt_13_an_attachment_that_goes() {
    let mut model = model();
    model.transit_attachments.get_mut("att-v").unwrap().available = false;
    let none = Learned::default();
    assert_eq!(found(&model, &none, "0.0.0.0/0"), "!att-v");
    assert_eq!(found(&model, &none, "10.0.0.0/16"), "");
    model.transit_attachments.remove("att-v");
    assert_eq!(found(&model, &none, "0.0.0.0/0"), "!att-v");
}

#[test]
fn pt_15_equal_vpn_routes_share_if_the_gateway_is_told_to_and_they_are_dynamic() {
    let mut model = model();
    let learned = learned(&model, &["att-t", "att-u"], &["192.168.0.0/16"]);
    assert_eq!(found(&model, &learned, "192.168.0.0/16"), "att-t att-u");
    let mut compiler = Compiler::new(site());
    let tables = compiler.build(&model, &Known);
    let all = learned.gateways.iter().map(|(id, table)| (id.clone(), Some(table.clone())));
    let tables = compiler.update_learned(&tables, &model, all);
    let attachment = tables.exits.attachments.iter().find(|it| &*it.id == "att-v").unwrap();
    let target = attachment.routes.as_ref().unwrap().lookup("192.168.7.7".parse().unwrap());
    let Some(TransitTarget::Ecmp(equals)) = target else { panic!("{target:?}") };
    let equals: Vec<_> = tables.exits.equals[equals as usize]
        .iter()
        .map(|&index| &*tables.exits.attachment(index).unwrap().id)
        .collect();
    assert_eq!(equals, ["att-t", "att-u"]);

    model.transit_gateways.get_mut("tgw-1").unwrap().vpn_ecmp = false;
    assert_eq!(found(&model, &learned, "192.168.0.0/16"), "att-t -att-u");
    model.transit_gateways.get_mut("tgw-1").unwrap().vpn_ecmp = true;
    for id in ["vpn-t", "vpn-u"] {
        model.vpn_connections.get_mut(id).unwrap().routes = vec![net("192.168.0.0/16")];
    }
    assert_eq!(found(&model, &Learned::default(), "192.168.0.0/16"), "att-t -att-u");
}

#[test]
fn pt_18_over_a_peering_only_static_routes() {
    let mut model = model();
    let id: Id = "att-p".into();
    let kind = AttachmentKind::Peering { peer: "tgw-2".into(), peer_attachment: "att-p@tgw-2".into() };
    let peering = TransitAttachment {
        id: id.clone(),
        gateway: "tgw-1".into(),
        available: true,
        kind,
        table: None,
        descriptive: None,
    };
    model.transit_attachments.insert(id.clone(), peering);
    table(&mut model).propagations.push(id);
    let none = Learned::default();
    let routes = effective_transit(&model, &none, &model.transit_tables["tgw-rtb-1"]);
    assert!(routes.iter().all(|route| route.attachment.as_deref() != Some("att-p")));
    table(&mut model).routes.push(state("10.66.0.0/16", Some("att-p")));
    assert_eq!(found(&model, &none, "10.66.0.0/16"), "att-p");
}

/// Of 10 000 routes, which a table may have (QT-8), one changes. `cargo test --release --test exits -- --ignored --nocapture`.
#[test]
#[ignore = "prints figures"]
fn qt_8_ten_thousand_routes() {
    let mut model = model();
    let routes = (0..10_000u32).map(|n| state(&format!("11.{}.{}.0/24", n >> 8, n & 0xff), Some("att-w")));
    table(&mut model).routes.extend(routes);
    let mut compiler = Compiler::new(site());
    let start = std::time::Instant::now();
    let tables = compiler.build(&model, &Known);
    println!("built with 10 000 routes in {:?}", start.elapsed());
    let mut changed = model.clone();
    table(&mut changed).routes.last_mut().unwrap().attachment = None;
    let diff = warren::model::diff(&model, &changed);
    let start = std::time::Instant::now();
    let tables = compiler.update(&tables, &model, &changed, &diff, &Known);
    println!("one of them changed in {:?}", start.elapsed());
    let attachment = tables.exits.attachments.iter().find(|it| &*it.id == "att-v").unwrap();
    let routes = attachment.routes.as_ref().unwrap();
    assert_eq!(routes.lookup("11.39.15.1".parse().unwrap()), Some(TransitTarget::Blackhole));
}
