"""Writes the store beside this file, ``store-1``; run once for each format: ``python tests/data/write_store.py FOLDER``.

A finished run with every kind of value, repeated values, steps, labels, odd names and two journals; a run of two
attempts; and a killed run with a journal that nobody has recovered.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from msgspec import structs

import tracker
from tracker.record.lifecycle import active_run
from tracker.store import documents, frames
from tracker.store.journals import read_journal
from tracker.store.processes import Writer

KINDS = {
    "float": [0.1, -0.0, float("inf"), float("-inf"), float("nan"), 5e-324],
    "single": [0.5, 0.25],
    "int": [0, -(2**63), 2**63 - 1, 2**53 + 1],
    "bigint": [2**63, -(10**30), 7],
    "bool": [True, False],
    "str": ["", "it's", "ü 日本"],
    "bytes": [b"", b"\x00\xff"],
    "none": [None],
    "json": [[1, [None, {"a": 2.5, "b": b"\x00"}]], {"$bytes": "aGk="}],
    "mixed": [1, "1", 1.5, True, None, b"1"],
}


def finished(store: Path) -> None:
    """All kinds, loops of every sort of item, repeated values, labels."""
    with tracker.run("finished", store=store, capture=(), project="data", tags=("format", "one")) as run:
        tracker.arg("lr", 0.001)
        tracker.arg("layers", [64, 10])
        for name, values in KINDS.items():
            for value in values:
                tracker.log(name, value)
        for epoch in tracker.loop("epoch", range(2)):
            for batch in tracker.loop("batch", ["a", "b"]):
                with tracker.step(phase="train"):
                    tracker.log("loss", epoch + (batch == "b") / 2)
                    tracker.log("norm", epoch, layer=1)
                    tracker.log("norm", epoch + 10, layer="1")
                if epoch == 0:
                    run.recorder.roll(run.recorder.journal)
            tracker.log("score", epoch)
            tracker.log("score", epoch + 0.5)


def resumed(store: Path) -> None:
    """Two attempts of one launch; the second begins at epoch 2."""
    for first in (0, 2):
        with tracker.run("resumed", store=store, capture=(), project="data", launch_key="format/1"):
            for epoch in range(first, 4):
                with tracker.iteration("epoch", epoch):
                    tracker.log("loss", first * 100 + epoch)


def killed(store: Path) -> None:
    """A process dies in its second loop; its journal is cut behind the last page, to be small."""
    if os.fork() == 0:
        tracker.init(store=store, capture=(), project="data", name="killed", journal_bytes=4096)
        tracker.arg("lr", 0.5)
        for step in tracker.loop("step", range(10)):
            tracker.log("loss", step / 2)
            tracker.log("note", f"step {step}")
        run = active_run()
        assert run is not None
        run.recorder.journal.write_checksums()
        os.kill(os.getpid(), signal.SIGKILL)
    os.wait()
    (path,) = store.glob("runs/*/journal/*.journal")
    journal = read_journal(path)
    os.truncate(path, journal.layout.slots_start + -(-journal.end // frames.SLOTS_PER_PAGE) * frames.PAGE_BYTES)


def neutral(store: Path) -> None:
    """Remove what names the machine that wrote this; a killed run without a lease is lost, and that on every machine."""
    for path in store.glob("runs/*/attempts/*/lease.json"):
        path.unlink()
    for path in store.glob("runs/*/attempts/*/start.json"):
        start = documents.decode(path.read_bytes(), documents.StartDocument, key=path.name)
        entry = documents.Entry(kind="script", script="train.py", argv=("--fast",))
        path.write_bytes(documents.encode(structs.replace(start, root="/home/user/project", pid=1, entry=entry)))
    for path in store.glob("runs/*/run.json"):
        document = documents.decode(path.read_bytes(), documents.RunDocument, key=path.name)
        path.write_bytes(documents.encode(structs.replace(document, script="train.py")))
    for path in store.glob("runs/*/journal/*.journal"):
        data = path.read_bytes()
        header, layout = frames.decode_header(data, key=path.name)
        header = structs.replace(header, writer=Writer(host="machine", boot="boot", pid=1, started=1.0))
        path.write_bytes(frames.encode_header(header, layout) + data[frames.HEADER_BYTES :])


if __name__ == "__main__":
    target = Path(sys.argv[1])
    finished(target)
    resumed(target)
    killed(target)
    neutral(target)
