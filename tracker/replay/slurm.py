"""The executor ``slurm``: slices are tasks of an array that submitit submits, followed by results in the store."""

from __future__ import annotations

import importlib.util
import signal
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from tracker.code.project import project_root
from tracker.config import Settings, load_settings
from tracker.errors import BadSetting, DamagedDocument, MissingExtra, Unavailable
from tracker.record.spool import spool_root
from tracker.replay.documents import Plan, SliceResult
from tracker.replay.executors import OnResult
from tracker.replay.following import rest
from tracker.replay.planning import read_plan
from tracker.replay.slices import DONE, read_result, run_slice
from tracker.replay.slurm_queue import GRACE_S, Queue, Standing
from tracker.secrets import mask_text
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.documents import encode
from tracker.store.ids import is_id
from tracker.store.open import open_store

MOST_TRIES = 3  # of one slice whose job ends without a result
_ARRAY_TASKS = 1000  # Slurm's own limit, where nobody has raised it
_POLL_S = 0.5  # between two looks at the results, first
_MOST_POLL_S = {True: 1.0, False: 5.0}  # and at last, in a store on this machine, and on another
_QUEUE_EVERY_S = 2.0
_MOST_AWAY_S = 900.0  # that a store or Slurm may not answer; the jobs themselves go on meanwhile


