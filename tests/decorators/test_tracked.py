"""`@tracked` on every kind of function: what is recorded, and that the function does what it always did."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tracker.decorators import tracked

import tracker
from tests.decorators.runs import runs_of
from tracker.errors import InputError
from tracker.record.lifecycle import active_run
from tracker.store.objects import get_object
from tracker.store.open import open_store


def values(store: str, *names: str) -> list[list[Any]]:
    """The values of columns, row by row."""
    rows: list[list[Any]] = tracker.dataframe(*names, store=store)[list(names)].values.tolist()
    return rows


def test_a_call_is_a_run_with_its_arguments_result_and_records(store: str) -> None:
    """Defaults count as arguments, and what the function logs belongs to its run."""

    @tracked
    def train(lr: float, epochs: int = 2) -> float:
        for epoch in tracker.loop("epoch", range(epochs)):
            tracker.log("loss", lr / (epoch + 1))
        return lr / epochs

    assert train(0.5) == 0.25
    assert train(epochs=1, lr=1.0) == 1.0

    assert [run.arguments for run in runs_of(store)] == [{"lr": 0.5, "epochs": 2}, {"lr": 1.0, "epochs": 1}]
    assert values(store, "epoch", "loss") == [[0, 0.5], [1, 0.25], [0, 1.0]]
    assert [run.status for run in runs_of(store)] == ["finished", "finished"]
    assert values(store, "returned") == [[0.25], [1.0]]


def test_signature_annotations_and_attributes_stay(store: str) -> None:
    """The decorated function is indistinguishable for whoever inspects it."""

    def train(lr: float, *rest: int, epochs: int = 2, **more: str) -> str:
        """Train."""
        return "done"

    train.mark = 1  # type: ignore[attr-defined]
    decorated = tracked(name="training")(train)

    assert inspect.signature(decorated) == inspect.signature(train)
    assert (decorated.__doc__, decorated.__name__, decorated.__module__) == ("Train.", "train", __name__)
    assert decorated.mark == 1  # type: ignore[attr-defined]
    assert tracked(decorated) is decorated


def test_arguments_of_every_kind_have_their_names(store: str) -> None:
    """Positional-only, variadic and keyword ones, too; a method's ``self`` is left out."""

    @tracked
    def train(first: int, /, second: int, *rest: int, third: int = 3, **more: int) -> None:
        pass

    class Model:
        @tracked
        def fit(self, lr: float) -> float:
            return lr

        @staticmethod
        @tracked
        def score(x: int) -> int:
            return x

        @tracked
        @classmethod
        def make(cls, size: int) -> int:
            return size

    train(1, 2, 4, 5, extra=6)
    assert (Model().fit(0.5), Model.score(7), Model.make(8)) == (0.5, 7, 8)

    found = [run.arguments for run in runs_of(store)]
    assert found[0] == {"first": 1, "second": 2, "rest": [4, 5], "third": 3, "extra": 6}
    assert found[1:] == [{"lr": 0.5}, {"x": 7}, {"size": 8}]


def test_an_exception_ends_the_run_as_failed_and_goes_on(store: str) -> None:
    """The traceback is kept; the exception is the same object."""
    problem = ValueError("no data for token=abcdef123456")

    @tracked
    def train() -> None:
        raise problem

    with pytest.raises(ValueError, match="no data") as caught:
        train()

    assert caught.value is problem
    (run,) = runs_of(store)
    end = run.attempts[0].end
    assert run.status == "failed"
    assert end is not None
    assert end.error is not None
    assert "ValueError: no data" in end.error
    assert "abcdef123456" not in end.error + (end.traceback or "")


def test_a_wrong_call_raises_what_it_always_raised(store: str) -> None:
    """A call that does not fit the signature is no error of the tracker."""

    @tracked
    def train(lr: float, /) -> None:
        pass

    with pytest.raises(TypeError, match="positional"):
        train()  # type: ignore[call-arg]


def test_secrets_are_masked_at_every_depth(store: str, tmp_path: Path) -> None:
    """Neither arguments, nor objects, nor results hold a password."""

    @tracked
    def load(password: str, options: dict[str, Any], url: str) -> dict[str, str]:
        return {"token": "hunter2-result"}

    load("hunter2-direct", {"nested": {"api_key": "hunter2-nested"}}, "https://me:hunter2-url@example.org/x")

    (run,) = runs_of(store)
    assert run.arguments["password"] == "***"
    assert run.arguments["options"] == {"nested": {"api_key": "***"}}
    everything = b"".join(path.read_bytes() for path in Path(store).rglob("*") if path.is_file())
    assert b"hunter2" not in everything


