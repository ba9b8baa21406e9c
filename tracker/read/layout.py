"""What the columns of a piece mean, taken from the metadata of their fields (docs/design/0003)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tracker.errors import DamagedSegment
from tracker.store.columns import read_json
from tracker.store.frames import Name
from tracker.store.segments import describe
from tracker.store.tables import metric_column

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, order=True)
class Metric:
    """The identity of a metric or argument: name and labels, as canonical JSON so that ``1`` and ``"1"`` differ."""

    name: str
    labels_json: str = "{}"
    is_argument: bool = False

    @property
    def labels(self) -> dict[str, Any]:
        """The labels as they were logged."""
        return dict(json.loads(self.labels_json))

    @cached_property
    def column(self) -> str:
        """How the metric is called as a column: ``norm{layer=3}``."""
        return metric_column(Name(name=self.name, labels=self.labels))

    @cached_property
    def order(self) -> tuple[Any, ...]:
        """A sort key under which ``layer=2`` comes before ``layer=10``, and a metric without labels first."""
        return self.name, [(key, *_natural(value)) for key, value in sorted(self.labels.items())]


def _natural(value: Any) -> tuple[int, float, str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 0, float(value), ""
    return 1, 0.0, str(value)


def metric(name: str, labels: dict[str, Any] | None = None, *, is_argument: bool = False) -> Metric:
    """The metric of a name and labels, or the argument of a name."""
    return Metric(name, json.dumps(labels or {}, sort_keys=True, ensure_ascii=False), is_argument)


@dataclass(frozen=True)
class Place:
    """Where a metric stands in one piece."""

    column: str
    kind: str
    none: str | None


@dataclass(frozen=True)
class Level:
    """One loop of a path as columns of a piece."""

    column: str
    kind: str
    index: str | None


@dataclass(frozen=True)
class Layout:
    """The columns of one piece by their roles; ``steps`` by key, to column and kind."""

    levels: tuple[Level, ...]
    steps: dict[str, tuple[str, str]]
    metrics: dict[Metric, Place]
    time: str | None
    loops: tuple[str, ...] = ()
    described: dict[str, Any] = field(default_factory=dict)

    @property
    def replay(self) -> str | None:
        """The id of the replay that filed the piece; ``None`` for what the run itself logged."""
        found = self.described.get("replay")
        return None if found is None else str(found)

    @property
    def fidelity(self) -> str | None:
        """What the replay that filed the piece says of its values."""
        return None if self.replay is None else str(self.described.get("fidelity") or "unverified")


def parse(schema: pa.Schema) -> Layout:
    """The layout of a piece with this schema; ``DamagedSegment`` where its metadata contradicts itself.

    Columns without a role of ours are passed over.
    """
    try:
        found = _parse(schema)
    except ValueError as exc:
        raise DamagedSegment(f"the metadata of its columns cannot be read: {exc}") from exc
    if len(found.loops) != len(found.levels):
        raise DamagedSegment(f"it has {len(found.levels)} loop columns for the path {found.loops!r}")
    return found


def _parse(schema: pa.Schema) -> Layout:
    if len(set(schema.names)) < len(schema.names):
        raise ValueError("two columns have one name")
    fields = [(each.name, {k.decode(): v.decode() for k, v in (each.metadata or {}).items()}) for each in schema]
    by_role: dict[str, list[tuple[str, dict[str, str]]]] = {}
    for name, about in fields:
        by_role.setdefault(about.get("role", ""), []).append((name, about))
    described = describe(schema)
    indices = {name for name, _ in by_role.get("index", [])}
    nones = {about.get("name", name.removesuffix(".none")): name for name, about in by_role.get("none", [])}
    levels = tuple(
        Level(name, about.get("kind", "int"), f"{name}.index" if f"{name}.index" in indices else None)
        for name, about in by_role.get("loop", [])
    )
    steps = {
        about.get("name", name): (name, about.get("kind") or _kind(schema, name))
        for name, about in by_role.get("step", [])
    }
    metrics = {}
    for role in ("metric", "argument"):
        for name, about in by_role.get(role, []):
            labels = read_json(about.get("labels") or "{}")
            if not isinstance(labels, dict):
                raise ValueError(f"the labels of {name!r} are {labels!r}")
            identity = metric(about.get("name", name), labels, is_argument=role == "argument")
            metrics[identity] = Place(name, about.get("kind") or _kind(schema, name), nones.get(name))
    time = next((name for name, _ in by_role.get("time", [])), None)
    loops = tuple(str(loop) for loop in described.get("path", ()))
    return Layout(levels, steps, metrics, time, loops, described)


def _kind(schema: pa.Schema, name: str) -> str:
    """The kind that a column's type suggests, for writers that do not say it."""
    import pyarrow as pa

    found = schema.field(name).type
    if pa.types.is_floating(found):
        return "float"
    if pa.types.is_integer(found):
        return "int"
    if pa.types.is_boolean(found):
        return "bool"
    return "bytes" if pa.types.is_binary(found) else "str"
