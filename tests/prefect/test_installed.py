"""Where Prefect is missing, the report says so."""

from __future__ import annotations

import importlib.util

import pytest


@pytest.mark.skipif(
    importlib.util.find_spec("prefect") is None,
    reason="Prefect is not installed: make test-prefect makes an environment that has it",
)
def test_prefect_is_new_enough() -> None:
    """The third major version, which the integration was written for."""
    from importlib.metadata import version

    assert int(version("prefect").split(".")[0]) >= 3
