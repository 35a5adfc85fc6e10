//! What leads out after any changes is what leads out of the model, made from nothing; and lookups find what the effective
//! routes say.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{collection::vec, prelude::*};
use warren::{
    compile::{Compiler, Ends, LearnedTable, State, effective},
    model::{
        BlockPublicAccess, ById, Destination, EndpointService, Id, Model, RouteTable, Target, diff,
        router_mac,
    },
    tables::{CircuitSet, Fib, Tables, Target as Compiled},
};

use crate::{
    effective::naive,
    view::{Names, probes},
    world::{Known, model, net, site, vni},
};

/// One change. The number picks a resource of the whole model, or is a setting.
#[derive(Clone, Debug)]
enum Change {
    /// Removes a resource of a kind, or puts it back.
    Toggle(Kind, usize),
    /// Detaches a gateway from its VPC, or attaches it again.
    Attach(usize),
    /// A peering, or an attachment, becomes active or stops to be.
    Activate(usize),
    /// Who serves a gateway, by bit.
    Serve(usize, u8),
    Tunnels(usize, bool, bool),
    StaticVpn(usize),
    DetachEni(usize),
    MoveEni(usize, usize),
    CheckEni(usize),
    /// Which of the appliances an endpoint has, by bit.
    Appliances(u8),
    /// An ENI gets an address of the NAT gateway, where that has it no more.
    TakeAddress(usize),
    Retarget(usize, usize, usize),
    Entries(usize),
    Propagate(usize),
    TransitRoute(usize),
    Block(u8),
    Renumber(usize),
    /// What a gateway learns or forgets: circuits by bit, of each of two of [`PREFIXES`] from one on.
    Learn(usize, u8, u8),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Peering,
    Internet,
    EgressOnly,
    Nat,
    Vpn,
    Connection,
    Endpoint,
    Public,
    Circuit,
    Attachment,
    Table,
    Host,
    Eni,
    List,
    Edge,
}

fn change() -> impl Strategy<Value = Change> {
    use {Change::*, Kind::*};
    let n = || 0usize..16;
    let kinds = [
        Peering, Internet, EgressOnly, Nat, Vpn, Connection, Endpoint, Public, Circuit, Attachment, Table,
        Host, Eni, List, Edge,
    ];
    prop_oneof![
        12 => (proptest::sample::select(kinds.to_vec()), n()).prop_map(|(kind, n)| Toggle(kind, n)),
        2 => n().prop_map(Attach),
        2 => n().prop_map(Activate),
        2 => (n(), any::<u8>()).prop_map(|(n, hosts)| Serve(n, hosts)),
        2 => (n(), any::<bool>(), any::<bool>()).prop_map(|(n, one, two)| Tunnels(n, one, two)),
        1 => n().prop_map(StaticVpn),
        2 => n().prop_map(DetachEni),
        2 => (n(), n()).prop_map(|(eni, host)| MoveEni(eni, host)),
        2 => n().prop_map(CheckEni),
        2 => any::<u8>().prop_map(Appliances),
        2 => n().prop_map(TakeAddress),
        3 => (n(), n(), n()).prop_map(|(table, route, target)| Retarget(table, route, target)),
        1 => n().prop_map(Entries),
        2 => n().prop_map(Propagate),
        2 => n().prop_map(TransitRoute),
        1 => any::<u8>().prop_map(Block),
        1 => n().prop_map(Renumber),
        4 => (n(), any::<u8>(), any::<u8>()).prop_map(|(gateway, one, two)| Learn(gateway, one, two)),
    ]
}

fn pick<T>(map: &ById<T>, number: usize) -> Id {
    let mut keys: Vec<_> = map.keys().collect();
    keys.sort();
    Arc::clone(keys[number % keys.len()])
}

fn toggle<T: Clone>(now: &mut ById<T>, all: &ById<T>, number: usize) {
    let id = pick(all, number);
    if now.remove(&id).is_none() {
        let resource = all[&id].clone();
        now.insert(id, resource);
    }
}

