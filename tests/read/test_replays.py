"""Values that a replay filed stand in the rows of the run."""

from __future__ import annotations

from tests.read.building import START, It, Key, Logged, Writer, make_run
from tracker.read.frame import dataframe
from tracker.read.reader import Reader
from tracker.store import ids
from tracker.store.base import Store


def steps(name: str, values: list[float], first: int = 0, **about: float) -> list[Logged]:
    return [Logged((It("step", first + i),), name, value, **about) for i, value in enumerate(values)]


def replay(store: Store, run: str, replay_id: str, *records: Logged, fidelity: str = "exact") -> None:
    """File records as a slice of a replay does."""
    stated = {"fidelity": fidelity}
    Writer(store, run, ids.new_id(), replay=replay_id).seal(*records, stated=stated)


def test_a_replayed_value_stands_beside_the_forward_ones(store: Store) -> None:
    """One row for both, in the order of the loop, whatever slice came first."""
    run = make_run(store)
    Writer(store, run, run).seal(*steps("loss", [1.0, 2.0, 3.0, 4.0]))
    replay(store, run, "r1", *steps("norm", [30.0, 40.0], first=2))
    replay(store, run, "r1", *steps("norm", [10.0, 20.0]))

    frame = dataframe(store, "loss", "norm")

    assert frame[["step", "loss", "norm"]].values.tolist() == [[i, i + 1.0, 10.0 * (i + 1)] for i in range(4)]


def test_the_original_value_wins(store: Store) -> None:
    """What the replay logs anew to be compared does not show, and makes no rows."""
    run = make_run(store)
    Writer(store, run, run).seal(*steps("loss", [1.0, 2.0]))
    replay(store, run, "r1", *steps("loss", [1.5, 2.5, 3.5]), *steps("norm", [10.0, 20.0, 30.0]))

    frame = dataframe(store, "loss", "norm")

    assert frame["loss"].tolist() == [1.0, 2.0, 3.5]
    assert frame["norm"].tolist() == [10.0, 20.0, 30.0]


def test_asking_twice_gives_one_answer(store: Store) -> None:
    """The newest replay's."""
    run = make_run(store)
    Writer(store, run, run).seal(*steps("loss", [1.0]))
    replay(store, run, "r1", *steps("norm", [10.0]))
    replay(store, run, "r2", *steps("norm", [11.0]))

    assert dataframe(store, "loss", "norm")[["loss", "norm"]].values.tolist() == [[1.0, 11.0]]


def test_repeats_join_by_their_number(store: Store) -> None:
    """The second value of a context joins the second row of that context."""
    run = make_run(store)
    context = (It("step", 0), Key("phase", "train"))
    Writer(store, run, run).seal(Logged(context, "loss", 1.0), Logged(context, "loss", 2.0))
    replay(store, run, "r1", Logged(context, "norm", 10.0), Logged(context, "norm", 20.0))

    assert dataframe(store, "loss", "norm")[["loss", "norm"]].values.tolist() == [[1.0, 10.0], [2.0, 20.0]]


def test_fidelity_and_replay_say_where_a_value_is_from(store: Store) -> None:
    """They are added to the row in which forward and replayed values stand together."""
    run = make_run(store)
    Writer(store, run, run).seal(*steps("loss", [1.0, 2.0]))
    replay(store, run, "r1", *steps("norm", [10.0]), fidelity="close")

    frame = dataframe(store, "loss", "norm", "fidelity", "replay")

    assert frame["loss"].tolist() == [1.0, 2.0]
    assert frame["norm"].fillna(-1).tolist() == [10.0, -1]
    assert frame["fidelity"].fillna("").tolist() == ["close", ""]
    assert frame["replay"].fillna("").tolist() == ["r1", ""]


def test_naming_replay_shows_both_values(store: Store) -> None:
    """A value that was logged by the run and anew by the replay has a row of each."""
    run = make_run(store)
    Writer(store, run, run).seal(*steps("loss", [1.0, 2.0]), *steps("accuracy", [0.5, 0.6]))
    replay(store, run, "r1", *steps("loss", [1.5]), *steps("norm", [10.0]))

    frame = dataframe(store, "loss", "accuracy", "norm", "replay").fillna({"replay": "", "norm": -1.0})

    assert frame[["step", "loss", "accuracy", "norm", "replay"]].values.tolist() == [
        [0, 1.0, 0.5, -1.0, ""],
        [0, 1.5, 0.5, 10.0, "r1"],
        [1, 2.0, 0.6, -1.0, ""],
    ]


def test_two_replays_have_a_row_each_when_named(store: Store) -> None:
    """Both hold the forward value beside their own."""
    run = make_run(store)
    Writer(store, run, run).seal(*steps("loss", [1.0]))
    replay(store, run, "r1", *steps("norm", [10.0]))
    replay(store, run, "r2", *steps("norm", [11.0]))

    frame = dataframe(store, "loss", "norm", "replay").sort_values("replay")

    assert frame[["loss", "norm", "replay"]].values.tolist() == [[1.0, 10.0, "r1"], [1.0, 11.0, "r2"]]


def test_a_replay_is_no_attempt(store: Store) -> None:
    """It hides nothing of the run, though its shards are younger."""
    run = make_run(store)
    Writer(store, run, run).seal(*steps("loss", [1.0, 2.0]), Logged((), "score", 5.0))
    replay(store, run, "r1", *steps("norm", [10.0]), Logged((), "score", 6.0))

    assert dataframe(store, "loss")["loss"].tolist() == [1.0, 2.0]
    assert dataframe(store, "score")["score"].tolist() == [5.0]
    assert [record["value"] for record in Reader(store).read(metric="score")] == [5.0]


def test_time_is_that_of_the_rows_first_value(store: Store) -> None:
    """Of a row with forward and replayed values, the forward one's."""
    run = make_run(store)
    Writer(store, run, run).seal(*steps("loss", [1.0], time=START + 5))
    replay(store, run, "r1", *steps("norm", [1.0], time=START + 1000))

    frame = dataframe(store, "norm", "loss", "time")

    assert [moment.timestamp() for moment in frame["time"]] == [START + 5]


def test_a_metric_called_time_wins(store: Store) -> None:
    """A pseudo-column's name that was logged means the metric."""
    run = make_run(store)
    Writer(store, run, run).seal(*steps("time", [0.25]), *steps("shard", [3.0]))

    frame = dataframe(store, "time", "shard", "attempt")

    assert frame[["time", "shard", "attempt"]].values.tolist() == [[0.25, 3.0, run]]


def test_naming_shard_keeps_shards_apart(store: Store) -> None:
    """Values of different ranks do not share a row then."""
    run = make_run(store)
    Writer(store, run, run).seal(*steps("loss", [1.0]))
    Writer(store, run, run, "00000001").seal(*steps("norm", [2.0]))

    assert len(dataframe(store, "loss", "norm")) == 1
    assert dataframe(store, "loss", "norm", "shard")["shard"].tolist() == [run, f"{run}_00000001"]
