"""Options that several commands share, so that they mean and say the same everywhere."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tracker.cli import completion

Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="The store: a folder or a URL such as s3://bucket/prefix. Default: the settings.",
        show_default=False,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Write one JSON document; its form is described above.", show_default=False),
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="EXPR",
        help="Only runs for which this is true, such as \"lr > 1e-3 and status == 'finished'\".",
        show_default=False,
    ),
]


def _run(metavar: str) -> Any:
    return typer.Argument(
        metavar=metavar,
        help="A run: its id, a unique beginning or end of it, or latest.",
        autocompletion=completion.run_ids,
        show_default=False,
    )


Run = Annotated[str, _run("RUN")]
Old = Annotated[str, _run("OLD")]
New = Annotated[str, _run("NEW")]


def storage_options(name: str, of: str) -> Any:
    """The option that says how a store is opened that is not that of the settings."""
    return typer.Option(
        name,
        metavar="VAR",
        help=f"Storage options of {of}: the name of an environment variable with a JSON object (or the object itself, "
        "which others can see in the list of processes). Default: those of the settings.",
        show_default=False,
    )
