"""``hindsight verify`` and ``hindsight doctor``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.calling import Call


def test_sound_store(hindsight: Call, store: Path, ids: list[str]) -> None:
    """A store with nothing wrong ends with 0 and says what was read."""
    ended = hindsight("verify", "--store", store)
    assert ended.code == 0
    assert "everything is there" in ended.out

    document = hindsight("verify", ids[0][-8:], "--store", store, "--json").json
    assert (document["ok"], document["run"], document["problems"]) == (True, ids[0], [])
    assert sum(document["counts"].values()) >= 5


def test_damage_is_named(hindsight: Call, store: Path, ids: list[str]) -> None:
    """A damaged and a missing key give exit code 1; each is named with what is wrong."""
    (segment, *_) = sorted((store / "runs" / ids[0] / "data" / "epoch").iterdir())
    segment.write_bytes(segment.read_bytes()[:-20])
    (store / "runs" / ids[1] / "run.json").unlink()

    ended = hindsight("verify", "--store", store)
    assert ended.code == 1
    assert f"damaged: runs/{ids[0]}/data/epoch/{segment.name}" in ended.out
    assert f"missing: runs/{ids[1]}/run.json" in ended.out
    document = hindsight("verify", "--store", store, "--json", "--limit", "1").json
    assert (document["ok"], len(document["problems"]), document["more"]) == (False, 1, document["total"] - 1)
    assert list(document["problems"][0]) == ["kind", "key", "detail", "size_bytes"]


def test_doctor_on_a_folder(hindsight: Call, store: Path) -> None:
    """A store that works passes every check and is left as it was."""
    before = sorted(str(path) for path in store.rglob("*"))

    document = hindsight("doctor", store, "--json").json

    assert document["ok"]
    assert {"list", "put", "get", "range", "create", "delete"} <= {check["name"] for check in document["checks"]}
    assert sorted(str(path) for path in store.rglob("*")) == before
    assert "the store works" in hindsight("doctor", store).out


def test_doctor_says_how_to_repair(hindsight: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not answer gives exit code 3, the remedy, and no secrets."""
    options = '{"key": "k", "secret": "s3cr3tvalue", "endpoint_url": "http://127.0.0.1:9"}'
    monkeypatch.setenv("HINDSIGHT_STORAGE_OPTIONS", options)

    ended = hindsight("doctor", "s3://bucket/prefix")

    assert ended.code == 3
    assert "fix" in ended.out
    assert "s3cr3tvalue" not in ended.out + ended.err


def test_an_attempt_without_an_end_is_told(hindsight: Call, store: Path, ids: list[str]) -> None:
    """It is no error, but nobody says that everything is there."""
    (end,) = (store / "runs" / ids[0]).rglob("end.json")
    end.unlink()

    ended = hindsight("verify", "--store", store)

    assert ended.code == 0
    assert f"unfinished: {end.relative_to(store)}" in ended.out
    assert "everything is there" not in ended.out
