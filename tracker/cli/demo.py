"""``hindsight demo``: three small trainings, recorded, read back and drawn."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tracker.cli import options
from tracker.cli.failures import NOT_SO, OK, tell
from tracker.errors import CodeError, InputError, MissingExtra

if TYPE_CHECKING:
    from tracker.store.base import Store

RATES = ("0.01", "0.1", "1.0")
_MARK = ".hindsight-demo"
_WHO = (
    "-c",
    "user.name=Demo",
    "-c",
    "user.email=demo@localhost",
    "-c",
    "commit.gpgsign=false",
    "-c",
    "core.hooksPath=/dev/null",
)


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Where the project, its store and the picture go.")
    ] = Path("demo-output"),
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Keep the runs of an earlier demo in DIR and add three more.", show_default=False),
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Train three small networks and look at them together.

    Makes a git repository with a training script in DIR/digits, runs it at three learning rates at the same time,
    shows the runs and their metrics, and draws DIR/accuracy.png. Nothing leaves this machine; no server and no
    account are needed.

    JSON: {store, script, picture, runs: [as in `runs --json`], rows: how many rows the metrics frame has, seconds}.
    """
    began = time.monotonic()
    _check_packages()
    project = _make_project(out, keep=keep)
    codes = _train(project, quiet=as_json)
    if any(codes):
        tell(f"a training ended with exit code {max(codes)}; try it by hand: cd {project} && {sys.executable} train.py")
        return NOT_SO
    from tracker.store.open import open_store

    store = open_store(project / ".hindsight", create=False)
    frame = _read(store)
    picture = out / "accuracy.png"
    from tracker.cli.demo_plot import draw

    draw(frame, picture)
    seconds = time.monotonic() - began
    if as_json:
        _write_json(store, project, picture, len(frame), seconds)
    else:
        _show(store, frame, project, picture, seconds)
    return OK


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


def _make_project(out: Path, *, keep: bool) -> Path:
    """A scratch repository with the training script, committed. Only a folder that an earlier demo made is replaced."""
    project = out.absolute() / "digits"
    if project.exists():
        if not (project / _MARK).exists():
            raise InputError(f"{project} is not of an earlier demo: remove it, or name another folder with --out")
        if keep:
            return project
        shutil.rmtree(project)
    try:
        project.mkdir(parents=True)
    except OSError as exc:
        raise InputError(f"{project} cannot be made: {exc.strerror}; name another folder with --out") from exc
    script = Path(__file__).with_name("demo_train.py")
    shutil.copyfile(script, project / "train.py")
    (project / _MARK).write_text("Made by `hindsight demo`, which may replace this folder.\n")
    for command in (("init", "-q"), ("add", "."), ("commit", "-q", "--no-verify", "-m", "Train on digits")):
        done = subprocess.run(["git", *_WHO, *command], cwd=project, env=_environment(), capture_output=True, text=True)
        if done.returncode:
            raise CodeError(f"git {command[0]} failed in {project}: {done.stderr.strip()}")
    return project


def _environment() -> dict[str, str]:
    """The environment without what would lead git or the runs elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "HINDSIGHT_"))}
    return kept | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _train(project: Path, *, quiet: bool) -> list[int]:
    """Three trainings at the same time, as their user would start them; gives their exit codes."""
    running = []
    for rate in RATES:
        if not quiet:
            print(f"$ hindsight run -a lr={rate} -- python train.py", flush=True)
        command = [sys.executable, "-m", "tracker", "run", "-a", f"lr={rate}", "--", sys.executable, "train.py"]
        running.append(subprocess.Popen(command, cwd=project, env=_environment(), stdout=subprocess.PIPE, text=True))
    codes = []
    for process in running:
        printed, _ = process.communicate()
        if not quiet:
            print(printed, end="", flush=True)
        codes.append(process.returncode)
    return codes


def _read(store: Store) -> Any:
    import tracker

    return tracker.dataframe("lr", "loss", "accuracy", store=store)


def _write_json(store: Store, project: Path, picture: Path, rows: int, seconds: float) -> None:
    from tracker.cli.forms import run_form, write_json
    from tracker.cli.runs import select

    views, _ = select(store, None, None, 0)
    document = {"store": store.url, "script": str(project / "train.py"), "picture": str(picture), "rows": rows}
    write_json(document | {"runs": [run_form(view) for view in views], "seconds": seconds})


def _show(store: Store, frame: Any, project: Path, picture: Path, seconds: float) -> None:
    from tracker.cli import runs
    from tracker.cli.console import say, title

    title("\n$ hindsight runs")
    views, total = runs.select(store, None, None, runs.DEFAULT_LIMIT)
    runs.print_runs(views, total)
    title('\n>>> tracker.dataframe("lr", "loss", "accuracy")')
    last = frame.assign(run=frame["run"].str[-8:]).drop(columns=["project", "started", "script"])
    head, *rows = last.iloc[[*range(3), *range(-3, 0)]].to_string(index=False).splitlines()
    say("\n".join([head, *rows[:3], "…", *rows[3:]]))
    say(f"first and last three of {len(frame):,} rows", "dim")
    title(f"\nloss and accuracy of the runs: {picture}")
    say(_NEXT.format(path=_path_line(), project=os.path.relpath(project), seconds=seconds).rstrip())


def _path_line() -> str:
    """The line that makes a shell find our ``hindsight`` and ``python``; empty where it does already."""
    programs = Path(sys.executable).absolute().parent
    for name in ("hindsight", "python"):
        found = shutil.which(name)
        if (programs / name).exists() and (found is None or Path(found).absolute().parent != programs):
            return f'  export PATH={shlex.quote(str(programs))}:"$PATH"\n'
    return ""


_NEXT = """
Three processes trained at the same time and recorded into one folder, {project}/.hindsight,
without a server: the loss of every step, arguments, the exact code, packages, output.
All of it took {seconds:.0f} s. Next, try:

{path}  cd {project}
  hindsight show latest                                  all that is known of a run
  hindsight dataframe accuracy --where "lr > 0.05"       values of some runs, also as --format csv
  hindsight sql 'select run, min(loss) from "epoch.step" group by run'
  hindsight run -a lr=0.3 -a hidden=64 -- python train.py
  hindsight diff latest RUN                              RUN is an id of the table above
"""
