"""Commands as runs: seen at work, recorded once, and done also while the store is away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tracker.decorators.places import Place
from tracker.operators import witness
from tracker.operators.commands import Child, Work

from tests.airflow.flows import losing
from tests.code.conftest import Repo
from tests.s3.proxy import proxy_to
from tests.servers import Server, free_port
from tracker.errors import Unavailable
from tracker.read.catalog import RunView, scan
from tracker.store.open import open_store

PLACE = Place(engine="airflow", launch_key="airflow/pipeline/first/train/-1", name="train")
WAIT = "while [ ! -e gate ]; do sleep 0.05; done"
ITSELF = """
import sys, time
from pathlib import Path
while not Path("gate").exists():
    time.sleep(0.05)
import tracker
tracker.log("loss", 0.5)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where commands are executed; one that records nothing is soon taken for what it is."""
    monkeypatch.setattr(witness, "_PATIENCE_S", 0.1)
    monkeypatch.setenv("HINDSIGHT_SPOOL", str(tmp_path / "spool"))
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def runs(folder: Path) -> list[RunView]:
    """What the store has."""
    return scan(open_store(folder.parent / "store"))


def until(condition: Callable[[], object]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def started(folder: Path, **work: object) -> tuple[threading.Thread, list[int]]:
    """A command at work in a thread, and where its exit code will be."""
    codes: list[int] = []
    child = Child(Work(folder=str(folder), **work), PLACE, store=str(folder.parent / "store"), storage_options={})  # type: ignore[arg-type]
    thread = threading.Thread(target=lambda: codes.append(child.execute(print)))
    thread.start()
    return thread, codes


def test_a_command_is_seen_at_work_and_ends(folder: Path) -> None:
    """Its only attempt began when it did, also where it is opened at the end."""
    before = time.time()
    thread, codes = started(folder, command=WAIT)
    until(lambda: [run.status for run in runs(folder)] == ["running"])
    (folder / "gate").touch()
    thread.join()

    (run,) = runs(folder)
    assert codes == [0]
    assert [attempt.status for attempt in run.attempts] == ["finished"]
    assert before - 1 <= run.attempts[0].started.timestamp() <= before + 60
    assert run.attempts[0].start is not None
    assert run.attempts[0].start.started == pytest.approx(run.attempts[0].started.timestamp(), abs=0.01)
    assert run.attempts[0].start.entry.argv == ("-c", WAIT)


def test_a_command_that_records_itself_later(folder: Path) -> None:
    """What was opened for it meanwhile is taken back: one try is one attempt."""
    (folder / "train.py").write_text(ITSELF)
    thread, codes = started(folder, script="train.py")
    until(lambda: [run.status for run in runs(folder)] == ["running"])
    (first,) = runs(folder)[0].attempts
    (folder / "gate").touch()
    thread.join()

    (run,) = runs(folder)
    assert codes == [0]
    assert [attempt.status for attempt in run.attempts] == ["finished"]
    assert run.attempts[0].attempt != first.attempt
    assert run.document.launch_key == PLACE.launch_key
    assert run.summary["loss"] == 0.5


def test_a_worker_that_is_killed(folder: Path) -> None:
    """Nobody is left to say that its command has ended: the run was killed, and not lost."""
    program = f"""
from tracker.decorators.places import Place
from tracker.operators import witness
from tracker.operators.commands import Child, Work
witness._PATIENCE_S = 0.1
place = Place(engine="airflow", launch_key={PLACE.launch_key!r}, name="train")
Child(Work(command={WAIT!r}, folder={str(folder)!r}), place, store={str(folder.parent / "store")!r},
      storage_options={{}}).execute(print)