fn toggle_kind(now: &mut Model, all: &Model, kind: Kind, n: usize) {
    match kind {
        Kind::Peering => toggle(&mut now.peerings, &all.peerings, n),
        Kind::Internet => toggle(&mut now.internet_gateways, &all.internet_gateways, n),
        Kind::EgressOnly => toggle(&mut now.egress_only_gateways, &all.egress_only_gateways, n),
        Kind::Nat => {
            let addresses = all.nat_gateways["nat-v"].addresses.clone();
            now.enis.values_mut().for_each(|eni| {
                if eni.secondary4.iter().any(|address| addresses.contains(address)) {
                    eni.secondary4 = Box::default();
                }
            });
            toggle(&mut now.nat_gateways, &all.nat_gateways, n);
        }
        Kind::Vpn => toggle(&mut now.vpn_gateways, &all.vpn_gateways, n),
        Kind::Connection => toggle(&mut now.vpn_connections, &all.vpn_connections, n),
        Kind::Endpoint => toggle(&mut now.endpoints, &all.endpoints, n),
        Kind::Public => toggle(&mut now.public_addresses, &all.public_addresses, n),
        Kind::Circuit => toggle(&mut now.circuits, &all.circuits, n),
        Kind::Attachment => toggle(&mut now.transit_attachments, &all.transit_attachments, n),
        Kind::Table => toggle(&mut now.transit_tables, &all.transit_tables, n),
        Kind::List => toggle(&mut now.prefix_lists, &all.prefix_lists, n),
        Kind::Edge => toggle(&mut now.edges, &all.edges, n),
        Kind::Host => {
            if pick(&all.hosts, n) != "host-a".into() {
                toggle(&mut now.hosts, &all.hosts, n);
            }
            let Model { enis, hosts, .. } = now;
            for eni in enis.values_mut() {
                eni.attachment = eni.attachment.take().filter(|at| hosts.contains_key(&at.host));
            }
        }
        Kind::Eni => {
            toggle(&mut now.enis, &all.enis, n);
            if let Some(eni) = now.enis.get_mut(&pick(&all.enis, n)) {
                eni.attachment = None;
            }
        }
    }
}

/// Something that a gateway learns.
fn news() -> impl Strategy<Value = Change> {
    (0usize..64, any::<u8>(), any::<u8>()).prop_map(|(gateway, one, two)| Change::Learn(gateway, one, two))
}

/// What may have learned routes.
const LEARNERS: [&str; 4] = ["vgw-v", "att-t", "att-u", "att-dx"];

/// What they may learn: also what is static elsewhere, in a VPC, and inside another.
const PREFIXES: [&str; 5] =
    ["192.168.99.0/24", "10.77.0.0/16", "192.168.0.0/16", "10.0.2.0/24", "172.17.0.0/16"];

type AllLearned = BTreeMap<&'static str, LearnedTable>;

