"""Ignore patterns mean what they mean to git."""

from __future__ import annotations

import subprocess
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracker.code.ignore import decide, parse_patterns, read_patterns

PIECES = [
    "a",
    "b",
    "ab",
    "*",
    "**",
    "?",
    "/",
    "[ab]",
    "[!a]",
    "[a-c]",
    "[[:alpha:]]",
    "[]a]",
    "\\*",
    "\\",
    ".",
    " ",
    "!",
    "#",
    "[",
]
PATHS = [
    *("a", "b", "ab", "abc", "a b", "*", "!a", "#a", ".a", "a.b", "]"),
    *("d/a", "d/b", "d/ab", "d/e/a", "d/e/ab", "a/b", "a/a", "b/a/b", "ab/c", "a/b/c", "d/e/f/b"),
]


def _git_says(repository: Path, text: str) -> set[str]:
    exclude = repository / ".git" / "info" / "exclude"
    exclude.write_text(text, encoding="utf-8")
    command = ["git", "-C", str(repository), "check-ignore", "--no-index", "--stdin", "-z"]
    done = subprocess.run(command, input="\0".join(PATHS).encode(), capture_output=True, check=False)
    return set(done.stdout.decode().split("\0")) - {""}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join), min_size=1, max_size=4))
def test_every_pattern_means_what_git_means(tmp_path: Path, lines: list[str]) -> None:
    """Random patterns leave out exactly the paths that git ignores."""
    if not (tmp_path / ".git").exists():
        subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    text = "\n".join(lines) + "\n"

    rules = [parse_patterns(text)]

    assert {path for path in PATHS if decide(path, rules)} == _git_says(tmp_path, text)


def test_a_kept_path_is_told_from_one_that_no_line_mentions() -> None:
    """A line with an exclamation mark asks for a file; the last line wins; a closed folder stays closed."""
    rules = [parse_patterns("*.env\n!ci.env\nsecret/\n!secret/ci.env\n")]

    assert decide("ci.env", rules) is False
    assert decide("x.env", rules) is True
    assert decide("secret/ci.env", rules) is True
    assert decide("train.py", rules) is None


def test_patterns_of_a_folder_speak_only_of_that_folder() -> None:
    """An ignore file in a folder is anchored there, and a deeper file wins over a shallower one."""
    rules = [parse_patterns("/x\n*.log\n"), parse_patterns("/x\n!keep.log\n", folder="sub")]

    assert decide("sub/x", rules) is True
    assert decide("sub/y/x", rules) is None
    assert decide("other/keep.log", rules) is True
    assert decide("sub/keep.log", rules) is False


def test_absent_and_odd_ignore_files_say_nothing(tmp_path: Path) -> None:
    """No file, a folder of that name and a link are no ignore files; a byte-order mark and CRLF do no harm."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "real").write_bytes("\ufeffa\r\nb  \r\n".encode())
    (tmp_path / "link").symlink_to("real")

    assert not read_patterns(tmp_path / "absent")
    assert not read_patterns(tmp_path / "folder")
    assert not read_patterns(tmp_path / "link")
    assert [decide(path, [read_patterns(tmp_path / "real")]) for path in ("a", "b", "c")] == [True, True, None]
