//! Tables after any changes are the tables of the model, made from nothing.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use proptest::{collection::vec, prelude::*};
use warren::{
    compile::Compiler,
    model::{Attachment, DhcpOptions, Model, NameServer, VpcDhcp, diff},
    packet::{Mac, mapped},
    services::dhcp::{Options, Servers},
    tables::{Destination, Place, PortIndex, Role, Tables},
};

use crate::lab::{Neighbours, VXLAN, model, site, underlay, vni_of};

const VNIS: [u32; 4] = [100, 200, 300, 301];

/// All that could be looked up, in words, without the numbers that hosts and subnets happen to have.
fn view(tables: &Tables, all: &Model) -> BTreeMap<String, String> {
    let mut view = BTreeMap::new();
    // Subnets by the ENIs that are in them.
    let mut members: BTreeMap<u32, Vec<(u32, Mac)>> = BTreeMap::new();
    let macs: Vec<Mac> = all.enis.values().flat_map(|eni| [eni.mac, changed(eni.mac)]).collect();
    for vni in VNIS {
        for &mac in &macs {
            if let Some(found) = tables.enis.get_mac(vni_of(vni), mac) {
                members.entry(found.subnet.0).or_default().push((vni, mac));
            }
        }
    }
    for list in members.values_mut() {
        list.sort();
    }
    let destination = |found: Option<&Destination>| {
        let Some(found) = found else { return "none".to_owned() };
        let place = match found.location.place() {
            Place::Local(port) => format!("port {}", port.0),
            Place::Nowhere => "nowhere".to_owned(),
            Place::Gateway(gateway) => format!("{gateway:?}"),
            Place::Remote(host) => {
                let host = tables.hosts.get(host).expect("a host of the tables");
                format!("{:?} {:?} {} {:?}", host.reachability, host.uplink, host.max_inner, host.template)
            }
        };
        let Destination { mac, router_mac, source_dest_check, .. } = found;
        format!("{mac} {router_mac} {source_dest_check} {place} {:?}", members.get(&found.subnet.0))
    };
    let addresses: Vec<IpAddr> = (0..=255)
        .flat_map(|low| [[10, 0, 1, low], [10, 0, 2, low]])
        .map(IpAddr::from)
        .chain(all.enis.values().flat_map(|eni| eni.addresses6.iter().map(|&address| address.into())))
        .chain(["2001:db8:0:101:a::1", "2001:db8:0:101:d::1"].map(|text| text.parse().expect("an address")))
        .collect();
    for vni in VNIS {
        for &address in &addresses {
            let found = match address {
                IpAddr::V4(v4) => tables.enis.get_v4(vni_of(vni), v4.to_bits()),
                IpAddr::V6(v6) => tables.enis.get_v6(vni_of(vni), v6.to_bits()),
            };
            view.insert(format!("{vni} {address}"), destination(found));
        }
        for &mac in &macs {
            view.insert(format!("{vni} {mac}"), destination(tables.enis.get_mac(vni_of(vni), mac)));
            view.insert(format!("local {vni} {mac}"), format!("{:?}", tables.local.get(vni_of(vni), mac)));
        }
        for host in 1..10 {
            let index = tables.hosts.at(mapped(underlay(VXLAN, host)));
            let forwards = index.map(|index| tables.hosts.forwards_for(vni_of(vni), index));
            let template = index.and_then(|index| tables.hosts.get(index)).map(|host| host.template);
            view.insert(format!("host {vni} {host}"), format!("{forwards:?} {template:?}"));
        }
        view.insert(format!("vni {vni}"), tables.vnis.contains(&vni_of(vni)).to_string());
    }
    for (index, port) in tables.ports.iter().enumerate() {
        let role = match &port.role {
            Role::Uplink(uplink) => format!("{uplink:?}"),
            Role::Service(services) => format!("{services:?}"),
            Role::Instance(None) => "empty".to_owned(),
            Role::Gateway(outside) => format!("{outside:?}"),
            Role::Control(of) => format!("{of:?}"),
            Role::Instance(Some(eni)) => format!(
                "{} {} {:?} {} {} {:?} {:?} {:?} {:?} {:?} {} {} {:?} {:?} {:?} {:?}",
                eni.id,
                eni.vpc,
                eni.vni,
                eni.mac,
                eni.router_mac,
                eni.location,
                eni.subnet_v4,
                eni.subnet_v6,
                eni.v4,
                eni.v6,
                eni.source_dest_check,
                eni.metadata_hop_limit,
                eni.lease,
                members.get(&eni.subnet.0),
                eni.routes.lookup_v4(0x0a00_0101),
                eni.routes.lookup_v4(0x0808_0808),
            ),
        };
        view.insert(format!("port {index}"), role);
    }
    view
}

