#!/usr/bin/python3
"""Captures of the traffic that a node is measured with, for `warren load`, for DPDK's pktgen (-s PORT:FILE) and for any other sender.

From one instance to 256 others of 16 hosts (the network of bench/peers; --vxlan: the way back, as it comes from the underlay), IPv4, without UDP and TCP checksums:

  64, 1500, 9000   UDP frames of one size (1500 and 9000: IP packets of so many bytes), each flow as often as any other
  imix             7 frames of 64 bytes, 4 of 594, 1 of 1518 (the simple IMIX), without FCS: 60, 590, 1514, the small ones 64
  zipf             64 bytes; the flow of rank r comes 1/r times as often as the first
  syn              a flood of SYNs, no two of the same connection
  hero             scaled down from DASH's hero test: of ten packets, three are those of new TCP connections (SYN, ACK, FIN, ACK of the client), seven of UDP flows that stay
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "peers")]

import network
from tools import frames
from tools.frames import SYN, Flow

ACK, FIN = 0x10, 0x01
NAMES = ("64", "1500", "9000", "imix", "zipf", "syn", "hero")


def udp(flow: int) -> Flow:
    """A flow's ends, from the instance."""
    return Flow(network.INSTANCE, network.remote(flow % network.REMOTES), 1024 + flow // network.REMOTES, network.PORT)


def tcp(flow: int) -> Flow:
    return Flow(network.INSTANCE, network.remote(flow % network.REMOTES), 1024 + flow // network.REMOTES, 443, 6)


def packets(name: str, flows: int) -> list[tuple[int, Flow, int]]:
    """Size of the frame, ends, TCP flags."""
    chance = random.Random(name)
    if name in ("64", "1500", "9000"):
        size = 64 if name == "64" else int(name) + frames.ETHERNET
        return [(size, udp(flow), 0) for flow in chance.sample(range(flows), flows)]
    if name == "imix":
        sizes = [64] * 7 + [590] * 4 + [1514]
        return [(chance.choice(sizes), udp(flow), 0) for flow in chance.sample(range(flows), flows)]
    if name == "zipf":
        weights = [1 / rank for rank in range(1, flows + 1)]
        return [(64, udp(flow), 0) for flow in chance.choices(range(flows), weights, k=4 * flows)]
    if name == "syn":
        return [(64, tcp(flow), SYN) for flow in chance.sample(range(16 * flows), 16 * flows)]
    return list(hero(flows, chance))


def hero(flows: int, chance: random.Random) -> Iterator[tuple[int, Flow, int]]:
    """Connections one after the other in four lanes, so that a connection's packets are apart, between packets of flows that stay."""
    lanes = [[] for _ in range(4)]
    opened = 0
    for _ in range(4 * flows):
        if chance.random() < 0.7:
            yield 128, udp(chance.randrange(flows)), 0
            continue
        lane = chance.choice(lanes)
        if not lane:
            lane.extend((64, tcp(opened), flags) for flags in (SYN, ACK, FIN | ACK, ACK))
            opened += 1
        yield lane.pop(0)


def frame(size: int, flow: Flow, flags: int, vxlan: bool) -> bytes:
    """The frame as the instance sends it, or as it comes back in VXLAN."""
    if not vxlan:
        return frames.frame(size, frames.router_mac(network.SUBNET), network.INSTANCE_MAC, flow, flags)
    back = Flow(flow.destination, flow.source, flow.destination_port, flow.source_port, flow.protocol)
    inner = frames.frame(size, network.INSTANCE_MAC, frames.router_mac(network.SUBNET), back, flags)
    host = network.host_of(int(flow.destination.rsplit(".")[-1]))
    entropy = 49152 + flow.source_port % 16384
    return frames.encapsulated(inner, network.UPLINK_MAC, network.underlay_mac(host), network.underlay(host), network.UPLINK, network.VNI, entropy)


def write(folder: Path, name: str, flows: int = 4096, vxlan: bool = False) -> Path:
    """The capture of a name."""
    path = folder / f"{name}{'-vxlan' if vxlan else ''}.pcap"
    return frames.write_capture(path, [frame(*packet, vxlan) for packet in packets(name, flows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default=",".join(NAMES), help="some of them")
    parser.add_argument("--flows", type=int, default=4096, help="flows, at most 64000 times 256 (default: 4096)")
    parser.add_argument("--vxlan", action="store_true", help="the way back: VXLAN to the uplink")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.only.split(","):
        if name not in NAMES:
            raise SystemExit(f"--only: {', '.join(NAMES)}")
        print(write(options.folder, name, options.flows, options.vxlan))


if __name__ == "__main__":
    main()
