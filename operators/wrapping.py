"""``tracked(operator)``: any operator as a run, where the listener is not wanted."""

from __future__ import annotations

from typing import Any

from tracker.errors import InputError


def tracked(operator: Any = None, /, **options: Any) -> Any:
    """The operator, every try of which is an attempt of a run; ``options`` are those of ``@tracked``.

    Operators of a Python function call it tracked: arguments, result and what it logs are recorded, and past runs can
    be asked. Of others the rendered fields are recorded, how they ended, and what their code logs. Those that make a
    run themselves, as all of this package do, stay as they are. Functions, and what ``@task`` made, are decorated.

    ::

        tracked(BashOperator(task_id="prepare", bash_command="make data"))
    """
    if operator is None:
        return lambda given: tracked(given, **options)
    if not hasattr(operator, "task_id") or not hasattr(operator, "execute"):
        from tracker.decorators import tracked as decorate

        if not callable(operator):
            raise InputError(f"tracked() takes operators and functions, not {operator!r:.80}")
        return decorate(**options)(operator) if options else decorate(operator)
    from tracker.operators.capturing import track_function

    if not track_function(operator, options) and not getattr(operator, "hindsight_managed", False):
        _watch(operator, options)
    operator.hindsight_managed = True
    return operator


def _watch(operator: Any, options: dict[str, Any]) -> None:
    """Open a run when it is executed, and close it when it ends: in the hooks that every operator has."""
    kind = type(operator)

    class Tracked(kind):  # type: ignore[misc, valid-type]
        """The operator's own class, within a run."""

        def execute(self, context: Any) -> Any:
            from tracker.operators.capturing import within_run

            return within_run(context["ti"], options, lambda: kind.execute(self, context))

        def resume_execution(self, next_method: str, next_kwargs: Any, context: Any) -> Any:
            from tracker.operators.capturing import within_run

            resume = lambda: kind.resume_execution(self, next_method, next_kwargs, context)  # noqa: E731
            return within_run(context["ti"], options, resume)

    Tracked.__name__, Tracked.__qualname__, Tracked.__module__ = kind.__name__, kind.__qualname__, kind.__module__
    operator.__class__ = Tracked
