"""The text of a statement, cut out of one file so that it can stand in another."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from tracker.replay.tree import Node
from tracker.syntax import parse_expression

_HEADS = {"orelse": "else:", "finalbody": "finally:"}


@dataclass(slots=True)
class Line:
    """One line without its indentation: ``level`` steps, then ``pad``; a raw one is inside a string."""

    level: int
    pad: str
    text: str
    raw: bool = False

    def at(self, margin: str, unit: str) -> str:
        if self.raw or not self.text.strip():
            return self.text if self.raw else ""
        return margin + unit * self.level + self.pad + self.text


@dataclass(slots=True)
class Wording:
    """How statements are to read in the old version.

    ``renames``: old words by new ones, per statement. ``kept``: what stays of a compound statement whose
    other contents do not come along; a statement that is not in it comes whole.
    ``replaced``: other texts for expressions. ``whole``: statements with a text of their own.
    ``loose``: blocks of which only the contents come.
    """

    renames: Mapping[Node, Mapping[str, str]] = field(default_factory=dict)
    kept: Mapping[Node, set[Node]] = field(default_factory=dict)
    replaced: Mapping[ast.AST, str] = field(default_factory=dict)
    whole: Mapping[Node, str] = field(default_factory=dict)
    loose: Set[Node] = frozenset()


def render(node: Node, wording: Wording) -> list[Line]:
    """The lines of a statement, first line at level 0."""
    if node in wording.whole:
        return [Line(0, "", wording.whole[node])]
    if node in wording.loose and node in wording.kept:
        return [line for child in node.children() if child in wording.kept[node] for line in render(child, wording)]
    if node in wording.kept:
        return _partly(node, wording)
    last_column = _end(node.statement)
    return _cut(node, node.first, node.last, last_column, wording, comment=True)


def _partly(node: Node, wording: Wording) -> list[Line]:
    """Head, kept children, and the branches that hold kept children."""
    kept = wording.kept[node]
    lines: list[Line] = []
    for field_, block in node.blocks.items():
        chosen = [child for child in block if child in kept]
        if field_ == "body":
            lines += _head(node, wording)
        elif field_ in _HEADS and chosen:
            lines.append(Line(0, "", _HEADS[field_]))
        if field_ in ("handlers", "cases"):
            if field_ == "cases":
                lines += _head(node, wording)
            for child in block:
                level = 1 if field_ == "cases" else 0
                inner = render(child, wording) if child in chosen or field_ == "handlers" else []
                lines += [Line(line.level + level, line.pad, line.text, line.raw) for line in inner]
            continue
        for child in chosen:
            lines += [Line(line.level + 1, line.pad, line.text, line.raw) for line in render(child, wording)]
        if field_ == "body" and not chosen:
            lines.append(Line(1, "", "pass"))
    return lines


def _head(node: Node, wording: Wording) -> list[Line]:
    """The lines of a compound statement up to its colon; ``elif`` becomes ``if``."""
    first_child = next(node.children())
    source = node.tree.source
    if isinstance(node.statement, (ast.Try, ast.TryStar)):
        return [Line(0, "", "try:")]
    end = first_child.first
    column = _start(first_child)[1] if _start(first_child)[0] == end else 0
    text = source.bare(end)[: source.column(end, column)]
    while end > node.first and (not text.strip() or text.lstrip().startswith(("#", "@"))):
        end -= 1
        text = source.bare(end)
    lines = _cut(node, node.first, end, len(text.rstrip()), wording, comment=False, bytes_=False)
    if node.is_elif:
        lines[0].text = lines[0].text.removeprefix("el")
    return lines


def _cut(
    node: Node, first: int, last: int, end: int, wording: Wording, *, comment: bool, bytes_: bool = True
) -> list[Line]:
    """Lines ``first`` to ``last``, from the statement's column to ``end``, with replacements made."""
    source = node.tree.source
    start_line, start_byte = _start(node)
    start = source.column(start_line, start_byte)
    texts = {i: source.bare(i) for i in range(first, last + 1)}
    if bytes_:
        end = source.column(last, end)
    rest = texts[last][end:]
    if comment and (match := re.fullmatch(r"\s*;?(\s*#.*)", rest)) and not texts[first][:start].strip():
        end += len(rest) if ";" not in rest else 0
        texts[last] = texts[last].rstrip()
        end = len(texts[last]) if match and ";" not in rest else end
    texts[last] = texts[last][:end]
    for line, low, high, new in sorted(_edits(node, wording), reverse=True):
        if line in texts and high <= len(texts[line]):
            texts[line] = texts[line][:low] + new + texts[line][high:]
    texts[first] = texts[first][start:] if first == start_line else texts[first].lstrip(" \t\f\ufeff")
    return _levels(node, texts, first, source.margin(first))


