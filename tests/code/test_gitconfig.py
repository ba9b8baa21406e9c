"""Git configuration files are read as git reads them, plain or not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tracker.code.gitconfig import _read_plain, read_config

PLAIN = [
    "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n",
    '[remote "origin"]\n\turl = https://host/a b.git\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n',
    '[branch "Fix/Case.X"]\n  merge=refs/heads/x\n[CORE]\nFileMode\n; comment\n# comment\n\n',
    "[user]\nname =   spaced  out   \nname = last\n[section.Sub]\nkey = v\n",
    "[a]\nempty =\n",
]
ODD = [
    '[a]\nquoted = "x # y"\nescaped = a\\tb\n',
    "[a]\ncomment = value ; rest\nother = 1 # rest\n",
    "[a]\nlong = one \\\n two\n",
    '[a "in\\"ner"] key = 1\n',
    "[include]\n\tpath = other.conf\n[core]\nbare = true\n",
]


def _git_says(path: Path) -> dict[str, str]:
    listed = subprocess.run(
        ["git", "config", "--file", str(path), "--includes", "--null", "--list"], capture_output=True, check=True
    )
    rows = (item.partition("\n") for item in os.fsdecode(listed.stdout).split("\0") if item)
    return {name: value if found else "true" for name, found, value in rows}


@pytest.mark.parametrize("text", PLAIN + ODD)
def test_every_file_is_read_as_git_reads_it(tmp_path: Path, text: str) -> None:
    """Names, values, comments, quotes and includes agree with git's own listing."""
    (tmp_path / "other.conf").write_text("[core]\neol = lf\n")
    path = tmp_path / "config"
    path.write_text(text)

    assert read_config(path) == _git_says(path)


@pytest.mark.parametrize("text", PLAIN)
def test_plain_files_need_no_process(text: str) -> None:
    """What git itself writes as a rule is understood without asking it."""
    assert _read_plain(text) is not None
