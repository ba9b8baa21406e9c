"""From slices to changed files: places, wording, and the splice, for all probes of an old version together."""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping

from tracker.replay.fingerprint import fingerprint
from tracker.replay.flow import expression_flow
from tracker.replay.gap import Place
from tracker.replay.needs import Slice
from tracker.replay.place import Nowhere, Placer
from tracker.replay.probes import Probe
from tracker.replay.render import Line, Wording, render
from tracker.replay.source import Source, Unparsable
from tracker.replay.splice import Edit, Insertion, splice
from tracker.replay.tree import Node, Tree
from tracker.replay.world import World
from tracker.replay.wrap import wrap_call
from tracker.syntax import parse


class Inserter:
    """Collects what goes into one old version and builds its changed files."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.failed: list[tuple[Probe, str]] = []
        self._slices: list[tuple[Probe, Slice]] = []
        self._edits: dict[Tree, list[tuple[Probe, Edit]]] = {}

    # Taking probes -------------------------------------------------------------------------------------------

    def is_present(self, probe: Probe) -> bool:
        """Whether the old version has the statement already, at its place."""
        image = self.world.alignment(probe.path).image.get(probe.node)
        if image is None:
            return False
        if probe.call is None:
            return True
        wanted = set(probe.node.tree.calls.names(probe.call) or ())
        assert image.statement is not None
        return any(wanted & set(image.tree.calls.names(part) or ()) for part in ast.walk(image.statement))

    def take(self, probe: Probe, slice_: Slice) -> list[str]:
        """Add a probe with its slice; returns what is doubtful about it; raises ``Nowhere``."""
        alignment = self.world.alignment(probe.path)
        if not alignment.pool:
            raise Nowhere("the file does not exist")
        if probe.call is not None and probe.node in alignment.image:
            image = alignment.image[probe.node]
            found = wrap_call(probe.node, probe.call, image)
            slice_.add_expression(probe.node, found.reads, image)
            edits = found.edits(slice_.names.renames.get(probe.node, {}))
            self._edits.setdefault(image.tree, []).extend((probe, edit) for edit in edits)
        else:
            reads = None
            if probe.keys and probe.call is None and set(probe.keys) != set(probe.node.logged):
                reads = expression_flow([_only(probe.node, probe.keys)])
            slice_.add(probe.node, probe=True, reads=reads)
            self._refuse_double(probe, slice_)
        self._slices.append((probe, slice_))
        return slice_.doubts + slice_.guard_doubts()

    def _refuse_double(self, probe: Probe, slice_: Slice) -> None:
        """A block that logs the name already, by another expression, keeps its own value."""
        place = slice_.places.get(probe.node)
        if place is None or not probe.node.logged:
            return
        wanted = set(probe.keys or probe.node.logged)
        origin = self.world.alignment(probe.path).origin
        for node in place.block:
            shared = wanted & set(node.logged)
            if shared and node not in origin and not self._is_same(probe.node, slice_, node):
                raise Nowhere(f"line {node.first} there logs {min(shared)!r} already, by another expression")

    def _is_same(self, node: Node, slice_: Slice, old: Node) -> bool:
        lines = render(node, Wording(renames=slice_.names.renames, whole=self._whole(slice_)))
        return _key("\n".join(line.at("", "    ") for line in lines), old.tree) == old.key

    # Building files ------------------------------------------------------------------------------------------

    def sources(self) -> dict[str, str]:
        """The changed files by path."""
        insertions = self._insertions()
        out: dict[str, str] = {}
        for tree in {*insertions, *self._edits}:
            edits = [edit for _, edit in self._edits.get(tree, [])]
            text = splice(tree.source, [i for _, i in insertions.get(tree, [])], edits)
            try:
                _check(tree.source, text)
            except Unparsable as exc:
                probes = {p.node: p for p, _ in [*insertions.get(tree, []), *self._edits.get(tree, [])]}
                self.failed += [(p, f"the result would not be Python: {exc}") for p in probes.values()]
                continue
            if text != tree.source.text:
                out[tree.source.path] = text
        for _, slice_ in self._slices:
            out.update({path: self.world.new.sources[path].text for path in slice_.files})
        return dict(sorted(out.items()))

    def _insertions(self) -> dict[Tree, list[tuple[Probe, Insertion]]]:
        moving = set(self.world.probes).union(*(s.nodes for _, s in self._slices))
        owners: dict[Node, Probe] = {}
        merged = _Merged()
        for probe, slice_ in self._slices:
            merged.take(slice_, self._whole(slice_))
            for node in slice_.nodes:
                owners.setdefault(node, probe)
        found: dict[Tree, list[tuple[Probe, Insertion]]] = {}
        for root, nodes in self._roots(owners, moving, merged).items():
            place = Placer(self.world.alignment(root.tree.source.path), moving).place(root)
            place.gap = max(place.gap, *(merged.gaps.get(n, 0) for n in [root, *nodes]))
            wording = Wording(merged.renames, merged.kept, {}, merged.whole, merged.loose)
            lines = render(root, wording)
            if self._stands_there(root, lines, place):
                continue
            insertion = Insertion(
                place, self._order(root), lines, *_bare_around(root, moving), apart=root.is_definition
            )
            found.setdefault(place.parent.tree, []).append((owners[nodes[0]], insertion))
        return found

    def _roots(self, owners: Mapping[Node, Probe], moving: set[Node], merged: _Merged) -> dict[Node, list[Node]]:
        """The outermost statements to insert, each with the needed nodes in it."""
        roots: dict[Node, list[Node]] = {}
        for node in owners:
            placer = Placer(self.world.alignment(node.tree.source.path), moving)
            if node in merged.wrapped:
                continue
            root = placer.root(node)
            whole = next((a for a in node.above() if a in owners and (a is root or a.inside(root))), None)
            if whole is None:
                at = node
                while at is not root:
                    assert at.parent is not None
                    merged.kept.setdefault(at.parent, set()).add(at)
                    at = at.parent
            roots.setdefault(root, []).append(node)
        for node in owners:  # what is needed as a whole is never cut down
            merged.kept.pop(node, None)
        return roots

    def _stands_there(self, root: Node, lines: list[Line], place: Place) -> bool:
        """Whether the block has the very statement, so that asking twice adds nothing."""
        origin = self.world.alignment(root.tree.source.path).origin
        alike = [n for n in place.block if n not in origin and type(n.statement) is type(root.statement)]
        if not alike:
            return False
        text = "\n".join(line.at("", "    ") for line in lines)
        key = _key(text, alike[0].tree)
        return any(n.key == key and _shapes(text, n) for n in alike)

    def _order(self, root: Node) -> tuple[int, int, int]:
        paths = list(self.world.new.sources)
        return paths.index(root.tree.source.path), root.first, root.index

    def _whole(self, slice_: Slice) -> dict[Node, str]:
        """Texts of statements of which only a part is wanted: some names of an import, some keys of a log."""
        out: dict[Node, str] = {}
        for node, names in slice_.imports.items():
            out[node] = _import_text(node, names)
        for probe, _ in self._slices:
            if probe.keys and probe.call is None and set(probe.keys) != set(probe.node.logged):
                out[probe.node] = _renamed_text(_only(probe.node, probe.keys), slice_.names.renames.get(probe.node, {}))
        return out


class _Merged:
    """What all slices of an old version say together."""

    def __init__(self) -> None:
        self.renames: dict[Node, dict[str, str]] = {}
        self.kept: dict[Node, set[Node]] = {}
        self.loose: set[Node] = set()
        self.whole: dict[Node, str] = {}
        self.gaps: dict[Node, int] = {}
        self.wrapped: set[Node] = set()
        self._imports: dict[Node, set[str]] = {}

    def take(self, slice_: Slice, whole: dict[Node, str]) -> None:
        for node, names in slice_.names.renames.items():
            self.renames.setdefault(node, {}).update(names)
        for node, wanted in slice_.imports.items():
            self._imports.setdefault(node, set()).update(wanted)
        self.whole.update(whole)
        self.whole.update({node: _import_text(node, names) for node, names in self._imports.items()})
        for node, gap in slice_.gaps.items():
            self.gaps[node] = max(gap, self.gaps.get(node, 0))
        self.wrapped |= slice_.wrapped
        self.loose |= slice_.loose
        self.whole.update(slice_.texts)


def _check(source: Source, text: str) -> None:
    """The result must be Python as good as the old file was (one with a stray ``return`` only parses)."""
    result = Source(source.path, text)
    try:
        result.check()
    except Unparsable:
        try:
            source.check()
        except Unparsable:
            _ = result.tree
        else:
            raise


def _key(text: str, tree: Tree) -> int:
    """The key that a statement would have in a tree."""
    try:
        body = parse(text).body
    except SyntaxError:
        return 0
    return hash(fingerprint(body[0], tree.calls)) if len(body) == 1 else 0


def _shapes(text: str, node: Node) -> bool:
    """Whether blocks agree as well as heads."""
    if not node.blocks:
        return True
    assert node.statement is not None
    return ast.dump(parse(text).body[0]) == ast.dump(node.statement)


def _only(node: Node, keys: tuple[str, ...]) -> ast.Expr:
    """A ``log_many`` statement cut down to some of its names."""
    statement = copy.deepcopy(node.statement)
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Call)
    mapping = statement.value.args[0]
    if isinstance(mapping, ast.Dict):
        pairs = [
            (k, v)
            for k, v in zip(mapping.keys, mapping.values, strict=True)
            if isinstance(k, ast.Constant) and k.value in keys
        ]
        mapping.keys, mapping.values = [k for k, _ in pairs], [v for _, v in pairs]
    elif isinstance(mapping, ast.Call):
        mapping.keywords = [k for k in mapping.keywords if k.arg in keys]
    return statement


def _renamed_text(statement: ast.stmt, renames: Mapping[str, str]) -> str:
    for part in ast.walk(statement):
        if isinstance(part, ast.Name) and part.id in renames:
            part.id = renames[part.id]
    return ast.unparse(statement)


def _import_text(node: Node, names: set[str]) -> str:
    """An import of the needed names only, in the words of the new version."""
    statement = node.statement
    assert isinstance(statement, (ast.Import, ast.ImportFrom))
    chosen = [a for a in statement.names if (a.asname or a.name.split(".")[0]) in names]
    if len(chosen) == len(statement.names):
        lines = render(node, Wording())
        if len(lines) == 1:
            return lines[0].text
    text = ", ".join(f"{a.name} as {a.asname}" if a.asname else a.name for a in chosen)
    if isinstance(statement, ast.Import):
        return f"import {text}"
    return f"from {'.' * statement.level}{statement.module or ''} import {text}"


def _bare_around(root: Node, moving: set[Node]) -> tuple[list[str], list[str]]:
    """Comments and blank lines directly above and below a statement; other inserted ones are looked through."""
    source = root.tree.source
    skipped = {i for n in root.block if n in moving for i in range(n.first, n.last + 1)}

    def collect(at: int, step: int) -> list[str]:
        out: list[str] = []
        while 1 <= at <= len(source.lines):
            text = source.bare(at)
            if at not in skipped:
                if text.strip() and not text.lstrip().startswith("#"):
                    break
                out.append(text)
            at += step
        return out

    return collect(root.first - 1, -1)[::-1], collect(root.last + 1, 1)
