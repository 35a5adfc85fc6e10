"""What Warren is to reach, and whether a run shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from results import Line, Results, net


@dataclass(frozen=True)
class Goal:
    """A goal and the run's figure."""

    what: str
    # The bound, and whether it is the least or the most.
    bound: float
    at_least: bool
    measured: float

    @property
    def met(self) -> bool:
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound

    @property
    def wanted(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


def goals(results: Results) -> Iterator[Goal]:
    """Those of which the run has figures."""

    def first(**wanted: object) -> Line | None:
        found = results.where(**wanted)
        return found[0] if found else None

    for flows, most in ((4096, 45), (100_000, 55), (1_000_000, 110)):
        if line := first(**{"from": "flows", "case": "stateful", "flows": flows}):
            yield Goal(f"`stateful`, {flows} connections: cycles without the driver", most, False, net(line))
    if (line := first(**{"from": "entries", "case": "encap"})) and (bare := first(**{"from": "entries", "case": "bare"})):
        yield Goal("`encap` against `bare`, all in", 1.3, False, round(line["cycles_per_packet"] / bare["cycles_per_packet"], 2))
    if (line := first(**{"from": "entries", "case": "encap"})) and (back := first(**{"from": "entries", "case": "decap"})):
        yield Goal("`decap` against `encap`, without the driver", 1.2, False, round(net(back) / net(line), 2))
    small = first(**{"from": "size", "case": "stateful", "size": 64})
    if small and (large := first(**{"from": "size", "case": "stateful", "size": 1400})):
        yield Goal("`stateful` with 1400 bytes against 64: cycles more", 10, False, round(net(large) - net(small), 1))
    yield from against_peers(results)
    if line := first(**{"from": "rules", "case": "connect", "rules": 1000}):
        yield Goal("`connect`: million new connections a second", 1.5, True, line["connections_mps"])
    for case in ("encap", "decap"):
        own, other = first(**{"from": "api", "case": case}), first(**{"from": "api", "case": f"{case}-api"})
        if own and other:
            more = round(other["cycles_per_packet"] - own["cycles_per_packet"], 1)
            yield Goal(f"`{case}` through the C API: cycles more", 3, False, more)
    for line in results.where(case="scale", workers=2):
        if line["handed_over_percent"] < 1:
            yield Goal("two workers with queues of their own, times one", 1.9, True, line["speedup"])
        elif line["handed_over_percent"] < 60:
            yield Goal("two workers with half of the packets handed over, times one", 1.6, True, line["speedup"])
    if line := first(**{"from": "latency", "load_percent": 50.0}):
        yield Goal("p99.9 in the node at 50 % load, µs, least run", 50, False, line["latency_us_p999"]["best"])
    if line := first(what="memory", of="connection"):
        yield Goal("bytes of a connection", 192, False, round(line["bytes"], 1))


def against_peers(results: Results) -> Iterator[Goal]:
    """Times Warren's cycles that peers take, without the driver."""
    for peer, case, least in (("ovs-dpdk", "encap", 7), ("ovs-dpdk", "stateful", 9), ("vpp", "encap", 2.5), ("vpp", "stateful", 2)):
        ratios = [line["ratio_net"] for line in results.where(what="peer", peer=peer, case=case, size=64) if "ratio_net" in line]
        if ratios:
            yield Goal(f"{peer}'s `{case}` against Warren's, without the driver", least, True, min(ratios))