fn changed(mac: Mac) -> Mac {
    let Mac([a, b, c, d, e, f]) = mac;
    Mac([a, 1, b, c, d.wrapping_add(e), f])
}

/// One change. Numbers pick a resource of the whole model.
#[derive(Clone, Debug)]
enum Change {
    Move(usize, usize, u8),
    Detach(usize),
    Remove(usize),
    Restore(usize),
    Remac(usize),
    Check(usize),
    Secondary(usize, u8),
    Prefix(usize),
    RemoveHost(usize),
    RestoreHost(usize),
    MoveHost(usize, u8),
    Renumber(usize, usize),
    RemoveSubnet(usize),
    RestoreSubnet(usize),
}

fn change() -> impl Strategy<Value = Change> {
    use Change::*;
    let n = 0usize..16;
    prop_oneof![
        4 => (n.clone(), n.clone(), 0u8..6).prop_map(|(eni, host, port)| Move(eni, host, port)),
        1 => n.clone().prop_map(Detach),
        2 => n.clone().prop_map(Remove),
        2 => n.clone().prop_map(Restore),
        1 => n.clone().prop_map(Remac),
        2 => n.clone().prop_map(Check),
        2 => (n.clone(), 100u8..110).prop_map(|(eni, low)| Secondary(eni, low)),
        1 => n.clone().prop_map(Prefix),
        1 => n.clone().prop_map(RemoveHost),
        1 => n.clone().prop_map(RestoreHost),
        1 => (n.clone(), 1u8..10).prop_map(|(host, low)| MoveHost(host, low)),
        1 => (n.clone(), 0..VNIS.len()).prop_map(|(vpc, vni)| Renumber(vpc, vni)),
        1 => n.clone().prop_map(RemoveSubnet),
        1 => n.prop_map(RestoreSubnet),
    ]
}

/// Of a map, the key that a number picks, the same each time.
fn pick<T>(map: &warren::model::ById<T>, number: usize) -> Arc<str> {
    let mut keys: Vec<_> = map.keys().collect();
    keys.sort();
    Arc::clone(keys[number % keys.len()])
}

