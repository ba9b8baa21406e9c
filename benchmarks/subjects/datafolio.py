"""DataFolio: no log call; a finished wide table is added to a folder."""

from __future__ import annotations

from typing import Any

from harness.model import Names, Subject


def begin() -> Names:
    rows: list[dict[str, Any]] = []
    return {"rows": rows}


def end(names: Names) -> None:
    import pandas as pd
    from datafolio import DataFolio

    DataFolio("folio").add("metrics", pd.DataFrame(names["rows"]))


SUBJECT = Subject(
    name="datafolio",
    requirements=("datafolio",),
    distribution="datafolio",
    module="datafolio",
    begin=begin,
    end=end,
    record='rows.append({"epoch": epoch, "step": step, "phase": phase, **row})',
    stores=("folio",),
    data=("folio/**/*.parquet",),
)
