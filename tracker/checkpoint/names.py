"""Which variables of a running function belong to the state at the exit of a block: static analysis of its source."""

from __future__ import annotations

import ast
import linecache
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType, FrameType

from tracker.syntax import parse

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_LOOPS = (ast.For, ast.AsyncFor)


@dataclass(frozen=True)
class Names:
    """Names of one function at the exit of a block.

    ``changed``: assigned, or changed in place where it can be seen; they belong to the state. ``used``: read only, so
    they belong to it where their value is a container that other code might change.
    """

    changed: frozenset[str] = frozenset()
    used: frozenset[str] = frozenset()


@dataclass
class _Use:
    """How one name occurs in a piece of code."""

    stored: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)  # in place: items, attributes, methods
    loaded: set[str] = field(default_factory=set)

    @property
    def all(self) -> set[str]:
        return self.stored | self.changed | self.loaded


def names_at_exit(frame: FrameType, loop_line: int | None, block_line: int | None) -> Names | None:
    """The names of a frame that matter when a block ends; ``None`` where its source cannot be read.

    ``loop_line``: line of the checkpointed loop, if it runs in this frame; else everything that the function assigns
    counts. ``block_line``: line of the block's loop, if that runs in this frame. What only the block, or another loop
    that does not run now, uses and always assigns first is left out.
    """
    return _analyse(frame.f_code, loop_line, block_line, frame.f_lineno)


@lru_cache(maxsize=64)
def global_names(filename: str) -> frozenset[str]:
    """Global variables of a file that its functions assign or change."""
    tree = tree_of(filename)
    return frozenset() if tree is None else changed_globals(tree)


@lru_cache(maxsize=256)
def _analyse(code: CodeType, loop_line: int | None, block_line: int | None, line: int) -> Names | None:
    tree = tree_of(code.co_filename)
    scope = None if tree is None else scope_of(tree, code)
    if tree is None or scope is None:
        return None
    loop = loop_at(scope, loop_line)
    block = loop_at(scope, block_line)
    use = _use([loop] if loop is not None else scope.body)
    local = _bound(scope)
    everywhere = _occurrences(scope)
    dead = {name for other in _over(scope, block, line) for name in _dead(other, everywhere)}
    changed = (use.stored | use.changed | _changed_by_inner(scope)) & local
    if isinstance(scope, ast.Module):
        changed |= changed_globals(tree)
    return Names(frozenset(changed - dead), frozenset((use.loaded & local) - changed - dead))


@lru_cache(maxsize=64)
def tree_of(filename: str) -> ast.Module | None:
    """The syntax tree of a file; ``None`` where it cannot be read."""
    if filename == "<string>":
        return None  # Python 3.13 keeps the text of `python -c` under it, which need not be that of this code
    lines = linecache.getlines(filename)
    try:
        return parse("".join(lines)) if lines else None
    except (SyntaxError, ValueError):
        return None


def scope_of(tree: ast.Module, code: CodeType) -> ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The definition that a code object was made from."""
    if code.co_name == "<module>":
        return tree
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS) and node.name == code.co_name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first == code.co_firstlineno:
                return node
    return None


def loop_at(scope: ast.AST, line: int | None) -> ast.For | ast.AsyncFor | None:
    """The innermost loop of a scope whose head stands at a line."""
    if line is None:
        return None
    found = [
        node for node in _inside(scope) if isinstance(node, _LOOPS) and node.lineno <= line < node.body[0].lineno + 1
    ]
    heads = [node for node in found if line < node.body[0].lineno or node.lineno == line]
    return max(heads, key=lambda node: node.lineno, default=None)


def _over(scope: ast.AST, block: ast.AST | None, line: int) -> Iterator[ast.For | ast.AsyncFor]:
    """The loops of a scope of which no iteration is under way when the block ends at a line: the block, and others."""
    for node in _inside(scope):
        if isinstance(node, _LOOPS) and (node is block or not node.lineno <= line <= (node.end_lineno or line)):
            yield node


def _inside(scope: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a scope, not those of scopes inside it."""
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _SCOPES):
            waiting.extend(ast.iter_child_nodes(node))


def stored_and_changed(nodes: Iterable[ast.AST]) -> tuple[set[str], set[str]]:
    """Names that pieces of code assign, and those that they change in place where it can be seen."""
    use = _use(nodes)
    return use.stored, use.changed


def _occurrences(top: ast.AST) -> Counter[str]:
    """How often names stand in a piece of code, functions inside it included."""
    found: Counter[str] = Counter()
    for node in ast.walk(top):
        if isinstance(node, ast.Name):
            found[node.id] += 1
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found[node.name] += 1
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            found.update(node.names)
    return found


