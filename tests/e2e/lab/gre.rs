//! GRE tunnels, with a program of its own: not every kernel has such devices.

use std::{net::Ipv4Addr, path::Path};

use super::{frr::Program, netns::Netns, tool, wait_for};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/lab/gre.py");

/// Makes an interface that is a tunnel between two addresses, of which the first is the namespace's, until it is dropped.
#[track_caller]
pub fn start(namespace: &Netns, name: &str, [local, remote]: [Ipv4Addr; 2]) -> Program {
    let mut command = namespace.command(tool("python3", "python3-minimal"));
    command.args([SCRIPT, name, &local.to_string(), &remote.to_string()]);
    let program = Program::start(&mut command, Path::new("/dev/null"));
    wait_for(name, || namespace.ip("-o link").contains(&format!(" {name}: ")));
    namespace.ip(&format!("link set {name} addrgenmode none"));
    program
}
