"""Where the functions of a project are called from, as far as names can tell."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import PurePosixPath

from tracker.replay.flow import flow, parameters
from tracker.replay.inserted import head_parts
from tracker.replay.loops import Unknown
from tracker.replay.tree import Node
from tracker.replay.uses import Call, Seer, decorators
from tracker.replay.world import Version

_HARMLESS = {
    "staticmethod", "classmethod", "property", "setter", "getter", "deleter", "contextmanager", "no_grad",
    "enable_grad", "inference_mode", "abstractmethod", "override", "wraps", "compile", "jit", "njit", "autocast",
}  # fmt: skip
_DYNAMIC = {"eval", "exec", "globals", "locals"}
_LOOKUPS = {"getattr", "attrgetter", "methodcaller"}
# Bases whose methods call no others than these and special ones; what other foreign bases call is not known.
_QUIET_BASES = {
    "object", "ABC", "Module", "Dataset", "IterableDataset", "Protocol", "Generic", "Enum", "NamedTuple", "Exception",
    "BaseEstimator", "Sampler", "TypedDict", "Struct", "dict", "list",
}  # fmt: skip
_HOOKS = {
    "forward", "backward", "train", "eval", "parameters", "named_parameters", "children", "modules", "buffers",
    "state_dict", "load_state_dict", "to", "zero_grad", "extra_repr", "half", "float", "cuda", "cpu", "default",
    "get_params", "set_params", "fit", "transform", "predict", "score",
}  # fmt: skip


class References:
    """Looks for the calls of functions in all files of a version; whatever could call them unseen is ``Unknown``."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.version = Version(files)

    def calls(self, function: Node) -> list[Call]:
        """All statements that call a function; ``Unknown`` where others may, too, or where there is none."""
        name = function.name
        special = name.startswith("__") and name.endswith("__")
        owner = function.owner if isinstance(function.owner.statement, ast.ClassDef) else None
        marks = decorators(function)
        if self.is_dynamic or not marks <= _HARMLESS or (special and name not in ("__init__", "__post_init__")):
            raise Unknown(name)
        if special and owner is not None:
            found = [call for each in self._with_subclasses(owner) for call in self._of_class(each)]
        elif owner is not None:
            self._check_bases(owner, name)
            found = list(self._find(function, attributes=True, is_property=bool(marks & {"property", "setter"})))
        else:
            found = list(self._find(function, attributes=False))
        if not found:
            raise Unknown(name)
        return found

    @cached_property
    def is_dynamic(self) -> bool:
        """Whether the project calls what it looks up by computed names."""
        return any(
            _calls_dynamically(part)
            for path in self.mentioning(*_DYNAMIC, "getattr")
            for node in self.version.tree(path).root.below()
            for top in head_parts(node)
            for part in ast.walk(top)
        )

    def imports(self, path: str) -> Iterator[Node]:
        """The import statements that may execute the top level of a file."""
        file = PurePosixPath(path)
        stem = file.parent.name if file.stem == "__init__" else file.stem
        for other in self.mentioning(stem):
            for node in self.version.tree(other).root.below():
                if node.is_import and other != path and stem in _imported_words(node):
                    yield node

    def mentioning(self, *words: str) -> Iterator[str]:
        """The readable files that have one of these words."""
        for path, source in self.version.sources.items():
            if not source.words.isdisjoint(words):
                try:
                    self.version.tree(path)
                except ValueError:
                    continue  # not Python of this interpreter: the program cannot have imported it
                yield path

    def _aliases(self, name: str) -> set[str]:
        found = {name}
        for path in self.mentioning(name):
            for node in self.version.tree(path).root.below():
                if isinstance(node.statement, ast.ImportFrom):
                    found.update(each.asname for each in node.statement.names if each.name == name and each.asname)
        return found

    def _find(self, function: Node, *, attributes: bool, is_property: bool = False) -> Iterator[Call]:
        """Calls of a method through any object, or of a function by its name or that of its module."""
        local = function.owner.is_function
        names = {function.name} if local else self._aliases(function.name)
        for path in self.mentioning(*names):
            tree = self.version.tree(path)
            if local and tree is not function.tree:
                continue
            modules = _module_names(tree.root)
            for node in tree.root.below():
                if node is function or (local and not node.inside(function.owner)):
                    continue
                seer = Seer(node, names, modules, attributes=attributes, is_property=is_property)
                if not attributes and not local and names & _bound_around(node):
                    continue  # a local variable of that name
                if attributes and node.owner is function.owner:
                    seer.bare = True
                yield from seer.look(function)

    def _of_class(self, owner: Node) -> Iterator[Call]:
        names = self._aliases(owner.name)
        for path in self.mentioning(*names):
            tree = self.version.tree(path)
            for node in tree.root.below():
                seer = Seer(node, names, _module_names(tree.root), attributes=False, is_class=True)
                yield from seer.look(owner)
        for node in owner.below():
            if any(
                isinstance(part, ast.Name) and part.id == "cls" for top in head_parts(node) for part in ast.walk(top)
            ):
                raise Unknown(owner.name)  # it may make instances of itself

    def _with_subclasses(self, owner: Node) -> list[Node]:
        found = [owner]
        for known in found:
            for path in self.mentioning(known.name):
                for node in self.version.tree(path).definitions:
                    if isinstance(node.statement, ast.ClassDef) and known.name in _bases(node) and node not in found:
                        found.append(node)
        return found

    def _check_bases(self, owner: Node, name: str) -> None:
        """Refuse a method that a foreign base class may call."""
        waiting, seen = [owner], {owner.name}
        while waiting:
            for base in _bases(waiting.pop()) - seen:
                seen.add(base)
                own = [
                    node
                    for path in self.mentioning(base)
                    for node in self.version.tree(path).definitions
                    if isinstance(node.statement, ast.ClassDef) and node.name == base
                ]
                waiting += own
                if not own and (base not in _QUIET_BASES or name in _HOOKS):
                    raise Unknown(name)


