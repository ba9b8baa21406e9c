"""Loops, iterations and steps: where a record belongs, however the code around it runs."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracker
from tests.record import reading
from tests.record.reading import Place, place
from tracker.errors import BadName, NameCollision, UnstorableValue
from tracker.record.context import current_scope
from tracker.record.run import Run
from tracker.store.base import Store
from tracker.store.open import open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return open_store(tmp_path / "store")


@pytest.fixture
def run(store: Store) -> Iterator[Run]:
    """An open run, with journals so small that they change often."""
    with tracker.run(store=store.url, capture=(), journal_bytes=4096) as opened:
        yield opened


def places(store: Store, run: Run, name: str = "x") -> list[Place]:
    """Where the values of a metric stand, in the order of the rows."""
    return [cell.place for cell in reading.cells(store, run.id) if cell.metric == reading.identity(name, {})]


def epoch(*indices: int) -> list[Place]:
    """Places in iterations of a loop over a range."""
    return [place(("epoch", index, index)) for index in indices]


LEAVING: dict[str, Callable[[], Any]] = {}


def leaving(function: Callable[[], Any]) -> Callable[[], Any]:
    """Register a way to leave a loop in its second iteration."""
    LEAVING[function.__name__] = function
    return function


@leaving
def by_break() -> None:
    for step in tracker.loop("step", range(5)):
        if step == 1:
            break


@leaving
def by_return() -> int | None:
    for step in tracker.loop("step", range(5)):
        if step == 1:
            return step
    return None


@leaving
def by_exception() -> None:
    try:
        for step in tracker.loop("step", range(5)):
            if step == 1:
                raise ValueError("bad")
    except ValueError:
        tracker.log("caught", 1)


@leaving
def by_exception_in_a_function() -> None:
    def inner() -> None:
        for _ in tracker.loop("step", range(5)):
            for _ in tracker.loop("batch", range(5)):
                raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        inner()


@leaving
def by_exception_of_the_iterable() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        list(tracker.loop("step", items()))


@leaving
def by_exception_in_a_step() -> None:
    with pytest.raises(ValueError, match="bad"), tracker.step(phase="train"), tracker.iteration("step", 1):
        raise ValueError("bad")


@leaving
def by_break_out_of_two() -> None:
    for step in tracker.loop("step", range(5)):
        for _ in tracker.loop("batch", range(5)):
            break
        if step == 1:
            break


@leaving
def by_exhaustion() -> None:
    for _ in tracker.loop("step", range(2)):
        continue


@leaving
def by_closing_a_generator() -> None:
    def training() -> Iterator[int]:
        yield from tracker.loop("step", range(5))

    steps = training()
    next(steps)
    next(steps)
    steps.close()


@pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
def test_leaving_a_loop_leaves_the_context_as_it_was(store: Store, run: Run, leave: Callable[[], Any]) -> None:
    """However a loop is left, what follows it is logged outside of it, inside the outer one."""
    for _ in tracker.loop("epoch", range(2)):
        leave()
        tracker.log("x", 1)
    tracker.log("x", 2)

    assert sorted(places(store, run), key=str) == sorted([*epoch(0, 1), place()], key=str)
    assert current_scope() is run.recorder.root


def test_continue_counts_its_iteration(store: Store, run: Run) -> None:
    """Indices count iterations, not logs."""
    for index in tracker.loop("epoch", range(6)):
        if index % 2:
            continue
        tracker.log("x", index)

    assert places(store, run) == epoch(0, 2, 4)


def test_loops_of_the_same_name_nest(store: Store, run: Run) -> None:
    """Recursion over one name gives a path of its own for each depth."""

    def walk(depth: int) -> None:
        for _ in tracker.loop("node", range(2)):
            tracker.log("x", depth)
            if depth:
                walk(depth - 1)

    walk(2)
    found = reading.cells(store, run.id)
    assert len(found) == 2 + 4 + 8
    assert all(len(cell.place[0]) == 3 - cell.value for cell in found)
    assert len({(cell.place, cell.value) for cell in found}) == 14


def test_deep_recursion_is_recorded(store: Store, run: Run) -> None:
    """Sixty nested loops and a path longer than a file name are stored like any other."""

    def walk(depth: int) -> None:
        for item in tracker.loop(f"level-{depth}-ünïcode", ["a" * 500]):
            if depth < 60:
                walk(depth + 1)
            else:
                tracker.log("x", item)

    walk(1)
    (found,) = places(store, run)
    assert [loop[0] for loop in found[0]] == [f"level-{depth}-ünïcode" for depth in range(1, 61)]


def test_steps_and_loops_nest_both_ways(store: Store, run: Run) -> None:
    """A loop in a step and a step in a loop carry the same keys."""
    with tracker.step(phase="train"):
        for index in tracker.loop("epoch", range(2)):
            tracker.log("x", index)
    for index in tracker.loop("epoch", range(2)):
        with tracker.step(phase="test", fold=index):
            tracker.log("x", index)

    train = [place(("epoch", i, i), phase="train") for i in range(2)]
    assert places(store, run) == train + [place(("epoch", i, i), phase="test", fold=i) for i in range(2)]


def test_equal_steps_are_one_context(store: Store, run: Run) -> None:
    """What is logged in two steps with equal keys stands in one row, across changes of the journal, too."""
    for name in ("x", "y"):
        with tracker.step(phase="train"):
            tracker.log(name, 1)
        run.recorder.roll(run.recorder.journal)

    assert {cell.place for cell in reading.cells(store, run.id)} == {place(phase="train")}
    with tracker.step(phase="test"):
        tracker.log("x", 1)
        tracker.log("x", 2)
    assert [cell.value for cell in reading.cells(store, run.id) if cell.place == place(phase="test")] == [1, 2]


ITEMS: dict[str, tuple[list[Any], list[Any]]] = {
    "int": ([7, -3, 2**62], [7, -3, 2**62]),
    "float": ([0.1, -0.0, 1e300], [0.1, -0.0, 1e300]),
    "bool": ([True, False], [True, False]),
    "text": (["train", "test", "ü"], ["train", "test", "ü"]),
    "numpy": ([np.int64(5), np.int64(6)], [5, 6]),
    "mixed": ([1, "a", True], [1, "a", True]),
    "large integers": ([2**70, 2**71], [0, 1]),
    "opaque": ([(1, 2), [3], None, object()], [0, 1, 2, 3]),
    "long texts": (["x" * 5000, "y" * 5000], [0, 1]),
}


@pytest.mark.parametrize(("items", "shown"), ITEMS.values(), ids=ITEMS)
def test_the_column_of_a_loop_shows_what_was_iterated(
    store: Store, run: Run, items: list[Any], shown: list[Any]
) -> None:
    """Numbers, bools and texts are shown as they are, everything else by its index."""
    for number, item in enumerate(tracker.loop("epoch", items)):
        assert item is items[number]
        tracker.log("x", number)

    expected = [place(("epoch", index, value)) for index, value in enumerate(shown)]
    assert [str(found) for found in places(store, run)] == [str(found) for found in expected]


@pytest.mark.parametrize("items", [range(3, 9, 2), range(5, 0, -2), range(2**62, 2**62 + 4, 2), range(0, 5, 10**30)])
def test_ranges_show_their_values(store: Store, run: Run, items: range) -> None:
    """Start and stride of a range are kept, not its values; they are shown all the same."""
    for item in tracker.loop("epoch", items):
        tracker.log("x", item)

    assert places(store, run) == [place(("epoch", index, value)) for index, value in enumerate(items)]


def test_iteration_says_its_own_index(store: Store, run: Run) -> None:
    """Loops that ``loop`` cannot drive state index and value themselves."""
    with tracker.iteration("epoch", 3) as value:
        tracker.log("x", 1)
        assert value is None
    with tracker.iteration("epoch", np.int64(4), "warm"):
        tracker.log("x", 2)

    assert places(store, run) == [place(("epoch", 3, 3)), place(("epoch", 4, "warm"))]
    with pytest.raises(UnstorableValue, match="index of iteration"), tracker.iteration("epoch", 1.5):  # type: ignore[arg-type]
        pass


def test_a_loop_made_elsewhere_belongs_where_it_runs(store: Store, run: Run) -> None:
    """An iterator that was made before the outer loop counts as inside of it, and gives its context back."""
    batches = tracker.loop("batch", range(2))
    for _ in tracker.loop("epoch", range(1)):
        for _ in batches:
            tracker.log("x", 1)
        tracker.log("y", 1)

    assert places(store, run) == [place(("epoch", 0, 0), ("batch", index, index)) for index in range(2)]
    assert places(store, run, "y") == epoch(0)


def test_nothing_is_read_ahead(run: Run) -> None:
    """The iterable is asked for an item only when the loop is."""
    asked: list[int] = []

    def items() -> Iterator[int]:
        for number in range(5):
            asked.append(number)
            yield number

    for item in tracker.loop("epoch", items()):
        assert asked == list(range(item + 1))
        if item == 2:
            break
    assert asked == [0, 1, 2]


def test_what_is_no_iterable_is_named_where_loop_is_called() -> None:
    """The interpreter's own error, before the first iteration."""
    with pytest.raises(TypeError, match="not iterable"):
        tracker.loop("epoch", 5)  # type: ignore[call-overload]


