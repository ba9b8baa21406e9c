"""Random edits of a script, as people make them between two versions."""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tracker.replay import propagate

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.py"))
_BLOCKS = ("body", "orelse", "finalbody")
_NEW_LINES = ("print('checkpoint', 1)", "counter = 0", "assert True", "extra = dict(a=1, b=2)", "gc.collect()")


@dataclass(frozen=True)
class Trial:
    """A script with one log statement, the script without it, and an edited version with it."""

    truth: str
    old: str
    new: str
    name: str
    edits: tuple[str, ...]

    def outcome(self) -> str:
        """``exact``, ``flagged`` (elsewhere or nowhere, and said so), ``beside`` or ``wrong block``."""
        result = propagate({"s.py": self.old}, {"s.py": self.new}, self.name)
        got = result.sources.get("s.py", self.old)
        if ast.dump(ast.parse(got)) == ast.dump(ast.parse(self.truth)):
            return "exact"
        if result.problems:
            return "flagged"
        return "beside" if _around(got, self.name) == _around(self.truth, self.name) else "wrong block"


def trial(rng: random.Random, edits: int) -> Trial:
    """A random script, probe and number of edits."""
    text = rng.choice(SCRIPTS).read_text()
    tree = ast.parse(text)
    probes = [s for block in _blocks(tree) for s in block if _is_log(s) and len(block) > 1]
    probe = rng.choice(probes)
    lines = text.splitlines(keepends=True)
    old = "".join(lines[: probe.lineno - 1] + lines[probe.end_lineno :])
    name = probe.value.args[0].value  # type: ignore[attr-defined]
    new = copy.deepcopy(tree)
    done: list[str] = []
    while len(done) < edits:
        kind = rng.choice(list(_EDITS))
        if _EDITS[kind](new, name, rng):
            done.append(kind)
    return Trial(text, old, ast.unparse(ast.fix_missing_locations(new)), name, tuple(done))


