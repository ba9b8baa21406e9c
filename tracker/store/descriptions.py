"""Short texts for what a record says of a value that it does not hold: tables, arrays, objects."""

from __future__ import annotations

from typing import Any


def described(value: Any) -> str | None:
    """One line for the description of a value; ``None`` for any other value.

    >>> described({"type": "pandas.DataFrame", "rows": 1500, "columns": 3, "schema": {"a": "int64"}})
    'pandas.DataFrame 1500 × 3'
    >>> described({"type": "numpy.ndarray", "shape": [2, 3], "dtype": "float32"})
    'numpy.ndarray float32 2 × 3'
    >>> described({"type": "train.Config", "text": "Config(lr=0.1)"}), described({"lr": 0.1})
    ('Config(lr=0.1)', None)
    """
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        return None
    known = value.keys() - {"hash"}
    if known == {"type", "text"}:
        return str(value["text"])
    if known == {"type", "length"}:
        return f"{value['type']} of {value['length']}"
    if known == {"type", "rows", "columns", "schema"}:
        return f"{value['type']} {value['rows']} × {value['columns']}"
    if known == {"type", "shape", "dtype"} and isinstance(value["shape"], list):
        return f"{value['type']} {value['dtype']} {' × '.join(map(str, value['shape']))}".rstrip()
    return None
