"""``hindsight sync``: what people and scripts see of it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tracker
from tests.cli.calling import Call, typed_at_terminal
from tests.servers import Server
from tracker.cli.failures import INTERRUPTED, NOT_SO, OK, UNAVAILABLE, USAGE
from tracker.cli.sync import once_more
from tracker.errors import Conflict, StoreUnavailable
from tracker.store import keys
from tracker.store.open import open_store
from tracker.syncing.summary import Summary


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where no store is yet."""
    return tmp_path / "target"


def test_it_tells_what_it_did(hindsight: Call, store: Path, target: Path) -> None:
    """How many runs, keys and bytes, in which time; and the second time that there was nothing to do."""
    first = hindsight("sync", store, target)
    second = hindsight("sync", store, target)

    assert (first.code, second.code) == (OK, OK)
    assert f"3 runs of 3 copied to {target}: " in first.out
    assert "segments" in first.out
    assert "/s" in first.out
    assert f"{target} has all of 3 runs already" in second.out


def test_json_says_all_of_it(hindsight: Call, store: Path, target: Path, ids: list[str]) -> None:
    """The fields that the help names."""
    found = hindsight("sync", store, target, "--json").json

    assert found["complete"] is True
    assert (found["source"], found["target"], found["runs"], found["changed"]) == (str(store), str(target), 3, ids)
    assert found["keys"] == sum(found["counts"].values())
    assert found["size_bytes"] == sum(found["sizes_bytes"].values())
    help_text = hindsight("sync", "--help").out
    assert all(name in help_text for name in found)


@pytest.mark.parametrize("option", ["--where", "--runs"])
def test_runs_can_be_chosen(hindsight: Call, store: Path, target: Path, ids: list[str], option: str) -> None:
    """By a condition on their arguments and results."""
    assert hindsight("sync", store, target, option, "lr > 0.05").code == OK

    assert open_store(target).folders(keys.RUNS) == [ids[1]]


def test_a_dry_run_says_what_would_be(hindsight: Call, store: Path, target: Path) -> None:
    """And makes nothing."""
    shown = hindsight("sync", store, target, "--dry-run")

    assert "would be copied" in shown.out
    assert not target.exists()


def test_damage_is_an_exit_code(hindsight: Call, store: Path, target: Path, ids: list[str]) -> None:
    """What was held back stands on stderr, and the rest is copied."""
    (store / keys.run_document(ids[0])).write_text("{}")

    ended = hindsight("sync", store, target)

    assert ended.code == NOT_SO
    assert f"held back: {keys.run_document(ids[0])}" in ended.err
    assert ids[2] in open_store(target).folders(keys.RUNS)


def test_deleting_is_told(hindsight: Call, store: Path, target: Path) -> None:
    """With the number of runs that left."""
    ended = hindsight("sync", store, target, "--delete-local-after")

    assert f"3 runs deleted from {store}" in ended.out
    assert not open_store(store).folders(keys.RUNS)


def test_slips_are_wrong_usage(hindsight: Call, store: Path, target: Path) -> None:
    """A name that no run has, one argument too few, and a store onto itself."""
    assert hindsight("sync", store, target, "--where", "rl > 1").code == NOT_SO
    assert hindsight("sync", store).code == USAGE
    assert hindsight("sync", store, store).code == USAGE
    assert hindsight("sync", target / "slip", target).code == NOT_SO
    assert not target.exists()


def test_a_target_that_cannot_be_used(hindsight: Call, store: Path) -> None:
    """Is told as such."""
    assert hindsight("sync", store, "/proc/store").code in {UNAVAILABLE, NOT_SO}


def test_progress_is_shown_at_a_terminal(store: Path, target: Path, tmp_path: Path) -> None:
    """And goes away when it is done."""
    ended = typed_at_terminal("sync", str(store), str(target), cwd=tmp_path, columns=120)

    assert ended.code == OK
    assert "3 runs of 3 copied" in " ".join(ended.out.split())


def test_watching_ends_when_it_is_interrupted(store: Path, target: Path, tmp_path: Path) -> None:
    """As every command does."""
    words = [sys.executable, "-m", "tracker", "sync", str(store), str(target), "--watch", "--every", "0.1"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as watching:
        assert watching.stdout is not None
        assert "copied" in watching.stdout.readline()
        time.sleep(0.2)  # at any moment of its rounds
        watching.send_signal(signal.SIGINT)

        assert watching.wait(60) == INTERRUPTED


def test_every_round_is_one_line_of_json(store: Path, target: Path, tmp_path: Path) -> None:
    """Also one that brought nothing, while a run goes on."""
    words = [sys.executable, "-m", "tracker", "sync", str(store), str(target), "--watch", "--every", "0.1", "--json"]
    with (
        tracker.run(store=store, capture=(), heartbeat_s=3600),
        subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as watching,
    ):
        assert watching.stdout is not None
        found = [json.loads(watching.stdout.readline()) for _ in range(4)]
        watching.send_signal(signal.SIGINT)

    assert found[0]["keys"] > 0
    assert any(each["keys"] == 0 and each["live"] for each in found)


@pytest.mark.parametrize("error", [Conflict("held up for an hour"), StoreUnavailable("nobody answers")])
def test_a_round_that_cannot_be_now_is_tried_again(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """After a sleep of the machine, too, in which others may have deleted what was looked at before."""

    def refuse() -> Summary:
        raise error

    assert once_more(refuse) is None
    assert f"{error}; it is tried again" in capsys.readouterr().err


@pytest.mark.s3
def test_each_side_may_have_options_of_its_own(
    hindsight: Call, store: Path, moto_server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Those of the settings lead nowhere; one side's stand in a variable, and none are some, too."""
    url = f"s3://{bucket}/sides-{secrets.token_hex(4)}"
    monkeypatch.setenv("HINDSIGHT_STORAGE_OPTIONS", json.dumps({"client": "no such client"}))
    monkeypatch.setenv("OF_THE_TEAM", json.dumps(moto_server.options()))
    for name, text in moto_server.environment().items():
        monkeypatch.setenv(name, text)

    assert hindsight("sync", store, url, "--target-options", "OF_THE_TEAM").code == OK
    assert hindsight("sync", url, tmp_path / "back", "--source-options", "{}").code == OK
    repaired = hindsight("verify", "--store", store, "--repair-from", url, "--other-options", "OF_THE_TEAM")
    assert repaired.code == OK
    assert hindsight("sync", store, url).code != OK
    assert hindsight("sync", store, url, "--target-options", "NOT_THERE").code == USAGE
    refused = hindsight("sync", store, url, "--target-options", '{"secret": "hush"')
    assert refused.code == USAGE
    assert "hush" not in refused.err
