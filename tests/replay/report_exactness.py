"""Prints how exact and how fast propagation is by the number of edits between two versions.

python tests/replay/report_exactness.py [TRIALS]
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.replay.mutations import trial

EDITS = (0, 1, 2, 4, 8, 16, 32)


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print("edits   exact  flagged  beside  wrong block   median ms")
    for edits in EDITS:
        rng = random.Random(edits)
        outcomes: Counter[str] = Counter()
        times: list[float] = []
        for _ in range(trials):
            one = trial(rng, edits)
            start = time.process_time()
            outcomes[one.outcome()] += 1
            times.append(time.process_time() - start)
        share = {k: f"{100 * outcomes[k] / trials:.1f} %" for k in ("exact", "flagged", "beside", "wrong block")}
        row = "  ".join(f"{share[k]:>7}" for k in share)
        print(f"{edits:5}  {row}   {1000 * statistics.median(times):8.1f}")


if __name__ == "__main__":
    main()
