"""Later attempts hide what they logged anew."""

from __future__ import annotations

from tests.read.building import It, Logged, Writer, make_run
from tracker.read.frame import dataframe
from tracker.store import ids
from tracker.store.base import Store


def attempts(store: Store, count: int = 2) -> list[Writer]:
    """Writers of attempts of one run, in time."""
    run = make_run(store)
    return [Writer(store, run, attempt) for attempt in sorted(ids.new_id() for _ in range(count))]


def epochs(numbers: range | list[int], value: float, *, first_index: int | None = None) -> list[Logged]:
    """A loss per epoch; with ``first_index`` the loop counts from there and shows the epochs as values."""
    if first_index is None:
        return [Logged((It("epoch", n),), "loss", value + n) for n in numbers]
    return [Logged((It("epoch", first_index + i, n),), "loss", value + n) for i, n in enumerate(numbers)]


def test_a_resumed_attempt_hides_from_its_first_context_on(store: Store) -> None:
    """Earlier rows stay, later ones of the old attempt are replaced."""
    one, two = attempts(store)
    one.seal(*epochs(range(5), 100.0))
    two.seal(*epochs(range(3, 6), 200.0))

    frame = dataframe(store, "loss")

    assert frame["loss"].tolist() == [100, 101, 102, 203, 204, 205]
    assert dataframe(store, "loss", attempts="all")["loss"].tolist() == [100, 101, 102, 103, 203, 104, 204, 205]


def test_three_attempts(store: Store) -> None:
    """Each hides from where it began, also what is two attempts old."""
    one, two, three = attempts(store, 3)
    one.seal(*epochs(range(9), 100.0))
    two.seal(*epochs(range(4, 6), 200.0))
    three.seal(*epochs(range(5, 8), 300.0))

    assert dataframe(store, "loss")["loss"].tolist() == [100, 101, 102, 103, 204, 305, 306, 307]


def test_iterated_values_decide_and_not_indices(store: Store) -> None:
    """``range(3, 6)`` begins with index 0 and still goes on behind epoch 2."""
    one, two = attempts(store)
    one.seal(*epochs(range(5), 100.0))
    two.seal(*epochs(range(3, 6), 200.0, first_index=0))

    frame = dataframe(store, "loss")

    assert frame["epoch"].tolist() == [0, 1, 2, 3, 4, 5]
    assert frame["loss"].tolist() == [100, 101, 102, 203, 204, 205]


def test_a_loop_that_counts_down_resumes_downwards(store: Store) -> None:
    """Temperatures of an annealing: the attempt that resumes at 50 replaces 50 and 25, not 100."""
    one, two = attempts(store)
    one.seal(*epochs([100, 75, 50, 25], 1000.0, first_index=0))
    two.seal(*epochs([50, 25, 0], 2000.0, first_index=2))

    frame = dataframe(store, "loss")

    assert frame["epoch"].tolist() == [100, 75, 50, 25, 0]
    assert frame["loss"].tolist() == [1100, 1075, 2050, 2025, 2000]


def test_texts_are_compared_by_their_indices(store: Store) -> None:
    """Names of folds have no order but the one in which they came."""
    names = ["north", "east", "south"]
    one, two = attempts(store)
    one.seal(*[Logged((It("fold", i, name),), "loss", float(i)) for i, name in enumerate(names)])
    two.seal(Logged((It("fold", 1, "east"),), "loss", 10.0))

    frame = dataframe(store, "loss")

    assert frame[["fold", "loss"]].values.tolist() == [["north", 0.0], ["east", 10.0]]


def test_nested_loops_are_compared_from_the_outside_in(store: Store) -> None:
    """An attempt that resumes at epoch 1, step 1 keeps epoch 1, step 0."""
    one, two = attempts(store)
    one.seal(*[Logged((It("epoch", e), It("step", s)), "loss", 10.0 * e + s) for e in range(3) for s in range(2)])
    two.seal(Logged((It("epoch", 1), It("step", 1)), "loss", 111.0))

    assert dataframe(store, "loss")["loss"].tolist() == [0.0, 1.0, 10.0, 111.0]


def test_a_metric_that_the_new_attempt_does_not_log_is_hidden_all_the_same(store: Store) -> None:
    """Old rows behind the resumption belong to a past that did not happen."""
    one, two = attempts(store)
    one.seal(*[Logged((It("epoch", n),), "norm", float(n)) for n in range(4)])
    two.seal(*epochs(range(2, 4), 200.0))

    assert dataframe(store, "norm")["norm"].tolist() == [0.0, 1.0]


def test_paths_are_compared_each_for_itself(store: Store) -> None:
    """An attempt that died before its first evaluation hides no evaluation."""
    one, two = attempts(store)
    one.seal(*epochs(range(2), 100.0), Logged((It("test", 0),), "accuracy", 0.5))
    two.seal(*epochs(range(2), 200.0))

    frame = dataframe(store, "loss", "accuracy")

    assert frame["loss"].dropna().tolist() == [200, 201]
    assert frame["accuracy"].dropna().tolist() == [0.5]


def test_run_level_values_are_hidden_by_name(store: Store) -> None:
    """The new attempt's result replaces the old one; what only the old one said stays."""
    one, two = attempts(store)
    one.seal(Logged((), "lr", 0.1, role="argument"), Logged((), "score", 1.0), Logged((), "note", "old"))
    two.seal(Logged((), "lr", 0.2, role="argument"), Logged((), "score", 2.0))

    frame = dataframe(store, "lr", "score", "note")

    assert frame[["lr", "score", "note"]].values.tolist() == [[0.2, 2.0, "old"]]


def test_shards_of_one_attempt_hide_nothing_of_each_other(store: Store) -> None:
    """The lowest first context of all its ranks is where an attempt began."""
    one, two = attempts(store)
    one.seal(*epochs(range(4), 100.0))
    Writer(store, one.run, two.attempt, "0000000b").seal(*epochs(range(3, 4), 300.0))
    two.seal(*epochs(range(2, 4), 200.0))

    frame = dataframe(store, "loss", "attempt")

    assert frame["loss"].tolist() == [100, 101, 202, 203, 303]
    assert frame["attempt"].tolist() == [one.attempt] * 2 + [two.attempt] * 3


def test_every_rank_states_an_argument_once(store: Store) -> None:
    """Eight ranks that parse the same command line make one argument, and one row."""
    run = make_run(store)
    Writer(store, run, run).seal(Logged((), "lr", 0.1, role="argument"))
    for rank in range(1, 8):
        Writer(store, run, run, f"{rank:08d}").seal(Logged((), "lr", 0.1, role="argument"))

    assert dataframe(store, "lr")["lr"].tolist() == [0.1]
