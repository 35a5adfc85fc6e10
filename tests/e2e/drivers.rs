//! Instances over drivers that the other tests do not use: memif and AF_XDP. `virtual_machines` has vhost.

use std::{
    fs::{self, File},
    process::{Child, Stdio},
};

use tempfile::TempDir;

use crate::lab::{
    daemon::Daemon,
    host_file,
    iperf::{PORT, Server},
    netns::{Netns, instance},
    setup::{ONE_WORKER, Setup, usual},
    state::{UNDERLAY, here, state, write},
    tool, wait_for,
};

/// DPDK's testpmd, which carries frames between a memif and a TAP interface; ended when dropped.
struct Carrier(Child);

impl Carrier {
    #[track_caller]
    fn start(node: &Netns, folder: &TempDir, socket: &str, tap: &str) -> Self {
        // What it says is waited for.
        let mut command = node.command(tool("stdbuf", "coreutils"));
        command.arg("-oL").arg(tool("dpdk-testpmd", "dpdk-dev"));
        command.env("RUNTIME_DIRECTORY", folder.path());
        command.args(["--no-pci", "--no-huge", "-m", "128", "--no-telemetry", "--lcores=0@0,1@0"]);
        command.arg("--file-prefix=carrier");
        command.arg(format!("--vdev=net_memif0,role=client,socket={socket},socket-abstract=no"));
        command.arg(format!("--vdev=net_tap0,iface={tap}"));
        command.args(["--", "--forward-mode=io", "--total-num-mbufs=8192"]);
        let path = folder.path().join("carrier");
        let log = File::create(&path).unwrap();
        command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        let carrier = Self(command.spawn().unwrap());
        // Before, it still asks for the interface by its name, which will be elsewhere.
        wait_for("testpmd", || fs::read_to_string(&path).unwrap().contains("start packet forwarding"));
        carrier
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_instance_behind_a_memif_comes_and_goes() {
    let (node, folder) = (Netns::new("node"), TempDir::new().unwrap());
    let enis = [here('a', 10, "vm0"), here('b', 10, "vm2")];
    let socket = folder.path().join("vm0.sock").display().to_string();
    let port = |name: &str, device: &str| {
        format!("[[port]]\nname = \"{name}\"\nrole = \"instance\"\ndevice = \"{device}\"\n")
    };
    let memif = port("vm0", &format!("net_memif0,role=server,socket={socket},socket-abstract=no"));
    host_file(folder.path(), ONE_WORKER, &(memif + &port("vm2", "net_tap0,iface=vm2")));
    write(folder.path(), &state(&enis, UNDERLAY));
    let _daemon = Daemon::start(Some(&node), folder.path());
    let other = instance(&node, "vm2", &enis[1]);
    other.ping("-c 1", enis[0].v4()).none();
    for _ in 0..2 {
        let _carrier = Carrier::start(&node, &folder, &socket, "vm0");
        let guest = instance(&node, "vm0", &enis[0]);
        wait_for("the memif", || guest.ping("-c 1", enis[1].v4()).received == 1);
        guest.ping("-c 3 -i 0.2 -s 1400", enis[1].v4()).all();
        other.ping("-c 3 -i 0.2 -s 1400", enis[0].v6()).all();
    }
}

/// Whether the kernel has AF_XDP sockets.
fn has_xdp() -> bool {
    fs::read_to_string("/proc/net/protocols").unwrap().lines().any(|line| line.starts_with("XDP "))
}

#[test]
fn instances_behind_af_xdp_on_a_veth() {
    if !has_xdp() {
        return eprintln!("skipped: this kernel has no AF_XDP sockets");
    }
    let setup = Setup::over("net_af_xdp", &usual(), ONE_WORKER, "");
    let [near, same, far] = &setup.enis[..] else { unreachable!() };
    for to in [same, far] {
        setup.guests[0].ping("-c 3 -i 0.1 -s 1400", to.v4()).all();
        setup.guests[0].ping("-c 3 -i 0.1 -s 1400", to.v6()).all();
    }
    let _server = Server::start(&setup.guests[2]);
    let client = format!("--client {} --port {PORT} --bytes 20M --bind {}", far.v4(), near.v4());
    setup.guests[0].run("iperf3", "iperf3", &client).ok();
}
