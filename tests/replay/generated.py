"""Random training programs: hypothesis builds their source, with a place for a probe anywhere in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import dedent, indent

from hypothesis import strategies as st

HELPER = """
import numpy as np

def push(table, value):
    table.setdefault("pushed", []).append(value)
    return value

def smooth(values, w):
    w *= 0.75
    values.append(float(w[0]))
    return len(values)
"""

HEAD = """
import random
import numpy as np
import tracker
import helper

random.seed({seed})
np.random.seed({seed})
COUNTER = 0
SEEN = []

class Model:
    def __init__(self):
        self.weight, self.total, self.log = np.ones(3), 0.0, []

    def step(self, w):
        self.weight += w * 0.5
        self.total += float(self.weight.sum())
        self.log.append(self.total)

def bump():
    global COUNTER
    COUNTER += 1
    SEEN.append(COUNTER % 4)
    return COUNTER

def extend(values, value):
    values.append(value)
    return len(values)

def draws(count):
    for _ in range(count):
        yield int(random.random() * 10)
"""

STATE = """
rng = np.random.default_rng({seed})
w = rng.normal(size=3)
v = np.zeros(3)
view = w[:2]
items, table, chosen = [0.5], {{}}, set()
alias = items
count, total, a, b, best, text = 0, 0.0, 1.0, 2.0, None, ""
model = Model()
stream = iter(range(10_000))
last, grid = items, [[0.0, 1.0], [2.0]]
row = grid[0]
"""

# Statements that change the state of a program; numbers stay small.
CHANGES = """
w += rng.normal(size=3)
w *= 0.5
w = w * 0.9
v = w
v = w.copy()
v += np.random.rand()
view += 0.25
view = w[1:]
v[:2] = view
w, v = v, w
count += 1
count += bump()
total += random.random()
total = total / 2 + count
total += next(stream)
items.append(float(count))
alias.append(total)
items = items[-3:]
alias = items
items, alias = alias, items
last = items
items = [*items, a]
del items[1:]
table[len(table) % 3] = count
table.setdefault("pushed", []).append(total)
table = dict(table)
chosen.add(count % 5)
chosen = chosen | {len(text)}
a, b = b, a + 1.0
best = total if best is None else min(best, total)
text = (text + str(count))[-6:]
extend(items, total)
helper.push(table, a)
helper.smooth(items, w)
model.step(w)
model.weight = v
model.log = items
random.shuffle(items)
row.append(total)
row = grid[-1]
grid.append([a])
grid[0][0] += 1.0
""".strip().splitlines()

# What a probe may ask.
TERMS = """
float(w.sum())
float(v.sum())
float(view.sum())
float(rng.bit_generator.state["state"]["state"] % 1000)
float(count)
total
float(len(items))
float(sum(items))
float(sum(alias))
float(sum(last))
a - b
float(best is None)
(best or 0.0)
float(COUNTER)
float(sum(SEEN))
float(len(table))
float(sum(table.get("pushed", [0.0])))
float(sum(chosen))
float(model.weight.sum())
model.total
float(sum(model.log))
float(items is alias)
float(len(text))
float(sum(row))
float(sum(map(sum, grid)))
float(np.shares_memory(w, v))
float(np.shares_memory(w, view))
""".strip().splitlines()

LOOPS = ("epoch", "step", "part")
CONDITIONS = ("count % 2 == 0", "total > 1.0", "len(items) > 3", "a < b", "best is None")
ITEMS = ("range(3)", "range(4)", "range(0)", "range(epoch)", "items[:3]", "islice(stream, 2)", "draws(3)")
REGISTERED = ("w=w", "w=w, model=model", "w=w, v=v", "items=items, w=w", "model=model")


@dataclass(frozen=True)
class Line:
    """A statement with the blocks below it; ``is_place``: a probe may stand before it."""

    text: str
    body: tuple[Line, ...] = ()
    is_place: bool = True


@dataclass(frozen=True)
class Random:
    """A program, and the place and expression of a probe."""

    lines: tuple[Line, ...]
    place: int
    probe: str

    @property
    def source(self) -> str:
        """The program as it was when it ran."""
        return render(self.lines)

    @property
    def probed(self) -> str:
        """The program with the probe."""
        return render(self.lines, self.place, f'tracker.log("probe", {self.probe})')

    def __repr__(self) -> str:
        return f"Random:\n{self.probed}"


def render(lines: Sequence[Line], place: int = -1, probe: str = "") -> str:
    """The source, with the probe before the statement of number ``place``."""
    out: list[str] = []
    count = -1

    def walk(lines: Sequence[Line], depth: int) -> None:
        nonlocal count
        for line in lines:
            if line.is_place:
                count += 1
                if count == place:
                    out.append("    " * depth + probe)
            out.append(indent(line.text, "    " * depth))
            walk(line.body, depth + 1)

    walk(lines, 0)
    return "\n".join(out) + "\n"


def count_places(lines: Sequence[Line]) -> int:
    """How many statements a probe may stand before."""
    return sum(line.is_place + count_places(line.body) for line in lines)


def fixed(text: str) -> Line:
    """A piece of source that no probe stands before."""
    return Line(dedent(text).strip("\n"), is_place=False)


def log(name: str, value: str) -> Line:
    """A log statement that was there from the beginning."""
    return Line(f'tracker.log("{name}", {value})')


@st.composite
def blocks(draw: st.DrawFn, depth: int, names: tuple[str, ...], index: str) -> tuple[Line, ...]:
    """Statements; below a loop of a level, loops of the next one."""
    kinds = ["change"] * 5 + ["if", "log", "jump"]
    if names:
        kinds += ["loop", "loop", "plain"]
    found: list[Line] = []
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=5)):
        if kind == "change":
            found.append(Line(draw(st.sampled_from(CHANGES))))
        elif kind == "log":
            found.append(log(draw(st.sampled_from(["loss", "score"])), draw(st.sampled_from(TERMS))))
        elif kind == "jump":
            condition = draw(st.sampled_from([f"{index} % 3 == 2", "total > 40.0", f"{index} == 1"]))
            jump = "break" if "%" not in condition and draw(st.booleans()) else "continue"
            found.append(Line(f"if {condition}:", (Line(jump, is_place=False),)))
        elif kind == "if":
            condition = draw(st.sampled_from((*CONDITIONS, f"{index} % 2 == 1")))
            inside = draw(blocks(depth + 1, names if depth < 1 else (), index))
            found.append(Line(f"if {condition}:", inside))
        elif kind == "plain":
            found.append(Line("for turn in range(2):", draw(blocks(depth + 2, (), "turn"))))
        else:
            found += draw(loops(depth, names))
    return tuple(found)


@st.composite
def loops(draw: st.DrawFn, depth: int, names: tuple[str, ...]) -> list[Line]:
    """A nested loop, and maybe the use of what it leaves behind."""
    name = draw(st.sampled_from(names))
    below = names[names.index(name) + 1 :] if depth < 2 and draw(st.booleans()) else ()
    items = draw(
        st.sampled_from(["range(3)", "range(4)", "range(0)", "range(epoch)", "items[:3]", "islice(stream, 2)"])
    )
    body = draw(blocks(depth + 1, below, name))
    is_number = items.startswith("range")
    head = f'for {name} in tracker.loop("{name}", {items}):'
    if not is_number:
        body = (Line(f"{name} = int({name})", is_place=False), *body)
    loss = Line(f"loss_{name} = float(w.sum()) + {name}")
    has_loss = draw(st.booleans())
    lines = [Line(head, (*body, loss, log("inner", f"loss_{name}")) if has_loss else body)]
    if has_loss:
        lines.insert(0, Line(f"loss_{name} = 0.0"))
        lines.append(Line(f"total = total / 2 + loss_{name}"))
    return lines


# Everything that statements may assign, for functions that change the variables of the program.
SHARED = "w, v, view, items, table, chosen, alias, count, total, a, b, best, text, last, grid, row, stream"


@st.composite
def functions(draw: st.DrawFn, word: str) -> tuple[Line, Line]:
    """A function with a loop that changes the program's variables, and its call."""
    name, counts = draw(st.sampled_from(LOOPS[1:])), draw(st.booleans())
    body = draw(blocks(1, (), name))
    loop = Line(f'for {name} in tracker.loop("{name}", range({draw(st.integers(0, 3))})):', body)
    local = (Line("mine = [0.0]"), loop, Line("mine.append(total)"), Line("return sum(mine)", is_place=False))
    inside = (Line(f"{word} {SHARED}", is_place=False), *(local if counts else (loop,)))
    call = Line("total = total / 4 + helped(w)" if counts else "helped(w)")
    return Line("def helped(given):", inside, is_place=False), call


