use super::*;

#[test]
fn the_example_is_read() {
    let config = HostConfig::read(Path::new("examples/host-a.toml")).unwrap();
    assert_eq!(config.state, Path::new("examples/two-hosts.state.yaml"));
    assert_eq!(config.ports.len(), 3);
    let uplink = config.ports[2].uplink().unwrap();
    assert_eq!(uplink.address.to_string(), "192.0.2.1/24");
    assert_eq!(uplink.neighbors.len(), 1);
    assert!(config.warnings().is_empty());
}

#[test]
fn a_service_port_has_its_own_keys() {
    let port = |name: &str, keys: &str| {
        format!("[[port]]\nname = \"{name}\"\nrole = \"service\"\ndevice = \"net_null0\"\n{keys}\n")
    };
    let parse = |ports: &str| {
        let node = "host = \"h\"\nstate = \"s\"\nworkers = { cores = [1] }\n";
        HostConfig::parse(&format!("{node}{ports}"), Path::new("/"))
    };
    let one = parse(&port("svc", "identities_v4 = \"198.18.0.0/16\"")).unwrap();
    let RoleConfig::Service(service) = &one.ports[0].role else { panic!("{one:?}") };
    assert_eq!(service.services, LinkLocal::ALL);
    assert_eq!(service.pool_v4.to_string(), "198.18.0.0/16");
    let parts = port("a", "services = [\"dns\"]") + &port("b", "services = [\"metadata\", \"time\"]");
    assert!(parse(&parts).is_ok());
    for (ports, expected) in [
        (port("a", "") + &port("b", ""), "port `b`: services: port `a` leads to Metadata too"),
        (port("a", "services = []"), "port `a`: services: at least one"),
        (port("a", "identities_v4 = \"10.0.0.0/24\""), "port `a`: identities_v4: a /8 to /20"),
        (port("a", "identities_v6 = \"fd00::/64\""), "port `a`: identities_v6: at most a /48"),
        (port("a", "address = \"10.0.0.1/24\""), "port `a`: address: only an uplink"),
        (
            port("a", "").replace("service", "instance") + "peer = \"02:00:00:00:00:01\"",
            "port `a`: peer: only",
        ),
    ] {
        let problems = parse(&ports).unwrap_err();
        assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{problems:?}");
    }
}

