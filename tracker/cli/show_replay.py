"""What ``hindsight show`` says of a run's checkpoints, and of the questions that it was asked later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracker.read.catalog import RunView
    from tracker.replay.asking import Replay
    from tracker.store.base import Store


@dataclass(frozen=True)
class Later:
    """How many checkpoints a run has, the last of them, and the replays that filed answers for it, oldest first."""

    checkpoints: int
    last: dict[str, Any] | None  # loops with their indices
    replays: tuple[dict[str, Any], ...]


def find_later(view: RunView) -> Later:
    """Read what there is; the keys tell which replays have answers, so that no others are read."""
    from tracker.checkpoint.manifest import list_checkpoints, read_manifest
    from tracker.errors import Corrupt, NotFound
    from tracker.store import keys

    store = view.store
    found = list_checkpoints(store, view.run)
    last = None
    with suppress(Corrupt, NotFound):  # `verify` tells about it
        if found:
            position = read_manifest(store, found[-1]).position
            last = {**dict(position.around), position.loop: position.iteration}
    own = {attempt.attempt for attempt in view.attempts}
    segments = (keys.SegmentKey.parse(info.key) for info in store.list(keys.data_folder(view.run)))
    ids = sorted({segment.attempt for segment in segments if segment is not None} - own)
    return Later(len(found), last, tuple(_forms(store, view.run, ids)))


def _forms(store: Store, run: str, ids: list[str]) -> Iterator[dict[str, Any]]:
    from tracker.errors import Corrupt, NotFound
    from tracker.replay.asking import read_replay

    for replay in ids:
        try:
            found = read_replay(store, replay)
        except (NotFound, Corrupt):
            continue  # its values stay readable without its documents, which `verify` tells about
        yield from _form(found, run)


def _form(replay: Replay, run: str) -> Iterator[dict[str, Any]]:
    for planned in replay.plan.runs:
        if planned.run == run:
            values = sum(result.values for result in replay.results_of(run))
            names = list(planned.names or replay.plan.question.names)
            yield {"replay": replay.id, "names": names, "values": values, "fidelity": replay.fidelity(run)}


def print_later(later: Later) -> None:
    """One line for the checkpoints, and one for each replay."""
    from tracker.cli.console import pairs, title
    from tracker.cli.texts import counted, shorten
    from tracker.store.ids import short

    lines = []
    if later.checkpoints:
        place = ", ".join(f"{loop}={index}" for loop, index in (later.last or {}).items())
        lines.append(("checkpoints", f"{later.checkpoints:,}, the last at {place or 'an unknown place'}"))
    for form in later.replays:
        said = f"{counted(form['values'], 'value')}, {form['fidelity'] or 'not finished'}"
        lines.append(("asked for", f"{shorten(', '.join(form['names']), 60)}: {said} (replay {short(form['replay'])})"))
    if lines:
        title("replay")
        pairs(lines)
