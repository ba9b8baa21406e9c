"""``hindsight sql``."""

from __future__ import annotations

from pathlib import Path

from tests.cli.calling import Call, Start


def test_query_over_a_loop(hindsight: Call, store: Path, ids: list[str]) -> None:
    """Views of loops answer in SQL, for people and for programs."""
    query = 'select run, avg(loss) as mean from "epoch.step" group by run order by run'

    document = hindsight("sql", query, "--store", store, "--json").json
    assert [row["run"] for row in document["rows"]] == ids[:2]
    assert abs(document["rows"][1]["mean"] - 0.25) < 1e-9
    assert [column["name"] for column in document["columns"]] == ["run", "mean"]
    assert ids[0][-8:] in hindsight("sql", query, "--store", store).out


def test_query_from_stdin(start: Start, store: Path) -> None:
    """A dash reads the query from stdin."""
    done = start("sql", "-", "--store", store, "--format", "csv", input="select count(*) as n from runs")

    assert (done.returncode, done.stdout) == (0, '"n"\n3\n')


def test_wrong_query_is_one_line(hindsight: Call, store: Path) -> None:
    """A query that cannot be read ends with 2 and says where it went wrong."""
    ended = hindsight("sql", "selec 1", "--store", store)

    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "selec" in ended.err
