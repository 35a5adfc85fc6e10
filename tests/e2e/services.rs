//! Link-local services: programs of the host, and instances that ask them with their own stacks.

use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::lab::{
    daemon::Daemon,
    host_file,
    netns::{Netns, instance},
    state::{UNDERLAY, here, state, write},
    tool, wait_for,
};

/// A program that answers each asker with the address that it sees, until dropped.
struct Program(Child);

impl Program {
    fn start(node: &Netns, listen: &str) -> Self {
        let mut command = node.command(tool("socat", "socat"));
        command.args([listen, "SYSTEM:echo $SOCAT_PEERADDR"]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a program answers to an instance; empty if nothing.
fn ask(guest: &Netns, whom: &str) -> String {
    let timeout = if whom.starts_with("TCP") { ",connect-timeout=2" } else { "" };
    let mut command = guest.command(tool("socat", "socat"));
    command.args(["-t", "1", "-T", "1", "-", &format!("{whom}{timeout}")]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"?\n").unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What a program answers, as soon as it does: it may still be starting, and this machine be slow.
#[track_caller]
fn answer(guest: &Netns, whom: &str) -> String {
    let mut seen = String::new();
    wait_for(whom, || {
        seen = ask(guest, whom);
        !seen.is_empty()
    });
    seen
}

/// ADDR-17, ADDR-19, ADDR-22: TCP and UDP, IPv4 and IPv6, and each asker is told apart.
#[test]
fn addr_17_addr_19_programs_of_the_host_answer_instances() {
    let (node, folder) = (Netns::new("node"), TempDir::new().unwrap());
    let enis = [here('a', 10, "vm0"), here('b', 10, "vm1")];
    let port = |name: &str, role: &str, number: u8| {
        format!("[[port]]\nname = \"{name}\"\nrole = \"{role}\"\ndevice = \"net_tap{number},iface={name}\"\n")
    };
    let ports = port("vm0", "instance", 0) + &port("vm1", "instance", 1) + &port("wsvc", "service", 2);
    host_file(folder.path(), "workers = { cores = [1], idle = \"sleep\" }", &ports);
    write(folder.path(), &state(&enis, UNDERLAY));
    let daemon = Daemon::start(Some(&node), folder.path());
    // As docs/configuration.md says.
    node.ip("link set wsvc up");
    for last in ["254", "253", "123"] {
        node.ip(&format!("addr add 169.254.169.{last}/32 dev wsvc"));
        node.ip(&format!("addr add fd00:ec2::{last}/128 dev wsvc nodad"));
    }
    node.ip("route add 100.64.0.0/10 dev wsvc");
    node.ip("-6 route add fd77:6172:72::/48 dev wsvc");
    let _programs = [
        Program::start(&node, "TCP4-LISTEN:80,bind=169.254.169.254,fork,reuseaddr"),
        Program::start(&node, "TCP6-LISTEN:80,bind=[fd00:ec2::254],fork,reuseaddr"),
        Program::start(&node, "UDP4-RECVFROM:53,bind=169.254.169.253,fork"),
    ];
    let guests: Vec<_> =
        enis.iter().zip(["vm0", "vm1"]).map(|(eni, port)| instance(&node, port, eni)).collect();
    let known = daemon.show("services");
    let mut seen = Vec::new();
    for (guest, eni) in guests.iter().zip(&enis) {
        let identity = |address: String| {
            let mut rows = known.iter();
            let row = rows.find(|row| row["eni"] == *eni.id() && row["address"] == *address).unwrap();
            row["identity"].as_str().unwrap().to_owned()
        };
        let (v4, v6) = (identity(eni.v4().to_string()), identity(eni.v6().to_string()));
        assert_eq!(answer(guest, "TCP4:169.254.169.254:80"), v4);
        let v6_seen = answer(guest, "TCP6:[fd00:ec2::254]:80");
        assert_eq!(v6_seen.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>(), v6.parse());
        // The resolver, by its address in the VPC too: the identity differs in one bit.
        assert_eq!(answer(guest, "UDP4:169.254.169.253:53"), v4);
        let in_vpc: std::net::Ipv4Addr = answer(guest, "UDP4:10.0.0.2:53").parse().unwrap();
        assert_eq!(in_vpc.to_bits(), v4.parse::<std::net::Ipv4Addr>().unwrap().to_bits() + 2048);
        // ADDR-18: the answer's TTL is 1, which this instance's own stack takes.
        seen.push(v4);
    }
    assert_ne!(seen[0], seen[1]);
    // ADDR-24: nothing else answers at these addresses.
    assert_eq!(ask(&guests[0], "UDP4:169.254.169.253:54"), "");
    assert!(daemon.drops("vm0", "service") >= 1);
}
