"""Random programs that record, and a plain Python model of what they logged."""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

import tracker
from tests.record import reading
from tracker.record.run import Run

Statement = tuple[Any, ...]
Shown = tuple[tuple[tuple[str, int, str], ...], frozenset[tuple[str, str]]]

TEXTS = st.text(max_size=8) | st.sampled_from(["", "\ud800", "it's", "a/b", "日本", "\x00", "1"])
INTS = st.integers() | st.sampled_from([0, 1, 2**53, 2**53 + 1, -(2**63), 2**63 - 1, 2**63, -(2**70)])
SCALARS = st.floats() | INTS | st.booleans() | TEXTS | st.none() | st.binary(max_size=8)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(["$bytes", "$$bytes", "$"])
NESTED = st.recursive(SCALARS, lambda inside: st.lists(inside, max_size=3) | st.dictionaries(KEYS, inside, max_size=2))
VALUES = st.floats() | SCALARS | NESTED
ITEMS = st.one_of(
    st.integers(0, 40).map(range),
    st.tuples(st.integers(-5, 5), st.integers(0, 30)).map(lambda pair: range(pair[0], pair[0] + pair[1], 3)),
    st.lists(st.integers() | st.floats() | st.booleans() | TEXTS | st.tuples(st.integers()), max_size=4),
)
NAMES = st.sampled_from(["loss", "loss{layer=1}", "x", "a.b", "_time", "größe", "epoch"])
LABELS = st.just({}) | st.dictionaries(st.sampled_from(["layer", "part"]), st.integers(1, 3) | st.just("1"), max_size=2)
LOOPS = st.sampled_from(["epoch", "step", "a.b"])
LOGS = st.one_of(
    st.tuples(st.just("log"), NAMES, VALUES, LABELS),
    st.tuples(st.just("log_many"), st.dictionaries(NAMES, SCALARS, max_size=3), LABELS),
    st.just(("roll",)),
    st.just(("commit",)),
)


def _around(body: st.SearchStrategy[Statement]) -> st.SearchStrategy[Statement]:
    block = st.lists(body, min_size=1, max_size=4)
    return st.one_of(
        st.tuples(st.just("loop"), LOOPS, ITEMS, block, st.none() | st.integers(0, 3)),
        st.tuples(st.just("step"), st.sampled_from("st"), st.integers(0, 2) | TEXTS | st.booleans(), block),
        st.tuples(st.just("iteration"), LOOPS, st.integers(0, 3), st.none() | st.floats(0, 2) | TEXTS, block),
        st.tuples(st.just("raise"), block),
    )


PROGRAMS = st.lists(st.recursive(LOGS, _around, max_leaves=12), min_size=1, max_size=6)


def typed(value: Any) -> str:
    """A value as a text that tells types, signed zeros and NaN apart, as contexts do."""
    return f"{type(value).__name__} {value!r}"


def shown(value: Any) -> str:
    """A value of a loop or step as it is read: integers may come back as floats, lone surrogates as escapes."""
    if isinstance(value, str):
        value = value.encode("utf-8", "backslashreplace").decode()
    is_small_int = type(value) is int and abs(value) <= 2**53
    return repr(float(value)) if is_small_int else repr(value)


