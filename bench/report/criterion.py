#!/usr/bin/python3
"""Reads what `cargo bench` prints (criterion), writes a line of JSON for each benchmark: the estimate of its time in nanoseconds."""

import json
import re
import sys
from collections.abc import Iterator

NANOSECONDS = {"ps": 1e-3, "ns": 1.0, "µs": 1e3, "us": 1e3, "ms": 1e6, "s": 1e9}
# The name is on the line before where it is long.
RESULT = re.compile(r"^(?:(\S.*?)\s*\n)?(?:(\S.*?))?\s+time:\s+\[\S+ \S+ (\S+) (\S+) \S+ \S+\]", re.M)


def lines(text: str) -> Iterator[dict]:
    """The benchmarks of an output."""
    for above, name, number, unit in RESULT.findall(text):
        yield {"what": "criterion", "name": name or above, "ns": float(number) * NANOSECONDS[unit], "unit": "an iteration"}


if __name__ == "__main__":
    for line in lines(sys.stdin.read()):
        print(json.dumps(line))
