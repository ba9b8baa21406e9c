"""What a replay came to, for people, and for the next look at the branch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tracker.replay.watching import NewProbes, settle_probes

if TYPE_CHECKING:
    from tracker.replay.asking import Replay
    from tracker.store.base import Store

_MOST_LINES = 200


def markdown(replay: Replay, states: Mapping[str, str], *, left_out: int = 0) -> str:
    """A table of the runs with their states, values and reasons."""
    counts = ", ".join(f"{count} {state}" for state, count in Counter(states.values()).most_common())
    lines = [
        f"### Replay `{replay.id}`",
        f"Asked: {', '.join(f'`{name}`' for name in replay.plan.question.names)}. Runs: {counts or 'none'}."
        + (f" {left_out} are left for next time by the budget." if left_out else ""),
        "",
        "| run | state | values | reason |",
        "|---|---|---:|---|",
    ]
    for run in replay.plan.runs[:_MOST_LINES]:
        results = replay.results_of(run.run)
        reasons = dict.fromkeys(filter(None, [run.skipped, *(result.reason for result in results)]))
        values = sum(result.values for result in results)
        told = "; ".join(reasons).replace("|", "\\|").replace("\n", " ")
        lines.append(f"| `{run.run}` | {states.get(run.run, replay.state(run))} | {values} | {told} |")
    return "\n".join(lines)


def settle(store: Store, watched: Sequence[str], *, answered: bool) -> None:
    """Remember that the probes of a look were asked. ``watched``: repository, branch, commit, and their labels."""
    repository, branch, commit, *labels = watched
    settle_probes(
        store,
        NewProbes(repository=repository, branch=branch, commit=commit, labels=tuple(labels)),
        answered=answered,
    )
