//! Routes from another BGP implementation (BIRD), through FRR and zebra's FPM channel: with the examples of `configs/frr/`.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use crossbeam::channel::{Receiver, bounded};
use ipnet::IpNet;
use warren::propagation::{self, Event, Intake, Settings, What, listener::GRACEFUL};

use crate::lab::{
    frr::{PATIENCE, Routers, relay},
    netns::Netns,
};

/// Links of a gateway and a customer's router, with FRR on one side and BIRD on the other.
struct Lab {
    routers: Routers,
    gateway: Netns,
    _customer: Netns,
}

impl Lab {
    fn new(config: &str) -> Self {
        let (gateway, customer) = (Netns::new("gw"), Netns::new("cust"));
        for (link, net) in [("dx0", 10), ("dx1", 11), ("vpn0", 20), ("vpn1", 21)] {
            gateway.ip(&format!("link add {link} type veth peer name {link} netns {}", customer.name));
            for (side, host) in [(&gateway, 1), (&customer, 2)] {
                side.ip(&format!("addr add 169.254.{net}.{host}/30 dev {link}"));
                side.ip(&format!("addr add fd00:{net}::{host}/64 dev {link} nodad"));
                side.ip(&format!("link set {link} up"));
            }
        }
        Self { routers: Routers::start(&gateway, &customer, config), gateway, _customer: customer }
    }

    fn settings(&self, port: u16) -> Settings {
        Settings {
            address: ([127, 0, 0, 1], port).into(),
            namespace: Some(self.routers.namespace()),
            graceful: GRACEFUL,
        }
    }

    fn interface(&self, index: u32) -> String {
        let links = self.gateway.ip("-o link");
        let line = links.lines().find(|line| line.starts_with(&format!("{index}:"))).expect("an interface");
        line[line.find(' ').unwrap() + 1..].split(['@', ':']).next().unwrap().to_owned()
    }
}

/// What has been told of a gateway: the path of each prefix, in words.
struct Told {
    events: Receiver<Event>,
    routes: BTreeMap<IpNet, propagation::Path>,
    /// Prefixes that had no path for a while.
    gaps: Vec<IpNet>,
}

impl Told {
    fn new(events: Receiver<Event>) -> Self {
        Self { events, routes: BTreeMap::new(), gaps: Vec::new() }
    }

    /// Hears what there is; returns when the last change came.
    fn hear(&mut self, wait: Duration) -> Option<SystemTime> {
        let Event { what, .. } = self.events.recv_timeout(wait).ok()?;
        let What::Changes(changes) = what else { return None };
        for change in changes {
            assert_eq!(self.routes.get(&change.prefix), change.old.as_ref());
            match change.new {
                Some(path) => drop(self.routes.insert(change.prefix, path)),
                None => {
                    self.routes.remove(&change.prefix);
                    self.gaps.push(change.prefix);
                }
            }
        }
        Some(SystemTime::now())
    }

    fn route(&self, lab: &Lab, prefix: &str) -> String {
        match self.routes.get(&prefix.parse::<IpNet>().unwrap()) {
            Some(propagation::Path::Via(hops)) => {
                let hop = |hop: &propagation::NextHop| {
                    format!("{} {}", lab.interface(hop.interface), hop.address.expect("a neighbour"))
                };
                hops.iter().map(hop).collect::<Vec<_>>().join(", ")
            }
            Some(propagation::Path::Blackhole) => "blackhole".into(),
            None => "none".into(),
        }
    }

    /// Waits until a prefix has this path; returns when it came.
    #[track_caller]
    fn expect(&mut self, lab: &Lab, prefix: &str, path: &str) -> SystemTime {
        let deadline = Instant::now() + PATIENCE;
        let mut changed = SystemTime::now();
        while self.route(lab, prefix) != path {
            changed = self.hear(Duration::from_millis(100)).unwrap_or(changed);
            let now = self.route(lab, prefix);
            assert!(Instant::now() < deadline, "{prefix}: {now}, not {path}\n{}", lab.routers.logs());
        }
        changed
    }
}

