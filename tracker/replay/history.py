"""What a run left that a replay can use: the iterations of its checkpointed loop, checkpoints, timings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from tracker.checkpoint.manifest import Manifest, list_checkpoints, read_manifest
from tracker.errors import DamagedDocument, KeyNotFound
from tracker.read.catalog import AttemptView, RunView
from tracker.read.parallel import each
from tracker.read.source import list_parts, read_parts, steadily
from tracker.replay.costs import Costs, restore_s
from tracker.store.base import Store
from tracker.store.documents import LoopTiming
from tracker.store.keys import path_part


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as planning sees it."""

    key: str
    iteration: int
    block: int = -1
    block_loop: str | None = None
    block_s: float = 0.0
    size_bytes: int = 0
    can_begin: bool = True
    names: frozenset[str] = frozenset()  # variables and objects whose state it holds

    @property
    def place(self) -> tuple[int, float]:
        """Sorts as the exits follow each other; the end of an iteration comes after its blocks."""
        return self.iteration, float("inf") if self.block < 0 else self.block


@dataclass(frozen=True)
class History:
    """``loop``: the checkpointed loop, ``None`` where the run has no checkpoint that can be used.

    ``is_divisible``: whether the loop ran once and under no other loop or step, so that its iterations say all.
    ``is_complete``: whether the program ran to its end, so that there is code after the loop to be executed.
    ``loops``: every loop that the run is known to have.
    """

    loop: str | None = None
    iterations: int = 0
    checkpoints: tuple[Checkpoint, ...] = ()
    is_divisible: bool = False
    is_complete: bool = True
    loops: frozenset[str] = frozenset()
    costs: Costs = field(default_factory=Costs)
    forward_s: float = 0.0

    @property
    def block_loops(self) -> tuple[str, ...]:
        """Names of the nested loops at whose exits checkpoints were taken."""
        return tuple(sorted({each.block_loop for each in self.checkpoints if each.block_loop is not None}))

    def saved(self) -> dict[int, set[str]]:
        """By iteration, the nested loops whose exits are there."""
        found: dict[int, set[str]] = {}
        for one in self.checkpoints:
            if one.block_loop is not None:
                found.setdefault(one.iteration, set()).add(one.block_loop)
        return found

    def holds(self, name: str, block_loop: str | None = None) -> bool:
        """Whether all checkpoints, or those at the exits of one nested loop, hold the state of a variable."""
        asked = [one for one in self.checkpoints if block_loop is None or one.block_loop == block_loop]
        return bool(asked) and all(name in one.names for one in asked)

    def whole(self) -> History:
        """The same run as if it had no checkpoints: all of it must be executed."""
        return History(loops=self.loops, is_complete=self.is_complete, forward_s=self.forward_s)

    def begin_at(self, first: int) -> Checkpoint | None:
        """The last checkpoint from which a program can reach iteration ``first``."""
        fitting = (one for one in reversed(self.checkpoints) if one.iteration < first and one.can_begin)
        return next(fitting, None)


def read_history(store: Store, view: RunView, attempt: AttemptView, *, exact: bool = True) -> History:
    """The history of a run for the attempt that is to be executed again.

    Checkpoints of other attempts count where these ran the same code. With ``exact`` false (arguments are changed)
    none counts, because the states would have been others. A damaged manifest is as good as none.
    """
    timings = _timings(view)
    loops = frozenset(name for path in timings for name in path.split("."))
    forward_s = view.duration or 0.0
    is_complete = attempt.status in ("finished", "failed")
    manifests = _read_manifests(store, _usable(store, view, attempt)) if exact else {}
    names = {manifest.position.loop for manifest in manifests.values()}
    if len(names) != 1:
        return History(loops=loops, is_complete=is_complete, forward_s=forward_s)
    loop = names.pop()
    places = {(manifest.position.around, manifest.position.execution) for manifest in manifests.values()}
    divisible = places == {((), 0)}
    checkpoints = tuple(_in_order(manifests)) if divisible else tuple(_checkpoint(*item) for item in manifests.items())
    iterations = _count(store, view, loop, checkpoints, timings)
    return History(
        loop=loop,
        iterations=iterations,
        checkpoints=checkpoints,
        is_divisible=divisible,
        is_complete=is_complete,
        loops=loops | {loop},
        costs=estimate_costs(loop, iterations, list(manifests.values()), timings, forward_s=forward_s),
        forward_s=forward_s,
    )


def _usable(store: Store, view: RunView, attempt: AttemptView) -> list[str]:
    """Keys of the manifests of attempts that ran the same code, those of the executed attempt last."""
    snapshot = attempt.code.snapshot if attempt.code is not None else None
    same = {one.attempt for one in view.attempts if one.code is not None and one.code.snapshot == snapshot}
    found = [key for key in list_checkpoints(store, view.run) if key.split("/")[3] in same]
    return sorted(found, key=lambda key: (key.split("/")[3] == attempt.attempt, key))


