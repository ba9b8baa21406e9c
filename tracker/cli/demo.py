"""``hindsight demo``: three trainings at three commits, and a question that came too late for them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tracker.cli import options
from tracker.cli.failures import NOT_SO, OK, tell
from tracker.errors import CodeError, InputError, MissingExtra

if TYPE_CHECKING:
    from tracker.store.base import Store

VERSIONS = {
    "first": "Train on digits",
    "second": "Add momentum",
    "third": "Move the pass into a function, let the rate decay",
}
QUESTION = "worst_digit"
_MARK = ".hindsight-demo"
_PLACE = '            tracker.log("accuracy", accuracy)\n'
_PROBE = """            recalls = [float((guess[test_y == digit] == digit).mean()) for digit in range(10)]
            tracker.log("worst_digit", min(recalls))
"""
_WHO = ("user.name=Demo", "user.email=demo@localhost", "commit.gpgsign=false", "core.hooksPath=/dev/null")


@dataclass(frozen=True)
class _Replayed:
    """What the replay said, and how long it took."""

    answer: dict[str, Any]
    seconds: float


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Where the project, its store and the picture go.")
    ] = Path("demo-output"),
    as_json: options.Json = False,
) -> int:
    """Train at three commits, then ask all three runs for a metric that none of them logged.

    Makes a git repository in DIR/digits, trains a small network at three commits whose code differs, adds one
    forgotten log statement to the newest version, replays the three runs with it, shows old and new values side by
    side, and draws DIR/accuracy.png. Nothing leaves this machine; no server and no account are needed.

    JSON: {store, script, picture, runs: [as in `runs --json`], replay: [as in `replay --json`], rows: how many rows
    the metrics frame has, replay_s, training_s, seconds}.
    """
    began = time.monotonic()
    _check_packages()
    project = _make_project(out)
    for version, message in VERSIONS.items():
        _commit(project, version, message)
        code = _train(project, message, quiet=as_json)
        if code:
            tell(f"a training ended with exit code {code}; try it by hand: cd {project} && {sys.executable} train.py")
            return NOT_SO
    replayed = _ask(project, quiet=as_json)
    from tracker.cli.demo_plot import draw
    from tracker.store.open import open_store

    store = open_store(project / ".hindsight", create=False)
    frame = _read(store)
    picture = out / "accuracy.png"
    draw(frame, picture)
    seconds = time.monotonic() - began
    if as_json:
        _write_json(store, project, picture, len(frame), replayed, seconds)
    else:
        _show(frame, store, project, picture, replayed, seconds)
    return OK if all(run["fidelity"] == "exact" for run in replayed.answer["runs"]) else NOT_SO


def _check_packages() -> None:
    """Say what is missing before anything is made."""
    from importlib.util import find_spec

    missing = [
        name
        for package, name in (("sklearn", "scikit-learn"), ("matplotlib", "matplotlib"))
        if find_spec(package) is None
    ]
    if missing:
        raise MissingExtra(
            f"the demo needs {' and '.join(missing)}; install with: pip install 'hindsight-tracker[demo]'"
        )
    if shutil.which("git") is None:
        raise CodeError("the demo needs git on the PATH: install it and try again")


def _make_project(out: Path) -> Path:
    """A scratch repository. Only a folder that an earlier demo made is replaced."""
    project = out.absolute() / "digits"
    if project.exists():
        if not (project / _MARK).exists():
            raise InputError(f"{project} is not of an earlier demo: remove it, or name another folder with --out")
        shutil.rmtree(project)
    try:
        project.mkdir(parents=True)
    except OSError as exc:
        raise InputError(f"{project} cannot be made: {exc.strerror}; name another folder with --out") from exc
    (project / _MARK).write_text("Made by `hindsight demo`, which may replace this folder.\n")
    _git(project, "init", "-q")
    return project


def _commit(project: Path, version: str, message: str) -> None:
    """Put a version of the training script into the repository."""
    shutil.copyfile(Path(__file__).with_name("demo_versions") / f"{version}.py", project / "train.py")
    _git(project, "add", ".")
    _git(project, "commit", "-q", "--no-verify", "-m", message)


def _git(project: Path, *command: str) -> None:
    settings = [word for setting in _WHO for word in ("-c", setting)]
    done = subprocess.run(["git", *settings, *command], cwd=project, env=_environment(), capture_output=True, text=True)
    if done.returncode:
        raise CodeError(f"git {command[0]} failed in {project}: {done.stderr.strip()}")


def _environment() -> dict[str, str]:
    """The environment without what would lead git or the runs elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "HINDSIGHT_"))}
    return kept | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _train(project: Path, message: str, *, quiet: bool) -> int:
    """One training, as its user would start it; gives its exit code."""
    if not quiet:
        print(f"$ git commit -m {shlex.quote(message)}; python train.py", flush=True)
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=project, env=_environment(), stdout=subprocess.PIPE, text=True
    )
    if not quiet:
        print(done.stdout, end="", flush=True)
    return done.returncode


