"""``dataframe``: rows, columns, types and names."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pandas as pd
import pytest

from tests.read.building import START, It, Key, Logged, Writer, log_run, make_run
from tracker.errors import InputError, NameNotFound
from tracker.read.frame import dataframe
from tracker.store.base import Store
from tracker.store.memory import MemoryStore


def steps(name: str, values: list[object], **about: object) -> list[Logged]:
    """One value a step of a single epoch."""
    return [Logged((It("epoch", 0), It("step", i)), name, value, **about) for i, value in enumerate(values)]


def test_columns_stand_in_the_promised_order(store: Store) -> None:
    """Identity, loops from the outside in, step keys, then the names as they were asked."""
    context = (It("epoch", 1), It("step", 2), Key("phase", "train"))
    run = log_run(store, Logged(context, "loss", 0.5), Logged(context, "accuracy", 0.9))

    frame = dataframe(store, "loss", "accuracy")

    assert list(frame.columns) == ["project", "run", "started", "script", "epoch", "step", "phase", "loss", "accuracy"]
    assert frame.iloc[0].tolist() == [
        "demo",
        run,
        datetime.fromtimestamp(START, UTC),
        "train.py",
        1,
        2,
        "train",
        0.5,
        0.9,
    ]


def test_types_are_the_logged_ones(store: Store) -> None:
    """Floats, integers, truth values and texts have typed columns; the rest are Python objects."""
    logged = {"f": 0.1, "i": 7, "b": True, "s": "text", "y": b"\x00\xff", "big": 2**80, "j": {"a": [1, None, math.inf]}}
    log_run(store, *(Logged((It("step", 0),), name, value) for name, value in logged.items()))

    frame = dataframe(store, *logged)

    expected = [
        "float64",
        "Int64",
        "boolean",
        "str" if pd.__version__ >= "3" else "string",
        "object",
        "object",
        "object",
    ]
    assert [str(frame[name].dtype) for name in logged] == expected
    assert frame[list(logged)].iloc[0].to_dict() == logged


def test_numbers_keep_every_bit(store: Store) -> None:
    """NaN, infinities, minus zero and integers near the limits come back as they were."""
    floats = [math.nan, math.inf, -math.inf, -0.0, 0.1, 5e-324]
    log_run(store, *steps("f", floats), *steps("i", [2**63 - 1, -(2**63), 2**53 + 1]))

    frame = dataframe(store, "f", "i")

    assert [value.hex() for value in frame["f"]] == [value.hex() for value in floats]
    assert frame["i"].dropna().tolist() == [2**63 - 1, -(2**63), 2**53 + 1]


def test_equal_rows_are_not_merged(store: Store) -> None:
    """The same value logged twice in one context gives two rows."""
    log_run(store, *[Logged((It("step", 0),), "loss", 1.0) for _ in range(3)], Logged((It("step", 1),), "loss", 1.0))

    frame = dataframe(store, "loss")

    assert frame[["step", "loss"]].values.tolist() == [[0, 1.0], [0, 1.0], [0, 1.0], [1, 1.0]]


def test_a_value_split_over_segments_stands_in_one_row(store: Store) -> None:
    """A context whose values were sealed apart is still one row."""
    run = make_run(store)
    writer = Writer(store, run, run)
    writer.seal(Logged((It("step", 0),), "loss", 0.0), Logged((It("step", 1),), "loss", 1.0))
    writer.seal(Logged((It("step", 1),), "accuracy", 10.0), Logged((It("step", 2),), "accuracy", 20.0))

    frame = dataframe(store, "loss", "accuracy")

    assert frame["step"].tolist() == [0, 1, 2]
    assert frame["loss"].fillna(-1).tolist() == [0.0, 1.0, -1]
    assert frame["accuracy"].fillna(-1).tolist() == [-1, 10.0, 20.0]


def test_shards_share_rows_only_where_their_metrics_differ(store: Store) -> None:
    """Two ranks that log the same metric in one context have a row each; other metrics fill up the first."""
    run = make_run(store)
    Writer(store, run, run).seal(*steps("loss", [1.0, 2.0]))
    Writer(store, run, run, "00000001").seal(*steps("loss", [10.0, 20.0]), *steps("norm", [5.0, 6.0]))

    frame = dataframe(store, "loss", "norm")

    assert frame["step"].tolist() == [0, 0, 1, 1]
    assert frame["loss"].tolist() == [1.0, 10.0, 2.0, 20.0]
    assert frame["norm"].fillna(-1).tolist() == [5.0, -1, 6.0, -1]


def test_run_level_values_are_repeated_on_every_row(store: Store) -> None:
    """Arguments and values logged outside all loops stand on every row of their run, and on no other's."""
    log_run(store, Logged((), "lr", 0.1, role="argument"), Logged((), "final", 9.0), *steps("loss", [1.0, 2.0]))
    log_run(store, Logged((), "lr", 0.2, role="argument"), *steps("loss", [3.0]))

    frame = dataframe(store, "lr", "loss", "final")

    assert frame["lr"].tolist() == [0.1, 0.1, 0.2]
    assert frame["final"].fillna(-1).tolist() == [9.0, 9.0, -1]


