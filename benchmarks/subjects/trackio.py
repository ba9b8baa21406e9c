"""trackio: a queue to a thread that writes a local SQLite database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from harness.model import Names, Subject


def begin() -> Names:
    import trackio

    trackio.init(project="benchmark", embed=False)
    return {"trackio": trackio}


def end(names: Names) -> None:
    names["trackio"].finish()


def kept() -> int:
    found = 0
    for path in Path("trackio").rglob("*.db"):
        with closing(sqlite3.connect(path)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            if "metrics" in tables:
                found += sum(
                    b'"loss"' in _bytes(values) for (values,) in database.execute("SELECT metrics FROM metrics")
                )
    return found


def _bytes(values: str | bytes) -> bytes:
    return values.encode() if isinstance(values, str) else values


SUBJECT = Subject(
    name="trackio",
    requirements=("trackio",),
    distribution="trackio",
    module="trackio",
    begin=begin,
    end=end,
    log="trackio.log({name: value})",
    log_row="trackio.log(row)",
    record='trackio.log({**row, "epoch": epoch, "phase": phase})',
    stores=("trackio",),
    data=("trackio/**/*.db*",),
    kept=kept,
    calls={"log_latency": 20_000, "throughput": 100_000},
    environment={"TRACKIO_DIR": "trackio", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
)
