"""Git bundles: the files in which snapshots travel, thin against an earlier one where possible.

They are ordinary bundles, so ``git fetch code/<snapshot>.bundle`` reads them without Hindsight, oldest first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import IO

from tracker.code.git import Git
from tracker.code.worktree import REFS
from tracker.errors import DamagedObject

_OBJECT = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")
_MAX_HEADER_BYTES = 1 << 16


@dataclass(frozen=True)
class Header:
    """What a bundle says of itself: the commits it needs, those it brings, and where its pack begins."""

    needs: tuple[str, ...]
    brings: tuple[str, ...]
    pack_start: int


def write_bundle(git: Git, file: IO[bytes], commit: str, *, base: str | None) -> None:
    """Write a bundle with the files of a snapshot, without those that the base has.

    Git's own ``bundle create`` names only parents as what a bundle needs, and a snapshot has none.
    """
    lines = ["# v2 git bundle"] if len(commit) == 40 else ["# v3 git bundle", "@object-format=sha256"]
    lines += [f"-{base} snapshot"] if base else []
    lines += [f"{commit} {REFS}{commit}", "", ""]
    file.write("\n".join(lines).encode())
    file.flush()
    # "shallow" makes git look for deltas against the base although no parent leads there.
    arguments = (
        "pack-objects",
        "--revs",
        "--stdout",
        "--thin",
        "--shallow",
        "--delta-base-offset",
        "--threads=1",
        "-q",
    )
    git.run_into(file, *arguments, stdin=f"{commit}\n{f'^{base}' if base else ''}\n".encode())


def read_header(data: bytes | memoryview, *, name: str) -> Header:
    """The header of a bundle; ``DamagedObject`` when it is none, naming it."""
    head = bytes(data[:_MAX_HEADER_BYTES])
    text, end, _ = head.partition(b"\n\n")
    first, *lines = text.split(b"\n")
    if not end or first not in {b"# v2 git bundle", b"# v3 git bundle"}:
        raise DamagedObject(f"the bundle {name} has no readable header; `hindsight verify` lists what is damaged")
    needs: list[str] = []
    brings: list[str] = []
    for line in lines:
        if line.startswith(b"@"):
            continue
        found = _OBJECT.match(line.removeprefix(b"-"))
        if found is None:
            raise DamagedObject(f"the bundle {name} has the header line {line[:80]!r}, which names no commit")
        (needs if line.startswith(b"-") else brings).append(found[0].decode())
    return Header(tuple(needs), tuple(brings), len(text) + 2)
