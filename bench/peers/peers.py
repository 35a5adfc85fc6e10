#!/usr/bin/python3
"""Peers side by side: the same packets through testpmd, l3fwd, Open vSwitch with DPDK, VPP and Warren, one worker each, in cycles per packet.

Everything runs on software devices (a capture that is handed out for ever, a sink), in a namespace of its own where it needs one, and is gone at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import figures
import warren
from l3fwd import L3fwd
from network import REMOTES, Case
from ovs import Ovs
from peer import Lab, Peer, samples
from testpmd import Testpmd
from tools.machine import ROOT, Borrowed, Failed, facts, progress
from vpp import Vpp
from warren import Warren

CASES = ("forward", "encap", "decap", "stateful")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "warren-bench"


def arguments() -> argparse.Namespace:
    numbers = lambda text: [int(number) for number in text.split(",")]  # noqa: E731
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default=",".join(CASES), help="forward, encap, decap, stateful (default: all)")
    parser.add_argument("--peer", default="", help="only those whose names begin so, such as ovs,warren")
    parser.add_argument("--flows", type=numbers, default=[256, 4096], help="flows, each a multiple of 256 (default: 256,4096)")
    parser.add_argument("--size", type=numbers, default=[64], help="bytes of the inner frame (default: 64)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is started (default: 3)")
    parser.add_argument("--samples", type=int, default=9, help="windows in each round (default: 9)")
    parser.add_argument("--window", type=float, default=0.2, help="seconds of a window (default: 0.2)")
    parser.add_argument("--cpu", type=int, default=(os.cpu_count() or 2) - 1, help="the worker's CPU (default: the last)")
    parser.add_argument("--warren", type=Path, default=target / "release" / "warren", help="the binary")
    parser.add_argument("--json", action="store_true", help="lines of JSON instead of a table")
    return parser.parse_args()


def here(options: argparse.Namespace) -> list[Peer]:
    """The peers that are wanted and can run; says why the others can't."""
    everyone = [Testpmd("io"), Testpmd("5tswap"), L3fwd(CACHE), Ovs(), Vpp(), Warren(options.warren)]
    wanted = tuple(options.peer.split(","))
    present = []
    for peer in everyone:
        if not peer.name.startswith(wanted):
            continue
        if problem := peer.missing():
            progress(f"{peer.name} is left out: {problem}")
        else:
            present.append(peer)
    return present


def measure(peer: Peer, case: Case, lab: Lab, options: argparse.Namespace) -> list[tuple[float, float | None]]:
    """One round of one peer."""
    with Borrowed() as borrowed, peer.running(case, lab, borrowed) as read:
        return samples(read, options.samples, options.window)


def rounds(peers: list[Peer], cases: list[Case], lab: Lab, options: argparse.Namespace) -> list[dict]:
    """All peers in all cases, in turns, so that all see the same machine; with each sort of traffic its driver's share."""
    driver, taken, failed = {}, {}, set()
    base = Testpmd("io")
    for turn in range(options.rounds):
        for case in cases:
            those = [peer for peer in peers if case.name in peer.cases and (peer.name, case) not in failed]
            if not those:
                continue
            progress(f"round {turn + 1} of {options.rounds}: {case.name}, {case.flows} flows, {case.size} bytes: {', '.join(peer.name for peer in those)}")
            if not base.missing() and (case.traffic, turn) not in driver:
                driver[case.traffic, turn] = measure(base, case, lab, options)
            for peer in those:
                try:
                    taken.setdefault((peer.name, case), []).extend(measure(peer, case, lab, options))
                except (Failed, OSError, RuntimeError) as problem:
                    failed.add((peer.name, case))
                    figures.warn(f"{peer.name}, {case.name}: {problem}")
    lines = []
    for case in cases:
        common = [share for (traffic, _), all in driver.items() if traffic == case.traffic for share, _ in all]
        for peer in peers:
            if (peer.name, case) in taken and (peer.name, case) not in failed:
                cycles, own = zip(*taken[peer.name, case])
                shares = common if None in own else own
                lines.append(figures.line(peer.name, case, peer.burst, cycles, shares))
    return lines


def yardsticks(options: argparse.Namespace) -> list[dict]:
    """The bare prototype and Warren's own benchmark, over null devices, each less its own driver's share."""
    lines = []
    for size in options.size:
        for flows in options.flows:
            progress(f"warren bench, {flows} flows, {size} bytes")
            for found in warren.bench(options.warren, options.cpu, options.rounds * options.samples, flows, size):
                least, driver = found["cycles_per_packet"], found["driver_cycles_per_packet"]
                median, usually = found["cycles_per_packet_median"], found["driver_cycles_per_packet_median"]
                case = Case(found["case"], flows, size)
                name = "bare prototype" if case.name == "bare" else "warren bench"
                lines.append(figures.line(name, Case("encap", flows, size) if case.name == "bare" else case, found["burst"], [least, median, median], [driver, usually, usually]))
    return lines


def main() -> int:
    options = arguments()
    if os.geteuid() != 0:
        raise Failed("run it as root: it makes a network namespace, and uses hugepages")
    if any(flows % REMOTES for flows in options.flows):
        raise Failed(f"--flows: multiples of {REMOTES}")
    unknown = set(options.case.split(",")) - set(CASES)
    if unknown:
        raise Failed(f"--case: {', '.join(CASES)}")
    with Borrowed() as borrowed:
        if not borrowed.hugepages(1024):
            progress("too few hugepages: figures from ordinary pages are not to be quoted")
        lab = Lab(options.cpu, 0 if options.cpu else 1, borrowed.folder)
        names = options.case.split(",")
        cases = [Case(name, flows, size) for size in options.size for flows in options.flows for name in names]
        peers = here(options)
        lines = rounds(peers, cases, lab, options)
        if "encap" in names and any(isinstance(peer, Warren) for peer in peers):
            lines += yardsticks(options)
        order = {name: number for number, name in enumerate(CASES)}
        lines.sort(key=lambda line: (order[line["case"]], line["size"], line["flows"]))
        figures.with_ratios(lines)
    if options.json:
        print("\n".join(map(json.dumps, [facts(), *lines])))
    else:
        machine = facts()
        print(f"{machine['cpu']} ({machine['family']}), time-stamp counter {machine['tsc_mhz']} MHz, Linux {machine['kernel']}, DPDK {machine['dpdk']}, commit {machine['commit']}")
        print(f"Cycles per packet of one worker: the least of {options.rounds * options.samples} windows of {options.window} s, and the median. Driver: testpmd io with the same packets; net: without it.")
        print(figures.table(lines))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, RuntimeError) as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit(130)
