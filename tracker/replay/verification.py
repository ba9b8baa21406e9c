"""How far the answers of a slice may be believed: its values and states against those that the run left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from tracker.read.batch import Batch
from tracker.read.layout import Metric
from tracker.read.summary import read_summary
from tracker.replay.comparison import TOLERANCE, Comparison, compare
from tracker.replay.documents import Fidelity
from tracker.replay.evidence import GENERATOR, Evidence
from tracker.replay.extent import Extent
from tracker.replay.frontier import Frontier, frontier_of
from tracker.replay.relogged import Logged, Path, keep, only, read_logged
from tracker.replay.workspace import WORKSPACE_PREFIX
from tracker.store.base import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHOWN_DOUBTS = 5


@dataclass(frozen=True)
class Verdict:
    """The fidelity of a slice with its reason. ``absent``: a record that the replay failed to log, if any."""

    fidelity: Fidelity
    reason: str = ""
    compared: int = 0
    tolerance: float = 0.0
    differs: bool = False  # a value or a state is another, not only absent
    absent: str | None = None


@dataclass(frozen=True)
class Asked:
    """Which metrics answer the question, and in which part of the run."""

    extent: Extent
    names: frozenset[str]
    run_blocks: frozenset[str] | None = None
    overridden: bool = False
    unfinished: bool = False  # the run stopped before its end
    lossy: bool = False  # records of the run were dropped
    arguments: Mapping[str, Any] = field(default_factory=dict)  # those of the run, as far as they are known
    ignored: frozenset[str] = frozenset()  # metrics that differ by nature


class Verifier:
    """Compares one slice, as often as it is asked to while the process runs. What the run had logged is read once."""

    def __init__(self, store: Store, scratch: Store, run: str, asked: Asked) -> None:
        self.store, self.scratch, self.run, self.asked = store, scratch, run, asked

    @cached_property
    def old(self) -> Logged:
        """What the run had logged, as far as it can come out the same."""
        found = read_logged(self.store, self.run, lambda metric: metric.name not in self.asked.ignored)
        return {path: only(batch, partial(_can_recur, path)) for path, batch in found.items()}

    @cached_property
    def known(self) -> frozenset[str]:
        """Names of all metrics that the run had logged."""
        return frozenset(metric.name for batch in self.old.values() for metric in batch.metrics)

    def new(self, *, answers: bool = False) -> Logged:
        """What the process has logged so far: all that can be compared, or all of it."""
        known = {metric for batch in self.old.values() for metric in batch.metrics}
        return read_logged(self.scratch, self.run, lambda metric: answers or metric in known)

    def frontier(self, new: Logged) -> Frontier | None:
        """Where the run stopped, if that was before its end; with other arguments it may well have gone on."""
        return frontier_of(self.old, new) if self.asked.unfinished and not self.asked.overridden else None

    def passed_frontier(self, new: Logged) -> bool:
        """Whether the process has come further than the run did."""
        frontier = self.frontier(new)
        if frontier is None or frontier.time is None:
            return False
        return any(bool(frontier.beyond(batch, path).any()) for path, batch in new.items())

    def compare(self, new: Logged, evidence: Evidence, *, final: bool) -> Comparison:
        """Compare what is there. Until the ``final`` time nothing is missed."""
        found = Comparison()
        for path, old in self.old.items():
            found += self._compare_path(path, old, new.get(path), evidence, final=final)
        return found

    def _compare_path(
        self, path: Path, old: Batch, new: Batch | None, evidence: Evidence, *, final: bool
    ) -> Comparison:
        import numpy as np

        extent = self.asked.extent
        old = keep(old, self._comparable(old, path, evidence))
        if not len(old):
            return Comparison()
        if new is None:
            new = only(old.take(np.zeros(0, np.int64)), lambda metric: False)
        new = only(keep(new, self._comparable(new, path, evidence)), lambda metric: metric in old.metrics)
        found = compare(old, new, optional=self._optional(old, path, evidence), probed=self.asked.names)
        if not final or (extent.level(path) is None and not extent.to_end):
            found = replace(found, absent=None)
        # Beyond the end of the run, or beside records that it lost, a new value says nothing.
        return replace(found, added=None) if self.asked.unfinished or self.asked.lossy else found

    def _comparable(self, batch: Batch, path: Path, evidence: Evidence) -> NDArray[np.bool_]:
        """Rows of this slice, without those of blocks of which some were skipped, so that they cannot be counted."""
        import numpy as np

        rows = self.asked.extent.executed(batch, path)
        level = self.asked.extent.level(path)
        if level is None or level + 1 >= len(path):
            return rows
        mixed = [iteration for iteration, loop in evidence.mixed if loop == path[level + 1]]
        return rows & ~np.isin(batch.contexts.levels[level].index, mixed) if mixed else rows

    def _optional(self, old: Batch, path: Path, evidence: Evidence) -> NDArray[np.bool_]:
        """Rows of blocks that need not have been executed."""
        import numpy as np

        found = np.zeros(len(old), bool)
        level, run_blocks = self.asked.extent.level(path), self.asked.run_blocks
        if level is None:
            return found
        if level + 1 < len(path) and run_blocks is not None and path[level + 1] not in run_blocks:
            return ~found
        found |= old.contexts.levels[level].index < self.asked.extent.first  # others answer for them
        if evidence.not_run:
            found |= np.isin(old.contexts.levels[level].index, list(evidence.not_run))
        return found

    def judge(self, new: Logged, evidence: Evidence, doubts: list[str], *, final: bool) -> Verdict:
        """The verdict on what is there."""
        if self.asked.overridden:
            return Verdict("unverified", "; ".join(["arguments were changed", *doubts]))
        if (other := self._other_argument()) is not None:
            return Verdict("diverged", "; ".join([other, *doubts]), differs=True)
        return verdict(self.compare(new, evidence, final=final), evidence, doubts, self.asked.extent.loop)

    def _other_argument(self) -> str | None:
        """The first argument that the process had otherwise. Loaded states would hide it: they bring their values."""
        new = read_summary(self.scratch, self.run).arguments if self.asked.arguments else {}
        for name, known in self.asked.arguments.items():
            if name in new and _says_much(new[name]) and repr(new[name]) != repr(known):
                return f"argument {name} is {new[name]!r:.100}, and was {known!r:.100}"
        return None


def _can_recur(path: Path, metric: Metric) -> bool:
    """False for what recording itself logs of a tracked call: how long it took, and the lines of a traceback."""
    name, _, kind = metric.name.rpartition(".")
    return not (kind in ("seconds", "traceback") and name and path and path[-1].startswith(name))


def _says_much(value: Any) -> bool:
    """Whether values that are shown otherwise are others: not so for texts of objects, and for folders."""
    if isinstance(value, str):
        return WORKSPACE_PREFIX not in value
    return not isinstance(value, dict) or "text" not in value


def verdict(found: Comparison, evidence: Evidence, doubts: list[str], loop: str | None) -> Verdict:
    """The one rule for fidelity. ``exact``: something was compared, all of it is the same, and nothing is in doubt."""
    compared = found.compared
    state = _state(evidence, loop, values_are_exact=found.is_exact)
    differs = found.differing.text if found.differing else state
    absent = found.absent.text if found.absent else None
    broken = differs or absent or (found.added.text if found.added else None)
    if broken:
        reason = "; ".join([broken, *_shown(doubts)])
        return Verdict("diverged", reason, compared, found.relative, differs is not None, absent)
    if doubts:
        return Verdict("unverified", "; ".join(_shown(doubts)), compared, found.relative)
    if not compared + evidence.compared:
        return Verdict("unverified", "there was nothing to compare", compared)
    if not found.is_exact:
        stated = f"greatest relative difference {found.relative:.1e}, tolerance {TOLERANCE:.0e}"
        return Verdict("close", stated, compared, found.relative)
    return Verdict("exact", "", compared)


def _state(evidence: Evidence, loop: str | None, *, values_are_exact: bool) -> str | None:
    """The first state that is not what it was. Where values are merely close, so is what they were computed from;
    random generators are not.
    """
    for block in evidence.blocks:
        if block.hash_equal is False:
            generators = any(name.startswith(GENERATOR) for name in block.differing)
            if values_are_exact or generators or not block.differing:
                where = f"{loop}={block.iteration}" + (f", after {block.loop}" if block.loop else "")
                names = ", ".join(block.differing[:_SHOWN_DOUBTS]) or "the state"
                return f"state at {where}: {names} differs"
    return None


def _shown(doubts: list[str]) -> list[str]:
    more = [f"and {len(doubts) - _SHOWN_DOUBTS} more doubts"] if len(doubts) > _SHOWN_DOUBTS else []
    return doubts[:_SHOWN_DOUBTS] + more


@dataclass(frozen=True)
class Answers:
    """Which metrics answer a question: those of these names, and where not all names are known, what the run lacks."""

    names: frozenset[str]
    known: frozenset[str]
    also_unknown: bool = False

    def __call__(self, metric: Metric) -> bool:
        return metric.name in self.names or (self.also_unknown and metric.name not in self.known)
