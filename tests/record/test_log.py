"""``log`` and ``log_many``: what they return, what a failing value costs, and how durable a record is."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import tracker
from tests.record import reading
from tests.record.reading import identity, place
from tracker.errors import BadName, UnstorableValue
from tracker.store.journals import read_journal
from tracker.store.open import open_store


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """An open run."""
    with tracker.run(store=tmp_path / "store", capture=()) as opened:
        yield opened


def test_log_returns_what_it_was_given(run: Any) -> None:
    """So that it can stand inside of an expression."""
    for value in (0.5, 1, True, None, "x", b"x", [1], {"a": 1}, float("nan")):
        assert tracker.log("x", value) is value


def test_labels_may_be_called_name_and_value(run: Any) -> None:
    """The parameters of ``log`` take no names away."""
    tracker.log("x", 1, name="a", value="b")

    assert reading.series(run.store, run.id) == {(place(), identity("x", {"name": "a", "value": "b"})): [1]}


def test_log_many_records_all_but_the_bad_ones(run: Any) -> None:
    """The error comes after everything that can be stored was."""
    with pytest.raises(UnstorableValue, match="'bad'"):
        tracker.log_many({"a": 1, "bad": object(), 5: 1, "b": 2.5}, layer=1)

    assert reading.values(run.store, run.id, "a") == [1]
    assert reading.values(run.store, run.id, "b") == [2.5]


def test_log_many_without_a_mapping_says_so(run: Any) -> None:
    """It never records nothing in silence."""
    with pytest.raises(UnstorableValue, match="log_many takes a mapping"):
        tracker.log_many([("a", 1)])  # type: ignore[arg-type]


def test_a_value_in_another_type_keeps_its_metric(run: Any) -> None:
    """The fast ways for floats and integers and the careful one write the same column."""
    for value in (1.5, 2, 3.5, 10**30, 4):
        tracker.log("x", value, layer=1)

    assert reading.values(run.store, run.id, "x") == [1.5, 2, 3.5, 10**30, 4]


def test_repeated_values_stay_in_their_rows(run: Any) -> None:
    """Three losses and one score in an iteration: the score stands beside the first loss."""
    for _ in tracker.loop("epoch", range(2)):
        for value in (1, 2, 3):
            tracker.log("loss", value)
        tracker.log("score", 9)

    rows = {(cell.metric, cell.value, cell.row) for cell in reading.cells(run.store, run.id)}
    assert rows == {(identity("loss", {}), n, n - 1) for n in (1, 2, 3)} | {(identity("score", {}), 9, 0)}


@pytest.mark.parametrize("fsync", ["none", "interval", "each"])
def test_every_policy_of_fsync_records_the_same(tmp_path: Path, fsync: str) -> None:
    """Slower, not different; also for arguments and contexts."""
    with tracker.run(
        store=tmp_path / "store", capture=(), fsync=fsync, fsync_interval_s=0.01, journal_bytes=4096
    ) as run:
        tracker.arg("lr", 0.5)
        for step in tracker.loop("step", range(60)):
            tracker.log("x", step)
            tracker.log("text", f"{step}")

    assert reading.values(run.store, run.id, "x") == list(range(60))
    assert reading.values(run.store, run.id, "text") == [f"{step}" for step in range(60)]


def test_names_are_written_once_a_journal(run: Any) -> None:
    """Names, labels and contexts cost bytes on their first use only."""
    for step in tracker.loop("step", range(100)):
        tracker.log("a long name of a metric", step, layer="a long label of a metric")

    frames_found = read_journal(run.recorder.journal.path)
    assert frames_found.end == 1 + 1 + 100 + 1 + 100 + 1  # unused, loop, iterations, metric, values, end of the loop


def test_a_bad_name_in_the_first_log_obeys_on_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings count from the first call on, though no run was open yet."""
    monkeypatch.setenv("HINDSIGHT_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("HINDSIGHT_CAPTURE", "")
    monkeypatch.setenv("HINDSIGHT_ON_ERROR", "warn")
    with pytest.warns(RuntimeWarning, match="name of a metric"):
        assert tracker.log("", 1) == 1
    tracker.finish()

    monkeypatch.setenv("HINDSIGHT_ON_ERROR", "raise")
    with pytest.raises(BadName):
        tracker.log("", 1)
    tracker.finish()


def test_where_warnings_are_errors_ours_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no fault of the code that logs never raises out of its log, whatever the filters say."""
    with tracker.run(store=tmp_path / "store", capture=()) as run, warnings.catch_warnings():
        warnings.simplefilter("error")
        run.recorder.warn_once("the disk is slow")
        run.recorder.warn_once("the disk is slow")

    assert capsys.readouterr().err.count("the disk is slow") == 1


def test_memory_stores_record_like_any_other(tmp_path: Path) -> None:
    """For notebooks and tests: nothing of the run is left on the disk."""
    with tracker.run(store="memory://log", capture=(), spool=tmp_path / "spool") as run:
        tracker.log("x", 1)

    assert reading.values(open_store("memory://log"), run.id, "x") == [1]
    assert not list(tmp_path.glob("spool/*/runs/*/journal/*"))
