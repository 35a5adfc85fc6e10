//! DHCP with the clients that instances have: ISC's dhclient and BusyBox's udhcpc.
//!
//! A client hands what it was told to a script of the test's own, which writes it down and sets the interface up with it.

use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, Ipv6Addr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use serde_json::json;

use crate::lab::{
    netns::Netns,
    setup::{ONE_WORKER, Setup, usual},
    state::{Eni, UNDERLAY, state, write},
    tool, wait_for,
};

/// The MTU of the ports here: not the one that a client would take anyway.
const MTU: u32 = 1400;

/// Instances that know nothing yet.
fn bare(enis: &[Eni]) -> Setup {
    Setup::bare("net_tap", enis, ONE_WORKER, &format!("mtu = {MTU}"))
}

/// A client that runs in the foreground, in the first instance; ended when dropped.
struct Client<'a> {
    child: Child,
    setup: &'a Setup,
    told: PathBuf,
    log: PathBuf,
}

impl<'a> Client<'a> {
    /// Starts it. `configure` is a shell script that the client runs at each event; where it calls `tell`, the
    /// environment is written down for [`Client::told`].
    fn start(
        setup: &'a Setup,
        program: impl AsRef<std::ffi::OsStr>,
        arguments: &str,
        configure: &str,
    ) -> Self {
        let path = |name: &str| setup.folder.path().join(name);
        let (script, told, log) = (path("script"), path("told"), path("client.log"));
        let shell = format!(
            "#!/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n\
             tell() {{ env >{0}.new && mv {0}.new {0}; }}\n{configure}\nexit 0\n",
            told.display()
        );
        fs::write(&script, shell).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let folder = setup.folder.path().display().to_string();
        let output = fs::File::create(&log).unwrap();
        let child = setup.guests[0]
            .command(program)
            .args(arguments.replace("FOLDER", &folder).split_whitespace())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self { child, setup, told, log }
    }

    /// What it was told last, once `complete` finds all in it.
    #[track_caller]
    fn told(&self, complete: impl Fn(&HashMap<String, String>) -> bool) -> HashMap<String, String> {
        let mut told = HashMap::new();
        wait_for("the client to be told", || {
            let text = fs::read_to_string(&self.told).unwrap_or_default();
            told = text.lines().filter_map(|line| line.split_once('=')).map(owned).collect();
            complete(&told)
        });
        told
    }

    /// What it has logged.
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn signal(&self, name: &str) {
        assert!(
            Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap().success()
        );
    }

