"""Warren's daemon, on the same devices."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import network
from network import Case
from peer import Counters, Lab, Peer, Reading
from tools.machine import Borrowed, Failed, run, tail, wait_for

ANY = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
# Rules that are not for everybody make their connections tracked (SEC-4).
ASKING = [{"IpProtocol": "udp", "FromPort": network.PORT, "ToPort": network.PORT, "IpRanges": [{"CidrIp": "10.0.0.0/16"}]}]


class Warren(Peer):
    name = "warren"
    cases = ("encap", "decap", "stateful")

    def __init__(self, binary: Path):
        self.binary = binary

    def missing(self) -> str | None:
        return None if os.access(self.binary, os.X_OK) else f"no {self.binary}: cargo build --release"

    @contextmanager
    def running(self, case: Case, lab: Lab, borrowed: Borrowed) -> Iterator[Counters]:
        folder = borrowed.folder
        (folder / "state.json").write_text(json.dumps(state(tracked=case.name == "stateful")))
        ends = (lab.sink(case), lab.source(case)) if case.encapsulated else (lab.source(case), lab.sink(case))
        (folder / "host.toml").write_text(host_file(*ends, lab.worker, folder))
        log = folder / "warren.log"
        process = borrowed.start([str(self.binary), "run", "--config", str(folder / "host.toml")], log)

        def show(what: str) -> list[dict]:
            return json.loads(run(str(self.binary), "show", what, "--json", "--socket", str(folder / "socket")))

        def read() -> Reading:
            worker = show("workers")[0]
            return Reading(worker["busy_cycles"], worker["packets"])

        wait_for("warren's first packet", lambda: read().packets, process=process, log=log)
        yield read
        # Answers before their questions are none.
        early = case.flows * network.ANSWERS if case.answered else 0
        lost = [drop for drop in show("drops") if drop["packets"] > early]
        if lost:
            raise Failed(f"warren dropped packets, so this was not what the case says: {lost}\n{tail(log)}")


def state(tracked: bool) -> dict:
    """The network, for `warren run`."""
    remotes = range(network.REMOTES)
    ingress, egress = ([], ASKING) if tracked else (ANY, ANY)

    def eni(number: int | None, mac: str, address: str) -> dict:
        return {
            "NetworkInterfaceId": name(number), "SubnetId": network.SUBNET, "MacAddress": mac,
            "PrivateIpAddress": address, "Groups": [{"GroupId": "sg-0"}],
        }  # fmt: skip

    def name(number: int | None) -> str:
        return "eni-here" if number is None else f"eni-{number}"

    attached = [{"NetworkInterfaceId": name(None), "HostId": "host-0", "Port": "vm0"}]
    attached += [
        {"NetworkInterfaceId": name(number), "HostId": f"host-{network.host_of(number)}", "Port": f"vm{number}"}
        for number in remotes
    ]
    return {
        "Vpcs": [{"VpcId": network.VPC, "CidrBlock": "10.0.0.0/16"}],
        "Subnets": [{
            "SubnetId": network.SUBNET, "VpcId": network.VPC, "AvailabilityZone": "eu-central-1a", "CidrBlock": "10.0.0.0/16",
        }],
        "SecurityGroups": [{
            "GroupId": "sg-0", "VpcId": network.VPC, "IpPermissions": ingress, "IpPermissionsEgress": egress,
        }],
        "RouteTables": [{
            "RouteTableId": "rtb-0", "VpcId": network.VPC, "Associations": [{"Main": True}],
            "Routes": [{"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local"}],
        }],
        "NetworkInterfaces": [
            eni(None, network.INSTANCE_MAC, network.INSTANCE),
            *(eni(number, network.remote_mac(number), network.remote(number)) for number in remotes),
        ],
        "Warren": {
            "Hosts": [
                {"HostId": f"host-{host}", "UnderlayAddress": network.underlay(host)} for host in range(network.HOSTS + 1)
            ],
            "Networks": [{"VpcId": network.VPC, "Vni": network.VNI}],
            "Attachments": attached,
        },
    }  # fmt: skip


def host_file(instance: str, uplink: str, cpu: int, folder: Path, mtu: int = 1500) -> str:
    """This host: the devices of the instance's port and of the uplink."""
    neighbors = ",".join(
        f'{{address="{network.underlay(host)}",mac="{network.underlay_mac(host)}"}}' for host in range(1, network.HOSTS + 1)
    )
    return f"""
host = "host-0"
state = "state.json"
workers = {{ cores = [{cpu}] }}
eal = {{ args = ["--no-pci", "--in-memory"] }}
control = {{ socket = "{folder}/socket" }}
[[port]]
name = "vm0"
role = "instance"
device = "{instance}"
mtu = {mtu}
[[port]]
name = "uplink"
role = "uplink"
device = "{uplink}"
mac = "{network.UPLINK_MAC}"
address = "{network.UPLINK}/8"
neighbors = [{neighbors}]
"""


def bench(binary: Path, cpu: int, runs: int, flows: int, size: int) -> list[dict]:
    """`warren bench` with its yardstick, over null devices: its own lines."""
    command = [str(binary), "bench", "--case", "bare,encap,decap,stateful", "--entries", str(network.REMOTES + 2),
               "--flows", str(flows), "--size", str(size), "--runs", str(runs), "--cpu", str(cpu), "--json"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"warren bench: {done.stderr.strip()[-300:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