def _read_manifests(store: Store, keys: Iterable[str]) -> dict[str, Manifest]:
    def read(key: str) -> tuple[str, Manifest] | None:
        try:
            return key, read_manifest(store, key)
        except (KeyNotFound, DamagedDocument):
            return None

    return dict(found for found in each(store, read, keys) if found is not None)


def _in_order(manifests: Mapping[str, Manifest]) -> list[Checkpoint]:
    """One checkpoint for each exit, the last that was taken there, in the order of the exits."""
    found = {(one.iteration, one.block): one for one in (_checkpoint(*item) for item in manifests.items())}
    return sorted(found.values(), key=lambda one: one.place)


def _checkpoint(key: str, manifest: Manifest) -> Checkpoint:
    position = manifest.position
    return Checkpoint(
        key=key,
        iteration=position.iteration,
        block=position.block,
        block_loop=position.block_loop,
        block_s=manifest.block_s,
        size_bytes=manifest.size_bytes,
        can_begin=manifest.can_begin,
        names=frozenset(manifest.objects).union(*(frame.values for frame in manifest.frames)),
    )


def _timings(view: RunView) -> dict[str, LoopTiming]:
    """By loop path; of several attempts that with the most iterations."""
    found: dict[str, LoopTiming] = {}
    for attempt in view.attempts:
        for path, timing in (attempt.end.timings if attempt.end is not None else {}).items():
            if path not in found or timing.iterations >= found[path].iterations:
                found[path] = timing
    return found


def _count(
    store: Store, view: RunView, loop: str, checkpoints: Sequence[Checkpoint], timings: Mapping[str, LoopTiming]
) -> int:
    """How many iterations of the loop began; where no end tells it, what was logged does."""
    found = max(one.iteration for one in checkpoints) + 1
    timing = timings.get(path_part((loop,)))
    if timing is not None:
        found = max(found, timing.iterations)
    if any(attempt.end is None for attempt in view.attempts):
        found = max(found, steadily(lambda: _logged_iterations(store, view.run, loop)))
    return found


def _logged_iterations(store: Store, run: str, loop: str) -> int:
    import pyarrow.compute as pc

    parts = [
        part
        for part in list_parts(store, run)
        if part.layout.loops[:1] == (loop,)
        and part.layout.replay is None
        and (part.layout.levels[0].index or part.layout.levels[0].kind == "int")
    ]
    tables = read_parts(store, parts, lambda part: [part.layout.levels[0].index or part.layout.levels[0].column])
    greatest = [pc.max(table.column(0)).as_py() for table in tables if table is not None and len(table)]
    return max((int(number) + 1 for number in greatest if number is not None), default=0)


def estimate_costs(
    loop: str, iterations: int, manifests: Sequence[Manifest], timings: Mapping[str, LoopTiming], *, forward_s: float
) -> Costs:
    """Costs from the timings of the loops; where these lack, from what the checkpoints say of their blocks."""
    blocks = _blocks_s(loop, manifests, timings)
    timing = timings.get(path_part((loop,)))
    iteration_s = (
        timing.mean_s if timing is not None and timing.mean_s > 0 else _slope_s(manifests, sum(blocks.values()))
    )
    iteration_s = max(iteration_s, sum(blocks.values()))
    loop_s = iteration_s * iterations
    first = min(manifests, key=lambda one: one.elapsed_s)
    before_s = max(0.0, first.elapsed_s - first.block_s - iteration_s * first.position.iteration)
    before_s = min(before_s, max(0.0, forward_s - loop_s)) if forward_s else before_s
    return Costs(
        before_s=before_s,
        after_s=max(0.0, forward_s - before_s - loop_s),
        rest_s=iteration_s - sum(blocks.values()),
        blocks_s=blocks,
        restore_s=restore_s(fmean(one.size_bytes for one in manifests)),
    )


def _blocks_s(loop: str, manifests: Sequence[Manifest], timings: Mapping[str, LoopTiming]) -> dict[str, float]:
    """Seconds an iteration of all blocks of each nested loop."""
    found: dict[str, float] = {}
    outer = timings.get(path_part((loop,)))
    for name in sorted({one.position.block_loop for one in manifests if one.position.block_loop is not None}):
        inner = timings.get(path_part((loop, name)))
        if inner is not None and outer is not None and outer.iterations:
            found[name] = inner.mean_s * inner.iterations / outer.iterations
            continue
        own = [one for one in manifests if one.position.block_loop == name]
        by_block = len({one.position.block for one in own})
        found[name] = fmean(one.block_s for one in own) * by_block
    return found


def _slope_s(manifests: Sequence[Manifest], least_s: float) -> float:
    """Seconds an iteration, from the times of the first and last checkpoint."""
    ordered = sorted(manifests, key=lambda one: one.elapsed_s)
    first, last = ordered[0], ordered[-1]
    passed = last.position.iteration - first.position.iteration
    if passed > 0:
        return (last.elapsed_s - first.elapsed_s) / passed
    return max(least_s, first.block_s)