def _bases(node: Node) -> set[str]:
    bases = node.statement.bases if isinstance(node.statement, ast.ClassDef) else []
    parts = [base.value if isinstance(base, ast.Subscript) else base for base in bases]
    return {part.attr if isinstance(part, ast.Attribute) else getattr(part, "id", "?") for part in parts}


def _module_names(root: Node) -> set[str]:
    """Names that imports of a file bind: modules, or packages' members that may be modules."""
    return {
        alias.asname or alias.name.split(".")[0]
        for node in root.below()
        if isinstance(node.statement, (ast.Import, ast.ImportFrom))
        for alias in node.statement.names
    }


def _imported_words(node: Node) -> set[str]:
    statement = node.statement
    assert isinstance(statement, (ast.Import, ast.ImportFrom))
    dotted = [alias.name for alias in statement.names]
    dotted += [statement.module] if isinstance(statement, ast.ImportFrom) and statement.module else []
    return {word for text in dotted for word in text.split(".")}


def _bound_around(node: Node) -> set[str]:
    """Local variables of the functions around a statement."""
    found: set[str] = set()
    for unit in [node.owner, *node.owner.above()]:
        if unit.is_function:
            found |= _locals(unit)
    return found


def _locals(unit: Node) -> set[str]:
    known = unit.__dict__.get("_locals")
    if known is None:
        imports = {name for node in unit.atoms() if node.is_import for name in flow(node).binds}
        bound = {name for node in unit.atoms() for name in flow(node).binds}
        shared = {
            name
            for node in unit.atoms()
            if isinstance(node.statement, (ast.Global, ast.Nonlocal))
            for name in node.statement.names
        }
        known = unit.__dict__["_locals"] = (parameters(unit) | bound) - imports - shared
    assert isinstance(known, set)
    return known


def _calls_dynamically(part: ast.AST) -> bool:
    if not isinstance(part, ast.Call):
        return False
    if isinstance(part.func, ast.Name) and part.func.id in ("eval", "exec"):
        return True
    inner = part.func.value if isinstance(part.func, ast.Subscript) else part.func
    if not isinstance(inner, ast.Call) or not isinstance(inner.func, ast.Name):
        return False
    return inner.func.id in _DYNAMIC | _LOOKUPS
