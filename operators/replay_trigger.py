"""The trigger that follows a replay on another engine, where no worker does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class ReplayTrigger(BaseTrigger):  # type: ignore[misc]
    """Fires when every slice of a planned replay has its answer, or will get none.

    The engine's executor works in a thread of its own: it submits what nobody has submitted, and follows it. The thread
    ends soon after this does, because a person ended the task, say. The engine goes on with what was submitted, as
    when a triggerer is stopped or killed, and who asks again follows what is there.
    """

    def __init__(self, replay: str, executor: str, store: str | None = None, conn_id: str | None = None) -> None:
        super().__init__()
        self.replay, self.executor, self.store, self.conn_id = replay, executor, store, conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What another triggerer makes the same one of; how the store is reached stands in the connection."""
        own = {"replay": self.replay, "executor": self.executor, "store": self.store, "conn_id": self.conn_id}
        return "tracker.operators.replay_trigger.ReplayTrigger", own

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """``error`` in the event says why the engine could not be asked."""
        from asgiref.sync import sync_to_async
        from tracker.operators.hook import open_given

        from tracker.replay.following import stopping

        store, options = await sync_to_async(open_given)(self.store, self.conn_id)
        loop = asyncio.get_running_loop()
        over: asyncio.Future[str | None] = loop.create_future()

        def tell(error: str | None) -> None:
            if not over.done():  # as it is where the triggerer stops
                over.set_result(error)

        stop = threading.Event()

        def work() -> None:
            stopping.set(stop)
            error = self._follow(store, options)
            if not stop.is_set():  # else there may be no loop any more
                loop.call_soon_threadsafe(tell, error)

        threading.Thread(target=work, name=f"replay-{self.replay}", daemon=True).start()
        try:
            error = await over
        finally:
            stop.set()
        yield TriggerEvent({"replay": self.replay, "error": error})

    def _follow(self, store: Any, options: dict[str, Any]) -> str | None:
        from tracker.replay.asking import execute, read_replay

        try:
            execute(store, read_replay(store, self.replay), executor=self.executor, storage_options=options)
        except Exception as exc:  # noqa: BLE001  told by the task
            return f"{type(exc).__name__}: {exc}"
        return None
