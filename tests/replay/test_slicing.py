"""Slices begin at checkpoints, are balanced, and together answer for everything once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.replay.answers import Answered
from tracker.replay.carried import Needs
from tracker.replay.costs import Costs
from tracker.replay.documents import Slice
from tracker.replay.history import Checkpoint, History
from tracker.replay.levels import Reach
from tracker.replay.slicing import Work, divide, fit, makespan, simulate

INNER = Reach(("step",), inside=True, outside=False)
OUTER = Reach((), inside=True, outside=False)
AROUND = Reach((), inside=False, outside=True)
EVEN = Costs(before_s=1.0, rest_s=0.1, blocks_s={"step": 9.9}, restore_s=0.01)


def history(iterations: int, *at: int, costs: Costs = EVEN, **about: Any) -> History:
    """A loop with checkpoints at the exits of the block of these iterations."""
    checkpoints = tuple(Checkpoint(f"c{i}", i, 0, "step", 9.9) for i in at)
    known: dict[str, Any] = {"is_divisible": True, "forward_s": iterations * costs.full_s}
    return History("epoch", iterations, checkpoints, costs=costs, **(known | about))


def work(past: History, reach: Reach = INNER, **about: Any) -> Work:
    found = Work("run", past, reach, **about).without(Answered())
    assert found is not None
    return found


def ranges(slices: tuple[Slice, ...]) -> list[tuple[int, int | None]]:
    return sorted((piece.first, piece.last) for piece in slices)


def by_first(slices: tuple[Slice, ...]) -> list[Slice]:
    return sorted(slices, key=lambda piece: piece.first)


def test_without_checkpoints_one_slice_does_all() -> None:
    """From the start of the program to its end."""
    (piece,) = divide([work(History(forward_s=50.0), Reach())], 4)

    assert (piece.first, piece.last, piece.checkpoint) == (0, None, None)
    assert piece.is_first
    assert piece.is_last
    assert piece.estimate_s > 50


@pytest.mark.parametrize("workers", [2, 4, 5, 10])
def test_even_blocks_are_balanced(workers: int) -> None:
    """Within a tenth of the ideal, with a checkpoint behind every block."""
    slices = divide([work(history(100, *range(100)))], workers)

    assert makespan(slices, workers) <= 1.1 * (100 * EVEN.full_s / workers + EVEN.start_s)
    assert len(slices) >= workers


def test_slices_cover_every_iteration_once_and_begin_behind_a_checkpoint() -> None:
    """The first from the start of the program, the others at the exit of the block before."""
    slices = by_first(divide([work(history(12, *range(12)))], 3))

    assert [piece.first for piece in slices[1:]] == [piece.last + 1 for piece in slices[:-1] if piece.last is not None]
    assert [piece.checkpoint for piece in slices] == [None, *(f"c{piece.first - 1}" for piece in slices[1:])]
    assert slices[-1].last == 11


def test_a_probe_in_the_loop_alone_does_not_run_what_follows_the_loop() -> None:
    """Nobody answers for it then; with a probe outside, the ends answer for it."""
    inner = by_first(divide([work(history(12, *range(12)))], 3))
    both = by_first(divide([work(history(12, *range(12)), Reach(("step",)))], 3))

    assert [(piece.is_first, piece.is_last) for piece in inner] == [(False, False)] * 3
    assert [piece.is_first for piece in both] == [True, False, False]
    assert [(piece.last, piece.is_last) for piece in both][-1] == (None, True)


def test_sparse_checkpoints_are_the_only_cuts() -> None:
    """To begin elsewhere would be to execute what another slice executes."""
    slices = divide([work(history(12, 2, 7))], 6)

    assert ranges(slices) == [(0, 2), (3, 7), (8, 11)]


def test_a_checkpoint_that_cannot_be_begun_at_is_no_cut() -> None:
    """Such as one during which an iterator was alive."""
    past = history(12, 2, 7)
    closed = tuple(
        Checkpoint(each.key, each.iteration, 0, "step", can_begin=each.iteration == 2) for each in past.checkpoints
    )

    slices = divide([work(History("epoch", 12, closed, is_divisible=True, costs=EVEN))], 6)

    assert ranges(slices) == [(0, 2), (3, 11)]


def test_cheap_runs_are_not_cut() -> None:
    """A process costs about a second: two seconds of work are left together."""
    costs = Costs(rest_s=0.001, blocks_s={"step": 0.099})

    assert len(divide([work(history(30, *range(30), costs=costs))], 8)) == 1
    assert len(divide([work(history(60, *range(60), costs=costs))], 8)) > 1


def test_more_workers_than_iterations() -> None:
    """Give one slice for each iteration."""
    assert ranges(divide([work(history(3, *range(3)))], 64)) == [(0, 0), (1, 1), (2, 2)]


def test_outer_probes_skip_blocks() -> None:
    """So a thousand iterations of ten seconds cost a restore each."""
    (piece,) = divide([work(history(1000, *range(1000)), OUTER)], 1)

    assert piece.estimate_s == pytest.approx(EVEN.start_s + 1000 * (0.1 + 0.01))


def test_blocks_without_a_checkpoint_cost_their_time() -> None:
    """Half of the exits are there."""
    (piece,) = divide([work(history(100, *range(0, 100, 2)), OUTER)], 1)

    assert piece.estimate_s == pytest.approx(EVEN.start_s + 50 * 0.11 + 50 * 10)


def test_a_probe_behind_the_loop_begins_at_the_last_checkpoint() -> None:
    """One slice answers for what is before the loop, too, because every program begins there."""
    (piece,) = divide([work(history(10, *range(10)), AROUND)], 4)

    assert (piece.first, piece.last, piece.checkpoint) == (10, None, "c9")
    assert piece.is_first
    assert piece.is_last


def test_chosen_iterations_are_done_alone() -> None:
    """Each from the nearest checkpoint, neighbours together."""
    slices = by_first(divide([work(history(100, *range(100)), wanted=(0, 50, 51, 90), before=False, after=False)], 8))

    assert ranges(tuple(slices)) == [(0, 0), (50, 50), (51, 51), (90, 90)]
    assert [piece.checkpoint for piece in slices] == [None, "c49", "c50", "c89"]


def test_small_gaps_are_bridged() -> None:
    """To execute an iteration of ten milliseconds is cheaper than a process."""
    costs = Costs(rest_s=0.001, blocks_s={"step": 0.009})

    slices = divide([work(history(99, *range(99), costs=costs), wanted=(4, 7, 9), before=False, after=False)], 4)

    assert ranges(slices) == [(4, 9)]


def test_catching_up_from_a_sparse_checkpoint_is_estimated() -> None:
    """Iteration 50 behind a checkpoint at 40 executes nine more in full."""
    (piece,) = divide([work(history(100, 40), OUTER, wanted=(50,), before=False, after=False)], 1)

    assert piece.checkpoint == "c40"
    assert piece.estimate_s == pytest.approx(EVEN.start_s + 0.01 + 0.1 + 9 * 10 + 10)


def test_a_loop_inside_a_plain_loop_is_not_cut() -> None:
    """Its iterations repeat; blocks are skipped all the same, and the estimate knows."""
    (piece,) = divide([work(history(10, *range(10), is_divisible=False), OUTER)], 4)

    assert (piece.first, piece.last, piece.checkpoint) == (0, None, None)
    assert piece.estimate_s < 10


def test_a_killed_run_is_not_continued() -> None:
    """Its last slice ends with its last iteration, although a probe stands behind the loop."""
    slices = by_first(divide([work(history(12, *range(12), is_complete=False), Reach(("step",)))], 3))

    assert slices[-1].last == 11
    assert not slices[-1].is_last


@pytest.mark.parametrize(
    ("answered", "left"),
    [
        (Answered(whole=True), None),
        (Answered(iterations=frozenset(range(12))), None),
        (Answered(iterations=frozenset(range(6))), [(6, 11)]),
        (Answered(iterations=frozenset(range(3, 12))), [(0, 2)]),
        (Answered(before=True, after=True), [(0, 11)]),
    ],
)
def test_what_is_answered_is_left_out(answered: Answered, left: list[tuple[int, int]] | None) -> None:
    """What remains is done."""
    found = Work("run", history(12, *range(12)), INNER).without(answered)

    assert (None if found is None else ranges(divide([found], 1))) == left


def test_runs_share_the_workers() -> None:
    """Three equal runs on two workers: one is cut, so that both end at about the same time."""
    works = [Work(str(n), history(40, *range(40)), INNER, before=False, after=False) for n in range(3)]

    slices = divide(works, 2)

    assert makespan(slices, 2) <= 1.1 * 3 * 40 * EVEN.full_s / 2
    assert [piece.number for piece in slices] == list(range(len(slices)))
    assert [piece.estimate_s for piece in slices] == sorted((piece.estimate_s for piece in slices), reverse=True)


def test_nothing_to_do_gives_no_slices() -> None:
    """Neither does it divide by anything."""
    assert divide([], 4) == ()
    assert makespan([], 4) == 0


@pytest.mark.parametrize(("workers", "least"), [(2, 0.95), (4, 0.95), (16, 0.9), (64, 0.8)])
def test_the_simulation_states_the_efficiency(workers: int, least: float) -> None:
    """Of a training of 256 epochs of a minute each."""
    costs = Costs(before_s=2.0, rest_s=1.0, blocks_s={"step": 59.0}, restore_s=0.1)

    assert least <= simulate([work(history(256, *range(256), costs=costs))], workers) <= 1.0


def test_what_checkpoints_lack_lets_the_block_run() -> None:
    """A probe reads ``loss``, which the old code had no use for behind its block."""
    reach = Reach((), True, False, Needs(frozenset({("step", "loss")})))
    held = History("epoch", 2, (Checkpoint("c0", 0, 0, "step", names=frozenset({"loss"})),), is_divisible=True)

    assert fit(reach, held)[0].run_blocks == ()
    assert fit(reach, history(2, 0))[0].run_blocks == ("step",)


@pytest.mark.parametrize("needs", [None, Needs(names=frozenset({"last"}))])
def test_what_no_checkpoint_holds_takes_a_whole_run(needs: Needs | None) -> None:
    """A counter that the probe brings along, or a variable of the iteration before."""
    reach, past = fit(Reach((), True, False, needs), history(9, *range(9)))

    (piece,) = divide([work(past, reach)], 4)

    assert (piece.first, piece.last, piece.checkpoint) == (0, None, None)


@given(st.data())
def test_any_division_covers_what_is_wanted_once(data: st.DataObject) -> None:
    """Whatever the loop, its checkpoints, the workers and the wanted iterations are."""
    count = data.draw(st.integers(1, 40))
    saved = data.draw(st.sets(st.integers(0, count - 1)))
    wanted = data.draw(
        st.none() | st.sets(st.integers(0, count - 1), min_size=1).map(lambda found: tuple(sorted(found)))
    )
    costs = Costs(1.0, 1.0, data.draw(st.floats(0, 5)), {"step": data.draw(st.floats(0, 50))}, 0.01)
    reach = data.draw(st.sampled_from([INNER, OUTER, Reach()]))

    one = Work("run", history(count, *sorted(saved), costs=costs), reach, wanted).without(Answered())
    assert one is not None
    slices = by_first(divide([one], data.draw(st.integers(1, 20))))

    covered = [i for piece in slices for i in range(piece.first, count if piece.last is None else piece.last + 1)]
    assert sorted(covered) == covered
    assert len(set(covered)) == len(covered)
    assert set(covered) >= set(range(count) if wanted is None else wanted)
    assert sum(piece.is_first for piece in slices) <= 1
    assert sum(piece.is_last for piece in slices) <= 1
    assert all(piece.checkpoint is None or int(piece.checkpoint[1:]) < piece.first for piece in slices)
