"""laaos: nested lists and dicts that append themselves to a file of Python statements."""

from __future__ import annotations

from pathlib import Path

from harness.model import Names, Subject


def begin() -> Names:
    from blackhc.laaos import create_file_store

    store = create_file_store("run", suffix="", prefix="laaos/", truncate=True)
    store["series"], store["rows"] = [], []
    return {"store": store, "series": store["series"], "rows": store["rows"]}


def end(names: Names) -> None:
    names["store"].close()


def kept() -> int:
    from blackhc.laaos import safe_load

    return sum(len(safe_load(str(path))["series"]) for path in Path("laaos").glob("*.py"))


SUBJECT = Subject(
    name="laaos",
    requirements=("blackhc.laaos",),
    distribution="blackhc.laaos",
    module="blackhc.laaos",
    begin=begin,
    end=end,
    log="series.append(value)",
    log_row="rows.append(row)",
    record='rows.append({"epoch": epoch, "step": step, "phase": phase, **row})',
    stores=("laaos",),
    data=("laaos",),
    kept=kept,
    calls={"log_latency": 50_000, "throughput": 400_000},
)
