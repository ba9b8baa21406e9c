"""``TrackedOperator``: a callable, a command or a script of a git revision as a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException
from tracker.operators.links import LINK_KEY, RUN_KEY, RunLink, link_of
from tracker.operators.replay_tasks import StoreOperator

if TYPE_CHECKING:
    from tracker.operators.commands import Child, Work


class TrackedOperator(StoreOperator):
    """Executes one of ``python_callable``, ``command`` and ``script`` as a run; every try is an attempt of it.

    A callable's result is the task's. A command or script records itself where it imports ``tracker``, and is otherwise
    recorded with its exit code; the task returns the id of the run, and fails when the exit code is not 0. It is
    executed in ``folder``; with ``repository`` (a folder or address of git; default ``folder``) and ``revision`` in a
    copy of its own, which no other sees. A task that is marked as failed, or whose worker is told to stop, stops it.

    ::

        TrackedOperator(task_id="train", script="train.py", arguments=["--lr", "{{ params.lr }}"],
                        repository="https://example.org/team/training.git", revision="v1.2")
    """

    template_fields: Sequence[str] = (
        *("op_args", "op_kwargs", "command", "script", "arguments", "repository", "revision", "folder"),
        *("environment", "run_name", "project", "tags"),
    )
    template_fields_renderers = {"op_args": "py", "op_kwargs": "py", "command": "bash", "environment": "json"}  # noqa: RUF012
    operator_extra_links = (RunLink(),)
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any] | None = None,
        op_args: Sequence[Any] = (),
        op_kwargs: Mapping[str, Any] | None = None,
        command: str | Sequence[str] | None = None,
        script: str | None = None,
        arguments: Sequence[str] = (),
        repository: str | None = None,
        revision: str | None = None,
        folder: str | None = None,
        environment: Mapping[str, str] | None = None,
        run_name: str | None = None,
        project: str | None = None,
        tags: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if sum(each is not None for each in (python_callable, command, script)) != 1:
            raise ValueError(f"task {self.task_id}: expected one of python_callable, command and script")
        self.python_callable, self.op_args, self.op_kwargs = python_callable, op_args, op_kwargs or {}
        self.command, self.script, self.arguments = command, script, arguments
        self.repository, self.revision, self.folder = repository, revision, folder
        self.environment, self.run_name, self.project, self.tags = environment or {}, run_name, project, tags
        self.run_link = ""
        self._child: Child | None = None

    def execute(self, context: Any) -> Any:
        """The result of the callable, or the id of the run."""
        return self._call(context) if self.python_callable is not None else self._start(context["ti"])

    def on_kill(self) -> None:
        """Airflow wants the task to stop: so must what it started."""
        if self._child is not None:
            self._child.stop()

    def _call(self, context: Any) -> Any:
        from tracker.decorators.tracking import tracked
        from tracker.operators.calling import accepted, result_of

        assert self.python_callable is not None
        url, options = self._address()
        given: dict[str, Any] = {
            "run_name": self.run_name or None,
            "project": self.project or None,
            "tags": tuple(self.tags) or None,
            "store": url,
            "storage_options": options,  # also where there are none: those of another store are not for this one
        }
        function = tracked(**given)(self.python_callable)
        named = accepted(self.python_callable, self.op_args, self.op_kwargs, context)
        try:
            return result_of(function(*self.op_args, **named))
        finally:
            self._tell(context["ti"])

    def _start(self, ti: Any) -> str:
        from tracker.decorators.airflow import place_of
        from tracker.operators.commands import Child

        url, options = self._address()
        self._child = Child(self._work(), place_of(ti), store=url, storage_options=options)
        self._tell(ti, self._child.run)
        code = self._child.execute(self.log.info)
        if self._child.stopped:
            raise AirflowException(f"the command of run {self._child.run} was stopped")
        if code != 0:
            raise AirflowException(f"the command of run {self._child.run} ended with exit code {code}")
        return self._child.run

    def _work(self) -> Work:
        from tracker.operators.commands import Work

        return Work(
            command=self.command,
            script=self.script,
            arguments=tuple(self.arguments),
            repository=self.repository,
            revision=self.revision,
            folder=self.folder,
            environment=dict(self.environment),
            name=self.run_name,
            project=self.project,
            tags=tuple(self.tags),
        )

    def _address(self) -> tuple[str, dict[str, Any]]:
        """The store: of the connection that is named here, of ``@tracked`` on the callable, or of the configuration."""
        from tracker.operators.hook import HindsightHook

        from tracker.config import load_settings

        tracking = getattr(self.python_callable, "__hindsight_tracking__", None)
        if self.hindsight_conn_id is not None or tracking is None:
            return HindsightHook(self.hindsight_conn_id).address
        own = {name: tracking.options.get(name) for name in ("store", "storage_options")}
        if own["store"]:
            settings = load_settings(overrides=own)
            return settings.store, settings.storage_options
        url, options = HindsightHook().address
        return url, options if own["storage_options"] is None else own["storage_options"]

    def _tell(self, ti: Any, run: str | None = None) -> None:
        """Leave the id of the run, and the link to it. Where they cannot be left, that changes nothing for the task."""
        try:
            run = run or self._run_of(ti)
            if run is not None:
                self.run_link = link_of(self._address()[0], run)
                ti.xcom_push(key=RUN_KEY, value=run)
                ti.xcom_push(key=LINK_KEY, value=self.run_link)
        except Exception as exc:  # noqa: BLE001  promise: see above
            self.log.warning("there is no link to the run: %s: %s", type(exc).__name__, exc)

    def _run_of(self, ti: Any) -> str | None:
        """The run of the task instance, which waits in the spool where its store does not answer."""
        from tracker.decorators.airflow import place_of

        from tracker.config import load_settings
        from tracker.record.identity import run_of_launch
        from tracker.record.spool import spool_for
        from tracker.store.open import connect

        url, options = self._address()
        store, key = connect(url, storage_options=options), place_of(ti).launch_key
        found = run_of_launch(store, key)
        return found or run_of_launch(spool_for(store, load_settings(overrides={"store": url})), key)