@dataclass
class Model:
    """What a program logged: the values of each metric in each context, in order."""

    run: Run
    loops: list[tuple[str, int, str]] = field(default_factory=list)
    steps: dict[str, str] = field(default_factory=dict)
    chain: list[str] = field(default_factory=list)
    logged: dict[tuple[Shown, str], list[tuple[str, Any]]] = field(default_factory=lambda: defaultdict(list))

    def execute(self, statements: list[Statement]) -> None:
        """Run statements against the tracker, and keep account of them."""
        for kind, *parts in statements:
            getattr(self, f"_{kind}")(*parts)

    def _log(self, name: str, value: Any, labels: dict[str, Any]) -> None:
        assert tracker.log(name, value, **labels) is value
        self._note(name, value, labels)

    def _note(self, name: str, value: Any, labels: dict[str, Any]) -> None:
        place = (tuple(self.loops), frozenset(self.steps.items()))
        self.logged[place, reading.identity(name, labels)].append((" / ".join(self.chain), value))

    def _log_many(self, values: dict[str, Any], labels: dict[str, Any]) -> None:
        tracker.log_many(values, **labels)
        for name, value in values.items():
            self._note(name, value, labels)

    def _roll(self) -> None:
        self.run.recorder.roll(self.run.recorder.journal)

    def _commit(self) -> None:
        tracker.commit()

    def _loop(self, name: str, items: Any, body: list[Statement], stop: int | None) -> None:
        for index, item in enumerate(tracker.loop(name, items)):
            is_index = isinstance(item, tuple) or (type(item) is int and not -(2**63) <= item < 2**63)
            self._inside(name, index, None if is_index else item, body)
            if index == stop:
                break

    def _inside(self, name: str, index: int, value: Any, body: list[Statement]) -> None:
        self.loops.append((name, index, shown(index if value is None else value)))
        self.chain.append(f"{name} {index} {'' if value is None else typed(value)}")
        try:
            self.execute(body)
        finally:
            self.loops.pop()
            self.chain.pop()

    def _iteration(self, name: str, index: int, value: Any, body: list[Statement]) -> None:
        with tracker.iteration(name, index, value):
            self._inside(name, index, value, body)

    def _step(self, key: str, value: Any, body: list[Statement]) -> None:
        with ExitStack() as stack:
            if key not in self.steps:
                stack.enter_context(tracker.step(**{key: value}))
                stack.callback(self.chain.pop)
                stack.callback(self.steps.pop, key)
                self.steps[key] = shown(value)
                self.chain.append(f"{key} {typed(value)}")
            self.execute(body)

    def _raise(self, body: list[Statement]) -> None:
        with suppress(ZeroDivisionError):
            for _ in tracker.loop("raising", [None, None]):
                self.loops.append(("raising", 0, shown(0)))
                self.chain.append("raising 0 ")
                try:
                    self.execute(body)
                    raise ZeroDivisionError
                finally:
                    self.loops.pop()
                    self.chain.pop()

    def check(self, cells: list[reading.Cell]) -> None:
        """Compare with what was read: equal values in equal order, the n-th in the n-th row."""
        found: dict[tuple[Shown, str], list[reading.Cell]] = defaultdict(list)
        for cell in cells:
            loops, steps = cell.place
            place = (
                tuple((name, index, shown(value)) for name, index, value in loops),
                frozenset((key, shown(value)) for key, value in steps),
            )
            found[place, cell.metric].append(cell)
        assert found.keys() == self.logged.keys()
        for key, expected in self.logged.items():
            _compare(expected, found[key])


def _compare(expected: list[tuple[str, Any]], found: list[reading.Cell]) -> None:
    kinds = {cell.kind for cell in found}
    read = [typed(cell.value) for cell in found]
    wanted = [_as_read(value, kinds) for _, value in expected]
    assert len(read) == len(wanted)
    if len({chain for chain, _ in expected}) > 1 or len(kinds) > 1:  # contexts that look alike, or pieces that widened
        read, wanted = sorted(map(_loosely, read)), sorted(map(_loosely, wanted))
    assert read == wanted


def _as_read(value: Any, kinds: set[str]) -> str:
    if kinds == {"float"} and value is not None:
        value = float(value)
    if kinds == {"str"} and value is not None:
        value = value.encode("utf-8", "backslashreplace").decode()
    return typed(value)


def _loosely(text: str) -> str:
    """The text of a value read as a float or an escaped text in one piece, and not in another."""
    kind, value = text.split(" ", 1)
    if kind == "int":
        return f"float {float(value)!r}" if abs(int(value)) <= 2**53 else text
    return text.encode("utf-8", "backslashreplace").decode().replace("\\\\", "\\")
