"""``hindsight recover``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.calling import Call
from tests.servers import Server

ENDLESS = """
import os, signal, sys, tracker
for i in tracker.loop("i", range(100)):
    tracker.log("x", i)
if len(sys.argv) > 1:
    print("ready", flush=True)
    sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


def _killed(folder: Path, **environment: str) -> None:
    (folder / "job.py").write_text(ENDLESS)
    done = subprocess.run([sys.executable, "job.py"], cwd=folder, env=os.environ | environment, timeout=120)
    assert done.returncode == -signal.SIGKILL


def test_killed_run_is_recovered_once(hindsight: Call, tmp_path: Path) -> None:
    """What a killed process left is sealed and its attempt closed; a second time there is nothing to do."""
    _killed(tmp_path)
    store = tmp_path / ".hindsight"

    (first,) = hindsight("recover", "--store", store, "--json").json["stores"]
    assert (first["records"], len(first["journals"]), len(first["attempts"])) == (100, 1, 1)
    assert first["problems"] == {}
    again = hindsight("recover", "--store", store)
    assert (again.code, again.out) == (0, f"{store}: nothing to recover\n")
    assert hindsight("runs", "--store", store, "--json").json["runs"][0]["status"] == "killed"


def test_running_process_is_left_alone(hindsight: Call, tmp_path: Path) -> None:
    """A run that goes on keeps its journal."""
    (tmp_path / "job.py").write_text(ENDLESS)
    command = [sys.executable, "job.py", "wait"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()

        ended = hindsight("recover", "--store", tmp_path / ".hindsight")
        shown = hindsight("runs", "--store", tmp_path / ".hindsight", "--json").json["runs"][0]

    assert ended.out.endswith("nothing to recover\n")
    assert shown["status"] == "running"


def test_spool_of_a_store_that_does_not_answer(
    hindsight: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store in a spool that cannot be reached is named and gives exit code 3; the others are recovered."""
    _killed(tmp_path)
    spool = _spool_of_nobody(tmp_path, monkeypatch)
    journal = spool / "runs" / "01hzy3q4v5w6x7y8z9a0b1c2d3" / "journal" / "waits.journal"
    journal.parent.mkdir(parents=True)
    journal.write_bytes(b"waits")

    ended = hindsight("recover", "--json")

    assert ended.code == 3
    local, remote = ended.json["stores"]
    assert (local["records"], remote["url"]) == (100, "s3://bucket/prefix")
    assert remote["problem"]


def test_only_one_of_several_servers_has_moved(
    hindsight: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for two of them is not given to a third one: both are named."""
    spool = _spool_of_nobody(tmp_path, monkeypatch)
    other = spool.with_name("fedcba9876543210")
    for folder in (spool, other):
        (folder / "runs" / "01hzy3q4v5w6x7y8z9a0b1c2d3").mkdir(parents=True)
        (folder / "runs" / "01hzy3q4v5w6x7y8z9a0b1c2d3" / "run.json").write_bytes(b"waits")
    (other / "store-url").write_text("s3://bucket/prefix\ns3://bucket/prefix at http://127.0.0.1:8\n")
    options = {"key": "k", "secret": "s", "endpoint_url": "http://127.0.0.1:7"}
    monkeypatch.setenv("HINDSIGHT_STORAGE_OPTIONS", json.dumps(options))

    ended = hindsight("recover", "--store", "s3://bucket/prefix", "--moved")

    assert ended.code == 2
    assert all(f"at http://127.0.0.1:{port} in {folder}" in ended.err for port, folder in ((9, spool), (8, other)))
    assert all(list(folder.glob("runs/*/run.json")) for folder in (spool, other))


def _spool_of_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty spool of a store behind a port at which nobody listens; the working directory is ``folder``."""
    spool = folder / "spool" / "0123456789abcdef"
    spool.mkdir(parents=True)
    (spool / "store-url").write_text("s3://bucket/prefix\ns3://bucket/prefix at http://127.0.0.1:9\n")
    options = '{"key": "k", "secret": "s", "endpoint_url": "http://127.0.0.1:9"}'
    monkeypatch.setenv("HINDSIGHT_STORAGE_OPTIONS", options)
    monkeypatch.chdir(folder)
    return spool


def test_empty_spool_is_skipped(hindsight: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store for which nothing waits is not asked, so that it may be gone."""
    _killed(tmp_path)
    _spool_of_nobody(tmp_path, monkeypatch)

    ended = hindsight("recover", "--json")

    assert ended.code == 0
    (local,) = ended.json["stores"]
    assert local["records"] == 100


def test_store_that_was_never_reached_is_made(hindsight: Call, tmp_path: Path) -> None:
    """A journal that waits for a store is shipped although there is no store yet, however its address is written."""
    url = f"memory://never-reached-{tmp_path.name}"
    _killed(tmp_path, HINDSIGHT_STORE=url)
    assert hindsight("runs", "--store", url).code == 1

    (first,) = hindsight("recover", "--store", f"{url}/", "--json").json["stores"]
    again = hindsight("recover", "--store", url)

    assert (first["records"], len(first["journals"]), first["problem"]) == (100, 1, None)
    assert (again.code, again.out) == (0, f"{url}: nothing to recover\n")


@pytest.mark.s3
def test_store_that_was_away_all_along(
    hindsight: Call, tmp_path: Path, moto_server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run recorded while nobody answered is not given to a store of the same URL on another server, nor without
    a word to the same one at a new address; then it is complete.
    """
    url = f"s3://{bucket}/{tmp_path.name}"
    away = moto_server.options() | {"endpoint_url": "http://127.0.0.1:9"}
    _killed(tmp_path, HINDSIGHT_STORE=url, HINDSIGHT_STORAGE_OPTIONS=json.dumps(away))
    monkeypatch.setenv("HINDSIGHT_STORAGE_OPTIONS", json.dumps(moto_server.options()))

    ended = hindsight("recover", "--store", url)
    assert (ended.code, hindsight("runs", "--store", url).code) == (1, 1)
    assert f"is for {url} at http://127.0.0.1:9, and the settings lead to {url} at {moto_server.endpoint}" in ended.err
    (outcome,) = hindsight("recover", "--store", url, "--moved", "--json").json["stores"]

    assert (outcome["records"], outcome["problem"]) == (100, None)
    assert hindsight("dataframe", "x", "--store", url, "--json").json["total"] == 100


def test_an_address_with_credentials_is_given_again(
    hindsight: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spool does not keep them, so what waits is shipped when somebody names them."""
    url = f"dir::file://{tmp_path}/far?token=hidden"
    monkeypatch.chdir(tmp_path)
    for given in (["--store", url], []):
        _killed(tmp_path, HINDSIGHT_STORE=url)
        monkeypatch.delenv("HINDSIGHT_STORE", raising=False)
        unknown = hindsight("recover")
        assert (unknown.code, "--store or HINDSIGHT_STORE" in unknown.err, "hidden" in unknown.err) == (1, True, False)
        if not given:
            monkeypatch.setenv("HINDSIGHT_STORE", url)

        assert "1 journal with 100 records" in hindsight("recover", *given).out


def test_damaged_journal_is_named(hindsight: Call, tmp_path: Path) -> None:
    """A journal whose header cannot be read is named, gives exit code 1 and stops no other."""
    _killed(tmp_path)
    store = tmp_path / ".hindsight"
    (journal,) = store.glob("runs/*/journal/*.journal")
    damaged = journal.with_name(journal.name.replace("-0000000000", "-0000099999"))
    damaged.write_bytes(b"nothing that we wrote")

    ended = hindsight("recover", "--store", store)

    assert ended.code == 1
    assert damaged.name in ended.err
    assert "1 journal with 100 records" in ended.out
