"""How many of 2,000 logged scalars a reader finds after SIGKILL (at once, and 2 s later) and after an ordinary end."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from harness.model import Case, Figures, Row, Subject
from harness.processes import BENCHMARKS
from harness.scripts import exit_code, run_script

_RECORDS = 2_000
_PATIENCE_S = 30
_SCRIPT = """\
import os, signal, sys, time
sys.path.append({benchmarks!r})
from harness.loops import plain_loop, random_walk
from harness.model import load_subject
subject = load_subject({subject!r})
names = subject.begin()
plain_loop(subject, names, statement=subject.log)(2, {records} // 2, "loss", random_walk({records}, seed=1))
if {wait_s} is None:
    subject.end(names)
    sys.exit()
time.sleep({wait_s})
os.kill(os.getpid(), signal.SIGKILL)
"""


def measure(subject: Subject, round_number: int) -> Figures:
    """Two killed processes and one that ends, each in a folder of its own, then a reader in a fresh process.

    The ordinary end shows that the reader finds what is there.
    """
    figures: Figures = {}
    for key, wait_s in (("at_once", 0), ("later", 2), ("ordinary", None)):
        folder = Path(key)
        code = _log_and_end(subject, folder, wait_s)
        if code is None:
            figures["remark"] = (
                f"a process ({key}) hung at its end; killed after {_PATIENCE_S} s, and what it had written is counted"
            )
        elif code != (0 if wait_s is None else -signal.SIGKILL):
            raise RuntimeError(f"the logging process ({key}) ended with exit code {code}")
        figures[key] = float(_kept(subject, folder))
    return figures


def _log_and_end(subject: Subject, folder: Path, wait_s: int | None) -> int | None:
    subprocess.run(["git", "clone", "-q", ".", str(folder)], check=True)
    text = _SCRIPT.format(benchmarks=str(BENCHMARKS), subject=subject.name, records=_RECORDS, wait_s=wait_s)
    return exit_code("train.py", text, folder=folder, patience_s=_PATIENCE_S)


def _kept(subject: Subject, folder: Path) -> int:
    lines = f"import sys\nsys.path.append({str(BENCHMARKS)!r})\nfrom cases.crash import count\n"
    run_script("read.py", f"{lines}count({subject.name!r})\n", folder=folder)
    return int((folder / "kept.txt").read_text())


def count(subject_name: str) -> None:
    """Write how many records are found in the current folder; called in a fresh process."""
    from harness.model import load_subject

    subject = load_subject(subject_name)
    assert subject.kept is not None
    Path("kept.txt").write_text(str(subject.kept()))


CASE = Case(
    name="crash",
    rows=(
        Row("at_once", "kept of 2,000 scalars after SIGKILL", "", budget=2_000, better="more", digits=4, compare=False),
        Row("later", "… 2 s after the last call", "", budget=2_000, better="more", digits=4, compare=False),
        Row("ordinary", "… after an ordinary end", "", budget=2_000, better="more", digits=4, compare=False),
    ),
    subjects=("hindsight", "flordb", "kohakuboard", "laaos", "tensorboardx", "trackio", "wandb"),
    measure=measure,
    rounds=1,
)
