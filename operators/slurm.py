"""``SlurmTrackedOperator``: a callable, a command or a script as a job of Slurm, and as a run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, conf
from tracker.operators.operator import TrackedOperator

if TYPE_CHECKING:
    from tracker.operators.slurm_jobs import SlurmTask

_GRACE_S = 60.0  # for a worker to see the result that the triggerer has seen: NFS remembers that there was none


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
        self._is_killed = False

    def execute(self, context: Any) -> Any:
        """The result of the callable, or the id of the run."""
        ti, task = context["ti"], self._task(context["ti"])
        self._tell(ti, self._claimed(ti))
        try:
            job, is_new = task.begin(*self._what(ti))
            self._waiting = task, job
        finally:
            if self._is_killed:  # before there was a job to be cancelled
                task.cancel_all()
        self.log.info("%s job %s, whose files are in %s", "submitted" if is_new else "took up", job, task.folder)
        if self.deferrable and not task.has_ended(job):
            from tracker.operators.slurm_trigger import SlurmJobTrigger

            self.defer(trigger=SlurmJobTrigger(str(task.folder), job, self.poll_s), method_name="resume")
        return self._finish(context, task, job)

    def resume(self, context: Any, event: Any = None) -> Any:
        """The job has ended."""
        task, job = self._task(context["ti"]), str(event["job"])
        self._tell(context["ti"])
        self._waiting = task, job
        return self._finish(context, task, job, **({"grace_s": _GRACE_S} if event["has_result"] else {}))

    def on_kill(self) -> None:
        """Airflow wants the task to stop: so must its job."""
        self._is_killed = True
        if self._waiting is not None:
            task, job = self._waiting
            task.cancel(job)

    def _claimed(self, ti: Any) -> str | None:
        """The id of the run, which the job will find; ``None`` while the store does not answer."""
        from tracker.decorators.airflow import place_of

        from tracker.config import load_settings
        from tracker.errors import Unavailable
        from tracker.record.identity import Identity, claim_id
        from tracker.record.spool import spool_for
        from tracker.store.open import open_store

        url, options = self._address()
        identity = Identity(project="", script="", launch_key=place_of(ti).launch_key)
        try:
            store = open_store(url, storage_options=options)
            return claim_id(store, identity, spool_for(store, load_settings(overrides={"store": url})))
        except Unavailable as exc:
            self.log.warning("the store does not answer, the job goes its way without it: %s", exc)
            return None

    def _task(self, ti: Any) -> SlurmTask:
        """The jobs of this task instance, wherever it is tried: found without the store, which may be away."""
        from blake3 import blake3
        from tracker.decorators.airflow import place_of
        from tracker.operators.slurm_jobs import SlurmTask

        from tracker.config import load_settings
        from tracker.record.spool import spool_root

        url, place = self._address()[0], place_of(ti)
        settings = load_settings(overrides={"store": url})
        given = self.job_folder or settings.slurm.get("folder")
        home = Path(given).expanduser() if given else spool_root(settings).parent / "slurm"
        parameters = {name: value for name, value in settings.slurm.items() if name != "folder"}
        name = f"hindsight-{ti.task_id}-{blake3(f'{url} {place.launch_key}'.encode()).hexdigest()[:20]}"
        return SlurmTask(home / name, name, {**parameters, **self.slurm})

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
        submission = Submission(
            function, place.launch_key, own | {name: each for name, each in given.items() if each is not None}
        )
        return submission, *self.op_args

    def _finish(self, context: Any, task: SlurmTask, job: str, **patience: float) -> Any:
        """Wait for the end of the job, and say what it is for the task."""
        while (ended := task.ending(job, **patience)) is None:
            time.sleep(self.poll_s)
        for line in task.output(job).splitlines():
            self.log.info("%s", line)
        if not ended.ok and task.is_told(job) and not self._is_killed:
            self.log.info("job %s was cancelled for the try before this one", job)
            return self.execute(context)
        is_call = self.python_callable is not None
        is_done = ended.ok and (is_call or ended.value[1] == 0)
        task.close(job, ok=is_done)
        if not ended.ok:
            raise AirflowException(f"job {job} failed: {ended.reason}")
        if is_call:
            return ended.value
        run, code = ended.value
        if code != 0:
            raise AirflowException(f"the command of run {run} ended with exit code {code} in job {job}")
        return run
