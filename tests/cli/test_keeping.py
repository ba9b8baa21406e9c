"""``hindsight tag``, ``pin``, ``rm`` and ``gc``, and ``verify --repair-from``: what people and scripts see of them."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

import tracker
from tests.cli.calling import Call, typed_at_terminal
from tracker.cli.failures import NOT_SO, OK, USAGE
from tracker.store import keys
from tracker.store.open import open_store


def aged(store: Path, hours: float = 48) -> None:
    for path in store.rglob("*"):
        os.utime(path, (time.time() - hours * 3600,) * 2)


def left(store: Path) -> list[str]:
    return [view.run for view in tracker.runs(store=store)]


def test_tag(hindsight: Call, store: Path, ids: list[str]) -> None:
    """With and without a plus, also several at once; an option is still an option."""
    first = hindsight("tag", ids[0], "+good", "best", "--store", store)
    second = hindsight("tag", ids[0], "-good", "--store", store, "--json")

    assert (first.code, first.out) == (OK, f"{ids[0][-8:]}: good, best\n")
    assert second.json == {"run": ids[0], "tags": ["best"], "changed": True}
    assert hindsight("runs", "--where", "'best' in tags", "--store", store, "--json").json["total"] == 1
    assert hindsight("tag", ids[0], " ", "--store", store).code == USAGE
    hindsight("tag", ids[0], "+archive", "--store", store)
    assert hindsight("tag", ids[0], "-archive", "--store", store).out == f"{ids[0][-8:]}: best\n"
    assert "hindsight tag" in hindsight("tag", "--help").out


def test_pin(hindsight: Call, store: Path, ids: list[str]) -> None:
    """What changed, and what was so already."""
    assert hindsight("pin", ids[0], "--store", store).out == f"{ids[0][-8:]}: pinned\n"
    assert hindsight("pin", ids[0], ids[1], "--store", store, "--json").json == {"runs": ids[:2], "changed": [ids[1]]}
    assert hindsight("runs", "--where", "status != 'x'", "--store", store, "--json").json["runs"][-1]["pinned"] is True
    assert "pinned" in hindsight("show", ids[0], "--store", store).out
    marked = [line for line in hindsight("runs", "--store", store).out.splitlines() if "pinned" in line]
    assert [line.split()[0] for line in marked] == [run[-8:] for run in reversed(ids[:2])]
    assert hindsight("unpin", ids[0], "--store", store).out == f"{ids[0][-8:]}: not pinned\n"


def test_rm_asks(hindsight: Call, store: Path, ids: list[str], tmp_path: Path) -> None:
    """Without somebody to ask nothing happens; at a terminal what is answered."""
    alone = hindsight("rm", ids[0], "--store", store)
    assert alone.code == NOT_SO
    assert "--yes removes without asking" in alone.err
    assert ids[0][-8:] in alone.out

    refused = typed_at_terminal("rm", ids[0], "--store", str(store), cwd=tmp_path, answer="n\n")
    assert refused.code == NOT_SO
    assert left(store) == ids
    agreed = typed_at_terminal("rm", ids[0], "--store", str(store), cwd=tmp_path, answer="y\n")
    assert agreed.code == OK
    assert "1 run removed" in agreed.out
    assert left(store) == ids[1:]


def test_rm_says_what_stays(hindsight: Call, store: Path, ids: list[str]) -> None:
    """A pinned run, and with which code; --force takes it, too."""
    hindsight("pin", ids[1], "--store", store)
    found = hindsight("rm", ids[0], ids[1], "--yes", "--store", store)

    assert found.code == NOT_SO
    assert f"kept {ids[1][-8:]}: it is pinned" in found.err
    assert left(store) == ids[1:]
    assert hindsight("rm", ids[1], "--yes", "--force", "--store", store).code == OK


def test_rm_says_it_also_after_the_question(store: Path, ids: list[str], tmp_path: Path) -> None:
    """What stays stays in mind while somebody answers."""
    tracker.pin(ids[1], store=store)

    found = typed_at_terminal("rm", ids[0], ids[1], "--store", str(store), cwd=tmp_path, answer="y\n")

    assert found.code == NOT_SO
    assert "1 run removed" in found.out
    assert f"kept {ids[1][-8:]}: it is pinned" in found.out
    assert left(store) == ids[1:]


@pytest.mark.filterwarnings("ignore::tracker.read.notices.DamageWarning")
def test_rm_of_a_run_that_cannot_be_read(hindsight: Call, store: Path, ids: list[str]) -> None:
    """Nobody knows what it is: it stays, which is told; with --force it goes."""
    (store / keys.run_document(ids[0])).write_bytes(b"{")

    found = hindsight("rm", ids[0], "--yes", "--store", store)
    assert found.code == NOT_SO
    assert f"kept {ids[0][-8:]}: runs/{ids[0]}/run.json cannot be read" in found.err

    found = hindsight("rm", ids[0], "--yes", "--force", "--store", store)
    assert found.code == OK
    assert "1 run removed" in found.out
    assert not (store / keys.run_folder(ids[0])).exists()


def test_rm_by_condition(hindsight: Call, store: Path, ids: list[str]) -> None:
    """And what it would free, as JSON."""
    found = hindsight("rm", "--where", "status == 'finished'", "--dry-run", "--store", store, "--json").json

    assert sorted(found["runs"]) == sorted(run for run in ids if run in found["runs"])
    assert len(found["runs"]) == 2
    assert found["size_bytes"] == sum(found["runs"].values()) > 0
    assert found["dry_run"] is True
    assert left(store) == ids
    help_text = hindsight("rm", "--help").out
    assert all(name in help_text for name in found)
    assert hindsight("rm", "--store", store).code == USAGE
    assert hindsight("rm", "nothing", "--store", store).code == NOT_SO


def test_gc_shows_and_asks(hindsight: Call, store: Path, ids: list[str], tmp_path: Path) -> None:
    """First what would go and why; then the question."""
    alone = hindsight("gc", "--keep-last", 1, "--grace", 0, "--store", store)
    assert alone.code == NOT_SO
    assert "not among the last 1 of digits" in alone.out
    assert "would be removed" in alone.out
    assert left(store) == ids

    agreed = typed_at_terminal(
        "gc", "--keep-last", "1", "--grace", "0", "--store", str(store), cwd=tmp_path, answer="y\n"
    )
    assert agreed.code == OK
    assert "2 runs" in agreed.out
    assert left(store) == ids[2:]


def test_gc_in_a_script(hindsight: Call, store: Path, ids: list[str]) -> None:
    """The same as JSON; a dry run changes nothing, and needs no answer."""
    words = ("gc", "--keep-last", 2, "--grace", "0s", "--store", store, "--json")
    told = hindsight(*words, "--dry-run")
    assert (told.code, told.err) == (OK, "")
    assert hindsight(*words).err == "hindsight: nothing was removed: --yes removes\n"
    assert left(store) == ids

    done = hindsight(*words, "--yes")

    assert done.json["dry_run"] is False
    assert list(done.json["runs"]) == ids[:1] == list(told.json["runs"])
    assert done.json["counts"] == told.json["counts"]
    help_text = hindsight("gc", "--help").out
    assert all(name in help_text for name in done.json)
    assert left(store) == ids[1:]


def test_gc_takes_rules_from_the_project(
    hindsight: Call, store: Path, ids: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``[tool.hindsight.retention]``; what the command line says comes first."""
    (tmp_path / "pyproject.toml").write_text("[tool.hindsight.retention]\nkeep_last = 1\ngrace = '0s'\n")
    monkeypatch.chdir(tmp_path)

    assert len(hindsight("gc", "--dry-run", "--json", "--store", store).json["runs"]) == 2
    assert len(hindsight("gc", "--dry-run", "--json", "--keep-last", 2, "--store", store).json["runs"]) == 1
    (tmp_path / "pyproject.toml").write_text("[tool.hindsight.retention]\nkeep_lust = 1\n")
    wrong = hindsight("gc", "--dry-run", "--store", store)
    assert wrong.code == USAGE
    assert "keep_lust" in wrong.err


