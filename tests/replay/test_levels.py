"""Which blocks must run, for probes in every kind of place."""

from __future__ import annotations

import textwrap

import pytest

from tracker.replay.inserted import find_changes
from tracker.replay.levels import Reach, find_reach

PROBE = "#+"  # lines that end so are new


def reach(code: str, **others: str) -> Reach:
    """The reach of the marked lines of ``train.py`` and of other files."""
    files = {"train.py": code, **{f"{name}.py": text for name, text in others.items()}}
    probed = {path: textwrap.dedent(text) for path, text in files.items()}
    old = {
        path: "".join(line for line in text.splitlines(keepends=True) if not line.rstrip().endswith(PROBE))
        for path, text in probed.items()
    }
    changes = find_changes(old, {path: text for path, text in probed.items() if text != old[path]})
    assert changes is not None
    assert changes.new or changes.changed
    return find_reach(probed, changes, "epoch")


def shown(found: Reach) -> str:
    """As ``step,test`` for blocks, ``-`` for the body of the loop alone, ``o`` for outside, ``?`` for unknown."""
    if found.run_blocks is None:
        return "?"
    blocks = ",".join(found.run_blocks) or ("-" if found.inside else "")
    return blocks + (" o" if found.outside else "")


SIMPLE = """\
import tracker
from tracker import log
setup = 1
{before}
for epoch in tracker.loop("epoch", range(9)):
    {start}
    for batch in tracker.loop("step", data):
        loss = fit(batch)
        {step}
        for part in tracker.loop("part", batch):
            pass
            {part}
    {between}
    for batch in tracker.loop("test", data):
        check(batch)
        {test}
    else:
        pass
        {orelse}
    while waiting():
        pass
        {plain}
    {end}
else:
    pass
    {loop_else}
{after}
"""
PLACES = {
    "before": " o", "start": "-", "step": "step", "part": "step", "between": "-", "test": "test", "orelse": "-",
    "plain": "-", "end": "-", "loop_else": " o", "after": " o",
}  # fmt: skip


@pytest.mark.parametrize("statement", ["tracker.log('x', epoch)", "if epoch: log('x', 1)", "y = tracker.log('x', 2)"])
@pytest.mark.parametrize("place", PLACES)
def test_the_block_around_a_probe_runs(place: str, statement: str) -> None:
    """And no other; outside of blocks none does."""
    code = SIMPLE.format(**{name: f"{statement} {PROBE}" if name == place else "pass" for name in PLACES})

    assert shown(reach(code)).strip() == PLACES[place].strip()


def test_several_probes_add_up() -> None:
    """One in a block, one before the loop."""
    code = SIMPLE.format(**{name: f"log('x', 1) {PROBE}" if name in ("before", "test") else "pass" for name in PLACES})

    assert shown(reach(code)) == "test o"


LOOP = """\
import tracker
{head}
def main():
    for epoch in tracker.loop("epoch", range(9)):
        for batch in tracker.loop("step", data):
            {step}
        for batch in tracker.loop("test", data):
            {test}
        {end}
    {after}
{rest}
main()
"""
BARE = {"head": "", "step": "pass", "test": "pass", "end": "pass", "after": "pass", "rest": ""}


def program(probe: str, **parts: str) -> str:
    """The loop with definitions at its head, and calls in its places."""
    texts = BARE | parts | {"head": textwrap.dedent(probe)}
    return LOOP.format(**texts)


FUNCTION = f"""
def f(x=1):
    tracker.log('x', x) {PROBE}
    return x
"""
THROUGH = FUNCTION + "\ndef g():\n    return f() + 1\n"
METHOD = f"""
class Model:
    def loss(self, x):
        tracker.log('x', x) {PROBE}
        return x
model = Model()
"""
PROPERTY = METHOD.replace("    def loss(self, x):", "    @property\n    def loss(self, x=1):")
INIT = METHOD.replace("def loss(self, x):", "def __init__(self, x=1):").replace("return x", "self.x = x")
GENERATOR = FUNCTION.replace("return x", "yield x")
MANAGER = "from contextlib import contextmanager\n@contextmanager" + GENERATOR
ASYNC = FUNCTION.replace("def f", "async def f")
LOOPING = f"""
def walk():
    for part in tracker.loop("walk", data):
        tracker.log('x', part) {PROBE}
        pass
"""
NESTED = f"""
def outer():
    def f():
        tracker.log('x', 1) {PROBE}
        pass
    return f()
"""


