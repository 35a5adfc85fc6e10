"""Line plots as SVG, a few kilobytes each, readable on light and on dark pages, and the same for the same figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 40, 48
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#666666", "#b22222")


@dataclass
class Plot:
    """A plot: axes and lines. Logarithmic axes need values above 0."""

    title: str
    x: str
    y: str
    log_x: bool = False
    log_y: bool = False
    lines: list[tuple[str, list[tuple[float, float]]]] = field(default_factory=list)

    def add(self, name: str, points: Sequence[tuple[float, float]]) -> None:
        """A line, if it has points. A logarithmic axis has no place for one at zero: that stands in the table only."""
        points = [point for point in points if point[0] > 0 or not self.log_x]
        if points:
            self.lines.append((name, sorted(points)))

    def render(self) -> str:
        """The SVG."""
        values = [point for _, points in self.lines for point in points]
        across = Axis([x for x, _ in values], self.log_x, LEFT, WIDTH - RIGHT, from_zero=False)
        up = Axis([y for _, y in values], self.log_y, HEIGHT - BOTTOM, TOP, from_zero=True)
        out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
            "<style>.t{fill:#222}.g{stroke:#ddd}.a{stroke:#888}@media(prefers-color-scheme:dark){.t{fill:#ddd}.g{stroke:#444}}</style>",
            f'<text class="t" x="{LEFT}" y="20" font-size="14" font-weight="bold">{escape(self.title)}</text>',
        ]
        for value in across.ticks():
            at = across.place(value)
            out.append(f'<line class="g" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
            out.append(f'<text class="t" x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{short(value)}</text>')
        for value in up.ticks():
            at = up.place(value)
            out.append(f'<line class="g" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
            out.append(f'<text class="t" x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{short(value)}</text>')
        out.append(f'<path class="a" fill="none" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
        out.append(f'<text class="t" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(self.x)}</text>')
        middle = (TOP + HEIGHT - BOTTOM) / 2
        out.append(f'<text class="t" transform="rotate(-90 16 {middle})" x="16" y="{middle}" text-anchor="middle">{escape(self.y)}</text>')
        for number, (name, points) in enumerate(self.lines):
            colour = COLOURS[number % len(COLOURS)]
            at = [(across.place(x), up.place(y)) for x, y in points]
            out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in at)}"/>')
            out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in at]
            row = TOP + 14 + 16 * number
            out.append(f'<line x1="{LEFT + 10}" x2="{LEFT + 30}" y1="{row - 4}" y2="{row - 4}" stroke="{colour}" stroke-width="2"/>')
            out.append(f'<text class="t" x="{LEFT + 36}" y="{row}">{escape(name)}</text>')
        return "\n".join([*out, "</svg>"]) + "\n"


class Axis:
    """Where values lie between two ends of the picture."""

    def __init__(self, values: Sequence[float], log: bool, start: float, end: float, from_zero: bool):
        self.log, self.start, self.end = log, start, end
        low, high = min(values, default=1.0), max(values, default=1.0)
        if log:
            self.low, self.high = math.log10(low), math.log10(high)
        else:
            # Room for the names of the lines, which stand at the top.
            self.low, self.high = (min(0.0, low), high * 1.4) if from_zero else (low, high)
        if self.high <= self.low:
            self.high = self.low + 1

    def place(self, value: float) -> float:
        """The coordinate of a value."""
        value = math.log10(value) if self.log else value
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values on the way."""
        if self.log:
            return [10.0**power for power in range(math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9) + 1)]
        step = 10.0 ** math.floor(math.log10((self.high - self.low) / 4))
        step *= next(factor for factor in (1, 2, 5, 10) if (self.high - self.low) / (step * factor) <= 6)
        first = math.ceil(self.low / step - 1e-9)
        return [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A number as people write it on an axis."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
