"""Putting lines into a text without touching a character of what is there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tracker.replay.gap import Place
from tracker.replay.render import Line
from tracker.replay.source import Source
from tracker.replay.tree import Node


@dataclass(slots=True)
class Insertion:
    """Lines for a place. ``order`` is the position in the new version; ``above`` and ``below`` are the bare lines
    (comments, blanks) that stand around the statement there; ``apart`` asks for blank lines around."""

    place: Place
    order: tuple[int, ...]
    lines: list[Line]
    above: list[str] = field(default_factory=list)
    below: list[str] = field(default_factory=list)
    apart: bool = False


@dataclass(slots=True)
class Edit:
    """Text for a position inside a line: columns count characters."""

    line: int
    column: int
    text: str


def splice(source: Source, insertions: Iterable[Insertion], edits: Iterable[Edit] = ()) -> str:
    """The text with everything inserted; insertions at one gap keep the order of the new version."""
    groups: dict[tuple[int, str, int], list[Insertion]] = {}
    for item in sorted(insertions, key=lambda i: i.order):
        groups.setdefault((id(item.place.parent), item.place.field, item.place.gap), []).append(item)
    work = _Work(source)
    for edit in sorted(edits, key=lambda e: (e.line, e.column)):
        work.edit(edit)
    for group in groups.values():
        work.insert(group)
    return work.text()


class _Work:
    """The pieces by where they go: before a line, inside a line, or where a line is broken in two."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.before: dict[int, list[tuple[float, tuple[int, ...], list[str]]]] = {}
        self.edits: dict[int, list[Edit]] = {}
        self.broken: dict[int, dict[int, tuple[str, list[str]]]] = {}

    def edit(self, edit: Edit) -> None:
        self.edits.setdefault(edit.line, []).append(edit)

    def insert(self, group: list[Insertion]) -> None:
        """Insert what belongs into one gap."""
        place = group[0].place
        if not place.block:
            self._new_branch(group)
            return
        margin = _margin(place)
        previous, following = _around(place)
        if _shares_line(place.parent, place.block[0]):
            self._break(place.block[0], margin, [])  # ``if x: y`` becomes a block
        beside = following is not None and _begins_inside(following)
        if following is not None and beside:
            self._break(following, margin, self._lines(group, margin))
        else:
            self._between(group, place, previous, following, margin)

    def _break(self, at: Node, margin: str, lines: list[str]) -> None:
        """Break a line before a statement that does not begin it, and put lines there."""
        column = self.source.column(at.first, getattr(at.statement, "col_offset", 0))
        self.broken.setdefault(at.first, {}).setdefault(column, (margin, []))[1].extend(lines)

    def _between(
        self, group: list[Insertion], place: Place, previous: Node | None, following: Node | None, margin: str
    ) -> None:
        start = previous.last + 1 if previous else _head_end(place) + 1
        end = following.first if following else self._gap_end(start, margin)
        gap = [self.source.bare(i) for i in range(start, end)]
        least = _header_comments(gap) if place.parent.statement is None and previous is None else 0
        for item in group:
            chosen = _split(gap, item, least, bound=following is not None)
            again, least = chosen == least and item is not group[0], chosen
            lines = [line.at(margin, place.parent.tree.source.unit) for line in item.lines]
            if item.apart:
                lines = self._apart(item, lines, ([] if again else gap[:least], gap[least:]), margin, place)
            self._add(start + least, _depth(place.parent), item.order, lines)

    def _gap_end(self, start: int, margin: str) -> int:
        """Behind a block's last statement, comments as deep as the block still belong to it."""
        end = at = start
        while at <= len(self.source.lines):
            text = self.source.bare(at)
            if text.strip() and not (text.lstrip().startswith("#") and text.startswith(margin) and margin):
                break
            at += 1
            if text.strip():
                end = at
        return end

    def _apart(
        self, item: Insertion, lines: list[str], around: tuple[list[str], list[str]], margin: str, place: Place
    ) -> list[str]:
        """A definition with as many blank lines around it as in the new version, those that are there counted."""
        wide = 1 if margin else 2
        before, after = (_blanks(around[0][::-1]), _blanks(around[1]))
        more_before = min(wide, _blanks(item.above[::-1])) - before
        more_after = min(wide, _blanks(item.below)) - after if place.gap < len(place.block) else 0
        return [*[""] * max(0, more_before), *lines, *[""] * max(0, more_after)]

    def _new_branch(self, group: list[Insertion]) -> None:
        """An ``else`` for a statement that had none."""
        place = group[0].place
        owner = place.parent
        outer = self.source.margin(owner.first)
        lines = [outer + "else:", *self._lines(group, outer + self.source.unit)]
        at = owner.last + 1
        if "finalbody" in owner.blocks:  # else comes before finally
            at = owner.blocks["finalbody"][0].first
            while not self.source.bare(at).lstrip().startswith("finally"):
                at -= 1
        self._add(at, _depth(owner) - 0.5, group[0].order, lines)

    def _lines(self, group: list[Insertion], margin: str) -> list[str]:
        return [line.at(margin, self.source.unit) for item in group for line in item.lines]

    def _add(self, line: int, depth: float, order: tuple[int, ...], lines: list[str]) -> None:
        """Lines before a line; where several blocks end there, the inner ones come first."""
        self.before.setdefault(line, []).append((-depth, order, lines))

    def text(self) -> str:
        out: list[str] = []
        newline = self.source.newline
        total = len(self.source.lines)
        for number in range(1, total + 2):
            for _, _, lines in sorted(self.before.get(number, []), key=lambda item: (item[0], item[1])):
                if out and not out[-1].endswith(("\n", "\r")):
                    out[-1] += newline
                out += [line + newline for line in lines]
            if number <= total:
                out.append(self._line(number, newline))
        return "".join(out)

    def _line(self, number: int, newline: str) -> str:
        line = self.source.lines[number - 1]
        marks: list[tuple[int, int, str]] = [(e.column, 0, e.text) for e in self.edits.get(number, [])]
        for column, (margin, lines) in self.broken.get(number, {}).items():
            marks.append((column, 1, "".join(newline + one for one in lines) + newline + margin))
        for column, cuts, text in sorted(marks, key=lambda m: m[0], reverse=True):
            head = line[:column]
            line = (head.rstrip().rstrip(";").rstrip() if cuts else head) + text + line[column:]
        return line


