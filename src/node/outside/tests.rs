use std::path::Path;

use super::*;
use crate::{
    model::{self, Circuit, Edge},
    node::{manager::Manager, replay::stand_in_mac},
    packet::{
        arp::{Arp, Operation},
        parse, strip_vlan,
    },
    pipeline::News,
};

const MAC: Mac = Mac([2, 0, 0, 0, 0, 0xaa]);
const NODE: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OUT: PortIndex = PortIndex(0);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn config() -> HostConfig {
    let text = r#"
        host = "host-a"
        state = "s"
        workers = { cores = [1] }
        [[port]]
        name = "out"
        role = "gateway"
        device = "net_null0"
        mac = "02:00:00:00:00:01"
        addresses = ["198.51.100.1/24", "2001:db8:f::1/64"]
        next_hops = ["198.51.100.254", "2001:db8:f::fe"]
        neighbors = [{ address = "169.254.9.2", mac = "02:00:00:00:00:99", vlan = 9 }]
        [[port]]
        name = "vm0"
        role = "instance"
        device = "net_null1"
        [[port]]
        name = "circuits"
        role = "gateway"
        device = "net_null2"
    "#;
    HostConfig::parse(text, Path::new("/")).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn circuit(id: &str, port: &str, vlan: Option<u16>) -> Circuit {
    let n = vlan.unwrap_or(0);
    Circuit {
        id: id.into(),
        resource: "dxvif-1".into(),
        tunnel: 0,
        host: "host-a".into(),
        port: port.into(),
        vlan,
        address: format!("169.254.{n}.1/30").parse().unwrap(),
        peer: ip(&format!("169.254.{n}.2")),
    }
}

fn with(circuits: impl IntoIterator<Item = Circuit>) -> Model {
    let mut model = Model::default();
    let host = model::Host { id: "host-a".into(), underlay: ip("192.0.2.1") };
    model.hosts.insert(host.id.clone(), host);
    model.circuits = circuits.into_iter().map(|circuit| (circuit.id.clone(), circuit)).collect();
    model
}

fn manager(model: Model) -> Manager {
    let config = config();
    let (manager, _) = Manager::new(&config, config.site(stand_in_mac), model, 1).unwrap();
    manager
}

/// The requests due at a time: port, VLAN, who asks, and for what.
fn asked(manager: &mut Manager, now: Duration) -> Vec<(PortIndex, u16, IpAddr, IpAddr)> {
    let mut asked: Vec<_> = manager
        .tick(now)
        .into_iter()
        .map(|(port, frame)| {
            let mut frame = HeapBuffer::new(&frame);
            let vlan = strip_vlan(&mut frame).unwrap_or(0);
            let (own, target) = match Arp::parse(frame.data()) {
                Ok(arp) => (arp.sender_ip.into(), arp.target_ip.into()),
                Err(_) => {
                    let headers = parse(frame.data()).unwrap();
                    let Ok(crate::packet::nd::Message::Solicitation { source, target, .. }) =
                        crate::packet::nd::parse(frame.data(), &headers)
                    else {
                        panic!("{frame:?}")
                    };
                    (source.into(), target.into())
                }
            };
            (port, vlan, own, target)
        })
        .collect();
    asked.sort_unstable();
    asked
}

fn resolved(manager: &Manager, port: PortIndex, vlan: u16, address: &str) -> Option<Mac> {
    manager.tables().outside.get(&(port, vlan, ip(address))).copied()
}

#[test]
fn next_hops_and_other_ends_of_circuits_are_asked_for_from_the_start() {
    let mut manager = manager(with([
        circuit("c-7", "out", Some(7)),
        circuit("c-9", "out", Some(9)),
        circuit("c-0", "circuits", None),
    ]));
    let (v4, v6) = (ip("198.51.100.1"), ip("2001:db8:f::1"));
    let expected = [
        (OUT, 0, v4, ip("198.51.100.254")),
        (OUT, 0, v6, ip("2001:db8:f::fe")),
        (OUT, 7, ip("169.254.7.1"), ip("169.254.7.2")),
        (PortIndex(2), 0, ip("169.254.0.1"), ip("169.254.0.2")),
    ];
    assert_eq!(asked(&mut manager, at(0)), expected);
    assert_eq!(resolved(&manager, OUT, 9, "169.254.9.2"), Some(Mac([2, 0, 0, 0, 0, 0x99])), "static");
    let heard = Learned { address: ip("169.254.7.2"), mac: MAC };
    manager.hear(at(1), News::Outside(OUT, 0, heard));
    manager.publish_outside();
    assert_eq!(resolved(&manager, OUT, 7, "169.254.7.2"), None, "said on another link");
    manager.hear(at(1), News::Outside(OUT, 7, heard));
    manager.publish_outside();
    assert_eq!(resolved(&manager, OUT, 7, "169.254.7.2"), Some(MAC));
    assert_eq!(asked(&mut manager, at(1000)).len(), 3);
}

#[test]
fn who_is_on_the_internets_link_is_asked_for_when_a_packet_goes_there() {
    let mut manager = manager(with([]));
    let generation = manager.generation();
    asked(&mut manager, at(0));
    for _ in 0..3 {
        manager.hear(at(1), News::Wanted(OUT, 0, ip("198.51.100.7")));
    }
    manager.hear(at(1), News::Wanted(OUT, 5, ip("198.51.100.8")));
    assert_eq!(asked(&mut manager, at(5)), [(OUT, 0, ip("198.51.100.1"), ip("198.51.100.7"))]);
    assert_eq!(manager.generation(), generation, "nothing to publish");
    manager.hear(at(6), News::Outside(OUT, 0, Learned { address: ip("198.51.100.7"), mac: MAC }));
    manager.publish_outside();
    assert_eq!(resolved(&manager, OUT, 0, "198.51.100.7"), Some(MAC));
    assert_eq!(manager.generation(), generation + 1);
    for second in 1..50 {
        manager.tick(at(1000 * second));
    }
    assert_eq!(resolved(&manager, OUT, 0, "198.51.100.7"), None, "it answers no more");
}

#[test]
fn a_circuit_that_is_taken_away_is_asked_for_no_more() {
    let mut manager = manager(with([circuit("c-7", "out", Some(7))]));
    asked(&mut manager, at(0));
    manager.hear(at(1), News::Outside(OUT, 7, Learned { address: ip("169.254.7.2"), mac: MAC }));
    manager.apply(with([circuit("c-8", "out", Some(8))])).unwrap();
    assert_eq!(resolved(&manager, OUT, 7, "169.254.7.2"), None);
    assert_eq!(asked(&mut manager, at(2)), [(OUT, 8, ip("169.254.8.1"), ip("169.254.8.2"))]);
}

#[test]
fn requests_are_the_ports_own() {
    let mut manager = manager(with([circuit("c-7", "out", Some(7))]));
    let frames = manager.tick(at(0));
    let (_, frame) = frames.iter().find(|(_, frame)| frame[12..16] == [0x81, 0, 0, 7]).unwrap();
    let mut frame = HeapBuffer::new(frame);
    strip_vlan(&mut frame);
    let arp = Arp::parse(frame.data()).unwrap();
    assert_eq!((arp.operation, arp.sender_mac), (Operation::Request, NODE));
}

#[test]
fn circuits_must_fit_the_host_file() {
    let site = config().site(stand_in_mac);
    for (circuits, expected) in [
        (
            vec![circuit("c-1", "nowhere", Some(7))],
            "c-1: on port `nowhere` of `host-a`, whose host file has no such port",
        ),
        (
            vec![circuit("c-1", "vm0", Some(7))],
            "c-1: on port `vm0` of `host-a`, which is none to the outside",
        ),
        (
            vec![circuit("c-1", "out", None)],
            "c-1: without a VLAN on port `out` of `host-a`, whose untagged link leads to the internet",
        ),
        (
            vec![circuit("c-2", "out", Some(7)), circuit("c-1", "out", Some(7))],
            "c-2: VLAN 7 on port `out` of `host-a` is c-1's too",
        ),
        (
            vec![circuit("c-1", "circuits", None), circuit("c-2", "circuits", None)],
            "c-2: no VLAN on port `circuits`",
        ),
    ] {
        let [problem] = &check_circuits(&site, &with(circuits))[..] else { panic!("{expected}") };
        assert!(problem.starts_with(expected), "{problem}");
    }
    let elsewhere = Circuit { host: "host-b".into(), ..circuit("c-1", "nowhere", Some(7)) };
    assert_eq!(check_circuits(&site, &with([elsewhere])), Vec::<String>::new());
    let mut manager = manager(with([]));
    assert!(manager.apply(with([circuit("c-1", "vm0", Some(7))])).is_err());
}

#[test]
fn a_host_that_is_to_serve_a_gateway_without_a_port_is_warned_of() {
    let mut model = with([]);
    let edge = Edge { gateway: "igw-1".into(), hosts: vec!["host-a".into()] };
    model.edges.insert(edge.gateway.clone(), edge);
    let mut site = config().site(stand_in_mac);
    assert_eq!(warnings(&site, &model), Vec::<String>::new());
    site.ports.retain(|port| matches!(port.role, SiteRole::Instance));
    assert!(warnings(&site, &model)[0].starts_with("igw-1: host `host-a` is to serve it"));
}

/// A VPC's public addresses, by an internet gateway that these hosts serve.
fn public(hosts: &str) -> Model {
    let addresses: String = (0..32)
        .map(|n| {
            format!(
                "- {{PublicIp: 198.51.100.{}, NetworkInterfaceId: eni-1, PrivateIpAddress: 10.0.1.{}}}\n",
                100 + n,
                10 + n
            )
        })
        .collect();
    let secondary: String = (1..32).map(|n| format!(", {{PrivateIpAddress: 10.0.1.{}}}", 10 + n)).collect();
    let text = format!(
        r#"
Vpcs: [{{VpcId: vpc-1, CidrBlock: 10.0.0.0/16}}]
Subnets: [{{SubnetId: subnet-1, VpcId: vpc-1, AvailabilityZone: eu-central-1a, CidrBlock: 10.0.1.0/24}}]
SecurityGroups:
- GroupId: sg-1
  VpcId: vpc-1
  IpPermissions: [{{IpProtocol: "-1", IpRanges: [{{CidrIp: 0.0.0.0/0}}]}}]
  IpPermissionsEgress: [{{IpProtocol: "-1", IpRanges: [{{CidrIp: 0.0.0.0/0}}]}}]
NetworkInterfaces:
- NetworkInterfaceId: eni-1
  SubnetId: subnet-1
  MacAddress: "02:00:00:00:01:0a"
  PrivateIpAddress: 10.0.1.10
  PrivateIpAddresses: [{{PrivateIpAddress: 10.0.1.10, Primary: true}}{secondary}]
  Groups: [{{GroupId: sg-1}}]
InternetGateways: [{{InternetGatewayId: igw-1, Attachments: [{{VpcId: vpc-1}}]}}]
Addresses:
{addresses}
Warren:
  Hosts: [{{HostId: host-a, UnderlayAddress: 192.0.2.1}}, {{HostId: host-b, UnderlayAddress: 192.0.2.2}}]
  Networks: [{{VpcId: vpc-1, Vni: 4100}}]
  Gateways: [{{GatewayId: igw-1, Hosts: [{hosts}]}}]
"#
    );
    model::load(&[model::Document { name: "state.yaml".into(), text }])
        .unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn a_node_that_takes_over_public_addresses_announces_them() {
    let mut manager = manager(public("host-a, host-b"));
    asked(&mut manager, at(0));
    let own = |address: IpAddr| (OUT, 0, address, address);
    manager.apply(public("host-a")).unwrap();
    let announced = asked(&mut manager, at(1));
    // The other host had some of them, and this one has said nothing of its own.
    assert!((4..29).contains(&announced.len()), "{announced:?}");
    assert!(announced.iter().all(|&what| what == own(what.2)), "{announced:?}");
    manager.apply(public("host-b, host-a")).unwrap();
    assert_eq!(asked(&mut manager, at(2)), []);
    manager.apply(public("host-a")).unwrap();
    assert_eq!(asked(&mut manager, at(3)), announced);
}
