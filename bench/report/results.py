"""The lines of JSON that a run has written, and what is asked of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

Line = dict


class Results:
    """All lines of a folder's *.jsonl."""

    def __init__(self, lines: Iterable[Line]):
        self.lines = list(lines)

    @classmethod
    def of(cls, folder: Path) -> Results:
        """Reads a folder. A line that is no JSON is a mistake, which names itself."""
        lines = []
        for path in sorted(folder.glob("*.jsonl")):
            for number, text in enumerate(path.read_text().splitlines(), 1):
                try:
                    lines.append({"from": path.stem, **json.loads(text)})
                except ValueError as problem:
                    raise SystemExit(f"{path}:{number}: {problem}") from problem
        return cls(lines)

    def where(self, **wanted: object) -> list[Line]:
        """The lines with these values, or with one of those where a tuple is given."""

        def fits(line: Line) -> bool:
            return all(line.get(key) in value if isinstance(value, tuple) else line.get(key) == value for key, value in wanted.items())

        return [line for line in self.lines if fits(line)]

    def series(self, x: str, y: Callable[[Line], float], **wanted: object) -> list[tuple[float, float]]:
        """Points of the lines with these values; of several at one place the least."""
        points: dict[float, float] = {}
        for line in self.where(**wanted):
            points[line[x]] = min(y(line), points.get(line[x], float("inf")))
        return sorted(points.items())


def net(line: Line) -> float:
    """A packet's cycles without those of receiving and sending."""
    return round(line["cycles_per_packet"] - line["driver_cycles_per_packet"], 1)


def net_median(line: Line) -> float:
    return round(line["cycles_per_packet_median"] - line["driver_cycles_per_packet_median"], 1)
