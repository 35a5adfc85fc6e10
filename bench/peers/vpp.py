"""VPP, where it is installed: its own packet generator with the same captures, frames of up to 256 packets.

The generator's node and the sink's are VPP's driver share; `show runtime` counts the cycles of each node. Written to VPP's documentation; it
has not been run where these scripts were made, as Debian has no VPP.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import network
from network import Case
from peer import Counters, Lab, Peer, Reading
from tools.frames import router_mac
from tools.machine import Borrowed, Failed, wait_for

PROMPT = b"vpp# "


class Vpp(Peer):
    name = "vpp"
    cases = ("forward", "encap", "decap", "stateful")
    burst = 256

    def missing(self) -> str | None:
        return None if shutil.which("vpp") else "no vpp in PATH (https://packagecloud.io/fdio has packages)"

    @contextmanager
    def running(self, case: Case, lab: Lab, borrowed: Borrowed) -> Iterator[Counters]:
        folder = borrowed.folder
        setup, log, cli = folder / "vpp.setup", folder / "vpp.log", folder / "vpp.sock"
        setup.write_text("\n".join(commands(case, lab)) + "\n")
        command = [
            "vpp", f"unix {{ nodaemon cli-listen {cli} exec {setup} log {log} }}", f"api-segment {{ prefix warren-{os.getpid()} }}",
            f"statseg {{ socket-name {folder}/stats.sock }}", f"cpu {{ main-core {lab.other} corelist-workers {lab.worker} }}",
            "plugins { plugin dpdk_plugin.so { disable } }", "buffers { buffers-per-numa 65536 }",
        ]  # fmt: skip
        process = borrowed.start(command, folder / "vpp.out")
        total = Reading(0.0, 0, 0.0)

        def read() -> Reading:
            # What is printed is rounded, so it is cleared each time.
            nonlocal total
            cycles, packets, driver = parse_runtime(ask(str(cli), "show runtime"))
            ask(str(cli), "clear runtime")
            total = Reading(total.cycles + cycles, total.packets + packets, (total.driver or 0.0) + driver)
            return total

        wait_for("VPP's first packet", lambda: read().packets, process=process, log=folder / "vpp.out")
        yield read


def ask(path: str, command: str) -> str:
    """What VPP's command line answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as cli:
        cli.settimeout(5)
        cli.connect(path)
        answer = _until_prompt(cli)
        cli.sendall(command.encode() + b"\n")
        answer = _until_prompt(cli)
    return answer.decode(errors="replace")


def _until_prompt(cli: socket.socket) -> bytes:
    answer = b""
    while not answer.endswith(PROMPT):
        more = cli.recv(65536)
        if not more:
            raise Failed("VPP closed its command line")
        answer += more
    return answer


def commands(case: Case, lab: Lab) -> list[str]:
    """The instance is pg0, the uplink pg1."""
    source = 1 if case.encapsulated else 0
    lines = [
        "create packet-generator interface pg0", "create packet-generator interface pg1",
        f"set interface mac address pg0 {router_mac(network.SUBNET)}", f"set interface mac address pg1 {network.UPLINK_MAC}",
        "set interface state pg0 up", "set interface state pg1 up", f"set interface ip address pg1 {network.UPLINK}/8",
    ]  # fmt: skip
    lines += [f"set ip neighbor static pg1 {network.underlay(host)} {network.underlay_mac(host)}" for host in range(1, network.HOSTS + 1)]
    if case.encapsulated:
        lines += ["create bridge-domain 1 learn 0", "set interface l2 bridge pg0 1", f"l2fib add {network.INSTANCE_MAC} 1 pg0 static"]
    else:
        lines.append("set interface ip address pg0 10.0.0.1/24")
    if case.name != "forward":
        lines += tunnels(case)
    else:
        lines += [f"ip route add {network.remote(number)}/32 via {network.underlay(network.host_of(number))} pg1" for number in range(network.REMOTES)]
    if case.name == "stateful":
        lines += [f"set acl-plugin acl permit+reflect src 10.0.0.0/16 dst 10.0.0.0/16 proto 17 dport {network.PORT}", "set acl-plugin interface pg0 input acl 0"]
    capture = case.capture(lab.captures)
    lines += [f"packet-generator new pcap {capture} source pg{source} name peers worker 0 limit 1000000000000", "packet-generator enable"]
    return lines


def tunnels(case: Case) -> list[str]:
    """One to each host: bridged for packets that come, routed for those that go."""
    lines = []
    for host in range(1, network.HOSTS + 1):
        name = f"vxlan_tunnel{host}"
        lines += [f"create vxlan tunnel src {network.UPLINK} dst {network.underlay(host)} vni {network.VNI} instance {host}", f"set interface state {name} up"]
        lines.append(f"set interface l2 bridge {name} 1 1" if case.encapsulated else f"set interface unnumbered {name} use pg0")
    if not case.encapsulated:
        for number in range(network.REMOTES):
            name, address = f"vxlan_tunnel{network.host_of(number)}", network.remote(number)
            lines += [f"set ip neighbor static {name} {address} {network.remote_mac(number)}", f"ip route add {address}/32 via {address} {name}"]
    return lines


def parse_runtime(text: str) -> tuple[float, int, float]:
    """The worker's cycles, packets, and the cycles of generator and sink among them, of what `show runtime` prints."""
    worker = text.split("vpp_wk_0")[-1]
    cycles, packets, driver = 0.0, 0, 0.0
    row = re.compile(r"^(\S+)\s+(?:active|polling|interrupt wa\S*|event wait|any wait|done)\s+(\d+)\s+(\d+)\s+\d+\s+(\S+)\s+\S+\s*$", re.M)
    for name, _calls, vectors, clocks in row.findall(worker):
        spent = int(vectors) * float(clocks)
        cycles += spent
        if name == "pg-input" or name.endswith("-tx"):
            driver += spent
        if name == "pg-input":
            packets = int(vectors)
    return cycles, packets, driver
