"""This project."""

from __future__ import annotations

from typing import Any

from harness.model import Names, Subject


def begin() -> Names:
    import tracker

    tracker.init(project="benchmark", store="store")
    return {"tracker": tracker}


def end(names: Names) -> None:
    names["tracker"].finish()


def kept() -> int:
    import tracker

    frame: Any = tracker.dataframe("loss", store="store")
    return int(frame["loss"].notna().sum())


def frame(columns: list[str]) -> Any:
    import tracker

    return tracker.dataframe(*columns, store="store")


SUBJECT = Subject(
    name="hindsight",
    distribution="hindsight-tracker",
    module="tracker",
    begin=begin,
    end=end,
    outer='tracker.loop("epoch", range(epochs))',
    inner='tracker.loop("step", range(steps))',
    log="tracker.log(name, value)",
    log_row="for name, value in row.items(): tracker.log(name, value)",
    log_labels="tracker.log(name, value, layer=3)",
    record="with tracker.step(phase=phase):\n    for name, value in row.items(): tracker.log(name, value)",
    stores=("store",),
    data=("store/runs/*/data", "store/runs/*/journal"),
    kept=kept,
    frame=frame,
    frame_modules=("pyarrow.parquet",),
)
