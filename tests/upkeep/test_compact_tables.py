"""Other programs read the index as it is."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

import tracker

TEXT = (Path(__file__).parents[2] / "docs" / "many-runs.md").read_text()
(QUERY,) = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)


def _train(store: Path, lr: float, key: str) -> None:
    with tracker.run(store=store, capture=(), launch_key=key):
        tracker.arg("lr", lr)
        for epoch in tracker.loop("epoch", range(3)):
            for _ in tracker.loop("step", range(4)):
                tracker.log("loss", lr * epoch)


def test_duckdb_reads_the_index_by_the_command_of_the_documentation(tmp_path: Path) -> None:
    """Also while rows stand there that a later compaction has replaced."""
    store = tmp_path / "store"
    for lr in (0.5, 0.25):
        _train(store, lr, f"{lr}")
    tracker.compact(store)
    tracker.compact(store, full=True)
    query = QUERY.replace("'store/", f"'{store}/")

    found = duckdb.sql(query).fetchall()

    expected = tracker.reader(store).sql(
        'select lr, epoch, avg(loss) as loss from "epoch.step" join runs using (run) group by all order by all'
    )
    assert found == list(expected)
    assert len(found) == 6
