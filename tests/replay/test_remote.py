"""A replay with nothing but a store on S3: no folder of the run, no repository of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.replay.programs import make_project, program, truth
from tests.replay.test_exactness import OUTER, TWO_LEVELS
from tracker.read.frame import dataframe
from tracker.replay.asking import replay
from tracker.store.open import open_store


@pytest.mark.s3
@pytest.mark.parametrize("address", ["obstore"], indirect=True)
def test_the_store_alone_is_enough(
    tmp_path: Path, address: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded into a bucket, its folder thrown away; today's code is a script that nobody committed."""
    monkeypatch.setenv("PYTEST_TRUTH", str(tmp_path))
    url, options = address
    project = make_project(tmp_path)
    project.commit(program(TWO_LEVELS))
    settings = {
        "HINDSIGHT_STORE": url,
        "HINDSIGHT_STORAGE_OPTIONS": json.dumps(options),
        "HINDSIGHT_CHECKPOINTS": "all",
    }
    subprocess.run(
        [sys.executable, "train.py"], cwd=project.folder, env={**os.environ, **settings}, check=True, timeout=120
    )
    shutil.rmtree(project.folder)
    today = tmp_path / "today"
    today.mkdir()
    (today / "train.py").write_text(program(TWO_LEVELS, outer=OUTER))

    done = replay("probe", root=today, store=url, storage_options=options, workers=1)

    assert [result.fidelity for result in done.results.values()] == ["exact"], done.results
    assert done.plan.runs[0].run_blocks == ()
    frame = dataframe(open_store(url, storage_options=options, create=False), "probe")
    wanted = [value for _, value in truth(program(TWO_LEVELS, outer=OUTER), "probe", "epoch")]
    assert frame["probe"].tolist() == wanted
