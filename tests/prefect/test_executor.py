"""The executor ``prefect``, in process and through a deployment, does what every executor promises."""

from __future__ import annotations

import pytest

from tests.prefect.conftest import PrefectServer
from tests.replay.executor_contract import ExecutorContract


class TestInProcess(ExecutorContract):
    """Without a deployment the flow runs where it is asked for."""

    executor = "prefect"

    @pytest.fixture
    def engine(self, server: PrefectServer) -> None:
        """The server of the session is all that is needed."""