def _levels(node: Node, texts: dict[int, str], first: int, margin: str) -> list[Line]:
    """Give each line the level of the statement that it begins or continues."""
    starts = {n.first: _depth(n, node) for n in [node, *node.below()]}
    raw = _string_lines(node)
    seen: list[tuple[str, int]] = [(margin, 0)]
    lines = [Line(0, "", texts[first])]
    for number in range(first + 1, max(texts) + 1):
        text = texts[number]
        white = text[: len(text) - len(text.lstrip(" \t\f"))]
        if number in raw:
            lines.append(Line(0, "", text, raw=True))
        elif number in starts:
            seen.append((white, starts[number]))
            lines.append(Line(starts[number], "", text[len(white) :]))
        else:
            base, level = max((s for s in seen if white.startswith(s[0])), key=lambda s: len(s[0]), default=("", 0))
            lines.append(Line(level, white[len(base) :], text[len(white) :]))
    return lines


def _depth(node: Node, top: Node) -> int:
    """Levels of indentation below the top; except clauses and ``elif`` stand level with their statement."""
    depth, at = 0, node
    while at is not top and at.parent is not None:
        depth += 0 if at.field == "handlers" or at.is_elif else 1
        at = at.parent
    return depth


def _string_lines(node: Node) -> set[int]:
    """Lines that begin inside a string, where white space is content."""
    found: set[int] = set()
    if node.statement is not None:
        for part in ast.walk(node.statement):
            text = isinstance(part, ast.JoinedStr) or (
                isinstance(part, ast.Constant) and isinstance(part.value, (str, bytes))
            )
            if text and isinstance(part, ast.expr) and (part.end_lineno or 0) > part.lineno:
                found.update(_really_inside(node, part.lineno, part.end_lineno or 0))
    return found


def _really_inside(node: Node, first: int, last: int) -> set[int]:
    """Of the lines of one string expression those inside triple quotes; joined strings keep their indentation."""
    text = "\n".join(node.tree.source.bare(i) for i in range(first, last + 1))
    if '"""' not in text and "'''" not in text and not re.search(r"\\\n", text):
        return set()
    return set(range(first + 1, last + 1))


def _edits(node: Node, wording: Wording) -> list[tuple[int, int, int, str]]:
    """Replacements as (line, first column, end column, text)."""
    renames = wording.renames.get(node, {})
    if node.statement is None or not (renames or wording.replaced):
        return []
    source = node.tree.source
    found: dict[tuple[int, int, int], str] = {}
    done: set[ast.AST] = set()
    for part in ast.walk(node.statement):
        new = wording.replaced.get(part) or _renamed(part, renames)
        if part in done or new is None or not isinstance(part, (ast.expr, ast.arg)):
            continue
        done.update(ast.walk(part))
        line, low = part.lineno, source.column(part.lineno, part.col_offset)
        high = source.column(part.end_lineno or line, part.end_col_offset or 0)
        if isinstance(part, ast.arg):
            high = low + len(part.arg)
        if part.end_lineno == line or isinstance(part, ast.arg):
            found[line, low, high] = new
    return [
        (line, low, high, new) for (line, low, high), new in found.items() if _is_there(source.bare(line), low, high)
    ]


def _is_there(text: str, low: int, high: int) -> bool:
    """Whether the columns hold a name; those inside f-strings are wrong before Python 3.12."""
    return bool(re.fullmatch(r"[\w.]+|[\w.]+\(.*\)|.+", text[low:high])) and (low == 0 or not text[low - 1].isalnum())


def _renamed(part: ast.AST, renames: Mapping[str, str]) -> str | None:
    if isinstance(part, ast.Name):
        return renames.get(part.id)
    if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
        return renames.get(f"{part.value.id}.{part.attr}")
    return None


def _start(node: Node) -> tuple[int, int]:
    """Line and byte column of the first character, decorators included."""
    statement = node.statement
    decorators = getattr(statement, "decorator_list", None)
    if decorators:
        return node.first, len(node.tree.source.margin(node.first))
    if isinstance(statement, ast.match_case):
        return node.first, len(node.tree.source.margin(node.first))
    assert isinstance(statement, (ast.stmt, ast.ExceptHandler))
    return statement.lineno, statement.col_offset


def _end(statement: object) -> int:
    if isinstance(statement, ast.match_case):
        statement = statement.body[-1]
    assert isinstance(statement, (ast.stmt, ast.ExceptHandler))
    return statement.end_col_offset or 0


def renamed_segment(node: Node, call: ast.Call, value: ast.expr, renames: Mapping[str, str]) -> tuple[str, str]:
    """The text of a call before and after one of its arguments, on one line."""
    marker = "_hindsight_value_"
    clone = parse_expression(ast.unparse(call))
    assert isinstance(clone, ast.Call)
    clone.args[call.args.index(value)] = ast.Name(marker)
    for part in ast.walk(clone):
        new = _renamed(part, renames)
        if new is not None and isinstance(part, ast.Name):
            part.id = new
    before, _, after = ast.unparse(clone).partition(marker)
    return before, after
