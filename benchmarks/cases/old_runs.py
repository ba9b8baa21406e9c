"""Three small runs of three commits are asked for a metric that they did not log, by us and by FlorDB."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from harness.model import Case, Figures, Row, Subject
from harness.processes import PROJECT
from harness.scripts import ScriptFailed
from harness.trainings import Project, run

_VERSIONS = ("first", "second", "third")
_EPOCHS = 15
_PLACE = '            tracker.log("accuracy", accuracy)\n'
_PROBE = """            recalls = [float((guess[test_y == digit] == digit).mean()) for digit in range(10)]
            tracker.log("worst_digit", min(recalls))
"""


def measure(subject: Subject, round_number: int) -> Figures:
    """The demo's runs: once at its three commits, and once as three runs of its newest version."""
    versions = _measure(subject, "versions", _VERSIONS)
    same = _measure(subject, "same", ("third",) * 3)
    figures: Figures = {f"versions_{key}": value for key, value in versions.items() if key != "remark"}
    figures |= {f"same_{key}": value for key, value in same.items() if key != "remark"}
    remarks = [
        f"{name}: {found['remark']}" for name, found in (("versions", versions), ("same", same)) if "remark" in found
    ]
    return figures | ({"remark": "; ".join(remarks)} if remarks else {})


def _measure(subject: Subject, name: str, versions: tuple[str, ...]) -> Figures:
    """Train and replay; a peer that gives up has no time, and the values that it has filed until then."""
    project = Project(Path.cwd() / name)
    trained_s = 0.0
    for seed, version in enumerate(versions):
        project.commit(_source(subject, version, seed))
        trained_s += project.train()
    script = project.folder / "train.py"
    place, probe = _words(subject, _PLACE), _words(subject, _PROBE)
    script.write_text(script.read_text().replace(place, place + probe))
    began = time.perf_counter()
    figures: Figures = {"trained_s": trained_s}
    try:
        figures["values"] = float(_ours(project) if subject.ours else _flordb(project))
        figures["replay_s"] = time.perf_counter() - began
        figures["ratio"] = trained_s / (time.perf_counter() - began)
    except ScriptFailed as exc:
        figures["values"] = float(_filed(project))
        figures["remark"] = f"the replay ended with {str(exc)[:120]}"
    return figures


def _source(subject: Subject, version: str, seed: int) -> str:
    """A script of the demo, shorter, with a seed of its own (an empty commit is none), for either library."""
    text = (PROJECT / "tracker" / "cli" / "demo_versions" / f"{version}.py").read_text()
    text = text.replace('"epochs", 25', f'"epochs", {_EPOCHS}').replace('"seed", 7', f'"seed", {seed}')
    return _words(subject, text)


def _words(subject: Subject, text: str) -> str:
    """The same statements in the words of the library, which FlorDB finds by the name ``flor`` alone."""
    return (
        text
        if subject.ours
        else text.replace("import tracker\n", "import flordb as flor\n").replace("tracker.", "flor.")
    )


def _ours(project: Project) -> int:
    replayed = project.replay("worst_digit", "--workers", "1")
    if replayed.problem():
        raise RuntimeError(replayed.problem())
    return replayed.values


def _flordb(project: Project) -> int:
    run(["-m", "flordb", "replay", "worst_digit"], folder=project.folder, environment={}, answer="y\n")
    return _filed(project)


def _filed(project: Project) -> int:
    """How many values the peer's database has."""
    found = 0
    for path in project.folder.glob(".flor/*.db"):
        with sqlite3.connect(path) as database:
            found += database.execute("SELECT count(*) FROM logs WHERE value_name = 'worst_digit'").fetchone()[0]
    return found


CASE = Case(
    name="old_runs",
    rows=(
        Row(
            "versions_ratio",
            "replay of three runs of three commits, 1 worker: faster than the trainings",
            "×",
            better="more",
        ),
        Row("versions_values", f"… values of {3 * _EPOCHS}", "", better="more", compare=False),
        Row("versions_replay_s", "… the replay", "s"),
        Row("versions_trained_s", "… the trainings", "s"),
        Row("same_ratio", "replay of three runs of one version: faster than the trainings", "×", better="more"),
        Row("same_values", f"… values of {3 * _EPOCHS}", "", better="more", compare=False),
        Row("same_replay_s", "… the replay", "s"),
        Row("same_trained_s", "… the trainings", "s"),
    ),
    subjects=("hindsight", "flordb"),
    measure=measure,
    rounds=1,
    timeout_s=400.0,
    needs=("numpy", "scikit-learn"),
)
