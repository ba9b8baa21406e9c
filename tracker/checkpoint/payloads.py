"""Large arguments and results as files of a standard format: data frames as Arrow, arrays as ``.npy``.

No library is imported that the program has not loaded: a value of its types could not be there otherwise.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from blake3 import blake3

from tracker.errors import DamagedDocument
from tracker.secrets import mask_text
from tracker.store.columns import to_json

_MAX_COLUMNS = 100  # of a schema that is shown
_MAX_REPR_CHARS = 200
_PANDAS = "pandas.DataFrame"
_MAX_JSON_CHARS = 4000


@dataclass(frozen=True)
class Payload:
    """The bytes of one value, and its type."""

    type: str
    data: bytes

    @cached_property
    def digest(self) -> str:
        """The name of the object that holds it: BLAKE3 of the bytes."""
        return blake3(self.data).hexdigest()


def describe(value: Any) -> Any:
    """What can be said of a value without keeping it: plain lists and dicts as they are, others by type and shape.

    >>> describe({"lr": 0.5})
    {'lr': 0.5}
    >>> describe(object)
    {'type': 'type', 'text': "<class 'object'>"}
    """
    if isinstance(value, list | tuple | dict | set | frozenset) and (short := _as_json(value)) is not None:
        return short
    about: dict[str, Any] = {"type": type_name(type(value))}
    schema = _schema(value)
    if schema is not None:
        return about | schema
    if isinstance(value, list | tuple | dict | set | frozenset):
        return about | {"length": len(value)}
    return about | {"text": _text(value)}


def type_name(kind: type) -> str:
    """The name under which people know a type: ``pandas.DataFrame``, ``numpy.ndarray``, ``train.Config``."""
    top = kind.__module__.partition(".")[0]
    public = getattr(sys.modules.get(top), kind.__qualname__, None) is kind
    return kind.__qualname__ if top == "builtins" else f"{top if public else kind.__module__}.{kind.__qualname__}"


def payload_of(value: Any, *, max_bytes: int) -> Payload | None:
    """The value as a file; ``None`` for what is no table or array, has no such form, or is larger than that."""
    size = getattr(value, "nbytes", None)
    if isinstance(size, int) and size > max_bytes:
        return None
    kind = type_name(type(value))
    try:
        data = _WRITERS[kind](value) if kind in _WRITERS else None
    except Exception:  # noqa: BLE001  columns of mixed objects and the like; the value then goes another way
        return None
    if data is None or len(data) > max_bytes:
        return None
    return Payload(kind, data)


def read_payload(kind: str, data: bytes) -> Any:
    """The value again; ``DamagedDocument`` for bytes that are none of this kind. Never unpickles."""
    reader = _READERS.get(kind)
    if reader is None:
        raise DamagedDocument(f"there is no reader for values of type {kind!r}")
    try:
        return reader(data)
    except Exception as exc:  # whatever a malformed file provokes
        raise DamagedDocument(f"the bytes of a {kind} are malformed: {exc}") from exc


def _as_json(value: Any) -> Any:
    from tracker.record.values import stored

    try:
        plain = stored(sorted(value, key=repr) if isinstance(value, set | frozenset) else value)
        return plain if len(to_json(plain)) <= _MAX_JSON_CHARS else None
    except Exception:  # noqa: BLE001  no form in JSON, or a broken __repr__ of the user's
        return None


def _text(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as exc:  # noqa: BLE001  a broken __repr__ of the user's
        return f"its repr raises {type(exc).__name__}"
    text = mask_text(text[:_MAX_JSON_CHARS])  # before it is cut to what is shown: half a secret is not seen as one
    return text if len(text) <= _MAX_REPR_CHARS else text[: _MAX_REPR_CHARS - 1] + "…"


def _schema(value: Any) -> dict[str, Any] | None:
    """Shape and types of a table or an array of any library that says them as NumPy and pandas do."""
    try:
        columns = getattr(value, "columns", None)
        if columns is not None and hasattr(value, "dtypes"):
            types = value.dtypes.items() if hasattr(value.dtypes, "items") else zip(columns, value.dtypes, strict=True)
            return _table(value.shape[0], {str(name): str(kind) for name, kind in types})
        if type_name(type(value)) == "pyarrow.Table":
            return _table(value.num_rows, {field.name: str(field.type) for field in value.schema})
        if hasattr(value, "shape") and hasattr(value, "dtype"):
            return {"shape": [int(size) for size in value.shape], "dtype": str(value.dtype)}
    except Exception:  # noqa: BLE001  foreign code
        return None
    return None


def _table(rows: int, schema: Mapping[str, str]) -> dict[str, Any]:
    shown = dict(list(schema.items())[:_MAX_COLUMNS])
    return {"rows": int(rows), "columns": len(schema), "schema": shown}


def _write_arrow(table: Any) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _write_pandas(frame: Any) -> bytes:
    import pyarrow as pa

    return _write_arrow(pa.Table.from_pandas(frame))


def _write_numpy(array: Any) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _read_arrow(data: bytes) -> Any:
    import pyarrow as pa

    return pa.ipc.open_file(pa.BufferReader(data)).read_all()


def _read_pandas(data: bytes) -> Any:
    return _read_arrow(data).to_pandas()


def _read_polars(data: bytes) -> Any:
    import polars

    return polars.from_arrow(_read_arrow(data))


def _read_numpy(data: bytes) -> Any:
    import numpy as np

    return np.load(io.BytesIO(data), allow_pickle=False)


_WRITERS = {
    _PANDAS: _write_pandas,
    "pyarrow.Table": _write_arrow,
    "polars.DataFrame": lambda frame: _write_arrow(frame.to_arrow()),
    "numpy.ndarray": _write_numpy,
}
_READERS = {
    _PANDAS: _read_pandas,
    "pyarrow.Table": _read_arrow,
    "polars.DataFrame": _read_polars,
    "numpy.ndarray": _read_numpy,
}
