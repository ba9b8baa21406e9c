"""KohakuBoard: a queue to a writer process, one columnar SQLite file per metric."""

from __future__ import annotations

from harness.model import Names, Subject


def begin() -> Names:
    from pathlib import Path

    from kohakuboard.client import Board

    return {"board": Board(name="benchmark", base_dir=Path("boards"), project="benchmark")}


def end(names: Names) -> None:
    names["board"].finish()


def kept() -> int:
    from pathlib import Path

    from kohakuboard.utils.board_reader import BoardReader

    found = 0
    for folder in Path("boards/benchmark").iterdir():
        reader = BoardReader(folder)
        if "loss" in reader.get_available_metrics():
            found += len(reader.get_scalar_data("loss")["values"])
    return found


SUBJECT = Subject(
    name="kohakuboard",
    requirements=("kohakuboard",),
    distribution="kohakuboard",
    module="kohakuboard.client",
    begin=begin,
    end=end,
    log="board.log(**{name: value})",
    log_row="board.log(**row)",
    record="board.log(**row, epoch=epoch)",
    stores=("boards",),
    data=("boards/**/data",),
    kept=kept,
    calls={"log_latency": 20_000, "throughput": 20_000, "disk": 10_000},
)