fn apply(now: &mut Model, all: &Model, learned: &mut AllLearned, change: &Change) {
    match *change {
        Change::Toggle(kind, n) => toggle_kind(now, all, kind, n),
        Change::Attach(n) => {
            let attached = [
                now.internet_gateways.get_mut("igw-v").map(|it| &mut it.vpc),
                now.egress_only_gateways.get_mut("eigw-v").map(|it| &mut it.vpc),
                now.vpn_gateways.get_mut("vgw-v").map(|it| &mut it.vpc),
            ];
            if let Some(vpc) = attached.into_iter().nth(n % 3).flatten() {
                *vpc = vpc.take().map_or_else(|| Some("vpc-v".into()), |_| None);
            }
        }
        Change::Activate(n) => {
            now.peerings.values_mut().for_each(|it| it.active ^= n % 2 == 0);
            if let Some(it) = now.transit_attachments.get_mut(&pick(&all.transit_attachments, n)) {
                it.available = !it.available;
            }
        }
        Change::Serve(n, hosts) => {
            let serve = ["host-a", "host-b", "host-c", "host-d"].into_iter().zip(0..);
            let hosts = serve.filter(|(_, bit)| hosts >> bit & 1 == 1).map(|(host, _)| host.into());
            if let Some(edge) = now.edges.get_mut(&pick(&all.edges, n)) {
                edge.hosts = hosts.collect();
            }
        }
        Change::Tunnels(n, one, two) => {
            if let Some(it) = now.vpn_connections.get_mut(&pick(&all.vpn_connections, n)) {
                it.tunnels_up = [one, two];
            }
        }
        Change::StaticVpn(n) => {
            if let Some(it) = now.vpn_connections.get_mut(&pick(&all.vpn_connections, n)) {
                let some = vec![net("192.168.0.0/16"), net("10.0.2.0/24")];
                it.routes = if it.routes.is_empty() { some } else { Vec::new() };
            }
        }
        Change::DetachEni(n) => {
            now.enis.get_mut(&pick(&all.enis, n)).into_iter().for_each(|eni| eni.attachment = None);
        }
        Change::MoveEni(n, host) => {
            let id = pick(&all.enis, n);
            let mut at = all.enis[&id].attachment.clone().expect("attached at first");
            at.host = pick(&all.hosts, host);
            let taken = now.enis.values().any(|other| other.attachment.as_ref() == Some(&at));
            if now.hosts.contains_key(&at.host) && !taken {
                now.enis.get_mut(&id).into_iter().for_each(|eni| eni.attachment = Some(at.clone()));
            }
        }
        Change::CheckEni(n) => {
            let eni = now.enis.get_mut(&pick(&all.enis, n));
            eni.into_iter().for_each(|eni| eni.source_dest_check = !eni.source_dest_check);
        }
        Change::Appliances(bits) => {
            let all = ["eni-b", "eni-w", "eni-x", "eni-fw"].into_iter().zip(0..);
            let some = all.filter(|(_, bit)| bits >> bit & 1 == 1).map(|(id, _)| id.into());
            if let Some(endpoint) = now.endpoints.get_mut("vpce-2")
                && let EndpointService::LoadBalancer { appliances, .. } = &mut endpoint.service
            {
                *appliances = some.collect();
            }
        }
        Change::TakeAddress(n) => {
            let address = all.nat_gateways["nat-v"].addresses[n % 2];
            let taken = now.enis.values().any(|eni| eni.secondary4.contains(&address));
            if let Some(eni) = now.enis.get_mut("eni-fw")
                && now.nat_gateways.is_empty()
                && !taken
            {
                eni.secondary4 = Box::new([address]);
            }
        }
        Change::Retarget(table, route, target) => {
            let targets = [
                Target::Local,
                Target::Eni("eni-fw".into()),
                Target::Eni("eni-b".into()),
                Target::Nat("nat-v".into()),
                Target::InternetGateway("igw-v".into()),
                Target::VpnGateway("vgw-v".into()),
                Target::Transit("tgw-1".into()),
                Target::Endpoint("vpce-2".into()),
                Target::Gone("vgw-gone".into()),
            ];
            let table = now.route_tables.get_mut(&pick(&all.route_tables, table)).expect("a table");
            let route = route % table.routes.len();
            table.routes[route].target = targets[target % targets.len()].clone();
        }
        Change::Entries(n) => {
            if let Some(list) = now.prefix_lists.get_mut(&pick(&all.prefix_lists, n)) {
                let len = list.entries.len();
                if len > 1 { list.entries.truncate(1) } else { list.entries.push(net("172.17.0.0/16")) }
            }
        }
        Change::Propagate(n) => {
            if let Some(table) = now.transit_tables.get_mut("tgw-rtb-1") {
                let id = pick(&all.transit_attachments, n);
                match table.propagations.iter().position(|other| *other == id) {
                    Some(at) => drop(table.propagations.remove(at)),
                    None => table.propagations.push(id),
                }
            }
            let propagating = &mut now.route_tables.get_mut("rtb-f").expect("a table").propagating;
            if propagating.is_empty() { propagating.push("vgw-v".into()) } else { propagating.clear() }
        }
        Change::TransitRoute(n) => {
            if let Some(table) = now.transit_tables.get_mut("tgw-rtb-1") {
                let route = n % table.routes.len();
                let attachment = pick(&all.transit_attachments, n);
                table.routes[route].attachment = (n % 5 != 0).then_some(attachment);
                table.routes[route].destination = match n % 3 {
                    0 => Destination::PrefixList("pl-2".into()),
                    _ => Destination::Block(net(["0.0.0.0/0", "10.2.7.0/24"][route])),
                };
            }
        }
        Change::Block(n) => {
            now.block_public_access =
                [BlockPublicAccess::Off, BlockPublicAccess::Bidirectional, BlockPublicAccess::Ingress]
                    [usize::from(n % 3)];
        }
        Change::Renumber(n) => {
            let number = vni([100, 555][n % 2]);
            now.vpcs.get_mut("vpc-v").expect("it stays").vni = number;
        }
        Change::Learn(n, one, two) => {
            let id = LEARNERS[n % LEARNERS.len()];
            let mut table = LearnedTable::new(&Ends::new(now), id);
            let usable = |bits: u8| {
                let set = CircuitSet(u32::from(bits) & ((1 << table.circuits.len()) - 1));
                (set.0 != 0).then_some(set)
            };
            let sets = [(n / LEARNERS.len(), one), (n / LEARNERS.len() + 1, two)];
            let changes = sets.map(|(n, bits)| (net(PREFIXES[n % PREFIXES.len()]), usable(bits)));
            // Of the same circuits the table is the next of the last, as a running node makes it.
            let last = learned.get(id).filter(|last| last.circuits == table.circuits);
            let last = last.map_or_else(|| Fib::new([]), |last| last.routes.clone());
            table.routes = last.apply(changes);
            learned.insert(id, table);
        }
    }
}

