#!/usr/bin/python3
"""Throughput and latency over memif, between two processes of one machine: `warren load` on one CPU, the node on another.

For each traffic (captures.py) the highest rate without loss by halving (RFC 2544), and the time in between at 50 and 90 percent of it; through Warren as it
encapsulates, through Warren as it decapsulates, and through testpmd io, which shows what memif and the source alone take.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "peers")]

import captures
import network
import warren
from tools.machine import ROOT, Borrowed, Failed, facts, progress, wait_for

THROUGH = ("testpmd", "encap", "decap")
# A packet of 9000 bytes with all that is put in front of it fits one buffer.
BUFFER = 10240


def device(number: int, role: str, folder: Path) -> str:
    """One end of a memif; the node's is the server."""
    return f"net_memif{number},role={role},socket={folder}/memif{number},socket-abstract=no,rsize=10,bsize={BUFFER}"


@contextmanager
def node(through: str, cpu: int, binary: Path, borrowed: Borrowed) -> Iterator[None]:
    """What the packets go through: from memif 0 to memif 1, in `decap` from 1 to 0."""
    folder, log = borrowed.folder, borrowed.folder / "node.log"
    ends = [device(number, "server", folder) for number in (0, 1)]
    if through == "testpmd":
        eal = ["--no-pci", "--in-memory", "--no-telemetry", "--lcores", f"0@{1 - min(cpu, 1)},1@{cpu}", f"--file-prefix=warren-memif-{os.getpid()}"]
        vdevs = [part for end in ends for part in ("--vdev", end)]
        forward = ["-i", "--auto-start", "--forward-mode=io", "--total-num-mbufs=8192", f"--mbuf-size={BUFFER}"]
        process = borrowed.start(["dpdk-testpmd", *eal, *vdevs, "--", *forward], log)
    else:
        (folder / "state.json").write_text(json.dumps(warren.state(tracked=False)))
        (folder / "host.toml").write_text(warren.host_file(*ends, cpu, folder, mtu=9001))
        process = borrowed.start([str(binary), "run", "--config", str(folder / "host.toml")], log)
    wait_for(f"{through}'s memif", (folder / "memif1").exists, process=process, log=log)
    yield
    if process.poll() is not None:
        raise Failed(f"{through} has ended: {log.read_text()[-500:]}")


def search(through: str, traffic: str, options: argparse.Namespace) -> dict:
    """A search with one sort of traffic."""
    with Borrowed() as borrowed, node(through, options.cpu, options.warren, borrowed):
        folder = borrowed.folder
        capture = captures.write(folder, traffic, vxlan=through == "decap")
        there, back = (1, 0) if through == "decap" else (0, 1)
        command = [
            "nice", "-n", "-15", str(options.warren), "load", "--search", "--json", "--capture", str(capture),
            "--send", device(there, "client", folder), "--receive", device(back, "client", folder), "--cpu", str(options.source),
            "--seconds", str(options.seconds), "--tries", str(options.tries), "--loss", str(options.loss),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"{traffic} through {through}: {done.stderr.strip()[-400:]}")
        found = next(line for line in done.stdout.splitlines() if line.startswith("{"))
        return {**json.loads(found), "traffic": traffic, "through": through if through == "testpmd" else f"warren {through}"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--traffic", default=",".join(captures.NAMES), help="some of: " + ", ".join(captures.NAMES))
    parser.add_argument("--through", default=",".join(THROUGH), help="some of: " + ", ".join(THROUGH))
    parser.add_argument("--seconds", type=float, default=1.0, help="of a trial (default: 1)")
    parser.add_argument("--tries", type=int, default=3, help="trials at a rate, of which the best counts (default: 3)")
    parser.add_argument("--loss", type=float, default=0.0, help="percent that count as no loss (default: 0)")
    parser.add_argument("--cpu", type=int, default=(os.cpu_count() or 2) - 1, help="the node's CPU (default: the last)")
    parser.add_argument("--source", type=int, default=0, help="the source's CPU (default: 0)")
    parser.add_argument("--warren", type=Path, default=target / "release" / "warren", help="the binary")
    parser.add_argument("--json", action="store_true", help="lines of JSON")
    options = parser.parse_args()
    with Borrowed() as borrowed:
        if not borrowed.hugepages(1024):
            progress("too few hugepages: figures from ordinary pages are not to be quoted")
        lines = []
        for traffic in options.traffic.split(","):
            for through in options.through.split(","):
                progress(f"   {traffic} through {through}")
                lines.append(search(through, traffic, options))
                print(json.dumps(lines[-1]) if options.json else sentence(lines[-1]), flush=True)
    if not options.json:
        print(json.dumps(facts()))
    return 0


def sentence(line: dict) -> str:
    """For people."""
    times = "; ".join(f"at {step['percent']} %: {step['p50_us']} µs median, {step['p99_us']} p99, {step['p999_us']} p99.9" for step in line["latency"])
    return f"{line['traffic']:>5} through {line['through']:<13} {line['mpps']:6.2f} Mpps without loss, {line['gbps']:6.2f} Gbit/s; {times}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit(130)
