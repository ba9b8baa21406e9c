"""One execution of a tracked function: a run of its own, or a part of the run that is open."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from tracker.decorators.arguments import Binding
from tracker.decorators.handed import handed_to, merged
from tracker.decorators.places import Ending, Place, current_place, status_of

from tracker.checkpoint.invocations import shown
from tracker.code.project import function_root, is_started_again_by_script
from tracker.errors import HindsightError
from tracker.record.arguments import note_argument
from tracker.record.callables import called_name
from tracker.record.context import PROCESS, current_scope, set_scope
from tracker.record.lifecycle import active_run, begin_run, end_run
from tracker.record.log import log
from tracker.record.origin import Origin
from tracker.record.run import Run
from tracker.record.scope import Frame, Scope
from tracker.secrets import mask_text

Result = TypeVar("Result")
_MAX_DEPTH = 16  # of tracked calls in each other; what a deeper one logs belongs to the one around it
_used: Counter[tuple[str, str]] = Counter()  # calls outside of each other in one try of a task
_open: list[str] = []  # launch keys of the calls under way; an engine may name a task that only waits for more


class Tracking:
    """A tracked function: its options, and what is known of its arguments before it is called."""

    def __init__(
        self, function: Callable[..., Any], *, name: str | None = None, run_name: str | None = None, **options: Any
    ) -> None:
        self.function, self.options = function, options
        self.name = name or called_name(function).strip("<>") or "call"
        self.given_name = run_name or name  # a run's may be any text, the function's stands in names of columns
        self.binding = Binding(function)
        self.columns = {each: f"{self.name}.{each}" for each in ("returned", "seconds", "error", "traceback")}

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """What is to be entered around this execution. Never raises: what cannot be tracked is called all the same."""
        try:
            place = current_place()
            around = active_run()
            if around is None or _is_elsewhere(place, around):
                options = handed_to(self.function)
                tracking = self if options is None else Tracking(self.function, **options)
                if place is not None and place.rank:
                    return _RankCall(tracking, place)
                return _RunCall(tracking, args, kwargs, place, around)
            if around.awaits_call:
                return _TaskCall(self, args, kwargs, around, place)
            return _NestedCall(self, args, kwargs)
        except Exception as exc:  # noqa: BLE001  promise: tracking never changes what a program computes
            return untracked(self.name, exc)


def _is_elsewhere(place: Place | None, around: Run) -> bool:
    """Whether the code belongs to another task instance than the run that is open."""
    return place is not None and not place.is_process and place.launch_key not in (around.launch, *_open)


class Call:
    """A ``with`` block around one execution; ``result`` is set inside of it. This one records nothing."""

    result: Any = None

    def __enter__(self) -> Call:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While a generator waits: what is logged now is its caller's."""
        yield


def untracked(name: str, exc: Exception) -> Call:
    """The call of a function that cannot be recorded for this reason, which is told."""
    PROCESS.warn_once(f"a call of {name:.80} is not tracked: {type(exc).__name__}: {exc}")
    return Call()


class _ScopedCall(Call):
    """A call with a scope of its own, which what it logs belongs to."""

    def __init__(self, tracking: Tracking, scope: Scope) -> None:
        self.tracking, self.scope, self.outer = tracking, scope, current_scope()
        self.began = time.perf_counter()
        set_scope(scope)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            set_scope(self.scope)
            self.end(None if isinstance(exc, GeneratorExit) else exc)  # its caller wanted no more of a generator
        except Exception as problem:  # noqa: BLE001  the function has done its work, whatever happens to the record of it
            PROCESS.warn_once(f"the end of {self.tracking.name} is not recorded: {type(problem).__name__}: {problem}")
        finally:
            set_scope(self.outer)

    def end(self, exc: BaseException | None) -> None:
        """Record how it ended."""
        raise NotImplementedError

    def keep_result(self, name: str) -> None:
        """Log what the function returned, as far as that can be said."""
        if self.result is not None:
            _tried(name, lambda: log(name, shown(self.result)))

    @contextmanager
    def paused(self) -> Iterator[None]:
        inner = current_scope()
        set_scope(self.outer)
        try:
            yield
        finally:
            self.outer = current_scope()
            set_scope(inner)


