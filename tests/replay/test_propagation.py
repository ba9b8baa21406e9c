"""The public face of propagation: what may be asked for, what is answered, what is refused."""

from __future__ import annotations

import doctest
import subprocess
from pathlib import Path

import pytest

import tracker.replay.propagation as module
from tracker.errors import InputError, NameNotFound
from tracker.replay import Propagation, propagate

OLD = "for x in data:\n    loss = fit(x)\n    step()\n"
NEW = "import tracker\n\nfor x in data:\n    loss = fit(x)\n    tracker.log('loss', loss)\n    step()\n"


def one(old: str, new: str, *names: str) -> tuple[str, Propagation]:
    """Propagate within one file; the resulting text and everything else."""
    result = propagate({"s.py": old}, {"s.py": new}, names)
    return result.sources.get("s.py", old), result


def test_the_example_of_the_docstring_holds() -> None:
    """The documented example runs."""
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_the_diff_applies(tmp_path: Path, newline: str, end: str) -> None:
    """``git apply`` turns the old files into the results, whatever the line ends."""
    old = {"pkg/train.py": OLD.rstrip().replace("\n", newline) + end.replace("\n", newline)}
    new = {
        "pkg/train.py": NEW.replace("import tracker", "from probes import show\nimport tracker").replace(
            "loss)", "show(loss))"
        )
    }
    new["probes.py"] = "def show(x):\n    return x\n"
    result = propagate(old, new, "loss")
    for path, text in old.items():
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_bytes(text.encode())

    subprocess.run(["git", "apply", "-p1", "-"], cwd=tmp_path, input=result.diff.encode(), check=True)

    assert len(result.sources) == 2
    for path, text in result.sources.items():
        assert (tmp_path / path).read_bytes().decode() == text


def test_an_unknown_name_is_refused_with_a_hint() -> None:
    """A name that the new version does not log raises, and similar names are shown."""
    with pytest.raises(NameNotFound, match=r"has the name 'los'.*'loss'"):
        propagate({"s.py": OLD}, {"s.py": NEW}, "los")


@pytest.mark.parametrize("line", ["@2", "@99", "loss@1", "other.py@4"])
def test_a_line_without_the_statement_is_refused(line: str) -> None:
    """A line that holds nothing, or not the named log, raises."""
    with pytest.raises(InputError, match="has no statement for"):
        propagate({"s.py": OLD}, {"s.py": NEW}, line)


def test_a_line_in_several_files_must_name_the_file() -> None:
    """``@LINE`` is refused where it is ambiguous, and taken with a path or through ``lines``."""
    old, new = {"a.py": OLD, "b.py": OLD}, {"a.py": NEW, "b.py": NEW}

    with pytest.raises(InputError, match="Say which one"):
        propagate(old, new, "@5")
    assert list(propagate(old, new, "b.py@5").sources) == ["b.py"]
    assert list(propagate(old, new, [], lines={"a.py": [5]}).sources) == ["a.py"]


def test_problems_say_name_place_and_reason() -> None:
    """A failure names the probe, where it stands in the new version, and why it has no place."""
    _, result = one("def f():\n    g()\n", "import tracker\ndef h(a):\n    tracker.log('a', a)\n    a.b()\n", "a")

    assert [(p.name, p.path, p.line, p.placed) for p in result.problems] == [("a", "s.py", 3, False)]
    assert str(result.problems[0]) == "a (s.py:3): not placed: the function `h` does not exist"
    assert not result.complete
    assert result.sources == {}


def test_one_failure_leaves_the_others_alone() -> None:
    """Probes that have a place are placed although another has none."""
    text, result = one(OLD, NEW + "\ndef new(q):\n    tracker.log('q', q)\n    return q.q()\n", "loss", "q")

    assert "tracker.log('loss', loss)" in text
    assert result.placed == ("loss",)
    assert [p.name for p in result.problems] == ["q"]


