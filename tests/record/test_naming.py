"""What documents of a run name is in the store before they are, also when the store goes away, or is swept."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.record.wayward import Wayward, begin
from tracker.checkpoint.invocations import CapturedCall, load_arguments, read_invocation
from tracker.record import capture
from tracker.record.context import PROCESS, set_scope
from tracker.record.origin import Origin
from tracker.record.run import Run
from tracker.store import keys
from tracker.store.base import has
from tracker.store.documents import CodeDocument, Entry, Hold, decode
from tracker.store.holds import Sweeping, held_keys
from tracker.store.shipping import ship_documents, shipping

PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def _leave_the_run() -> Iterator[None]:
    """Let later tests log elsewhere."""
    yield
    set_scope(PROCESS.root)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a script."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "train.py").write_text("import tracker")
    return folder


def start(store: Wayward, folder: Path, origin: Origin | None = None) -> Run:
    """A run whose code is captured."""
    run = begin(store, folder, capture=("code",), spool=str(folder.parent / "spool"))
    capture.begin(run, Entry(kind="script", script="train.py"), origin or Origin())
    return run


def end_main_thread(run: Run) -> Run:
    """Do what is done for a run when the main thread has ended."""
    for wait in run.on_exit:
        wait()
    return run


def code_key(run: Run) -> str:
    """The key of what the run says of its code."""
    return keys.attempt_document(run.id, run.attempt, "code")


def code_of(run: Run) -> CodeDocument:
    """What the store has of it."""
    return decode(run.store.get(code_key(run)), CodeDocument, key=code_key(run))


def is_named_and_there(run: Run) -> bool:
    """Whether the run names a snapshot, without a problem, and the store has that."""
    code = code_of(run)
    assert code.snapshot is not None
    return code.problem is None and has(run.store, keys.code_document(code.snapshot))


def test_code_that_waits_in_the_spool_is_not_named_before_it_is_shipped(project: Path) -> None:
    """The store takes documents again when the snapshot has gone to the spool."""
    store = Wayward()
    store.refused = keys.OBJECTS
    run = start(store, project)
    assert run.code_taken.wait(PATIENCE_S)
    store.refused = "nothing"

    assert not has(store, code_key(run))
    assert run.is_away
    run.finish()
    assert is_named_and_there(run)
    assert list(run.spool.list()) == [info for info in run.spool.list() if info.key == "store-url"]


def test_a_call_whose_payloads_the_store_does_not_take_waits_in_the_spool(project: Path) -> None:
    """It is shipped with the records, and can be made again."""
    store = Wayward()
    run = start(store, project)
    assert run.code_taken.wait(PATIENCE_S)
    store.refused = keys.OBJECTS
    call = CapturedCall.of({"weights": np.arange(1000.0)}, is_entry=True)
    with pytest.warns(RuntimeWarning, match="kept on this machine"):
        again = end_main_thread(start(store, project, Origin(call=call)))
    store.refused = "nothing"
    again.finish()
    run.finish()

    arguments = load_arguments(store, read_invocation(store, again.id, again.attempt))
    assert list(arguments["weights"]) == list(range(1000))


class Watched(Wayward):
    """A store that notes what is held when a document comes, and by each hold."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, set[str]] = {}
        self.holds: list[tuple[str, ...]] = []

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write a key."""
        if key.startswith(keys.RUNS):
            self.held[key] = held_keys(self, 0.0) or set()
        if key.startswith(keys.HOLDS):
            self.holds.append(decode(bytes(data), Hold, key=key).keys)
        super().put(key, data)


def test_code_that_came_to_the_spool_late_is_shipped_before_it_is_named_and_held(tmp_path: Path) -> None:
    """A run without checkpoints, too; what the store has already could be swept before the document is there."""
    store = Watched()
    run = begin(store, tmp_path)
    early, late = keys.code_document("a"), keys.code_document("b")
    store.create(late, b"{}")
    run.spool.put(early, b"{}")
    with shipping(store, run.spool, {}):
        assert held_keys(store, 0.0) == {early}
        assert has(store, early)
        run.spool.put(late, b"{}")
        run.spool.put(code_key(run), b"{}")
        assert ship_documents(store, run.spool, run.id, {}) == [code_key(run)]
    run.finish()

    assert store.held[code_key(run)] == {early, late}


def test_a_snapshot_is_held_only_where_it_was_found(project: Path) -> None:
    """What the first run stored itself is young, and no sweep takes it while that run is open."""
    store = Watched()
    for count in range(2):
        run = start(store, project)
        run.finish()
        assert is_named_and_there(run)
        code = keys.code_document(code_of(run).snapshot or "")
        assert [wanted for wanted in store.holds if code in wanted] == [(code,)] * count


def test_a_sweep_delays_the_end_of_a_run_once_and_its_code_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the main thread and that of the run have one deadline. When the sweep is over the snapshot is looked
    for, and named without a doubt.
    """
    store = Wayward()
    first = start(store, project)
    first.finish()
    assert is_named_and_there(first)
    sweeping = Sweeping(store)
    sweeping.begin()
    monkeypatch.setattr(capture, "_PATIENCE_S", 0.2)
    run = start(store, project)
    while run.code is None:
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it was not captured
        end_main_thread(run)
        monkeypatch.setattr(capture, "_PATIENCE_S", 10 * PATIENCE_S)
        ending = threading.Thread(target=run.finish, daemon=True)
        ending.start()
        ending.join(PATIENCE_S)

    assert not ending.is_alive()
    assert code_of(run).snapshot == code_of(first).snapshot
    assert "sweep" in (code_of(run).problem or "")
    sweeping.end()
    assert run.code_taken.wait(PATIENCE_S)
    assert is_named_and_there(run)
