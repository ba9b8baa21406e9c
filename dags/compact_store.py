"""An Airflow DAG, every hour: keep reading many runs of a store quick. Drop this file into a DAGs folder.

The store is the connection ``hindsight_default`` (or HINDSIGHT_STORE).
"""

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG
from tracker.operators import CompactOperator

with DAG(
    "compact_store",
    schedule="@hourly",
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["hindsight"],
) as dag:
    CompactOperator(task_id="compact", retries=3, retry_delay=timedelta(minutes=1))
