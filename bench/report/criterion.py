#!/usr/bin/python3
"""Reads what `cargo bench` prints (criterion), writes a line of JSON for each benchmark: the estimate of an iteration's time in nanoseconds, and
of how many an iteration is."""

import json
import re
import sys
from collections.abc import Iterator

NANOSECONDS = {"ps": 1e-3, "ns": 1.0, "µs": 1e3, "us": 1e3, "ms": 1e6, "s": 1e9}
# The name is on the line before where it is long.
RESULT = re.compile(
    r"^(?:(\S.*?)\s*\n)?(?:(\S.*?))?\s+time:\s+\[\S+ \S+ (\S+) (\S+) \S+ \S+\]"
    # How many of what it works on a second takes, where the benchmark says how many an iteration is.
    r"(?:\s*\n\s+thrpt:\s+\[\S+ \S+ (\S+) ([KMG]?)elem/s)?",
    re.M,
)
RATES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}


def lines(text: str) -> Iterator[dict]:
    """The benchmarks of an output."""
    for above, name, number, unit, rate, scale in RESULT.findall(text):
        ns = float(number) * NANOSECONDS[unit]
        yield {"what": "criterion", "name": name or above, "ns": ns, "count": round(ns * float(rate) * RATES[scale] / 1e9) if rate else 1}


if __name__ == "__main__":
    for line in lines(sys.stdin.read()):
        print(json.dumps(line))