/// Applies a change as far as the model stays one that `load` would accept.
fn apply(now: &mut Model, all: &Model, change: &Change) {
    let eni_of = |number| pick(&all.enis, number);
    match *change {
        Change::Move(eni, host, port) => {
            let at = Attachment::new(pick(&all.hosts, host), format!("vm{port}").into());
            let taken = now.enis.values().any(|eni| eni.attachment.as_ref() == Some(&at));
            if let Some(eni) = now.enis.get_mut(&eni_of(eni))
                && !taken
                && now.hosts.contains_key(&at.host)
            {
                eni.attachment = Some(at);
            }
        }
        Change::Detach(eni) => {
            if let Some(eni) = now.enis.get_mut(&eni_of(eni)) {
                eni.attachment = None;
            }
        }
        Change::Remove(eni) => {
            now.enis.remove(&eni_of(eni));
        }
        Change::Restore(eni) => {
            let id = eni_of(eni);
            let mut eni = all.enis[&id].clone();
            eni.attachment = None;
            let taken = |address| {
                now.enis
                    .values()
                    .any(|other| other.id != id && other.vpc == eni.vpc && other.secondary4.contains(address))
            };
            if now.subnets.contains_key(&eni.subnet) && !eni.primary4.iter().any(taken) {
                now.enis.insert(id, eni);
            }
        }
        Change::Remac(eni) => {
            let id = eni_of(eni);
            if let Some(eni) = now.enis.get_mut(&id) {
                let original = all.enis[&id].mac;
                eni.mac = if eni.mac == original { changed(original) } else { original };
            }
        }
        Change::Check(eni) => {
            if let Some(eni) = now.enis.get_mut(&eni_of(eni)) {
                eni.source_dest_check = !eni.source_dest_check;
            }
        }
        Change::Secondary(eni, low) => {
            let id = eni_of(eni);
            let Some(eni) = now.enis.get(&id) else { return };
            let net = now.subnets[&eni.subnet].cidr4.expect("an IPv4 subnet").network().to_bits();
            let address = std::net::Ipv4Addr::from_bits(net | u32::from(low));
            let vpc = Arc::clone(&eni.vpc);
            let taken = now.enis.values().any(|eni| eni.vpc == vpc && eni.secondary4.contains(&address));
            let eni = now.enis.get_mut(&id).expect("it is there");
            eni.secondary4 = if taken { Box::default() } else { Box::new([address]) };
        }
        Change::Prefix(eni) => {
            let id = eni_of(eni);
            if let Some(eni) = now.enis.get_mut(&id) {
                let original = &all.enis[&id];
                let none = eni.prefixes4.is_empty();
                eni.prefixes4 = if none { original.prefixes4.clone() } else { Box::default() };
                eni.prefixes6 = if none { original.prefixes6.clone() } else { Box::default() };
            }
        }
        Change::RemoveHost(host) => {
            let id = pick(&all.hosts, host);
            if &*id != "host-a" && now.hosts.remove(&id).is_some() {
                for eni in now
                    .enis
                    .values_mut()
                    .filter(|eni| eni.attachment.as_ref().is_some_and(|at| at.host == id))
                {
                    eni.attachment = None;
                }
            }
        }
        Change::RestoreHost(host) => {
            let id = pick(&all.hosts, host);
            let host = all.hosts[&id].clone();
            if now.hosts.values().all(|other| other.id == id || other.underlay != host.underlay) {
                now.hosts.insert(id, host);
            }
        }
        Change::MoveHost(host, low) => {
            let id = pick(&all.hosts, host);
            let address = underlay(VXLAN, low);
            if &*id != "host-a"
                && now.hosts.values().all(|other| other.underlay != address)
                && let Some(host) = now.hosts.get_mut(&id)
            {
                host.underlay = address;
            }
        }
        Change::Renumber(vpc, vni) => {
            let vni = vni_of(VNIS[vni]);
            if now.vpcs.values().all(|vpc| vpc.vni != vni)
                && let Some(vpc) = now.vpcs.get_mut(&pick(&all.vpcs, vpc))
            {
                vpc.vni = vni;
            }
        }
        Change::RemoveSubnet(subnet) => {
            let id = pick(&all.subnets, subnet);
            now.subnets.remove(&id);
            now.enis.retain(|_, eni| eni.subnet != id);
        }
        Change::RestoreSubnet(subnet) => {
            let id = pick(&all.subnets, subnet);
            let subnet = all.subnets[&id].clone();
            now.subnets.insert(id, subnet);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn step_by_step_equals_from_nothing(steps in vec(vec(change(), 1..4), 1..12)) {
        let all = model(VXLAN);
        let mut now = all.clone();
        let mut compiler = Compiler::new(site(VXLAN, 1));
        let mut tables = compiler.build(&now, &Neighbours(true));
        for changes in steps {
            let mut next = now.clone();
            for change in &changes {
                apply(&mut next, &all, change);
            }
            tables = compiler.update(&tables, &now, &next, &diff(&now, &next), &Neighbours(true));
            let fresh = Compiler::new(site(VXLAN, 1)).build(&next, &Neighbours(true));
            let (stepped, fresh) = (view(&tables, &all), view(&fresh, &all));
            for (what, is) in &stepped {
                prop_assert_eq!(is, &fresh[what], "{} after {:?}", what, changes);
            }
            now = next;
        }
    }
}

#[test]
fn a_renumbered_vpc_takes_its_ports_along() {
    let all = model(VXLAN);
    let mut compiler = Compiler::new(site(VXLAN, 1));
    let tables = compiler.build(&all, &Neighbours(true));
    let mut next = all.clone();
    apply(&mut next, &all, &Change::Renumber(0, 2));
    let tables = compiler.update(&tables, &all, &next, &diff(&all, &next), &Neighbours(true));
    let Role::Instance(Some(eni)) = &tables.port(PortIndex(0)).unwrap().role else { panic!() };
    assert_eq!(eni.vni, vni_of(VNIS[2]));
}

/// ADDR-12, ADDR-14, ADDR-16: what instances are told follows the VPC's option set.
#[test]
fn a_lease_has_the_options_of_the_vpc() {
    let mut now = model(VXLAN);
    let mut compiler = Compiler::new(site(VXLAN, 1));
    let mut tables = compiler.build(&now, &Neighbours(true));
    let vpc = tables.local_eni(PortIndex(0)).unwrap().vpc.clone();
    let mut after = |change: &dyn Fn(&mut Model)| {
        let mut next = now.clone();
        change(&mut next);
        tables = compiler.update(&tables, &now, &next, &diff(&now, &next), &Neighbours(true));
        now = next;
        let eni = tables.local_eni(PortIndex(0)).unwrap();
        assert_eq!((eni.lease.mac, eni.lease.router_mac, eni.lease.mtu), (eni.mac, eni.router_mac, eni.mtu));
        let v4 = eni.lease.v4.unwrap();
        assert_eq!((v4.address, Some(v4.subnet)), ([10, 0, 1, 10].into(), eni.subnet_v4));
        eni.lease.options.clone()
    };
    let amazon = Servers { v4: vec![[10, 0, 0, 2].into()], v6: vec!["fd00:ec2::253".parse().unwrap()] };
    let region = after(&|_| {});
    assert_eq!(region.domain_name.as_deref(), Some("eu-central-1.compute.internal"));
    assert_eq!((region.dns, region.ntp), (amazon.clone(), Servers::default()));

    let virginia =
        after(&|model| model.subnets.values_mut().for_each(|subnet| subnet.zone = "us-east-1b".into()));
    assert_eq!(virginia.domain_name.as_deref(), Some("ec2.internal"));

    let none = after(&|model| model.vpcs.get_mut(&vpc).unwrap().dhcp_options = VpcDhcp::None);
    assert_eq!(none, Options::default());

    let set = DhcpOptions {
        id: "dopt-a".into(),
        domain_name: Some("corp.example".into()),
        domain_name_servers: vec![
            NameServer::Address(IpAddr::from([10, 9, 0, 1])),
            NameServer::AmazonProvided,
            NameServer::Address("2001:db8::53".parse().unwrap()),
        ],
        ntp_servers: vec!["2001:db8::7b".parse().unwrap(), IpAddr::from([10, 9, 0, 2])],
        netbios_name_servers: vec![[10, 9, 0, 3].into()],
        netbios_node_type: Some(2),
        preferred_lifetime6: Some(600),
        descriptive: None,
    };
    let told = after(&|model| {
        model.dhcp_options.insert("dopt-a".into(), set.clone());
        model.vpcs.get_mut(&vpc).unwrap().dhcp_options = VpcDhcp::Set("dopt-a".into());
    });
    let dns = Servers {
        v4: vec![[10, 9, 0, 1].into(), [10, 0, 0, 2].into()],
        v6: vec!["fd00:ec2::253".parse().unwrap(), "2001:db8::53".parse().unwrap()],
    };
    let ntp = Servers { v4: vec![[10, 9, 0, 2].into()], v6: vec!["2001:db8::7b".parse().unwrap()] };
    let expected = Options {
        domain_name: Some("corp.example".into()),
        dns,
        ntp,
        netbios: vec![[10, 9, 0, 3].into()],
        netbios_node_type: Some(2),
        preferred_lifetime6: Some(600),
    };
    assert_eq!(told, expected);
    // A change of the set alone.
    let changed = after(&|model| model.dhcp_options.get_mut("dopt-a").unwrap().domain_name = None);
    assert_eq!(changed, Options { domain_name: None, ..expected });
}