def test_a_value_of_the_row_beats_the_run_level_one(store: Store) -> None:
    """A learning rate that is logged in the loop wins over the argument of the same name."""
    schedule = [Logged((It("step", i),), "lr", value) for i, value in enumerate([0.1, 0.05])]
    log_run(store, Logged((), "lr", 0.1, role="argument"), *schedule, Logged((It("step", 2),), "loss", 1.0))

    frame = dataframe(store, "lr", "loss")

    assert frame["lr"].tolist() == [0.1, 0.05, 0.1]


def test_run_level_values_alone_are_rows(store: Store) -> None:
    """Where nothing was logged in loops, the run itself is the context."""
    log_run(store, Logged((), "lr", 0.1, role="argument"), Logged((), "score", 1.0), Logged((), "score", 2.0))

    assert dataframe(store, "lr")["lr"].tolist() == [0.1]
    frame = dataframe(store, "score", "lr")
    assert frame["score"].tolist() == [1.0, 2.0]
    assert frame["lr"].tolist() == [0.1, 0.1]


def test_repeated_run_level_values_are_not_lost_beside_loops(store: Store) -> None:
    """What no other row would show keeps rows of its own."""
    log_run(store, Logged((), "note", "a"), Logged((), "note", "b"), *steps("loss", [1.0]))

    frame = dataframe(store, "loss", "note")

    assert frame["note"].tolist() == ["a", "b", "b"]
    assert frame["loss"].fillna(-1).tolist() == [-1, -1, 1.0]


def test_different_loops_stand_side_by_side(store: Store) -> None:
    """A run with folds beside one with epochs and steps keeps all three columns."""
    log_run(store, Logged((It("fold", 3),), "loss", 0.3))
    log_run(store, *steps("loss", [0.1]))

    frame = dataframe(store, "loss")

    assert {"fold", "epoch", "step"} <= set(frame.columns)
    assert frame["fold"].isna().tolist() == [False, True]
    assert frame["step"].isna().tolist() == [True, False]


def test_an_outer_loop_stands_before_its_inner_one(store: Store) -> None:
    """Also when rows of the inner loop alone come first."""
    log_run(store, Logged((It("a", 0),), "loss", 1.0), Logged((It("b", 0), It("a", 0)), "loss", 2.0))

    columns = list(dataframe(store, "loss").columns)

    assert columns[4:] == ["b", "a", "loss"]


def test_loops_of_one_name_are_numbered(store: Store) -> None:
    """A loop inside a loop of the same name is a column of its own."""
    log_run(store, Logged((It("epoch", 1), It("epoch", 2)), "loss", 1.0))

    frame = dataframe(store, "loss")

    assert frame[["epoch", "epoch.2"]].values.tolist() == [[1, 2]]


def test_a_loop_shows_what_it_iterated_over(store: Store) -> None:
    """The iterated value where it is a plain scalar, else the index."""
    log_run(store, *[Logged((It("fold", i, name),), "loss", float(i)) for i, name in enumerate(["north", "süd"])])

    assert dataframe(store, "loss")["fold"].tolist() == ["north", "süd"]


def test_a_name_stands_for_all_its_labels(store: Store) -> None:
    """In natural order; one column may be asked for alone."""
    context = (It("step", 0),)
    log_run(store, *[Logged(context, "norm", float(layer), {"layer": layer}) for layer in (10, 2)])

    assert list(dataframe(store, "norm").columns)[5:] == ["norm{layer=2}", "norm{layer=10}"]
    assert list(dataframe(store, "norm{layer=10}").columns)[5:] == ["norm{layer=10}"]


@pytest.mark.parametrize("name", ["it's", 'a"b', "a b", "änderung", "x.none", "_time", "[0]", "%s", "a{b=c}"])
def test_names_of_any_letters_work(store: Store, name: str) -> None:
    """Quotes, spaces, braces and names of our own columns are ordinary names."""
    log_run(store, Logged((It("step", 0),), name, 1.5))

    assert dataframe(store, name)[name].tolist() == [1.5]


