"""The store in ``tests/data/store-1``, written by format 1, is read for ever: what it says never changes."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
from msgspec import structs

import tracker
from tests.data.write_store import KINDS
from tests.record import reading
from tests.record.reading import identity, place
from tracker.read.catalog import RunView, scan
from tracker.store import frames
from tracker.store.base import Store
from tracker.store.open import open_store
from tracker.store.processes import this_writer
from tracker.store.recovery import recover

DATA = Path(__file__).parent.parent / "data" / "store-1"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A copy, so that nothing can change the original."""
    shutil.copytree(DATA, tmp_path / "store")
    return open_store(tmp_path / "store", create=False)


def view(store: Store, name: str) -> RunView:
    """The run of this name."""
    (found,) = (each for each in scan(store) if each.name == name)
    return found


def test_the_finished_run_says_who_it_is(store: Store) -> None:
    """Identity, arguments, status and timings of its documents."""
    run = view(store, "finished")

    assert (run.project, run.status, run.tags, run.script) == ("data", "finished", ("format", "one"), "train.py")
    assert run.arguments == {"lr": 0.001, "layers": [64, 10]}
    assert (run.summary["bigint"], run.summary["json"], run.summary["none"]) == (7, {"$bytes": "aGk="}, None)
    end = run.attempts[0].end
    assert end is not None
    assert end.records == 49
    assert (end.timings["epoch"].iterations, end.timings["epoch.batch"].iterations) == (2, 4)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_value_reads_as_it_was_logged(store: Store, name: str) -> None:
    """Types and bits, repeated values in their order."""
    values = reading.values(store, view(store, "finished").run, name)

    assert [repr(value) for value in values] == [repr(value) for value in KINDS[name]]


def test_contexts_labels_and_repeated_values_read_as_they_were_logged(store: Store) -> None:
    """Loops with their indices and values, step keys, metrics that differ in a label's type alone."""
    found = reading.series(store, view(store, "finished").run)

    for epoch in range(2):
        outside = place(("epoch", epoch, epoch))
        assert found[outside, identity("score", {})] == [epoch, epoch + 0.5]
        for index, batch in enumerate("ab"):
            inside = place(("epoch", epoch, epoch), ("batch", index, batch), phase="train")
            assert found[inside, identity("loss", {})] == [epoch + index / 2]
            assert found[inside, identity("norm", {"layer": 1})] == [epoch]
            assert found[inside, identity("norm", {"layer": "1"})] == [epoch + 10]


def test_the_second_attempt_hides_what_it_did_again(store: Store) -> None:
    """The frame shows the first attempt up to the place where the second began."""
    frame = tracker.dataframe("loss", runs=[view(store, "resumed").run], store=store)

    assert frame[["epoch", "loss"]].to_numpy().tolist() == [[0, 0], [1, 1], [2, 202], [3, 203]]


def test_the_killed_run_is_read_from_its_journal(store: Store) -> None:
    """Nobody has recovered it; on another machine than its own nobody can."""
    run = view(store, "killed")
    before = reading.series(store, run.run)

    recovered = recover(store, store)

    assert (recovered.journals, recovered.problems) == ([], {})
    assert run.status == "lost"
    assert run.arguments == {"lr": 0.5}
    assert reading.values(store, run.run, "loss") == [step / 2 for step in range(10)]
    assert reading.values(store, run.run, "note") == [f"step {step}" for step in range(10)]
    assert reading.series(store, run.run) == before


def test_the_killed_run_is_recovered_where_it_died(store: Store) -> None:
    """Its journal becomes segments that say the same."""
    run = view(store, "killed")
    (journal,) = Path(store.url).glob("runs/*/journal/*.journal")
    data = journal.read_bytes()
    header, layout = frames.decode_header(data, key=journal.name)
    dead = structs.replace(header, writer=structs.replace(this_writer(), started=1.0))
    journal.write_bytes(frames.encode_header(dead, layout) + data[frames.HEADER_BYTES :])
    before = reading.series(store, run.run)

    recovered = recover(store, store)

    assert (len(recovered.journals), recovered.problems) == (1, {})
    assert not journal.exists()
    assert reading.series(store, run.run) == before


def test_nan_is_nan(store: Store) -> None:
    """The one value that ``repr`` alone does not vouch for."""
    values = reading.values(store, view(store, "finished").run, "float")

    assert math.isnan(values[4])
    assert math.copysign(1, values[1]) == -1
