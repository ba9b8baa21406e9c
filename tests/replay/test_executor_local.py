"""The executor ``local`` keeps the contract of all executors."""

from __future__ import annotations

from tests.replay.executor_contract import ExecutorContract


class TestContract(ExecutorContract):
    """Slices in processes of this machine."""

    executor = "local"
