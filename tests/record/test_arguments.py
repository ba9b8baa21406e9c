"""Arguments: where they come from, what type they get, and that a secret is never written."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracker
from tests.record import reading
from tests.record.scripts import run_script
from tracker.errors import BadName, BadSetting, InputError, UnstorableValue
from tracker.read.catalog import scan
from tracker.record.arguments import parse_kwargs
from tracker.record.run import Run
from tracker.store.open import open_store


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An open run in an empty project."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    with tracker.run(store=tmp_path / "store", capture=()) as opened:
        yield opened


def recorded(run: Run) -> dict[str, Any]:
    """The arguments in the end of the run."""
    tracker.finish()
    return scan(run.store, [run.id])[0].arguments


def test_the_nearest_source_wins(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command line, JSON variable, own variable, pyproject, default: in this order."""
    Path("pyproject.toml").write_text("[tool.hindsight.args]\na = 1\nb = 1\nc = 1\nd = 1\n")
    for name in "abc":
        monkeypatch.setenv(f"HINDSIGHT_ARG_{name.upper()}", "2")
    monkeypatch.setenv("HINDSIGHT_KWARGS", json.dumps({"a": 3, "b": 3}))
    monkeypatch.setattr(sys, "argv", ["train.py", "--kwargs", "a=4"])

    assert [tracker.arg(name, 0) for name in "abcde"] == [4, 3, 2, 1, 0]
    assert recorded(run) == {"a": 4, "b": 3, "c": 2, "d": 1, "e": 0}


CONVERSIONS: list[tuple[str, Any, Any]] = [
    ("5", 1, 5), ("1e3", 1, 1000), ("0x10", 1, 16), ("5", 1.0, 5.0), ("5e-4", 1.0, 5e-4), ("inf", 1.0, math.inf),
    ("yes", False, True), ("0", True, False), ("5", "x", "5"), ("[1, 2]", [0], [1, 2]), ("[1, 2]", (0,), (1, 2)),
    ('{"a": 1}', {}, {"a": 1}), ("5", None, 5), ("adam", None, "adam"), ("it's", None, "it's"), ("", "x", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "default", "value"), CONVERSIONS)
def test_texts_get_the_type_of_the_default(
    run: Run, monkeypatch: pytest.MonkeyPatch, text: str, default: Any, value: Any
) -> None:
    """The value and its type; without a default a literal where it reads as one."""
    monkeypatch.setattr(sys, "argv", ["train.py", "--kwargs", f"x={text}"])

    found = tracker.arg("x", default)

    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "default"), [("five", 1), ("1.5", 1), ("nan", 1), ("maybe", True), ("x", 1.0), ("1", [0])]
)
def test_texts_that_do_not_convert_are_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, text: str, default: Any
) -> None:
    """The error shows the argument, the text, where it came from and the type that was expected."""
    monkeypatch.setattr(sys, "argv", ["train.py", "--kwargs", f"size={text}"])

    with pytest.raises(
        BadSetting, match=f"'size' is '{text}' .from the command line.: expected {type(default).__name__}"
    ):
        tracker.arg("size", default)


def test_arguments_without_a_value_or_a_name_are_refused(run: Run) -> None:
    """Each error says what to do."""
    with pytest.raises(InputError, match="--kwargs lr=VALUE"):
        tracker.arg("lr")
    with pytest.raises(BadName, match="name of an argument"):
        tracker.arg(5, 1)  # type: ignore[arg-type]
    with pytest.raises(BadSetting, match="expected one of 'adam', 'sgd'"):
        tracker.arg("optimizer", "lion", choices=["adam", "sgd"])


@pytest.mark.parametrize(
    "argv", [["--iter", "5"], ["replay"], ["--kwargs"], ["--kwargs", "--lr=5"], ["--epochs", "--kwargs=x"]]
)
def test_options_of_the_user_stay_the_users(tmp_path: Path, argv: list[str]) -> None:
    """Any command line reaches the program's own parser as it was typed."""
    code = "import sys, tracker\ntracker.arg('lr', 0.5)\nprint(sys.argv[1:])"

    done = run_script(tmp_path, code, *argv)

    assert (done.code, done.out) == (0, f"{argv}\n")
    assert done.run().arguments == {"lr": 0.5}


def test_words_after_kwargs_end_where_others_begin() -> None:
    """Only ``name=value`` words count, up to the first one that is none."""
    assert parse_kwargs(["x", "--kwargs", "a=1", "b=", "c==d", "e", "f=2"]) == {"a": "1", "b": "", "c": "=d"}
    assert parse_kwargs(["x", "--kwargs", "a=1", "-v", "b=2", "--kwargs", "c=3"]) == {"a": "1", "c": "3"}


def test_an_argument_is_recorded_once_unless_it_changes(run: Run) -> None:
    """Asking again costs nothing; NaN counts as equal to itself, and a list that was changed in place does not."""
    layers = [1, 2]
    for _ in range(3):
        tracker.arg("lr", math.nan)
        tracker.arg("layers", layers)
    layers.append(3)
    tracker.arg("layers", layers)

    assert len(reading.values(run.store, run.id, "lr")) == 1
    assert reading.values(run.store, run.id, "layers") == [[1, 2], [1, 2, 3]]


def test_secrets_are_returned_and_never_written(run: Run, tmp_path: Path) -> None:
    """Neither in segments nor in documents, also when the run ends without sealing."""
    assert tracker.arg("api_token", "hunter2-hunter2") == "hunter2-hunter2"
    assert recorded(run) == {"api_token": "***"}

    assert not any(b"hunter2" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("value", [object(), np.zeros(3), {1, 2}])
def test_a_default_that_cannot_be_stored_is_refused_and_ends_nothing(run: Run, value: Any) -> None:
    """Each time it is asked for; the run still ends as it should."""
    for _ in range(2):
        with pytest.raises(UnstorableValue, match="'model'"):
            tracker.arg("model", value)
    tracker.arg("lr", 0.5)

    assert recorded(run) == {"lr": 0.5}


def test_odd_values_survive_in_the_end_document(tmp_path: Path) -> None:
    """NaN, infinities, bytes, large integers and look-alikes of our marks are what they were."""
    values = {
        "nan": math.nan, "inf": -math.inf, "raw": b"\x00", "big": 2**80, "mark": {"$bytes": "x"},
        "float": {"$float": "1"}, "deep": [{"$$": [math.inf]}],
    }  # fmt: skip
    with tracker.run(store=tmp_path / "store", capture=()) as run:
        for name, value in values.items():
            tracker.arg(name, value)
            tracker.log(f"logged {name}", value)

    view = scan(open_store(tmp_path / "store"), [run.id])[0]
    assert repr(view.arguments) == repr(values)
    assert repr(view.summary) == repr({f"logged {name}": value for name, value in values.items()})
