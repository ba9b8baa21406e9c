"""What may be called exact, close, diverged, unverified: values and states of a replay against those of the run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.read.building import It, Key, Logged, Writer, make_run
from tracker.checkpoint.manifest import Manifest, Position
from tracker.replay.documents import PlannedRun, Slice
from tracker.replay.evidence import Block, Evidence, missing_state, read_report
from tracker.replay.extent import Extent
from tracker.replay.verification import Asked, Verdict, Verifier
from tracker.store import keys
from tracker.store.base import Store
from tracker.store.documents import encode
from tracker.store.ids import new_id
from tracker.store.open import open_store

START = 1_700_000_000.0


def logged(name: str, value: Any, *places: int, at: float = 0.0, **labels: Any) -> Logged:
    """One record in the loops epoch and step."""
    loops = tuple(It(loop, index) for loop, index in zip(("epoch", "step"), places, strict=False))
    return Logged(loops, name, value, labels, time=START + at)


class Pair:
    """A run and what its replay logged."""

    def __init__(self, folder: Path) -> None:
        self.store, self.scratch = open_store(folder / "store"), open_store(folder / "scratch")
        self.run = make_run(self.store)

    def log(self, old: list[Logged], new: list[Logged]) -> None:
        for store, records in ((self.store, old), (self.scratch, new)):
            if records:
                Writer(store, self.run, new_id()).seal(*records)

    def judge(self, *blocks: Block, doubts: tuple[str, ...] = (), final: bool = True, **asked: Any) -> Verdict:
        about = {"extent": Extent(), "names": frozenset({"probe"})} | asked
        verifier = Verifier(self.store, self.scratch, self.run, Asked(**about))
        return verifier.judge(verifier.new(answers=True), Evidence(blocks), list(doubts), final=final)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


@pytest.mark.parametrize(
    "value", [0.25, math.nan, -0.0, math.inf, 3, 2**70, True, None, "text", b"\0", [1, {"a": 2.5}]]
)
def test_the_same_is_exact(pair: Pair, value: Any) -> None:
    """Values of every kind."""
    pair.log([logged("x", value, 0)], [logged("x", value, 0), logged("probe", 1.0, 0)])

    assert pair.judge() == Verdict("exact", "", 1)


@pytest.mark.parametrize(
    ("old", "new"),
    [(0.25, 0.26), (1, 2), (2**70, 2**70 + 1), ("a", "b"), (True, False), (None, 1.0), (1.0, math.nan), (1.0, math.inf),
     ([1.0], [1.5]), (1.0, "1.0"), (b"a", b"b")],
)  # fmt: skip
def test_another_value_diverges(pair: Pair, old: Any, new: Any) -> None:
    """The record is named with both values."""
    pair.log([logged("x", old, 3, 17)], [logged("x", new, 3, 17)])

    found = pair.judge()

    assert (found.fidelity, found.reason) == ("diverged", f"x at epoch=3, step=17: {new!r} was {old!r}")


def test_what_differs_by_nature_is_not_compared(pair: Pair) -> None:
    """A metric that the question leaves out, and durations and tracebacks that tracked calls record of themselves."""
    call = (It("fold", 0),)
    for store, seconds, text in ((pair.store, 0.1, "line 7"), (pair.scratch, 0.2, "line 8")):
        own = [
            Logged(call, "fold.seconds", seconds, {}, time=START),
            Logged(call, "fold.traceback", text, {}, time=START),
        ]
        user = [logged("seconds", seconds, 0), logged("x", 1.0, 0)]
        Writer(store, pair.run, new_id()).seal(*own, *user)

    assert pair.judge().reason == f"seconds at epoch=0: {0.2!r} was {0.1!r}"
    assert pair.judge(ignored=frozenset({"seconds"})) == Verdict("exact", "", 1)


def test_close_states_the_greatest_difference(pair: Pair) -> None:
    """Up to a millionth; beyond that it has diverged."""
    pair.log([logged("x", 1.0, 0), logged("x", 2.0, 1)], [logged("x", 1.0 + 1e-9, 0), logged("x", 2.0 + 1e-7, 1)])

    found = pair.judge()

    assert found.fidelity == "close"
    assert found.tolerance == pytest.approx(5e-8, rel=1e-3)
    assert "5.0e-08" in found.reason
    assert "1e-06" in found.reason


def test_a_signed_zero_is_close_and_not_exact(pair: Pair) -> None:
    """Its bits differ."""
    pair.log([logged("x", 0.0, 0)], [logged("x", -0.0, 0)])

    assert pair.judge().fidelity == "close"


def test_the_first_divergence_in_the_order_of_logging_is_named(pair: Pair) -> None:
    """Whatever the metric, and whatever the loop."""
    old = [logged("b", 1.0, 0, 0, at=1), logged("a", 1.0, 0, 1, at=2), logged("e", 1.0, 0, at=0.5)]
    pair.log(old, [logged("a", 2.0, 0, 1, at=1), logged("b", 2.0, 0, 0, at=9), logged("e", 2.0, 0, at=8)])

    assert pair.judge().reason == "e at epoch=0: 2.0 was 1.0"


def test_records_that_are_missing_or_new_diverge(pair: Pair) -> None:
    """A replay must log what the run did, and nothing else but the probes; until its end it may still come."""
    pair.log([logged("x", 1.0, 0), logged("x", 2.0, 1)], [logged("x", 1.0, 0)])

    assert pair.judge(final=False).fidelity == "exact"
    assert pair.judge().reason == "x at epoch=1: was not logged, 2.0 before"
    assert pair.judge().absent is not None


def test_values_that_the_run_lacks_diverge(pair: Pair) -> None:
    """Unless a probe logs them, the run did not finish, or lost records."""
    pair.log([logged("x", 1.0, 0)], [logged("x", 1.0, 0), logged("x", 2.0, 1)])

    assert pair.judge().reason == "x at epoch=1: 2.0 was not logged before"
    assert pair.judge(names=frozenset({"x"})).fidelity == "exact"
    assert pair.judge(unfinished=True).fidelity == "exact"
    assert pair.judge(lossy=True).fidelity == "exact"


def test_repeats_are_compared_in_their_order(pair: Pair) -> None:
    """The n-th value of a context with its n-th; labels and steps are part of what is compared."""
    step = (It("epoch", 0), Key("phase", "test"))
    old = [Logged(step, "x", 1.0), Logged(step, "x", 2.0), logged("x", 5.0, 0, layer=1)]
    pair.log(old, [Logged(step, "x", 1.0), Logged(step, "x", 3.0), logged("x", 5.0, 0, layer=1)])

    found = pair.judge()

    assert (found.compared, found.reason) == (3, "x at epoch=0, phase=test: 3.0 was 2.0")


def test_several_processes_have_no_order_in_one_context(pair: Pair) -> None:
    """Their names are random, so that either may come first."""
    attempt = new_id()
    for store, values in ((pair.store, (1.0, 2.0)), (pair.scratch, (2.0, 1.0))):
        for suffix, value in zip(("aaaaaaaa", "bbbbbbbb"), values, strict=True):
            Writer(store, pair.run, f"{attempt}_{suffix}").seal(logged("x", value, 0))

    assert pair.judge().fidelity == "exact"


def test_only_the_iterations_of_the_slice_count(pair: Pair) -> None:
    """What it logs while it catches up from a checkpoint is not looked at, and what others execute is not missed."""
    old = [logged("x", float(i), i) for i in range(4)] + [logged("final", 1.0)]
    pair.log(old, [logged("x", 99.0, 1), logged("x", 2.0, 2)])
    extent = Extent("epoch", 2, 2, outside=False, to_end=False, begin=2)

    found = pair.judge(extent=extent)

    assert (found.fidelity, found.compared) == ("exact", 1)
    assert "final" in pair.judge(extent=Extent("epoch", 2, 2, begin=2)).reason


def test_blocks_that_were_skipped_are_not_missed(pair: Pair) -> None:
    """Those that had to run are."""
    pair.log([logged("x", 1.0, 0, 0), logged("y", 2.0, 0)], [logged("y", 2.0, 0)])
    extent = Extent("epoch")
    skipped = Block(iteration=0, block=0, loop="step", did="skipped")

    assert pair.judge(skipped, extent=extent, run_blocks=frozenset()) == Verdict("exact", "", 1)
    assert pair.judge(extent=extent, run_blocks=frozenset({"step"})).fidelity == "diverged"


def test_nothing_compared_is_unverified(pair: Pair) -> None:
    """Also when the run had logged something elsewhere."""
    pair.log([], [logged("probe", 1.0, 0)])

    assert pair.judge() == Verdict("unverified", "there was nothing to compare", 0)


def test_a_state_is_evidence(pair: Pair) -> None:
    """That of a block that was executed; one that was loaded proves nothing."""
    ran = Block(iteration=0, block=0, loop="step", did="ran", hash_equal=True)
    loaded = Block(iteration=0, block=0, loop="step", did="skipped", hash_equal=True)

    assert pair.judge(ran).fidelity == "exact"
    assert pair.judge(loaded).fidelity == "unverified"


def test_another_state_diverges_and_is_named(pair: Pair) -> None:
    """Also where all values agree."""
    pair.log([logged("x", 1.0, 0)], [logged("x", 1.0, 0)])
    differing = ("object.model", "generator.torch")
    block = Block(iteration=2, block=0, loop="step", did="ran", hash_equal=False, differing=differing)

    found = pair.judge(block, extent=Extent("epoch"))

    assert found.reason == "state at epoch=2, after step: object.model, generator.torch differs"


def test_close_values_come_from_close_states(pair: Pair) -> None:
    """Whose hashes cannot agree; those of random generators must."""
    pair.log([logged("x", 1.0, 0)], [logged("x", 1.0 + 1e-9, 0)])
    model = Block(iteration=2, block=0, did="ran", hash_equal=False, differing=("object.model",))
    generator = Block(iteration=2, block=0, did="ran", hash_equal=False, differing=("generator.numpy",))

    assert pair.judge(model).fidelity == "close"
    assert pair.judge(generator).fidelity == "diverged"


def test_doubts_and_changed_arguments_are_never_exact(pair: Pair) -> None:
    """They say why."""
    pair.log([logged("x", 1.0, 0)], [logged("x", 1.0, 0)])

    assert pair.judge(doubts=("placed, but",)) == Verdict("unverified", "placed, but", 1)
    assert pair.judge(overridden=True).reason == "arguments were changed"


def test_lines_of_a_report_that_are_not_whole_wait(tmp_path: Path) -> None:
    """The process may be writing; and what we cannot read we pass over."""
    report = tmp_path / "report"
    line = b'{"iteration": 1, "block": 0, "loop": "step", "did": "ran", "hash_equal": true, "differing": []}'
    report.write_bytes(line + b"\nnonsense\n" + line[:20])

    assert read_report(report).blocks == (Block(iteration=1, block=0, loop="step", did="ran", hash_equal=True),)
    assert read_report(tmp_path / "absent") == Evidence()


def checkpoint(store: Store, number: int, **about: Any) -> str:
    """The key of a manifest at the end of a block."""
    run = about.pop("run", "01hzzzzzzzzzzzzzzzzzzzzzzz")
    manifest = Manifest(
        run=run, attempt=run, number=number, position=Position(loop="epoch", iteration=number, block=0), created=0.0,
        elapsed_s=0, block_s=0, cost_s=0, size_bytes=0, stored_bytes=0, **about,
    )  # fmt: skip
    key = keys.checkpoint_document(run, run, number)
    store.put(key, encode(manifest))
    return key


def test_what_loaded_checkpoints_lack_is_a_doubt(tmp_path: Path) -> None:
    """Only those that were loaded count."""
    store: Store = open_store(tmp_path)
    key = checkpoint(store, 1, missing={"object 'loader'": "a socket"})
    loaded = Evidence((Block(iteration=1, block=0, did="skipped"),))
    expected = ["checkpoints lack object 'loader' (a socket)"]

    assert missing_state(store, [key], None, Evidence()) == []
    assert missing_state(store, [key], None, loaded) == expected
    assert missing_state(store, [], key, Evidence()) == expected


def test_one_slice_answers_for_what_is_outside() -> None:
    """The one that goes to the end, else the first."""
    planned = PlannedRun(run="r", attempt="a", loop="epoch", iterations=4)
    first = Slice(number=0, run="r", first=0, last=1, is_last=False)
    last = Slice(number=1, run="r", first=2, is_first=False)
    middle = msgspec.structs.replace(first, is_first=False)

    assert not Extent.of(planned, first, [first, last]).outside
    assert Extent.of(planned, last, [first, last]).outside
    assert Extent.of(planned, first, [first, middle]).outside
    assert not Extent.of(planned, middle, [first, middle]).outside
