"""The plan of a replay: which runs lack the answer, their code with the probes in it, and who does which part."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from tracker.errors import Conflict, HindsightError, InputError, NameNotFound
from tracker.read.catalog import AttemptView, RunView
from tracker.read.select import runs as select_runs
from tracker.read.source import list_parts, steadily
from tracker.replay.answers import Answers
from tracker.replay.documents import Plan, PlannedRun, Question
from tracker.replay.history import History, read_history
from tracker.replay.inserted import Changes, find_changes
from tracker.replay.levels import Reach, find_reach
from tracker.replay.probes import find_probes
from tracker.replay.propagation import Propagation, propagate
from tracker.replay.slicing import Work, divide, fit
from tracker.replay.sources import Snapshots
from tracker.replay.world import World
from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.documents import CodeDocument, decode, encode
from tracker.store.holds import relying
from tracker.store.objects import put_object

_CODE_S = 900.0  # after its start, a run that has no code yet may still get it


@dataclass(frozen=True)
class _Probed:
    """One version of the code with the probes in it, or why they are not in."""

    propagation: Propagation = field(default_factory=Propagation)
    changes: Changes | None = None
    sources: Mapping[str, str] = field(default_factory=dict)  # of the whole version, with the probes
    files: frozenset[str] = frozenset()  # of the version as it was
    object: str | None = None
    names: tuple[str, ...] = ()
    failure: str | None = None


def make_plan(
    store: Store,
    question: Question,
    *,
    new_sources: Mapping[str, str],
    workers: int,
    timeout_s: float | None = None,
    project: str | None = None,
) -> Plan:
    """Plan a replay: nothing is executed, and nothing is written but the probed files, as objects.

    ``new_sources`` are today's files, paths as in snapshots (see ``current_sources``). ``project`` leaves out runs of
    others. Every selected run is in the plan, with slices or with the reason why it is skipped; what is wrong with one
    run or version never keeps the others from being planned. ``NameNotFound`` and ``InputError`` tell of slips in the
    question itself. The plan is not stored: see ``write_plan``.
    """
    if workers < 1:
        raise InputError(f"a replay needs at least one worker, not {workers}")
    planned, works = plan_runs(store, question, new_sources=new_sources, project=project)
    return Plan(
        replay=ids.new_id(),
        created=time.time(),
        question=question,
        workers=workers,
        runs=planned,
        slices=divide(works, workers),
        timeout_s=timeout_s,
    )


def plan_runs(
    store: Store, question: Question, *, new_sources: Mapping[str, str], project: str | None = None
) -> tuple[tuple[PlannedRun, ...], list[Work]]:
    """The runs of a plan and what there is to do for them, before it is divided among workers (see ``make_plan``)."""
    find_probes(World({}, new_sources), question.names, {}, {})
    chosen = select_runs(store, where=question.where, runs=question.runs or None)
    _check_overrides(question, chosen)
    planner = _Planner(store, question, new_sources)
    pairs = [planner.plan(view) for view in chosen if project is None or view.project == project]
    return tuple(planned for planned, _ in pairs), [work for _, work in pairs if work is not None]


def _check_overrides(question: Question, chosen: Iterable[RunView]) -> None:
    """``NameNotFound`` for an argument that none of the runs has: a slip would change nothing, and look answered."""
    if not question.overrides:
        return
    known = {name for view in chosen for name in view.arguments}
    for name in question.overrides:
        if name not in known:
            raise NameNotFound(f"no run has an argument {name!r}: theirs are {', '.join(sorted(known)) or 'none'}")


def write_plan(store: Store, plan: Plan) -> None:
    """Publish the plan, so that any worker can take a slice of it. Atomic; writing the same plan again is harmless.

    ``Conflict`` when the probed code was deleted since it was planned, because nothing needed it.
    """
    sources = {keys.object_key(run.sources) for run in plan.runs if run.sources is not None}
    with relying(store, sorted(sources)) as gone:
        if gone:
            raise Conflict(f"{store.url} was swept while the plan of this replay waited: ask again, it is planned anew")
        store.put(keys.replay_plan(plan.replay), encode(plan))


def read_plan(store: Store, replay: str) -> Plan:
    """The plan of a replay; ``KeyNotFound`` or ``DamagedDocument`` name its key."""
    key = keys.replay_plan(replay)
    return decode(store.get(key), Plan, key=key)


class _Planner:
    """Plans run after run; versions are read and probed once, however many runs they have."""

    def __init__(self, store: Store, question: Question, new_sources: Mapping[str, str]) -> None:
        self.store, self.question, self.new_sources = store, question, new_sources
        self.snapshots = Snapshots(store)
        self.answers = Answers(store)
        self._probed: dict[str, _Probed] = {}
        self._reach: dict[tuple[str, str], Reach] = {}

    def plan(self, view: RunView) -> tuple[PlannedRun, Work | None]:
        """The run in the plan, and what there is to do for it."""
        attempt = _attempt_of(view)
        planned = PlannedRun(run=view.run, attempt=attempt.attempt if attempt else "", forward_s=view.duration or 0.0)
        try:
            reason = _obstacle(view, attempt)
            if view.status == "running":
                later = self._will_be_asked(view, attempt, reason)
                return replace(planned, skipped="it is still running", later=later), None
            if reason is not None or attempt is None:
                return replace(planned, skipped=reason), None
            return self._plan(view, attempt, planned)
        except (NameNotFound, InputError):
            raise
        except HindsightError as exc:
            return replace(planned, skipped=f"its records cannot be read: {exc}"), None

    def _plan(self, view: RunView, attempt: AttemptView, planned: PlannedRun) -> tuple[PlannedRun, Work | None]:
        code = attempt.code
        assert code is not None and code.snapshot is not None  # noqa: PT018  _obstacle saw to it
        planned = replace(planned, snapshot=code.snapshot)
        probed = self._probe(code)
        planned = replace(
            planned,
            sources=probed.object,
            diff=probed.propagation.diff,
            names=probed.names,
            doubts=tuple(str(problem) for problem in probed.propagation.problems),
        )
        reason = probed.failure or _outside_snapshot(attempt, code, probed.files)
        if reason is not None:
            return replace(planned, skipped=reason), None
        if self._is_known(view, probed):
            return replace(planned, skipped="it has it already", needless=True), None
        return self._divide(view, attempt, planned, probed)

    def _will_be_asked(self, view: RunView, attempt: AttemptView | None, obstacle: str | None) -> bool:
        """Whether a run that goes on can be asked once it has ended: what its code has already it logs itself."""
        if attempt is None or attempt.code is None:
            is_new = time.time() - view.started.timestamp() < _CODE_S
            return is_new and not any(one.code for one in view.attempts)  # it may still be written
        return obstacle is None and bool(self._probe(attempt.code).propagation.diff)

    def _probe(self, code: CodeDocument) -> _Probed:
        snapshot = code.snapshot or ""
        if snapshot not in self._probed:
            self._probed[snapshot] = self._probe_version(code)
        return self._probed[snapshot]

    def _probe_version(self, code: CodeDocument) -> _Probed:
        try:
            old = self.snapshots.sources(code)
            done = propagate(old, self.new_sources, self.question.names)
        except (NameNotFound, InputError):
            raise
        except HindsightError as exc:
            return _Probed(failure=f"its code cannot be read: {exc}")
        except Exception as exc:  # noqa: BLE001  one version that we cannot handle never stops the others
            return _Probed(failure=f"the probes cannot be placed: {type(exc).__name__}: {exc}")
        if not done.placed and not done.present:
            return _Probed(done, failure="; ".join(str(each) for each in done.problems) or "it has no place for them")
        changes = find_changes(old, done.sources)
        literal = {name for name in (*done.placed, *done.present) if "@" not in name}
        names = dict.fromkeys(name for name in self.question.names if name in literal)
        names |= dict.fromkeys(changes.names if changes is not None else ())
        digest = put_object(self.store, msgspec.json.encode(dict(sorted(done.sources.items()))))
        return _Probed(done, changes, {**old, **done.sources}, frozenset(old), digest, tuple(names))

    def _is_known(self, view: RunView, probed: _Probed) -> bool:
        """Whether nothing needs to be executed: the old code has the statements, and the run their values."""
        if probed.propagation.diff or self.question.overrides:
            return False
        parts = steadily(lambda: list_parts(self.store, view.run))
        logged = {
            metric.name
            for part in parts
            for metric in part.layout.metrics
            if part.layout.replay is None and not metric.is_argument
        }
        return bool(probed.names) and logged.issuperset(probed.names)

    def _divide(
        self, view: RunView, attempt: AttemptView, planned: PlannedRun, probed: _Probed
    ) -> tuple[PlannedRun, Work | None]:
        history = read_history(self.store, view, attempt, exact=not self.question.overrides)
        reach, history = fit(self._reach_of(planned.snapshot or "", probed, history), history)
        work = Work(view.run, history, reach)
        planned = replace(planned, loop=history.loop, iterations=history.iterations, run_blocks=work.run_blocks)
        asked = _asked(self.question, history)
        if isinstance(asked, str):
            return replace(planned, skipped=asked), None
        if asked is not None and reach.inside:
            work = Work(view.run, history, reach, asked, before=False, after=False)
        answered = self.answers.find(planned, self.question)
        left = work.without(answered)
        if left is not None:
            return planned, left
        shown = ", ".join(ids.short(replay) for replay in answered.replays)
        reason = f"answered by replay {shown}" if shown else "it never got there"
        return replace(planned, skipped=reason, needless=True), None

    def _reach_of(self, snapshot: str, probed: _Probed, history: History) -> Reach:
        """Where the probes run; what stood there already may run anywhere."""
        if history.loop is None or probed.changes is None:
            return Reach(needs=None)
        key = (snapshot, history.loop)
        if key not in self._reach:
            found = find_reach(probed.sources, probed.changes, history.loop)
            self._reach[key] = Reach(needs=found.needs) if probed.propagation.present else found
        return self._reach[key]


def _attempt_of(view: RunView) -> AttemptView | None:
    """The attempt that is executed again: the last one whose code and command line are known."""
    whole = (each for each in reversed(view.attempts) if each.code is not None and each.start is not None)
    return next((each for each in whole if each.code is not None and each.code.snapshot), None)


def _obstacle(view: RunView, attempt: AttemptView | None) -> str | None:
    """Why this run cannot be executed again, as far as its documents tell."""
    if attempt is None:
        codes = [one.code for one in view.attempts if one.code is not None]
        problem = next((code.problem for code in reversed(codes) if code.problem), None)
        missing = "its code was not recorded" if codes or view.start else "its start was not recorded"
        return f"{missing}: {problem}" if problem else missing
    assert attempt.start is not None  # _attempt_of saw to it
    entry = attempt.start.entry
    if entry.kind == "notebook":
        return "it ran in a notebook, whose cells no snapshot holds in the order in which they ran"
    if entry.kind == "interactive" and attempt.start.orchestrator:
        engine = attempt.start.orchestrator.get("engine")
        return f"it was a command or an operator that only {engine} starts, so there is nothing to execute again"
    if entry.kind == "interactive":
        return "it was typed or piped into an interpreter, so there is no script to execute again"
    return None


def _outside_snapshot(attempt: AttemptView, code: CodeDocument, files: Collection[str]) -> str | None:
    """Why the snapshot does not hold what has to be executed."""
    entry = attempt.start.entry if attempt.start is not None else None
    if entry is None or entry.kind not in ("script", "function") or entry.script is None:
        return None
    path = posixpath.normpath(posixpath.join(code.subfolder, entry.script))
    if path in files or not path.endswith((".py", ".pyw")):
        return None
    left_out = code.left_out.get(path)
    return f"its script {entry.script} is not in the snapshot of its code" + (f": {left_out}" if left_out else "")


def _asked(question: Question, history: History) -> tuple[int, ...] | str | None:
    """The iterations of the checkpointed loop that are asked for; a text says why the run has none of them."""
    for loop in question.iterations:
        if history.loops and loop not in history.loops:
            return f"it has no loop {loop!r}: its loops are {', '.join(sorted(history.loops))}"
    indices = question.iterations.get(history.loop or "")
    if indices is None:
        return None
    found = tuple(index for index in indices if index < history.iterations)
    if not found:
        return f"it has {history.iterations} iterations of {history.loop!r}, and none that is asked for"
    return found
