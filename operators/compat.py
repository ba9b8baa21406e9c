"""What Airflow 2.11 and 3 name differently, beyond what ``airflow.providers.common.compat`` already knows."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

IS_AIRFLOW_3 = find_spec("airflow.sdk") is not None


def after_all() -> Any:
    """The rule of a task that follows mapped ones, whatever became of them.

    Airflow 2 has no rule that also asks for one success, so there the task itself skips when nothing was planned.
    """
    from airflow.providers.common.compat.sdk import TriggerRule

    return getattr(TriggerRule, "ALL_DONE_MIN_ONE_SUCCESS", TriggerRule.ALL_DONE)


def variable(name: str) -> str:
    """The value of a Variable; empty where there is none."""
    from airflow.providers.common.compat.sdk import Variable

    return str(Variable.get(name, "") or "")  # the default has another name in each


def asset(name: str, uri: str) -> Any:
    """An asset; a dataset in Airflow 2, which knows no names."""
    from airflow.providers.common.compat.sdk import Asset

    return Asset(name=name, uri=uri) if IS_AIRFLOW_3 else Asset(uri=uri)


def redact(value: Any, name: str) -> Any:
    """A value without what Airflow itself knows to be secret: passwords of connections, masked variables."""
    try:
        from airflow.sdk._shared.secrets_masker import redact as own
    except ImportError:
        from airflow.utils.log.secrets_masker import redact as own
    return own(value, name)


def left_by(ti_key: Any, key: str) -> Any:
    """What a task instance left as XCom, for pages of Airflow 2, which know the database and no operator."""
    from airflow.providers.common.compat.sdk import XCom

    return XCom.get_value(ti_key=ti_key, key=key)
