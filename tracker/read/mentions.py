"""Which tables and columns a query speaks of, so that nothing else is read for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_WHOLE_ROWS = {"STAR", "SHOW_REF", "PIVOT", "PIVOT_REF", "POSITIONAL_REFERENCE", "TABLE_FUNCTION"}
_TABLES = {"BASE_TABLE", "SUBQUERY", "JOIN", "EXPRESSION_LIST", "COLUMN_DATA"}


@dataclass(frozen=True)
class Mentions:
    """Tables and columns in lower case; ``None``: it cannot be told, so all of them."""

    tables: frozenset[str] | None = None
    columns: frozenset[str] | None = None

    def has_table(self, name: str) -> bool:
        """Whether a table may be needed."""
        return self.tables is None or name.lower() in self.tables

    def has_column(self, name: str) -> bool:
        """Whether a column may be needed."""
        return self.columns is None or name.lower() in self.columns


def mentions(connection: Any, query: str) -> Mentions:
    """What DuckDB's own parser finds in a query; anything but a plain ``select`` counts as speaking of everything."""
    text = connection.execute("select json_serialize_sql(?::varchar)", [query]).fetchall()[0][0]
    tree = json.loads(text)
    if tree.get("error"):
        return Mentions()
    nodes = list(_nodes(tree))
    types = {str(node.get("type")) for node in nodes}
    tables = {str(node["table_name"]).lower() for node in nodes if node.get("table_name")}
    if "SHOW_REF" in types:
        return Mentions()
    aliases = {str(node.get("alias") or "").lower() for node in nodes if node.get("type") in _TABLES}
    named = {tuple(str(part).lower() for part in node["column_names"]) for node in nodes if node.get("column_names")}
    named |= {(str(part).lower(),) for node in nodes for part in node.get("using_columns") or ()}
    whole = types & _WHOLE_ROWS or any(node.get("ref_type") == "NATURAL" for node in nodes)
    if whole or any(len(parts) == 1 and parts[0] in tables | aliases for parts in named):
        return Mentions(frozenset(tables))
    return Mentions(frozenset(tables), frozenset(part for parts in named for part in parts))


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            yield node
            stack += node.values()
        elif isinstance(node, list):
            stack += node