def test_threads_keep_their_own_place(store: Store, run: Run) -> None:
    """Eight threads in loops of the same name never see each other's iterations."""
    gate = threading.Barrier(8)

    def work(number: int) -> None:
        gate.wait()
        with tracker.step(thread=number):
            for index in tracker.loop("epoch", range(50)):
                tracker.log("x", number * 1000 + index)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: contextvars.copy_context().run(in_run, run, work, number), range(8)))

    found = reading.cells(store, run.id)
    assert len(found) == 400
    for cell in found:
        number, index = divmod(cell.value, 1000)
        assert cell.place == place(("epoch", index, index), thread=number)


def in_run(run: Run, work: Callable[[int], None], number: int) -> None:
    """Do work as part of a run: threads begin in the run of the process."""
    from tracker.record.context import set_scope

    set_scope(run.recorder.root)
    work(number)


def test_a_context_copied_to_a_thread_survives_a_change_of_the_journal(store: Store, run: Run) -> None:
    """A worker goes on in the iteration that submitted it, though that one began journals ago."""
    with ThreadPoolExecutor(1) as pool:
        for _ in tracker.loop("epoch", range(3)):
            with tracker.step(phase="train"):
                context = contextvars.copy_context()
            run.recorder.roll(run.recorder.journal)
            for _ in range(200):
                pool.submit(context.run, tracker.log, "x", 1).result()

    found = places(store, run)
    assert len(found) == 600
    assert found == [place(("epoch", index, index), phase="train") for index in range(3) for _ in range(200)]


