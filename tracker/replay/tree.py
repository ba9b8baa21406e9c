"""The statements of a file as a tree that knows neighbours, blocks and fingerprints."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property

from tracker.replay.calls import LogCalls
from tracker.replay.fingerprint import fingerprint
from tracker.replay.source import Source

Statement = ast.stmt | ast.ExceptHandler | ast.match_case
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)
LOOPS = (ast.For, ast.AsyncFor, ast.While)
BLOCKS = ("body", "handlers", "cases", "orelse", "finalbody")


class Node:
    """One statement, except clause or match case; the root stands for the module and has no statement."""

    __slots__ = (
        "__dict__",
        "at",
        "blocks",
        "end",
        "field",
        "index",
        "key",
        "owner",
        "parent",
        "statement",
        "tree",
        "words",
    )

    def __init__(self, tree: Tree, statement: Statement | None, parent: Node | None, field: str, index: int) -> None:
        self.tree = tree
        self.statement = statement
        self.parent = parent
        self.field = field
        self.index = index
        self.owner: Node = self if parent is None else (parent if parent.is_definition else parent.owner)
        self.blocks: dict[str, list[Node]] = {}
        self.words: tuple[str, ...] = ()
        self.key = 0
        self.at = self.end = 0  # from where to where in the tree's order

    def __repr__(self) -> str:
        return f"<{type(self.statement).__name__} {self.tree.source.path}:{self.first}>"

    @property
    def is_definition(self) -> bool:
        """Whether this opens a scope: the module, a function or a class."""
        return self.statement is None or isinstance(self.statement, DEFINITIONS)

    @property
    def is_function(self) -> bool:
        return isinstance(self.statement, FUNCTIONS)

    @property
    def is_import(self) -> bool:
        return isinstance(self.statement, (ast.Import, ast.ImportFrom))

    @property
    def name(self) -> str:
        """The name of a definition, else an empty text."""
        return self.statement.name if isinstance(self.statement, DEFINITIONS) else ""

    @cached_property
    def qualified(self) -> str:
        """Names of the enclosing definitions and of this one, joined with dots."""
        if self.parent is None:
            return ""
        outer = self.owner.qualified
        return f"{outer}.{self.name}" if outer else self.name

    @cached_property
    def first(self) -> int:
        """The first line, decorators included."""
        if isinstance(self.statement, ast.match_case):
            return self.statement.pattern.lineno
        if self.statement is None:
            return 1
        decorators: list[ast.expr] = getattr(self.statement, "decorator_list", [])
        return min([self.statement.lineno, *(d.lineno for d in decorators)])

    @cached_property
    def last(self) -> int:
        """The last line, nested blocks included."""
        if self.statement is None:
            return len(self.tree.source.lines)
        if isinstance(self.statement, ast.match_case):
            return self.statement.body[-1].end_lineno or 0
        return self.statement.end_lineno or self.statement.lineno

    @property
    def block(self) -> list[Node]:
        """The statements of the block that this one stands in, itself included."""
        assert self.parent is not None
        return self.parent.blocks[self.field]

    @cached_property
    def shape(self) -> int:
        """A hash that stays when variables are renamed."""
        return hash(tuple("n:" if word.startswith("n:") else word for word in self.words))

    @cached_property
    def bag(self) -> frozenset[str]:
        return frozenset(self.words)

    @cached_property
    def inner_shapes(self) -> frozenset[int]:
        """Shapes of everything below."""
        return frozenset(node.shape for node in self.below())

    @cached_property
    def logged(self) -> tuple[str, ...]:
        """The names that a log statement on its own logs; none for any other statement."""
        if not isinstance(self.statement, ast.Expr):
            return ()
        found = self.tree.calls.names(self.statement.value)
        return tuple(found) if found is not None else ()

    @cached_property
    def is_elif(self) -> bool:
        if not isinstance(self.statement, ast.If) or self.field != "orelse":
            return False
        return self.tree.source.bare(self.first).lstrip().startswith("elif")

    @cached_property
    def is_docstring(self) -> bool:
        value = self.statement.value if isinstance(self.statement, ast.Expr) else None
        at_top = self.index == 0 and self.field == "body" and self.parent is not None and self.parent.is_definition
        return at_top and isinstance(value, ast.Constant) and isinstance(value.value, str)

    def children(self) -> Iterator[Node]:
        for block in self.blocks.values():
            yield from block

    def below(self) -> list[Node]:
        """Everything inside, in the order of the text, nested definitions included."""
        return self.tree.order[self.at + 1 : self.end]

    def atoms(self) -> list[Node]:
        """Everything inside that runs in the scope of this definition; of nested definitions only the head."""
        return self._atoms

    @cached_property
    def _atoms(self) -> list[Node]:
        return [node for node in self.below() if node.owner is self]

    def above(self) -> Iterator[Node]:
        """The enclosing nodes, innermost first, up to the module."""
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    def inside(self, other: Node) -> bool:
        return self.tree is other.tree and other.at < self.at < other.end


class Tree:
    """The statement tree of one source file."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.calls = LogCalls(source)
        self.order: list[Node] = []
        self.root = Node(self, None, None, "", 0)
        self._grow(self.root, source.tree)
        for node in self.root.below():
            assert node.statement is not None
            node.words = fingerprint(node.statement, self.calls)
            node.key = hash(node.words)

    def _grow(self, node: Node, statement: ast.AST) -> None:
        node.at = len(self.order)
        self.order.append(node)
        for field in BLOCKS:
            children = getattr(statement, field, None)
            if isinstance(children, list) and children:
                block = [Node(self, child, node, field, i) for i, child in enumerate(children)]
                node.blocks[field] = block
                for child in block:
                    if child.statement is not None:
                        self._grow(child, child.statement)
        node.end = len(self.order)

    @cached_property
    def definitions(self) -> list[Node]:
        """Every function and class, outer ones first."""
        return [node for node in self.root.below() if node.is_definition]
