"""What is counted over a whole run, however often it registers objects: checkpoints, and executions of loops."""

from __future__ import annotations

import itertools
import weakref
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tracker.record.run import Run


@dataclass(frozen=True)
class Counts:
    """``numbers``: of the checkpoints of an attempt. ``executions``: of checkpointed loops, by place and name."""

    numbers: Iterator[int] = field(default_factory=itertools.count)
    executions: Counter[tuple[Any, ...]] = field(default_factory=Counter)


_counts: weakref.WeakKeyDictionary[Run, Counts] = weakref.WeakKeyDictionary()


def counts_of(run: Run) -> Counts:
    """The counts of a run, the same each time."""
    return _counts.setdefault(run, Counts())
