"""From samples to lines, and from lines to a table for people."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Sequence

from tools.machine import tsc_hertz


def line(peer: str, case, burst: int, cycles: Sequence[float], driver: Sequence[float]) -> dict:
    """A result: minimum and median, with the driver's share in it, alone, and taken out."""
    least, median = min(cycles), statistics.median(cycles)
    without, usually = min(driver, default=0.0), statistics.median(driver or [0.0])
    return {
        "what": "peer",
        "case": case.name,
        "peer": peer,
        "flows": case.flows,
        "size": case.size,
        "burst": burst,
        "cycles_per_packet": round(least, 1),
        "cycles_per_packet_median": round(median, 1),
        "driver_cycles_per_packet": round(without, 1),
        "driver_cycles_per_packet_median": round(usually, 1),
        "net_cycles_per_packet": round(least - without, 1),
        "net_cycles_per_packet_median": round(median - usually, 1),
        "mpps": round(tsc_hertz() / least / 1e6, 2),
        "mpps_median": round(tsc_hertz() / median / 1e6, 2),
        "samples": len(cycles),
    }


def with_ratios(lines: list[dict]) -> list[dict]:
    """Adds to each how many times Warren's cycles it takes in the same case, the driver's share taken out and in."""
    ours = {(line["case"], line["flows"], line["size"]): line for line in lines if line["peer"] == "warren"}
    for entry in lines:
        own = ours.get((entry["case"], entry["flows"], entry["size"]))
        if own and entry is not own:
            entry["ratio_net"] = round(entry["net_cycles_per_packet"] / own["net_cycles_per_packet"], 2)
            entry["ratio"] = round(entry["cycles_per_packet"] / own["cycles_per_packet"], 2)
    return lines


COLUMNS = (
    ("case", "case"), ("flows", "flows"), ("size", "bytes"), ("peer", "who"), ("burst", "burst"),
    ("cycles_per_packet", "cycles"), ("cycles_per_packet_median", "median"), ("driver_cycles_per_packet", "driver"),
    ("net_cycles_per_packet", "net"), ("net_cycles_per_packet_median", "net median"), ("mpps", "Mpps"),
    ("ratio", "/ warren"), ("ratio_net", "net / warren"),
)  # fmt: skip


def table(lines: Iterable[dict]) -> str:
    """The lines as aligned text."""
    rows = [[title for _, title in COLUMNS]]
    rows += [[str(line.get(key, "")) for key, _ in COLUMNS] for line in lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows)


def warn(text: str) -> None:
    print(f"   {text}", file=sys.stderr, flush=True)
