"""``hindsight runs``."""

from __future__ import annotations

from pathlib import Path

from tests.cli.calling import Call


def test_newest_first_with_what_differs(hindsight: Call, store: Path, ids: list[str]) -> None:
    """What all runs share stands above the table; tags, arguments in which they differ and results are columns."""
    ended = hindsight("runs", "--store", store)
    head, names, *rows = ended.out.splitlines()

    assert head.startswith("3 runs · project digits · script ")
    assert names.split()[:6] == ["run", "started", "(UTC)", "duration", "status", "name"]
    assert set(names.split()[6:]) == {"tags", "lr", "epochs", "loss", "best", "limit"}
    assert [row.split()[0] for row in rows] == [run[-8:] for run in reversed(ids)]
    assert "failed" in rows[0]
    assert "NaN" in rows[0]


def test_arguments_that_agree_are_no_columns(hindsight: Call, store: Path) -> None:
    """An argument that is the same in all shown runs takes no room."""
    names = hindsight("runs", "--store", store, "--where", "lr > 0").out.splitlines()[1].split()

    assert "lr" in names
    assert "epochs" not in names


def test_json_form(hindsight: Call, store: Path, ids: list[str]) -> None:
    """The form of the document is the one that the help promises; numbers that JSON lacks are texts."""
    document = hindsight("runs", "--store", store, "--json").json

    assert (document["total"], document["more"]) == (3, 0)
    failed, _, slow = document["runs"]
    promised = (
        "run short project name script status started ended duration_s attempts parent tags pinned arguments summary"
    )
    assert list(slow) == promised.split()
    assert (slow["run"], slow["name"], slow["status"], slow["attempts"]) == (ids[0], "slow", "finished", 1)
    assert slow["started"].endswith("Z")
    assert slow["arguments"] == {"lr": 0.01, "epochs": 2}
    assert slow["summary"] == {"best": 0.75, "limit": "-Infinity"}
    assert failed["summary"] == {"loss": "NaN"}
    assert failed["tags"] == ["night"]


def test_limit_says_how_many_more(hindsight: Call, store: Path, ids: list[str]) -> None:
    """Output is bounded, and never silently."""
    assert "2 more: --limit 0 shows all" in hindsight("runs", "--store", store, "-n", "1").out
    document = hindsight("runs", "--store", store, "-n", "1", "--json").json
    assert ([run["run"] for run in document["runs"]], document["more"]) == (ids[-1:], 2)
    assert len(hindsight("runs", "--store", store, "-n", "0", "--json").json["runs"]) == 3


def test_where_and_project(hindsight: Call, store: Path, ids: list[str]) -> None:
    """Conditions choose; a name that no run has is a slip and not an empty answer."""
    chosen = hindsight("runs", "--store", store, "--where", "lr > 0.05 and status == 'finished'", "--json").json

    assert [run["run"] for run in chosen["runs"]] == [ids[1]]
    assert hindsight("runs", "--store", store, "--where", "lrr > 0").code == 1
    assert hindsight("runs", "--store", store, "--where", "lr >").code == 2
    assert "did you mean 'digits'" in hindsight("runs", "--store", store, "--project", "digit").err
    assert hindsight("runs", "--store", store, "--project", "digits", "--json").json["total"] == 3


def test_empty_answers(hindsight: Call, store: Path, tmp_path: Path) -> None:
    """Nothing to list is no error, and said on stderr."""
    nothing = hindsight("runs", "--store", store, "--where", "lr > 7")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "hindsight: no run is like that\n")

    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "format.json").write_bytes((store / "format.json").read_bytes())
    empty = hindsight("runs", "--store", tmp_path / "new")
    assert (empty.code, empty.out) == (0, "")
    assert "no runs yet" in empty.err
    assert hindsight("runs", "--store", tmp_path / "new", "--json").json == {"runs": [], "total": 0, "more": 0}
