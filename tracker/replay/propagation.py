"""Putting log statements of today's code into yesterday's versions of it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from tracker.replay.insert import Inserter
from tracker.replay.needs import Slice
from tracker.replay.place import Nowhere
from tracker.replay.probes import Probe, find_probes
from tracker.replay.source import Unparsable
from tracker.replay.world import World


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to know about a probe in an old version.

    ``placed`` tells a warning (the statement is in, look at it) from a failure (it is not in).
    ``path`` and ``line`` say where the statement stands in the new version; line 0 stands for the whole file.
    """

    name: str
    path: str
    line: int
    reason: str
    placed: bool

    def __str__(self) -> str:
        what = "placed, but" if self.placed else "not placed:"
        return f"{self.name} ({self.path}:{self.line}): {what} {self.reason}"


@dataclass(frozen=True, slots=True)
class Propagation:
    """The outcome for one old version.

    ``sources``: the changed files of the old version by path, and files that it lacked and needs.
    ``diff``: the same as a unified diff. ``problems``: what could not be placed, and what is uncertain.
    ``placed``: labels of the probes that are in the result, in order; ``present``: those that were there already.
    """

    sources: dict[str, str] = field(default_factory=dict)
    diff: str = ""
    problems: tuple[Problem, ...] = ()
    placed: tuple[str, ...] = ()
    present: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every probe is in, for certain."""
        return not self.problems


def propagate(
    old: Mapping[str, str],
    new: Mapping[str, str],
    names: str | Collection[str] | None = None,
    *,
    lines: Mapping[str, Collection[int]] | None = None,
) -> Propagation:
    """Put log statements of ``new`` into ``old``, with all that they need, and change nothing else.

    ``old`` and ``new`` map paths to source texts. ``names`` are logged names, ``@LINE``, ``name@LINE`` or
    ``path.py@LINE`` (lines of the new version); ``lines`` gives lines by path; with neither, every log statement
    of the new version is taken. Pure: nothing is read, written or executed. What has no place in the old version
    is reported in ``problems`` and left out; what was placed with doubts is reported, too. Raises ``NameNotFound``
    for a name that the new version does not log, ``InputError`` for a line without a statement.

    >>> old = {"train.py": "for x in data:\\n    loss = fit(x)\\n"}
    >>> new = {"train.py": "import tracker\\nfor x in data:\\n    loss = fit(x)\\n    tracker.log('loss', loss)\\n"}
    >>> print(propagate(old, new, "loss").sources["train.py"], end="")
    import tracker
    for x in data:
        loss = fit(x)
        tracker.log('loss', loss)
    """
    world = World(old, new)
    broken: dict[str, str] = {}
    probes = find_probes(world, [names] if isinstance(names, str) else names, lines or {}, broken)
    world.probes = {probe.node for probe in probes}
    problems = [
        Problem("", path, 0, f"the new file cannot be read: {reason}", False) for path, reason in broken.items()
    ]
    inserter = Inserter(world)
    placed: list[str] = []
    present: list[str] = []
    for probe in probes:
        _take(world, probe, inserter, problems, placed, present)
    sources = inserter.sources()
    for probe, reason in inserter.failed:
        problems.append(Problem(probe.label, probe.path, probe.node.first, reason, False))
    return Propagation(sources, _diff(old, sources), tuple(problems), tuple(placed), tuple(present))


def _take(
    world: World, probe: Probe, inserter: Inserter, problems: list[Problem], placed: list[str], present: list[str]
) -> None:
    def report(reason: str, *, into: bool) -> None:
        problems.append(Problem(probe.label, probe.path, probe.node.first, reason, into))

    try:
        if inserter.is_present(probe):
            present.append(probe.label)
            return
        slice_ = Slice(world, world.probes)
        doubts = inserter.take(probe, slice_)
    except Nowhere as exc:
        report(str(exc), into=False)
        return
    except Unparsable as exc:
        report(f"the old file cannot be read: {exc}", into=False)
        return
    placed.append(probe.label)
    for doubt in dict.fromkeys(doubts):
        report(doubt, into=True)


def _diff(old: Mapping[str, str], sources: Mapping[str, str]) -> str:
    """A unified diff that ``patch -p1`` and ``git apply`` take."""
    out: list[str] = []
    for path, text in sorted(sources.items()):
        before = old.get(path)
        one = [] if before is None else _lines(before)
        start = "/dev/null" if before is None else f"a/{path}"
        for line in difflib.unified_diff(one, _lines(text), start, f"b/{path}"):
            out.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return "".join(out)


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)