def _bound(scope: ast.AST) -> set[str]:
    """Names that belong to a scope: for a module everything, for a function what it assigns or takes."""
    if isinstance(scope, ast.Module):
        return {node.id for node in ast.walk(scope) if isinstance(node, ast.Name)} | _use(scope.body).stored
    assert isinstance(scope, _FUNCTIONS)
    given = scope.args
    arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    elsewhere = {name for node in _inside(scope) if isinstance(node, ast.Global | ast.Nonlocal) for name in node.names}
    return (_use(scope.body).stored | {item.arg for item in arguments if item is not None}) - elsewhere


def _use(nodes: Iterable[ast.AST]) -> _Use:
    """How names occur in these pieces of code and all they contain."""
    return _noted(node for top in nodes for node in ast.walk(top))


def _noted(nodes: Iterable[ast.AST]) -> _Use:
    found = _Use()
    for node in nodes:
        _note(node, found)
    return found


def _note(node: ast.AST, found: _Use) -> None:
    if isinstance(node, ast.Name):
        (found.loaded if isinstance(node.ctx, ast.Load) else found.stored).add(node.id)
    elif isinstance(node, ast.Attribute | ast.Subscript):
        base = _base(node)
        if base is not None and not isinstance(node.ctx, ast.Load):
            found.changed.add(base)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        base = _base(node.func)
        if base is not None:
            found.changed.add(base)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "next":
        found.changed |= {item.id for item in node.args[:1] if isinstance(item, ast.Name)}
    elif isinstance(node, ast.ExceptHandler) and node.name:
        found.stored.add(node.name)
    elif isinstance(node, ast.Import | ast.ImportFrom):
        found.stored |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}


def _base(node: ast.Attribute | ast.Subscript) -> str | None:
    """The variable at the beginning of ``a.b[c].d``."""
    inner: ast.expr = node
    while isinstance(inner, ast.Attribute | ast.Subscript):
        inner = inner.value
    return inner.id if isinstance(inner, ast.Name) else None


def _dead(block: ast.For | ast.AsyncFor, everywhere: Counter[str]) -> set[str]:
    """Names that only the loop uses, and assigns before it reads them, in each of its iterations."""
    found: set[str] = set()
    seen: set[str] = set()
    target = {node.id for node in ast.walk(block.target) if isinstance(node, ast.Name)}
    found |= target
    for statement in block.body:
        assigned = set()
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            plain = {node.id for item in targets for node in _plain_targets(item)}
            assigned = plain - _use([statement.value]).all
        found |= assigned - seen
        seen |= _use([statement]).all
    inside = _occurrences(block)
    return {name for name in found if everywhere[name] == inside[name]}


def _plain_targets(target: ast.expr) -> Iterator[ast.Name]:
    if isinstance(target, ast.Name):
        yield target
    elif isinstance(target, ast.Tuple | ast.List):
        for item in target.elts:
            yield from _plain_targets(item)
    elif isinstance(target, ast.Starred):
        yield from _plain_targets(target.value)


def _changed_by_inner(scope: ast.AST) -> set[str]:
    """Names that functions inside of a function assign (``nonlocal``), or change in place and do not own."""
    found: set[str] = set()
    if isinstance(scope, _FUNCTIONS):
        for function in (node for node in ast.walk(scope) if isinstance(node, _FUNCTIONS) and node is not scope):
            use = _use(function.body)
            shared = {n for node in _inside(function) if isinstance(node, ast.Nonlocal) for n in node.names}
            found |= (shared & use.stored) | (use.changed - _bound(function))
    return found


def changed_globals(tree: ast.Module) -> frozenset[str]:
    """Global variables that functions of a file assign (``global``), or change in place and do not own."""
    own = _use(tree.body).stored
    top = {node.name for node in tree.body if isinstance(node, (*_FUNCTIONS, ast.ClassDef))}
    found: set[str] = set()
    for function in (node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS)):
        use = _use(function.body)
        declared = {name for node in _inside(function) if isinstance(node, ast.Global) for name in node.names}
        found |= declared & (use.stored | use.changed)
        found |= (use.changed - _bound(function)) & own
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    return frozenset(found - top - imported)


@lru_cache(maxsize=64)
def break_lines(filename: str) -> frozenset[int] | None:
    """The lines of a file with a ``break``; ``None`` where it cannot be read."""
    tree = tree_of(filename)
    return None if tree is None else frozenset(node.lineno for node in ast.walk(tree) if isinstance(node, ast.Break))
