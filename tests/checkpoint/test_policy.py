"""When checkpoints are taken: the cost is bounded, and none is taken that spares less than it costs to restore."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tracker.checkpoint.policy import Mode, Policy


@dataclass
class Clock:
    """Time that passes when it is told to."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def run(policy: Policy, clock: Clock, *, blocks: int, block_s: float, cost_s: float, size_bytes: int = 1 << 20) -> int:
    """How many checkpoints a loop of equal blocks takes, where each costs the same."""
    taken = 0
    for _ in range(blocks):
        policy.begin()
        clock.now += block_s
        if policy.wants(size_bytes):
            taken += 1
            policy.took(cost_s / 2)
            policy.wrote(cost_s / 2, size_bytes, copied_s=cost_s / 2)
    return taken


@pytest.mark.parametrize("cost_s", [0.005, 0.05, 0.5, 5.0])
def test_the_cost_stays_within_the_share(cost_s: float) -> None:
    """Whatever one costs: all of them, and the last one that was not foreseen."""
    clock = Clock()
    policy = Policy(clock)
    run(policy, clock, blocks=1000, block_s=0.2, cost_s=cost_s)

    assert policy.spent_s <= clock.now / 15 + cost_s


def test_cheap_checkpoints_are_taken_at_every_block() -> None:
    """Where they cost a hundredth of a block, nothing is left out after the first few."""
    clock = Clock()

    assert run(Policy(clock), clock, blocks=100, block_s=1.0, cost_s=0.01) >= 95


def test_blocks_shorter_than_a_restore_are_not_worth_one() -> None:
    """A thousand blocks of a millisecond are executed again sooner than a state is restored for each."""
    clock = Clock()

    assert run(Policy(clock), clock, blocks=1000, block_s=0.001, cost_s=0.00001) <= 50


@pytest.mark.parametrize(("mode", "taken"), [("all", 100), ("none", 0)])
def test_modes_decide_without_measuring(mode: Mode, taken: int) -> None:
    """For tests, and for people who know."""
    clock = Clock()

    assert run(Policy(clock, mode=mode), clock, blocks=100, block_s=0.001, cost_s=1.0) == taken
