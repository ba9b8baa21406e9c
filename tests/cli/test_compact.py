"""``hindsight compact``: what people and scripts see of it."""

from __future__ import annotations

from pathlib import Path

from tests.cli.calling import Call
from tracker.cli.failures import OK


def test_it_tells_what_it_did(hindsight: Call, store: Path) -> None:
    """How many runs were taken in, and the second time that there was nothing to do; the runs read the same."""
    before = hindsight("runs", "--store", store).out
    first, second = hindsight("compact", store), hindsight("compact", "--store", store)

    assert (first.code, second.code) == (OK, OK)
    assert f"3 runs of 3 taken into the index of {store}" in first.out
    assert "files with" in first.out
    assert f"the index of {store} has all it can have of 3 runs" in second.out
    assert hindsight("runs", "--store", store).out == before


def test_json_says_all_of_it(hindsight: Call, store: Path) -> None:
    """The fields that the help names; a dry run writes nothing."""
    dry = hindsight("compact", store, "--dry-run", "--json").json

    assert (dry["indexed"], dry["written"], (store / "index" / "runs").exists()) == (3, 0, False)
    found = hindsight("compact", store, "--full", "--grace", "0", "--json").json
    assert (found["runs"], found["read"], found["indexed"], found["dry_run"]) == (3, 3, 3, False)
    help_text = hindsight("compact", "--help").out
    assert all(name in help_text for name in found)


def test_a_store_that_is_not_there(hindsight: Call, tmp_path: Path) -> None:
    """Is not made."""
    assert hindsight("compact", tmp_path / "nothing").code != OK
    assert not (tmp_path / "nothing").exists()
