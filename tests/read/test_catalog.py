"""The catalog: views of runs, and finding a run."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest

from tests.read.building import START, It, Logged, Writer, log_run, make_run
from tracker.errors import RunNotFound
from tracker.read.catalog import find_run, scan
from tracker.read.notices import DamageWarning
from tracker.read.select import runs
from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.documents import CodeDocument, EndDocument, Entry, StartDocument, encode
from tracker.store.memory import MemoryStore


def test_a_view_says_what_the_documents_say(store: Store) -> None:
    """Identity, times, status, arguments and last values of a finished run."""
    run = make_run(store, name="first", tags=("a",), parent=None, arguments={"lr": 0.1}, summary={"score": 3})

    view = find_run(store, run)

    assert (view.run, view.project, view.script, view.name, view.tags) == (run, "demo", "train.py", "first", ("a",))
    assert (view.status, view.duration, view.started) == ("finished", 60.0, datetime.fromtimestamp(START, UTC))
    assert (view.arguments, view.summary) == ({"lr": 0.1}, {"score": 3})
    assert view.mapping()["score"] == 3


def test_attempts_are_numbered_in_time(store: Store) -> None:
    """The last one gives the status, and a later argument wins."""
    run = make_run(store, end=False)
    attempts = sorted(ids.new_id() for _ in range(2))
    for attempt, status, lr in zip(attempts, ["preempted", "failed"], [1, 2], strict=True):
        end = EndDocument(status=status, ended=START + lr, arguments={"lr": lr})
        store.put(keys.attempt_document(run, attempt, "end"), encode(end))

    view = find_run(store, run)

    assert [(one.number, one.attempt, one.status) for one in view.attempts] == [
        (1, attempts[0], "preempted"),
        (2, attempts[1], "failed"),
    ]
    assert view.status == "failed"
    assert view.arguments == {"lr": 2}


def test_start_and_code_are_read_when_asked_for(store: Store) -> None:
    """They are large, and a table of runs does not need them."""
    run = make_run(store)
    entry = Entry(kind="script", script="train.py", argv=("--fast",))
    start = StartDocument(run=run, attempt=run, started=START, entry=entry, pid=1, writer="x", environment={"A": "1"})
    store.put(keys.attempt_document(run, run, "start"), encode(start))
    store.put(keys.attempt_document(run, run, "code"), encode(CodeDocument(snapshot="s1")))

    view = find_run(store, run)

    assert view.start is not None
    assert view.start.entry.argv == ("--fast",)
    assert view.environment == {"A": "1"}
    assert view.code is not None
    assert view.code.snapshot == "s1"


def test_a_run_without_an_end_tells_its_values_from_its_data(store: Store) -> None:
    """What crashed said nothing, and still its arguments and results are known."""
    run = make_run(store, end=False)
    Writer(store, run, run).seal(
        Logged((), "lr", 0.5, role="argument"), Logged((), "score", 1.0), Logged((), "score", float("inf"))
    )

    view = find_run(store, run)

    assert view.arguments == {"lr": 0.5}
    assert view.summary == {"score": float("inf")}
    assert view.status == "lost"


def test_runs_are_found_by_parts_of_their_ids(store: Store) -> None:
    """The full id, a unique beginning or end, upper case, or ``latest``."""
    first, last = make_run(store), make_run(store)

    assert find_run(store, first).run == first
    assert find_run(store, ids.short(first)).run == first
    assert find_run(store, f" {last[5:].upper()} ").run == last
    assert find_run(store, "latest").run == last


def test_an_ambiguous_id_names_the_candidates(store: Store) -> None:
    """Both runs that begin alike are named."""
    first, last = make_run(store), make_run(store)

    with pytest.raises(RunNotFound, match=f"not unique.*{first}, {last}"):
        find_run(store, first[:4])


def test_an_unknown_id_names_what_is_near(store: Store) -> None:
    """A slip of one letter is recognised."""
    run = make_run(store)
    slip = ids.short(run)[:-1] + ("z" if run[-1] != "z" else "y")

    with pytest.raises(RunNotFound, match=f"did you mean {ids.short(run)}"):
        find_run(store, slip)
    with pytest.raises(RunNotFound, match="has no runs yet"):
        find_run(MemoryStore("catalog-empty"), "latest")


def test_a_damaged_document_hides_no_neighbour(store: Store) -> None:
    """The run is left out with a warning that names the key; the others are read."""
    good, bad = make_run(store), make_run(store)
    store.put(keys.run_document(bad), b'{"run": 3')

    with pytest.warns(DamageWarning, match=f"left out runs/{bad}/run.json"):
        found = scan(store)

    assert [view.run for view in found] == [good]


def test_a_time_that_no_calendar_has_hides_no_neighbour(store: Store) -> None:
    """Whoever wrote it: the document is damaged."""
    good, bad = make_run(store), make_run(store)
    document = json.loads(store.get(keys.run_document(bad)))
    store.put(keys.run_document(bad), json.dumps(document | {"created": 1e18}).encode())

    with pytest.warns(DamageWarning, match=f"left out runs/{bad}/run.json"):
        found = runs(store)

    assert [view.run for view in found] == [good]


def test_a_damaged_end_leaves_the_run_readable(store: Store) -> None:
    """It is warned of, and the run stands as one without an end."""
    run = make_run(store)
    store.put(keys.attempt_document(run, run, "end"), b"\xff\xfe")

    with pytest.warns(DamageWarning, match=r"end\.json"):
        view = find_run(store, run)

    assert view.status == "lost"


def test_foreign_keys_are_no_runs(store: Store) -> None:
    """A folder that is no id, and a run whose document has not arrived yet."""
    store.put("runs/notes/readme.txt", b"x")
    store.put(f"runs/{ids.new_id()}/attempts/{ids.new_id()}/end.json", b"{}")
    run = make_run(store)

    assert [view.run for view in runs(store)] == [run]


def test_a_list_of_runs_prints_as_a_table(store: Store) -> None:
    """With what people look for: short id, status, arguments."""
    run = make_run(store, arguments={"lr": 0.25})

    text = repr(runs(store))

    assert text.splitlines()[0] == "1 run"
    assert ids.short(run) in text
    assert "finished" in text
    assert "lr=0.25" in text
    assert runs(store).pandas()["lr"].tolist() == [0.25]


def test_runs_can_be_chosen(store: Store) -> None:
    """By ids, by an expression, by a function."""
    made = [make_run(store, arguments={"lr": lr}) for lr in (0.1, 0.2, 0.3)]

    assert [view.run for view in runs(store, runs=[made[0], ids.short(made[2])])] == [made[0], made[2]]
    assert [view.run for view in runs(store, runs="latest")] == [made[2]]
    assert [view.run for view in runs(store, where="lr > 0.15")] == made[1:]
    assert [view.run for view in runs(store, where=lambda run: run["lr"] == 0.2)] == [made[1]]
    assert len(runs(store, runs=[])) == 0


def test_reading_writes_nothing(store: Store) -> None:
    """Neither keys nor times change."""
    log_run(store, Logged((It("step", 0),), "loss", 1.0))
    before = list(store.list())

    time.sleep(0.01)
    from tracker.read.reader import Reader

    Reader(store).sql("select * from records")
    Reader(store).pandas(index=["step"], columns=["metric"])
    runs(store).pandas()

    assert list(store.list()) == before
