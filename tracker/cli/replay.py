"""``hindsight replay``: past runs are asked a new question."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tracker.cli import completion, options
from tracker.cli.failures import NOT_SO, OK, tell

if TYPE_CHECKING:
    from tracker.replay.asking import Replay
    from tracker.store.base import Store

Names = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME...",
        help="Names that a log statement of today's code has, or lines of it: train.py@42.",
        show_default=False,
    ),
]
Runs = Annotated[
    list[str] | None,
    typer.Option(
        "--run", metavar="RUN", help="Only this run; may be repeated.", autocompletion=completion.run_ids,
        show_default=False,
    ),
]  # fmt: skip
Iterations = Annotated[
    list[str] | None,
    typer.Option(
        "--iter", metavar="LOOP=…", help="Only these iterations, counted from 0: epoch=0,5,10-19.", show_default=False
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--override", metavar="NAME=VALUE", help="Run with another value of an argument.", show_default=False),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", metavar="N", min=1, help="Slices at a time. Default: the processors.", show_default=False
    ),
]
Engine = Annotated[str, typer.Option("--executor", metavar="ENGINE", help="Where slices are executed.")]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", min=0.0, help="For one slice. Default: none.", show_default=False),
]
Dry = Annotated[
    bool, typer.Option("--dry-run", help="Show the plan and what would be put into each version.", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before starting.", show_default=False)]


def replay(
    names: Names,
    where: options.Where = None,
    runs: Runs = None,
    iterations: Iterations = None,
    overrides: Overrides = None,
    workers: Workers = None,
    executor: Engine = "local",
    timeout: Timeout = None,
    dry_run: Dry = False,
    yes: Yes = False,
    store: options.Store = None,
    as_json: options.Json = False,
) -> int:
    """Ask past runs a new question: values that they did not log.

    Put a log statement into today's code, and name what it logs. Hindsight puts it into the code of every past run,
    executes what must be executed, from the runs' checkpoints, in worktrees of its own, compares what the runs had
    logged with what is logged again, and files the new values beside the old ones: `hindsight dataframe lr loss NAME
    fidelity` shows both. Your repository is not touched.

    Asking again does only what is not done yet, also after this was stopped or killed.

    JSON: {replay, question, runs: [{run, state, reason, fidelity, values, compared, duration_s, forward_s, diff}],
    slices: [...]}; state is exact, close, unverified, diverged, failed, skipped or waiting. Exit code 1 when a run
    failed or diverged, or when nothing could be asked.
    """
    from tracker.cli import replay_report
    from tracker.cli.stores import open_for_reading
    from tracker.code.project import project_root
    from tracker.replay.asking import plan_replay
    from tracker.replay.questions import ask

    opened = open_for_reading(store)
    question = ask(
        names, where=where, runs=_full_ids(opened, runs or []), iterations=iterations or [], overrides=overrides or []
    )
    planned = plan_replay(opened, question, root=project_root(), workers=workers, timeout_s=timeout)
    if not as_json:
        replay_report.print_plan(planned)
    if dry_run:
        replay_report.print_diffs(planned) if not as_json else replay_report.write(planned)
        return OK if planned.plan.slices else NOT_SO
    if planned.waiting and not _agreed(planned, yes=yes or as_json):
        return NOT_SO
    replay_report.execute(opened, planned, executor=executor, quiet=as_json)
    replay_report.write(planned) if as_json else replay_report.print_results(planned)
    return OK if replay_report.is_answered(planned) else NOT_SO


def _full_ids(store: Store, texts: list[str]) -> list[str]:
    from tracker.read.catalog import resolve_id

    return [resolve_id(store, text) for text in texts]


def _agreed(planned: Replay, *, yes: bool) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        tell("nothing was executed: add --yes to start without being asked")
        return False
    return typer.confirm(f"Execute {len(planned.waiting)} slices?", default=True)
