"""Other programs read the index as it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

import tracker

TEXT = (Path(__file__).parents[2] / "docs" / "many-runs.md").read_text()
(QUERY,) = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)


def _train(store: Path, lr: float, loss: Callable[[int], Any], *names: str) -> None:
    with tracker.run(store=store, capture=()):
        tracker.arg("lr", lr)
        for epoch in tracker.loop("epoch", range(3)):
            for _ in tracker.loop("step", range(4)):
                for name in names or ("loss",):
                    tracker.log(name, loss(epoch))


def test_duckdb_reads_the_index_by_the_command_of_the_documentation(tmp_path: Path) -> None:
    """Also while rows stand there that a later compaction has replaced, and where a metric has several types."""
    store = tmp_path / "store"
    for lr in (0.5, 0.25):
        _train(store, lr, lambda epoch, lr=lr: lr * epoch)  # type: ignore[misc]
    _train(store, 1.0, lambda epoch: epoch)
    _train(store, 2.0, lambda epoch: "diverged" if epoch else 0.5)
    _train(store, 3.0, lambda epoch: "diverged")
    tracker.compact(store)
    tracker.compact(store, full=True)
    query = QUERY.replace("'store/", f"'{store}/")

    found = duckdb.sql(query).fetchall()

    expected = tracker.reader(store).sql(
        """select lr, epoch, avg(try_cast(loss as double)) as loss from "epoch.step" join runs using (run)
        group by all order by all"""
    )
    assert found == list(expected)
    assert len(found) == 15


def test_names_that_differ_in_case_stand_in_different_files(tmp_path: Path) -> None:
    """Programs to which they are one name refuse a file with both."""
    store = tmp_path / "store"
    _train(store, 0.5, float, "loss")
    _train(store, 0.5, float, "Loss")
    _train(store, 0.5, float, "acc", "Acc")
    _train(store, 0.5, float, "_Run")
    frames = [tracker.dataframe(name, store=store) for name in ("loss", "Loss", "acc", "Acc", "_Run")]

    tracker.compact(store)

    columns = [pq.read_schema(path).names for path in (store / "index" / "data" / "epoch.step").iterdir()]
    assert sorted(names[-1] for names in columns) == ["Loss", "loss"]
    for frame in frames:
        assert tracker.dataframe(frame.columns[-1], store=store).equals(frame)
