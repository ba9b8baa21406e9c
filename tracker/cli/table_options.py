"""Options of the commands that write tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracker.cli.tables import JSON_LIMIT, PEOPLE_LIMIT, Format

Form = Annotated[
    Format | None,
    typer.Option("--format", "-f", help="Default: by the ending of --out, else table.", show_default=False),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE", help="Write into a file, which is replaced.", show_default=False),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        "-n",
        metavar="N",
        min=0,
        help=f"At most so many rows, 0 for all. Default: {PEOPLE_LIMIT} in a table, {JSON_LIMIT} in JSON, else all.",
        show_default=False,
    ),
]
