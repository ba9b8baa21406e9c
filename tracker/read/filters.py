"""Filters on records: by value, by collection or by function, on any key of run, context or labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracker.read.layout import Metric
from tracker.read.records import ABSENT, VALUE, outer_value
from tracker.read.values import Column

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Wanted = Any
"""A value, a collection of values, or a function of a value. ``None`` wants records that do not have the key."""


def matches(wanted: Wanted, value: Any) -> bool:
    """Whether a value passes; ``ABSENT`` does only where ``None`` is wanted."""
    if value is ABSENT:
        return wanted is None
    if callable(wanted):
        return bool(wanted(value))
    if isinstance(wanted, range):
        return not isinstance(value, bool) and value in wanted
    if isinstance(wanted, Collection) and not isinstance(wanted, str | bytes | Mapping):
        return any(_equal(one, value) for one in wanted)
    return _equal(wanted, value)


def _equal(wanted: Any, value: Any) -> bool:
    # True == 1 in Python, but a flag is not a number to people who filter.
    return isinstance(wanted, bool) == isinstance(value, bool) and bool(wanted == value)


def passing(wanted: Wanted, values: Column) -> NDArray[np.bool_]:
    """Which values pass, each distinct one tested once; ``None`` and missing ones do only where ``None`` is wanted."""
    import numpy as np
    import pyarrow as pa

    encoded = values.data.combine_chunks().dictionary_encode()
    distinct = Column(values.kind, pa.chunked_array([encoded.dictionary])).python()
    verdicts = np.array([*(matches(wanted, value) for value in distinct), wanted is None], bool)
    indices: NDArray[Any] = encoded.indices.fill_null(len(distinct)).to_numpy(zero_copy_only=False)
    found: NDArray[np.bool_] = verdicts[indices]
    return found


@dataclass(frozen=True)
class Filters:
    """All filters of one question."""

    wanted: Mapping[str, Wanted]

    def may_pass(self, metric: Metric, run_keys: Mapping[str, Any], contexts: Collection[str]) -> bool:
        """Whether any record of a metric can pass, judged before anything is read."""
        return all(
            name in contexts or name == VALUE or matches(wanted, outer_value(metric, run_keys, name))
            for name, wanted in self.wanted.items()
        )

    def of_context(self, context: Mapping[str, Column]) -> dict[str, NDArray[np.bool_]]:
        """For every filtered key of the context which rows pass."""
        return {
            name: passing(wanted, context[name])
            for name, wanted in self.wanted.items()
            if name in context and name != VALUE
        }

    def rows(
        self,
        metric: Metric,
        run_keys: Mapping[str, Any],
        context: Mapping[str, Column],
        passed: Mapping[str, NDArray[np.bool_]],
        length: int,
    ) -> NDArray[np.bool_]:
        """Rows of a metric that pass: each key is taken from the context, else the labels, else the run."""
        import numpy as np

        kept = np.ones(length, bool)
        for name, wanted in self.wanted.items():
            if name == VALUE:
                continue
            outer = matches(wanted, outer_value(metric, run_keys, name))
            present = context[name].present() if name in context else np.zeros(length, bool)
            kept &= passed[name] if present is None else np.where(present, passed.get(name, outer), outer)
        return kept