"""
    worker = subprocess.Popen([sys.executable, "-c", program])
    try:
        until(lambda: [run.status for run in runs(folder)] == ["running"])
    finally:
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()

    assert [run.status for run in runs(folder)] == ["killed"]


def test_a_store_that_is_away(folder: Path) -> None:
    """The command is executed, and what is known of it waits in the spool."""
    options = {"endpoint_url": f"http://127.0.0.1:{free_port()}", "key": "key", "secret": "secret"}
    child = Child(
        Work(command="echo done >told", folder=str(folder)), PLACE, store="s3://away/store", storage_options=options
    )

    assert child.execute(print) == 0

    assert (folder / "told").read_text() == "done\n"
    (spool,) = (folder.parent / "spool").glob("*/")
    (run,) = scan(open_store(spool))
    assert (run.run, run.document.launch_key) == (child.run, PLACE.launch_key)
    assert [attempt.status for attempt in run.attempts] == ["finished"]


def test_a_store_that_goes_away(folder: Path) -> None:
    """A command that has done its work has not failed."""
    store = folder.parent / "store"
    child = Child(Work(command=losing(store), folder=str(folder)), PLACE, store=str(store), storage_options={})

    assert child.execute(print) == 0
    assert store.is_file()


def test_a_command_that_cannot_be_started_has_failed(folder: Path) -> None:
    """Nobody killed it, and its end says what was wrong."""
    child = Child(Work(command="true", folder=str(folder / "typo")), PLACE, store=str(folder.parent / "store"),
                  storage_options={})  # fmt: skip

    with pytest.raises(FileNotFoundError):
        child.execute(print)

    (attempt,) = runs(folder)[0].attempts
    assert attempt.end is not None
    assert (attempt.status, attempt.end.exit_code) == ("failed", None)
    assert "typo" in (attempt.end.error or "")


def test_a_worker_that_is_told_to_end_has_not_failed(folder: Path) -> None:
    """What Airflow raises then is no exception of the command's."""

    class Terminated(BaseException):
        """As Airflow's."""

    def tell(line: str) -> None:
        raise Terminated

    child = Child(Work(command="echo at work; sleep 600", folder=str(folder)), PLACE,
                  store=str(folder.parent / "store"), storage_options={})  # fmt: skip
    with pytest.raises(Terminated):
        child.execute(tell)

    assert [run.status for run in runs(folder)] == ["killed"]


@pytest.mark.s3
def test_a_store_that_goes_away_when_the_command_has_recorded_itself(
    folder: Path, moto_server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can look then, and there is no second attempt beside its own."""
    monkeypatch.setattr(witness, "_PATIENCE_S", 600.0)
    (folder / "gate").touch()
    (folder / "train.py").write_text(ITSELF)
    work, url = Work(command=f"{sys.executable} train.py; echo done", folder=str(folder)), f"s3://{bucket}/store"
    with proxy_to(moto_server.endpoint) as proxy:
        child = Child(work, PLACE, store=url, storage_options=replace(moto_server, endpoint=proxy.endpoint).options())

        def tell(line: str) -> None:
            if line == "done":
                proxy.fail_from(0)

        assert child.execute(tell) == 0

    (run,) = scan(open_store(url, storage_options=moto_server.options()))
    (spool,) = (folder.parent / "spool").glob("*/")
    assert [attempt.status for attempt in run.attempts] == ["finished"]
    assert run.summary["loss"] == 0.5
    assert not any(view.attempts for view in scan(open_store(spool)))


def test_what_is_taken_back_is_not_shipped_later(folder: Path) -> None:
    """Also where the store is away, the spool has it no longer."""
    options = {"endpoint_url": f"http://127.0.0.1:{free_port()}", "key": "key", "secret": "secret"}
    child = Child(Work(command="true", folder=str(folder)), PLACE, store="s3://away/store", storage_options=options)
    child._publish()
    watching = witness.Witness(child._origin(folder), child.settings)
    (spool,) = (folder.parent / "spool").glob("*/")
    until(lambda: any(run.attempts for run in scan(open_store(spool))))
    watching._over.set()
    watching._thread.join()

    with pytest.raises(Unavailable):
        watching._take_back()

    assert [len(run.attempts) for run in scan(open_store(spool))] == [0]


def test_git_logs_in_as_people_have_set_it_up(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository behind ssh, reached by the command that the environment names."""
    repo = Repo(tmp_path / "training", commit=False)
    repo.write("train.sh", "echo from the repository >told")
    repo.commit("first")
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))

    with Work(command="true", repository=f"nowhere.example:{repo.folder}").place() as copy:
        assert (copy / "train.sh").exists()