fn learn(compiler: &mut Compiler, tables: &Tables, model: &Model, learned: &AllLearned) -> Tables {
    let all = learned.iter().map(|(&id, table)| (Id::from(id), Some(table.clone())));
    compiler.update_learned(tables, model, all)
}

/// What a lookup in a compiled table should find by the effective routes, in the words of [`Names::target`].
fn expected(model: &Model, compiler: &Compiler, table: &RouteTable, address: std::net::IpAddr) -> String {
    let routes = effective(model, compiler.learned(), table);
    let Some(route) = naive(&routes, address) else { return "none".into() };
    match (&route.state, &route.target) {
        (_, Target::Eni(id)) if model.enis.contains_key(id) => id.to_string(),
        (State::Blackhole(_), _) => "blackhole".into(),
        (_, target) => target.id().to_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn step_by_step_equals_from_nothing(steps in vec(vec(change(), 1..4), 1..12)) {
        let all = model();
        let mut now = all.clone();
        let mut learned = AllLearned::new();
        let mut compiler = Compiler::new(site());
        let mut tables = compiler.build(&now, &Known);
        for changes in steps {
            let mut next = now.clone();
            for change in &changes {
                apply(&mut next, &all, &mut learned, change);
            }
            tables = compiler.update(&tables, &now, &next, &diff(&now, &next), &Known);
            tables = learn(&mut compiler, &tables, &next, &learned);
            let mut afresh = Compiler::new(site());
            let fresh = afresh.build(&next, &Known);
            let fresh = learn(&mut afresh, &fresh, &next, &learned);
            // By VPCs as they are numbered now.
            let named = Model { vpcs: next.vpcs.clone(), ..all.clone() };
            let stepped = Names { tables: &tables, all: &named };
            let (is, should) = (stepped.view(), Names { tables: &fresh, all: &named }.view());
            for key in is.keys().chain(should.keys()) {
                prop_assert_eq!(is.get(key), should.get(key), "{} after {:?}", key, &changes);
            }
            for subnet in next.subnets.values() {
                let table = &next.route_tables[&subnet.route_table];
                let mac = router_mac(&subnet.id);
                let compiled = tables.exits.subnets.iter().find(|it| it.router_mac == mac).expect("a subnet");
                for address in probes() {
                    let found = compiled.routes.lookup(address);
                    let found = found.map_or("none".into(), |target| stepped.target(target));
                    prop_assert_eq!(found, expected(&next, &compiler, table, address), "{}", address);
                }
            }
            now = next;
        }
    }
}

/// All of what leads out of a model, made from nothing.
fn afresh(model: &Model, learned: &AllLearned) -> BTreeMap<String, String> {
    let mut compiler = Compiler::new(site());
    let tables = compiler.build(model, &Known);
    let tables = learn(&mut compiler, &tables, model, learned);
    Names { tables: &tables, all: model }.view()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    /// RT-17: routes by BGP that come and go one by one, without a new state, lead where all of them at once do, and so do the
    /// ports' tables.
    #[test]
    fn rt_17_news_by_bgp_equal_from_nothing(
        before in vec(change(), 0..4),
        all_news in vec(news(), 1..20),
    ) {
        let all = model();
        let mut now = all.clone();
        let mut learned = AllLearned::new();
        before.iter().for_each(|change| apply(&mut now, &all, &mut learned, change));
        let mut compiler = Compiler::new(site());
        let mut tables = compiler.build(&now, &Known);
        tables = learn(&mut compiler, &tables, &now, &learned);
        for news in all_news {
            apply(&mut now, &all, &mut learned, &news);
            let Change::Learn(n, ..) = news else { unreachable!() };
            let id = LEARNERS[n % LEARNERS.len()];
            let heard = [(Id::from(id), learned.get(id).cloned())];
            tables = compiler.update_learned(&tables, &now, heard);
            prop_assert_eq!(&Names { tables: &tables, all: &now }.view(), &afresh(&now, &learned), "{:?}", news);
            for port in &tables.ports {
                let warren::tables::Role::Instance(Some(eni)) = &port.role else { continue };
                prop_assert!(Arc::ptr_eq(&eni.routes, &tables.exits.subnet(eni.subnet).expect("a subnet").routes));
            }
        }
        // Forgotten, they leave nothing.
        let none = LEARNERS.map(|id| (Id::from(id), None));
        let tables = compiler.update_learned(&tables, &now, none);
        prop_assert_eq!(Names { tables: &tables, all: &now }.view(), afresh(&now, &AllLearned::new()));
    }
}

/// RT-17: what a gateway learns leaves alone what does not propagate from it, and what it learned before.
#[test]
fn rt_17_news_by_bgp_touch_only_what_they_change() {
    let model = model();
    let mut compiler = Compiler::new(site());
    let tables = compiler.build(&model, &Known);
    let mut learned = LearnedTable::new(&Ends::new(&model), "att-t");
    let many = (0..4000_u32).map(|n| {
        let address = std::net::Ipv4Addr::from_bits(0x0b00_0000 | n << 8);
        (ipnet::IpNet::new(address.into(), 24).unwrap(), Some(CircuitSet(1)))
    });
    learned.routes = learned.routes.apply(many);
    let first = compiler.update_learned(&tables, &model, [("att-t".into(), Some(learned.clone()))]);
    learned.routes = learned.routes.apply([(net("11.0.7.0/24"), None)]);
    let second = compiler.update_learned(&first, &model, [("att-t".into(), Some(learned))]);
    let of = |tables: &Tables, id: &str| {
        let attachment = tables.exits.attachments.iter().find(|it| &*it.id == id);
        attachment.unwrap().routes.clone().unwrap()
    };
    let (before, after) = (of(&first, "att-v"), of(&second, "att-v"));
    assert_eq!(before.differing(&after), [net("11.0.7.0/24")]);
    assert_eq!(of(&tables, "att-v").differing(&after).len(), 3999);
    // Beside that, a snapshot is the last one.
    for (old, new) in [(&tables, &first), (&first, &second)] {
        assert!(Arc::ptr_eq(&old.exits.subnets, &new.exits.subnets));
        assert!(Arc::ptr_eq(&old.exits.publics, &new.exits.publics));
        assert!(Arc::ptr_eq(&old.exits.edges_of, &new.exits.edges_of));
    }
}

/// RT-7: an ENI behind a table that steers says so, also where only the local route's own target is replaced.
#[test]
fn rt_7_a_replaced_local_route_steers() {
    let before = model();
    let mut compiler = Compiler::new(site());
    let tables = compiler.build(&before, &Known);
    let steered = |tables: &Tables, port| tables.local_eni(warren::tables::PortIndex(port)).unwrap().steered;
    assert!(steered(&tables, 0), "10.0.3.0/24 leads to an appliance");
    assert!(!steered(&tables, 2));
    let mut after = before.clone();
    after.route_tables.get_mut("rtb-x").unwrap().routes[0].target = Target::Eni("eni-x".into());
    let tables = compiler.update(&tables, &before, &after, &diff(&before, &after), &Known);
    assert!(steered(&tables, 2));
    let eni = tables.local_eni(warren::tables::PortIndex(2)).unwrap();
    assert_eq!(eni.routes.lookup("10.2.1.7".parse().unwrap()), Some(Compiled::Eni(eni.mac)));
}

/// A table that leads where it did is the same one, and all subnets of a table have one.
#[test]
fn tables_are_shared_with_the_last_snapshot() {
    let before = model();
    let mut after = before.clone();
    after.route_tables.get_mut("rtb-x").unwrap().routes.pop();
    let mut compiler = Compiler::new(site());
    let old = compiler.build(&before, &Known);
    let new = compiler.update(&old, &before, &after, &diff(&before, &after), &Known);
    let of = |tables: &Tables, subnet: &str| {
        let mac = router_mac(subnet);
        Arc::clone(&tables.exits.subnets.iter().find(|it| it.router_mac == mac).unwrap().routes)
    };
    assert!(Arc::ptr_eq(&of(&old, "subnet-s1"), &of(&old, "subnet-s2")));
    assert!(Arc::ptr_eq(&of(&old, "subnet-s1"), &of(&new, "subnet-s1")));
    assert!(!Arc::ptr_eq(&of(&old, "subnet-x"), &of(&new, "subnet-x")));
    // An ENI that no route leads to moves: nothing of the exits is made anew.
    let mut moved = after.clone();
    moved.enis.get_mut("eni-one").unwrap().attachment.as_mut().unwrap().host = "host-b".into();
    moved.enis.get_mut("eni-one").unwrap().attachment.as_mut().unwrap().port = "vm9".into();
    let newer = compiler.update(&new, &after, &moved, &diff(&after, &moved), &Known);
    assert!(Arc::ptr_eq(&new.exits, &newer.exits));
}
