"""``SlurmTrackedOperator``: a callable, a command or a script as a job of Slurm, and as a run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, conf
from tracker.operators.operator import TrackedOperator

if TYPE_CHECKING:
    from tracker.operators.slurm_jobs import Ending, SlurmTask


class SlurmTrackedOperator(TrackedOperator):
    """Executes one of ``python_callable``, ``command`` and ``script`` in a job of Slurm, as a run.

    All tries of a task instance are attempts of one run, and so are those of a job that Slurm puts into its queue
    again. A worker that is killed leaves its job at work: the next try takes it up and submits nothing. A task that is
    marked as failed, or whose worker is told to stop, cancels it. With ``deferrable`` no worker waits.

    ``slurm`` are parameters of submitit's executor (``partition``, ``time`` in minutes, ``gres`` …), beside those of
    the setting ``slurm``. ``job_folder`` must be seen by workers, triggerer and nodes; the default is that setting's
    ``folder``, else a folder in the user's home. A callable gets no objects of Airflow's context. Workers and
    triggerer need Slurm's commands, all of them ``hindsight-tracker[slurm]``.

    ::

        SlurmTrackedOperator(task_id="train", script="train.py", folder="/shared/training", deferrable=True,
                             slurm={"partition": "gpu", "time": 240}, job_folder="/shared/jobs")
    """

    template_fields: Sequence[str] = (*TrackedOperator.template_fields, "slurm", "job_folder")

    def __init__(
        self,
        *,
        slurm: Mapping[str, Any] | None = None,
        job_folder: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_s: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.slurm, self.job_folder, self.deferrable, self.poll_s = slurm or {}, job_folder, deferrable, poll_s
        self._waiting: tuple[SlurmTask, str] | None = None

    def execute(self, context: Any) -> Any:
        """The result of the callable, or the id of the run."""
        run, task = self._task(context["ti"])
        self._tell(context["ti"], run)
        job, is_new = task.begin(*self._what(context["ti"]))
        self._waiting = task, job
        self.log.info("%s job %s of run %s", "submitted" if is_new else "took up", job, run)
        while (ended := task.ending(job)) is None:
            if self.deferrable:
                from tracker.operators.slurm_trigger import SlurmJobTrigger

                self.defer(trigger=SlurmJobTrigger(str(task.folder), job, self.poll_s), method_name="resume")
            time.sleep(self.poll_s)
        return self._finish(task, job, run, ended)

    def resume(self, context: Any, event: Any = None) -> Any:
        """The job has ended."""
        from tracker.operators.slurm_jobs import Ending

        run, task = self._task(context["ti"])
        self._tell(context["ti"], run)
        job = str(event["job"])
        return self._finish(task, job, run, task.ending(job) or Ending(ok=False, reason=event["reason"]))

    def on_kill(self) -> None:
        """Airflow wants the task to stop: so must its job."""
        if self._waiting is not None:
            task, job = self._waiting
            task.cancel(job)

    def _task(self, ti: Any) -> tuple[str, SlurmTask]:
        from tracker.decorators.airflow import place_of
        from tracker.operators.slurm_jobs import SlurmTask

        from tracker.config import load_settings
        from tracker.record.identity import Identity, claim_id
        from tracker.record.spool import spool_for, spool_root
        from tracker.store.open import open_store

        url, options = self._address()
        settings = load_settings(overrides={"store": url, "storage_options": options})
        store = open_store(url, storage_options=options)
        identity = Identity(project="", script="", launch_key=place_of(ti).launch_key)
        run = claim_id(store, identity, spool_for(store, settings))
        given = self.job_folder or settings.slurm.get("folder")
        home = Path(given).expanduser() if given else spool_root(settings).parent / "slurm"
        parameters = {name: value for name, value in settings.slurm.items() if name != "folder"}
        return run, SlurmTask(home / run, f"hindsight-{run}", {**parameters, **self.slurm})

    def _what(self, ti: Any) -> tuple[Any, ...]:
        """The function that the job calls, and its arguments."""
        from tracker.decorators.airflow import place_of
        from tracker.operators.slurm_jobs import portable, run_in_job

        place, (url, options) = place_of(ti), self._address()
        if self.python_callable is None:
            return run_in_job, self._work(), place, url, options
        import functools

        from tracker.decorators.submitit import Submission

        given = {"store": url, "storage_options": options, "project": self.project}
        own = {"name": self.run_name or place.name, "tags": (*self.tags, *place.tags)}
        function = functools.partial(portable(self.python_callable), **self.op_kwargs)
        submission = Submission(function, place.launch_key, own | {name: each for name, each in given.items() if each})
        return submission, *self.op_args

    def _finish(self, task: SlurmTask, job: str, run: str, ended: Ending) -> Any:
        for line in task.output(job).splitlines():
            self.log.info("%s", line)
        is_done = ended.ok and (self.python_callable is not None or ended.value == 0)
        task.close(job, ok=is_done)
        if not ended.ok:
            raise AirflowException(f"job {job} of run {run} failed: {ended.reason}")
        if self.python_callable is not None:
            return ended.value
        if ended.value != 0:
            raise AirflowException(f"the command of run {run} ended with exit code {ended.value} in job {job}")
        return run
