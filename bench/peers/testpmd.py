"""DPDK's testpmd: what receiving and sending alone cost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from network import Case
from peer import Counters, Lab, Peer, Telemetry
from tools.machine import Borrowed


class Testpmd(Peer):
    cases = ("forward",)

    def __init__(self, mode: str):
        self.mode = mode
        self.name = f"testpmd {mode}"

    def missing(self) -> str | None:
        return None if shutil.which("dpdk-testpmd") else "no dpdk-testpmd (Debian: dpdk-dev)"

    @contextmanager
    def running(self, case: Case, lab: Lab, borrowed: Borrowed) -> Iterator[Counters]:
        prefix = f"warren-peers-testpmd-{os.getpid()}"
        log = borrowed.folder / "testpmd.log"
        devices = ["--vdev", lab.source(case), "--vdev", lab.sink(case)]
        forward = ["-i", "--auto-start", f"--forward-mode={self.mode}", "--total-num-mbufs=16384"]
        command = ["dpdk-testpmd", *lab.eal, f"--file-prefix={prefix}", *devices, "--", *forward]
        process = borrowed.start(command, log)
        yield Telemetry(prefix, process, log).sent(1)
