"""``@tracked``: the decorator, for functions, coroutines, generators, and what an orchestrator's decorator made."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from types import MethodType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from tracker.decorators.handed import handing, merged
from tracker.decorators.places import adapted

from tracker.errors import BadName, InputError
from tracker.record.callables import remember
from tracker.record.values import check_name

if TYPE_CHECKING:
    from tracker.decorators.calls import Call

Decorated = TypeVar("Decorated")


class _Tracked:
    """What a decorated function needs to be tracked, made at its first call.

    Files of DAGs and flows are imported again and again by processes that call nothing of them; for those the recording
    is not even imported.
    """

    def __init__(self, function: Callable[..., Any], *, name: str | None = None, **options: Any) -> None:
        self.function, self.given_name, self.options = function, name, options

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """What is to be entered around the first call, and from then on around every other. Never raises."""
        from tracker.decorators.calls import Tracking, untracked

        try:
            begin = Tracking(self.function, name=self.given_name, **self.options).begin
        except Exception as exc:  # noqa: BLE001  promise: tracking never changes what a program computes
            return untracked(type(self.function).__name__, exc)
        self.begin = begin  # type: ignore[method-assign]
        return begin(args, kwargs)


@overload
def tracked(function: Decorated, /) -> Decorated: ...
@overload
def tracked(
    *,
    name: str | None = None,
    project: str | None = None,
    store: str | None = None,
    storage_options: dict[str, Any] | None = None,
    tags: Sequence[str] = (),
    **settings: Any,
) -> Callable[[Decorated], Decorated]: ...
def tracked(function: Any = None, /, **options: Any) -> Any:
    """Record every execution of a function: arguments, return value, exception, duration, output and what it logs.

    Outside of all runs, and in every task of an orchestrator, a call is a run; tries of one task are attempts of one
    run, and a task that a flow calls is a child of the flow's run. Inside of a run of the same process a call is a
    part of it: its column counts the calls, and ``NAME.ARGUMENT``, ``NAME.returned``, ``NAME.seconds`` and
    ``NAME.error`` stand beside what it logs.

    Stands on functions, methods, coroutines and generators, above or below ``@task`` and ``@flow`` of Airflow and
    Prefect. Signature, annotations and attributes stay. Arguments whose name looks like a secret are masked, arrays and
    data frames are kept as objects with schema and hash. ``name`` is shown instead of the function's; further options
    are those of ``tracker.init``. An error in tracking is told once, and the function is called all the same.

    >>> import tracker
    >>> from tracker.decorators import tracked
    >>> @tracked(store="memory://tracked", capture=())
    ... def train(lr, epochs=2):
    ...     for epoch in tracker.loop("epoch", range(epochs)):
    ...         tracker.log("loss", lr / (epoch + 1))
    ...     return lr
    >>> train(0.5)
    0.5
    >>> tracker.dataframe("lr", "loss", store="memory://tracked")[["epoch", "lr", "loss"]].values.tolist()
    [[0, 0.5, 0.5], [1, 0.5, 0.25]]
    """
    if function is None:
        return functools.partial(_decorate, options=options)
    return _decorate(function, options=options)


def _decorate(function: Any, *, options: dict[str, Any]) -> Any:
    wrap = functools.partial(_wrap, options=options)
    engines_own = adapted(function, wrap)
    if engines_own is not None:
        return engines_own
    if isinstance(function, staticmethod | classmethod):
        return type(function)(wrap(function.__func__))
    if not callable(function) or isinstance(function, type):
        raise InputError(
            f"@tracked stands on functions, not on {function!r:.80}: decorate the method that does the work"
        )
    return wrap(function)


def _wrap(function: Callable[..., Any], *, options: dict[str, Any]) -> Callable[..., Any]:
    inner = getattr(function, "__hindsight_tracking__", None)
    if inner is not None:  # above and below an orchestrator's decorator: once is enough, and the outer options win
        if all(value is None for value in options.values()):
            return function
        if inspect.ismethod(function):
            return MethodType(_wrap(function.__func__, options=options), function.__self__)
        options = merged({"name": inner.given_name, **inner.options}, options)
        base: Callable[..., Any] = inner.function
        if getattr(function, "__dict__", {}).get("__wrapped__") is not base:
            return _handing(function, base, options)
        function = base
    tracking = _Tracked(function, **_checked(options))
    if inspect.isasyncgenfunction(function):
        wrapper = _async_generator(function, tracking)
    elif inspect.isgeneratorfunction(function):
        wrapper = _generator(function, tracking)
    elif inspect.iscoroutinefunction(function):
        wrapper = _coroutine(function, tracking)
    else:
        wrapper = _plain(function, tracking)
    wrapper = functools.wraps(function)(wrapper)
    wrapper.__hindsight_tracking__ = tracking  # type: ignore[attr-defined]
    remember(function, wrapper)
    return wrapper


def _handing(function: Callable[..., Any], inner: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    """Another decorator stands on the tracked function, and copied our mark: what it does has to stay."""
    tracking = _Tracked(inner, **_checked(options))
    wrapper = handing(function, inner, options)
    if wrapper is not function:
        wrapper.__hindsight_tracking__ = tracking  # type: ignore[attr-defined]
    return wrapper


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    name = options.get("name")
    if name is not None:
        check_name(name, "the name of a tracked function")
        if "." in name:
            raise BadName(f"the name {name!r} of a tracked function has a dot, which ends it in names of columns")
    return options


def _plain(function: Callable[..., Any], tracking: _Tracked) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with tracking.begin(args, kwargs) as this:
            result = function(*args, **kwargs)
            this.result = result
        return result

    return call


def _coroutine(function: Callable[..., Any], tracking: _Tracked) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        with tracking.begin(args, kwargs) as this:
            result = await function(*args, **kwargs)
            this.result = result
        return result

    return call


def _generator(function: Callable[..., Any], tracking: _Tracked) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with tracking.begin(args, kwargs) as this:
            result = yield from _driven(function(*args, **kwargs), this)
            this.result = result
        return result

    return call


def _driven(generator: Generator[Any, Any, Any], call: Call) -> Generator[Any, Any, Any]:
    """The generator; while it waits for the next request, what is logged is its caller's."""
    resume, given = generator.send, None
    while True:
        try:
            item = resume(given)
        except StopIteration as stop:
            return stop.value
        try:
            with call.paused():
                given = yield item
            resume = generator.send
        except GeneratorExit:
            generator.close()
            raise
        except BaseException as exc:  # noqa: BLE001  thrown in by the caller, and handed on
            resume, given = generator.throw, exc


def _async_generator(function: Callable[..., Any], tracking: _Tracked) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with tracking.begin(args, kwargs) as this:
            generator = function(*args, **kwargs)
            resume, given = generator.asend, None
            while True:
                try:
                    item = await resume(given)
                except StopAsyncIteration:
                    return
                try:
                    with this.paused():
                        given = yield item
                    resume = generator.asend
                except GeneratorExit:
                    await generator.aclose()
                    raise
                except BaseException as exc:  # noqa: BLE001  thrown in by the caller, and handed on
                    resume, given = generator.athrow, exc

    return call
