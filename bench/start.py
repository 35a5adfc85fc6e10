#!/usr/bin/python3
"""How long a node takes from its start to its answer, and the memory of one more ENI, route, rule and connection: lines of JSON."""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tools.machine import Borrowed, progress, run, wait_for

PER_SUBNET, PER_HOST = 65_000, 256
# ENIs on this host: what is compiled of rules and routes is what these need.
LOCAL = 16
RULES_OF_A_GROUP = ROUTES_OF_A_TABLE = 1000


def state(enis: int = LOCAL, rules: int = 0, routes: int = 0, subnets: int = 1) -> dict:
    """A VPC with so many ENIs spread over at least so many subnets, the first ones here; with rules in groups and routes in tables of a thousand."""
    subnets = range(max(subnets, -(-enis // PER_SUBNET)))
    groups, route_tables = range(1, 1 + rules // RULES_OF_A_GROUP), range(1, 1 + routes // ROUTES_OF_A_TABLE)
    anyone = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]

    def eni(number: int) -> dict:
        subnet, host = number % len(subnets), number // len(subnets) + 4
        return {
            "NetworkInterfaceId": f"eni-{number}", "SubnetId": f"subnet-{subnet}", "MacAddress": "06:00:%02x:%02x:%02x:%02x" % tuple(number.to_bytes(4)),
            "PrivateIpAddress": f"10.{subnet}.{host >> 8}.{host & 255}", "Groups": [{"GroupId": f"sg-{number % len(groups) + 1}" if groups else "sg-0"}],
        }  # fmt: skip

    def attachment(number: int) -> dict:
        host, port = (1, number) if number < LOCAL else (2 + (number - LOCAL) // PER_HOST, (number - LOCAL) % PER_HOST)
        return {"NetworkInterfaceId": f"eni-{number}", "HostId": f"host-{host}", "Port": f"vm{port}"}

    def rule(number: int, group: int) -> dict:
        port = 1 + number * 8
        return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port + 7, "IpRanges": [{"CidrIp": f"10.{group % 256}.0.0/16"}]}

    def routes_of(table: int) -> list[dict]:
        local = [{"DestinationCidrBlock": f"10.{subnet}.0.0/16", "GatewayId": "local"} for subnet in subnets]
        return local + [
            {"DestinationCidrBlock": f"172.{16 + number // 256}.{number % 256}.0/24", "VpcPeeringConnectionId": "pcx-gone", "State": "blackhole"}
            for number in range(ROUTES_OF_A_TABLE if table else 0)
        ]

    return {
        "Vpcs": [{"VpcId": "vpc-0", "CidrBlock": "10.0.0.0/16", "CidrBlockAssociationSet": [{"CidrBlock": f"10.{subnet}.0.0/16"} for subnet in subnets]}],
        "Subnets": [{"SubnetId": f"subnet-{subnet}", "VpcId": "vpc-0", "AvailabilityZone": "eu-central-1a", "CidrBlock": f"10.{subnet}.0.0/16"} for subnet in subnets],
        "SecurityGroups": [{"GroupId": "sg-0", "VpcId": "vpc-0", "IpPermissions": anyone, "IpPermissionsEgress": anyone}]
        + [
            {"GroupId": f"sg-{group}", "VpcId": "vpc-0", "IpPermissions": [rule(number, group) for number in range(RULES_OF_A_GROUP)], "IpPermissionsEgress": anyone}
            for group in groups
        ],
        "RouteTables": [{"RouteTableId": "rtb-0", "VpcId": "vpc-0", "Associations": [{"Main": True}], "Routes": routes_of(0)}]
        + [
            {"RouteTableId": f"rtb-{table}", "VpcId": "vpc-0", "Associations": [{"SubnetId": f"subnet-{table - 1}"}] if table <= len(subnets) else [], "Routes": routes_of(table)}
            for table in route_tables
        ],
        "NetworkInterfaces": [eni(number) for number in range(enis)],
        "Warren": {
            "Hosts": [{"HostId": f"host-{host}", "UnderlayAddress": f"11.{host >> 16}.{host >> 8 & 255}.{host & 255}"} for host in range(1, 3 + enis // PER_HOST)],
            "Networks": [{"VpcId": "vpc-0", "Vni": 4100}],
            "Attachments": [attachment(number) for number in range(enis)],
        },
    }  # fmt: skip


def host_file(cpu: int, connections: int, folder: Path) -> str:
    """This host."""
    ports = "".join(f'[[port]]\nname = "vm{number}"\nrole = "instance"\ndevice = "net_null{number},no-rx=1"\n' for number in range(LOCAL))
    return f"""
host = "host-1"
state = "state.json"
workers = {{ cores = [{cpu}], connections = {connections} }}
eal = {{ args = ["--no-pci", "--in-memory"] }}
control = {{ socket = "{folder}/socket" }}
{ports}
[[port]]
name = "uplink"
role = "uplink"
device = "net_null{LOCAL},no-rx=1"
address = "11.0.0.1/8"
"""


def memory(pid: int, what: str) -> int:
    """Bytes that a process has: `what` of ordinary pages (VmRSS, VmHWM), and hugepages."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(re.findall(r"^(\w+):\s+(\d+) kB$", status, re.M))
    return (int(fields[what]) + int(fields.get("HugetlbPages", 0))) * 1024


def start(warren: Path, cpu: int, connections: int = 1024, check: bool = False) -> dict:
    """Starts a node with the state in the folder; how long, and how much memory."""
    with Borrowed() as borrowed:
        folder = borrowed.folder
        (folder / "state.json").symlink_to(STATE)
        (folder / "host.toml").write_text(host_file(cpu, connections, folder))
        found = {}
        if check:
            begun = time.monotonic()
            run(str(warren), "check", str(STATE))
            found["check_seconds"] = time.monotonic() - begun
        log = folder / "warren.log"
        begun = time.monotonic()
        process = borrowed.start([str(warren), "run", "--config", str(folder / "host.toml")], log)
        show = [str(warren), "show", "ports", "--socket", f"{folder}/socket"]
        wait_for("warren", lambda: subprocess.run(show, capture_output=True).returncode == 0, 120, process, log)
        found["seconds"] = time.monotonic() - begun
        time.sleep(0.3)
        found["bytes"], found["peak"] = memory(process.pid, "VmRSS"), memory(process.pid, "VmHWM")
        return found


def starts(warren: Path, cpu: int, enis: int) -> dict:
    """Three starts with so many ENIs."""
    progress(f"   start with {enis} ENIs")
    STATE.write_text(json.dumps(state(enis)))
    runs = [start(warren, cpu, check=number == 0) for number in range(3)]
    seconds = [found["seconds"] for found in runs]
    return {
        "what": "start", "enis": enis, "seconds": min(seconds), "seconds_median": statistics.median(seconds),
        "check_seconds": runs[0]["check_seconds"], "peak_mib": runs[0]["peak"] / 2**20, "bytes": min(found["bytes"] for found in runs),
    }  # fmt: skip


def each(warren: Path, cpu: int, of: str, how: str, counts: Sequence[int], **other: int) -> dict:
    """The memory of one more: the difference between two nodes, one with few and one with many."""
    progress(f"   memory of each {of}")
    sizes = []
    for count in counts:
        connections = count if of == "connection" else 1024
        STATE.write_text(json.dumps(state(**other) if of == "connection" else state(**{**other, f"{of.lower()}s": count})))
        sizes.append(start(warren, cpu, connections)["bytes"])
    return {"what": "memory", "of": of, "bytes": (sizes[1] - sizes[0]) / (counts[1] - counts[0]), "how": how}


def main() -> None:
    global STATE
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--warren", type=Path, required=True, help="the binary")
    parser.add_argument("--enis", default="1000,100000,1000000", help="with how many it is started (default: 1000,100000,1000000)")
    parser.add_argument("--cpu", type=int, default=1)
    options = parser.parse_args()
    with Borrowed() as borrowed:
        borrowed.hugepages(1024)
        STATE = borrowed.folder / "state.json"
        counts = [int(count) for count in options.enis.split(",")]
        lines = [starts(options.warren, options.cpu, count) for count in counts]
        few, many = lines[0], lines[-1]
        lines.append({
            "what": "memory", "of": "ENI", "how": f"the daemon, state and tables, {few['enis']} against {many['enis']}",
            "bytes": (many["bytes"] - few["bytes"]) / (many["enis"] - few["enis"]),
        })  # fmt: skip
        daemon = "the daemon, state and tables"
        few, many = RULES_OF_A_GROUP, LOCAL * RULES_OF_A_GROUP
        lines.append(each(options.warren, options.cpu, "rule", f"{daemon}, groups of a thousand, each of an ENI here", (few, many)))
        lines.append(each(options.warren, options.cpu, "route", f"{daemon}, tables of a thousand, each of an ENI here", (few, many), subnets=LOCAL))
        lines.append(each(options.warren, options.cpu, "connection", "`workers.connections`, from the start", (1 << 20, 1 << 22)))
    for line in lines:
        print(json.dumps(line))


if __name__ == "__main__":
    sys.exit(main())
