"""``CompactOperator``: keep the index of a store up to date, on a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator


class CompactOperator(BaseOperator):  # type: ignore[misc]
    """Merge what readers ask of all runs into few files; returns ``{"runs", "indexed", "open", "written_bytes"}``.

    The store is an address, or a connection of type ``hindsight``; by default that of the settings. Safe while runs
    write, beside other compactions, and when it is killed. Fails when something of a run is damaged, after the rest is
    done, and is not retried then: because of a document each time, until that is mended; because of a segment once,
    since a run that was taken in is not read again (``hindsight verify`` reads everything).

    ::

        CompactOperator(task_id="compact", store_conn_id="hindsight_team")
    """

    hindsight_managed = True  # the listener leaves it alone
    template_fields: Sequence[str] = ("store",)
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        store: str | None = None,
        store_conn_id: str | None = None,
        full: bool = False,
        grace_s: float = 3600.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.store, self.store_conn_id = store, store_conn_id
        self.full, self.grace_s = full, grace_s

    def execute(self, context: Any) -> dict[str, int]:
        """Blocks until the index is up to date."""
        from tracker.operators.hook import address_given

        import tracker

        store, options = address_given(self.store, self.store_conn_id)
        done = tracker.compact(store, full=self.full, grace_s=self.grace_s, storage_options=options)
        if done.problems:
            listed = "; ".join(f"{run}: {why}" for run, why in list(done.problems.items())[:20])
            raise AirflowFailException(f"{len(done.problems)} runs could not be read: {listed}")
        return {"runs": done.runs, "indexed": done.indexed, "open": done.open, "written_bytes": done.written_bytes}