    fn guest(&self) -> &Netns {
        &self.setup.guests[0]
    }
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let told = fs::read_to_string(&self.told).unwrap_or_default();
            eprintln!("--- the client\n{}--- told\n{told}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// dhclient, by a copy of it: Debian's AppArmor profile, which is for its path, forbids other scripts and folders.
fn dhclient(folder: &Path) -> PathBuf {
    let copy = folder.join("dhclient");
    fs::copy(tool("dhclient", "isc-dhcp-client"), &copy).unwrap();
    let configuration = "request subnet-mask, routers, domain-name-servers, domain-name, interface-mtu, ntp-servers,\n\
                         dhcp6.name-servers, dhcp6.domain-search;\n\
                         initial-interval 1; timeout 20;\n";
    fs::write(folder.join("dhclient.conf"), configuration).unwrap();
    copy
}

const DHCLIENT: &str = "-d -1 -sf FOLDER/script -cf FOLDER/dhclient.conf -lf FOLDER/leases -pf FOLDER/pid";

/// What dhclient's script does: dhclient-script(8).
const DHCLIENT_SCRIPT: &str = "case $reason in\n\
    BOUND|RENEW|REBIND|REBOOT)\n\
        ip link set $interface mtu $new_interface_mtu\n\
        ip address replace $new_ip_address/$new_subnet_mask dev $interface\n\
        ip route replace default via $new_routers\n\
        tell ;;\n\
    BOUND6|RENEW6|REBIND6)\n\
        ip address replace $new_ip6_address/$new_ip6_prefixlen dev $interface nodad\n\
        tell ;;\n\
    esac";

/// What udhcpc's does, which is given the event as its argument.
const UDHCPC_SCRIPT: &str = "case $1 in\n\
    bound|renew)\n\
        ip link set $interface mtu $mtu\n\
        ip address replace $ip/$mask dev $interface\n\
        ip route replace default via $router\n\
        tell ;;\n\
    esac";

/// Values of a client's environment, by the names that it has for them.
#[track_caller]
fn expect(told: &HashMap<String, String>, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(told.get(*name).map(String::as_str), Some(*value), "{name}: {told:?}");
    }
}

/// The instance is in the network: in its subnet, across, with packets of the MTU that it was told of.
#[track_caller]
fn connected(setup: &Setup, to: impl Fn(&Eni) -> IpAddr, headers: u32) {
    for eni in &setup.enis[1..] {
        setup.guests[0].ping(&format!("-c 2 -i 0.1 -M do -s {}", MTU - headers), to(eni)).all();
    }
    assert!(setup.guests[0].ip("link show vm0").contains(&format!("mtu {MTU} ")));
}

/// The other instances, by hand.
fn configure_others(setup: &Setup) {
    for ((guest, eni), port) in setup.guests.iter().zip(&setup.enis).zip(["vm0", "vm1", "vm2"]).skip(1) {
        crate::lab::netns::configure(guest, port, eni);
    }
}

/// ADDR-12: address, mask, router, servers, MTU, lease.
#[test]
fn addr_12_dhclient() {
    let setup = bare(&usual());
    configure_others(&setup);
    let program = dhclient(setup.folder.path());
    let client = Client::start(&setup, program, &format!("-4 {DHCLIENT} vm0"), DHCLIENT_SCRIPT);
    let told = client.told(|told| told.contains_key("new_ip_address"));
    let expected = [
        ("new_ip_address", "10.0.1.10"),
        ("new_subnet_mask", "255.255.255.0"),
        ("new_routers", "10.0.1.1"),
        ("new_dhcp_server_identifier", "10.0.1.1"),
        ("new_dhcp_lease_time", "3600"),
        ("new_domain_name_servers", "10.0.0.2"),
        ("new_domain_name", "eu-central-1.compute.internal"),
        ("new_interface_mtu", "1400"),
    ];
    expect(&told, &expected);
    connected(&setup, |eni| eni.v4().into(), 28);
}

/// ADDR-13: a client that remembers another address is told that it is not its own, and gets the right one.
#[test]
fn addr_13_dhclient_is_refused_what_it_remembers() {
    let setup = bare(&usual());
    let program = dhclient(setup.folder.path());
    let lease = "lease {\n interface \"vm0\";\n fixed-address 10.0.1.99;\n option subnet-mask 255.255.255.0;\n \
                 option dhcp-server-identifier 10.0.1.1;\n renew 5 2038/01/01 00:00:00;\n \
                 rebind 5 2038/01/01 00:00:00;\n expire 5 2038/01/01 00:00:00;\n}\n";
    fs::write(setup.folder.path().join("leases"), lease).unwrap();
    let client = Client::start(&setup, program, &format!("-4 {DHCLIENT} vm0"), DHCLIENT_SCRIPT);
    let told = client.told(|told| told.contains_key("new_ip_address"));
    expect(&told, &[("new_ip_address", "10.0.1.10")]);
    assert!(client.log().contains("DHCPNAK from 10.0.1.1"), "{}", client.log());
}

/// ADDR-12, ADDR-16: the same with udhcpc; what changes in the VPC's option set, it hears when it renews.
#[test]
fn addr_12_addr_16_udhcpc() {
    let setup = bare(&usual());
    configure_others(&setup);
    let arguments = "-i vm0 -f -s FOLDER/script -O mtu -O ntpsrv";
    let client = Client::start(&setup, tool("udhcpc", "udhcpc"), arguments, UDHCPC_SCRIPT);
    let told = client.told(|told| told.contains_key("ip"));
    let expected = [
        ("ip", "10.0.1.10"),
        ("subnet", "255.255.255.0"),
        ("router", "10.0.1.1"),
        ("serverid", "10.0.1.1"),
        ("lease", "3600"),
        ("dns", "10.0.0.2"),
        ("domain", "eu-central-1.compute.internal"),
        ("mtu", "1400"),
    ];
    expect(&told, &expected);
    connected(&setup, |eni| eni.v4().into(), 28);

    let mut changed = state(&setup.enis, UNDERLAY);
    changed["Vpcs"][0]["DhcpOptionsId"] = json!("dopt-1");
    changed["DhcpOptions"] = json!([{
        "DhcpOptionsId": "dopt-1",
        "DhcpConfigurations": [
            {"Key": "domain-name", "Values": [{"Value": "example.com"}]},
            {"Key": "domain-name-servers", "Values": [{"Value": "10.0.1.11"}, {"Value": "10.0.2.10"}]},
            {"Key": "ntp-servers", "Values": [{"Value": "169.254.169.123"}]},
        ],
    }]);
    setup.daemon.apply(&write(setup.folder.path(), &changed)).ok();
    // It renews at once.
    client.signal("USR1");
    let told = client
        .told(|told| told.get("domain").is_some_and(|domain| domain != "eu-central-1.compute.internal"));
    let expected = [
        ("ip", "10.0.1.10"),
        ("domain", "example.com"),
        ("dns", "10.0.1.11 10.0.2.10"),
        ("ntpsrv", "169.254.169.123"),
    ];
    expect(&told, &expected);
}

/// ADDR-14: addresses over DHCPv6, the router by its advertisements.
#[test]
fn addr_14_dhclient_6() {
    let setup = bare(&usual());
    configure_others(&setup);
    let program = dhclient(setup.folder.path());
    let guest = &setup.guests[0];
    wait_for("the link-local address", || is_permanent(guest, "fe80::ff:fe00:10a".parse().unwrap()));
    let client = Client::start(&setup, program, &format!("-6 {DHCLIENT} vm0"), DHCLIENT_SCRIPT);
    let told = client.told(|told| told.contains_key("new_ip6_address"));
    let expected = [
        ("new_ip6_address", "2001:db8:b1:1::a"),
        ("new_ip6_prefixlen", "128"),
        ("new_dhcp6_name_servers", "fd00:ec2::253"),
    ];
    expect(&told, &expected);
    wait_for("the router", || !client.guest().ip("-6 route show default").is_empty());
    for eni in &setup.enis[1..] {
        guest.ping("-c 2 -i 0.1", eni.v6()).all();
    }
}

/// Whether an instance has an address that is not tentative (RFC 4862 §2).
fn is_permanent(guest: &Netns, address: Ipv6Addr) -> bool {
    let shown = guest.ip(&format!("-6 address show to {address}"));
    shown.contains("inet6") && !shown.contains("tentative")
}
