#!/usr/bin/python3
"""Makes the tables of docs/performance.md and the plots beside it from the lines that bench/run.sh has written.

A table goes between `<!-- figures: NAME -->` and `<!-- end -->`. One for which the run has no lines stays as it is.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import tables
from plots import all_plots
from results import Results

DOCS = Path(__file__).resolve().parents[2] / "docs"
PLACE = re.compile(r"(<!-- figures: ([a-z-]+) -->\n).*?(<!-- end -->)", re.S)


def filled(text: str, results: Results) -> str:
    """The document with its tables made anew."""

    def fill(place: re.Match) -> str:
        if place[2] not in tables.ALL:
            raise SystemExit(f"no table is called {place[2]}: {', '.join(tables.ALL)}")
        made = tables.ALL[place[2]](results)
        return f"{place[1]}\n{made}\n\n{place[3]}" if made else place[0]

    return PLACE.sub(fill, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the folder with the lines")
    parser.add_argument("--document", type=Path, default=DOCS / "performance.md")
    parser.add_argument("--plots", type=Path, default=DOCS / "performance")
    options = parser.parse_args()
    results = Results.of(options.results)
    options.document.write_text(filled(options.document.read_text(), results))
    options.plots.mkdir(exist_ok=True)
    for name, plot in all_plots(results).items():
        (options.plots / f"{name}.svg").write_text(plot.render())
        print(f"{options.plots / name}.svg")


if __name__ == "__main__":
    main()
