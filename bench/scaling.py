#!/usr/bin/python3
"""What more workers than this machine has CPUs would do: a simulation, from what one and two workers were measured to do.

It assumes that
- every worker has a core of its own and a queue with as many packets as it can take, in bursts of 32, of which a share belongs to others, to all alike, and all get as many;
- a packet costs what it costs here; giving a burst away costs a fixed part for each worker that gets some of it, and a part for each packet, as the
  measurements with half and with all packets handed over say;
- what two workers with queues of their own lose to each other (memory, caches) is lost again by every doubling of their number;
- the network card, its link and its steering are never the limit.

Usage: scaling.py LINES    the lines that `warren bench --case scale --workers 2` wrote with --handoff 0, 50 and 100
"""

from __future__ import annotations

import json
import math
import random
import sys
from dataclasses import dataclass
from pathlib import Path

BURST = 32
ROUNDS = 400


@dataclass(frozen=True)
class Costs:
    """In units of the time that one worker alone takes for a packet."""

    # What another doubling of the workers makes of a packet's cost.
    doubling: float
    # Of a burst that is given away, and of each packet in it.
    push: float
    packet: float


def costs(lines: list[dict]) -> Costs:
    """What the measurements say."""
    measured = {round(line["handed_over_percent"] / 50) * 50: line for line in lines if line["workers"] == 2}
    if not {0, 50, 100} <= measured.keys():
        raise SystemExit("lines with --handoff 0, 50 and 100 are needed")
    # The time of a packet of two workers: 2 / speedup.
    own, half, whole = (2 / measured[share]["speedup"] for share in (0, 50, 100))
    half, whole = max(0.0, half - own) * BURST, max(0.0, whole - own) * BURST
    push = min(max(0.0, 2 * half - whole), whole)
    return Costs(max(1.0, own), push, (whole - push) / BURST)


def simulate(workers: int, share: float, costs: Costs, seed: int = 1) -> float:
    """Packets in the time that one worker takes for one."""
    chance = random.Random(seed)
    packet = costs.doubling ** math.log2(workers)
    given, spent, done = [0] * workers, [0.0] * workers, 0
    for _ in range(ROUNDS):
        taken, given = given, [0] * workers
        for worker in range(workers):
            away: dict[int, int] = {}
            for _ in range(BURST):
                if workers > 1 and chance.random() < share:
                    to = (worker + 1 + chance.randrange(workers - 1)) % workers
                    away[to] = away.get(to, 0) + 1
            for to, packets in away.items():
                given[to] += packets
            worked = BURST - sum(away.values()) + taken[worker]
            spent[worker] += worked * packet + len(away) * costs.push + sum(away.values()) * costs.packet
            done += worked
    return done / max(spent)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    found = costs([json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()])
    print(json.dumps({"what": "scaling costs", **found.__dict__}))
    for share in (0.0, 0.5):
        for workers in (1, 2, 4, 8, 16, 32):
            speedup = round(simulate(workers, share, found), 2)
            print(json.dumps({"what": "simulated scaling", "workers": workers, "handed_over_percent": share * 100, "speedup": speedup}))


if __name__ == "__main__":
    main()