def _ask(project: Path, *, quiet: bool) -> _Replayed:
    """Add the forgotten statement to the newest version, and replay."""
    script = project / "train.py"
    script.write_text(script.read_text().replace(_PLACE, _PLACE + _PROBE))
    if not quiet:
        print("\nNobody logged how good these networks are on the digit that they are worst at.")
        print("So we add two lines to today's train.py, and ask all three runs:\n")
        print("".join(f"  + {line.strip()}\n" for line in _PROBE.splitlines()))
        print(f"$ hindsight replay {QUESTION} --yes", flush=True)
    began = time.monotonic()
    command = [sys.executable, "-m", "tracker", "replay", QUESTION, "--json"]
    done = subprocess.run(command, cwd=project, env=_environment(), capture_output=True, text=True)
    seconds = time.monotonic() - began
    if not done.stdout:
        raise CodeError(f"the replay ended with exit code {done.returncode}: {done.stderr.strip()}")
    return _Replayed(json.loads(done.stdout), seconds)


def _read(store: Store) -> Any:
    import tracker

    return tracker.dataframe("loss", "accuracy", QUESTION, "fidelity", store=store)


def _write_json(store: Store, project: Path, picture: Path, rows: int, replayed: _Replayed, seconds: float) -> None:
    from tracker.cli.forms import run_form, write_json
    from tracker.cli.runs import select

    views, _ = select(store, None, None, 0)
    document = {"store": store.url, "script": str(project / "train.py"), "picture": str(picture), "rows": rows}
    document |= {"runs": [run_form(view) for view in views], "replay": replayed.answer}
    times = {"replay_s": replayed.seconds, "training_s": _training_s(replayed), "seconds": seconds}
    write_json(document | times)


def _training_s(replayed: _Replayed) -> float:
    return float(sum(run["forward_s"] for run in replayed.answer["runs"]))


def _show(frame: Any, store: Store, project: Path, picture: Path, replayed: _Replayed, seconds: float) -> None:
    from tracker.cli.console import say, title
    from tracker.cli.replay_report import print_results
    from tracker.replay.asking import read_replay

    print_results(read_replay(store, replayed.answer["replay"]), seconds=replayed.seconds)
    title(f'\n>>> tracker.dataframe("accuracy", "{QUESTION}", "fidelity")')
    epochs = frame[frame["accuracy"].notna()]
    epochs = epochs.assign(run=epochs["run"].str[-8:])[["run", "epoch", "accuracy", QUESTION, "fidelity"]]
    last = epochs.groupby("run", sort=False).tail(2)
    say(last.to_string(index=False, float_format="{:.3f}".format))
    count = len(epochs) // len(VERSIONS)
    say(f"the last two of the {count} epochs of each run: accuracy was logged then, {QUESTION} is new", "dim")
    say(f"\nold and new as a picture: {_near(picture)}")
    say(_NEXT.format(path=_path_line(), project=_near(project), seconds=seconds).rstrip())


def _near(path: Path) -> str:
    """The path as one would type it from here."""
    near = os.path.relpath(path)
    return str(path) if near.startswith("..") else near


def _path_line() -> str:
    """The line that makes a shell find our ``hindsight`` and ``python``; empty where it does already."""
    programs = Path(sys.executable).absolute().parent
    for name in ("hindsight", "python"):
        found = shutil.which(name)
        if (programs / name).exists() and (found is None or Path(found).absolute().parent != programs):
            return f'  export PATH={shlex.quote(str(programs))}:"$PATH"\n'
    return ""


_NEXT = """
All of it took {seconds:.0f} s. It is in one folder, {project}/.hindsight: every step, argument and line of output,
the exact code, packages, checkpoints and answers. Next, try:

{path}  cd {project}
  hindsight runs                                which runs there are
  hindsight replay worst_digit --dry-run        what was put into each version
  hindsight checkpoints latest                  where a replay can begin
  hindsight dataframe accuracy worst_digit fidelity --where "momentum > 0"
  hindsight sql 'select run, min(loss) from "epoch.step" group by run'
"""
