"""Open vSwitch with DPDK: VXLAN in its userspace datapath, with and without connection tracking. In a namespace and a database of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import network
from network import Case
from peer import Counters, Lab, Peer, Reading
from tools.machine import Borrowed, Failed, run, wait_for

SWITCH = Path("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk")
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")


class Ovs(Peer):
    name = "ovs-dpdk"
    cases = ("encap", "decap", "stateful")

    def missing(self) -> str | None:
        if SWITCH.exists() and SCHEMA.exists() and shutil.which("ovs-vsctl"):
            return None
        return "no Open vSwitch with DPDK (Debian: openvswitch-switch-dpdk)"

    @contextmanager
    def running(self, case: Case, lab: Lab, borrowed: Borrowed) -> Iterator[Counters]:
        switch = Switch(lab, borrowed)
        switch.wire(case, lab)
        read = switch.counters
        wait_for("OVS's first packet", lambda: read().packets, process=switch.process, log=switch.log)
        yield read
        switch.check(case)


class Switch:
    """A running switch with two bridges: the instance's, and the underlay's."""

    def __init__(self, lab: Lab, borrowed: Borrowed):
        folder = borrowed.folder / "ovs"
        folder.mkdir()
        self.folder, self.log, self.database = folder, folder / "vswitchd.log", f"unix:{folder}/db.sock"
        self.env = {"OVS_RUNDIR": str(folder), "OVS_LOGDIR": str(folder), "OVS_DBDIR": str(folder)}
        self.namespace = borrowed.namespace(f"warren-ovs-{os.getpid()}")
        inside = ["ip", "netns", "exec", self.namespace]
        run("ovsdb-tool", "create", f"{folder}/conf.db", str(SCHEMA), env=self.env)
        server = ["ovsdb-server", f"{folder}/conf.db", f"--remote=p{self.database}", f"--unixctl={folder}/db.ctl"]
        database = borrowed.start([*inside, *server], folder / "db.log", self.env)
        wait_for("OVS's database", (folder / "db.sock").exists, process=database, log=folder / "db.log")
        extra = f"--no-pci --in-memory --no-telemetry --file-prefix=warren-peers-ovs-{os.getpid()}"
        self.set(
            "--no-wait", "init", "--", "set", "Open_vSwitch", ".",
            "other_config:dpdk-init=true", f"other_config:pmd-cpu-mask={1 << lab.worker:x}",
            f"other_config:dpdk-lcore-mask={1 << lab.other:x}", "other_config:dpdk-socket-mem=512",
            f'other_config:dpdk-extra="{extra}"',
        )  # fmt: skip
        daemon = [str(SWITCH), self.database, f"--unixctl={folder}/switch.ctl", f"--pidfile={folder}/switch.pid"]
        self.process = borrowed.start([*inside, *daemon], self.log, self.env)
        wait_for("ovs-vswitchd", lambda: self.ask("version"), process=self.process, log=self.log)

    def set(self, *arguments: str) -> None:
        run("ovs-vsctl", f"--db={self.database}", "--timeout=30", *arguments, env=self.env)

    def ask(self, method: str, *arguments: str) -> str:
        """Open vSwitch's control socket: a request of JSON-RPC, its answer (ovs-appctl(8))."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(5)
            control.connect(f"{self.folder}/switch.ctl")
            control.sendall(json.dumps({"id": 0, "method": method, "params": list(arguments)}).encode())
            answer = b""
            while True:
                answer += control.recv(65536) or _gone()
                try:
                    parsed = json.loads(answer)
                    break
                except ValueError:
                    continue
        if parsed["error"]:
            raise Failed(f"ovs-appctl {method}: {parsed['error'].strip()}")
        return parsed["result"]

    def wire(self, case: Case, lab: Lab) -> None:
        """Bridges, ports, tunnel, neighbours, flows."""
        source, sink = f"options:dpdk-devargs={quoted(lab.source(case))}", f"options:dpdk-devargs={quoted(lab.sink(case))}"
        instance, uplink = (sink, source) if case.encapsulated else (source, sink)
        bridge = ["datapath_type=netdev", "fail-mode=secure"]
        self.set("add-br", "br-int", "--", "set", "bridge", "br-int", *bridge)
        self.set(
            "add-br", "br-phy", "--", "set", "bridge", "br-phy", bridge[0], f'other-config:hwaddr="{network.UPLINK_MAC}"'
        )
        self.set("add-port", "br-int", "vx", "--", "set", "interface", "vx", "type=vxlan",
                 "options:remote_ip=flow", "options:key=flow", "ofport_request=2")  # fmt: skip
        run("ip", "-n", self.namespace, "addr", "add", f"{network.UPLINK}/8", "dev", "br-phy")
        run("ip", "-n", self.namespace, "link", "set", "br-phy", "up")
        flows = self.folder / "flows"
        flows.write_text("\n".join(rules(case.name)) + "\n")
        run("ovs-ofctl", "add-flows", f"{self.folder}/br-int.mgmt", str(flows), env=self.env)
        for host in range(1, network.HOSTS + 1):
            self.ask("tnl/neigh/set", "br-phy", network.underlay(host), network.underlay_mac(host))
        # The ports last, so that no packet meets a switch that is not complete, and the one with answers after the one with questions.
        ports = [("br-int", "p0", instance), ("br-phy", "p1", uplink)]
        for bridge, port, device in ports if case.answered else reversed(ports):
            self.plug(bridge, port, device)

    def plug(self, bridge: str, port: str, device: str) -> None:
        self.set("add-port", bridge, port, "--", "set", "interface", port, "type=dpdk", device, "ofport_request=1")

    def counters(self) -> Reading:
        """The worker's cycles and packets so far."""
        return parse_stats(self.ask("dpif-netdev/pmd-stats-show"))

    def check(self, case: Case) -> None:
        """What the worker does must be what the case says: a decision that outputs, and nothing that makes connections any more."""
        actions = [line.split("actions:")[-1] for line in self.ask("dpctl/dump-flows").splitlines() if "actions:" in line]
        if not any("push" in action or "tnl_pop" in action for action in actions):
            raise Failed(f"OVS forwards nothing: {actions[:5]}")
        if case.answered and self.commits():
            raise Failed("OVS takes its connections for new ones still, which is not what the case says")

    def commits(self) -> bool:
        """Whether connections are made now."""
        made = sorted(line for line in self.ask("dpctl/dump-flows").splitlines() if "ct(commit" in line)
        busy = [line for line in made if re.search(r"used:0\.", line)]
        return len(busy) > len(made) / 100


