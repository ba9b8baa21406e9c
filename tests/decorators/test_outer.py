"""`@tracked` with options above a function that is tracked already, and above what other decorators made of it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tracker.decorators import tracked

import tracker
from tests.decorators.runs import runs_of


def doubled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Somebody's decorator, which changes what a function gives."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return 2 * function(*args, **kwargs)

    return wrapper


class Model:
    """Its method is tracked."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    @tracked(tags=["inner"])
    def fit(self, value: int) -> int:
        return self.factor * value

    @tracked
    @classmethod
    def make(cls, value: int) -> tuple[str, int]:
        return cls.__name__, value

    twice = doubled(fit)


def test_options_for_a_method_keep_its_object(store: str) -> None:
    """Also for one that another decorator stands on, and for a class method."""
    assert tracked(name="outer")(Model(3).fit)(2) == 6
    assert tracked(name="outer")(Model(3).twice)(2) == 12
    assert tracked(name="outer")(Model.make)(2) == ("Model", 2)

    assert [(run.document.name, run.document.tags) for run in runs_of(store)] == [
        ("outer", ("inner",)), ("outer", ("inner",)), ("outer", ()),
    ]  # fmt: skip
    assert [run.arguments for run in runs_of(store)] == [{"value": 2}] * 3


def test_options_above_another_decorator_keep_what_that_does(store: str, tmp_path: Path) -> None:
    """The run is the tracked function's, and has the options of the outermost; without them its own, as before."""

    @tracked(name="inner", tags=["inner"])
    def train(value: int) -> int:
        return value

    around = doubled(train)
    outer = tracked(name="outer", store=str(tmp_path / "other"))(around)
    outermost = tracked(tags=["outermost"])(doubled(outer))

    assert (around(1), outer(2), outermost(3)) == (2, 4, 12)

    assert [(run.document.name, run.arguments, run.summary) for run in runs_of(store)] == [
        ("inner", {"value": 1}, {"returned": 1})
    ]
    assert [(run.document.name, run.document.tags, run.summary) for run in runs_of(str(tmp_path / "other"))] == [
        ("outer", ("inner",), {"returned": 2}), ("outer", ("outermost",), {"returned": 3}),
    ]  # fmt: skip


def test_options_above_a_decorator_of_coroutines(store: str) -> None:
    """They wait in the call's own context."""

    def later(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def wrapper(*args: Any) -> Any:
            await asyncio.sleep(0)
            return 2 * await function(*args)

        return wrapper

    @tracked
    async def train(value: int) -> int:
        return value

    async def main() -> list[int]:
        each = [tracked(name=f"outer{number}")(later(train))(number) for number in range(3)]
        return list(await asyncio.gather(*each))

    assert asyncio.run(main()) == [0, 2, 4]
    assert sorted((run.document.name, run.summary["returned"]) for run in runs_of(store)) == [
        ("outer0", 0), ("outer1", 1), ("outer2", 2),
    ]  # fmt: skip


def test_a_store_gets_no_options_of_another(tmp_path: Path) -> None:
    """A folder takes no options, so the inner's would be refused; without a store of its own the outer keeps them."""

    @tracked(store="s3://inner/store", storage_options={"key": "inner", "secret": "inner"}, capture=())
    def train(value: int) -> int:
        return value

    outer: Any = tracked(store=str(tmp_path / "outer"))(train)
    named: Any = tracked(name="named")(train)

    assert "storage_options" not in outer.__hindsight_tracking__.options
    assert named.__hindsight_tracking__.options["storage_options"] == {"key": "inner", "secret": "inner"}
    assert outer(1) == 1
    assert len(runs_of(str(tmp_path / "outer"))) == 1


class Hostile:
    """Raises when it is asked what it is."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("nothing is said")


def test_an_argument_that_cannot_be_asked_leaves_no_scope_behind(store: str) -> None:
    """The call inside of a run is made untracked, and what comes after it is its caller's."""

    @tracked
    def inner(value: Any) -> int:
        return 1

    with tracker.run():
        with pytest.warns(RuntimeWarning, match="is not tracked: RuntimeError: nothing is said"):
            assert inner(Hostile()) == 1
        tracker.log("after", 1)

    assert "inner" not in tracker.dataframe("after", store=store)
