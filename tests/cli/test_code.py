"""``hindsight checkout`` and ``hindsight diff``, on a real repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.calling import Call

TRAIN = "import tracker\nlr = tracker.arg('lr', {lr})\ntracker.log('loss', lr * 2)\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with two runs: of the committed script, and of an edited one that was never committed."""
    folder = tmp_path / "project"
    folder.mkdir()
    _write(folder, lr="0.1")
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@localhost"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    _run(folder)
    _write(folder, lr="0.2")
    (folder / "helper.py").write_text("x = 1\n")
    _run(folder)
    return folder


def _write(folder: Path, *, lr: str) -> None:
    (folder / "train.py").write_text(TRAIN.format(lr=lr))


def _run(folder: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": str(len(list(folder.glob("*.py"))))}
    subprocess.run([sys.executable, "train.py"], cwd=folder, check=True, env=environment, timeout=120)


def _ids(folder: Path) -> list[str]:
    return sorted(each.name for each in (folder / ".hindsight" / "runs").iterdir())


def test_checkout_has_uncommitted_changes(hindsight: Call, project: Path, tmp_path: Path) -> None:
    """The code of each run comes back as it ran, from a copy of the store alone."""
    store = (project / ".hindsight").rename(tmp_path / "elsewhere")
    first, second = sorted(each.name for each in (store / "runs").iterdir())

    assert hindsight("checkout", first, tmp_path / "one", "--store", store).out == f"{tmp_path / 'one'}\n"
    assert "0.1" in (tmp_path / "one" / "train.py").read_text()
    assert not (tmp_path / "one" / "helper.py").exists()
    document = hindsight("checkout", second, tmp_path / "two", "--store", store, "--json").json
    assert "0.2" in (tmp_path / "two" / "train.py").read_text()
    assert (tmp_path / "two" / "helper.py").exists()
    assert (document["run"], document["project"], document["refused"]) == (second, str(tmp_path / "two"), {})


def test_checkout_refuses_a_folder_in_use(hindsight: Call, project: Path) -> None:
    """Nothing is ever written into a folder that holds something."""
    ended = hindsight("checkout", "latest", project, "--store", project / ".hindsight")

    assert ended.code == 1
    assert "not an empty folder" in ended.err


def test_checkout_without_a_snapshot(hindsight: Call, store: Path, tmp_path: Path) -> None:
    """A run whose code was not captured says so."""
    ended = hindsight("checkout", "latest", tmp_path / "out", "--store", store)

    assert ended.code == 1
    assert "no code snapshot" in ended.err


def test_diff_shows_every_part(hindsight: Call, project: Path) -> None:
    """Arguments, environment and code that differ are shown, what agrees is not."""
    old, new = _ids(project)

    shown = hindsight("diff", old, new, "--store", project / ".hindsight").out

    assert shown.splitlines()[0].startswith(f"- run {old[-8:]} of project")
    assert "  lr  0.1  0.2" in shown
    assert "OMP_NUM_THREADS  1  2" in shown
    assert "-lr = tracker.arg('lr', 0.1)" in shown
    assert "+x = 1" in shown
    assert "packages" not in shown


def test_diff_as_json_and_exit_code(hindsight: Call, project: Path) -> None:
    """JSON names both runs and every change; ``--exit-code`` answers a script."""
    old, new = _ids(project)
    place = ("--store", project / ".hindsight")

    document = hindsight("diff", old, new, *place, "--json").json
    assert (document["old"], document["new"], document["same"]) == (old, new, False)
    assert document["arguments"] == [{"name": "lr", "old": 0.1, "new": 0.2, "only_in": None}]
    assert document["code"]["text"].startswith("diff --git")
    assert document["packages"] == []
    assert hindsight("diff", old, new, *place, "--exit-code").code == 1
    same = hindsight("diff", old, old, *place, "--exit-code")
    assert (same.code, same.out.splitlines()[-1].startswith("the same code")) == (0, True)


def test_verify_names_a_bundle_that_changed(project: Path, hindsight: Call) -> None:
    """One flipped bit in the commits of a run is found, although the bundle's beginning is intact."""
    store = project / ".hindsight"
    bundle = sorted((store / "code").glob("*.bundle"))[0]
    data = bytearray(bundle.read_bytes())
    data[-30] ^= 1
    assert hindsight("verify", "--store", store).code == 0
    bundle.write_bytes(data)

    ended = hindsight("verify", "--store", store, "--json")

    assert ended.code == 1
    assert [(each["kind"], each["key"]) for each in ended.json["problems"]] == [("damaged", f"code/{bundle.name}")]
