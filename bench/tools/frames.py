"""Frames and captures: what is sent, byte by byte, without a packet library."""

from __future__ import annotations

import ipaddress
import random
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ETHERNET, IPV4, UDP, TCP, VXLAN = 14, 20, 8, 20, 8
# What VXLAN over IPv4 puts before a frame.
OUTER = ETHERNET + IPV4 + UDP + VXLAN
SYN = 0x02


def mac(text: str) -> bytes:
    """A MAC's six bytes."""
    return bytes.fromhex(text.replace(":", ""))


def router_mac(subnet: str) -> str:
    """The MAC of a subnet's router, as Warren derives it from the subnet's id: 02, and five bytes of its FNV-1a hash."""
    digest = 0xCBF2_9CE4_8422_2325
    for byte in subnet.encode():
        digest = (digest ^ byte) * 0x100_0000_01B3 & 0xFFFF_FFFF_FFFF_FFFF
    return ":".join(f"{byte:02x}" for byte in b"\x02" + digest.to_bytes(8, "big")[3:])


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass(frozen=True)
class Flow:
    """The ends of an inner packet. IPv4; UDP or TCP."""

    source: str
    destination: str
    source_port: int
    destination_port: int
    protocol: int = 17


def ipv4(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    """An IPv4 packet with DF and a right header checksum."""
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    start = struct.pack("!BBHHHBBH", 0x45, 0, IPV4 + len(payload), 0, 0x4000, 64, protocol, 0)
    header = start + addresses
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def frame(size: int, to: str, sender: str, flow: Flow, flags: int = 0x10) -> bytes:
    """A frame of `size` bytes, without FCS. UDP and TCP have no checksum, so that none has to be verified in software."""
    room = size - ETHERNET - IPV4
    ports = struct.pack("!HH", flow.source_port, flow.destination_port)
    if flow.protocol == 6:
        segment = ports + struct.pack("!IIBBHHH", 1, 0 if flags == SYN else 1, 0x50, flags, 0xFFFF, 0, 0)
    else:
        segment = ports + struct.pack("!HH", room, 0)
    packet = ipv4(flow.source, flow.destination, flow.protocol, segment.ljust(room, b"\0"))
    return mac(to) + mac(sender) + b"\x08\x00" + packet


def encapsulated(inner: bytes, to: str, sender: str, source: str, destination: str, vni: int, port: int) -> bytes:
    """A frame in VXLAN over IPv4 (RFC 7348), without outer UDP checksum."""
    datagram = struct.pack("!HHHHII", port, 4789, UDP + VXLAN + len(inner), 0, 0x0800_0000, vni << 8) + inner
    return mac(to) + mac(sender) + b"\x08\x00" + ipv4(source, destination, 17, datagram)


def shuffled(frames: Iterable[bytes], seed: int = 1) -> list[bytes]:
    """The same frames in an order that no prefetcher knows, the same in every run."""
    frames = list(frames)
    random.Random(seed).shuffle(frames)
    return frames


def write_capture(path: Path, frames: Sequence[bytes]) -> Path:
    """A pcap file (LINKTYPE_ETHERNET, microseconds, no times)."""
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for data in frames:
            out.write(struct.pack("<IIII", 0, 0, len(data), len(data)) + data)
    return path
