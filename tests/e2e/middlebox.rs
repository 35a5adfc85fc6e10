//! A Linux router between the internet gateway and an instance, by a gateway route table; and another when it fails.

use std::{net::Ipv4Addr, time::Instant};

use crate::lab::{
    cloud::{Cloud, Nic, nic},
    fleet::{Fleet, Site},
    netns::Netns,
    outside::Internet,
    stream::Stream,
    wait_for,
};

const ELASTIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 110);

/// The instance, and two routers in another subnet and on another host.
fn nics() -> [Nic; 3] {
    [
        nic([1, 1, 10], "host-a", "vm0"),
        nic([1, 2, 10], "edge-1", "vm1").unchecked(),
        nic([1, 2, 11], "host-a", "vm2").unchecked(),
    ]
}

/// Both directions go by one of the routers.
fn cloud(by: &Nic) -> Cloud {
    let [guest, first, second] = &nics();
    Cloud::new(&["host-a", "edge-1"], &nics())
        .internet_gateway(1, &["edge-1"])
        .elastic(&ELASTIC.to_string(), guest)
        // ING-4.
        .elastic("198.51.100.111", first)
        .elastic("198.51.100.112", second)
        .routes("rtb-main", 1, &["main"], &[])
        .routes("rtb-ingress", 1, &["igw-1"], &[("10.1.1.0/24", &by.id())])
        .routes("rtb-guest", 1, &["subnet-1-1"], &[("0.0.0.0/0", &by.id())])
        .routes("rtb-routers", 1, &["subnet-1-2"], &[("0.0.0.0/0", "igw-1")])
}

/// Makes a namespace a router that forwards on its one interface.
fn forward(router: &Netns) {
    for setting in [
        "ip_forward=1",
        "conf.all.rp_filter=0",
        "conf.eth0.rp_filter=0",
        "conf.all.send_redirects=0",
        "conf.eth0.send_redirects=0",
    ] {
        router.sysctl(&format!("net.ipv4.{setting}"));
    }
}

/// How many packets a namespace has forwarded.
fn forwarded(router: &Netns) -> u64 {
    let text = router.run("cat", "coreutils", "/proc/net/snmp").ok();
    let mut rows = text.lines().filter(|line| line.starts_with("Ip:")).map(|line| line.split(' '));
    let (names, values) = (rows.next().unwrap(), rows.next().unwrap());
    let found = names.zip(values).find(|(name, _)| *name == "ForwDatagrams");
    found.and_then(|(_, value)| value.parse().ok()).expect("a counter")
}

/// ING-1, ING-5, ING-6, ING-7, RT-10, RT-18.
#[test]
fn ing_1_ing_7_a_client_reaches_an_instance_through_a_middlebox_and_through_another_when_it_fails() {
    let [guest, first, second] = nics();
    let fleet = Fleet::start(
        &cloud(&first),
        vec![Site::new("host-a").instances(&["vm0", "vm2"]), Site::new("edge-1").instances(&["vm1"]).edge(1)],
    );
    let internet = Internet::new(&fleet);
    let _guest = fleet.instance(&guest);
    let [one, two] = [&first, &second].map(|nic| fleet.instance(nic));
    forward(&one);
    forward(&two);

    internet.namespace.ping("-c 10 -i 0.05", ELASTIC).all();
    let (by_one, by_two) = (forwarded(&one), forwarded(&two));
    println!("10 requests and replies: the first middlebox forwarded {by_one} packets, the second {by_two}");
    assert!(by_one >= 20, "{by_one}");
    assert_eq!(by_two, 0);

    // It fails, and the orchestrator replaces both routes.
    let stream = Stream::start(&internet.namespace, 5, ELASTIC);
    one.ip("link set eth0 down");
    let failed = Instant::now();
    fleet.apply(&cloud(&second));
    let applied = failed.elapsed();
    wait_for("the second middlebox", || forwarded(&two) > 0);
    let moved = failed.elapsed();
    stream.answered();
    let report = stream.stop();
    println!(
        "the middlebox failed; applied to both nodes after {applied:?}, by the other after {moved:?}; \
         gap {:?}, {} of {} pings of 5 ms lost",
        report.longest,
        report.sent - report.received,
        report.sent
    );
    assert!(forwarded(&two) >= 40);
}
