"""An Airflow DAG, every hour: ask past runs for what is new on the branch. Drop this file into a DAGs folder.

The store is that of the connection ``hindsight_default`` (or HINDSIGHT_STORE), the repository that of the Variable
``hindsight_repository``, or of the trigger form.
"""

from tracker.operators.replay_dag import hindsight_replay_dag

dag = hindsight_replay_dag(schedule="@hourly")