@pytest.mark.parametrize(
    ("probe", "parts", "expected"),
    [
        (FUNCTION, {"step": "f()"}, "step"),
        (FUNCTION, {"step": "y = 2 * f(f(3))"}, "step"),
        (FUNCTION, {"end": "f()"}, "-"),
        (FUNCTION, {"after": "f()"}, " o"),
        (FUNCTION, {"step": "f()", "test": "f()", "end": "f()"}, "step,test"),
        (FUNCTION, {"test": "f()", "after": "f()"}, "test o"),
        (FUNCTION, {"step": "if f(): pass"}, "step"),
        (FUNCTION, {"step": "y = [f(x) for x in batch]"}, "step"),
        (FUNCTION, {"step": "y = sum(f(x) for x in batch)"}, "step"),
        (FUNCTION, {"step": "y = (f(x) for x in batch)"}, "?"),
        (FUNCTION, {"step": "y = lambda: f()"}, "?"),
        (FUNCTION, {"step": "register(f)"}, "?"),
        (FUNCTION, {"after": "register(f)"}, "?"),
        (FUNCTION, {"rest": "h = f"}, "?"),
        (FUNCTION, {"rest": "table = {'f': f}"}, "?"),
        (FUNCTION, {"rest": "def k(y=f()):\n    return y"}, " o"),
        (FUNCTION, {}, "?"),
        (FUNCTION, {"step": "getattr(model, name)()", "end": "f()"}, "?"),
        (FUNCTION, {"step": "globals()[name]()", "end": "f()"}, "?"),
        (FUNCTION, {"step": "exec(text)", "end": "f()"}, "?"),
        (FUNCTION, {"step": "getattr(model, 'x')", "end": "f()"}, "-"),
        (FUNCTION, {"step": "model.f()", "end": "f()"}, "-"),
        ("import os" + FUNCTION, {"step": "os.f()", "end": "f()"}, "step"),
        (FUNCTION, {"rest": "def other(f):\n    f()", "end": "f()"}, "-"),
        (FUNCTION, {"rest": "@f\ndef other():\n    pass"}, " o"),
        ("import flask\n@flask.route" + FUNCTION, {"end": "f()"}, "?"),
        ("import torch\n@torch.no_grad()" + FUNCTION, {"end": "f()"}, "-"),
        (THROUGH, {"step": "g()"}, "step"),
        (THROUGH, {"test": "g()", "end": "f()"}, "test"),
        (THROUGH, {"test": "map(g, batch)"}, "?"),
        (FUNCTION + "\ndef g(n):\n    return g(n - 1) if n else f()\n", {"test": "g(3)"}, "test"),
        (METHOD, {"test": "model.loss(1)"}, "test"),
        (METHOD, {"test": "y = model.loss(1) + other.loss(2)", "step": "any.loss(1)"}, "step,test"),
        (METHOD, {"test": "hook = model.loss"}, "?"),
        (METHOD, {"test": "model.loss(1)", "step": "loss = 3"}, "test"),
        (METHOD.replace("Model:", "Model(torch.nn.Module):"), {"test": "model.loss(1)"}, "test"),
        (METHOD.replace("Model:", "Model(LightningModule):"), {"test": "model.loss(1)"}, "?"),
        (METHOD.replace("def loss", "def forward"), {"test": "model(1)"}, "?"),
        (METHOD.replace("def loss", "def __call__"), {"test": "model(1)"}, "?"),
        (METHOD.replace("def loss", "def __getitem__"), {"test": "model[1]"}, "?"),
        (PROPERTY, {"test": "y = model.loss"}, "test"),
        (INIT, {"test": "m = Model()"}, "test o"),
        (INIT + "class Small(Model):\n    pass\n", {"test": "m = Small()"}, "test o"),
        (INIT, {"test": "make(Model)"}, "?"),
        (INIT, {"test": "isinstance(model, Model)"}, " o"),
        (INIT, {"rest": "def k(m: Model) -> list[Model]:\n    pass"}, " o"),
        (GENERATOR, {"step": "y = list(f())"}, "?"),
        (GENERATOR, {"step": "for y in f(): pass"}, "step"),
        (GENERATOR, {"end": "for y in tracker.loop('more', f()): pass"}, "more"),
        (MANAGER, {"test": "with f(): pass"}, "test"),
        (MANAGER, {"test": "m = f()"}, "?"),
        (ASYNC, {"test": "run(f())"}, "?"),
        (ASYNC, {"rest": "async def k():\n    await f()", "test": "pass"}, "?"),
        (LOOPING, {"end": "walk()"}, "walk"),
        (LOOPING, {"step": "walk()"}, "step"),
        (LOOPING, {"after": "walk()"}, " o"),
        (LOOPING, {"end": "walk()", "step": "walk()"}, "step,walk"),
        (NESTED, {"test": "outer()"}, "test"),
        (NESTED.replace("return f()", "return f"), {"test": "outer()()"}, "?"),
    ],
)  # fmt: skip
def test_a_function_runs_where_it_is_called(probe: str, parts: dict[str, str], expected: str) -> None:
    """Through functions, methods, properties, constructors; where names do not tell, everything runs."""
    assert shown(reach(program(probe, **parts))) == expected


def test_calls_in_other_files_count() -> None:
    """By the function's own name, an alias, or that of its module."""
    helper = f"import tracker\ndef f():\n    tracker.log('x', 1) {PROBE}\n    pass\n"
    parts = {"step": "g()", "test": "helper.f()", "end": "from helper import f as g\n        import helper"}

    assert shown(reach(program("from helper import f as g\nimport helper", **parts), helper=helper)) == "step,test"