/// BGP-2, BGP-3, BGP-9, RT-19: two virtual interfaces share, VPN takes over when they are gone; what is withdrawn is told within
/// 100 ms of zebra's message; nothing is lost when the listener, or FRR as a whole, restarts.
#[test]
fn bgp_9_routes_of_a_virtual_private_gateway_come_change_go_and_outlive_a_restart() {
    let mut lab = Lab::new("vgw.conf");
    let start = || {
        let (sender, events) = bounded(16);
        (Intake::start("vgw-1".into(), &lab.settings(2621), sender).unwrap(), Told::new(events))
    };
    let (intake, mut told) = start();
    let said = relay(&lab.gateway, 2620, 2621);
    let both = "dx0 169.254.10.2, dx1 169.254.11.2";

    told.expect(&lab, "192.168.0.0/16", both);
    told.expect(&lab, "172.16.0.0/12", "vpn0 169.254.20.2");
    lab.routers.wait("BIRD has the VPC", || {
        lab.routers.birdc("show route protocol dx0").contains("10.0.0.0/16")
            && lab.routers.birdc("show route protocol vpn0").contains("10.0.0.0/16")
    });
    told.gaps.clear();

    // Another path, by way of none.
    lab.routers.birdc("disable dx1");
    told.expect(&lab, "192.168.0.0/16", "dx0 169.254.10.2");
    lab.routers.birdc("disable dx0");
    told.expect(&lab, "192.168.0.0/16", "vpn0 169.254.20.2");
    assert_eq!(told.gaps, []);

    // A withdrawal.
    let begin = SystemTime::now();
    lab.routers.birdc("disable branch");
    let gone = told.expect(&lab, "172.16.0.0/12", "none");
    let since = |time| gone.duration_since(time).unwrap_or_default();
    let (message, whole) = (since(*said.lock().unwrap().last().expect("a message")), since(begin));
    println!("withdrawn: told {message:?} after zebra's message, {whole:?} after BIRD's command");
    assert!(message < Duration::from_millis(100), "{message:?}");
    lab.routers.birdc("enable branch");
    lab.routers.birdc("enable dx0");
    lab.routers.birdc("enable dx1");
    told.expect(&lab, "172.16.0.0/12", "vpn0 169.254.20.2");
    told.expect(&lab, "192.168.0.0/16", both);

    // Another listener hears all of it.
    drop(intake);
    let (intake, mut told) = start();
    told.expect(&lab, "172.16.0.0/12", "vpn0 169.254.20.2");
    told.expect(&lab, "192.168.0.0/16", both);

    // Without FRR nothing changes, and when it is back all of it is fresh again.
    let known = told.routes.clone();
    lab.routers.kill_zebra();
    lab.routers.wait("zebra is gone", || intake.status().peer.is_none());
    assert_eq!(intake.status().stale, known.len());
    let down = Instant::now();
    lab.routers.start_frr();
    let announced = || lab.routers.birdc("show route 10.0.0.0/16");
    lab.routers.wait("all is heard again", || {
        // BIRD keeps the VPC's route too.
        assert!(announced().contains("10.0.0.0/16"), "{}", lab.routers.logs());
        intake.status().stale == 0 && intake.status().peer.is_some()
    });
    println!("FRR had forgotten nothing {:?} after it went", down.elapsed());
    while told.hear(Duration::from_millis(500)).is_some() {}
    told.expect(&lab, "192.168.0.0/16", both);
    assert_eq!((told.gaps, told.routes), (vec![], known));
}

/// PT-15: the tunnels of a transit gateway share; IPv6 next hops have their global addresses.
#[test]
fn pt_15_tunnels_of_a_transit_gateway_share_and_carry_ipv6() {
    let lab = Lab::new("tgw.conf");
    let (sender, events) = bounded(16);
    let _intake = Intake::start("tgw-1".into(), &lab.settings(2620), sender).unwrap();
    let mut told = Told::new(events);
    told.expect(&lab, "192.168.0.0/16", "vpn0 169.254.20.2, vpn1 169.254.21.2");
    told.expect(&lab, "fd00:c::/48", "vpn0 fd00:20::2");
    lab.routers.wait("BIRD has the IPv6 block", || {
        lab.routers.birdc("show route protocol vpn0_6").contains("fd00:a::/32")
    });
}
