"""An Airflow DAG, every quarter of an hour: bring the runs of one store to another. Drop this file into a DAGs folder.

The source is the connection ``hindsight_default`` (or HINDSIGHT_STORE), the target the connection ``hindsight_remote``.
"""

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG
from tracker.operators import SyncOperator

with DAG(
    "sync_store",
    schedule="*/15 * * * *",
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["hindsight"],
) as dag:
    SyncOperator(task_id="sync", target_conn_id="hindsight_remote", retries=3, retry_delay=timedelta(minutes=1))
