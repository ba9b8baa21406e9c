"""What a measured process runs: one case of one subject, figures into ``result.json``.

The job comes in a file and the figures leave in one, because some libraries read the command line and print to
the terminal.
"""

from __future__ import annotations

import json
import os
import traceback
from pathlib import Path

from harness.model import load_case, load_subject


def main() -> None:
    """Measure what ``job.json`` in the current folder asks for."""
    folder = Path.cwd()
    job = json.loads((folder / "job.json").read_text())
    subject, case = load_subject(job["subject"]), load_case(job["case"])
    try:
        figures: dict[str, object] = dict(case.measure(subject, job["round"]))
    except Exception as exc:  # noqa: BLE001 - whatever a peer raises becomes a line of the table
        traceback.print_exc()
        figures = {"error": f"{type(exc).__name__}: {exc}".splitlines()[0][:200]}
    temporary = folder / "result.json.part"
    temporary.write_text(json.dumps(figures))
    os.replace(temporary, folder / "result.json")