#[test]
fn every_problem_is_named() {
    let text = r#"
        host = "h"
        state = "s.yaml"
        workers = { cores = [1, 1], burst = 1000 }
        [[port]]
        name = "vm0"
        role = "instance"
        device = "net_null0"
        mtu = 9002
        address = "192.0.2.1/24"
        [[port]]
        name = "vm0"
        role = "uplink"
        device = "net_null1"
        mac = "01:00:00:00:00:01"
    "#;
    let problems = HostConfig::parse(text, Path::new("")).unwrap_err();
    for expected in [
        "workers.cores",
        "workers.burst",
        "port `vm0`: mtu: an ENI's is at most 9001",
        "port `vm0`: address: only an uplink",
        "port[1].name: `vm0` is another",
        "port `vm0`: mac: must be unicast",
        "port `vm0`: address: an uplink needs",
    ] {
        assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{expected}: {problems:#?}");
    }
}

#[test]
fn an_unknown_key_is_an_error_that_names_it() {
    let problems = HostConfig::parse("host = \"h\"\ncolour = 1", Path::new("")).unwrap_err();
    assert!(problems[0].contains("colour"), "{problems:?}");
}

#[test]
fn an_uplink_too_small_for_the_instances_is_warned_of() {
    let text = r#"
        host = "h"
        state = "s.yaml"
        workers = { cores = [1] }
        port = [
          { name = "vm0", role = "instance", device = "net_null0" },
          { name = "up", role = "uplink", device = "net_null1", address = "192.0.2.1/24", mtu = 1500 },
        ]
    "#;
    let config = HostConfig::parse(text, Path::new("")).unwrap();
    assert!(config.warnings()[0].contains("1550 would carry them"), "{:?}", config.warnings());
}

#[test]
fn af_xdp_wants_buffers_within_a_page() {
    let uplink = "address = \"192.0.2.1/24\"\n";
    let xdp = port("vm0", "instance", "").replace("net_null", "net_af_xdp");
    refused(
        &(xdp.clone() + &port("up", "uplink", uplink)),
        "port `up`: mtu: at most 2988 beside a port over AF_XDP (`vm0`), not 9100",
    );
    assert_eq!(
        problems(&(xdp + &port("up", "uplink", &format!("{uplink}mtu = 2988")))),
        Vec::<String>::new()
    );
}

#[test]
fn a_machine_is_behind_a_socket() {
    let port = |keys: &str| format!("[[port]]\nname = \"vm0\"\nrole = \"instance\"\n{keys}\n");
    let node = "host = \"h\"\nstate = \"s\"\nworkers = { cores = [1] }\n";
    let device = |keys: &str| {
        let config = HostConfig::parse(&format!("{node}{}", port(keys)), Path::new("/etc/warren")).unwrap();
        config.ports[0].device.clone()
    };
    assert_eq!(
        device("vhost = { socket = \"/run/vm/0.sock\" }"),
        "net_vhost_port0,iface=/run/vm/0.sock,queues=1,client=1,tso=1"
    );
    assert_eq!(
        device("vhost = { socket = \"0.sock\", mode = \"server\" }\nqueues = 4"),
        "net_vhost_port0,iface=/etc/warren/0.sock,queues=4,client=0,tso=1"
    );
    let long = format!("vhost = {{ socket = \"/{}\" }}", "x".repeat(107));
    for (keys, expected) in [
        ("", "port `vm0`: device: what DPDK is to open; or `vhost`"),
        (
            "device = \"net_null0\"\nvhost = { socket = \"/a\" }",
            "port `vm0`: device: a port has a device or a",
        ),
        ("vhost = { socket = \"/a,b\" }", "port `vm0`: vhost.socket: a path in UTF-8, without commas"),
        ("vhost = { socket = \"/\" }", "port `vm0`: vhost.socket: the path of a socket"),
        (&long, "port `vm0`: vhost.socket: 108 bytes; a socket's path has at most 107"),
        ("vhost = { socket = \"/a\" }\nqueues = 129", "port `vm0`: queues: vhost has at most 128, not 129"),
    ] {
        refused(&port(keys), expected);
    }
    refused(
        &port("vhost = { socket = \"/a\" }").replace("instance", "service"),
        "port `vm0`: vhost: only an",
    );
    for (keys, expected) in [
        ("vhost = { mode = \"client\" }", "missing field `socket`"),
        ("vhost = { socket = \"/a\", mode = \"both\" }", "expected `client` or `server`"),
        ("vhost = { path = \"/a\" }", "unknown field `path`"),
    ] {
        let problems = problems(&port(keys));
        assert!(problems[0].contains(expected), "{problems:?}");
    }
}

/// What is wrong with a file of a node with these lines.
fn problems(lines: &str) -> Vec<String> {
    let node = "host = \"h\"\nstate = \"s\"\nworkers = { cores = [1] }\n";
    HostConfig::parse(&format!("{node}{lines}"), Path::new("/")).err().unwrap_or_default()
}

fn port(name: &str, role: &str, keys: &str) -> String {
    format!("[[port]]\nname = \"{name}\"\nrole = \"{role}\"\ndevice = \"net_null_{name}\"\n{keys}\n")
}

#[track_caller]
fn refused(lines: &str, expected: &str) {
    let problems = problems(lines);
    assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{expected}: {problems:#?}");
}

#[test]
fn an_edge_is_read() {
    let text = port("svc", "service", "")
        + &port("frr0", "control", "")
        + &port(
            "out",
            "gateway",
            "addresses = [\"198.51.100.1/24\", \"2001:db8:f::1/64\"]\nnext_hops = [\"198.51.100.254\"]\nmac = \"02:00:00:00:00:01\"\n\
             control = \"frr0\"\nneighbors = [{ address = \"169.254.0.2\", mac = \"02:00:00:00:00:02\", vlan = 7 }]",
        )
        + "[gateway]\nbindings = 1000\n[[bgp]]\ngateway = \"vgw-1\"\nfpm = \"127.0.0.1:2620\"\nrestart_time = 60\n\
           [[bgp]]\ngateway = \"vgw-2\"\nfpm = \"127.0.0.1:2620\"\nnamespace = \"/run/netns/b\"\n\
           [propagation]\nlisten = \"10.0.0.1:2623\"\nfollow = [\"10.0.0.2:2623\"]";
    let node = "host = \"h\"\nstate = \"s\"\nworkers = { cores = [1] }\n";
    let config = HostConfig::parse(&format!("{node}{text}"), Path::new("/")).unwrap();
    assert_eq!(config.bindings, 1000);
    assert_eq!(
        [60, 120].map(std::time::Duration::from_secs),
        [0, 1].map(|at: usize| config.bgp[at].restart_time)
    );
    assert_eq!(config.propagation.follow.len(), 1);
    let site = config.site(|_| Mac([2, 0, 0, 0, 0, 9]));
    let SiteRole::Gateway(outside) = &site.ports[2].role else { panic!("{site:?}") };
    assert_eq!((outside.mac, outside.mtu), (Mac([2, 0, 0, 0, 0, 1]), 1500));
    assert_eq!(outside.control, Some(PortIndex(1)));
    assert!(matches!(site.ports[1].role, SiteRole::Control(PortIndex(2))));
}

#[test]
fn flows_are_remembered_where_there_are_gateway_ports() {
    let parse = |lines: &str| {
        let node = "host = \"h\"\nstate = \"s\"\nworkers = { cores = [1] }\n";
        HostConfig::parse(&format!("{node}{lines}"), Path::new("/")).unwrap().bindings
    };
    assert_eq!(parse(&port("out", "gateway", "")), 262_144);
    assert_eq!(parse(&port("vm0", "instance", "")), 0);
}

#[test]
fn the_mistakes_of_an_edge_are_named() {
    let gateway = |keys: &str| port("out", "gateway", keys);
    let own = "addresses = [\"198.51.100.1/24\"]\n";
    for (keys, expected) in [
        (
            "addresses = [\"198.51.100.1/24\", \"203.0.113.1/24\"]",
            "port `out`: addresses: 203.0.113.1 is the second",
        ),
        ("addresses = [\"0.0.0.0/0\"]", "port `out`: addresses: 0.0.0.0/0 is no host's"),
        (
            "next_hops = [\"198.51.100.254\"]",
            "port `out`: next_hops: 198.51.100.254 needs an address of its family",
        ),
        ("address = \"198.51.100.1/24\"", "port `out`: address: only an uplink"),
        (
            "gateway = \"198.51.100.1\"",
            "port `out`: gateway: only an uplink has one; a gateway port has `next_hops`",
        ),
        ("vlan = \"strip\"", "port `out`: vlan: tags on a gateway port"),
        ("control = \"frr0\"", "port `out`: control: there is no port `frr0`"),
        ("mtu = 9601", "port `out`: mtu: 68 to 9600"),
    ] {
        refused(&gateway(keys), expected);
    }
    for (keys, expected) in [
        ("next_hops = [\"198.51.101.254\"]", "port `out`: next_hops: 198.51.101.254 is not on the link"),
        ("next_hops = [\"198.51.100.1\"]", "port `out`: next_hops: 198.51.100.1 is the node's own"),
        (
            "next_hops = [\"198.51.100.2\", \"198.51.100.3\"]",
            "port `out`: next_hops: 198.51.100.3 is the second",
        ),
        (
            "neighbors = [{ address = \"10.0.0.1\", mac = \"02:00:00:00:00:02\" }]",
            "port `out`: neighbors: 10.0.0.1 is on the link of none",
        ),
        (
            "neighbors = [{ address = \"10.0.0.1\", mac = \"02:00:00:00:00:02\", vlan = 4095 }]",
            "port `out`: neighbors: 10.0.0.1: vlan: 1 to 4094",
        ),
        (
            "neighbors = [{ address = \"10.0.0.1\", mac = \"01:00:00:00:00:02\", vlan = 7 }]",
            "port `out`: neighbors: 10.0.0.1: the MAC",
        ),
    ] {
        refused(&gateway(&format!("{own}{keys}")), expected);
    }
    let instance = |keys| port("vm0", "instance", keys);
    for (keys, expected) in [
        ("addresses = [\"198.51.100.1/24\"]", "port `vm0`: addresses: only a port with role = \"gateway\""),
        ("next_hops = [\"198.51.100.1\"]", "port `vm0`: next_hops: only a port with role = \"gateway\""),
        ("control = \"frr0\"", "port `vm0`: control: only a port with role = \"gateway\""),
    ] {
        refused(&instance(keys), expected);
    }
    let uplink = "address = \"192.0.2.1/24\"\nneighbors = [{ address = \"192.0.2.2\", mac = \"02:00:00:00:00:02\", vlan = 7 }]";
    refused(&port("up", "uplink", uplink), "port `up`: neighbors: 192.0.2.2: vlan: an uplink has none");
}

#[test]
fn gateway_ports_and_control_ports_are_pairs() {
    let control = port("frr0", "control", "");
    let speaks = |name: &str| port(name, "gateway", "control = \"frr0\"");
    assert_eq!(problems(&(control.clone() + &speaks("a"))), Vec::<String>::new());
    refused(&control, "port `frr0`: role: no gateway port names it");
    refused(&(control.clone() + &speaks("a") + &speaks("b")), "port `b`: control: port `a` has `frr0` too");
    refused(
        &(port("frr0", "instance", "") + &speaks("a")),
        "port `a`: control: port `frr0` has another role",
    );
    refused(&port("frr0", "control", "mac = \"02:00:00:00:00:01\""), "port `frr0`: mac: only");
}

#[test]
fn the_mistakes_of_propagation_are_named() {
    let instance = port("vm0", "instance", "");
    let bgp = |gateway: &str, fpm: &str| format!("[[bgp]]\ngateway = \"{gateway}\"\nfpm = \"{fpm}\"\n");
    let (one, other) = (bgp("vgw-1", "127.0.0.1:2620"), bgp("vgw-2", "127.0.0.1:2620"));
    refused(&format!("{instance}{one}{other}"), "bgp[1].fpm: 127.0.0.1:2620 is another gateway's");
    refused(&format!("{instance}{one}{one}"), "bgp[1].gateway: `vgw-1` has a [[bgp]] already");
    let follow =
        |hosts: &str| format!("{instance}[propagation]\nlisten = \"10.0.0.1:1\"\nfollow = [{hosts}]\n");
    refused(&follow("\"10.0.0.2:1\", \"10.0.0.2:1\""), "propagation.follow: 10.0.0.2:1 is named twice");
    refused(&follow("\"10.0.0.1:1\""), "propagation.follow: 10.0.0.1:1 is this host itself");
    refused(&format!("{instance}[gateway]\nbindings = 5\n"), "gateway.bindings: no port has role");
    let gateway = port("out", "gateway", "");
    refused(&format!("{gateway}[gateway]\nbindings = 0\n"), "gateway.bindings: 1 to 33554432, not 0");
}

#[test]
fn flow_logs_go_to_a_folder_and_are_bounded() {
    let host = |keys: &str| format!("{}[flow_logs]\n{keys}\n", port("vm0", "instance", ""));
    refused(&host("rotate_seconds = 0"), "flow_logs.rotate_seconds: at least 1");
    refused(&host("rotate_megabytes = 0"), "flow_logs.rotate_megabytes: at least 1");
    refused(&host("keep_megabytes = 10"), "flow_logs.keep_megabytes: at least rotate_megabytes (75)");
    assert_eq!(problems(&host("folder = \"logs\"\nkeep_megabytes = 75")), Vec::<String>::new());
}
