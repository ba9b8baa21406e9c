"""``hindsight tag``: tags of runs that were recorded before."""

from __future__ import annotations

from typing import Annotated

import typer

from tracker.cli import options
from tracker.cli.failures import OK
from tracker.cli.stores import open_for_reading

CONTEXT = {"ignore_unknown_options": True, "help_option_names": ["--help"]}  # -h would be found in -archive


def tag(
    run: options.Run,
    changes: Annotated[
        list[str],
        typer.Argument(metavar="+TAG|-TAG…", help="Tags to add, with + or nothing before them, or to remove, with -."),
    ],
    store: options.Store = None,
    as_json: options.Json = False,
) -> int:
    """Add and remove tags of a run: hindsight tag RUN +good -draft.

    Changes merge: where two copies of a store were both changed, the later change of a tag wins.

    JSON: {run, tags, changed}.
    """
    from tracker.read.catalog import find_run, resolve_id
    from tracker.upkeep.pins import change_tags

    opened = open_for_reading(store)
    name = resolve_id(opened, run)
    add = [text.removeprefix("+") for text in changes if not text.startswith("-")]
    remove = [text.removeprefix("-") for text in changes if text.startswith("-")]
    changed = change_tags(opened, [name], add=add, remove=remove)
    tags = find_run(opened, name).tags
    if as_json:
        from tracker.cli.forms import write_json

        write_json({"run": name, "tags": tags, "changed": bool(changed)})
    else:
        print(f"{name[-8:]}: {', '.join(tags) or 'no tags'}")
    return OK
