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
_EPOCHS = 10
_PLACE = '            tracker.log("accuracy", accuracy)\n'
# One statement: FlorDB takes a log statement without the lines that compute its value.
_PROBE = """            tracker.log(
                "worst_digit", min(float((guess[test_y == digit] == digit).mean()) for digit in range(10))
            )
"""


def measure(subject: Subject, round_number: int) -> Figures:
    """The demo's runs: once at its three commits, and once as three runs of its newest version."""
    figures: Figures = {}
    remarks = []
    for name, versions in (("versions", _VERSIONS), ("same", ("third", "third", "third"))):
        found = _measure(subject, name, versions)
        if "remark" in found:
            remarks.append(f"{name}: {found.pop('remark')}")
        figures |= {f"{name}_{key}": value for key, value in found.items()}
    return figures | ({"remark": "; ".join(remarks)} if remarks else {})


def _measure(subject: Subject, name: str, versions: tuple[str, ...]) -> Figures:
    """Train and replay; a peer that gives up has no time, and the values that it has filed until then."""
    project = Project(Path.cwd() / name)
    trained_s = 0.0
    for seed, version in enumerate(versions):
        if seed == 0 or version != versions[seed - 1]:
            project.commit(_source(subject, version))
        trained_s += project.train("--kwargs", f"seed={seed}").wall_s
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
        figures["remark"] = f"the replay ended with {exc!s}"
    return figures


def _source(subject: Subject, version: str) -> str:
    """A script of the demo, shorter, for either library."""
    text = (PROJECT / "tracker" / "cli" / "demo_versions" / f"{version}.py").read_text()
    return _words(subject, text.replace('"epochs", 25', f'"epochs", {_EPOCHS}'))


def _words(subject: Subject, text: str) -> str:
    """The same statements in the words of the library; FlorDB finds them by the name ``flor`` alone."""
    if subject.ours:
        return text
    return text.replace("import tracker\n", "import flordb as flor\n").replace("tracker.", "flor.")


def _ours(project: Project) -> int:
    replayed = project.replay("worst_digit", "--workers", "1")
    if replayed.problem():
        raise RuntimeError(replayed.problem())
    return replayed.values


def _flordb(project: Project) -> int:
    command = ["-m", "flordb", "replay", "worst_digit", "--iter", "epoch=all"]
    run(command, folder=project.folder, environment={}, answer="y\n")
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
            "replay of three runs of three commits: faster than the trainings",
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
