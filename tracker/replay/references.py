"""Where the functions of a project are called from, as far as names can tell."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from tracker.replay.flow import flow, parameters
from tracker.replay.inserted import head_parts
from tracker.replay.loops import Unknown
from tracker.replay.tree import FUNCTIONS, Node
from tracker.replay.world import Version

_CONSUMERS = {"sum", "max", "min", "all", "any", "list", "tuple", "set", "dict", "sorted", "join", "frozenset"}
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


@dataclass(frozen=True)
class Call:
    """A place where a function is called: the statement, and whether that is the iterable of a ``for``."""

    node: Node
    feeds_loop: bool = False


class References:
    """Looks for the calls of functions in all files of a version; whatever could call them unseen is ``Unknown``."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.version = Version(files)

    def calls(self, function: Node) -> list[Call]:
        """All statements that call a function; ``Unknown`` where others may, too, or where there is none."""
        name = function.name
        special = name.startswith("__") and name.endswith("__")
        owner = function.owner if isinstance(function.owner.statement, ast.ClassDef) else None
        decorators = _decorators(function)
        if self.is_dynamic or not decorators <= _HARMLESS or (special and name not in ("__init__", "__post_init__")):
            raise Unknown(name)
        if special and owner is not None:
            found = [call for each in self._with_subclasses(owner) for call in self._of_class(each)]
        elif owner is not None:
            self._check_bases(owner, name)
            found = list(self._find(function, attributes=True, is_property=bool(decorators & {"property", "setter"})))
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
                seer = _Seer(node, names, modules, attributes=attributes, is_property=is_property)
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
                seer = _Seer(node, names, _module_names(tree.root), attributes=False, is_class=True)
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


class _Seer:
    """Looks at one statement's head for uses of some names."""

    def __init__(
        self,
        node: Node,
        names: set[str],
        modules: set[str],
        *,
        attributes: bool,
        is_property: bool = False,
        is_class: bool = False,
    ) -> None:
        self.node, self.names, self.modules = node, names, modules
        self.attributes, self.is_property, self.is_class = attributes, is_property, is_class
        self.bare = not attributes

    def look(self, target: Node) -> Iterator[Call]:
        """The calls of the target; ``Unknown`` for a use that hands it on."""
        found: list[tuple[ast.AST, list[ast.AST]]] = []
        for top in head_parts(self.node):
            found += [(use, above) for use, above in _walk(top, []) if self._is_use(use)]
        for use, above in found:
            call = self._judge(target, use, above)
            if call is not None:
                yield call

    def _is_use(self, use: ast.AST) -> bool:
        if isinstance(use, ast.Name):
            return self.bare and use.id in self.names
        if isinstance(use, ast.Attribute):
            return use.attr in self.names and (self.attributes or _root(use) in self.modules)
        return False

    def _judge(self, target: Node, use: ast.AST, above: list[ast.AST]) -> Call | None:
        parent = above[-1] if above else self.node.statement
        if any(isinstance(each, ast.Lambda) for each in above) or _is_lazy(above):
            raise Unknown(target.name)
        if isinstance(parent, ast.Call) and parent.func is use:
            return self._called(target, parent, above[:-1])
        if self.is_property or _decorates(self.node, use):
            return Call(self.node)
        if self.is_class and self._is_harmless(use, above):
            return None
        raise Unknown(target.name)

    def _called(self, target: Node, call: ast.Call, above: list[ast.AST]) -> Call:
        statement = self.node.statement
        if isinstance(target.statement, ast.AsyncFunctionDef) and not (above and isinstance(above[-1], ast.Await)):
            raise Unknown(target.name)
        if self.is_class or not _is_generator(target):
            return Call(self.node)
        if "contextmanager" in _decorators(target) and isinstance(statement, (ast.With, ast.AsyncWith)):
            if any(item.context_expr is call for item in statement.items):
                return Call(self.node)
        elif isinstance(statement, ast.For) and call in list(ast.walk(statement.iter)):
            return Call(self.node, feeds_loop=True)
        raise Unknown(target.name)

    def _is_harmless(self, use: ast.AST, above: list[ast.AST]) -> bool:
        """Whether a class is only named: as a base, in an annotation or a check of types."""
        statement = self.node.statement
        if isinstance(statement, (ast.ClassDef, ast.ExceptHandler)):
            return True
        checks = [each for each in above if isinstance(each, ast.Call)]
        if any(isinstance(each.func, ast.Name) and each.func.id in ("isinstance", "issubclass") for each in checks):
            return True
        annotations = [statement.annotation] if isinstance(statement, ast.AnnAssign) else []
        if isinstance(statement, FUNCTIONS):
            args = statement.args
            every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
            annotations += [each.annotation for each in every if each is not None and each.annotation is not None]
            annotations += [statement.returns] if statement.returns is not None else []
        return any(use is part for annotation in annotations for part in ast.walk(annotation))


def _walk(node: ast.AST, above: list[ast.AST]) -> Iterator[tuple[ast.AST, list[ast.AST]]]:
    yield node, above
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, [*above, node])


def _is_lazy(above: list[ast.AST]) -> bool:
    """Whether a generator expression puts the use off to another place."""
    for outer, inner in zip([None, *above], above, strict=False):
        if isinstance(inner, ast.GeneratorExp):
            consumer = getattr(outer, "func", None)
            name = getattr(consumer, "id", None) or getattr(consumer, "attr", None)
            if name not in _CONSUMERS:
                return True
    return False


def _decorates(node: Node, use: ast.AST) -> bool:
    return any(use is decorator for decorator in getattr(node.statement, "decorator_list", ()))


def _decorators(function: Node) -> set[str]:
    found = set()
    for each in getattr(function.statement, "decorator_list", ()):
        part = each.func if isinstance(each, ast.Call) else each
        found.add(part.attr if isinstance(part, ast.Attribute) else part.id if isinstance(part, ast.Name) else "?")
    return found


def _is_generator(function: Node) -> bool:
    own = (
        part
        for node in function.atoms()
        if not node.is_definition
        for top in head_parts(node)
        for part in ast.walk(top)
    )
    return any(isinstance(part, (ast.Yield, ast.YieldFrom)) for part in own)


def _bases(node: Node) -> set[str]:
    bases = node.statement.bases if isinstance(node.statement, ast.ClassDef) else []
    parts = [base.value if isinstance(base, ast.Subscript) else base for base in bases]
    return {part.attr if isinstance(part, ast.Attribute) else getattr(part, "id", "?") for part in parts}


def _root(attribute: ast.Attribute) -> str:
    value: ast.AST = attribute.value
    while isinstance(value, ast.Attribute):
        value = value.value
    return value.id if isinstance(value, ast.Name) else ""


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
