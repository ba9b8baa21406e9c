"""Reading a git configuration file, without a process where the file is plain."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tracker.code.git import Git

_SECTION = re.compile(r'\[(?P<name>[A-Za-z0-9.-]+)(?: "(?P<inner>[^"\\]*)")?\]')
_SETTING = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9-]*)(?:\s*=\s*(?P<value>[^\\\"#;]*))?")


def read_config(path: Path) -> dict[str, str]:
    """The settings of a file, the last value of each, named as git names them: ``section.Inner.key``.

    Quotes, escapes, comments behind a value and included files are left to git; a process costs 2 to 3 ms.
    """
    with open(path, "rb") as file:
        text = os.fsdecode(file.read())
    found = _read_plain(text)
    if found is None:
        found = dict(_ask_git(path))
    return found


def _read_plain(text: str) -> dict[str, str] | None:
    found: dict[str, str] = {}
    prefix = None
    for line in text.splitlines():
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        if section := _SECTION.fullmatch(line):
            name, inner = section["name"].lower(), section["inner"]
            if name.startswith("include"):
                return None
            prefix = f"{name}." if inner is None else f"{name}.{inner}."
        elif prefix is not None and (setting := _SETTING.fullmatch(line)):
            value = setting["value"]
            found[f"{prefix}{setting['name'].lower()}"] = "true" if value is None else value.strip()
        else:
            return None
    return found


def _ask_git(path: Path) -> Iterator[tuple[str, str]]:
    listed = Git(path.parent).run("config", "--file", str(path), "--includes", "--null", "--list")
    for item in os.fsdecode(listed).split("\0"):
        name, separator, value = item.partition("\n")
        if name:
            yield name, value if separator else "true"
