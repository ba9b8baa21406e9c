"""Writes valid runs quickly: what is measured is reading many of them, not recording them."""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
_YEAR_MS = 365 * 86_400_000
_WRITERS = 2


def write_runs(store: Path, count: int, *, epochs: int = 4, steps: int = 25) -> None:
    """A store of ``count`` runs of the past year: arguments, one metric in two loops, one more outside all loops."""
    from tracker.store.open import open_store

    open_store(store)
    size = -(-count // (_WRITERS * 4))
    slices = [range(begin, min(begin + size, count)) for begin in range(0, count, size)]
    with ProcessPoolExecutor(_WRITERS) as pool:
        for done in [pool.submit(_write_slice, str(store), part, count, epochs, steps) for part in slices]:
            done.result()


def _write_slice(store: str, numbers: range, count: int, epochs: int, steps: int) -> None:
    now_ms = int(time.time() * 1000)
    for number in numbers:
        created_ms = now_ms - 2 * 86_400_000 - _YEAR_MS + number * (_YEAR_MS // count)
        _write_run(Path(store), number, created_ms, epochs, steps)


def _write_run(store: Path, number: int, created_ms: int, epochs: int, steps: int) -> None:
    run = _id(created_ms, number)
    folder, created = store / "runs" / run, created_ms / 1000
    attempt = folder / "attempts" / run
    attempt.mkdir(parents=True)
    lr, final = (number % 97 + 1) / 1000, number / 1000
    about = {"run": run, "project": "synthetic", "created": created, "script": "train.py"}
    entry = {"kind": "script", "argv": ["train.py", "--lr", str(lr)], "script": "train.py"}
    start = {"run": run, "attempt": run, "started": created, "entry": entry, "pid": 1, "writer": "synthetic"}
    end = {"status": "finished", "ended": created + 60, "records": epochs * steps + 2}
    end |= {"arguments": {"lr": lr}, "summary": {"final": final}}
    _document(folder / "run.json", about)
    _document(attempt / "start.json", start)
    _document(attempt / "end.json", end)
    _segments(folder, run, created_ms, epochs, steps, lr, final)


def _segments(folder: Path, run: str, created_ms: int, epochs: int, steps: int, lr: float, final: float) -> None:
    import numpy as np
    import pyarrow as pa

    rows = epochs * steps
    times = pa.array(created_ms * 1000 + np.arange(rows) * 1000, pa.timestamp("us", tz="UTC"))
    moment = pa.field("_time", times.type, metadata={"role": "time"})
    loops = [
        pa.field(name, pa.int64(), metadata={"role": "loop", "name": name, "kind": "int"}) for name in ("epoch", "step")
    ]
    epoch, step = np.repeat(np.arange(epochs), steps), np.tile(np.arange(steps), epochs)
    loss = np.random.default_rng(created_ms).random(rows) / (1 + epoch)
    _segment(folder, run, ["epoch", "step"], rows, [moment, *loops, _metric("loss")], [times, epoch, step, loss])
    values = [times[:1], [lr], [final]]
    _segment(folder, run, [], rows, [moment, _metric("lr", "argument"), _metric("final")], values)


def _metric(name: str, role: str = "metric") -> object:
    import pyarrow as pa

    return pa.field(name, pa.float64(), metadata={"role": role, "name": name, "labels": "{}", "kind": "float"})


def _segment(folder: Path, run: str, path: list[str], last: int, fields: list[object], values: list[object]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = folder / "data" / (".".join(path) or "@run")
    place.mkdir(parents=True)
    about = {"format": 1, "run": run, "attempt": run, "shard": run, "path": path, "first": 1, "last": last}
    schema = pa.schema(fields, metadata={"hindsight": json.dumps(about | {"replay": None})})
    table = pa.table([pa.array(each) for each in values], schema=schema)
    pq.write_table(table, place / f"{run}-{1:010d}-{last:010d}.parquet", compression="zstd", use_dictionary=False)


def _document(path: Path, document: dict[str, object]) -> None:
    path.write_text(json.dumps(document, indent=1))


def _id(milliseconds: int, number: int) -> str:
    """An id of a time, with the number where random bits would be."""
    value = milliseconds << 80 | 0x7 << 76 | 0b10 << 62 | number
    letters = []
    for _ in range(26):
        value, digit = divmod(value, 32)
        letters.append(_LETTERS[digit])
    return "".join(reversed(letters))


if __name__ == "__main__":
    write_runs(Path(os.fspath(sys.argv[1])), int(sys.argv[2]))
