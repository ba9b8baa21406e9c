"""What differs between two runs: code, arguments, command line, environment, packages, host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tracker.code.difference import code_diff
from tracker.errors import HindsightError
from tracker.store.base import Store
from tracker.store.documents import CodeDocument, StartDocument


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one run; a part that was not captured is ``None`` or empty."""

    run: str
    start: StartDocument | None = None
    code: CodeDocument | None = None
    arguments: dict[str, Any] = {}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One name whose value differs; a side that lacks the name has ``None`` and says so in ``only_in``."""

    name: str
    old: Any = None
    new: Any = None
    only_in: str | None = None  # "old" or "new"


class CodeDifference(msgspec.Struct, frozen=True, kw_only=True):
    """How the code of two runs differs; ``problem`` says why that cannot be told."""

    same: bool | None
    text: str = ""  # unified diff
    old_head: str | None = None
    new_head: str | None = None
    problem: str | None = None


class RunDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that differs between two runs, each part sorted by name."""

    old: str
    new: str
    code: CodeDifference
    arguments: tuple[Change, ...] = ()
    entry: tuple[Change, ...] = ()
    environment: tuple[Change, ...] = ()
    packages: tuple[Change, ...] = ()
    host: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        parts = (self.arguments, self.entry, self.environment, self.packages, self.host)
        return self.code.same is not True or any(parts)


def diff_runs(store: Store, old: RunFacts, new: RunFacts) -> RunDifference:
    """The difference from one run to another. Only the code is read from the store; what is missing is named."""
    starts = (old.start, new.start)
    return RunDifference(
        old=old.run,
        new=new.run,
        code=_diff_code(store, old.code, new.code),
        arguments=diff_mappings(old.arguments, new.arguments),
        entry=diff_mappings(*(_fields(start.entry) if start else {} for start in starts)),
        environment=diff_mappings(*(start.environment if start else {} for start in starts)),
        packages=diff_mappings(*(_packages(start) for start in starts)),
        host=diff_mappings(*(_fields(start.host) if start and start.host else {} for start in starts)),
    )


def diff_mappings(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Change, ...]:
    """The names whose values differ or that only one side has. ``1`` and ``1.0`` differ, NaN equals itself.

    >>> [(change.name, change.old, change.new) for change in diff_mappings({"lr": 0.1, "n": 1}, {"lr": 0.2, "n": 1})]
    [('lr', 0.1, 0.2)]
    """
    changes = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            changes.append(Change(name=name, old=old[name], only_in="old"))
        elif name not in old:
            changes.append(Change(name=name, new=new[name], only_in="new"))
        elif not _equal(old[name], new[name]):
            changes.append(Change(name=name, old=old[name], new=new[name]))
    return tuple(changes)


def _equal(old: Any, new: Any) -> bool:
    return type(old) is type(new) and (old == new or (old != old and new != new))


def _diff_code(store: Store, old: CodeDocument | None, new: CodeDocument | None) -> CodeDifference:
    same: bool | None = None
    text, problem = "", None
    if old is None or new is None:
        which = "neither run has" if old is new else f"the {'old' if old is None else 'new'} run lacks"
        problem = f"{which} a code snapshot"
    else:
        try:
            text = code_diff(store, old, new)
            same = old.snapshot == new.snapshot
        except HindsightError as exc:
            problem = str(exc)
    return CodeDifference(
        same=same, text=text, problem=problem, old_head=old.head if old else None, new_head=new.head if new else None
    )


def _fields(struct: msgspec.Struct) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(struct)
    return built


def _packages(start: StartDocument | None) -> dict[str, str]:
    if start is None or start.packages is None:
        return {}
    packages = start.packages
    return {"(python)": f"{packages.python} ({packages.implementation})", **packages.distributions}
