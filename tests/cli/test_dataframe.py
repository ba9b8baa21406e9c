"""``hindsight dataframe``, and how tables are written."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import tracker
from tests.cli.calling import Call


def test_table_for_people(hindsight: Call, store: Path, ids: list[str]) -> None:
    """One row a context; what all rows share is said once, runs are shown by their short ids."""
    shown = hindsight("dataframe", "lr", "accuracy", "--store", store, "--where", "lr > 0").out.splitlines()

    assert shown[0].startswith("4 rows · project digits · script")
    assert [line.split() for line in shown[1:4]] == [
        ["run", "epoch", "lr", "accuracy"],
        [ids[0][-8:], "0", "0.01", "0.5"],
        [ids[0][-8:], "1", "0.01", "0.75"],
    ]


def test_json_keeps_missing_and_nan_apart(hindsight: Call, store: Path, ids: list[str]) -> None:
    """``null`` is no value, ``"NaN"`` is one; columns say what was logged."""
    document = hindsight("dataframe", "loss", "best", "--store", store, "--json").json

    kinds = {column["name"]: column["type"] for column in document["columns"]}
    assert kinds["loss"] == "float"
    assert kinds["step"] == "int"
    assert kinds["started"] == "time"
    assert (document["total"], document["more"]) == (13, 0)
    failed = document["rows"][-1]
    assert (failed["run"], failed["loss"], failed["best"], failed["epoch"]) == (ids[2], "NaN", None, None)


def test_one_row_a_run_without_names(hindsight: Call, store: Path, ids: list[str]) -> None:
    """Without names there is one row a run, oldest first."""
    rows = hindsight("dataframe", "--store", store, "--json").json["rows"]

    assert [row["run"] for row in rows] == ids
    assert rows[0]["limit"] == "-Infinity"


def test_limits(hindsight: Call, store: Path) -> None:
    """A bounded answer says on stderr how many rows are missing; a file is complete."""
    bounded = hindsight("dataframe", "loss", "--store", store, "-n", "2", "--json")
    assert (len(bounded.json["rows"]), bounded.json["more"]) == (2, 11)
    assert "11 more rows" in bounded.err
    assert len(hindsight("dataframe", "loss", "--store", store, "-f", "csv").out.splitlines()) == 14


def test_files_by_their_ending(hindsight: Call, store: Path, tmp_path: Path) -> None:
    """``--out`` chooses the format by the ending and replaces the file; all formats hold the same rows."""
    for name in ("frame.csv", "frame.json", "frame.parquet"):
        ended = hindsight("dataframe", "loss", "--store", store, "--out", tmp_path / name)
        assert (ended.code, ended.out) == (0, "")
        assert "wrote 13 rows" in ended.err

    table = pq.read_table(tmp_path / "frame.parquet")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "frame.csv").read_text())))
    document = json.loads((tmp_path / "frame.json").read_text())
    assert table.column_names == list(rows[0]) == [column["name"] for column in document["columns"]]
    assert [float(row["loss"]) for row in rows[:12]] == table["loss"].to_pylist()[:12]
    assert math.isnan(float(rows[12]["loss"]))
    assert rows[12]["epoch"] == ""
    assert len(list(tmp_path.glob(".frame*"))) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--out", "frame.xls"), "says no format"),
        (("--json", "--format", "csv"), "exclude one another"),
        (("--out", "no/such/folder.csv"), "cannot be written"),
    ],
)
def test_wrong_usage(hindsight: Call, store: Path, words: tuple[str, ...], told: str) -> None:
    """What cannot be written is refused in one line, before or after reading."""
    ended = hindsight("dataframe", "loss", "--store", store, *words)

    assert ended.code == 2
    assert told in ended.err


def test_unknown_name(hindsight: Call, store: Path) -> None:
    """A name that nothing was logged under is not found, and what is near is named."""
    ended = hindsight("dataframe", "lost", "--store", store)

    assert ended.code == 1
    assert "'loss'" in ended.err


def test_list_of_names_says_what_it_leaves_out(hindsight: Call, tmp_path: Path) -> None:
    """Where nothing is near, the first names are listed, and how many more there are."""
    with tracker.run(store=tmp_path / "s", capture=()):
        tracker.log_many({f"metric {number:02d}": number for number in range(15)})

    assert "'metric 11' and 3 more" in hindsight("dataframe", "zzz", "--store", tmp_path / "s").err


def test_parquet_into_a_pipe(store: Path) -> None:
    """Parquet goes to stdout as bytes, so that another program can read it."""
    command = [sys.executable, "-m", "tracker", "dataframe", "loss", "-f", "parquet", "--store", str(store)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)

    assert pq.read_table(io.BytesIO(done.stdout)).num_rows == 13


def test_values_of_every_kind(hindsight: Call, tmp_path: Path) -> None:
    """Bytes, large integers, truth values and nested values keep their form in JSON and have one in CSV."""
    values = {"raw": b"\x00\xff", "big": 2**80, "flag": True, "nested": {"a": [1, None]}, "text": 'say "hi", ok'}
    with tracker.run(store=tmp_path / "s", capture=()):
        tracker.log_many(values)
        tracker.log("when", str(datetime(2026, 1, 31, tzinfo=UTC)))

    (row,) = hindsight("dataframe", *values, "--store", tmp_path / "s", "--json").json["rows"]
    assert {name: row[name] for name in values} == values | {"raw": {"$bytes": "AP8="}}
    (line,) = csv.DictReader(io.StringIO(hindsight("dataframe", *values, "--store", tmp_path / "s", "-f", "csv").out))
    assert (line["raw"], line["big"], line["flag"]) == ("AP8=", str(2**80), "true")
    assert (json.loads(line["nested"]), line["text"]) == (values["nested"], values["text"])
