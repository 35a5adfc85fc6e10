"""Where the modules are that are tested."""

import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(BENCH), *(str(BENCH / folder) for folder in ("peers", "pktgen", "report"))]
