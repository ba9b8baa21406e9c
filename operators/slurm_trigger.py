"""The trigger that waits for a Slurm job, where no worker does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from tracker.operators.slurm_jobs import SlurmTask


class SlurmJobTrigger(BaseTrigger):  # type: ignore[misc]
    """Fires when a job has ended, by whatever. The host of the triggerer needs Slurm's commands and the job's folder.

    A triggerer that is stopped or killed leaves the job alone; one that is told that a person has ended the task
    cancels it (Airflow 3).
    """

    def __init__(self, folder: str, job: str, poll_s: float = 10.0) -> None:
        super().__init__()
        self.folder, self.job, self.poll_s = folder, job, poll_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What another triggerer makes the same one of."""
        own = {"folder": self.folder, "job": self.job, "poll_s": self.poll_s}
        return "tracker.operators.slurm_trigger.SlurmJobTrigger", own

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look every ``poll_s`` seconds, in a thread: Slurm may take its time to answer.

        What the job returned is read by the worker alone: it may need packages that are not here.
        """
        task = SlurmTask(Path(self.folder), "")
        while not await asyncio.to_thread(task.has_ended, self.job):
            await asyncio.sleep(self.poll_s)
        yield TriggerEvent({"job": self.job, "has_result": await asyncio.to_thread(task.has_result, self.job)})

    async def on_kill(self) -> None:
        """A person has marked or cleared the task."""
        await asyncio.to_thread(SlurmTask(Path(self.folder), "").cancel, self.job)
