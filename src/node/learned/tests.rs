use super::*;
use crate::model::{
    AttachmentKind, Circuit, ConnectPeer, Descriptive, Session, Terminal, TransitAttachment, TransitGateway,
    VirtualInterface, VpnConnection, VpnGateway,
};

const VGW: &str = "vgw-1";
const EDGE: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)), 2623);

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn hop(text: &str) -> NextHop {
    NextHop { interface: 7, address: Some(text.parse().unwrap()) }
}

fn via(hops: &[&str]) -> Option<Path> {
    Some(Path::Via(hops.iter().map(|text| hop(text)).collect()))
}

fn circuits(ids: &[&str]) -> Circuits {
    ids.iter().map(|&id| id.into()).collect()
}

fn circuit(id: &str, resource: &str, address: &str, peer: &str) -> Circuit {
    Circuit {
        id: id.into(),
        resource: resource.into(),
        tunnel: 0,
        host: "host-a".into(),
        port: "out".into(),
        vlan: Some(7),
        address: net(address),
        peer: peer.parse().unwrap(),
    }
}

/// A virtual private gateway with the virtual interfaces `vif-1` and `vif-2`, the VPN connection `vpn-3`, and a circuit each.
fn model() -> Model {
    let mut model = Model::default();
    let descriptive = Descriptive::default;
    model
        .vpn_gateways
        .insert(VGW.into(), VpnGateway { id: VGW.into(), vpc: None, descriptive: descriptive() });
    for (id, address, peer) in
        [("vif-1", "169.254.1.1/30", "169.254.1.2"), ("vif-2", "169.254.2.1/30", "169.254.2.2")]
    {
        let interface = VirtualInterface {
            id: id.into(),
            terminal: Terminal::VpnGateway(VGW.into()),
            vlan: 7,
            mtu: 1500,
            address: net(address),
            peer: peer.parse().unwrap(),
            descriptive: descriptive(),
        };
        model.virtual_interfaces.insert(id.into(), interface);
        model.circuits.insert(id.into(), circuit(id, id, address, peer));
    }
    let connection = VpnConnection {
        id: "vpn-3".into(),
        terminal: Terminal::VpnGateway(VGW.into()),
        routes: Vec::new(),
        tunnels_up: [true; 2],
        descriptive: descriptive(),
    };
    model.vpn_connections.insert("vpn-3".into(), connection);
    model.circuits.insert("vpn-3".into(), circuit("vpn-3", "vpn-3", "169.254.3.1/30", "169.254.3.2"));
    model
}

fn from_zebra(prefix: &str, new: Option<Path>) -> Heard {
    Heard::Zebra(VGW.into(), vec![Change { prefix: net(prefix), old: None, new }])
}

fn from_host(prefix: &str, new: Option<&[&str]>) -> Heard {
    Heard::Host(EDGE, VGW.into(), vec![Change { prefix: net(prefix), old: None, new: new.map(circuits) }])
}

/// Over which circuits the table of the gateway leads to a prefix, after that was heard.
#[track_caller]
fn leads(routes: &mut Routes, model: &Model, heard: Vec<Heard>, prefix: &str) -> Option<Vec<Id>> {
    let (tables, _) = routes.hear(model, heard);
    let [(gateway, table)] = &tables[..] else { panic!("{} tables", tables.len()) };
    assert_eq!(&**gateway, VGW);
    over(table.as_ref()?, prefix)
}

fn over(table: &LearnedTable, prefix: &str) -> Option<Vec<Id>> {
    let set = table.routes.get(net(prefix))?;
    let named = table.circuits.iter().zip(0..).filter(|(_, bit)| set.0 >> bit & 1 == 1);
    Some(named.map(|(id, _)| Arc::clone(id)).collect())
}

fn ids(ids: &[&str]) -> Option<Vec<Id>> {
    Some(ids.iter().map(|&id| id.into()).collect())
}

#[test]
fn bgp_1_a_next_hop_is_the_other_end_of_a_circuit() {
    let (mut routes, model) = (Routes::default(), model());
    let heard = vec![from_zebra("172.16.0.0/12", via(&["169.254.1.2"]))];
    let (tables, tell) = routes.hear(&model, heard);
    assert_eq!(over(tables[0].1.as_ref().unwrap(), "172.16.0.0/12"), ids(&["vif-1"]));
    assert_eq!(tell, [(VGW.into(), vec![(net("172.16.0.0/12"), Some(circuits(&["vif-1"])))])]);
    let ecmp = vec![from_zebra("172.16.0.0/12", via(&["169.254.1.2", "169.254.2.2"]))];
    assert_eq!(leads(&mut routes, &model, ecmp, "172.16.0.0/12"), ids(&["vif-1", "vif-2"]), "BGP-3");
    let blackhole = vec![from_zebra("172.16.0.0/12", Some(Path::Blackhole))];
    assert_eq!(leads(&mut routes, &model, blackhole, "172.16.0.0/12"), ids(&[]));
    let (tables, tell) = routes.hear(&model, vec![from_zebra("172.16.0.0/12", None)]);
    assert!(matches!(&tables[..], [(_, None)]) && routes.is_empty(), "nothing is left");
    assert_eq!(tell, [(VGW.into(), vec![(net("172.16.0.0/12"), None)])]);
}

