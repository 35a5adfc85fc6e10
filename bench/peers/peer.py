"""What a peer is, and what all are measured by: cycles of the time-stamp counter for a packet, of a core that is never idle."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from network import Case
from tools.machine import Borrowed, Failed, tsc_hertz, wait_for


class Reading(NamedTuple):
    """What has been spent and forwarded so far."""

    cycles: float
    packets: int
    # Of the cycles, those of receiving and sending, where the peer itself tells them.
    driver: float | None = None


Counters = Callable[[], Reading]


@dataclass(frozen=True)
class Lab:
    """Where peers run: the worker's CPU, the CPU of everything else, a folder for captures."""

    worker: int
    other: int
    captures: Path

    def source(self, case: Case) -> str:
        """A DPDK device that hands out a capture's packets for ever."""
        return f"net_pcap0,rx_pcap={case.capture(self.captures)},infinite_rx=1"

    def sink(self, case: Case) -> str:
        """One that swallows what it is given, and hands out nothing, or soon nothing any more."""
        return f"net_pcap1,rx_pcap={case.answers(self.captures)}" if case.answered else "net_null0,no-rx=1"

    @property
    def eal(self) -> list[str]:
        """The EAL's arguments for a program of one worker."""
        return ["--no-pci", "--in-memory", "--lcores", f"0@{self.other},1@{self.worker}"]


class Peer:
    """A program that forwards."""

    name = ""
    # The cases it has.
    cases: tuple[str, ...] = ()
    # Packets that it takes from a queue at once.
    burst = 32

    def missing(self) -> str | None:
        """Why it can't run here."""
        return None

    @contextmanager
    def running(self, case: Case, lab: Lab, borrowed: Borrowed) -> Iterator[Counters]:
        """Runs it for as long as the context lasts."""
        raise NotImplementedError


def samples(read: Counters, count: int, window: float) -> list[tuple[float, float | None]]:
    """Cycles per packet, and those of the peer's own driver, in so many windows of so many seconds, after one that isn't counted."""
    time.sleep(window)
    taken = []
    before = read()
    while len(taken) < count:
        time.sleep(window)
        after = read()
        packets = after.packets - before.packets
        if not packets:
            raise Failed("no packet was forwarded")
        driver = None if after.driver is None else (after.driver - before.driver) / packets
        taken.append(((after.cycles - before.cycles) / packets, driver))
        before = after
    return taken


class Telemetry:
    """The telemetry socket of a DPDK program (DPDK's Telemetry Library guide): a question, an answer in JSON."""

    def __init__(self, prefix: str, process, log: Path):
        path = Path("/var/run/dpdk") / prefix / "dpdk_telemetry.v2"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

        def connected() -> bool:
            self.socket.connect(str(path))
            return bool(self.socket.recv(1024))

        wait_for(f"{prefix}'s telemetry", connected, process=process, log=log)

    def ask(self, what: str) -> dict:
        self.socket.send(what.encode())
        return json.loads(self.socket.recv(65536))

    def sent(self, port: int) -> Counters:
        """Time in cycles, and the packets that a port has sent."""
        hertz = tsc_hertz()

        def read() -> Reading:
            before = time.monotonic_ns()
            packets = self.ask(f"/ethdev/stats,{port}")["/ethdev/stats"]["opackets"]
            return Reading((before + time.monotonic_ns()) / 2e9 * hertz, packets)

        wait_for("the first packet", lambda: read().packets)
        return read
