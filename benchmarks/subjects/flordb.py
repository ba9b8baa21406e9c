"""FlorDB: log statements in loops, a SQLite database beside the repository."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from harness.model import Names, Subject


def begin() -> Names:
    import flordb

    return {"flor": flordb}


def end(names: Names) -> None:
    names["flor"].commit()


def kept() -> int:
    found = 0
    for path in Path.cwd().glob(".flor/*.db"):
        with sqlite3.connect(path) as database:
            found += database.execute("SELECT count(*) FROM logs WHERE value_name = 'loss'").fetchone()[0]
    return found


def frame(columns: list[str]) -> Any:
    import flordb

    return flordb.dataframe(*columns)


SUBJECT = Subject(
    name="flordb",
    requirements=("flordb",),
    distribution="flordb",
    module="flordb",
    begin=begin,
    end=end,
    outer='flor.loop("epoch", range(epochs))',
    inner='flor.loop("step", range(steps))',
    log="flor.log(name, value)",
    log_row="for name, value in row.items(): flor.log(name, value)",
    record="for name, value in row.items(): flor.log(name, value)\nflor.log('phase', phase)",
    stores=(".flor",),
    data=(".flor/*.db",),
    kept=kept,
    frame=frame,
    calls={"log_latency": 20_000, "throughput": 40_000, "frame": 20_000, "propagation": 1},
)
