//! 802.1Q interfaces on an interface, with a program of its own: not every kernel has such devices.

use std::path::Path;

use super::{frr::Program, netns::Netns, tool, wait_for};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/lab/vlans.py");

/// Makes interfaces of VLANs of a trunk, by name, until it is dropped.
#[track_caller]
pub fn start(namespace: &Netns, trunk: &str, links: &[(&str, u16)]) -> Program {
    let mut command = namespace.command(tool("python3", "python3-minimal"));
    command.args([SCRIPT, trunk]).args(links.iter().map(|(name, vlan)| format!("{name}={vlan}")));
    let program = Program::start(&mut command, Path::new("/dev/null"));
    for (name, _) in links {
        wait_for(name, || namespace.ip("-o link").contains(&format!(" {name}: ")));
        namespace.ip(&format!("link set {name} addrgenmode none"));
    }
    program
}
