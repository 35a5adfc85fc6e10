"""The plots of docs/performance/."""

from __future__ import annotations

from results import Line, Results, net
from svg import Plot

CYCLES = "cycles a packet, driver taken out"


def all_plots(results: Results) -> dict[str, Plot]:
    """Each plot that has lines, by its file's name."""
    made = {
        "flows": by(results, "Established connections", "flows", "connections", ("stateful", "stateful-in", "peering")),
        "enis": by(results, "Network interfaces", "entries", "ENIs", ("encap", "decap", "local", "bare")),
        "rules": by(results, "Rules of a security group", "rules", "rules in each direction", ("stateful", "connect")),
        "routes": by(results, "Routes", "routes", "routes of the subnet", ("stateful", "connect")),
        "size": by(results, "Packet size", "size", "bytes of the inner frame", ("encap", "decap", "stateful", "stateful-in", "bare"), log=False),
        "burst": by(results, "Burst", "burst", "packets at once, at most", ("encap", "decap", "stateful"), log=False),
        "connections": new_connections(results),
        "updates": updates(results),
        "latency": latency(results),
        "workers": workers(results),
        "peers": peers(results),
    }
    return {name: plot for name, plot in made.items() if plot.lines}


def by(results: Results, title: str, key: str, label: str, cases: tuple[str, ...], log: bool = True) -> Plot:
    """Cost against a quantity."""
    plot = Plot(f"{title}: cost", label, CYCLES, log_x=log)
    for case in cases:
        plot.add(case, results.series(key, net, **{"from": key, "case": case}))
    return plot


def new_connections(results: Results) -> Plot:
    plot = Plot("New connections of one worker", "rules in each direction", "million a second", log_x=True)
    plot.add("6-packet TCP connections", results.series("rules", lambda line: line["connections_mps"], **{"from": "rules", "case": "connect"}))
    return plot


def updates(results: Results) -> Plot:
    """The axis is logarithmic, so that no change at all stands at its left end, as one a second."""
    plot = Plot("Changes of the tables under load: loss", "ENIs moved a second (1: none)", "packets lost, %", log_x=True)
    lines = results.where(**{"from": "updates"})
    for enis in sorted({line["entries"] for line in lines}):
        points = [(max(1.0, line["updates_per_second"]), line["lost_percent"]["median"]) for line in lines if line["entries"] == enis]
        plot.add(f"{enis} ENIs, median run", points)
    return plot


def latency(results: Results) -> Plot:
    plot = Plot("Time in the node, least run", "load, % of the most that the worker takes", "µs", log_y=True)
    for name, label in (("p50", "median"), ("p99", "p99"), ("p999", "p99.9")):

        def of(line: Line, name: str = name) -> float:
            return max(line[f"latency_us_{name}"]["best"], 0.01)

        plot.add(label, results.series("load_percent", of, **{"from": "latency"}))
    return plot


def workers(results: Results) -> Plot:
    plot = Plot("Workers against one", "workers", "times the rate of one")
    simulated = results.where(what="simulated scaling")
    for share in sorted({line["handed_over_percent"] for line in simulated}):
        plot.add(f"{share:g} % handed over, simulated", [(line["workers"], line["speedup"]) for line in simulated if line["handed_over_percent"] == share])
    measured = results.where(case="scale")
    if measured:
        plot.add("measured", [(1, 1.0)] + [(line["workers"], line["speedup"]) for line in measured if line["handed_over_percent"] < 1])
        plot.add("measured, half handed over", [(1, 1.0)] + [(line["workers"], line["speedup"]) for line in measured if 40 < line["handed_over_percent"] < 60])
    return plot


def peers(results: Results) -> Plot:
    """A line for each, over the cases."""
    plot = Plot("Peers, 64 bytes", "flows", CYCLES, log_x=True, log_y=True)
    lines = results.where(what="peer", size=64)
    for case in ("encap", "decap", "stateful"):
        for peer in sorted({line["peer"] for line in lines}):
            found = [line for line in lines if line["peer"] == peer and line["case"] == case]
            plot.add(f"{peer}, {case}", [(line["flows"], max(1.0, line["net_cycles_per_packet"])) for line in found])
    return plot