class _NestedCall(_ScopedCall):
    """A part of the run around it: one iteration of a loop that has the function's name."""

    def __init__(self, tracking: Tracking, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        outer = current_scope()
        recorder = outer[0]
        name = _free_name(outer, tracking.name)
        frame = Frame(outer, "loop", name)
        noted = list(tracking.binding.columns(tracking.name, args, kwargs))  # asks the arguments, which may raise
        super().__init__(tracking, recorder.begin(frame, recorder.count_iteration(outer, name), None))
        for column, value in noted:
            _tried(column, partial(log, column, value))

    def end(self, exc: BaseException | None) -> None:
        columns = self.tracking.columns
        log(columns["seconds"], time.perf_counter() - self.began)
        if exc is not None and status_of(exc) != "finished":
            error, trace = _told(exc)
            log(columns["error"], error)
            log(columns["traceback"], trace)
        else:
            self.keep_result(columns["returned"])


def _tried(what: str, action: Callable[[], Result]) -> Result | None:
    """Part of a record; where it cannot be made, that is told, and the call and the rest of its record go on."""
    try:
        return action()
    except Exception as exc:  # noqa: BLE001  promise: tracking never changes what a program computes
        PROCESS.warn_once(f"{what:.80} is not recorded: {type(exc).__name__}: {exc}", kind=what)
        return None


def _told(exc: BaseException) -> tuple[str, str]:
    """The last line and the whole of a traceback, secrets masked."""
    lines = traceback.format_exception_only(exc), traceback.format_exception(exc)
    return mask_text("".join(lines[0]).strip()), mask_text("".join(lines[1]))


def _free_name(scope: Scope, name: str) -> str:
    """The name, numbered where a function is called inside of itself."""
    frame = scope[3]
    if frame is None or name not in frame.names:
        return name
    for depth in range(2, _MAX_DEPTH + 1):
        if f"{name}_{depth}" not in frame.names:
            return f"{name}_{depth}"
    raise HindsightError(f"{name} calls itself more than {_MAX_DEPTH} times deep; what is deeper belongs to the last")


class _TaskCall(_ScopedCall):
    """The function of a task whose run was opened for it from outside, by the engine's listener."""

    def __init__(
        self, tracking: Tracking, args: tuple[Any, ...], kwargs: dict[str, Any], run: Run, place: Place | None
    ) -> None:
        noted = tracking.binding.captured(args, kwargs, is_entry=False, place=place).shown
        super().__init__(tracking, run.recorder.root)
        run.awaits_call = False
        for name, value in noted.items():
            _tried(name, partial(note_argument, run.recorder, name, value))

    def end(self, exc: BaseException | None) -> None:
        if exc is None:
            self.keep_result("returned")


class _RunCall(_ScopedCall):
    """A run of its own: the outermost call of a program, or of a task."""

    def __init__(
        self,
        tracking: Tracking,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        place: Place | None,
        around: Run | None,
    ) -> None:
        root = function_root(tracking.function)
        is_process = place is None or place.is_process
        is_entry = root is not None and not (is_process and is_started_again_by_script(root))
        call = tracking.binding.captured(args, kwargs, is_entry=is_entry, place=place)
        origin, options = _origin(tracking, place, around)
        self.run = begin_run(replace(origin, parent=around, call=call), options)
        self.run.launch = place.launch_key if place else None
        super().__init__(tracking, self.run.recorder.root)
        self.ending = place.ending if place is not None else None
        if place is not None:
            _open.append(place.launch_key)
        if place is not None and place.on_begin is not None:
            _tried("what the engine is told of the run", partial(place.on_begin, self.run))

    def end(self, exc: BaseException | None) -> None:
        if self.run.launch in _open:
            _open.remove(self.run.launch)
        ending = Ending(exc, None if exc is None else status_of(exc))
        try:
            if exc is None:
                self.keep_result("returned")
            if exc is None and self.ending is not None:
                told = _tried("what the engine reads out of the result", partial(self.ending, self.result))
                ending = told or ending
        finally:
            end_run(self.run, failure=ending.failure, status=ending.status)


class _RankCall(_ScopedCall):
    """The same call in another rank of the same job: a shard of the attempt that the first rank opens and ends."""

    def __init__(self, tracking: Tracking, place: Place) -> None:
        origin, options = _origin(tracking, place, None)
        self.run, self.rank = begin_run(origin, options), place.rank
        self.run.launch = place.launch_key
        super().__init__(tracking, self.run.recorder.root)

    def end(self, exc: BaseException | None) -> None:
        status = None if exc is None else status_of(exc)
        if exc is not None and status is None:
            error, trace = _told(exc)
            _tried("error", lambda: log("error", error, rank=self.rank))
            _tried("traceback", lambda: log("traceback", trace, rank=self.rank))
        end_run(self.run, failure=exc, status=status)


def _origin(tracking: Tracking, place: Place | None, around: Run | None) -> tuple[Origin, dict[str, Any]]:
    """What a run of this function at this place is, and its settings."""
    options = _options(tracking.options, place, around)
    name, tags = tracking.given_name, tuple(options.pop("tags", ()))
    if place is None:
        return Origin(name=name, tags=tags, function=tracking.function), options
    key = _launch_key(place)
    origin = Origin(
        name=name or place.name,
        launch_key=key,
        attempt_key=f"{key}@{place.attempt}" if place.ranks > 1 else None,
        rank=place.rank,
        is_counted=place.is_process,
        is_restart=place.is_restart,
        tags=(*tags, *place.tags),
        parent_key=place.parent_key,
        orchestrator=place.details,
        function=tracking.function,
    )
    return origin, options


def _options(given: dict[str, Any], place: Place | None, around: Run | None) -> dict[str, Any]:
    """The settings of a run: the decorator's, then those of the submission, then the engine's.

    The engine's are asked for only where neither these nor a run around it name a store: their credentials are meant
    for the store that they name.
    """
    options = merged({} if place is None else place.options, given)
    if place is None or "store" in options or around is not None or place.settings is None:
        return options
    return {**place.settings(), **options}


def _launch_key(place: Place) -> str:
    """That of the place; calls after the first in the same try of a task are runs beside it."""
    if place.is_process:
        return place.launch_key  # counted where the run begins
    _used[place.launch_key, place.attempt] += 1
    count = _used[place.launch_key, place.attempt]
    return place.launch_key if count == 1 else f"{place.launch_key}#{count}"
