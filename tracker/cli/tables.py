"""Writing a table of a query: for people, as JSON, CSV or Parquet; to stdout or into a file."""

from __future__ import annotations

import enum
import io
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tracker.cli.forms import plain, write_json
from tracker.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

PEOPLE_LIMIT = 50
JSON_LIMIT = 1000
_LONGEST = 40
_IDENTITY = {"run": 0, "status": 2, "duration": 2, "started": 3, "script": 3, "project": 3}  # what gives way first


class Format(enum.StrEnum):
    """How a table is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def choose_format(wanted: Format | None, out: Path | None, *, as_json: bool) -> Format:
    """The format asked for, else that of the file's ending, else a table for people."""
    if as_json:
        if wanted not in {None, Format.JSON}:
            raise InputError(f"--json and --format {wanted} exclude one another: give one of them")
        return Format.JSON
    if wanted is not None:
        return wanted
    if out is None:
        return Format.TABLE
    endings = {".csv": Format.CSV, ".json": Format.JSON, ".parquet": Format.PARQUET, ".txt": Format.TABLE}
    if out.suffix.lower() not in endings:
        raise InputError(f"the ending of {out} says no format: end it in .csv, .json or .parquet, or give --format")
    return endings[out.suffix.lower()]


def default_limit(form: Format, *, to_file: bool) -> int:
    """How many rows are written when nobody says it: files are complete, what is read at once is bounded; 0 is all."""
    return 0 if to_file else {Format.TABLE: PEOPLE_LIMIT, Format.JSON: JSON_LIMIT}.get(form, 0)


def write_table(table: pa.Table, form: Format, out: Path | None, limit: int | None) -> int:
    """Write the first rows of a table and give how many were left out."""
    most = default_limit(form, to_file=out is not None) if limit is None else limit
    shown = table.slice(0, most) if most else table
    more = table.num_rows - shown.num_rows
    if form is Format.PARQUET and out is None and sys.stdout.isatty():
        raise InputError("Parquet is not for a terminal: name a file with --out, or send it into a pipe")
    if out is None:
        _write(shown, table.num_rows, form, sys.stdout)
    else:
        _write_file(shown, table.num_rows, form, out)
    return int(more)


def _write_file(table: pa.Table, total: int, form: Format, out: Path) -> None:
    """Replace the file as a whole, or not at all."""
    try:
        with tempfile.NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}.", delete=False) as file:
            try:
                with io.TextIOWrapper(file, encoding="utf-8") as text:
                    _write(table, total, form, text)
                os.chmod(file.name, 0o666 & ~_umask())
                os.replace(file.name, out)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as exc:
        raise InputError(f"{out} cannot be written: {exc.strerror or exc}") from exc


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _write(table: pa.Table, total: int, form: Format, file: IO[str]) -> None:
    if form is Format.JSON:
        _write_json(table, total, file)
    elif form is Format.CSV:
        _write_csv(table, file)
    elif form is Format.PARQUET:
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        _binary(file).write(buffer.getvalue())
        _binary(file).flush()
    else:
        _write_for_people(table, file)


def _binary(file: IO[str]) -> IO[bytes]:
    file.flush()
    return file.buffer  # type: ignore[attr-defined, no-any-return]


def _write_csv(table: pa.Table, file: IO[str]) -> None:
    """A missing value is an empty field, NaN is ``nan``, times are UTC, bytes are base64, a text is quoted."""
    import base64

    import pyarrow as pa
    from pyarrow import csv

    for place, field in enumerate(table.schema):
        cells = table.column(place)
        if pa.types.is_timestamp(field.type):
            texts = [None if moment is None else plain(moment) for moment in cells.to_pylist()]
        elif pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            texts = [None if data is None else base64.b64encode(data).decode() for data in cells.to_pylist()]
        elif pa.types.is_nested(field.type):
            texts = [None if item is None else json.dumps(plain(item)) for item in cells.to_pylist()]
        else:
            continue
        table = table.set_column(place, field.name, pa.array(texts, pa.string()))
    csv.write_csv(table, _binary(file))
    _binary(file).flush()


def _write_json(table: pa.Table, total: int, file: IO[str]) -> None:
    document = {
        "columns": [{"name": field.name, "type": kind_of(field)} for field in table.schema],
        "rows": [dict(zip(table.column_names, row, strict=True)) for row in rows_of(table)],
        "total": total,
        "more": total - table.num_rows,
    }
    if file is sys.stdout:
        write_json(document)
    else:
        file.write(json.dumps(plain(document), ensure_ascii=False, allow_nan=False) + "\n")


def kind_of(field: pa.Field) -> str:
    """The kind of what was logged, where the column knows it, else the Arrow type."""
    kind: bytes = (field.metadata or {}).get(b"kind", str(field.type).encode())
    return kind.decode()


def rows_of(table: pa.Table) -> list[tuple[Any, ...]]:
    """The rows, every value as it was logged: large integers as integers, nested values nested."""
    from tracker.store.columns import cell_decoder

    columns = []
    for field, cells in zip(table.schema, table.columns, strict=True):
        decode = cell_decoder(kind_of(field))
        values = cells.to_pylist()
        columns.append([None if cell is None else decode(cell) for cell in values] if decode else values)
    return list(zip(*columns, strict=True)) if columns else []


def _write_for_people(table: pa.Table, file: IO[str]) -> None:
    """Aligned columns; where they do not fit the terminal the last ones are named below."""
    from tracker.cli.console import Column, print_table, say
    from tracker.cli.texts import shorten

    rows = rows_of(table)
    columns = [
        Column(
            shorten(name, _LONGEST),
            [_cell(name, row[place]) for row in rows],
            rank=_IDENTITY.get(name, 1) * 1000 + place,
            right=_is_number([row[place] for row in rows]),
        )
        for place, name in enumerate(table.column_names)
    ]
    hidden = print_table(columns, file)
    if hidden:
        say(f"no room for {_listed(hidden)}: a wider terminal or --format csv has them", "dim")


def _cell(name: str, value: Any) -> str:
    from tracker.cli.texts import value_text
    from tracker.store import ids

    if value is None:
        return ""
    return (
        ids.short(value)
        if name == "run" and isinstance(value, str) and ids.is_id(value)
        else value_text(value, _LONGEST)
    )


def _is_number(values: Sequence[Any]) -> bool:
    return all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
