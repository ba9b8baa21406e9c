"""The documents of a replay in the store: what was asked, how it is divided, and what became of each slice."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from tracker.store.documents import UnixSeconds

Fidelity = Literal["exact", "close", "diverged", "unverified"]
"""``exact``: everything that could be compared agrees bit for bit. ``close``: within the stated tolerance.
``diverged``: something differs. ``unverified``: there was nothing to compare, or something is known to be missing."""

Outcome = Literal["answered", "diverged", "failed", "timed out"]


class Question(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked: values of these names, of which runs, in which iterations, with which arguments changed."""

    names: tuple[str, ...]
    where: str | None = None
    runs: tuple[str, ...] = ()
    iterations: dict[str, tuple[int, ...]] = {}  # loop -> indices of its iterations; others are left out
    overrides: dict[str, Any] = {}
    ignored: tuple[str, ...] = ()  # metrics that differ by nature, such as seconds: they are not compared


class PlannedRun(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run of a plan: its code with the probes in it, and what must be executed."""

    run: str
    attempt: str  # whose entry and snapshot are executed
    snapshot: str | None = None
    sources: str | None = None  # object: JSON of path -> text of the files that the probes changed
    diff: str = ""
    names: tuple[str, ...] = ()  # of the metrics that the probes log, as far as they are literal
    loop: str | None = None  # the checkpointed loop; None: there is none, everything is executed
    iterations: int = 0  # of that loop, as recorded
    run_blocks: tuple[str, ...] | None = None  # nested loops that must be executed; None: all of them
    doubts: tuple[str, ...] = ()  # problems of the propagation that leave the probes in
    skipped: str | None = None  # why nothing of this run is executed
    needless: bool = False  # it is skipped because the store has its answer
    later: bool = False  # it is skipped for now: it is still running, or beyond the budget
    tried: bool = False  # as the budget left it out, an earlier replay had had it, without an answer; or it never fits
    forward_s: float = 0.0  # how long the run itself took


class Slice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one worker does: iterations ``first`` to ``last`` (inclusive) of a run's checkpointed loop, or all of it."""

    number: int
    run: str
    first: int = 0
    last: int | None = None
    checkpoint: str | None = None  # key of the manifest to begin at; None: from the start of the program
    estimate_s: float = 0.0
    is_first: bool = True  # also answers for what comes before the loop
    is_last: bool = True  # also answers for what comes after the loop


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``replays/<replay>/plan.json``"""

    replay: str
    created: UnixSeconds
    question: Question
    workers: int
    runs: tuple[PlannedRun, ...] = ()
    slices: tuple[Slice, ...] = ()
    timeout_s: float | None = None  # of one slice
    environment: Literal["current", "recorded"] = "current"  # whose interpreter and packages execute it

    def slices_of(self, run: str) -> list[Slice]:
        """The slices of one run, in order."""
        return [piece for piece in self.slices if piece.run == run]


class SliceResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``replays/<replay>/slices/<number>.json``; a slice that has one is never done again, unless it failed."""

    replay: str
    number: int
    run: str
    outcome: Outcome
    fidelity: Fidelity = "unverified"
    reason: str = ""  # of the fidelity or the failure, for people
    values: int = 0  # filed
    compared: int = 0  # records that the run had logged, too
    duration_s: float = 0.0
    segments: tuple[str, ...] = ()  # keys
    output: str = ""  # the last lines that the process wrote, when it failed
    tolerance: float = 0.0  # of `close`: the greatest relative difference
    host: str = ""
