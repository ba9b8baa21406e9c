"""``hindsight pin`` and ``unpin``: runs that no policy removes."""

from __future__ import annotations

from typing import Annotated

import typer

from tracker.cli import completion, options
from tracker.cli.failures import OK
from tracker.cli.stores import open_for_reading

Runs = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN…",
        help="Runs: their ids, unique beginnings or ends of them, or latest.",
        autocompletion=completion.run_ids,
        show_default=False,
    ),
]


def pin(runs: Runs, store: options.Store = None, as_json: options.Json = False) -> int:
    """Pin runs: no policy of gc removes them, and rm only with --force.

    JSON: {runs: [run], changed: [run]}.
    """
    return _change(runs, store, pinned=True, as_json=as_json)


def unpin(runs: Runs, store: options.Store = None, as_json: options.Json = False) -> int:
    """Take away the pin of runs.

    JSON: {runs: [run], changed: [run]}.
    """
    return _change(runs, store, pinned=False, as_json=as_json)


def _change(runs: list[str], store: str | None, *, pinned: bool, as_json: bool) -> int:
    from tracker.read.catalog import resolve_id
    from tracker.upkeep.pins import change_pins

    opened = open_for_reading(store)
    names = [resolve_id(opened, run) for run in runs]
    changed = change_pins(opened, names, pinned=pinned)
    if as_json:
        from tracker.cli.forms import write_json

        write_json({"runs": names, "changed": changed})
        return OK
    word = "pinned" if pinned else "not pinned"
    for name in names:
        print(f"{name[-8:]}: {word}{'' if name in changed else ' already'}")
    return OK
