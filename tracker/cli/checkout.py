"""``hindsight checkout``: the code of a run, put into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracker.cli import options
from tracker.cli.failures import NOT_SO, OK, tell
from tracker.cli.stores import open_for_reading


def checkout(
    run: options.Run,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder that is empty or does not exist yet.", show_default=False)
    ],
    store: options.Store = None,
    as_json: options.Json = False,
) -> int:
    """Put the code that a run ran into an empty folder, uncommitted changes included.

    The store alone is enough: the repository that the run was started in is not needed and not touched. Code that
    came from git becomes a repository with that code as its HEAD. No hook and no filter runs, and nothing is
    written outside the folder.

    JSON: {run, folder, project, commit, refused, left_out}: where the code is, where in it the project stands, and
    the paths that are missing with the reason: refused now, or left out when the run started.
    """
    from tracker.code.checkout import checkout as check_out
    from tracker.errors import NotFound
    from tracker.read.catalog import find_run

    opened = open_for_reading(store)
    view = find_run(opened, run)
    if view.code is None:
        why = (
            "it is still on its way" if view.status == "running" else f"the run was {view.status} before it was stored"
        )
        raise NotFound(f"run {view.short} has no code snapshot: {why}, or capturing code was switched off")
    done = check_out(opened, view.code, directory)
    if as_json:
        from tracker.cli.forms import write_json

        found = {"run": view.run, "folder": str(done.folder), "project": str(done.project), "commit": done.commit}
        write_json(found | {"refused": done.refused, "left_out": done.left_out})
    else:
        print(done.project)
    for path, reason in done.left_out.items():
        tell(f"left out when the run started: {path} ({reason})")
    for path, reason in done.refused.items():
        tell(f"not written: {path} ({reason})")
    return NOT_SO if done.refused else OK