def test_the_top_level_of_a_module_runs_where_it_is_imported() -> None:
    """Which is usually before the loop, and may be in a block."""
    helper = f"import tracker\ntracker.log('x', 1) {PROBE}\n"

    assert shown(reach(program("import helper"), helper=helper)) == " o"
    assert shown(reach(program("", test="import helper"), helper=helper)) == "test o"


@pytest.mark.parametrize(
    "line",
    [
        "for x in tracker.loop(name, data): pass",
        "steps = tracker.loop('step', data)",
        "y = [x for x in tracker.loop('step', data)]",
        "walk = tracker.loop",
        "for x in zip(tracker.loop('a', data), tracker.loop('b', data)): pass",
    ],
)
def test_loops_that_cannot_be_followed_leave_everything_open(line: str) -> None:
    """A computed name, an iterator that is handed on, an alias."""
    assert shown(reach(program("", end=f"tracker.log('x', 1) {PROBE}", after=line))) == "?"


def test_wrapped_loops_are_loops() -> None:
    """As ``enumerate(tracker.loop(...))``, in Flor's name, imported by name."""
    code = """\
    import flor
    from tracker import loop as each
    for i, epoch in enumerate(each("epoch", range(3))):
        for batch in tqdm(flor.loop("step", data)):
            flor.log("x", batch) #+
            pass
    """

    assert shown(reach(code)) == "step"


def test_an_iteration_block_is_no_loop() -> None:
    """``with tracker.iteration`` in the body of the checkpointed loop always runs."""
    code = f"with tracker.iteration('half', 0):\n            tracker.log('x', 1) {PROBE}\n            pass"

    assert shown(reach(program("", end=code))) == "-"


def test_a_log_call_around_a_part_of_a_statement_is_found() -> None:
    """The statement is an old one whose head differs."""
    old = {"train.py": program("", test="loss = check(batch)")}
    probed = {"train.py": program("", test="loss = tracker.log('loss', check(batch))")}
    changes = find_changes(old, probed)

    assert changes is not None
    assert changes.names == ("loss",)
    assert shown(find_reach(probed, changes, "epoch")) == "test"


def test_more_than_insertions_leave_everything_open() -> None:
    """Then nobody knows what was done to the file."""
    assert find_changes({"a.py": "x = 1\ny = 2\n"}, {"a.py": "y = 2\nx = 1\n"}) is None
    assert find_changes({"a.py": "x = 1\n"}, {"a.py": "x = (\n"}) is None


COUNTING = """\
import tracker
total = 0
{before}
for epoch in tracker.loop("epoch", range(9)):
    {start}
    for batch in tracker.loop("step", data):
        loss = fit(batch)
        {step}
    {end}
"""


@pytest.mark.parametrize(
    ("parts", "carried"),
    [
        ({"end": "tracker.log('x', loss) #+"}, False),
        ({"start": "n = 0 #+", "step": "n += 1 #+", "end": "tracker.log('x', n) #+"}, False),
        ({"before": "n = 0 #+", "step": "n += 1 #+", "end": "tracker.log('x', n) #+"}, True),
        ({"before": "seen = [] #+", "end": "seen.append(epoch) #+"}, True),
        ({"start": "seen = [] #+", "end": "seen.append(epoch) #+"}, False),
        ({"end": "total += 1 #+"}, True),
        ({"before": "scale = 2 #+", "end": "tracker.log('x', scale) #+"}, False),
        ({"start": "if epoch: last = epoch #+", "end": "tracker.log('x', last) #+"}, True),
        ({"before": "last = 0 #+", "start": "tracker.log('x', last) #+", "end": "last = epoch #+"}, True),
        ({"step": "norm = size(loss) #+", "end": "tracker.log('x', norm) #+"}, False),
        ({"end": "for p in model: tracker.log('x', p) #+"}, False),
    ],
)
def test_probes_that_remember_are_told_apart(parts: dict[str, str], carried: bool) -> None:
    """A value that goes from one iteration to the next in a new variable is in no checkpoint."""
    places = dict.fromkeys(("before", "start", "step", "end"), "pass")

    found = reach(COUNTING.format(**(places | parts)))

    assert (found.needs is None) is carried


def test_what_a_block_leaves_behind_is_needed() -> None:
    """A variable that the block binds and the probe reads; not modules, not what the probe itself binds."""
    code = COUNTING.format(
        before="pass", start="pass", step="tracker.step", end=f"tracker.log('x', loss + total) {PROBE}"
    )

    found = reach(code)

    assert found.needs is not None
    assert found.needs.blocks == {("step", "loss")}


@pytest.mark.parametrize(("place", "expected"), [("end", "?"), ("step", "step")])
def test_gradients_are_in_no_checkpoint(place: str, expected: str) -> None:
    """What reads them outside of the block lets all blocks run."""
    places = dict.fromkeys(("before", "start", "step", "end"), "pass")
    line = f"tracker.log('x', sum(p.grad.norm() for p in model.parameters())) {PROBE}"

    assert shown(reach(COUNTING.format(**(places | {place: line})))) == expected