/// PT-20: a Connect attachment's sessions are inside its tunnels.
#[test]
fn pt_20_a_next_hop_may_be_inside_a_tunnel() {
    let (mut routes, mut model) = (Routes::default(), Model::default());
    let peer = |inside: &str| ConnectPeer {
        id: "peer".into(),
        address: [192, 0, 2, 1].into(),
        peer: [192, 0, 2, 2].into(),
        sessions: vec![Session { address: [169, 254, 6, 2].into(), peer: inside.parse().unwrap() }],
    };
    let peers = vec![peer("169.254.6.1"), peer("169.254.7.1")];
    let gateway = TransitGateway {
        id: "tgw-1".into(),
        vpn_ecmp: true,
        multicast: false,
        group_references: false,
        descriptive: Descriptive::default(),
    };
    model.transit_gateways.insert("tgw-1".into(), gateway);
    let attachment = TransitAttachment {
        id: "at-gre".into(),
        gateway: "tgw-1".into(),
        available: true,
        kind: AttachmentKind::Connect { transport: "at-dx".into(), peers },
        table: None,
        descriptive: Descriptive::default(),
    };
    model.transit_attachments.insert("at-gre".into(), attachment);
    let first = circuit("gre-0", "at-gre", "169.254.1.1/30", "169.254.1.2");
    let second = Circuit { tunnel: 1, ..circuit("gre-1", "at-gre", "169.254.2.1/30", "169.254.2.2") };
    model.circuits.extend([first, second].map(|it| (it.id.clone(), it)));
    let change = Change { prefix: net("172.16.0.0/12"), old: None, new: via(&["169.254.7.1"]) };
    let (tables, _) = routes.hear(&model, vec![Heard::Zebra("at-gre".into(), vec![change])]);
    assert_eq!(over(tables[0].1.as_ref().unwrap(), "172.16.0.0/12"), ids(&["gre-1"]));
}

#[test]
fn a_next_hop_on_no_circuit_makes_no_route() {
    let (mut routes, model) = (Routes::default(), model());
    let stray = |prefix| from_zebra(prefix, via(&["192.0.2.9"]));
    assert_eq!(leads(&mut routes, &model, vec![stray("172.16.0.0/12")], "172.16.0.0/12"), None);
    assert_eq!(leads(&mut routes, &model, vec![stray("10.0.0.0/8")], "10.0.0.0/8"), None);
    assert_eq!(routes.said.len(), 1, "said once");
    let half = vec![from_zebra("10.0.0.0/8", via(&["192.0.2.9", "169.254.3.2"]))];
    assert_eq!(leads(&mut routes, &model, half, "10.0.0.0/8"), ids(&["vpn-3"]));
}

#[test]
fn a_link_local_next_hop_is_the_only_circuit_of_ipv6() {
    let (mut routes, mut model) = (Routes::default(), model());
    let v6 = circuit("vif-2", "vif-2", "2001:db8:2::1/64", "2001:db8:2::2");
    model.circuits.insert("vif-2".into(), v6);
    let heard = || vec![from_zebra("fd00:c::/48", via(&["fe80::8845:acff:fef6:c2ca"]))];
    assert_eq!(leads(&mut routes, &model, heard(), "fd00:c::/48"), ids(&["vif-2"]));
    let other = circuit("vif-1", "vif-1", "2001:db8:1::1/64", "2001:db8:1::2");
    model.circuits.insert("vif-1".into(), other);
    assert_eq!(leads(&mut routes, &model, heard(), "fd00:c::/48"), None, "which of two, it does not say");
}

#[test]
fn bgp_2_what_two_hosts_know_is_one_table() {
    let (mut routes, model) = (Routes::default(), model());
    let prefix = "172.16.0.0/12";
    let vpn = || from_zebra(prefix, via(&["169.254.3.2"]));
    assert_eq!(leads(&mut routes, &model, vec![vpn()], prefix), ids(&["vpn-3"]));
    let (tables, tell) = routes.hear(&model, vec![from_host(prefix, Some(&["vif-1"]))]);
    assert_eq!(over(tables[0].1.as_ref().unwrap(), prefix), ids(&["vif-1"]), "Direct Connect is preferred");
    assert!(tell.is_empty(), "what others said is not told on");
    assert_eq!(leads(&mut routes, &model, vec![from_host(prefix, None)], prefix), ids(&["vpn-3"]));
    assert_eq!(
        leads(
            &mut routes,
            &model,
            vec![from_host(prefix, Some(&["gone"])), from_zebra(prefix, None)],
            prefix
        ),
        None
    );
}

#[test]
fn another_state_has_other_circuits() {
    let (mut routes, old) = (Routes::default(), model());
    let heard =
        vec![from_zebra("172.16.0.0/12", via(&["169.254.9.2"])), from_host("10.0.0.0/8", Some(&["vif-2"]))];
    assert_eq!(leads(&mut routes, &old, heard, "172.16.0.0/12"), None);
    let mut new = old.clone();
    new.circuits.remove("vpn-3");
    new.circuits.insert("vif-1".into(), circuit("vif-1", "vif-1", "169.254.9.1/30", "169.254.9.2"));
    assert!(differ(&old, &new));
    let (tables, tell) = routes.set_state(&new);
    let table = tables[0].1.as_ref().unwrap();
    assert_eq!(over(table, "172.16.0.0/12"), ids(&["vif-1"]));
    assert_eq!(over(table, "10.0.0.0/8"), ids(&["vif-2"]));
    assert_eq!(tell, [(VGW.into(), vec![(net("172.16.0.0/12"), Some(circuits(&["vif-1"])))])]);
}
