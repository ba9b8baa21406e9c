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
