"""Whether a statement that would come along changes what the old version computes."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tracker.replay.flow import flow, whole_flow
from tracker.replay.tree import Node

_METHODS = frozenset(
    {
        "apply",
        "backward",
        "choice",
        "choices",
        "dump",
        "eval",
        "fit",
        "load",
        "load_state_dict",
        "manual_seed",
        "partial_fit",
        "remove",
        "requires_grad_",
        "sample",
        "save",
        "seed",
        "send",
        "set_postfix",
        "shuffle",
        "step",
        "train",
        "unlink",
        "update",
        "write",
        "writelines",
        "zero_grad",
    }
)
_RANDOM = frozenset(
    {
        "bernoulli",
        "choice",
        "dropout",
        "manual_seed",
        "multinomial",
        "normal",
        "permutation",
        "rand",
        "randint",
        "randn",
        "random",
        "randperm",
        "sample",
        "seed",
        "shuffle",
        "uniform",
    }
)
_FUNCTIONS = frozenset({"delattr", "eval", "exec", "exit", "input", "next", "open", "quit", "setattr"})
_LOADER = ("loader", "iterator", "stream", "dataset", "batches")


def effects(node: Node) -> Iterator[str]:
    """What the statement may do to training state, in words; nothing for pure computations."""
    if node.statement is None or node.is_function:
        return  # defining a function does nothing; what calls it is looked at by itself
    for part in ast.walk(node.statement):
        if isinstance(part, ast.Call):
            yield from _call(part)
        elif isinstance(part, (ast.For, ast.AsyncFor, ast.comprehension)):
            yield from _iteration(part.iter)
        elif isinstance(part, (ast.Delete, ast.Global, ast.Nonlocal, ast.Return, ast.Raise, ast.Break, ast.Continue)):
            yield f"has a `{type(part).__name__.lower()}`"


def body_effects(node: Node) -> Iterator[str]:
    """The same for the body of a function that is called."""
    for child in node.below():
        if child.statement is not None and not isinstance(
            child.statement, (ast.Return, ast.Raise, ast.ExceptHandler, ast.match_case)
        ):
            for effect in effects(child):
                if not effect.startswith("has a"):
                    yield effect


def overwritten(node: Node, existing: set[str], *, head_only: bool = False) -> list[str]:
    """Names of the old version that the statement, or its head alone, would bind or change."""
    if isinstance(node.statement, ast.Expr) and "add_argument" in ast.unparse(node.statement.value)[:60]:
        return []  # one more option changes nothing for those that were parsed before
    found = flow(node) if head_only else whole_flow(node)
    return sorted(name for name in found.binds | found.changes if name in existing and name != "tracker")


def _call(call: ast.Call) -> Iterator[str]:
    if isinstance(call.func, ast.Name):
        if call.func.id in _FUNCTIONS:
            yield f"calls `{call.func.id}`"
        elif call.func.id in _RANDOM:
            yield f"draws random numbers with `{call.func.id}`"
    elif isinstance(call.func, ast.Attribute):
        name = call.func.attr
        if name in _RANDOM:
            yield f"draws random numbers with `.{name}`"
        elif name in _METHODS or (name.endswith("_") and not name.endswith("__")):
            yield f"calls `.{name}`"


def _iteration(over: ast.expr) -> Iterator[str]:
    names = [
        n.id if isinstance(n, ast.Name) else n.attr for n in ast.walk(over) if isinstance(n, (ast.Name, ast.Attribute))
    ]
    for name in names:
        if name.lower().endswith(_LOADER):
            yield f"iterates over `{name}`"
