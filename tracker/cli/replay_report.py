"""What a person, or a program, sees of a replay: its plan, its diffs, its results."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tracker.cli.console import Column, pairs, print_table, say
from tracker.cli.replay_progress import style_of
from tracker.cli.texts import counted, duration_text

if TYPE_CHECKING:
    from tracker.replay.asking import Replay
    from tracker.replay.documents import PlannedRun

_MOST_RUNS, _MOST_NAMED, _MOST_DOUBTS, _MOST_OUTPUT = 40, 6, 3, 4

_WORKSPACE = re.compile(r"[^\s\"']*hindsight-replay-[^/\s]+/code/")
_MORE = re.compile(r"and \d+ more doubts?")


def print_plan(replay: Replay) -> None:
    """One line for each run that will be executed, then why others are not, and how long it may take."""
    from tracker.replay.slicing import makespan

    planned = [run for run in replay.plan.runs if run.skipped is None]
    if planned:
        _print_planned(replay, planned[:_MOST_RUNS])
        _print_more(len(planned))
    for reason, runs in _grouped((run.skipped, run) for run in replay.plan.runs if run.skipped is not None):
        say(f"{_named(runs)}: {'nothing to do' if runs[0].needless else 'cannot be asked'}: {reason}", "dim")
    for texts, runs in _grouped((run.doubts, run) for run in planned if run.doubts):
        say(f"{_named(runs)}: the place is not certain, look at it with --dry-run", "yellow")
        more = [f"and {len(texts) - _MOST_DOUBTS} more: --json has all"] if len(texts) > _MOST_DOUBTS else []
        pairs([("·", text) for text in [*texts[:_MOST_DOUBTS], *more]])
    waiting = [piece for piece in replay.plan.slices if piece.number in replay.waiting]
    if waiting:
        left = f"{counted(len(waiting), 'slice')} on {counted(replay.plan.workers, 'worker')}"
        say(f"{left}: about {duration_text(makespan(waiting, replay.plan.workers))}")
    elif not replay.plan.runs:
        say("no run is selected: `hindsight runs` lists those that there are")
    else:
        say("nothing is left to execute")


def _print_planned(replay: Replay, runs: list[PlannedRun]) -> None:
    slices = {run.run: replay.plan.slices_of(run.run) for run in runs}
    estimates = [sum(piece.estimate_s for piece in slices[run.run]) for run in runs]
    print_table(
        [
            Column("run", [run.run[-8:] for run in runs]),
            Column("will run", [_extent(replay, run) for run in runs]),
            Column("slices", [f"{len(slices[run.run])}" for run in runs], right=True, rank=2),
            Column("estimate", [duration_text(estimate) for estimate in estimates], right=True),
            Column("run took", [duration_text(run.forward_s) for run in runs], right=True, rank=1),
        ]
    )


def _extent(replay: Replay, run: PlannedRun) -> str:
    """Which part of a program is executed."""
    slices = replay.plan.slices_of(run.run)
    spared = "" if run.run_blocks is None else ", inner loops from checkpoints"
    if run.run_blocks:
        spared = f", inside only {', '.join(run.run_blocks)}"
    is_whole = any(piece.last is None and piece.checkpoint is None and piece.first == 0 for piece in slices)
    if run.loop is None or (is_whole and not spared):
        return "all of it"
    ends = [run.iterations - 1 if piece.last is None else piece.last for piece in slices]
    first, last = min(piece.first for piece in slices), max(0, *ends)
    return f"{run.loop} {first}{f'–{last}' if last > first else ''}{spared}"


def _print_more(count: int) -> None:
    if count > _MOST_RUNS:
        say(f"… and {counted(count - _MOST_RUNS, 'more run')}: --json has all", "dim")


def _grouped(pairs: Iterable[tuple[Any, PlannedRun]]) -> list[tuple[Any, list[PlannedRun]]]:
    found: dict[Any, list[PlannedRun]] = {}
    for key, run in pairs:
        found.setdefault(key, []).append(run)
    return list(found.items())


def _named(runs: list[PlannedRun]) -> str:
    shown = ", ".join(run.run[-8:] for run in runs[:_MOST_NAMED])
    return shown if len(runs) <= _MOST_NAMED else f"{shown} and {len(runs) - _MOST_NAMED} more"


def print_diffs(replay: Replay) -> None:
    """What would be put into each version of the code, once for runs of the same."""
    from tracker.cli.diff import print_code

    for diff, runs in _grouped((run.diff, run) for run in replay.plan.runs if run.diff):
        say()
        say(_named(runs), "bold")
        print_code(diff)


def print_results(replay: Replay, *, seconds: float) -> None:
    """One line for each run that was executed, then what went wrong, and how to see the answers."""
    runs = [run for run in replay.plan.runs if replay.results_of(run.run)]
    if not runs:
        return
    say()
    _print_table([run_form(replay, run) for run in runs[:_MOST_RUNS]])
    _print_more(len(runs))
    for (state, reason, output), group in _grouped((_trouble(replay, run), run) for run in runs):
        if reason:
            say(f"{_named(group)}: {state}: {reason}", style_of(state))
            for line in output:
                say(f"  {line}", "dim")
    if any(replay.state(run) == "diverged" for run in runs):
        say("a metric that differs by nature, as seconds do, is left out of the comparison with --ignore NAME", "dim")
    took = sum(run.forward_s for run in runs)
    them = "it" if len(runs) == 1 else "them"
    say(f"replayed in {duration_text(seconds)}; running {them} in full took {duration_text(took)}")
    names = list(dict.fromkeys(name for run in runs for name in run.names if replay.fidelity(run.run)))
    if names:
        say(f"the answers: hindsight dataframe {' '.join(names)} fidelity")


def _print_table(forms: list[dict[str, Any]]) -> None:
    def column(head: str, cells: list[str], rank: int = 0) -> Column:
        return Column(head, cells, right=True, rank=rank)

    print_table(
        [
            Column("run", [form["run"][-8:] for form in forms]),
            Column("fidelity", [form["state"] for form in forms], style=style_of),
            column("values", [f"{form['values']:,}" for form in forms]),
            column("compared", [f"{form['compared']:,}" for form in forms], 2),
            column("took", [duration_text(form["duration_s"]) for form in forms]),
            column("run took", [duration_text(form["forward_s"]) for form in forms], 1),
        ]
    )


def _trouble(replay: Replay, run: PlannedRun) -> tuple[str, str, tuple[str, ...]]:
    """State, reason and last output of a run, without what was told with the plan."""
    from tracker.cli.texts import safe_line

    results = [result for result in replay.results_of(run.run) if result.reason]
    parts = dict.fromkeys(part for result in results for part in result.reason.split("; "))
    written = next((result.output for result in results if result.output.strip()), "")
    lines = [safe_line(_WORKSPACE.sub("", line)) for line in written.splitlines() if line.strip()]
    reason = "; ".join(part for part in parts if part not in run.doubts and not (run.doubts and _MORE.fullmatch(part)))
    return replay.state(run), reason, tuple(lines[-_MOST_OUTPUT:])


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


def can_answer(replay: Replay) -> bool:
    """Whether there is a run that is asked, or that has the answer."""
    return any(run.skipped is None or run.needless for run in replay.plan.runs)


def is_answered(replay: Replay) -> bool:
    """Whether every run that could be asked has an answer that agrees with what it had logged."""
    states = [replay.state(run) for run in replay.plan.runs if run.skipped is None]
    return can_answer(replay) and not any(state in ("failed", "diverged", "waiting") for state in states)
