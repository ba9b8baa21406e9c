"""The environment of programs that a task starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
_FORBIDDEN = "airflow-db-not-allowed"


@contextmanager
def importable_airflow() -> Iterator[None]:
    """While this lasts, programs that are started can import Airflow, as a replayed DAG file does.

    In a task Airflow names a database that cannot even be parsed, so that nobody uses it. These programs see an empty
    one in their own memory instead.
    """
    old = os.environ.get(_DATABASE)
    if old is None or not old.startswith(_FORBIDDEN):
        yield
        return
    os.environ[_DATABASE] = "sqlite://"
    try:
        yield
    finally:
        os.environ[_DATABASE] = old
