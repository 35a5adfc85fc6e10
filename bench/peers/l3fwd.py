"""DPDK's l3fwd with longest-prefix match, built from the source of the distribution's DPDK package."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from network import HOSTS, REMOTES, Case, remote
from peer import Counters, Lab, Peer, Telemetry
from tools.machine import Borrowed, Failed, progress, run

SOURCES = Path("/etc/apt/sources.list.d/debian.sources")


class L3fwd(Peer):
    name = "l3fwd"
    cases = ("forward",)

    def __init__(self, cache: Path):
        self.cache = cache

    @property
    def binary(self) -> Path:
        return self.cache / "l3fwd"

    def missing(self) -> str | None:
        if not self.binary.exists():
            try:
                build(self.cache)
            except (Failed, OSError) as problem:
                return f"could not be built from the distribution's source: {problem}"
        return None

    @contextmanager
    def running(self, case: Case, lab: Lab, borrowed: Borrowed) -> Iterator[Counters]:
        prefix = f"warren-peers-l3fwd-{os.getpid()}"
        log, rules = borrowed.folder / "l3fwd.log", borrowed.folder / "rules"
        # As many routes as there are hosts, all to the port with the sink.
        step = REMOTES // HOSTS
        rules.write_text("".join(f"R{remote(host * step)}/28 1\n" for host in range(HOSTS)))
        (borrowed.folder / "rules6").write_text("R0:0:0:0:0:0:0:0/48 1\n")
        devices = ["--vdev", lab.source(case), "--vdev", lab.sink(case)]
        routes = ["--lookup=lpm", f"--rule_ipv4={rules}", f"--rule_ipv6={rules}6", "--config=(0,0,0),(1,0,0)"]
        options = ["-p", "3", "-P", "--parse-ptype", *routes]
        # One lcore, which is the main one: it wants a transmit queue for each of them, and net_pcap has one.
        command = [str(self.binary), "--no-pci", "--in-memory", "--lcores", f"0@{lab.worker}", f"--file-prefix={prefix}", *devices, "--", *options]
        process = borrowed.start(command, log)
        yield Telemetry(prefix, process, log).sent(1)


def build(cache: Path) -> None:
    """Fetches the source by apt, without a change to the machine's own lists, and builds the one example."""
    if not SOURCES.exists() or not shutil.which("apt-get"):
        raise Failed(f"no {SOURCES}")
    version = run("dpkg-query", "-W", "-f=${source:Version}", "libdpdk-dev")
    progress(f"   fetching the source of DPDK {version} for l3fwd")
    work = cache / "dpdk-source"
    (work / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (work / "sources").mkdir(exist_ok=True)
    lines = SOURCES.read_text().splitlines()
    sources = ["Types: deb-src" if line.startswith("Types:") else line for line in lines]
    (work / "sources" / "source.sources").write_text("\n".join(sources) + "\n")
    apart = [
        "-o", "Dir::Etc::SourceList=/dev/null", "-o", f"Dir::Etc::SourceParts={work}/sources",
        "-o", f"Dir::State::Lists={work}/lists", "-o", f"Dir::Cache={work}", "-o", "APT::Sandbox::User=root",
    ]  # fmt: skip
    run("apt-get", *apart, "update", "-q")
    fetch = ["apt-get", *apart, "source", "-q", "--download-only", f"dpdk={version}"]
    fetched = subprocess.run(fetch, cwd=work, capture_output=True, text=True)
    if fetched.returncode:
        raise Failed(fetched.stderr.strip()[-300:])
    for archive in work.glob("dpdk_*.orig.tar.*"):
        run("tar", "-xf", str(archive), "-C", str(work), "--strip-components=1", "--wildcards", "*/examples/l3fwd/*", "*/examples/common/*")
    example = work / "examples" / "l3fwd"
    # It insists on a checksum offload, which software devices lack.
    main = (example / "main.c").read_text()
    (example / "main.c").write_text(main.replace(".offloads = RTE_ETH_RX_OFFLOAD_CHECKSUM", ".offloads = 0"))
    run("make", "-C", str(example), "shared")
    shutil.copy(example / "build" / "l3fwd-shared", cache / "l3fwd")
    shutil.rmtree(work)
