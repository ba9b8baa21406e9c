"""A command or script as a run: where it is executed, who it is, and how it ends."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracker.decorators.places import Place
from tracker.operators.environment import importable_airflow
from tracker.operators.witness import Witness

from tracker.code.git import Git, login_environment
from tracker.code.project import project_root
from tracker.config import load_settings
from tracker.errors import InputError, Unavailable
from tracker.record.context import PROCESS
from tracker.record.identity import RUN_VARIABLE, Identity, claim_document, claim_id
from tracker.record.origin import Origin
from tracker.record.shipping import away
from tracker.record.spool import spool_for
from tracker.record.stores import connect_offline
from tracker.replay import guard
from tracker.secrets import mask_argv, mask_text, mask_url
from tracker.store.base import Store
from tracker.store.documents import Entry, Status
from tracker.store.open import open_store

_GRACE_S = 4.0  # between SIGTERM and SIGKILL; Airflow kills the task itself after five
_KILLED = {128 + signal.SIGINT, 128 + signal.SIGKILL, 128 + signal.SIGTERM}


@dataclass(frozen=True)
class Work:
    """What is to be executed, its templates rendered."""

    command: str | Any = None
    script: str | None = None
    arguments: tuple[str, ...] = ()
    repository: str | None = None
    revision: str | None = None
    folder: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    name: str | None = None
    project: str | None = None
    tags: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """The command line."""
        if self.script is not None:
            return [sys.executable, self.script, *(str(each) for each in self.arguments)]
        given = ["/bin/sh", "-c", self.command] if isinstance(self.command, str) else [str(i) for i in self.command]
        return [*given, *(str(each) for each in self.arguments)]

    @contextmanager
    def place(self) -> Iterator[Path]:
        """The folder to execute it in: with a revision a copy, which is gone afterwards."""
        folder = Path(self.folder).expanduser() if self.folder else Path.cwd()
        if self.revision is None and self.repository is None:
            yield folder
            return
        source = self.repository or str(folder)
        with tempfile.TemporaryDirectory(prefix="hindsight-revision-", ignore_cleanup_errors=True) as outer:
            copy = Path(outer) / self.title()
            Git(Path(outer), login_environment()).run("clone", "--quiet", "--no-checkout", "--", source, str(copy))
            revision = self.revision or "HEAD"
            if revision.startswith("-"):
                raise InputError(f"revision {revision!r}: expected a commit, a tag or a branch")
            known = Git(copy)
            remote = f"origin/{revision}"
            is_branch = known.succeeds("rev-parse", "--verify", "--quiet", f"{remote}^{{commit}}")
            known.run("checkout", "--quiet", "--detach", remote if is_branch else revision)
            yield copy

    def title(self) -> str:
        """The name of the project."""
        source = self.repository or self.folder or str(Path.cwd())
        return self.project or source.rstrip("/").rpartition("/")[2].removesuffix(".git") or "project"


class Child:
    """One try of a command: ``execute`` blocks until it has ended, ``stop`` may be called meanwhile.

    While the store does not answer, what is known of the run waits in the spool.
    """

    def __init__(self, work: Work, location: Place, *, store: str, storage_options: dict[str, Any]) -> None:
        self.work, self.location = work, location
        self.settings = load_settings(overrides={"store": store, "storage_options": storage_options})
        self.process: subprocess.Popen[str] | None = None
        self.stopped = False
        self.stopped_as: Status = "killed"
        self._identity = Identity(
            project=work.title(),
            script=work.script or "command",
            name=work.name or self.location.name,
            launch_key=self.location.launch_key,
            tags=(*work.tags, *self.location.tags),
        )
        self._home, self.run = self._claimed()

    def execute(self, tell: Callable[[str], None]) -> int:
        """Its exit code; 128 and the number of the signal after one."""
        with importable_airflow(), self.work.place() as folder:
            self._publish()
            witness = Witness(self._origin(folder), self.settings)
            try:
                code = self._run(folder, tell)
            except Exception as exc:  # it could not be started, or its output not be told
                witness.end(None, self.stopped_as if self.stopped else "failed", failure=exc)
                raise
            except BaseException:  # whoever waits for it is told to stop
                witness.end(None, self.stopped_as)
                raise
            witness.end(code, self._status(code))
        return code

    def stop(self) -> None:
        """Tell the command to stop, and kill it when it does not."""
        self.interrupt()
        if self.process is not None:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=_GRACE_S)
            self._kill()

    def interrupt(self) -> None:
        """Tell the command to stop. Returns at once, so a handler of signals may call it."""
        self.stopped = True
        process = self.process
        if process is None:
            return
        import psutil

        with suppress(psutil.Error):
            for each in psutil.Process(process.pid).children(recursive=True):  # not the one that watches over them
                with suppress(psutil.Error):
                    each.terminate()

    def _kill(self) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _run(self, folder: Path, tell: Callable[[str], None]) -> int:
        own = {
            RUN_VARIABLE: self.run,
            "HINDSIGHT_STORE": self.settings.store,
            "HINDSIGHT_PROJECT": self.work.title(),
            "HINDSIGHT_STORAGE_OPTIONS": json.dumps(self.settings.storage_options),
        }
        # The guard ends the command when this process is killed, and no hook is called.
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, *self.work.words()],
            cwd=folder,
            env={**os.environ, **{name: str(text) for name, text in self.work.environment.items()}, **own},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        if self.stopped:
            self.stop()
        with self.process as process:
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    tell(mask_text(line.rstrip("\n")))
                return process.wait()
            finally:
                self._kill()

    def _claimed(self) -> tuple[Store, str]:
        """Where this run is told of first, and its id."""
        url, options = self.settings.store, self.settings.storage_options
        try:
            store = open_store(url, storage_options=options)
            return store, claim_id(store, self._identity, spool_for(store, self.settings))
        except Unavailable as exc:
            spool = spool_for(connect_offline(self.settings), self.settings)
            PROCESS.warn_once(away(mask_url(url), exc), kind="store")
            return spool, claim_id(spool, self._identity, spool)

    def _publish(self) -> None:
        """Write the run's document: that of the command itself has neither the launch key nor the name."""
        spool = spool_for(self._home, self.settings)
        try:
            claim_document(self._home, self._identity, self.run, time.time())
        except Unavailable:
            if spool is self._home:
                raise
            claim_document(spool, self._identity, self.run, time.time())

    def _origin(self, folder: Path) -> Origin:
        """What the run is where the command does not import the tracker."""
        words = mask_argv(self.work.words()[1:] if self.work.script is None else list(self.work.words()[2:]))
        script = self.work.script or mask_text(shlex.join(self.work.words()[:1]))
        return Origin(
            run_id=self.run,
            orchestrator=self.location.details,
            root=project_root(folder),
            entry=Entry(kind="script" if self.work.script else "interactive", script=script, argv=tuple(words)),
        )

    def _status(self, code: int) -> Status:
        if self.stopped or code in _KILLED:
            return self.stopped_as
        return "failed" if code else "finished"