def test_tables_and_arrays_become_objects_with_schema_and_hash(store: str) -> None:
    """A frame is kept as Arrow, an array as .npy, and both are told by what they are."""

    @tracked
    def train(frame: pd.DataFrame, array: np.ndarray[Any, Any]) -> None:
        frame["a"] = 0  # what the function does to it later does not count

    train(pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]}), np.arange(6.0).reshape(2, 3))

    (run,) = runs_of(store)
    frame, array = run.arguments["frame"], run.arguments["array"]
    assert (frame["type"], frame["rows"], frame["schema"]["a"]) == ("pandas.DataFrame", 3, "int64")
    assert (array["type"], array["shape"], array["dtype"]) == ("numpy.ndarray", [2, 3], "float64")
    import pyarrow as pa

    opened = open_store(store)
    table = pa.ipc.open_file(pa.BufferReader(get_object(opened, frame["hash"]))).read_all()
    assert table.column("a").to_pylist() == [1, 2, 3]


def test_a_call_inside_of_a_run_is_a_part_of_it(store: str) -> None:
    """Its column counts the calls, and arguments, result, error and what it logs stand in its row."""

    @tracked
    def fold(number: int) -> int:
        tracker.log("accuracy", number / 10)
        if number == 2:
            raise RuntimeError("bad fold")
        return number * number

    @tracked
    def train() -> None:
        for number in (1, 2, 3):
            try:
                fold(number)
            except RuntimeError:
                tracker.log("skipped", number)

    train()

    assert len(runs_of(store)) == 1
    frame = tracker.dataframe("fold", "fold.number", "fold.returned", "fold.error", "accuracy", store=store)
    assert frame["fold"].tolist() == [0, 1, 2]
    assert frame["fold.number"].tolist() == [1, 2, 3]
    assert frame["accuracy"].tolist() == [0.1, 0.2, 0.3]
    assert frame["fold.returned"].dropna().tolist() == [1, 9]
    assert frame["fold.error"].dropna().tolist() == ["RuntimeError: bad fold"]


def test_recursion_has_a_column_for_every_depth(store: str) -> None:
    """A function that calls itself does not mix its own rows; a very deep one still computes."""

    @tracked
    def depth(n: int) -> int:
        return 0 if n == 0 else 1 + depth(n - 1)

    with tracker.run():
        assert depth(2) == 2
        with pytest.warns(RuntimeWarning, match="calls itself more than"):
            assert depth(60) == 60

    frame = tracker.dataframe("depth", "depth_2", "depth_3", "depth.n", store=store)
    assert frame[frame["depth"] == 0]["depth.n"].tolist() == [2, 1, 0]


def test_coroutines_and_tasks_keep_their_own_place(store: str) -> None:
    """Calls that run at the same time do not mix their records."""

    @tracked
    async def work(number: int) -> int:
        for _ in tracker.loop("step", range(3)):
            await asyncio.sleep(0)
            tracker.log("value", number)
        return number

    @tracked
    async def main() -> list[int]:
        return list(await asyncio.gather(*(work(n) for n in range(4))))

    assert asyncio.run(main()) == [0, 1, 2, 3]
    assert len(runs_of(store)) == 1
    frame = tracker.dataframe("work", "step", "value", store=store)
    assert len(frame) == 12
    assert frame.groupby("work")["value"].nunique().tolist() == [1, 1, 1, 1]


def test_a_generator_is_tracked_to_its_end_and_does_not_catch_its_callers_records(store: str) -> None:
    """What the caller logs between two items is the caller's; sent and thrown values arrive."""

    @tracked
    def batches(count: int) -> Iterator[int]:
        for number in range(count):
            tracker.log("made", number)
            try:
                got = yield number
            except KeyError:
                got = "thrown"
            tracker.log("got", str(got))

    with tracker.run():
        made = batches(3)
        assert next(made) == 0
        tracker.log("mine", 1)
        assert made.send("sent") == 1  # type: ignore[attr-defined]
        assert made.throw(KeyError()) == 2  # type: ignore[attr-defined]
        tracker.log("mine", 2)
        made.close()  # type: ignore[attr-defined]

    frame = tracker.dataframe("batches", "made", "got", "mine", store=store)
    assert frame[frame["batches"].isna()]["mine"].tolist() == [1, 2]
    assert frame[~frame["batches"].isna()]["made"].tolist() == [0, 1, 2]
    assert frame["got"].dropna().tolist() == ["sent", "thrown"]


