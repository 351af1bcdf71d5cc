#!/usr/bin/env python3
"""Draws results as bars: perf/chart.py --help."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness.chart import main  # noqa: E402

sys.exit(main())