def test_whole_training_is_never_dragged_in() -> None:
    """A new function that does more than log does not come along with its call."""
    body = "    opt.zero()\n    model.fit(X)\n    tracker.log('n', model.n)\n    a.b.c()\n"
    new = f"import tracker\ndef main():\n{body}main()\n"
    text, result = one("import tracker\nload()\nother(1, 2, 3)\n", new, "n")

    assert text == "import tracker\nload()\nother(1, 2, 3)\n"
    assert "more than a log" in result.problems[0].reason


@pytest.mark.parametrize(
    ("old", "expected"),
    [
        ("if c: a = f(1); b = g(a)\n", "if c:\n    a = f(1)\n    tracker.log('a', a)\n    b = g(a)\n"),
        ("if c: a = f(1)\nelse: b = 2\n", "if c:\n    a = f(1)\n    tracker.log('a', a)\nelse: b = 2\n"),
        ("if c:\n\ta = f(1)\n\t# why\n\n\tb = g(a)", "if c:\n\ta = f(1)\n\ttracker.log('a', a)\n\t# why\n\n\tb = g(a)"),
        ("if c:\n  a = f(1)\n\nprint()\n", "if c:\n  a = f(1)\n  tracker.log('a', a)\n\nprint()\n"),
        ("if c:\n    a = f(1)", "if c:\n    a = f(1)\n    tracker.log('a', a)\n"),
    ],
)
def test_odd_layouts_are_kept(old: str, expected: str) -> None:
    """One-line suites, semicolons, tabs, comments and a missing last line end."""
    new = "import tracker\nif c:\n    a = f(1)\n    tracker.log('a', a)\n    b = g(a)\n"

    text, _ = one("import tracker\n" + old, new, "a")

    assert text == "import tracker\n" + expected


def test_a_byte_order_mark_and_form_feeds_stay() -> None:
    """What precedes the first statement is not touched, and columns count characters, not bytes."""
    old = "\ufeffimport tracker\n\f\nfor é in data: f(é); g(é)\n"
    new = "import tracker\nfor é in data:\n    f(é)\n    tracker.log('é', é)\n    g(é)\n"

    text, _ = one(old, new, "é")

    assert text == "\ufeffimport tracker\n\f\nfor é in data:\n    f(é)\n    tracker.log('é', é)\n    g(é)\n"


def test_renames_reach_into_f_strings() -> None:
    """A renamed variable is renamed inside an f-string, too."""
    old = "for i in r:\n    q = f(i)\n    g(q, i)\n    h(q)\n"
    new = "import tracker\nfor n in r:\n    w = f(n)\n    g(w, n)\n    tracker.log(f'{w} at {n:>3}', w)\n    h(w)\n"

    text, result = one(old, new, "@5")

    assert "    g(q, i)\n    tracker.log(f'{q} at {i:>3}', q)\n    h(q)\n" in text
    assert result.complete


def test_nothing_is_executed() -> None:
    """Sources are only read: code with effects on import stays unrun."""
    bomb = "raise SystemExit(1)\n"

    text, _ = one(bomb + OLD, bomb + NEW, "loss")

    assert text.count("tracker.log") == 1


def test_a_broken_new_file_does_not_stop_the_others() -> None:
    """A new file that cannot be read is reported."""
    result = propagate({"s.py": OLD}, {"s.py": NEW, "t.py": "tracker.log('loss', 1"}, "loss")

    assert "tracker.log('loss', loss)" in result.sources["s.py"]
    assert [p.path for p in result.problems] == ["t.py"]


def test_arguments_that_the_old_function_lacks_are_noticed() -> None:
    """A probe that calls an old function in a new way is not placed."""
    old = "def score(m):\n    return m.s()\nm = fit()\nsave(m)\n"
    new = (
        "import tracker\ndef score(m, k=1):\n    return m.s()\nm = fit()\ntracker.log('top', score(m, k=5))\nsave(m)\n"
    )

    _, result = one(old, new, "top")

    assert "does not take these arguments" in result.problems[0].reason