def test_a_generator_that_is_left_early_has_finished(store: str) -> None:
    """Its caller wanted no more of it, which is no failure."""

    @tracked
    def numbers() -> Iterator[int]:
        yield from range(10)

    for number in numbers():
        if number == 3:
            break

    assert [run.status for run in runs_of(store)] == ["finished"]


def test_an_asynchronous_generator_is_tracked(store: str) -> None:
    """Also when it is not asked to its end."""

    @tracked
    async def numbers(count: int) -> AsyncIterator[int]:
        for number in range(count):
            tracker.log("made", number)
            yield number

    async def main() -> list[int]:
        return [number async for number in numbers(3)]

    assert asyncio.run(main()) == [0, 1, 2]
    assert [value for (value,) in values(store, "made")] == [0, 1, 2]


def test_threads_have_runs_of_their_own(store: str) -> None:
    """Outermost calls in several threads are several runs, none of which gets another's records."""

    @tracked
    def work(number: int) -> None:
        for _ in range(50):
            tracker.log("value", number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(runs_of(store)) == 4
    frame = tracker.dataframe("number", "value", store=store)
    assert len(frame) == 200
    assert (frame["number"] == frame["value"]).all()


def test_what_cannot_be_tracked_is_called_all_the_same(tmp_path: Path) -> None:
    """A store that cannot be used costs the record and nothing else."""
    (tmp_path / "file").write_text("no folder")

    @tracked(store=str(tmp_path / "file" / "store"), capture=())
    def train(lr: float) -> float:
        return lr * 2

    with pytest.warns(RuntimeWarning, match="a call of train is not tracked"):
        assert train(0.5) == 1.0


@pytest.mark.parametrize("wrong", [42, "train", int])
def test_what_is_no_function_is_refused(wrong: Any) -> None:
    """A class or a value gives a clear error where it is decorated."""
    with pytest.raises(InputError, match="@tracked stands on functions"):
        tracked(wrong)


def test_broken_arguments_do_not_break_the_call(store: str) -> None:
    """Objects whose repr, shape or comparison raise are described as far as they can be."""

    class Broken:
        @property
        def shape(self) -> None:
            raise RuntimeError("no shape")

        def __repr__(self) -> str:
            raise RuntimeError("no text")

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("no comparison")

        __hash__ = None  # type: ignore[assignment]

    @tracked
    def use(thing: Any, several: Any) -> int:
        return 1

    assert use(Broken(), [Broken(), {"x": Broken()}]) == 1
    assert [run.status for run in runs_of(store)] == ["finished"]


class BrokenText:
    def __repr__(self) -> str:
        raise TypeError("no text")


@pytest.mark.parametrize("result", [10**5000, {BrokenText(), BrokenText()}, "x" * 3000], ids=["int", "set", "text"])
def test_a_result_that_cannot_be_recorded_leaves_no_run_open(store: str, result: Any) -> None:
    """Nor does an argument: the run ends, and what comes after it is recorded elsewhere."""

    @tracked(max_text_bytes=1024)
    def give(value: Any) -> Any:
        tracker.log("inside", 1)
        return value

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # some of these cannot be described, either
        assert give(result) is result

    (run,) = runs_of(store)
    assert run.status == "finished"
    assert active_run() is None


def test_a_nested_call_that_cannot_be_recorded_leaves_no_scope_behind(store: str) -> None:
    """Only the column that cannot be is left out; what the caller logs afterwards is the caller's."""

    @tracked
    def inner(value: int, **more: int) -> int:
        tracker.log("inside", 1)
        return value

    with tracker.run():
        with pytest.warns(RuntimeWarning, match="is not recorded"):
            assert inner(10**5000, **{"x" * 300: 1}) == 10**5000
        tracker.log("after", 1)

    assert "inner" not in tracker.dataframe("after", store=store)
    assert values(store, "inner", "inside") == [[0, 1]]
    assert len(values(store, "inner.seconds")) == 1


class Scaled:
    """Called like a function."""

    def __call__(self, value: int) -> int:
        return value * 10


def test_whatever_can_be_called_is_tracked(store: str) -> None:
    """Partials, objects and built-ins have no names or no signatures, and are called like any other."""

    def train(lr: float, epochs: int) -> float:
        return lr * epochs

    assert tracked(functools.partial(train, 0.5))(2) == 1.0
    assert tracked(Scaled())(2) == 20
    assert tracked(max)(1, 2) == 2
    with tracker.run():
        assert tracked(Scaled())(3) == 30

    found = [(run.name, run.arguments) for run in runs_of(store)]
    assert found[:2] == [("train", {"epochs": 2}), ("Scaled", {"value": 2})]
    assert found[2] == ("max", {"args": [1, 2]})
    assert values(store, "Scaled.returned") == [[30]]
