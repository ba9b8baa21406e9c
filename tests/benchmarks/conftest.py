"""The benchmarks are scripts beside the package; their harness is imported from its folder."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
