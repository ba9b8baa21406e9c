"""Doing one slice of a replay: execute, verify, file. Every engine runs this one function."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tracker.checkpoint.invocations import read_invocation
from tracker.checkpoint.manifest import list_checkpoints
from tracker.code.project import project_root
from tracker.config import load_settings
from tracker.errors import CodeError, Corrupt, DamagedDocument, InputError, KeyNotFound, MissingExtra, NotFound
from tracker.read.catalog import AttemptView, RunView, scan
from tracker.record.replaying import ORDER_VARIABLE, Order
from tracker.replay.documents import Outcome, Plan, PlannedRun, Slice, SliceResult
from tracker.replay.entry import command_of, moved
from tracker.replay.environments import recorded_python
from tracker.replay.evidence import missing_state, read_report
from tracker.replay.execution import Command, Ending, execute, last_lines, write_order
from tracker.replay.extent import Extent, chosen
from tracker.replay.filing import Filed, file_answers
from tracker.replay.relogged import Logged, keep, only
from tracker.replay.verification import Answers, Asked, Verdict, Verifier
from tracker.replay.workspace import Workspace, workspace
from tracker.secrets import MASK
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.documents import CodeDocument, EndDocument, InputFile, StartDocument, decode, encode
from tracker.store.open import open_store

DONE: frozenset[Outcome] = frozenset({"answered", "diverged"})


def run_slice(
    store: Store,
    plan: Plan,
    number: int,
    *,
    storage_options: Mapping[str, Any] | None = None,
    python: str | None = None,
) -> SliceResult:
    """Do one slice of a plan and leave its result in the store; one that is done already is only returned.

    Blocks until the process has ended; two at once of the same slice are harmless. Whatever the user's program does,
    and also a damaged snapshot, is told by the result; what is raised is that the store cannot be used
    (``Unavailable``), a slice that the plan lacks (``InputError``), or an ``OSError`` of this machine: run it again.
    ``python`` is the interpreter; ``storage_options`` are handed to the process (default: those of the settings).
    """
    own = next((each for each in plan.slices if each.number == number), None)
    planned = next((each for each in plan.runs if own is not None and each.run == own.run), None)
    if own is None or planned is None:
        raise InputError(f"replay {plan.replay} has no slice {number}: its plan has {len(plan.slices)}")
    found = read_result(store, plan.replay, number)
    if found is not None and found.outcome in DONE:
        return found
    began = time.monotonic()
    try:
        options = load_settings(project_root()).storage_options if storage_options is None else dict(storage_options)
        result = _Replaying(store, plan, planned, own, options, python).run()
    except (CodeError, NotFound, Corrupt, InputError, MissingExtra) as exc:
        result = _result(plan, own, "failed", reason=str(exc))
    result = _timed(result, time.monotonic() - began)
    store.put(keys.replay_result(plan.replay, number), encode(result))
    return result


def read_result(store: Store, replay: str, number: int) -> SliceResult | None:
    """What became of a slice; ``None`` while nothing is known. One that cannot be read counts as unknown."""
    key = keys.replay_result(replay, number)
    try:
        return decode(store.get(key), SliceResult, key=key)
    except (KeyNotFound, DamagedDocument):
        return None


def _result(plan: Plan, own: Slice, outcome: Outcome, **more: Any) -> SliceResult:
    return SliceResult(
        replay=plan.replay, number=own.number, run=own.run, outcome=outcome, host=platform.node(), **more
    )


def _timed(result: SliceResult, duration_s: float) -> SliceResult:
    import msgspec

    return msgspec.structs.replace(result, duration_s=duration_s)


@dataclass
class _Replaying:
    """One slice while it is done."""

    store: Store
    plan: Plan
    planned: PlannedRun
    own: Slice
    storage_options: dict[str, Any]
    python: str | None
    doubts: list[str] = field(default_factory=list)

    def run(self) -> SliceResult:
        if self.planned.skipped is not None:
            raise InputError(f"the plan skips this run: {self.planned.skipped}")
        view, attempt, start = self._recorded()
        code = attempt.code or CodeDocument()
        if self.planned.snapshot is not None and self.planned.snapshot != code.snapshot:
            code = CodeDocument(snapshot=self.planned.snapshot, subfolder=code.subfolder)
        opened = workspace(
            self.store,
            code,
            sources=self.planned.sources,
            root=start.root,
            inputs=_inputs(view, attempt),
            started=start.started,
        )
        with opened as space:
            self.doubts = [*self.planned.doubts, *space.notes]
            order = self._order(view, start, space)
            write_order(space.order, order)
            return self._execute(view, self._command(start, space), space, order)

    def _recorded(self) -> tuple[RunView, AttemptView, StartDocument]:
        view = next(iter(scan(self.store, [self.planned.run])), None)
        attempts = () if view is None else view.attempts
        attempt = next((each for each in attempts if each.attempt == self.planned.attempt), None)
        if view is None or attempt is None or attempt.start is None:
            raise NotFound(f"the store does not tell how run {self.planned.run} was started")
        return view, attempt, attempt.start

    def _order(self, view: RunView, start: StartDocument, space: Workspace) -> Order:
        question = self.plan.question
        # States of checkpoints were computed with the recorded arguments.
        overridden = bool(question.overrides)
        manifests = () if overridden else self._manifests()
        return Order(
            run=self.planned.run,
            attempt=self.planned.attempt,
            store=self.store.url,
            storage_options=self.storage_options,
            scratch=str(space.scratch),
            ordinal=0 if start.entry.kind == "function" else start.ordinal,
            arguments=_arguments(view, start, space) | question.overrides,
            overrides=question.overrides,
            manifests=manifests,
            checkpoint=None if overridden else self.own.checkpoint,
            loop=self.planned.loop,
            first=self.own.first,
            last=None if self.own.is_last else self.own.last,
            run_blocks=None if overridden else self.planned.run_blocks,
            report=str(space.report),
        )

    def _manifests(self) -> tuple[str, ...]:
        """The checkpoints of the attempt, and of the one that the slice begins at."""
        attempts = {self.planned.attempt}
        if self.own.checkpoint is not None:
            attempts.add(self.own.checkpoint.split("/")[-2])
        found = list_checkpoints(self.store, self.planned.run)
        return tuple(key for key in found if key.split("/")[-2] in attempts)

    def _command(self, start: StartDocument, space: Workspace) -> Command:
        own = {
            ORDER_VARIABLE: str(space.order),
            "HINDSIGHT_STORE": str(space.scratch),
            "HINDSIGHT_CAPTURE": "",
            "HINDSIGHT_ON_FULL": "wait",
        }
        if start.root is not None and any(MASK in text for text in start.entry.argv):
            self.doubts.append("its command line holds secrets, which were not recorded")
        if start.entry.kind == "function":
            self._check_call()
        python = self.python
        if python is None and self.plan.environment == "recorded":
            python = str(recorded_python(start.packages))
        return command_of(start, project=space.project, elsewhere=space.elsewhere, own=own, python=python)

    def _check_call(self) -> None:
        """``InputError`` where an argument of the function is not known, and not among those that are changed."""
        call = read_invocation(self.store, self.planned.run, self.planned.attempt)
        lacking = {name: why for name, why in call.missing.items() if name not in self.plan.question.overrides}
        if lacking:
            told = "; ".join(f"{name} {why}" for name, why in lacking.items())
            raise InputError(f"its function cannot be called again ({told}): give a value with --override NAME=VALUE")

    def _execute(self, view: RunView, command: Command, space: Workspace, order: Order) -> SliceResult:
        scratch = open_store(space.scratch)
        verifier = Verifier(self.store, scratch, self.planned.run, self._asked(view, order))
        check = partial(self._should_stop, verifier, space, order)
        ending = execute(command, space.output, timeout_s=self.plan.timeout_s, check=check)
        evidence = read_report(space.report)
        lacking = missing_state(self.store, order.manifests, order.checkpoint, evidence)
        doubts = [*self.doubts, *lacking]
        new = verifier.new(answers=True)
        complete = ending.how == "exited" or verifier.passed_frontier(new)
        verdict = verifier.judge(new, evidence, doubts, final=complete)
        failure = self._failure(view, ending, verdict, passed=verifier.passed_frontier(new))
        if failure is not None:
            outcome, reason = failure
            reason = "; ".join(filter(None, [reason, *self.doubts]))
            return _result(self.plan, self.own, outcome, reason=reason, output=last_lines(space.output))
        filed = self._file(verifier, new, verdict)
        return _result(
            self.plan,
            self.own,
            "diverged" if verdict.fidelity == "diverged" else "answered",
            fidelity=verdict.fidelity,
            reason=verdict.reason,
            values=filed.values,
            compared=verdict.compared,
            segments=filed.segments,
            tolerance=verdict.tolerance,
        )

    def _should_stop(self, verifier: Verifier, space: Workspace, order: Order) -> bool:
        """Whether the process differs from the run already, or has come further than the run did."""
        new = verifier.new()
        if verifier.passed_frontier(new):
            return True
        return verifier.judge(new, read_report(space.report), [], final=False).fidelity == "diverged"

    def _asked(self, view: RunView, order: Order) -> Asked:
        dropped = any(attempt.end is not None and attempt.end.dropped for attempt in view.attempts)
        blocks = self.planned.run_blocks
        return Asked(
            extent=Extent.of(self.planned, self.own, self.plan.slices),
            names=frozenset(self.planned.names),
            run_blocks=None if blocks is None else frozenset(blocks),
            overridden=bool(self.plan.question.overrides),
            unfinished=view.status != "finished",
            lossy=dropped,
            arguments=order.arguments,
            ignored=frozenset(self.plan.question.ignored),
        )

    def _failure(self, view: RunView, ending: Ending, verdict: Verdict, *, passed: bool) -> tuple[Outcome, str] | None:
        """Why there is no answer, if there is none. A program that failed before may fail again in the same place."""
        if ending.how == "timed out" and not verdict.differs:
            return "timed out", f"it did not end within {self.plan.timeout_s:g} s"
        if ending.how != "exited" or ending.code == 0 or verdict.differs or passed:
            return None
        attempt = next(each for each in view.attempts if each.attempt == self.planned.attempt)
        expected = attempt.end is not None and ending.code == attempt.end.exit_code
        if (expected or view.status != "finished") and verdict.absent is None and verdict.compared:
            return None
        return "failed", f"the program ended with exit code {ending.code}"

    def _file(self, verifier: Verifier, new: Logged, verdict: Verdict) -> Filed:
        question = self.plan.question
        names = frozenset(self.planned.names)
        wanted = Answers(names, verifier.known, also_unknown=not set(question.names) <= names)
        extent, frontier = verifier.asked.extent, verifier.frontier(new)
        answers: Logged = {}
        for path, batch in new.items():
            rows = extent.answered(batch, path) & chosen(batch, path, question.iterations)
            if frontier is not None:
                rows &= ~frontier.beyond(batch, path)
            answers[path] = only(keep(batch, rows), wanted)
        return file_answers(
            self.store,
            self.planned.run,
            answers,
            replay=self.plan.replay,
            number=self.own.number,
            fidelity=verdict.fidelity,
        )


def _arguments(view: RunView, start: StartDocument, space: Workspace) -> dict[str, Any]:
    """The recorded arguments; masked ones are not known, and folders of the project become those of its copy."""
    return {
        name: moved(value, start.root, space.project) if isinstance(value, str) else value
        for name, value in view.arguments.items()
        if value != MASK
    }


def _inputs(view: RunView, attempt: AttemptView) -> tuple[InputFile, ...]:
    """The input files of the attempt; of the run's others where it could not say them at its end."""
    ends: list[EndDocument | None] = [attempt.end, *(each.end for each in reversed(view.attempts))]
    return next((end.inputs for end in ends if end is not None and end.inputs), ())