@st.composite
def programs(draw: st.DrawFn) -> Random:
    """A program with one checkpointed loop: at the top level or in a function, its blocks in line or in functions."""
    seed = draw(st.integers(0, 9))
    names = LOOPS[1:] if draw(st.integers(0, 4)) else ()
    body = draw(blocks(0, names, "epoch"))
    in_main = draw(st.booleans())
    defined: tuple[Line, ...] = ()
    if draw(st.integers(0, 2)) == 0:
        function, call = draw(functions("nonlocal" if in_main else "global"))
        defined, body = (function,), (*body, call) if draw(st.booleans()) else (call, *body)
    end = (log("outer", "total + float(w.sum())"),) if draw(st.integers(0, 4)) else ()
    epochs = Line(f'for epoch in tracker.loop("epoch", range({draw(st.integers(2, 5))})):', (*body, *end))
    registered = Line(f"with tracker.checkpointing({draw(st.sampled_from(REGISTERED))}):", (epochs,))
    before = draw(st.lists(st.sampled_from(CHANGES), max_size=2))
    after = [Line(draw(st.sampled_from(CHANGES))), Line('tracker.log("end", total)')]
    main = (fixed(STATE.format(seed=seed)), *defined, *map(Line, before), registered, *after)
    head = fixed(HEAD.format(seed=seed) + "\nfrom itertools import islice\n")
    wrapped = (head, Line("def main():", main, is_place=False), fixed("main()"))
    lines = wrapped if in_main else (head, *main)
    probe = " + ".join(draw(st.lists(st.sampled_from(TERMS), min_size=1, max_size=4, unique=True)))
    return Random(lines, draw(st.integers(0, count_places(lines) - 1)), probe)
