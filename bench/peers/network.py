"""The network that all peers carry: one instance here, 256 others on 16 hosts, VXLAN over IPv4. And its traffic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tools import frames
from tools.frames import Flow

SUBNET, VPC, VNI = "subnet-0", "vpc-peers", 4100
REMOTES, HOSTS = 256, 16
INSTANCE, INSTANCE_MAC = "10.0.0.4", "06:00:00:00:00:00"
UPLINK, UPLINK_MAC = "11.0.0.1", "02:fa:00:00:00:01"
# What the instance asks for, and so what a stateful peer's rules let it.
PORT = 53
# How often a connection is answered.
ANSWERS = 16


def remote(number: int) -> str:
    """The address of another instance."""
    return f"10.0.1.{number}"


def remote_mac(number: int) -> str:
    return f"06:00:00:00:01:{number:02x}"


def host_of(number: int) -> int:
    """The host, 1 to 16, that another instance is on."""
    return 1 + number * HOSTS // REMOTES


def underlay(host: int) -> str:
    """A host's address; 0 is this one."""
    return f"11.0.0.{host + 1}"


def underlay_mac(host: int) -> str:
    return f"02:fb:00:00:00:{host + 1:02x}"


@dataclass(frozen=True)
class Case:
    """What is done, with what."""

    name: str
    flows: int
    size: int

    @property
    def encapsulated(self) -> bool:
        """Whether the packets come in VXLAN."""
        return self.name == "decap"

    @property
    def answered(self) -> bool:
        """Whether the other instances answer for a while, so that connections are established."""
        return self.name == "stateful"

    @property
    def traffic(self) -> tuple:
        """What cases have in common that have the same packets."""
        kind = "vxlan" if self.encapsulated else "answered" if self.answered else "plain"
        return (kind, self.flows, self.size)

    def capture(self, folder: Path) -> Path:
        """The packets as a file: each flow once, in random order."""
        path = folder / ("-".join(map(str, self.traffic)) + ".pcap")
        if path.exists():
            return path
        return frames.write_capture(path, frames.shuffled(self.packet(number) for number in range(self.flows)))

    def answers(self, folder: Path) -> Path:
        """What the other instances answer, as it comes from their hosts: often enough for all to have been asked before."""
        path = folder / f"answers-{self.flows}-{self.size}.pcap"
        if path.exists():
            return path
        back = Case("decap", self.flows, self.size)
        return frames.write_capture(path, frames.shuffled(back.packet(number) for number in range(self.flows)) * ANSWERS)

    def packet(self, flow: int) -> bytes:
        """The packet of a flow: another instance and a port of the first one."""
        number, port = flow % REMOTES, 1024 + flow // REMOTES
        if not self.encapsulated:
            ends = Flow(INSTANCE, remote(number), port, PORT)
            return frames.frame(self.size, frames.router_mac(SUBNET), INSTANCE_MAC, ends)
        # By the router, as between subnets; within one, only a connection with packets in both directions has its sender remembered.
        inner = frames.frame(self.size, INSTANCE_MAC, frames.router_mac(SUBNET), Flow(remote(number), INSTANCE, PORT, port))
        host = host_of(number)
        return frames.encapsulated(
            inner, UPLINK_MAC, underlay_mac(host), underlay(host), UPLINK, VNI, 49152 + flow % 16384
        )
