"""Random programs over random values and changing journals are read back as a plain Python model of them."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

import tracker
from tests.record import reading
from tests.record.programs import PROGRAMS, Model, Statement
from tracker.store import frames
from tracker.store.open import open_store
from tracker.store.recovery import recover

MANY = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
VERY_MANY = settings(MANY, max_examples=150)


def run_and_compare(program: list[Statement], journal_bytes: int) -> None:
    """Execute a program and read it alive, from a copy of a crashed store, and after its end."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"{folder}/store")
        with tracker.run(store=store.url, capture=(), journal_bytes=journal_bytes) as run:
            model = Model(run)
            model.execute(program)
            model.check(reading.cells(store, run.id))
            crashed = copy_as_crashed(Path(store.url), Path(folder, "crashed"))
        model.check(reading.cells(store, run.id))

        copy = open_store(crashed)
        model.check(reading.cells(copy, run.id))
        assert recover(copy, copy).problems == {}
        model.check(reading.cells(copy, run.id))


def copy_as_crashed(store: Path, target: Path) -> Path:
    """A copy of the store at this moment, journals first, in which the writers are dead."""
    for part in ("runs/*/journal/*", "**/*"):
        for path in store.glob(part):
            copy = target / path.relative_to(store)
            if path.is_file() and not copy.exists() and not path.name.startswith(".tmp-"):
                copy.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):  # sealed meanwhile, so that its segments are copied instead
                    shutil.copyfile(path, copy)
    for path in target.glob("runs/*/journal/*.journal"):
        data = path.read_bytes()
        header, layout = frames.decode_header(data, key=path.name)
        dead = msgspec.structs.replace(header, writer=msgspec.structs.replace(header.writer, started=1.0))
        path.write_bytes(frames.encode_header(dead, layout) + data[frames.HEADER_BYTES :])
    return target


@MANY
@given(PROGRAMS)
def test_what_programs_log_is_read_back(program: list[Statement]) -> None:
    """Journals of one page change anywhere: alive, crashed, recovered and finished all say what was logged."""
    run_and_compare(program, journal_bytes=4096)


@pytest.mark.slow
@VERY_MANY
@given(PROGRAMS)
def test_what_many_programs_log_is_read_back(program: list[Statement]) -> None:
    """The same for many more programs."""
    run_and_compare(program, journal_bytes=8192)
