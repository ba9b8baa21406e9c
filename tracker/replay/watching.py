"""Log statements that are new on a watched branch, for scheduled replays; the store remembers which were asked."""

from __future__ import annotations

import ast
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

import msgspec

from tracker.errors import DamagedDocument, KeyExists, KeyNotFound
from tracker.read.catalog import scan
from tracker.read.source import list_parts, steadily
from tracker.replay.branches import branch_files
from tracker.replay.calls import LogCalls, matches
from tracker.replay.source import Source, Unparsable
from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.documents import decode, encode

MOST_TRIES = 3  # of a name that some run does not answer: a run that fails does so again


class Look(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``watches/<branch>/<look>.json``: what was asked after a look at a branch; never changed.

    ``settled`` are names that are not new any more, ``open`` those that some run has not answered yet, ``failing``
    those that stay new because there are runs which nobody has asked, and that some other run has failed to answer.
    """

    look: str
    repository: str
    branch: str
    commit: str
    settled: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()


@dataclass(frozen=True)
class NewProbes:
    """What is new on a branch. ``names`` is what to ask a replay, empty when there is nothing; ``sources`` are the
    files that it needs (``plan_replay(sources=…)``, ``make_plan(new_sources=…)``).
    """

    repository: str  # without credentials
    branch: str
    commit: str
    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()  # what `names` log, as the store remembers it
    sources: Mapping[str, str] = field(default_factory=dict)
    ask_again: bool = True  # runs that had them without answering; else only those that nobody has asked
    look: str = field(default_factory=ids.new_id, compare=False)  # the id of this look


def find_new_probes(
    repository: str | os.PathLike[str], branch: str, store: Store, *, project: str | None = None
) -> NewProbes:
    """The names that the branch logs, and that were neither asked nor logged before.

    At the first look, names that some run (of ``project``) has logged itself are not new; that is kept in the store.
    From then on a name is new until ``settle_probes`` was called for it, so a replay that was killed in between is
    asked again. For the repository see ``branch_files``, which also says what is raised.
    """
    found = branch_files(repository, branch)
    statements = _statements(found.sources)
    looks = read_looks(store, found.repository, branch)
    if looks:
        settled = _settled(looks)
    else:
        logged = _logged(store, project)
        settled = {label for label in statements if any(matches(_pattern(label), name) for name in logged)}
        _note(store, found.repository, branch, found.commit, look=ids.new_id(), settled=settled)
    new = {label: ask for label, ask in statements.items() if label not in settled}
    return NewProbes(
        repository=found.repository,
        branch=branch,
        commit=found.commit,
        names=tuple(new.values()),
        labels=tuple(new),
        sources=found.sources,
        ask_again=bool(new.keys() - _tried_often(each.failing for each in looks)),
    )


def settle_probes(store: Store, found: NewProbes, *, answered: bool = True, unasked: bool = False) -> None:
    """Remember that these were asked, so that they are not new any more. Writes one small document, atomically.

    With ``answered=False`` (a slice failed) they are found again, ``MOST_TRIES`` times in all. Where there are runs
    that nobody has asked (``unasked``) they stay new for those, and the runs that had them are asked again as many
    times. Of one look only the first word counts, so doing this again is harmless. Two who do this at once do not
    disturb each other.
    """
    if found.labels:
        part = {"settled" if answered else "failing" if unasked else "open": found.labels}
        with suppress(KeyExists):
            _note(store, found.repository, found.branch, found.commit, look=found.look, **part)


def read_looks(store: Store, repository: str, branch: str) -> list[Look]:
    """What the store remembers of a branch, oldest first; what cannot be read is passed over."""
    looks = []
    for info in store.list(keys.watch_folder(repository, branch)):
        try:
            looks.append(decode(store.get(info.key), Look, key=info.key))
        except (KeyNotFound, DamagedDocument):
            continue
    return sorted(looks, key=lambda each: each.look)


def _settled(looks: Iterable[Look]) -> set[str]:
    looks = list(looks)
    return {label for each in looks for label in each.settled} | _tried_often(each.open for each in looks)


def _tried_often(tries: Iterable[Iterable[str]]) -> set[str]:
    return {label for label, count in Counter(chain.from_iterable(tries)).items() if count >= MOST_TRIES}


def _note(
    store: Store,
    repository: str,
    branch: str,
    commit: str,
    *,
    look: str,
    settled: Collection[str] = (),
    open: Collection[str] = (),
    failing: Collection[str] = (),
) -> None:
    document = Look(
        look=look,
        repository=repository,
        branch=branch,
        commit=commit,
        settled=tuple(sorted(settled)),
        open=tuple(sorted(open)),
        failing=tuple(sorted(failing)),
    )
    store.create(keys.watch_document(repository, branch, look), encode(document))


def _statements(sources: Mapping[str, str]) -> dict[str, str]:
    """What the log calls of these files log, and how a replay is asked for each.

    A computed name (``f"norm_{layer}"``) is asked by the place of its statement. A file that is no Python has none.
    """
    found: dict[str, str] = {}
    for path, text in sources.items():
        if "log" in text:
            for call, logged in _calls(Source(path, text)):
                for name in logged:
                    label = name.replace("\0", "{}")
                    found.setdefault(label, name if "\0" not in name else f"{path}@{call.lineno}")
    return found


def _calls(source: Source) -> Iterable[tuple[ast.Call, list[str]]]:
    calls = LogCalls(source)
    try:
        nodes = [node for node in ast.walk(source.tree) if isinstance(node, ast.Call)]
    except Unparsable:
        return
    for node in nodes:
        if calls.is_log(node):
            yield node, calls.names(node) or []


def _pattern(label: str) -> str:
    return label.replace("{}", "\0")


def _logged(store: Store, project: str | None) -> set[str]:
    """Every name that some run has logged itself."""
    found: set[str] = set()
    for view in scan(store):
        if project is None or view.project == project:
            parts = steadily(partial(list_parts, store, view.run))
            own = (part.layout for part in parts if part.layout.replay is None)
            found.update(metric.name for layout in own for metric in layout.metrics if not metric.is_argument)
    return found
