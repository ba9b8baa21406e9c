"""What our threads import beside the user's program."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import types
from collections.abc import Iterator

import pytest

from tracker.record import imports
from tracker.record.imports import preload

BOUND = """
import sys
from pathlib import Path
from tracker.record.libraries import bind_libraries
assert "libarrow" not in Path("/proc/self/maps").read_text()
bind_libraries(("numpy", "pyarrow", "pyarrow.parquet", "zlib"))
assert "libarrow" in Path("/proc/self/maps").read_text() and "_multiarray_umath" in Path("/proc/self/maps").read_text()
assert not {"numpy", "pyarrow"} & sys.modules.keys()
import pyarrow as pa, pyarrow.parquet as pq
sink = pa.BufferOutputStream()
pq.write_table(pa.table({"x": [1, 2]}), sink)
assert pq.read_table(pa.BufferReader(sink.getvalue()))["x"].to_pylist() == [1, 2]
bind_libraries(("numpy", "pyarrow"))
"""


@pytest.fixture(autouse=True)
def _usual() -> Iterator[None]:
    sys.setswitchinterval(0.005)
    yield
    sys.setswitchinterval(0.005)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """An import that tells when it has begun, and goes on when it is told to."""
    begun, go_on = threading.Event(), threading.Event()

    def slow_import(name: str) -> types.ModuleType:
        begun.set()
        assert go_on.wait(60)
        return types.ModuleType(name)

    monkeypatch.setattr(imports, "importlib", types.SimpleNamespace(import_module=slow_import))
    yield begun, go_on
    go_on.set()


@pytest.mark.skipif(sys.platform != "linux", reason="the libraries of a process are listed by Linux only")
def test_libraries_are_bound_before_the_import() -> None:
    """So that the import itself has little to do, and works as ever."""
    done = subprocess.run([sys.executable, "-c", BOUND], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_program_gets_the_interpreter_sooner(slow: tuple[threading.Event, threading.Event]) -> None:
    """As long as something is imported, and then as usual."""
    begun, go_on = slow
    importing = threading.Thread(target=preload, args=(("not.there.yet",),))
    importing.start()

    assert begun.wait(60)
    assert sys.getswitchinterval() < 0.001
    go_on.set()
    importing.join(60)
    assert sys.getswitchinterval() == pytest.approx(0.005)


def test_an_interval_that_somebody_sets_stays(slow: tuple[threading.Event, threading.Event]) -> None:
    """It is theirs."""
    begun, go_on = slow
    importing = threading.Thread(target=preload, args=(("not.there.yet",),))
    importing.start()
    assert begun.wait(60)
    sys.setswitchinterval(0.02)
    go_on.set()
    importing.join(60)

    assert sys.getswitchinterval() == pytest.approx(0.02)


def test_an_interval_that_was_saved_and_set_again_is_not_ours_for_ever(
    slow: tuple[threading.Event, threading.Event],
) -> None:
    """The next import, or what would have been one, puts it right."""
    begun, go_on = slow
    importing = threading.Thread(target=preload, args=(("not.there.yet",),))
    importing.start()
    assert begun.wait(60)
    saved = sys.getswitchinterval()
    go_on.set()
    importing.join(60)
    sys.setswitchinterval(saved)

    preload(("json",))
    assert sys.getswitchinterval() == pytest.approx(0.005)


def test_an_import_that_fails_leaves_nothing_behind() -> None:
    """Nor does it keep the next from going on."""
    with pytest.raises(ModuleNotFoundError):
        preload(("no.such.module",))
    assert sys.getswitchinterval() == pytest.approx(0.005)
    preload(("json",))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_that_waits_no_longer(
    slow: tuple[threading.Event, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child has its usual interval, although the thread is missing that would set it."""
    monkeypatch.setattr(imports, "_PATIENCE_S", 0.01)
    begun, go_on = slow
    importing = threading.Thread(target=preload, args=(("not.there.yet",),))
    importing.start()
    assert begun.wait(60)
    child = os.fork()
    if child == 0:
        os._exit(0 if abs(sys.getswitchinterval() - 0.005) < 1e-6 else 1)
    _, status = os.waitpid(child, 0)
    go_on.set()
    importing.join(60)

    assert os.waitstatus_to_exitcode(status) == 0
    assert sys.getswitchinterval() == pytest.approx(0.005)