def test_tasks_keep_their_own_place(store: Store, run: Run) -> None:
    """Tasks that take turns in loops of one name are in their own iterations, below the one that made them."""

    async def work(number: int) -> None:
        for index in tracker.loop("inner", range(20)):
            await asyncio.sleep(0)
            tracker.log("x", number * 100 + index)

    async def main() -> None:
        for _ in tracker.loop("epoch", range(2)):
            await asyncio.gather(*(work(number) for number in range(5)))

    asyncio.run(main())
    found = reading.cells(store, run.id)
    assert len(found) == 200
    for cell in found:
        (_, outer, _), (_, index, _) = cell.place[0]
        assert (outer in (0, 1), cell.value % 100) == (True, index)


def test_async_for_is_a_loop(store: Store, run: Run) -> None:
    """Asynchronous iterables give iterations, and ``break`` leaves the context right."""

    async def items() -> AsyncIterator[str]:
        for item in "abc":
            await asyncio.sleep(0)
            yield item

    async def main() -> None:
        loop = tracker.loop("epoch", items())
        async for item in loop:
            tracker.log("x", item)
            if item == "b":
                break
        await loop.aclose()  # type: ignore[attr-defined]
        tracker.log("after", 1)

    asyncio.run(main())
    assert places(store, run) == [place(("epoch", 0, "a")), place(("epoch", 1, "b"))]
    assert places(store, run, "after") == [place()]


BAD_NAMES = ["", 5, None, "@run", "_hindsight", "line\nbreak", "x" * 201, "\ud800", b"epoch"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names_of_loops_are_named_at_once(run: Run, name: Any) -> None:
    """The error comes from ``loop`` itself and shows the name."""
    with pytest.raises(BadName, match="name of a loop"):
        tracker.loop(name, range(3))


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names_can_be_warnings(store: Store, name: Any) -> None:
    """With ``on_error="warn"`` the loop runs under a name that can be used, and nothing in it is lost."""
    with tracker.run(store=store.url, capture=(), on_error="warn") as run:
        with pytest.warns(RuntimeWarning, match="name of a loop"):
            steps = tracker.loop(name, range(3))
        for step in steps:
            tracker.log("x", step)

    assert reading.values(store, run.id, "x") == [0, 1, 2]


def test_a_key_that_is_taken_is_refused(run: Run) -> None:
    """A step key and a loop of one name cannot be told apart in a table, nor can a label."""
    with tracker.step(epoch=1), pytest.raises(NameCollision, match="epoch"):
        tracker.loop("epoch", range(3))
    for _ in tracker.loop("epoch", range(1)):
        with pytest.raises(NameCollision, match="epoch"), tracker.step(epoch=1):
            pass
        with pytest.raises(NameCollision, match="label 'epoch'"):
            tracker.log("x", 1, epoch=1)
        with pytest.raises(NameCollision, match="label 'epoch'"):
            tracker.log("x", "text", epoch=1)


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, object(), 2**70, "x" * 1001, b"x", 1j])
def test_bad_values_of_step_keys_are_refused(run: Run, value: Any) -> None:
    """Step keys are short; the error shows the key and what was expected, and the context stays as it was."""
    with pytest.raises(UnstorableValue, match="step key 'phase'"), tracker.step(phase=value):
        pass
    assert current_scope() is run.recorder.root
