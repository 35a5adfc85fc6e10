"""The tables of docs/performance.md, each from its lines; a table without lines says nothing."""

from __future__ import annotations

from collections.abc import Sequence

from goals import goals
from results import Line, Results, net, net_median


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown."""
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def count(number: float) -> str:
    """A whole number with thin spaces by thousands, as the prose has it."""
    return f"{round(number):,}".replace(",", " ")


def cycles(line: Line | None) -> str:
    """All in, least and median, and without the driver."""
    if not line:
        return ""
    return f"{line['cycles_per_packet']:.1f} / {line['cycles_per_packet_median']:.1f} ({net(line):.1f} / {net_median(line):.1f})"


def machine(results: Results) -> str:
    found = results.where(what="machine")
    if not found:
        return ""
    facts = found[0]
    remarks = ""
    if facts.get("quick"):
        remarks += " A quick run, with few samples."
    if facts.get("load", 0) > 0.7:
        remarks += f" Other programs used the machine (load average {facts['load']}): ratios hold better than figures."
    return (
        f"{facts['cpus']} CPUs of {facts['cpu']} (family {facts['family']}), time-stamp counter {facts['tsc_mhz']} MHz, {facts['memory_gib']} GiB, "
        f"Linux {facts['kernel']}, DPDK {facts['dpdk']}, commit {facts['commit']}, {facts['date']}.{remarks}"
    )


def by(results: Results, source: str, key: str, cases: Sequence[str], title: str) -> str:
    """Cases in columns, a quantity in rows."""
    lines = [line for line in results.where(**{"from": source}) if line.get("case") in cases]
    values = sorted({line[key] for line in lines})
    present = [case for case in cases if any(line["case"] == case for line in lines)]
    rows = []
    for value in values:
        found = {line["case"]: line for line in lines if line[key] == value}
        rows.append([count(value), *(cycles(found.get(case)) for case in present)])
    return table([title, *(f"`{case}`" for case in present)], rows)


def entries(results: Results) -> str:
    return by(results, "entries", "entries", ("encap", "decap", "local", "bare"), "ENIs")


def against_bare(results: Results) -> str:
    """What Warren takes for what the bare prototype does, with and without the driver."""
    rows = []
    for bare in results.where(**{"from": "entries", "case": "bare"}):
        for line in results.where(**{"from": "entries", "case": "encap", "entries": bare["entries"]}):
            ratio = line["cycles_per_packet"] / bare["cycles_per_packet"]
            rows.append([count(bare["entries"]), f"{ratio:.2f}", f"{net(line) / net(bare):.2f}"])
    return table(["ENIs", "`encap` / `bare`", "without the driver"], rows)


def flows(results: Results) -> str:
    return by(results, "flows", "flows", ("stateful", "stateful-in", "peering"), "connections")


def size(results: Results) -> str:
    return by(results, "size", "size", ("encap", "decap", "stateful", "stateful-in", "bare"), "bytes")


def burst(results: Results) -> str:
    return by(results, "burst", "burst", ("encap", "decap", "stateful"), "burst")


def tables_size(results: Results) -> str:
    """Rules and routes."""
    rows = []
    for what in ("rules", "routes"):
        lines = results.where(**{"from": what})
        for value in sorted({line[what] for line in lines}):
            found = {line["case"]: line for line in lines if line[what] == value}
            connect = found.get("connect")
            rate = f"{connect['connections_mps']:.2f}" if connect else ""
            rows.append([f"{count(value)} {what}", cycles(found.get("stateful")), cycles(connect), rate])
    return table(["", "`stateful`", "`connect`", "million connections a second"], rows)


def api(results: Results) -> str:
    rows = []
    for case in ("encap", "decap"):
        own = results.where(**{"from": "api", "case": case})
        other = results.where(**{"from": "api", "case": f"{case}-api"})
        if own and other:
            more = other[0]["cycles_per_packet"] - own[0]["cycles_per_packet"]
            rows.append([f"`{case}`", cycles(own[0]), cycles(other[0]), f"{more:+.1f}"])
    return table(["case", "the worker loop", "through `warren_process()`", "more"], rows)


def moves(results: Results) -> str:
    rows = [
        [
            count(line["entries"]),
            f"{line['applied_us']['median']:.0f} / {line['applied_us_max']:.0f}",
            count(1e6 / line["applied_us"]["median"]),
            count(line["bytes_copied"]["median"]),
        ]
        for line in sorted(results.where(case="move"), key=lambda line: line["entries"])
    ]
    return table(["ENIs", "µs until in use (median / slowest)", "changes a second, one after the other", "bytes copied"], rows)


def updates(results: Results) -> str:
    """What table changes cost the packets."""
    rows = []
    lines = results.where(**{"from": "updates"})
    for line in sorted(lines, key=lambda line: (line["entries"], line["updates_per_second"])):
        rows.append([
            count(line["entries"]), count(line["updates_per_second"]), f"{line['offered_mpps']:.2f}",
            f"{line['lost_percent']['best']:g} / {line['lost_percent']['median']:g}", *latency(line),
        ])  # fmt: skip
    return table(["ENIs", "changes a second", "Mpps offered", "lost, % (least / median run)", "p50", "p99", "p99.9"], rows)


def latency(line: Line) -> list[str]:
    """Microseconds, in the least and the median run."""
    figures = (line[f"latency_us_{name}"] for name in ("p50", "p99", "p999"))
    return [f"{figure['best']:g} / {figure['median']:g}" for figure in figures]


def waits(results: Results) -> str:
    """How long packets are in the node, by its load."""
    rows = []
    for line in sorted(results.where(**{"from": "latency"}), key=lambda line: line["load_percent"]):
        rows.append([f"{line['load_percent']:g} %", f"{line['offered_mpps']:.2f}", f"{line['lost_percent']['best']:g}", *latency(line)])
    return table(["load", "Mpps offered", "lost, %", "p50 (µs, least / median run)", "p99", "p99.9"], rows)


def scaling(results: Results) -> str:
    rows = []
    for line in sorted(results.where(case="scale"), key=lambda line: (line["workers"], line["handed_over_percent"])):
        rows.append([
            line["workers"], f"{line['handed_over_percent']:g} %", f"{line['mpps_one_worker']:.2f} / {line['mpps_one_worker_median']:.2f}",
            f"{line['mpps']:.2f} / {line['mpps_median']:.2f}", f"{line['speedup']:.2f} / {line['speedup_median']:.2f}",
        ])  # fmt: skip
    return table(["workers", "handed over", "one worker, Mpps (most / median)", "all, Mpps", "times"], rows)


def simulated(results: Results) -> str:
    rows = [
        [line["workers"], f"{line['handed_over_percent']:g} %", f"{line['speedup']:.1f}"]
        for line in results.where(what="simulated scaling")
    ]
    return table(["workers", "handed over", "times one worker (simulated)"], rows)


def footprint(results: Results) -> str:
    """Memory of one more of each, and the start."""
    rows = [[line["of"], f"{line['bytes']:.1f}", line["how"]] for line in results.where(what="memory")]
    return table(["of each", "bytes", "by"], rows)


def start(results: Results) -> str:
    rows = [
        [count(line["enis"]), f"{line['seconds']:.2f} / {line['seconds_median']:.2f}", f"{line['check_seconds']:.2f}", f"{line['peak_mib']:.0f}"]
        for line in results.where(what="start")
    ]
    return table(["ENIs", "s until the control socket answers (least / median)", "`warren check`, s", "peak MiB"], rows)


def peers(results: Results) -> str:
    rows = []
    for line in results.where(what="peer"):
        rows.append([
            line["case"], line["flows"], line["size"], line["peer"], line["burst"],
            f"{line['cycles_per_packet']:.1f} / {line['cycles_per_packet_median']:.1f}", f"{line['driver_cycles_per_packet']:.1f}",
            f"{line['net_cycles_per_packet']:.1f} / {line['net_cycles_per_packet_median']:.1f}", f"{line['mpps']:.2f}",
            line.get("ratio", ""), line.get("ratio_net", ""),
        ])  # fmt: skip
    head = ["case", "flows", "bytes", "who", "burst", "cycles", "driver", "net", "Mpps", "/ warren", "net / warren"]
    return table(head, rows)


def exchange(results: Results) -> str:
    """The highest rate without loss, and waits below it, over memif."""
    rows = []
    for line in results.where(what="search"):
        waits = {step["percent"]: step for step in line["latency"]}
        cells = [
            f"{waits[percent]['p50_us']:g} / {waits[percent]['p99_us']:g} / {waits[percent]['p999_us']:g}" if percent in waits else ""
            for percent in (50, 90)
        ]
        rows.append([line["traffic"], line["through"], f"{line['mpps']:.2f}", f"{line['gbps']:.1f}" if "gbps" in line else "", *cells])
    head = ["traffic", "through", "Mpps without loss", "Gbit/s", "µs at 50 % (p50 / p99 / p99.9)", "µs at 90 %"]
    return table(head, rows)


def micro(results: Results) -> str:
    rows = [[f"`{line['name']}`", f"{line['ns'] / line['count']:.1f}", line["count"]] for line in results.where(what="criterion")]
    return table(["benchmark", "ns each", "at once"], rows)


def goals_table(results: Results) -> str:
    rows = [[goal.what, goal.wanted, f"{goal.measured:g}", "yes" if goal.met else "**no**"] for goal in goals(results)]
    return table(["goal", "wanted", "measured", "met"], rows)


ALL = {
    "machine": machine, "goals": goals_table, "entries": entries, "against-bare": against_bare, "flows": flows, "size": size, "burst": burst,
    "tables": tables_size, "api": api, "moves": moves, "updates": updates, "latency": waits, "scaling": scaling,
    "simulated": simulated, "memory": footprint, "start": start, "peers": peers, "memif": exchange, "criterion": micro,
}  # fmt: skip