def test_a_metric_called_like_a_column_is_marked(store: Store) -> None:
    """A metric ``run`` or ``epoch`` stands beside the column of that name."""
    log_run(store, Logged((It("epoch", 4),), "run", 1.5), Logged((It("epoch", 4),), "epoch", 2.5))

    frame = dataframe(store, "run", "epoch")

    assert frame["run.logged"].tolist() == [1.5]
    assert frame["epoch.logged"].tolist() == [2.5]
    assert frame["epoch"].tolist() == [4]


def test_none_keeps_its_row(store: Store) -> None:
    """A logged ``None`` is a row without a value; a context without the metric is no row."""
    log_run(store, *steps("loss", [1.0, None, 3.0]), Logged((It("epoch", 0), It("step", 9)), "other", 1.0))

    frame = dataframe(store, "loss")

    assert frame["step"].tolist() == [0, 1, 2]
    assert frame["loss"].isna().tolist() == [False, True, False]


def test_mixed_kinds_lose_nothing(store: Store) -> None:
    """A metric that was a number in one run and a text in another keeps both as they were."""
    log_run(store, *steps("x", [1, 2**60]))
    log_run(store, *steps("x", [0.5, math.nan]))
    log_run(store, *steps("x", ["auto"]))

    values = dataframe(store, "x")["x"].tolist()

    assert values[:3] == [1, 2**60, 0.5]
    assert math.isnan(values[3])
    assert values[4] == "auto"


def test_integers_beside_floats_are_floats(store: Store) -> None:
    """As long as each of them is one exactly."""
    log_run(store, *steps("x", [1]))
    log_run(store, *steps("x", [0.5]))

    frame = dataframe(store, "x")

    assert str(frame["x"].dtype) == "float64"
    assert frame["x"].tolist() == [1.0, 0.5]


def test_an_unknown_name_says_what_was_perhaps_meant(store: Store) -> None:
    """``NameNotFound`` names near matches."""
    log_run(store, *steps("accuracy", [1.0]))

    with pytest.raises(NameNotFound, match="'acuracy'; did you mean 'accuracy'"):
        dataframe(store, "acuracy")


def test_a_name_that_is_no_text_is_refused(store: Store) -> None:
    """A list of names instead of names is the usual slip."""
    with pytest.raises(InputError, match=r"\['loss'\] is not the name of a metric"):
        dataframe(store, ["loss"])  # type: ignore[arg-type]


def test_an_empty_store_gives_an_empty_frame() -> None:
    """No run, no row, and no error; the columns are there."""
    frame = dataframe(MemoryStore("empty-frame"), "loss")

    assert list(frame.columns) == ["project", "run", "started", "script", "loss"]
    assert len(frame) == 0
    assert len(dataframe(MemoryStore("empty-frame"))) == 0


def test_without_names_every_run_is_a_row(store: Store) -> None:
    """Arguments, values outside loops, status and duration."""
    run = log_run(store, arguments={"lr": 0.1, "net": "small"}, summary={"accuracy": 0.9})
    make_run(store, arguments={"lr": 1})

    frame = dataframe(store)

    assert list(frame.columns)[4:] == ["lr", "net", "accuracy", "status", "duration"]
    assert frame.iloc[0][["run", "lr", "net", "accuracy", "status", "duration"]].tolist() == [
        run, 0.1, "small", 0.9, "finished", 60.0,
    ]  # fmt: skip
    assert frame["lr"].tolist() == [0.1, 1.0]


def test_an_argument_called_status_does_not_hide_the_status(store: Store) -> None:
    """The run's own columns keep their names."""
    make_run(store, arguments={"status": "warm", "run": 3})

    frame = dataframe(store)

    assert frame[["status", "status.logged", "run.logged"]].values.tolist() == [["finished", "warm", 3]]


def test_loops_and_identity_may_be_named(store: Store) -> None:
    """Naming what is there already adds nothing; naming only loops gives all contexts."""
    log_run(store, *steps("loss", [1.0, 2.0]), *steps("other", [1.0, 2.0, 3.0]))

    assert list(dataframe(store, "step", "loss", "run").columns) == list(dataframe(store, "loss").columns)
    assert dataframe(store, "step")["step"].tolist() == [0, 1, 2]
    assert dataframe(store, "loss", "status")["status"].tolist() == ["finished", "finished"]