def _is_log(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and ast.unparse(statement).startswith("tracker.log(")


def _is_probe(statement: ast.stmt, name: str) -> bool:
    return _is_log(statement) and ast.unparse(statement).startswith(f"tracker.log({name!r}")


def _blocks(tree: ast.AST) -> list[list[ast.stmt]]:
    found = [getattr(node, field, None) for node in ast.walk(tree) for field in _BLOCKS]
    return [b for b in found if isinstance(b, list) and b and isinstance(b[0], ast.stmt)]


def _holds(statements: list[ast.stmt], name: str) -> bool:
    return any(isinstance(n, ast.stmt) and _is_probe(n, name) for s in statements for n in ast.walk(s))


def _around(text: str, name: str) -> list[str]:
    """The heads of the blocks around the probe, outermost first."""
    heads: list[str] = []

    def search(node: ast.AST) -> bool:
        for field in (*_BLOCKS, "handlers"):
            for child in getattr(node, field, []) or []:
                if isinstance(child, ast.stmt) and _is_probe(child, name):
                    heads.append(field)
                    return True
                if isinstance(child, ast.AST) and search(child):
                    heads.append(f"{field} {ast.unparse(child).splitlines()[0]}")
                    return True
        return False

    search(ast.parse(text))
    return heads[::-1]


def _rename(tree: ast.Module, name: str, rng: random.Random) -> bool:
    """A local or global variable gets another name everywhere."""
    stored = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    names = sorted(n for n in stored if not n.endswith("_new"))
    if not names:
        return False
    chosen = rng.choice(names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == chosen:
            node.id = f"{chosen}_new"
        if isinstance(node, ast.arg) and node.arg == chosen:
            return False
    return True


def _add(tree: ast.Module, name: str, rng: random.Random) -> bool:
    block = rng.choice(_blocks(tree))
    at = rng.randint(1 if isinstance(block[0], (ast.Expr, ast.ImportFrom)) else 0, len(block))
    if at == len(block) and isinstance(block[-1], (ast.Return, ast.Continue)):
        return False
    block.insert(at, ast.parse(rng.choice(_NEW_LINES)).body[0])
    return True


def _remove(tree: ast.Module, name: str, rng: random.Random) -> bool:
    """A plain statement goes that binds nothing."""
    block = rng.choice(_blocks(tree))
    chosen = [s for s in block if isinstance(s, (ast.Expr, ast.Assert, ast.AugAssign)) and not _is_probe(s, name)]
    if not chosen or len(block) < 2:
        return False
    block.remove(rng.choice(chosen))
    return True


def _swap(tree: ast.Module, name: str, rng: random.Random) -> bool:
    """Two neighbours that do not know each other change places."""
    block = rng.choice(_blocks(tree))
    pairs = [
        i for i in range(len(block) - 1) if _independent(block[i], block[i + 1]) and not _holds(block[i : i + 2], name)
    ]
    if not pairs:
        return False
    i = rng.choice(pairs)
    block[i], block[i + 1] = block[i + 1], block[i]
    return True


def _independent(one: ast.stmt, two: ast.stmt) -> bool:
    names = [{n.id for n in ast.walk(s) if isinstance(n, ast.Name)} for s in (one, two)]
    return all(isinstance(s, (ast.Assign, ast.FunctionDef, ast.Expr)) for s in (one, two)) and not (names[0] & names[1])


def _wrap(tree: ast.Module, name: str, rng: random.Random) -> bool:
    """A few statements of old code get an ``if`` or a ``with`` around them."""
    block = rng.choice(_blocks(tree))
    start = rng.randrange(len(block))
    end = rng.randint(start + 1, min(len(block), start + 4))
    inside = block[start:end]
    plain = (ast.Expr, ast.Assign, ast.AugAssign, ast.For, ast.If)
    if not all(isinstance(s, plain) for s in inside) or all(_holds([s], name) for s in inside):
        return False
    head = rng.choice(["if args_debug or True:", "with torch.enable_grad():", "if rank == 0:"])
    new = ast.parse(head + "\n    pass").body[0]
    new.body = inside  # type: ignore[attr-defined]
    block[start:end] = [new]
    return True


def _extract(tree: ast.Module, name: str, rng: random.Random) -> bool:
    """The body of a loop becomes a function."""
    loops = [n for n in ast.walk(tree) if isinstance(n, ast.For) and len(n.body) > 3]
    flow = (ast.Continue, ast.Break, ast.Return, ast.FunctionDef)
    loops = [n for n in loops if not any(isinstance(part, flow) for s in n.body for part in ast.walk(s))]
    if not loops:
        return False
    loop = rng.choice(loops)
    number = sum(isinstance(n, ast.FunctionDef) for n in ast.walk(tree))
    names = sorted({n.id for n in ast.walk(loop.target) if isinstance(n, ast.Name)})
    function = ast.parse(f"def part_{number}({', '.join(names)}):\n    pass").body[0]
    function.body, loop.body = loop.body, [ast.parse(f"part_{number}({', '.join(names)})").body[0]]  # type: ignore[attr-defined]
    at = next(i for i, s in enumerate(tree.body) if not isinstance(s, (ast.Expr, ast.Import, ast.ImportFrom)))
    tree.body.insert(at, function)
    return True


def _main(tree: ast.Module, name: str, rng: random.Random) -> bool:
    """The script's own code moves into a function."""
    at = next((i for i, s in enumerate(tree.body) if isinstance(s, ast.For)), None)
    if at is None or any(isinstance(s, ast.FunctionDef) and s.name == "main" for s in tree.body):
        return False
    function = ast.parse("def main():\n    pass").body[0]
    function.body = tree.body[at:]  # type: ignore[attr-defined]
    tree.body[at:] = [function, ast.parse("main()").body[0]]
    return True


def _constant(tree: ast.Module, name: str, rng: random.Random) -> bool:
    numbers = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and type(n.value) in (int, float)]
    probe = [n for s in ast.walk(tree) if isinstance(s, ast.stmt) and _is_probe(s, name) for n in ast.walk(s)]
    numbers = [n for n in numbers if n not in probe]
    chosen = rng.choice(numbers)
    chosen.value = chosen.value * 2 + 1  # type: ignore[operator]
    return True


_EDITS: dict[str, Callable[[ast.Module, str, random.Random], bool]] = {
    "rename": _rename,
    "add": _add,
    "remove": _remove,
    "swap": _swap,
    "wrap": _wrap,
    "extract": _extract,
    "main": _main,
    "constant": _constant,
}
