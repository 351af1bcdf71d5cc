"""Where things are."""

import os
from pathlib import Path

PERF = Path(__file__).resolve().parent.parent
ROOT = PERF.parent
PEERS = PERF / "peers"
FLOOR = PERF / "floor"
RUNS = PERF / "runs"
TARGETS = PERF / "targets.json"
CHART = PERF / "chart.svg"
README = PERF / "README.md"

CARGO = os.environ.get("CARGO", "cargo")
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute()
PEERS_TARGET = TARGET / "perf-peers"

FULMAR = TARGET / "dist" / "fulmar"
BENCH = TARGET / "dist" / "fulmar-bench"
CALLS = TARGET / "dist" / "examples" / "calls"
