//! Multicast of a transit gateway with the kernel's own IGMPv2: members on two hosts that join and leave.

use std::{
    collections::BTreeSet,
    process::{Child, Stdio},
};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::lab::{
    cloud::{Cloud, Nic, nic},
    fleet::{Fleet, Site},
    listen::Listener,
    netns::Netns,
    tool, wait_for,
};

const GROUP: &str = "239.1.1.1";

/// The sender and a member on the one host; two members and one that is none on the other.
fn nics() -> [Nic; 5] {
    [
        nic([1, 1, 10], "host-a", "vm0"),
        nic([1, 1, 11], "host-a", "vm1"),
        nic([1, 2, 10], "host-b", "vm2"),
        nic([1, 2, 11], "host-b", "vm3"),
        nic([1, 1, 12], "host-b", "vm4"),
    ]
}

fn cloud() -> Cloud {
    Cloud::new(&["host-a", "host-b"], &nics())
        .with("TransitGateways", json!({
            "TransitGatewayId": "tgw-1", "State": "available", "Options": {"MulticastSupport": "enable"},
        }))
        .attached([1, 1])
        .with("TransitGatewayMulticastDomains", json!({
            "TransitGatewayMulticastDomainId": "tgw-mcast-domain-1", "TransitGatewayId": "tgw-1", "State": "available",
            "Options": {"Igmpv2Support": "enable", "StaticSourcesSupport": "disable"},
            "Associations": [{"SubnetId": "subnet-1-1"}, {"SubnetId": "subnet-1-2"}],
        }))
}

/// An instance whose kernel speaks IGMPv2.
fn guest(fleet: &Fleet, nic: &Nic) -> Netns {
    let guest = fleet.instance(nic);
    for interface in ["all", "eth0"] {
        guest.sysctl(&format!("net.ipv4.conf.{interface}.force_igmp_version=2"));
    }
    // Members answer pings of the group.
    guest.sysctl("net.ipv4.icmp_echo_ignore_broadcasts=0");
    guest.ip("route add 224.0.0.0/4 dev eth0");
    guest
}

/// SMCRoute's daemon in an instance, which joins and leaves groups. It does so when it is told only, and leaves when it ends; a server of
/// iperf would leave and join by itself whenever a client has gone.
struct Smcroute<'a> {
    guest: &'a Netns,
    daemon: Child,
    folder: TempDir,
}

impl<'a> Smcroute<'a> {
    fn start(guest: &'a Netns) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name| folder.path().join(name);
        let mut command = guest.command(tool("smcrouted", "smcroute"));
        command.args(["-n", "-N", "-f", "/dev/null", "-P"]).arg(file("pid")).arg("-u").arg(file("socket"));
        let daemon =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for("smcrouted", || file("socket").exists());
        Self { guest, daemon, folder }
    }

    /// `join` or `leave`.
    fn tell(&self, command: &str) {
        let socket = self.folder.path().join("socket");
        let arguments = format!("-u {} {command} eth0 {GROUP}", socket.display());
        self.guest.run("smcroutectl", "smcroute", &arguments).ok();
    }
}

impl Drop for Smcroute<'_> {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// The members that answer pings of the group.
fn answering(sender: &Netns) -> BTreeSet<String> {
    let ping = sender.run("ping", "iputils-ping", &format!("-n -c 2 -i 0.2 -W 1 -t 8 {GROUP}"));
    let from = |line: &str| Some(line.split(" bytes from ").nth(1)?.split(':').next()?.to_owned());
    ping.out.lines().filter_map(from).collect()
}

/// The members by IGMP that a host's node knows of, and where they are.
fn shown(fleet: &Fleet, host: &str) -> BTreeSet<(String, String)> {
    let rows = fleet.node(host).daemon.show("multicast");
    let text = |row: &Map<String, Value>, column| row[column].as_str().unwrap().to_owned();
    let members = rows.iter().filter(|row| row["origin"] == "igmp");
    let member = |row: &Map<String, Value>| {
        assert_eq!(row["group"], GROUP);
        assert!((0..=420).contains(&row["expires_s"].as_u64().unwrap()), "{row:?}");
        (text(row, "eni"), text(row, "host"))
    };
    members.map(member).collect()
}

/// MC-2, MC-4, MC-10: members on both hosts get a copy each, others none, and who has left no more.
#[test]
fn mc_2_mc_4_members_on_two_hosts_join_and_leave_by_igmp() {
    let fleet = Fleet::start(
        &cloud(),
        vec![
            Site::new("host-a").instances(&["vm0", "vm1"]),
            Site::new("host-b").instances(&["vm2", "vm3", "vm4"]),
        ],
    );
    let guests = nics().map(|nic| guest(&fleet, &nic));
    let [sender, near, far, late, none] = &guests;
    let filter = format!("udp port 5001 and dst host {GROUP}");
    let listeners = [near, far, late, none].map(|guest| Listener::start(guest, "eth0", &filter));
    let heard = || listeners.each_ref().map(Listener::count);
    // As many datagrams of 1000 bytes as iperf sends in a second or so, and what has arrived of them.
    let send = |what: &str, members: &[usize]| {
        let before = heard();
        sender.run("iperf", "iperf", &format!("-c {GROUP} -u -T 8 -l 1000 -b 800k -n 100k")).ok();
        let count = || {
            let now = heard();
            [0, 1, 2, 3].map(|n| now[n] - before[n])
        };
        wait_for("copies", || members.iter().all(|&member| count()[member] >= 100));
        let copies = count();
        println!(
            "{what}: near {}, far {}, late {}, no member {} datagrams",
            copies[0], copies[1], copies[2], copies[3]
        );
        for guest in [0, 1, 2, 3].into_iter().filter(|guest| !members.contains(guest)) {
            assert_eq!(copies[guest], 0, "{what}: {guest}");
        }
    };
    // The nodes' knowledge is waited for, too: who has left does not answer any more, whatever they still send to it.
    let members = |members: &[usize]| {
        let nics = nics();
        let nics: Vec<_> = members.iter().map(|&member| &nics[member + 1]).collect();
        for host in ["host-a", "host-b"] {
            let wanted: BTreeSet<_> = nics.iter().map(|nic| (nic.id(), nic.host.to_owned())).collect();
            wait_for("the members in `warren show multicast`", || shown(&fleet, host) == wanted);
        }
        let wanted: BTreeSet<_> = nics.iter().map(|nic| nic.v4().to_string()).collect();
        wait_for("the members' answers", || answering(sender) == wanted);
    };

    send("before anybody joins", &[]);
    let [first, second, third] = [near, far, late].map(Smcroute::start);
    first.tell("join");
    second.tell("join");
    members(&[0, 1]);
    send("a member on each host", &[0, 1]);
    third.tell("join");
    members(&[0, 1, 2]);
    send("another one joins", &[0, 1, 2]);
    second.tell("leave");
    members(&[0, 2]);
    send("one leaves", &[0, 2]);
    drop(first);
    drop(third);
    members(&[]);
    send("all have left", &[]);
}
