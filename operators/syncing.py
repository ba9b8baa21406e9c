"""``SyncOperator``: bring one store's runs to another, on a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.providers.common.compat.sdk import AirflowException, BaseOperator


class SyncOperator(BaseOperator):  # type: ignore[misc]
    """Copy what the source has and the target lacks; returns ``{"runs", "changed", "keys", "size_bytes"}``.

    Each is an address, or a connection of type ``hindsight``; neither given, the source is the default store. Safe
    while runs write and when it is killed: tried again, it goes on. Fails when the source has lost or damaged
    something, after the rest has arrived.

    ::

        SyncOperator(task_id="publish", target="s3://team/hindsight", target_conn_id="hindsight_team")
    """

    hindsight_managed = True  # the listener leaves it alone
    template_fields: Sequence[str] = ("source", "target", "where")
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        source: str | None = None,
        source_conn_id: str | None = None,
        target: str | None = None,
        target_conn_id: str | None = None,
        where: str | None = None,
        delete_after: bool = False,
        full: bool = False,
        threads: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source, self.source_conn_id = source, source_conn_id
        self.target, self.target_conn_id = target, target_conn_id
        self.where, self.delete_after, self.full, self.threads = where, delete_after, full, threads

    def execute(self, context: Any) -> dict[str, int]:
        """Blocks until all is there."""
        from tracker.operators.hook import address_given

        import tracker

        if not self.target and not self.target_conn_id:
            raise AirflowException(f"task {self.task_id}: expected target or target_conn_id")
        source, source_options = address_given(self.source, self.source_conn_id)
        target, target_options = address_given(self.target, self.target_conn_id)
        done = tracker.sync(
            source,
            target,
            where=self.where,
            source_options=source_options,
            target_options=target_options,
            delete_after=self.delete_after,
            full=self.full,
            threads=self.threads,
        )
        if done.problems:
            listed = "; ".join(f"{key}: {why}" for key, why in list(done.problems.items())[:20])
            raise AirflowException(f"{len(done.problems)} keys did not arrive: {listed}")
        return {"runs": done.runs, "changed": len(done.changed), "keys": done.keys, "size_bytes": done.size_bytes}