def test_gc_wants_units(
    hindsight: Call, store: Path, ids: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who writes 30 means days, and would lose runs of a minute ago."""
    found = hindsight("gc", "--keep-younger", 30, "--yes", "--store", store)
    (tmp_path / "pyproject.toml").write_text("[tool.hindsight.retention]\nkeep_last = 1\ngrace = 24\n")
    monkeypatch.chdir(tmp_path)

    assert (found.code, hindsight("gc", "--yes", "--store", store).code) == (USAGE, USAGE)
    assert "keep_younger is '30': expected a text such as 30d" in found.err
    assert left(store) == ids


def test_gc_says_what_it_left(hindsight: Call, store: Path) -> None:
    """A document that cannot be read may need any payload: exit code 1, and its key."""
    opened = open_store(store)
    opened.put(keys.object_key("0" * 64), b"nobody's")
    opened.put("media/strange.json", b"{}")
    aged(store)

    found = hindsight("gc", "--yes", "--store", store)

    assert found.code == NOT_SO
    assert "payloads stay: media/strange.json" in found.err


def test_repair(hindsight: Call, store: Path, tmp_path: Path, ids: list[str]) -> None:
    """What was damaged and missing is there again; the code says whether all of it is."""
    shutil.copytree(store, tmp_path / "other")
    segments = sorted(store.rglob("*.parquet"))
    segments[0].write_bytes(b"PAR1 no more")
    segments[1].unlink()
    run = store / "runs" / ids[0] / "run.json"
    run.unlink()

    assert hindsight("verify", "--store", store).code == NOT_SO
    found = hindsight("verify", "--store", store, "--repair-from", tmp_path / "other", "--json")

    assert (found.code, found.json["ok"]) == (OK, True)
    assert f"runs/{ids[0]}/run.json" in found.json["repaired"]
    assert found.json["unrepaired"] == {}
    assert left(store) == ids


def test_what_cannot_be_repaired_is_named(hindsight: Call, store: Path, tmp_path: Path, ids: list[str]) -> None:
    """The other store does not have it."""
    run = store / "runs" / ids[0] / "run.json"
    run.unlink()
    shutil.copytree(store, tmp_path / "other")

    found = hindsight("verify", "--store", store, "--repair-from", tmp_path / "other")

    assert found.code == NOT_SO
    assert f"not repaired: runs/{ids[0]}/run.json: the other store does not have it" in found.out