def execute_on_slurm(
    store: Store,
    plan: Plan,
    numbers: Iterable[int],
    *,
    on_result: OnResult,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Execute slices as tasks of a Slurm array, ``plan.workers`` at a time.

    Partition, time and the like come from the setting ``slurm``. A slice whose job ends without a result (time limit,
    lost node, kill) is submitted again, three times in all, and is told as failed after that; so is one whose job a
    person cancelled, or Slurm will never start. What else keeps a job waiting than its turn is told once, as a warning.
    When this process ends early, the jobs go on, and the same replay asked again follows them.
    """
    if importlib.util.find_spec("submitit") is None:
        raise MissingExtra("the executor slurm needs submitit: pip install 'hindsight-tracker[slurm]'")
    if store.url.startswith("memory:"):
        raise BadSetting(f"jobs cannot reach {store.url}, which is memory of this process: use a folder or S3")
    settings = load_settings(project_root())
    options = settings.storage_options if storage_options is None else dict(storage_options)
    queue = Queue(store.url, plan, dict(settings.slurm), options, _folder(settings, plan), run_in_job)
    left = sorted(set(numbers))
    parts = [left[first : first + _ARRAY_TASKS] for first in range(0, len(left), _ARRAY_TASKS)]
    followed = [_Following(store, plan, queue, on_result, part) for part in parts]
    for each in followed:
        each.run()
    if not any(each.has_failed for each in followed):  # else somebody may want to look at what jobs wrote
        with suppress(Unavailable):
            queue.clear([job for each in followed for job in each.jobs.values()])


def run_in_job(url: str, storage_options: Mapping[str, Any], replay: str, number: int) -> None:
    """What a job does: one slice, whose result it leaves in the store.

    Where Slurm ends the job it ends the program, too, which then has not failed: no result is left.
    """
    previous = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        if callable(previous):
            previous(number, frame)
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    store = open_store(url, storage_options=dict(storage_options), create=False)
    run_slice(store, read_plan(store, replay), number, storage_options=storage_options)


def _folder(settings: Settings, plan: Plan) -> Path:
    """Where the jobs of a replay have their files; it must be seen from all nodes."""
    if not is_id(plan.replay):
        raise DamagedDocument(f"a plan names its replay {plan.replay!r}, which is no id")
    given = settings.slurm.get("folder")
    if given is not None and not isinstance(given, str):
        raise BadSetting(f"the setting slurm has the folder {given!r}: expected a path that all nodes see")
    home = Path(given).expanduser() if given else spool_root(settings).parent / "slurm"
    folder = home / plan.replay
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # what is submitted may hold options of the store
    return folder


@dataclass
class _Following:
    """One array's worth of slices, until each has a result."""

    store: Store
    plan: Plan
    queue: Queue
    on_result: OnResult
    waiting: list[int]
    jobs: dict[int, str] = field(default_factory=dict)
    tries: Counter[int] = field(default_factory=Counter)
    missed: dict[str, float] = field(default_factory=dict)  # job -> when it was first seen to be without a future
    told: set[str] = field(default_factory=set)  # what keeps jobs waiting
    has_failed: bool = False

    def run(self) -> None:
        """Blocks until all of them are told."""
        self._begin()
        wait_s, looked, answered = _POLL_S, 0.0, time.monotonic()
        most_s = _MOST_POLL_S[self.store.local_path("replays") is not None]
        while self.waiting:
            try:
                self._tell_results()
                if time.monotonic() - looked >= _QUEUE_EVERY_S:
                    self._look_at_queue()
                    looked = time.monotonic()
                answered = time.monotonic()
            except Unavailable:  # of the store, or of Slurm, for a while
                if time.monotonic() - answered > _MOST_AWAY_S:
                    raise
            rest(wait_s if self.waiting else 0.0)
            wait_s = min(most_s, wait_s * 1.2)

    def _begin(self) -> None:
        """Follow jobs that an earlier process submitted and that go on; submit what is left."""
        self._tell_results()
        known = {number: job for number, job in self.queue.known().items() if number in self.waiting}
        standing = self.queue.standing(known.values())
        self.jobs.update({number: job for number, job in known.items() if not standing[job].is_over})
        self._submit([number for number in self.waiting if number not in self.jobs])

    def _submit(self, numbers: list[int]) -> None:
        if numbers:
            self.jobs.update(self.queue.submit(numbers))
            self.tries.update(numbers)

    def _tell_results(self) -> None:
        """Of slices that are answered, by whomever, and of those whose job says that it is through with them."""
        for number in list(self.waiting):
            job = self.jobs.get(number)
            is_through = job is not None and self.queue.ending(job) == "success"
            result = read_result(self.store, self.plan.replay, number)
            if result is not None and (is_through or result.outcome in DONE):
                self._tell(number, result)

    def _tell(self, number: int, result: SliceResult) -> None:
        self.has_failed |= result.outcome not in DONE
        self.waiting.remove(number)
        self.on_result(result)

    def _look_at_queue(self) -> None:
        """Submit again what ended without a result, or tell that it will not come."""
        own = {number: self.jobs[number] for number in self.waiting}
        standings = self.queue.standing(own.values())
        self._tell_reasons(standings.values())
        again = []
        for number, job in own.items():
            standing = standings[job]
            reason = self._why_over(job, standing)
            if reason is None:
                continue
            result = read_result(self.store, self.plan.replay, number)
            if result is not None and result.outcome in DONE:  # since the last look
                self._tell(number, result)
            elif self.tries[number] < MOST_TRIES and standing.state not in ("CANCELLED", "PENDING"):
                again.append(number)
            else:
                self._give_up(number, job, reason)
        self._submit(again)

    def _tell_reasons(self, standings: Iterable[Standing]) -> None:
        found = Counter(each.reason for each in standings if each.is_held_up)
        for reason in found.keys() - self.told:
            self.told.add(reason)
            where = f"squeue --name={self.queue.job_name}"
            warnings.warn(f"Slurm lets {found[reason]} jobs of the replay wait: {reason} ({where})", stacklevel=2)

    def _why_over(self, job: str, standing: Standing) -> str | None:
        """Why a job is over without a result; ``None`` while it may still come."""
        ending = self.queue.ending(job)
        if ending not in (None, "success"):
            return mask_text(str(ending).strip().splitlines()[-1])
        if ending is None and not (standing.is_over or standing.never_starts):
            self.missed.pop(job, None)
            return None
        since = self.missed.setdefault(job, time.monotonic())
        may_still_come = ending or standing.state in ("COMPLETED", "FAILED", "GONE", "PENDING")
        if may_still_come and time.monotonic() - since < GRACE_S:
            return None
        return f"Slurm says {standing.state}" + (f", {standing.reason}" if standing.never_starts else "")

    def _give_up(self, number: int, job: str, reason: str) -> None:
        run = next(piece.run for piece in self.plan.slices if piece.number == number)
        tries = f"{self.tries[number]} times, the last time as job {job}" if self.tries[number] > 1 else f"as job {job}"
        result = SliceResult(
            replay=self.plan.replay,
            number=number,
            run=run,
            outcome="failed",
            reason=f"submitted {tries}, it has no result: {reason}",
            output=self.queue.output(job),
        )
        self.queue.cancel([job])  # it may still wait
        self.store.put(keys.replay_result(self.plan.replay, number), encode(result))
        self._tell(number, result)
