//! Two edge nodes serve an internet gateway and a NAT gateway together, until one is taken away.

use std::net::{IpAddr, Ipv4Addr};

use crate::lab::{
    cloud::{Cloud, Nic, nic},
    fleet::{Fleet, Site},
    inside::Flow,
    outside::{Internet, WEB4},
};

const ELASTIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 110);
const NAT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 105);
const FLOWS: usize = 64;

/// A public and a private instance on the host.
fn nics() -> [Nic; 2] {
    [nic([1, 1, 10], "host-a", "vm0"), nic([1, 2, 10], "host-a", "vm1")]
}

fn cloud(edges: &[&str]) -> Cloud {
    let [public, _] = &nics();
    Cloud::new(&["host-a", "edge-1", "edge-2"], &nics())
        .internet_gateway(1, edges)
        .nat_gateway([1, 1], &NAT.to_string(), edges)
        .elastic(&ELASTIC.to_string(), public)
        .routes("rtb-main", 1, &["main"], &[])
        .routes("rtb-public", 1, &["subnet-1-1"], &[("0.0.0.0/0", "igw-1")])
        .routes("rtb-private", 1, &["subnet-1-2"], &[("0.0.0.0/0", "nat-1")])
}

/// How many packets an edge node has got from inside and sent to the internet.
fn passed(fleet: &Fleet, edge: &str) -> u64 {
    let daemon = &fleet.node(edge).daemon;
    daemon.count("stats", &[("port", "wan")], "tx_packets")
        + daemon.count("stats", &[("port", "uplink")], "rx_packets")
}

/// The choice of the issue: flows are spread by rendezvous hashing, NAT ports are split, no state is shared.
#[test]
fn gw_10_two_edge_nodes_share_flows_and_those_of_the_one_outlive_the_other() {
    let fleet = Fleet::start(
        &cloud(&["edge-1", "edge-2"]),
        vec![
            Site::new("host-a").instances(&["vm0", "vm1"]),
            Site::new("edge-1").edge(1),
            Site::new("edge-2").edge(2),
        ],
    );
    let _internet = Internet::new(&fleet);
    let [public, private] = nics().map(|nic| fleet.instance(&nic));
    let open = |guest| (0..FLOWS).map(|_| Flow::open(guest, WEB4).unwrap()).collect::<Vec<_>>();
    let (mut translated, mut natted) = (open(&public), open(&private));
    assert!(translated.iter().all(|flow| flow.seen.ip() == IpAddr::from(ELASTIC)));
    assert!(natted.iter().all(|flow| flow.seen.ip() == IpAddr::from(NAT)));

    // Whether a flow needs the second, for the one gateway or the other, is seen in what passes there.
    let by_second = |flows: &mut [Flow]| {
        flows
            .iter_mut()
            .map(|flow| {
                let before = passed(&fleet, "edge-2");
                assert!(flow.lives());
                passed(&fleet, "edge-2") > before
            })
            .collect::<Vec<_>>()
    };
    let (of_igw, of_nat) = (by_second(&mut translated), by_second(&mut natted));
    let number = |of: &[bool]| of.iter().filter(|&&second| second).count();
    println!(
        "of {FLOWS} flows each, edge-2 has {} of the internet gateway's and {} of the NAT gateway's",
        number(&of_igw),
        number(&of_nat)
    );
    for number in [number(&of_igw), number(&of_nat)] {
        assert!((FLOWS / 8..FLOWS * 7 / 8).contains(&number), "{number} of {FLOWS}");
    }

    fleet.apply(&cloud(&["edge-1"]));
    // 1:1 translation remembers nothing: all go on. Of the NAT gateway's, those of the edge node that stays.
    assert!(translated.iter_mut().all(Flow::lives));
    let went_on = natted.iter_mut().zip(&of_nat).filter(|(_, second)| !**second);
    let (alive, all) =
        went_on.fold((0, 0), |(alive, all), (flow, _)| (alive + usize::from(flow.lives()), all + 1));
    println!(
        "without edge-2: {FLOWS} of {FLOWS} flows of the internet gateway go on, {alive} of {all} of edge-1's NAT flows"
    );
    assert_eq!(alive, all);
    for guest in [&public, &private] {
        assert!((0..8).all(|_| Flow::open(guest, WEB4).is_ok()));
    }
}
