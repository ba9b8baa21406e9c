"""What a person, or a program, sees of a replay: its plan, its progress, its results."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from tracker.cli.failures import tell

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from tracker.replay.asking import Replay
    from tracker.replay.documents import PlannedRun, SliceResult
    from tracker.store.base import Store

_STYLES = {"exact": "green", "close": "green", "diverged": "red", "failed": "red", "unverified": "yellow"}


def print_plan(replay: Replay) -> None:
    """One line a run: what will be done with it, and why not where nothing is."""
    from tracker.cli.console import Column, print_table, say
    from tracker.cli.texts import counted, duration_text

    runs = replay.plan.runs
    estimates = [sum(piece.estimate_s for piece in replay.plan.slices_of(run.run)) for run in runs]
    print_table(
        [
            Column("run", [run.run[-8:] for run in runs]),
            Column("executes", [_executes(replay, run) for run in runs]),
            Column("slices", [str(len(replay.plan.slices_of(run.run)) or "") for run in runs], right=True),
            Column(
                "about",
                ["" if run.skipped else duration_text(estimate) for run, estimate in zip(runs, estimates, strict=True)],
                right=True,
            ),
            Column("took then", [duration_text(run.forward_s) for run in runs], right=True, rank=1),
        ]
    )
    for run in runs:
        for doubt in run.doubts:
            tell(f"{run.run[-8:]}: {doubt}")
    waiting = len(replay.waiting)
    if waiting:
        total = sum(estimates) / max(1, min(replay.plan.workers, waiting))
        say(f"{counted(waiting, 'slice')} on {counted(replay.plan.workers, 'worker')}: about {duration_text(total)}")
    else:
        say("Nothing to execute.")


def _executes(replay: Replay, run: PlannedRun) -> str:
    if run.skipped is not None:
        return f"nothing: {run.skipped}"
    slices = replay.plan.slices_of(run.run)
    if run.loop is None or any(
        piece.last is None and piece.checkpoint is None and piece.first == 0 for piece in slices
    ):
        begin = "the whole program"
    else:
        begin = f"{run.loop} {slices[0].first} to {slices[-1].last if slices[-1].last is not None else 'the end'}"
    if run.run_blocks is None:
        return begin
    return f"{begin}, of its inner loops {', '.join(run.run_blocks) or 'none'}"


def print_diffs(replay: Replay) -> None:
    """What would be put into each version of the code, once for those that are equal."""
    from tracker.cli.console import say, title

    shown: dict[str, list[str]] = {}
    for run in replay.plan.runs:
        if run.diff:
            shown.setdefault(run.diff, []).append(run.run[-8:])
    for diff, runs in shown.items():
        say()
        title(", ".join(runs))
        print(diff, end="" if diff.endswith("\n") else "\n")


def execute(store: Store, replay: Replay, *, executor: str, quiet: bool) -> None:
    """Execute what is left, with a bar for every run where somebody watches."""
    from tracker.replay import asking

    if quiet or not sys.stderr.isatty():
        asking.execute(store, replay, executor=executor, on_result=None if quiet else _tell_slice)
        return
    with _bars() as progress:
        bars = {run.run: _bar(progress, replay, run) for run in replay.plan.runs if replay.plan.slices_of(run.run)}

        def advance(result: SliceResult) -> None:
            progress.advance(bars[result.run], _estimate(replay, result.number))
            if result.outcome != "answered":
                progress.console.print(f"{result.run[-8:]}: {result.outcome}: {result.reason}", markup=False)

        asking.execute(store, replay, executor=executor, on_result=advance)


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%")
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True))


def _bar(progress: Progress, replay: Replay, run: PlannedRun) -> TaskID:
    slices = replay.plan.slices_of(run.run)
    done = sum(_estimate(replay, piece.number) for piece in slices if piece.number not in replay.waiting)
    total = sum(_estimate(replay, piece.number) for piece in slices)
    return progress.add_task(run.run[-8:], total=total, completed=int(done))


def _estimate(replay: Replay, number: int) -> float:
    return max(0.001, next(piece.estimate_s for piece in replay.plan.slices if piece.number == number))


def _tell_slice(result: SliceResult) -> None:
    tell(f"{result.run[-8:]} slice {result.number}: {result.outcome}, {result.fidelity}: {result.reason or 'done'}")


def print_results(replay: Replay) -> None:
    """One line a run: what came of it."""
    from tracker.cli.console import Column, print_table, say
    from tracker.cli.texts import duration_text, number_text

    runs = [run for run in replay.plan.runs if replay.results_of(run.run)]
    if not runs:
        return
    forms = [run_form(replay, run) for run in runs]

    def column(head: str, name: str, show: Any, **more: Any) -> Column:
        return Column(head, [show(form[name]) for form in forms], **more)

    say()
    print_table(
        [
            column("run", "run", lambda run: run[-8:]),
            column("fidelity", "state", str, style=lambda text: _STYLES.get(text, "")),
            column("values", "values", number_text, right=True),
            column("compared", "compared", number_text, right=True, rank=2),
            column("took", "duration_s", duration_text, right=True),
            column("took then", "forward_s", duration_text, right=True, rank=1),
        ]
    )
    for form in forms:
        if form["reason"]:
            tell(f"{form['run'][-8:]}: {form['reason']}")
    names = " ".join(dict.fromkeys(name for run in runs for name in run.names))
    say(f"The answers are filed: hindsight dataframe {names} fidelity")


def write(replay: Replay) -> None:
    """The replay as JSON."""
    import msgspec

    from tracker.cli.forms import write_json

    write_json(
        {
            "replay": replay.id,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(replay.plan.created)),
            "question": msgspec.to_builtins(replay.plan.question),
            "workers": replay.plan.workers,
            "runs": [run_form(replay, run) for run in replay.plan.runs],
            "slices": [
                msgspec.to_builtins(piece) | {"result": msgspec.to_builtins(replay.results.get(piece.number))}
                for piece in replay.plan.slices
            ],
        }
    )


def run_form(replay: Replay, run: PlannedRun) -> dict[str, Any]:
    """One run of a replay, for programs."""
    results = replay.results_of(run.run)
    reasons = dict.fromkeys(result.reason for result in results if result.reason)
    return {
        "run": run.run,
        "state": replay.state(run),
        "reason": run.skipped or "; ".join(reasons),
        "doubts": list(run.doubts),
        "fidelity": replay.fidelity(run.run),
        "values": sum(result.values for result in results),
        "compared": sum(result.compared for result in results),
        "duration_s": sum(result.duration_s for result in results),
        "forward_s": run.forward_s,
        "diff": run.diff,
    }


def is_answered(replay: Replay) -> bool:
    """Whether every run that could be asked has an answer that agrees with what it had logged."""
    states = [replay.state(run) for run in replay.plan.runs if run.skipped is None]
    return bool(replay.plan.runs) and not any(state in ("failed", "diverged", "waiting") for state in states)
