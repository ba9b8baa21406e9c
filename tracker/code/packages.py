"""The installed packages, from the names of their metadata folders."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tracker.secrets import mask_url
from tracker.store.documents import Packages

_WHEEL = re.compile(r"(?P<name>[A-Za-z0-9._]+?)-(?P<version>[^-]+)\.dist-info")
_EGG = re.compile(r"(?P<name>[A-Za-z0-9._]+?)-(?P<version>[^-]+)(-py\d[\d.]*)?(-[\w.-]+)?\.egg-info")
_VERSION_LINE = re.compile(r"^Version: *(?P<version>\S+)", re.MULTILINE)


def capture_packages(paths: Iterable[str] | None = None) -> Packages:
    """The interpreter and every installed distribution, by its normalised name.

    Reading 300 metadata files with ``importlib.metadata`` costs a training script 100 ms of the interpreter's lock;
    their folders' names say the same. What was installed from a folder, an archive or a repository has
    ``version @ URL``, without credentials. The first on the path wins, as in an import.
    """
    found: dict[str, str] = {}
    for path in dict.fromkeys(sys.path if paths is None else paths):
        for name, version in _installed_in(Path(path or ".")):
            found.setdefault(name, version)
    return Packages(
        python=platform.python_version(),
        implementation=sys.implementation.name,
        executable=sys.executable or "",
        distributions=dict(sorted(found.items())),
    )


def _installed_in(folder: Path) -> Iterator[tuple[str, str]]:
    try:
        names = os.listdir(folder)
    except OSError:
        return  # a zip file, a folder that is not there: nothing is installed in it that we could list
    for name in names:
        match = _WHEEL.fullmatch(name) or _EGG.fullmatch(name)
        if match is not None:
            yield normalise(match["name"]), f"{match['version']}{_origin(folder / name)}"
        elif name.endswith(".egg-info") and (version := _version_inside(folder / name)):
            yield normalise(name.removesuffix(".egg-info")), version


def normalise(name: str) -> str:
    """The one spelling of a distribution's name: lower case, one hyphen between the parts."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _origin(metadata: Path) -> str:
    """`` @ URL`` for what was not installed from an index."""
    try:
        with open(metadata / "direct_url.json", encoding="utf-8") as file:
            described: Any = json.load(file)
        address, commit = str(described["url"]), described.get("vcs_info", {}).get("commit_id")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    return f" @ {mask_url(address)}{f'@{commit}' if commit else ''}"


def _version_inside(metadata: Path) -> str | None:
    """The version of a package that is developed in place and whose folder does not name it."""
    try:
        with open(metadata / "PKG-INFO", encoding="utf-8", errors="replace") as file:
            match = _VERSION_LINE.search(file.read(4096))
    except OSError:
        return None
    return match["version"] if match else None
