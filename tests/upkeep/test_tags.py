"""Tags and pins: changes that merge, whichever store they were made in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tracker
from tests.conftest import remote
from tests.syncing.stores import sound
from tracker.errors import InputError, RunNotFound
from tracker.store import ids, keys
from tracker.store.base import Store
from tracker.store.documents import Mark, encode
from tracker.store.open import open_store
from tracker.syncing.stores import sync


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run_in(store: Store | str | Path, *tags: str) -> str:
    with tracker.run(store=store if not isinstance(store, Store) else store.url, capture=(), tags=tags) as run:
        pass
    return run.id


def tags_of(store: Store | Path) -> tuple[str, ...]:
    return tracker.runs(store=store)[0].tags


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one run that was tagged when it began."""
    run_in(tmp_path / "store", "a", "b")
    return open_store(tmp_path / "store")


def test_added_and_removed(store: Store) -> None:
    """Also those that the run was given at the start; a change that changes nothing writes nothing."""
    assert tracker.tag("latest", add=["c"], remove=["a"], store=store)
    before = len(list(store.list()))

    assert tracker.tag("latest", add=["c"], remove=["a"], store=store) == []

    assert tags_of(store) == ("b", "c")
    assert len(list(store.list())) == before
    assert len(tracker.runs(where="'c' in tags and 'a' not in tags", store=store)) == 1
    assert sound(store)


def test_pinned_and_unpinned(store: Store) -> None:
    """The last word counts."""
    assert tracker.pin("latest", store=store)
    assert tracker.runs(store=store)[0].pinned
    assert tracker.pin("latest", store=store) == []
    assert tracker.unpin("latest", store=store)
    assert not tracker.runs(store=store)[0].pinned


def test_two_stores_agree(store: Store, tmp_path: Path) -> None:
    """What was added in one and removed in the other is in both what was said last; a removal survives."""
    other = tmp_path / "other"
    sync(store, other)
    tracker.tag("latest", add=["mine"], remove=["a"], store=store)
    tracker.tag("latest", add=["theirs"], remove=["b"], store=other)
    tracker.pin("latest", store=other)

    for _ in range(2):
        sync(store, other)
        sync(other, store)

    assert tags_of(store) == tags_of(other) == ("mine", "theirs")
    assert tracker.runs(store=store)[0].pinned
    assert sync(store, other).keys == 0


def test_a_clock_that_is_ahead_does_not_win_for_ever(store: Store) -> None:
    """A change follows all that its store has, whatever the clock of their writers said."""
    run = tracker.runs(store=store)[0].run
    ahead = ids._made_of(ids.created_ms(ids.new_id()) + 10**9, 0)
    store.put(keys.mark_document(run, ahead), encode(Mark(run=run, mark=ahead, at=0.0, add=("late",))))

    assert tags_of(store) == ("a", "b", "late")
    tracker.tag(run, remove=["late"], store=store)
    assert tags_of(store) == ("a", "b")


@pytest.mark.parametrize("tag", ["", " x", "x ", "a\nb", "x" * 201])
def test_what_cannot_be_a_tag(store: Store, tag: str) -> None:
    """It is told, and nothing is written."""
    with pytest.raises(InputError, match="cannot be a tag"):
        tracker.tag("latest", add=[tag], store=store)
    assert tags_of(store) == ("a", "b")


def test_added_and_removed_at_once(store: Store) -> None:
    """Nobody can mean that."""
    with pytest.raises(InputError, match="added and removed at once"):
        tracker.tag("latest", add=["c"], remove=["c"], store=store)


def test_a_run_that_is_not_there(store: Store) -> None:
    """Nothing is changed of the others."""
    with pytest.raises(RunNotFound):
        tracker.tag(["latest", "nothing"], add=["c"], store=store)
    assert tags_of(store) == ("a", "b")


@pytest.mark.parametrize("address", remote("memory", "obstore"), indirect=True)
def test_on_every_store(address: tuple[str, dict[str, object]]) -> None:
    """Nothing but documents is needed."""
    url, options = address
    with tracker.run(store=url, storage_options=options, capture=()):
        pass
    opened = open_store(url, storage_options=options)
    tracker.tag("latest", add=["x"], store=opened)

    assert tags_of(opened) == ("x",)


CHANGE = st.tuples(st.integers(0, 1), st.booleans(), st.sampled_from("abc"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.one_of(CHANGE, st.tuples(st.just("sync"), st.integers(0, 1), st.none())), max_size=12))
def test_any_changes_in_any_order(changes: list[tuple[object, ...]]) -> None:
    """After both directions the stores agree; a tag is there unless the last who touched it, having seen the others'
    changes or not, took it away.
    """
    both = [open_store(f"memory://{ids.new_id()}") for _ in range(2)]
    run_in(both[0].url)
    sync(both[0], both[1])
    last: dict[str, bool] = {}
    for where, what, tag in changes:
        if where == "sync":
            sync(both[int(what)], both[1 - int(what)])  # type: ignore[call-overload]
        elif (tag in tags_of(both[int(where)])) != what:  # type: ignore[call-overload]
            tracker.tag("latest", **{"add" if what else "remove": [str(tag)]}, store=both[int(where)])  # type: ignore[arg-type,call-overload]
            last[str(tag)] = bool(what)
    sync(both[0], both[1])
    sync(both[1], both[0])

    assert set(tags_of(both[0])) == set(tags_of(both[1])) == {tag for tag, there in last.items() if there}