def _margin(place: Place) -> str:
    first = place.block[0]
    source = first.tree.source
    if place.parent.statement is not None and _shares_line(place.parent, first):
        return source.margin(place.parent.first) + source.unit
    return source.margin(first.first)


def _shares_line(parent: Node, child: Node) -> bool:
    """Whether a block begins on the line of its head: ``if x: y``."""
    return parent.statement is not None and _begins_inside(child)


def _begins_inside(node: Node) -> bool:
    """Whether a statement does not begin its line: ``x; node``."""
    source = node.tree.source
    column = source.column(node.first, getattr(node.statement, "col_offset", 0))
    return bool(source.bare(node.first)[:column].strip()) and not getattr(node.statement, "decorator_list", None)


def _around(place: Place) -> tuple[Node | None, Node | None]:
    block = place.block
    return (
        block[place.gap - 1] if place.gap else None,
        block[place.gap] if place.gap < len(block) else None,
    )


def _head_end(place: Place) -> int:
    """The last line of what opens the block; 0 for a module."""
    if place.parent.statement is None:
        return 0
    source = place.parent.tree.source
    line = place.block[0].first - 1
    while line > place.parent.first and (not (text := source.bare(line)).strip() or text.lstrip().startswith("#")):
        line -= 1
    return line


def _depth(node: Node) -> int:
    return sum(1 for _ in node.above())


def _header_comments(gap: list[str]) -> int:
    """Lines at the top of a file that must stay there: interpreter, encoding, licence."""
    at = 0
    while at < len(gap) and gap[at].lstrip("\ufeff").startswith("#"):
        at += 1
    return at


def _split(gap: list[str], item: Insertion, least: int, *, bound: bool) -> int:
    """Where among the comments and blank lines between two statements: as it is in the new version."""
    texts = [line.strip() for line in gap]
    above, below = [t.strip() for t in item.above], [t.strip() for t in item.below]
    best: tuple[float, float] | None = None
    chosen = least
    for at in range(least, len(texts) + 1):
        value = _agreement(texts[:at][::-1], above[::-1]) + _agreement(texts[at:], below)
        tie = -abs(at - len(above)) if len(above) <= len(below) or not bound else -abs((len(texts) - at) - len(below))
        if best is None or (value, tie) > best:
            best, chosen = (value, tie), at
    return chosen


def _blanks(lines: list[str]) -> int:
    """How many blank lines come first."""
    return next((i for i, line in enumerate(lines) if line.strip()), len(lines))


def _agreement(have: list[str], want: list[str]) -> float:
    """How many of the wanted lines are there, comments counting most; what is not wanted counts against."""
    left = list(have)
    total = 0.0
    for text in want:
        if text in left:
            left.remove(text)
            total += 1.0 if text else 0.4
    return total - 0.1 * sum(1 for text in left if text)
