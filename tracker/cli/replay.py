"""``hindsight replay``: past runs are asked a new question."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tracker.cli import completion, options
from tracker.cli.failures import NOT_SO, OK, tell
from tracker.cli.texts import counted

if TYPE_CHECKING:
    from tracker.store.base import Store

Names = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME",
        help="Names that a log statement of today's code has, or lines of it: train.py@42.",
        show_default=False,
    ),
]
Runs = Annotated[
    list[str] | None,
    typer.Option(
        "--run", metavar="RUN", help="Only this run. May be repeated.", autocompletion=completion.run_ids,
        show_default=False,
    ),
]  # fmt: skip
Iterations = Annotated[
    list[str] | None,
    typer.Option(
        "--iter",
        metavar="LOOP=…",
        help="Only these iterations, counted from 0: epoch=0,5,10-19. May be repeated.",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--override",
        metavar="NAME=VALUE",
        help="With this value of an argument. May be repeated.",
        show_default=False,
    ),
]
Ignored = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore",
        metavar="NAME",
        help="Do not compare this metric: it differs by nature, as seconds do. May be repeated.",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", metavar="N", min=1, help="Slices at a time. Default: the processors.", show_default=False
    ),
]
Engine = Annotated[str, typer.Option("--executor", metavar="ENGINE", help="Where slices are executed.")]
Environment = Annotated[
    Literal["current", "recorded"],
    typer.Option("--env", help="Packages of today, or those of each run, installed again with uv."),
]
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
    ignored: Ignored = None,
    workers: Workers = None,
    executor: Engine = "local",
    timeout: Timeout = None,
    environment: Environment = "current",
    dry_run: Dry = False,
    yes: Yes = False,
    store: options.Store = None,
    as_json: options.Json = False,
) -> int:
    """Ask past runs a new question: values that they did not log.

    Add a log statement to today's code and name what it logs. Hindsight puts it into the code of each past run and
    executes what it must of that, from the run's checkpoints and in folders of its own. The new values are filed
    beside the old ones: `hindsight dataframe loss NAME fidelity` shows both. Your files and repository stay as they
    are.

    Fidelity is exact where all that the run had logged came out the same, bit for bit; close within a tolerance;
    diverged where something differs; unverified where there was nothing to compare.

    Asking again does only what has no answer yet, also after this was stopped or killed.

    JSON: {replay, question, runs: [{run, state, reason, doubts, fidelity, values, compared, duration_s, forward_s,
    diff}], slices: [...]}; state is exact, close, unverified, diverged, failed, skipped or waiting. Exit code 1 when
    a run failed or diverged, or when no run could be asked.
    """
    from tracker.cli import replay_progress, replay_report
    from tracker.cli.stores import open_for_reading
    from tracker.code.project import project_root
    from tracker.replay.asking import plan_replay
    from tracker.replay.executors import executor_named
    from tracker.replay.questions import ask

    executor_named(executor)  # a slip is told before anything is planned
    opened = open_for_reading(store)
    question = ask(
        names,
        where=where,
        runs=_full_ids(opened, runs or []),
        iterations=iterations or [],
        overrides=overrides or [],
        ignored=ignored or [],
    )
    planned = plan_replay(
        opened, question, root=project_root(), workers=workers, timeout_s=timeout, environment=environment
    )
    if not as_json:
        replay_report.print_plan(planned)
    if dry_run:
        replay_report.write(planned) if as_json else replay_report.print_diffs(planned)
        return OK if replay_report.can_answer(planned) else NOT_SO
    if planned.waiting and not _agreed(yes=yes or as_json):
        return NOT_SO
    began = time.monotonic()
    try:
        replay_progress.execute(opened, planned, executor=executor, quiet=as_json)
    except KeyboardInterrupt:
        done, count = len(planned.results), len(planned.plan.slices)
        tell(f"{done} of {counted(count, 'slice')} are done and kept: the same command goes on")
        raise
    seconds = time.monotonic() - began
    replay_report.write(planned) if as_json else replay_report.print_results(planned, seconds=seconds)
    return OK if replay_report.is_answered(planned) else NOT_SO


def _full_ids(store: Store, texts: list[str]) -> list[str]:
    from tracker.read.catalog import resolve_id

    return [resolve_id(store, text) for text in texts]


def _agreed(*, yes: bool) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        tell("nothing was executed: add --yes to start without being asked")
        return False
    if typer.confirm("Start?", default=True):
        return True
    tell("nothing was executed")
    return False
