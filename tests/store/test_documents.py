"""Documents are decoded by many threads."""

from __future__ import annotations

import subprocess
import sys

RACE = """
import sys, threading
from tracker.store import documents
sys.setswitchinterval(1e-6)
entry = documents.Entry(kind="script")
data = documents.encode(documents.StartDocument(run="a", attempt="b", started=1.0, entry=entry, pid=1, writer="c"))
begin = threading.Barrier(8)

def decode():
    begin.wait()
    documents.decode(data, documents.StartDocument, key="start.json")

threads = [threading.Thread(target=decode) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_threads_that_are_the_first_to_decode_a_kind() -> None:
    """msgspec crashes when two threads look at a type at once, so one of them does it for all."""
    processes = [subprocess.Popen([sys.executable, "-c", RACE]) for _ in range(12)]

    assert [process.wait(120) for process in processes] == [0] * 12
