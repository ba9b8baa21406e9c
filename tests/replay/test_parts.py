"""The parts of propagation on their own: log calls, flow of names, alignment, effects."""

from __future__ import annotations

import ast

import pytest

from tracker.replay.calls import LogCalls, matches
from tracker.replay.effects import effects
from tracker.replay.flow import flow, whole_flow
from tracker.replay.match import Alignment
from tracker.replay.renames import Renames
from tracker.replay.scope import Scopes
from tracker.replay.source import Source, Unparsable
from tracker.replay.tree import Node, Tree


def tree(text: str) -> Tree:
    return Tree(Source("s.py", text))


def first(text: str) -> Node:
    return tree(text).root.blocks["body"][0]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("tracker.log('a', 1)", ["a"]),
        ("flor.log('a', 1, layer=2)", ["a"]),
        ("run.log('a', 1)", ["a"]),
        ("tracker.log_many({'a': 1, 'b': 2})", ["a", "b"]),
        ("tracker.log_many(dict(a=1, b=2))", ["a", "b"]),
        ("tracker.log(f'{x}/a', 1)", ["\0/a"]),
        ("wandb.log({'a': 1})", ["a"]),
        ("math.log(2)", None),
        ("logger.log('message')", None),
        ("log('a', 1)", None),
    ],
)
def test_log_calls_are_recognised(text: str, names: list[str] | None) -> None:
    """What is a log call, and what it logs."""
    assert LogCalls(Source("s.py", text)).names(ast.parse(text, mode="eval").body) == names


def test_names_imported_from_us_are_log_calls() -> None:
    """``from tracker import log as record`` makes ``record`` a log call; ``from math import log`` does not."""
    ours = LogCalls(Source("s.py", "from tracker import log as record\n"))
    other = LogCalls(Source("s.py", "import tracker\nfrom math import log\n"))

    assert ours.names(ast.parse("record('a', 1)", mode="eval").body) == ["a"]
    assert other.names(ast.parse("log('a', 1)", mode="eval").body) is None


def test_patterns_match_whole_names() -> None:
    """A hole of an f-string stands for at least one character."""
    assert matches("\0/loss", "val/loss")
    assert not matches("\0/loss", "/loss")
    assert not matches("loss", "loss2")


@pytest.mark.parametrize(
    ("text", "reads", "binds"),
    [
        ("y = [f(x) for x in xs if x > k]", {"f", "xs", "k"}, {"y"}),
        ("total += n", {"total", "n"}, {"total"}),
        ("self.a = self.b + c", {"self", "self.b", "c"}, {"self.a"}),
        ("with open(p) as f, lock: pass", {"open", "p", "lock"}, {"f"}),
        ("g = lambda q, r=s: q + r + t", {"s", "t"}, {"g"}),
        ("if (n := f()) > 1: pass", {"f"}, {"n"}),
        ("import a.b, c as d", set(), {"a", "d"}),
        ("d[k] = v", {"d", "k", "v"}, set()),
    ],
)
def test_flow_of_names(text: str, reads: set[str], binds: set[str]) -> None:
    """What a statement must find and what it leaves behind."""
    found = flow(first(text))

    assert set(found.reads) == reads
    assert found.binds == binds


def test_locals_of_a_function_do_not_show() -> None:
    """A function reads what is neither its parameter nor bound inside it."""
    found = whole_flow(first("def f(a, b=c):\n    d = a + e\n    def g():\n        return d + h\n    return g\n"))

    assert set(found.reads) == {"c", "e", "h"}
    assert found.binds == {"f"}


def test_visibility_follows_the_order_inside_a_scope() -> None:
    """A local counts from its binding on; globals count everywhere inside functions."""
    it = tree("def f():\n    a = 1\n    b = 2\n\nc = 3\n")
    scopes, function = Scopes(it), it.root.blocks["body"][0]
    second = function.blocks["body"][1]

    assert scopes.visible("a", function, second.at)
    assert not scopes.visible("b", function, second.at)
    assert scopes.visible("c", function, second.at)
    assert not scopes.visible("z", function, second.at)


def test_functions_are_paired_by_content_when_names_change() -> None:
    """A renamed function keeps its counterpart, and its variables vote for theirs."""
    body = "    for x in {d}:\n        {o} = {n}(x)\n        {o}.sum().backward()\n        opt.step()\n"
    new = tree("def run(net, data):\n" + body.format(d="data", o="out", n="net"))
    old = tree("def go(model, ds):\n" + body.format(d="ds", o="res", n="model"))
    alignment = Alignment(new, [old])
    unit = new.definitions[0]

    assert alignment.image[unit].name == "go"
    assert Renames(alignment).candidates("out", unit)[0][0] == "res"
    assert Renames(alignment).candidates("net", unit)[0][0] == "model"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("x = next(it)", "next"),
        ("opt.step()", ".step"),
        ("w.add_(1)", ".add_"),
        ("n = np.random.rand()", "random numbers"),
        ("for b in train_loader: n += 1", "train_loader"),
        ("del x", "delete"),
    ],
)
def test_effects_are_seen(text: str, word: str) -> None:
    """Statements that may change training state say so."""
    assert any(word in effect for effect in effects(first(text)))


@pytest.mark.parametrize(
    "text", ["n = sum(p.norm() for p in model.parameters())", "h = -(p * p.log()).sum()", "a = b[0]"]
)
def test_pure_statements_have_no_effects(text: str) -> None:
    """Plain computations are not suspected."""
    assert list(effects(first(text))) == []


@pytest.mark.parametrize("text", ["def (", "x = 1\0", "print 'a'"])
def test_what_is_not_python_says_so(text: str) -> None:
    """A file that cannot be parsed raises one kind of error."""
    with pytest.raises(Unparsable):
        tree(text)


@pytest.mark.parametrize("text", ["a\r\nb\r\n", "a\nb", "a\rb\n", "", "\f\nx\n"])
def test_lines_join_to_the_text(text: str) -> None:
    """Cutting into lines loses nothing."""
    assert "".join(Source("s.py", text).lines) == text