def _gone() -> bytes:
    raise Failed("ovs-vswitchd closed its control socket")


def quoted(value: str) -> str:
    """A string as ovs-vsctl takes it, whatever is in it."""
    return f'"{value}"'


def rules(case: str) -> list[str]:
    """OpenFlow rules of the instance's bridge. Port 1 is the instance, 2 the tunnel."""
    if case == "decap":
        return [f"in_port=2,tun_id={network.VNI},ip,nw_dst={network.INSTANCE},actions=output:1"]
    out = [
        f"table=2,ip,nw_dst={network.remote(number)},"
        f"actions=set_field:{network.VNI}->tun_id,set_field:{network.underlay(network.host_of(number))}->tun_dst,output:2"
        for number in range(network.REMOTES)
    ]
    if case == "encap":
        return ["table=0,in_port=1,ip,actions=resubmit(,2)", *out]
    return [
        "table=0,in_port=1,ip,ct_state=-trk,actions=ct(table=1,zone=1)",
        f"table=1,ct_state=+trk+new,udp,nw_dst=10.0.0.0/16,tp_dst={network.PORT},actions=ct(commit,zone=1),resubmit(,2)",
        "table=1,ct_state=+trk+est,ip,actions=resubmit(,2)",
        f"table=0,in_port=2,tun_id={network.VNI},ip,ct_state=-trk,actions=ct(table=3,zone=1)",
        f"table=3,ct_state=+trk+est,ip,nw_dst={network.INSTANCE},actions=output:1",
        *out,
    ]


def parse_stats(text: str) -> Reading:
    """Cycles and packets of the PMD thread in what `dpif-netdev/pmd-stats-show` prints."""
    thread = re.search(r"^pmd thread.*?(?=^main thread|^pmd thread|\Z)", text, re.M | re.S)
    found = thread and re.search(r"avg cycles per packet: [\d.]+ \((\d+)/(\d+)\)", thread[0])
    return Reading(float(found[1]), int(found[2])) if found else Reading(0.0, 0)
