"""The pieces of a run's data with their layouts, read beside writers that seal and compact them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from tracker.errors import Corrupt, DamagedSegment, StoreUnavailable
from tracker.read import layout
from tracker.read.layout import Layout
from tracker.read.notices import left_out
from tracker.read.parallel import each
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.keys import OUTPUT_PATH
from tracker.store.segments import Piece, pieces

if TYPE_CHECKING:
    import pyarrow as pa

WORTH_THREADS = 50_000  # frames; fewer are decoded sooner than threads are started
LISTINGS = 8  # a piece can only vanish when a larger one that covers it was published, so few are ever needed

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Part:
    """A piece and what its columns mean."""

    piece: Piece
    layout: Layout

    @property
    def order(self) -> tuple[str, int]:
        """Pieces of one shard follow one another by their frames, shards by their names."""
        return self.piece.key.shard, self.piece.key.first


class Located(Protocol):
    """What an index knows of the data of one run; ``stale`` once something of it has vanished."""

    stale: bool

    def parts(self, *, paths: Collection[str] | None = None) -> list[Part]: ...


class OfRun(Protocol):
    """A run whose data is read."""

    @property
    def run(self) -> str: ...

    @property
    def store(self) -> Store: ...

    @property
    def located(self) -> Located | None: ...


def steadily(work: Callable[[], Result], view: OfRun | None = None) -> Result:
    """The result of work that lists a run's data and then reads it; begun anew when a piece vanished in between.

    What an index said of the view's data is not believed any more then.
    """
    for _ in range(LISTINGS):
        try:
            return work()
        except FileNotFoundError as exc:
            vanished = exc
            if view is not None and view.located is not None:
                view.located.stale = True
    raise StoreUnavailable(
        f"data vanished while it was read, {LISTINGS} times in a row ({vanished}); "
        "is something else than Hindsight deleting from the store? `hindsight verify` lists what is missing"
    ) from vanished


def parts_of(view: OfRun) -> list[Part]:
    """The readable pieces of a run without captured output: from the index that the view was read from, else listed."""
    if view.located is not None and not view.located.stale:
        try:
            return view.located.parts()
        except Corrupt as exc:
            left_out(keys.run_folder(view.run), f"what the index says of it cannot be used: {exc}; it is read itself")
            view.located.stale = True
    return list_parts(view.store, view.run)


def list_parts(store: Store, run: str, *, paths: Collection[str] | None = None) -> list[Part]:
    """The readable pieces of a run (captured output only if asked for); damaged ones are left out with a warning."""
    listed = [piece for piece in pieces(store, run, paths=paths) if paths is not None or piece.key.path != OUTPUT_PATH]
    found = each(store, as_part, listed)
    return [part for part in found if part is not None]


def as_part(piece: Piece) -> Part | None:
    """A piece with its layout; ``None``, with a warning, when it is damaged."""
    try:
        return Part(piece, layout.parse(piece.schema()))
    except DamagedSegment as exc:
        left_out(str(piece.key), exc)
        return None


def read_parts(store: Store, parts: Sequence[Part], columns: Callable[[Part], list[str]]) -> list[pa.Table | None]:
    """The chosen columns of every part, decoded in parallel; ``None`` for one that turned out to be damaged."""

    def read(part: Part) -> pa.Table | None:
        try:
            return part.piece.read(columns(part))
        except DamagedSegment as exc:
            left_out(str(part.piece.key), exc)
            return None

    return each(store, read, parts, heavy=_frames(parts) >= WORTH_THREADS)


def _frames(parts: Sequence[Part]) -> int:
    """How many frames the parts cover at most."""
    return sum(part.piece.key.last - part.piece.key.first + 1 for part in parts)
