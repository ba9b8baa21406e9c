"""Which runs a question is about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

from tracker.read.catalog import RunView, resolve_id, scan
from tracker.read.where import Condition, choose
from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.descriptions import described

RunNames = str | RunView | Iterable[str | RunView]


class Runs(Sequence[RunView]):
    """Runs, oldest first; prints as a table."""

    def __init__(self, views: Iterable[RunView]) -> None:
        self._views = tuple(views)

    @overload
    def __getitem__(self, index: int) -> RunView: ...

    @overload
    def __getitem__(self, index: slice) -> Runs: ...

    def __getitem__(self, index: int | slice) -> RunView | Runs:
        return Runs(self._views[index]) if isinstance(index, slice) else self._views[index]

    def __len__(self) -> int:
        return len(self._views)

    def __iter__(self) -> Iterator[RunView]:
        return iter(self._views)

    def __repr__(self) -> str:
        shown = [f"  {view.short}  {view.started:%Y-%m-%d %H:%M}  {view.status:9}  {_title(view)}" for view in self]
        return "\n".join([f"{len(self)} run{'' if len(self) == 1 else 's'}", *shown[-50:]])

    def pandas(self) -> Any:
        """One row a run: identity, arguments, last values, status and duration."""
        from tracker.read.frame import runs_frame

        return runs_frame(self)


def _title(view: RunView) -> str:
    arguments = " ".join(
        f"{name}={described(value) or repr(value)}" for name, value in list(view.arguments.items())[:6]
    )
    return " ".join(text for text in (view.project, view.name or "", view.script, arguments) if text)


def runs(store: Store, *, where: str | Condition | None = None, runs: RunNames | None = None) -> Runs:
    """The runs of a store, oldest first.

    ``where`` is an expression over arguments, last values and identity (``"lr > 1e-3 and status == 'finished'"``) or a
    function of a run's mapping of them. ``runs`` are ids, or unique beginnings or ends of ids, or ``latest``.
    """
    views = scan(store, None if runs is None else _resolve(store, runs))
    if where is None:
        return Runs(views)
    return Runs(choose(((view, view.mapping()) for view in views), where))


def _resolve(store: Store, names: RunNames) -> list[str]:
    wanted = [names] if isinstance(names, str | RunView) else list(names)
    texts = [name.run if isinstance(name, RunView) else name for name in wanted]
    if not texts:
        return []
    known = {run for run in store.folders(keys.RUNS) if ids.is_id(run)}
    return [resolve_id(store, text, known) for text in texts]
