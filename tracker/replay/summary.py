"""What a replay came to, for people, and for the next look at the branch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
        + (f" {left_out} are left for next time." if left_out else ""),
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


def watch_of(probes: NewProbes | None, planned: Replay) -> dict[str, Any] | None:
    """What `settle` has to know when the replay is over, as JSON.

    ``None`` where no branch was looked at, and where all that is left to ask is left for later.
    """
    if probes is None or (planned.later and not planned.waiting):
        return None
    return {
        "look": probes.look,
        "repository": probes.repository,
        "branch": probes.branch,
        "commit": probes.commit,
        "labels": list(probes.labels),
        "left_out": len(planned.later),
        "unasked": sum(not run.tried for run in planned.later),
    }


def settle(store: Store, watch: Mapping[str, Any] | None, *, failed: bool) -> None:
    """Remember that the probes of a look were asked. While there are runs that nobody has asked yet, they stay new."""
    if watch is None or (watch["unasked"] and not failed):
        return
    probes = NewProbes(
        repository=watch["repository"],
        branch=watch["branch"],
        commit=watch["commit"],
        labels=tuple(watch["labels"]),
        look=watch["look"],
    )
    answered = not failed and not watch["left_out"]
    settle_probes(store, probes, answered=answered, unasked=bool(watch["unasked"]))
