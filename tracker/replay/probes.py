"""Finding the statements of the new version that are asked for."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from tracker.errors import InputError, NameNotFound
from tracker.replay.calls import matches
from tracker.replay.source import Unparsable
from tracker.replay.tree import BLOCKS, Node
from tracker.replay.world import World


@dataclass(frozen=True, slots=True)
class Probe:
    """A statement of the new version to be put into old ones.

    ``label`` is what was asked for. ``call`` is the log call where it is only a part of its statement.
    ``keys`` are the wanted names of a statement that logs several; empty when all of it is wanted.
    """

    label: str
    path: str
    node: Node
    call: ast.Call | None = None
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Wish:
    name: str | None
    line: int | None
    path: str | None
    label: str


def find_probes(
    world: World, names: Collection[str] | None, lines: Mapping[str, Collection[int]], broken: dict[str, str]
) -> list[Probe]:
    """The probes in the order of the files and lines; each once. Files that cannot be read go to ``broken``."""
    wishes = None if names is None else [_wish(text, world) for text in names]
    wanted = [_Wish(None, line, path, f"@{line}") for path, numbers in lines.items() for line in numbers]
    if wishes is None and not wanted:
        return list(_every(world, broken))
    found: dict[tuple[str, int, int], Probe] = {}
    for wish in [*(wishes or []), *wanted]:
        hits = list(_by_line(world, wish, broken)) if wish.line is not None else list(_by_name(world, wish, broken))
        if not hits:
            raise _missing(world, wish, broken)
        for probe in hits:
            key = (probe.path, id(probe.node), id(probe.call))
            known = found.get(key)
            if known and known.keys and probe.keys:
                probe = Probe(known.label, probe.path, probe.node, probe.call, (*known.keys, *probe.keys))
            found[key] = probe
    order = {path: i for i, path in enumerate(world.new.sources)}
    return sorted(found.values(), key=lambda p: (order[p.path], p.node.first, p.node.index))


def _wish(text: str, world: World) -> _Wish:
    """``name``, ``@LINE``, ``name@LINE`` or ``path.py@LINE``."""
    match = re.fullmatch(r"(?s)(?P<left>.*)@(?P<line>\d+)", text)
    if not isinstance(text, str) or not text:
        raise InputError(f"A probe must be a name, '@LINE', 'name@LINE' or 'path.py@LINE', not {text!r}.")
    if match is None:
        return _Wish(text, None, None, text)
    left, line = match["left"], int(match["line"])
    if left in world.new.sources:
        return _Wish(None, line, left, text)
    return _Wish(left or None, line, None, text)


def _every(world: World, broken: dict[str, str]) -> Iterator[Probe]:
    """Every log statement of the new version that is written with our own functions."""
    for path, source in world.new.sources.items():
        if "log" in source.words and (tree := _tree(world, path, broken)):
            for node in tree.root.below():
                for call, logged in _calls(node):
                    if tree.calls.is_log(call) and logged:
                        yield Probe(logged[0].replace("\0", "{}"), path, node, *_part(node, call, ()))


def _by_name(world: World, wish: _Wish, broken: dict[str, str]) -> Iterator[Probe]:
    for path, source in world.new.sources.items():
        if "log" not in source.text and "Log" not in source.text:
            continue
        tree = _tree(world, path, broken)
        for node in tree.root.below() if tree else ():
            for call, logged in _calls(node):
                keys = tuple(key for key in logged if wish.name is not None and matches(key, wish.name))
                if keys:
                    yield Probe(wish.label, path, node, *_part(node, call, keys if len(logged) > 1 else ()))


def _by_line(world: World, wish: _Wish, broken: dict[str, str]) -> Iterator[Probe]:
    hits: list[Probe] = []
    for path in [wish.path] if wish.path else list(world.new.sources):
        if path not in world.new.sources or (tree := _tree(world, path, broken)) is None:
            continue
        covering = [n for n in tree.root.below() if n.first <= (wish.line or 0) <= n.last]
        if covering:
            node = covering[-1]
            for at in covering:  # a line inside a multi-line head, or several statements on the line
                if at.first == wish.line:
                    node = at
                    break
            if wish.name is None or any(wish.name in logged for _, logged in _calls(node)):
                hits.append(Probe(wish.label, path, node))
    logging = [probe for probe in hits if probe.node.logged]
    if len(hits) > 1 and not wish.path and len(logging) != 1:
        raise InputError(
            f"Line {wish.line} is a statement in {len(hits)} files ({', '.join(sorted(p.path for p in hits))}). "
            f"Say which one is meant: 'path.py@{wish.line}'."
        )
    yield from logging if len(hits) > 1 else hits


def _part(node: Node, call: ast.Call, keys: tuple[str, ...]) -> tuple[ast.Call | None, tuple[str, ...]]:
    """The call only where it is not the whole statement."""
    alone = isinstance(node.statement, ast.Expr) and node.statement.value is call
    return (None, keys) if alone else (call, keys)


def _calls(node: Node) -> Iterator[tuple[ast.Call, list[str]]]:
    """The log calls in a statement's own head."""
    if node.statement is None or "log" not in node.tree.source.text:
        return
    stack: list[ast.AST] = [node.statement]
    while stack:
        part = stack.pop()
        if isinstance(part, ast.Call) and (logged := node.tree.calls.names(part)):
            yield part, logged
        for field, value in ast.iter_fields(part):
            if part is node.statement and field in BLOCKS and isinstance(value, list):
                continue
            stack += [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, ast.AST)]


def _tree(world: World, path: str, broken: dict[str, str]):  # type: ignore[no-untyped-def]
    try:
        return world.new.tree(path)
    except Unparsable as exc:
        broken[path] = str(exc)
        return None


def _missing(world: World, wish: _Wish, broken: dict[str, str]) -> Exception:
    note = "".join(f" {path} could not be read: {reason}." for path, reason in broken.items())
    if wish.line is not None:
        return InputError(f"today's code has no statement for '{wish.label}'.{note} Name a line that holds one.")
    known = sorted({probe.label for probe in _every(world, {})})
    close = difflib.get_close_matches(wish.name or "", known, n=3)
    hint = (
        f"Did you mean {', '.join(map(repr, close))}?" if close else f"It logs: {', '.join(known[:12]) or 'nothing'}."
    )
    return NameNotFound(f"no log statement of today's code has the name {wish.name!r}.{note} {hint}")
